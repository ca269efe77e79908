//! The store of everything that is remembered: positive answers, negative answers beside them, and
//! failures beside both.
//!
//! Last known good is immutable. A negative answer never replaces a positive one: the negative
//! answer is stored beside the positive one and *overrules* it, for as long as the negative answer
//! is remembered. A failure is noted beside the answers to a name, and changes none of them. So a
//! flood of random names fills the caches for negative answers or failures, and cannot wash out
//! what an outage needs.
//!
//! | remembered of a key | found |
//! |---|---|
//! | a positive answer, not overruled | the positive answer |
//! | a negative answer, alone or overruling | the negative answer |
//! | a positive answer whose overruling negative answer is gone | the positive answer, but not as fresh |
//! | only a failure | the failure |
//!
//! Beside what is found under a key stands what is nearest to it ([`super::nearest`]): NXDOMAIN of
//! another type is found by name ([`super::denials`]).
//!
//! Positive answers have a [`PositiveCache`] that takes in every new one. Negative answers and
//! failures are what floods of random names are made of: each has a [`FilteredCache`]. An entry
//! weighs at least `bytes / entries`, so the one bound keeps both limits. Critical names have
//! places of their own beside all three, from which nothing is evicted.

use std::sync::Arc;

use parking_lot::Mutex;

use super::cached::CachedAnswer;
use super::cached_failure::{CachedFailure, ResolutionFailure};
use super::capacity::Capacity;
use super::denials::{Denials, SERVICES};
use super::filtered::FilteredCache;
use super::place::{Place, Places};
use super::positive::PositiveCache;
use crate::core::classify::Kind;
use crate::core::entry::Entry;
use crate::core::history::Past;
use crate::core::key::Key;
use crate::core::message::{TYPE_A, TYPE_AAAA};
use crate::core::policy::{CachePolicy, PrefetchPolicy};
use crate::core::time::Timestamp;
use crate::core::upstream::GroupId;

/// The result of a look at the store under a key: the one answer that counts, or a failure.
#[derive(Clone, Debug)]
pub enum Found {
    /// An answer that may be served, fresh or stale.
    Answer(Arc<CachedAnswer>),
    /// The last resolution failed, and no answer may be served.
    Failure(Arc<CachedFailure>),
    /// Nothing is known of the name and type.
    Nothing,
}

/// The answers and failures of one sidecar.
pub struct Store {
    good: PositiveCache,
    negative: FilteredCache<CachedAnswer>,
    /// Failures of names that have no answer.
    failures: FilteredCache<CachedFailure>,
    /// Which of the negative answers stand in for other types and names.
    denials: Denials,
    places: Places,
    /// Held while answers change, so that a newer answer is compared with the one that it replaces.
    /// Readers do not take it.
    writing: Mutex<()>,
}

impl Store {
    /// Makes an empty store within these bounds.
    #[must_use]
    pub fn new(policy: &CachePolicy) -> Self {
        Self::with_pinned(policy, &[])
    }

    /// Makes an empty store that never evicts what is remembered under the `pinned` keys.
    #[must_use]
    pub fn with_pinned(policy: &CachePolicy, pinned: &[Key]) -> Self {
        let capacity = Capacity { bytes: policy.bytes, entries: policy.entries };
        let places = Places::default();
        let negative = capacity.percent(u64::from(policy.negative_percent));
        let denials = Denials::new(negative.entries.saturating_add(u64::try_from(pinned.len()).unwrap_or(0)));
        let pinned: Vec<Place> = pinned.iter().map(|key| places.of(key)).collect();
        Self {
            good: PositiveCache::new(capacity, &pinned),
            negative: FilteredCache::of_answers(negative, &pinned),
            failures: FilteredCache::of_failures(&pinned),
            denials,
            places,
            writing: Mutex::default(),
        }
    }

    fn place(&self, key: &Key) -> Place {
        self.places.of(key)
    }

    /// Finds what is remembered under a key.
    #[must_use]
    pub fn find(&self, key: &Key, now: Timestamp) -> Found {
        let place = self.place(key);
        let good = self.good.get(place).filter(|cached| cached.entry.is_servable(now) && cached.answers(key));
        if let Some(cached) = &good
            && !cached.is_overruled(now)
        {
            return Found::Answer(Arc::clone(cached));
        }
        // The negative answer overrules the positive one, or is all that is known.
        if let Some(cached) =
            self.negative.get(place).filter(|cached| cached.entry.is_servable(now) && cached.answers(key))
        {
            return Found::Answer(cached);
        }
        // The negative answer that overruled the positive one was evicted or is too old: last known
        // good is better than nothing, but it is not served as fresh.
        if let Some(cached) = good {
            return Found::Answer(cached);
        }
        self.failures.get(place).filter(|failed| *failed.key == *key.as_bytes()).map_or(Found::Nothing, Found::Failure)
    }

