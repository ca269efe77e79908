//! The attempts of one resolution: when which upstream is asked, what follows from each outcome,
//! and when to give up.
//!
//! A state machine without I/O. The resolver calls it when time has passed and when an attempt has
//! ended, and carries out the [`Step`]s that it returns. Every primary is asked before any is asked
//! again, and none more often than three times over one transport (RFC 9520 §3.1), each time from a
//! new source port. Whom a send goes to is decided in `choice`:
//!
//! | time | who is asked |
//! |---|---|
//! | 0 | the best primary |
//! | after four times its p99 round-trip time, 20 to 400 ms | the next primary |
//! | after each further wait, two and a half times as long, up to 1 s | the next primary, three sends at least |
//! | then | over TCP the best primary that was silent, and the first fallback |
//! | then | the next of both, and last a primary that is down |
//! | after five eighths of the deadline, when all were silent | each primary once more, as if a client asked again |
//!
//! An outcome may bring the next send forward:
//!
//! | outcome of an attempt | what follows at once |
//! |---|---|
//! | positive answer | the end |
//! | positive answer that is doubted | another primary is asked, then TCP, until the answer is confirmed (`doubts`) |
//! | denial | the end, or the earlier server is asked whose answer counts more (`denials`) |
//! | SERVFAIL, REFUSED, lame, malformed, marked stale | a primary not asked yet; else one again; else a fallback |
//! | FORMERR, NOTIMP, BADVERS, nonsense, to OPT | the same upstream without OPT, instead of one planned send |
//! | SERVFAIL, REFUSED, lame, without OPT to OPT | as below, and the same upstream without OPT from then on |
//! | TC | the same upstream over TCP; others only when that fails |
//! | two responses to the question that are not ours | the same upstream over TCP as well |
//! | ICMP error, reset | as SERVFAIL, but the same upstream is asked again up to three times |
//! | a limit on our own side | nothing; the same again after 50 ms, then 100 ms and so on |
//! | silence | nothing: after 400 ms it is a timeout for the upstream's health, but a later answer counts |
//!
//! The attempts end early when none of them is under way and nobody is left to be asked.
//!
//! A truncated answer is kept by the resolver as a last resort: clients get it when TCP fails or
//! has brought nothing after 400 ms. A failure of an attempt over TCP is not held against an
//! upstream that is asked over UDP.
//!
//! Clients that have something stale are sent it at once ([`Step::Trouble`]) when an attempt ends
//! with an error and nobody else can be asked at once, and when the budget postpones the first
//! send. At the deadline the other clients get SERVFAIL ([`Step::GiveUp`]), or the truncated answer
//! if there is one. After that nothing more is sent, but the attempts go on listening for the
//! linger time, since a late answer still refreshes what is remembered. So they do when a denial
//! was taken, for the answer of an earlier server.

use std::time::Duration;

use super::budget::Class;
use super::classify::Failure;
use super::health::AttemptOutcome;
use super::policy::AttemptPolicy;
use super::time::Timestamp;
use super::upstream::Transport;
use super::upstream_query::Extension;

mod choice;
mod denials;
mod doubts;
mod ledger;
mod plan;
mod schedule;
mod timers;

use choice::Choice;
use denials::Sending;
use ledger::{Attempt, AttemptStage, EndedBy, Ledger, SentFor};
pub use plan::{AttemptId, Confirmed, Listed, Plan, Signatures, Step, Target, TruncatedAnswer};

/// How long a send waits for which a limit on our own side left no room; longer each time, up to
/// ten times as long.
const LOCAL_PAUSE: Duration = Duration::from_millis(50);

/// When something is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NextSend {
    /// Nothing is sent before an attempt ends.
    Never,
    /// The next send is due at this time.
    At(Timestamp),
    /// All sends are used up; if they all stay silent, the next round begins at this time.
    NewRound(Timestamp),
}

/// How far the resolution has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Upstreams are being asked.
    Asking,
    /// The deadline is over; a late answer is still taken.
    GaveUp,
    /// A denial was taken; an earlier server may still contradict it.
    Denied,
}

