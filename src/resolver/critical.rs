//! Keeps the critical names: resolves them at the start, refreshes them although nobody asks, holds
//! readiness back until they are known, and says when one is too old or denied.
//!
//! One task looks at all of them, at least once a second; there are at most 64 names of 4 types.
//! What it asks goes through the same flights, failure rechecks and budget as any other question,
//! in a class of its own; it has a few flights of its own, so that a flood cannot keep it out.
//! While all upstreams of a name are down, what is remembered is left to the probes; as each name
//! is looked at again after a random time of up to five seconds, those of many sidecars do not come
//! back in one moment.
//!
//! Each name is asked as most clients ask: without DO and CD. What is learned for clients that set
//! them is kept as safely (see [`crate::memory::pinned`]), but refreshed only when they ask. What the hosts
//! file answers is known and fresh, and asked of nobody.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;

use super::Resolver;
use crate::core::budget::Class;
use crate::core::classify::{Failure, Kind};
use crate::core::critical::{self, CriticalTrouble, ServedAs, Standing};
use crate::core::decision::{Availability, Refresh};
use crate::core::key::Key;
use crate::core::policy::CriticalName;
use crate::core::time::Timestamp;
use crate::core::upstream::GroupId;
use crate::memory::cached::CachedAnswer;
use crate::memory::store::Found;
use crate::telemetry::events;

/// How often all names are looked at, at least.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The same while readiness waits for them.
const LOOK_EVERY_AT_FIRST: Duration = Duration::from_millis(25);
/// The shortest time between two looks.
const LOOK_EVERY_MIN: Duration = Duration::from_millis(10);
/// A name that could not be asked, or has just been, is looked at again after this …
const AGAIN_MIN: Duration = Duration::from_secs(1);
/// … to this long; and while readiness waits, after a tenth of it.
const AGAIN_MAX: Duration = Duration::from_secs(5);

/// How one critical name and type stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Critical {
    /// Name and type.
    pub key: Key,
    /// How it stands.
    pub standing: Standing,
    /// What kind of answer it has.
    pub kind: Option<Kind>,
    /// How old that is.
    pub age: Option<Duration>,
    /// How long it is fresh yet; zero when it is not.
    pub fresh_for: Duration,
    /// How old it may become.
    pub max_age: Duration,
    /// Since when it is older than that; for a name that is missing, since when there has been no
    /// answer for so long.
    pub too_old_since: Option<Timestamp>,
    /// Its last failed resolution in this run of the process.
    pub last_failure: Option<LastFailure>,
}

/// A failed resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastFailure {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub failure: Failure,
}

/// All critical names and types.
pub(super) struct Watchlist {
    /// In the configured order.
    watched: Vec<Watched>,
    /// Where each key stands in it.
    places: HashMap<Box<[u8]>, usize, foldhash::fast::RandomState>,
}

/// One critical name and type.
struct Watched {
    /// Name and type.
    key: Key,
    /// How old its answer may become.
    max_age: Duration,
    /// What is known of its state.
    state: Mutex<WatchState>,
}

/// The state of one critical name and type.
#[derive(Clone, Copy, Default)]
struct WatchState {
    /// When the last answer came; before the first one, when the process began to wait for it.
    known: Timestamp,
    /// When the answer came that `due` belongs to.
    planned_for: Option<Timestamp>,
    /// When it is to be asked.
    due: Timestamp,
    /// What is wrong, and since when.
    trouble: Option<(CriticalTrouble, Timestamp)>,
    /// The last failed resolution.
    last_failure: Option<LastFailure>,
}

impl WatchState {
    /// What was planned belonged to an answer that is gone (flushed by hand): it is due now.
    fn plan_anew(&mut self, now: Timestamp) {
        if self.planned_for.take().is_some() {
            self.due = now;
        }
    }
}

impl Watchlist {
    /// The list of these names.
    pub(super) fn new(names: &[CriticalName], now: Timestamp) -> Self {
        let state = WatchState { known: now, ..WatchState::default() };
        let watched: Vec<Watched> = critical::watched_keys(names)
            .map(|(key, max_age)| Watched { key, max_age, state: Mutex::new(state) })
            .collect();
        let places =
            watched.iter().enumerate().map(|(place, watched)| (watched.key.as_bytes().into(), place)).collect();
        Self { watched, places }
    }

    /// Whether there are none.
    pub(super) const fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }

    /// Takes note of a failed resolution, if it concerns a critical name.
    pub(super) fn note_failure(&self, key: &Key, failure: Failure, now: Timestamp) {
        if let Some(watched) = self.places.get(key.as_bytes()).and_then(|place| self.watched.get(*place)) {
            watched.state.lock().last_failure = Some(LastFailure { at: now, failure });
        }
    }
}

impl Resolver {
    /// How the critical names stand, in the configured order.
    #[must_use]
    pub fn critical(&self) -> Vec<Critical> {
        let now = self.now();
        self.critical.watched.iter().map(|watched| self.standing(watched, now)).collect()
    }

    /// The critical names of a group whose answers are remembered and not fresh.
    pub(super) fn critical_stale(&self, group: GroupId, now: Timestamp) -> Vec<(Key, Arc<CachedAnswer>)> {
        let cached = |key: &Key| match self.memory.find(key, now) {
            Found::Answer(cached) => Some(cached),
            Found::Failure(_) | Found::Nothing => None,
        };
        let known =
            self.critical.watched.iter().filter_map(|watched| Some((watched.key.clone(), cached(&watched.key)?)));
        known.filter(|(_, cached)| cached.group() == group && !cached.is_fresh(now)).collect()
    }

