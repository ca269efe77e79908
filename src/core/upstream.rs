//! What an upstream is: where it listens, how it is spoken to, which names it is asked for, and
//! when.
//!
//! The words live in the core because the configuration writes them, the resolver chooses by them
//! and the adapters act on them. Nothing here knows whether an upstream is well; that is
//! [`super::health`]'s part.

use std::net::SocketAddr;
use std::sync::Arc;

/// How an upstream is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// DNS over UDP, with TCP after a truncated response (RFC 1035, RFC 7766).
    Udp,
    /// DNS over TCP only (RFC 7766).
    Tcp,
}

/// One place to which queries can be sent: everything that a transport needs to reach it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The address and port on which the upstream listens.
    pub address: SocketAddr,
    /// How queries travel to it.
    pub transport: Transport,
    /// The name that the upstream must prove to own before it is sent anything; `None` for
    /// transports that prove nothing, which are all that exist so far.
    pub server_name: Option<Arc<str>>,
}

impl Endpoint {
    /// An address that is spoken to over UDP.
    #[must_use]
    pub const fn udp(address: SocketAddr) -> Self {
        Self { address, transport: Transport::Udp, server_name: None }
    }

    /// An address that is spoken to over TCP.
    #[must_use]
    pub const fn tcp(address: SocketAddr) -> Self {
        Self { address, transport: Transport::Tcp, server_name: None }
    }
}

/// When an upstream is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The upstream is asked for every name of its zones.
    Primary,
    /// The upstream is asked only when no primary upstream of the name has given an answer.
    Fallback,
}

/// One upstream as the operator describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamPolicy {
    /// The name that log and metrics use for it.
    pub name: String,
    /// Where it listens; all addresses belong to the same service.
    pub addresses: Vec<SocketAddr>,
    /// How it is spoken to.
    pub transport: Transport,
    /// The zones that it is asked for, lower-cased wire form with the root label; empty for all
    /// names.
    pub zones: Vec<Box<[u8]>>,
    /// When it is asked.
    pub role: Role,
}

/// Names one upstream address for as long as anything that concerns it is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpstreamId(usize);

impl UpstreamId {
    /// The upstream with this place in the resolver's list.
    #[must_use]
    pub const fn new(index: usize) -> Self {
        Self(index)
    }

    /// Its place in the resolver's list.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0
    }
}

/// Names one upstream group: all names below one zone, which share their upstreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(u16);

impl GroupId {
    /// The group with this place in [`super::routes::Routes`]; places beyond 65 535, which no
    /// configuration reaches, are all the last one.
    #[must_use]
    pub fn new(index: usize) -> Self {
        Self(u16::try_from(index).unwrap_or(u16::MAX))
    }

    /// Its place in [`super::routes::Routes`].
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}
