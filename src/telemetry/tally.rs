//! Counters of the query path: outcomes of queries, packets sent to upstreams, and responses of
//! upstreams.
//!
//! Each thread that answers queries has a [`Tally`] of its own, so that counting a query is one
//! relaxed addition on a cache line that no other thread writes. `/status` and `/metrics` add the
//! tallies up when they are read. Everything that is counted less often than once per query has one
//! group of [`Counters`] that all threads share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::counters::Counters;
use crate::core::budget::Class;
use crate::core::classify::Failure;
use crate::core::labelled::labelled;
use crate::core::matching::Mismatch;

/// Upper bounds, in seconds, of the classes in which ages of stale answers are counted.
///
/// One more class, without a bound, follows them. The age is the time since the answer expired:
/// seconds mean a slow upstream, hours an outage that nears the default maximum stale of a day.
pub const STALE_AGES: [u64; 9] = [1, 10, 60, 600, 3_600, 14_400, 43_200, 86_400, 604_800];

labelled! {
    /// The outcome of a client's query; the same words in code, log, metrics and reports.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum Answered {
        /// The query was answered with data within their TTL, or just fetched.
        Fresh = "fresh",
        /// The query was answered with data whose TTL has ended (RFC 8767).
        Stale = "stale",
        /// The query was answered with SERVFAIL, because no upstream answered and nothing was
        /// remembered.
        Failed = "failed",
        /// The query was answered with a SERVFAIL that was remembered (RFC 9520).
        CachedFailure = "cached_failure",
        /// The query was answered without any upstream, as its name is never forwarded (RFC 6761).
        Local = "local",
        /// The query could not be answered as asked: FORMERR, NOTIMP, BADVERS, or RD=0 for a name
        /// that is not fresh in the cache.
        Rejected = "rejected",
        /// The packet got no response: it is not a query, or longer than a query may be.
        Dropped = "dropped",
        /// The query got no response, because its client's address is not allowed.
        NotAllowed = "not_allowed",
    }
}

labelled! {
    /// The place that a query of a client had to give up, so that other clients have their share.
    /// It was answered with what is remembered, else with SERVFAIL.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Shed {
        /// A place in the queue between the threads that receive and the resolver.
        Arrival = "arrival",
        /// A place among the queries that wait.
        Waiting = "waiting",
        /// A place among the resolutions.
        Resolution = "resolution",
    }
}

impl Answered {
    /// Whether a client gets a response with this outcome.
    #[must_use]
    pub const fn is_answer(self) -> bool {
        match self {
            Self::Fresh | Self::Stale | Self::Failed | Self::CachedFailure | Self::Local | Self::Rejected => true,
            Self::Dropped | Self::NotAllowed => false,
        }
    }
}

/// The query counters of one thread, aligned so that no other thread writes to their cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Tally {
    queries: Counters<Answered>,
    /// Stale answers by the class of their age, in the order of [`STALE_AGES`].
    stale_ages: [AtomicU64; STALE_AGES.len() + 1],
    stale_age_ms: AtomicU64,
}

/// How long ago stale answers had expired when they were given, as a histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StaleAges {
    /// Number of answers in each class, in the order of [`STALE_AGES`].
    pub classes: [u64; STALE_AGES.len() + 1],
    /// Sum of the ages of all stale answers.
    pub sum: Duration,
}

impl StaleAges {
    /// Adds the ages of stale answers that another thread has counted.
    pub fn add(&mut self, other: &Self) {
        for (own, other) in self.classes.iter_mut().zip(other.classes) {
            *own += other;
        }
        self.sum += other.sum;
    }
}

impl Tally {
    /// Counts one query with this outcome.
    pub fn count(&self, answered: Answered) {
        self.queries.count(answered);
    }