    /// Finds the positive answer under a key that a negative answer overrules at present.
    #[must_use]
    pub fn find_overruled(&self, key: &Key, now: Timestamp) -> Option<Arc<CachedAnswer>> {
        self.good.get(self.place(key)).filter(|good| good.answers(key) && good.is_overruled(now))
    }

    /// Finds the fresh denial of another type of the name, of which nothing else is remembered.
    #[must_use]
    pub fn find_denial(&self, key: &Key, now: Timestamp) -> Option<Arc<CachedAnswer>> {
        let denial = self.denials.find(&self.places, key.name(), key.service())?;
        (denial.stands_in(now) && denial.denies(key)).then_some(denial)
    }

    /// Finds the denial of a name in one DNSSEC service, fresh or stale.
    pub(super) fn denial_of(&self, name: &[u8], service: u8, now: Timestamp) -> Option<Arc<CachedAnswer>> {
        self.denials.find(&self.places, name, service).filter(|denial| denial.entry.is_servable(now))
    }

    /// Ends what the denials of these names say of other types and names.
    pub(super) fn dispute_denials(&self, is_meant: impl Fn(&[u8]) -> bool) {
        self.denials.iter().filter(|denial| is_meant(denial.name())).for_each(|denial| denial.disprove());
    }

    /// Compares all denials with everything else that was restored, in whatever order that came.
    pub(super) fn review_denials(&self) {
        for cached in self.answers().filter(|cached| cached.entry.kind != Kind::NxDomain) {
            self.weigh_against_denials(&cached);
        }
    }

    /// Notes what an answer that was just remembered says of its name: that no type of it exists,
    /// or that the name does.
    fn weigh_against_denials(&self, cached: &Arc<CachedAnswer>) {
        match cached.entry.kind {
            Kind::NxDomain if !self.has_newer_address(cached) => self.denials.note(&self.places, cached),
            // Without an SOA nobody vouches for it.
            Kind::NoData if !cached.entry.vouched => {}
            Kind::NxDomain => {}
            Kind::NoData | Kind::Positive => self.denials.disprove(&self.places, cached.name(), |denial| {
                denial.was_asked_after(cached.asked()) || denial.entry.is_newer_than(&cached.entry)
            }),
        }
    }

    /// Whether an address of the name of a denial is fresh, or was learned later.
    fn has_newer_address(&self, denial: &CachedAnswer) -> bool {
        let Some(key) = denial.key() else { return true };
        let types = [TYPE_A, TYPE_AAAA].into_iter().filter(|qtype| *qtype != key.qtype());
        types.flat_map(|qtype| SERVICES.map(move |service| (qtype, service))).any(|(qtype, service)| {
            let other = key.with(qtype, service);
            let good = self.good.get(self.place(&other)).filter(|good| good.answers(&other));
            good.is_some_and(|good| {
                good.is_fresh(denial.entry.stored) && good.is_current() || good.entry.is_newer_than(&denial.entry)
            })
        })
    }

    /// Remembers an answer that an upstream gave just now to a question that was sent at `asked`.
    ///
    /// # Errors
    /// The present answer, when its question was sent later: then the new one, which came so late,
    /// is older.
    pub(super) fn insert(
        &self,
        key: &Key,
        entry: Entry,
        group: GroupId,
        asked: Timestamp,
        policy: &PrefetchPolicy,
    ) -> Result<Arc<CachedAnswer>, Arc<CachedAnswer>> {
        let now = entry.stored;
        let mut cached = CachedAnswer::new(key, entry, group).asked_at(asked);
        let place = self.place(key);
        let _writing = self.writing.lock();
        if let Found::Answer(present) = self.find(key, now)
            && present.was_asked_after(asked)
        {
            return Err(present);
        }
        let good = self.good.get(place);
        let negative = self.negative.get(place);
        for old in good.iter().chain(&negative) {
            // Also when another key has the same place: its answer is about to lose that place.
            old.supersede();
            if old.answers(key) {
                cached.inherit(old, policy);
            }
        }
        let cached = Arc::new(cached);
        self.end_failure(place);
        match cached.entry.kind {
            Kind::Positive => {
                // A positive answer from upstream ends the denial.
                if negative.is_some() {
                    let _ = self.negative.remove(place);
                }
                self.good.insert(place, Arc::clone(&cached));
            }
            Kind::NoData | Kind::NxDomain => {
                // The positive answer stays where it is, for the time after this denial.
                if let Some(good) = good.filter(|good| good.answers(key)) {
                    good.overrule(cached.entry.overrules_until());
                }
                self.negative.insert(place, Arc::clone(&cached));
            }
        }
        self.weigh_against_denials(&cached);
        Ok(cached)
    }

