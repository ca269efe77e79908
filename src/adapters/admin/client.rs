//! Asks a running sidecar's admin interface: for `holdover status` and `holdover cache`.

use std::error::Error;
use std::io::{self, Write};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::Flushed;
use super::{Imported, Scope};
use crate::config::settings::Admin;
use crate::telemetry::reading::Reading;

/// Bytes of an answer that is read as a whole.
const ANSWER_MAX: usize = 4 << 20;

/// Asks one admin interface.
#[derive(Clone, Debug)]
pub struct Client {
    /// Where it is.
    pub admin: Admin,
    /// How long to wait for an answer, or for the next piece of a long one.
    pub timeout: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody is there.
    #[error(
        "no admin interface at {admin}: {source}. Is holdover running, with --admin {admin} or [admin] address = \"{admin}\"?"
    )]
    NobodyThere {
        /// Where.
        admin: Admin,
        /// What the operating system said.
        source: io::Error,
    },
    /// It took too long.
    #[error("no answer from {admin} within {within:?}")]
    TimedOut {
        /// Where.
        admin: Admin,
        /// How long.
        within: Duration,
    },
    /// It said no.
    #[error("{admin} says: {words}")]
    Refused {
        /// Where.
        admin: Admin,
        /// What it said.
        words: String,
    },
    /// It is something else, or broke off.
    #[error("{admin} does not answer like holdover: {reason}")]
    Stranger {
        /// Where.
        admin: Admin,
        /// Why.
        reason: String,
    },
    /// What it said could not be written.
    #[error("cannot write the export: {0}")]
    Output(#[source] io::Error),
}

impl Client {
    /// Everything that the sidecar tells about itself.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn status(&self) -> Result<Reading, ClientError> {
        self.json(Method::GET, "/status", Bytes::new()).await
    }

    /// The same as the JSON that it sent, so that a newer sidecar's words are not lost.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn status_text(&self) -> Result<String, ClientError> {
        let response = self.ask(Method::GET, "/status", Bytes::new()).await?;
        self.text(response).await
    }

    /// Lets it take in a seed's text.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn import(&self, text: String) -> Result<Imported, ClientError> {
        self.json(Method::POST, "/cache", text.into()).await
    }

    /// Lets it forget.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn flush(&self, scope: &Scope) -> Result<Flushed, ClientError> {
        let wanted = [("name", &scope.name), ("below", &scope.below), ("type", &scope.rtype)];
        let wanted: Vec<String> =
            wanted.iter().filter_map(|(key, value)| Some(format!("{key}={}", escape(value.as_deref()?)))).collect();
        self.json(Method::POST, &format!("/flush?{}", wanted.join("&")), Bytes::new()).await
    }

    /// Writes all that it remembers; gives how many bytes that were.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn export(&self, mut out: impl Write) -> Result<u64, ClientError> {
        let mut body = self.ask(Method::GET, "/cache", Bytes::new()).await?.into_body();
        let mut written = 0;
        while let Some(frame) = self.within(body.frame()).await? {
            let frame = frame.map_err(|error| self.stranger(&error))?;
            if let Some(piece) = frame.data_ref() {
                out.write_all(piece).map_err(ClientError::Output)?;
                written += u64::try_from(piece.len()).unwrap_or(u64::MAX);
            }
        }
        out.flush().map_err(ClientError::Output)?;
        Ok(written)
    }

    /// Asks for JSON.
    async fn json<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<T, ClientError> {
        let response = self.ask(method, path, body).await?;
        let text = self.text(response).await?;
        serde_json::from_str(&text).map_err(|error| self.stranger(&error))
    }

    /// Asks; gives the answer when it is a yes.
    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, ClientError> {
        let nobody = |source| ClientError::NobodyThere { admin: self.admin.clone(), source };
        let response = match &self.admin {
            Admin::Path(socket) => {
                let stream = self.within(UnixStream::connect(socket)).await?.map_err(nobody)?;
                self.exchange(stream, method, path, "localhost", body).await?
            }
            Admin::Address(address) => {
                let stream = self.within(TcpStream::connect(address)).await?.map_err(nobody)?;
                self.exchange(stream, method, path, &address.to_string(), body).await?
            }
        };
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        let words = self.text(response).await?.trim().to_owned();
        Err(ClientError::Refused { admin: self.admin.clone(), words })
    }

    /// Sends one request over a new connection.
    async fn exchange<S>(
        &self,
        stream: S,
        method: Method,
        path: &str,
        host: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, ClientError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (mut sender, connection) =
            self.within(http1::handshake(TokioIo::new(stream))).await?.map_err(|error| self.stranger(&error))?;
        // Ends with the connection, at the latest with the runtime of this one command.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        let request = Request::builder().method(method).uri(path).header(HOST, host).body(Full::new(body));
        let request = request.map_err(|error| self.stranger(&error))?;
        self.within(sender.send_request(request)).await?.map_err(|error| self.stranger(&error))
    }

    /// Reads an answer as a whole.
    async fn text(&self, response: Response<Incoming>) -> Result<String, ClientError> {
        let body = self.within(Limited::new(response.into_body(), ANSWER_MAX).collect()).await?;
        let bytes = body.map_err(|error| self.stranger(&*error))?.to_bytes();
        String::from_utf8(bytes.into()).map_err(|error| self.stranger(&error))
    }

    /// Waits no longer than may be.
    async fn within<T>(&self, waiting: impl Future<Output = T>) -> Result<T, ClientError> {
        timeout(self.timeout, waiting)
            .await
            .map_err(|_| ClientError::TimedOut { admin: self.admin.clone(), within: self.timeout })
    }

    /// It does not answer like holdover.
    fn stranger(&self, error: &dyn Error) -> ClientError {
        ClientError::Stranger { admin: self.admin.clone(), reason: error.to_string() }
    }
}

/// A value as it stands in a query string (RFC 3986 §2.3).
fn escape(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    value.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
