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
    /// How long an exchange may take with all its waiting, connections and repetitions.
    pub exchange: Duration,
    /// How long nothing at all may arrive on a connection before it is doubted: the least time,
    /// where the upstream answers quickly.
    pub silence: Duration,
    /// How long a connection without outstanding queries is kept.
    pub idle: Duration,
    /// How long a connection without outstanding queries is kept that was opened beside another
    /// one.
    pub idle_beside: Duration,
    /// Connections to all endpoints together.
    pub connections: usize,
    /// Connections to one endpoint.
    pub per_endpoint: usize,
    /// Connections to one endpoint that answers only a few queries on each.
    pub per_hasty_endpoint: usize,
    /// Queries on each connection to an endpoint, above which another connection is opened.
    pub spread: usize,
    /// Outstanding queries on one connection.
    pub in_flight: usize,
    /// Exchanges at the same moment, with those that wait for a place on a connection; one more
    /// ends with [`TransportError::Exhausted`](crate::resolver::ports::TransportError::Exhausted).
    pub exchanges: usize,
}

impl StreamLimits {
    /// The limits that production uses.
    ///
    /// - 4 s for the set-up: a lost SYN is sent again after 1 s and after 3 s, so two may be lost.
    ///   It is below the resolution deadline of 4.8 s.
    /// - 10 s for a response and for a whole exchange: the longest deadline that can be configured.
    ///   Until then the resolver decides how long to wait, and drops the exchange.
    /// - 400 ms of silence: several times the round trip to any resolver, and early enough that a
    ///   query which is then sent on a new connection is answered within half a second.
    /// - 10 s idle: "a few seconds" (RFC 7766 §6.2.3), long enough for a burst of truncated
    ///   responses, short enough not to be a burden. 2 s for a further connection, which only a
    ///   burst needs.
    /// - 128 connections: two endpoints with 64 each, or eight with 16 each, which is more than a
    ///   `resolv.conf` can name. Each takes a descriptor.
    /// - 16 connections to an endpoint: an upstream that answers one query of a connection after
    ///   the other, as dnsmasq does, needs that many to answer 200 queries of 0.3 s in time. One
    ///   that accepts fewer (ten in each thread of Unbound) leaves the others silent or closes
    ///   them, and their queries move.
    /// - 64 where each carries only a few queries: the number of answers that come at once then.
    /// - 8 queries on each before another one is opened: a page or a program that starts asks for a
    ///   handful of names, and needs one connection.
    /// - 32 outstanding queries: what hickory and our own TCP front allow.
    /// - 4096 exchanges: more than 1000 resolutions with their three attempts.
    pub const DEFAULT: Self = Self {
        connect: Duration::from_secs(4),
        response: Duration::from_secs(10),
        exchange: Duration::from_secs(10),
        silence: Duration::from_millis(400),
        idle: Duration::from_secs(10),
        idle_beside: Duration::from_secs(2),
        connections: 128,
        per_endpoint: 16,
        per_hasty_endpoint: 64,
        spread: 8,
        in_flight: 32,
        exchanges: 4096,
    };
}
