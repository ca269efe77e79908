//! Keeps what is remembered in a file, so that it outlives the process.
//!
//! A thread of its own owns the file: nothing that answers queries ever waits for a disk. It looks
//! into the file before anything is answered ([`overlay`]), then opens it and writes behind: every
//! two seconds what changed, in one transaction ([`keeper`], [`mirror`], [`file`]). Expired answers
//! that may still be served are what an outage needs, so they are kept like all others; what is
//! past its maximum stale is not. What an operator lets it forget is written at once: it must not
//! come back.
//!
//! | what happens | what becomes of it |
//! |---|---|
//! | kill -9, power cut | the last transaction that was whole counts: at most the last two seconds are lost; what was forgotten by hand stays so |
//! | the disk is full, read-only, gone, or fails | queries go on; what the file holds is read if it can be; tried again after 1 s, doubling to 60 s, then all that is in memory is written |
//! | the disk hangs | so does the thread; the start and a flush wait for it for a bounded time |
//! | another process has the file | the later one does without, until the first ends; then it takes over what that knew, but for what was forgotten by hand meanwhile |
//! | the file is not ours, damaged, or of a newer version | it is kept aside under another name, and a new one begins |
//! | the file is removed or replaced while we run | a new one is written |
//! | the wall clock was set between two runs of one boot | times are moved with it ([`crate::core::restore`]) |
//!
//! Losing the disk costs persistence, never queries.

pub mod broken;
pub mod file;
mod host;
mod keeper;
mod mirror;
mod overlay;

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::core::policy::Policy;
use crate::core::time::Timestamp;
use crate::memory::Memory;
use crate::memory::flushes::Scope;
use crate::resolver::ports::PortFuture;
use crate::telemetry::events;
use crate::telemetry::state_file::{Durable, StateFileStatus, StateFileTrouble};
pub use host::Host;
use keeper::Keeper;

/// How long the start waits for the file; a million answers take a third of it.
const LOAD_WAIT: Duration = Duration::from_secs(5);
/// How long the end waits for the last write.
const FINISH_WAIT: Duration = Duration::from_secs(5);
/// How long whoever lets it forget something waits until that is written; a disk takes some 10 ms.
const WRITE_WAIT: Duration = Duration::from_secs(2);
/// Who may wait for that at once.
const ORDERS_MAX: usize = 8;

/// How what is remembered is kept.
pub struct Options {
    /// The file.
    pub path: PathBuf,
    /// How often it is written.
    pub write_every: Duration,
    /// This host.
    pub host: Host,
    /// What of the file may come back.
    pub policy: Policy,
}

/// Somebody let us forget something, and waits until that is written.
struct Order {
    /// What.
    scope: Scope,
    /// When.
    at: Timestamp,
    /// Hears how it went.
    tell: oneshot::Sender<Durable>,
}

/// A state file at work.
pub struct StateFile {
    /// Has the thread write at once, and ends it when it is dropped.
    orders: Arc<SyncSender<Order>>,
    /// Hears when it has ended.
    ended: oneshot::Receiver<()>,
    /// How it stands.
    standing: Arc<Mutex<StateFileStatus>>,
}

impl StateFile {
    /// Starts the thread, and waits until what the file holds is in memory, though not for ever.
    ///
    /// # Errors
    /// The operating system gave no thread.
    pub fn start(options: Options, memory: &Arc<Memory>) -> io::Result<Self> {
        // A write beyond the limit on the length of files is to be an error like any other, and not
        // the end of the process.
        if tokio::runtime::Handle::try_current().is_ok() {
            let _ = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()));
        }
        let standing =
            Arc::new(Mutex::new(StateFileStatus::Failing { since: memory.now(), reason: StateFileTrouble::Slow }));
        let (orders, ordered) = mpsc::sync_channel::<Order>(ORDERS_MAX);
        let (tell_end, ended) = oneshot::channel();
        let (tell_loaded, loaded) = mpsc::sync_channel(1);
        let path = options.path.clone();
        let mut keeper = Keeper::new(options, Arc::clone(memory), Arc::clone(&standing));
        std::thread::Builder::new().name("holdover-state".into()).spawn(move || {
            keeper.look();
            let _ = tell_loaded.send(());
            keeper.begin();
            loop {
                match ordered.recv_timeout(keeper.pause()) {
                    Ok(Order { scope, at, tell }) => drop(tell.send(keeper.forget(scope, at))),
                    Err(RecvTimeoutError::Timeout) => keeper.turn(),
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            keeper.finish();
            let _ = tell_end.send(());
        })?;
        if loaded.recv_timeout(LOAD_WAIT).is_err() {
            let what = format!("nothing within {} seconds", LOAD_WAIT.as_secs());
            events::StateFailing { path: &path, reason: StateFileTrouble::Slow, what: &what }.emit();
        }
        Ok(Self { orders: Arc::new(orders), ended, standing })
    }

    /// How it stands.
    #[must_use]
    pub fn standing(&self) -> StateFileStatus {
        *self.standing.lock()
    }

    /// Tells how it stands, whenever it is asked, for as long as whoever asks lives.
    pub fn watch(&self) -> impl Fn() -> StateFileStatus + Send + Sync + use<> {
        let standing = Arc::clone(&self.standing);
        move || *standing.lock()
    }

    /// Writes at once that something was forgotten by hand at some time, for as long as whoever
    /// asks lives; tells whether it cannot come back any more.
    pub fn forgetter(&self) -> impl Fn(Scope, Timestamp) -> PortFuture<Durable> + Send + Sync + use<> {
        let orders = Arc::downgrade(&self.orders);
        move |scope, at| Box::pin(write_forgotten(Weak::clone(&orders), scope, at))
    }

    /// Writes what is in memory for the last time; gives up on a disk that does not answer.
    pub async fn finish(self) {
        drop(self.orders);
        let _ = tokio::time::timeout(FINISH_WAIT, self.ended).await;
    }
}

/// Has it written that something was forgotten, and waits for that, though not for ever. Cancel
/// safe.
async fn write_forgotten(orders: Weak<SyncSender<Order>>, scope: Scope, at: Timestamp) -> Durable {
    let (tell, told) = oneshot::channel();
    // It ends: then it writes for the last time.
    let Some(orders) = orders.upgrade() else { return Durable::Behind(StateFileTrouble::Slow) };
    let ordered = orders.try_send(Order { scope, at, tell });
    drop(orders);
    match tokio::time::timeout(WRITE_WAIT, told).await {
        Ok(Ok(durable)) if ordered.is_ok() => durable,
        Ok(_) | Err(_) => Durable::Behind(StateFileTrouble::Slow),
    }
}
