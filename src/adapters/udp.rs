//! The UDP front: one thread per socket, batches in and out, everything known answered on the spot.
//!
//! A query that has to wait crosses into tokio through a bounded queue; when that is full, it is
//! answered with what is there: stale, else SERVFAIL. A hit takes no lock and no allocation, and
//! reads the clock once a batch.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::core::answer::{ClientTransport, UDP_MAX};
use crate::core::special;
use crate::memory::thread_cache::ThreadCache;
use crate::resolver::front::{Arrival, Disposition};
use crate::resolver::{Resolver, Waiting};
use crate::telemetry::events;
use crate::telemetry::tally::{Answered, Tally};

mod batch;
mod socket;

use batch::{Batch, Envelope};

/// A thread's pause after an error.
const PAUSE: Duration = Duration::from_millis(10);
/// How long queries that wait at the end may go on waiting; more than a resolution takes by
/// default.
const DRAIN: Duration = Duration::from_secs(5);

/// Says whether a client may ask.
pub type Admission = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// A query on its way into tokio, and whom to answer.
struct Job {
    /// The query.
    waiting: Box<Waiting>,
    /// The socket that received it.
    socket: Arc<UdpSocket>,
    /// Where the answer goes, and from where.
    envelope: Envelope,
}

/// What all threads of the front share.
struct Shared {
    /// Answers.
    resolver: Arc<Resolver>,
    /// Who may ask.
    admission: Admission,
    /// Queries that have to wait.
    jobs: mpsc::Sender<Job>,
    /// Set when the threads shall end.
    stop: AtomicBool,
    /// When the last query came that was no health check, for draining; microseconds.
    last_query: AtomicU64,
}

/// The open sockets, before anything is served.
pub struct Sockets {
    /// With their addresses.
    sockets: Vec<UdpSocket>,
}

impl Sockets {
    /// Opens `threads` sockets on an address.
    ///
    /// # Errors
    /// Those of the socket calls; the port may be taken, or reserved for root.
    pub fn bind(address: SocketAddr, threads: usize) -> io::Result<Self> {
        let first = socket::bind(address)?;
        let bound = first.local_addr()?;
        let mut sockets = vec![first];
        for _ in 1..threads {
            sockets.push(socket::bind(bound)?);
        }
        Ok(Self { sockets })
    }

    /// The address, with the port that port 0 became.
    ///
    /// # Errors
    /// Those of `getsockname`.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.sockets.first().ok_or(io::ErrorKind::NotFound)?.local_addr()
    }
}

/// The running front.
pub struct UdpFront {
    /// What its threads share.
    shared: Arc<Shared>,
    /// Its threads.
    threads: Vec<JoinHandle<()>>,
    /// Their counters.
    tallies: Vec<Arc<Tally>>,
    /// Ends when the queries that wait have been answered and no more can come.
    waiters: tokio::task::JoinHandle<()>,
    /// Tells it that no more shall come.
    closing: Arc<Notify>,
}

impl UdpFront {
    /// Starts serving. What has to wait is waited for on the present tokio runtime, by at most
    /// `waiting` queries at a time.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn start(
        sockets: Vec<Sockets>,
        resolver: &Arc<Resolver>,
        admission: &Admission,
        waiting: usize,
    ) -> io::Result<Self> {
        let (jobs, jobs_in) = mpsc::channel(waiting.clamp(1, 1024));
        let shared = Arc::new(Shared {
            resolver: Arc::clone(resolver),
            admission: Arc::clone(admission),
            jobs,
            stop: AtomicBool::new(false),
            last_query: AtomicU64::new(resolver.now().as_micros()),
        });
        let waiters = Arc::new(Tally::default());
        let closing = Arc::new(Notify::new());
        let jobs_in = Jobs { queue: jobs_in, closing: Arc::clone(&closing) };
        let tallies = vec![Arc::clone(&waiters)];
        let waiters = tokio::spawn(complete_jobs(Arc::clone(resolver), jobs_in, waiting, waiters));
        let mut front = Self { shared, threads: Vec::new(), tallies, waiters, closing };
        for (index, socket) in sockets.into_iter().flat_map(|sockets| sockets.sockets).enumerate() {
            let tally = Arc::new(Tally::default());
            front.tallies.push(Arc::clone(&tally));
            let shared = Arc::clone(&front.shared);
            let thread = std::thread::Builder::new().name(format!("udp-{index}")).stack_size(256 << 10);
            front.threads.push(thread.spawn(move || supervise(&shared, &Arc::new(socket), &tally))?);
        }
        Ok(front)
    }

    /// The counters of its threads.
    #[must_use]
    pub fn tallies(&self) -> &[Arc<Tally>] {
        &self.tallies
    }

    /// When the last query came that was no health check.
    #[must_use]
    pub fn last_query(&self) -> crate::core::time::Timestamp {
        crate::core::time::Timestamp::from_micros(self.shared.last_query.load(Ordering::Relaxed))
    }

    /// Ends the threads and waits for them, at most for as long as a socket waits for a datagram.
    pub fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        self.closing.notify_one();
    }

    /// Waits until the queries that were waiting have been answered, at most as long as the TCP
    /// front waits for its own; call it after [`stop`](Self::stop).
    ///
    /// Cancel safe: what waits goes on waiting.
    pub async fn finish(&mut self) {
        let _late = timeout(DRAIN, &mut self.waiters).await;
    }
}