    /// Remembers an answer that was learned elsewhere or earlier, with its past; `None` when the
    /// store has an answer that is as new or newer.
    pub(super) fn restore(
        &self,
        key: &Key,
        entry: Entry,
        group: GroupId,
        past: impl Into<Past>,
    ) -> Option<Arc<CachedAnswer>> {
        let cached = Arc::new(CachedAnswer::new(key, entry, group).with_past(past.into()));
        let place = self.place(key);
        let _writing = self.writing.lock();
        self.end_failure(place);
        let good = self.good.get(place).filter(|good| good.answers(key));
        let negative = self.negative.get(place).filter(|negative| negative.answers(key));
        // Equal age counts as newer: the answer in the store may have been hit since.
        let newer = |other: &Arc<CachedAnswer>| !cached.entry.is_newer_than(&other.entry);
        match cached.entry.kind {
            Kind::Positive => {
                if good.as_ref().is_some_and(newer) {
                    return None;
                }
                match negative {
                    // The denial is newer than what is restored: it goes on overruling.
                    Some(negative) if newer(&negative) => cached.overrule(negative.entry.overrules_until()),
                    Some(negative) => {
                        negative.supersede();
                        let _ = self.negative.remove(place);
                    }
                    None => {}
                }
                good.iter().for_each(|good| good.supersede());
                self.good.insert(place, Arc::clone(&cached));
            }
            // A denial from elsewhere counts only when it is newer than both.
            Kind::NoData | Kind::NxDomain => {
                if good.iter().chain(&negative).any(newer) {
                    return None;
                }
                if let Some(good) = good {
                    good.supersede();
                    good.overrule(cached.entry.overrules_until());
                }
                negative.iter().for_each(|negative| negative.supersede());
                self.negative.insert(place, Arc::clone(&cached));
            }
        }
        self.weigh_against_denials(&cached);
        Some(cached)
    }

    /// Drops everything that is remembered of a name and type; false when nothing was.
    pub(super) fn flush(&self, key: &Key) -> bool {
        let place = self.place(key);
        let _writing = self.writing.lock();
        let good = self.good.remove(place);
        let negative = self.negative.remove(place);
        let failed = self.failures.remove(place);
        good.iter().chain(&negative).for_each(|cached| cached.supersede());
        failed.iter().for_each(|failed| failed.supersede());
        good.is_some() || negative.is_some() || failed.is_some()
    }

    /// Notes that a resolution failed: beside the answer, if one is known, else in the failure
    /// cache, with the answer that is better than nothing. `recheck` gives the end of the
    /// failure recheck timer from the failures in a row; `recoveries` is the count of recoveries
    /// when the resolution began.
    pub(super) fn note(
        &self,
        key: &Key,
        reason: &ResolutionFailure,
        last_resort: Option<Arc<CachedAnswer>>,
        recheck: impl Fn(u32) -> Timestamp,
        recoveries: u32,
        now: Timestamp,
    ) {
        match self.find(key, now) {
            Found::Answer(cached) => {
                if let Some(failures) = cached.failure.next_failure(recoveries) {
                    cached.fail_for(reason.failure);
                    cached.failure.set(failures, recheck(failures), recoveries);
                }
            }
            found @ (Found::Failure(_) | Found::Nothing) => {
                let failures = match &found {
                    Found::Failure(known) => known.note.next_failure(recoveries),
                    Found::Answer(_) | Found::Nothing => Some(1),
                };
                let Some(failures) = failures else { return };
                if let Found::Failure(known) = found {
                    known.supersede();
                }
                let name = CachedFailure::new(key, reason.clone(), last_resort);
                name.note.set(failures, recheck(failures), recoveries);
                self.failures.insert(self.place(key), Arc::new(name));
            }
        }
    }

    /// Takes a name out of the failure cache, since it has just been answered.
    pub(super) fn clear_failure(&self, key: &Key) {
        self.end_failure(self.place(key));
    }

    /// Removes the failure at a place from the failure cache, and marks it for threads that hold on
    /// to it ([`super::thread_cache`]).
    fn end_failure(&self, place: Place) {
        if let Some(failed) = self.failures.get(place) {
            failed.supersede();
            let _ = self.failures.remove(place);
        }
    }

    /// All answers, positive and negative; also those that are overruled or beyond maximum stale.
    pub fn answers(&self) -> impl Iterator<Item = Arc<CachedAnswer>> {
        self.good.iter().map(|(_, cached)| cached).chain(self.negative.iter().map(|(_, cached)| cached))
    }

    /// The failures of names of which no answer is known.
    pub fn failures(&self) -> impl Iterator<Item = Arc<CachedFailure>> {
        self.failures.iter().map(|(_, failed)| failed)
    }

    /// The keys of names of which only a failure is known.
    pub fn failed(&self) -> impl Iterator<Item = Key> {
        self.failures().filter_map(|failed| Key::from_stored(&failed.key))
    }

