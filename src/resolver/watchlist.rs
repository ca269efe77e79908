//! The watchlist of critical names, with the state of each: when its answer came, when it is to be
//! asked for again, and its trouble.
//!
//! There are at most 64 names of 4 types. Each is asked for as most clients ask: without DO and CD.
//! What is learned for clients that set them is kept as safely (see
//! [`crate::core::critical::pinned_keys`]), but refreshed only when those clients ask.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use crate::core::classify::{Failure, Kind};
use crate::core::critical::{self, CriticalTrouble, Standing};
use crate::core::key::Key;
use crate::core::policy::CriticalName;
use crate::core::time::Timestamp;

/// The state of one critical name and type, as it is reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Critical {
    /// The name and type, without DO and CD.
    pub key: Key,
    /// The standing of the name: fresh, stale, denied or missing.
    pub standing: Standing,
    /// The kind of the remembered answer; `None` without one.
    pub kind: Option<Kind>,
    /// The age of the remembered answer; `None` without one.
    pub age: Option<Duration>,
    /// How long the answer will still be fresh; zero when it is not fresh.
    pub fresh_for: Duration,
    /// The age of an answer beyond which an alarm is raised.
    pub max_age: Duration,
    /// Since when the answer is older than `max_age`, or since when the name has been without an
    /// answer for that long.
    pub too_old_since: Option<Timestamp>,
    /// The last failed resolution of the name in this run of the process.
    pub last_failure: Option<LastFailure>,
}

/// A failed resolution of a critical name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastFailure {
    /// The moment at which the resolution failed.
    pub at: Timestamp,
    /// The reason for which the resolution failed.
    pub failure: Failure,
}

/// All critical names and types.
pub(super) struct Watchlist {
    /// The names and types, in the configured order.
    pub(super) watched: Vec<Watched>,
    /// Where each key stands in `watched`.
    places: HashMap<Box<[u8]>, usize, foldhash::fast::RandomState>,
}

/// One critical name and type.
pub(super) struct Watched {
    pub(super) key: Key,
    pub(super) max_age: Duration,
    pub(super) state: Mutex<WatchState>,
}

/// The changing state of one critical name and type.
#[derive(Clone, Copy, Default)]
pub(super) struct WatchState {
    /// When the last answer came; before the first one, when the process began to wait for it.
    pub(super) known: Timestamp,
    /// When the answer came for which `due` was computed.
    pub(super) planned_for: Option<Timestamp>,
    /// When the name is to be asked for.
    pub(super) due: Timestamp,
    /// The trouble that was logged, and since when there is trouble.
    pub(super) trouble: Option<(CriticalTrouble, Timestamp)>,
    pub(super) last_failure: Option<LastFailure>,
}

impl WatchState {
    /// Makes a name due now whose answer is gone, since the present plan belongs to an answer that
    /// was flushed.
    pub(super) fn plan_anew(&mut self, now: Timestamp) {
        if self.planned_for.take().is_some() {
            self.due = now;
        }
    }
}

impl Watchlist {
    /// Makes the list of these names, none of which has been asked for yet.
    pub(super) fn new(names: &[CriticalName], now: Timestamp) -> Self {
        let state = WatchState { known: now, ..WatchState::default() };
        let watched: Vec<Watched> = critical::watched_keys(names)
            .map(|(key, max_age)| Watched { key, max_age, state: Mutex::new(state) })
            .collect();
        let places =
            watched.iter().enumerate().map(|(place, watched)| (watched.key.as_bytes().into(), place)).collect();
        Self { watched, places }
    }

    /// Whether there are no critical names.
    pub(super) const fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }

    /// Notes a failed resolution, if it concerns a critical name.
    pub(super) fn note_failure(&self, key: &Key, failure: Failure, now: Timestamp) {
        if let Some(watched) = self.places.get(key.as_bytes()).and_then(|place| self.watched.get(*place)) {
            watched.state.lock().last_failure = Some(LastFailure { at: now, failure });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::key::Dnssec;
    use crate::core::testing::name;

    #[test]
    fn only_failures_of_critical_names_are_kept() {
        let db =
            CriticalName { name: name("db.example.com").into(), types: vec![1, 28], max_age: Duration::from_secs(60) };
        let list = Watchlist::new(&[db], Timestamp::from_secs(1));
        let note = |text: &str| {
            let key = Key::new(&name(text), 1, 1, Dnssec::default());
            list.note_failure(&key, Failure::Timeout, Timestamp::from_secs(9));
        };
        note("other.example.com");
        assert!(list.watched.iter().all(|watched| watched.state.lock().last_failure.is_none()));
        note("db.example.com");
        let kept: Vec<_> = list.watched.iter().map(|watched| watched.state.lock().last_failure).collect();
        assert_eq!(kept, [Some(LastFailure { at: Timestamp::from_secs(9), failure: Failure::Timeout }), None]);
    }
}
