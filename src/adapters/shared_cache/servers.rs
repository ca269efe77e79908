//! Finds the server that takes what is published: the one that is named, the one that the sentinels
//! name, or the one that has our slot.
//!
//! | `shared_cache.url` | which server |
//! |---|---|
//! | `redis://`, `rediss://` | the first that answers |
//! | `redis-sentinel://` | asks the sentinels in turn for the primary, and the primary whether it is one (Sentinel clients' guidelines) |
//! | `redis-cluster://` | asks any of them for a key of ours, and follows where it points |
//!
//! All keys of a group bear one hash tag, so a cluster keeps them in one slot: there is one server
//! to talk to in every case, and no map of slots to be kept. When the server is changed, commands
//! fail with MOVED or READONLY, and the search begins anew.

use std::time::Duration;

use redis::{Cmd, RedisError, Value};

use super::connection::Connection;
use super::directory::Directory;
use crate::adapters::tls::Tls;
use crate::config::settings::{Server, Topology};
use crate::telemetry::shared_cache::SharedCacheTrouble;

/// How long one address may take to be connected to.
const OPEN_MAX: Duration = Duration::from_millis(500);
/// How long the first commands on a connection may take; those for which queries wait have a
/// shorter time.
const GREETING_MAX: Duration = Duration::from_millis(500);
/// How long the whole search may take.
const SEARCH_MAX: Duration = Duration::from_secs(3);
/// How often one search may be sent elsewhere.
const REDIRECTS_MAX: usize = 4;

/// Who we are.
#[derive(Clone, Default)]
pub(super) struct Identity {
    /// The user; `None` for the default one.
    pub(super) username: Option<String>,
    /// The password.
    pub(super) password: Option<Vec<u8>>,
}

/// Where to look, and as whom.
pub(super) struct Servers {
    /// How servers are found.
    pub(super) topology: Topology,
    /// Those that are named.
    pub(super) hosts: Vec<Server>,
    /// The number of the database.
    pub(super) database: u32,
    /// Who we are.
    pub(super) identity: Identity,
    /// TLS, if wanted.
    pub(super) tls: Option<Tls>,
    /// A key in our slot, which the user must be able to read.
    pub(super) probe: Vec<u8>,
    /// How long a command may take for which a query waits.
    pub(super) timeout: Duration,
}

/// What is done about a reply that is no value.
pub(super) enum Complaint {
    /// Another server has the key.
    Elsewhere(Server),
    /// The connection is of no use.
    Useless(SharedCacheTrouble),
    /// The command failed, and nothing else did.
    Command,
}

impl Servers {
    /// Connects to the server that takes what is published.
    ///
    /// # Errors
    /// The last [`SharedCacheTrouble`] of the search.
    pub(super) async fn connect(&self, directory: &mut Directory) -> Result<Connection, SharedCacheTrouble> {
        tokio::time::timeout(SEARCH_MAX, self.search(directory)).await.unwrap_or(Err(SharedCacheTrouble::Unreachable))
    }

    /// Searches.
    async fn search(&self, directory: &mut Directory) -> Result<Connection, SharedCacheTrouble> {
        let mut trouble = SharedCacheTrouble::Unreachable;
        for host in &self.hosts {
            let found = match &self.topology {
                Topology::Single | Topology::Cluster => self.reach(host.clone(), directory).await,
                Topology::Sentinel { primary } => match self.primary(host, primary, directory).await {
                    Ok(server) => self.reach(server, directory).await,
                    Err(trouble) => Err(trouble),
                },
            };
            match found {
                Ok(connection) => return Ok(connection),
                Err(last) => trouble = last,
            }
        }
        Err(trouble)
    }

    /// Reaches a server or the one to which it points.
    async fn reach(&self, mut server: Server, directory: &mut Directory) -> Result<Connection, SharedCacheTrouble> {
        for _ in 0..REDIRECTS_MAX {
            let connection = self.greet(&server, directory, Greeting::Server).await?;
            // Within the time that queries will give it: a server that is too slow for them is no
            // use.
            let (connection, replies) = connection.exchange(&self.probe(), self.timeout).await?;
            match self.judge_probe(replies) {
                Ok(()) => return Ok(connection),
                Err(Complaint::Elsewhere(other)) => server = other,
                Err(Complaint::Useless(trouble)) => return Err(trouble),
                Err(Complaint::Command) => return Err(SharedCacheTrouble::Unwilling),
            }
        }
        Err(SharedCacheTrouble::NoPrimary)
    }

    /// Commands that tell whether a server is the right one.
    pub(super) fn probe(&self) -> Vec<Cmd> {
        let mut commands = vec![redis::cmd("GETRANGE").arg(&self.probe).arg(0).arg(0).to_owned()];
        if let Topology::Sentinel { .. } = self.topology {
            commands.push(redis::cmd("ROLE"));
        }
        commands
    }

