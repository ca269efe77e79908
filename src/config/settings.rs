//! What the operator decided, valid by construction: only [`super::validate`] makes these, within
//! [`super::limits`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::limits;
use crate::core::network::IpNetwork;
use crate::core::policy::Policy;
use crate::core::upstream::UpstreamPolicy;

/// Everything that a sidecar is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where clients reach it.
    pub listen: Listen,
    /// Whom it asks; empty until `/etc/resolv.conf` has been read, when the operator named none.
    pub upstreams: Vec<UpstreamPolicy>,
    /// The `resolv.conf` that the upstreams for all names come from, which is watched; none when
    /// the operator named upstreams.
    pub resolv_conf: Option<PathBuf>,
    /// How it decides.
    pub policy: Policy,
    /// Files of remembered answers that are read at the start, in this order.
    pub seeds: Vec<PathBuf>,
    /// Where it is asked about itself; none when that is off.
    pub admin: Option<Admin>,
    /// The hosts file that is answered from; none when that is off.
    pub hosts: Option<PathBuf>,
    /// Where what is remembered is kept.
    pub state: StateFileSettings,
    /// What it shares with others; none when that is off.
    pub shared_cache: Option<SharedCacheSettings>,
    /// How it ends.
    pub drain: Drain,
    /// What it writes.
    pub log: Log,
}

/// Where clients reach holdover, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Addresses for UDP and TCP alike.
    pub addresses: Vec<SocketAddr>,
    /// Threads that read UDP, for each address.
    pub threads: usize,
    /// TCP connections at the same moment.
    pub tcp_connections: usize,
    /// Queries in flight on one of them.
    pub tcp_queries: usize,
    /// How long one may be idle.
    pub tcp_idle: Duration,
    /// Who is answered; empty for everyone.
    pub clients: Vec<IpNetwork>,
}

/// Where holdover is asked about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admin {
    /// A unix socket.
    Path(PathBuf),
    /// An address over TCP; of loopback, unless others may read.
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

impl std::str::FromStr for Admin {
    type Err = ();

    /// Reads an absolute path, or an address with an optional port.
    fn from_str(text: &str) -> Result<Self, ()> {
        if text.starts_with('/') {
            return if text.len() <= limits::ADMIN_PATH_MAX && !text.ends_with('/') {
                Ok(Self::Path(text.into()))
            } else {
                Err(())
            };
        }
        super::validate::read_address(text, limits::ADMIN_PORT).map(Self::Address).ok_or(())
    }
}

/// The state file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateFileSettings {
    /// The file; none when nothing is kept.
    pub path: Option<PathBuf>,
    /// How often it is written.
    pub write_every: Duration,
}

/// The memory that a fleet shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedCacheSettings {
    /// The URL as it was given; it holds no secret.
    pub url: String,
    /// Where the servers are.
    pub servers: Servers,
    /// Whose memory it is.
    pub group: String,
    /// The file with the key that signs.
    pub key_file: PathBuf,
    /// The file with the key that is accepted as well.
    pub former_key_file: Option<PathBuf>,
    /// The user; the default one when there is none.
    pub username: Option<String>,
    /// Where the password is.
    pub password: Option<Password>,
    /// The file with the authorities that may vouch for the servers; the system's when there is
    /// none.
    pub ca_file: Option<PathBuf>,
    /// How long a query may wait for it.
    pub timeout: Duration,
    /// Names that are asked for at the start.
    pub start_names: usize,
}

/// Where the servers are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Servers {
    /// How the one that takes what is published is found.
    pub topology: Topology,
    /// Those that are named.
    pub hosts: Vec<Server>,
    /// Whether they are spoken to over TLS.
    pub transport: Transport,
    /// The number of the database.
    pub database: u32,
}

/// How the server that takes what is published is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    /// It is the first of those named that answers.
    Single,
    /// Sentinels are named, which know it.
    Sentinel {
        /// The name under which they do.
        primary: String,
    },
    /// Members of a cluster are named, which point to it.
    Cluster,
}

/// How servers are spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// In clear.
    Plain,
    /// Over TLS.
    Tls,
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its address or name.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// Where a password is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Password {
    /// In a file.
    File(PathBuf),
    /// Here, out of the environment.
    Given(Secret),
}

/// What must not be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(not shown)")
    }
}

/// The end of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// It ends when no query has come for this long …
    pub idle: Duration,
    /// … and after this long in any case.
    pub at_most: Duration,
}

/// The log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least severe level that is written.
    pub level: Level,
    /// How lines look.
    pub format: Format,
}

/// Levels, most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Something does not work.
    Error,
    /// Something needs attention: an outage begins.
    Warn,
    /// Something is worth knowing: start, recovery, end.
    Info,
    /// Changes of state that come often.
    Debug,
    /// Everything.
    Trace,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Settings {
    /// All defaults, without upstreams.
    ///
    /// # Panics
    /// Never: a test holds that the defaults are within their own bounds.
    #[must_use]
    pub fn standard() -> Self {
        super::validate::validate(&super::layer::Layer::default())
            .unwrap_or_else(|problems| unreachable_defaults(&problems))
    }
}

/// The defaults contradict the bounds; a test keeps that from happening.
#[expect(clippy::panic, reason = "a fault of the table in `limits`, which a test finds before anybody else does")]
fn unreachable_defaults(problems: &super::error::ConfigError) -> Settings {
    panic!("{problems}")
}
