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
    pub(super) reply: oneshot::Sender<Result<Vec<u8>, TransportError>>,
}

/// The queries of one connection that have no response yet.
pub(super) struct OutstandingQueries {
    limits: StreamLimits,
    counters: Arc<UpstreamCounters>,
    /// The queries by the ID under which they were sent.
    by_id: HashMap<u16, OutstandingQuery>,
    /// When the last message arrived; before the first message, when the connection was set up.
    last_message: Instant,
    /// Messages ignored since the last one that belonged to a query.
    ignored: usize,
}

/// One query that has no response yet.
struct OutstandingQuery {
    /// The query, with the ID under which it is sent.
    query: Vec<u8>,
    /// The ID that the exchange gave it.
    id: [u8; 2],
    reply: oneshot::Sender<Result<Vec<u8>, TransportError>>,
    /// When the query was handed to the connection, or when the connection was set up if that was
    /// later.
    sent: Instant,
}

impl OutstandingQueries {
    /// The table of a connection that is being set up.
    pub(super) fn new(limits: StreamLimits, counters: Arc<UpstreamCounters>) -> Self {
        Self { limits, counters, by_id: HashMap::new(), last_message: Instant::now(), ignored: 0 }
    }

    /// Whether every query has its response.
    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Takes a query in; returns the ID under which it is to be sent.
    pub(super) fn add(&mut self, query: StreamQuery) -> u16 {
        // Queries of dropped exchanges give up their permit of the pool but stay in the table, so
        // the table needs a bound of its own. Beyond that bound they are removed before their time.
        if self.by_id.len() >= self.limits.in_flight.saturating_mul(2) {
            self.by_id.retain(|_, outstanding| !outstanding.reply.is_closed());
        }
        let StreamQuery { mut query, reply } = query;
        let id = query.first_chunk().copied().unwrap_or_default();
        let wanted = u16::from_be_bytes(id);
        let free = (0..=u16::MAX)
            .map(|step| wanted.wrapping_add(step))
            .find(|id| !self.by_id.contains_key(id))
            .unwrap_or(wanted);
        set_id(&mut query, free.to_be_bytes());
        self.by_id.insert(free, OutstandingQuery { query, id, reply, sent: Instant::now() });
        free
    }

    /// Starts the time of the queries that waited for the set-up; returns the IDs of those whose
    /// exchange still waits, and removes the others.
    pub(super) fn restart(&mut self) -> Vec<u16> {
        let now = Instant::now();
        self.last_message = now;
        self.by_id.retain(|_, outstanding| !outstanding.reply.is_closed());
        self.by_id.values_mut().for_each(|outstanding| outstanding.sent = now);
        self.by_id.keys().copied().collect()
    }

    /// Hands a query to the framing. When the queue of the framing is full, because the upstream
    /// does not read, the exchange ends with [`TransportError::Exhausted`].
    pub(super) fn send(&mut self, id: u16, upstream: SocketAddr, outgoing: &mut BufDnsStreamHandle) {
        let Some(outstanding) = self.by_id.get(&id) else { return };
        if outgoing.send(SerialMessage::new(outstanding.query.clone(), upstream)).is_ok() {
            self.counters.count(UpstreamTraffic::TcpQuery);
        } else if let Some(outstanding) = self.by_id.remove(&id) {
            outstanding.finish(Err(TransportError::Exhausted));
        }
    }

    /// Gives a response to the query that it belongs to; a message that belongs to no query is
    /// counted and ignored.
    ///
    /// # Errors
    /// [`TransportError::Lost`] when [`IGNORED_MAX`] messages in a row belonged to no query.
    pub(super) fn settle(&mut self, mut message: Vec<u8>) -> Result<(), TransportError> {
        self.last_message = Instant::now();
        match self.claim(&message) {
            Ok(outstanding) => {
                self.ignored = 0;
                self.counters.count(UpstreamTraffic::Response);
                set_id(&mut message, outstanding.id);
                outstanding.finish(Ok(message));
                Ok(())
            }
            Err(mismatch) => {
                self.counters.ignore(mismatch);
                self.ignored = self.ignored.saturating_add(1);
                if self.ignored < IGNORED_MAX { Ok(()) } else { Err(TransportError::Lost) }
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
            None => self.last_message + self.limits.idle,
        }
    }

    /// Ends the queries whose time is over with [`TransportError::TimedOut`].
    ///
    /// # Errors
    /// [`TransportError::Lost`] when the connection is of no more use: idle for too long, or
    /// without a single message since one of these queries was sent. The queries that are left may
    /// then be sent again on another connection.
    pub(super) fn expire(&mut self, now: Instant) -> Result<(), TransportError> {
        let is_idle = self.by_id.is_empty() && now.duration_since(self.last_message) >= self.limits.idle;
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
            outstanding.finish(Err(TransportError::TimedOut));
        }
        if is_idle || is_silent { Err(TransportError::Lost) } else { Ok(()) }
    }

    /// Ends all exchanges that still wait, with the reason for which the connection ended.
    pub(super) fn end(self, cause: TransportError) {
        for outstanding in self.by_id.into_values() {
            outstanding.finish(Err(cause));
        }
    }
}

impl OutstandingQuery {
    fn finish(self, outcome: Result<Vec<u8>, TransportError>) {
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
