//! The pool of connections to upstreams: at most one connection per endpoint, kept, shared and
//! pipelined (RFC 7766 §6.2).
//!
//! Framing is hickory's (`DnsClientStream`). Its multiplexer above that, `DnsExchange`, is not
//! used, for three reasons. It decodes every response and drops the whole message when one RDATA
//! cannot be decoded (an empty RDATA of an unknown type, a malformed SVCB), so that the client
//! would wait for an answer that has long been here. It encodes the query anew. And it does not
//! compare the question. The streams themselves carry the bytes of both directions untouched, and
//! the matching of responses with queries is a small table (`stream/queries.rs`).
//!
//! | situation | what happens |
//! |---|---|
//! | no connection | one is set up; all exchanges with the endpoint wait for it |
//! | a kept connection turns out to be closed | the query is sent once more, on a new one |
//! | a new connection is closed before the response | lost |
//! | nothing at all arrives for a response timeout | timed out; other queries move to a new connection |
//! | one response is late while others arrive | timed out; the connection is kept |
//! | no queries for the idle time | closed |
//! | more endpoints than allowed | the least recently used connection is drained and closed |
//!
//! Each exchange is bounded by connect and response timeout together, whatever happens in between.
//! What a protocol has to bring to be pooled here is [`Connect`]; what happens on one connection
//! stands in `stream/connection.rs`.

mod connect;
mod connection;
mod queries;

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

pub(super) use self::connect::{Connect, OpenConnection};
use self::queries::StreamQuery;
use super::limits::StreamLimits;
use crate::core::answer::STREAM_MAX;
use crate::core::message::HEADER;
use crate::resolver::ports::{Endpoint, TransportError};
use crate::telemetry::tally::UpstreamCounters;

/// The lengths that a query on a stream can have: at least a header, at most what the length prefix
/// can express.
const QUERY_BYTES: RangeInclusive<usize> = HEADER..=STREAM_MAX;

/// The kept connections to upstreams, which exchanges share.
pub(super) struct StreamPool {
    limits: StreamLimits,
    counters: Arc<UpstreamCounters>,
    connections: Mutex<PooledConnections>,
}

#[derive(Default)]
struct PooledConnections {
    by_endpoint: HashMap<Endpoint, ConnectionHandle>,
    /// The tasks of the kept connections, and of connections that have been removed and are ending.
    /// Dropping the set aborts all of them.
    tasks: JoinSet<()>,
    /// Counts exchanges, to find the handle that was used least recently.
    uses: u64,
}

/// How an exchange reaches a connection.
#[derive(Clone)]
struct ConnectionHandle {
    /// Takes queries; closed once the connection takes no more.
    queries: mpsc::Sender<StreamQuery>,
    /// One permit for each query that may be outstanding.
    permits: Arc<Semaphore>,
    /// The pool's count of uses when an exchange used the connection last.
    used: u64,
}

/// Whether an exchange found its connection or had it set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ConnectionAge {
    /// The connection was kept from an earlier exchange, and the upstream may have closed it in the
    /// meantime.
    Kept,
    /// The connection was set up for this exchange.
    New,
}

impl StreamPool {
    pub(super) fn new(limits: StreamLimits, counters: Arc<UpstreamCounters>) -> Self {
        Self { limits, counters, connections: Mutex::default() }
    }

    /// Sends `query` to `endpoint` and waits for the response, which carries the ID of the query.
    /// Where there is no connection, `connector` sets one up; the transport of the endpoint and the
    /// connector must be the same protocol.
    ///
    /// Cancel safe: dropping the future frees its place on the connection, which stays for others.
    ///
    /// # Errors
    /// Those of the set-up; [`TransportError::Lost`] when the connection ended before the response;
    /// [`TransportError::TimedOut`] after the connect and response timeouts together;
    /// [`TransportError::Exhausted`] when too many queries are outstanding on the connection, and
    /// for a `query` of a length that no message has.
    pub(super) async fn exchange(
        self: Arc<Self>,
        connector: impl Connect,
        endpoint: Endpoint,
        query: Vec<u8>,
    ) -> Result<Vec<u8>, TransportError> {
        if !QUERY_BYTES.contains(&query.len()) {
            return Err(TransportError::Exhausted);
        }
        let bound = self.limits.connect.saturating_add(self.limits.response);
        timeout(bound, self.exchange_or_reconnect(connector, &endpoint, query))
            .await
            .unwrap_or(Err(TransportError::TimedOut))
    }

