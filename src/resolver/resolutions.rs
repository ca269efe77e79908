//! Starts resolutions, or joins those that are under way.

use std::sync::Arc;

use super::context::Context;
use super::flight::Flight;
use super::flights::Join;
use super::resolution::Resolution;
use super::upstreams::Fallbacks;
use crate::core::budget::{Class, PacketClaim};
use crate::core::clients::ClientId;
use crate::core::key::Key;
use crate::core::upstream::GroupId;
use crate::memory::cached::CachedAnswer;

/// Joins the resolution of a key, or starts it; `None` when too many are under way. `group` is the
/// upstream group of the key's name.
pub(super) fn join_or_start(
    context: &Arc<Context>,
    key: &Key,
    group: GroupId,
    sender: impl Into<PacketClaim>,
) -> Option<Arc<Flight>> {
    let (sender, now) = (sender.into(), context.now());
    let flight = carry_on(context, key, group, sender.class, context.flights.join(key, sender, now));
    if flight.is_none()
        && let Some(cached) = context.memory.find_answer(key, now)
    {
        cached.end_refresh();
    }
    flight
}

/// What has come of waiting for a place among the resolutions.
pub(super) enum Turn {
    /// The resolution of the key is under way.
    Flight(Arc<Flight>),
    /// Meanwhile the name was answered.
    Answered(Arc<CachedAnswer>),
}

/// Joins the resolution of a client's key, or starts it; waits for its turn when too many are under
/// way. Bounded by the caller. Cancel safe.
pub(super) async fn join_in_turn(context: &Arc<Context>, key: &Key, group: GroupId, client: ClientId) -> Turn {
    let sender = PacketClaim { class: Class::Miss, client: Some(client) };
    if let Some(flight) = join_or_start(context, key, group, sender) {
        return Turn::Flight(flight);
    }
    loop {
        let queue = context.flights.queue(client);
        queue.turn().await;
        let now = context.now();
        if let Some(cached) = context.memory.find_answer(key, now).filter(|cached| cached.is_fresh(now)) {
            return Turn::Answered(cached);
        }
        if let Some(flight) = carry_on(context, key, group, sender.class, queue.join(key, now)) {
            return Turn::Flight(flight);
        }
    }
}

/// Runs the resolution that the caller leads; `None` when the table is full.
fn carry_on(context: &Arc<Context>, key: &Key, group: GroupId, class: Class, join: Join) -> Option<Arc<Flight>> {
    let now = context.now();
    match join {
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
        Join::Full => None,
    }
}

/// Asks again for a name that failed, whether or not its failure recheck timer has run out, unless
/// it is being asked for already. The answer is remembered like any other; another failure is not
/// noted.
pub(super) fn recheck(context: &Arc<Context>, key: &Key, group: GroupId) {
    let now = context.now();
    let Join::Leads(flight) = context.flights.join(key, Class::Probe.into(), now) else { return };
    let chance = context.ports.chance.number();
    let plan = context.upstreams.plan(group, Class::Probe, Fallbacks::LeftOut, chance, now);
    context.tasks.spawn(Resolution::recheck(context, key.clone(), group, plan, flight).run());
}
