//! One client's connection: queries come in, answers go out as they complete, and everything is
//! bounded.
//!
//! One task drives the connection. Each query is answered by a task of its own, owned by the
//! connection, so that a slow query holds up no other (RFC 7766 §6.2.1.1, §7).
//!
//! | situation | what happens |
//! |---|---|
//! | as many queries in flight as allowed | reading stops until there are fewer |
//! | 64 KiB of answers that the client does not fetch | the same |
//! | no query in flight for the idle time | closed |
//! | a query arrives slowly | closed at the idle time after its first byte |
//! | a client does not fetch an answer in time | closed |
//! | a message under 12 bytes, or with QR = 1 | taken out and dropped |
//! | a frame of length 0 | the queries in flight are answered, then closed |
//! | the client closes its side | the same |
//! | the front needs its place for another connection, or drains | the same |
//!
//! Memory: nothing while idle; otherwise at most one query that is arriving, and the answers of the
//! allowed number of queries.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use super::activity::Activity;
use super::frames::{Inbox, NextFrame, Outbox, WriteProgress};
use super::limits::TcpLimits;
use super::phase::{TcpPhase, draining};
use crate::resolver::ports::Answer;

/// Bytes of one read. The buffer is on the stack, for the time of the read only.
const READ_BYTES: usize = 4096;
/// Bytes of answers on their way out above which no more queries are read.
const UNFETCHED_BYTES: usize = 65_536;
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
    inbox: Inbox,
    outbox: Outbox,
    /// The tasks of the queries that are being answered. `None` of a task: no answer is sent.
    answers: JoinSet<Option<Vec<u8>>>,
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

/// The event that woke the task of a connection.
enum ConnectionWake {
    /// No more queries are to be read.
    Stop,
    /// The task of a query has ended.
    Answered(Result<Option<Vec<u8>>, JoinError>),
    Readable,
    Writable,
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

    /// Serves the connection until it ends. Cancel safe: dropping the future closes the connection
    /// and drops the queries that are being answered.
    pub(super) async fn run(mut self, mut phase: watch::Receiver<TcpPhase>) {
        loop {
            self.take_queries();
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
        let deadline = self.deadline();
        tokio::select! {
            () = draining(phase), if is_flowing => ConnectionWake::Stop,
            () = self.activity.closed(), if is_flowing => ConnectionWake::Stop,
            Some(answer) = self.answers.join_next() => ConnectionWake::Answered(answer),
            // An error of the socket shows itself in the read or write that follows.
            _ready = self.stream.writable(), if self.outbox.len() > 0 => ConnectionWake::Writable,
            _ready = self.stream.readable(), if is_reading => ConnectionWake::Readable,
            () = sleep_until(deadline) => ConnectionWake::Overdue,
        }
    }

    fn act(&mut self, wake: ConnectionWake) -> Result<(), ConnectionDead> {
        match wake {
            ConnectionWake::Stop => {
                self.source = Source::Ended;
                Ok(())
            }
            ConnectionWake::Answered(answer) => {
                self.queue(answer);
                Ok(())
            }
            ConnectionWake::Readable => self.read(),
            ConnectionWake::Writable => self.write(),
            ConnectionWake::Overdue => Err(ConnectionDead),
        }
    }

    /// Starts answering the queries that have arrived whole, as far as the limits allow.
    fn take_queries(&mut self) {
        self.intake = loop {
            if self.in_flight() >= self.limits.queries.max(1) || self.outbox.bytes() >= UNFETCHED_BYTES {
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
                (NextFrame::Nonsense, _) => {
                    self.source = Source::Ended;
                    break Intake::Clear;
                }
            }
        };
    }

    /// Starts answering a query in a task of its own.
    fn start(&mut self, query: Vec<u8>) {
        self.active_at = Instant::now();
        let (answerer, client) = (Arc::clone(&self.answerer), self.client);
        self.answers
            .spawn(async move { timeout(ANSWER_PATIENCE, answerer.answer(query, client)).await.ok().flatten() });
    }

    /// Puts an answer into the outbox. A query whose task gave no answer, took too long or panicked
    /// gets none.
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
        match self.stream.try_write(self.outbox.front()) {
            Ok(0) => Err(ConnectionDead),
            Ok(length) => {
                if self.outbox.advance(length) == WriteProgress::Frame {
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
    /// its answering tasks. These keep a time limit of their own, which is repeated here with some
    /// to spare.
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

    /// Queries whose answer has not left.
    fn in_flight(&self) -> usize {
        self.answers.len().saturating_add(self.outbox.len())
    }

    /// Whether the answers of all queries have left.
    fn owes_nothing(&self) -> bool {
        self.in_flight() == 0
    }
}
