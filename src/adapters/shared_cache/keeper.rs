//! The task that owns the connection: looks for the server, answers questions, publishes, keeps the
//! index, one after the other.
//!
//! Questions come first whenever one waits. Everything else is cut into pieces, each within the
//! timeout, so that a question waits for one piece at the most. While the server is away the task
//! sleeps between tries, and what it holds stays bounded.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Value};
use tokio::sync::mpsc;

use super::breaker::Breaker;
use super::connection::Connection;
use super::directory::Directory;
use super::hot_names::{HotNames, Names};
use super::publisher::Publisher;
use super::seal::{Broken, SEALED_MAX, Seal};
use super::secrets::Secrets;
use super::servers::{Complaint, Identity, Servers, judge};
use super::{Question, Shared};
use crate::config::settings::{SharedCacheSettings, Topology};
use crate::core::key::Key;
use crate::core::record::{self, Record};
use crate::core::time::Timestamp;
use crate::memory::Memory;
use crate::memory::journal::Reader;
use crate::resolver::Resolver;
use crate::resolver::ports::Chance;
use crate::telemetry::events;
use crate::telemetry::shared_cache::{Counted, Reach, SharedCacheTrouble};

/// Names that are asked for or published at once.
pub(super) const BATCH: usize = 64;
/// How long a connection may be without use before it is looked at whether it still works, so that
/// it does when it is needed.
const CHECK_EVERY: Duration = Duration::from_secs(5);
/// What is not quite right is said in the log at most this often.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// The task.
pub(super) struct Keeper {
    /// Whose answers are shared.
    pub(super) memory: Arc<Memory>,
    /// Throws dice.
    chance: Arc<dyn Chance>,
    /// What those who ask see.
    pub(super) shared: Arc<Shared>,
    /// Where it is, for the log.
    url: String,
    /// Finds the server.
    servers: Servers,
    /// Finds its addresses.
    directory: Directory,
    /// When to try.
    breaker: Breaker,
    /// Signs and checks.
    pub(super) seal: Seal,
    /// What things are called there.
    pub(super) names: Names,
    /// How long one exchange may take.
    timeout: Duration,
    /// The connection, while there is one.
    connection: Option<Connection>,
    /// What is published.
    pub(super) publisher: Publisher,
    /// What is hot.
    pub(super) hot_names: HotNames,
    /// When a wrong entry was last spoken of, and how many were found since.
    wrong: (Option<Timestamp>, u64),
    /// When a refusal was last spoken of.
    refused: Option<Timestamp>,
}

/// What lay under a key.
pub(super) enum Fetched {
    /// An answer that one of us put there.
    Answer(Box<Record>),
    /// Nothing, or nothing of ours.
    Nothing,
}

impl Keeper {
    /// Prepares the task.
    pub(super) fn new(
        settings: &SharedCacheSettings,
        secrets: Secrets,
        chance: Arc<dyn Chance>,
        resolver: Arc<Resolver>,
        shared: Arc<Shared>,
    ) -> Self {
        let names = Names::new(&settings.group);
        let servers = Servers {
            topology: settings.servers.topology.clone(),
            hosts: settings.servers.hosts.clone(),
            database: settings.servers.database,
            identity: Identity { username: settings.username.clone(), password: secrets.password },
            tls: secrets.tls,
            probe: names.probe().to_vec(),
            timeout: settings.timeout,
        };
        let now = resolver.now();
        Self {
            directory: Directory::new(Arc::clone(&resolver), Arc::clone(&chance)),
            breaker: Breaker::new(now),
            seal: secrets.seal,
            timeout: settings.timeout,
            connection: None,
            publisher: Publisher::default(),
            hot_names: HotNames::new(settings.start_names, now),
            wrong: (None, 0),
            refused: None,
            url: settings.url.clone(),
            memory: Arc::clone(resolver.memory()),
            chance,
            shared,
            servers,
            names,
        }
    }

