//! Keeps remembered answers in a file, so that they outlive the process.
//!
//! One thread owns the file, and nothing that answers queries ever waits for a disk. Before the
//! first query is answered, the thread reads what an earlier run left there, without changing the
//! file ([`overlay`]). Then it opens the file for writing and writes behind: every two seconds the
//! changes since the last write ([`worker`], [`mirror`], [`database`]). Stale answers are what an
//! outage needs, so they are kept like fresh ones; answers past their maximum stale are not kept. A
//! flush by an operator is written at once, because what was flushed must not come back; it is kept
//! itself as well, for the seeds and the shared cache of the next run ([`flush_rows`]). Beside the
//! answers lie the states of the upstreams, so that a restart in an outage is not surprised by it
//! ([`upstream_rows`]).
//!
//! | event | consequence |
//! |---|---|
//! | kill -9 or a power cut | at most the changes of the last two seconds are lost, and no flush |
//! | the disk is full, read-only, gone, or fails | the file is read if possible, and tried again after 1 s to 60 s |
//! | the disk hangs | the thread hangs with it; whoever waits does so for a bounded time, and it is told |
//! | another process has the file open | this process runs without a state file until the other one ends |
//! | the file is foreign, damaged, or of a newer version | it is renamed and kept, and a new file is begun |
//! | a bit of it has changed | the row is dropped and counted, the others are read ([`checksum`]) |
//! | the file is removed or replaced while holdover runs | a new file is written |
//! | the wall clock was set between two runs of one boot | the stored times are moved by as much |
//!
//! After a crash the last whole transaction counts, so a flush that was reported as written is
//! never lost. When a disk comes back, all that is in memory is written. When another process ends
//! that had the file open, this process reads what the other one learned, except for answers that
//! were flushed here meanwhile. How times are moved is decided in [`crate::core::restore`].
//!
//! A disk that fails costs no query, only what would have been restored after a restart.

mod checksum;
pub mod database;
pub mod error;
mod flush_rows;
mod format;
mod host;
mod mirror;
mod options;
mod overlay;
mod small_table;
mod upstream_rows;
mod worker;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::core::time::Timestamp;
use crate::memory::Memory;
use crate::memory::flushes::Scope;
use crate::resolver::ports::PortFuture;
use crate::telemetry::events;
use crate::telemetry::state_file::{Durable, StateFileStatus, StateFileTrouble};
pub use host::Host;
pub use options::{PresentStates, ResumeStates, StateFileOptions, UpstreamStates};
use worker::StateFileWorker;

/// How long the start waits for the file to be read; a million answers take a third of it.
const LOAD_WAIT: Duration = Duration::from_secs(5);
/// How long the thread may be at one piece of work before its disk counts as hanging. A large file
/// that is written as a whole takes some seconds on a slow disk.
const HANG_AFTER: Duration = Duration::from_secs(5);
/// How long a flush waits until it is written; a disk takes some 10 ms.
const WRITE_WAIT: Duration = Duration::from_secs(2);
/// Flushes that may wait for the thread at the same time.
const ORDERS_MAX: usize = 8;

/// A flush that is to be written at once, since somebody waits for that.
struct FlushOrder {
    scope: Scope,
    at: Timestamp,
    reply: oneshot::Sender<Durable>,
}

/// The thread's present piece of work, as others see it.
#[derive(Clone)]
struct WorkUnderWay {
    /// When it began, in microseconds, else [`IDLE`].
    began: Arc<AtomicU64>,
    memory: Arc<Memory>,
}

/// The time that stands for no work.
const IDLE: u64 = u64::MAX;

impl WorkUnderWay {
    fn new(memory: &Arc<Memory>) -> Self {
        Self { began: Arc::new(AtomicU64::new(IDLE)), memory: Arc::clone(memory) }
    }

    /// Does a piece of work that may hang with the disk.
    fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        self.began.store(self.memory.now().as_micros(), Ordering::Relaxed);
        let done = work();
        self.began.store(IDLE, Ordering::Relaxed);
        done
    }

    /// Since when the thread has been at its work, if that is suspiciously long.
    fn hangs_since(&self) -> Option<Timestamp> {
        let began = self.began.load(Ordering::Relaxed);
        let since = Timestamp::from_micros(began);
        (began != IDLE && self.memory.now().since(since) >= HANG_AFTER).then_some(since)
    }
}

/// A state file in use, and the handle to the thread that owns it.
pub struct StateFile {
    /// The thread ends when the last sender is dropped.
    orders: Arc<SyncSender<FlushOrder>>,
    /// Resolves when the thread has written for the last time.
    ended: oneshot::Receiver<()>,
    status: Arc<Mutex<StateFileStatus>>,
    /// Rows that were damaged when the file was read.
    damaged: Arc<AtomicU64>,
    work: WorkUnderWay,
}

