//! One resolution: carries out the steps of its [`Attempts`], classifies the responses, and has the
//! answer remembered.
//!
//! A resolution outlives the clients that wait for it, so a late answer still refreshes what is
//! remembered. In whatever way it ends (answer, failure, abort), its flight is removed from the
//! table and the end is reported to all waiting clients: [`FlightGuard`] does so when it is
//! dropped.

mod hearing;
mod taking;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, StreamExt};

use super::consultation::Consultation;
use super::context::Context;
use super::flight::{Flight, NoAnswer, Progress};
use super::flight_guard::FlightGuard;
use super::last_resort::LastResort;
use super::near_misses::NearMisses;
use super::ports::TransportError;
use crate::core::attempts::{AttemptId, Attempts, Plan, Step, Target, TruncatedAnswer};
use crate::core::budget::{Class, PacketClaim};
use crate::core::classify::{self, Failure, Kind, Verdict};
use crate::core::decision::Availability;
use crate::core::entry::{Entry, Remembered};
use crate::core::extended_error;
use crate::core::health::{AttemptOutcome, UpstreamState};
use crate::core::key::Key;
use crate::core::refresh;
use crate::core::time::Timestamp;
use crate::core::upstream::{Endpoint, GroupId, UpstreamId};
use crate::core::upstream_query::{self, Extension};
use crate::memory::cached_failure::ResolutionFailure;

/// The result of one attempt.
type Returned = (AttemptId, Result<Vec<u8>, TransportError>);
/// The exchanges of all attempts under way.
type Exchanges = FuturesUnordered<Pin<Box<dyn Future<Output = Returned> + Send>>>;

/// One resolution under way.
pub(super) struct Resolution {
    context: Arc<Context>,
    key: Key,
    group: GroupId,
    attempts: Attempts,
    /// The recoveries that the group had seen when the resolution began: a failure that began
    /// before a recovery says nothing about the time after it.
    recoveries: u32,
    /// A response that was truncated or marked as stale, for clients that get no better one.
    last_resort: LastResort,
    /// The denials of primaries, of which one may come to count; at most one of each.
    denials: Vec<Denial>,
    /// When the question was sent whose denial was taken.
    denied: Option<Timestamp>,
    /// The first answer that goes back to what was known before a change.
    doubted: Option<DoubtedAnswer>,
    /// Raw extended errors of the latest unusable response.
    extended_errors: Box<[u8]>,
    note: Note,
    consultation: Consultation,
    misses: Arc<NearMisses>,
    /// The upstreams that have not repeated the case of the name.
    unmixed: Vec<UpstreamId>,
    guard: FlightGuard,
}

/// A denial that does not count yet.
struct Denial {
    attempt: AttemptId,
    response: Vec<u8>,
    verdict: Verdict,
}

/// A positive answer that others have to confirm.
struct DoubtedAnswer {
    attempt: AttemptId,
    remembered: Remembered,
}

/// Whether the failure of a resolution is to be noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Note {
    /// The failure is noted when the resolution fails.
    Due,
    /// The failure was noted already, or says nothing about the name.
    Done,
}

/// Whether a resolution goes on.
enum Flow {
    /// The resolution goes on.
    On,
    /// The resolution is over.
    Over,
}

impl Resolution {
    /// Prepares a resolution whose failure is not noted: it is only to find out whether a name that
    /// failed is well again.
    pub(super) fn recheck(context: &Arc<Context>, key: Key, group: GroupId, plan: Plan, flight: Arc<Flight>) -> Self {
        Self { note: Note::Done, ..Self::new(context, key, group, plan, flight) }
    }

    pub(super) fn new(context: &Arc<Context>, key: Key, group: GroupId, mut plan: Plan, flight: Arc<Flight>) -> Self {
        // Signatures are asked for with EDNS alone.
        if key.dnssec().dnssec_ok {
            plan = plan.with_signatures();
        }
        let guard = FlightGuard { context: Arc::clone(context), key: key.clone(), flight };
        let attempts = Attempts::new(context.policy.attempts, plan, context.now());
        let recoveries = context.upstreams.recoveries(group, key.name());
        Self {
            context: Arc::clone(context),
            key,
            group,
            attempts,
            recoveries,
            last_resort: LastResort::default(),
            denials: Vec::new(),
            denied: None,
            doubted: None,
            extended_errors: Box::default(),
            note: Note::Due,
            consultation: Consultation::default(),
            misses: Arc::default(),
            unmixed: Vec::new(),
            guard,
        }
    }