    /// Reports to the caches which answers were hit since the last time, so that they keep the
    /// hottest: threads answer from caches of their own, of which these see nothing. The walk over
    /// all answers goes on as the iterator does.
    pub fn report_hits(&self) -> impl Iterator<Item = ()> {
        self.good.report_hits().chain(self.negative.report_hits())
    }

    /// The number of entries, and the weight in bytes of those within the bound, of positive
    /// answers, negative answers and failures.
    #[must_use]
    pub fn sizes(&self) -> [(u64, u64); 3] {
        [self.good.size(), self.negative.size(), self.failures.size()]
    }

    /// Lets moka finish its pending bookkeeping, so that [`Self::sizes`] are exact.
    pub fn settle(&self) {
        self.negative.settle();
        self.failures.settle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::classify::{Failure, classify};
    use crate::core::key::Dnssec;
    use crate::core::testing::{Response, name, policy};
    use crate::memory::hottest::HottestStale;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn later(seconds: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(seconds))
    }

    fn key(text: &str) -> Key {
        Key::new(&name(text), 1, 1, Dnssec::default())
    }

    fn reason(failure: Failure) -> ResolutionFailure {
        ResolutionFailure { failure, extended_errors: Box::default() }
    }

    fn store() -> Store {
        Store::new(&policy().cache)
    }

    impl Store {
        /// Notes a failure without any answer.
        fn note_failure(
            &self,
            key: &Key,
            reason: &ResolutionFailure,
            recheck: impl Fn(u32) -> Timestamp,
            recoveries: u32,
            now: Timestamp,
        ) {
            self.note(key, reason, None, recheck, recoveries, now);
        }
    }

    fn insert(store: &Store, text: &str, response: &[u8], now: Timestamp) -> Arc<CachedAnswer> {
        let key = key(text);
        let entry = Entry::remember(&key, response, classify(1, response), &policy(), now).expect("an entry").entry;
        store.insert(&key, entry, GroupId::new(0), now, &policy().prefetch).expect("the newest")
    }

    #[test]
    fn an_answer_to_an_older_question_never_replaces_a_newer_one() {
        let key = key("www.example.com");
        let remember = |response: &[u8], now| {
            Entry::remember(&key, response, classify(1, response), &policy(), now).expect("an entry").entry
        };
        let denial = Response::new("www.example.com", 1).rcode(3).soa("example.com", 30, 30).bytes();
        for (newer, older) in [(good(), good()), (good(), denial.clone()), (denial.clone(), good())] {
            let store = store();
            let insert = |response: &[u8], asked, now| {
                store.insert(&key, remember(response, now), GroupId::new(0), asked, &policy().prefetch)
            };
            let present = insert(&newer, later(2), later(3)).expect("the first");
            let refused = insert(&older, later(1), later(5)).expect_err("older");
            assert!(Arc::ptr_eq(&present, &refused) && present.is_current());
            assert_eq!(kind(&store, later(5)), Some(present.entry.kind));
            assert!(insert(&older, later(2), later(6)).is_ok(), "asked at the same time");
            // What is no longer served does not count.
            let store = self::store();
            let insert = |response: &[u8], asked, now| {
                store.insert(&key, remember(response, now), GroupId::new(0), asked, &policy().prefetch)
            };
            let _ = insert(&newer, later(2), later(3));
            assert!(insert(&older, later(1), later(30 * 86_400)).is_ok());
        }
    }

    fn kind(store: &Store, now: Timestamp) -> Option<Kind> {
        match store.find(&key("www.example.com"), now) {
            Found::Answer(cached) => Some(cached.entry.kind),
            Found::Failure(_) | Found::Nothing => None,
        }
    }

    fn good() -> Vec<u8> {
        Response::new("www.example.com", 1).a("www.example.com", 60).bytes()
    }

    #[test]
    fn a_negative_answer_overrules_a_good_one_and_a_good_one_ends_that() {
        let store = store();
        let first = insert(&store, "www.example.com", &good(), NOW);
        insert(
            &store,
            "www.example.com",
            &Response::new("www.example.com", 1).rcode(3).soa("example.com", 30, 30).bytes(),
            later(10),
        );
        assert_eq!(kind(&store, later(11)), Some(Kind::NxDomain));
        assert_eq!(kind(&store, later(3600)), Some(Kind::NxDomain), "also when both are stale");
        assert!(!first.is_current());
        insert(&store, "www.example.com", &good(), later(20));
        assert_eq!(kind(&store, later(21)), Some(Kind::Positive));
    }

    #[test]
    fn a_nodata_that_nobody_vouches_for_gives_way_to_the_good_answer_once_it_is_stale() {
        let store = store();
        insert(&store, "www.example.com", &good(), NOW);
        insert(&store, "www.example.com", &Response::new("www.example.com", 1).bytes(), later(10));
        assert_eq!(kind(&store, later(11)), Some(Kind::NoData));
        assert_eq!(kind(&store, later(16)), Some(Kind::Positive));
        let Found::Answer(cached) = store.find(&key("www.example.com"), later(16)) else { panic!("nothing") };
        assert!(!cached.is_fresh(later(16)), "what was overruled is asked again");
    }

