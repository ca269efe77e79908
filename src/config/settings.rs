//! What the operator decided, valid by construction.

use std::net::SocketAddr;
use std::time::Duration;

use crate::core::network::IpNetwork;
use crate::core::policy::Policy;
use crate::core::upstream::UpstreamPolicy;

/// Everything that a sidecar is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens.
    pub listen: Listen,
    /// Whom it asks.
    pub upstreams: Vec<UpstreamPolicy>,
    /// How it decides.
    pub policy: Policy,
    /// How it ends.
    pub drain: Drain,
}

/// Where and to whom.
#[derive(Clone, Debug)]
pub struct Listen {
    /// UDP and TCP.
    pub addresses: Vec<SocketAddr>,
    /// UDP threads per address.
    pub threads: usize,
    /// Connections.
    pub tcp_connections: usize,
    /// Queries of one.
    pub tcp_queries: usize,
    /// Idle time of one.
    pub tcp_idle: Duration,
    /// Who may ask.
    pub clients: Vec<IpNetwork>,
}

/// How it ends.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    /// After so long without a query.
    pub idle: Duration,
    /// After so long in any case.
    pub at_most: Duration,
}
