//! The state of one upstream: healthy, impaired, or down. A breaker that tells silence from
//! slowness.
//!
//! | from | when | to |
//! |---|---|---|
//! | healthy | ≥ 20 % failures of ≥ 20 attempts in 10 s, or the last 2 attempts failed | impaired |
//! | healthy | an attempt is overdue (unanswered for the client response timer) and nothing was answered since it was sent | overdue: impaired until the next answer |
//! | any | 5 transport failures in a row without any answer between, or SERVFAIL for ≥ 5 unrelated names and ≥ 80 % of the window | down |
//! | down | any answer (a useful one, when it was SERVFAIL that opened the breaker) | recovering, which counts as impaired |
//! | impaired, recovering | 3 successes in a row and < 20 % failures, or 18 in a row | healthy |
//! | impaired | no attempt for 30 s | healthy: what was known is out of date |
//!
//! A *success* is an answer within 200 ms. A later one is an answer for the breaker, but a failure
//! for the window: an upstream whose every answer is seconds late is impaired, not healthy.
//! SERVFAIL is an answer: one broken zone is no outage.
//!
//! An upstream that falls back within a minute of being healthy must show twice as many successes
//! the next time, up to eight times, so that a half-healed one does not flap. Likewise one that
//! falls silent again within a minute of answering again must fail ten, twenty, forty times in a
//! row before it counts as down once more.
//!
//! Pure: time comes in as `now`, chance as a number.

use std::time::Duration;

use super::labelled::labelled;
use super::policy::{ClientResponseTimer, HealthPolicy};
use super::suffix::SuffixHash;
use super::time::Timestamp;

mod rtt;
mod window;

use rtt::RoundTrips;
use window::Window;

/// An answer later than this is a failure for the window: the upper end of the client response
/// timer's default.
pub const LATE: Duration = Duration::from_millis(200);
/// How long an impaired upstream without any attempt stays so.
const FORGET_AFTER: Duration = Duration::from_secs(30);
/// A relapse within this time of recovery doubles the successes that the next recovery needs.
const RELAPSE_WITHIN: Duration = Duration::from_secs(60);
/// Most doublings.
const RELAPSES_MAX: u32 = 3;
/// A row of so many times the needed successes counts whatever the window holds. At 20 % loss,
/// which is still impaired, a row of 18 comes about in 2 % of all cases, and the relapse doubles
/// it.
const EVIDENT_FACTOR: u32 = 6;
/// An upstream that answers again is probed so many times faster than one that is silent, so that
/// idle names are fresh soon, too.
const RECOVERY_PACE: u32 = 4;
/// Unrelated names that SERVFAIL must hit to count as an outage of the upstream.
const SERVFAIL_NAMES: usize = 5;
/// Share of SERVFAIL in the window that it then needs, in percent.
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

/// Why the breaker opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// Timeouts and network errors.
    Transport,
    /// SERVFAIL for everything.
    ServFail,
}

/// Where the state machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HealthPhase {
    /// Answers in time.
    Healthy,
    /// One attempt is overdue; the next answer ends it.
    Overdue,
    /// Too many failures.
    Impaired,
    /// Breaker open.
    Down(Cause),
    /// Answers again after it was down.
    Recovering,
}

/// What an attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// A response that answers (NOERROR, NXDOMAIN), after this time.
    Answered(Duration),
    /// A response that does not (SERVFAIL, REFUSED, lame, garbage), after this time, for a name of
    /// this suffix.
    Useless(Duration, SuffixHash),
    /// An ICMP error, a reset.
    Failed,
    /// Silence for as long as an attempt is waited for; it was reported [`AttemptOutcome::Late`] before.
    TimedOut,
    /// Not answered within [`LATE`]; what it comes to in the end is reported as well, then.
    Late,
}

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The state before.
    pub from: UpstreamState,
    /// The state now.
    pub to: UpstreamState,
}

