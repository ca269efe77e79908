//! The upstreams: which names go where, in what state each one is, and whom a resolution asks.
//!
//! Names are routed by the longest matching zone to a *group*: its primary upstreams, and fallback upstreams that are asked only
//! when no primary answers. Each address is an upstream of its own, with its own breaker. The best state among a group's
//! primaries is published in an atomic, so that the thread that received a query can decide without a lock.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::recoveries::Recoveries;
use crate::core::budget::Class;
use crate::core::course::{Plan, Target};
use crate::core::decision::Availability;
use crate::core::health::{Health, Outcome, State, Transition};
use crate::core::key::is_within;
use crate::core::policy::Policy;
use crate::core::time::Timestamp;
use crate::core::upstream::{Protocol, Role, UpstreamPolicy};
use crate::core::upstream_query::Extension;
use crate::telemetry::events;

/// How long a server that did not understand EDNS is asked without it.
const PLAIN_FOR: Duration = Duration::from_secs(3600);
/// Factor on the p99 round-trip time after which a second attempt is sent.
const HEDGE_FACTOR: u32 = 4;
/// The least time before a second attempt: a recursive resolver needs this long for a name it does not know itself.
const HEDGE_MIN: Duration = Duration::from_millis(100);

/// One address that is asked.
pub struct Upstream {
    /// `name@address`, or just the address, for log and metrics.
    pub label: String,
    /// Where it listens.
    pub address: std::net::SocketAddr,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// The groups that it serves.
    groups: Vec<usize>,
    /// Its state machine.
    health: Mutex<Health>,
    /// The state, published.
    state: AtomicU8,
    /// Until when it is asked without EDNS, in microseconds.
    plain_until: AtomicU64,
    /// It sends our own queries back to us; until when it is left out, in microseconds.
    looping_until: AtomicU64,
    /// Wakes its prober when its state has changed.
    pub changed: Notify,
}

/// Names that share their upstreams.
pub struct Group {
    /// The zone, for the log.
    pub zone: String,
    /// Asked first, in the configured order.
    primaries: Vec<usize>,
    /// Asked when no primary answers.
    fallbacks: Vec<usize>,
    /// The best state among the primaries.
    availability: AtomicU8,
    /// The client response timer, in microseconds.
    timer: AtomicU64,
    /// What came back.
    pub recoveries: Recoveries,
}

/// All upstreams and the way to them.
pub struct Upstreams {
    /// Every address.
    all: Vec<Upstream>,
    /// Every group.
    groups: Vec<Group>,
    /// Zone to group, longest zone first; the last is the root.
    routes: Vec<(Box<[u8]>, usize)>,
    /// The operator's choices.
    policy: Policy,
}

/// The wire form of the root.
const ROOT: &[u8] = b"\x00";

impl Upstreams {
    /// Builds groups and routes.
    #[must_use]
    pub fn new(configured: &[UpstreamPolicy], policy: &Policy) -> Self {
        let mut zones: Vec<Box<[u8]>> = configured.iter().flat_map(|upstream| upstream.zones.iter().cloned()).collect();
        zones.push(ROOT.into());
        zones.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        zones.dedup();
        let mut all = Vec::new();
        let mut groups: Vec<Group> = zones.iter().map(|zone| Group::new(zone)).collect();
        for upstream in configured {
            let served: Vec<usize> = zones.iter().enumerate().filter(|(_, zone)| serves(upstream, zone)).map(|(group, _)| group).collect();
            for address in &upstream.addresses {
                for index in &served {
                    let Some(group) = groups.get_mut(*index) else { continue };
                    match upstream.role {
                        Role::Primary => group.primaries.push(all.len()),
                        Role::Fallback => group.fallbacks.push(all.len()),
                    }
                }
                all.push(Upstream::new(upstream, *address, served.clone(), policy));
            }
        }
        let routes = zones.into_iter().enumerate().map(|(group, zone)| (zone, group)).collect();
        let upstreams = Self { all, groups, routes, policy: policy.clone() };
        for group in 0..upstreams.groups.len() {
            upstreams.publish(group);
        }
        upstreams
    }

    /// The group of a name in lower-cased wire form.
    #[must_use]
    pub fn group_of(&self, name: &[u8]) -> usize {
        self.routes.iter().find(|(zone, _)| is_within(name, zone)).map_or(0, |(_, group)| *group)
    }

    /// All upstreams.
    #[must_use]
    pub fn all(&self) -> &[Upstream] {
        &self.all
    }

    /// All groups.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The best state among a group's primaries.
    #[must_use]
    pub fn availability(&self, group: usize) -> Availability {
        self.groups.get(group).map_or(Availability::Down, Group::availability)
    }

