//! The health of one upstream: healthy, impaired, or down. A circuit breaker that distinguishes
//! silence from slowness.
//!
//! | phase | event | next phase |
//! |---|---|---|
//! | healthy, overdue | ≥ 20 % failures among ≥ 20 attempts in 10 s, or the last 2 attempts failed | impaired |
//! | healthy | an attempt is overdue, and nothing was answered since it was sent | overdue |
//! | overdue | any response | healthy |
//! | all but down | 5 transport failures in a row without any response between them | down |
//! | all but down | responses without answer for ≥ 5 unrelated names, ≥ 80 % of the window | down |
//! | down after transport failures | any response | recovering |
//! | down after responses without answer | an answer | recovering |
//! | impaired, recovering | 3 successes in a row and < 20 % failures, or 18 successes in a row | healthy |
//! | impaired, overdue | no attempt for 30 s: what was known is out of date | healthy |
//!
//! Seen from outside ([`UpstreamState`]), overdue and recovering count as impaired. An attempt is
//! *overdue* when it has had no response for the client response timer.
//!
//! A *success* is an answer within 200 ms. A later answer keeps the breaker closed, but counts as a
//! failure in the window: an upstream whose every answer takes seconds is impaired, never down.
//! SERVFAIL is a response: one broken zone is no outage.
//!
//! An upstream that falls back within a minute of becoming healthy needs twice as many successes
//! the next time, up to eight times as many, so that a half-healed one does not flap. Likewise an
//! upstream that falls silent within a minute of responding again must fail ten, twenty, then forty
//! times in a row before it counts as down once more.
//!
//! The time comes in as `now`, chance as a number.

use std::time::Duration;

use super::labelled::labelled;
use super::policy::{ClientResponseTimer, HealthPolicy};
use super::suffix::SuffixHash;
use super::time::Timestamp;

mod phase;
mod relapses;
mod rtt;
mod window;

use phase::{Cause, HealthPhase};
use relapses::Relapses;
use rtt::RoundTrips;
use window::Window;

/// An answer later than this counts as a failure in the window; the upper end of the client
/// response timer's default range.
pub const LATE: Duration = Duration::from_millis(200);
/// So many failures in a row make an upstream impaired, whatever the window holds.
const IMPAIRED_AFTER: u32 = 2;
/// For how long an impaired upstream without any attempt stays impaired.
const OUTDATED_AFTER: Duration = Duration::from_secs(30);
/// So many times the needed successes in a row count whatever the window holds. At 20 % loss, which
/// is still impaired, a row of 18 comes about in 2 % of all cases, and the relapse that follows
/// doubles it.
const EVIDENT_FACTOR: u32 = 6;
/// An upstream that responds again is probed so many times faster than a silent one, so that names
/// without traffic are fresh soon, too.
const RECOVERY_PACE: u32 = 4;
/// Unrelated names without answer that count as an outage of the upstream.
const SERVFAIL_NAMES: usize = 5;
/// Share of the window that responses without answer must have for that, in percent.
const SERVFAIL_PERCENT: u32 = 80;

labelled! {
    /// How usable an upstream is, best first.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum UpstreamState {
        /// The upstream answers in time.
        Healthy = "healthy",
        /// The upstream answers only some queries, or answers late.
        Impaired = "impaired",
        /// The upstream answers nothing; the breaker is open.
        Down = "down",
    }
}

/// The outcome of an attempt: how it ended, or that it is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// An answer (NOERROR or NXDOMAIN) came after this time.
    Answered(Duration),
    /// A response without answer (SERVFAIL, REFUSED, lame, malformed) came after this time, to a
    /// question about a name with this suffix.
    UnusableResponse(Duration, SuffixHash),
    /// The network reported an error: ICMP, or a TCP reset.
    Failed,
    /// No response came for as long as an attempt is waited for. [`AttemptOutcome::Late`] was
    /// reported before.
    TimedOut,
    /// No response came within [`LATE`]. How the attempt ends is reported later as well.
    Late,
}

/// A change of an upstream's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The state before the change.
    pub from: UpstreamState,
    /// The state after the change.
    pub to: UpstreamState,
}

/// The health of one upstream.
#[derive(Debug)]
pub struct Health {
    policy: HealthPolicy,
    phase: HealthPhase,
    window: Window,
    round_trips: RoundTrips,
    /// Transport failures in a row without any response between them; decides about down.
    failures_in_a_row: u32,
    /// Transport failures since the last answer in time or response without answer; decides about
    /// impaired.
    last_failed: u32,
    successes_in_a_row: u32,
    /// When the last response of any kind came.
    answered_at: Timestamp,
    /// When the last outcome was reported.
    attempted_at: Timestamp,
    /// Falls from healthy soon after the upstream had become healthy.
    falls: Relapses,
    /// Openings of the breaker soon after the upstream had responded again.
    reopenings: Relapses,
    /// The wait before the next probe.
    probe_interval: Duration,
}

