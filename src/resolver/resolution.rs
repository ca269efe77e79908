//! One resolution: carries out the steps of its [`Attempts`], classifies the responses, and has the
//! answer remembered.
//!
//! A resolution outlives the clients that wait for it, so a late answer still refreshes what is
//! remembered. In whatever way it ends (answer, failure, abort), its flight is removed from the
//! table and the end is reported to all waiting clients: [`FlightGuard`] does so when it is
//! dropped.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, StreamExt};

use super::consultation::Consultation;
use super::context::Context;
use super::flight::{Flight, NoAnswer, Progress};
use super::ports::TransportError;
use super::recoveries::suffix_of;
use crate::core::attempts::{AttemptId, Attempts, Plan, Step, Target};
use crate::core::budget::Class;
use crate::core::classify::{self, Failure, Verdict};
use crate::core::decision::Availability;
use crate::core::entry::{Entry, Keep};
use crate::core::extended_error;
use crate::core::health::{AttemptOutcome, UpstreamState};
use crate::core::key::Key;
use crate::core::refresh;
use crate::core::time::Timestamp;
use crate::core::upstream::{Endpoint, GroupId, UpstreamId};
use crate::core::upstream_query::{self, Extension};
use crate::memory::cached::{CachedAnswer, ResolutionFailure};

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
    /// The latest truncated response, for clients that get no better one.
    truncated: Option<Arc<CachedAnswer>>,
    /// Raw extended errors of the latest unusable response.
    extended_errors: Box<[u8]>,
    note: Note,
    consultation: Consultation,
    guard: FlightGuard,
}

/// Whether the failure of a resolution is to be noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Note {
    /// The failure is noted when the resolution fails.
    Due,
    /// The failure was noted already, or says nothing about the name.
    Done,
}

/// Ends a flight when it is dropped.
struct FlightGuard {
    context: Arc<Context>,
    key: Key,
    flight: Arc<Flight>,
}

impl Drop for FlightGuard {
    fn drop(&mut self) {
        // A resolution that was released has a successor, whose refresh goes on.
        if self.context.flights.remove(&self.key, &self.flight)
            && let Some(cached) = self.context.memory.find_answer(&self.key, self.context.now())
        {
            cached.end_refresh();
        }
        let reason = ResolutionFailure { failure: Failure::LocalLimit, extended_errors: Box::default() };
        self.flight.report(Progress::Ended(NoAnswer { reason, truncated: None }));
    }
}

/// Whether a resolution goes on.
enum Flow {
    /// The resolution goes on.
    On,
    /// The resolution is over.
    Over,
}

impl Resolution {
    /// Prepares the probe of one upstream. Its failure says nothing about the name, since other
    /// upstreams may answer for it.
    pub(super) fn probe(context: &Arc<Context>, key: Key, group: GroupId, plan: Plan, flight: Arc<Flight>) -> Self {
        Self { note: Note::Done, ..Self::new(context, key, group, plan, flight) }
    }

