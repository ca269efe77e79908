//! One client's connection: queries come in, answers go out as they complete, and everything is
//! bounded.
//!
//! One task drives the connection and all its queries, each of which has a future of its own, so
//! that a slow query holds up no other (RFC 7766 §6.2.1.1, §7). A query makes progress only while
//! its answer has room: what is not polled writes no answer.
//!
//! | situation | what happens |
//! |---|---|
//! | as many queries in flight as allowed | reading stops until there are fewer |
//! | 64 KiB of answers that the client does not fetch | the same; ready answers wait, for 100 ms at most |
//! | all connections together hold much ([`super::ledger`]) | reading stops until this one owes nothing |
//! | all connections together hold too much, and those of this client most | closed at once |
//! | no query in flight for the idle time | closed |
//! | a query arrives slowly | closed at the idle time after its first byte |
//! | a client does not fetch an answer in time | closed |
//! | a message under 12 bytes, or with QR = 1 | taken out and dropped |
//! | a frame of length 0, or of more than 4 KiB | the queries in flight are answered, then closed |
//! | the client closes its side | the same |
//! | the front needs its place for another connection | the same while it is idle, else closed at once |
//! | the front drains | the queries in flight are answered, then closed |
//!
//! Memory: nothing while idle; otherwise at most 8 KiB that have arrived, and the answers of the
//! allowed number of queries. While a query waits, nothing of it is kept but what its answer needs.

use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::activity::{Activity, ClosingWish};
use super::frames::{Inbox, NextFrame, WriteProgress};
use super::ledger::{Account, HasToGiveWay};
use super::limits::TcpLimits;
use super::phase::{TcpPhase, draining};
use crate::resolver::ports::{Answer, PortFuture};
use crate::telemetry::tally::ConnectionEvent;

/// Bytes of one read. The buffer is on the stack, for the time of the read only.
const READ_BYTES: usize = 4096;
/// Bytes of answers on their way out above which no more queries are read.
const UNFETCHED_BYTES: usize = 65_536;
/// How long a client may fetch nothing while the answers behind wait unwritten. An answer that is
/// ready keeps what was learned from being given back, which nobody counts; so it is written then,
/// and counts as held.
const STALLED: Duration = Duration::from_millis(100);
/// Bytes that a query in flight counts as: its future, and what it keeps while it waits.
const QUERY_BYTES: usize = 2048;
/// How long an answer is waited for: longer than the longest resolution deadline that can be
/// configured, 10 s. The resolver has its own, tighter bound; this one keeps a fault there from
/// holding connections for ever.
const ANSWER_PATIENCE: Duration = Duration::from_secs(15);

/// One client's connection to the TCP front.
pub(super) struct ClientConnection {
    stream: TcpStream,
    client: SocketAddr,
    limits: Arc<TcpLimits>,
    answerer: Arc<dyn Answer>,
    activity: Arc<Activity>,
    /// What the connection holds, in the ledger of all connections.
    account: Account,
    /// The bytes that the ledger was told of last.
    reported: usize,
    inbox: Inbox,
    /// The queries that are being answered. `None` of a query: no answer is sent.
    answers: FuturesUnordered<PortFuture<Option<Vec<u8>>>>,
    intake: Intake,
    source: Source,
    /// When the last query came, or the last answer was ready or had left.
    active_at: Instant,
    /// When the answer that is being written came to the front of the outbox.
    writing_since: Instant,
}

/// How far the cutting of what has arrived into queries has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Intake {
    /// Everything that has arrived is cut.
    Clear,
    /// A frame began to arrive at this time, and is not whole.
    Within(Instant),
    /// There may be whole queries left, which are not taken before an answer has left.
    Full,
}

/// Whether more queries may arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// The connection is open for queries.
    Flowing,
    /// The client has closed its side or does not speak DNS, or the front wants the connection to
    /// close.
    Ended,
}

/// Whether answers that are ready may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    Allowed,
    /// Not before the client has fetched something, or this moment has come.
    NotBefore(Instant),
}

/// The event that woke the task of a connection.
enum ConnectionWake {
    /// No more queries are to be read.
    Stop,
    /// The connection is to end at once.
    GiveWay,
    /// A query has been answered, or gets no answer.
    Answered(Option<Vec<u8>>),
    Readable,
    Writable,
    /// The client has fetched nothing for a while, so that answers are written all the same.
    Stalled,
    /// A time limit is reached.
    Overdue,
}

/// The connection cannot be used any more. The reason does not matter, since there is no client
/// left to report it to.
struct ConnectionDead;