    /// Counts one query that got a stale answer which had expired `age` ago.
    pub fn count_stale(&self, age: Duration) {
        self.count(Answered::Stale);
        let class = STALE_AGES.iter().take_while(|bound| age > Duration::from_secs(**bound)).count();
        if let Some(counter) = self.stale_ages.get(class) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        self.stale_age_ms.fetch_add(u64::try_from(age.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The ages of the stale answers that this thread has given.
    #[must_use]
    pub fn stale_ages(&self) -> StaleAges {
        let mut ages =
            StaleAges { sum: Duration::from_millis(self.stale_age_ms.load(Ordering::Relaxed)), ..StaleAges::default() };
        for (class, counter) in ages.classes.iter_mut().zip(&self.stale_ages) {
            *class = counter.load(Ordering::Relaxed);
        }
        ages
    }

    /// The number of queries that this thread has counted with this outcome.
    #[must_use]
    pub fn total(&self, answered: Answered) -> u64 {
        self.queries.total(answered)
    }
}

/// Counters of queries to upstreams, by class of the packet budget.
#[derive(Debug, Default)]
pub struct Sends {
    sent: Counters<Class>,
    over_budget: Counters<Class>,
}

impl Sends {
    /// Counts one query of this class that was sent to an upstream.
    pub fn sent(&self, class: Class) {
        self.sent.count(class);
    }

    /// Counts one query of this class that the packet budget did not allow when it was due. A query
    /// that a client waits for may be sent later.
    pub fn over_budget(&self, class: Class) {
        self.over_budget.count(class);
    }

    /// The number of queries of this class so far that the packet budget did not allow when they
    /// were due.
    #[must_use]
    pub fn total_over_budget(&self, class: Class) -> u64 {
        self.over_budget.total(class)
    }

    /// The number of queries of this class that were sent so far.
    #[must_use]
    pub fn total(&self, class: Class) -> u64 {
        self.sent.total(class)
    }
}

labelled! {
    /// The end of one attempt to get a response from an upstream.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum AttemptEnd {
        /// A response came that answers the query: data, NODATA or NXDOMAIN.
        Answered = "answered",
        /// A response came that does not answer the query: SERVFAIL, REFUSED, lame or malformed.
        UnusableResponse = "unusable_response",
        /// The network reported an error: ICMP, or a connection that was reset.
        NetworkError = "network_error",
        /// No response came within the time for which an attempt waits.
        TimedOut = "timed_out",
    }
}

labelled! {
    /// An event in the life of a client's TCP connection.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum ConnectionEvent {
        /// The connection was accepted.
        Accepted = "accepted",
        /// The connection was closed at once, because its client's address is not allowed.
        NotAllowed = "not_allowed",
        /// The connection had been accepted, and was closed so that a new one could be accepted
        /// within the limit.
        Evicted = "evicted",
        /// The connection was closed at once, because the limit was reached and no other connection
        /// could be closed instead.
        OverLimit = "over_limit",
        /// The connection had been accepted, and was closed because all connections together held
        /// too many bytes and those of its client the most.
        OverBytes = "over_bytes",
        /// The connection had been accepted, and was closed because of a query that is longer than
        /// any that is taken.
        QueryTooLong = "query_too_long",
    }
}

impl ConnectionEvent {
    /// Whether the event is the closing of a connection that had been accepted.
    #[must_use]
    pub const fn is_closing(self) -> bool {
        match self {
            Self::Evicted | Self::OverBytes | Self::QueryTooLong => true,
            Self::Accepted | Self::NotAllowed | Self::OverLimit => false,
        }
    }
}

/// Counters of clients' TCP connections, by event.
pub type Connections = Counters<ConnectionEvent>;

/// Counters of upstreams' responses that do not answer the query, by reason.
pub type Failures = Counters<Failure>;

labelled! {
    /// A query, a connection or a response of the traffic with upstreams, which is counted for all
    /// upstreams together.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum UpstreamTraffic {
        /// A query was sent to an upstream over UDP.
        UdpQuery = "udp_queries",
        /// A query was sent to an upstream over TCP.
        TcpQuery = "tcp_queries",
        /// A TCP connection to an upstream was begun.
        TcpConnection = "tcp_connections",
        /// A response of an upstream came that belongs to a query.
        Response = "responses",
    }
}

/// Counters of the traffic with upstreams, which the transport keeps.
#[derive(Debug, Default)]
pub struct UpstreamCounters {
    traffic: Counters<UpstreamTraffic>,
    ignored: Counters<Mismatch>,
    /// Sockets that were not to be had.
    lacking: AtomicU64,
    /// Whether it was said that sockets are not to be had.
    said: AtomicBool,
}

impl UpstreamCounters {
    /// Counts one query, connection or response of the traffic with upstreams.
    pub fn count(&self, kind: UpstreamTraffic) {
        self.traffic.count(kind);
    }

    /// The number of queries, connections or responses of this kind so far.
    #[must_use]
    pub fn total(&self, kind: UpstreamTraffic) -> u64 {
        self.traffic.total(kind)
    }

    /// The counters of queries, connections and responses, for `/status` and `/metrics`.
    #[must_use]
    pub const fn traffic(&self) -> &Counters<UpstreamTraffic> {
        &self.traffic
    }

    /// Counts that no descriptor or local port was to be had; true for the first time of all, which
    /// is said in the log.
    pub fn lack(&self) -> bool {
        self.lacking.fetch_add(1, Ordering::Relaxed);
        !self.said.swap(true, Ordering::Relaxed)
    }

    /// The number of times that no descriptor or local port was to be had.
    #[must_use]
    pub fn lacking(&self) -> u64 {
        self.lacking.load(Ordering::Relaxed)
    }

    /// Counts a response that was ignored because it belongs to no query.
    pub fn ignore(&self, mismatch: Mismatch) {
        self.ignored.count(mismatch);
    }

    /// The number of responses ignored so far because of `mismatch`: forged, a duplicate after a
    /// retry, or malformed.
    #[must_use]
    pub fn ignored(&self, mismatch: Mismatch) -> u64 {
        self.ignored.total(mismatch)
    }

    /// The counters of ignored responses, by the reason for which they belong to no query.
    #[must_use]
    pub const fn ignored_responses(&self) -> &Counters<Mismatch> {
        &self.ignored
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_own_counter() {
        let tally = Tally::default();
        for answered in Answered::ALL {
            tally.count(answered);
        }
        assert!(Answered::ALL.iter().all(|answered| tally.total(*answered) == 1));
    }

    #[test]
    fn the_age_of_a_stale_answer_is_counted_once_in_its_class() {
        let tally = Tally::default();
        for seconds in [0, 1, 2, 86_400, 86_401, 604_801] {
            tally.count_stale(Duration::from_secs(seconds));
        }
        let mut ages = tally.stale_ages();
        assert_eq!((ages.classes, ages.sum), ([2, 1, 0, 0, 0, 0, 0, 1, 1, 1], Duration::from_secs(777_605)));
        assert_eq!(tally.total(Answered::Stale), 6);
        ages.add(&tally.stale_ages());
        assert_eq!(ages.classes.iter().sum::<u64>(), 12);
    }
}
