//! Finds the server to which answers are published: the one that the URL names, the one that the
//! sentinels name, or the member of the cluster that has our hash slot.
//!
//! | `shared_cache.url` | server |
//! |---|---|
//! | `redis://`, `rediss://` | the first of the named servers that answers |
//! | `redis-sentinel://` | the primary that a sentinel names; sentinels are asked in turn |
//! | `redis-cluster://` | any named member is asked for a key of ours, and its redirection is followed |
//!
//! A primary that a sentinel names is asked whether it is one (Sentinel clients' guidelines); if
//! not, the next sentinel is asked.
//!
//! All keys of a group bear one hash tag, so a cluster keeps them in one hash slot. There is one
//! server to talk to in every case, and no map of slots to be kept. When another server takes over,
//! commands fail with MOVED or READONLY, and the search begins anew. Redirections are followed in a
//! cluster alone: elsewhere they would let whoever runs one server send us to any other.

use std::net::SocketAddr;
use std::time::Duration;

use redis::{Cmd, Value};

use super::connection::RespConnection;
use super::directory::Directory;
use super::reply_error::{ReplyError, check_reply};
use crate::adapters::tls::Tls;
use crate::config::settings::{Server, Topology};
use crate::telemetry::shared_cache::SharedCacheTrouble;

/// How long a connection to one address may take to be made.
const OPEN_MAX: Duration = Duration::from_millis(500);
/// How long the first commands on a connection may take. No query waits for them, so they have more
/// time than others.
const GREETING_MAX: Duration = Duration::from_millis(500);
/// How long the whole search may take.
const SEARCH_MAX: Duration = Duration::from_secs(3);
/// Servers that one redirection after the other may lead to.
const REDIRECTS_MAX: usize = 4;

/// The user as which holdover logs in to servers.
#[derive(Clone, Default)]
pub(super) struct Credentials {
    /// `None` for the server's default user.
    pub(super) username: Option<String>,
    /// `None` when the server asks for no password.
    pub(super) password: Option<Vec<u8>>,
}

/// Where the server is searched for, and what is expected of it.
pub(super) struct ServerSearch {
    pub(super) topology: Topology,
    /// The servers, sentinels or members of the cluster that the URL names.
    pub(super) hosts: Vec<Server>,
    /// Number of the database that is selected.
    pub(super) database: u32,
    pub(super) credentials: Credentials,
    /// `None` when the servers are spoken to in clear.
    pub(super) tls: Option<Tls>,
    /// A key in our hash slot, which the user must be able to read.
    pub(super) probe: Vec<u8>,
    /// How long a command may take for which a query waits.
    pub(super) timeout: Duration,
}

/// The kind of server to which holdover logs in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Greeting {
    /// A server that holds answers.
    Server,
    Sentinel,
}

impl ServerSearch {
    /// Connects to the server to which answers are published, within 3 seconds. The server at the
    /// address `avoided` is taken when there is no other.
    ///
    /// # Errors
    /// The [`SharedCacheTrouble`] of the server that was tried last.
    pub(super) async fn connect(
        &self,
        directory: &mut Directory,
        avoided: Option<SocketAddr>,
    ) -> Result<RespConnection, SharedCacheTrouble> {
        let search = async {
            match self.search(directory, avoided).await {
                Err(_) if avoided.is_some() => self.search(directory, None).await,
                found => found,
            }
        };
        tokio::time::timeout(SEARCH_MAX, search).await.unwrap_or(Err(SharedCacheTrouble::Unreachable))
    }

    /// Whether the names of single servers lead to `address`. Sentinels and clusters say themselves
    /// which server is the right one.
    pub(super) async fn leads_to(&self, address: SocketAddr, directory: &mut Directory) -> bool {
        if self.topology != Topology::Single {
            return true;
        }
        for host in &self.hosts {
            if host.port == address.port() && directory.addresses(&host.host).await.contains(&address.ip()) {
                return true;
            }
        }
        false
    }

