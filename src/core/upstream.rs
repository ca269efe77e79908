//! What an upstream is: where it listens, how it is spoken to, which names it is asked for, and
//! when.
//!
//! The words live in the core because the configuration writes them, the resolver chooses by them
//! and the adapters act on them. Nothing here knows whether an upstream is well; that is health's
//! part.

use std::net::SocketAddr;

/// How an upstream is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// DNS over UDP, TCP after truncation (RFC 1035, RFC 7766).
    Udp,
    /// DNS over TCP only (RFC 7766).
    Tcp,
}

/// When an upstream is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Always.
    Primary,
    /// Only when no primary upstream of the name has given an answer.
    Fallback,
}

/// One upstream as the operator describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamPolicy {
    /// What log and metrics call it.
    pub name: String,
    /// Where it listens; all addresses are the same service.
    pub addresses: Vec<SocketAddr>,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// The zones that it is asked for, lower-cased wire form with the root label; empty for all
    /// names.
    pub zones: Vec<Box<[u8]>>,
    /// When it is asked.
    pub role: Role,
}
