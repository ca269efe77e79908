//! The outages of each upstream group: when they begin and end, and how many answers were saved
//! meanwhile.
//!
//! An outage begins when all upstreams of a group are down, or when none has been healthy for five
//! seconds; it ends when one has been healthy for five seconds, so that half-healed upstreams are
//! neither announced nor swept over and over again. Between the two the answers from memory are
//! counted, and the different names among them.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::core::decision::Availability;
use crate::core::health::UpstreamState;
use crate::core::time::Timestamp;
use crate::core::upstream::GroupId;
use crate::memory::cached::CachedAnswer;
use crate::telemetry::events;

/// How long upstreams may be impaired before that counts as an outage.
const IMPAIRED_FOR: Duration = Duration::from_secs(5);
/// How long an upstream must be healthy until an outage is over.
const HEALTHY_FOR: Duration = Duration::from_secs(5);

/// The outages of all groups, past and present.
pub(super) struct Outages {
    /// By [`GroupId`].
    groups: Vec<GroupOutage>,
    /// The number of the next stretch of ill health.
    next: AtomicU32,
}

/// The outages of one group.
#[derive(Default)]
struct GroupOutage {
    /// The number of the present or last stretch of ill health, so that each name is counted once.
    present: AtomicU32,
    /// Stale answers during that stretch.
    saved: AtomicU64,
    /// Different names and types among those.
    names: AtomicU64,
    /// Answers with SERVFAIL during that stretch.
    failed: AtomicU64,
    /// Outages that have begun so far.
    begun: AtomicU64,
    since: Mutex<Since>,
}

/// The cost of an outage under way so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PresentOutage {
    /// The number of the outage, which answers that are served stale in it bear.
    pub(super) number: u32,
    pub(super) began: Timestamp,
    /// Stale answers so far.
    pub(super) saved: u64,
    /// Different names and types among those.
    pub(super) names: u64,
    /// Answers with SERVFAIL so far.
    pub(super) failed: u64,
}

/// The times at which a group came into its present condition.
#[derive(Clone, Copy, Default)]
struct Since {
    /// Since when no upstream is healthy.
    unhealthy: Option<Timestamp>,
    /// When the present outage began.
    outage: Option<Timestamp>,
    /// Since when an upstream is healthy again during the outage.
    healthy: Option<Timestamp>,
}

/// The change that a review of a group's upstreams has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutageChange {
    /// No outage began or ended.
    None,
    /// An outage began, and was logged.
    Began,
    /// An outage ended, and was logged.
    Ended,
}

impl Outages {
    /// Starts without an outage in any of so many groups.
    #[must_use]
    pub(super) fn new(groups: usize) -> Self {
        Self { groups: std::iter::repeat_with(GroupOutage::default).take(groups).collect(), next: AtomicU32::new(1) }
    }

