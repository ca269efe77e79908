//! An upstream as it is configured: where it listens, over which transport it is asked, for which
//! names, and when.
//!
//! These types live in the core because the configuration makes them, the resolver chooses by them
//! and the adapters act on them. Whether an upstream answers is not known here; that is the part of
//! [`super::health`].

use std::net::SocketAddr;
use std::sync::Arc;

/// The transport over which an upstream is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// DNS over UDP, with TCP after a truncated response (RFC 1035, RFC 7766).
    Udp,
    /// DNS over TCP only (RFC 7766).
    Tcp,
}

impl Transport {
    /// The number of packets that one query costs upstream, as the packet budget counts them. Over
    /// TCP these are the handshake, the query and its acknowledgement.
    #[must_use]
    pub const fn packets(self) -> u32 {
        match self {
            Self::Udp => 1,
            Self::Tcp => 4,
        }
    }
}

/// One place to which queries can be sent: everything that a transport needs to reach it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The address and port on which the upstream listens.
    pub address: SocketAddr,
    /// The transport over which queries travel to the upstream.
    pub transport: Transport,
    /// The name that the upstream must prove to own before any query is sent to it; `None` for
    /// transports without such a proof, which are all that exist so far.
    pub server_name: Option<Arc<str>>,
}

impl Endpoint {
    /// An endpoint that is asked over UDP.
    #[must_use]
    pub const fn udp(address: SocketAddr) -> Self {
        Self { address, transport: Transport::Udp, server_name: None }
    }

    /// An endpoint that is asked over TCP.
    #[must_use]
    pub const fn tcp(address: SocketAddr) -> Self {
        Self { address, transport: Transport::Tcp, server_name: None }
    }
}

/// The role of an upstream, which decides when it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The upstream is asked for every name of its zones.
    Primary,
    /// The upstream is asked only when no primary upstream of the name has given an answer.
    Fallback,
}

/// The case of the letters of a name in queries over UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QueryCase {
    /// All letters are lower case.
    Lower,
    /// Each letter is upper or lower case at random, and a response has to repeat it (the proposal
    /// draft-vixie-dnsext-dns0x20).
    Random,
}

/// One upstream as the operator describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamPolicy {
    /// The name of the upstream in the log and in metrics.
    pub name: String,
    /// The addresses on which the upstream listens; all of them belong to the same service.
    pub addresses: Vec<SocketAddr>,
    /// The transport over which the upstream is asked.
    pub transport: Transport,
    /// The zones for whose names the upstream is asked, in lower-cased wire form with the root
    /// label; empty when it is asked for all names.
    pub zones: Vec<Box<[u8]>>,
    /// When the upstream is asked.
    pub role: Role,
    /// The case of names in queries to the upstream.
    pub case: QueryCase,
}

impl UpstreamPolicy {
    /// A primary upstream that is asked over UDP for all names.
    #[must_use]
    pub fn plain(name: impl Into<String>, addresses: Vec<SocketAddr>) -> Self {
        Self {
            name: name.into(),
            addresses,
            transport: Transport::Udp,
            zones: Vec::new(),
            role: Role::Primary,
            case: QueryCase::Lower,
        }
    }

    /// The place to which queries are sent when this upstream is asked at one of its addresses.
    #[must_use]
    pub const fn endpoint(&self, address: SocketAddr) -> Endpoint {
        Endpoint { address, transport: self.transport, server_name: None }
    }
}

/// Identifies one upstream address for as long as anything that concerns it is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpstreamId(usize);

impl UpstreamId {
    /// The upstream at this position in the resolver's list.
    #[must_use]
    pub const fn new(index: usize) -> Self {
        Self(index)
    }

    /// The position of the upstream in the resolver's list.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0
    }
}

/// Identifies one upstream group: the upstreams of one zone, which all names of the zone share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(u16);

impl GroupId {
    /// The group at this position in [`super::routes::Routes`]. Positions beyond 65 535, which no
    /// configuration reaches, all stand for the last group.
    #[must_use]
    pub fn new(index: usize) -> Self {
        Self(u16::try_from(index).unwrap_or(u16::MAX))
    }

    /// The position of the group in [`super::routes::Routes`].
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}
