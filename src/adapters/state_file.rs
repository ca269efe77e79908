//! Keeps what is remembered in a file, so that it outlives the process.
//!
//! A thread of its own owns the file: nothing that answers queries ever waits for a disk. It loads the file before anything is
//! answered, then writes behind: every two seconds what changed, in one transaction ([`keeper`], [`file`]). Expired answers that may still
//! be served are what an outage needs, so they are kept like all others; what is past its maximum stale is not.
//!
//! | what happens | what becomes of it |
//! |---|---|
//! | kill -9, power cut | the last transaction that was whole counts: at most the last two seconds are lost |
//! | the disk is full, read-only, gone, or fails | queries go on; what the file holds is read if it can be; tried again after 1 s, doubling to 60 s, then all that is in memory is written |
//! | the disk hangs | so does the thread; the start waits for it for a bounded time |
//! | another process has the file | the later one does without, until the first ends |
//! | the file is not ours, damaged, or of a newer version | it is kept aside under another name, and a new one begins |
//! | the file is removed or replaced while we run | a new one is written |
//! | the wall clock was set between two runs of one boot | times are moved with it ([`crate::core::restore`]) |
//!
//! Losing the disk costs persistence, never queries.

pub mod broken;
pub mod file;
mod keeper;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::core::policy::Policy;
use crate::core::restore::Shift;
use crate::core::time::Timestamp;
use crate::resolver::Resolver;
use crate::telemetry::events;
use crate::telemetry::persistence::{Persistence, Trouble};
use keeper::Keeper;

/// How long the start waits for the file; a million answers take a third of it.
const LOAD_WAIT: Duration = Duration::from_secs(5);
/// How long the end waits for the last write.
const FINISH_WAIT: Duration = Duration::from_secs(5);
/// Clocks are never quite alike: by less than this they were not set.
const SET_MIN: Duration = Duration::from_secs(1);
/// Where Linux says which boot this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The host as a run sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// Which boot it is; `None` where that cannot be told.
    pub boot: Option<u128>,
    /// When it began, on this run's timeline.
    pub booted_at: Timestamp,
}

impl Host {
    /// The present boot, which began at this time.
    #[must_use]
    pub fn present(booted_at: Timestamp) -> Self {
        let text = std::fs::read_to_string(BOOT_ID).unwrap_or_default();
        Self { boot: u128::from_str_radix(&text.trim().replace('-', ""), 16).ok(), booted_at }
    }

    /// By how much the wall clock was moved between `theirs` and this run. That is known only within one boot.
    #[must_use]
    pub fn shift_from(&self, theirs: &Self) -> Shift {
        if self.boot.is_none() || self.boot != theirs.boot {
            return Shift::NONE;
        }
        match Shift::between(theirs.booted_at, self.booted_at) {
            Shift::Ahead(by) | Shift::Back(by) if by < SET_MIN => Shift::NONE,
            shift @ (Shift::Ahead(_) | Shift::Back(_)) => shift,
        }
    }
}

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

/// A state file at work.
pub struct StateFile {
    /// Ends the thread when it is dropped.
    end: mpsc::Sender<()>,
    /// Hears when it has ended.
    ended: oneshot::Receiver<()>,
    /// How it stands.
    standing: Arc<Mutex<Persistence>>,
}

impl StateFile {
    /// Starts the thread, and waits until what the file holds is in memory, though not for ever.
    ///
    /// # Errors
    /// The operating system gave no thread.
    pub fn start(options: Options, memory: &Arc<Resolver>) -> io::Result<Self> {
        // A write beyond the limit on the length of files is to be an error like any other, and not the end of the process.
        if tokio::runtime::Handle::try_current().is_ok() {
            let _ = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()));
        }
        let standing = Arc::new(Mutex::new(Persistence::Failing { since: memory.now(), reason: Trouble::Slow }));
        let (end, ending) = mpsc::channel();
        let (tell_end, ended) = oneshot::channel();
        let (tell_loaded, loaded) = mpsc::sync_channel(1);
        let path = options.path.clone();
        let mut keeper = Keeper::new(options, Arc::clone(memory), Arc::clone(&standing));
        std::thread::Builder::new().name("holdover-state".into()).spawn(move || {
            keeper.begin();
            let _ = tell_loaded.send(());
            while matches!(ending.recv_timeout(keeper.pause()), Err(RecvTimeoutError::Timeout)) {
                keeper.turn();
            }
            keeper.finish();
            let _ = tell_end.send(());
        })?;
        if loaded.recv_timeout(LOAD_WAIT).is_err() {
            let what = format!("nothing within {} seconds", LOAD_WAIT.as_secs());
            events::StateFailing { path: &path, reason: Trouble::Slow, what: &what }.emit();
        }
        Ok(Self { end, ended, standing })
    }

    /// How it stands.
    #[must_use]
    pub fn standing(&self) -> Persistence {
        *self.standing.lock()
    }

    /// Tells how it stands, whenever it is asked, for as long as whoever asks lives.
    pub fn watch(&self) -> impl Fn() -> Persistence + Send + Sync + use<> {
        let standing = Arc::clone(&self.standing);
        move || *standing.lock()
    }

    /// Writes what is in memory for the last time; gives up on a disk that does not answer.
    pub async fn finish(self) {
        drop(self.end);
        let _ = tokio::time::timeout(FINISH_WAIT, self.ended).await;
    }
}
