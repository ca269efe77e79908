//! The link to the shared cache: the connection, with everything that is needed to make it, to sign
//! and check what goes over it, and to notice that it is lost.
//!
//! Every exchange is bounded by the timeout that queries wait for. After a failure there is no
//! connection any more: the [`Breaker`] says when the next one is tried, lookups are refused until
//! then, and from the second failure in a row the shared cache counts as lost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Value};

use super::breaker::Breaker;
use super::connection::RespConnection;
use super::directory::Directory;
use super::keyspace::Keyspace;
use super::reply_error::{ReplyError, check_reply};
use super::seal::{SEALED_MAX, Seal, SealError};
use super::secrets::Secrets;
use super::servers::{Credentials, ServerSearch};
use super::status::LinkStatus;
use crate::config::settings::{SharedCacheSettings, Topology};
use crate::core::key::Key;
use crate::core::record::{self, Record};
use crate::core::time::Timestamp;
use crate::memory::Memory;
use crate::resolver::ports::{Answer, Chance};
use crate::telemetry::events;
use crate::telemetry::shared_cache::{Counted, Reach, SharedCacheTrouble};

/// Names that are asked for or published in one exchange.
pub(super) const BATCH: usize = 64;
/// Shortest time between two log lines about entries that were ignored, and between two about
/// writes that were refused.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// Checks in a row after which a name that leads to other addresses is believed.
const ASTRAY_MAX: u32 = 2;
/// Waits between two searches for another server because this one takes no writes: the first, and
/// the longest after they have doubled. Whoever configures a replica on purpose loses a connection
/// at each of them.
const SEARCH_AGAIN_MIN: Duration = Duration::from_secs(30);
const SEARCH_AGAIN_MAX: Duration = Duration::from_secs(15 * 60);

/// The parts of holdover that the shared cache needs.
#[derive(Clone)]
pub struct SharedCachePorts {
    /// The memory whose answers are shared, and whose clock is used.
    pub memory: Arc<Memory>,
    /// The source of jitter for waits, and of IDs for queries about the server's name.
    pub chance: Arc<dyn Chance>,
    /// The answerer of queries about the server's name.
    pub answer: Arc<dyn Answer>,
}

/// The connection to the shared cache, while there is one, and all that it takes to make another.
pub(super) struct Link {
    /// The URL of the configuration, for the log.
    pub(super) url: String,
    pub(super) keyspace: Keyspace,
    pub(super) seal: Seal,
    pub(super) status: Arc<LinkStatus>,
    memory: Arc<Memory>,
    chance: Arc<dyn Chance>,
    servers: ServerSearch,
    directory: Directory,
    breaker: Breaker,
    /// How long one exchange may take.
    timeout: Duration,
    connection: Option<RespConnection>,
    /// Checks in a row in which the server's name led elsewhere.
    astray: u32,
    demoted: DemotedServer,
    ignored: IgnoredEntries,
    /// When a refused write was last logged.
    refusal_logged: Option<Timestamp>,
}

/// The server that took no writes when it was last asked to.
#[derive(Default)]
struct DemotedServer {
    /// The address of the server. While it is known, other servers are preferred.
    address: Option<SocketAddr>,
    /// When the search for another one began, and the wait before the next search.
    searched: Option<(Timestamp, Duration)>,
}

impl DemotedServer {
    /// Whether another server is to be searched for now, since the one at `address` takes no
    /// writes.
    fn note(&mut self, address: SocketAddr, now: Timestamp) -> bool {
        let wait = match self.searched {
            Some((at, wait)) if self.address == Some(address) => {
                if now.since(at) < wait {
                    return false;
                }
                wait.saturating_mul(2).min(SEARCH_AGAIN_MAX)
            }
            Some(_) | None => SEARCH_AGAIN_MIN,
        };
        *self = Self { address: Some(address), searched: Some((now, wait)) };
        true
    }
}

/// Entries that were ignored because they are not ours.
#[derive(Default)]
struct IgnoredEntries {
    /// When ignored entries were last logged.
    logged: Option<Timestamp>,
    /// The number of entries that were ignored since.
    since: u64,
}

/// The result of an attempt to connect.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Connected {
    /// The server is reached, and had not been lost.
    Reached,
    /// The server is reached again after it was lost for this long.
    Back(Duration),
    /// No server is reached. The next attempt is due after this wait.
    Failed(Duration),
}

