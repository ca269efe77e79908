//! The decisions of the operator, in the form in which the program uses them.
//!
//! Only [`validate`](super::validate) makes these values, within the bounds of
//! [`limits`](super::limits), so no other code has to check them again. The numbers by which the
//! resolver decides are a [`Policy`] of the core; everything else that a process needs stands here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::error::Problem;
use super::secret::Secret;
use crate::core::network::IpNetwork;
use crate::core::policy::{LogFormat, Policy};
use crate::core::upstream::UpstreamPolicy;

/// All settings with which a sidecar is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The addresses on which clients are answered, and the clients that are.
    pub listen: Listen,
    /// The upstreams that the operator has named. When none of them is a primary for all names, the
    /// name servers of `/etc/resolv.conf` are added before the start.
    pub upstreams: Vec<UpstreamPolicy>,
    /// Path of the `resolv.conf` that the upstreams for all names come from, and which is watched;
    /// `None` when the operator has named such upstreams.
    pub resolv_conf: Option<PathBuf>,
    /// The numbers by which the resolver decides.
    pub policy: Policy,
    /// Files of answers that are read at the start, in this order.
    pub seeds: Vec<PathBuf>,
    /// Address of the admin interface; `None` when the interface is off.
    pub admin: Option<Admin>,
    /// File with the token that lets clients change the memory over TCP; `None` when none may.
    pub admin_token_file: Option<PathBuf>,
    /// Path of the hosts file that is answered from; `None` when no hosts file is used.
    pub hosts: Option<PathBuf>,
    /// The file in which cached answers are kept across restarts.
    pub state: StateFileSettings,
    /// The cache that is shared with other instances; `None` when none is.
    pub shared_cache: Option<SharedCacheSettings>,
    /// How the process ends after SIGTERM.
    pub drain: Drain,
    /// Level and format of the log.
    pub log: Log,
    /// Keys, sections and environment variables that this version does not know and that were
    /// allowed all the same.
    pub unknown: Vec<Problem>,
    /// What is valid, though hardly meant.
    pub remarks: Vec<Problem>,
}

/// The addresses on which clients are answered, the clients that are, and the limits of both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Addresses on which queries are received over UDP and TCP.
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

/// The address of the admin interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admin {
    /// The path of a Unix socket.
    Path(PathBuf),
    /// An address over TCP; a loopback address, unless the operator lets other hosts read.
    Address(SocketAddr),
}

impl Admin {
    /// Name of the abstract unix socket (unix(7)) that belongs to an interface over TCP, and over
    /// which the memory is changed: it shows who asks, needs no file, and is reached in the same
    /// network namespace as the address.
    #[must_use]
    pub fn socket_beside(mut address: SocketAddr) -> String {
        match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            IpAddr::V4(_) | IpAddr::V6(_) => {}
        }
        format!("holdover-admin/{address}")
    }
}

impl std::fmt::Display for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

/// The file in which cached answers are kept across restarts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateFileSettings {
    /// Path of the state file; `None` when no state file is used.
    pub path: Option<PathBuf>,
    /// Time between two writes of changes to the state file.
    pub write_every: Duration,
}

/// The cache that instances of a group share, and how holdover gets access to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedCacheSettings {
    /// The URL as it was given, for logs and status; it holds no secret.
    pub url: String,
    /// The servers that the URL names.
    pub servers: SharedCacheServers,
    /// The group whose instances share the answers that they have learned.
    pub group: String,
    /// File with the key that signs published entries.
    pub key_file: PathBuf,
    /// File with the former key, which is still accepted but no longer signs.
    pub former_key_file: Option<PathBuf>,
    /// The user of the server; `None` for the default user.
    pub username: Option<String>,
    /// The source of the password; `None` when none is needed.
    pub password: Option<Password>,
    /// File with the certificates of the authorities that vouch for the servers; `None` for those
    /// of the system.
    pub ca_file: Option<PathBuf>,
    /// Longest time that a query may wait for the shared cache.
    pub timeout: Duration,
    /// Number of names that a new instance fetches at its start.
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
    /// Number of the database on the server.
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
    /// Connections are encrypted and authenticated with TLS.
    Tls,
}

/// A host that the URL of the shared cache names: a server, a sentinel, or a member of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// An IP address without brackets, or a full name.
    pub host: String,
    /// The TCP port, never 0.
    pub port: u16,
}

/// The source of the shared cache's password.
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

/// Level and format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least severe level that is written.
    pub level: Level,
    /// The format of a log line: text or JSON.
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
    /// Everything else, for debugging holdover.
    Trace,
}