    /// Runs the resolution to its end. Cancel safe: dropping it ends the flight.
    pub(super) async fn run(mut self) {
        let mut exchanges = Exchanges::new();
        // With all upstreams down the shared cache is the best hope, so it is asked at once.
        if self.context.upstreams.availability(self.group) == Availability::Down {
            self.consult();
        }
        let mut steps = self.attempts.advance(self.context.now());
        loop {
            if let Flow::Over = self.carry_out(steps, &mut exchanges).await {
                return;
            }
            let wait = self.context.now().until(self.attempts.wake_at());
            steps = tokio::select! {
                // A response that lies ready counts before a timer that is due: a process that was
                // stopped for a while must not take its own pause for an outage.
                biased;
                Some((attempt, result)) = exchanges.next() => match self.take(attempt, result) {
                    Some(steps) => steps,
                    None => return,
                },
                () = self.guard.flight.displaced() => return,
                () = self.misses.heard() => self.hear_of_misses(),
                () = self.guard.flight.hurried() => self.attempts.hurry(self.context.now()),
                () = tokio::time::sleep(wait) => self.attempts.advance(self.context.now()),
            };
        }
    }

    /// Carries out steps, and those that follow from them.
    async fn carry_out(&mut self, steps: Vec<Step>, exchanges: &mut Exchanges) -> Flow {
        // Carrying out a step may give further ones, which come after those that wait already.
        let mut queue = VecDeque::from(steps);
        while let Some(step) = queue.pop_front() {
            match step {
                Step::Send(attempt, target) => queue.extend(self.send(attempt, target, exchanges)),
                Step::Report(upstream, outcome) => self.report(upstream, outcome),
                Step::Overdue(upstream, sent_at) => {
                    self.consult();
                    self.context.upstreams.report_overdue(upstream, &self.key, sent_at, self.context.now());
                }
                Step::Trouble => {
                    self.consult();
                    self.guard.flight.report(Progress::Trouble);
                }
                Step::Take(attempt) => {
                    if let Flow::Over = self.take_denial(attempt) {
                        return Flow::Over;
                    }
                }
                // Clients have the denial that was taken, and no earlier server contradicted it.
                Step::End(_) if self.denied.is_some() => return Flow::Over,
                // What has come is doubted, and nobody contradicts it.
                Step::GiveUp(_) | Step::End(_) if self.doubted.is_some() => {
                    self.conclude_doubt();
                    return Flow::Over;
                }
                // In a flood of new names nothing lingers for a late answer.
                Step::GiveUp(failure) if self.context.flights.is_crowded() => {
                    self.fail(failure, Progress::Ended).await;
                    return Flow::Over;
                }
                Step::GiveUp(failure) => self.fail(failure, Progress::GaveUp).await,
                Step::End(failure) => {
                    self.fail(failure, Progress::Ended).await;
                    return Flow::Over;
                }
            }
        }
        Flow::On
    }

    /// Asks the shared cache, unless that was done before.
    fn consult(&mut self) {
        self.consultation.begin(&self.context, &self.key, &self.guard.flight);
    }

    /// Reports to waiting clients that upstreams had no answer, after the shared cache has replied.
    async fn fail(&mut self, failure: Failure, how: fn(NoAnswer) -> Progress) {
        self.consult();
        self.consultation.end().await;
        self.note(failure);
        // After the recheck the name is asked for anew, while this resolution listens on unseen.
        if let Some(cached) = self.context.memory.find_answer(&self.key, self.context.now()) {
            cached.end_refresh();
        }
        let no_answer = NoAnswer { reason: self.reason(failure), last_resort: self.last_resort.get() };
        self.guard.flight.report(how(no_answer));
    }

    /// Sends one attempt, as far as the packet budget goes.
    fn send(&mut self, attempt: AttemptId, target: Target, exchanges: &mut Exchanges) -> Vec<Step> {
        let now = self.context.now();
        let Some(upstream) = self.context.upstreams.find(target.upstream) else { return Vec::new() };
        let class = self.class_of(attempt, target, upstream.state());
        let sender = PacketClaim { class, client: self.guard.flight.client() };
        if let Err(until) = self.context.packets.take(sender, target.transport.packets(), now) {
            if class.is_background() {
                self.hold_back();
            }
            return self.attempts.postpone(attempt, class, until);
        }
        self.go_on(now);
        let query = self.query(target, upstream.case);
        // A truncated response is asked for again over TCP at the same address.
        let endpoint = Endpoint { transport: target.transport, ..upstream.endpoint.clone() };
        let exchange = self.context.ports.transport.exchange_watched(&endpoint, query, self.misses.watch(attempt));
        exchanges.push(Box::pin(async move { (attempt, exchange.await) }));
        Vec::new()
    }

    /// The class that the packets of an attempt count as.
    fn class_of(&self, attempt: AttemptId, target: Target, state: UpstreamState) -> Class {
        let class = match target.class {
            Class::Outage => Class::Outage,
            // Since the attempt was planned, a more important class may have asked for the same
            // name.
            planned
            @ (Class::Probe | Class::Miss | Class::Retry | Class::Critical | Class::Prefetch | Class::Sweep) => {
                planned.min(self.guard.flight.class())
            }
        };
        match class {
            Class::Miss if self.attempts.is_later_send(attempt) => match state {
                // The breaker has opened since the attempt was planned.
                UpstreamState::Down => Class::Outage,
                UpstreamState::Healthy | UpstreamState::Impaired => Class::Retry,
            },
            Class::Probe
            | Class::Miss
            | Class::Retry
            | Class::Outage
            | Class::Critical
            | Class::Prefetch
            | Class::Sweep => class,
        }
    }

