//! The routes of the admin interface, and which clients may use them.
//!
//! | route | response | clients of other hosts |
//! |---|---|---|
//! | `GET /` | the list of routes, as text | allowed |
//! | `GET /health` | 200 while the process is at work, 503 when it is stalled | allowed |
//! | `GET /ready` | 200 when the start is over, 503 before | allowed |
//! | `GET /metrics` | OpenMetrics text | allowed |
//! | `GET /status` | [`Reading`](crate::telemetry::reading::Reading) as JSON | allowed |
//! | `GET /explain?name=&type=` | what queries for a name get, and why; JSON, or text for people | without records |
//! | `GET /names?stale=&failed=&hot=&below=&origin=&limit=&after=` | remembered names, in the same forms | 403 |
//! | `GET /cache` | everything that is remembered, as a seed | 403 |
//! | `POST /cache` | remembers a seed; [`Imported`](super::administered::Imported) as JSON | 403 |
//! | `POST /flush?name=&below=&type=` | flushes names, also from the state file; [`Flushed`] as JSON | 403 |
//! | `GET /log` | the level of the log, as text | 403 |
//! | `POST /log?level=` | changes the level; the new and the former one, as text | 403 |
//!
//! A client on this host that may not change anything (see [`super::writers`]) gets 403 for the
//! three that do.
//!
//! A web page that a browser on this host shows must not reach the interface either. Such a page
//! has made a name of its own lead to this host (DNS rebinding), and then sends that name as
//! `Host`: over TCP only addresses and `localhost` are taken, except for what probes and Prometheus
//! ask for, who may know the interface by a name. A page may also ask an address, and then sends an
//! `Origin`: requests for the memory with one are refused.

mod responses;

use std::convert::Infallible;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub(super) use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::stream;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body as _;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::administered::{Administered, Flush, FlushScope, Flushed, ListScope, NameQuestion, WantedLogLevel};
use super::listener::Peer;
use super::writers::Writers;
use crate::core::special::Readiness;
use crate::telemetry::exposition;
use crate::telemetry::logging;
use crate::telemetry::state_file::Durable;
pub(super) use responses::TEXT;
use responses::{in_form, json, text};

/// How long the body of an import may take to arrive.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// The response to `GET /`, for a person who wonders what this port is.
const INDEX: &str = "holdover's admin interface\n\n\
                     GET  /health   200 while the process is at work\n\
                     GET  /ready    200 when the start is over, 503 before\n\
                     GET  /metrics  OpenMetrics text\n\
                     GET  /status   the same and more as JSON\n\
                     GET  /explain  ?name=, and optionally &type=: what its queries get, and why\n\
                     GET  /names    one page of the names that are remembered\n\
                     GET  /cache    everything that is remembered, as a seed\n\
                     POST /cache    remembers the answers of a seed\n\
                     POST /flush    ?name= or ?below=, and optionally &type=: flushes these names\n\
                     GET  /log      the level of the log\n\
                     POST /log      ?level=: changes it until the process ends\n";

/// The state that all requests share.
#[derive(Clone)]
struct RouteState {
    sidecar: Arc<dyn Administered>,
    writers: Writers,
    /// Held while something walks over the memory.
    walk: Arc<Semaphore>,
    /// Held while the body of an export is sent.
    export: Arc<Semaphore>,
    /// Held while an import is received and read.
    import: Arc<Semaphore>,
}

/// The routes of the interface, for each kind of client.
pub(super) struct RoutesByPeer {
    owner: Router,
    other_user: Router,
    this_host: Router,
    other_host: Router,
}

impl RoutesByPeer {
    /// The routes to a sidecar; over TCP, only those who have the token in `token_file` change
    /// anything.
    pub(super) fn new(sidecar: &Arc<dyn Administered>, token_file: Option<PathBuf>) -> Self {
        let state = RouteState::new(sidecar);
        let with = |writers| RouteState { writers, ..state.clone() };
        Self {
            owner: for_this_host().with_state(with(Writers::All)),
            other_user: for_this_host().with_state(with(Writers::NoOtherUser)),
            this_host: over_tcp(for_this_host().with_state(with(Writers::TokenHolders(token_file)))),
            other_host: over_tcp(for_other_hosts().with_state(with(Writers::NoOtherHost))),
        }
    }

