//! The TCP front: DNS over TCP as RFC 7766 wants it, on the same port as UDP.
//!
//! hickory-server's front is not used: it answers the queries of a connection one after another,
//! has no limits, and its accept loop ends for good on ECONNABORTED. glibc writes its queries for A
//! and AAAA into one segment; an upstream that is down for one of them must not hold up the other.
//!
//! | situation | what happens |
//! |---|---|
//! | a client that is not allowed to ask | closed at once |
//! | all connections taken | the client that has most of them, the new one included, gives one up |
//! | that is another client, which has more than the new one's | its idlest is closed, else its oldest |
//! | that is the new one's, or no other has more | the idlest of those that have most is closed |
//! | that, and none of these is idle | the new one is closed |
//! | accepting fails (ECONNABORTED, EMFILE) | tried again after 10 ms, doubling to 100 ms; never ends, never spins |
//! | shutdown | no new connections, no new queries; queries in flight are answered, within a bound |
//!
//! So a connection is closed although it is owed an answer, but only for a client that has fewer.
//!
//! What happens on one connection stands in `tcp/connection.rs`; frames are cut in `tcp/frames.rs`.
//! All connections together hold at most 8 MiB (`tcp/ledger.rs`), and the kernel up to 64 KiB more
//! for each.

mod activity;
mod connection;
mod frames;
mod ledger;
mod limits;
mod phase;

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

use self::activity::Activity;
use self::connection::ClientConnection;
pub use self::ledger::ByteLedger;
pub use self::limits::TcpLimits;
pub use self::phase::TcpPhase;
use self::phase::draining;
use crate::resolver::ports::Answer;
use crate::telemetry::tally::ConnectionEvent;

/// Connections that may wait to be accepted; the kernel's own limit may be lower.
const BACKLOG: i32 = 1024;
/// Bytes for which the kernel receives ahead of reading, on each connection; it takes twice that.
/// Four queries of the largest size, or hundreds of usual ones.
const RECEIVE_BUFFER: usize = 16 << 10;
/// Bytes of answers that the kernel keeps for a client, on each connection; it takes up to twice as
/// much. Usual answers leave at once. Without a bound these are some megabytes, which a container's
/// memory limit counts as well.
const SEND_BUFFER: usize = 16 << 10;
/// First wait after a failed accept.
const BACK_OFF_MIN: Duration = Duration::from_millis(10);
/// Longest wait after failed accepts.
const BACK_OFF_MAX: Duration = Duration::from_millis(100);

