//! One connection to one upstream, driven by one task: queries in, responses out, in any order.
//!
//! A query goes out under its own ID, or under another one while that is taken on this connection;
//! the response gets the ID of its query back. A query whose client has gone stays in the table
//! until its time is over: a late response is then recognised, and a connection that swallows
//! everything is found out although nobody waits that long.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;

use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::tcp::TcpClientStream;
use hickory_resolver::net::xfer::DnsClientStream;
use hickory_resolver::net::{BufDnsStreamHandle, DnsStreamHandle, NetError};
use hickory_resolver::proto::op::SerialMessage;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::super::cause;
use super::StreamLimits;
use crate::core::matching::{Acceptance, Mismatch, accepts};
use crate::resolver::ports::{Endpoint, TransportError};
use crate::telemetry::tally::{Carried, UpstreamCounters};

/// Frames in a row that belong to no query, after which the peer is not worth listening to.
const IGNORED_MAX: usize = 64;

/// One query and where its response goes.
pub(super) struct Job {
    /// The query with its final ID.
    pub(super) query: Vec<u8>,
    /// Who waits; closed when nobody does any more.
    pub(super) reply: oneshot::Sender<Result<Vec<u8>, TransportError>>,
}

/// Sets up the connection, serves `jobs` on it until it ends, and tells those still waiting why it
/// ended.
pub(super) async fn run(
    endpoint: Endpoint,
    limits: StreamLimits,
    counters: Arc<UpstreamCounters>,
    mut jobs: mpsc::Receiver<Job>,
) {
    counters.count(Carried::Connection);
    let server = endpoint.address;
    let mut flights = Flights { limits, counters, by_id: HashMap::new(), heard: Instant::now(), ignored: 0 };
    let (connecting, outbox) = TcpClientStream::new(server, None, Some(limits.connect), TokioRuntimeProvider::new());
    let end = match connect(connecting, &mut jobs, &mut flights).await {
        Ok(stream) => converse(stream, outbox, server, &mut jobs, &mut flights).await,
        Err(error) => what_happened(&error),
    };
    // Closed before anybody is told, so that who is told finds or makes another connection.
    jobs.close();
    while let Some(job) = jobs.recv().await {
        flights.add(job);
    }
    flights.end(end);
}

/// Waits for the set-up while collecting the queries that wait for it.
async fn connect<S>(
    connecting: impl Future<Output = Result<S, NetError>>,
    jobs: &mut mpsc::Receiver<Job>,
    flights: &mut Flights,
) -> Result<S, NetError> {
    let mut connecting = pin!(connecting);
    loop {
        tokio::select! {
            connected = &mut connecting => return connected,
            Some(job) = jobs.recv() => { flights.add(job); }
        }
    }
}

/// Carries queries and responses until the connection ends; says why it did.
async fn converse<S: DnsClientStream>(
    mut stream: S,
    mut outbox: BufDnsStreamHandle,
    server: SocketAddr,
    jobs: &mut mpsc::Receiver<Job>,
    flights: &mut Flights,
) -> TransportError {
    for id in flights.restart() {
        flights.send(id, server, &mut outbox);
    }
    let mut is_wanted = true;
    loop {
        if !is_wanted && flights.by_id.is_empty() {
            return TransportError::Lost;
        }
        tokio::select! {
            frame = next_frame(&mut stream) => match frame {
                Some(Ok(frame)) => match flights.settle(frame.into_parts().0) {
                    Ok(()) => (),
                    Err(end) => return end,
                },
                Some(Err(error)) => return what_happened(&error),
                None => return TransportError::Lost,
            },
            job = jobs.recv(), if is_wanted => match job {
                Some(job) => {
                    let id = flights.add(job);
                    flights.send(id, server, &mut outbox);
                }
                None => is_wanted = false,
            },
            () = sleep_until(flights.next_deadline()) => match flights.expire(Instant::now()) {
                Ok(()) => (),
                Err(end) => return end,
            },
        }
    }
}

/// The next whole frame. Cancel safe: what has been read of it stays in `stream`.
async fn next_frame<S: DnsClientStream>(stream: &mut S) -> Option<Result<SerialMessage, NetError>> {
    poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await
}

/// What an error of the connection means for those who wait on it.
fn what_happened(error: &NetError) -> TransportError {
    match error {
        NetError::Io(error) => cause(error),
        NetError::Timeout => TransportError::TimedOut,
        _ => TransportError::Lost,
    }
}

/// The queries in flight on one connection.
struct Flights {
    /// The bounds.
    limits: StreamLimits,
    /// What happened so far.
    counters: Arc<UpstreamCounters>,
    /// The queries by the ID under which they were sent.
    by_id: HashMap<u16, Flight>,
    /// When the connection was set up, and later when a frame arrived last.
    heard: Instant,
    /// Frames ignored since the last one that was not.
    ignored: usize,
}

/// One query in flight.
struct Flight {
    /// The query, with the ID under which it is sent.
    query: Vec<u8>,
    /// The ID that its sender knows.
    id: [u8; 2],
    /// Who waits.
    reply: oneshot::Sender<Result<Vec<u8>, TransportError>>,
    /// When it was handed to the connection.
    sent: Instant,
}