/// The health of one upstream.
#[derive(Debug)]
pub struct Health {
    /// The operator's numbers.
    policy: HealthPolicy,
    /// Where the state machine is.
    phase: HealthPhase,
    /// What happened in the last seconds.
    window: Window,
    /// Round-trip times.
    round_trips: RoundTrips,
    /// Transport failures in a row without any answer.
    failures_in_a_row: u32,
    /// Attempts in a row that failed, for "the last 2 failed".
    last_failed: u32,
    /// Successes in a row.
    successes_in_a_row: u32,
    /// When the last answer of any kind came.
    answered_at: Timestamp,
    /// When the last attempt ended.
    attempted_at: Timestamp,
    /// When it became healthy last.
    healthy_since: Timestamp,
    /// Relapses in a row.
    relapses: u32,
    /// When it answered again last after it was down.
    recovering_since: Timestamp,
    /// How often in a row the breaker opened again soon after that.
    reopenings: u32,
    /// The wait before the next probe.
    probe_interval: Duration,
}

impl Health {
    /// A new upstream is innocent.
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
            healthy_since: Timestamp::EPOCH,
            relapses: 0,
            recovering_since: Timestamp::EPOCH,
            reopenings: 0,
            probe_interval: policy.probe_min,
        }
    }

    /// The present state.
    #[must_use]
    pub const fn state(&self) -> UpstreamState {
        match self.phase {
            HealthPhase::Healthy => UpstreamState::Healthy,
            HealthPhase::Overdue | HealthPhase::Impaired | HealthPhase::Recovering => UpstreamState::Impaired,
            HealthPhase::Down(_) => UpstreamState::Down,
        }
    }

    /// Takes note of what an attempt came to.
    pub fn record(&mut self, outcome: AttemptOutcome, now: Timestamp) -> Option<Transition> {
        let before = self.state();
        self.attempted_at = now;
        match outcome {
            AttemptOutcome::Answered(after) => self.answered(after, now),
            AttemptOutcome::Useless(after, suffix) => self.useless(after, suffix, now),
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
        self.judge_failures(now);
        self.changed(before)
    }

    /// Takes note that an attempt sent at `sent_at` is unanswered for the client response timer.
    pub fn overdue(&mut self, sent_at: Timestamp) -> Option<Transition> {
        let before = self.state();
        if self.phase == HealthPhase::Healthy && self.answered_at <= sent_at {
            self.phase = HealthPhase::Overdue;
        }
        self.changed(before)
    }

    /// Forgets an impairment that nobody has tried for a while.
    pub fn review(&mut self, now: Timestamp) -> Option<Transition> {
        let before = self.state();
        let forgotten = now.since(self.attempted_at) >= FORGET_AFTER;
        if forgotten && matches!(self.phase, HealthPhase::Overdue | HealthPhase::Impaired) {
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

    /// The smoothed 99th percentile of the round-trip time; `None` before the first answer.
    #[must_use]
    pub fn p99(&self) -> Option<Duration> {
        self.round_trips.p99()
    }

    /// How long to wait before the next probe while it is not healthy; `chance` is a uniformly
    /// distributed number that spreads it by ±20 %.
    #[must_use]
    pub fn next_probe(&mut self, chance: u64) -> Duration {
        let interval = self.probe_interval;
        // Only silence slows probes down: who answers again is asked quickly until that is certain.
        self.probe_interval = match self.phase {
            HealthPhase::Down(_) => (interval * 3 / 2).min(self.policy.probe_max),
            HealthPhase::Recovering => self.policy.probe_min / RECOVERY_PACE,
            HealthPhase::Healthy | HealthPhase::Overdue | HealthPhase::Impaired => self.policy.probe_min,
        };
        let permille = u32::try_from(chance % 401).unwrap_or_default() + 800;
        interval * permille / 1000
    }

    /// A useful answer.
    fn answered(&mut self, after: Duration, now: Timestamp) {
        self.note_answer(after, now);
        match self.phase {
            HealthPhase::Down(_) => self.begin_recovery(now),
            HealthPhase::Overdue => self.phase = HealthPhase::Healthy,
            HealthPhase::Healthy | HealthPhase::Impaired | HealthPhase::Recovering => {}
        }
        if after > LATE {
            // Already a failure for the window, since it was reported late.
            return;
        }
        self.last_failed = 0;
        self.window.add_success(now);
        self.successes_in_a_row = self.successes_in_a_row.saturating_add(1);
        let needed = self.policy.recovery_successes << self.relapses.min(RELAPSES_MAX);
        let proven =
            self.successes_in_a_row >= needed && self.window.failure_percent(now) < self.policy.impaired_percent;
        // A long row tells more than a window that still holds the outage.
        let evident = self.successes_in_a_row >= needed.saturating_mul(EVIDENT_FACTOR);
        if (proven || evident) && matches!(self.phase, HealthPhase::Impaired | HealthPhase::Recovering) {
            if !proven {
                self.window.clear();
            }
            self.become_healthy(now);
        }
    }

    /// A response that is no answer: the upstream is there, and of no use for this name.
    fn useless(&mut self, after: Duration, suffix: SuffixHash, now: Timestamp) {
        self.note_answer(after, now);
        self.last_failed = 0;
        self.window.add_servfail(suffix, now);
        match self.phase {
            HealthPhase::Down(Cause::Transport) => self.begin_recovery(now),
            HealthPhase::Overdue => self.phase = HealthPhase::Healthy,
            HealthPhase::Healthy
            | HealthPhase::Impaired
            | HealthPhase::Recovering
            | HealthPhase::Down(Cause::ServFail) => {}
        }
        let widespread = self.window.servfail_suffixes(now) >= SERVFAIL_NAMES
            && self.window.servfail_percent(now) >= SERVFAIL_PERCENT;
        if widespread {
            self.open(Cause::ServFail, now);
        }
    }

    /// No response.
    fn failed(&mut self, now: Timestamp) {
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        self.last_failed = self.last_failed.saturating_add(1);
        self.successes_in_a_row = 0;
        if self.failures_in_a_row >= self.policy.down_after << self.reopenings {
            self.open(Cause::Transport, now);
        }
    }

    /// Whether recent failures make a healthy upstream impaired.
    fn judge_failures(&mut self, now: Timestamp) {
        let many = self.window.attempts(now) >= self.policy.impaired_attempts
            && self.window.failure_percent(now) >= self.policy.impaired_percent;
        if matches!(self.phase, HealthPhase::Healthy | HealthPhase::Overdue) && (many || self.last_failed >= 2) {
            self.note_relapse(now);
            self.phase = HealthPhase::Impaired;
            self.successes_in_a_row = 0;
        }
    }

    /// Any response at all ends a row of failures.
    fn note_answer(&mut self, after: Duration, now: Timestamp) {
        self.answered_at = now;
        self.failures_in_a_row = 0;
        self.round_trips.add(after);
    }

    /// Opens the breaker.
    fn open(&mut self, cause: Cause, now: Timestamp) {
        match self.phase {
            HealthPhase::Down(_) => {}
            HealthPhase::Healthy | HealthPhase::Overdue | HealthPhase::Impaired | HealthPhase::Recovering => {
                self.note_relapse(now);
                let soon =
                    self.recovering_since > Timestamp::EPOCH && now.since(self.recovering_since) < RELAPSE_WITHIN;
                self.reopenings = if soon { (self.reopenings + 1).min(RELAPSES_MAX) } else { 0 };
                self.phase = HealthPhase::Down(cause);
                self.successes_in_a_row = 0;
                self.probe_interval = self.policy.probe_min;
            }
        }
    }

    /// The first answer after an outage: what failed before no longer counts.
    fn begin_recovery(&mut self, now: Timestamp) {
        self.phase = HealthPhase::Recovering;
        self.recovering_since = now;
        self.window.clear();
        self.last_failed = 0;
        self.successes_in_a_row = 0;
        self.probe_interval = self.policy.probe_min / RECOVERY_PACE;
    }

    /// Becomes healthy.
    fn become_healthy(&mut self, now: Timestamp) {
        self.phase = HealthPhase::Healthy;
        self.healthy_since = now;
        self.last_failed = 0;
    }

    /// Counts a fall soon after recovery.
    fn note_relapse(&mut self, now: Timestamp) {
        if self.phase != HealthPhase::Healthy && self.phase != HealthPhase::Overdue {
            return;
        }
        let soon = self.healthy_since > Timestamp::EPOCH && now.since(self.healthy_since) < RELAPSE_WITHIN;
        self.relapses = if soon { (self.relapses + 1).min(RELAPSES_MAX) } else { 0 };
    }

    /// The transition since `before`, if there was one.
    fn changed(&self, before: UpstreamState) -> Option<Transition> {
        let to = self.state();
        (before != to).then_some(Transition { from: before, to })
    }
}

#[cfg(test)]
mod tests;