/// Opens a listener. One for IPv6 takes IPv6 only, as over UDP, so that both wildcard addresses can
/// be listened on side by side.
///
/// # Errors
/// Those of the socket calls; the port may be taken, or reserved for root.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // After a restart, connections of the process before may still hold the port (TIME_WAIT); this
    // option listens all the same. It does not let two listeners share the port.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections have these sizes from the listener.
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// Serves DNS over TCP on `listener` until `phase` says [`TcpPhase::Draining`] and all connections
/// have ended.
///
/// Cancel safe: dropping the future closes everything at once.
pub async fn serve(
    listener: TcpListener,
    limits: TcpLimits,
    answerer: Arc<dyn Answer>,
    mut phase: watch::Receiver<TcpPhase>,
) {
    // The front ends when `phase` says so, and never because of an error.
    let mut front = TcpFront {
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
            Some(ended) = front.tasks.join_next() => front.remove(ended.ok()),
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
    // New connections are refused from here on, while those that are open are drained.
    drop(listener);
    front.drain().await;
}

/// Waits after a failed accept, or until the front shall drain; returns the wait after the next
/// failure.
async fn wait_after(error: &io::Error, back_off: Duration, phase: &mut watch::Receiver<TcpPhase>) -> Duration {
    tracing::debug!(%error, "accepting a TCP connection failed");
    tokio::select! {
        () = draining(phase) => (),
        () = sleep(back_off) => (),
    }
    back_off.saturating_mul(2).min(BACK_OFF_MAX)
}

/// The front of one listener, with its open connections.
struct TcpFront {
    limits: Arc<TcpLimits>,
    drain: Duration,
    answerer: Arc<dyn Answer>,
    /// The activities of the open connections, by connection number.
    open: HashMap<u64, Arc<Activity>>,
    /// The tasks of all connections; each returns its connection number when it ends.
    tasks: JoinSet<u64>,
    /// The number of the next connection.
    next: u64,
}

impl TcpFront {
    /// Takes a new connection in, if its client is allowed to ask, and if it is within the limit or
    /// another connection can be closed for it.
    fn admit(&mut self, stream: TcpStream, client: SocketAddr, phase: watch::Receiver<TcpPhase>) {
        let counters = Arc::clone(&self.limits.counters);
        if !(self.limits.allowed)(client.ip().to_canonical()) {
            counters.count(ConnectionEvent::NotAllowed);
            return;
        }
        // Connections that have ended are removed first, so that no open one is closed for them.
        while let Some(ended) = self.tasks.try_join_next() {
            self.remove(ended.ok());
        }
        let ip = client.ip().to_canonical();
        if self.open.len() >= self.limits.connections {
            if !self.make_room(ip) {
                counters.count(ConnectionEvent::OverLimit);
                return;
            }
            counters.count(ConnectionEvent::Evicted);
        }
        // Each connection runs in a task of its own, which the front owns.
        counters.count(ConnectionEvent::Accepted);
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        let activity = Arc::new(Activity::new(ip, Instant::now()));
        self.open.insert(number, Arc::clone(&activity));
        let connection =
            ClientConnection::new(stream, client, Arc::clone(&self.limits), Arc::clone(&self.answerer), activity);
        self.tasks.spawn(async move {
            connection.run(phase).await;
            number
        });
    }

    /// Closes a connection for a new one of `newcomer`; `false` when the new one has to give way.
    fn make_room(&mut self, newcomer: IpAddr) -> bool {
        let mut counts: HashMap<IpAddr, usize> = HashMap::from([(newcomer, 1)]);
        for activity in self.open.values() {
            *counts.entry(activity.client).or_default() += 1;
        }
        let most = counts.values().copied().max().unwrap_or_default();
        let has_most = |client: &IpAddr| counts.get(client).copied().unwrap_or_default() == most;
        let candidates = || self.open.iter().filter(|(_, activity)| has_most(&activity.client));
        let idlest = candidates().filter_map(|(number, activity)| Some((activity.idle_since()?, *number))).min();
        // With no more than one connection more than the newcomer's, clients would only take
        // connections away from each other in turn.
        let own = counts.get(&newcomer).copied().unwrap_or_default();
        let oldest = || candidates().map(|(number, activity)| (activity.opened, *number)).min().filter(|_| most > own);
        let Some((_, number)) = idlest.or_else(oldest) else { return false };
        // Its place is free from now on, although the task closes the socket a moment later.
        if let Some(activity) = self.open.remove(&number) {
            if idlest.is_some() { activity.close() } else { activity.give_way() }
        }
        true
    }

    /// Removes the connection of this number, which has ended.
    fn remove(&mut self, number: Option<u64>) {
        match number {
            Some(number) => {
                self.open.remove(&number);
            }
            // A task that panicked returns no number. Its connection is the one that has dropped
            // its share of the activity.
            None => self.open.retain(|_, activity| Arc::strong_count(activity) > 1),
        }
    }

    /// Waits for the connections to answer the queries that they have taken, as long as the bound
    /// allows, and closes the rest.
    async fn drain(&mut self) {
        let all_ended = async { while self.tasks.join_next().await.is_some() {} };
        // The tasks that are left when the time is over are aborted when the front is dropped.
        let _late = timeout(self.drain, all_ended).await;
    }
}
