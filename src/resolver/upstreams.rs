//! The upstreams: which names are forwarded to which of them, in what state each is, and which of
//! them a resolution asks.
//!
//! Names are routed by the longest matching zone ([`crate::core::routes`]) to a *group*: its
//! primary upstreams, and fallback upstreams that are asked only when no primary answers. Each
//! address is an upstream of its own, with its own breaker. The best state among a group's
//! primaries is published in an atomic, so that the thread that received a query can decide without
//! a lock. The upstreams that come from the host's `resolv.conf` may be replaced at any time;
//! groups and routes never change.

mod judging;
mod member;
mod planning;
mod registry;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::RwLock;

use crate::core::decision::Availability;
use crate::core::health::{Health, Transition, UpstreamState};
use crate::core::key::Key;
use crate::core::policy::Policy;
use crate::core::routes::{ROOT, Routes};
use crate::core::time::Timestamp;
use crate::core::upstream::{GroupId, Role, UpstreamId, UpstreamPolicy};
use crate::core::upstream_record::RememberedUpstream;
use crate::memory::cached::CachedAnswer;
use crate::telemetry::events;
use member::encode_state;
pub use member::{Group, Upstream};
use registry::Registry;

/// For how long an earlier run's knowledge of upstreams counts.
const RESUMED_FOR: Duration = Duration::from_secs(3600);

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

    /// What is known of all upstreams in use, to be kept across restarts.
    #[must_use]
    pub fn remembered(&self, now: Timestamp) -> Vec<RememberedUpstream> {
        let known = self.registry.in_use().into_iter().map(|(_, own)| {
            let health = own.health.lock();
            RememberedUpstream {
                address: own.endpoint.address,
                transport: own.endpoint.transport,
                state: health.state(),
                since: health.since(),
                p99: health.p99(),
                saved: now,
            }
        });
        known.collect()
    }

    /// Takes what an earlier run knew of the upstreams, where nothing newer is known and it is not
    /// out of date. An upstream that was ill is asked a witness at once.
    pub fn resume(&self, known: &[RememberedUpstream], now: Timestamp) {
        for (id, own) in self.registry.in_use() {
            let of_this = |known: &&RememberedUpstream| {
                known.address == own.endpoint.address && known.transport == own.endpoint.transport
            };
            let recent = known.iter().find(of_this).filter(|known| now.since(known.saved) < RESUMED_FOR);
            if let Some(known) = recent {
                let _ = self.update(id, now, |health| {
                    health.resume(known.state, known.since, known.p99);
                    None
                });
            }
        }
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
    pub fn replace(&self, configured: &UpstreamPolicy, now: Timestamp) -> Vec<UpstreamId> {
        let root = self.root;
        let Some(group) = self.group(root).filter(|_| !configured.addresses.is_empty()) else { return Vec::new() };
        let mut added = Vec::new();
        {
            let mut primaries = group.primaries.write();
            // Primaries for all names that the configuration file names otherwise stay.
            let (old, mut next): (Vec<UpstreamId>, Vec<UpstreamId>) =
                primaries.iter().partition(|id| self.find(**id).is_some_and(|own| own.name == configured.name));
            // An address that is asked over another transport from now on is another upstream.
            let find =
                |endpoint| old.iter().copied().find(|id| self.find(*id).is_some_and(|own| own.endpoint == endpoint));
            for address in &configured.addresses {
                next.push(find(configured.endpoint(*address)).unwrap_or_else(|| {
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
            group.recoveries.note_upstream(now);
        }
        self.publish(root);
        added
    }

    /// All upstream groups, one for each zone of the routes.
    pub fn groups(&self) -> impl Iterator<Item = (GroupId, &Group)> {
        self.groups.iter().enumerate().map(|(index, group)| (GroupId::new(index), group))
    }

    /// The upstreams of a group: primaries in their configured order, then fallbacks.
    #[must_use]
    pub fn members(&self, group: GroupId) -> Vec<Arc<Upstream>> {
        let Some(group) = self.group(group) else { return Vec::new() };
        group.primaries().iter().chain(&group.fallbacks).filter_map(|id| self.find(*id)).collect()
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

    /// Takes the turn of the refresh of a stale answer that a client's query asks for; false when
    /// its turn has not come. While upstreams are well there are as many turns as are wanted.
    #[must_use]
    pub fn has_turn(&self, cached: &CachedAnswer, now: Timestamp) -> bool {
        self.group(cached.group()).is_none_or(|group| group.pacing.take(cached.entry.fresh_until, now))
    }

    /// Whether the refresh of a stale answer that a client's query asks for would have to wait for
    /// its turn.
    #[must_use]
    pub fn has_to_wait(&self, cached: &CachedAnswer, now: Timestamp) -> bool {
        self.group(cached.group()).is_some_and(|group| group.pacing.has_to_wait(cached.entry.fresh_until, now))
    }

    /// The state that matters for a question: that of its group, or impaired where its zone or type
    /// is in trouble.
    #[must_use]
    pub fn availability_for(&self, group: GroupId, key: &Key) -> Availability {
        let Some(group) = self.group(group) else { return Availability::Down };
        match group.availability() {
            Availability::Healthy if group.recoveries.concern(key) => Availability::Impaired,
            availability => availability,
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

    /// Whether an upstream is left out because it sends our own queries back.
    #[must_use]
    pub fn is_looping(&self, id: UpstreamId, now: Timestamp) -> bool {
        self.find(id).is_some_and(|upstream| upstream.is_looping(now))
    }

    /// Changes an upstream's health, publishes the result, and logs a change of state.
    fn update(
        &self,
        id: UpstreamId,
        now: Timestamp,
        change: impl FnOnce(&mut Health) -> Option<Transition>,
    ) -> Option<Transition> {
        // The state is published beside the lock, so that readers need not take it.
        let upstream = self.find(id)?;
        let (transition, is_suspected) = {
            let mut health = upstream.health.lock();
            let wanted = health.wants_witness();
            let transition = change(&mut health);
            upstream.state.store(encode_state(health.state()), Ordering::Relaxed);
            (transition, !wanted && health.wants_witness())
        };
        for id in &upstream.groups {
            let Some(group) = self.group(*id) else { continue };
            let before = group.availability();
            self.publish(*id);
            group.pacing.follow(before, group.availability(), now);
        }
        if transition.is_some() || is_suspected {
            upstream.changed.notify_one();
        }
        // A recovery voids failures from before.
        let transition = transition?;
        if transition.to == UpstreamState::Healthy || transition.from == UpstreamState::Down {
            for group in upstream.groups.iter().filter_map(|group| self.group(*group)) {
                group.recoveries.note_upstream(now);
            }
        }
        events::UpstreamChanged {
            upstream: &upstream.label,
            from: transition.from,
            to: transition.to,
            evidence: &upstream.evidence(),
        }
        .emit();
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
    use crate::core::budget::Class;
    use crate::core::health::AttemptOutcome;
    use crate::core::testing::{name, policy};
    use crate::core::upstream::Transport;

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
            .primaries
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

    fn question() -> Key {
        Key::new(&name("www.example.com"), 1, 1, crate::core::key::Dnssec::default())
    }

    fn down(upstreams: &Upstreams, index: usize) {
        for _ in 0..5 {
            let _ = upstreams.report(id(index), &question(), AttemptOutcome::Failed, NOW);
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
    fn what_an_earlier_run_knew_counts_until_something_newer_is_known() {
        let configured = [upstream(1, Role::Primary, &[])];
        let before = upstreams(&configured);
        down(&before, 0);
        let known = before.remembered(NOW);
        let resumed = |after: Duration| {
            let next = upstreams(&configured);
            next.resume(&known, NOW.plus(after));
            next.availability(root())
        };
        assert_eq!(resumed(Duration::from_secs(60)), Availability::Down);
        assert_eq!(resumed(Duration::from_secs(7_200)), Availability::Healthy, "that is too long ago");
        let next = upstreams(&configured);
        let _ = next.report(id(0), &question(), AttemptOutcome::Answered(Duration::from_millis(1)), NOW);
        next.resume(&known, NOW);
        assert_eq!(next.availability(root()), Availability::Healthy, "it has answered since");
        assert!(next.next_witness(id(0), 0, NOW).is_none());
    }

    #[test]
    fn trouble_of_one_zone_concerns_its_names_alone() {
        let upstreams = upstreams(&[upstream(1, Role::Primary, &[])]);
        let key = |text: &str| Key::new(&name(text), 1, 1, crate::core::key::Dnssec::default());
        let group = upstreams.group(root()).unwrap();
        for text in ["a.broken.test", "b.broken.test", "c.broken.test"] {
            group.recoveries.note_failure(&key(text), 0, NOW);
        }
        assert_eq!(upstreams.availability_for(root(), &key("d.broken.test")), Availability::Impaired);
        assert_eq!(upstreams.availability_for(root(), &key("www.example.com")), Availability::Healthy);
        assert_eq!(upstreams.availability(root()), Availability::Healthy);
    }

    #[test]
    fn a_witness_is_a_question_that_this_upstream_has_answered_itself() {
        let upstreams = upstreams(&[upstream(1, Role::Primary, &[]), upstream(2, Role::Primary, &["corp.test"])]);
        let quick = AttemptOutcome::Answered(Duration::from_millis(1));
        let _ = upstreams.report(id(0), &question(), quick, NOW);
        upstreams.report_overdue(id(1), &question(), NOW, NOW);
        let (witness, _) = upstreams.ask_witness(id(1), NOW).unwrap();
        assert_eq!(witness.key.name(), &*name("corp.test"), "nothing leaves its zone");
        let (witness, _) = upstreams.ask_witness(id(0), NOW).unwrap();
        assert_eq!(witness.key, question());
    }

    #[test]
    fn an_upstream_that_comes_back_voids_all_failure_notes() {
        let upstreams = upstreams(&[upstream(1, Role::Primary, &[])]);
        down(&upstreams, 0);
        assert_eq!(upstreams.recoveries(root(), &name("www.example.com")), 0);
        let _ = upstreams.report(id(0), &question(), AttemptOutcome::Answered(Duration::from_millis(1)), NOW);
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
        assert_eq!(order(&upstreams, root()), [1]);
        upstreams.clear_loop(id(0));
        assert_eq!(order(&upstreams, root()), [0, 1]);
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
        assert_eq!(upstreams.replace(&host(&[2, 3]), NOW), [id(3)]);
        assert_eq!(order(&upstreams, root), [3], "the one that stays is still down");
        assert_eq!(order(&upstreams, corp), [2], "other zones are untouched");
        assert_eq!(upstreams.availability(root), Availability::Healthy);
        assert_ne!(upstreams.recoveries(root, &name("www.example.com")), before, "failure notes are void");
        assert!(upstreams.find(id(0)).unwrap().is_retired());
        // A report that was under way does no harm.
        down(&upstreams, 0);
        assert_eq!(upstreams.availability(root), Availability::Healthy);
        assert!(upstreams.replace(&host(&[]), NOW).is_empty());
        assert_eq!(upstreams.all().len(), 3, "no addresses are no upstreams to take");
    }

    #[test]
    fn an_address_that_changes_its_transport_is_another_upstream() {
        let over = |transport| UpstreamPolicy { transport, ..upstream(1, Role::Primary, &[]) };
        let upstreams = upstreams(&[over(Transport::Udp)]);
        assert_eq!(upstreams.replace(&over(Transport::Tcp), NOW), [id(1)]);
        assert_eq!(upstreams.all()[0].endpoint.transport, Transport::Tcp);
        assert!(upstreams.find(id(0)).unwrap().is_retired());
        assert!(upstreams.replace(&over(Transport::Tcp), NOW).is_empty());
    }

    #[test]
    fn a_thousand_replacements_take_no_more_memory_than_a_few() {
        let host = |port| UpstreamPolicy { name: "resolv.conf".to_owned(), ..upstream(port, Role::Primary, &[]) };
        let upstreams = upstreams(&[host(1)]);
        let most = (2..1_000).flat_map(|port| upstreams.replace(&host(port), NOW)).max();
        assert!(most.unwrap().index() <= 66, "{most:?}");
        assert_eq!(upstreams.all()[0].endpoint.address.port(), 999);
        assert_eq!(upstreams.availability(root()), Availability::Healthy);
    }
}