/// Runs one thread's loop, and runs it again should it ever panic: one bad packet must not end the
/// service.
fn supervise(shared: &Arc<Shared>, socket: &Arc<UdpSocket>, tally: &Tally) {
    while !shared.stop.load(Ordering::Relaxed) {
        let outcome = catch_unwind(AssertUnwindSafe(|| serve(shared, socket, tally)));
        if outcome.is_err() {
            events::PartRestarted { part: "udp", reason: "panic" }.emit();
            std::thread::sleep(PAUSE);
        }
    }
}

/// Receives, answers, sends, until told to stop.
fn serve(shared: &Arc<Shared>, socket: &Arc<UdpSocket>, tally: &Tally) {
    let mut batch = Batch::new();
    let mut thread_cache = ThreadCache::new();
    let bound = socket.local_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip());
    while !shared.stop.load(Ordering::Relaxed) {
        let received = match batch.receive(socket.as_fd()) {
            Ok(received) => received,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => continue,
            Err(_) => {
                // An ICMP error that belongs to an answer sent earlier; should it be anything that
                // stays, do not spin.
                std::thread::sleep(PAUSE);
                continue;
            }
        };
        let now = shared.resolver.now();
        let mut asked = false;
        for index in 0..received {
            let Some((packet, envelope, out)) = batch.exchange(index) else {
                tally.count(Answered::Dropped);
                continue;
            };
            let health_check = special::is_health_check(packet);
            // Whoever restarts us asks from here, whichever networks are answered.
            let admitted = (health_check && envelope.is_from_here(bound)) || (shared.admission)(envelope.client.ip());
            if !admitted {
                tally.count(Answered::NotAllowed);
                continue;
            }
            asked |= !health_check;
            let arrival = Arrival { packet, transport: ClientTransport::Udp, client: envelope.client, now };
            match shared.resolver.receive(arrival, tally, &mut thread_cache, out) {
                Disposition::Answered(length) => batch.queue(&envelope, length),
                Disposition::Dropped => {}
                Disposition::Waiting(waiting) => {
                    let job = Job { waiting, socket: Arc::clone(socket), envelope };
                    if let Err(refused) = shared.jobs.try_send(job) {
                        let length = shared.resolver.shed(&refused.into_inner().waiting, tally, out);
                        batch.queue(&envelope, length);
                    }
                }
            }
        }
        batch.send(socket.as_fd());
        if asked {
            shared.last_query.store(now.as_micros(), Ordering::Relaxed);
        }
    }
}

/// Queries that have to wait, as they come.
struct Jobs {
    /// Brings them.
    queue: mpsc::Receiver<Job>,
    /// Says that no more shall come.
    closing: Arc<Notify>,
}

impl Jobs {
    /// The next one; `None` when all that came before the end have been taken.
    async fn next(&mut self) -> Option<Job> {
        if !self.queue.is_closed() {
            tokio::select! {
                job = self.queue.recv() => return job,
                () = self.closing.notified() => self.queue.close(),
            }
        }
        self.queue.recv().await
    }
}

/// Lets queries wait, so many at a time; one too many is answered with what is there.
async fn complete_jobs(resolver: Arc<Resolver>, mut jobs: Jobs, at_most: usize, tally: Arc<Tally>) {
    let mut tasks = JoinSet::new();
    while let Some(job) = jobs.next().await {
        while tasks.try_join_next().is_some() {}
        if tasks.len() >= at_most {
            let mut answer = [0; UDP_MAX];
            let length = resolver.shed(&job.waiting, &tally, &mut answer);
            reply(&job, answer.get_mut(..length).unwrap_or_default());
            continue;
        }
        let (resolver, tally) = (Arc::clone(&resolver), Arc::clone(&tally));
        tasks.spawn(async move {
            let mut answer = resolver.complete(&job.waiting, &tally).await;
            reply(&job, &mut answer);
        });
    }
    while tasks.join_next().await.is_some() {}
}

/// Sends one answer; one that the kernel refuses is lost like any datagram, and the client asks
/// again.
fn reply(job: &Job, answer: &mut [u8]) {
    let _ = batch::send_one(job.socket.as_fd(), &job.envelope, answer);
}