    #[test]
    fn a_failure_lies_beside_a_good_answer() {
        let store = store();
        let cached = insert(&store, "www.example.com", &good(), NOW);
        store.note_failure(
            &key("www.example.com"),
            &reason(Failure::ServFail),
            |n| later(100 + u64::from(n)),
            0,
            later(100),
        );
        assert_eq!(kind(&store, later(100)), Some(Kind::Positive));
        assert!(cached.failure.holds(|| 0, later(100)));
        assert!(!cached.failure.holds(|| 0, later(101)), "the recheck timer ran out");
        assert!(!cached.failure.holds(|| 1, later(100)), "an upstream recovered");
    }

    #[test]
    fn a_failure_of_an_unknown_name_is_cached_and_counted() {
        let store = store();
        for round in 1..=3 {
            store.note_failure(&key("www.example.com"), &reason(Failure::Timeout), |n| later(u64::from(n)), 0, NOW);
            let Found::Failure(known) = store.find(&key("www.example.com"), NOW) else { panic!("not noted") };
            assert_eq!(known.note.failures(), round);
        }
        store.clear_failure(&key("www.example.com"));
        assert!(matches!(store.find(&key("www.example.com"), NOW), Found::Nothing));
    }

    #[test]
    fn a_failure_after_a_recovery_counts_as_the_first_and_one_from_before_it_not_at_all() {
        let store = store();
        let known = insert(
            &store,
            "known.example.com",
            &Response::new("known.example.com", 1).a("known.example.com", 60).bytes(),
            NOW,
        );
        let fail = |recoveries| {
            for text in ["known.example.com", "www.example.com"] {
                store.note_failure(&key(text), &reason(Failure::Timeout), |_| later(100), recoveries, later(61));
            }
            let Found::Failure(failed) = store.find(&key("www.example.com"), later(61)) else { panic!("not noted") };
            (known.failure.failures(), failed.note.failures())
        };
        // The count of recoveries may begin anywhere, and wraps around.
        let before = u32::MAX;
        assert_eq!([fail(before), fail(before)], [(1, 1), (2, 2)]);
        assert_eq!(fail(0), (1, 1), "the first one after a recovery");
        assert_eq!(fail(before), (1, 1), "a resolution from before it");
        assert!(known.failure.holds(|| 0, later(61)), "whose failure does not make the note void");
        assert_eq!(fail(0), (2, 2));
    }

    #[test]
    fn beyond_maximum_stale_nothing_is_found() {
        let store = store();
        insert(&store, "www.example.com", &good(), NOW);
        assert_eq!(kind(&store, later(60 + 86_399)), Some(Kind::Positive));
        assert_eq!(kind(&store, later(60 + 86_400)), None);
    }

    #[test]
    fn the_store_stays_within_its_bounds_and_floods_do_not_wash_out_what_is_in_use() {
        let store = store();
        let hot: Vec<String> = (0..500).map(|index| format!("hot{index}.example.com")).collect();
        for text in &hot {
            insert(&store, text, &Response::new(text, 1).a(text, 60).bytes(), NOW);
        }
        for index in 0..40_000 {
            let text = format!("random{index}.example.com");
            let response = Response::new(&text, 1);
            let response = if index % 2 == 0 {
                response.a(&text, 60).bytes()
            } else {
                response.rcode(3).soa("example.com", 30, 30).bytes()
            };
            insert(&store, &text, &response, NOW);
            let _ = store.find(&key(&hot[index % hot.len()]), NOW);
        }
        store.settle();
        let [(good, good_bytes), (negative, _), _] = store.sizes();
        assert!(good <= 10_000 && good_bytes <= 8 << 20 && negative <= 2_500, "{:?}", store.sizes());
        let kept = hot.iter().filter(|text| matches!(store.find(&key(text), NOW), Found::Answer(_))).count();
        assert_eq!(kept, hot.len());
    }