impl Health {
    /// Starts with a healthy upstream, of which nothing is known.
    #[must_use]
    pub fn new(policy: HealthPolicy) -> Self {
        Self {
            policy,
            phase: HealthPhase::Healthy,
            window: Window::new(policy.window),
            round_trips: RoundTrips::default(),
            failures_in_a_row: 0,
            last_failed: 0,
            successes_in_a_row: 0,
            answered_at: Timestamp::EPOCH,
            attempted_at: Timestamp::EPOCH,
            falls: Relapses::default(),
            reopenings: Relapses::default(),
            probe_interval: policy.probe_min,
        }
    }

    /// The present state of the upstream.
    #[must_use]
    pub const fn state(&self) -> UpstreamState {
        match self.phase {
            HealthPhase::Healthy => UpstreamState::Healthy,
            HealthPhase::Overdue | HealthPhase::Impaired | HealthPhase::Recovering => UpstreamState::Impaired,
            HealthPhase::Down(_) => UpstreamState::Down,
        }
    }

    /// Records an attempt's outcome, and returns the change of state that it causes.
    pub fn record(&mut self, outcome: AttemptOutcome, now: Timestamp) -> Option<Transition> {
        let before = self.state();
        self.attempted_at = now;
        match outcome {
            AttemptOutcome::Answered(after) => self.answered(after, now),
            AttemptOutcome::UnusableResponse(after, suffix) => self.unusable_response(after, suffix, now),
            AttemptOutcome::Failed => {
                self.window.add_failure(now);
                self.failed(now);
            }
            AttemptOutcome::TimedOut => self.failed(now),
            AttemptOutcome::Late => {
                self.window.add_failure(now);
                self.successes_in_a_row = 0;
            }
        }
        self.impair_after_failures(now);
        self.changed(before)
    }

    /// Records that an attempt sent at `sent_at` has had no response for the client response timer,
    /// and returns the change of state that this causes.
    pub fn overdue(&mut self, sent_at: Timestamp) -> Option<Transition> {
        let before = self.state();
        // A response to a later attempt shows that the upstream is well: then only this question
        // takes long.
        if self.phase == HealthPhase::Healthy && self.answered_at <= sent_at {
            self.phase = HealthPhase::Overdue;
        }
        self.changed(before)
    }

    /// Ends an impairment after 30 s without any attempt, and returns the change of state.
    pub fn review(&mut self, now: Timestamp) -> Option<Transition> {
        let before = self.state();
        let is_outdated = now.since(self.attempted_at) >= OUTDATED_AFTER;
        if is_outdated && matches!(self.phase, HealthPhase::Overdue | HealthPhase::Impaired) {
            self.become_healthy(now);
        }
        self.changed(before)
    }

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

    /// The smoothed 99th percentile of the round-trip time; `None` before the first response.
    #[must_use]
    pub fn p99(&self) -> Option<Duration> {
        self.round_trips.p99()
    }

    /// The wait before the next probe of an upstream that is not healthy.
    ///
    /// `chance` is a uniformly distributed number that spreads the wait by ±20 %.
    #[must_use]
    pub fn next_probe(&mut self, chance: u64) -> Duration {
        let interval = self.probe_interval;
        // Only silence slows probes down. An upstream that responds again is probed quickly until
        // it is certain that it is well.
        self.probe_interval = match self.phase {
            HealthPhase::Down(_) => (interval * 3 / 2).min(self.policy.probe_max),
            HealthPhase::Recovering => self.policy.probe_min / RECOVERY_PACE,
            HealthPhase::Healthy | HealthPhase::Overdue | HealthPhase::Impaired => self.policy.probe_min,
        };
        let permille = u32::try_from(chance % 401).unwrap_or_default() + 800;
        interval * permille / 1000
    }

