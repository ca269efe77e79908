//! The outstanding queries of one connection: which response belongs to which query, and whose time
//! is over.
//!
//! A query goes out under its own ID, or under another one while an outstanding query of this
//! connection has the same ID; the response gets the ID of its query back. A query whose exchange
//! was dropped stays in the table until its time is over: a late response is then recognised, and a
//! connection over which nothing comes back is noticed although no exchange waits that long.
//!
//! No I/O is waited for here; `stream/connection.rs` calls these methods from its loop.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::net::{BufDnsStreamHandle, DnsStreamHandle};
use hickory_resolver::proto::op::SerialMessage;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::adapters::upstream::limits::StreamLimits;
use crate::core::matching::{Acceptance, Mismatch, accepts};
use crate::resolver::ports::TransportError;
use crate::telemetry::tally::{UpstreamCounters, UpstreamTraffic};

/// Messages in a row that belong to no query, after which the connection is given up.
const IGNORED_MAX: usize = 64;

/// One query on its way to a connection, and the exchange that waits for the response.
pub(super) struct StreamQuery {
    /// The query with the ID that the exchange gave it.
    pub(super) query: Vec<u8>,
    /// Takes the response; closed when the exchange was dropped.
    pub(super) reply: oneshot::Sender<Result<Vec<u8>, Unanswered>>,
}

/// Why a query got no response on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// The time for the response is over, while the connection lives on.
    TimedOut,
    /// The connection took no more queries, so this one was not sent.
    NotTaken,
    /// The connection could not be set up.
    NotSetUp(TransportError),
    /// The connection ended, for this reason, without having answered any query.
    EndedUnused(TransportError),
    /// The connection ended, for this reason, after it had answered other queries.
    EndedUsed(TransportError),
}

/// The queries of one connection that have no response yet.
pub(super) struct OutstandingQueries {
    limits: StreamLimits,
    /// How long the connection is kept while nothing is outstanding.
    idle: Duration,
    counters: Arc<UpstreamCounters>,
    /// The queries by the ID under which they were sent.
    by_id: HashMap<u16, OutstandingQuery>,
    /// When the last message arrived; before the first message, when the connection was set up.
    last_message: Instant,
    /// Messages ignored since the last one that belonged to a query.
    ignored: usize,
    /// Queries that were taken in.
    taken: u64,
    /// Queries that were answered.
    answered: u64,
}

/// One query that has no response yet.
struct OutstandingQuery {
    /// The query, with the ID under which it is sent.
    query: Vec<u8>,
    /// The ID that the exchange gave it.
    id: [u8; 2],
    reply: oneshot::Sender<Result<Vec<u8>, Unanswered>>,
    /// The number of the query on its connection.
    number: u64,
    /// When the query was handed to the connection, or when the connection was set up if that was
    /// later.
    sent: Instant,
}

impl OutstandingQueries {
    /// The table of a connection that is being set up, and that is kept for `idle` while nothing is
    /// outstanding.
    pub(super) fn new(limits: StreamLimits, idle: Duration, counters: Arc<UpstreamCounters>) -> Self {
        Self {
            limits,
            idle,
            counters,
            by_id: HashMap::new(),
            last_message: Instant::now(),
            ignored: 0,
            taken: 0,
            answered: 0,
        }
    }

    /// The number of queries that have no response yet.
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether every query has its response.
    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Removes the queries whose exchange was dropped.
    pub(super) fn forget_dropped(&mut self) {
        self.by_id.retain(|_, outstanding| !outstanding.reply.is_closed());
    }

    /// Takes a query in; returns the ID under which it is to be sent.
    pub(super) fn add(&mut self, query: StreamQuery) -> u16 {
        // Queries of dropped exchanges give up their permit of the pool but stay in the table, so
        // the table needs a bound of its own. Beyond that bound they are removed before their time.
        if self.by_id.len() >= self.limits.in_flight.saturating_mul(2) {
            self.forget_dropped();
        }
        let StreamQuery { mut query, reply } = query;
        let id = query.first_chunk().copied().unwrap_or_default();
        let wanted = u16::from_be_bytes(id);
        let free = (0..=u16::MAX)
            .map(|step| wanted.wrapping_add(step))
            .find(|id| !self.by_id.contains_key(id))
            .unwrap_or(wanted);
        set_id(&mut query, free.to_be_bytes());
        self.taken = self.taken.saturating_add(1);
        self.by_id.insert(free, OutstandingQuery { query, id, reply, number: self.taken, sent: Instant::now() });
        free
    }

    /// Starts the time of the queries that waited for the set-up; returns the IDs of those whose
    /// exchange still waits, in the order in which they came, and removes the others.
    pub(super) fn restart(&mut self) -> Vec<u16> {
        let now = Instant::now();
        self.last_message = now;
        self.forget_dropped();
        self.by_id.values_mut().for_each(|outstanding| outstanding.sent = now);
        let mut ids: Vec<u16> = self.by_id.keys().copied().collect();
        ids.sort_unstable_by_key(|id| self.by_id.get(id).map(|outstanding| outstanding.number));
        ids
    }

