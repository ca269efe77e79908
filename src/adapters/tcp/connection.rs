//! One client's connection: queries in, answers out as they complete, everything bounded.
//!
//! One task drives it; each query is answered by a task of its own, owned by the connection, so
//! that a slow one holds up nobody (RFC 7766 §6.2.1.1, §7).
//!
//! | situation | what happens |
//! |---|---|
//! | as many queries in flight as allowed, or 64 KiB of answers that the client does not fetch | reading stops until there are fewer |
//! | no query in flight for the idle time | closed |
//! | a query arrives slowly | closed at the idle time after its first byte |
//! | a client does not fetch an answer in time | closed |
//! | under 12 bytes, or QR = 1 | taken out and dropped |
//! | a frame of length 0 | what is in flight is answered, then closed |
//! | the client closes its side | what it has asked is answered, then closed |
//! | the front wants the room, or drains | the same |
//!
//! Memory: nothing while idle; at most one frame coming in, and the allowed number of answers going
//! out.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use super::frames::{Inbox, Next, Outbox, Progress};
use super::{Phase, TcpLimits, draining};
use crate::resolver::ports::Answer;

/// Bytes of one read; on the stack, for the time of the read only.
const READ_BYTES: usize = 4096;
/// Bytes of answers on their way out above which no more queries are read.
const UNFETCHED_BYTES: usize = 65_536;
/// How long an answer is waited for: longer than the longest resolution deadline that can be
/// configured, 10 s. Whoever answers has its own, tighter bound; this one keeps a fault there from
/// holding connections for ever.
const ANSWER_PATIENCE: Duration = Duration::from_secs(15);

/// What the front knows of a connection, and how it asks it to close.
pub(super) struct Activity {
    /// Since when the connection has been idle; `None` while it owes an answer.
    idle_since: Mutex<Option<Instant>>,
    /// Woken when the connection shall close.
    close: Notify,
}

impl Activity {
    /// A connection that has just been opened.
    pub(super) fn new(now: Instant) -> Self {
        Self { idle_since: Mutex::new(Some(now)), close: Notify::new() }
    }

    /// Since when the connection has been idle; `None` while it owes an answer.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        *self.idle_since.lock()
    }

    /// Asks the connection to close when it owes nothing.
    pub(super) fn close(&self) {
        self.close.notify_one();
    }
}

/// One connection.
pub(super) struct Connection {
    /// The socket.
    stream: TcpStream,
    /// Its other end.
    client: SocketAddr,
    /// The front's bounds.
    limits: Arc<TcpLimits>,
    /// Who knows the answers.
    answerer: Arc<dyn Answer>,
    /// What the front sees.
    activity: Arc<Activity>,
    /// What has arrived.
    inbox: Inbox,
    /// What is to leave.
    outbox: Outbox,
    /// The queries being answered.
    answers: JoinSet<Option<Vec<u8>>>,
    /// How far the cutting of queries has come.
    intake: Intake,
    /// Whether more may arrive.
    source: Source,
    /// When the last query came or the last answer had left.
    active_at: Instant,
    /// When the answer that is now being written had its turn.
    writing_since: Instant,
}

/// How far the cutting of queries has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Intake {
    /// All that has arrived is cut.
    Clear,
    /// A frame has begun to arrive at that time.
    Within(Instant),
    /// There may be whole queries left, but no room for them before something of what is in flight
    /// has gone.
    Full,
}

/// Whether more may arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// It may.
    Flowing,
    /// The client, the front or bad manners have put an end to it.
    Ended,
}

/// What woke a connection.
enum Step {
    /// No more queries are to be read.
    Stop,
    /// A query has been answered.
    Answered(Result<Option<Vec<u8>>, JoinError>),
    /// Something can be read.
    Read,
    /// Something can be written.
    Write,
    /// A bound in time is reached.
    Overdue,
}

/// The connection can be used no more.
struct Broken;

impl From<io::Error> for Broken {
    /// Why does not matter: there is nobody left to tell.
    fn from(_reset: io::Error) -> Self {
        Self
    }
}

impl Connection {
    /// Prepares a connection that has just been accepted.
    pub(super) fn new(
        stream: TcpStream,
        client: SocketAddr,
        limits: Arc<TcpLimits>,
        answerer: Arc<dyn Answer>,
        activity: Arc<Activity>,
    ) -> Self {
        let now = Instant::now();
        // Without it an answer waits for the acknowledgement of the one before; should it fail,
        // that is all that happens.
        let _slower = stream.set_nodelay(true);
        Self {
            stream,
            client,
            limits,
            answerer,
            activity,
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            answers: JoinSet::new(),
            intake: Intake::Clear,
            source: Source::Flowing,
            active_at: now,
            writing_since: now,
        }
    }