    /// Runs until nobody can ask any more.
    pub(super) async fn run(mut self, mut questions: mpsc::Receiver<Question>) {
        let journal = self.memory.journal();
        loop {
            while self.connection.is_none() {
                self.reconnect(&mut questions, &journal).await;
            }
            let mut asked = Vec::new();
            let busy = self.publisher.is_busy() || self.hot_names.is_filling();
            let rest = self.memory.now().until(self.hot_names.due());
            let check = CHECK_EVERY.min(rest);
            tokio::select! {
                biased;
                got = questions.recv_many(&mut asked, BATCH) => match got {
                    0 => return,
                    _ => self.answer(asked).await,
                },
                () = std::future::ready(()), if busy && self.hot_names.is_filling() => self.fill().await,
                () = std::future::ready(()), if busy => self.publish().await,
                () = journal.changed(), if !busy => self.publisher.take(journal.take().changes),
                () = tokio::time::sleep(check), if !busy => match rest > check {
                    true => self.check().await,
                    false => self.look_at_what_is_hot().await,
                },
            }
        }
    }

    /// Looks for the server, and waits when there is none.
    async fn reconnect(&mut self, questions: &mut mpsc::Receiver<Question>, journal: &Reader) {
        // Whoever has just asked does without.
        self.shared.close();
        while questions.try_recv().is_ok() {}
        match self.servers.connect(&mut self.directory).await {
            Ok(connection) => {
                self.connection = Some(connection);
                // What could not be told meanwhile is found again by how hot it is.
                let missed = journal.take().changes.len() + self.publisher.clear();
                self.shared.counters.add(Counted::Unsent, u64::try_from(missed).unwrap_or_default());
                self.hot_names.hurry(self.memory.now());
                let first = self.shared.counters.total(Counted::Published) == 0 && self.hot_names.is_filling();
                match self.breaker.succeed(self.memory.now()) {
                    Some(lasted) => events::SharedCacheBack { url: &self.url, lasted }.emit(),
                    None if first => events::SharedCacheReached { url: &self.url }.emit(),
                    None => {}
                }
                self.shared.set(Reach::Reached);
            }
            Err(trouble) => {
                let wait = self.fail(trouble);
                tokio::time::sleep(wait).await;
            }
        }
    }

    /// Notes that the server is of no use at present; tells how long to wait.
    pub(super) fn fail(&mut self, trouble: SharedCacheTrouble) -> Duration {
        self.connection = None;
        self.shared.close();
        let wait = self.breaker.fail(self.chance.number(), self.memory.now());
        if self.breaker.is_lost() {
            let since = self.shared.lost_since(self.breaker.since());
            self.shared.set(Reach::Lost { since, reason: trouble });
            if self.breaker.is_just_lost() {
                events::SharedCacheLost { url: &self.url, reason: trouble }.emit();
            }
        }
        wait
    }

    /// Sends commands; `None` when that failed and the connection is gone.
    pub(super) async fn exchange(&mut self, commands: &[Cmd]) -> Option<Vec<Value>> {
        match self.connection.take()?.exchange(commands, self.timeout).await {
            Ok((connection, replies)) => {
                self.connection = Some(connection);
                Some(replies)
            }
            Err(trouble) => {
                self.fail(trouble);
                None
            }
        }
    }

    /// Looks whether the server is still there, and is still the right one.
    async fn check(&mut self) {
        let commands = self.servers.probe();
        let Some(replies) = self.exchange(&commands).await else { return };
        match self.servers.judge_probe(replies) {
            Ok(()) => {}
            Err(Complaint::Useless(trouble)) => {
                self.fail(trouble);
            }
            Err(Complaint::Elsewhere(_) | Complaint::Command) => {
                self.fail(SharedCacheTrouble::NoPrimary);
            }
        }
    }