impl From<io::Error> for ConnectionDead {
    fn from(_reason: io::Error) -> Self {
        Self
    }
}

impl From<HasToGiveWay> for ConnectionDead {
    fn from(_reason: HasToGiveWay) -> Self {
        Self
    }
}

impl ClientConnection {
    /// Prepares a connection that has just been accepted.
    pub(super) fn new(
        stream: TcpStream,
        client: SocketAddr,
        limits: Arc<TcpLimits>,
        answerer: Arc<dyn Answer>,
        activity: Arc<Activity>,
    ) -> Self {
        let now = Instant::now();
        // Without this option an answer waits for the acknowledgement of the answer before. Should
        // setting it fail, answers are slower, and nothing else happens.
        let _slower = stream.set_nodelay(true);
        let account = limits.ledger.open(Arc::clone(&activity));
        Self {
            stream,
            client,
            limits,
            answerer,
            activity,
            account,
            reported: 0,
            inbox: Inbox::default(),
            answers: FuturesUnordered::new(),
            intake: Intake::Clear,
            source: Source::Flowing,
            active_at: now,
            writing_since: now,
        }
    }

    /// Serves the connection until it ends. Cancel safe: dropping the future closes the connection
    /// and drops the queries that are being answered.
    pub(super) async fn run(mut self, mut phase: watch::Receiver<TcpPhase>) {
        loop {
            self.take_queries();
            self.reported = self.held();
            if self.account.hold(self.reported).is_err() {
                return;
            }
            self.activity.report(self.owes_nothing().then_some(self.active_at));
            if self.source == Source::Ended && self.owes_nothing() {
                return;
            }
            let wake = self.next_wake(&mut phase).await;
            if self.act(wake).is_err() {
                return;
            }
        }
    }

    /// Waits for something to do. Cancel safe: nothing is read, written or taken before it returns.
    async fn next_wake(&mut self, phase: &mut watch::Receiver<TcpPhase>) -> ConnectionWake {
        let is_flowing = self.source == Source::Flowing;
        let is_reading = is_flowing && self.intake != Intake::Full;
        let has_answers = self.unfetched() > 0;
        let writing = self.writing(Instant::now());
        let stalled_at = match writing {
            Writing::Allowed => Instant::now(),
            Writing::NotBefore(moment) => moment,
        };
        let deadline = self.deadline();
        tokio::select! {
            () = draining(phase), if is_flowing => ConnectionWake::Stop,
            wish = self.activity.wished() => match wish {
                ClosingWish::Stay | ClosingWish::Close => ConnectionWake::Stop,
                ClosingWish::GiveWay => ConnectionWake::GiveWay,
            },
            Some(answer) = self.answers.next(), if writing == Writing::Allowed => ConnectionWake::Answered(answer),
            // An error of the socket shows itself in the read or write that follows.
            _ready = self.stream.writable(), if has_answers => ConnectionWake::Writable,
            _ready = self.stream.readable(), if is_reading => ConnectionWake::Readable,
            () = sleep_until(stalled_at), if writing != Writing::Allowed => ConnectionWake::Stalled,
            () = sleep_until(deadline) => ConnectionWake::Overdue,
        }
    }

    fn act(&mut self, wake: ConnectionWake) -> Result<(), ConnectionDead> {
        match wake {
            ConnectionWake::Stop => {
                self.source = Source::Ended;
                Ok(())
            }
            ConnectionWake::Answered(Some(answer)) => self.send(&answer),
            ConnectionWake::Answered(None) => {
                self.active_at = Instant::now();
                Ok(())
            }
            ConnectionWake::Readable => self.read(),
            ConnectionWake::Writable => self.write(),
            ConnectionWake::Stalled => Ok(()),
            ConnectionWake::GiveWay | ConnectionWake::Overdue => Err(ConnectionDead),
        }
    }

    /// Starts answering the queries that have arrived whole, as far as the limits allow.
    fn take_queries(&mut self) {
        self.intake = loop {
            let is_full = self.in_flight() >= self.limits.queries.max(1) || self.unfetched() >= UNFETCHED_BYTES;
            let is_short = || self.limits.ledger.is_short(self.held().saturating_sub(self.reported));
            if is_full || (!self.owes_nothing() && is_short()) {
                break Intake::Full;
            }
            match (self.inbox.next(), self.intake) {
                (NextFrame::Query(query), _) => {
                    self.start(query);
                    self.intake = Intake::Clear;
                }
                (NextFrame::Junk, _) => self.intake = Intake::Clear,
                // The time of a query that arrives slowly counts from its first byte, not from the
                // last one: otherwise a byte now and then would hold the connection for ever.
                (NextFrame::Partial, Intake::Within(since)) => break Intake::Within(since),
                (NextFrame::Partial, Intake::Clear | Intake::Full) => break Intake::Within(Instant::now()),
                (NextFrame::Empty, _) => break Intake::Clear,
                // The client does not speak DNS. What follows in the stream cannot be cut.
                (NextFrame::Nonsense, _) => break self.end(),
                (NextFrame::TooLong, _) => {
                    self.limits.counters.count(ConnectionEvent::QueryTooLong);
                    break self.end();
                }
            }
        };
    }

