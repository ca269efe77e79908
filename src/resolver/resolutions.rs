//! Starts resolutions, or joins those that are under way.

use std::sync::Arc;

use super::context::Context;
use super::flight::{Flight, Join};
use super::resolution::Resolution;
use super::upstreams::Fallbacks;
use crate::core::attempts::Plan;
use crate::core::budget::Class;
use crate::core::key::Key;
use crate::core::upstream::{GroupId, UpstreamId};

/// Joins the resolution of a key, or starts it; `None` when too many are under way. `group` is the
/// upstream group of the key's name.
pub(super) fn join_or_start(context: &Arc<Context>, key: &Key, group: GroupId, class: Class) -> Option<Arc<Flight>> {
    let now = context.now();
    match context.flights.join(key, class, now) {
        Join::Joined(flight) => Some(flight),
        Join::Leads(flight) => {
            // The remembered answer came from upstreams that are responsible for the name. That a
            // fallback denies the name would be no reason to replace it.
            let fallbacks = match context.memory.find_answer(key, now) {
                Some(cached) => {
                    let _ = cached.claim_refresh(now);
                    Fallbacks::LeftOut
                }
                None => Fallbacks::Asked,
            };
            let plan = context.upstreams.plan(group, class, fallbacks, context.ports.chance.number(), now);
            context.tasks.spawn(Resolution::new(context, key.clone(), group, plan, Arc::clone(&flight)).run());
            Some(flight)
        }
        Join::Full => {
            if let Some(cached) = context.memory.find_answer(key, now) {
                cached.end_refresh();
            }
            None
        }
    }
}

/// Asks one upstream once for one name, unless that name is being asked for already. The answer is
/// remembered like any other.
pub(super) fn probe(context: &Arc<Context>, upstream: UpstreamId, key: Key) {
    let now = context.now();
    let group = context.group_of(&key);
    let Join::Leads(flight) = context.flights.join(&key, Class::Probe, now) else { return };
    let attempts = &context.policy.attempts;
    let plan = Plan {
        targets: vec![context.upstreams.target(upstream, Class::Probe, now)],
        timer: context.upstreams.timer(group),
        hedge: attempts.second_after,
        deadline: attempts.second_after,
        // This probe ends before the next one, which must not have to wait for it.
        linger: context.policy.health.probe_min.max(attempts.second_after),
    };
    context.tasks.spawn(Resolution::probe(context, key, group, plan, flight).run());
}