/// The state of one resolution's attempts.
#[derive(Debug)]
pub struct Attempts {
    policy: AttemptPolicy,
    plan: Plan,
    began: Timestamp,
    ledger: Ledger,
    round: u32,
    /// The wait between the last send and the next one.
    wait: Duration,
    next: NextSend,
    /// The denial that is held back: its attempt, and the place of its upstream.
    denial: Option<(AttemptId, usize)>,
    failure: Failure,
    phase: Phase,
}

impl Attempts {
    /// Starts the attempts of a resolution; the first send is due at once.
    #[must_use]
    pub fn new(policy: AttemptPolicy, plan: Plan, now: Timestamp) -> Self {
        let wait = plan.hedge;
        Self {
            policy,
            plan,
            began: now,
            ledger: Ledger::default(),
            round: 1,
            wait,
            next: NextSend::At(now),
            denial: None,
            failure: Failure::Timeout,
            phase: Phase::Asking,
        }
    }

    /// Lets time pass: returns the steps of every timer that has run out, and the sends that are
    /// due.
    pub fn advance(&mut self, now: Timestamp) -> Vec<Step> {
        let mut steps = Vec::new();
        self.run_timers(now, &mut steps);
        // From the deadline on nothing is sent: a response would come too late for the clients.
        let deadline = self.began.plus(self.plan.deadline);
        if self.phase == Phase::Asking && now < deadline {
            match self.next {
                NextSend::At(due) if due <= now => self.send_next(now, &mut steps),
                NextSend::NewRound(due) if due <= now => {
                    self.round += 1;
                    self.wait = self.plan.hedge;
                    self.send_next(now, &mut steps);
                }
                NextSend::At(_) | NextSend::NewRound(_) | NextSend::Never => {}
            }
        }
        self.conclude(now, &mut steps);
        steps
    }

    /// When the denial that is held back counts; `None` when there is none, or it cannot count yet.
    fn denial_counts_at(&self) -> Option<Timestamp> {
        let (_, denier) = self.denial.filter(|_| self.phase != Phase::Denied)?;
        denials::counts_at(denier, &self.choice(), self.sending())
    }

    /// Takes back an attempt that could not be sent, because the budget has no room for its class
    /// until `until`; it is then planned again for that time.
    ///
    /// Only a class for which clients may be waiting makes this [`Step::Trouble`], and only for a
    /// first send. A client that asks for the name meanwhile [hurries](Self::hurry) the attempts.
    pub fn postpone(&mut self, attempt: AttemptId, class: Class, until: Timestamp) -> Vec<Step> {
        let _ = self.ledger.close(attempt, EndedBy::NotSent, until);
        self.next = NextSend::At(until);
        let trouble = match class {
            Class::Miss | Class::Outage | Class::Probe => true,
            // What was sent before may still be answered.
            Class::Retry => return Vec::new(),
            Class::Critical | Class::Prefetch | Class::Sweep => false,
        };
        self.failure = Failure::LocalLimit;
        // Nothing is under way, and nothing can be sent in time: there is no reason to wait.
        if until >= self.began.plus(self.plan.deadline) && self.ledger.is_silent() {
            return self.end();
        }
        if trouble { vec![Step::Trouble] } else { Vec::new() }
    }

    /// Starts again, because what was postponed is now wanted for something more important: the
    /// deadline counts from now, and the next send is due at once.
    pub fn hurry(&mut self, now: Timestamp) -> Vec<Step> {
        self.began = now;
        self.next = NextSend::At(now);
        self.advance(now)
    }

    /// Takes a response that is no answer, and that has this extension.
    pub fn failed_response(
        &mut self,
        attempt: AttemptId,
        failure: Failure,
        theirs: Extension,
        now: Timestamp,
    ) -> Vec<Step> {
        let mut steps = Vec::new();
        let had_opt = self.target(attempt).is_some_and(|own| own.extension == Extension::Edns);
        // The response may be due to EDNS, so the query is repeated without it at once.
        let repeats = had_opt
            && matches!(failure, Failure::NotUnderstood | Failure::Malformed)
            && self.phase == Phase::Asking
            && now < self.began.plus(self.plan.deadline);
        let end = if repeats { EndedBy::EdnsRefusal } else { EndedBy::useless(failure) };
        let Some((target, age)) = self.ledger.close(attempt, end, now) else { return steps };
        let outcome = if failure.is_garbage() { AttemptOutcome::Garbage } else { AttemptOutcome::UnusableResponse };
        steps.push(Step::Report(target.upstream, outcome(age)));
        self.failure = failure;
        // Who understands EDNS responds to an OPT with one (RFC 6891 §7), whatever the response.
        let is_unextended = had_opt && theirs == Extension::Plain && self.plan.signatures == Signatures::NotWanted;
        if repeats || is_unextended {
            self.plan.leave_edns_out(target.upstream);
        }
        if repeats {
            self.send((Target { extension: Extension::Plain, ..target }, SentFor::Repeat), now, &mut steps);
            return steps;
        }
        self.go_elsewhere(now, &mut steps);
        self.conclude(now, &mut steps);
        steps
    }