    /// Takes no more queries, and drops what has arrived of them.
    fn end(&mut self) -> Intake {
        self.source = Source::Ended;
        self.inbox = Inbox::default();
        Intake::Clear
    }

    /// Starts answering a query. A query whose answer takes too long or panics gets none.
    fn start(&mut self, query: Vec<u8>) {
        self.active_at = Instant::now();
        let (answerer, client) = (Arc::clone(&self.answerer), self.client);
        let answer = async move { timeout(ANSWER_PATIENCE, answerer.answer(query, client)).await.ok().flatten() };
        self.answers.push(Box::pin(AssertUnwindSafe(answer).catch_unwind().map(|answer| answer.ok().flatten())));
    }

    /// Puts an answer into the outbox, and sends it at once when none is before it.
    fn send(&mut self, message: &[u8]) -> Result<(), ConnectionDead> {
        let now = Instant::now();
        self.active_at = now;
        let is_first = {
            let mut outbox = self.activity.outbox.lock();
            let is_first = outbox.len() == 0;
            outbox.push(message);
            is_first && outbox.len() > 0
        };
        if is_first {
            self.writing_since = now;
            return self.write();
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), ConnectionDead> {
        let mut buffer = [0; READ_BYTES];
        match self.stream.try_read(&mut buffer) {
            Ok(0) => {
                self.source = Source::Ended;
                Ok(())
            }
            Ok(length) => {
                self.inbox.push(buffer.get(..length).unwrap_or_default());
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn write(&mut self) -> Result<(), ConnectionDead> {
        let mut outbox = self.activity.outbox.lock();
        if outbox.len() == 0 {
            return Ok(());
        }
        match self.stream.try_write(outbox.front()) {
            Ok(0) => Err(ConnectionDead),
            Ok(length) => {
                if outbox.advance(length) == WriteProgress::Frame {
                    let now = Instant::now();
                    (self.active_at, self.writing_since) = (now, now);
                }
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// When the connection is closed unless something happens before.
    ///
    /// While an answer is owed and nothing is being read or written, the connection only waits for
    /// its answers. These keep a time limit of their own, which is repeated here with some to
    /// spare.
    fn deadline(&self) -> Instant {
        let write = (self.unfetched() > 0).then(|| self.writing_since + self.limits.write);
        let read = match (self.source, self.intake) {
            (Source::Flowing, Intake::Within(since)) => Some(since + self.limits.idle),
            (Source::Flowing, Intake::Clear) if self.owes_nothing() => Some(self.active_at + self.limits.idle),
            (Source::Flowing, Intake::Clear | Intake::Full) | (Source::Ended, _) => None,
        };
        let patience = self.active_at + ANSWER_PATIENCE.saturating_mul(2);
        [write, read].into_iter().flatten().min().unwrap_or(patience)
    }

    /// Whether answers that are ready may be written, or have to wait for the client.
    fn writing(&self, now: Instant) -> Writing {
        let stalled_at = self.writing_since + STALLED;
        if self.unfetched() < UNFETCHED_BYTES || stalled_at <= now {
            Writing::Allowed
        } else {
            Writing::NotBefore(stalled_at)
        }
    }

    /// Bytes of answers that the client has not fetched.
    fn unfetched(&self) -> usize {
        self.activity.outbox.lock().bytes()
    }

    /// Bytes that the connection holds, of which queries in flight count as [`QUERY_BYTES`] each.
    fn held(&self) -> usize {
        let queries = self.answers.len().saturating_mul(QUERY_BYTES);
        self.inbox.size().saturating_add(queries).saturating_add(self.unfetched())
    }

    /// Queries whose answer has not left.
    fn in_flight(&self) -> usize {
        self.answers.len().saturating_add(self.activity.outbox.lock().len())
    }

    /// Whether the answers of all queries have left.
    fn owes_nothing(&self) -> bool {
        self.in_flight() == 0
    }
}
