//! The work that goes on without any client: a review of upstreams and outages every second, and
//! the sweep that refreshes names after an outage.

use std::sync::Arc;
use std::time::Duration;

use super::accusations::Accusations;
use super::context::Context;
use super::critical::stale_critical_names;
use super::outage::{OutageChange, Outages};
use super::resolutions::{self, join_or_start};
use super::upstreams::Group;
use super::walks;
use crate::core::budget::Class;
use crate::core::decision::Availability;
use crate::core::time::Timestamp;
use crate::core::upstream::GroupId;

/// How often upstreams and outages are reviewed.
const REVIEW_EVERY: Duration = Duration::from_secs(1);
/// The pause between two reports of hits to the caches of the store, for up to [`HOT_ENTRIES`]
/// entries; longer for more of them, since that walks over all.
const HOT_EVERY: Duration = Duration::from_secs(10);
/// Entries that a walk takes some 3 ms for.
const HOT_ENTRIES: u64 = 10_000;
/// The largest number of names that one sweep refreshes.
const SWEEP_MAX: usize = 10_000;
/// The sweep begins after a random time up to this, so that many sidecars do not begin together.
const SWEEP_DELAY: Duration = Duration::from_secs(5);

/// Reviews upstreams and outages, and sweeps after an outage.
pub(super) struct Background {
    pub(super) context: Arc<Context>,
    pub(super) outages: Arc<Outages>,
}

impl Background {
    /// Runs for as long as the resolver does.
    pub(super) async fn run(self) {
        let context = &self.context;
        let mut accusations = Accusations::default();
        loop {
            tokio::time::sleep(REVIEW_EVERY).await;
            let now = context.now();
            for (id, group) in context.upstreams.groups().filter(|(_, group)| group.has_upstreams()) {
                group.pacing.review(context.ports.chance.number(), now);
                self.recheck_trouble(id, group, now);
                accusations.review(id, group, now);
                let evidence = || context.upstreams.evidence(id);
                match self.outages.review(id, &group.zone, group.availability(), evidence, now) {
                    OutageChange::Ended => context.tasks.spawn(sweep(Arc::clone(context), id)),
                    OutageChange::Began | OutageChange::None => {}
                }
            }
            // The heart beats after the work, which takes the locks that everything else takes.
            context.vitals.beat(now);
        }
    }

    /// Asks again for one of the questions in trouble, unless the upstreams are known to be down:
    /// when it is answered, names that failed need not wait any longer.
    fn recheck_trouble(&self, id: GroupId, group: &Group, now: Timestamp) {
        match group.availability() {
            Availability::Down => {}
            Availability::Healthy | Availability::Impaired => {
                if let Some(key) = group.recoveries.next_recheck(now) {
                    resolutions::recheck(&self.context, &key, id);
                }
            }
        }
    }
}

/// Reports hits to the caches of the store again and again.
pub(super) async fn report_hits(context: Arc<Context>) {
    let factor = u32::try_from(context.policy.cache.entries / HOT_ENTRIES).unwrap_or(u32::MAX);
    loop {
        tokio::time::sleep(HOT_EVERY.max(HOT_EVERY * factor)).await;
        walks::report_hits(&context).await;
    }
}

/// Refreshes the critical names of a group, then its other stale names, hottest first, at the pace
/// of the packet budget; ends when the group is not healthy any more.
async fn sweep(context: Arc<Context>, group: GroupId) {
    let delay = u32::try_from(context.ports.chance.number() % 1000).unwrap_or(0);
    tokio::time::sleep(SWEEP_DELAY * delay / 1000).await;
    // What clients ask for has come first.
    while context.upstreams.group(group).is_some_and(|group| group.pacing.is_busy(context.now())) {
        tokio::time::sleep(REVIEW_EVERY).await;
    }
    let pace = Duration::from_secs(1) / context.policy.budget.sweep_per_second.max(1);
    let critical = stale_critical_names(&context, group, context.now());
    let hottest = walks::hottest_stale(&context, group, SWEEP_MAX).await;
    for (key, cached) in critical.into_iter().chain(hottest) {
        if context.upstreams.availability(group) != Availability::Healthy {
            return;
        }
        // Clients may have had the name refreshed since the list was made.
        if cached.is_current() && !context.flights.contains(&key) {
            let _ = join_or_start(&context, &key, group, Class::Sweep);
            tokio::time::sleep(pace).await;
        }
    }
}