    /// A group's client response timer.
    #[must_use]
    pub fn timer(&self, group: usize) -> Duration {
        Duration::from_micros(self.groups.get(group).map_or(0, |group| group.timer.load(Ordering::Relaxed)))
    }

    /// How often something came back that a name of the group depends on.
    #[must_use]
    pub fn recoveries(&self, group: usize, name: &[u8]) -> u32 {
        self.groups.get(group).map_or(0, |group| group.recoveries.of(name))
    }

    /// Takes note of what an attempt came to; gives the change of state.
    pub fn report(&self, upstream: usize, outcome: Outcome, now: Timestamp) -> Option<Transition> {
        self.update(upstream, |health| health.record(outcome, now))
    }

    /// Takes note of an overdue attempt.
    pub fn report_overdue(&self, upstream: usize, sent_at: Timestamp) -> Option<Transition> {
        self.update(upstream, |health| health.overdue(sent_at))
    }

    /// Lets old impairments be forgotten; to be called about once a second.
    pub fn review(&self, now: Timestamp) {
        for upstream in 0..self.all.len() {
            let _ = self.update(upstream, |health| health.review(now));
        }
    }

    /// How long the upstream's prober waits before its next probe.
    #[must_use]
    pub fn next_probe(&self, upstream: usize, chance: u64) -> Duration {
        self.all.get(upstream).map_or(self.policy.health.probe_max, |upstream| upstream.health.lock().next_probe(chance))
    }

    /// Remembers that an upstream answers only without EDNS.
    pub fn note_plain(&self, upstream: usize, now: Timestamp) {
        if let Some(upstream) = self.all.get(upstream) {
            upstream.plain_until.store(now.plus(PLAIN_FOR).as_micros(), Ordering::Relaxed);
        }
    }

    /// Leaves an upstream out until `until`, because it sends our own queries back; true when this is news.
    pub fn note_loop(&self, upstream: usize, until: Timestamp) -> bool {
        self.all.get(upstream).is_some_and(|upstream| {
            let before = upstream.looping_until.swap(until.as_micros(), Ordering::Relaxed);
            for group in &upstream.groups {
                self.publish(*group);
            }
            before == 0
        })
    }

    /// Lets an upstream be used again that was left out for a loop.
    pub fn clear_loop(&self, upstream: usize) {
        if let Some(upstream) = self.all.get(upstream)
            && upstream.looping_until.swap(0, Ordering::Relaxed) != 0
        {
            for group in &upstream.groups {
                self.publish(*group);
            }
        }
    }

    /// Whom a resolution asks, in order.
    ///
    /// Primaries that are not down come first, healthy before impaired, else in the configured order; over and over again until all
    /// sends are planned. The last send goes to a fallback, where there is one. While all primaries are down, fallbacks are
    /// asked first, then one primary within the outage budget: the breaker may be wrong.
    #[must_use]
    pub fn plan(&self, group: usize, class: Class, chance: u64, now: Timestamp) -> Plan {
        let attempts = &self.policy.attempts;
        let sends = usize::try_from(attempts.sends).unwrap_or(1);
        let mut targets = Vec::new();
        let mut deadline = attempts.deadline;
        let mut hedge = attempts.second_after;
        if let Some(group) = self.groups.get(group) {
            let usable = self.usable(&group.primaries, now);
            let fallbacks = self.usable(&group.fallbacks, now);
            if let Some(p99) = usable.first().and_then(|first| self.p99(*first)) {
                hedge = (p99 * HEDGE_FACTOR).max(HEDGE_MIN);
            }
            if usable.is_empty() {
                let primaries: Vec<usize> = group.primaries.iter().copied().filter(|index| !self.is_looping(*index, now)).collect();
                targets.extend(fallbacks.iter().map(|index| self.target(*index, class, now)));
                targets.truncate(sends.saturating_sub(1));
                let pick = usize::try_from(chance % u64::try_from(primaries.len().max(1)).unwrap_or(1)).unwrap_or(0);
                targets.extend(primaries.get(pick).map(|index| self.target(*index, Class::Outage, now)));
                if fallbacks.is_empty() {
                    deadline = deadline.min(attempts.second_after);
                }
            } else {
                let own = if fallbacks.is_empty() { sends } else { sends.saturating_sub(1).max(1) };
                targets.extend(usable.iter().cycle().take(own).map(|index| self.target(*index, class, now)));
                targets.extend(fallbacks.first().map(|index| self.target(*index, class, now)));
            }
        }
        Plan { targets, timer: self.timer(group), hedge, deadline, linger: attempts.linger }
    }

