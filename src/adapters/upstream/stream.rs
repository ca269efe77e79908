//! Queries over TCP: at most one connection per server, kept, shared and pipelined (RFC 7766 §6.2).
//!
//! Connection set-up and framing are hickory's (`TcpClientStream`). Its multiplexer above,
//! `DnsExchange`, is not used: it decodes every response and drops the whole message when one RDATA
//! cannot be decoded (an empty RDATA of an unknown type, a malformed SVCB), so that the client
//! would wait for an answer that has long been here; it encodes the query anew; and it does not
//! compare the question. `TcpClientStream` carries the bytes of both directions untouched, and the
//! matching of responses with queries is a small table (`stream/connection.rs`).
//!
//! | situation | what happens |
//! |---|---|
//! | no connection | one is set up; all who want the server wait for it |
//! | a kept connection turns out to be closed | the query is sent once more, on a new one (RFC 7766 §6.2.4) |
//! | a new connection is closed before the response | lost |
//! | nothing at all arrives for a response timeout | timed out; the connection is given up, others on it move to a new one |
//! | one response is late while others arrive | timed out; the connection is kept |
//! | nothing to do for the idle time | closed |
//! | more servers than room | the least recently used connection finishes what is in flight and closes |
//!
//! Each exchange is bounded by connect and response timeout together, whatever happens in between.

mod connection;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::connection::Job;
use crate::resolver::ports::{Endpoint, TransportError};
use crate::telemetry::tally::UpstreamCounters;

/// The lengths that a query on a stream can have: a header at least, what the length prefix can say
/// at most.
const QUERY_BYTES: std::ops::RangeInclusive<usize> = 12..=65_535;

/// Bounds of the connections to upstreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// How long setting up a connection may take.
    pub connect: Duration,
    /// How long a response may take once its query has been handed to the connection.
    pub response: Duration,
    /// How long a connection without queries is kept.
    pub idle: Duration,
    /// Servers to which a connection is kept.
    pub connections: usize,
    /// Queries in flight on one connection; one more is [`TransportError::Exhausted`].
    pub in_flight: usize,
}

impl StreamLimits {
    /// What production uses.
    ///
    /// 2 s each for set-up and response: the resolution deadline, after which nobody is waiting; a
    /// lost SYN is sent again after 1 s, so one may be lost. 10 s idle: "a few seconds" (RFC 7766
    /// §6.2.3), long enough for a burst of truncated responses, short enough not to be a burden. 16
    /// servers: several times what a resolv.conf can name. 32 in flight: what hickory and our own
    /// front allow.
    pub const DEFAULT: Self = Self {
        connect: Duration::from_secs(2),
        response: Duration::from_secs(2),
        idle: Duration::from_secs(10),
        connections: 16,
        in_flight: 32,
    };
}

/// The kept connections.
pub(super) struct Streams {
    /// Their bounds.
    limits: StreamLimits,
    /// What happened so far.
    counters: Arc<UpstreamCounters>,
    /// The connections by server.
    kept: Mutex<Kept>,
}

/// The connections and the tasks that drive them.
#[derive(Default)]
struct Kept {
    /// One handle per server.
    connections: HashMap<Endpoint, Handle>,
    /// Their tasks and those of connections that were given up; dropped, they are aborted.
    tasks: JoinSet<()>,
    /// Counts uses, to tell the least recently used handle.
    uses: u64,
}

/// How a connection is reached.
#[derive(Clone)]
struct Handle {
    /// Takes queries; closed once the connection takes no more.
    jobs: mpsc::Sender<Job>,
    /// Room for queries in flight.
    slots: Arc<Semaphore>,
    /// When it was used last, by the count of uses.
    used: u64,
}

/// Where an exchange found its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// It was there, and the server may have closed it in the meantime.
    Kept,
    /// It was set up for this exchange.
    New,
}

impl Streams {
    /// Makes an empty pool.
    pub(super) fn new(limits: StreamLimits, counters: Arc<UpstreamCounters>) -> Self {
        Self { limits, counters, kept: Mutex::default() }
    }

