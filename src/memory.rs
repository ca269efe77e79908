//! The memory of a sidecar: remembered answers and failures, and a journal of their changes.
//!
//! This room knows no upstream and no query. The resolver learns into it and answers from it; the
//! state file, the shared cache, seeds and the admin interface read it and restore into it. All of
//! them hold an `Arc<Memory>` and none of them needs the resolver for that.
//!
//! | part | what it does |
//! |---|---|
//! | [`store`] | answers and failures by key: last known good beside negative answers beside failures |
//! | [`nearest`] | finds what stands in for a question of which nothing is remembered |
//! | [`journal`] | reports to each reader what was learned or flushed since the reader last looked |
//! | [`flushes`] | remembers the flushes of operators, so that what they covered is not restored from elsewhere |
//! | [`hottest`] | finds the hottest answers in a walk over the store |
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
pub mod cached_failure;
mod capacity;
mod denials;
mod failure_note;
mod filtered;
pub mod flushes;
pub mod hottest;
pub mod journal;
mod nearest;
mod origin;
mod pinned;
mod place;
mod positive;
pub mod store;
pub mod thread_cache;

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::core::critical::pinned_keys;
use crate::core::entry::Entry;
use crate::core::history::Past;
use crate::core::key::Key;
use crate::core::policy::Policy;
use crate::core::record::Record;
use crate::core::restore::{self, Shift};
use crate::core::routes::Routes;
use crate::core::time::{Clock, Timestamp};
use cached::CachedAnswer;
use cached_failure::ResolutionFailure;
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

    /// Finds what is nearest to a question of which nothing is remembered, in the form in which it
    /// answers that; see [`crate::core::nearest`]. May allocate.
    #[must_use]
    pub fn nearest(&self, key: &Key, now: Timestamp) -> Option<Arc<CachedAnswer>> {
        self.store.nearest(key, self.routes.group_of(key.name()), now)
    }

    /// As [`Self::nearest`], but only what is known of the name itself: under other DO or CD bits,
    /// or that it does not exist.
    #[must_use]
    pub fn nearest_of_name(&self, key: &Key, now: Timestamp) -> Option<Arc<CachedAnswer>> {
        self.store.knows_name(key, now).then(|| self.nearest(key, now))?
    }

    /// Compares what was restored with each other, after the last of many answers: a denial that
    /// came first may be older than data of its name.
    pub fn review_restored(&self) {
        self.store.review_denials();
    }

    /// Remembers an answer that an upstream gave just now to a question that was sent at `asked`,
    /// and gives the answer that counts: the present one, when its question was sent later.
    pub fn insert(&self, key: &Key, entry: Entry, asked: Timestamp) -> Arc<CachedAnswer> {
        match self.store.insert(key, entry, self.routes.group_of(key.name()), asked, &self.policy.prefetch) {
            Ok(cached) => {
                self.journal.note(&Change::Learned(Arc::downgrade(&cached), Origin::Upstream));
                cached
            }
            Err(present) => present,
        }
    }

    /// Remembers an answer that was learned elsewhere or earlier, with the past that it had there.
    /// The times of the answer must lie on our timeline already (see [`crate::core::restore`]).
    /// False when the memory has an answer that is as new or newer, or when a seed has what was
    /// flushed after it was learned.
    pub fn restore(&self, key: &Key, entry: Entry, past: impl Into<Past>, origin: Origin) -> bool {
        if origin == Origin::Seed && self.flushes.lock().covers(key, &entry) {
            return false;
        }
        let Some(cached) = self.store.restore(key, entry, self.routes.group_of(key.name()), past) else { return false };
        cached.came_from(origin);
        self.journal.note(&Change::Learned(Arc::downgrade(&cached), origin));
        true
    }

    /// Remembers the record that the shared cache had of a name. False when the record is past its
    /// maximum stale, when the memory has an answer that is as new or newer, or when the name was
    /// flushed here after the record was learned.
    pub fn restore_shared(&self, key: &Key, record: Record) -> bool {
        if self.flushes.lock().covers(key, &record.entry) {
            return false;
        }
        let restored = restore::restore(key, record.entry, Shift::NONE, &self.policy, self.now());
        restored.is_some_and(|entry| self.restore(key, entry, record.past, Origin::SharedCache))
    }

    /// Notes that a resolution of a name failed: beside the answer to the name if one is known,
    /// else in the failure cache, with the answer that is better than nothing, or with what is
    /// nearest. `recheck` computes the end of the failure recheck timer from the number of failures
    /// in a row; `recoveries` is the count of recoveries when the resolution began.
    pub fn note_failure(
        &self,
        key: &Key,
        failure: &ResolutionFailure,
        last_resort: Option<Arc<CachedAnswer>>,
        recheck: impl Fn(u32) -> Timestamp,
        recoveries: u32,
    ) {
        // What is nearest is looked for once, and not for each client that asks again.
        let now = self.now();
        let last_resort = last_resort.or_else(|| self.nearest(key, now));
        self.store.note(key, failure, last_resort, recheck, recoveries, now);
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

    /// Flushes every name and type in `scope`, with the answers that lead through these names, and
    /// gives the number of those that were known. What the shared cache or a seed learned of them
    /// before this moment is not restored either.
    pub fn flush_all(&self, scope: &Scope) -> u64 {
        // Noted first, so that nothing is restored between the walk and the note.
        self.flushes.lock().note(scope.clone(), self.now());
        // A denial of another type stays remembered for that type alone.
        self.store.dispute_denials(|name| scope.covers_name(name));
        let answers = self.store.answers().filter_map(|cached| {
            let key = cached.key()?;
            scope.covers_answer(&key, &cached.entry).then_some(key)
        });
        let failed = self.store.failed().filter(|key| scope.covers(key));
        answers.chain(failed).fold(0, |flushed, key| flushed + u64::from(self.flush(&key)))
    }

    /// The flushes so far.
    pub fn with_flushes<T>(&self, work: impl FnOnce(&mut Flushes) -> T) -> T {
        work(&mut self.flushes.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::classify::classify;
    use crate::core::key::Dnssec;
    use crate::core::testing::{Response, name, policy};
    use flushes::Extent;

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
        memory.insert(&www, entry(&www, "www.example.com"), Timestamp::EPOCH);
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
        assert_eq!(memory.flush_all(&Scope::new(www.name(), Extent::Name, Some(1))), 0);
        assert!(!memory.restore_shared(&www, Record { entry: entry(&www, "www.example.com"), past: 1.into() }));
        assert!(memory.restore_shared(&other, Record { entry: entry(&other, "other.example.com"), past: 1.into() }));
        assert_eq!(memory.learned(Origin::SharedCache), 1);
    }

    #[test]
    fn what_was_flushed_is_not_restored_from_a_seed_nor_are_its_aliases() {
        let memory = memory();
        let alias = key("alias.example.com");
        let bytes = Response::new("alias.example.com", 1)
            .cname("alias.example.com", "www.example.com", 60)
            .a("www.example.com", 60)
            .bytes();
        let leads = || Entry::remember(&alias, &bytes, classify(1, &bytes), &policy(), Stopped.now()).unwrap().entry;
        assert!(memory.restore(&alias, leads(), 0, Origin::Seed));
        assert_eq!(memory.flush_all(&Scope::new(&name("www.example.com"), Extent::Name, None)), 1);
        assert!(memory.find_answer(&alias, memory.now()).is_none());
        assert!(!memory.restore(&alias, leads(), 0, Origin::Seed));
        assert!(!memory.restore(&alias, leads().without_date(), 0, Origin::Seed));
        assert!(memory.restore(&alias, leads(), 0, Origin::Import), "somebody wants it");
    }

    #[test]
    fn a_flush_of_a_name_ends_what_a_denial_of_another_type_says_of_it() {
        let memory = memory();
        let (a, aaaa) = (key("www.example.com"), key("www.example.com").with(28, 0));
        let denied = Response::new("www.example.com", 1).rcode(3).soa("example.com", 30, 30).bytes();
        let denial = Entry::remember(&a, &denied, classify(1, &denied), &policy(), Stopped.now()).unwrap().entry;
        memory.insert(&a, denial, Timestamp::EPOCH);
        assert!(memory.store().find_denial(&aaaa, memory.now()).is_some());
        memory.flush_all(&Scope::new(&name("www.example.com"), Extent::Name, Some(28)));
        assert!(memory.store().find_denial(&aaaa, memory.now()).is_none());
        assert!(memory.nearest(&aaaa, memory.now()).is_none());
        assert!(memory.find_answer(&a, memory.now()).is_some(), "it is still the answer to its own question");
    }
}
