//! The health of one upstream: healthy, impaired, or down.
//!
//! An upstream is ill when it fails at what it *can* answer. That one question gets no answer says
//! nothing about the upstream: its zone may be broken, its type dropped by a middlebox, its
//! authoritative server slow. So trouble with a question only raises *suspicion*, and a *witness*
//! decides: a question that this upstream answered in time lately ([`super::witness`]). The witness
//! is asked by the upstream's prober, one at a time. It may have trouble of its own, so that
//! several have to agree before a verdict, about questions that have little in common: two that are
//! silent, or four that are unusable (which takes a few round trips, and delays nobody).
//!
//! | phase | event | next phase |
//! |---|---|---|
//! | healthy | an attempt is overdue or late, or its response is SERVFAIL, REFUSED, lame or FORMERR | suspected |
//! | suspected | the witness is answered in time | healthy |
//! | suspected | the witness is not, but something else was answered in time since the suspicion | healthy |
//! | suspected | 2 silent or 4 unusable witnesses in a row, and nothing else was answered | impaired |
//! | suspected | ≥ 20 % of ≥ 20 witnesses in 10 s had no response in time | impaired |
//! | all but down | the network reported an error (ICMP, reset) | impaired |
//! | all but down | 3 network errors in a row without any response between them | down |
//! | impaired, recovering | 5 silent attempts in a row, 2 of them witnesses, nothing heard for 3 s | down |
//! | down | any response | recovering |
//! | impaired, recovering | 3 witnesses in a row are answered in time | healthy |
//!
//! Seen from outside ([`UpstreamState`]), suspected counts as healthy, and recovering as impaired.
//! *In time* means within the client response timer, and at least 50 ms. A response without answer
//! (SERVFAIL, say) to a witness is no answer in time. Late answers end a silence, so an upstream
//! whose every answer takes seconds is impaired, never down.
//!
//! While an upstream is not healthy a witness is asked about once a second, with or without
//! clients: the upstream is found healthy within 3 s of its healing. Witnesses follow each other
//! faster right after the fall, so that a wrong verdict is taken back at once, and as long as they
//! are answered in time.
//!
//! An upstream that falls back within a minute of becoming healthy needs twice as many witnesses
//! the next time, up to eight times as many, so that a half-healed one does not flap. Likewise an
//! upstream that falls silent within a minute of responding again must fail two, four, then eight
//! times as often in a row before it counts as down once more.
//!
//! The time comes in as `now`, chance as a number.

use std::time::Duration;

use super::policy::HealthPolicy;
use super::time::Timestamp;

mod evidence;
mod phase;
mod relapses;
mod rtt;
mod silence;
mod timing;
mod window;

pub use evidence::{AttemptOutcome, Testimony, Transition, UpstreamState};
use phase::HealthPhase;
use relapses::Relapses;
use rtt::RoundTrips;
use silence::Silence;
use window::Window;

/// An answer later than this is a late one in the counts; the upper end of the client response
/// timer's default range.
pub const LATE: Duration = Duration::from_millis(200);
/// Weight of the witnesses in a row without an answer in time that make an upstream impaired.
const CONVICTION: u32 = 4;
/// Weight of a witness without any response in time.
const SILENT_WEIGHT: u32 = 2;
/// Weight of a witness with a response that is no answer. The next one can be asked at once, so
/// that more of them cost no time.
const UNUSABLE_WEIGHT: u32 = 1;
/// Network errors in a row that open the breaker: they are the upstream's own word.
const DOWN_AFTER_ERRORS: u32 = 3;
/// Witnesses among the silent attempts that open the breaker.
const DOWN_WITNESSES: u32 = 2;
/// How long nothing at all must have been heard before silence opens the breaker: longer than the
/// slowest upstream takes that is still of use to a client (which gives up after 5 s).
const DOWN_SILENCE: Duration = Duration::from_secs(3);

/// The health of one upstream.
#[derive(Debug)]
pub struct Health {
    policy: HealthPolicy,
    phase: HealthPhase,
    /// When the state last changed, as it is seen from outside.
    since: Timestamp,
    /// The outcomes of the last witnesses.
    window: Window,
    round_trips: RoundTrips,
    silence: Silence,
    /// Network errors in a row without any response between them.
    errors_in_a_row: u32,
    /// Witnesses in a row that were answered in time.
    good_in_a_row: u32,
    /// Witnesses since the upstream fell from healthy, or since the start.
    witnesses: u32,
    /// When the last answer in time came.
    answered_at: Timestamp,
    /// When the last witness was asked.
    witness_at: Timestamp,
    /// Falls from healthy soon after the upstream had become healthy.
    falls: Relapses,
    /// Openings of the breaker soon after the upstream had responded again.
    reopenings: Relapses,
    /// The wait before the next witness of an upstream that is down.
    probe_interval: Duration,
}