    #[test]
    fn what_is_pinned_survives_every_flood_in_every_cache() {
        let names = ["good.example.com", "denied.example.com", "failed.example.com"];
        let store = Store::with_pinned(&policy().cache, &names.map(key));
        insert(&store, names[0], &Response::new(names[0], 1).a(names[0], 60).bytes(), NOW);
        insert(&store, names[1], &Response::new(names[1], 1).rcode(3).soa("example.com", 30, 30).bytes(), NOW);
        store.note_failure(&key(names[2]), &reason(Failure::Timeout), |_| later(100), 0, NOW);
        for index in 0..60_000 {
            let text = format!("random{index}.example.com");
            let response = Response::new(&text, 1);
            match index % 3 {
                0 => drop(insert(&store, &text, &response.a(&text, 60).bytes(), NOW)),
                1 => drop(insert(&store, &text, &response.rcode(3).soa("example.com", 30, 30).bytes(), NOW)),
                _ => store.note_failure(&key(&text), &reason(Failure::Timeout), |_| later(100), 0, NOW),
            }
        }
        store.settle();
        let sizes = store.sizes().map(|(entries, _)| entries);
        assert!(sizes[0] >= 9_000 && sizes[1] >= 2_000 && sizes[2] >= 1_500, "the caches are full: {sizes:?}");
        assert!(sizes[0] <= 10_001 && sizes[1] <= 2_501 && sizes[2] <= 2_049, "and bounded: {sizes:?}");
        let current_kind = |text: &str| match store.find(&key(text), NOW) {
            Found::Answer(cached) => cached.is_current().then_some(cached.entry.kind),
            Found::Failure(_) | Found::Nothing => None,
        };
        assert_eq!(current_kind(names[0]), Some(Kind::Positive));
        assert_eq!(current_kind(names[1]), Some(Kind::NxDomain));
        assert!(matches!(store.find(&key(names[2]), NOW), Found::Failure(failed) if failed.is_current()));
        assert!(
            names[..2].iter().all(|name| store.answers().any(|cached| cached.key() == Some(key(name)))),
            "a walk over the store finds them"
        );
        assert!(
            names.iter().all(|name| store.flush(&key(name)) && matches!(store.find(&key(name), NOW), Found::Nothing))
        );
    }

    fn entry(text: &str, response: &[u8], now: Timestamp) -> Entry {
        Entry::remember(&key(text), response, classify(1, response), &policy(), now).expect("an entry").entry
    }

    fn denial() -> Vec<u8> {
        Response::new("www.example.com", 1).rcode(3).soa("example.com", 30, 30).bytes()
    }

    #[test]
    fn what_is_restored_never_replaces_what_is_as_new_or_newer() {
        let store = store();
        let www = key("www.example.com");
        let present = insert(&store, "www.example.com", &good(), later(10));
        assert!(store.restore(&www, entry("www.example.com", &good(), NOW), GroupId::new(0), 7).is_none());
        assert!(store.restore(&www, entry("www.example.com", &good(), later(10)), GroupId::new(0), 7).is_none());
        assert!(
            store.restore(&www, entry("www.example.com", &denial(), NOW), GroupId::new(0), 7).is_none(),
            "an older denial is history"
        );
        assert!(present.is_current());
        let restored =
            store.restore(&www, entry("www.example.com", &good(), later(11)), GroupId::new(0), 7).expect("newer");
        assert_eq!((restored.hits(), present.is_current()), (7, false));
    }

    #[test]
    fn what_is_restored_or_evicted_ends_a_failure_that_threads_hold_on_to() {
        let store = store();
        let www = key("www.example.com");
        let failed = |key: &Key| match store.find(key, NOW) {
            Found::Failure(failed) => failed,
            other @ (Found::Answer(_) | Found::Nothing) => panic!("{other:?}"),
        };
        store.note_failure(&www, &reason(Failure::Timeout), |_| later(100), 0, NOW);
        let held = failed(&www);
        assert!(store.restore(&www, entry("www.example.com", &good(), NOW), GroupId::new(0), 7).is_some());
        assert!(!held.is_current() && matches!(store.find(&www, NOW), Found::Answer(_)));
        let other = key("other.example.com");
        store.note_failure(&other, &reason(Failure::Timeout), |_| later(100), 0, NOW);
        let held = failed(&other);
        for index in 0..20_000 {
            store.note_failure(
                &key(&format!("random{index}.example.com")),
                &reason(Failure::Timeout),
                |_| later(100),
                0,
                NOW,
            );
        }
        store.settle();
        assert_eq!(matches!(store.find(&other, NOW), Found::Failure(_)), held.is_current());
    }

    #[test]
    fn a_name_in_use_stays_one_however_short_its_ttl() {
        let store = store();
        let cached = insert(&store, "www.example.com", &good(), NOW);
        (0..3).for_each(|_| {
            cached.hit();
        });
        let hits: Vec<u32> =
            (1..5).map(|index| insert(&store, "www.example.com", &good(), later(index)).hits()).collect();
        assert_eq!(hits, [2, 1, 1, 1]);
    }

    #[test]
    fn a_restored_good_answer_lies_beneath_a_newer_denial_whatever_the_order() {
        for order in [[0, 1], [1, 0]] {
            let store = store();
            for step in order {
                let what = [entry("www.example.com", &good(), NOW), entry("www.example.com", &denial(), later(10))]
                    .into_iter()
                    .nth(step);
                assert!(
                    store.restore(&key("www.example.com"), what.expect("one of two"), GroupId::new(0), 1).is_some()
                );
            }
            assert_eq!(kind(&store, later(11)), Some(Kind::NxDomain), "{order:?}");
            assert_eq!(store.answers().count(), 2, "the good one is kept: {order:?}");
        }
        let store = store();
        let old = insert(&store, "www.example.com", &denial(), NOW);
        assert!(
            store
                .restore(&key("www.example.com"), entry("www.example.com", &good(), later(10)), GroupId::new(0), 1)
                .is_some()
        );
        assert_eq!((kind(&store, later(11)), old.is_current()), (Some(Kind::Positive), false));
    }

