//! The attempts of one resolution: when which upstream is asked, what follows from each outcome,
//! and when to give up.
//!
//! A state machine without I/O. The resolver calls it when time has passed and when an attempt has
//! ended, and carries out the [`Step`]s that it returns. There are at most three sends (RFC 9520
//! §3.1), each from a new source port: the first at once, the second after four times the
//! upstream's p99 round-trip time and 400 ms at the latest, the third 1 s after the first. An
//! outcome may bring the next send forward:
//!
//! | outcome of an attempt | what follows at once |
//! |---|---|
//! | answer | the end |
//! | SERVFAIL, REFUSED, lame, malformed | the next send if it goes elsewhere, or if nothing else is under way |
//! | the second of these | nothing, and no planned send any more |
//! | FORMERR, NOTIMP, BADVERS with EDNS | the same upstream without OPT, instead of one planned send |
//! | TC | the same upstream over TCP, instead of all planned sends |
//! | ICMP error, reset | the next send |
//! | a limit on our own side | the next send if it goes elsewhere, else nothing before its time |
//! | silence | nothing: after 400 ms it is a timeout for the upstream's health, but a later answer counts |
//!
//! *Elsewhere* means to an upstream with which no attempt of this resolution has failed yet. The
//! attempts end early when none of them is under way and no send is planned any more.
//!
//! A truncated answer is kept by the resolver as a last resort: clients get it when TCP fails or
//! has brought nothing after 400 ms. A failure of that TCP attempt is not held against the
//! upstream, which has just responded over UDP.
//!
//! Clients that have something stale are sent it at once ([`Step::Trouble`]) when an attempt ends
//! with an error and the next send does not go elsewhere, and when the budget postpones a send for
//! which clients may be waiting. At the deadline the other clients get SERVFAIL ([`Step::GiveUp`]),
//! or the truncated answer if there is one. After that nothing more is sent, but the attempts go on
//! listening for the linger time, since a late answer still refreshes what is remembered.

use std::time::Duration;

use super::budget::Class;
use super::classify::Failure;
use super::health::{AttemptOutcome, LATE};
use super::policy::AttemptPolicy;
use super::suffix::SuffixHash;
use super::time::Timestamp;
use super::upstream::{Transport, UpstreamId};
use super::upstream_query::Extension;

mod plan;

pub use plan::{AttemptId, Plan, Step, Target};

/// One send and how far it has come.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    target: Target,
    sent_at: Timestamp,
    stage: AttemptStage,
    reports: HealthReports,
}

/// How far an attempt's timers have run, in the order in which that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum AttemptStage {
    /// No timer has run out yet.
    Young,
    /// There was no response for the client response timer.
    Overdue,
    /// There was no response for [`LATE`].
    Late,
    /// There was no response for as long as an attempt is waited for.
    TimedOut,
    /// A response or an error has ended the attempt, or the budget has no room for it.
    Ended,
}

/// Whether the outcome of an attempt is reported to the health of its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HealthReports {
    /// Every outcome is reported.
    Made,
    /// Only a response is reported: that nobody listens on TCP says nothing about an upstream that
    /// has just responded over UDP.
    Withheld,
}

/// The state of one resolution's attempts.
#[derive(Debug)]
pub struct Attempts {
    policy: AttemptPolicy,
    plan: Plan,
    began: Timestamp,
    /// All attempts so far; an [`AttemptId`] is a position in this list.
    sent: Vec<Attempt>,
    /// How many of the planned targets are used up.
    used: usize,
    /// When the next planned send is due; `None` when there is none.
    next_send: Option<Timestamp>,
    /// How many responses were no answer.
    failed_responses: u32,
    /// How often a query was repeated without OPT, or over TCP.
    repeated: u32,
    failure: Failure,
    /// Whether [`Step::GiveUp`] or [`Step::End`] was returned.
    gave_up: bool,
}

/// The largest number of repetitions without OPT and over TCP in one resolution.
const REPEATS: u32 = 2;

