//! The memory that a fleet shares in Valkey or Redis: gives it what this instance learned, asks it for what this instance never knew.
//!
//! One task owns one connection, and does one thing at a time, in this order: what queries wait for ([`SharedCache::ask`]), what was just
//! learned, what is hot. No query ever waits longer than the timeout (30 ms), and nobody is kept waiting while the server is known
//! to be away ([`breaker`]).
//!
//! | what happens | what becomes of it |
//! |---|---|
//! | the server is down, stalls, refuses us | one timeout at most for each name that is missing just then, then nobody asks until it answers again |
//! | it is full, or may not be written | what it has is used; what it refuses is counted |
//! | somebody else writes into it | what does not bear our signature ([`seal`]) is ignored, counted, and overwritten |
//! | a sentinel or the cluster names another server | the search begins anew ([`servers`]) |
//! | its name cannot be resolved | by holdover itself, from memory ([`directory`]) |
//!
//! An answer from it is judged like one from another run ([`crate::core::restore`]): it replaces nothing newer, and is as stale as it says.
//! Bounds: one connection, [`QUEUE_MAX`] questions, entries of 16 KiB ([`seal`]), replies of a megabyte ([`replies`]), an index of
//! 4096 names ([`heat`]). What is published is one journal page at the most, which is forgotten while the server is away: what is hot
//! is looked over every minute, and makes up for it.

mod breaker;
mod connection;
mod directory;
mod heat;
mod keeper;
mod publisher;
mod replies;
mod seal;
mod secrets;
mod servers;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::config::settings;
use crate::core::key::Key;
use crate::core::record::Record;
use crate::core::time::Timestamp;
use crate::resolver::Resolver;
use crate::resolver::ports::{Chance, Fleet, PortFuture};
use crate::telemetry::fleet::{Counted, FleetCounters, Reach, Trouble};
use keeper::Keeper;
pub use secrets::Unusable;

/// Questions that may wait at the same moment; more are not asked.
const QUEUE_MAX: usize = 256;

/// A question: what is there under this key?
struct Question {
    /// The key.
    key: Key,
    /// Hears the answer.
    answer: oneshot::Sender<Option<Record>>,
}

/// What the task and those who ask know of each other.
struct Shared {
    /// Whether questions are taken.
    open: AtomicBool,
    /// How it stands.
    reach: Mutex<Reach>,
    /// What happened.
    counters: FleetCounters,
}

/// The shared cache at work. It ends with the resolver whose answers it shares.
pub struct SharedCache {
    /// Takes questions.
    questions: mpsc::Sender<Question>,
    /// How long a question may take.
    timeout: Duration,
    /// How it stands.
    shared: Arc<Shared>,
}

impl SharedCache {
    /// Starts to share what this resolver learns. The server is looked for in the background.
    ///
    /// # Errors
    /// [`Unusable`]: a file that cannot be used.
    pub fn start(settings: &settings::SharedCache, chance: Arc<dyn Chance>, resolver: &Arc<Resolver>) -> Result<Arc<Self>, Unusable> {
        let (questions, asked) = mpsc::channel(QUEUE_MAX);
        let shared = Arc::new(Shared {
            open: AtomicBool::new(false),
            reach: Mutex::new(Reach::Lost { since: resolver.now(), reason: Trouble::Unreachable }),
            counters: FleetCounters::default(),
        });
        let keeper = Keeper::new(settings, chance, Arc::clone(resolver), Arc::clone(&shared))?;
        let own = Arc::new(Self { questions, timeout: settings.timeout, shared });
        resolver.share(Arc::clone(&own) as Arc<dyn Fleet>);
        resolver.spawn(keeper.run(asked));
        Ok(own)
    }

    /// How it stands.
    #[must_use]
    pub fn reach(&self) -> Reach {
        *self.shared.reach.lock()
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> &FleetCounters {
        &self.shared.counters
    }
}

impl Fleet for SharedCache {
    fn ask(&self, key: &Key) -> PortFuture<Option<Record>> {
        let (answer, answered) = oneshot::channel();
        let taken = self.shared.open.load(Ordering::Relaxed) && self.questions.try_send(Question { key: key.clone(), answer }).is_ok();
        let (shared, timeout) = (Arc::clone(&self.shared), self.timeout);
        Box::pin(async move {
            if !taken {
                shared.counters.count(Counted::Skipped);
                return None;
            }
            // Whoever answers counts; who does not answer is counted here.
            match tokio::time::timeout(timeout, answered).await {
                Ok(Ok(record)) => record,
                Ok(Err(_)) | Err(_) => {
                    shared.counters.count(Counted::Late);
                    None
                }
            }
        })
    }
}

impl Shared {
    /// Says how it stands from now on.
    fn set(&self, reach: Reach) {
        *self.reach.lock() = reach;
        self.open.store(reach == Reach::Reached, Ordering::Relaxed);
    }

    /// Takes no questions for now, without calling it an outage.
    fn close(&self) {
        self.open.store(false, Ordering::Relaxed);
    }

    /// Since when it is lost; `now` when it is not.
    fn lost_since(&self, now: Timestamp) -> Timestamp {
        match *self.reach.lock() {
            Reach::Lost { since, .. } => since,
            Reach::Reached => now,
        }
    }
}