    async fn search(
        &self,
        directory: &mut Directory,
        avoided: Option<SocketAddr>,
    ) -> Result<RespConnection, SharedCacheTrouble> {
        let mut trouble = SharedCacheTrouble::Unreachable;
        for host in &self.hosts {
            let found = match &self.topology {
                Topology::Single | Topology::Cluster => self.reach(host.clone(), directory, avoided).await,
                Topology::Sentinel { primary } => match self.primary(host, primary, directory).await {
                    Ok(server) => self.reach(server, directory, avoided).await,
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

    /// Connects to a server, or, in a cluster, to the one to which it redirects.
    async fn reach(
        &self,
        mut server: Server,
        directory: &mut Directory,
        avoided: Option<SocketAddr>,
    ) -> Result<RespConnection, SharedCacheTrouble> {
        for _ in 0..REDIRECTS_MAX {
            let connection = self.greet(&server, directory, Greeting::Server, avoided).await?;
            // The probe has the time that queries give to a lookup: a server that is too slow for
            // them is not used.
            let (connection, replies) = connection.exchange(&self.probe(), self.timeout).await?;
            match self.check_probe(replies) {
                Ok(()) => return Ok(connection),
                Err(ReplyError::Elsewhere(other)) if self.topology == Topology::Cluster => server = other,
                Err(ReplyError::Elsewhere(_)) => return Err(SharedCacheTrouble::Redirected),
                Err(ReplyError::Unusable(trouble)) => return Err(trouble),
                Err(ReplyError::Command) => return Err(SharedCacheTrouble::Unavailable),
            }
        }
        Err(SharedCacheTrouble::NoPrimary)
    }

    /// The commands whose replies show whether a server is the one that is searched for.
    pub(super) fn probe(&self) -> Vec<Cmd> {
        let mut commands = vec![redis::cmd("GETRANGE").arg(&self.probe).arg(0).arg(0).to_owned()];
        if let Topology::Sentinel { .. } = self.topology {
            commands.push(redis::cmd("ROLE"));
        }
        commands
    }

    /// Checks the replies to [`Self::probe`].
    ///
    /// # Errors
    /// [`ReplyError`] when the server is not the one that is searched for.
    pub(super) fn check_probe(&self, replies: Vec<Value>) -> Result<(), ReplyError> {
        let mut replies = replies.into_iter().map(check_reply);
        match replies.next() {
            // An error of the command alone means that a value of another type lies under the
            // probe, which somebody has put there. The server can be used all the same.
            Some(Ok(_) | Err(ReplyError::Command)) | None => {}
            Some(Err(error)) => return Err(error),
        }
        match replies.next() {
            Some(Ok(role)) if !is_primary(&role) => Err(ReplyError::Unusable(SharedCacheTrouble::NoPrimary)),
            Some(Ok(_)) | None => Ok(()),
            Some(Err(error)) => Err(error),
        }
    }

    /// Asks a sentinel for the primary with this name.
    async fn primary(
        &self,
        sentinel: &Server,
        name: &str,
        directory: &mut Directory,
    ) -> Result<Server, SharedCacheTrouble> {
        let connection = self.greet(sentinel, directory, Greeting::Sentinel, None).await?;
        let command = redis::cmd("SENTINEL").arg("get-master-addr-by-name").arg(name).to_owned();
        let (_, replies) = connection.exchange(&[command], GREETING_MAX).await?;
        match replies.into_iter().next().map(check_reply) {
            Some(Ok(Value::Array(address))) => server_of(&address).ok_or(SharedCacheTrouble::Protocol),
            Some(Ok(_)) => Err(SharedCacheTrouble::NoPrimary),
            Some(Err(ReplyError::Unusable(trouble))) => Err(trouble),
            Some(Err(ReplyError::Elsewhere(_) | ReplyError::Command)) | None => Err(SharedCacheTrouble::NoPrimary),
        }
    }

    /// Connects to the first address of a server that answers, and logs in there.
    async fn greet(
        &self,
        server: &Server,
        directory: &mut Directory,
        greeting: Greeting,
        avoided: Option<SocketAddr>,
    ) -> Result<RespConnection, SharedCacheTrouble> {
        let mut trouble = SharedCacheTrouble::NoAddress;
        let addresses = directory.find(&server.host, server.port).await;
        for address in addresses.into_iter().filter(|address| Some(*address) != avoided) {
            match RespConnection::open(address, &server.host, self.tls.as_ref(), OPEN_MAX).await {
                Ok(connection) => return self.log_in(connection, greeting).await,
                Err(last) => trouble = last,
            }
        }
        Err(trouble)
    }

    /// Authenticates and selects the database, where that is configured.
    async fn log_in(
        &self,
        connection: RespConnection,
        greeting: Greeting,
    ) -> Result<RespConnection, SharedCacheTrouble> {
        // Servers that want neither a password nor a database are ready at once.
        let mut commands = Vec::new();
        if let Some(password) = &self.credentials.password {
            let mut auth = redis::cmd("AUTH");
            self.credentials.username.iter().for_each(|user| {
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
            match (check_reply(reply), greeting) {
                // A sentinel may have no password although its servers have one.
                (Ok(_), Greeting::Server | Greeting::Sentinel) | (Err(_), Greeting::Sentinel) => {}
                (Err(ReplyError::Unusable(trouble)), Greeting::Server) => return Err(trouble),
                (Err(ReplyError::Elsewhere(_) | ReplyError::Command), Greeting::Server) => {
                    return Err(SharedCacheTrouble::PermissionDenied);
                }
            }
        }
        Ok(connection)
    }
}

/// Whether the reply to ROLE comes from a primary.
fn is_primary(role: &Value) -> bool {
    matches!(role, Value::Array(fields) if matches!(fields.first(), Some(Value::BulkString(name)) if name == b"master"))
}

/// Reads the address by which a sentinel names the primary.
fn server_of(address: &[Value]) -> Option<Server> {
    let [Value::BulkString(host), Value::BulkString(port)] = address else { return None };
    Some(Server { host: String::from_utf8(host.clone()).ok()?, port: std::str::from_utf8(port).ok()?.parse().ok()? })
}
