//! The log lines about packets and connections that nobody should send: at most one line per kind
//! and minute, however many come.
//!
//! The threads that receive only count. This task compares the counters every few seconds, so that
//! a flood of malformed packets costs one addition each, and one line. The first of a kind is
//! logged within seconds, and those that follow once a minute, as a sum.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::core::classify::Failure;
use crate::core::matching::Mismatch;
use crate::core::time::Timestamp;
use crate::resolver::{self, Resolver};
use crate::telemetry::events::{UnwantedTraffic, UnwantedTrafficSeen};
use crate::telemetry::tally::{Answered, ConnectionEvent, Connections, Tally, UpstreamCounters};

/// Time between two comparisons of the counters.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The least time between two lines of one kind.
const QUIET_FOR: Duration = Duration::from_secs(60);

/// The last client whose address was not allowed. An operator who wonders why a client gets no
/// answer needs the address of that client.
#[derive(Debug, Default)]
pub(super) struct LastRejectedClient(Mutex<Option<IpAddr>>);

impl LastRejectedClient {
    /// Takes note of a client, unless another thread is just taking note of another client: either
    /// of them serves the operator.
    pub(super) fn note(&self, client: IpAddr) {
        if let Some(mut last) = self.0.try_lock() {
            *last = Some(client);
        }
    }
}

/// The task that compares the counters of unwanted traffic and writes the lines.
#[derive(Clone)]
pub(super) struct UnwantedTrafficWatch {
    resolver: Arc<Resolver>,
    tallies: Vec<Arc<Tally>>,
    connections: Arc<Connections>,
    upstream: Arc<UpstreamCounters>,
    last_rejected: Arc<LastRejectedClient>,
    logged: Logged,
}

/// The count and the time of the last line about each kind, in the order of
/// [`UnwantedTraffic::ALL`].
#[derive(Clone, Default)]
struct Logged([(u64, Option<Timestamp>); UnwantedTraffic::ALL.len()]);

impl Logged {
    /// The kinds about which a line is due, each with the number since its last line.
    fn take_news(&mut self, counts: [u64; UnwantedTraffic::ALL.len()], now: Timestamp) -> Vec<(UnwantedTraffic, u64)> {
        let mut news = Vec::new();
        for ((kind, count), (logged, at)) in UnwantedTraffic::ALL.into_iter().zip(counts).zip(&mut self.0) {
            if count > *logged && at.is_none_or(|at| now.since(at) >= QUIET_FOR) {
                news.push((kind, count - *logged));
                (*logged, *at) = (count, Some(now));
            }
        }
        news
    }
}

impl UnwantedTrafficWatch {
    /// A watch that has not logged anything yet.
    pub(super) fn new(
        resolver: Arc<Resolver>,
        tallies: Vec<Arc<Tally>>,
        connections: Arc<Connections>,
        upstream: Arc<UpstreamCounters>,
        last_rejected: Arc<LastRejectedClient>,
    ) -> Self {
        Self { resolver, tallies, connections, upstream, last_rejected, logged: Logged::default() }
    }

    /// Watches until the task is dropped.
    pub(super) async fn watch(mut self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let counts = UnwantedTraffic::ALL.map(|kind| self.count(kind));
            for (kind, count) in self.logged.take_news(counts, self.resolver.now()) {
                let client = if kind == UnwantedTraffic::NotAllowed { *self.last_rejected.0.lock() } else { None };
                UnwantedTrafficSeen { kind, count, client }.emit();
            }
        }
    }

    /// The number of packets or connections of this kind since the start.
    fn count(&self, kind: UnwantedTraffic) -> u64 {
        match kind {
            UnwantedTraffic::NotAQuery => resolver::sum(&self.tallies, Answered::Dropped),
            UnwantedTraffic::RejectedQuery => {
                resolver::sum(&self.tallies, Answered::Rejected) + self.connections.total(ConnectionEvent::QueryTooLong)
            }
            UnwantedTraffic::NotAllowed => {
                resolver::sum(&self.tallies, Answered::NotAllowed) + self.connections.total(ConnectionEvent::NotAllowed)
            }
            UnwantedTraffic::ConnectionLimit => {
                let kinds = [ConnectionEvent::Evicted, ConnectionEvent::OverLimit, ConnectionEvent::OverBytes];
                kinds.iter().map(|kind| self.connections.total(*kind)).sum()
            }
            UnwantedTraffic::UnmatchedResponse => {
                Mismatch::ALL.iter().map(|mismatch| self.upstream.ignored(*mismatch)).sum()
            }
            UnwantedTraffic::MalformedResponse => self.resolver.failures().total(Failure::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_kind_is_logged_at_once_and_the_rest_once_a_minute() {
        let at = |seconds: u64| Timestamp::from_secs(1_000_000 + seconds);
        let mut logged = Logged::default();
        assert_eq!(logged.take_news([0; 6], at(0)), []);
        assert_eq!(logged.take_news([3, 0, 0, 0, 0, 0], at(5)), [(UnwantedTraffic::NotAQuery, 3)]);
        assert_eq!(
            logged.take_news([9, 1, 0, 0, 0, 0], at(10)),
            [(UnwantedTraffic::RejectedQuery, 1)],
            "each kind has its own minute"
        );
        assert_eq!(logged.take_news([9_000, 1, 0, 0, 0, 0], at(64)), []);
        assert_eq!(logged.take_news([9_000, 1, 0, 0, 0, 0], at(65)), [(UnwantedTraffic::NotAQuery, 8_997)]);
        assert_eq!(logged.take_news([9_000, 1, 0, 0, 0, 0], at(200)), [], "what has stopped is not logged again");
    }
}
