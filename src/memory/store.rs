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
//! Positive answers have a [`PositiveCache`] that takes in every new one. Negative answers and
//! failures are what floods of random names are made of: each has a [`FilteredCache`]. An entry
//! weighs at least `bytes / entries`, so the one bound keeps both limits. Critical names have
//! places of their own beside all three, from which nothing is evicted.

use std::sync::Arc;

use parking_lot::Mutex;

use super::cached::{CachedAnswer, CachedFailure, ResolutionFailure};
use super::capacity::Capacity;
use super::filtered::FilteredCache;
use super::place::{Place, Places};
use super::positive::PositiveCache;
use crate::core::classify::Kind;
use crate::core::entry::Entry;
use crate::core::key::Key;
use crate::core::policy::CachePolicy;
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
        let pinned: Vec<Place> = pinned.iter().map(|key| places.of(key)).collect();
        Self {
            good: PositiveCache::new(capacity, &pinned),
            negative: FilteredCache::of_answers(capacity.percent(u64::from(policy.negative_percent)), &pinned),
            failures: FilteredCache::of_failures(&pinned),
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

    /// Remembers an answer that is newer than everything known of its key.
    pub(super) fn insert(&self, key: &Key, entry: Entry, group: GroupId) -> Arc<CachedAnswer> {
        let cached = Arc::new(CachedAnswer::new(key, entry, group));
        let place = self.place(key);
        let _writing = self.writing.lock();
        let good = self.good.get(place);
        let negative = self.negative.get(place);
        for old in good.iter().chain(&negative) {
            // Also when another key has the same place: its answer is about to lose that place.
            old.supersede();
            if old.answers(key) {
                cached.inherit(old);
            }
        }
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
        cached
    }

    /// Remembers an answer that was learned elsewhere or earlier, with the hits that it had; `None`
    /// when the store has an answer that is as new or newer.
    pub(super) fn restore(&self, key: &Key, entry: Entry, group: GroupId, hits: u32) -> Option<Arc<CachedAnswer>> {
        let cached = Arc::new(CachedAnswer::new(key, entry, group));
        cached.resume(hits);
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
    /// cache. `recheck` gives the end of the failure recheck timer from the failures in a row.
    pub(super) fn note_failure(
        &self,
        key: &Key,
        reason: &ResolutionFailure,
        recheck: impl Fn(u32) -> Timestamp,
        recoveries: u32,
        now: Timestamp,
    ) {
        match self.find(key, now) {
            Found::Answer(cached) => {
                let failures = cached.failure.failures().saturating_add(1);
                cached.failure.set(failures, recheck(failures), recoveries);
            }
            found @ (Found::Failure(_) | Found::Nothing) => {
                let failures = match found {
                    Found::Failure(known) => {
                        known.supersede();
                        known.note.failures().saturating_add(1)
                    }
                    Found::Answer(_) | Found::Nothing => 1,
                };
                let name = CachedFailure::new(key, reason.clone());
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

    /// The keys of names of which only a failure is known.
    pub fn failed(&self) -> impl Iterator<Item = Key> {
        self.failures.iter().filter_map(|(_, failed)| Key::from_stored(&failed.key))
    }

    /// The answers that are stale and still servable, hottest first, at most `limit`; of one group,
    /// or of all. Walks over all answers.
    #[must_use]
    pub fn hottest_stale(&self, group: Option<GroupId>, limit: usize, now: Timestamp) -> Vec<(Key, Arc<CachedAnswer>)> {
        let mut found: Vec<Arc<CachedAnswer>> = self
            .answers()
            .filter(|cached| {
                group.is_none_or(|group| cached.group() == group)
                    && !cached.is_fresh(now)
                    && cached.entry.is_servable(now)
            })
            .filter(|cached| cached.hits() > 0)
            .collect();
        // Equally hot answers are sorted by name, so that a simulation goes the same way each time.
        let rest = |cached: &CachedAnswer| (cached.service(), cached.entry.kind == Kind::Positive);
        found.sort_by(|one, other| {
            let (hits, others) = (one.hits(), other.hits());
            others
                .cmp(&hits)
                .then_with(|| one.entry.question().cmp(other.entry.question()))
                .then_with(|| rest(one).cmp(&rest(other)))
        });
        found.truncate(limit);
        found.into_iter().filter_map(|cached| Some((cached.key()?, cached))).collect()
    }

    /// Reports to the caches which answers were hit since the last call, so that they keep the
    /// hottest: threads answer from caches of their own, of which these see nothing. Walks over all
    /// answers.
    pub fn report_hits(&self) {
        self.good.report_hits();
        self.negative.report_hits();
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

    fn insert(store: &Store, text: &str, response: &[u8], now: Timestamp) -> Arc<CachedAnswer> {
        let key = key(text);
        store.insert(
            &key,
            Entry::remember(&key, response, classify(1, response), &policy(), now).expect("an entry").entry,
            GroupId::new(0),
        )
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
            store
                .hottest_stale(Some(GroupId::new(0)), limit, now)
                .iter()
                .map(|(key, _)| key.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(2, later(100)), ["b.example.com. A", "d.example.com. A"]);
        assert!(names(2, later(1)).is_empty(), "fresh names need no refresh");
    }
}
