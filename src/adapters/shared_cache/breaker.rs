//! When the server is tried again: at once after the first failure, then ever more rarely, each
//! instance at a time of its own.
//!
//! While it waits nobody is asked anything and nothing is sent; who would like to know a name does
//! without. It closes with the first commands that are answered in time, not with a connection
//! alone: a server that accepts and then says nothing stays out.

use std::time::Duration;

use crate::core::time::Timestamp;

/// First wait.
const WAIT_MIN: Duration = Duration::from_millis(100);
/// Longest wait: how late the return of the server is noticed.
const WAIT_MAX: Duration = Duration::from_secs(15);
/// Failures in a row after which it counts as lost: a connection that breaks and comes back at once
/// is no outage.
const LOST_AFTER: u32 = 2;

/// The breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Breaker {
    /// Failures in a row.
    failures: u32,
    /// The first of them.
    since: Timestamp,
}

impl Breaker {
    /// Nothing has failed yet.
    pub(super) const fn new(now: Timestamp) -> Self {
        Self { failures: 0, since: now }
    }

    /// Notes a failure; tells how long to wait before the next try. `chance` is a uniformly
    /// distributed number.
    pub(super) fn fail(&mut self, chance: u64, now: Timestamp) -> Duration {
        if self.failures == 0 {
            self.since = now;
        }
        self.failures = self.failures.saturating_add(1);
        let doubled = WAIT_MIN.saturating_mul(1 << self.failures.saturating_sub(1).min(10)).min(WAIT_MAX);
        // Half of it for certain, half by chance, so that a fleet does not come back as one.
        let half = doubled / 2;
        let most = u64::try_from(half.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        half + Duration::from_millis(chance % most)
    }

    /// Notes that it worked; tells for how long it had been lost, if it had.
    pub(super) fn succeed(&mut self, now: Timestamp) -> Option<Duration> {
        let lost = self.is_lost().then(|| now.since(self.since));
        *self = Self::new(now);
        lost
    }

    /// Whether it counts as lost.
    pub(super) const fn is_lost(&self) -> bool {
        self.failures >= LOST_AFTER
    }

    /// Whether it has just come to count as lost.
    pub(super) const fn is_just_lost(&self) -> bool {
        self.failures == LOST_AFTER
    }

    /// When the first failure in a row was.
    pub(super) const fn since(&self) -> Timestamp {
        self.since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000);

    #[test]
    fn waits_grow_to_a_bound_and_no_two_instances_wait_alike() {
        let mut breaker = Breaker::new(NOW);
        let waits: Vec<u128> = (0..12).map(|_| breaker.fail(0, NOW).as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1600, 3200, 6400, 7500, 7500, 7500, 7500]);
        assert!(breaker.fail(u64::MAX, NOW) <= WAIT_MAX);
        assert_ne!(breaker.fail(3, NOW), breaker.fail(4, NOW));
    }

    #[test]
    fn one_failure_is_no_outage_and_a_success_ends_one() {
        let mut breaker = Breaker::new(NOW);
        breaker.fail(0, NOW);
        assert!(!breaker.is_lost());
        assert_eq!(breaker.succeed(NOW), None);
        breaker.fail(0, NOW);
        breaker.fail(0, NOW.plus(Duration::from_secs(1)));
        assert!(breaker.is_lost() && breaker.is_just_lost() && breaker.since() == NOW);
        assert_eq!(breaker.succeed(NOW.plus(Duration::from_secs(9))), Some(Duration::from_secs(9)));
        assert!(!breaker.is_lost());
    }
}
