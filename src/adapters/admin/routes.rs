//! What may be asked of the admin interface, and who may.
//!
//! | route | gives | clients of other hosts |
//! |---|---|---|
//! | `GET /health` | 200 while the process lives | may |
//! | `GET /ready` | 200 when its start is over, 503 before | may |
//! | `GET /metrics` | OpenMetrics text | may |
//! | `GET /status` | [`Reading`](crate::telemetry::reading::Reading) as JSON | may |
//! | `GET /cache` | all that is remembered, as a seed | may not |
//! | `POST /cache` | takes a seed in; gives [`Imported`] as JSON | may not |
//! | `POST /flush?name=&below=&type=` | forgets, also in the state file; gives [`Flushed`] as JSON | may not |
//!
//! A web page that a browser on this host shows is kept away from the memory, too: it would send an
//! `Origin`, or, having made a name of its own lead here, that name as `Host`.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::stream;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body as _;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{Flush, Scope, Sidecar};
use crate::core::special::Readiness;
use crate::telemetry::metrics;
use crate::telemetry::state_file::Durable;

/// How long the body of an import may take.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// What an import came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Answers that were learned.
    pub learned: u64,
    /// Answers that are not newer than what is remembered.
    pub older: u64,
    /// Answers past their maximum stale.
    pub expired: u64,
    /// Answers that are invalid.
    pub invalid: u64,
    /// What is wrong with the first invalid answers, with their lines.
    pub mistakes: Vec<String>,
}

/// What a flush came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flushed {
    /// Names and types that were known and flushed.
    pub flushed: u64,
    /// Why they may come back from the state file after a crash; `None` when they cannot.
    #[serde(default)]
    pub may_return: Option<String>,
}

/// What all routes share.
#[derive(Clone)]
struct Desk {
    /// What is shown.
    sidecar: Arc<dyn Sidecar>,
    /// Held by whoever walks over the memory.
    walk: Arc<Semaphore>,
    /// Held by whoever exports.
    export: Arc<Semaphore>,
    /// Held by whoever imports.
    import: Arc<Semaphore>,
}

/// What [`Scope`] is written as.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// The name.
    name: Option<String>,
    /// The suffix.
    below: Option<String>,
    /// The type.
    #[serde(rename = "type")]
    rtype: Option<String>,
}

/// What can be asked, for who asks for nothing.
const INDEX: &str = "holdover's admin interface\n\nGET  /health  lives\nGET  /ready   serves\nGET  /metrics OpenMetrics\nGET  /status  JSON\n\
                     GET  /cache   all that is remembered, as a seed\nPOST /cache   takes in a seed\n\
                     POST /flush   ?name=, ?below=, with &type=: forgets\n";

/// The routes for clients on this host.
pub(super) fn everything(sidecar: &Arc<dyn Sidecar>) -> Router {
    let desk = Desk::new(sidecar);
    let cache = get(export).post(import).layer(DefaultBodyLimit::disable());
    open().route("/cache", cache).route("/flush", post(flush)).with_state(desk)
}

/// The routes for clients on other hosts.
pub(super) fn readable(sidecar: &Arc<dyn Sidecar>) -> Router {
    let refuse = || async { told(StatusCode::FORBIDDEN, "only for clients on this host") };
    open().route("/cache", get(refuse).post(refuse)).route("/flush", post(refuse)).with_state(Desk::new(sidecar))
}

/// The routes for everybody.
fn open() -> Router<Desk> {
    Router::new()
        .route("/", get(|| async { INDEX }))
        .route("/health", get(|| async { "ok\n" }))
        .route("/ready", get(ready))
        .route("/metrics", get(show_metrics))
        .route("/status", get(show_status))
        .fallback(|| async { told(StatusCode::NOT_FOUND, "no such route; GET / lists them") })
}

impl Desk {
    /// A desk at which nobody stands.
    fn new(sidecar: &Arc<dyn Sidecar>) -> Self {
        let one = || Arc::new(Semaphore::new(1));
        Self { sidecar: Arc::clone(sidecar), walk: one(), export: one(), import: one() }
    }

    /// Does what takes long on a thread beside, one at a time.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Sidecar) -> T + Send + 'static,
    ) -> Result<T, Response> {
        let sidecar = Arc::clone(&self.sidecar);
        let failed = |_| told(StatusCode::INTERNAL_SERVER_ERROR, "that failed");
        let Ok(permit) = Arc::clone(&self.walk).acquire_owned().await else { return Err(failed(())) };
        let done = tokio::task::spawn_blocking(move || {
            let done = work(&*sidecar);
            drop(permit);
            done
        });
        done.await.map_err(|_| failed(()))
    }
}

/// A few words.
fn told(status: StatusCode, words: &str) -> Response {
    (status, format!("{words}\n")).into_response()
}

