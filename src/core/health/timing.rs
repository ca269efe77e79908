//! The times that follow from the health of an upstream: how long clients and witnesses wait for
//! it, and when the next witness is asked.

use std::time::Duration;

use super::Health;
use super::phase::HealthPhase;
use crate::core::policy::ClientResponseTimer;
use crate::core::time::Timestamp;

/// The least time that a witness gets: below it, scheduling noise would make a verdict.
const IN_TIME_MIN: Duration = Duration::from_millis(50);
/// The shortest time between two witnesses, whatever raises suspicion.
const WITNESSES_APART: Duration = Duration::from_millis(100);
/// So many witnesses follow each other at that pace after a fall.
const QUICK_WITNESSES: u32 = 3;
/// An upstream whose witnesses are answered is asked so many times faster than a silent one, so
/// that even an upstream that has to prove itself with 24 answers is healthy in a few seconds.
const RECOVERY_PACE: u32 = 8;

impl Health {
    /// The client response timer that fits this upstream.
    #[must_use]
    pub fn client_response_timer(&self, choice: ClientResponseTimer) -> Duration {
        match choice {
            ClientResponseTimer::Fixed(fixed) => fixed,
            ClientResponseTimer::Adaptive { at_least, at_most } => {
                self.p99().map_or(at_most, |p99| (p99 * 8).clamp(at_least, at_most))
            }
        }
    }

    /// How long a witness is waited for.
    #[must_use]
    pub fn witness_patience(&self, choice: ClientResponseTimer) -> Duration {
        self.client_response_timer(choice).max(IN_TIME_MIN)
    }

    /// The smoothed 99th percentile of the round-trip time; `None` before the first response.
    #[must_use]
    pub fn p99(&self) -> Option<Duration> {
        self.round_trips.p99()
    }

    /// How long the prober waits before it asks the next witness; `None` while none is wanted.
    ///
    /// `chance` is a uniformly distributed number that spreads waits of a second by ±20 %.
    #[must_use]
    pub fn next_witness(&self, chance: u64, now: Timestamp) -> Option<Duration> {
        let permille = u32::try_from(chance % 401).unwrap_or_default() + 800;
        let spread = |interval: Duration| interval * permille / 1000;
        let wait = match self.phase {
            HealthPhase::Healthy => return None,
            // After a restart the first witness is asked at once.
            _ if self.witness_at == Timestamp::EPOCH => Duration::ZERO,
            HealthPhase::Suspected { doubt: 0, .. } => WITNESSES_APART,
            HealthPhase::Suspected { .. } => Duration::ZERO,
            HealthPhase::Impaired | HealthPhase::Recovering if self.good_in_a_row > 0 => {
                spread(self.policy.probe_min / RECOVERY_PACE)
            }
            HealthPhase::Impaired | HealthPhase::Recovering if self.witnesses < QUICK_WITNESSES => WITNESSES_APART,
            HealthPhase::Impaired | HealthPhase::Recovering => spread(self.policy.probe_min),
            HealthPhase::Down => spread(self.probe_interval),
        };
        Some(wait.saturating_sub(now.since(self.witness_at)))
    }
}
