//! The bounds of everything that is open towards upstreams.

use std::time::Duration;

/// The most that the transport towards upstreams may hold open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamLimits {
    /// UDP sockets at the same moment; an exchange that would need one more ends with
    /// [`TransportError::Exhausted`](crate::resolver::ports::TransportError::Exhausted).
    pub sockets: usize,
    /// The bounds of connections, in number and in time.
    pub streams: StreamLimits,
}

/// Bounds of the kept connections to upstreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// How long setting up a connection may take.
    pub connect: Duration,
    /// How long a response may take once its query has been handed to the connection.
    pub response: Duration,
    /// How long a connection without outstanding queries is kept.
    pub idle: Duration,
    /// The number of endpoints to which a connection is kept.
    pub connections: usize,
    /// Outstanding queries on one connection; one more ends with
    /// [`TransportError::Exhausted`](crate::resolver::ports::TransportError::Exhausted).
    pub in_flight: usize,
}

impl StreamLimits {
    /// The limits that production uses.
    ///
    /// - 2 s each for set-up and response: together the resolution deadline, after which no client
    ///   is waiting. A lost SYN is sent again after 1 s, so one may be lost.
    /// - 10 s idle: "a few seconds" (RFC 7766 §6.2.3), long enough for a burst of truncated
    ///   responses, short enough not to be a burden.
    /// - 16 endpoints: several times what a `resolv.conf` can name.
    /// - 32 outstanding queries: what hickory and our own TCP front allow.
    pub const DEFAULT: Self = Self {
        connect: Duration::from_secs(2),
        response: Duration::from_secs(2),
        idle: Duration::from_secs(10),
        connections: 16,
        in_flight: 32,
    };
}
