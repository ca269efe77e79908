//! Explains one name: gathers what decides about its queries, and foresees what they get.
//!
//! What is foreseen is decided by [`crate::core::decision`], from the same facts as in
//! [`super::front`], except for what a real query changes: no hit is counted, and no turn of a
//! refresh is taken. An outage is foreseen with the same facts and all primaries down. No upstream
//! is asked, and nothing is walked over.
//!
//! | remembered | foreseen from |
//! |---|---|
//! | an answer of the hosts file | the file alone |
//! | an answer to the question | `decide_known` |
//! | a fresh denial of another type | that denial, as fresh |
//! | a failure | `decide_unknown`, with what is left of its failure recheck timer |
//! | nothing, and a special-use name | the name alone |
//! | nothing | `decide_unknown` |

use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use super::front::Front;
use super::last_resort;
use super::listing::show_failure;
use super::reading::{show_charges, show_critical};
use super::upstreams::Upstream;
use super::watchlist::Critical;
use crate::core::decision::{self, Availability, Beside, Freshness, KnownAction, Recheck, Refresh, UnknownAction};
use crate::core::entry::maximum_stale;
use crate::core::health::{LATE, UpstreamState};
use crate::core::key::{Dnssec, Key, NameText, type_text};
use crate::core::message::CLASS_IN;
use crate::core::special;
use crate::core::time::Timestamp;
use crate::core::upstream::{GroupId, Role};
use crate::memory::cached::CachedAnswer;
use crate::memory::store::Found;
use crate::telemetry::reading::explanation::{
    ExplainedQuestion, ExplainedUpstream, Explanation, Foreseen, ForeseenReading, RememberedReading, kind_label,
};
use crate::telemetry::reading::seconds;

/// The state of the upstreams for which an answer is foreseen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weather {
    /// As they are.
    Present,
    /// All primaries are down.
    Outage,
}

/// Explains a name in lower-cased wire form, for queries of these types without DO and CD.
pub(super) fn explain(front: &Front, critical: &[Critical], name: &[u8], types: &[u16]) -> Explanation {
    let (context, now) = (&front.context, front.context.now());
    let routes = context.memory.routes();
    let group = routes.group_of(name);
    let members = context.upstreams.members(group);
    let questions = types.iter().map(|qtype| {
        let key = Key::new(name, *qtype, CLASS_IN, Dnssec::default());
        let has_fallback = members.iter().any(|upstream| upstream.role == Role::Fallback);
        Question::new(front, &key, group, has_fallback, now).explain(critical)
    });
    Explanation {
        name: NameText(name).to_string(),
        zone: NameText(routes.zone_of(name)).to_string(),
        availability: state_of(context.upstreams.availability(group)).label().to_owned(),
        outage_seconds: front.outages.present(group).map(|outage| seconds(now.since(outage.began))),
        upstreams: members.iter().map(|upstream| show_upstream(upstream, now)).collect(),
        shared_cache: context.shared_cache.get().is_some(),
        questions: questions.collect(),
    }
}

/// The state that an availability stands for.
const fn state_of(availability: Availability) -> UpstreamState {
    match availability {
        Availability::Healthy => UpstreamState::Healthy,
        Availability::Impaired => UpstreamState::Impaired,
        Availability::Down => UpstreamState::Down,
    }
}

fn show_upstream(upstream: &Upstream, now: Timestamp) -> ExplainedUpstream {
    let evidence = upstream.evidence();
    let beginning = format!("{}: ", upstream.label);
    ExplainedUpstream {
        upstream: upstream.label.clone(),
        role: match upstream.role {
            Role::Primary => "primary",
            Role::Fallback => "fallback",
        },
        state: upstream.state().label(),
        state_age_seconds: upstream.since().map(|since| seconds(now.since(since))),
        evidence: evidence.strip_prefix(&beginning).unwrap_or(&evidence).to_owned(),
        looping: upstream.is_looping(now),
        rtt_p99_seconds: upstream.p99().map(seconds),
    }
}

/// One question, with everything that decides what its queries get.
struct Question<'a> {
    front: &'a Front,
    context: &'a Context,
    key: &'a Key,
    group: GroupId,
    now: Timestamp,
    /// Why no upstream is asked for it.
    local: Option<&'static str>,
    found: Found,
    /// A fresh denial of another type, where the question itself has no answer.
    denial: Option<Arc<CachedAnswer>>,
    nearest: Option<Arc<CachedAnswer>>,
    /// Whether anybody but primaries may have an answer.
    has_elsewhere: bool,
}

