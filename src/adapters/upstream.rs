//! Sends queries to upstreams over real sockets: one query to one endpoint, and the response that
//! belongs to it.
//!
//! This file chooses the protocol from the endpoint, and does nothing else. Each protocol has a
//! file of its own:
//!
//! | `Transport` | file | connections |
//! |---|---|---|
//! | `Udp` | `upstream/udp.rs` | a new socket for each query |
//! | `Tcp` | `upstream/tcp.rs` sets connections up | kept and shared by `upstream/stream.rs` |
//!
//! A protocol that carries the length-prefixed messages of TCP over something else is one more file
//! that implements `stream::Connect`, and one more arm in `SocketTransport::exchange`; pooling,
//! pipelining, reconnecting and all bounds come with `StreamPool`. Pools are keyed by the whole
//! [`Endpoint`], so that two protocols, or two server names, at one address never share a
//! connection.
//!
//! Which upstream to ask, when to ask again, and when to give up is the resolver's decision. What
//! an error of the operating system means to the resolver stands in `upstream/cause.rs`.

mod cause;
mod limits;
mod stream;
mod tcp;
mod udp;

use std::sync::Arc;

use tokio::sync::Semaphore;

pub use self::limits::{StreamLimits, UpstreamLimits};
use self::stream::StreamPool;
use self::tcp::Tcp;
use crate::resolver::near_misses::MissWatch;
use crate::resolver::ports::{Endpoint, PortFuture, Transport, TransportError, UpstreamTransport};
use crate::telemetry::tally::UpstreamCounters;

/// Sends queries to upstreams over the sockets of the operating system.
///
/// Its futures must be polled within a tokio runtime that drives I/O and time. Dropping it closes
/// all kept connections.
pub struct SocketTransport {
    /// One permit for each UDP socket that may be open.
    sockets: Arc<Semaphore>,
    streams: Arc<StreamPool>,
    counters: Arc<UpstreamCounters>,
}

impl SocketTransport {
    /// Creates a transport within these limits, without opening anything.
    #[must_use]
    pub fn new(limits: UpstreamLimits) -> Self {
        let counters = Arc::new(UpstreamCounters::default());
        Self {
            sockets: Arc::new(Semaphore::new(limits.sockets.min(Semaphore::MAX_PERMITS))),
            streams: Arc::new(StreamPool::new(limits.streams, Arc::clone(&counters))),
            counters,
        }
    }

    /// The counters of everything that is sent to and received from upstreams; they stay live.
    #[must_use]
    pub fn counters(&self) -> Arc<UpstreamCounters> {
        Arc::clone(&self.counters)
    }
}

impl UpstreamTransport for SocketTransport {
    fn exchange(&self, endpoint: &Endpoint, query: Vec<u8>) -> PortFuture<Result<Vec<u8>, TransportError>> {
        self.send(endpoint, query, None)
    }

    fn exchange_watched(
        &self,
        endpoint: &Endpoint,
        query: Vec<u8>,
        watch: MissWatch,
    ) -> PortFuture<Result<Vec<u8>, TransportError>> {
        self.send(endpoint, query, Some(watch))
    }
}

impl SocketTransport {
    /// Nobody but the upstream can send anything on a connection, so that only datagrams are
    /// watched.
    fn send(
        &self,
        endpoint: &Endpoint,
        query: Vec<u8>,
        watch: Option<MissWatch>,
    ) -> PortFuture<Result<Vec<u8>, TransportError>> {
        match endpoint.transport {
            Transport::Udp => {
                let (sockets, counters) = (Arc::clone(&self.sockets), Arc::clone(&self.counters));
                Box::pin(udp::exchange(sockets, counters, endpoint.address, query, watch))
            }
            Transport::Tcp => Box::pin(Arc::clone(&self.streams).exchange(Tcp, endpoint.clone(), query)),
        }
    }
}