/// The value that lay in the shared cache under a key.
#[derive(Debug)]
pub(super) enum Fetched {
    /// An answer that an instance with our key published.
    Answer(Box<Record>),
    /// Nothing, or something that does not bear our signature.
    Nothing,
}

/// The reply of a server to a command that writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteReply {
    /// The value was written.
    Taken,
    /// The server refused to write; reading goes on.
    Refused,
}

impl Link {
    /// A link that is not connected yet.
    pub(super) fn new(
        settings: &SharedCacheSettings,
        secrets: Secrets,
        ports: SharedCachePorts,
        status: Arc<LinkStatus>,
    ) -> Self {
        // The search for the server needs the credentials, and a key to try them with.
        let keyspace = Keyspace::new(&settings.group);
        let servers = ServerSearch {
            topology: settings.servers.topology.clone(),
            hosts: settings.servers.hosts.clone(),
            database: settings.servers.database,
            credentials: Credentials { username: settings.username.clone(), password: secrets.password },
            tls: secrets.tls,
            probe: keyspace.probe().to_vec(),
            timeout: settings.timeout,
        };
        Self {
            url: settings.url.clone(),
            keyspace,
            seal: secrets.seal,
            status,
            directory: Directory::new(ports.answer, Arc::clone(&ports.chance)),
            breaker: Breaker::new(ports.memory.now()),
            memory: ports.memory,
            chance: ports.chance,
            servers,
            timeout: settings.timeout,
            connection: None,
            astray: 0,
            demoted: DemotedServer::default(),
            ignored: IgnoredEntries::default(),
            refusal_logged: None,
        }
    }

    /// Whether there is a connection.
    pub(super) const fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Searches for the server and connects to it. Lookups are not taken yet.
    pub(super) async fn connect(&mut self) -> Connected {
        match self.servers.connect(&mut self.directory, self.demoted.address).await {
            Ok(connection) => {
                self.astray = 0;
                self.connection = Some(connection);
                self.breaker.succeed(self.memory.now()).map_or(Connected::Reached, Connected::Back)
            }
            Err(trouble) => Connected::Failed(self.fail(trouble)),
        }
    }

    /// Drops the connection, and gives the wait before the next attempt to connect. From the second
    /// failure in a row on, the shared cache counts as lost.
    pub(super) fn fail(&mut self, trouble: SharedCacheTrouble) -> Duration {
        self.connection = None;
        self.status.close();
        let wait = self.breaker.fail(self.chance.number(), self.memory.now());
        if self.breaker.is_lost() {
            let since = self.status.lost_since(self.breaker.since());
            self.status.set(Reach::Lost { since, reason: trouble });
            if self.breaker.is_just_lost() {
                events::SharedCacheLost { url: &self.url, reason: trouble }.emit();
            }
        }
        wait
    }

