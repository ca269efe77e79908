//! The shared cache: what several instances have learned, kept in Valkey or Redis. This instance
//! publishes there what it learned, and looks there for what it never knew.
//!
//! One task ([`task`]) owns one connection ([`link`]) and does one thing at a time, in this order:
//! lookups for queries that wait ([`SharedCacheClient::ask`]), the answers that were just learned
//! ([`publisher`]), and the names that are asked for most ([`hot_names`]). No query waits longer
//! than the timeout (30 ms), and none waits while the server is known to be away ([`breaker`]).
//!
//! | event | consequence |
//! |---|---|
//! | the server is down, stalls, or refuses the user | at most one timeout for each lookup, then no lookups |
//! | the server is full, or may not be written | its answers are used; writes that it refuses are counted |
//! | somebody else writes into the server | an entry without our signature is ignored, counted, overwritten |
//! | a sentinel or the cluster names another server | the search begins anew ([`servers`]) |
//! | a key, password or certificate file cannot be used | the files are read again, in the end every 15 s |
//! | such a file changes, or the server denies access | the files are read again ([`secret_files`]) |
//! | the server takes no writes any more, or its name leads elsewhere | the search begins anew |
//! | a single server redirects, which members of a cluster do | it is not used |
//! | the server's name cannot be resolved | holdover answers it from its own memory ([`directory`]) |
//!
//! While the shared cache cannot be used, holdover runs without it, and lookups begin again when
//! the server answers. Signatures are made and checked in [`seal`], files are read in [`secrets`].
//!
//! An answer from the shared cache is treated like one of an earlier run
//! ([`crate::core::restore`]): it replaces nothing newer, and is as stale as its times say.
//!
//! Everything is bounded: one connection, [`QUEUE_MAX`] lookups, entries of 16 KiB ([`seal`]),
//! replies of a megabyte ([`replies`]), and an index of 4096 names ([`hot_names`]). At most one
//! page of the journal waits to be published. It is dropped while the server is away; the upload of
//! the hot names, once a minute, makes up for that.

mod breaker;
mod connection;
mod directory;
mod hot_names;
mod keyspace;
mod link;
mod lookup;
mod publisher;
mod replies;
mod reply_error;
mod seal;
mod secret_files;
mod secrets;
mod servers;
mod status;
mod task;
#[cfg(test)]
mod testing;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot};

use crate::config::settings;
use crate::core::key::Key;
use crate::core::record::Record;
use crate::resolver::ports::{PortFuture, SharedCache};
use crate::telemetry::shared_cache::{Counted, Reach, SharedCacheCounters};
pub use link::SharedCachePorts;
use lookup::Lookup;
use secrets::Secrets;
pub use secrets::Unusable;
use status::LinkStatus;
use task::SharedCacheTask;

/// Lookups that may wait for the task at the same time; further ones are skipped.
const QUEUE_MAX: usize = 256;

/// The side of the shared cache that queries see: it takes lookups, and says how the connection is
/// doing.
pub struct SharedCacheClient {
    lookups: mpsc::Sender<Lookup>,
    /// How long a lookup may take.
    timeout: Duration,
    status: Arc<LinkStatus>,
}

impl SharedCacheClient {
    /// Makes a client, and the start of the task that serves it, which the caller has to run. The
    /// task reads the files of the configuration and searches for the server itself. It runs until
    /// the client is dropped, may be dropped at any moment, and may then be started again.
    pub fn new(
        settings: &settings::SharedCacheSettings,
        ports: SharedCachePorts,
    ) -> (Arc<Self>, impl Fn() -> PortFuture<()> + Send + use<>) {
        let (lookups, received) = mpsc::channel(QUEUE_MAX);
        let status = Arc::new(LinkStatus::new(ports.memory.now()));
        let client = Arc::new(Self { lookups, timeout: settings.timeout, status: Arc::clone(&status) });
        let (settings, received) = (settings.clone(), Arc::new(Mutex::new(received)));
        let start = move || -> PortFuture<()> {
            let (settings, status) = (settings.clone(), Arc::clone(&status));
            let (ports, received) = (ports.clone(), Arc::clone(&received));
            Box::pin(async move {
                let mut received = received.lock().await;
                let secrets = Secrets::wait_until_usable(&settings, &status, &ports.memory).await;
                SharedCacheTask::new(&settings, secrets, ports, status).run(&mut received).await;
            })
        };
        (client, start)
    }

    /// Whether the shared cache is reached at present.
    #[must_use]
    pub fn reach(&self) -> Reach {
        self.status.reach()
    }

    /// Counters of lookups, of published answers, and of ignored entries since the start.
    #[must_use]
    pub fn counters(&self) -> &SharedCacheCounters {
        &self.status.counters
    }
}

impl SharedCache for SharedCacheClient {
    fn ask(&self, key: &Key) -> PortFuture<Option<Record>> {
        let (reply, replied) = oneshot::channel();
        // A full queue is treated like a server that is away: waiting would not be worth it.
        let taken = self.status.is_open() && self.lookups.try_send(Lookup { key: key.clone(), reply }).is_ok();
        let (status, timeout) = (Arc::clone(&self.status), self.timeout);
        Box::pin(async move {
            if !taken {
                status.counters.count(Counted::Skipped);
                return None;
            }
            // The task counts the lookups that it answers; those that get no answer are counted
            // here.
            match tokio::time::timeout(timeout, replied).await {
                Ok(Ok(record)) => record,
                Ok(Err(_)) | Err(_) => {
                    status.counters.count(Counted::TimedOut);
                    None
                }
            }
        })
    }
}

/// Checks whether the files that the shared cache needs can be used. Blocks for as long as their
/// file system does.
///
/// # Errors
/// [`Unusable`] for the first file that cannot be used.
pub fn check(settings: &settings::SharedCacheSettings) -> Result<(), Unusable> {
    Secrets::read(settings).map(drop)
}
