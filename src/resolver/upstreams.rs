//! The upstreams: which names go where, in what state each one is, and whom a resolution asks.
//!
//! Names are routed by the longest matching zone to a *group*: its primary upstreams, and fallback
//! upstreams that are asked only when no primary answers. Each address is an upstream of its own,
//! with its own breaker. The best state among a group's primaries is published in an atomic, so
//! that the thread that received a query can decide without a lock. The upstreams that come from
//! the host's `resolv.conf` may be replaced at any time; groups and routes never change.

mod member;
mod registry;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::RwLock;

use crate::core::attempts::{Plan, Target};
use crate::core::budget::Class;
use crate::core::decision::Availability;
use crate::core::health::{AttemptOutcome, Health, Transition, UpstreamState};
use crate::core::key::is_within;
use crate::core::policy::Policy;
use crate::core::time::Timestamp;
use crate::core::upstream::{Protocol, Role, UpstreamPolicy};
use crate::core::upstream_query::Extension;
use crate::telemetry::events;
use member::encode_state;
pub use member::{Group, Upstream};
use registry::Registry;

/// How long a server that did not understand EDNS is asked without it.
const PLAIN_FOR: Duration = Duration::from_secs(3600);
/// Factor on the p99 round-trip time after which a second attempt is sent.
const HEDGE_FACTOR: u32 = 4;
/// The least time before a second attempt: a recursive resolver needs this long for a name it does
/// not know itself.
const HEDGE_MIN: Duration = Duration::from_millis(100);

/// All upstreams and the way to them.
pub struct Upstreams {
    /// Every address.
    registry: Registry,
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
        let registry = Registry::default();
        let mut primaries = vec![Vec::new(); zones.len()];
        let mut groups: Vec<Group> = zones.iter().map(|zone| Group::new(zone)).collect();
        for upstream in configured {
            let served: Vec<usize> =
                zones.iter().enumerate().filter(|(_, zone)| serves(upstream, zone)).map(|(group, _)| group).collect();
            for address in &upstream.addresses {
                let number = registry.add(Upstream::new(upstream, *address, served.clone(), policy));
                for index in &served {
                    match upstream.role {
                        Role::Primary => {
                            primaries.get_mut(*index).into_iter().for_each(|own: &mut Vec<_>| own.push(number))
                        }
                        Role::Fallback => {
                            groups.get_mut(*index).into_iter().for_each(|group| group.fallbacks.push(number))
                        }
                    }
                }
            }
        }
        for (group, own) in groups.iter_mut().zip(primaries) {
            group.primaries = RwLock::new(own.into());
        }
        let routes = zones.into_iter().enumerate().map(|(group, zone)| (zone, group)).collect();
        let upstreams = Self { registry, groups, routes, policy: policy.clone() };
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

