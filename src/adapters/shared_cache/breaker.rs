//! Decides when the next attempt to connect to the shared cache is made: soon after the first
//! failure, then ever more rarely, and by each instance at a time of its own.
//!
//! During the wait nothing is sent and nothing is looked up; queries do without the shared cache.
//! The failures in a row end only with a server that has replied to commands in time, not with a
//! connection alone: a server that accepts connections and then says nothing stays out.

use std::time::Duration;

use crate::core::time::Timestamp;

const WAIT_MIN: Duration = Duration::from_millis(100);
/// Longest wait, and so the longest time until the return of the server is noticed.
const WAIT_MAX: Duration = Duration::from_secs(15);
/// Failures in a row after which the shared cache counts as lost. A single one does not: a
/// connection that breaks and is made again at once is no outage.
const LOST_AFTER: u32 = 2;

/// The failures in a row to reach the shared cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Breaker {
    failures: u32,
    /// When the first of them was.
    since: Timestamp,
}

impl Breaker {
    pub(super) const fn new(now: Timestamp) -> Self {
        Self { failures: 0, since: now }
    }

    /// Notes a failure, and gives the wait before the next attempt: at least 50 ms after the first
    /// failure, doubling to 7.5 s, and up to as much again by chance. `chance` is a uniformly
    /// distributed number.
    pub(super) fn fail(&mut self, chance: u64, now: Timestamp) -> Duration {
        if self.failures == 0 {
            self.since = now;
        }
        self.failures = self.failures.saturating_add(1);
        let doubled = WAIT_MIN.saturating_mul(1 << self.failures.saturating_sub(1).min(10)).min(WAIT_MAX);
        // Half of the wait is certain and half is left to chance, so that the instances that lost
        // the server together do not come back to it together.
        let half = doubled / 2;
        let most = u64::try_from(half.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        half + Duration::from_millis(chance % most)
    }

    /// Notes that the server is reached, and gives for how long it had been lost; `None` when it
    /// had not counted as lost.
    pub(super) fn succeed(&mut self, now: Timestamp) -> Option<Duration> {
        let lost = self.is_lost().then(|| now.since(self.since));
        *self = Self::new(now);
        lost
    }

    /// Whether the shared cache counts as lost.
    pub(super) const fn is_lost(&self) -> bool {
        self.failures >= LOST_AFTER
    }

    /// Whether the shared cache counts as lost since the last failure.
    pub(super) const fn is_just_lost(&self) -> bool {
        self.failures == LOST_AFTER
    }

    /// When the first of the failures in a row was.
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