    /// Counts a stale answer, and its name when it is the first one of that name in the outage.
    pub(super) fn note_stale(&self, cached: &CachedAnswer) {
        let Some(group) = self.groups.get(cached.group().index()) else { return };
        group.saved.fetch_add(1, Ordering::Relaxed);
        if cached.is_first_stale_of(group.present.load(Ordering::Relaxed)) {
            group.names.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts an answer with SERVFAIL.
    pub(super) fn note_failed(&self, group: GroupId) {
        if let Some(group) = self.groups.get(group.index()) {
            group.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The cost of a group's present outage so far; `None` without one.
    #[must_use]
    pub(super) fn present(&self, group: GroupId) -> Option<PresentOutage> {
        let group = self.groups.get(group.index())?;
        let began = group.since.lock().outage?;
        Some(PresentOutage {
            number: group.present.load(Ordering::Relaxed),
            began,
            saved: group.saved.load(Ordering::Relaxed),
            names: group.names.load(Ordering::Relaxed),
            failed: group.failed.load(Ordering::Relaxed),
        })
    }

    /// The number of outages of a group that have begun so far.
    #[must_use]
    pub(super) fn begun(&self, group: GroupId) -> u64 {
        self.groups.get(group.index()).map_or(0, |group| group.begun.load(Ordering::Relaxed))
    }

    /// Whether an outage is going on in any group.
    #[must_use]
    pub(super) fn any(&self) -> bool {
        self.groups.iter().any(|group| group.since.lock().outage.is_some())
    }

    /// Reviews the availability of a group; logs the beginning and the end of an outage. `evidence`
    /// says in words what shows that the upstreams are ill.
    pub(super) fn review(
        &self,
        group: GroupId,
        zone: &str,
        availability: Availability,
        evidence: impl FnOnce() -> String,
        now: Timestamp,
    ) -> OutageChange {
        let Some(group) = self.groups.get(group.index()) else { return OutageChange::None };
        let mut since = group.since.lock();
        let unhealthy = match availability {
            Availability::Healthy => None,
            Availability::Impaired | Availability::Down => Some(since.unhealthy.unwrap_or(now)),
        };
        // A new stretch of ill health, which may become an outage: its counts begin now.
        if unhealthy.is_some() && since.unhealthy.is_none() && since.outage.is_none() {
            for counter in [&group.saved, &group.names, &group.failed] {
                counter.store(0, Ordering::Relaxed);
            }
            group.present.store(self.next.fetch_add(1, Ordering::Relaxed).max(1), Ordering::Relaxed);
        }
        since.unhealthy = unhealthy;
        // The pair says whether the group is ill now, and which outage has been announced.
        match (unhealthy, since.outage) {
            (None, None) => OutageChange::None,
            (Some(_), Some(_)) => {
                since.healthy = None;
                OutageChange::None
            }
            (None, Some(began)) => {
                let healthy = *since.healthy.get_or_insert(now);
                if now.since(healthy) < HEALTHY_FOR {
                    return OutageChange::None;
                }
                since.outage = None;
                since.healthy = None;
                events::OutageEnded {
                    zones: zone,
                    lasted: healthy.since(began),
                    stale_answers: group.saved.load(Ordering::Relaxed),
                    names_served_stale: group.names.load(Ordering::Relaxed),
                    failed_answers: group.failed.load(Ordering::Relaxed),
                }
                .emit();
                OutageChange::Ended
            }
            (Some(from), None) => {
                let state =
                    if availability == Availability::Down { UpstreamState::Down } else { UpstreamState::Impaired };
                if state == UpstreamState::Impaired && now.since(from) < IMPAIRED_FOR {
                    return OutageChange::None;
                }
                since.outage = Some(from);
                group.begun.fetch_add(1, Ordering::Relaxed);
                events::OutageBegan { zones: zone, upstreams: state, evidence: &evidence() }.emit();
                OutageChange::Began
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_secs(1_000_000 + seconds)
    }

    #[test]
    fn down_is_an_outage_at_once_and_five_healthy_seconds_end_it() {
        let outages = Outages::new(1);
        assert_eq!(outages.review(GroupId::new(0), ".", Availability::Healthy, String::new, at(0)), OutageChange::None);
        assert_eq!(outages.review(GroupId::new(0), ".", Availability::Down, String::new, at(1)), OutageChange::Began);
        assert_eq!(
            outages.review(GroupId::new(0), ".", Availability::Impaired, String::new, at(2)),
            OutageChange::None
        );
        assert!(outages.any());
        outages.note_failed(GroupId::new(0));
        assert_eq!(outages.present(GroupId::new(0)).map(|present| (present.began, present.failed)), Some((at(1), 1)));
        assert_eq!(outages.review(GroupId::new(0), ".", Availability::Healthy, String::new, at(3)), OutageChange::None);
        assert_eq!(
            outages.review(GroupId::new(0), ".", Availability::Healthy, String::new, at(8)),
            OutageChange::Ended
        );
        assert!(!outages.any());
        assert_eq!((outages.present(GroupId::new(0)), outages.begun(GroupId::new(0))), (None, 1));
    }

    #[test]
    fn a_relapse_within_seconds_goes_on_with_the_same_outage() {
        let outages = Outages::new(1);
        assert_eq!(outages.review(GroupId::new(0), ".", Availability::Down, String::new, at(1)), OutageChange::Began);
        assert_eq!(outages.review(GroupId::new(0), ".", Availability::Healthy, String::new, at(3)), OutageChange::None);
        assert_eq!(outages.review(GroupId::new(0), ".", Availability::Down, String::new, at(7)), OutageChange::None);
        assert_eq!(outages.review(GroupId::new(0), ".", Availability::Healthy, String::new, at(9)), OutageChange::None);
        assert_eq!(
            outages.review(GroupId::new(0), ".", Availability::Healthy, String::new, at(13)),
            OutageChange::None
        );
        assert_eq!(
            outages.review(GroupId::new(0), ".", Availability::Healthy, String::new, at(14)),
            OutageChange::Ended
        );
    }

    #[test]
    fn a_short_impairment_is_none_and_a_long_one_is() {
        let outages = Outages::new(1);
        assert_eq!(
            outages.review(GroupId::new(0), ".", Availability::Impaired, String::new, at(0)),
            OutageChange::None
        );
        assert_eq!(
            outages.review(GroupId::new(0), ".", Availability::Impaired, String::new, at(4)),
            OutageChange::None
        );
        assert_eq!(
            outages.review(GroupId::new(0), ".", Availability::Impaired, String::new, at(5)),
            OutageChange::Began
        );
    }
}
