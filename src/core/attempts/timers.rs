//! The timers of the attempts: what is reported of an attempt as it grows older, and when the next
//! timer runs out.

use super::ledger::AttemptStage;
use super::plan::Step;
use super::{Attempts, NextSend, Phase};
use crate::core::health::{AttemptOutcome, LATE};
use crate::core::time::Timestamp;

impl Attempts {
    /// Passes each attempt through its stages, of which several may be due at once.
    pub(super) fn run_timers(&mut self, now: Timestamp, steps: &mut Vec<Step>) {
        let (timer, timeout) = (self.plan.timer, self.policy.second_after);
        for attempt in self.ledger.iter_mut() {
            let age = now.since(attempt.sent_at);
            let upstream = attempt.target.upstream;
            let before = steps.len();
            if attempt.stage < AttemptStage::Overdue && age >= timer {
                attempt.stage = AttemptStage::Overdue;
                steps.push(Step::Overdue(upstream, attempt.sent_at));
            }
            if attempt.stage < AttemptStage::Late && age >= LATE {
                attempt.stage = AttemptStage::Late;
                steps.push(Step::Report(upstream, AttemptOutcome::Late));
            }
            if attempt.stage < AttemptStage::TimedOut && age >= timeout {
                attempt.stage = AttemptStage::TimedOut;
                steps.push(Step::Report(upstream, AttemptOutcome::TimedOut));
            }
            // The timers of such an attempt run all the same, but are not reported.
            if attempt.purpose.withholds_failures() {
                steps.truncate(before);
            }
        }
    }

    /// The time at which [`Attempts::advance`] must be called next.
    #[must_use]
    pub fn wake_at(&self) -> Timestamp {
        let linger = self.began.plus(self.plan.linger);
        let (end, send) = match (self.phase, self.next) {
            (Phase::Asking, NextSend::At(due) | NextSend::NewRound(due)) => (self.began.plus(self.plan.deadline), due),
            (Phase::Asking, NextSend::Never) => (self.began.plus(self.plan.deadline), Timestamp::NEVER),
            (Phase::GaveUp | Phase::Denied, _) => (linger, Timestamp::NEVER),
        };
        let timers = self.ledger.iter().map(|attempt| match attempt.stage {
            AttemptStage::Young => attempt.sent_at.plus(self.plan.timer.min(LATE)),
            AttemptStage::Overdue => {
                attempt.sent_at.plus(LATE.max(self.plan.timer)).min(attempt.sent_at.plus(self.policy.second_after))
            }
            AttemptStage::Late => attempt.sent_at.plus(self.policy.second_after),
            AttemptStage::TimedOut | AttemptStage::Ended(_) => Timestamp::NEVER,
        });
        timers.fold(end.min(send).min(self.denial_counts_at().unwrap_or(Timestamp::NEVER)), Timestamp::min)
    }
}
