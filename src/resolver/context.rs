//! The context of a resolution: the parts that work on it, side by side, and the functions that
//! need two of them at once.
//!
//! Each part can be used and tested without the others. They are together here because a resolution
//! outlives the query that started it: it holds one `Arc<Context>` instead of ten. Nothing that
//! belongs to clients (queries, the hosts file, readiness, outages as they are counted) is here.

use std::sync::{Arc, OnceLock};

use super::flights::Flights;
use super::packets::Packets;
use super::ports::{Ports, SharedCache};
use super::recoveries::{Recovery, suffix_of};
use super::reversals::GuardedChanges;
use super::sharing::ClientSharing;
use super::tasks::Tasks;
use super::upstreams::Upstreams;
use super::vitals::{Vitals, supervise};
use super::watchlist::Watchlist;
use crate::core::classify::Kind;
use crate::core::decision::{Recheck, Refresh};
use crate::core::key::Key;
use crate::core::policy::Policy;
use crate::core::time::Timestamp;
use crate::core::upstream::GroupId;
use crate::memory::Memory;
use crate::memory::cached::{CachedAnswer, FailureNote};
use crate::telemetry::tally::Failures;
use crate::telemetry::tasks::LongTask;

/// The parts that a resolution works with.
pub(super) struct Context {
    pub(super) policy: Policy,
    pub(super) memory: Arc<Memory>,
    pub(super) upstreams: Upstreams,
    /// Shared with the memory's flush hook, which must not keep the whole context alive.
    pub(super) flights: Arc<Flights>,
    pub(super) packets: Packets,
    /// Who the clients are that share flights and packets.
    pub(super) sharing: Arc<ClientSharing>,
    /// Responses of upstreams that were no answer.
    pub(super) failures: Failures,
    pub(super) watchlist: Watchlist,
    pub(super) reversals: GuardedChanges,
    pub(super) ports: Ports,
    /// Empty until [`super::Resolver::share`] is called, which may be after the start.
    pub(super) shared_cache: OnceLock<Arc<dyn SharedCache>>,
    pub(super) tasks: Tasks,
    pub(super) vitals: Arc<Vitals>,
}

impl Context {
    /// Runs a task for as long as the resolver does, and starts it again whenever it panics.
    pub(super) fn supervise<F>(&self, task: LongTask, start: impl Fn() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(supervise(task, Arc::clone(&self.vitals), start));
    }

    pub(super) fn now(&self) -> Timestamp {
        self.memory.now()
    }

    /// The upstream group of a key's name.
    pub(super) fn group_of(&self, key: &Key) -> GroupId {
        self.memory.routes().group_of(key.name())
    }

    /// Whether a positive answer to a question is remembered, and not overruled.
    pub(super) fn knows_data(&self, key: &Key) -> bool {
        self.memory.find_answer(key, self.now()).is_some_and(|cached| cached.entry.kind == Kind::Positive)
    }

    /// Whether the failure recheck timer of a name and type is still running. A recovery of what
    /// the name depends on ends it early.
    pub(super) fn recheck(&self, key: &Key, group: GroupId, note: &FailureNote, now: Timestamp) -> Recheck {
        if note.holds(|| self.upstreams.recoveries(group, key.name()), now) { Recheck::NotDue } else { Recheck::Due }
    }

    /// The state of the refresh of a remembered answer.
    pub(super) fn refresh_state(&self, key: &Key, cached: &CachedAnswer, now: Timestamp) -> Refresh {
        match self.recheck(key, cached.group(), &cached.failure, now) {
            Recheck::NotDue => Refresh::Failed,
            Recheck::Due if cached.refresh_began().is_some() => Refresh::InFlight,
            Recheck::Due => Refresh::Idle,
        }
    }

    /// Notes that a name was answered, and lets others that failed with it be asked for again.
    pub(super) fn note_answer(&self, key: &Key, group: GroupId, now: Timestamp) {
        let Some(recoveries) = self.upstreams.group(group).map(|group| &group.recoveries) else { return };
        match recoveries.note_answer(key, now) {
            Recovery::None => {}
            Recovery::OfSuffix => {
                let suffix = suffix_of(key.name());
                self.release_flights(|key| suffix_of(key.name()) == suffix);
            }
            Recovery::OfGroup => self.release_flights(|key| self.group_of(key) == group),
        }
    }

    /// Lets the resolutions of these names that have given up listen on unseen, since what they
    /// depend on has recovered: a client that asks from now on starts another resolution instead of
    /// joining one from before the recovery.
    pub(super) fn release_flights(&self, concerns: impl Fn(&Key) -> bool) {
        for key in self.flights.release(concerns) {
            if let Some(cached) = self.memory.find_answer(&key, self.now()) {
                cached.end_refresh();
            }
        }
    }
}
