//! The TCP front: DNS over TCP as RFC 7766 wants it, on the same port as UDP.
//!
//! hickory-server's is not used: it answers the queries of a connection one after another, has no
//! limits, and its accept loop ends for good on ECONNABORTED. glibc writes A and AAAA into one
//! segment; an upstream that is down for one of them must not hold up the other.
//!
//! | situation | what happens |
//! |---|---|
//! | a client that is not allowed | closed at once |
//! | all connections taken | the one that has been idle longest is closed; one that owes an answer is not idle; if all do, the new one is closed |
//! | accepting fails (ECONNABORTED, EMFILE) | tried again after 10 ms, doubling to 100 ms; never ends, never spins |
//! | shutdown | no new connections, no new queries; what is in flight is answered, within a bound |
//!
//! What happens on one connection is told in `tcp/connection.rs`; frames are cut in
//! `tcp/frames.rs`.

mod connection;
mod frames;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use self::connection::{Activity, Connection};
use crate::config::limits;
use crate::resolver::ports::Answer;
use crate::telemetry::tally::{ConnectionEvent, Connections};

/// Connections that may wait to be accepted; the kernel's own limit may be lower.
const BACKLOG: i32 = 1024;
/// First wait after a failed accept.
const BACK_OFF_MIN: Duration = Duration::from_millis(10);
/// Longest wait after failed accepts.
const BACK_OFF_MAX: Duration = Duration::from_millis(100);

/// Tells whether a client may ask; IPv4 addresses come as such, even from an IPv6 socket.
pub type AccessList = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// Bounds of the TCP front, who may use it, and who counts.
#[derive(Clone)]
pub struct TcpLimits {
    /// Connections at the same moment.
    pub connections: usize,
    /// Queries of one connection that wait for an answer or for its way out; reading stops until
    /// there are fewer.
    pub queries: usize,
    /// How long a connection may be idle, counted from its last query or answer, and how long one
    /// query may take to arrive, counted from its first byte (RFC 7766 §6.2.3).
    pub idle: Duration,
    /// How long a client may take to receive one answer.
    pub write: Duration,
    /// How long what is in flight at shutdown may take.
    pub drain: Duration,
    /// Who may ask.
    pub allowed: AccessList,
    /// Counts what becomes of connections.
    pub counters: Arc<Connections>,
}

impl TcpLimits {
    /// The bounds of a configuration that names none: below its 10 s of idle time, glibc's second
    /// query would meet a closed door. A client may take 5 s to receive an answer of 64 KiB at
    /// most, and draining may take 5 s, more than any resolution takes.
    #[must_use]
    pub fn new(allowed: AccessList) -> Self {
        Self {
            connections: limits::LISTEN_TCP_CONNECTIONS.default,
            queries: limits::LISTEN_TCP_QUERIES.default,
            idle: limits::LISTEN_TCP_IDLE.default,
            write: Duration::from_secs(5),
            drain: Duration::from_secs(5),
            allowed,
            counters: Arc::default(),
        }
    }
}

/// Whether the front takes new queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It does.
    Serving,
    /// It answers what it has, and ends. A dropped sender means the same.
    Draining,
}

/// Opens a listener. One for IPv6 takes IPv6 only, as over UDP, so that both wildcard addresses can
/// be listened on side by side.
///
/// # Errors
/// Those of the socket calls; the port may be taken, or reserved for root.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart does not wait for the connections of the process before; two listeners are refused
    // all the same.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// Serves DNS over TCP on `listener` until `phase` says [`Phase::Draining`] and all connections
