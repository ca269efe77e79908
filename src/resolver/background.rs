//! What goes on without a client waiting: refreshes ahead, probes of upstreams that are down, the
//! sweep after an outage, and the watch over all of it once a second.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::Resolver;
use super::flight::Join;
use super::outage::Change;
use super::resolution::Resolution;
use crate::core::attempts::Plan;
use crate::core::budget::Class;
use crate::core::decision::Availability;
use crate::core::health::UpstreamState;
use crate::core::key::{Dnssec, Key};
use crate::core::special::Readiness;
use crate::core::time::Timestamp;
use crate::core::upstream::{GroupId, UpstreamId};
use crate::core::upstream::{Role, UpstreamPolicy};
use crate::core::upstream_query::{self, Extension};
use crate::telemetry::events;

/// Refreshes that wait to be started; each is a key of at most 260 bytes.
pub(super) const ERRANDS_MAX: usize = 256;
/// How often states are reviewed.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// How often the store is told what is hot, for up to so many entries; more rarely for more, since
/// it walks all of them.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// Entries that are walked in some 3 ms.
const TELL_ENTRIES: u64 = 10_000;
/// How long a prober uses the same list of hot names; making one walks the whole store.
const CANDIDATES_FOR: Duration = Duration::from_secs(30);
/// Names in that list.
const CANDIDATES_MAX: usize = 64;
/// Names that one sweep refreshes at the most.
const SWEEP_MAX: usize = 10_000;
/// The sweep begins after a random time up to this, so that many sidecars do not begin together.
const SWEEP_DELAY: Duration = Duration::from_secs(5);
/// How long an upstream in a loop is left out before it is tried again.
const LOOP_FOR: Duration = Duration::from_secs(60);
/// How long a query that looks for a loop may take to come back.
const LOOP_WAIT: Duration = Duration::from_secs(1);

/// TYPE of a name server.
const TYPE_NS: u16 = 2;

/// A refresh to be started.
#[derive(Debug)]
pub(super) struct Errand {
    /// What is asked.
    pub(super) key: Key,
    /// What for.
    pub(super) class: Class,
}

impl Resolver {
    /// Starts the background work. It ends with the resolver's tasks.
    pub(super) fn start_background(self: &Arc<Self>, errands: mpsc::Receiver<Errand>) {
        self.spawn(Arc::clone(self).run_errands(errands));
        self.spawn(Arc::clone(self).watch());
        if !self.critical.is_empty() || self.readiness() == Readiness::NotYet {
            self.spawn(Arc::clone(self).keep_critical());
        }
        for upstream in self.upstreams.ids() {
            self.spawn(Arc::clone(self).probe_while_unhealthy(upstream));
        }
    }

    /// Replaces the addresses of the upstream that the host names; see
    /// [`super::upstreams::Upstreams::replace`].
    pub fn replace_upstream(self: &Arc<Self>, configured: &UpstreamPolicy) {
        for upstream in self.upstreams.replace(configured) {
            self.spawn(Arc::clone(self).probe_while_unhealthy(upstream));
        }
    }

    /// Starts refreshes as they come in.
    async fn run_errands(self: Arc<Self>, mut errands: mpsc::Receiver<Errand>) {
        while let Some(errand) = errands.recv().await {
            let group = self.group_of(&errand.key);
            let _ = self.fly(&errand.key, group, errand.class);
        }
    }

    /// Reviews upstreams and outages once a second, and what is hot now and then.
    async fn watch(self: Arc<Self>) {
        let tell_every =
            TELL_EVERY.max(TELL_EVERY * u32::try_from(self.policy.cache.entries / TELL_ENTRIES).unwrap_or(u32::MAX));
        let mut told = self.now();
        loop {
            tokio::time::sleep(WATCH_EVERY).await;
            let now = self.now();
            if now.since(told) >= tell_every {
                told = now;
                self.memory.store().tell_what_is_hot();
            }
            self.upstreams.review(now);
            for (index, group) in self.upstreams.groups().filter(|(_, group)| group.has_upstreams()) {
                match self.outages.look(index, &group.zone, group.availability(), now) {
                    Change::Ended => self.spawn(Arc::clone(&self).sweep(index)),
                    Change::Began | Change::None => {}
                }
            }
        }
    }

    /// Probes one upstream for as long as it is not healthy, so that it is known to be back even
    /// when nobody asks.
    async fn probe_while_unhealthy(self: Arc<Self>, upstream: UpstreamId) {
        let Some(own) = self.upstreams.find(upstream) else { return };
        self.look_for_loop(upstream).await;
        let mut looked_for_loop = self.now();
        let mut candidates = Candidates::default();
        while !own.is_retired() {
            let pause = match own.state() {
                UpstreamState::Healthy if !own.is_left_out() => {
                    own.changed.notified().await;
                    candidates = Candidates::default();
                    continue;
                }
                UpstreamState::Healthy => LOOP_FOR,
                UpstreamState::Impaired | UpstreamState::Down => {
                    self.upstreams.next_probe(upstream, self.ports.chance.number())
                }
            };
            tokio::select! {
                biased;
                // Another state, another pace.
                () = own.changed.notified() => continue,
                () = tokio::time::sleep(pause) => {}
            }
            if self.now().since(looked_for_loop) >= LOOP_FOR {
                looked_for_loop = self.now();
                self.look_for_loop(upstream).await;
            }
            if own.state() != UpstreamState::Healthy && !self.upstreams.is_looping(upstream, self.now()) {
                let key = match (own.role, own.group()) {
                    (Role::Primary, Some(group)) => candidates.pick(&self, group),
                    (Role::Primary, None) | (Role::Fallback, _) => root_servers(),
                };
                self.probe(upstream, key);
            }
        }
    }