    /// Reports to an upstream's health how an attempt went. When that brings the upstream back, no
    /// client may join a resolution that gave up before.
    fn report(&self, upstream: UpstreamId, outcome: AttemptOutcome) {
        let transition = self.context.upstreams.report(upstream, &self.key, outcome, self.context.now());
        if transition.is_some_and(|transition| transition.to < transition.from) {
            self.context.release_flights(|_| true);
        }
    }

    /// Notes that the packet budget has no room for a background resolution. For clients, its
    /// refresh does not count as under way yet.
    fn hold_back(&self) {
        self.guard.flight.hold_back();
        if let Some(cached) = self.context.memory.find_answer(&self.key, self.context.now()) {
            cached.hold_refresh_back();
        }
    }

    /// Notes that the packet budget has room.
    fn go_on(&self, now: Timestamp) {
        if self.guard.flight.go_on(now)
            && let Some(cached) = self.context.memory.find_answer(&self.key, now)
        {
            cached.send_refresh(now);
        }
    }

    /// Takes the result of an attempt; `None` when it was the answer, which ends the resolution.
    fn take(&mut self, attempt: AttemptId, result: Result<Vec<u8>, TransportError>) -> Option<Vec<Step>> {
        let now = self.context.now();
        let response = match result {
            Ok(mut response) => {
                upstream_query::restore_case(&mut response);
                response
            }
            Err(error) => return Some(self.attempts.failed(attempt, error.failure(), now)),
        };
        let (verdict, remembered) = self.judge(&response);
        let theirs = self.note_extension(attempt, &response, verdict, now);
        match (verdict, remembered) {
            (Verdict::Positive { .. }, Some(remembered)) if self.doubts(&remembered) => {
                Some(self.take_doubted(attempt, remembered))
            }
            (Verdict::Positive { .. }, Some(remembered)) => {
                // First comes what the answer says about the upstream.
                if let Some(Step::Report(upstream, outcome)) = self.attempts.answered(attempt, now) {
                    self.report(upstream, outcome);
                }
                // A late answer of an earlier server counts more than the denial that was taken.
                let asked = self.attempts.sent_at(attempt).max(self.denied).unwrap_or(now);
                self.answer(attempt, remembered, asked);
                None
            }
            (Verdict::Negative { .. }, Some(_)) => {
                self.denials.push(Denial { attempt, response, verdict });
                Some(self.attempts.denied(attempt, now))
            }
            (Verdict::Positive { .. } | Verdict::Negative { .. }, None) => {
                Some(self.unusable_response(attempt, Failure::Malformed, theirs))
            }
            (Verdict::Truncated, _) => {
                let entry = Entry::from_truncated(&self.key, &response, &self.context.policy, now);
                let answer = match entry {
                    Ok(entry) if entry.kind == Kind::Positive => {
                        self.last_resort.keep(&self.key, entry, self.group);
                        TruncatedAnswer::Usable
                    }
                    Ok(_) | Err(_) => TruncatedAnswer::Empty,
                };
                Some(self.attempts.truncated_response(attempt, answer, now))
            }
            (Verdict::Failed(failure), _) => {
                // That an answer is stale is said with the answer.
                if failure != Failure::MarkedStale {
                    self.extended_errors =
                        classify::extended_errors(&response, extended_error::KEPT_MAX).into_boxed_slice();
                }
                Some(self.unusable_response(attempt, failure, theirs))
            }
        }
    }

    fn unusable_response(&mut self, attempt: AttemptId, failure: Failure, theirs: Extension) -> Vec<Step> {
        self.context.failures.count(failure);
        self.attempts.failed_response(attempt, failure, theirs, self.context.now())
    }

    /// Notes once that the resolution failed.
    fn note(&mut self, failure: Failure) {
        // A limit of our own says nothing about the name. With a truncated answer in hand the whole
        // one is not asked for again and again: until the recheck, clients get what is in hand.
        if self.note == Note::Done || failure == Failure::LocalLimit {
            return;
        }
        self.note = Note::Done;
        let context = &self.context;
        let now = context.now();
        let recheck = |failures| now.plus(refresh::recheck_after(failures, &context.policy.stale));
        context.memory.note_failure(&self.key, &self.reason(failure), self.last_resort.get(), recheck, self.recoveries);
        context.watchlist.note_failure(&self.key, failure, now);
        if let Some(group) = context.upstreams.group(self.group) {
            group.recoveries.note_failure(&self.key, self.recoveries, now);
        }
    }

    /// The reason for which there is no answer, with the extended errors of upstreams.
    fn reason(&self, failure: Failure) -> ResolutionFailure {
        ResolutionFailure { failure, extended_errors: self.extended_errors.clone() }
    }
}
