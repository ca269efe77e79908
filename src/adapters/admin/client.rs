//! A client of the admin interface of a running sidecar, for `holdover status` and `holdover
//! cache`.
//!
//! Every request uses a connection of its own. Each wait is bounded by [`Client::timeout`], and a
//! response that is read as a whole by [`RESPONSE_MAX`].

use std::error::Error;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixStream as StdUnixStream};
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::administered::{FlushScope, Flushed, Imported, ListScope, NameQuestion};
use super::routes::TEXT;
use super::token::{Token, TokenError};
use crate::config::settings::Admin;
use crate::telemetry::reading::Reading;

/// Bytes of a response that is read as a whole.
const RESPONSE_MAX: usize = 4 << 20;

/// A client of one admin interface.
#[derive(Clone, Debug)]
pub struct Client {
    /// The address of the admin interface.
    pub admin: Admin,
    /// The file with the token for changes over TCP; without one, changes go over the unix socket
    /// beside an address.
    pub token_file: Option<PathBuf>,
    /// How long to wait for a connection, for the head of a response, and for each piece of a long
    /// body.
    pub timeout: Duration,
}

/// Why a request to the admin interface gave no result.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection to the admin interface could be opened.
    #[error(
        "no admin interface at {admin}: {source}. Is holdover running, with --admin {admin} or \
         [admin] address = \"{admin}\"?"
    )]
    Unreachable {
        /// The address that was tried.
        admin: Admin,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The unix socket beside the address of an admin interface cannot be reached.
    #[error(
        "{admin} takes no changes over TCP, and its unix socket cannot be reached: {source}. Is holdover running? Run \
         this in the same network namespace, as the user of the sidecar or as root; or set [admin] token_file there, \
         and give the token with --token-file"
    )]
    NoSocketBeside {
        /// The address of the admin interface.
        admin: Admin,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The token file cannot be used.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The admin interface took longer than the client's timeout.
    #[error("no answer from {admin} within {within:?}; --timeout sets how long to wait")]
    TimedOut {
        /// The address of the admin interface.
        admin: Admin,
        /// How long the client waited.
        within: Duration,
    },
    /// The admin interface refused the request.
    #[error("{admin} says: {words}")]
    Refused {
        /// The address of the admin interface.
        admin: Admin,
        /// The text of the response.
        words: String,
    },
    /// The response is not one of holdover's, or it broke off.
    #[error("{admin} does not answer like holdover: {reason}")]
    Unexpected {
        /// The address that was asked.
        admin: Admin,
        /// The mistake in the response.
        reason: String,
    },
    /// An export could not be written to where the caller wants it.
    #[error("cannot write the export: {0}")]
    Output(#[source] io::Error),
}

/// The form in which a response is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Text for people.
    Text,
    /// JSON for programs.
    Json,
}

/// A request before it has a connection.
struct Call {
    method: Method,
    /// The route with its query string.
    path: String,
    body: Bytes,
    form: Form,
}

impl Call {
    fn get(path: &str) -> Self {
        Self { method: Method::GET, path: path.to_owned(), body: Bytes::new(), form: Form::Json }
    }

    fn post(path: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self { method: Method::POST, path: path.into(), body: body.into(), form: Form::Json }
    }
}

impl Client {
    /// Asks for everything that the sidecar shows of itself.
    ///
    /// # Errors
    /// All of [`ClientError`] but [`ClientError::Output`].
    pub async fn status(&self) -> Result<Reading, ClientError> {
        self.json(Call::get("/status")).await
    }

    /// Asks for the same as [`status`](Self::status), and gives it as the JSON text that was sent,
    /// so that fields which only a newer sidecar has are not lost.
    ///
    /// # Errors
    /// All of [`ClientError`] but [`ClientError::Output`].
    pub async fn status_text(&self) -> Result<String, ClientError> {
        self.get("/status", Form::Json).await
    }

    /// Sends the text of a seed, whose answers the sidecar then remembers.
    ///
    /// # Errors
    /// All of [`ClientError`] but [`ClientError::Output`].
    pub async fn import(&self, text: String) -> Result<Imported, ClientError> {
        self.json(Call::post("/cache", text)).await
    }

    /// Asks the sidecar to flush the names and types in `scope`.
    ///
    /// # Errors
    /// All of [`ClientError`] but [`ClientError::Output`].
    pub async fn flush(&self, scope: &FlushScope) -> Result<Flushed, ClientError> {
        let parameters =
            [("name", scope.name.as_deref()), ("below", scope.below.as_deref()), ("type", scope.rtype.as_deref())];
        self.json(Call::post(with_query("/flush", &parameters), Bytes::new())).await
    }

    /// Asks the sidecar to explain a name.
    ///
    /// # Errors
    /// All of [`ClientError`] but [`ClientError::Output`].
    pub async fn explain(&self, question: &NameQuestion, form: Form) -> Result<String, ClientError> {
        let parameters = [("name", Some(question.name.as_str())), ("type", question.rtype.as_deref())];
        self.get(&with_query("/explain", &parameters), form).await
    }

    /// Asks for the level of the log, after it was changed if there is a new one.
    ///
    /// # Errors
    /// All of [`ClientError`] but [`ClientError::Output`].
    pub async fn log_level(&self, wanted: Option<&str>) -> Result<String, ClientError> {
        let call = match wanted {
            Some(_) => Call::post(with_query("/log", &[("level", wanted)]), Bytes::new()),
            None => Call::get("/log"),
        };
        let response = self.send(call).await?;
        self.text(response).await
    }

