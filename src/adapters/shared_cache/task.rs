//! The task that owns the connection to the shared cache. It searches for the server, answers
//! lookups, learns the hot names at the start, publishes, and keeps the index of hot names, one
//! after the other.
//!
//! Lookups come first whenever one waits. Everything else is cut into exchanges that each take no
//! longer than the timeout, so that a lookup waits for one of them at the most. While the server is
//! away, the task sleeps between attempts to connect, and what it holds stays bounded.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::hot_names::HotNames;
use super::link::{BATCH, Connected, Fetched, Link, SharedCachePorts};
use super::lookup::Lookup;
use super::publisher::Publisher;
use super::secret_files::{Reread, SecretFiles};
use super::secrets::Secrets;
use super::status::LinkStatus;
use crate::config::settings::SharedCacheSettings;
use crate::core::key::Key;
use crate::memory::Memory;
use crate::memory::journal::Reader;
use crate::telemetry::events;
use crate::telemetry::shared_cache::{Counted, Reach};

/// Time between two checks of the connection, so that it works when it is needed.
const CHECK_EVERY: Duration = Duration::from_secs(5);

/// The task that shares what the memory learns.
pub(super) struct SharedCacheTask {
    memory: Arc<Memory>,
    status: Arc<LinkStatus>,
    files: SecretFiles,
    link: Link,
    /// When the connection is checked next.
    check: Instant,
    publisher: Publisher,
    hot_names: HotNames,
}

impl SharedCacheTask {
    /// A task that is not connected yet.
    pub(super) fn new(
        settings: &SharedCacheSettings,
        secrets: Secrets,
        ports: SharedCachePorts,
        status: Arc<LinkStatus>,
    ) -> Self {
        let memory = Arc::clone(&ports.memory);
        Self {
            publisher: Publisher::default(),
            hot_names: HotNames::new(settings.start_names, memory.now()),
            files: SecretFiles::new(settings),
            check: Instant::now() + CHECK_EVERY,
            link: Link::new(settings, secrets, ports, Arc::clone(&status)),
            memory,
            status,
        }
    }

    /// Runs until the last sender of lookups is dropped.
    pub(super) async fn run(mut self, lookups: &mut mpsc::Receiver<Lookup>) {
        // Changes are collected from here on, also while there is no connection.
        let journal = self.memory.journal();
        self.files.read_again(Reread::Changed);
        loop {
            while !self.link.is_connected() {
                self.reconnect(lookups, &journal).await;
            }
            let mut asked = Vec::new();
            // While there is something to fill or publish, the index of hot names and further
            // changes wait. Otherwise the task sleeps until a lookup or a change comes, or the
            // connection is to be checked, or the index of hot names is due.
            let busy = self.publisher.is_busy() || self.hot_names.is_filling();
            let rest = self.memory.now().until(self.hot_names.due());
            tokio::select! {
                biased;
                got = lookups.recv_many(&mut asked, BATCH) => match got {
                    0 => return,
                    _ => self.answer(asked).await,
                },
                () = sleep_until(self.check) => self.check_connection().await,
                () = std::future::ready(()), if self.hot_names.is_filling() => {
                    self.hot_names.fill(&mut self.link, &self.memory).await;
                }
                () = std::future::ready(()), if busy => {
                    self.publisher.publish(&mut self.link, self.memory.now()).await;
                }
                () = sleep(rest), if !busy => self.upload_hot_names().await,
                () = journal.changed(), if !busy => self.publisher.take(journal.take().changes),
            }
        }
    }

    /// Looks whether the connection and the files are still those that are wanted.
    async fn check_connection(&mut self) {
        self.check = Instant::now() + CHECK_EVERY;
        self.files.read_again(Reread::Changed);
        if let Some(secrets) = self.files.renewed().await {
            self.link.renew(secrets);
        }
        self.link.check().await;
    }

    /// Searches for the server, and waits when none is found.
    async fn reconnect(&mut self, lookups: &mut mpsc::Receiver<Lookup>, journal: &Reader) {
        // Lookups that are waiting already get no answer from the shared cache, rather than wait
        // for a search that may take seconds.
        self.status.close();
        while lookups.try_recv().is_ok() {}
        if let Some(secrets) = self.files.renewed().await {
            self.link.renew(secrets);
        }
        let lost_for = match self.link.connect().await {
            Connected::Failed(wait) => {
                self.files.read_again(Reread::All);
                return sleep(wait).await;
            }
            Connected::Reached => None,
            Connected::Back(lost_for) => Some(lost_for),
        };
        // What was learned while there was no connection is not published from the journal. The hot
        // names among it are, since the index is brought up to date soon.
        let missed = journal.take().changes.len() + self.publisher.clear();
        self.status.counters.add(Counted::Unsent, u64::try_from(missed).unwrap_or_default());
        self.hot_names.hurry(self.memory.now());
        let first = self.status.counters.total(Counted::Written) == 0 && self.hot_names.is_filling();
        match lost_for {
            Some(lasted) => events::SharedCacheBack { url: &self.link.url, failed_for: lasted }.emit(),
            None if first => events::SharedCacheReached { url: &self.link.url }.emit(),
            None => {}
        }
        self.status.set(Reach::Reached);
    }

    /// Answers lookups. They get no reply when the connection is lost meanwhile.
    async fn answer(&mut self, lookups: Vec<Lookup>) {
        let keys: Vec<Key> = lookups.iter().map(|lookup| lookup.key.clone()).collect();
        let Some(found) = self.link.read(&keys).await else { return };
        for (lookup, fetched) in lookups.into_iter().zip(found) {
            let record = match fetched {
                Fetched::Answer(record) => Some(*record),
                Fetched::Nothing => None,
            };
            self.status.counters.count(if record.is_some() { Counted::Hit } else { Counted::Miss });
            let _ = lookup.reply.send(record);
        }
    }

    /// Brings the index of hot names up to date, and has the answers to them published where the
    /// shared cache lacks them.
    async fn upload_hot_names(&mut self) {
        for cached in self.hot_names.upload(&mut self.link, &self.memory).await {
            self.publisher.add(&cached);
        }
    }
}
