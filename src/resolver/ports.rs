//! The ports of the resolver, which are the traits by which it reaches the world: chance, a way
//! upstream, and the shared cache.
//!
//! The real implementations are in `adapters`; simulation and replay bring scripted ones, so that
//! the same resolver runs through an 84-minute outage in milliseconds. Nothing here knows a socket.
//! The resolver has its clock from the memory ([`crate::memory::Memory::now`]), since everything
//! that is remembered lies on that timeline.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use super::near_misses::MissWatch;
use crate::core::classify::Failure;
use crate::core::key::Key;
use crate::core::record::Record;
pub use crate::core::time::Clock;
pub use crate::core::upstream::{Endpoint, Transport};

/// A future that a port hands out, which owns everything that it needs.
pub type PortFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Decides which clients may ask: true for the IP address of a client that is answered.
///
/// All fronts call it for each packet or connection, on the thread that received it, so it must not
/// wait. An IPv4 client of an IPv6 socket may be given as its IPv4-mapped address.
pub type AccessList = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// The ports that every resolver has.
#[derive(Clone)]
pub struct Ports {
    /// The source of message IDs and jitter.
    pub chance: Arc<dyn Chance>,
    /// The transport that carries queries upstream.
    pub transport: Arc<dyn UpstreamTransport>,
}

/// Unpredictable numbers: message IDs, jitter, choices among equals.
pub trait Chance: Send + Sync + 'static {
    /// A uniformly distributed number that cannot be predicted from earlier ones.
    fn number(&self) -> u64;
}

/// Carries one query to one upstream address and brings back its response.
pub trait UpstreamTransport: Send + Sync + 'static {
    /// Sends `query` (a whole DNS message without length prefix, with its final ID) once to
    /// `endpoint` and waits for the response that belongs to it: same ID, same question (RFC 5452
    /// §9.1). Other datagrams are counted and ignored.
    ///
    /// Over UDP every call uses a new connected socket with a new source port, sends exactly one
    /// datagram, and waits until the future is dropped: a late response is still a response. Over
    /// TCP a connection may be shared and reused.
    ///
    /// Cancel safe: dropping the future frees its socket, or its place on the connection.
    fn exchange(&self, endpoint: &Endpoint, query: Vec<u8>) -> PortFuture<Result<Vec<u8>, TransportError>>;

    /// As [`Self::exchange`], and notes the near misses at the socket of the query.
    ///
    /// A transport without near misses need not implement it.
    fn exchange_watched(
        &self,
        endpoint: &Endpoint,
        query: Vec<u8>,
        _watch: MissWatch,
    ) -> PortFuture<Result<Vec<u8>, TransportError>> {
        self.exchange(endpoint, query)
    }
}

/// Why no response to a query can come any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The upstream's port is closed (ICMP port unreachable, or RST).
    #[error("connection refused")]
    Refused,
    /// There is no route to the upstream, or ICMP said that its host or network is unreachable.
    #[error("unreachable")]
    Unreachable,
    /// The connection was reset or closed before the response had come.
    #[error("connection lost")]
    Lost,
    /// The connection could not be set up, or no response came, within the transport's own bound
    /// (streams only; over UDP the caller decides how long to wait).
    #[error("timed out")]
    TimedOut,
    /// Our own side has no descriptor, port or place on the connection left. This says nothing
    /// about the upstream.
    #[error("no local resource left")]
    Exhausted,
}

impl TransportError {
    /// The word for this error in metrics.
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

    /// The failure that this error means for a resolution.
    #[must_use]
    pub const fn failure(self) -> Failure {
        match self {
            Self::Refused | Self::Unreachable | Self::Lost => Failure::NetworkError,
            Self::TimedOut => Failure::Timeout,
            Self::Exhausted => Failure::LocalLimit,
        }
    }
}

/// Answers queries that came over a stream, where waiting for an answer delays nobody else.
pub trait Answer: Send + Sync + 'static {
    /// Answers one query (a whole DNS message without length prefix, at least a header, QR = 0)
    /// from `client` with at most 65 535 bytes; `None` when nothing is to be sent.
    ///
    /// Cancel safe: the future is dropped when its client goes away.
    fn answer(&self, query: Vec<u8>, client: SocketAddr) -> PortFuture<Option<Vec<u8>>>;
}

/// The cache that all instances of a group share: what each of them has learned, kept where all can
/// read it.
pub trait SharedCache: Send + Sync + 'static {
    /// Reads the record that the shared cache has of a key; `None` when it has none that can be
    /// trusted, or when it did not reply in time.
    ///
    /// The implementation bounds the wait, and answers at once while the shared cache is known to
    /// be away. Cancel safe.
    fn ask(&self, key: &Key) -> PortFuture<Option<Record>>;
}
