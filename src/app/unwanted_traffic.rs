//! Says in the log what nobody should send us: at most one line per kind and minute, however much
//! comes.
//!
//! The threads that receive only count; this task compares the counters every few seconds, so that
//! a flood of garbage costs a flood of additions and one line. The first of a kind is told within
//! seconds, the rest in sums.

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

/// How often the counters are compared.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The least time between two lines of one kind.
const QUIET_FOR: Duration = Duration::from_secs(60);

/// The client that was turned away last: who wonders why nobody is answered needs its address.
#[derive(Debug, Default)]
pub(super) struct LastRejectedClient(Mutex<Option<IpAddr>>);

impl LastRejectedClient {
    /// Takes note of one; somebody else's note will do when another thread is taking its own.
    pub(super) fn note(&self, client: IpAddr) {
        if let Some(mut last) = self.0.try_lock() {
            *last = Some(client);
        }
    }
}

/// Watches the counters of what nobody should send.
pub(super) struct UnwantedTrafficWatch {
    /// Counts what upstreams say.
    resolver: Arc<Resolver>,
    /// Count what clients send.
    tallies: Vec<Arc<Tally>>,
    /// Counts their connections.
    connections: Arc<Connections>,
    /// Counts what comes from the way upstream.
    upstream: Arc<UpstreamCounters>,
    /// Who was turned away last.
    last_rejected: Arc<LastRejectedClient>,
    /// What was told.
    told: Told,
}

/// What was told of each kind: the count until then, and when; in the order of [`UnwantedTraffic::ALL`].
#[derive(Default)]
struct Told([(u64, Option<Timestamp>); UnwantedTraffic::ALL.len()]);

impl Told {
    /// What is worth a line now, and how many came since the last one.
    fn take_news(&mut self, counts: [u64; UnwantedTraffic::ALL.len()], now: Timestamp) -> Vec<(UnwantedTraffic, u64)> {
        let mut news = Vec::new();
        for ((kind, count), (told, at)) in UnwantedTraffic::ALL.into_iter().zip(counts).zip(&mut self.0) {
            if count > *told && at.is_none_or(|at| now.since(at) >= QUIET_FOR) {
                news.push((kind, count - *told));
                (*told, *at) = (count, Some(now));
            }
        }
        news
    }
}

impl UnwantedTrafficWatch {
    /// A watch that begins with what was counted so far.
    pub(super) fn new(
        resolver: Arc<Resolver>,
        tallies: Vec<Arc<Tally>>,
        connections: Arc<Connections>,
        upstream: Arc<UpstreamCounters>,
        last_rejected: Arc<LastRejectedClient>,
    ) -> Self {
        Self { resolver, tallies, connections, upstream, last_rejected, told: Told::default() }
    }

    /// Watches until it is dropped.
    pub(super) async fn watch(mut self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let counts = UnwantedTraffic::ALL.map(|kind| self.count(kind));
            for (kind, count) in self.told.take_news(counts, self.resolver.now()) {
                let client = if kind == UnwantedTraffic::NotAllowed { *self.last_rejected.0.lock() } else { None };
                UnwantedTrafficSeen { kind, count, client }.emit();
            }
        }
    }

    /// How many there were so far.
    fn count(&self, kind: UnwantedTraffic) -> u64 {
        match kind {
            UnwantedTraffic::NotAQuery => resolver::sum(&self.tallies, Answered::Dropped),
            UnwantedTraffic::RejectedQuery => resolver::sum(&self.tallies, Answered::Rejected),
            UnwantedTraffic::NotAllowed => {
                resolver::sum(&self.tallies, Answered::NotAllowed) + self.connections.total(ConnectionEvent::NotAllowed)
            }
            UnwantedTraffic::ConnectionLimit => {
                self.connections.total(ConnectionEvent::Evicted) + self.connections.total(ConnectionEvent::NoRoom)
            }
            UnwantedTraffic::UnmatchedResponse => {
                Mismatch::ALL.iter().map(|mismatch| self.upstream.ignored(*mismatch)).sum()
            }
            UnwantedTraffic::MalformedResponse => self.resolver.failures().total(Failure::Garbage),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_kind_is_told_at_once_and_the_rest_once_a_minute() {
        let at = |seconds: u64| Timestamp::from_secs(1_000_000 + seconds);
        let mut told = Told::default();
        assert_eq!(told.take_news([0; 6], at(0)), []);
        assert_eq!(told.take_news([3, 0, 0, 0, 0, 0], at(5)), [(UnwantedTraffic::NotAQuery, 3)]);
        assert_eq!(
            told.take_news([9, 1, 0, 0, 0, 0], at(10)),
            [(UnwantedTraffic::RejectedQuery, 1)],
            "each kind has its own minute"
        );
        assert_eq!(told.take_news([9_000, 1, 0, 0, 0, 0], at(64)), []);
        assert_eq!(told.take_news([9_000, 1, 0, 0, 0, 0], at(65)), [(UnwantedTraffic::NotAQuery, 8_997)]);
        assert_eq!(told.take_news([9_000, 1, 0, 0, 0, 0], at(200)), [], "what has stopped is not told again");
    }
}