    #[test]
    fn what_has_no_date_gives_way_to_all_that_has_one_and_replaces_nothing() {
        let store = store();
        let www = key("www.example.com");
        let undated = || entry("www.example.com", &good(), later(10)).without_date();
        assert!(store.restore(&www, undated(), GroupId::new(0), 1).is_some());
        assert!(store.restore(&www, undated(), GroupId::new(0), 1).is_none(), "not even its like");
        assert!(
            store.restore(&www, entry("www.example.com", &good(), NOW), GroupId::new(0), 1).is_some(),
            "the older date is a date"
        );
        assert!(store.restore(&www, undated(), GroupId::new(0), 1).is_none());
    }

    #[test]
    fn what_is_flushed_is_gone_from_every_cache() {
        let store = store();
        let www = key("www.example.com");
        let answers =
            [insert(&store, "www.example.com", &good(), NOW), insert(&store, "www.example.com", &denial(), later(1))];
        assert!(store.flush(&www));
        assert!(
            matches!(store.find(&www, later(2)), Found::Nothing) && answers.iter().all(|cached| !cached.is_current())
        );
        store.note_failure(&www, &reason(Failure::Timeout), |_| later(100), 0, later(3));
        assert!(store.flush(&www));
        assert!(matches!(store.find(&www, later(4)), Found::Nothing));
        assert!(!store.flush(&www));
    }

    /// Learns an answer of this type, or a denial when there is no response, in a DNSSEC service.
    fn learn(store: &Store, text: &str, qtype: u16, service: u8, response: &[u8], now: Timestamp) {
        let own = key(text).with(qtype, service);
        let entry = Entry::remember(&own, response, classify(qtype, response), &policy(), now).unwrap().entry;
        let _ = store.insert(&own, entry, GroupId::new(0), now, &policy().prefetch);
    }

    fn denied(text: &str, qtype: u16) -> Vec<u8> {
        Response::new(text, qtype).rcode(3).soa("example.com", 30, 30).bytes()
    }

    fn nearest(store: &Store, text: &str, qtype: u16, service: u8, now: Timestamp) -> Option<Kind> {
        store.nearest(&key(text).with(qtype, service), GroupId::new(0), now).map(|cached| cached.entry.kind)
    }

    #[test]
    fn a_fresh_denial_answers_every_type_of_its_name_in_its_service_and_nothing_else() {
        let store = store();
        let found = |text: &str, qtype, service, now| store.find_denial(&key(text).with(qtype, service), now).is_some();
        assert!(!found("www.example.com", 28, 0, NOW), "nothing was ever denied");
        learn(&store, "www.example.com", 1, 0, &denied("www.example.com", 1), NOW);
        assert!(found("WWW.example.com", 28, 0, later(29)) && found("www.example.com", 5, 0, NOW));
        assert!(!found("www.example.com", 28, 0, later(30)), "it is not fresh any more");
        assert!(!found("www.example.com", 28, 1, NOW), "others may get other records");
        assert!(!found("a.www.example.com", 1, 0, NOW) && !found("example.com", 1, 0, NOW));
        assert!(matches!(store.find(&key("www.example.com").with(28, 0), NOW), Found::Nothing));
        let bare = Response::new("bare.example.com", 1).rcode(3).bytes();
        learn(&store, "bare.example.com", 1, 0, &bare, NOW);
        assert!(!found("bare.example.com", 28, 0, NOW), "nobody vouches for it");
        assert_eq!(nearest(&store, "bare.example.com", 28, 0, NOW), Some(Kind::NxDomain));
    }

    #[test]
    fn what_is_learned_later_of_a_name_or_below_it_ends_its_denial_for_others() {
        let denial = || denied("www.example.com", 28);
        let good = |text: &str| Response::new(text, 1).a(text, 60).bytes();
        let nodata = |soa: bool| {
            let response = Response::new("www.example.com", 1);
            if soa { response.soa("example.com", 30, 30) } else { response }.bytes()
        };
        for (text, service, response, ends) in [
            ("www.example.com", 0, good("www.example.com"), true),
            ("www.example.com", 3, good("www.example.com"), true),
            ("a.b.www.example.com", 0, good("a.b.www.example.com"), true),
            ("www.example.com", 0, nodata(true), true),
            ("www.example.com", 0, nodata(false), false),
            ("example.com", 0, good("example.com"), false),
            ("other.example.com", 0, good("other.example.com"), false),
        ] {
            let store = store();
            learn(&store, "www.example.com", 28, 0, &denial(), NOW);
            learn(&store, text, 1, service, &response, later(1));
            let left = nearest(&store, "www.example.com", 15, 0, later(2)).is_some();
            assert_eq!(left, !ends, "{text} {service}");
            assert!(matches!(store.find(&key("www.example.com").with(28, 0), later(2)), Found::Answer(_)), "itself");
        }
    }