    /// All upstreams in use.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Upstream>> {
        self.registry.in_use().into_iter().map(|(_, upstream)| upstream).collect()
    }

    /// Their numbers.
    #[must_use]
    pub fn numbers(&self) -> Vec<usize> {
        self.registry.in_use().into_iter().map(|(number, _)| number).collect()
    }

    /// The upstream of a number, also while it is in use no more.
    #[must_use]
    pub fn find(&self, number: usize) -> Option<Arc<Upstream>> {
        self.registry.find(number)
    }

    /// Replaces the addresses of a primary upstream for all names. Addresses that stay keep their
    /// number, state and measurements; what began with those that go is carried to its end. Gives
    /// the numbers of the new ones; nothing changes for no addresses.
    pub fn replace(&self, configured: &UpstreamPolicy) -> Vec<usize> {
        let root = self.group_of(ROOT);
        let Some(group) = self.groups.get(root).filter(|_| !configured.addresses.is_empty()) else { return Vec::new() };
        let mut added = Vec::new();
        {
            let mut primaries = group.primaries.write();
            let (old, mut next): (Vec<usize>, Vec<usize>) = primaries
                .iter()
                .partition(|number| self.registry.find(**number).is_some_and(|own| own.name == configured.name));
            let find = |address| {
                old.iter().copied().find(|number| self.registry.find(*number).is_some_and(|own| own.address == address))
            };
            for address in &configured.addresses {
                next.push(find(*address).unwrap_or_else(|| {
                    let number = self.registry.add(Upstream::new(configured, *address, vec![root], &self.policy));
                    added.push(number);
                    number
                }));
            }
            old.iter().filter(|number| !next.contains(number)).for_each(|number| self.registry.retire(*number));
            *primaries = next.into();
        }
        if !added.is_empty() {
            // What failed with the old ones is worth a new try.
            group.recoveries.note_upstream();
        }
        self.publish(root);
        added
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
    pub fn report(&self, upstream: usize, outcome: AttemptOutcome, now: Timestamp) -> Option<Transition> {
        self.registry.find(upstream)?.count(outcome);
        self.update(upstream, |health| health.record(outcome, now))
    }

    /// Takes note of an overdue attempt.
    pub fn report_overdue(&self, upstream: usize, sent_at: Timestamp) -> Option<Transition> {
        self.update(upstream, |health| health.overdue(sent_at))
    }

    /// Lets old impairments be forgotten; to be called about once a second.
    pub fn review(&self, now: Timestamp) {
        for number in self.numbers() {
            let _ = self.update(number, |health| health.review(now));
        }
    }

    /// How long the upstream's prober waits before its next probe.
    #[must_use]
    pub fn next_probe(&self, upstream: usize, chance: u64) -> Duration {
        self.registry
            .find(upstream)
            .map_or(self.policy.health.probe_max, |upstream| upstream.health.lock().next_probe(chance))
    }

    /// Remembers that an upstream answers only without EDNS.
    pub fn note_plain(&self, upstream: usize, now: Timestamp) {
        if let Some(upstream) = self.registry.find(upstream) {
            upstream.plain_until.store(now.plus(PLAIN_FOR).as_micros(), Ordering::Relaxed);
        }
    }

    /// Leaves an upstream out until `until`, because it sends our own queries back; true when this
    /// is news.
    pub fn note_loop(&self, upstream: usize, until: Timestamp) -> bool {
        self.registry.find(upstream).is_some_and(|upstream| {
            let before = upstream.looping_until.swap(until.as_micros(), Ordering::Relaxed);
            for group in &upstream.groups {
                self.publish(*group);
            }
            before == 0
        })
    }

    /// Lets an upstream be used again that was left out for a loop.
    pub fn clear_loop(&self, upstream: usize) {
        if let Some(upstream) = self.registry.find(upstream)
            && upstream.looping_until.swap(0, Ordering::Relaxed) != 0
        {
            for group in &upstream.groups {
                self.publish(*group);
            }
        }
    }

    /// Whom a resolution asks, in order.
    ///
    /// Primaries that are not down come first, healthy before impaired, else in the configured
    /// order; over and over again until all sends are planned. Of a name that nothing is known of
    /// (`known` is false) the last send goes to a fallback, where there is one; and while all
    /// primaries are down, fallbacks are asked first, then one primary within the outage budget:
    /// the breaker may be wrong. What is known came from those who are responsible for the name: a
    /// fallback's denial is no news beside it.
    #[must_use]
    pub fn plan(&self, group: usize, class: Class, known: bool, chance: u64, now: Timestamp) -> Plan {
        let attempts = &self.policy.attempts;
        let sends = usize::try_from(attempts.sends).unwrap_or(1);
        let mut targets = Vec::new();
        let mut hedge = attempts.second_after;
        if let Some(group) = self.groups.get(group) {
            let own = group.primaries();
            let usable = self.usable(&own, now);
            let fallbacks = if known { Vec::new() } else { self.usable(&group.fallbacks, now) };
            if let Some(p99) = usable.first().and_then(|first| self.p99(*first)) {
                hedge = (p99 * HEDGE_FACTOR).max(HEDGE_MIN);
            }
            if usable.is_empty() {
                let primaries: Vec<usize> = own.iter().copied().filter(|index| !self.is_looping(*index, now)).collect();
                targets.extend(fallbacks.iter().map(|index| self.target(*index, class, now)));
                targets.truncate(sends.saturating_sub(1));
                let pick = usize::try_from(chance % u64::try_from(primaries.len().max(1)).unwrap_or(1)).unwrap_or(0);
                targets.extend(primaries.get(pick).map(|index| self.target(*index, Class::Outage, now)));
            } else {
                let own = if fallbacks.is_empty() { sends } else { sends.saturating_sub(1).max(1) };
                targets.extend(usable.iter().cycle().take(own).map(|index| self.target(*index, class, now)));
                targets.extend(fallbacks.first().map(|index| self.target(*index, class, now)));
            }
        }
        Plan { targets, timer: self.timer(group), hedge, deadline: self.deadline(group, now), linger: attempts.linger }
    }

    /// How long whoever has nothing waits for an answer: not for long where all that could be asked
    /// is down.
    #[must_use]
    pub fn deadline(&self, group: usize, now: Timestamp) -> Duration {
        let attempts = &self.policy.attempts;
        let asked = |group: &Group| {
            [group.primaries().as_ref(), &group.fallbacks].iter().any(|own| !self.usable(own, now).is_empty())
        };
        if self.groups.get(group).is_some_and(asked) {
            attempts.deadline
        } else {
            attempts.deadline.min(attempts.second_after)
        }
    }

    /// How one upstream is asked.
    #[must_use]
    pub fn target(&self, index: usize, class: Class, now: Timestamp) -> Target {
        let upstream = self.registry.find(index);
        let plain =
            upstream.as_ref().is_some_and(|upstream| upstream.plain_until.load(Ordering::Relaxed) > now.as_micros());
        Target {
            upstream: index,
            protocol: upstream.map_or(Protocol::Udp, |upstream| upstream.protocol),
            extension: if plain { Extension::Plain } else { Extension::Edns },
            class,
        }
    }

    /// Those that are not down, healthy ones first.
    fn usable(&self, indices: &[usize], now: Timestamp) -> Vec<usize> {
        let mut usable: Vec<(UpstreamState, usize)> = indices
            .iter()
            .filter_map(|index| Some((self.registry.find(*index)?.state(), *index)))
            .filter(|(state, index)| *state != UpstreamState::Down && !self.is_looping(*index, now))
            .collect();
        usable.sort_by_key(|(state, _)| *state);
        usable.into_iter().map(|(_, index)| index).collect()
    }

    /// Whether an upstream is left out for a loop.
    #[must_use]
    pub fn is_looping(&self, index: usize, now: Timestamp) -> bool {
        self.registry.find(index).is_some_and(|upstream| upstream.is_looping(now))
    }

    /// An upstream's p99 round-trip time.
    fn p99(&self, index: usize) -> Option<Duration> {
        self.registry.find(index)?.p99()
    }

    /// Changes an upstream's health, publishes the result, and says so in the log.
    fn update(&self, index: usize, change: impl FnOnce(&mut Health) -> Option<Transition>) -> Option<Transition> {
        let upstream = self.registry.find(index)?;
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
        if transition.from == UpstreamState::Down {
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
        let own = group.primaries();
        let best = own
            .iter()
            .filter_map(|index| self.registry.find(*index))
            .filter(|upstream| upstream.looping_until.load(Ordering::Relaxed) == 0)
            .min_by_key(|upstream| upstream.state.load(Ordering::Relaxed));
        let availability =
            best.as_ref().map_or(encode_state(UpstreamState::Down), |best| best.state.load(Ordering::Relaxed));
        group.availability.store(availability, Ordering::Relaxed);
        let timer = best
            .map(|best| best.health.lock().client_response_timer(self.policy.stale.client_response_timer))
            .unwrap_or_default();
        group.timer.store(u64::try_from(timer.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// Whether an upstream belongs to a zone's group. A fallback without zones is an escape for public
/// names only: it is no fallback for a zone that has upstreams of its own.
fn serves(upstream: &UpstreamPolicy, zone: &[u8]) -> bool {
    if upstream.zones.is_empty() { zone == ROOT } else { upstream.zones.iter().any(|own| &**own == zone) }
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
        upstreams.plan(group, Class::Miss, false, 0, NOW).targets.iter().map(|target| target.upstream).collect()
    }

    fn down(upstreams: &Upstreams, index: usize) {
        for _ in 0..5 {
            let _ = upstreams.report(index, AttemptOutcome::Failed, NOW);
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
        assert_eq!(
            upstreams.plan(0, Class::Miss, false, 0, NOW).targets.last().map(|target| target.class),
            Some(Class::Outage)
        );
    }

    #[test]
    fn a_sick_upstream_stands_behind_a_healthy_one() {
        let upstreams = Upstreams::new(&[upstream(1, Role::Primary, &[]), upstream(2, Role::Primary, &[])], &policy());
        let _ = upstreams.report(0, AttemptOutcome::Failed, NOW);
        let _ = upstreams.report(0, AttemptOutcome::Failed, NOW);
        assert_eq!((order(&upstreams, 0), upstreams.availability(0)), (vec![1, 0, 1], Availability::Healthy));
        down(&upstreams, 0);
        assert_eq!(order(&upstreams, 0), [1, 1, 1]);
    }

    #[test]
    fn an_upstream_that_comes_back_voids_all_failure_notes() {
        let upstreams = Upstreams::new(&[upstream(1, Role::Primary, &[])], &policy());
        down(&upstreams, 0);
        assert_eq!(upstreams.recoveries(0, &name("www.example.com")), 0);
        let _ = upstreams.report(0, AttemptOutcome::Answered(Duration::from_millis(1)), NOW);
        assert_eq!(
            (upstreams.recoveries(0, &name("www.example.com")), upstreams.availability(0)),
            (1, Availability::Impaired)
        );
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

    #[test]
    fn replaced_addresses_go_new_ones_come_and_those_that_stay_keep_their_state() {
        let host = |last: &[u8]| UpstreamPolicy {
            name: "resolv.conf".to_owned(),
            addresses: last.iter().map(|last| std::net::SocketAddr::from(([192, 0, 2, *last], 53))).collect(),
            ..upstream(1, Role::Primary, &[])
        };
        let upstreams = Upstreams::new(&[host(&[1, 2]), upstream(9, Role::Primary, &["corp.example.com"])], &policy());
        let corp = upstreams.group_of(&name("www.corp.example.com"));
        let root = upstreams.group_of(&name("www.example.com"));
        down(&upstreams, 0);
        down(&upstreams, 1);
        assert_eq!(upstreams.availability(root), Availability::Down);
        let before = upstreams.recoveries(root, &name("www.example.com"));
        assert_eq!(upstreams.replace(&host(&[2, 3])), [3]);
        assert_eq!(order(&upstreams, root), [3, 3, 3], "the one that stays is still down");
        assert_eq!(order(&upstreams, corp), [2, 2, 2], "other zones are untouched");
        assert_eq!(upstreams.availability(root), Availability::Healthy);
        assert_ne!(upstreams.recoveries(root, &name("www.example.com")), before, "failure notes are void");
        assert!(upstreams.find(0).unwrap().is_retired());
        // A report that was under way harms nobody.
        down(&upstreams, 0);
        assert_eq!(upstreams.availability(root), Availability::Healthy);
        assert!(upstreams.replace(&host(&[])).is_empty());
        assert_eq!(upstreams.all().len(), 3, "no addresses are no upstreams to take");
    }

    #[test]
    fn a_thousand_replacements_take_no_more_room_than_a_few() {
        let host = |port| UpstreamPolicy { name: "resolv.conf".to_owned(), ..upstream(port, Role::Primary, &[]) };
        let upstreams = Upstreams::new(&[host(1)], &policy());
        let most = (2..1_000).flat_map(|port| upstreams.replace(&host(port))).max();
        assert!(most.unwrap() <= 66, "{most:?}");
        assert_eq!(upstreams.all()[0].address.port(), 999);
        assert_eq!(upstreams.availability(0), Availability::Healthy);
    }
}