impl Flights {
    /// Takes a query in; gives the ID under which it is to be sent.
    fn add(&mut self, job: Job) -> u16 {
        if self.by_id.len() >= self.limits.in_flight.saturating_mul(2) {
            self.by_id.retain(|_, flight| !flight.reply.is_closed());
        }
        let Job { mut query, reply } = job;
        let id = query.first_chunk().copied().unwrap_or_default();
        let wanted = u16::from_be_bytes(id);
        let free = (0..=u16::MAX)
            .map(|step| wanted.wrapping_add(step))
            .find(|id| !self.by_id.contains_key(id))
            .unwrap_or(wanted);
        set_id(&mut query, free.to_be_bytes());
        self.by_id.insert(free, Flight { query, id, reply, sent: Instant::now() });
        free
    }

    /// Starts the time of the queries that waited for the set-up; gives those that somebody still
    /// waits for.
    fn restart(&mut self) -> Vec<u16> {
        let now = Instant::now();
        self.heard = now;
        self.by_id.retain(|_, flight| !flight.reply.is_closed());
        self.by_id.values_mut().for_each(|flight| flight.sent = now);
        self.by_id.keys().copied().collect()
    }

    /// Hands a query to the framing; a query that finds its queue full, because the peer does not
    /// read, fails.
    fn send(&mut self, id: u16, server: SocketAddr, outbox: &mut BufDnsStreamHandle) {
        let Some(flight) = self.by_id.get(&id) else { return };
        if outbox.send(SerialMessage::new(flight.query.clone(), server)).is_ok() {
            self.counters.count(Carried::Streamed);
        } else if let Some(flight) = self.by_id.remove(&id) {
            flight.finish(Err(TransportError::Exhausted));
        }
    }

    /// Gives a response to the query that it belongs to.
    ///
    /// # Errors
    /// [`TransportError::Lost`] when the peer sends nothing but what belongs to nobody.
    fn settle(&mut self, mut frame: Vec<u8>) -> Result<(), TransportError> {
        self.heard = Instant::now();
        match self.claim(&frame) {
            Ok(flight) => {
                self.ignored = 0;
                self.counters.count(Carried::Accepted);
                set_id(&mut frame, flight.id);
                flight.finish(Ok(frame));
                Ok(())
            }
            Err(mismatch) => {
                self.counters.ignore(mismatch);
                self.ignored = self.ignored.saturating_add(1);
                if self.ignored < IGNORED_MAX { Ok(()) } else { Err(TransportError::Lost) }
            }
        }
    }

    /// Takes out the query that a frame answers.
    fn claim(&mut self, frame: &[u8]) -> Result<Flight, Mismatch> {
        let id = u16::from_be_bytes(*frame.first_chunk().ok_or(Mismatch::Short)?);
        let flight = self.by_id.get(&id).ok_or(Mismatch::Id)?;
        match accepts(&flight.query, frame) {
            Acceptance::Accepted => self.by_id.remove(&id).ok_or(Mismatch::Id),
            Acceptance::NotOurs(mismatch) => Err(mismatch),
        }
    }

    /// When [`Self::expire`] has something to do next.
    fn next_deadline(&self) -> Instant {
        match self.by_id.values().map(|flight| flight.sent).min() {
            Some(sent) => sent + self.limits.response,
            None => self.heard + self.limits.idle,
        }
    }

    /// Ends the queries whose time is over.
    ///
    /// # Errors
    /// [`TransportError::Lost`] when the connection is of no more use: idle for too long, or silent
    /// since such a query was sent. The queries that are left may then be sent again elsewhere.
    fn expire(&mut self, now: Instant) -> Result<(), TransportError> {
        let is_idle = self.by_id.is_empty() && now.duration_since(self.heard) >= self.limits.idle;
        let overdue: Vec<u16> = self
            .by_id
            .iter()
            .filter(|(_, flight)| now.duration_since(flight.sent) >= self.limits.response)
            .map(|(id, _)| *id)
            .collect();
        let mut is_silent = false;
        for flight in overdue.iter().filter_map(|id| self.by_id.remove(id)) {
            is_silent |= flight.sent >= self.heard;
            flight.finish(Err(TransportError::TimedOut));
        }
        if is_idle || is_silent { Err(TransportError::Lost) } else { Ok(()) }
    }

    /// Tells all who still wait why the connection ended.
    fn end(self, cause: TransportError) {
        for flight in self.by_id.into_values() {
            flight.finish(Err(cause));
        }
    }
}

impl Flight {
    /// Tells who waits, if anybody does.
    fn finish(self, outcome: Result<Vec<u8>, TransportError>) {
        // Nobody waiting is no error: the exchange was dropped.
        let _gone = self.reply.send(outcome);
    }
}

/// Overwrites the ID of a message.
fn set_id(message: &mut [u8], id: [u8; 2]) {
    if let Some(place) = message.first_chunk_mut() {
        *place = id;
    }
}
