//! The memory of a sidecar: remembered answers and failures, and a journal of their changes.
//!
//! This room knows no upstream and no query. The resolver learns into it and answers from it; the
//! state file, the shared cache, seeds and the admin interface read it and restore into it. All of
//! them hold an `Arc<Memory>` and none of them needs the resolver for that.
//!
//! | part | what it does |
//! |---|---|
//! | [`store`] | answers and failures by key: last known good beside negative answers beside failures |
//! | [`journal`] | reports to each reader what was learned or flushed since the reader last looked |
//! | [`flushes`] | remembers the flushes of operators, so that what they covered is not restored from elsewhere |
//! | [`thread_cache`] | the answers that one thread gave lately, so that a hit costs no look at the store |
//!
//! Everything that is learned or flushed goes through [`Memory`], so that the journal has it.
//! Reading does not need that: [`Memory::store`] gives the store, and the methods that change the
//! store are private to this room.
//!
//! A flush must also reach resolutions that have reported their answer already, or the next client
//! would join one of them and be given what was flushed. The memory does not know any resolution;
//! the resolver installs a hook for that ([`Memory::on_flush`]).

pub mod cached;
mod capacity;
mod filtered;
pub mod flushes;
pub mod journal;
mod pinned;
mod place;
mod positive;
pub mod store;
pub mod thread_cache;

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::core::critical::pinned_keys;
use crate::core::entry::Entry;
use crate::core::key::Key;
use crate::core::policy::Policy;
use crate::core::record::Record;
use crate::core::restore::{self, Shift};
use crate::core::routes::Routes;
use crate::core::time::{Clock, Timestamp};
use cached::{CachedAnswer, ResolutionFailure};
use flushes::{Flushes, Scope};
use journal::{Change, Journal, Origin, Reader};
use store::{Found, Store};

/// A function that is called with every key that is flushed.
type FlushHook = Box<dyn Fn(&Key) + Send + Sync>;

/// Everything that a sidecar remembers.
pub struct Memory {
    policy: Policy,
    /// Gives the upstream group of every name that is learned or restored.
    routes: Routes,
    clock: Arc<dyn Clock>,
    store: Store,
    journal: Journal,
    flushes: Mutex<Flushes>,
    flush_hook: OnceLock<FlushHook>,
}

impl Memory {
    /// Makes an empty memory within the bounds of `policy`, with pinned places for the critical
    /// names.
    #[must_use]
    pub fn new(policy: &Policy, routes: Routes, clock: Arc<dyn Clock>) -> Self {
        Self {
            store: Store::with_pinned(&policy.cache, &pinned_keys(&policy.critical)),
            policy: policy.clone(),
            routes,
            clock,
            journal: Journal::default(),
            flushes: Mutex::default(),
            flush_hook: OnceLock::new(),
        }
    }

    /// The present moment on the timeline of everything that is remembered.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The operator's choices that bound what is remembered, and for how long.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The routes, which say which names share their upstreams.
    #[must_use]
    pub const fn routes(&self) -> &Routes {
        &self.routes
    }

    /// The store of all answers and failures, for reading.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Finds what is remembered of a name and type; takes no lock that a writer holds for long.
    #[must_use]
    pub fn find(&self, key: &Key, now: Timestamp) -> Found {
        self.store.find(key, now)
    }

    /// Finds the answer to a name and type, whether fresh or stale.
    #[must_use]
    pub fn find_answer(&self, key: &Key, now: Timestamp) -> Option<Arc<CachedAnswer>> {
        match self.store.find(key, now) {
            Found::Answer(cached) => Some(cached),
            Found::Failure(_) | Found::Nothing => None,
        }
    }

    /// Remembers an answer that an upstream gave just now.
    pub fn insert(&self, key: &Key, entry: Entry) -> Arc<CachedAnswer> {
        let cached = self.store.insert(key, entry, self.routes.group_of(key.name()));
        self.journal.note(&Change::Learned(Arc::clone(&cached), Origin::Upstream));
        cached
    }

    /// Remembers an answer that was learned elsewhere or earlier, with the hits that it had there.
    /// The times of the answer must lie on our timeline already (see [`crate::core::restore`]).
    /// False when the memory has an answer that is as new or newer.
    pub fn restore(&self, key: &Key, entry: Entry, hits: u32, origin: Origin) -> bool {
        let Some(cached) = self.store.restore(key, entry, self.routes.group_of(key.name()), hits) else { return false };
        self.journal.note(&Change::Learned(cached, origin));
        true
    }

