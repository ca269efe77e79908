//! Runs one resolution: carries out the steps of its [`Attempts`], judges what comes back, and
//! remembers it.
//!
//! It outlives the clients that wait for it, so a late answer still refreshes. Whatever way it ends
//! (answer, failure, abort), its flight is taken from the table and everybody who waits is told:
//! [`FlightGuard`] does that when it is dropped.

use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, StreamExt};

use super::Resolver;
use super::consultation::Consultation;
use super::flight::{Flight, NoAnswer, Progress};
use super::ports::TransportError;
use super::recoveries::suffix_of;
use crate::core::attempts::{AttemptId, Attempts, Plan, Step, Target};
use crate::core::budget::Class;
use crate::core::classify::{self, Failure, Verdict};
use crate::core::decision::Availability;
use crate::core::entry::{Entry, Keep};
use crate::core::health::{AttemptOutcome, UpstreamState};
use crate::core::key::Key;
use crate::core::refresh;
use crate::core::time::Timestamp;
use crate::core::upstream::{Endpoint, GroupId, Transport, UpstreamId};
use crate::core::upstream_query::{self, Extension};
use crate::memory::cached::{CachedAnswer, ResolutionFailure};
use crate::memory::store::Found;

/// Packets that a query over TCP costs: the handshake, the query, its acknowledgement.
const TCP_PACKETS: u32 = 4;

/// What came of one attempt.
type Returned = (AttemptId, Result<Vec<u8>, TransportError>);
/// The attempts under way.
type Exchanges = FuturesUnordered<std::pin::Pin<Box<dyn Future<Output = Returned> + Send>>>;

/// Bytes of upstream's extended errors that are kept of a failure.
const EXTENDED_ERRORS_MAX: usize = 256;

/// One resolution.
pub(super) struct Resolution {
    /// The resolver.
    resolver: Arc<Resolver>,
    /// What is asked.
    key: Key,
    /// The upstream group.
    group: GroupId,
    /// When and whom to ask.
    attempts: Attempts,
    /// What had come back when it began: a failure from before a recovery says nothing about the
    /// time after.
    recoveries: u32,
    /// A truncated answer.
    truncated: Option<Arc<CachedAnswer>>,
    /// The last failure's extended errors.
    extended_errors: Box<[u8]>,
    /// Whether the failure was noted, or is not to be.
    noted: bool,
    /// What the fleet says.
    shared_cache: Consultation,
    /// Takes the flight from the table in the end.
    guard: FlightGuard,
}

/// Ends a flight when it is dropped.
struct FlightGuard {
    /// The resolver.
    resolver: Arc<Resolver>,
    /// What is asked.
    key: Key,
    /// The flight.
    flight: Arc<Flight>,
}

impl Drop for FlightGuard {
    fn drop(&mut self) {
        if self.resolver.flights.remove(&self.key, &self.flight)
            && let Found::Answer(cached) = self.resolver.memory.find(&self.key, self.resolver.now())
        {
            cached.end_refresh();
        }
        let reason = ResolutionFailure { failure: Failure::Overload, extended_errors: Box::default() };
        self.flight.tell(Progress::Ended(NoAnswer { reason, truncated: None }));
    }
}

/// Whether a resolution goes on.
enum Flow {
    /// It does.
    On,
    /// It is over.
    Over,
}

impl Resolution {
    /// Prepares the probe of one upstream. That it fails says nothing about the name: others may
    /// answer for it.
    pub(super) fn probe(resolver: &Arc<Resolver>, key: Key, group: GroupId, plan: Plan, flight: Arc<Flight>) -> Self {
        Self { noted: true, ..Self::new(resolver, key, group, plan, flight) }
    }

    /// Prepares a resolution.
    pub(super) fn new(resolver: &Arc<Resolver>, key: Key, group: GroupId, plan: Plan, flight: Arc<Flight>) -> Self {
        let guard = FlightGuard { resolver: Arc::clone(resolver), key: key.clone(), flight };
        let attempts = Attempts::new(resolver.policy.attempts, plan, resolver.now());
        let recoveries = resolver.upstreams.recoveries(group, key.name());
        Self {
            resolver: Arc::clone(resolver),
            key,
            group,
            attempts,
            recoveries,
            truncated: None,
            extended_errors: Box::default(),
            noted: false,
            shared_cache: Consultation::default(),
            guard,
        }
    }

