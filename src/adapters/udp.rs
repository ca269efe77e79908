//! The UDP front: queries come in and answers go out in batches, on one thread for each socket, and
//! whatever is known is answered on that thread.
//!
//! | file | part |
//! |---|---|
//! | `udp/receiver.rs` | the loop of a receiving thread |
//! | `udp/batch.rs` | `recvmmsg` and `sendmmsg` over buffers that are made once |
//! | `udp/envelope.rs` | the addresses of a datagram, as the kernel writes them |
//! | `udp/handover.rs` | the queue from the receiving threads into tokio |
//! | `udp/deferred.rs` | queries that have to wait for an upstream, on tokio |
//! | `udp/socket.rs` | opens the sockets |
//!
//! A query that has to wait crosses from its receiving thread into tokio through a bounded queue;
//! when that is full, a query of the client with most of them is answered with what is there:
//! stale, else SERVFAIL. A cache hit takes no lock and no allocation, and the clock is read once
//! for each batch.

mod batch;
mod deferred;
mod envelope;
mod handover;
mod receiver;
mod socket;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::timeout;

use self::deferred::DeferredQuery;
use self::handover::Handover;
use self::receiver::FrontState;
use crate::core::time::Timestamp;
use crate::resolver::Resolver;
use crate::resolver::ports::AccessList;
use crate::resolver::vitals::supervise;
use crate::telemetry::tally::Tally;
use crate::telemetry::tasks::LongTask;

/// How long queries that wait for an upstream at shutdown may go on waiting; more than a resolution
/// takes by default.
const DRAIN: Duration = Duration::from_secs(5);
/// Queries on their way into tokio at the most, each of some 300 bytes; tokio takes them out as
/// fast as it runs, so that only a burst has to fit.
const HANDOVER_MAX: usize = 1024;
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

/// The receiving threads of the front.
pub struct UdpReceivers {
    state: Arc<FrontState>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl UdpReceivers {
    /// Starts one thread for each socket, with a tally for each; does nothing once the front is
    /// stopped.
    ///
    /// # Errors
    /// Those of starting a thread.
    pub fn add(&self, sockets: Sockets, tallies: &[Arc<Tally>]) -> io::Result<()> {
        let mut threads = self.threads.lock();
        if self.state.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        for (socket, tally) in sockets.sockets.into_iter().zip(tallies) {
            let (state, tally) = (Arc::clone(&self.state), Arc::clone(tally));
            let thread = std::thread::Builder::new().name(format!("udp-{}", threads.len())).stack_size(STACK_BYTES);
            threads.push(thread.spawn(move || receiver::run(&state, &Arc::new(socket), &tally))?);
        }
        Ok(())
    }

    /// Has all threads end, and waits for that.
    fn stop(&self) {
        let mut threads = self.threads.lock();
        self.state.stop.store(true, Ordering::Relaxed);
        for thread in threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// The running UDP front, which ends when it is stopped.
pub struct UdpFront {
    receivers: Arc<UdpReceivers>,
    /// One for each thread, and one for the deferred queries.
    tallies: Vec<Arc<Tally>>,
    /// The task that answers deferred queries. It ends when all of them have been answered and no
    /// more can come.
    deferred: tokio::task::JoinHandle<()>,
    /// Where that task takes the deferred queries from.
    queue: Arc<Handover<DeferredQuery>>,
}

impl UdpFront {
    /// Starts one thread for each socket. Queries that have to wait for an upstream wait on the
    /// present tokio runtime, as many as the resolver has places for. Clients that `allowed` turns
    /// away get no answer.
    ///
    /// # Errors
    /// Those of starting a thread.
    pub fn start(sockets: Vec<Sockets>, resolver: &Arc<Resolver>, allowed: &AccessList) -> io::Result<Self> {
        // All threads share the queue of deferred queries.
        let queue = Arc::new(Handover::new(HANDOVER_MAX));
        let state = Arc::new(FrontState {
            resolver: Arc::clone(resolver),
            allowed: Arc::clone(allowed),
            deferred: Arc::clone(&queue),
            stop: AtomicBool::new(false),
            last_query: AtomicU64::new(resolver.now().as_micros()),
        });
        // One task answers the deferred queries.
        let tally = Arc::new(Tally::default());
        let tallies = vec![Arc::clone(&tally)];
        let (own, queries) = (Arc::clone(resolver), Arc::clone(&queue));
        let deferred = supervise(LongTask::UdpWaiting, Arc::clone(resolver.vitals()), move || {
            deferred::complete(Arc::clone(&queries), Arc::clone(&own), Arc::clone(&tally))
        });
        let receivers = Arc::new(UdpReceivers { state, threads: Mutex::new(Vec::new()) });
        let mut front = Self { receivers, tallies, deferred: tokio::spawn(deferred), queue };
        // One thread for each socket answers everything else.
        for sockets in sockets {
            let tallies = front.add_tallies(sockets.sockets.len());
            front.receivers.add(sockets, &tallies)?;
        }
        Ok(front)
    }

    /// Makes the counters of `threads` further threads, which count from [`UdpReceivers::add`] on.
    pub fn add_tallies(&mut self, threads: usize) -> Vec<Arc<Tally>> {
        let tallies: Vec<Arc<Tally>> = (0..threads).map(|_| Arc::default()).collect();
        self.tallies.extend(tallies.iter().cloned());
        tallies
    }

    /// The receiving threads, to which sockets can be added while the front serves.
    #[must_use]
    pub const fn receivers(&self) -> &Arc<UdpReceivers> {
        &self.receivers
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
        Timestamp::from_micros(self.receivers.state.last_query.load(Ordering::Relaxed))
    }

    /// Stops receiving and waits for the threads to end, which takes at most as long as a socket
    /// waits for a datagram. Queries that wait for an upstream go on waiting.
    pub fn stop(&mut self) {
        self.receivers.stop();
        self.queue.close();
    }

    /// Waits until the queries that were waiting for an upstream have been answered, for at most 5
    /// s; call it after [`stop`](Self::stop).
    ///
    /// Cancel safe: the queries go on waiting.
    pub async fn finish(&mut self) {
        let _late = timeout(DRAIN, &mut self.deferred).await;
    }
}