    /// Judges their replies.
    ///
    /// # Errors
    /// [`Complaint`]: it is not the right one.
    pub(super) fn judge_probe(&self, replies: Vec<Value>) -> Result<(), Complaint> {
        let mut replies = replies.into_iter().map(judge);
        match replies.next() {
            // Somebody has put something of another type there, which is no reason to do without
            // the server.
            Some(Ok(_) | Err(Complaint::Command)) | None => {}
            Some(Err(complaint)) => return Err(complaint),
        }
        match replies.next() {
            Some(Ok(role)) if !is_primary(&role) => Err(Complaint::Useless(SharedCacheTrouble::NoPrimary)),
            Some(Ok(_)) | None => Ok(()),
            Some(Err(complaint)) => Err(complaint),
        }
    }

    /// Asks a sentinel for the primary.
    async fn primary(
        &self,
        sentinel: &Server,
        name: &str,
        directory: &mut Directory,
    ) -> Result<Server, SharedCacheTrouble> {
        let connection = self.greet(sentinel, directory, Greeting::Sentinel).await?;
        let command = redis::cmd("SENTINEL").arg("get-master-addr-by-name").arg(name).to_owned();
        let (_, replies) = connection.exchange(&[command], GREETING_MAX).await?;
        match replies.into_iter().next().map(judge) {
            Some(Ok(Value::Array(address))) => server_of(&address).ok_or(SharedCacheTrouble::Protocol),
            Some(Ok(_)) => Err(SharedCacheTrouble::NoPrimary),
            Some(Err(Complaint::Useless(trouble))) => Err(trouble),
            Some(Err(Complaint::Elsewhere(_) | Complaint::Command)) | None => Err(SharedCacheTrouble::NoPrimary),
        }
    }

    /// Connects to one server, and says who we are.
    async fn greet(
        &self,
        server: &Server,
        directory: &mut Directory,
        greeting: Greeting,
    ) -> Result<Connection, SharedCacheTrouble> {
        let mut trouble = SharedCacheTrouble::NoAddress;
        for address in directory.find(&server.host, server.port).await {
            match Connection::open(address, &server.host, self.tls.as_ref(), OPEN_MAX).await {
                Ok(connection) => return self.introduce(connection, greeting).await,
                Err(last) => trouble = last,
            }
        }
        Err(trouble)
    }

    /// Says who we are.
    async fn introduce(&self, connection: Connection, greeting: Greeting) -> Result<Connection, SharedCacheTrouble> {
        let mut commands = Vec::new();
        if let Some(password) = &self.identity.password {
            let mut auth = redis::cmd("AUTH");
            self.identity.username.iter().for_each(|user| {
                auth.arg(user);
            });
            commands.push(auth.arg(password).to_owned());
        }
        if self.database > 0 && greeting == Greeting::Server {
            commands.push(redis::cmd("SELECT").arg(self.database).to_owned());
        }
        if commands.is_empty() {
            return Ok(connection);
        }
        let (connection, replies) = connection.exchange(&commands, GREETING_MAX).await?;
        for reply in replies {
            match (judge(reply), greeting) {
                // A sentinel may have no password although its servers have one.
                (Ok(_), _) | (Err(_), Greeting::Sentinel) => {}
                (Err(Complaint::Useless(trouble)), Greeting::Server) => return Err(trouble),
                (Err(Complaint::Elsewhere(_) | Complaint::Command), Greeting::Server) => {
                    return Err(SharedCacheTrouble::Denied);
                }
            }
        }
        Ok(connection)
    }
}

/// Whom we greet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Greeting {
    /// A server that holds data.
    Server,
    /// A sentinel.
    Sentinel,
}

/// Whether the reply to ROLE is a primary's.
fn is_primary(role: &Value) -> bool {
    matches!(role, Value::Array(fields) if matches!(fields.first(), Some(Value::BulkString(name)) if name == b"master"))
}

/// A server as a sentinel names it.
fn server_of(address: &[Value]) -> Option<Server> {
    let [Value::BulkString(host), Value::BulkString(port)] = address else { return None };
    Some(Server { host: String::from_utf8(host.clone()).ok()?, port: std::str::from_utf8(port).ok()?.parse().ok()? })
}

/// Tells a value from a complaint.
pub(super) fn judge(reply: Value) -> Result<Value, Complaint> {
    reply.extract_error().map_err(|error| complaint(&error))
}

/// What a server's complaint means for us.
fn complaint(error: &RedisError) -> Complaint {
    if let Some((node, _)) = error.redirect_node()
        && let Some((host, port)) = node.rsplit_once(':')
        && let Ok(port) = port.parse()
    {
        return Complaint::Elsewhere(Server { host: host.trim_matches(['[', ']']).to_owned(), port });
    }
    match error.code() {
        Some("NOAUTH" | "WRONGPASS" | "NOPERM") => Complaint::Useless(SharedCacheTrouble::Denied),
        Some("READONLY" | "MASTERDOWN" | "NOREPLICAS" | "CLUSTERDOWN" | "TRYAGAIN" | "MOVED" | "ASK") => {
            Complaint::Useless(SharedCacheTrouble::NoPrimary)
        }
        Some("LOADING" | "BUSY") => Complaint::Useless(SharedCacheTrouble::Unwilling),
        Some(_) | None => Complaint::Command,
    }
}