    /// Tries a kept connection, and a new one when the kept one has ended.
    async fn exchange_or_reconnect(
        &self,
        connector: impl Connect,
        endpoint: &Endpoint,
        query: Vec<u8>,
    ) -> Result<Vec<u8>, TransportError> {
        let (handle, age) = self.find_or_connect(connector.clone(), endpoint)?;
        match (handle.ask(query.clone()).await, age) {
            // Upstreams close idle connections when they like, and a query that met the close on
            // its way is sent once more (RFC 7766 §6.2.4). The queue of the ended connection was
            // closed before this exchange got the error, so the pool does not give out the same
            // connection again.
            (Err(TransportError::Lost), ConnectionAge::Kept) => {
                self.find_or_connect(connector, endpoint)?.0.ask(query).await
            }
            // An upstream that closes a new connection instead of answering would do so again.
            (outcome, ConnectionAge::Kept | ConnectionAge::New) => outcome,
        }
    }

    /// Finds the connection to `endpoint`, or starts setting one up.
    fn find_or_connect(
        &self,
        connector: impl Connect,
        endpoint: &Endpoint,
    ) -> Result<(ConnectionHandle, ConnectionAge), TransportError> {
        let mut connections = self.connections.lock();
        // Tasks that have ended are collected here, for want of anything else that comes by.
        while connections.tasks.try_join_next().is_some() {}
        connections.uses = connections.uses.saturating_add(1);
        let used = connections.uses;
        let open = connections.by_endpoint.get_mut(endpoint).filter(|handle| !handle.queries.is_closed());
        if let Some(handle) = open {
            handle.used = used;
            return Ok((handle.clone(), ConnectionAge::Kept));
        }
        // The new connection runs in a task of its own: it outlives the exchange that wanted it.
        connections.make_room(self.limits.connections)?;
        let (queries, queue) = mpsc::channel(self.limits.in_flight.max(1));
        let counters = Arc::clone(&self.counters);
        connections.tasks.spawn(connection::run(connector, endpoint.clone(), self.limits, counters, queue));
        let permits = Arc::new(Semaphore::new(self.limits.in_flight.min(Semaphore::MAX_PERMITS)));
        let handle = ConnectionHandle { queries, permits, used };
        connections.by_endpoint.insert(endpoint.clone(), handle.clone());
        Ok((handle, ConnectionAge::New))
    }
}

impl PooledConnections {
    /// Removes ended connections and, if that is not enough, the least recently used one.
    ///
    /// # Errors
    /// [`TransportError::Exhausted`] while as many removed connections as kept ones are open.
    fn make_room(&mut self, limit: usize) -> Result<(), TransportError> {
        self.by_endpoint.retain(|_, handle| !handle.queries.is_closed());
        // A removed connection still answers what is outstanding on it, and so holds its descriptor
        // for a while. The number of removed connections needs a bound, too.
        if self.tasks.len() >= limit.saturating_mul(2) {
            return Err(TransportError::Exhausted);
        }
        if self.by_endpoint.len() >= limit
            && let Some(oldest) =
                self.by_endpoint.iter().min_by_key(|(_, handle)| handle.used).map(|(endpoint, _)| endpoint.clone())
        {
            self.by_endpoint.remove(&oldest);
        }
        Ok(())
    }
}

impl ConnectionHandle {
    /// Hands a query to the connection and waits for its response or for the end of the connection.
    async fn ask(self, query: Vec<u8>) -> Result<Vec<u8>, TransportError> {
        let _permit = self.permits.try_acquire_owned().map_err(|_full| TransportError::Exhausted)?;
        let (reply, response) = oneshot::channel();
        self.queries.try_send(StreamQuery { query, reply }).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => TransportError::Exhausted,
            mpsc::error::TrySendError::Closed(_) => TransportError::Lost,
        })?;
        // A connection that the pool has removed ends when the last sender is gone, so no sender
        // may be held while waiting.
        drop(self.queries);
        response.await.unwrap_or(Err(TransportError::Lost))
    }
}