impl Health {
    /// Starts with a healthy upstream, of which nothing is known.
    #[must_use]
    pub fn new(policy: HealthPolicy) -> Self {
        Self {
            policy,
            phase: HealthPhase::Healthy,
            since: Timestamp::EPOCH,
            window: Window::new(policy.window),
            round_trips: RoundTrips::default(),
            silence: Silence::default(),
            errors_in_a_row: 0,
            good_in_a_row: 0,
            witnesses: 0,
            answered_at: Timestamp::EPOCH,
            witness_at: Timestamp::EPOCH,
            falls: Relapses::default(),
            reopenings: Relapses::default(),
            probe_interval: policy.probe_min,
        }
    }

    /// Takes up the state that an earlier process left, and its 99th percentile of the round-trip
    /// time, unless something is known already. An upstream that was ill is asked a witness at
    /// once, so that one that has healed meanwhile is healthy a few round trips later.
    pub fn resume(&mut self, state: UpstreamState, since: Timestamp, p99: Option<Duration>) {
        if self.p99().is_some() || self.phase != HealthPhase::Healthy {
            return;
        }
        self.phase = match state {
            UpstreamState::Healthy => HealthPhase::Healthy,
            UpstreamState::Impaired => HealthPhase::Impaired,
            UpstreamState::Down => HealthPhase::Down,
        };
        self.since = since;
        p99.into_iter().for_each(|p99| self.round_trips.add(p99));
    }

    /// The present state of the upstream.
    #[must_use]
    pub const fn state(&self) -> UpstreamState {
        match self.phase {
            HealthPhase::Healthy | HealthPhase::Suspected { .. } => UpstreamState::Healthy,
            HealthPhase::Impaired | HealthPhase::Recovering => UpstreamState::Impaired,
            HealthPhase::Down => UpstreamState::Down,
        }
    }

    /// When the present state began; the epoch when it has not changed since the start.
    #[must_use]
    pub const fn since(&self) -> Timestamp {
        self.since
    }

    /// Witnesses that were asked since the upstream fell from healthy.
    #[must_use]
    pub const fn witnesses(&self) -> u32 {
        self.witnesses
    }

    /// Whether a witness is wanted, now or later.
    #[must_use]
    pub const fn wants_witness(&self) -> bool {
        !matches!(self.phase, HealthPhase::Healthy)
    }

    /// Records the outcome of an attempt for a client, and returns the change of state that it
    /// causes.
    pub fn record(&mut self, outcome: AttemptOutcome, now: Timestamp) -> Option<Transition> {
        let before = self.state();
        match outcome {
            AttemptOutcome::Answered(after) => {
                self.hear(now);
                self.round_trips.add(after);
                if after <= LATE {
                    self.answered_at = now;
                }
            }
            AttemptOutcome::UnusableResponse(after) => {
                self.hear(now);
                self.suspect(now.minus(after));
            }
            AttemptOutcome::Garbage(_) => self.hear(now),
            AttemptOutcome::Failed => self.fail(now),
            AttemptOutcome::TimedOut => self.fall_silent(0, now),
            AttemptOutcome::Late => self.suspect(now.minus(LATE)),
        }
        self.changed(before, now)
    }

    /// Records that an attempt for a client, sent at `sent_at`, has had no response for the client
    /// response timer.
    pub fn overdue(&mut self, sent_at: Timestamp) {
        self.suspect(sent_at);
    }

    /// Notes that a witness is asked now.
    pub fn ask_witness(&mut self, now: Timestamp) {
        self.witness_at = now;
        self.witnesses = self.witnesses.saturating_add(1);
        if self.phase == HealthPhase::Down {
            self.probe_interval = (self.probe_interval * 3 / 2).min(self.policy.probe_max);
        }
    }

