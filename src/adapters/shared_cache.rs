//! The memory that a fleet shares in Valkey or Redis: gives it what this instance learned, asks it
//! for what this instance never knew.
//!
//! One task owns one connection, and does one thing at a time, in this order: what queries wait for
//! ([`SharedCacheClient::ask`]), what was just learned, what is hot. No query ever waits longer than the
//! timeout (30 ms), and nobody is kept waiting while the server is known to be away ([`breaker`]).
//!
//! | what happens | what becomes of it |
//! |---|---|
//! | the server is down, stalls, refuses us | one timeout at most for each name that is missing just then, then nobody asks until it answers again |
//! | it is full, or may not be written | what it has is used; what it refuses is counted |
//! | somebody else writes into it | what does not bear our signature ([`seal`]) is ignored, counted, and overwritten |
//! | a sentinel or the cluster names another server | the search begins anew ([`servers`]) |
//! | a key, password or certificate file cannot be used | as without it, and the files are read again, at last every 15 s: a sidecar that does not start is worse |
//! | its name cannot be resolved | by holdover itself, from memory ([`directory`]) |
//!
//! An answer from it is judged like one from another run ([`crate::core::restore`]): it replaces
//! nothing newer, and is as stale as it says. Bounds: one connection, [`QUEUE_MAX`] questions,
//! entries of 16 KiB ([`seal`]), replies of a megabyte ([`replies`]), an index of 4096 names
//! ([`hot_names`]). What is published is one journal page at the most, which is forgotten while the
//! server is away: what is hot is looked over every minute, and makes up for it.

mod breaker;
mod connection;
mod directory;
mod hot_names;
mod keeper;
mod publisher;
mod replies;
mod seal;
mod secrets;
mod servers;

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
use crate::resolver::ports::{Chance, PortFuture, SharedCache};
use crate::telemetry::events;
use crate::telemetry::shared_cache::{Counted, Reach, SharedCacheCounters, SharedCacheTrouble};
use keeper::Keeper;
use secrets::Secrets;
pub use secrets::Unusable;

/// Questions that may wait at the same moment; more are not asked.
const QUEUE_MAX: usize = 256;

/// When files that cannot be used are read again, since a secret may be mounted late: at first, ...
const READ_AGAIN_MIN: Duration = Duration::from_secs(1);
/// ... and, after twice as long each time, at last.
const READ_AGAIN_MAX: Duration = Duration::from_secs(15);

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
    counters: SharedCacheCounters,
}

/// The shared cache at work. It ends with the resolver whose answers it shares.
pub struct SharedCacheClient {
    /// Takes questions.
    questions: mpsc::Sender<Question>,
    /// How long a question may take.
    timeout: Duration,
    /// How it stands.
    shared: Arc<Shared>,
}

impl SharedCacheClient {
    /// Starts to share what this resolver learns. Files are read and the server is looked for in
    /// the background.
    #[must_use]
    pub fn start(
        settings: &settings::SharedCacheSettings,
        chance: Arc<dyn Chance>,
        resolver: &Arc<Resolver>,
    ) -> Arc<Self> {
        let (questions, asked) = mpsc::channel(QUEUE_MAX);
        let shared = Arc::new(Shared {
            open: AtomicBool::new(false),
            reach: Mutex::new(Reach::Lost { since: resolver.now(), reason: SharedCacheTrouble::Unreachable }),
            counters: SharedCacheCounters::default(),
        });
        let own = Arc::new(Self { questions, timeout: settings.timeout, shared: Arc::clone(&shared) });
        resolver.share(Arc::clone(&own) as Arc<dyn SharedCache>);
        let (settings, sharer) = (settings.clone(), Arc::clone(resolver));
        resolver.spawn(async move {
            let secrets = shared.wait_for_secrets(&settings, &sharer).await;
            Keeper::new(&settings, secrets, chance, sharer, shared).run(asked).await;
        });
        own
    }

    /// How it stands.
    #[must_use]
    pub fn reach(&self) -> Reach {
        *self.shared.reach.lock()
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> &SharedCacheCounters {
        &self.shared.counters
    }
}

impl SharedCache for SharedCacheClient {
    fn ask(&self, key: &Key) -> PortFuture<Option<Record>> {
        let (answer, answered) = oneshot::channel();
        let taken = self.shared.open.load(Ordering::Relaxed)
            && self.questions.try_send(Question { key: key.clone(), answer }).is_ok();
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

/// Says whether the files that the shared cache needs can be used. It may block for as long as
/// their file system does.
///
/// # Errors
/// [`Unusable`]: the first of them that cannot.
pub fn check(settings: &settings::SharedCacheSettings) -> Result<(), Unusable> {
    Secrets::read(settings).map(drop)
}

impl Shared {
    /// Reads the files until all of them can be used; each new complaint is told.
    async fn wait_for_secrets(&self, settings: &settings::SharedCacheSettings, resolver: &Resolver) -> Secrets {
        let (mut told, mut wait) = (String::new(), READ_AGAIN_MIN);
        loop {
            let own = settings.clone();
            // The file system may hang.
            match tokio::task::spawn_blocking(move || Secrets::read(&own)).await {
                Ok(Ok(secrets)) => return secrets,
                Ok(Err(unusable)) => {
                    let complaint = unusable.to_string();
                    if complaint != told {
                        events::SharedCacheUnusable { url: &settings.url, reason: &complaint }.emit();
                        told = complaint;
                    }
                }
                // The thread is gone with the runtime, or has failed in a way that it cannot.
                Err(_) => {}
            }
            self.set(Reach::Lost { since: self.lost_since(resolver.now()), reason: SharedCacheTrouble::Files });
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(READ_AGAIN_MAX);
        }
    }

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
