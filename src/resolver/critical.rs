//! Keeps the critical names: resolves them at the start, refreshes them although no client asks,
//! holds readiness back until they are known, and logs when one is too old or denied.
//!
//! One task looks at all of them, at least once a second. Its questions go through the same
//! flights, failure rechecks and packet budget as any other question, in a class of their own; they
//! have a few places of their own among the flights, so that a flood cannot keep them out.
//!
//! | remembered | failure recheck | upstreams | a name that is due |
//! |---|---|---|---|
//! | an answer | not running | not down | is asked for |
//! | an answer | not running | down | is left alone: what is remembered costs nothing meanwhile |
//! | no answer | not running | any | is asked for |
//! | anything | running, or a resolution is under way | any | is left alone |
//!
//! Each name is looked at again after a random time of up to five seconds, so that those of many
//! sidecars do not come back in one moment when an outage ends. What the hosts file answers is
//! known and fresh, and no upstream is asked for it.

use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use super::hosts::HostsTable;
use super::readiness::ReadyFlag;
use super::resolutions::join_or_start;
use super::watchlist::{Critical, Watched};
use crate::core::budget::Class;
use crate::core::critical::{self, CriticalTrouble, ServedAs, Standing};
use crate::core::decision::{Availability, Recheck, Refresh};
use crate::core::key::Key;
use crate::core::special::Readiness;
use crate::core::time::Timestamp;
use crate::core::upstream::GroupId;
use crate::memory::cached::CachedAnswer;
use crate::memory::store::Found;
use crate::telemetry::events;

/// How often all names are looked at, at least.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often they are looked at while readiness waits for them.
const LOOK_EVERY_AT_FIRST: Duration = Duration::from_millis(25);
/// The shortest time between two looks.
const LOOK_EVERY_MIN: Duration = Duration::from_millis(10);
/// The shortest time after which a name that was due is due again.
const AGAIN_MIN: Duration = Duration::from_secs(1);
/// The longest such time. While readiness waits, both are a tenth.
const AGAIN_MAX: Duration = Duration::from_secs(5);

/// Keeps the critical names, and reports their states.
pub(super) struct CriticalNames {
    pub(super) context: Arc<Context>,
    pub(super) hosts: Arc<HostsTable>,
    pub(super) ready: Arc<ReadyFlag>,
}

impl CriticalNames {
    /// The states of the critical names, in the configured order.
    pub(super) fn standings(&self) -> Vec<Critical> {
        let now = self.context.now();
        self.context.watchlist.watched.iter().map(|watched| self.standing(watched, now)).collect()
    }

    /// The state of one critical name.
    fn standing(&self, watched: &Watched, now: Timestamp) -> Critical {
        let state = *watched.state.lock();
        let mut critical = Critical {
            key: watched.key.clone(),
            standing: Standing::Missing,
            kind: None,
            age: None,
            fresh_for: Duration::ZERO,
            max_age: watched.max_age,
            too_old_since: None,
            last_failure: state.last_failure,
        };
        // The hosts file answers without an upstream, so its names are always fresh.
        if let Some(entry) = self.hosts.answer(&watched.key, &self.context.policy, now) {
            critical.standing = Standing::Fresh;
            critical.kind = Some(entry.kind);
            critical.age = Some(Duration::ZERO);
            critical.fresh_for = watched.max_age;
            return critical;
        }
        // A remembered answer decides about all other names; without one the name is missing.
        let mut known = state.known;
        if let Some(cached) = self.context.memory.find_answer(&watched.key, now) {
            let given = if cached.is_fresh(now) { ServedAs::Fresh } else { ServedAs::Stale };
            known = cached.entry.stored;
            critical.standing = critical::standing(&cached.entry, given, watched.max_age, now);
            critical.kind = Some(cached.entry.kind);
            critical.age = Some(now.since(known));
            critical.fresh_for = match critical.standing {
                Standing::Fresh => now.until(cached.entry.fresh_until.min(known.plus(watched.max_age))),
                Standing::Stale | Standing::Denied | Standing::Missing => Duration::ZERO,
            };
        }
        // A name whose answer is older than `max_age`, or missing for that long, is too old.
        critical.too_old_since = match critical::trouble(critical.standing, known, watched.max_age, now) {
            Some(CriticalTrouble::TooOld) => Some(known.plus(watched.max_age)),
            Some(CriticalTrouble::Denied) | None => None,
        };
        critical
    }

    /// Keeps the critical names for as long as the resolver runs. Where there are none, it only
    /// ends the wait of readiness for a first upstream.
    pub(super) async fn keep(self: Arc<Self>) {
        let began = self.context.now();
        while !self.context.watchlist.is_empty() || self.ready.get() == Readiness::NotYet {
            let now = self.context.now();
            let mut next = now.plus(LOOK_EVERY);
            for watched in &self.context.watchlist.watched {
                next = next.min(self.look_after(watched, now));
                self.log_trouble(watched, now);
            }
            if self.ready.get() == Readiness::NotYet {
                next = next.min(now.plus(LOOK_EVERY_AT_FIRST));
                self.review_readiness(began, now);
            }
            tokio::time::sleep(now.until(next).max(LOOK_EVERY_MIN)).await;
        }
    }

