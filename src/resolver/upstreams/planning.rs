//! The plan of a resolution: which upstreams it asks, in which order, and for how long.

use std::time::Duration;

use super::member::Group;
use super::{Fallbacks, Upstreams};
use crate::core::attempts::{Listed, Plan, Signatures, Target};
use crate::core::budget::Class;
use crate::core::edns::EdnsTrust;
use crate::core::health::UpstreamState;
use crate::core::policy::AskingOrder;
use crate::core::time::Timestamp;
use crate::core::upstream::{GroupId, Transport, UpstreamId};
use crate::core::upstream_query::Extension;

/// Factor on the p99 round-trip time after which a second attempt is sent, and after which an
/// earlier server is no longer waited for.
const HEDGE_FACTOR: u32 = 4;
/// The least time before a second attempt: below it, scheduling noise would look like loss.
const HEDGE_MIN: Duration = Duration::from_millis(20);
/// The time before a second attempt while nothing is known of the upstream.
const HEDGE_UNKNOWN: Duration = Duration::from_millis(200);
/// How long an earlier server is waited for at the least and at the most, after its last attempt,
/// before the denial of a later one counts.
const PATIENCE: (Duration, Duration) = (Duration::from_millis(400), Duration::from_secs(1));
/// When a refresh gives up: its clients have the remembered answer, and the failure recheck timer
/// begins.
const REFRESH_DEADLINE: Duration = Duration::from_secs(2);
/// How many upstreams that are silent over UDP are asked over TCP.
const RESCUES: u32 = 2;
/// How many rounds of sends there are for a name of which nothing is remembered.
const ROUNDS: u32 = 2;

impl Upstreams {
    /// The plan of a resolution: which upstreams are asked, in order. `chance` is a random number.
    ///
    /// | primaries | asked |
    /// |---|---|
    /// | some not down | those, healthy first; then fallbacks; last one that is down, within the outage budget |
    /// | all down | fallbacks; last one primary within the outage budget |
    ///
    /// Primaries of one state come in the order that the operator chose. Fallbacks are only planned
    /// where they may be asked. A primary that is down is asked all the same, since the breaker may
    /// be wrong.
    #[must_use]
    pub fn plan(&self, group: GroupId, class: Class, fallbacks: Fallbacks, chance: u64, now: Timestamp) -> Plan {
        let attempts = &self.policy.attempts;
        let deadline = match fallbacks {
            Fallbacks::Asked => self.deadline(group, now),
            Fallbacks::LeftOut => self.deadline(group, now).min(REFRESH_DEADLINE),
        };
        let mut plan = Plan {
            primaries: Vec::new(),
            fallbacks: Vec::new(),
            last_resort: None,
            listed: Vec::new(),
            rescues: RESCUES,
            rounds: match fallbacks {
                Fallbacks::Asked => ROUNDS,
                Fallbacks::LeftOut => 1,
            },
            signatures: Signatures::NotWanted,
            timer: self.timer(group),
            hedge: HEDGE_UNKNOWN.min(attempts.second_after),
            deadline,
            linger: attempts.linger,
        };
        let Some(members) = self.group(group) else { return plan };
        let own = members.primaries();
        let usable = self.usable(&own, now);
        plan.primaries = usable.iter().map(|id| self.target(*id, class, now)).collect();
        plan.fallbacks = match fallbacks {
            Fallbacks::Asked => {
                self.usable(&members.fallbacks, now).iter().map(|id| self.target(*id, class, now)).collect()
            }
            Fallbacks::LeftOut => Vec::new(),
        };
        let down: Vec<UpstreamId> =
            own.iter().copied().filter(|id| !usable.contains(id) && !self.is_looping(*id, now)).collect();
        let pick = usize::try_from(chance % u64::try_from(down.len().max(1)).unwrap_or(1)).unwrap_or(0);
        plan.last_resort = down.get(pick).map(|id| self.target(*id, Class::Outage, now));
        plan.listed = own
            .iter()
            .map(|id| Listed { upstream: *id, patience: usable.contains(id).then(|| self.patience(*id)).flatten() })
            .collect();
        if let Some(first) = plan.primaries.first().or(plan.fallbacks.first()) {
            plan.hedge = self.hedge(first);
        }
        // While refreshes take turns, what is lost shows that there are too many of them. Clients
        // have their stale answer, so nothing is gained by sending again in haste.
        if fallbacks == Fallbacks::LeftOut && members.pacing.is_active() {
            plan.hedge = attempts.second_after;
            plan.rescues = 0;
        }
        plan
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
        let trust = upstream.as_ref().map_or(EdnsTrust::Open, |upstream| upstream.edns.lock().trust(now));
        Target {
            upstream: id,
            transport: upstream.map_or(Transport::Udp, |upstream| upstream.endpoint.transport),
            extension: match trust {
                EdnsTrust::Proven | EdnsTrust::Open => Extension::Edns,
                EdnsTrust::Doubted => Extension::Plain,
            },
            trust,
            class,
        }
    }