    /// Answers questions.
    async fn answer(&mut self, questions: Vec<Question>) {
        let keys: Vec<Key> = questions.iter().map(|question| question.key.clone()).collect();
        let Some(found) = self.read(&keys).await else { return };
        for (question, lay) in questions.into_iter().zip(found) {
            let record = match lay {
                Fetched::Answer(record) => Some(*record),
                Fetched::Nothing => None,
            };
            self.shared.counters.count(if record.is_some() { Counted::Found } else { Counted::Missing });
            let _ = question.answer.send(record);
        }
    }

    /// Reads what lies under keys, in their order; `None` when the connection is gone.
    pub(super) async fn read(&mut self, keys: &[Key]) -> Option<Vec<Fetched>> {
        // A piece of it when it is too large: nobody can make us take more than that.
        let read = |key: &Key| redis::cmd("GETRANGE").arg(self.names.entry(key)).arg(0).arg(SEALED_MAX).to_owned();
        let commands: Vec<Cmd> = keys.iter().map(read).collect();
        let replies = self.exchange(&commands).await?;
        let mut found = Vec::with_capacity(keys.len());
        for (key, reply) in keys.iter().zip(replies) {
            found.push(match judge(reply) {
                Ok(Value::BulkString(entry)) if !entry.is_empty() => self.open(key, &entry),
                // Of another type, which is none of ours.
                Ok(_) | Err(Complaint::Command) => Fetched::Nothing,
                Err(Complaint::Elsewhere(_)) => {
                    self.fail(SharedCacheTrouble::NoPrimary);
                    return None;
                }
                Err(Complaint::Useless(trouble)) => {
                    self.fail(trouble);
                    return None;
                }
            });
        }
        Some(found)
    }

    /// Opens an entry, if it is ours.
    fn open(&mut self, key: &Key, entry: &[u8]) -> Fetched {
        let read = self.seal.open(key, entry).and_then(|bytes| record::read(key, bytes).map_err(|_| Broken::Format));
        match read {
            Ok(record) => return Fetched::Answer(Box::new(record)),
            Err(Broken::Format) => self.shared.counters.count(Counted::Unreadable),
            Err(Broken::Signature) => self.shared.counters.count(Counted::WrongSignature),
        }
        self.wrong.1 += 1;
        let now = self.memory.now();
        if self.wrong.0.is_none_or(|last| now.since(last) >= SAY_EVERY) {
            events::SharedCacheWrongEntries { url: &self.url, entries: self.wrong.1, last: key }.emit();
            self.wrong = (Some(now), 0);
        }
        Fetched::Nothing
    }

    /// Judges the reply to a command that writes; false when it was refused, `None` when the
    /// connection is gone.
    pub(super) fn written(&mut self, reply: Value) -> Option<bool> {
        let error = match &reply {
            Value::ServerError(error) => error.code().to_owned(),
            _ => String::new(),
        };
        match (judge(reply), &self.servers.topology) {
            (Ok(_), _) => return Some(true),
            (Err(Complaint::Elsewhere(_)), _)
            | (Err(Complaint::Useless(SharedCacheTrouble::NoPrimary)), Topology::Sentinel { .. } | Topology::Cluster) =>
            {
                self.fail(SharedCacheTrouble::NoPrimary);
                return None;
            }
            // A replica, a full server, a user who may only read: what it has is of use all the
            // same.
            (Err(Complaint::Useless(_) | Complaint::Command), _) => {}
        }
        let now = self.memory.now();
        if self.refused.is_none_or(|last| now.since(last) >= SAY_EVERY) {
            events::SharedCacheRefuses { url: &self.url, error: &error }.emit();
            self.refused = Some(now);
        }
        Some(false)
    }

    /// Looks the servers' names up, so that they are still remembered when DNS is down.
    pub(super) async fn remember_servers(&mut self) {
        for server in self.servers.hosts.clone() {
            let _ = self.directory.find(&server.host, server.port).await;
        }
    }
}