    /// How one upstream is asked.
    #[must_use]
    pub fn target(&self, index: usize, class: Class, now: Timestamp) -> Target {
        let upstream = self.all.get(index);
        let plain = upstream.is_some_and(|upstream| upstream.plain_until.load(Ordering::Relaxed) > now.as_micros());
        Target {
            upstream: index,
            protocol: upstream.map_or(Protocol::Udp, |upstream| upstream.protocol),
            extension: if plain { Extension::Plain } else { Extension::Edns },
            class,
        }
    }

    /// Those that are not down, healthy ones first.
    fn usable(&self, indices: &[usize], now: Timestamp) -> Vec<usize> {
        let mut usable: Vec<(State, usize)> = indices
            .iter()
            .filter_map(|index| Some((self.all.get(*index)?.state(), *index)))
            .filter(|(state, index)| *state != State::Down && !self.is_looping(*index, now))
            .collect();
        usable.sort_by_key(|(state, _)| *state);
        usable.into_iter().map(|(_, index)| index).collect()
    }

    /// Whether an upstream is left out for a loop.
    #[must_use]
    pub fn is_looping(&self, index: usize, now: Timestamp) -> bool {
        self.all.get(index).is_some_and(|upstream| upstream.looping_until.load(Ordering::Relaxed) > now.as_micros())
    }

    /// An upstream's p99 round-trip time.
    fn p99(&self, index: usize) -> Option<Duration> {
        self.all.get(index)?.health.lock().p99()
    }

    /// Changes an upstream's health, publishes the result, and says so in the log.
    fn update(&self, index: usize, change: impl FnOnce(&mut Health) -> Option<Transition>) -> Option<Transition> {
        let upstream = self.all.get(index)?;
        let transition = {
            let mut health = upstream.health.lock();
            let transition = change(&mut health);
            upstream.state.store(encode_state(health.state()), Ordering::Relaxed);
            transition
        };
        for group in &upstream.groups {
            self.publish(*group);
        }
        let transition = transition?;
        if transition.from == State::Down {
            for group in upstream.groups.iter().filter_map(|group| self.groups.get(*group)) {
                group.recoveries.note_upstream();
            }
        }
        upstream.changed.notify_one();
        events::UpstreamChanged { upstream: &upstream.label, from: transition.from, to: transition.to }.emit();
        Some(transition)
    }