impl<'a> Question<'a> {
    fn new(front: &'a Front, key: &'a Key, group: GroupId, has_fallback: bool, now: Timestamp) -> Self {
        let context = &*front.context;
        let (memory, policy) = (&context.memory, &context.policy);
        let found = memory.find(key, now);
        let is_answered = matches!(found, Found::Answer(_));
        let local = if front.hosts.answer(key, policy, now).is_some() {
            Some("hosts_file")
        } else if matches!(found, Found::Nothing) && special::is_special(key.name(), memory.routes()) {
            Some("special_use")
        } else {
            None
        };
        let denial = if is_answered { None } else { memory.store().find_denial(key, now) };
        let nearest = if is_answered || local.is_some() { None } else { memory.nearest(key, now) };
        let has_elsewhere = has_fallback || context.shared_cache.get().is_some();
        Self { front, context, key, group, now, local, found, denial, nearest, has_elsewhere }
    }

    fn explain(&self, critical: &[Critical]) -> ExplainedQuestion {
        let (context, key, now) = (self.context, self.key, self.now);
        // While upstreams are ill, whatever fails is their fault.
        let healthy = context.upstreams.group(self.group).filter(|own| own.availability() == Availability::Healthy);
        let recoveries = healthy.map(|group| &group.recoveries);
        let (remembered, failure) = match &self.found {
            Found::Answer(cached) => {
                (Some(self.show(cached)), show_failure(context, key, &cached.failure, cached.failed_for(), now))
            }
            Found::Failure(failed) => {
                (None, show_failure(context, key, &failed.note, Some(failed.reason.failure), now))
            }
            Found::Nothing => (None, None),
        };
        ExplainedQuestion {
            rtype: type_text(key.qtype()).into_owned(),
            local: self.local,
            remembered,
            overruled: context.memory.store().find_overruled(key, now).map(|cached| self.show(&cached)),
            nearest: self.nearest.as_ref().map(|cached| self.show(cached)),
            failure,
            in_flight: context.flights.contains(key),
            failed_in_a_row: recoveries.and_then(|own| own.trouble_of(key)).map_or(0, |(failures, _)| failures),
            charges: recoveries.map(|own| show_charges(&own.charges().of(key), now)).unwrap_or_default(),
            critical: critical.iter().find(|own| own.key == *key).map(|own| show_critical(own, now)),
            now: self.foresee(Weather::Present),
            outage: self.foresee(Weather::Outage),
        }
    }

    fn show(&self, cached: &CachedAnswer) -> RememberedReading {
        let (entry, now) = (&cached.entry, self.now);
        let fresh = cached.is_fresh(now);
        RememberedReading {
            kind: kind_label(entry.kind),
            origin: cached.origin().label(),
            age_seconds: (!entry.undated).then(|| seconds(now.since(entry.stored))),
            fresh,
            ttl_left_seconds: if fresh { seconds(now.until(cached.fresh_until())) } else { 0.0 },
            servable_seconds: seconds(now.until(entry.stale_until)),
            maximum_stale_seconds: seconds(maximum_stale(self.key, &self.context.policy).0),
            hits: cached.hits(),
            marked_stale: entry.is_marked_stale(),
            records: Vec::new(),
        }
    }

    /// What a query gets.
    fn foresee(&self, weather: Weather) -> ForeseenReading {
        if self.local == Some("hosts_file") {
            return at_once(Foreseen::Local, "the hosts file comes before everything else");
        }
        match (&self.found, &self.denial) {
            (Found::Answer(cached), _) => self.foresee_known(cached, weather),
            (Found::Failure(_) | Found::Nothing, Some(denial)) => {
                self.lasting(at_once(Foreseen::Fresh, "another type of the name was denied: it does not exist"), denial)
            }
            (Found::Failure(failed), None) => {
                let recheck = self.context.recheck(self.key, self.group, &failed.note, self.now);
                self.foresee_unknown(recheck, failed.last_resort.as_ref(), weather)
            }
            (Found::Nothing, None) if self.local.is_some() => {
                at_once(Foreseen::Local, "special-use names are answered without any upstream")
            }
            (Found::Nothing, None) => self.foresee_unknown(Recheck::Due, None, weather),
        }
    }

