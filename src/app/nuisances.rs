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
use crate::telemetry::events::{Nuisance, NuisanceSeen};
use crate::telemetry::tally::{Answered, Connection, Connections, Tally, UpstreamCounters};

/// How often the counters are compared.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The least time between two lines of one kind.
const QUIET_FOR: Duration = Duration::from_secs(60);

/// The client that was turned away last: who wonders why nobody is answered needs its address.
#[derive(Debug, Default)]
pub(super) struct Stranger(Mutex<Option<IpAddr>>);

impl Stranger {
    /// Takes note of one; somebody else's note will do when another thread is taking its own.
    pub(super) fn turned_away(&self, client: IpAddr) {
        if let Some(mut last) = self.0.try_lock() {
            *last = Some(client);
        }
    }
}

/// Watches the counters of what nobody should send.
pub(super) struct Nuisances {
    /// Counts what upstreams say.
    resolver: Arc<Resolver>,
    /// Count what clients send.
    tallies: Vec<Arc<Tally>>,
    /// Counts their connections.
    connections: Arc<Connections>,
    /// Counts what comes from the way upstream.
    upstream: Arc<UpstreamCounters>,
    /// Who was turned away last.
    stranger: Arc<Stranger>,
    /// What was told.
    told: Told,
}

/// What was told of each kind: the count until then, and when; in the order of [`Nuisance::ALL`].
#[derive(Default)]
struct Told([(u64, Option<Timestamp>); Nuisance::ALL.len()]);

impl Told {
    /// What is worth a line now, and how many came since the last one.
    fn take_news(&mut self, counts: [u64; Nuisance::ALL.len()], now: Timestamp) -> Vec<(Nuisance, u64)> {
        let mut news = Vec::new();
        for ((nuisance, count), (told, at)) in Nuisance::ALL.into_iter().zip(counts).zip(&mut self.0) {
            if count > *told && at.is_none_or(|at| now.since(at) >= QUIET_FOR) {
                news.push((nuisance, count - *told));
                (*told, *at) = (count, Some(now));
            }
        }
        news
    }
}

impl Nuisances {
    /// A watch that begins with what was counted so far.
    pub(super) fn new(
        resolver: Arc<Resolver>,
        tallies: Vec<Arc<Tally>>,
        connections: Arc<Connections>,
        upstream: Arc<UpstreamCounters>,
        stranger: Arc<Stranger>,
    ) -> Self {
        Self { resolver, tallies, connections, upstream, stranger, told: Told::default() }
    }

    /// Watches until it is dropped.
    pub(super) async fn watch(mut self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let counts = Nuisance::ALL.map(|nuisance| self.count(nuisance));
            for (nuisance, count) in self.told.take_news(counts, self.resolver.now()) {
                let client = if nuisance == Nuisance::Stranger { *self.stranger.0.lock() } else { None };
                NuisanceSeen { nuisance, count, client }.emit();
            }
        }
    }

    /// How many there were so far.
    fn count(&self, nuisance: Nuisance) -> u64 {
        match nuisance {
            Nuisance::NoQuery => resolver::sum(&self.tallies, Answered::Dropped),
            Nuisance::OddQuery => resolver::sum(&self.tallies, Answered::Refused),
            Nuisance::Stranger => {
                resolver::sum(&self.tallies, Answered::Denied) + self.connections.total(Connection::Denied)
            }
            Nuisance::Crowd => {
                self.connections.total(Connection::Evicted) + self.connections.total(Connection::Refused)
            }
            Nuisance::Forgery => Mismatch::ALL.iter().map(|mismatch| self.upstream.ignored(*mismatch)).sum(),
            Nuisance::Garbage => self.resolver.failures().total(Failure::Garbage),
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
        assert_eq!(told.take_news([3, 0, 0, 0, 0, 0], at(5)), [(Nuisance::NoQuery, 3)]);
        assert_eq!(
            told.take_news([9, 1, 0, 0, 0, 0], at(10)),
            [(Nuisance::OddQuery, 1)],
            "each kind has its own minute"
        );
        assert_eq!(told.take_news([9_000, 1, 0, 0, 0, 0], at(64)), []);
        assert_eq!(told.take_news([9_000, 1, 0, 0, 0, 0], at(65)), [(Nuisance::NoQuery, 8_997)]);
        assert_eq!(told.take_news([9_000, 1, 0, 0, 0, 0], at(200)), [], "what has stopped is not told again");
    }
}
