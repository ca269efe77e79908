//! The critical names, and what is known of each: when its answer came, when it is to be asked for
//! again, what is wrong with it.
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

/// How one critical name and type stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Critical {
    /// The name and type.
    pub key: Key,
    /// How it stands.
    pub standing: Standing,
    /// The kind of answer that is remembered of it; `None` without one.
    pub kind: Option<Kind>,
    /// The age of that answer.
    pub age: Option<Duration>,
    /// How long the answer will still be fresh; zero when it is not.
    pub fresh_for: Duration,
    /// The age beyond which its answer is alarming.
    pub max_age: Duration,
    /// Since when its answer is older than that; for a name without an answer, since when it has
    /// been without one for so long.
    pub too_old_since: Option<Timestamp>,
    /// Its last failed resolution in this run of the process.
    pub last_failure: Option<LastFailure>,
}

/// A failed resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastFailure {
    /// When the resolution failed.
    pub at: Timestamp,
    /// Why it failed.
    pub failure: Failure,
}

/// All critical names and types.
pub(super) struct Watchlist {
    /// In the configured order.
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

/// What changes about one critical name and type.
#[derive(Clone, Copy, Default)]
pub(super) struct WatchState {
    /// When the last answer came; before the first one, when the process began to wait for it.
    pub(super) known: Timestamp,
    /// When the answer came for which `due` was computed.
    pub(super) planned_for: Option<Timestamp>,
    /// When the name is to be asked for.
    pub(super) due: Timestamp,
    /// What is wrong, and since when.
    pub(super) trouble: Option<(CriticalTrouble, Timestamp)>,
    pub(super) last_failure: Option<LastFailure>,
}

impl WatchState {
    /// Makes a name due now whose answer is gone: what was planned belonged to an answer that was
    /// flushed.
    pub(super) fn plan_anew(&mut self, now: Timestamp) {
        if self.planned_for.take().is_some() {
            self.due = now;
        }
    }
}

impl Watchlist {
    /// The list of these names, which nobody has asked for yet.
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

    /// Takes note of a failed resolution, if it concerns a critical name.
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