    /// How one stands.
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
        if let Some(entry) = self.hosts.answer(&watched.key, &self.policy, now) {
            critical.standing = Standing::Fresh;
            critical.kind = Some(entry.kind);
            critical.age = Some(Duration::ZERO);
            critical.fresh_for = watched.max_age;
            return critical;
        }
        let mut known = state.known;
        if let Found::Answer(cached) = self.memory.find(&watched.key, now) {
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
        critical.too_old_since = match critical::trouble(critical.standing, known, watched.max_age, now) {
            Some(CriticalTrouble::TooOld) => Some(known.plus(watched.max_age)),
            Some(CriticalTrouble::Denied) | None => None,
        };
        critical
    }

    /// Looks after the critical names for as long as the process lives; without any, until it is
    /// ready.
    pub(super) async fn keep_critical(self: Arc<Self>) {
        let began = self.now();
        while !self.critical.is_empty() || !self.ready.load(Ordering::Relaxed) {
            let now = self.now();
            let mut next = now.plus(LOOK_EVERY);
            for watched in &self.critical.watched {
                next = next.min(self.look_after(watched, now));
                self.tell_trouble(watched, now);
            }
            if !self.ready.load(Ordering::Relaxed) {
                next = next.min(now.plus(LOOK_EVERY_AT_FIRST));
                self.review_readiness(began, now);
            }
            tokio::time::sleep(now.until(next).max(LOOK_EVERY_MIN)).await;
        }
    }

    /// Asks for one when it is due; gives when it is to be looked at again.
    fn look_after(self: &Arc<Self>, watched: &Watched, now: Timestamp) -> Timestamp {
        if self.hosts.answer(&watched.key, &self.policy, now).is_some() {
            watched.state.lock().known = now;
            return now.plus(LOOK_EVERY);
        }
        let found = self.memory.find(&watched.key, now);
        let mut state = watched.state.lock();
        let (group, refresh) = match &found {
            Found::Answer(cached) => {
                state.known = cached.entry.stored;
                if state.planned_for != Some(cached.entry.stored) {
                    state.planned_for = Some(cached.entry.stored);
                    state.due = critical::refresh_at(&cached.entry, watched.max_age, self.ports.chance.number());
                }
                (cached.group(), self.refresh_state(&watched.key, cached, now))
            }
            Found::Failure(failed) => {
                state.plan_anew(now);
                let group = self.group_of(&watched.key);
                let holds = failed.note.holds(|| self.upstreams.recoveries(group, watched.key.name()), now);
                (group, if holds { Refresh::Failed } else { Refresh::Idle })
            }
            Found::Nothing => {
                state.plan_anew(now);
                (self.group_of(&watched.key), Refresh::Idle)
            }
        };
        if now < state.due {
            return state.due;
        }
        state.due = now.plus(self.again());
        let due = state.due;
        drop(state);
        match (found, refresh, self.upstreams.availability(group)) {
            // Probes look for the return; what is remembered costs nothing meanwhile.
            (Found::Answer(_), Refresh::Idle, Availability::Down) => {}
            (_, Refresh::Idle, _) => drop(self.fly(&watched.key, group, Class::Critical)),
            (_, Refresh::Failed | Refresh::InFlight, _) => {}
        }
        due
    }

    /// A random time after which a name is looked at again.
    fn again(&self) -> Duration {
        let permille = u32::try_from(self.ports.chance.number() % 1000).unwrap_or_default();
        let again = AGAIN_MIN + AGAIN_MAX.saturating_sub(AGAIN_MIN) * permille / 1000;
        if self.ready.load(Ordering::Relaxed) { again } else { again / 10 }
    }

    /// Says what is wrong with a name once when it begins, and once when it ends.
    fn tell_trouble(&self, watched: &Watched, now: Timestamp) {
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
                events::CriticalNameTroubled {
                    name: &watched.key,
                    trouble,
                    age: now.since(state.known),
                    max_age: watched.max_age,
                }
                .emit();
            }
        }
    }

    /// Ends the wait of readiness when all names are known and there is an upstream, or when it has
    /// taken long enough.
    fn review_readiness(&self, began: Timestamp, now: Timestamp) {
        let nobody = self.upstreams.all().is_empty().then(|| "any upstream".to_owned());
        let missing: Vec<String> = self
            .critical
            .watched
            .iter()
            .filter(|watched| self.standing(watched, now).standing == Standing::Missing)
            .map(|watched| watched.key.to_string())
            .chain(nobody)
            .collect();
        let waited = now.since(began);
        if missing.is_empty() {
            self.ready.store(true, Ordering::Relaxed);
            if !self.critical.is_empty() {
                events::CriticalNamesKnown { answers: self.critical.watched.len(), after: waited }.emit();
            }
        } else if waited >= self.policy.ready_timeout {
            self.ready.store(true, Ordering::Relaxed);
            events::ReadyWithout { missing: &missing, after: waited }.emit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::key::Dnssec;
    use crate::core::testing::name;

    fn names() -> Vec<CriticalName> {
        vec![CriticalName { name: name("db.example.com").into(), types: vec![1, 28], max_age: Duration::from_secs(60) }]
    }

    #[test]
    fn only_failures_of_critical_names_are_kept() {
        let list = Watchlist::new(&names(), Timestamp::from_secs(1));
        let note = |text: &str| {
            list.note_failure(
                &Key::new(&name(text), 1, 1, Dnssec::default()),
                Failure::Timeout,
                Timestamp::from_secs(9),
            )
        };
        note("other.example.com");
        assert!(list.watched.iter().all(|watched| watched.state.lock().last_failure.is_none()));
        note("db.example.com");
        let kept: Vec<_> = list.watched.iter().map(|watched| watched.state.lock().last_failure).collect();
        assert_eq!(kept, [Some(LastFailure { at: Timestamp::from_secs(9), failure: Failure::Timeout }), None]);
    }
}