/// have ended.
///
/// Cancel safe: dropping the future closes everything at once.
pub async fn serve(
    listener: TcpListener,
    limits: TcpLimits,
    answerer: Arc<dyn Answer>,
    mut phase: watch::Receiver<Phase>,
) {
    let mut front = Front {
        drain: limits.drain,
        limits: Arc::new(limits),
        answerer,
        open: HashMap::new(),
        tasks: JoinSet::new(),
        next: 0,
    };
    let mut back_off = BACK_OFF_MIN;
    loop {
        tokio::select! {
            () = draining(&mut phase) => break,
            Some(ended) = front.tasks.join_next() => front.forget(ended.ok()),
            accepted = listener.accept() => match accepted {
                Ok((stream, client)) => {
                    back_off = BACK_OFF_MIN;
                    front.admit(stream, client, phase.clone());
                }
                Err(error) => {
                    back_off = wait_after(&error, back_off, &mut phase).await;
                }
            },
        }
    }
    drop(listener);
    front.drain().await;
}

/// Waits until the front shall take no more queries.
async fn draining(phase: &mut watch::Receiver<Phase>) {
    // An error says that the sender is gone, which means the same.
    let _last = phase.wait_for(|phase| *phase == Phase::Draining).await;
}

/// Waits after a failed accept, or until the front shall drain; gives the next wait.
async fn wait_after(error: &io::Error, back_off: Duration, phase: &mut watch::Receiver<Phase>) -> Duration {
    tracing::debug!(%error, "accepting a TCP connection failed");
    tokio::select! {
        () = draining(phase) => (),
        () = sleep(back_off) => (),
    }
    back_off.saturating_mul(2).min(BACK_OFF_MAX)
}

/// The open connections.
struct Front {
    /// The bounds, shared with all connections.
    limits: Arc<TcpLimits>,
    /// How long draining may take.
    drain: Duration,
    /// Who knows the answers.
    answerer: Arc<dyn Answer>,
    /// What the open connections are doing, by number.
    open: HashMap<u64, Arc<Activity>>,
    /// Their tasks; each gives its number when it ends.
    tasks: JoinSet<u64>,
    /// The number of the next connection.
    next: u64,
}

impl Front {
    /// Takes a new connection in, if its client is allowed and there is or can be made room.
    fn admit(&mut self, stream: TcpStream, client: SocketAddr, phase: watch::Receiver<Phase>) {
        let counters = Arc::clone(&self.limits.counters);
        if !(self.limits.allowed)(client.ip().to_canonical()) {
            counters.count(ConnectionEvent::NotAllowed);
            return;
        }
        while let Some(ended) = self.tasks.try_join_next() {
            self.forget(ended.ok());
        }
        if self.open.len() >= self.limits.connections {
            if !self.close_idlest() {
                counters.count(ConnectionEvent::NoRoom);
                return;
            }
            counters.count(ConnectionEvent::Evicted);
        }
        counters.count(ConnectionEvent::Accepted);
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        let activity = Arc::new(Activity::new(Instant::now()));
        self.open.insert(number, Arc::clone(&activity));
        let connection =
            Connection::new(stream, client, Arc::clone(&self.limits), Arc::clone(&self.answerer), activity);
        self.tasks.spawn(async move {
            connection.run(phase).await;
            number
        });
    }

    /// Asks the connection that has been idle longest to close; `false` when all of them owe an
    /// answer.
    fn close_idlest(&mut self) -> bool {
        let idlest = self.open.iter().filter_map(|(number, activity)| Some((activity.idle_since()?, *number))).min();
        let Some((_, number)) = idlest else { return false };
        if let Some(activity) = self.open.remove(&number) {
            activity.close();
        }
        true
    }

    /// Forgets a connection that has ended; one that ended by a panic is forgotten by its closed
    /// `Activity`.
    fn forget(&mut self, number: Option<u64>) {
        match number {
            Some(number) => {
                self.open.remove(&number);
            }
            None => self.open.retain(|_, activity| Arc::strong_count(activity) > 1),
        }
    }

    /// Waits for the connections to answer what they have, as long as the bound allows, and closes
    /// the rest.
    async fn drain(&mut self) {
        let all_ended = async { while self.tasks.join_next().await.is_some() {} };
        // What is left when the time is over is aborted when the tasks are dropped.
        let _late = timeout(self.drain, all_ended).await;
    }
}