    /// Records an answer that came after this time.
    fn answered(&mut self, after: Duration, now: Timestamp) {
        self.note_response(after, now);
        // Any answer closes the breaker, and shows that an overdue attempt was an exception.
        match self.phase {
            HealthPhase::Down(_) => self.begin_recovery(now),
            HealthPhase::Overdue => self.phase = HealthPhase::Healthy,
            HealthPhase::Healthy | HealthPhase::Impaired | HealthPhase::Recovering => {}
        }
        // A late answer is no success. It is in the window as a failure already, since the attempt
        // was reported late before.
        if after > LATE {
            return;
        }
        self.last_failed = 0;
        self.window.add_success(now);
        self.successes_in_a_row = self.successes_in_a_row.saturating_add(1);
        // The upstream is healthy again after enough successes in a row, if the window agrees. A
        // very long row tells more than a window that still holds the outage.
        let needed = self.falls.doubled(self.policy.recovery_successes);
        let proven =
            self.successes_in_a_row >= needed && self.window.failure_percent(now) < self.policy.impaired_percent;
        let evident = self.successes_in_a_row >= needed.saturating_mul(EVIDENT_FACTOR);
        if (proven || evident) && matches!(self.phase, HealthPhase::Impaired | HealthPhase::Recovering) {
            // The failures in the window must not impair the upstream again at once.
            if !proven {
                self.window.clear();
            }
            self.become_healthy(now);
        }
    }

    /// Records a response that is no answer: the upstream is there, but cannot answer for this
    /// name.
    fn unusable_response(&mut self, after: Duration, suffix: SuffixHash, now: Timestamp) {
        self.note_response(after, now);
        self.last_failed = 0;
        self.window.add_servfail(suffix, now);
        // After an outage of silence any response begins the recovery. After an outage of SERVFAIL
        // one more of them does not.
        match self.phase {
            HealthPhase::Down(Cause::Transport) => self.begin_recovery(now),
            HealthPhase::Overdue => self.phase = HealthPhase::Healthy,
            HealthPhase::Healthy
            | HealthPhase::Impaired
            | HealthPhase::Recovering
            | HealthPhase::Down(Cause::ServFail) => {}
        }
        // The same for many unrelated names is the upstream's own trouble.
        let widespread = self.window.servfail_suffixes(now) >= SERVFAIL_NAMES
            && self.window.servfail_percent(now) >= SERVFAIL_PERCENT;
        if widespread {
            self.open(Cause::ServFail, now);
        }
    }

    /// Records that no response came.
    fn failed(&mut self, now: Timestamp) {
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        self.last_failed = self.last_failed.saturating_add(1);
        self.successes_in_a_row = 0;
        if self.failures_in_a_row >= self.reopenings.doubled(self.policy.down_after) {
            self.open(Cause::Transport, now);
        }
    }

    /// Makes a healthy upstream impaired when enough attempts failed lately.
    fn impair_after_failures(&mut self, now: Timestamp) {
        let many = self.window.attempts(now) >= self.policy.impaired_attempts
            && self.window.failure_percent(now) >= self.policy.impaired_percent;
        if matches!(self.phase, HealthPhase::Healthy | HealthPhase::Overdue)
            && (many || self.last_failed >= IMPAIRED_AFTER)
        {
            self.note_fall(now);
            self.phase = HealthPhase::Impaired;
            self.successes_in_a_row = 0;
        }
    }

    /// Records that a response of any kind came, which ends a row of failures.
    fn note_response(&mut self, after: Duration, now: Timestamp) {
        self.answered_at = now;
        self.failures_in_a_row = 0;
        self.round_trips.add(after);
    }

    fn open(&mut self, cause: Cause, now: Timestamp) {
        match self.phase {
            HealthPhase::Down(_) => {}
            HealthPhase::Healthy | HealthPhase::Overdue | HealthPhase::Impaired | HealthPhase::Recovering => {
                self.note_fall(now);
                self.reopenings.record(now);
                self.phase = HealthPhase::Down(cause);
                self.successes_in_a_row = 0;
                self.probe_interval = self.policy.probe_min;
            }
        }
    }

    /// Begins the recovery at the first response after an outage: what failed before no longer
    /// counts.
    fn begin_recovery(&mut self, now: Timestamp) {
        self.phase = HealthPhase::Recovering;
        self.reopenings.begin(now);
        self.window.clear();
        self.last_failed = 0;
        self.successes_in_a_row = 0;
        self.probe_interval = self.policy.probe_min / RECOVERY_PACE;
    }

    fn become_healthy(&mut self, now: Timestamp) {
        self.phase = HealthPhase::Healthy;
        self.falls.begin(now);
        self.last_failed = 0;
    }

    /// Notes that the upstream is not healthy any more, if it was until now.
    fn note_fall(&mut self, now: Timestamp) {
        if matches!(self.phase, HealthPhase::Healthy | HealthPhase::Overdue) {
            self.falls.record(now);
        }
    }

    /// The change of state since `before`, if there was one.
    fn changed(&self, before: UpstreamState) -> Option<Transition> {
        let to = self.state();
        (before != to).then_some(Transition { from: before, to })
    }
}

#[cfg(test)]
mod tests;