/// JSON.
fn json(value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], format!("{text}\n")).into_response(),
        Err(error) => told(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// Whether the start is over.
async fn ready(State(desk): State<Desk>) -> Response {
    match desk.sidecar.readiness() {
        Readiness::Ready => told(StatusCode::OK, "ready"),
        Readiness::NotYet => {
            told(StatusCode::SERVICE_UNAVAILABLE, "not ready: waits for its critical names; queries are answered")
        }
    }
}

/// All metrics.
async fn show_metrics(State(desk): State<Desk>) -> Response {
    match desk.work(|sidecar| metrics::render(sidecar.reading())).await {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Ok(Err(error)) => told(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        Err(response) => response,
    }
}

/// Everything, as JSON.
async fn show_status(State(desk): State<Desk>) -> Response {
    desk.work(Sidecar::reading).await.map_or_else(|response| response, |reading| json(&reading))
}

/// Keeps web pages away.
fn from_a_page(headers: &HeaderMap) -> Option<Response> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let bare = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
        .map_or(host, |(bare, _)| bare);
    let is_here = bare.is_empty() || bare == "localhost" || bare.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    if headers.contains_key(header::ORIGIN) || !is_here {
        return Some(told(
            StatusCode::FORBIDDEN,
            "not for web pages: send no Origin, and localhost or an address as Host",
        ));
    }
    None
}

/// All that is remembered, piece by piece.
async fn export(State(desk): State<Desk>, headers: HeaderMap) -> Response {
    if let Some(refusal) = from_a_page(&headers) {
        return refusal;
    }
    let Ok(permit) = Arc::clone(&desk.export).try_acquire_owned() else {
        return told(StatusCode::SERVICE_UNAVAILABLE, "another export is under way; try again");
    };
    let pieces = desk.sidecar.export();
    // The permit lives as long as the body.
    let body = stream::unfold((pieces, permit), |(mut pieces, permit)| async move {
        // Lets others in between: this is the interface's only thread.
        tokio::task::yield_now().await;
        let piece = pieces.next()?;
        Some((Ok::<_, Infallible>(piece), (pieces, permit)))
    });
    ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(body)).into_response()
}

/// Takes in a seed.
async fn import(State(desk): State<Desk>, headers: HeaderMap, request: Request) -> Response {
    if let Some(refusal) = from_a_page(&headers) {
        return refusal;
    }
    // Before the body is read: it is what takes memory.
    let Ok(_permit) = Arc::clone(&desk.import).try_acquire_owned() else {
        return told(StatusCode::SERVICE_UNAVAILABLE, "another import is under way; try again");
    };
    let most = desk.sidecar.import_max();
    let body = request.into_body();
    let too_large = format!("larger than {} KiB, twice the size of the cache; split it", most >> 10);
    if body.size_hint().lower() > u64::try_from(most).unwrap_or(u64::MAX) {
        return told(StatusCode::PAYLOAD_TOO_LARGE, &too_large);
    }
    let body = match timeout(BODY_WITHIN, Limited::new(body, most).collect()).await {
        Ok(Ok(body)) => body,
        Ok(Err(error)) if error.is::<LengthLimitError>() => return told(StatusCode::PAYLOAD_TOO_LARGE, &too_large),
        Ok(Err(error)) => return told(StatusCode::BAD_REQUEST, &error.to_string()),
        Err(_) => return told(StatusCode::REQUEST_TIMEOUT, "the body took too long"),
    };
    let Ok(text) = String::from_utf8(body.to_bytes().into()) else {
        return told(StatusCode::BAD_REQUEST, "not UTF-8 text");
    };
    match desk.work(move |sidecar| sidecar.import(&text)).await {
        Ok(Ok(imported)) => json(&imported),
        Ok(Err(reason)) => told(StatusCode::BAD_REQUEST, &reason),
        Err(response) => response,
    }
}

/// Forgets.
async fn flush(
    State(desk): State<Desk>,
    headers: HeaderMap,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Response {
    if let Some(refusal) = from_a_page(&headers) {
        return refusal;
    }
    let Query(Wanted { name, below, rtype }) = match wanted {
        Ok(wanted) => wanted,
        Err(rejection) => return told(StatusCode::BAD_REQUEST, &format!("{rejection}. Allowed: name, below and type")),
    };
    match desk.work(move |sidecar| sidecar.flush(&Scope { name, below, rtype })).await {
        Ok(Ok(Flush { forgotten, durable })) => {
            let may_return = match durable.await {
                Durable::Off | Durable::Written => None,
                Durable::Behind(trouble) => Some(trouble.advice().to_owned()),
            };
            json(&Flushed { flushed: forgotten, may_return })
        }
        Ok(Err(reason)) => told(StatusCode::BAD_REQUEST, &reason),
        Err(response) => response,
    }
}
