//! The schedule of the sends: what is sent when its time has come, what is sent at once after a
//! failure, and when the next send is due.

use std::time::Duration;

use super::ledger::{Attempt, AttemptStage, SentFor};
use super::plan::{Step, Target};
use super::{Attempts, NextSend, Phase};
use crate::core::time::Timestamp;

/// How long after everything was silent the primaries are asked anew at the earliest: as long as a
/// failure is remembered (RFC 9520 §3.2).
const ROUND_PAUSE: Duration = Duration::from_secs(1);

impl Attempts {
    /// Sends what is due, and sets the time of the send after it.
    pub(super) fn send_next(&mut self, now: Timestamp, steps: &mut Vec<Step>) {
        let choice = self.choice();
        let due = if choice.is_in_doubt() {
            [choice.confirmation(), None]
        } else {
            let mut due = [choice.planned(), None];
            if due == [None, None] {
                due = [choice.rescue(), choice.fallback()];
            }
            if due == [None, None] {
                due = [choice.last_resort(), None];
            }
            due
        };
        for send in due.into_iter().flatten() {
            self.send(send, now, steps);
        }
        self.plan_next(now);
    }

    /// After an attempt has ended without an answer: sends at once to somebody who has not failed.
    pub(super) fn go_elsewhere(&mut self, now: Timestamp, steps: &mut Vec<Step>) {
        if self.phase != Phase::Asking || now >= self.began.plus(self.plan.deadline) {
            return;
        }
        let choice = self.choice();
        let next = match choice.unasked() {
            _ if choice.is_in_doubt() => choice.confirmation(),
            Some(send) => Some(send),
            None if choice.is_primary_under_way() => None,
            None => choice.again().or_else(|| {
                if choice.is_fallback_under_way() { None } else { choice.fallback().or_else(|| choice.last_resort()) }
            }),
        };
        match next {
            Some(send) => {
                self.send(send, now, steps);
                self.plan_next(now);
            }
            // Somebody is under way: what is planned keeps its time.
            None => match self.next {
                NextSend::At(_) if self.choice().is_anybody_left() => {}
                NextSend::At(_) | NextSend::NewRound(_) | NextSend::Never => self.plan_next(now),
            },
        }
    }

    pub(super) fn send(&mut self, (target, purpose): (Target, SentFor), now: Timestamp, steps: &mut Vec<Step>) {
        let attempt = Attempt { target, purpose, round: self.round, sent_at: now, stage: AttemptStage::Young };
        steps.push(Step::Send(self.ledger.add(attempt), target));
    }

    /// Sets the time of the next send, which is two and a half times as far away as the last one.
    pub(super) fn plan_next(&mut self, now: Timestamp) {
        // A new round comes as late as leaves a slow upstream the time to answer: an outage that is
        // over by then costs nobody an answer.
        let new_round =
            self.began.plus(self.plan.deadline * 5 / 8).max(now.plus(self.policy.second_after + ROUND_PAUSE));
        self.next = if self.choice().is_anybody_left() {
            NextSend::At(now.plus(self.wait))
        } else if self.round < self.plan.rounds && self.denial.is_none() && !self.choice().is_in_doubt() {
            NextSend::NewRound(new_round)
        } else {
            NextSend::Never
        };
        self.wait = (self.wait * 5 / 2).min(self.policy.third_after);
    }
}