    /// Takes a truncated response: the same upstream is asked over TCP, and nobody else unless that
    /// fails.
    pub fn truncated_response(&mut self, attempt: AttemptId, answer: TruncatedAnswer, now: Timestamp) -> Vec<Step> {
        let mut steps = Vec::new();
        let Some((target, age)) = self.ledger.close(attempt, EndedBy::Truncation, now) else { return steps };
        steps.push(Step::Report(target.upstream, AttemptOutcome::Answered(age)));
        let was_asked = self.ledger.was_asked_over_tcp(target.upstream);
        let tcp_has_failed = was_asked && !self.ledger.is_under_way_over_tcp(target.upstream);
        if self.phase == Phase::Asking && target.transport == Transport::Udp && !tcp_has_failed {
            match answer {
                // Waiting clients get what is in hand at this earlier deadline, when the whole
                // answer has not come over TCP.
                TruncatedAnswer::Usable => {
                    self.next = NextSend::Never;
                    self.plan.deadline = self.plan.deadline.min(now.since(self.began) + self.policy.second_after);
                }
                TruncatedAnswer::Empty => self.next = NextSend::At(now.plus(self.policy.second_after)),
            }
            if !was_asked {
                self.send((Target { transport: Transport::Tcp, ..target }, SentFor::WholeAnswer), now, &mut steps);
            }
        }
        self.conclude(now, &mut steps);
        steps
    }

    /// Notes that somebody else tries to answer this attempt: the same upstream is asked over TCP
    /// as well, where that takes more than guessing an ID and a port. The attempt goes on, since
    /// the true answer may be the next datagram.
    pub fn near_missed(&mut self, attempt: AttemptId, now: Timestamp) -> Vec<Step> {
        let mut steps = Vec::new();
        let Some(own) = self.ledger.find(attempt).filter(|own| own.is_under_way()) else { return steps };
        let target = Target { transport: Transport::Tcp, ..own.target };
        let asks = self.phase == Phase::Asking && now < self.began.plus(self.plan.deadline);
        if asks && !self.ledger.was_asked_over_tcp(target.upstream) {
            self.send((target, SentFor::Certainty), now, &mut steps);
        }
        steps
    }

    /// Takes an error after which no response to this attempt can come any more.
    pub fn failed(&mut self, attempt: AttemptId, failure: Failure, now: Timestamp) -> Vec<Step> {
        let mut steps = Vec::new();
        let Some(&Attempt { stage, purpose, .. }) = self.ledger.find(attempt) else { return steps };
        let Some((target, _)) = self.ledger.close(attempt, EndedBy::useless(failure), now) else { return steps };
        self.failure = failure;
        // A timeout was reported already, and our own limits are no fault of the upstream. An
        // attempt that was reported late is in the window of failures, so only its end is reported.
        if failure != Failure::LocalLimit && stage != AttemptStage::TimedOut && !purpose.withholds_failures() {
            let was_late = stage >= AttemptStage::Late;
            let outcome = if was_late { AttemptOutcome::TimedOut } else { AttemptOutcome::Failed };
            steps.push(Step::Report(target.upstream, outcome));
        }
        if failure == Failure::LocalLimit || self.choice().unasked().is_none() {
            steps.push(Step::Trouble);
        }
        match failure {
            Failure::LocalLimit => self.next = NextSend::At(now.plus(LOCAL_PAUSE * self.ledger.unsent().min(10))),
            Failure::ServFail
            | Failure::Refused
            | Failure::NotUnderstood
            | Failure::Lame
            | Failure::OtherRcode
            | Failure::Malformed
            | Failure::MarkedStale
            | Failure::Unvouched
            | Failure::Unconfirmed
            | Failure::Timeout
            | Failure::NetworkError => self.go_elsewhere(now, &mut steps),
        }
        self.conclude(now, &mut steps);
        steps
    }

