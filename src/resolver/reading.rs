//! Reads everything that the resolver holds, for the admin interface.
//!
//! Counters are read where they lie. Two things that no counter knows are found by a walk over all
//! answers: how many are expired, and which name in use will be lost first. The walk takes no lock
//! for longer than one answer and costs some 0.3 µs an answer, on the calling thread.
//!
//! *In use* means served stale in the present outage: this is known exactly, and it is the name
//! that an application would miss. A name that is asked for once an hour counts from the first time
//! that it is asked for in the outage.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::accusations;
use super::context::Context;
use super::outage::{Outages, PresentOutage};
use super::upstreams::Upstream;
use super::watchlist::Critical;
use crate::core::budget::Class;
use crate::core::classify::Failure;
use crate::core::critical::Standing;
use crate::core::decision::Availability;
use crate::core::key::NameText;
use crate::core::special::Readiness;
use crate::core::time::Timestamp;
use crate::core::trouble::Charges;
use crate::memory::cached::CachedAnswer;
use crate::memory::journal::Origin;
use crate::telemetry::reading::{
    CacheReading, ChargeReading, ClientReading, CriticalReading, CurrentOutageReading, OutageReading, PacketReading,
    Reading, StoreSizeReading, TroubleReading, UpstreamReading, seconds,
};

/// Clients that are shown: enough to see who floods, and few enough for labels of metrics.
const TOP_CLIENTS: usize = 5;

/// The findings of a walk over all answers.
struct Walk {
    /// Answers that are expired and can be served.
    expired: u64,
    /// By group: the answer in use that will be lost first.
    first: Vec<Option<Arc<CachedAnswer>>>,
}

/// Reads everything that the resolver holds; fields of which the resolver knows nothing keep their
/// default.
pub(super) fn read(context: &Context, outages: &Outages, critical: &[Critical], readiness: Readiness) -> Reading {
    let now = context.now();
    let upstreams = &context.upstreams;
    let present: Vec<Option<PresentOutage>> = upstreams.groups().map(|(group, _)| outages.present(group)).collect();
    let walk = walk(context, &present, now);
    // Groups without upstreams have no outages.
    let outages = upstreams.groups().filter(|(_, group)| group.has_upstreams()).map(|(id, group)| OutageReading {
        zone: group.zone.clone(),
        begun: outages.begun(id),
        current: present
            .get(id.index())
            .and_then(Option::as_ref)
            .map(|outage| show(outage, walk.first.get(id.index()), now)),
    });
    Reading {
        ready: readiness == Readiness::Ready,
        upstreams: upstreams.all().iter().map(|upstream| show_upstream(upstream, now)).collect(),
        packets: Class::ALL.iter().map(|class| (class.label().to_owned(), packets(context, *class))).collect(),
        unusable_responses: context.failures.by_label_of(&Failure::OF_RESPONSES),
        outages: outages.collect(),
        troubles: troubles(context, now),
        cache: cache(context, walk.expired),
        answers_learned: Origin::ALL
            .iter()
            .map(|origin| (origin.label().to_owned(), context.memory.learned(*origin)))
            .collect(),
        critical: critical.iter().map(|critical| show_critical(critical, now)).collect(),
        resolutions_in_flight: u64::try_from(context.flights.len()).unwrap_or(u64::MAX),
        queries_shed: context.sharing.shed().by_label(),
        reversals: context.reversals.outcomes().by_label(),
        top_clients: top_clients(context, now),
        ..Reading::default()
    }
}

/// The clients for which most is under way.
fn top_clients(context: &Context, now: Timestamp) -> Vec<ClientReading> {
    let flights = context.flights.by_client();
    let waiting: BTreeMap<_, _> = context.sharing.waiting().into_iter().collect();
    let whole = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let clients = flights.keys().chain(waiting.keys()).collect::<BTreeSet<_>>().into_iter().map(|client| {
        let (resolutions, queued) = flights.get(client).copied().unwrap_or_default();
        let (name, shed) = context.sharing.describe(*client);
        ClientReading {
            client: name,
            resolutions: whole(resolutions),
            queued: whole(queued),
            waiting: waiting.get(client).copied().map_or(0, whole),
            packets: u64::from(context.packets.used(*client, now)),
            shed,
        }
    });
    let mut clients: Vec<ClientReading> = clients.collect();
    clients.sort_by_key(|own| Reverse((own.resolutions + own.queued, own.waiting, own.packets)));
    // All pools have one name, and the heaviest stands for them: a label stands for one value.
    let mut names = BTreeSet::new();
    clients.retain(|own| names.insert(own.client.clone()));
    clients.truncate(TOP_CLIENTS);
    clients
}

/// Walks over all answers, fresh ones included.
fn walk(context: &Context, present: &[Option<PresentOutage>], now: Timestamp) -> Walk {
    let mut walk = Walk { expired: 0, first: vec![None; present.len()] };
    let answers = context.memory.store().answers();
    for cached in answers.filter(|cached| !cached.entry.is_fresh(now) && cached.entry.is_servable(now)) {
        walk.expired += 1;
        let group = cached.group().index();
        let outage = present.get(group).and_then(Option::as_ref);
        if !outage.is_some_and(|outage| cached.is_stale_of(outage.number)) {
            continue;
        }
        if let Some(first) = walk.first.get_mut(group)
            && first.as_ref().is_none_or(|first| cached.entry.stale_until < first.entry.stale_until)
        {
            *first = Some(cached);
        }
    }
    walk
}

fn packets(context: &Context, class: Class) -> PacketReading {
    let sends = context.packets.sends();
    PacketReading { sent: sends.total(class), over_budget: sends.total_over_budget(class) }
}

fn cache(context: &Context, expired_entries: u64) -> CacheReading {
    let [positive, negative, failure] =
        context.memory.store().sizes().map(|(entries, bytes)| StoreSizeReading { entries, bytes });
    CacheReading { positive, negative, failure, expired_entries, limit_bytes: context.policy.cache.bytes }
}

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

fn show_upstream(upstream: &Upstream, now: Timestamp) -> UpstreamReading {
    UpstreamReading {
        upstream: upstream.label.clone(),
        state: upstream.state().label().to_owned(),
        looping: upstream.is_looping(now),
        rtt_p99_seconds: upstream.p99().map(seconds),
        attempts: upstream.attempts().by_label(),
        overdue_attempts: upstream.overdue_attempts(),
        state_age_seconds: upstream.since().map(|since| seconds(now.since(since))),
        witnesses: upstream.testimonies().by_label(),
    }
}

/// What is in trouble although its upstreams are healthy, group by group.
fn troubles(context: &Context, now: Timestamp) -> Vec<TroubleReading> {
    let well = context.upstreams.groups().filter(|(_, group)| group.availability() == Availability::Healthy);
    well.map(|(_, group)| TroubleReading {
        zone: group.zone.clone(),
        questions: u64::try_from(group.recoveries.troubled()).unwrap_or(u64::MAX),
        charges: show_charges(&group.recoveries.charges(), now),
    })
    .filter(|trouble| trouble.questions > 0)
    .collect()
}

pub(super) fn show_charges(charges: &Charges, now: Timestamp) -> Vec<ChargeReading> {
    let charges = accusations::in_words(charges).into_iter().map(|(charged, names, since)| ChargeReading {
        charged,
        names: u64::try_from(names).unwrap_or(u64::MAX),
        duration_seconds: seconds(now.since(since)),
    });
    charges.collect()
}

pub(super) fn show_critical(critical: &Critical, now: Timestamp) -> CriticalReading {
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
