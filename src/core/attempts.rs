//! The attempts of one resolution: when to send to whom, what each outcome means, when to give up. A
//! state machine without I/O.
//!
//! At most three sends (RFC 9520 §3.1), each from a new source port: the first at once, the second
//! after four times the upstream's p99 round-trip time and 400 ms at the latest, the third after 1
//! s. What an upstream says moves the next send up:
//!
//! | outcome | what follows |
//! |---|---|
//! | an answer | the end |
//! | SERVFAIL, REFUSED, lame, garbage | the next upstream (or the same) once, at once, unless another is at work that has not failed; after a second such response nobody else is asked |
//! | FORMERR, NOTIMP, BADVERS to a query with EDNS | the same upstream once more without OPT, in place of a planned send |
//! | TC | the same upstream over TCP; its failure, or 400 ms without an answer, leaves the truncated answer as a last resort, and says nothing about the upstream |
//! | ICMP error, reset | the next planned send at once; whoever has something stale is told unless that goes to an upstream that has not failed yet. Nobody left to ask: the end |
//! | no room on our own side | another upstream at once, if there is one; else the next send at its time |
//! | silence | a timeout after 400 ms; a later answer still counts |
//!
//! After the deadline the attempts goes on without sending until the linger time is over: a late
//! answer still refreshes.

use std::time::Duration;

use super::budget::Class;
use super::classify::Failure;
use super::health::{AttemptOutcome, LATE};
use super::policy::AttemptPolicy;
use super::suffix::SuffixHash;
use super::time::Timestamp;
use super::upstream::{Transport, UpstreamId};
use super::upstream_query::Extension;

/// Names one attempt of its resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttemptId(usize);

/// One planned send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which upstream.
    pub upstream: UpstreamId,
    /// How it is spoken to.
    pub transport: Transport,
    /// Whether it understands EDNS, as far as is known.
    pub extension: Extension,
    /// What the packet counts as.
    pub class: Class,
}

/// What a attempts starts with.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whom to ask, in order; at most as many as may be sent.
    pub targets: Vec<Target>,
    /// The client response timer: an attempt unanswered for so long is overdue.
    pub timer: Duration,
    /// When the second send is due at the latest, counted from the first.
    pub hedge: Duration,
    /// When those who wait and have nothing are told that there is nothing.
    pub deadline: Duration,
    /// How long after the beginning a late answer is still taken.
    pub linger: Duration,
}

/// What the resolver has to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send the query; the number names the attempt.
    Send(AttemptId, Target),
    /// Tell the upstream's health.
    Report(UpstreamId, AttemptOutcome),
    /// Tell the upstream's health that an attempt sent then is overdue.
    Overdue(UpstreamId, Timestamp),
    /// Tell those who have something stale that this will take longer.
    Trouble,
    /// Tell those who wait that there is nothing, but go on listening.
    GiveUp(Failure),
    /// The attempts is over without an answer.
    End(Failure),
}

/// One send.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    /// To whom.
    target: Target,
    /// When; `None` while it waits for the budget.
    sent_at: Timestamp,
    /// How far its timers have run.
    stage: Stage,
    /// Whether what becomes of it says something about the upstream. That nobody listens on TCP
    /// does not: over UDP it has just answered.
    counts: bool,
}

/// How far an attempt's timers have run, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Sent a moment ago.
    Young,
    /// Overdue.
    Overdue,
    /// Late.
    Late,
    /// Timed out.
    TimedOut,
    /// Ended by a response or an error.
    Ended,
}

/// The state of one resolution.
#[derive(Debug)]
pub struct Attempts {
    /// The operator's numbers.
    policy: AttemptPolicy,
    /// What was planned.
    plan: Plan,
    /// When it began.
    began: Timestamp,
    /// What was sent.
    sent: Vec<Attempt>,
    /// Planned targets used up.
    used: usize,
    /// When the next planned send is due.
    next_send: Option<Timestamp>,
    /// Responses that were no answer.
    useless: u32,
    /// Whether the query was repeated without OPT, or over TCP.
    repeated: u32,
    /// The latest failure.
    failure: Failure,
    /// Whether those who wait were told.
    gave_up: bool,
}

