//! What the resolver needs of the world, as traits: a clock, a way upstream, and chance.
//!
//! The real ones are in `adapters`; simulation and replay bring scripted ones, so that the same
//! resolver runs through an 84-minute outage in milliseconds. Nothing here knows a socket.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use crate::core::key::Key;
use crate::core::record::Record;
pub use crate::core::time::Clock;
pub use crate::core::upstream::{Endpoint, Transport};

/// A future that a port hands out.
pub type PortFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Unpredictable numbers: message IDs, jitter, choices among equals.
pub trait Chance: Send + Sync + 'static {
    /// A uniformly distributed number.
    fn number(&self) -> u64;
}

/// Carries one query to one upstream address and brings back its response.
pub trait UpstreamTransport: Send + Sync + 'static {
    /// Sends `query` (a whole DNS message without length prefix, with its final ID) once to
    /// `server` and waits for the response that belongs to it: same ID, same question (RFC 5452
    /// §9.1). Other datagrams are counted and ignored.
    ///
    /// Over UDP every call uses a new connected socket with a new source port, sends exactly one
    /// datagram, and waits until it is dropped: a late response is still a response. Over TCP a
    /// connection may be shared and reused.
    ///
    /// Cancel safe: dropping the future frees its socket or its slot.
    fn exchange(&self, endpoint: &Endpoint, query: Vec<u8>) -> PortFuture<Result<Vec<u8>, TransportError>>;
}

/// Why no response can come any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The port is closed (ICMP port unreachable, or RST).
    #[error("connection refused")]
    Refused,
    /// No route, or ICMP host or network unreachable.
    #[error("unreachable")]
    Unreachable,
    /// The connection was reset or closed before the response had come.
    #[error("connection lost")]
    Lost,
    /// The connection could not be set up, or nothing came, within the port's own bound (streams
    /// only).
    #[error("timed out")]
    TimedOut,
    /// No descriptor, port or slot is left on our own side; says nothing about the upstream.
    #[error("no local resource left")]
    Exhausted,
}

impl TransportError {
    /// The metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Lost => "lost",
            Self::TimedOut => "timeout",
            Self::Exhausted => "exhausted",
        }
    }
}

/// Answers queries that came over a stream, where waiting for an answer costs nobody else.
pub trait Answer: Send + Sync + 'static {
    /// Answers one query (a whole DNS message without length prefix, at least a header, QR = 0)
    /// from `client` with at most 65 535 bytes; `None`: nothing is sent.
    ///
    /// Cancel safe: the future is dropped when its client goes away.
    fn answer(&self, query: Vec<u8>, client: SocketAddr) -> PortFuture<Option<Vec<u8>>>;
}

/// What other instances have learned, kept where all can reach it.
pub trait SharedCache: Send + Sync + 'static {
    /// Asks what is known of a key. `None`: nothing that can be trusted, or not in time.
    ///
    /// The wait is bounded by whoever implements this, and is nothing at all while nobody can be
    /// asked. Cancel safe.
    fn ask(&self, key: &Key) -> PortFuture<Option<Record>>;
}