    /// Hands a query to the framing. When the queue of the framing is full, because the upstream
    /// does not read, the exchange has to look for another connection.
    pub(super) fn send(&mut self, id: u16, upstream: SocketAddr, outgoing: &mut BufDnsStreamHandle) {
        let Some(outstanding) = self.by_id.get(&id) else { return };
        if outgoing.send(SerialMessage::new(outstanding.query.clone(), upstream)).is_ok() {
            self.counters.count(UpstreamTraffic::TcpQuery);
        } else if let Some(outstanding) = self.by_id.remove(&id) {
            outstanding.finish(Err(Unanswered::NotTaken));
        }
    }

    /// Gives a response to the query that it belongs to, and returns how long it took; a message
    /// that belongs to no query is counted and ignored.
    ///
    /// # Errors
    /// [`TransportError::Lost`] when [`IGNORED_MAX`] messages in a row belonged to no query.
    pub(super) fn settle(&mut self, mut message: Vec<u8>) -> Result<Option<Duration>, TransportError> {
        let now = Instant::now();
        self.last_message = now;
        match self.claim(&message) {
            Ok(outstanding) => {
                self.ignored = 0;
                self.answered = self.answered.saturating_add(1);
                let took = now.duration_since(outstanding.sent);
                self.counters.count(UpstreamTraffic::Response);
                set_id(&mut message, outstanding.id);
                outstanding.finish(Ok(message));
                Ok(Some(took))
            }
            Err(mismatch) => {
                self.counters.ignore(mismatch);
                self.ignored = self.ignored.saturating_add(1);
                if self.ignored < IGNORED_MAX { Ok(None) } else { Err(TransportError::Lost) }
            }
        }
    }

    /// Takes out the query that a message answers.
    fn claim(&mut self, message: &[u8]) -> Result<OutstandingQuery, Mismatch> {
        let id = u16::from_be_bytes(*message.first_chunk().ok_or(Mismatch::Short)?);
        let outstanding = self.by_id.get(&id).ok_or(Mismatch::Id)?;
        match accepts(&outstanding.query, message) {
            Acceptance::Accepted => self.by_id.remove(&id).ok_or(Mismatch::Id),
            Acceptance::NotOurs(mismatch) => Err(mismatch),
        }
    }

    /// When [`Self::expire`] has something to do next.
    pub(super) fn next_deadline(&self) -> Instant {
        match self.by_id.values().map(|outstanding| outstanding.sent).min() {
            Some(sent) => sent + self.limits.response,
            None => self.last_message + self.idle,
        }
    }

    /// Ends the queries whose time is over with [`Unanswered::TimedOut`].
    ///
    /// # Errors
    /// [`TransportError::Lost`] when the connection is of no more use: idle for too long, or
    /// without a single message since one of these queries was sent. The queries that are left may
    /// then be sent again on another connection.
    pub(super) fn expire(&mut self, now: Instant) -> Result<(), TransportError> {
        let is_idle = self.by_id.is_empty() && now.duration_since(self.last_message) >= self.idle;
        let overdue: Vec<u16> = self
            .by_id
            .iter()
            .filter(|(_, outstanding)| now.duration_since(outstanding.sent) >= self.limits.response)
            .map(|(id, _)| *id)
            .collect();
        // A connection on which other responses arrive is in order; only this query is slow.
        let mut is_silent = false;
        for outstanding in overdue.iter().filter_map(|id| self.by_id.remove(id)) {
            is_silent |= outstanding.sent >= self.last_message;
            outstanding.finish(Err(Unanswered::TimedOut));
        }
        if is_idle || is_silent { Err(TransportError::Lost) } else { Ok(()) }
    }

    /// Ends the queries that still wait because the connection could not be set up.
    pub(super) fn end_without_connection(self, cause: TransportError) {
        self.end(Unanswered::NotSetUp(cause));
    }

    /// Ends the queries that still wait because the connection has ended.
    pub(super) fn end_with_connection(self, cause: TransportError) {
        let end = if self.answered > 0 { Unanswered::EndedUsed } else { Unanswered::EndedUnused };
        self.end(end(cause));
    }

    fn end(self, why: Unanswered) {
        for outstanding in self.by_id.into_values() {
            outstanding.finish(Err(why));
        }
    }
}

impl OutstandingQuery {
    fn finish(self, outcome: Result<Vec<u8>, Unanswered>) {
        // Sending fails when the exchange was dropped, and then its outcome is not needed.
        let _dropped = self.reply.send(outcome);
    }
}

/// Overwrites the ID of a message.
fn set_id(message: &mut [u8], id: [u8; 2]) {
    if let Some(place) = message.first_chunk_mut() {
        *place = id;
    }
}