    pub(super) fn new(context: &Arc<Context>, key: Key, group: GroupId, plan: Plan, flight: Arc<Flight>) -> Self {
        let guard = FlightGuard { context: Arc::clone(context), key: key.clone(), flight };
        let attempts = Attempts::new(context.policy.attempts, plan, context.now());
        let recoveries = context.upstreams.recoveries(group, key.name());
        Self {
            context: Arc::clone(context),
            key,
            group,
            attempts,
            recoveries,
            truncated: None,
            extended_errors: Box::default(),
            note: Note::Due,
            consultation: Consultation::default(),
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
                    let _ = self.context.upstreams.report_overdue(upstream, sent_at);
                }
                Step::Trouble => {
                    self.consult();
                    self.guard.flight.report(Progress::Trouble);
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
        let no_answer = NoAnswer { reason: self.reason(failure), truncated: self.truncated.clone() };
        self.guard.flight.report(how(no_answer));
    }

    /// Sends one attempt, as far as the packet budget goes.
    fn send(&mut self, attempt: AttemptId, target: Target, exchanges: &mut Exchanges) -> Vec<Step> {
        let now = self.context.now();
        let Some(upstream) = self.context.upstreams.find(target.upstream) else { return Vec::new() };
        let class = self.class_of(target, upstream.state());
        if let Err(until) = self.context.packets.take(class, target.transport.packets(), now) {
            if class.is_background() {
                self.hold_back();
            }
            return self.attempts.postpone(attempt, class, until);
        }
        self.go_on(now);
        let [high, low, ..] = self.context.ports.chance.number().to_be_bytes();
        let query = upstream_query::write(&self.key, u16::from_be_bytes([high, low]), target.extension);
        // A truncated response is asked for again over TCP at the same address.
        let endpoint = Endpoint { transport: target.transport, ..upstream.endpoint.clone() };
        let exchange = self.context.ports.transport.exchange(&endpoint, query);
        exchanges.push(Box::pin(async move { (attempt, exchange.await) }));
        Vec::new()
    }

    /// The class that the packets of an attempt count as.
    fn class_of(&self, target: Target, state: UpstreamState) -> Class {
        let class = match target.class {
            Class::Outage => Class::Outage,
            // Since the attempt was planned, a more important class may have asked for the same
            // name.
            planned @ (Class::Probe | Class::Miss | Class::Critical | Class::Prefetch | Class::Sweep) => {
                planned.min(self.guard.flight.class())
            }
        };
        match class {
            // The breaker has opened since the attempt was planned.
            Class::Miss if state == UpstreamState::Down => Class::Outage,
            class => class,
        }
    }

    /// Reports to an upstream's health how an attempt went. When that brings the upstream back, no
    /// client may join a resolution that gave up before.
    fn report(&self, upstream: UpstreamId, outcome: AttemptOutcome) {
        let transition = self.context.upstreams.report(upstream, outcome, self.context.now());
        if transition.is_some_and(|transition| transition.from == UpstreamState::Down) {
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
            Ok(response) => response,
            Err(error) => return Some(self.attempts.failed(attempt, failure_of(error), now)),
        };
        match classify::classify(self.key.qtype(), &response) {
            verdict @ (Verdict::Positive { .. } | Verdict::Negative { .. }) => {
                match self.answer(attempt, &response, verdict) {
                    Flow::Over => None,
                    Flow::On => Some(self.unusable_response(attempt, Failure::Malformed)),
                }
            }
            Verdict::Truncated => {
                let entry = Entry::from_truncated(&self.key, &response, &self.context.policy, now);
                self.truncated = entry.ok().map(|entry| Arc::new(CachedAnswer::new(&self.key, entry, self.group)));
                Some(self.attempts.truncated_response(attempt, now))
            }
            Verdict::Failed(failure) => {
                self.extended_errors =
                    classify::extended_errors(&response, extended_error::KEPT_MAX).into_boxed_slice();
                Some(self.unusable_response(attempt, failure))
            }
        }
    }

    fn unusable_response(&mut self, attempt: AttemptId, failure: Failure) -> Vec<Step> {
        self.context.failures.count(failure);
        let suffix = suffix_of(self.key.name());
        self.attempts.failed_response(attempt, failure, suffix, self.context.now())
    }

    /// Remembers an answer and reports it to all waiting clients; [`Flow::On`] when the framing of
    /// the response turns out to be unusable.
    fn answer(&mut self, attempt: AttemptId, response: &[u8], verdict: Verdict) -> Flow {
        let context = &self.context;
        let now = context.now();
        let Ok(remembered) = Entry::remember(&self.key, response, verdict, &context.policy, now) else {
            return Flow::On;
        };
        // First comes what the answer says about the upstream.
        let target = self.attempts.target(attempt);
        if let Some(Step::Report(upstream, outcome)) = self.attempts.answered(attempt, now) {
            self.report(upstream, outcome);
        }
        if let Some(Target { extension: Extension::Plain, upstream, .. }) = target {
            self.context.upstreams.note_plain(upstream, now);
        }
        // Then comes what the answer says about the name.
        let context = &self.context;
        let replaces = context.memory.find_answer(&self.key, now).is_some();
        let cached = match remembered.keep {
            // An answer with TTL 0 is not kept, unless the name had a TTL before: then the older
            // answer must not come back in an outage, nor may the name be left with nothing.
            Keep::No if !replaces => Arc::new(CachedAnswer::new(&self.key, remembered.entry, self.group)),
            Keep::Yes | Keep::No => context.memory.insert(&self.key, remembered.entry),
        };
        context.memory.clear_failure(&self.key);
        let group = context.upstreams.group(self.group);
        if group.is_some_and(|group| group.recoveries.note_answer(self.key.name(), now)) {
            let suffix = suffix_of(self.key.name());
            context.release_flights(|key| suffix_of(key.name()) == suffix);
        }
        self.guard.flight.report(Progress::Answered(cached));
        Flow::Over
    }

    /// Notes once that the resolution failed.
    fn note(&mut self, failure: Failure) {
        // A limit of our own says nothing about the name. And a client that got a truncated
        // response comes back over TCP, where a cached failure would be of no use to it.
        if self.note == Note::Done || failure == Failure::LocalLimit || self.truncated.is_some() {
            return;
        }
        self.note = Note::Done;
        let context = &self.context;
        let now = context.now();
        let recheck = |failures| now.plus(refresh::recheck_after(failures, &context.policy.stale));
        context.memory.note_failure(&self.key, &self.reason(failure), recheck, self.recoveries);
        context.watchlist.note_failure(&self.key, failure, now);
        if let Some(group) = context.upstreams.group(self.group) {
            group.recoveries.note_failure(self.key.name());
        }
    }

    /// The reason for which there is no answer, with the extended errors of upstreams.
    fn reason(&self, failure: Failure) -> ResolutionFailure {
        ResolutionFailure { failure, extended_errors: self.extended_errors.clone() }
    }
}

/// The failure that an error of the transport means for the resolution.
const fn failure_of(error: TransportError) -> Failure {
    match error {
        TransportError::Refused | TransportError::Unreachable | TransportError::Lost => Failure::NetworkError,
        TransportError::TimedOut => Failure::Timeout,
        TransportError::Exhausted => Failure::LocalLimit,
    }
}