    /// The routes for a client.
    pub(super) fn of(&self, peer: Peer) -> Router {
        match peer {
            Peer::Owner => self.owner.clone(),
            Peer::OtherUser => self.other_user.clone(),
            Peer::ThisHost => self.this_host.clone(),
            Peer::OtherHost => self.other_host.clone(),
        }
    }
}

/// The routes for clients on this host: all of them.
fn for_this_host() -> Router<RouteState> {
    let cache = get(export).post(import).layer(DefaultBodyLimit::disable());
    let memory = read_only().route("/names", get(list)).route("/cache", cache).route("/flush", post(flush));
    memory.route("/log", get(|| async { text(StatusCode::OK, logging::level()) }).post(change_log_level))
}

/// The routes for clients on other hosts: those that do not reach the memory.
fn for_other_hosts() -> Router<RouteState> {
    let refuse = || async { text(StatusCode::FORBIDDEN, "only for clients on this host") };
    let refused = read_only().route("/names", get(refuse)).route("/log", get(refuse).post(refuse));
    refused.route("/cache", get(refuse).post(refuse)).route("/flush", post(refuse))
}

/// The paths that tell numbers and no names of clients' queries, and may be asked for by any name.
const FOR_MONITORING: [&str; 3] = ["/health", "/ready", "/metrics"];

/// Takes requests over TCP only with a host that no name server chose.
fn over_tcp(routes: Router) -> Router {
    routes.layer(from_fn(|request: Request, next: Next| async move {
        if FOR_MONITORING.contains(&request.uri().path()) || is_trusted_host(request.headers()) {
            return next.run(request).await;
        }
        text(StatusCode::FORBIDDEN, "the Host of a request over TCP has to be localhost or an IP address")
    }))
}

/// The routes for every client that may connect.
fn read_only() -> Router<RouteState> {
    Router::new()
        .route("/", get(|| async { INDEX }))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(show_metrics))
        .route("/status", get(show_status))
        .route("/explain", get(explain))
        .fallback(|| async { text(StatusCode::NOT_FOUND, "no such route; GET / lists them") })
}

impl RouteState {
    fn new(sidecar: &Arc<dyn Administered>) -> Self {
        let one = || Arc::new(Semaphore::new(1));
        Self { sidecar: Arc::clone(sidecar), writers: Writers::NoOtherUser, walk: one(), export: one(), import: one() }
    }

    /// Runs work that walks over the memory on a thread that may block, one piece of work at a
    /// time.
    async fn walk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Administered) -> T + Send + 'static,
    ) -> Result<T, Response> {
        let sidecar = Arc::clone(&self.sidecar);
        let failed = || text(StatusCode::INTERNAL_SERVER_ERROR, "an internal error occurred; see holdover's log");
        let Ok(permit) = Arc::clone(&self.walk).acquire_owned().await else { return Err(failed()) };
        let done = tokio::task::spawn_blocking(move || {
            let done = work(&*sidecar);
            drop(permit);
            done
        });
        done.await.map_err(|_| failed())
    }
}

async fn health(State(state): State<RouteState>) -> Response {
    match state.sidecar.readiness() {
        Readiness::Ready | Readiness::NotYet => text(StatusCode::OK, "ok"),
        Readiness::Stalled => stalled(),
    }
}

fn stalled() -> Response {
    text(
        StatusCode::SERVICE_UNAVAILABLE,
        "stalled: queries are answered from memory alone, until holdover is restarted",
    )
}

async fn ready(State(state): State<RouteState>) -> Response {
    match state.sidecar.readiness() {
        Readiness::Ready => text(StatusCode::OK, "ready"),
        Readiness::NotYet => {
            text(StatusCode::SERVICE_UNAVAILABLE, "not ready: waits for its critical names; queries are answered")
        }
        Readiness::Stalled => stalled(),
    }
}

