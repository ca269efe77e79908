//! The UDP front: queries come in and answers go out in batches, on one thread for each socket, and
//! whatever is known is answered on that thread.
//!
//! | file | part |
//! |---|---|
//! | `udp/receiver.rs` | the loop of a receiving thread |
//! | `udp/batch.rs` | `recvmmsg` and `sendmmsg` over buffers that are made once |
//! | `udp/envelope.rs` | the addresses of a datagram, as the kernel writes them |
//! | `udp/deferred.rs` | queries that have to wait for an upstream, on tokio |
//! | `udp/socket.rs` | opens the sockets |
//!
//! A query that has to wait crosses from its receiving thread into tokio through a bounded queue;
//! when that is full, the query is answered with what is there: stale, else SERVFAIL. A cache hit
//! takes no lock and no allocation, and the clock is read once for each batch.

mod batch;
mod deferred;
mod envelope;
mod receiver;
mod socket;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use self::deferred::DeferredQueries;
use self::receiver::FrontState;
use crate::core::time::Timestamp;
use crate::resolver::Resolver;
use crate::resolver::ports::AccessList;
use crate::telemetry::tally::Tally;

/// How long queries that wait for an upstream at shutdown may go on waiting; more than a resolution
/// takes by default.
const DRAIN: Duration = Duration::from_secs(5);
/// Stack of a receiving thread, in bytes. Its buffers are on the heap.
const STACK_BYTES: usize = 256 << 10;

/// The open UDP sockets of one address, before any query is served.
pub struct Sockets {
    sockets: Vec<UdpSocket>,
}

impl Sockets {
    /// Opens `threads` sockets, at least one, on an address.
    ///
    /// # Errors
    /// Those of the socket calls; the port may be taken, or reserved for root.
    pub fn bind(address: SocketAddr, threads: usize) -> io::Result<Self> {
        // The first socket may turn port 0 into a port that is free; the others share that one.
        let first = socket::bind(address)?;
        let bound = first.local_addr()?;
        let mut sockets = vec![first];
        for _ in 1..threads {
            sockets.push(socket::bind(bound)?);
        }
        Ok(Self { sockets })
    }

    /// The address of the sockets, with the port that was chosen where port 0 was asked for.
    ///
    /// # Errors
    /// Those of `getsockname`.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.sockets.first().ok_or(io::ErrorKind::NotFound)?.local_addr()
    }
}

/// The running UDP front, which ends when it is stopped.
pub struct UdpFront {
    state: Arc<FrontState>,
    threads: Vec<JoinHandle<()>>,
    /// One for each thread, and one for the deferred queries.
    tallies: Vec<Arc<Tally>>,
    /// The task that answers deferred queries. It ends when all of them have been answered and no
    /// more can come.
    deferred: tokio::task::JoinHandle<()>,
    /// Notifies that task when no more deferred queries will come.
    closing: Arc<Notify>,
}

impl UdpFront {
    /// Starts one thread for each socket. Queries that have to wait for an upstream wait on the
    /// present tokio runtime, at most `waiting` of them at a time. Clients that `allowed` turns
    /// away get no answer.
    ///
    /// # Errors
    /// Those of starting a thread.
    pub fn start(
        sockets: Vec<Sockets>,
        resolver: &Arc<Resolver>,
        allowed: &AccessList,
        waiting: usize,
    ) -> io::Result<Self> {
        // All threads share the queue of deferred queries.
        let (sender, queue) = mpsc::channel(waiting.clamp(1, 1024));
        let state = Arc::new(FrontState {
            resolver: Arc::clone(resolver),
            allowed: Arc::clone(allowed),
            deferred: sender,
            stop: AtomicBool::new(false),
            last_query: AtomicU64::new(resolver.now().as_micros()),
        });
        // One task answers the deferred queries.
        let tally = Arc::new(Tally::default());
        let closing = Arc::new(Notify::new());
        let queries = DeferredQueries::new(queue, Arc::clone(&closing));
        let tallies = vec![Arc::clone(&tally)];
        let deferred = tokio::spawn(queries.complete(Arc::clone(resolver), waiting, tally));
        let mut front = Self { state, threads: Vec::new(), tallies, deferred, closing };
        // One thread for each socket answers everything else.
        for (index, socket) in sockets.into_iter().flat_map(|sockets| sockets.sockets).enumerate() {
            let tally = Arc::new(Tally::default());
            front.tallies.push(Arc::clone(&tally));
            let state = Arc::clone(&front.state);
            let thread = std::thread::Builder::new().name(format!("udp-{index}")).stack_size(STACK_BYTES);
            front.threads.push(thread.spawn(move || receiver::run(&state, &Arc::new(socket), &tally))?);
        }
        Ok(front)
    }

    /// The counters of this front, which stay live: one for each thread, and one for the queries
    /// that had to wait.
    #[must_use]
    pub fn tallies(&self) -> &[Arc<Tally>] {
        &self.tallies
    }

    /// When the last query came that was no health check; at first, when the front was started.
    #[must_use]
    pub fn last_query(&self) -> Timestamp {
        Timestamp::from_micros(self.state.last_query.load(Ordering::Relaxed))
    }

    /// Stops receiving and waits for the threads to end, which takes at most as long as a socket
    /// waits for a datagram. Queries that wait for an upstream go on waiting.
    pub fn stop(&mut self) {
        self.state.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        self.closing.notify_one();
    }

    /// Waits until the queries that were waiting for an upstream have been answered, for at most 5
    /// s; call it after [`stop`](Self::stop).
    ///
    /// Cancel safe: the queries go on waiting.
    pub async fn finish(&mut self) {
        let _late = timeout(DRAIN, &mut self.deferred).await;
    }
}
