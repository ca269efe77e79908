//! One connection to one server: commands go out together, their replies come back in order, all
//! within one deadline.
//!
//! It works in lock-step, and holds at most one answer's worth of bytes. A connection on which
//! something went wrong, or whose reply did not come in time, is dropped: what comes late can then
//! never be taken for the reply to something else.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use redis::{Cmd, Value};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::replies;
use crate::adapters::tls::Tls;
use crate::telemetry::shared_cache::SharedCacheTrouble;

/// Bytes that are read at once.
const PIECE: usize = 16 << 10;

/// A byte stream in both directions.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection.
pub(super) struct Connection {
    /// The bytes' way.
    stream: Box<dyn Stream>,
    /// What has come and belongs to replies that are not whole.
    received: Vec<u8>,
}

impl Connection {
    /// Connects to a server, which is to prove that it is `host` where there is TLS; each of both
    /// may take so long.
    ///
    /// # Errors
    /// [`SharedCacheTrouble::Unreachable`], [`SharedCacheTrouble::Tls`].
    pub(super) async fn open(
        address: SocketAddr,
        host: &str,
        tls: Option<&Tls>,
        within: Duration,
    ) -> Result<Self, SharedCacheTrouble> {
        let connected = tokio::time::timeout(within, TcpStream::connect(address)).await;
        let stream =
            connected.map_err(|_| SharedCacheTrouble::Unreachable)?.map_err(|_| SharedCacheTrouble::Unreachable)?;
        let _ = stream.set_nodelay(true);
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(stream),
            Some(tls) => {
                let secured = tokio::time::timeout(within, tls.connect(host, stream)).await;
                Box::new(secured.map_err(|_| SharedCacheTrouble::Tls)?.map_err(|_| SharedCacheTrouble::Tls)?)
            }
        };
        Ok(Self { stream, received: Vec::new() })
    }

    /// Sends commands and brings back the reply to each, for better or worse; gives the connection
    /// back when it can be used again.
    ///
    /// Cancel safe: dropping the future drops the connection.
    ///
    /// # Errors
    /// [`SharedCacheTrouble::Slow`], [`SharedCacheTrouble::Unreachable`], [`SharedCacheTrouble::Protocol`].
    pub(super) async fn exchange(
        mut self,
        commands: &[Cmd],
        within: Duration,
    ) -> Result<(Self, Vec<Value>), SharedCacheTrouble> {
        let mut out = Vec::new();
        commands.iter().for_each(|command| command.write_packed_command(&mut out));
        let exchanged = tokio::time::timeout(within, async {
            self.stream.write_all(&out).await.map_err(lost)?;
            self.stream.flush().await.map_err(lost)?;
            let mut replies = Vec::with_capacity(commands.len());
            while replies.len() < commands.len() {
                replies.push(self.reply().await?);
            }
            Ok(replies)
        });
        let replies = exchanged.await.map_err(|_| SharedCacheTrouble::Slow)??;
        // What nobody asked for is no reply to the next command either.
        if self.received.is_empty() { Ok((self, replies)) } else { Err(SharedCacheTrouble::Protocol) }
    }

    /// Reads one reply.
    async fn reply(&mut self) -> Result<Value, SharedCacheTrouble> {
        loop {
            match replies::end(&self.received) {
                Ok(Some(end)) => {
                    let rest = self.received.split_off(end);
                    let reply = std::mem::replace(&mut self.received, rest);
                    return redis::parse_redis_value(&reply).map_err(|_| SharedCacheTrouble::Protocol);
                }
                Ok(None) => {}
                Err(replies::Malformed) => return Err(SharedCacheTrouble::Protocol),
            }
            self.received.reserve(PIECE);
            match self.stream.read_buf(&mut self.received).await {
                Ok(0) => return Err(SharedCacheTrouble::Unreachable),
                Ok(_) => {}
                Err(error) => return Err(lost(error)),
            }
        }
    }
}

/// What an error of the stream means.
fn lost(error: io::Error) -> SharedCacheTrouble {
    match error.kind() {
        // rustls: an alert, or what is no TLS.
        io::ErrorKind::InvalidData => SharedCacheTrouble::Tls,
        _ => SharedCacheTrouble::Unreachable,
    }
}
