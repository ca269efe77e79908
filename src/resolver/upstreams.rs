//! The upstreams: which names are forwarded to which of them, in what state each is, and which of
//! them a resolution asks.
//!
//! Names are routed by the longest matching zone ([`crate::core::routes`]) to a *group*: its
//! primary upstreams, and fallback upstreams that are asked only when no primary answers. Each
//! address is an upstream of its own, with its own breaker. The best state among a group's
//! primaries is published in an atomic, so that the thread that received a query can decide without
//! a lock. The upstreams that come from the host's `resolv.conf` may be replaced at any time;
//! groups and routes never change.

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
use crate::core::policy::Policy;
use crate::core::routes::{ROOT, Routes};
use crate::core::time::Timestamp;
use crate::core::upstream::{GroupId, Role, Transport, UpstreamId, UpstreamPolicy};
use crate::core::upstream_query::Extension;
use crate::telemetry::events;
use member::encode_state;
pub use member::{Group, Upstream};
use registry::Registry;

/// How long an upstream that did not understand EDNS is asked without it.
const PLAIN_FOR: Duration = Duration::from_secs(3600);
/// Factor on the p99 round-trip time after which a second attempt is sent.
const HEDGE_FACTOR: u32 = 4;
/// The least time before a second attempt: a recursive resolver needs this long for a name that it
/// does not know itself.
const HEDGE_MIN: Duration = Duration::from_millis(100);

/// Whether a resolution may ask fallback upstreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallbacks {
    /// Fallbacks are asked when no primary answers, since nothing is remembered of the name.
    Asked,
    /// Fallbacks are left out: an answer is remembered, which came from upstreams that are
    /// responsible for the name, and a denial by a fallback would be no reason to replace it.
    LeftOut,
}

/// All upstreams, and the groups of names that they serve.
pub struct Upstreams {
    registry: Registry,
    /// By [`GroupId`].
    groups: Vec<Group>,
    /// The group of every name that no zone holds.
    root: GroupId,
    policy: Policy,
}

impl Upstreams {
    /// Gives every zone of the routes its upstreams, all of which count as healthy.
    #[must_use]
    pub fn new(routes: &Routes, configured: &[UpstreamPolicy], policy: &Policy) -> Self {
        let registry = Registry::default();
        // Each address of an upstream joins the groups of all zones that the upstream serves.
        let mut groups: Vec<Group> = routes.zones().map(|(_, zone)| Group::new(zone)).collect();
        let mut primaries = vec![Vec::new(); groups.len()];
        for upstream in configured {
            let served: Vec<GroupId> =
                routes.zones().filter(|(_, zone)| serves(upstream, zone)).map(|(group, _)| group).collect();
            for address in &upstream.addresses {
                let id = registry.add(Upstream::new(upstream, *address, served.clone(), policy));
                for group in &served {
                    match upstream.role {
                        Role::Primary => {
                            primaries.get_mut(group.index()).into_iter().for_each(|own: &mut Vec<_>| own.push(id));
                        }
                        Role::Fallback => {
                            groups.get_mut(group.index()).into_iter().for_each(|group| group.fallbacks.push(id));
                        }
                    }
                }
            }
        }
        for (group, own) in groups.iter_mut().zip(primaries) {
            group.primaries = RwLock::new(own.into());
        }
        // From here on every group shows its best state and its timer.
        let upstreams = Self { registry, groups, root: routes.group_of(ROOT), policy: policy.clone() };
        for (group, _) in routes.zones() {
            upstreams.publish(group);
        }
        upstreams
    }