impl Attempts {
    /// Starts the attempts of a resolution; the first send is due at once.
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
            failed_responses: 0,
            repeated: 0,
            failure: Failure::Timeout,
            gave_up: false,
        }
    }

    /// Lets time pass: returns the steps of every timer that has run out, and the send that is due.
    pub fn advance(&mut self, now: Timestamp) -> Vec<Step> {
        let mut steps = Vec::new();
        let timer = self.plan.timer;
        let timeout = self.policy.second_after;
        // Each attempt passes through its stages, of which several may be due at once.
        for attempt in &mut self.sent {
            let age = now.since(attempt.sent_at);
            let before = steps.len();
            if attempt.stage < AttemptStage::Overdue && age >= timer {
                attempt.stage = AttemptStage::Overdue;
                steps.push(Step::Overdue(attempt.target.upstream, attempt.sent_at));
            }
            if attempt.stage < AttemptStage::Late && age >= LATE {
                attempt.stage = AttemptStage::Late;
                steps.push(Step::Report(attempt.target.upstream, AttemptOutcome::Late));
            }
            if attempt.stage < AttemptStage::TimedOut && age >= timeout {
                attempt.stage = AttemptStage::TimedOut;
                steps.push(Step::Report(attempt.target.upstream, AttemptOutcome::TimedOut));
            }
            // The timers of such an attempt run all the same, but are not reported.
            if attempt.reports == HealthReports::Withheld {
                steps.truncate(before);
            }
        }
        // From the deadline on nothing is sent: a response would come too late for the clients.
        let deadline = self.began.plus(self.plan.deadline);
        if self.next_send.is_some_and(|due| due <= now) && !self.gave_up && now < deadline {
            self.send_next(now, &mut steps);
        }
        self.conclude(now, &mut steps);
        steps
    }

    /// The time at which [`Attempts::advance`] must be called next.
    #[must_use]
    pub fn wake_at(&self) -> Timestamp {
        let deadline = self.began.plus(self.plan.deadline);
        let end = if self.gave_up { self.began.plus(self.plan.linger) } else { deadline };
        let send = self.next_send.filter(|_| !self.gave_up).unwrap_or(Timestamp::NEVER);
        let timers = self.sent.iter().map(|attempt| match attempt.stage {
            AttemptStage::Young => attempt.sent_at.plus(self.plan.timer.min(LATE)),
            AttemptStage::Overdue => {
                attempt.sent_at.plus(LATE.max(self.plan.timer)).min(attempt.sent_at.plus(self.policy.second_after))
            }
            AttemptStage::Late => attempt.sent_at.plus(self.policy.second_after),
            AttemptStage::TimedOut | AttemptStage::Ended => Timestamp::NEVER,
        });
        timers.fold(end.min(send), Timestamp::min)
    }

    /// Takes back an attempt that could not be sent, because the budget has no room for its class
    /// until `until`; it is then planned again for that time.
    ///
    /// Only a class for which clients may be waiting makes this [`Step::Trouble`]. A client that
    /// asks for the name meanwhile [hurries](Self::hurry) the attempts.
    pub fn postpone(&mut self, attempt: AttemptId, class: Class, until: Timestamp) -> Vec<Step> {
        if let Some(attempt) = self.sent.get_mut(attempt.0) {
            attempt.stage = AttemptStage::Ended;
        }
        self.used = self.used.saturating_sub(1);
        self.next_send = Some(until);
        self.failure = Failure::LocalLimit;
        // Nothing is under way, and nothing can be sent in time: there is no reason to wait.
        if until >= self.began.plus(self.plan.deadline) && self.is_silent() {
            return self.end();
        }
        if class.is_background() { Vec::new() } else { vec![Step::Trouble] }
    }

    /// Starts again, because what was postponed is now wanted for something more important: the
    /// deadline counts from now, and the next send is due at once.
    pub fn hurry(&mut self, now: Timestamp) -> Vec<Step> {
        self.began = now;
        self.next_send = Some(now);
        self.advance(now)
    }

    /// Takes a response that is no answer. `suffix` is that of the name that was asked for.
    pub fn failed_response(
        &mut self,
        attempt: AttemptId,
        failure: Failure,
        suffix: SuffixHash,
        now: Timestamp,
    ) -> Vec<Step> {
        let mut steps = Vec::new();
        let Some((target, age)) = self.close(attempt, now) else { return steps };
        steps.push(Step::Report(target.upstream, AttemptOutcome::UnusableResponse(age, suffix)));
        self.failure = failure;
        // The response code may be due to EDNS, so the query is repeated without it at once.
        if failure == Failure::NotUnderstood
            && target.extension == Extension::Edns
            && self.repeated < REPEATS
            && !self.gave_up
        {
            self.repeated += 1;
            self.replan_plain(target.upstream);
            let plain = Target { extension: Extension::Plain, ..target };
            self.send(plain, HealthReports::Made, now, &mut steps);
            return steps;
        }
        // After the second such response no further upstream is asked. Attempts that are under way
        // may still bring an answer.
        self.failed_responses += 1;
        if self.failed_responses >= 2 {
            self.used = self.plan.targets.len();
            self.next_send = None;
        }
        // An upstream that has failed is not asked again while another one may still answer.
        let elsewhere = self.plan.targets.get(self.used).is_some_and(|next| !self.has_failed(next.upstream));
        if !self.gave_up && self.used < self.plan.targets.len() && (elsewhere || self.is_silent()) {
            self.send_next(now, &mut steps);
        }
        self.conclude(now, &mut steps);
        steps
    }

    /// Takes a truncated response: the same upstream is asked over TCP, and nobody else.
    pub fn truncated_response(&mut self, attempt: AttemptId, now: Timestamp) -> Vec<Step> {
        let mut steps = Vec::new();
        let Some((target, age)) = self.close(attempt, now) else { return steps };
        steps.push(Step::Report(target.upstream, AttemptOutcome::Answered(age)));
        if target.transport == Transport::Udp && self.repeated < REPEATS && !self.gave_up {
            self.repeated += 1;
            self.next_send = None;
            self.used = self.plan.targets.len();
            // There is a truncated answer in hand. Waiting clients get it at this earlier deadline,
            // when the whole answer has not come over TCP.
            self.plan.deadline = self.plan.deadline.min(now.since(self.began) + self.policy.second_after);
            let over_tcp = Target { transport: Transport::Tcp, ..target };
            self.send(over_tcp, HealthReports::Withheld, now, &mut steps);
        }
        self.conclude(now, &mut steps);
        steps
    }

    /// Takes an error after which no response to this attempt can come any more.
    pub fn failed(&mut self, attempt: AttemptId, failure: Failure, now: Timestamp) -> Vec<Step> {
        let mut steps = Vec::new();
        let Some(&Attempt { stage, reports, .. }) = self.sent.get(attempt.0) else { return steps };
        let Some((target, _)) = self.close(attempt, now) else { return steps };
        self.failure = failure;
        // A timeout was reported already, and our own limits are no fault of the upstream. An
        // attempt that was reported late is in the window of failures, so only its end is reported.
        if failure != Failure::LocalLimit && stage != AttemptStage::TimedOut && reports == HealthReports::Made {
            let was_late = stage >= AttemptStage::Late;
            let outcome = if was_late { AttemptOutcome::TimedOut } else { AttemptOutcome::Failed };
            steps.push(Step::Report(target.upstream, outcome));
        }
        let another = self.plan.targets.get(self.used).is_some_and(|next| !self.has_failed(next.upstream));
        if !another {
            steps.push(Step::Trouble);
        }
        // A network error is certain, so there is no point in waiting for the next send's time. The
        // same upstream is asked again all the same: from another source port the query may reach
        // another server behind the same address.
        let certain = match failure {
            Failure::NetworkError => true,
            Failure::ServFail
            | Failure::Refused
            | Failure::NotUnderstood
            | Failure::Lame
            | Failure::OtherRcode
            | Failure::Malformed
            | Failure::Timeout
            | Failure::LocalLimit => false,
        };
        if (another || certain && self.used < self.plan.targets.len()) && !self.gave_up {
            self.send_next(now, &mut steps);
        }
        self.conclude(now, &mut steps);
        steps
    }

    /// Whether an attempt with this upstream has ended, which means without an answer.
    fn has_failed(&self, upstream: UpstreamId) -> bool {
        self.sent.iter().any(|attempt| attempt.target.upstream == upstream && attempt.stage == AttemptStage::Ended)
    }

    /// Takes an answer, and returns the report for the upstream's health; `None` for an unknown
    /// attempt.
    pub fn answered(&mut self, attempt: AttemptId, now: Timestamp) -> Option<Step> {
        self.close(attempt, now).map(|(target, age)| Step::Report(target.upstream, AttemptOutcome::Answered(age)))
    }

    /// The target of an attempt; `None` for an unknown one.
    #[must_use]
    pub fn target(&self, attempt: AttemptId) -> Option<Target> {
        self.sent.get(attempt.0).map(|attempt| attempt.target)
    }

    /// Ends an attempt, and returns its target and age.
    fn close(&mut self, attempt: AttemptId, now: Timestamp) -> Option<(Target, Duration)> {
        let attempt = self.sent.get_mut(attempt.0)?;
        attempt.stage = AttemptStage::Ended;
        Some((attempt.target, now.since(attempt.sent_at)))
    }

    /// Sends to the next planned target, and sets the time of the send after it.
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
        self.send(target, HealthReports::Made, now, steps);
    }

    fn send(&mut self, target: Target, reports: HealthReports, now: Timestamp, steps: &mut Vec<Step>) {
        steps.push(Step::Send(AttemptId(self.sent.len()), target));
        self.sent.push(Attempt { target, sent_at: now, stage: AttemptStage::Young, reports });
    }

    /// Plans the remaining sends to an upstream without EDNS, and one fewer of them, since the
    /// failed one is repeated.
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

    /// Whether every attempt has ended, so that no response can come any more.
    fn is_silent(&self) -> bool {
        self.sent.iter().all(|attempt| attempt.stage == AttemptStage::Ended)
    }

    /// Gives up at the deadline, and ends when there is nothing left to wait for.
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

    fn end(&mut self) -> Vec<Step> {
        self.gave_up = true;
        vec![Step::End(self.failure)]
    }
}

#[cfg(test)]
mod tests;