/// Most repetitions without OPT and over TCP in one attempts.
const REPEATS: u32 = 2;

impl Attempts {
    /// Starts a attempts; its first send is due at once.
    #[must_use]
    pub fn new(policy: AttemptPolicy, mut plan: Plan, now: Timestamp) -> Self {
        plan.targets.truncate(usize::try_from(policy.sends).unwrap_or(1));
        plan.hedge = plan.hedge.min(policy.second_after);
        Self {
            policy,
            plan,
            began: now,
            sent: Vec::new(),
            used: 0,
            next_send: Some(now),
            useless: 0,
            repeated: 0,
            failure: Failure::Timeout,
            gave_up: false,
        }
    }

    /// Lets time pass: fires every timer that is due, and the send that is due.
    pub fn advance(&mut self, now: Timestamp) -> Vec<Step> {
        let mut steps = Vec::new();
        let timer = self.plan.timer;
        let timeout = self.policy.second_after;
        for attempt in &mut self.sent {
            let age = now.since(attempt.sent_at);
            let (counts, from) = (attempt.counts, steps.len());
            if attempt.stage < Stage::Overdue && age >= timer {
                attempt.stage = Stage::Overdue;
                steps.push(Step::Overdue(attempt.target.upstream, attempt.sent_at));
            }
            if attempt.stage < Stage::Late && age >= LATE {
                attempt.stage = Stage::Late;
                steps.push(Step::Report(attempt.target.upstream, AttemptOutcome::Late));
            }
            if attempt.stage < Stage::TimedOut && age >= timeout {
                attempt.stage = Stage::TimedOut;
                steps.push(Step::Report(attempt.target.upstream, AttemptOutcome::TimedOut));
            }
            if !counts {
                steps.truncate(from);
            }
        }
        let deadline = self.began.plus(self.plan.deadline);
        if self.next_send.is_some_and(|due| due <= now) && !self.gave_up && now < deadline {
            self.send_next(now, &mut steps);
        }
        self.conclude(now, &mut steps);
        steps
    }

    /// When [`Attempts::advance`] must be called next.
    #[must_use]
    pub fn wake_at(&self) -> Timestamp {
        let deadline = self.began.plus(self.plan.deadline);
        let end = if self.gave_up { self.began.plus(self.plan.linger) } else { deadline };
        let send = self.next_send.filter(|_| !self.gave_up).unwrap_or(Timestamp::NEVER);
        let timers = self.sent.iter().map(|attempt| match attempt.stage {
            Stage::Young => attempt.sent_at.plus(self.plan.timer.min(LATE)),
            Stage::Overdue => {
                attempt.sent_at.plus(LATE.max(self.plan.timer)).min(attempt.sent_at.plus(self.policy.second_after))
            }
            Stage::Late => attempt.sent_at.plus(self.policy.second_after),
            Stage::TimedOut | Stage::Ended => Timestamp::NEVER,
        });
        timers.fold(end.min(send), Timestamp::min)
    }

    /// The budget has no room for this class until `until`, and so not for the attempt that was
    /// just to be sent. That is trouble only where a client may wait: who comes meanwhile
    /// [hurries](Self::hurry) it.
    pub fn postpone(&mut self, attempt: AttemptId, class: Class, until: Timestamp) -> Vec<Step> {
        if let Some(attempt) = self.sent.get_mut(attempt.0) {
            attempt.stage = Stage::Ended;
        }
        self.used = self.used.saturating_sub(1);
        self.next_send = Some(until);
        self.failure = Failure::Overload;
        if until >= self.began.plus(self.plan.deadline) && self.is_silent() {
            return self.end();
        }
        if class.is_background() { Vec::new() } else { vec![Step::Trouble] }
    }