    /// Runs it to its end. Cancel safe: dropping it ends the flight.
    pub(super) async fn run(mut self) {
        let mut exchanges = Exchanges::new();
        if self.resolver.upstreams.availability(self.group) == Availability::Down {
            self.consult();
        }
        let mut steps = self.attempts.advance(self.resolver.now());
        loop {
            if let Flow::Over = self.carry_out(steps, &mut exchanges).await {
                return;
            }
            let wait = self.resolver.now().until(self.attempts.wake_at());
            steps = tokio::select! {
                // A response that lies ready counts before a timer that is due: a process that was
                // stopped for a while must not take its own pause for an outage.
                biased;
                Some((attempt, result)) = exchanges.next() => match self.take(attempt, result) {
                    Some(steps) => steps,
                    None => return,
                },
                () = self.guard.flight.hurried() => self.attempts.hurry(self.resolver.now()),
                () = tokio::time::sleep(wait) => self.attempts.advance(self.resolver.now()),
            };
        }
    }

    /// Carries out steps, and those that follow from them.
    async fn carry_out(&mut self, steps: Vec<Step>, exchanges: &mut Exchanges) -> Flow {
        let mut queue = std::collections::VecDeque::from(steps);
        while let Some(step) = queue.pop_front() {
            match step {
                Step::Send(attempt, target) => queue.extend(self.send(attempt, target, exchanges)),
                Step::Report(upstream, outcome) => self.report(upstream, outcome),
                Step::Overdue(upstream, sent_at) => {
                    self.consult();
                    let _ = self.resolver.upstreams.report_overdue(upstream, sent_at);
                }
                Step::Trouble => {
                    self.consult();
                    self.guard.flight.tell(Progress::Trouble);
                }
                Step::GiveUp(failure) if self.resolver.flights.is_crowded() => {
                    self.hear_shared_cache().await;
                    self.note(failure);
                    self.guard.flight.tell(Progress::Ended(self.no_answer(failure)));
                    return Flow::Over;
                }
                Step::GiveUp(failure) => {
                    self.hear_shared_cache().await;
                    self.note(failure);
                    self.guard.flight.tell(Progress::GaveUp(self.no_answer(failure)));
                }
                Step::End(failure) => {
                    self.hear_shared_cache().await;
                    self.note(failure);
                    self.guard.flight.tell(Progress::Ended(self.no_answer(failure)));
                    return Flow::Over;
                }
            }
        }
        Flow::On
    }

    /// Has the fleet asked.
    fn consult(&mut self) {
        self.shared_cache.begin(&self.resolver, &self.key, &self.guard.flight);
    }

    /// Waits for what the fleet says, before those who wait are told that there is nothing.
    async fn hear_shared_cache(&mut self) {
        self.consult();
        self.shared_cache.end().await;
    }

    /// Sends one attempt, as far as the budget goes.
    fn send(&mut self, attempt: AttemptId, target: Target, exchanges: &mut Exchanges) -> Vec<Step> {
        let now = self.resolver.now();
        let packets = match target.transport {
            Transport::Udp => 1,
            Transport::Tcp => TCP_PACKETS,
        };
        let class = match target.class {
            Class::Outage => Class::Outage,
            // Somebody may want it by now for more than it was planned for.
            planned => planned.min(self.guard.flight.class()),
        };
        let class = match class {
            // The breaker has opened since this was planned.
            Class::Miss
                if self
                    .resolver
                    .upstreams
                    .find(target.upstream)
                    .is_some_and(|own| own.state() == UpstreamState::Down) =>
            {
                Class::Outage
            }
            class => class,
        };
        if let Err(until) = self.resolver.budget.lock().take(class, packets, now) {
            self.resolver.sends.shed(class);
            if class.is_background() {
                self.hold_back();
            }
            return self.attempts.postpone(attempt, class, until);
        }
        self.go_on(now);
        let Some(upstream) = self.resolver.upstreams.find(target.upstream) else { return Vec::new() };
        let [high, low, ..] = self.resolver.ports.chance.number().to_be_bytes();
        let query = upstream_query::write(&self.key, u16::from_be_bytes([high, low]), target.extension);
        let endpoint = Endpoint { transport: target.transport, ..upstream.endpoint.clone() };
        let exchange = self.resolver.ports.transport.exchange(&endpoint, query);
        self.resolver.sends.sent(class);
        exchanges.push(Box::pin(async move { (attempt, exchange.await) }));
        Vec::new()
    }

    /// Tells an upstream's health how an attempt went. When that brings it back, nobody is to wait
    /// for what was asked before.
    fn report(&self, upstream: UpstreamId, outcome: AttemptOutcome) {
        let transition = self.resolver.upstreams.report(upstream, outcome, self.resolver.now());
        if transition.is_some_and(|transition| transition.from == UpstreamState::Down) {
            self.resolver.release_flights(|_| true);
        }
    }

    /// The budget has no room: that is no refresh under way yet.
    fn hold_back(&self) {
        self.guard.flight.hold_back();
        if let Found::Answer(cached) = self.resolver.memory.find(&self.key, self.resolver.now()) {
            cached.hold_refresh_back();
        }
    }