    /// How long after the first send the second one is due. Over TCP the operating system sends
    /// again what is lost, and a second query would share the connection with the first.
    fn hedge(&self, first: &Target) -> Duration {
        let attempts = &self.policy.attempts;
        match first.transport {
            Transport::Tcp => attempts.third_after,
            Transport::Udp => {
                let p99 = self.find(first.upstream).and_then(|upstream| upstream.p99());
                p99.map_or(HEDGE_UNKNOWN, |p99| (p99 * HEDGE_FACTOR).max(HEDGE_MIN)).min(attempts.second_after)
            }
        }
    }

    /// How long an upstream is waited for before the denial of a later one counts; `None` when
    /// denials do not wait, since all upstreams have the same view.
    fn patience(&self, id: UpstreamId) -> Option<Duration> {
        let (least, most) = PATIENCE;
        let p99 = self.find(id).and_then(|upstream| upstream.p99());
        match self.policy.attempts.order {
            AskingOrder::Listed => Some(p99.map_or(most, |p99| (p99 * HEDGE_FACTOR).clamp(least, most))),
            AskingOrder::Fastest => None,
        }
    }

    /// Of these upstreams those that are not down, healthy ones first.
    pub(super) fn usable(&self, ids: &[UpstreamId], now: Timestamp) -> Vec<UpstreamId> {
        let mut usable: Vec<(UpstreamState, Duration, UpstreamId)> = ids
            .iter()
            .filter_map(|id| {
                let upstream = self.find(*id)?;
                let time = match self.policy.attempts.order {
                    AskingOrder::Listed => Duration::ZERO,
                    AskingOrder::Fastest => upstream.p99().unwrap_or_default(),
                };
                Some((upstream.state(), time, *id))
            })
            .filter(|(state, _, id)| *state != UpstreamState::Down && !self.is_looping(*id, now))
            .collect();
        // A stable sort: the configured order stays among equals.
        usable.sort_by_key(|(state, time, _)| (*state, *time));
        usable.into_iter().map(|(_, _, id)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::super::member::encode_state;
    use super::*;
    use crate::core::health::AttemptOutcome;
    use crate::core::key::{Dnssec, Key};
    use crate::core::policy::Policy;
    use crate::core::routes::{ROOT, Routes};
    use crate::core::testing::{name, policy};
    use crate::core::upstream::{Role, UpstreamPolicy};

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn id(index: usize) -> UpstreamId {
        UpstreamId::new(index)
    }

    fn question() -> Key {
        Key::new(&name("www.example.com"), 1, 1, Dnssec::default())
    }

    fn root() -> GroupId {
        Routes::new(&[]).group_of(ROOT)
    }

    /// Upstreams for all names, with these roles.
    fn upstreams_of(roles: &[Role], policy: &Policy) -> Upstreams {
        let upstream = |(role, port)| UpstreamPolicy {
            role,
            ..UpstreamPolicy::plain(format!("u{port}"), vec![std::net::SocketAddr::from(([192, 0, 2, 1], port))])
        };
        let configured: Vec<_> = roles.iter().copied().zip(1..).map(upstream).collect();
        Upstreams::new(&Routes::new(&configured), &configured, policy)
    }

    fn upstreams(roles: &[Role]) -> Upstreams {
        upstreams_of(roles, &policy())
    }

    fn set(upstreams: &Upstreams, index: usize, state: UpstreamState) {
        upstreams.find(id(index)).unwrap().state.store(encode_state(state), Ordering::Relaxed);
    }

    fn plan(upstreams: &Upstreams) -> Plan {
        upstreams.plan(root(), Class::Miss, Fallbacks::Asked, 0, NOW)
    }

    fn ids(targets: &[Target]) -> Vec<usize> {
        targets.iter().map(|target| target.upstream.index()).collect()
    }

    #[test]
    fn the_fallback_comes_after_the_primaries_and_alone_when_none_is_up() {
        let upstreams = upstreams(&[Role::Primary, Role::Fallback]);
        let before = plan(&upstreams);
        assert_eq!((ids(&before.primaries), ids(&before.fallbacks), before.last_resort), (vec![0], vec![1], None));
        assert_eq!(before.deadline, policy().attempts.deadline);
        set(&upstreams, 0, UpstreamState::Down);
        let after = plan(&upstreams);
        assert_eq!((ids(&after.primaries), ids(&after.fallbacks)), (vec![], vec![1]));
        assert_eq!(after.last_resort.map(|target| (target.upstream, target.class)), Some((id(0), Class::Outage)));
        assert_eq!(after.deadline, policy().attempts.deadline, "the fallback may need as long as any upstream");
        assert_eq!(after.listed, [Listed { upstream: id(0), patience: None }], "no denial waits for it");
    }

    #[test]
    fn when_all_are_down_the_deadline_is_short() {
        let upstreams = upstreams(&[Role::Primary; 2]);
        set(&upstreams, 0, UpstreamState::Down);
        assert_eq!(plan(&upstreams).deadline, policy().attempts.deadline, "one is up");
        assert_eq!(plan(&upstreams).last_resort.map(|target| target.upstream), Some(id(0)));
        set(&upstreams, 1, UpstreamState::Down);
        assert_eq!(plan(&upstreams).deadline, policy().attempts.second_after);
    }

    #[test]
    fn a_sick_upstream_is_asked_later_and_still_waited_for() {
        let upstreams = upstreams(&[Role::Primary; 2]);
        set(&upstreams, 0, UpstreamState::Impaired);
        let plan = plan(&upstreams);
        assert_eq!(ids(&plan.primaries), [1, 0]);
        assert!(plan.listed.iter().all(|listed| listed.patience.is_some()));
    }

    #[test]
    fn the_fastest_is_first_where_the_operator_wants_that() {
        let mut policy = policy();
        policy.attempts.order = AskingOrder::Fastest;
        let upstreams = upstreams_of(&[Role::Primary; 2], &policy);
        for _ in 0..20 {
            let _ = upstreams.report(id(0), &question(), AttemptOutcome::Answered(Duration::from_millis(50)), NOW);
            let _ = upstreams.report(id(1), &question(), AttemptOutcome::Answered(Duration::from_millis(2)), NOW);
        }
        let plan = plan(&upstreams);
        assert_eq!(ids(&plan.primaries), [1, 0]);
        assert!(plan.listed.iter().all(|listed| listed.patience.is_none()), "all have the same view");
        assert_eq!(plan.hedge, HEDGE_MIN);
    }

    #[test]
    fn the_second_send_follows_the_round_trip_time() {
        let upstreams = upstreams(&[Role::Primary]);
        assert_eq!(plan(&upstreams).hedge, HEDGE_UNKNOWN);
        for _ in 0..20 {
            let _ = upstreams.report(id(0), &question(), AttemptOutcome::Answered(Duration::from_millis(250)), NOW);
        }
        assert_eq!(plan(&upstreams).hedge, policy().attempts.second_after);
    }
}