async fn show_metrics(State(state): State<RouteState>) -> Response {
    match state.walk(|sidecar| exposition::render(sidecar.reading())).await {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, exposition::CONTENT_TYPE)], text).into_response(),
        Ok(Err(error)) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        Err(response) => response,
    }
}

async fn show_status(State(state): State<RouteState>) -> Response {
    state.walk(Administered::reading).await.map_or_else(|response| response, |reading| json(&reading))
}

/// Explains a name, in the form that the request accepts.
async fn explain(
    State(state): State<RouteState>,
    headers: HeaderMap,
    question: Result<Query<NameQuestion>, QueryRejection>,
) -> Response {
    let Query(question) = match question {
        Ok(question) => question,
        Err(rejection) => return text(StatusCode::BAD_REQUEST, &format!("{rejection}. Allowed: name and type")),
    };
    match state.sidecar.explain(&question) {
        Ok(mut explanation) => {
            // Other hosts learn how a name is doing, but not what is cached.
            if matches!(state.writers, Writers::NoOtherHost) {
                explanation.leave_out_records();
            }
            in_form(&headers, &explanation)
        }
        Err(reason) => text(StatusCode::BAD_REQUEST, &reason),
    }
}

/// Lists names, in the form that the request accepts.
async fn list(
    State(state): State<RouteState>,
    headers: HeaderMap,
    scope: Result<Query<ListScope>, QueryRejection>,
) -> Response {
    if let Some(refusal) = refusal_of_a_page(&headers) {
        return refusal;
    }
    let Query(scope) = match scope {
        Ok(scope) => scope,
        Err(rejection) => {
            let allowed = "Allowed: stale, failed, hot, below, origin, limit and after";
            return text(StatusCode::BAD_REQUEST, &format!("{rejection}. {allowed}"));
        }
    };
    let page = match state.sidecar.list(&scope) {
        Ok(page) => page,
        Err(reason) => return text(StatusCode::BAD_REQUEST, &reason),
    };
    // One walk at a time; it gives other requests their turn after each slice.
    let _permit = state.walk.acquire().await;
    in_form(&headers, &page.await)
}

/// Whether the `Host` of a request is one that no owner of a web page can make lead here: an
/// address, `localhost`, or no host at all.
fn is_trusted_host(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).map(|host| host.to_str().unwrap_or("?")).unwrap_or_default();
    let without_port = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
        .map_or(host, |(name, _)| name);
    without_port.is_empty()
        || without_port == "localhost"
        || without_port.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}

/// The refusal of a request that a web page seems to have sent; `None` for all other requests.
fn refusal_of_a_page(headers: &HeaderMap) -> Option<Response> {
    if headers.contains_key(header::ORIGIN) || !is_trusted_host(headers) {
        return Some(text(
            StatusCode::FORBIDDEN,
            "not for web pages: send no Origin header, and localhost or an IP address as Host",
        ));
    }
    None
}

/// The refusal of a request that would change what is remembered; `None` when its client may.
async fn refusal_of_a_change(writers: &Writers, headers: &HeaderMap) -> Option<Response> {
    if let Some(refusal) = refusal_of_a_page(headers) {
        return Some(refusal);
    }
    let authorization = headers.get(header::AUTHORIZATION).map(axum::http::HeaderValue::as_bytes);
    let denial = writers.admit(authorization).await.err()?;
    Some(text(StatusCode::FORBIDDEN, &denial.to_string()))
}