    /// Asks for one page of the names that the sidecar remembers.
    ///
    /// # Errors
    /// All of [`ClientError`] but [`ClientError::Output`].
    pub async fn list(&self, scope: &ListScope, form: Form) -> Result<String, ClientError> {
        let switch = |on: bool| on.then_some("true");
        let limit = scope.limit.map(|limit| limit.to_string());
        let parameters = [
            ("stale", switch(scope.stale)),
            ("failed", switch(scope.failed)),
            ("hot", switch(scope.hot)),
            ("below", scope.below.as_deref()),
            ("origin", scope.origin.as_deref()),
            ("limit", limit.as_deref()),
            ("after", scope.after.as_deref()),
        ];
        self.get(&with_query("/names", &parameters), form).await
    }

    /// Asks for a response in one of its forms.
    async fn get(&self, path: &str, form: Form) -> Result<String, ClientError> {
        let response = self.send(Call { form, ..Call::get(path) }).await?;
        self.text(response).await
    }

    /// Writes everything that the sidecar remembers to `out` as a seed, and gives the number of
    /// bytes.
    ///
    /// # Errors
    /// All of [`ClientError`]; a part may have been written then.
    pub async fn export(&self, mut out: impl Write) -> Result<u64, ClientError> {
        let mut body = self.send(Call::get("/cache")).await?.into_body();
        let mut written = 0;
        while let Some(frame) = self.within(body.frame()).await? {
            let frame = frame.map_err(|error| self.unexpected(&error))?;
            if let Some(piece) = frame.data_ref() {
                out.write_all(piece).map_err(ClientError::Output)?;
                written += u64::try_from(piece.len()).unwrap_or(u64::MAX);
            }
        }
        out.flush().map_err(ClientError::Output)?;
        Ok(written)
    }

    /// Sends a request whose response is JSON.
    async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<T, ClientError> {
        let response = self.send(call).await?;
        let text = self.text(response).await?;
        serde_json::from_str(&text).map_err(|error| self.unexpected(&error))
    }

    /// Sends a request over a new connection; any status but 200 is an error.
    async fn send(&self, call: Call) -> Result<Response<Incoming>, ClientError> {
        let unreachable = |source| ClientError::Unreachable { admin: self.admin.clone(), source };
        let response = match &self.admin {
            Admin::Path(socket) => {
                let stream = self.within(UnixStream::connect(socket)).await?.map_err(unreachable)?;
                self.exchange(stream, call, "localhost").await?
            }
            Admin::Address(address) if call.method == Method::POST && self.token_file.is_none() => {
                let unreachable = |source| ClientError::NoSocketBeside { admin: self.admin.clone(), source };
                self.exchange(connect_beside(*address).map_err(unreachable)?, call, "localhost").await?
            }
            Admin::Address(address) => {
                let stream = self.within(TcpStream::connect(address)).await?.map_err(unreachable)?;
                self.exchange(stream, call, &address.to_string()).await?
            }
        };
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        let words = self.text(response).await?.trim().to_owned();
        Err(ClientError::Refused { admin: self.admin.clone(), words })
    }

    /// Sends one request over an open connection, and waits for the head of the response.
    async fn exchange<S>(&self, stream: S, call: Call, host: &str) -> Result<Response<Incoming>, ClientError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (mut sender, connection) =
            self.within(http1::handshake(TokioIo::new(stream))).await?.map_err(|error| self.unexpected(&error))?;
        // The task ends with the connection, at the latest with the runtime of this one command.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        let Call { method, path, body, form } = call;
        let mut request = Request::builder().header(HOST, host);
        if form == Form::Text {
            request = request.header(ACCEPT, TEXT);
        }
        if let (&Method::POST, Some(token_file)) = (&method, &self.token_file) {
            request = request.header(AUTHORIZATION, Token::read(token_file)?.authorization());
        }
        let request = request.method(method).uri(path).body(Full::new(body));
        let request = request.map_err(|error| self.unexpected(&error))?;
        self.within(sender.send_request(request)).await?.map_err(|error| self.unexpected(&error))
    }

    /// Reads the body of a response as a whole.
    async fn text(&self, response: Response<Incoming>) -> Result<String, ClientError> {
        let body = self.within(Limited::new(response.into_body(), RESPONSE_MAX).collect()).await?;
        let bytes = body.map_err(|error| self.unexpected(&*error))?.to_bytes();
        String::from_utf8(bytes.into()).map_err(|error| self.unexpected(&error))
    }

    async fn within<T>(&self, waiting: impl Future<Output = T>) -> Result<T, ClientError> {
        timeout(self.timeout, waiting)
            .await
            .map_err(|_| ClientError::TimedOut { admin: self.admin.clone(), within: self.timeout })
    }

    fn unexpected(&self, error: &dyn Error) -> ClientError {
        ClientError::Unexpected { admin: self.admin.clone(), reason: error.to_string() }
    }
}

/// Opens a connection to the unix socket beside an address.
fn connect_beside(address: SocketAddr) -> io::Result<UnixStream> {
    let name = UnixAddress::from_abstract_name(Admin::socket_beside(address))?;
    let stream = StdUnixStream::connect_addr(&name)?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// A route with those parameters that have a value.
fn with_query(route: &str, parameters: &[(&str, Option<&str>)]) -> String {
    let given = parameters.iter().filter_map(|(key, value)| Some(format!("{key}={}", escape((*value)?))));
    format!("{route}?{}", given.collect::<Vec<_>>().join("&"))
}

/// A value as it stands in a query string (RFC 3986 §2.3).
fn escape(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    value.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