    /// Serves the connection until it ends. Cancel safe: dropping the future closes it and drops
    /// what is being answered.
    pub(super) async fn run(mut self, mut phase: watch::Receiver<Phase>) {
        loop {
            self.take_queries();
            self.report();
            if self.source == Source::Ended && self.owes_nothing() {
                return;
            }
            let step = self.next_step(&mut phase).await;
            if self.make(step).is_err() {
                return;
            }
        }
    }

    /// Waits for something to do.
    async fn next_step(&mut self, phase: &mut watch::Receiver<Phase>) -> Step {
        let flows = self.source == Source::Flowing;
        let reads = flows && self.intake != Intake::Full;
        let deadline = self.deadline();
        tokio::select! {
            () = draining(phase), if flows => Step::Stop,
            () = self.activity.close.notified(), if flows => Step::Stop,
            Some(answer) = self.answers.join_next() => Step::Answered(answer),
            // An error shows itself in the read or write that follows.
            _ready = self.stream.writable(), if self.outbox.len() > 0 => Step::Write,
            _ready = self.stream.readable(), if reads => Step::Read,
            () = sleep_until(deadline) => Step::Overdue,
        }
    }

    /// Does what is to be done.
    fn make(&mut self, step: Step) -> Result<(), Broken> {
        match step {
            Step::Stop => {
                self.source = Source::Ended;
                Ok(())
            }
            Step::Answered(answer) => {
                self.queue(answer);
                Ok(())
            }
            Step::Read => self.read(),
            Step::Write => self.write(),
            Step::Overdue => Err(Broken),
        }
    }

    /// Starts answering the queries that have arrived whole, as far as there is room.
    fn take_queries(&mut self) {
        self.intake = loop {
            if self.in_flight() >= self.limits.queries.max(1) || self.outbox.bytes() >= UNFETCHED_BYTES {
                break Intake::Full;
            }
            match (self.inbox.next(), self.intake) {
                (Next::Query(query), _) => {
                    self.start(query);
                    self.intake = Intake::Clear;
                }
                (Next::Junk, _) => self.intake = Intake::Clear,
                (Next::Partial, Intake::Within(since)) => break Intake::Within(since),
                (Next::Partial, Intake::Clear | Intake::Full) => break Intake::Within(Instant::now()),
                (Next::Empty, _) => break Intake::Clear,
                (Next::Nonsense, _) => {
                    self.source = Source::Ended;
                    break Intake::Clear;
                }
            }
        };
    }

    /// Starts answering a query.
    fn start(&mut self, query: Vec<u8>) {
        self.active_at = Instant::now();
        let (answerer, client) = (Arc::clone(&self.answerer), self.client);
        self.answers
            .spawn(async move { timeout(ANSWER_PATIENCE, answerer.answer(query, client)).await.ok().flatten() });
    }

    /// Puts an answer into the outbox. An answer that its task did not give, whyever, is left out.
    fn queue(&mut self, answer: Result<Option<Vec<u8>>, JoinError>) {
        let now = Instant::now();
        self.active_at = now;
        if let Ok(Some(message)) = answer {
            if self.outbox.len() == 0 {
                self.writing_since = now;
            }
            self.outbox.push(&message);
        }
    }

    /// Reads once.
    fn read(&mut self) -> Result<(), Broken> {
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

    /// Writes once.
    fn write(&mut self) -> Result<(), Broken> {
        match self.stream.try_write(self.outbox.front()) {
            Ok(0) => Err(Broken),
            Ok(length) => {
                if self.outbox.advance(length) == Progress::Frame {
                    let now = Instant::now();
                    (self.active_at, self.writing_since) = (now, now);
                }
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// When the connection's patience ends. While an answer is owed and nothing is being read or
    /// written, that is the patience with whoever answers, which the answering tasks keep; it is
    /// repeated here with some to spare.
    fn deadline(&self) -> Instant {
        let write = (self.outbox.len() > 0).then(|| self.writing_since + self.limits.write);
        let read = match (self.source, self.intake) {
            (Source::Flowing, Intake::Within(since)) => Some(since + self.limits.idle),
            (Source::Flowing, Intake::Clear) if self.owes_nothing() => Some(self.active_at + self.limits.idle),
            (Source::Flowing, Intake::Clear | Intake::Full) | (Source::Ended, _) => None,
        };
        let patience = self.active_at + ANSWER_PATIENCE.saturating_mul(2);
        [write, read].into_iter().flatten().min().unwrap_or(patience)
    }

    /// Tells the front whether an answer is owed.
    fn report(&self) {
        *self.activity.idle_since.lock() = self.owes_nothing().then_some(self.active_at);
    }

    /// Queries whose answer has not left.
    fn in_flight(&self) -> usize {
        self.answers.len().saturating_add(self.outbox.len())
    }

    /// Whether every query has been answered.
    fn owes_nothing(&self) -> bool {
        self.in_flight() == 0
    }
}