/// Sends everything that is remembered, piece by piece.
async fn export(State(state): State<RouteState>, headers: HeaderMap) -> Response {
    if let Some(refusal) = refusal_of_a_page(&headers) {
        return refusal;
    }
    let Ok(permit) = Arc::clone(&state.export).try_acquire_owned() else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "another export is under way; try again later");
    };
    let pieces = state.sidecar.export();
    // The permit is part of the stream's state, so that it lives as long as the body.
    let body = stream::unfold((pieces, permit), |(mut pieces, permit)| async move {
        // The interface has one thread: between two pieces, other requests get their turn.
        tokio::task::yield_now().await;
        let piece = pieces.next()?;
        Some((Ok::<_, Infallible>(piece), (pieces, permit)))
    });
    ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(body)).into_response()
}

/// Receives a seed, and remembers its answers.
async fn import(State(state): State<RouteState>, headers: HeaderMap, request: Request) -> Response {
    if let Some(refusal) = refusal_of_a_change(&state.writers, &headers).await {
        return refusal;
    }
    // The permit is taken before the body is read, because it is the body that takes memory.
    let Ok(_permit) = Arc::clone(&state.import).try_acquire_owned() else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "another import is under way; try again later");
    };
    // A body that says that it is too large is refused unread; any other is cut off at the limit.
    let limit = state.sidecar.import_max();
    let body = request.into_body();
    let too_large = format!("larger than {} KiB, the most that is taken at once; split the seed", limit >> 10);
    if body.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
        return text(StatusCode::PAYLOAD_TOO_LARGE, &too_large);
    }
    let body = match timeout(BODY_WITHIN, Limited::new(body, limit).collect()).await {
        Ok(Ok(body)) => body,
        Ok(Err(error)) if error.is::<LengthLimitError>() => return text(StatusCode::PAYLOAD_TOO_LARGE, &too_large),
        Ok(Err(error)) => return text(StatusCode::BAD_REQUEST, &error.to_string()),
        Err(_) => {
            let words = format!("the body did not arrive within {} s", BODY_WITHIN.as_secs());
            return text(StatusCode::REQUEST_TIMEOUT, &words);
        }
    };
    let Ok(seed) = String::from_utf8(body.to_bytes().into()) else {
        return text(StatusCode::BAD_REQUEST, "not UTF-8 text");
    };
    match state.walk(move |sidecar| sidecar.import(&seed)).await {
        Ok(Ok(imported)) => json(&imported),
        Ok(Err(reason)) => text(StatusCode::BAD_REQUEST, &reason),
        Err(response) => response,
    }
}

/// Changes the level of the log.
async fn change_log_level(
    State(state): State<RouteState>,
    headers: HeaderMap,
    wanted: Result<Query<WantedLogLevel>, QueryRejection>,
) -> Response {
    if let Some(refusal) = refusal_of_a_change(&state.writers, &headers).await {
        return refusal;
    }
    let Query(wanted) = match wanted {
        Ok(wanted) => wanted,
        Err(rejection) => return text(StatusCode::BAD_REQUEST, &format!("{rejection}. Allowed: level")),
    };
    match logging::change_level(&wanted.level) {
        Ok(former) => text(StatusCode::OK, &format!("{}, was {former}", wanted.level)),
        Err(reason) => text(StatusCode::BAD_REQUEST, &reason),
    }
}

/// Flushes names, and waits until the state file cannot bring them back.
async fn flush(
    State(state): State<RouteState>,
    headers: HeaderMap,
    scope: Result<Query<FlushScope>, QueryRejection>,
) -> Response {
    if let Some(refusal) = refusal_of_a_change(&state.writers, &headers).await {
        return refusal;
    }
    let Query(scope) = match scope {
        Ok(scope) => scope,
        Err(rejection) => return text(StatusCode::BAD_REQUEST, &format!("{rejection}. Allowed: name, below and type")),
    };
    match state.walk(move |sidecar| sidecar.flush(&scope)).await {
        Ok(Ok(Flush { flushed, durable })) => {
            let may_return = match durable.await {
                Durable::Off | Durable::Written => None,
                Durable::Behind(trouble) => Some(trouble.advice().to_owned()),
            };
            json(&Flushed { flushed, may_return })
        }
        Ok(Err(reason)) => text(StatusCode::BAD_REQUEST, &reason),
        Err(response) => response,
    }
}
