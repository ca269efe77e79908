//! The part of a reading about what is bounded: packets, caches, the clients that share what there
//! is, and what did not fit into the limits of the process.

use serde::{Deserialize, Serialize};

/// Something that was made smaller at the start than it is configured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShrunkReading {
    /// The key of the configuration, or what has no key in words.
    pub what: String,
    /// The number that is configured.
    pub configured: u64,
    /// The number that fits.
    pub fits: u64,
    /// The limit into which it had to fit, and what to change.
    pub limit: String,
}

/// What is under way for one client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientReading {
    /// Address of the client, for IPv6 its /64; `others` for clients beyond the 256 that are told
    /// apart.
    pub client: String,
    /// Number of resolutions in flight for the client.
    pub resolutions: u64,
    /// Number of resolutions for which the client waits, because too many are in flight.
    pub queued: u64,
    /// Number of queries of the client over UDP that wait for an answer.
    pub waiting: u64,
    /// Number of packets that were sent to upstreams for the client in the last second.
    pub packets: u64,
    /// Number of the client's queries so far that lost a place to other clients.
    pub shed: u64,
}

/// Queries to upstreams of one class of the packet budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketReading {
    /// Number of queries of this class that were sent.
    pub sent: u64,
    /// Number of queries that the packet budget did not allow when they were due. They were sent
    /// later, or not at all.
    pub over_budget: u64,
}

/// Number and size of the answers that are remembered, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheReading {
    /// Number and size of positive answers.
    pub positive: StoreSizeReading,
    /// Number and size of negative answers: NODATA and NXDOMAIN.
    pub negative: StoreSizeReading,
    /// Number and size of resolution failures of names without any answer (RFC 9520).
    pub failure: StoreSizeReading,
    /// Number of answers whose TTL has ended and that can be served stale.
    pub expired_entries: u64,
    /// Limit of the memory for positive answers, in bytes.
    pub limit_bytes: u64,
}

/// Number and size of remembered answers of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreSizeReading {
    /// Number of remembered answers of this kind.
    pub entries: u64,
    /// Memory that the answers of this kind take, bookkeeping included, in bytes.
    pub bytes: u64,
}