    /// Takes a positive answer, and returns the report for the upstream's health; `None` for an
    /// attempt that is over.
    pub fn answered(&mut self, attempt: AttemptId, now: Timestamp) -> Option<Step> {
        let (target, age) = self.ledger.close(attempt, EndedBy::Answer, now)?;
        Some(Step::Report(target.upstream, AttemptOutcome::Answered(age)))
    }

    /// Takes a denial. It counts as soon as [`Step::Take`] says so; until then, earlier servers are
    /// asked.
    pub fn denied(&mut self, attempt: AttemptId, now: Timestamp) -> Vec<Step> {
        let mut steps = Vec::new();
        let Some((target, age)) = self.ledger.close(attempt, EndedBy::Denial, now) else { return steps };
        steps.push(Step::Report(target.upstream, AttemptOutcome::Answered(age)));
        match (self.plan.place(target.upstream), self.denial) {
            // An earlier denial is held back already.
            (Some(place), Some((_, denier))) if denier <= place => {}
            (Some(place), _) => self.denial = Some((attempt, place)),
            (None, _) => {}
        }
        self.go_elsewhere(now, &mut steps);
        self.conclude(now, &mut steps);
        steps
    }

    /// Whether anything was sent before this attempt, without an answer so far.
    #[must_use]
    pub fn is_later_send(&self, attempt: AttemptId) -> bool {
        self.ledger.is_later_send(attempt)
    }

    /// Whether an answer to this attempt suggests that its upstream understands no EDNS.
    #[must_use]
    pub fn suggests_plain(&self, attempt: AttemptId) -> bool {
        self.ledger.suggests_plain(attempt)
    }

    /// The target of an attempt; `None` for an unknown one.
    #[must_use]
    pub fn target(&self, attempt: AttemptId) -> Option<Target> {
        self.ledger.find(attempt).map(|attempt| attempt.target)
    }

    /// When an attempt was sent; `None` for an unknown one.
    #[must_use]
    pub fn sent_at(&self, attempt: AttemptId) -> Option<Timestamp> {
        self.ledger.find(attempt).map(|attempt| attempt.sent_at)
    }

    fn choice(&self) -> Choice<'_> {
        Choice {
            plan: &self.plan,
            ledger: &self.ledger,
            sends: self.policy.sends,
            round: self.round,
            denied_by: self.denial.map(|(_, denier)| denier),
        }
    }

    fn sending(&self) -> Sending {
        match self.phase {
            Phase::Asking => Sending::Goes,
            Phase::GaveUp | Phase::Denied => Sending::Ended,
        }
    }

    /// Takes the denial that counts, gives up at the deadline, and ends when there is nothing left
    /// to wait for.
    fn conclude(&mut self, now: Timestamp, steps: &mut Vec<Step>) {
        if let Some((attempt, denier)) = self.denial
            && self.denial_counts_at().is_some_and(|at| at <= now)
        {
            self.phase = Phase::Denied;
            steps.push(Step::Take(attempt));
            if !denials::is_contradiction_possible(denier, &self.choice()) {
                steps.extend(self.end());
            }
            return;
        }
        let over = match (self.phase, self.next) {
            (Phase::Asking, NextSend::At(_)) => false,
            (Phase::Asking, NextSend::NewRound(_) | NextSend::Never) | (Phase::GaveUp, _) => self.ledger.is_silent(),
            (Phase::Denied, _) => {
                self.denial.is_none_or(|(_, denier)| !denials::is_contradiction_possible(denier, &self.choice()))
            }
        };
        if over || now >= self.began.plus(self.plan.linger) {
            steps.extend(self.end());
        } else if self.phase == Phase::Asking && now >= self.began.plus(self.plan.deadline) {
            self.phase = Phase::GaveUp;
            steps.push(Step::GiveUp(self.failure));
        }
    }

    fn end(&mut self) -> Vec<Step> {
        if self.phase == Phase::Asking {
            self.phase = Phase::GaveUp;
        }
        vec![Step::End(self.failure)]
    }
}

#[cfg(test)]
mod tests;