    /// What was postponed is wanted for something more important: it begins anew.
    pub fn hurry(&mut self, now: Timestamp) -> Vec<Step> {
        self.began = now;
        self.next_send = Some(now);
        self.advance(now)
    }

    /// A response came that is no answer.
    pub fn failed_response(
        &mut self,
        attempt: AttemptId,
        failure: Failure,
        suffix: SuffixHash,
        now: Timestamp,
    ) -> Vec<Step> {
        let mut steps = Vec::new();
        let Some((target, age)) = self.close(attempt, now) else { return steps };
        steps.push(Step::Report(target.upstream, AttemptOutcome::Useless(age, suffix)));
        self.failure = failure;
        if failure == Failure::NotUnderstood
            && target.extension == Extension::Edns
            && self.repeated < REPEATS
            && !self.gave_up
        {
            self.repeated += 1;
            self.replan_plain(target.upstream);
            self.send(Target { extension: Extension::Plain, ..target }, true, now, &mut steps);
            return steps;
        }
        self.useless += 1;
        if self.useless >= 2 {
            // Nobody else is asked; who was asked already may still answer.
            self.used = self.plan.targets.len();
            self.next_send = None;
        }
        // Whoever has just failed is not asked again while another one is at work.
        let elsewhere = self.plan.targets.get(self.used).is_some_and(|next| !self.has_failed(next.upstream));
        if !self.gave_up && self.used < self.plan.targets.len() && (elsewhere || self.is_silent()) {
            self.send_next(now, &mut steps);
        }
        self.conclude(now, &mut steps);
        steps
    }

    /// A truncated response came: the same upstream is asked over TCP.
    pub fn truncated_response(&mut self, attempt: AttemptId, now: Timestamp) -> Vec<Step> {
        let mut steps = Vec::new();
        let Some((target, age)) = self.close(attempt, now) else { return steps };
        steps.push(Step::Report(target.upstream, AttemptOutcome::Answered(age)));
        if target.transport == Transport::Udp && self.repeated < REPEATS && !self.gave_up {
            self.repeated += 1;
            self.next_send = None;
            self.used = self.plan.targets.len();
            // Something is in hand: those who wait get it when the whole does not come soon.
            self.plan.deadline = self.plan.deadline.min(now.since(self.began) + self.policy.second_after);
            self.send(Target { transport: Transport::Tcp, ..target }, false, now, &mut steps);
        }
        self.conclude(now, &mut steps);
        steps
    }

    /// No response can come any more for an attempt; `failure` says why.
    pub fn failed(&mut self, attempt: AttemptId, failure: Failure, now: Timestamp) -> Vec<Step> {
        let mut steps = Vec::new();
        let timed_out = self.sent.get(attempt.0).is_some_and(|attempt| attempt.stage == Stage::TimedOut);
        let late = self.sent.get(attempt.0).is_some_and(|attempt| attempt.stage >= Stage::Late);
        let counts = self.sent.get(attempt.0).is_some_and(|attempt| attempt.counts);
        let Some((target, _)) = self.close(attempt, now) else { return steps };
        self.failure = failure;
        if failure != Failure::Overload && !timed_out && counts {
            steps.push(Step::Report(
                target.upstream,
                if late { AttemptOutcome::TimedOut } else { AttemptOutcome::Failed },
            ));
        }
        let another = self.plan.targets.get(self.used).is_some_and(|next| !self.has_failed(next.upstream));
        if !another {
            steps.push(Step::Trouble);
        }
        // A refusal is certain, so there is nothing to wait for. The same upstream is asked again
        // all the same: another source port may lead to another server behind the same address.
        let certain = match failure {
            Failure::Network => true,
            Failure::ServFail
            | Failure::Refused
            | Failure::NotUnderstood
            | Failure::Lame
            | Failure::OtherRcode
            | Failure::Garbage
            | Failure::Timeout
            | Failure::Overload => false,
        };
        if (another || certain && self.used < self.plan.targets.len()) && !self.gave_up {
            self.send_next(now, &mut steps);
        }
        self.conclude(now, &mut steps);
        steps
    }

