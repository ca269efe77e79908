//! What the operator has decided, in the form in which the program uses it.
//!
//! Only [`validate`](super::validate) makes these values, within the bounds of
//! [`limits`](super::limits), so whoever has them need not check them again. How the resolver
//! decides is a [`Policy`] of the core; the rest of what a process needs stands here.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::secret::Secret;
use crate::core::network::IpNetwork;
use crate::core::policy::{LogFormat, Policy};
use crate::core::upstream::UpstreamPolicy;

/// Everything that a sidecar is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where clients are answered, and which of them.
    pub listen: Listen,
    /// The upstreams that the operator has named. When none of them is a primary for all names, the
    /// name servers of `/etc/resolv.conf` are added before the start.
    pub upstreams: Vec<UpstreamPolicy>,
    /// The `resolv.conf` that the upstreams for all names come from, and which is watched; `None`
    /// when the operator has named such upstreams.
    pub resolv_conf: Option<PathBuf>,
    /// The numbers by which the resolver decides.
    pub policy: Policy,
    /// Files of answers that are read at the start, in this order.
    pub seeds: Vec<PathBuf>,
    /// Where the admin interface is; `None` when it is off.
    pub admin: Option<Admin>,
    /// The hosts file that is answered from; `None` when that is off.
    pub hosts: Option<PathBuf>,
    /// Where cached answers are kept across restarts.
    pub state: StateFileSettings,
    /// The cache that is shared with other instances; `None` when that is off.
    pub shared_cache: Option<SharedCacheSettings>,
    /// How the process ends after SIGTERM.
    pub drain: Drain,
    /// What is logged, and how.
    pub log: Log,
}

/// Where clients are answered, and which of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Addresses for UDP and TCP alike.
    pub addresses: Vec<SocketAddr>,
    /// Threads that read UDP queries, for each address.
    pub threads: usize,
    /// TCP connections that may be open at the same time, for each address.
    pub tcp_connections: usize,
    /// Queries that one TCP connection may have in flight.
    pub tcp_queries: usize,
    /// How long a TCP connection may be idle before it is closed.
    pub tcp_idle: Duration,
    /// Networks whose clients are answered; empty for everyone.
    pub clients: Vec<IpNetwork>,
}

/// Where the admin interface is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admin {
    /// The path of a Unix socket.
    Path(PathBuf),
    /// An address over TCP; a loopback address, unless the operator lets other hosts read.
    Address(SocketAddr),
}

impl std::fmt::Display for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

/// Where cached answers are kept across restarts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateFileSettings {
    /// Path of the state file; `None` when nothing is kept.
    pub path: Option<PathBuf>,
    /// How often changes are written to it.
    pub write_every: Duration,
}

/// The cache that instances of a group share, and how holdover gets access to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedCacheSettings {
    /// The URL as it was given, for logs and status; it holds no secret.
    pub url: String,
    /// The servers that the URL names.
    pub servers: SharedCacheServers,
    /// The group whose instances share what they have learned.
    pub group: String,
    /// File with the key that signs what is published.
    pub key_file: PathBuf,
    /// File with the former key, which is still accepted but no longer signs.
    pub former_key_file: Option<PathBuf>,
    /// The user; `None` for the default user.
    pub username: Option<String>,
    /// Where the password is; `None` when none is needed.
    pub password: Option<Password>,
    /// File with the certificates of the authorities that vouch for the servers; `None` for those
    /// of the system.
    pub ca_file: Option<PathBuf>,
    /// How long a query may wait for the shared cache.
    pub timeout: Duration,
    /// Names that a new instance fetches at its start.
    pub start_names: usize,
}

/// The servers that the URL of a shared cache names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedCacheServers {
    /// How the server that takes writes is found among the hosts.
    pub topology: Topology,
    /// The hosts in the order in which the URL names them; at least one.
    pub hosts: Vec<Server>,
    /// Whether connections to the hosts use TLS.
    pub transport: SharedCacheTransport,
    /// Number of the database.
    pub database: u32,
}

/// How the server of the shared cache that takes writes is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    /// The hosts are servers, and the first that answers is used.
    Single,
    /// The hosts are sentinels, which know the server that is the primary.
    Sentinel {
        /// The name under which the sentinels know the primary.
        primary: String,
    },
    /// The hosts are members of a cluster, which point to the member that has a given key.
    Cluster,
}

/// How connections to the servers of the shared cache are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedCacheTransport {
    /// Connections are neither encrypted nor authenticated.
    Plain,
    /// Connections use TLS.
    Tls,
}

/// A host that the URL of the shared cache names: a server, a sentinel, or a member of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// An IP address without brackets, or a full name.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

/// Where the password of the shared cache is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Password {
    /// The password is the content of this file.
    File(PathBuf),
    /// The password was given in an environment variable.
    Given(Secret),
}

/// How the process ends after SIGTERM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// The process ends when no query has come for this long.
    pub idle: Duration,
    /// The process ends after this long in any case.
    pub at_most: Duration,
}

/// What is logged, and in which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least severe level that is written.
    pub level: Level,
    /// The form of a log line.
    pub format: LogFormat,
}

/// Levels of log events, most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Something does not work.
    Error,
    /// Something needs attention, such as the beginning of an outage.
    Warn,
    /// Something is worth knowing, such as a start, a recovery or an end.
    Info,
    /// A state has changed in a way that is frequent.
    Debug,
    /// Everything else, for those who debug holdover.
    Trace,
}