    /// Remembers the record that the shared cache had of a name. False when the record is past its
    /// maximum stale, when the memory has an answer that is as new or newer, or when the name was
    /// flushed here after the record was learned.
    pub fn restore_shared(&self, key: &Key, record: Record) -> bool {
        if self.flushes.lock().covers(key, record.entry.stored) {
            return false;
        }
        let restored = restore::restore(key, record.entry, Shift::NONE, &self.policy, self.now());
        restored.is_some_and(|entry| self.restore(key, entry, record.hits, Origin::SharedCache))
    }

    /// Notes that a resolution of a name failed: beside the answer to the name if one is known,
    /// else in the failure cache. `recheck` computes the end of the failure recheck timer from the
    /// number of failures in a row; `recoveries` is the count of recoveries when the resolution
    /// began.
    pub fn note_failure(
        &self,
        key: &Key,
        failure: &ResolutionFailure,
        recheck: impl Fn(u32) -> Timestamp,
        recoveries: u32,
    ) {
        self.store.note_failure(key, failure, recheck, recoveries, self.now());
    }

    /// Takes a name out of the failure cache, since it has just been answered.
    pub fn clear_failure(&self, key: &Key) {
        self.store.clear_failure(key);
    }

    /// Makes a reader of everything that is learned or flushed from now on.
    #[must_use]
    pub fn journal(&self) -> Reader {
        self.journal.read()
    }

    /// The number of answers of this origin that were remembered so far.
    #[must_use]
    pub fn learned(&self, origin: Origin) -> u64 {
        self.journal.learned(origin)
    }

    /// Installs a hook that is called with every key that is flushed from now on. Only the first
    /// hook is installed; later ones are ignored.
    pub fn on_flush(&self, hook: impl Fn(&Key) + Send + Sync + 'static) {
        let _ = self.flush_hook.set(Box::new(hook));
    }

    /// Flushes everything that is remembered of one name and type; false when nothing was.
    pub fn flush(&self, key: &Key) -> bool {
        let known = self.store.flush(key);
        if let Some(hook) = self.flush_hook.get() {
            hook(key);
        }
        if known {
            self.journal.note(&Change::Flushed(Box::new(key.clone())));
        }
        known
    }

    /// Flushes every name and type in `scope`, and gives the number of those that were known. What
    /// the shared cache learned of them before this moment is not restored either.
    pub fn flush_all(&self, scope: &Scope) -> u64 {
        // Noted first, so that nothing is restored between the walk and the note.
        self.flushes.lock().note(Arc::clone(scope), self.now());
        let keys = self.store.answers().filter_map(|cached| cached.key()).chain(self.store.failed());
        keys.filter(|key| scope(key)).fold(0, |flushed, key| flushed + u64::from(self.flush(&key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::classify::classify;
    use crate::core::key::Dnssec;
    use crate::core::testing::{Response, name, policy};

    struct Stopped;

    impl Clock for Stopped {
        fn now(&self) -> Timestamp {
            Timestamp::from_secs(1_000_000)
        }
    }

    fn memory() -> Memory {
        Memory::new(&policy(), Routes::new(&[]), Arc::new(Stopped))
    }

    fn key(text: &str) -> Key {
        Key::new(&name(text), 1, 1, Dnssec::default())
    }

    fn entry(key: &Key, text: &str) -> Entry {
        let bytes = Response::new(text, 1).a(text, 60).bytes();
        Entry::remember(key, &bytes, classify(1, &bytes), &policy(), Stopped.now()).unwrap().entry
    }

    #[test]
    fn what_is_learned_and_flushed_reaches_readers_and_the_hook() {
        let memory = memory();
        let reader = memory.journal();
        let flushed = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&flushed);
        memory.on_flush(move |key| noted.lock().push(key.clone()));
        let www = key("www.example.com");
        memory.insert(&www, entry(&www, "www.example.com"));
        assert!(memory.find_answer(&www, memory.now()).is_some());
        assert!(memory.flush(&www) && !memory.flush(&www));
        assert!(memory.find_answer(&www, memory.now()).is_none());
        let changes = reader.take().changes;
        assert!(matches!(&changes[..], [Change::Learned(_, Origin::Upstream), Change::Flushed(_)]), "{changes:?}");
        assert_eq!(
            *flushed.lock(),
            [www.clone(), www],
            "also for a name that is not known, since its resolution may be under way"
        );
    }

    #[test]
    fn what_was_flushed_is_not_restored_from_the_shared_cache() {
        let memory = memory();
        let (www, other) = (key("www.example.com"), key("other.example.com"));
        let flushed = www.clone();
        assert_eq!(memory.flush_all(&(Arc::new(move |key: &Key| *key == flushed) as Scope)), 0);
        assert!(!memory.restore_shared(&www, Record { entry: entry(&www, "www.example.com"), hits: 1 }));
        assert!(memory.restore_shared(&other, Record { entry: entry(&other, "other.example.com"), hits: 1 }));
        assert_eq!(memory.learned(Origin::SharedCache), 1);
    }
}