    /// Whether an attempt with this upstream has ended without an answer.
    fn has_failed(&self, upstream: UpstreamId) -> bool {
        self.sent.iter().any(|attempt| attempt.target.upstream == upstream && attempt.stage == Stage::Ended)
    }

    /// An answer came; says after what time, for the upstream's health.
    pub fn answered(&mut self, attempt: AttemptId, now: Timestamp) -> Option<Step> {
        self.close(attempt, now).map(|(target, age)| Step::Report(target.upstream, AttemptOutcome::Answered(age)))
    }

    /// The target of an attempt.
    #[must_use]
    pub fn target(&self, attempt: AttemptId) -> Option<Target> {
        self.sent.get(attempt.0).map(|attempt| attempt.target)
    }

    /// Ends an attempt; gives its target and age.
    fn close(&mut self, attempt: AttemptId, now: Timestamp) -> Option<(Target, Duration)> {
        let attempt = self.sent.get_mut(attempt.0)?;
        attempt.stage = Stage::Ended;
        Some((attempt.target, now.since(attempt.sent_at)))
    }

    /// Sends to the next planned target and sets the time of the one after.
    fn send_next(&mut self, now: Timestamp, steps: &mut Vec<Step>) {
        let Some(target) = self.plan.targets.get(self.used).copied() else {
            self.next_send = None;
            return;
        };
        self.used += 1;
        self.next_send = match self.used {
            _ if self.used >= self.plan.targets.len() => None,
            1 => Some(now.plus(self.plan.hedge)),
            _ => Some(self.began.plus(self.policy.third_after).max(now.plus(self.plan.hedge))),
        };
        self.send(target, true, now, steps);
    }

    /// Sends to a target; `counts` as in [`Attempt`].
    fn send(&mut self, target: Target, counts: bool, now: Timestamp, steps: &mut Vec<Step>) {
        steps.push(Step::Send(AttemptId(self.sent.len()), target));
        self.sent.push(Attempt { target, sent_at: now, stage: Stage::Young, counts });
    }

    /// An upstream does not understand EDNS: what is still planned for it goes without, and one
    /// send fewer is planned, since one is repeated.
    fn replan_plain(&mut self, upstream: UpstreamId) {
        let planned = self.plan.targets.get_mut(self.used..).unwrap_or_default();
        planned
            .iter_mut()
            .filter(|target| target.upstream == upstream)
            .for_each(|target| target.extension = Extension::Plain);
        if let Some(last) = planned.iter().rposition(|target| target.upstream == upstream) {
            self.plan.targets.remove(self.used + last);
        }
        if self.used >= self.plan.targets.len() {
            self.next_send = None;
        }
    }

    /// Whether nothing can come any more of what was sent.
    fn is_silent(&self) -> bool {
        self.sent.iter().all(|attempt| attempt.stage == Stage::Ended)
    }

    /// Gives up at the deadline, ends when nothing is left to wait for.
    fn conclude(&mut self, now: Timestamp, steps: &mut Vec<Step>) {
        let lingered = now >= self.began.plus(self.plan.linger);
        let exhausted = self.is_silent() && (self.next_send.is_none() || self.gave_up);
        if lingered || exhausted {
            steps.extend(self.end());
        } else if !self.gave_up && now >= self.began.plus(self.plan.deadline) {
            self.gave_up = true;
            steps.push(Step::GiveUp(self.failure));
        }
    }

    /// Ends the attempts.
    fn end(&mut self) -> Vec<Step> {
        self.gave_up = true;
        vec![Step::End(self.failure)]
    }
}

#[cfg(test)]
mod tests;
