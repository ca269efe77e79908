//! One connection to one server of the shared cache. Commands are sent together, and their replies
//! come back in order, all within one deadline.
//!
//! The connection works in lock-step, and holds at most the bytes of one reply. It is dropped when
//! anything goes wrong on it, or when a reply does not come in time. A late reply can therefore
//! never be taken for the reply to another command.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use redis::{Cmd, Value};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::replies;
use crate::adapters::tls::Tls;
use crate::telemetry::shared_cache::SharedCacheTrouble;

/// Bytes for which room is made before each read.
const PIECE: usize = 16 << 10;

/// A byte stream in both directions.
trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// A connection to a server that speaks RESP2, the protocol of Valkey and Redis.
pub(super) struct RespConnection {
    stream: Box<dyn ByteStream>,
    address: SocketAddr,
    /// Bytes of a reply that is not complete.
    received: Vec<u8>,
}

impl RespConnection {
    /// Connects to a server. With `tls`, the server has to prove that it is `host`. The TCP
    /// connection and the TLS handshake may take `within` each.
    ///
    /// # Errors
    /// [`SharedCacheTrouble::Unreachable`] when no TCP connection is made in time;
    /// [`SharedCacheTrouble::Tls`] when the handshake fails or takes too long.
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
        let stream: Box<dyn ByteStream> = match tls {
            None => Box::new(stream),
            Some(tls) => {
                let secured = tokio::time::timeout(within, tls.connect(host, stream)).await;
                Box::new(secured.map_err(|_| SharedCacheTrouble::Tls)?.map_err(|_| SharedCacheTrouble::Tls)?)
            }
        };
        Ok(Self { stream, address, received: Vec::new() })
    }

    /// The address of the server.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends commands, and gives back the connection and the reply to each command, which may be an
    /// error reply.
    ///
    /// Cancel safe: dropping the future drops the connection.
    ///
    /// # Errors
    /// [`SharedCacheTrouble::Timeout`] when not all replies come `within` the given time;
    /// [`SharedCacheTrouble::Unreachable`] when the connection is lost; [`SharedCacheTrouble::Tls`]
    /// when what comes is no TLS; [`SharedCacheTrouble::Protocol`] when what comes is no reply, or
    /// more than was asked for.
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
        let replies = exchanged.await.map_err(|_| SharedCacheTrouble::Timeout)??;
        // A reply without a command would be taken for the reply to the next command.
        if self.received.is_empty() { Ok((self, replies)) } else { Err(SharedCacheTrouble::Protocol) }
    }

    async fn reply(&mut self) -> Result<Value, SharedCacheTrouble> {
        loop {
            match replies::end(&self.received) {
                Ok(Some(end)) => {
                    let rest = self.received.split_off(end);
                    let reply = std::mem::replace(&mut self.received, rest);
                    return redis::parse_redis_value(&reply).map_err(|_| SharedCacheTrouble::Protocol);
                }
                Ok(None) => {}
                Err(replies::MalformedReply) => return Err(SharedCacheTrouble::Protocol),
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

fn lost(error: io::Error) -> SharedCacheTrouble {
    match error.kind() {
        // rustls reports an alert, or bytes that are no TLS, with this kind.
        io::ErrorKind::InvalidData => SharedCacheTrouble::Tls,
        _ => SharedCacheTrouble::Unreachable,
    }
}