    /// Sends commands and gives the reply to each; `None` when the connection is lost.
    pub(super) async fn exchange(&mut self, commands: &[Cmd]) -> Option<Vec<Value>> {
        // The connection is put back only after all replies have come. A future that is dropped in
        // between takes it along, so that no late reply is taken for one to a later command.
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

    /// Uses these secrets from now on; the connection that there is goes on.
    pub(super) fn renew(&mut self, secrets: Secrets) {
        self.seal = secrets.seal;
        self.servers.credentials.password = secrets.password;
        self.servers.tls = secrets.tls;
    }

    /// Asks the server whether it is still there and still the one to which answers are published;
    /// drops the connection when it is not, or when the server's name leads elsewhere.
    pub(super) async fn check(&mut self) {
        let Some(address) = self.connection.as_ref().map(RespConnection::address) else { return };
        // A name whose addresses are not known leads nowhere else.
        self.astray = if self.servers.leads_to(address, &mut self.directory).await { 0 } else { self.astray + 1 };
        if self.astray >= ASTRAY_MAX {
            self.fail(SharedCacheTrouble::NoPrimary);
            return;
        }
        let commands = self.servers.probe();
        let Some(replies) = self.exchange(&commands).await else { return };
        match self.servers.check_probe(replies) {
            Ok(()) => {}
            Err(ReplyError::Unusable(trouble)) => {
                self.fail(trouble);
            }
            Err(ReplyError::Elsewhere(_) | ReplyError::Command) => {
                self.fail(SharedCacheTrouble::NoPrimary);
            }
        }
    }

    /// Fetches what lies under each of the keys, in their order; `None` when the connection is
    /// lost.
    pub(super) async fn read(&mut self, keys: &[Key]) -> Option<Vec<Fetched>> {
        // GETRANGE instead of GET: of a value that is larger than any entry, one byte too many
        // comes, and no server can make us take more than that.
        let read = |key: &Key| redis::cmd("GETRANGE").arg(self.keyspace.entry(key)).arg(0).arg(SEALED_MAX).to_owned();
        let commands: Vec<Cmd> = keys.iter().map(read).collect();
        let replies = self.exchange(&commands).await?;
        let mut found = Vec::with_capacity(keys.len());
        for (key, reply) in keys.iter().zip(replies) {
            found.push(match check_reply(reply) {
                Ok(Value::BulkString(entry)) if !entry.is_empty() => self.open(key, &entry),
                // An empty string is what GETRANGE gives for a key that is not there. An error of
                // this command alone means that a value of another type lies there, which is none
                // of ours.
                Ok(_) | Err(ReplyError::Command) => Fetched::Nothing,
                Err(ReplyError::Elsewhere(_)) => {
                    self.fail(SharedCacheTrouble::NoPrimary);
                    return None;
                }
                Err(ReplyError::Unusable(trouble)) => {
                    self.fail(trouble);
                    return None;
                }
            });
        }
        Some(found)
    }

    /// Checks the signature and form of an entry. One that is not ours is counted, and logged once
    /// a minute.
    fn open(&mut self, key: &Key, entry: &[u8]) -> Fetched {
        let read = self.seal.open(key, entry).and_then(|bytes| record::read(key, bytes).map_err(|_| SealError::Format));
        match read {
            Ok(record) => return Fetched::Answer(Box::new(record)),
            Err(SealError::Format) => self.status.counters.count(Counted::Malformed),
            Err(SealError::Signature) => self.status.counters.count(Counted::WrongSignature),
        }
        self.ignored.since += 1;
        let now = self.memory.now();
        if self.ignored.logged.is_none_or(|last| now.since(last) >= LOG_EVERY) {
            events::SharedCacheIgnoredEntries { url: &self.url, entries: self.ignored.since, last: key }.emit();
            self.ignored = IgnoredEntries { logged: Some(now), since: 0 };
        }
        Fetched::Nothing
    }

    /// Checks the reply to a command that writes; `None` when it shows that another server has to
    /// be found, for which the connection is dropped. A refusal is logged once a minute.
    pub(super) fn written(&mut self, reply: Value) -> Option<WriteReply> {
        let error = match &reply {
            Value::ServerError(error) => error.code().to_owned(),
            _ => String::new(),
        };
        match check_reply(reply) {
            Ok(_) => return Some(WriteReply::Taken),
            // Another server takes what is published, so the search begins anew.
            Err(ReplyError::Elsewhere(_)) => {
                self.fail(SharedCacheTrouble::NoPrimary);
                return None;
            }
            Err(ReplyError::Unusable(SharedCacheTrouble::NoPrimary)) if self.is_worth_a_search() => {
                self.fail(SharedCacheTrouble::NoPrimary);
                return None;
            }
            // A replica, a full server, a user who may only read: there is no other server, and
            // what this one has is of use all the same.
            Err(ReplyError::Unusable(_) | ReplyError::Command) => {}
        }
        let now = self.memory.now();
        if self.refusal_logged.is_none_or(|last| now.since(last) >= LOG_EVERY) {
            events::SharedCacheRejectsWrites { url: &self.url, error: &error }.emit();
            self.refusal_logged = Some(now);
        }
        Some(WriteReply::Refused)
    }

    /// Whether another server is to be searched for, since this one takes no writes. Sentinels and
    /// clusters know another one; the name of a single server may lead to it.
    fn is_worth_a_search(&mut self) -> bool {
        let now = self.memory.now();
        let Some(connection) = &self.connection else { return false };
        self.servers.topology != Topology::Single || self.demoted.note(connection.address(), now)
    }

    /// Looks up the names of all servers, so that holdover still remembers their addresses when DNS
    /// is down.
    pub(super) async fn remember_servers(&mut self) {
        for server in self.servers.hosts.clone() {
            let _ = self.directory.find(&server.host, server.port).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Script, bulk, entry, key, memory, seal};
    use super::*;

    fn sealed(text: &str) -> Vec<u8> {
        let mut record = Vec::new();
        record::write(&entry(text), 1, &mut record);
        seal().close(&key(text), &record).unwrap()
    }

    #[tokio::test]
    async fn an_entry_is_fetched_when_it_bears_our_signature_for_its_own_name() {
        let server = Script::default();
        let mut link = server.link(&memory()).await;
        assert_eq!(link.connect().await, Connected::Reached);
        let names = ["www.example.com", "other.example.com", "none.example.com", "set.example.com"].map(key);
        server.reply(bulk(&sealed("www.example.com"))).reply(bulk(&sealed("www.example.com")));
        server.reply(bulk(b"")).reply("-WRONGTYPE of value\r\n");
        let found = link.read(&names).await.unwrap();
        assert!(
            matches!(&found[..], [Fetched::Answer(_), Fetched::Nothing, Fetched::Nothing, Fetched::Nothing]),
            "{found:?}"
        );
        assert_eq!(link.status.counters.total(Counted::WrongSignature), 1);
        assert!(link.is_connected());
    }

    #[tokio::test]
    async fn a_server_that_breaks_off_is_lost_with_the_second_failure_in_a_row() {
        let server = Script::default();
        let mut link = server.link(&memory()).await;
        assert_eq!(link.connect().await, Connected::Reached);
        link.status.set(Reach::Reached);
        assert!(link.read(&[key("www.example.com")]).await.is_none());
        assert!(!link.is_connected() && !link.status.is_open() && link.status.reach() == Reach::Reached);
        link.fail(SharedCacheTrouble::Unreachable);
        assert!(matches!(link.status.reach(), Reach::Lost { reason: SharedCacheTrouble::Unreachable, .. }));
        assert!(matches!(link.connect().await, Connected::Back(_)), "and is back when it answers");
    }

    #[tokio::test]
    async fn a_write_that_is_refused_leaves_the_connection_for_reading() {
        let mut link = Script::default().link(&memory()).await;
        assert_eq!(link.connect().await, Connected::Reached);
        let reply = |text: &str| redis::parse_redis_value(text.as_bytes()).unwrap();
        assert_eq!(link.written(reply("+OK\r\n")), Some(WriteReply::Taken));
        assert_eq!(link.written(reply("-OOM not allowed\r\n")), Some(WriteReply::Refused));
        assert!(link.is_connected());
        assert_eq!(link.written(reply("-MOVED 1 192.0.2.1:6379\r\n")), None);
        assert!(!link.is_connected());
    }

    #[tokio::test]
    async fn a_replica_is_left_for_a_search_and_then_kept_for_reading() {
        let mut link = Script::default().link(&memory()).await;
        assert_eq!(link.connect().await, Connected::Reached);
        let read_only = || redis::parse_redis_value(b"-READONLY replica\r\n").unwrap();
        assert_eq!(link.written(read_only()), None);
        assert!(!link.is_connected());
        assert_eq!(link.connect().await, Connected::Reached, "there is no other");
        assert_eq!(link.written(read_only()), Some(WriteReply::Refused));
        assert!(link.is_connected());
    }

    #[test]
    fn searches_for_a_server_that_takes_writes_become_rarer() {
        let (one, other) = ("192.0.2.1:6379".parse().unwrap(), "192.0.2.2:6379".parse().unwrap());
        let mut demoted = DemotedServer::default();
        let searches = |demoted: &mut DemotedServer, from: u64, seconds: u64| {
            (from..from + seconds).filter(|at| demoted.note(one, Timestamp::from_secs(*at))).count()
        };
        assert_eq!(searches(&mut demoted, 0, 29), 1);
        assert_eq!(searches(&mut demoted, 30, 1), 1);
        assert_eq!(searches(&mut demoted, 31, 59), 0);
        assert_eq!(searches(&mut demoted, 90, 86_400), 99);
        assert!(demoted.note(other, Timestamp::from_secs(90_000)), "another server is another matter");
    }
}