    /// What a query gets of which an answer is remembered.
    fn foresee_known(&self, cached: &CachedAnswer, weather: Weather) -> ForeseenReading {
        let (context, upstreams, now) = (self.context, &self.context.upstreams, self.now);
        let freshness = self.front.freshness(cached, cached.hits().saturating_add(1), now);
        let availability = match (weather, freshness) {
            (Weather::Outage, _) => Availability::Down,
            (Weather::Present, Freshness::Fresh(_)) => upstreams.availability(self.group),
            (Weather::Present, Freshness::Stale) => upstreams.availability_for(self.group, self.key),
        };
        let refresh = context.refresh_state(self.key, cached, now);
        let foreseen = match decision::decide_known(freshness, refresh, availability) {
            KnownAction::Fresh(beside) => {
                ForeseenReading { asks: beside == Beside::Refresh, ..at_once(Foreseen::Fresh, "it is within its TTL") }
            }
            KnownAction::Stale(beside) => ForeseenReading {
                asks: beside == Beside::Refresh && !upstreams.has_to_wait(cached, now),
                ..at_once(Foreseen::Stale, self.why_stale(refresh, availability))
            },
            KnownAction::AwaitRefresh if self.front.waited_enough(cached, now) => {
                at_once(Foreseen::Stale, "its refresh has taken longer than the client response timer")
            }
            KnownAction::StartRefresh if upstreams.has_to_wait(cached, now) => {
                at_once(Foreseen::Stale, "the turn of its refresh has not come")
            }
            KnownAction::AwaitRefresh | KnownAction::StartRefresh => {
                let timer = upstreams.timer(self.group);
                let patience = if cached.entry.was_never_fresh() { timer.max(LATE) } else { timer };
                ForeseenReading {
                    asks: true,
                    waits_seconds: seconds(patience),
                    ..at_once(Foreseen::RefreshedElseStale, "its TTL is over, and an upstream is healthy")
                }
            }
        };
        self.lasting(foreseen, cached)
    }

    fn why_stale(&self, refresh: Refresh, availability: Availability) -> &'static str {
        let is_charged = self.context.upstreams.availability(self.group) == Availability::Healthy;
        match (refresh, availability) {
            (Refresh::Failed, _) => "its last refresh failed, and its failure recheck timer is running",
            (_, Availability::Down) => "all upstreams are down",
            (_, Availability::Impaired) if is_charged => "its zone or type is in trouble",
            (_, Availability::Healthy | Availability::Impaired) => "no upstream is healthy",
        }
    }

    /// What a query gets of which no answer is remembered.
    fn foresee_unknown(
        &self,
        recheck: Recheck,
        last_resort: Option<&Arc<CachedAnswer>>,
        weather: Weather,
    ) -> ForeseenReading {
        let availability = match weather {
            Weather::Present => self.context.upstreams.availability(self.group),
            Weather::Outage => Availability::Down,
        };
        let action = decision::decide_unknown(recheck, availability);
        let at_hand = match action {
            UnknownAction::Ask => None,
            UnknownAction::NearestElseAsk => self.nearest.as_ref(),
            UnknownAction::NearestElseFailure => last_resort,
        };
        match (action, at_hand) {
            (_, Some(cached)) if last_resort::is_fresh(cached, self.now) => {
                self.lasting(at_once(Foreseen::Fresh, "a truncated answer is all that was to be had"), cached)
            }
            (_, Some(cached)) => self.lasting(at_once(Foreseen::Stale, "it is the nearest to the question"), cached),
            (UnknownAction::NearestElseFailure, None) => {
                at_once(Foreseen::CachedFailure, "the last resolution failed, and its failure recheck timer is running")
            }
            (UnknownAction::Ask | UnknownAction::NearestElseAsk, None) => self.ask(availability, weather),
        }
    }

    /// What a query gets that has to wait for a resolution.
    fn ask(&self, availability: Availability, weather: Weather) -> ForeseenReading {
        let attempts = &self.context.policy.attempts;
        let brief = attempts.deadline.min(attempts.second_after);
        let (answer, because, waits): (_, _, Duration) = match (availability, weather) {
            (Availability::Healthy | Availability::Impaired, _) => {
                let deadline = self.context.upstreams.deadline(self.group, self.now);
                (Foreseen::Resolved, "nothing is remembered", deadline)
            }
            (Availability::Down, _) if self.has_elsewhere => {
                (Foreseen::ResolvedElsewhere, "nothing is remembered, and all primaries are down", attempts.deadline)
            }
            (Availability::Down, _) => (Foreseen::Failed, "nothing is remembered, and all upstreams are down", brief),
        };
        ForeseenReading { asks: true, waits_seconds: seconds(waits), ..at_once(answer, because) }
    }

    /// The same with how long this answer lasts.
    fn lasting(&self, foreseen: ForeseenReading, cached: &CachedAnswer) -> ForeseenReading {
        let now = self.now;
        let fresh_for = if cached.is_fresh(now) { now.until(cached.fresh_until()) } else { Duration::ZERO };
        let servable = now.until(cached.entry.stale_until);
        ForeseenReading {
            fresh_for_seconds: seconds(fresh_for),
            stale_for_seconds: seconds(servable.saturating_sub(fresh_for)),
            ..foreseen
        }
    }
}

/// An answer for which the client does not wait.
fn at_once(answer: Foreseen, because: &str) -> ForeseenReading {
    ForeseenReading { answer: answer.label(), because: because.to_owned(), ..ForeseenReading::default() }
}