    /// All upstreams in use, in the order of their identifiers.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Upstream>> {
        self.registry.in_use().into_iter().map(|(_, upstream)| upstream).collect()
    }

    /// The identifiers of all upstreams in use.
    #[must_use]
    pub fn ids(&self) -> Vec<UpstreamId> {
        self.registry.in_use().into_iter().map(|(id, _)| id).collect()
    }

    /// The upstream of an identifier, also for a while after the upstream is no longer in use.
    #[must_use]
    pub fn find(&self, id: UpstreamId) -> Option<Arc<Upstream>> {
        self.registry.find(id)
    }

    /// Replaces the addresses of a primary upstream for all names, as the host's `resolv.conf` now
    /// names them. Addresses that stay keep their identifier, state and measurements; attempts
    /// under way with addresses that go are carried to their end. Gives the identifiers of the new
    /// addresses. Without any address nothing changes.
    pub fn replace(&self, configured: &UpstreamPolicy) -> Vec<UpstreamId> {
        let root = self.root;
        let Some(group) = self.group(root).filter(|_| !configured.addresses.is_empty()) else { return Vec::new() };
        let mut added = Vec::new();
        {
            let mut primaries = group.primaries.write();
            // Primaries for all names that the configuration file names otherwise stay.
            let (old, mut next): (Vec<UpstreamId>, Vec<UpstreamId>) =
                primaries.iter().partition(|id| self.find(**id).is_some_and(|own| own.name == configured.name));
            let find = |address| {
                old.iter().copied().find(|id| self.find(*id).is_some_and(|own| own.endpoint.address == address))
            };
            for address in &configured.addresses {
                next.push(find(*address).unwrap_or_else(|| {
                    let id = self.registry.add(Upstream::new(configured, *address, vec![root], &self.policy));
                    added.push(id);
                    id
                }));
            }
            old.iter().filter(|id| !next.contains(id)).for_each(|id| self.registry.retire(*id));
            *primaries = next.into();
        }
        if !added.is_empty() {
            // Names that failed with the old addresses are worth a new try.
            group.recoveries.note_upstream();
        }
        self.publish(root);
        added
    }

    /// All upstream groups, one for each zone of the routes.
    pub fn groups(&self) -> impl Iterator<Item = (GroupId, &Group)> {
        self.groups.iter().enumerate().map(|(index, group)| (GroupId::new(index), group))
    }

    /// The group of an identifier; `None` when no route leads to such a group.
    #[must_use]
    pub fn group(&self, id: GroupId) -> Option<&Group> {
        self.groups.get(id.index())
    }

    /// The best state among the primaries of a group.
    #[must_use]
    pub fn availability(&self, group: GroupId) -> Availability {
        self.group(group).map_or(Availability::Down, Group::availability)
    }

    /// The client response timer of a group, which is that of its best primary.
    #[must_use]
    pub fn timer(&self, group: GroupId) -> Duration {
        Duration::from_micros(self.group(group).map_or(0, |group| group.timer.load(Ordering::Relaxed)))
    }

    /// How often something recovered that a name of the group depends on: one of its upstreams, or
    /// the name's suffix.
    #[must_use]
    pub fn recoveries(&self, group: GroupId, name: &[u8]) -> u32 {
        self.group(group).map_or(0, |group| group.recoveries.of(name))
    }

    /// Notes the outcome of an attempt, and gives the change of the upstream's state, if there was
    /// one.
    pub fn report(&self, upstream: UpstreamId, outcome: AttemptOutcome, now: Timestamp) -> Option<Transition> {
        self.find(upstream)?.count(outcome);
        self.update(upstream, |health| health.record(outcome, now))
    }

    /// Notes that an attempt sent at `sent_at` is overdue, and gives the change of the upstream's
    /// state, if there was one.
    pub fn report_overdue(&self, upstream: UpstreamId, sent_at: Timestamp) -> Option<Transition> {
        self.update(upstream, |health| health.overdue(sent_at))
    }

    /// Ends impairments that are out of date. To be called about once a second.
    pub fn review(&self, now: Timestamp) {
        for id in self.ids() {
            let _ = self.update(id, |health| health.review(now));
        }
    }

    /// How long the upstream's prober waits before its next probe; `chance` is a random number.
    #[must_use]
    pub fn next_probe(&self, upstream: UpstreamId, chance: u64) -> Duration {
        self.find(upstream).map_or(self.policy.health.probe_max, |upstream| upstream.health.lock().next_probe(chance))
    }

    /// Notes that an upstream answers only without EDNS.
    pub fn note_plain(&self, upstream: UpstreamId, now: Timestamp) {
        if let Some(upstream) = self.find(upstream) {
            upstream.plain_until.store(now.plus(PLAIN_FOR).as_micros(), Ordering::Relaxed);
        }
    }

    /// Leaves an upstream out until `until`, because it sends our own queries back; true when the
    /// upstream was not left out before.
    pub fn note_loop(&self, upstream: UpstreamId, until: Timestamp) -> bool {
        self.find(upstream).is_some_and(|upstream| {
            let before = upstream.looping_until.swap(until.as_micros(), Ordering::Relaxed);
            for group in &upstream.groups {
                self.publish(*group);
            }
            before == 0
        })
    }

    /// Lets an upstream be used again that was left out for a loop.
    pub fn clear_loop(&self, upstream: UpstreamId) {
        if let Some(upstream) = self.find(upstream)
            && upstream.looping_until.swap(0, Ordering::Relaxed) != 0
        {
            for group in &upstream.groups {
                self.publish(*group);
            }
        }
    }

    /// The plan of a resolution: which upstreams are asked, in order. `chance` is a random number.
    ///
    /// | primaries | targets |
    /// |---|---|
    /// | some not down | those, healthy before impaired, in turn; last a fallback |
    /// | all down | fallbacks; last one primary within the outage budget |
    ///
    /// Primaries of one state come in the configured order, and over and over again until all sends
    /// are planned. Fallbacks are only planned where they may be asked. A primary that is down is
    /// asked all the same, since the breaker may be wrong.
    #[must_use]
    pub fn plan(&self, group: GroupId, class: Class, fallbacks: Fallbacks, chance: u64, now: Timestamp) -> Plan {
        let attempts = &self.policy.attempts;
        let sends = usize::try_from(attempts.sends).unwrap_or(1);
        let mut targets = Vec::new();
        let mut hedge = attempts.second_after;
        if let Some(group) = self.group(group) {
            let own = group.primaries();
            let usable = self.usable(&own, now);
            let fallbacks = match fallbacks {
                Fallbacks::Asked => self.usable(&group.fallbacks, now),
                Fallbacks::LeftOut => Vec::new(),
            };
            // The second send follows after four times the p99 round-trip time of the best primary.
            if let Some(p99) = usable.first().and_then(|first| self.find(*first)?.p99()) {
                hedge = (p99 * HEDGE_FACTOR).max(HEDGE_MIN);
            }
            if usable.is_empty() {
                // No primary is usable: the fallbacks come first, and one send is kept for a
                // primary that is drawn at random.
                let primaries: Vec<UpstreamId> = own.iter().copied().filter(|id| !self.is_looping(*id, now)).collect();
                targets.extend(fallbacks.iter().map(|id| self.target(*id, class, now)));
                targets.truncate(sends.saturating_sub(1));
                let pick = usize::try_from(chance % u64::try_from(primaries.len().max(1)).unwrap_or(1)).unwrap_or(0);
                targets.extend(primaries.get(pick).map(|id| self.target(*id, Class::Outage, now)));
            } else {
                // The usable primaries come first, and one send is kept for a fallback.
                let own = if fallbacks.is_empty() { sends } else { sends.saturating_sub(1).max(1) };
                targets.extend(usable.iter().cycle().take(own).map(|id| self.target(*id, class, now)));
                targets.extend(fallbacks.first().map(|id| self.target(*id, class, now)));
            }
        }
        Plan { targets, timer: self.timer(group), hedge, deadline: self.deadline(group, now), linger: attempts.linger }
    }

    /// How long a client waits for a name of which nothing is remembered: only briefly when every
    /// upstream that could be asked is down.
    #[must_use]
    pub fn deadline(&self, group: GroupId, now: Timestamp) -> Duration {
        let attempts = &self.policy.attempts;
        let asked = |group: &Group| {
            [group.primaries().as_ref(), &group.fallbacks].iter().any(|own| !self.usable(own, now).is_empty())
        };
        if self.group(group).is_some_and(asked) {
            attempts.deadline
        } else {
            attempts.deadline.min(attempts.second_after)
        }
    }

    /// The target of one send to an upstream: its transport, and whether it is asked with EDNS.
    #[must_use]
    pub fn target(&self, id: UpstreamId, class: Class, now: Timestamp) -> Target {
        let upstream = self.find(id);
        let plain =
            upstream.as_ref().is_some_and(|upstream| upstream.plain_until.load(Ordering::Relaxed) > now.as_micros());
        Target {
            upstream: id,
            transport: upstream.map_or(Transport::Udp, |upstream| upstream.endpoint.transport),
            extension: if plain { Extension::Plain } else { Extension::Edns },
            class,
        }
    }

    /// Of these upstreams those that are not down, healthy ones first.
    fn usable(&self, ids: &[UpstreamId], now: Timestamp) -> Vec<UpstreamId> {
        let mut usable: Vec<(UpstreamState, UpstreamId)> = ids
            .iter()
            .filter_map(|id| Some((self.find(*id)?.state(), *id)))
            .filter(|(state, id)| *state != UpstreamState::Down && !self.is_looping(*id, now))
            .collect();
        // A stable sort: the configured order stays among those of one state.
        usable.sort_by_key(|(state, _)| *state);
        usable.into_iter().map(|(_, id)| id).collect()
    }

    /// Whether an upstream is left out because it sends our own queries back.
    #[must_use]
    pub fn is_looping(&self, id: UpstreamId, now: Timestamp) -> bool {
        self.find(id).is_some_and(|upstream| upstream.is_looping(now))
    }

    /// Changes an upstream's health, publishes the result, and logs a change of state.
    fn update(&self, id: UpstreamId, change: impl FnOnce(&mut Health) -> Option<Transition>) -> Option<Transition> {
        // The state is published beside the lock, so that readers need not take it.
        let upstream = self.find(id)?;
        let transition = {
            let mut health = upstream.health.lock();
            let transition = change(&mut health);
            upstream.state.store(encode_state(health.state()), Ordering::Relaxed);
            transition
        };
        for group in &upstream.groups {
            self.publish(*group);
        }
        // The end of an outage voids failures from before, and every change wakes the prober.
        let transition = transition?;
        if transition.from == UpstreamState::Down {
            for group in upstream.groups.iter().filter_map(|group| self.group(*group)) {
                group.recoveries.note_upstream();
            }
        }
        upstream.changed.notify_one();
        events::UpstreamChanged { upstream: &upstream.label, from: transition.from, to: transition.to }.emit();
        Some(transition)
    }

    /// Publishes a group's best state and client response timer. An upstream in a loop does not
    /// count.
    fn publish(&self, id: GroupId) {
        let Some(group) = self.group(id) else { return };
        let own = group.primaries();
        let best = own
            .iter()
            .filter_map(|id| self.find(*id))
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
            zones: zones.iter().map(|zone| name(zone).into()).collect(),
            role,
            ..UpstreamPolicy::plain(format!("u{port}"), vec![std::net::SocketAddr::from(([192, 0, 2, 1], port))])
        }
    }

    fn order(upstreams: &Upstreams, group: GroupId) -> Vec<usize> {
        upstreams
            .plan(group, Class::Miss, Fallbacks::Asked, 0, NOW)
            .targets
            .iter()
            .map(|target| target.upstream.index())
            .collect()
    }

    fn upstreams(configured: &[UpstreamPolicy]) -> Upstreams {
        Upstreams::new(&Routes::new(configured), configured, &policy())
    }

    fn id(index: usize) -> UpstreamId {
        UpstreamId::new(index)
    }

    fn root() -> GroupId {
        Routes::new(&[]).group_of(ROOT)
    }

    fn down(upstreams: &Upstreams, index: usize) {
        for _ in 0..5 {
            let _ = upstreams.report(id(index), AttemptOutcome::Failed, NOW);
        }
    }

    #[test]
    fn names_go_to_the_longest_matching_zone() {
        let configured = [
            upstream(1, Role::Primary, &[]),
            upstream(2, Role::Primary, &["example.com"]),
            upstream(3, Role::Primary, &["corp.example.com"]),
        ];
        let upstreams = upstreams(&configured);
        let first = |text: &str| order(&upstreams, Routes::new(&configured).group_of(&name(text))).first().copied();
        assert_eq!(first("www.example.net"), Some(0));
        assert_eq!(first("www.example.com"), Some(1));
        assert_eq!(first("db.corp.example.com"), Some(2));
    }

    #[test]
    fn one_upstream_gets_all_three_attempts_and_two_take_turns() {
        assert_eq!(order(&upstreams(&[upstream(1, Role::Primary, &[])]), root()), [0, 0, 0]);
        let two = [upstream(1, Role::Primary, &[]), upstream(2, Role::Primary, &[])];
        assert_eq!(order(&upstreams(&two), root()), [0, 1, 0]);
    }

    #[test]
    fn the_fallback_is_last_while_a_primary_is_up_and_first_when_none_is() {
        let upstreams = upstreams(&[upstream(1, Role::Primary, &[]), upstream(2, Role::Fallback, &[])]);
        assert_eq!(order(&upstreams, root()), [0, 0, 1]);
        down(&upstreams, 0);
        assert_eq!(upstreams.availability(root()), Availability::Down);
        assert_eq!(order(&upstreams, root()), [1, 0]);
        assert_eq!(
            upstreams.plan(root(), Class::Miss, Fallbacks::Asked, 0, NOW).targets.last().map(|target| target.class),
            Some(Class::Outage)
        );
    }

    #[test]
    fn a_sick_upstream_stands_behind_a_healthy_one() {
        let upstreams = upstreams(&[upstream(1, Role::Primary, &[]), upstream(2, Role::Primary, &[])]);
        let _ = upstreams.report(id(0), AttemptOutcome::Failed, NOW);
        let _ = upstreams.report(id(0), AttemptOutcome::Failed, NOW);
        assert_eq!((order(&upstreams, root()), upstreams.availability(root())), (vec![1, 0, 1], Availability::Healthy));
        down(&upstreams, 0);
        assert_eq!(order(&upstreams, root()), [1, 1, 1]);
    }

    #[test]
    fn an_upstream_that_comes_back_voids_all_failure_notes() {
        let upstreams = upstreams(&[upstream(1, Role::Primary, &[])]);
        down(&upstreams, 0);
        assert_eq!(upstreams.recoveries(root(), &name("www.example.com")), 0);
        let _ = upstreams.report(id(0), AttemptOutcome::Answered(Duration::from_millis(1)), NOW);
        assert_eq!(
            (upstreams.recoveries(root(), &name("www.example.com")), upstreams.availability(root())),
            (1, Availability::Impaired)
        );
    }

    #[test]
    fn a_looping_upstream_is_left_out_and_said_once() {
        let upstreams = upstreams(&[upstream(1, Role::Primary, &[]), upstream(2, Role::Primary, &[])]);
        assert!(upstreams.note_loop(id(0), NOW.plus(Duration::from_secs(60))));
        assert!(!upstreams.note_loop(id(0), NOW.plus(Duration::from_secs(60))));
        assert_eq!(order(&upstreams, root()), [1, 1, 1]);
        upstreams.clear_loop(id(0));
        assert_eq!(order(&upstreams, root()), [0, 1, 0]);
    }

    #[test]
    fn replaced_addresses_go_new_ones_come_and_those_that_stay_keep_their_state() {
        let host = |last: &[u8]| {
            let addresses = last.iter().map(|last| std::net::SocketAddr::from(([192, 0, 2, *last], 53))).collect();
            UpstreamPolicy::plain("resolv.conf", addresses)
        };
        let configured = [host(&[1, 2]), upstream(9, Role::Primary, &["corp.example.com"])];
        let (routes, upstreams) = (Routes::new(&configured), upstreams(&configured));
        let corp = routes.group_of(&name("www.corp.example.com"));
        let root = routes.group_of(&name("www.example.com"));
        down(&upstreams, 0);
        down(&upstreams, 1);
        assert_eq!(upstreams.availability(root), Availability::Down);
        let before = upstreams.recoveries(root, &name("www.example.com"));
        assert_eq!(upstreams.replace(&host(&[2, 3])), [id(3)]);
        assert_eq!(order(&upstreams, root), [3, 3, 3], "the one that stays is still down");
        assert_eq!(order(&upstreams, corp), [2, 2, 2], "other zones are untouched");
        assert_eq!(upstreams.availability(root), Availability::Healthy);
        assert_ne!(upstreams.recoveries(root, &name("www.example.com")), before, "failure notes are void");
        assert!(upstreams.find(id(0)).unwrap().is_retired());
        // A report that was under way does no harm.
        down(&upstreams, 0);
        assert_eq!(upstreams.availability(root), Availability::Healthy);
        assert!(upstreams.replace(&host(&[])).is_empty());
        assert_eq!(upstreams.all().len(), 3, "no addresses are no upstreams to take");
    }

    #[test]
    fn a_thousand_replacements_take_no_more_memory_than_a_few() {
        let host = |port| UpstreamPolicy { name: "resolv.conf".to_owned(), ..upstream(port, Role::Primary, &[]) };
        let upstreams = upstreams(&[host(1)]);
        let most = (2..1_000).flat_map(|port| upstreams.replace(&host(port))).max();
        assert!(most.unwrap().index() <= 66, "{most:?}");
        assert_eq!(upstreams.all()[0].endpoint.address.port(), 999);
        assert_eq!(upstreams.availability(root()), Availability::Healthy);
    }
}