    /// Asks one upstream for one name, once. An answer is remembered like any other.
    fn probe(self: &Arc<Self>, upstream: UpstreamId, key: Key) {
        let now = self.now();
        let group = self.group_of(&key);
        let Join::Leads(flight) = self.flights.join(&key, Class::Probe, now) else { return };
        let target = self.upstreams.target(upstream, Class::Probe, now);
        let attempts = &self.policy.attempts;
        let plan = Plan {
            targets: vec![target],
            timer: self.upstreams.timer(group),
            hedge: attempts.second_after,
            deadline: attempts.second_after,
            // It ends before the next one, which must not have to wait for it.
            linger: self.policy.health.probe_min.max(attempts.second_after),
        };
        self.spawn(Resolution::probe(self, key, group, plan, flight).run());
    }

    /// Refreshes the critical names, then what was served stale, hottest first, at the pace of the
    /// budget.
    async fn sweep(self: Arc<Self>, group: GroupId) {
        let delay = u32::try_from(self.ports.chance.number() % 1000).unwrap_or(0);
        tokio::time::sleep(SWEEP_DELAY * delay / 1000).await;
        let pace = Duration::from_secs(1) / self.policy.budget.sweep_per_second.max(1);
        let now = self.now();
        for (key, cached) in self.critical_stale(group, now).into_iter().chain(self.memory.store().hottest_stale(
            Some(group),
            SWEEP_MAX,
            now,
        )) {
            if self.upstreams.availability(group) != Availability::Healthy {
                return;
            }
            if cached.is_current() && !self.flights.contains(&key) {
                let _ = self.fly(&key, group, Class::Sweep);
                tokio::time::sleep(pace).await;
            }
        }
    }

    /// Asks an upstream for a name that only we know; if that query arrives here, it is left out
    /// for a while.
    async fn look_for_loop(&self, upstream: UpstreamId) {
        let Some(own) = self.upstreams.find(upstream) else { return };
        if self.budget.lock().take(Class::Probe, 1, self.now()).is_err() {
            return;
        }
        let [high, low, ..] = self.ports.chance.number().to_be_bytes();
        let query =
            upstream_query::write(&self.loops.query(upstream), u16::from_be_bytes([high, low]), Extension::Plain);
        let exchange = self.ports.transport.exchange(&own.endpoint, query);
        let _ = tokio::time::timeout(LOOP_WAIT, exchange).await;
        if self.loops.take(upstream) {
            if self.upstreams.note_loop(upstream, self.now().plus(LOOP_FOR)) {
                events::LoopFound { upstream: &own.label }.emit();
            }
        } else {
            self.upstreams.clear_loop(upstream);
        }
    }
}

/// Hot, expired names to probe with.
#[derive(Default)]
struct Candidates {
    /// The names.
    keys: Vec<Key>,
    /// When they were chosen.
    chosen: Timestamp,
    /// The next one.
    next: usize,
}

impl Candidates {
    /// The next name that is not being asked for anyway. Different ones in turn, so that a resolver
    /// which caches cannot answer all from memory; the root's name servers when there is none. Also
    /// while another upstream of the group is healthy: clients would join the probe, and wait for
    /// this one.
    fn pick(&mut self, resolver: &Resolver, group: GroupId) -> Key {
        let now = resolver.now();
        if resolver.upstreams.availability(group) == Availability::Healthy {
            return root_servers();
        }
        if self.keys.is_empty() || now.since(self.chosen) >= CANDIDATES_FOR {
            let critical = resolver.critical_stale(group, now);
            let hottest = resolver.memory.store().hottest_stale(Some(group), CANDIDATES_MAX, now);
            self.keys = critical.into_iter().chain(hottest).map(|(key, _)| key).collect();
            self.chosen = now;
        }
        for _ in 0..self.keys.len() {
            self.next = self.next.wrapping_add(1);
            let key = self.next.checked_rem(self.keys.len()).and_then(|index| self.keys.get(index));
            if let Some(key) = key.filter(|key| !resolver.flights.contains(key)) {
                return key.clone();
            }
        }
        root_servers()
    }
}

/// The question for the root's name servers, which every resolver can answer. A fallback is asked
/// no other: what it says of names that others serve (private ones, say) is not wanted.
fn root_servers() -> Key {
    Key::new(&[0], TYPE_NS, 1, Dnssec::default())
}