    /// Records the outcome of a witness after this time, and returns the change of state that it
    /// causes.
    pub fn testify(&mut self, testimony: Testimony, after: Duration, now: Timestamp) -> Option<Transition> {
        let before = self.state();
        match testimony {
            Testimony::InTime => {
                self.hear(now);
                self.round_trips.add(after);
                self.answered_at = now;
                self.window.add_success(now);
                self.good_in_a_row = self.good_in_a_row.saturating_add(1);
                self.acquit(now);
            }
            Testimony::Late => {
                self.hear(now);
                self.round_trips.add(after);
            }
            Testimony::Inconclusive => {
                self.hear(now);
                if let HealthPhase::Suspected { .. } = self.phase {
                    self.phase = HealthPhase::Healthy;
                }
            }
            Testimony::Unusable => {
                self.hear(now);
                self.convict(UNUSABLE_WEIGHT, now);
            }
            Testimony::Silent => {
                self.window.add_failure(now);
                self.convict(SILENT_WEIGHT, now);
                self.fall_silent(1, now);
            }
            Testimony::Failed => {
                self.good_in_a_row = 0;
                self.fail(now);
            }
        }
        self.changed(before, now)
    }

    /// Raises suspicion because of an attempt that was sent at `sent_at`.
    fn suspect(&mut self, sent_at: Timestamp) {
        if self.phase == HealthPhase::Healthy {
            self.phase = HealthPhase::Suspected { since: sent_at, doubt: 0 };
        }
    }

    /// Takes a witness that was answered in time.
    fn acquit(&mut self, now: Timestamp) {
        match self.phase {
            HealthPhase::Healthy | HealthPhase::Down => {}
            HealthPhase::Suspected { .. } => {
                self.phase = HealthPhase::Healthy;
                self.impair_by_share(now);
            }
            HealthPhase::Impaired | HealthPhase::Recovering => {
                if self.good_in_a_row >= self.falls.doubled(self.policy.recovery_successes) {
                    self.phase = HealthPhase::Healthy;
                    self.falls.begin(now);
                    self.window.clear();
                }
            }
        }
    }

    /// Takes a witness of this weight that was not answered in time.
    fn convict(&mut self, weight: u32, now: Timestamp) {
        self.good_in_a_row = 0;
        if let HealthPhase::Suspected { since, doubt } = self.phase {
            // Something else was answered: then the witness may have been a poor one.
            if self.answered_at > since {
                self.phase = HealthPhase::Healthy;
                self.impair_by_share(now);
            } else if doubt + weight < CONVICTION {
                self.phase = HealthPhase::Suspected { since, doubt: doubt + weight };
            } else {
                self.impair(now);
            }
        }
    }

    /// Makes an upstream impaired that leaves too many of its witnesses without an answer.
    fn impair_by_share(&mut self, now: Timestamp) {
        if self.window.count(now) >= self.policy.impaired_attempts
            && self.window.failure_percent(now) >= self.policy.impaired_percent
        {
            self.impair(now);
        }
    }

    fn impair(&mut self, now: Timestamp) {
        self.note_fall(now);
        self.phase = HealthPhase::Impaired;
        self.good_in_a_row = 0;
    }

    /// Records a network error.
    fn fail(&mut self, now: Timestamp) {
        self.errors_in_a_row = self.errors_in_a_row.saturating_add(1);
        if let UpstreamState::Healthy = self.state() {
            self.impair(now);
        }
        if self.errors_in_a_row >= self.reopenings.doubled(DOWN_AFTER_ERRORS) {
            self.open(now);
        }
    }

    /// Records an attempt without any response, which was a witness or not.
    fn fall_silent(&mut self, witnesses: u32, now: Timestamp) {
        self.silence.add(witnesses, now);
        let enough = self.silence.attempts >= self.reopenings.doubled(self.policy.down_after)
            && self.silence.witnesses >= DOWN_WITNESSES
            && self.silence.lasted(now) >= DOWN_SILENCE;
        if enough && self.state() == UpstreamState::Impaired {
            self.open(now);
        }
    }

    /// Records that a response of any kind came.
    fn hear(&mut self, now: Timestamp) {
        self.silence = Silence::default();
        self.errors_in_a_row = 0;
        if self.phase == HealthPhase::Down {
            self.phase = HealthPhase::Recovering;
            self.reopenings.begin(now);
            self.window.clear();
            self.good_in_a_row = 0;
        }
    }

    fn open(&mut self, now: Timestamp) {
        if self.phase != HealthPhase::Down {
            self.reopenings.record(now);
            self.phase = HealthPhase::Down;
            self.good_in_a_row = 0;
            self.probe_interval = self.policy.probe_min;
        }
    }

    /// Notes that the upstream is not healthy any more.
    fn note_fall(&mut self, now: Timestamp) {
        self.falls.record(now);
        self.witnesses = 0;
    }

    fn changed(&mut self, before: UpstreamState, now: Timestamp) -> Option<Transition> {
        let after = self.state();
        if before == after {
            return None;
        }
        self.since = now;
        Some(Transition { from: before, to: after })
    }
}

#[cfg(test)]
mod tests;
