//! The bounds of the TCP front, and who may use it.

use std::sync::Arc;
use std::time::Duration;

use super::ledger::ByteLedger;
use crate::config::limits;
use crate::resolver::ports::AccessList;
use crate::telemetry::tally::Connections;

/// Bounds of the TCP front, the clients that may use it, and the counters of its connections.
#[derive(Clone)]
pub struct TcpLimits {
    /// Connections at the same moment.
    pub connections: usize,
    /// Queries of one connection whose answer has not left: reading stops until there are fewer.
    pub queries: usize,
    /// How long a connection may be idle, counted from its last query or answer, and how long one
    /// query may take to arrive, counted from its first byte (RFC 7766 §6.2.3).
    pub idle: Duration,
    /// How long a client may take to receive one answer.
    pub write: Duration,
    /// How long the queries that are in flight at shutdown may take.
    pub drain: Duration,
    /// The bytes that all connections may hold together. Listeners that share a ledger share the
    /// limit.
    pub ledger: Arc<ByteLedger>,
    /// The clients that may ask.
    pub allowed: AccessList,
    /// Counts what becomes of connections.
    pub counters: Arc<Connections>,
}

impl TcpLimits {
    /// The limits of a configuration that names none; a client may take 5 s to receive an answer,
    /// and draining may take 5 s.
    #[must_use]
    pub fn new(allowed: AccessList) -> Self {
        let counters = Arc::<Connections>::default();
        Self {
            connections: limits::LISTEN_TCP_CONNECTIONS.default,
            queries: limits::LISTEN_TCP_QUERIES.default,
            idle: limits::LISTEN_TCP_IDLE.default,
            // For 64 KiB, the longest answer.
            write: Duration::from_secs(5),
            // More than a resolution takes by default.
            drain: Duration::from_secs(5),
            ledger: ByteLedger::new(limits::TCP_BYTES_MAX, Arc::clone(&counters)),
            allowed,
            counters,
        }
    }
}