    /// Sends `query` to `endpoint` and waits for the response, which carries the ID of the query.
    ///
    /// Cancel safe: dropping the future frees its slot; the connection stays for others.
    ///
    /// # Errors
    /// Those of the set-up; [`TransportError::Lost`] when the connection ended before the response;
    /// [`TransportError::TimedOut`] after the bounds; [`TransportError::Exhausted`] without a slot, and for
    /// what is no query at all.
    pub(super) async fn exchange(
        self: Arc<Self>,
        endpoint: Endpoint,
        query: Vec<u8>,
    ) -> Result<Vec<u8>, TransportError> {
        if !QUERY_BYTES.contains(&query.len()) {
            return Err(TransportError::Exhausted);
        }
        let bound = self.limits.connect.saturating_add(self.limits.response);
        timeout(bound, self.exchange_or_reconnect(&endpoint, query)).await.unwrap_or(Err(TransportError::TimedOut))
    }

    /// Tries a kept connection, and a new one when the kept one has ended.
    async fn exchange_or_reconnect(&self, endpoint: &Endpoint, query: Vec<u8>) -> Result<Vec<u8>, TransportError> {
        let (handle, origin) = self.reach(endpoint)?;
        match (handle.ask(query.clone()).await, origin) {
            (Err(TransportError::Lost), Origin::Kept) => self.reach(endpoint)?.0.ask(query).await,
            (outcome, Origin::Kept | Origin::New) => outcome,
        }
    }

    /// Finds or sets up the connection to `endpoint`.
    fn reach(&self, endpoint: &Endpoint) -> Result<(Handle, Origin), TransportError> {
        let mut kept = self.kept.lock();
        while kept.tasks.try_join_next().is_some() {}
        kept.uses = kept.uses.saturating_add(1);
        let used = kept.uses;
        if let Some(handle) = kept.connections.get_mut(endpoint).filter(|handle| !handle.jobs.is_closed()) {
            handle.used = used;
            return Ok((handle.clone(), Origin::Kept));
        }
        kept.make_room(self.limits.connections)?;
        let (jobs, queue) = mpsc::channel(self.limits.in_flight.max(1));
        kept.tasks.spawn(connection::run(endpoint.clone(), self.limits, Arc::clone(&self.counters), queue));
        let handle =
            Handle { jobs, slots: Arc::new(Semaphore::new(self.limits.in_flight.min(Semaphore::MAX_PERMITS))), used };
        kept.connections.insert(endpoint.clone(), handle.clone());
        Ok((handle, Origin::New))
    }
}

impl Kept {
    /// Forgets ended connections and, if that is not enough, the least recently used one.
    ///
    /// # Errors
    /// [`TransportError::Exhausted`] while as many connections again are still ending.
    fn make_room(&mut self, limit: usize) -> Result<(), TransportError> {
        self.connections.retain(|_, handle| !handle.jobs.is_closed());
        if self.tasks.len() >= limit.saturating_mul(2) {
            return Err(TransportError::Exhausted);
        }
        if self.connections.len() >= limit
            && let Some(oldest) =
                self.connections.iter().min_by_key(|(_, handle)| handle.used).map(|(endpoint, _)| endpoint.clone())
        {
            self.connections.remove(&oldest);
        }
        Ok(())
    }
}

impl Handle {
    /// Hands the query to the connection and waits for what becomes of it.
    async fn ask(self, query: Vec<u8>) -> Result<Vec<u8>, TransportError> {
        let _slot = self.slots.try_acquire_owned().map_err(|_full| TransportError::Exhausted)?;
        let (reply, response) = oneshot::channel();
        self.jobs.try_send(Job { query, reply }).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => TransportError::Exhausted,
            mpsc::error::TrySendError::Closed(_) => TransportError::Lost,
        })?;
        // A connection that was forgotten ends when the last sender is gone.
        drop(self.jobs);
        response.await.unwrap_or(Err(TransportError::Lost))
    }
}