    /// It has room.
    fn go_on(&self, now: Timestamp) {
        if self.guard.flight.go_on(now)
            && let Found::Answer(cached) = self.resolver.memory.find(&self.key, now)
        {
            cached.send_refresh(now);
        }
    }

    /// Takes what an attempt brought; `None` when it was the answer.
    fn take(&mut self, attempt: AttemptId, result: Result<Vec<u8>, TransportError>) -> Option<Vec<Step>> {
        let now = self.resolver.now();
        let response = match result {
            Ok(response) => response,
            Err(error) => return Some(self.attempts.failed(attempt, failure_of(error), now)),
        };
        match classify::classify(self.key.qtype(), &response) {
            verdict @ (Verdict::Positive { .. } | Verdict::Negative { .. }) => {
                if self.answer(attempt, &response, verdict) {
                    return None;
                }
                Some(self.fail(attempt, Failure::Garbage))
            }
            Verdict::Truncated => {
                let entry = Entry::from_truncated(&self.key, &response, &self.resolver.policy, now);
                self.truncated = entry.ok().map(|entry| Arc::new(CachedAnswer::new(&self.key, entry, self.group)));
                Some(self.attempts.truncated_response(attempt, now))
            }
            Verdict::Failed(failure) => {
                self.extended_errors = classify::extended_errors(&response, EXTENDED_ERRORS_MAX).into_boxed_slice();
                Some(self.fail(attempt, failure))
            }
        }
    }

    /// Tells the attempts that a response is no answer.
    fn fail(&mut self, attempt: AttemptId, failure: Failure) -> Vec<Step> {
        self.resolver.failures.count(failure);
        let group = suffix_of(self.key.name());
        self.attempts.failed_response(attempt, failure, group, self.resolver.now())
    }

    /// Remembers an answer and tells everybody; false when its framing turns out to be unusable.
    fn answer(&mut self, attempt: AttemptId, response: &[u8], verdict: Verdict) -> bool {
        let now = self.resolver.now();
        let Ok(remembered) = Entry::remember(&self.key, response, verdict, &self.resolver.policy, now) else {
            return false;
        };
        let target = self.attempts.target(attempt);
        if let Some(Step::Report(upstream, outcome)) = self.attempts.answered(attempt, now) {
            self.report(upstream, outcome);
        }
        if let Some(Target { extension: Extension::Plain, upstream, .. }) = target {
            self.resolver.upstreams.note_plain(upstream, now);
        }
        let replaces = matches!(self.resolver.memory.find(&self.key, now), Found::Answer(_));
        let cached = match remembered.keep {
            // In an outage nobody is to be given what a name was before its TTL became 0, nor is
            // anybody to be left with nothing for it.
            Keep::No if !replaces => Arc::new(CachedAnswer::new(&self.key, remembered.entry, self.group)),
            Keep::Yes | Keep::No => self.resolver.memory.insert(&self.key, remembered.entry),
        };
        self.resolver.memory.clear_failure(&self.key);
        let group = self.resolver.upstreams.group(self.group);
        if group.is_some_and(|group| group.recoveries.note_answer(self.key.name(), now)) {
            let suffix = suffix_of(self.key.name());
            self.resolver.release_flights(|key| suffix_of(key.name()) == suffix);
        }
        self.guard.flight.tell(Progress::Answered(cached));
        true
    }

    /// Notes once that the resolution failed. Our own reason of room says nothing about the name.
    fn note(&mut self, failure: Failure) {
        // Who got what came with TC comes back for the whole over TCP, and is to find more than our
        // word that this failed.
        if self.noted || failure == Failure::Overload || self.truncated.is_some() {
            return;
        }
        self.noted = true;
        let now = self.resolver.now();
        let stale = &self.resolver.policy.stale;
        let recheck = |failures| now.plus(refresh::recheck_after(failures, stale));
        self.resolver.memory.note_failure(&self.key, &self.reason(failure), recheck, self.recoveries);
        self.resolver.critical.note_failure(&self.key, failure, now);
        if let Some(group) = self.resolver.upstreams.group(self.group) {
            group.recoveries.note_failure(self.key.name());
        }
    }

    /// Why there is no answer.
    fn reason(&self, failure: Failure) -> ResolutionFailure {
        ResolutionFailure { failure, extended_errors: self.extended_errors.clone() }
    }

    /// What is left without an answer.
    fn no_answer(&self, failure: Failure) -> NoAnswer {
        NoAnswer { reason: self.reason(failure), truncated: self.truncated.clone() }
    }
}

/// What a port's error means for the resolution.
const fn failure_of(error: TransportError) -> Failure {
    match error {
        TransportError::Refused | TransportError::Unreachable | TransportError::Lost => Failure::Network,
        TransportError::TimedOut => Failure::Timeout,
        TransportError::Exhausted => Failure::Overload,
    }
}