impl StateFile {
    /// Starts the thread, and waits up to 5 seconds until the content of the file is in memory.
    ///
    /// # Errors
    /// The operating system's error when it gives no thread.
    pub fn start(options: StateFileOptions, memory: &Arc<Memory>) -> io::Result<Self> {
        // A write beyond the limit on file sizes (RLIMIT_FSIZE) raises SIGXFSZ, which would end the
        // process. With a handler in place the write fails like any other instead.
        if tokio::runtime::Handle::try_current().is_ok() {
            let _ = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()));
        }
        let status =
            Arc::new(Mutex::new(StateFileStatus::Failing { since: memory.now(), reason: StateFileTrouble::Timeout }));
        let (orders, ordered) = mpsc::sync_channel::<FlushOrder>(ORDERS_MAX);
        let (report_end, ended) = oneshot::channel();
        let (report_loaded, loaded) = mpsc::sync_channel(1);
        let path = options.path.clone();
        let mut worker = StateFileWorker::new(options, Arc::clone(memory), Arc::clone(&status));
        let damaged = worker.damaged();
        let work = WorkUnderWay::new(memory);
        let own = work.clone();
        std::thread::Builder::new().name("holdover-state".into()).spawn(move || {
            own.run(|| worker.look());
            let _ = report_loaded.send(());
            own.run(|| worker.begin());
            // A flush is written when it is ordered, everything else when the pause is over.
            loop {
                match ordered.recv_timeout(worker.pause()) {
                    Ok(FlushOrder { scope, at, reply }) => drop(reply.send(own.run(|| worker.flush(scope, at)))),
                    Err(RecvTimeoutError::Timeout) => own.run(|| worker.turn()),
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            own.run(|| worker.finish());
            let _ = report_end.send(());
        })?;
        // The sockets are open already, so the queries of this time wait in them.
        if loaded.recv_timeout(LOAD_WAIT).is_err() {
            let what = format!("nothing within {} seconds", LOAD_WAIT.as_secs());
            events::StateFailing { path: &path, reason: StateFileTrouble::Timeout, error: &what }.emit();
        }
        Ok(Self { orders: Arc::new(orders), ended, status, damaged, work })
    }

    /// Whether the file is kept up to date at present.
    #[must_use]
    pub fn status(&self) -> StateFileStatus {
        *self.status.lock()
    }

    /// A function that gives the status of the file at the time of the call, which is failing while
    /// the disk hangs. It may outlive the state file, and gives the last status then.
    pub fn watch(&self) -> impl Fn() -> StateFileStatus + Send + Sync + use<> {
        let (status, work) = (Arc::clone(&self.status), self.work.clone());
        move || match work.hangs_since() {
            Some(since) => StateFileStatus::Failing { since, reason: StateFileTrouble::Timeout },
            None => *status.lock(),
        }
    }

    /// A function that says since when the thread hangs with its disk, if it does. The thread
    /// itself cannot tell.
    pub fn hang(&self) -> impl Fn() -> Option<Timestamp> + Clone + Send + Sync + use<> {
        let work = self.work.clone();
        move || work.hangs_since()
    }

    /// A function that gives the number of damaged rows that were dropped so far, when the file was
    /// read. It may outlive the state file.
    pub fn damage(&self) -> impl Fn() -> u64 + Send + Sync + use<> {
        let damaged = Arc::clone(&self.damaged);
        move || damaged.load(Ordering::Relaxed)
    }

    /// A function that writes a flush to the file at once. Its arguments are the names and types
    /// that were flushed, and when; its result says whether any of them can still come back from
    /// the file. It does not keep the state file in use: after [`Self::finish`] it reports
    /// [`Durable::Behind`].
    pub fn flusher(&self) -> impl Fn(Scope, Timestamp) -> PortFuture<Durable> + Send + Sync + use<> {
        let orders = Arc::downgrade(&self.orders);
        move |scope, at| Box::pin(write_flush(Weak::clone(&orders), scope, at))
    }

    /// Writes what is in memory for the last time and closes the file; gives up after `within` on a
    /// disk that does not answer.
    pub async fn finish(self, within: Duration) {
        drop(self.orders);
        let _ = tokio::time::timeout(within, self.ended).await;
    }
}

/// Has a flush written, and waits for that up to 2 seconds. Cancel safe: the flush is written all
/// the same.
async fn write_flush(orders: Weak<SyncSender<FlushOrder>>, scope: Scope, at: Timestamp) -> Durable {
    let (reply, replied) = oneshot::channel();
    // Without a sender the thread is about to write for the last time.
    let Some(orders) = orders.upgrade() else { return Durable::Behind(StateFileTrouble::Timeout) };
    let ordered = orders.try_send(FlushOrder { scope, at, reply });
    // Dropped before the wait, or this flush would keep the thread from ending.
    drop(orders);
    match tokio::time::timeout(WRITE_WAIT, replied).await {
        Ok(Ok(durable)) if ordered.is_ok() => durable,
        Ok(_) | Err(_) => Durable::Behind(StateFileTrouble::Timeout),
    }
}