    #[test]
    fn a_denial_beside_a_fresh_address_is_about_its_type_alone() {
        for (moment, counts) in [(59, false), (61, true)] {
            let store = store();
            learn(&store, "www.example.com", 1, 0, &good(), NOW);
            learn(&store, "www.example.com", 28, 0, &denied("www.example.com", 28), later(moment));
            let denial = store.find_denial(&key("www.example.com").with(15, 0), later(moment));
            assert_eq!(denial.is_some(), counts, "after {moment} s");
        }
    }

    #[test]
    fn what_is_restored_in_any_order_says_the_same_of_denials() {
        for order in [[0, 1], [1, 0]] {
            let store = store();
            for step in order {
                let (text, qtype, at) = [("www.example.com", 28, NOW), ("below.www.example.com", 1, later(9))][step];
                let data = Response::new(text, 1).a(text, 60).bytes();
                let response = if qtype == 1 { data } else { denied(text, qtype) };
                let own = key(text).with(qtype, 0);
                let entry = Entry::remember(&own, &response, classify(qtype, &response), &policy(), at).unwrap().entry;
                assert!(store.restore(&own, entry, GroupId::new(0), 0).is_some());
            }
            store.review_denials();
            assert_eq!(nearest(&store, "www.example.com", 15, 0, later(10)), None, "{order:?}");
        }
    }

    #[test]
    fn the_nearest_answer_has_the_same_type_then_the_same_name_then_a_name_above() {
        let store = store();
        learn(&store, "example.com", 1, 0, &denied("example.com", 1), NOW);
        assert_eq!(nearest(&store, "www.example.com", 1, 0, later(99)), Some(Kind::NxDomain));
        assert_eq!(nearest(&store, "www.example.com", 1, 3, later(99)), Some(Kind::NxDomain));
        assert_eq!(nearest(&store, "example.net", 1, 0, NOW), None);
        let www = key("www.example.com").with(1, 0);
        assert!(store.nearest(&www, GroupId::new(1), NOW).is_none(), "other upstreams have denied nothing");
        let shown = store.nearest(&www, GroupId::new(0), NOW).unwrap();
        assert!(shown.answers(&www) && !shown.entry.authentic);
        learn(&store, "www.example.com", 1, 2, &good(), later(1));
        assert_eq!(nearest(&store, "www.example.com", 1, 1, later(99)), Some(Kind::Positive));
        assert_eq!(nearest(&store, "www.example.com", 28, 0, later(99)), None, "the name and the one above exist");
    }

    #[test]
    fn a_denial_that_was_evicted_or_replaced_stands_in_for_nothing() {
        let store = store();
        learn(&store, "www.example.com", 1, 0, &denied("www.example.com", 1), NOW);
        let aaaa = key("www.example.com").with(28, 0);
        let held = store.find_denial(&aaaa, NOW).unwrap();
        learn(&store, "www.example.com", 15, 0, &denied("www.example.com", 15), later(1));
        assert!(!held.denies(&aaaa), "threads that hold on to it look again");
        assert!(store.find_denial(&aaaa, later(1)).is_some());
        for qtype in [1, 15] {
            assert!(store.flush(&key("www.example.com").with(qtype, 0)));
        }
        assert_eq!(nearest(&store, "www.example.com", 28, 0, later(1)), None);
    }

    #[test]
    fn ten_thousand_names_fit() {
        let store = store();
        for index in 0..10_000 {
            let text = format!("name{index}.example.com");
            insert(&store, &text, &Response::new(&text, 1).a(&text, 60).bytes(), NOW);
        }
        store.settle();
        assert_eq!(store.sizes()[0].0, 10_000);
    }

    #[test]
    fn the_hottest_stale_names_come_first() {
        let store = store();
        for (text, hits) in [("a.example.com", 1), ("b.example.com", 5), ("c.example.com", 0), ("d.example.com", 3)] {
            let cached = insert(&store, text, &Response::new(text, 1).a(text, 60).bytes(), NOW);
            for _ in 0..hits {
                cached.hit();
            }
        }
        let names = |limit, now| {
            let mut search = HottestStale::new(Some(GroupId::new(0)), limit);
            store.answers().for_each(|cached| search.offer(cached, now));
            search.hottest_first().map(|(key, _)| key.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names(2, later(100)), ["b.example.com. A", "d.example.com. A"]);
        assert!(names(2, later(1)).is_empty(), "fresh names need no refresh");
    }
}