    /// Publishes a group's best state and timer.
    fn publish(&self, index: usize) {
        let Some(group) = self.groups.get(index) else { return };
        let primaries = || group.primaries.iter().filter_map(|index| self.all.get(*index));
        let best = primaries()
            .filter(|upstream| upstream.looping_until.load(Ordering::Relaxed) == 0)
            .min_by_key(|upstream| upstream.state.load(Ordering::Relaxed));
        let availability = best.map_or(encode_state(State::Down), |best| best.state.load(Ordering::Relaxed));
        group.availability.store(availability, Ordering::Relaxed);
        let timer = best.map(|best| best.health.lock().client_response_timer(self.policy.stale.client_response_timer)).unwrap_or_default();
        group.timer.store(u64::try_from(timer.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// Whether an upstream belongs to a zone's group. A fallback without zones is an escape for public names only: it is no fallback
/// for a zone that has upstreams of its own.
fn serves(upstream: &UpstreamPolicy, zone: &[u8]) -> bool {
    if upstream.zones.is_empty() { zone == ROOT } else { upstream.zones.iter().any(|own| &**own == zone) }
}

impl Upstream {
    /// A healthy upstream.
    fn new(configured: &UpstreamPolicy, address: std::net::SocketAddr, groups: Vec<usize>, policy: &Policy) -> Self {
        Self {
            label: if configured.name == address.to_string() { configured.name.clone() } else { format!("{}@{address}", configured.name) },
            address,
            protocol: configured.protocol,
            groups,
            health: Mutex::new(Health::new(policy.health)),
            state: AtomicU8::new(encode_state(State::Healthy)),
            plain_until: AtomicU64::new(0),
            looping_until: AtomicU64::new(0),
            changed: Notify::new(),
        }
    }

    /// Its state.
    #[must_use]
    pub fn state(&self) -> State {
        match self.state.load(Ordering::Relaxed) {
            0 => State::Healthy,
            1 => State::Impaired,
            _ => State::Down,
        }
    }

    /// The first group that it serves.
    #[must_use]
    pub fn group(&self) -> usize {
        self.groups.first().copied().unwrap_or_default()
    }
}

impl Group {
    /// A group without upstreams.
    fn new(zone: &[u8]) -> Self {
        Self {
            zone: crate::core::key::NameText(zone).to_string(),
            primaries: Vec::new(),
            fallbacks: Vec::new(),
            availability: AtomicU8::new(0),
            timer: AtomicU64::new(0),
            recoveries: Recoveries::default(),
        }
    }

    /// The best state among its primaries.
    #[must_use]
    pub fn availability(&self) -> Availability {
        match self.availability.load(Ordering::Relaxed) {
            0 => Availability::Healthy,
            1 => Availability::Impaired,
            _ => Availability::Down,
        }
    }

    /// Whether any upstream serves it.
    #[must_use]
    pub fn has_upstreams(&self) -> bool {
        !self.primaries.is_empty() || !self.fallbacks.is_empty()
    }
}

/// A state in an atomic.
const fn encode_state(state: State) -> u8 {
    match state {
        State::Healthy => 0,
        State::Impaired => 1,
        State::Down => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::{name, policy};

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn upstream(port: u16, role: Role, zones: &[&str]) -> UpstreamPolicy {
        UpstreamPolicy {
            name: format!("u{port}"),
            addresses: vec![std::net::SocketAddr::from(([192, 0, 2, 1], port))],
            protocol: Protocol::Udp,
            zones: zones.iter().map(|zone| name(zone).into()).collect(),
            role,
        }
    }

    fn order(upstreams: &Upstreams, group: usize) -> Vec<usize> {
        upstreams.plan(group, Class::Miss, 0, NOW).targets.iter().map(|target| target.upstream).collect()
    }

    fn down(upstreams: &Upstreams, index: usize) {
        for _ in 0..5 {
            let _ = upstreams.report(index, Outcome::Failed, NOW);
        }
    }

    #[test]
    fn names_go_to_the_longest_matching_zone() {
        let configured = [
            upstream(1, Role::Primary, &[]),
            upstream(2, Role::Primary, &["example.com"]),
            upstream(3, Role::Primary, &["corp.example.com"]),
        ];
        let upstreams = Upstreams::new(&configured, &policy());
        let first = |text: &str| order(&upstreams, upstreams.group_of(&name(text))).first().copied();
        assert_eq!(first("www.example.net"), Some(0));
        assert_eq!(first("www.example.com"), Some(1));
        assert_eq!(first("db.corp.example.com"), Some(2));
    }

    #[test]
    fn one_upstream_gets_all_three_attempts_and_two_take_turns() {
        assert_eq!(order(&Upstreams::new(&[upstream(1, Role::Primary, &[])], &policy()), 0), [0, 0, 0]);
        let two = [upstream(1, Role::Primary, &[]), upstream(2, Role::Primary, &[])];
        assert_eq!(order(&Upstreams::new(&two, &policy()), 0), [0, 1, 0]);
    }

    #[test]
    fn the_fallback_is_last_while_a_primary_is_up_and_first_when_none_is() {
        let upstreams = Upstreams::new(&[upstream(1, Role::Primary, &[]), upstream(2, Role::Fallback, &[])], &policy());
        assert_eq!(order(&upstreams, 0), [0, 0, 1]);
        down(&upstreams, 0);
        assert_eq!(upstreams.availability(0), Availability::Down);
        assert_eq!(order(&upstreams, 0), [1, 0]);
        assert_eq!(upstreams.plan(0, Class::Miss, 0, NOW).targets.last().map(|target| target.class), Some(Class::Outage));
    }

    #[test]
    fn a_sick_upstream_stands_behind_a_healthy_one() {
        let upstreams = Upstreams::new(&[upstream(1, Role::Primary, &[]), upstream(2, Role::Primary, &[])], &policy());
        let _ = upstreams.report(0, Outcome::Failed, NOW);
        let _ = upstreams.report(0, Outcome::Failed, NOW);
        assert_eq!((order(&upstreams, 0), upstreams.availability(0)), (vec![1, 0, 1], Availability::Healthy));
        down(&upstreams, 0);
        assert_eq!(order(&upstreams, 0), [1, 1, 1]);
    }

    #[test]
    fn an_upstream_that_comes_back_voids_all_failure_notes() {
        let upstreams = Upstreams::new(&[upstream(1, Role::Primary, &[])], &policy());
        down(&upstreams, 0);
        assert_eq!(upstreams.recoveries(0, &name("www.example.com")), 0);
        let _ = upstreams.report(0, Outcome::Answered(Duration::from_millis(1)), NOW);
        assert_eq!((upstreams.recoveries(0, &name("www.example.com")), upstreams.availability(0)), (1, Availability::Impaired));
    }

    #[test]
    fn a_looping_upstream_is_left_out_and_said_once() {
        let upstreams = Upstreams::new(&[upstream(1, Role::Primary, &[]), upstream(2, Role::Primary, &[])], &policy());
        assert!(upstreams.note_loop(0, NOW.plus(Duration::from_secs(60))));
        assert!(!upstreams.note_loop(0, NOW.plus(Duration::from_secs(60))));
        assert_eq!(order(&upstreams, 0), [1, 1, 1]);
        upstreams.clear_loop(0);
        assert_eq!(order(&upstreams, 0), [0, 1, 0]);
    }
}
