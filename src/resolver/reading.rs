//! Looks over everything that the resolver holds, for whoever shows it: the admin interface.
//!
//! Counters are read where they lie. What no counter tells, it finds by walking over all answers:
//! how many are expired, and which name that is in use will be lost first. That walk takes no lock
//! for longer than one answer and costs some 0.3 µs an answer, on the thread of who asks.
//!
//! *In use* is what has been served stale in the present outage: that is known exactly, and is what
//! an application would miss. A name that is asked for once an hour counts from the first time that
//! it is asked for in the outage.

use std::sync::Arc;

use super::Resolver;
use super::critical::Critical;
use super::outage::PresentOutage;
use super::upstreams::Upstream;
use crate::core::budget::Class;
use crate::core::classify::Failure;
use crate::core::critical::Standing;
use crate::core::key::NameText;
use crate::core::special::Readiness;
use crate::core::time::Timestamp;
use crate::memory::cached::CachedAnswer;
use crate::memory::flushes::Scope;
use crate::memory::journal::Origin;
use crate::telemetry::reading::{
    CacheReading, CriticalReading, CurrentOutageReading, OutageReading, PacketReading, Reading, StoreSizeReading,
    UpstreamReading, seconds,
};

/// What a walk over all answers finds.
struct Walk {
    /// Answers that are expired and can be served.
    expired: u64,
    /// By group: the answer in use that will be lost first.
    first: Vec<Option<Arc<CachedAnswer>>>,
}

impl Resolver {
    /// Looks over everything; what the resolver does not know is left as it is by default.
    #[must_use]
    pub fn survey(&self) -> Reading {
        let now = self.now();
        let groups = self.upstreams.groups();
        let present: Vec<Option<PresentOutage>> = (0..groups.len()).map(|group| self.outages.present(group)).collect();
        let walk = self.walk(&present, now);
        let outages =
            groups.iter().enumerate().filter(|(_, group)| group.has_upstreams()).map(|(index, group)| OutageReading {
                zone: group.zone.clone(),
                begun: self.outages.begun(index),
                current: present
                    .get(index)
                    .and_then(Option::as_ref)
                    .map(|outage| show(outage, walk.first.get(index), now)),
            });
        Reading {
            ready: self.readiness() == Readiness::Ready,
            upstreams: self.upstreams.all().iter().map(|upstream| show_upstream(upstream, now)).collect(),
            packets: Class::ALL.iter().map(|class| (class.label().to_owned(), self.packets(*class))).collect(),
            unusable_responses: self.failures.by_label_of(&Failure::OF_RESPONSES),
            outages: outages.collect(),
            cache: self.cache(walk.expired),
            answers_learned: Origin::ALL
                .iter()
                .map(|origin| (origin.label().to_owned(), self.journal.learned(*origin)))
                .collect(),
            critical: self.critical().iter().map(|critical| show_critical(critical, now)).collect(),
            resolutions_in_flight: u64::try_from(self.in_flight()).unwrap_or(u64::MAX),
            ..Reading::default()
        }
    }

    /// Walks over all answers.
    fn walk(&self, present: &[Option<PresentOutage>], now: Timestamp) -> Walk {
        let mut walk = Walk { expired: 0, first: vec![None; present.len()] };
        for cached in self.store.answers().filter(|cached| !cached.entry.is_fresh(now) && cached.entry.is_servable(now))
        {
            walk.expired += 1;
            let outage = present.get(cached.group()).and_then(Option::as_ref);
            if !outage.is_some_and(|outage| cached.is_stale_of(outage.number)) {
                continue;
            }
            if let Some(first) = walk.first.get_mut(cached.group())
                && first.as_ref().is_none_or(|first| cached.entry.stale_until < first.entry.stale_until)
            {
                *first = Some(cached);
            }
        }
        walk
    }

    /// Packets of one class.
    fn packets(&self, class: Class) -> PacketReading {
        PacketReading { sent: self.sends.total(class), over_budget: self.sends.total_shed(class) }
    }

    /// What is remembered.
    fn cache(&self, expired_entries: u64) -> CacheReading {
        let [positive, negative, failure] =
            self.store.sizes().map(|(entries, bytes)| StoreSizeReading { entries, bytes });
        CacheReading { positive, negative, failure, expired_entries, limit_bytes: self.policy.cache.bytes }
    }

    /// Forgets every name and type that is meant, also what the fleet learned of it so far; gives
    /// how many were known here.
    pub fn forget_all(&self, meant: &Scope) -> u64 {
        // First, so that nothing comes back in between.
        self.forgotten.lock().note(Arc::clone(meant), self.now());
        let keys = self.store.answers().filter_map(|cached| cached.key()).chain(self.store.failed());
        keys.filter(|key| meant(key)).fold(0, |forgotten, key| forgotten + u64::from(self.forget(&key)))
    }
}

/// Shows an outage under way.
fn show(outage: &PresentOutage, first: Option<&Option<Arc<CachedAnswer>>>, now: Timestamp) -> CurrentOutageReading {
    let first = first.and_then(Option::as_ref);
    CurrentOutageReading {
        duration_seconds: seconds(now.since(outage.began)),
        stale_answers: outage.saved,
        names_served_stale: outage.names,
        failed_answers: outage.failed,
        cliff_name: first.and_then(|cached| cached.key()).map(|key| key.to_string()),
        time_to_cliff_seconds: first.map(|cached| seconds(now.until(cached.entry.stale_until))),
    }
}

/// Shows an upstream.
fn show_upstream(upstream: &Upstream, now: Timestamp) -> UpstreamReading {
    UpstreamReading {
        upstream: upstream.label.clone(),
        state: upstream.state().label().to_owned(),
        looping: upstream.is_looping(now),
        rtt_p99_seconds: upstream.p99().map(seconds),
        attempts: upstream.attempts().by_label(),
        overdue_attempts: upstream.overdue_attempts(),
    }
}

/// Shows a critical name.
fn show_critical(critical: &Critical, now: Timestamp) -> CriticalReading {
    let shown = critical.key.to_string();
    CriticalReading {
        name: NameText(critical.key.name()).to_string(),
        rtype: shown.rsplit(' ').next().unwrap_or_default().to_owned(),
        age_seconds: critical.age.map(seconds),
        fresh: critical.standing == Standing::Fresh,
        state: critical.standing.label().to_owned(),
        too_old_seconds: critical.too_old_since.map(|since| seconds(now.since(since))),
        last_failure: critical.last_failure.map(|last| last.failure.label().to_owned()),
    }
}