    /// Asks for a name when it is due; gives the time at which it is to be looked at again.
    fn look_after(&self, watched: &Watched, now: Timestamp) -> Timestamp {
        let context = &self.context;
        if self.hosts.answer(&watched.key, &context.policy, now).is_some() {
            watched.state.lock().known = now;
            return now.plus(LOOK_EVERY);
        }
        // What is remembered decides when the name is due, and in which state its refresh is.
        let found = context.memory.find(&watched.key, now);
        let mut state = watched.state.lock();
        let (group, refresh) = match &found {
            Found::Answer(cached) => {
                state.known = cached.entry.stored;
                // A new answer gets a plan of its own, at a moment that is drawn at random.
                if state.planned_for != Some(cached.entry.stored) {
                    state.planned_for = Some(cached.entry.stored);
                    state.due = critical::refresh_at(&cached.entry, watched.max_age, context.ports.chance.number());
                }
                (cached.group(), context.refresh_state(&watched.key, cached, now))
            }
            Found::Failure(failed) => {
                state.plan_anew(now);
                let group = context.group_of(&watched.key);
                match context.recheck(&watched.key, group, &failed.note, now) {
                    Recheck::NotDue => (group, Refresh::Failed),
                    Recheck::Due => (group, Refresh::Idle),
                }
            }
            Found::Nothing => {
                state.plan_anew(now);
                (context.group_of(&watched.key), Refresh::Idle)
            }
        };
        if now < state.due {
            return state.due;
        }
        state.due = now.plus(self.again());
        let due = state.due;
        // A resolution may take note of a failure at once, which needs this lock.
        drop(state);
        // The table at the top of this module says which names are asked for.
        match (found, refresh, context.upstreams.availability(group)) {
            (Found::Answer(_), Refresh::Idle, Availability::Down) => {}
            (_, Refresh::Idle, _) => drop(join_or_start(context, &watched.key, group, Class::Critical)),
            (_, Refresh::Failed | Refresh::InFlight, _) => {}
        }
        due
    }

    /// A random time after which a name is due again.
    fn again(&self) -> Duration {
        let permille = u32::try_from(self.context.ports.chance.number() % 1000).unwrap_or_default();
        let again = AGAIN_MIN + AGAIN_MAX.saturating_sub(AGAIN_MIN) * permille / 1000;
        match self.ready.get() {
            Readiness::Ready => again,
            Readiness::NotYet | Readiness::Stalled => again / 10,
        }
    }

    /// Logs the trouble of a name, once when it begins and once when it ends.
    fn log_trouble(&self, watched: &Watched, now: Timestamp) {
        let standing = self.standing(watched, now).standing;
        let mut state = watched.state.lock();
        let trouble = critical::trouble(standing, state.known, watched.max_age, now);
        match (state.trouble, trouble) {
            (None, None) => {}
            (Some((before, _)), Some(trouble)) if before == trouble => {}
            (Some((_, since)), None) => {
                state.trouble = None;
                events::CriticalNameWell { name: &watched.key, lasted: now.since(since) }.emit();
            }
            (_, Some(trouble)) => {
                state.trouble = Some((trouble, now));
                let age = now.since(state.known);
                events::CriticalNameTroubled { name: &watched.key, trouble, age, max_age: watched.max_age }.emit();
            }
        }
    }

    /// Ends the wait of readiness when all names are known and there is an upstream, or when the
    /// wait has taken as long as the operator allows.
    fn review_readiness(&self, began: Timestamp, now: Timestamp) {
        let context = &self.context;
        let watched = &context.watchlist.watched;
        let no_upstream = context.upstreams.all().is_empty().then(|| "any upstream".to_owned());
        let missing: Vec<String> = watched
            .iter()
            .filter(|watched| self.standing(watched, now).standing == Standing::Missing)
            .map(|watched| watched.key.to_string())
            .chain(no_upstream)
            .collect();
        let waited = now.since(began);
        if missing.is_empty() {
            self.ready.set_ready();
            if !watched.is_empty() {
                events::CriticalNamesKnown { answers: watched.len(), after: waited }.emit();
            }
        } else if waited >= context.policy.ready_timeout {
            self.ready.set_ready();
            events::ReadyWithout { missing: &missing, after: waited }.emit();
        }
    }
}

/// The critical names of a group whose answers are remembered and not fresh.
pub(super) fn stale_critical_names(context: &Context, group: GroupId, now: Timestamp) -> Vec<(Key, Arc<CachedAnswer>)> {
    let watched = context.watchlist.watched.iter();
    let known = watched.filter_map(|own| Some((own.key.clone(), context.memory.find_answer(&own.key, now)?)));
    known.filter(|(_, cached)| cached.group() == group && !cached.is_fresh(now)).collect()
}
