//! The answers that one thread gave lately, so that a hit costs no look at the store.
//!
//! A read of the store is not free: moka does its bookkeeping on the thread that reads, which costs
//! some 100 ns and now and then an allocation. So each thread that answers keeps references to the
//! answers that it was asked for more than once. A reference counts only as long as the store would
//! find the same answer: an answer that is replaced or evicted is marked
//! ([`CachedAnswer::is_current`]).
//!
//! The cache holds references, not copies. References to replaced answers are dropped when their
//! place is needed, and a few more with each new reference. Until then they keep the answer in
//! memory, so only answers that fit into a datagram get a place: 2048 of those that were evicted,
//! which is how many there can be before all sets have been searched, take 5 MiB at most.

use std::hash::BuildHasher;
use std::sync::Arc;

use super::cached::CachedAnswer;
use super::cached_failure::CachedFailure;
use super::store::{Found, Store};
use crate::core::classify::Kind;
use crate::core::key::Key;
use crate::core::time::Timestamp;

/// Sets of a thread. With two places in each they are enough for the default cache of 10 000 names,
/// and take 192 KiB.
const SETS: usize = 8_192;
/// Places for references to failures.
const FAILURES: usize = 256;
/// Sets that are searched for replaced answers with each new reference.
const TIDIED: usize = 4;
/// Bytes of an answer that gets a place. Finding a larger one in the store costs little beside what
/// else it takes to send it over TCP.
const ANSWER_MAX: usize = 2_048;
/// One of so many newcomers to a full set gets a place, so that three names in two places do not
/// push each other out all the time.
const NEWCOMERS: u32 = 8;

/// Two references, with tags that distinguish them at a glance.
#[derive(Debug, Default)]
struct Set {
    /// Part of the keys' hashes.
    tags: [u32; 2],
    answers: [Option<Arc<CachedAnswer>>; 2],
}

/// The answer or failure that is known of a name and type, borrowed from the thread's references.
#[derive(Debug)]
pub enum Known<'a> {
    /// An answer that may be served, fresh or stale.
    Answer(&'a Arc<CachedAnswer>),
    /// Nothing but a fresh denial of another type of the name.
    Denial(&'a Arc<CachedAnswer>),
    /// The last resolution failed, and no answer may be served.
    Failure(&'a CachedFailure),
    /// Nothing is known of the name and type.
    Nothing,
}

/// The references that one thread keeps to answers and failures in the store.
pub struct ThreadCache {
    sets: Box<[Set]>,
    failures: Box<[Option<Arc<CachedFailure>>]>,
    /// The last result of a look at the store, so that it can be borrowed although it has no place.
    last: Found,
    /// The set that is searched next for replaced answers.
    untidy: usize,
    /// Newcomers to full sets so far.
    turned_away: u32,
    hasher: foldhash::fast::RandomState,
}

impl ThreadCache {
    /// Makes an empty cache of the usual size.
    #[must_use]
    pub fn new() -> Self {
        Self::with_places(SETS, FAILURES)
    }

    /// Makes a cache without places, for a caller that answers a single query.
    #[must_use]
    pub fn none() -> Self {
        Self::with_places(0, 0)
    }

    fn with_places(sets: usize, failures: usize) -> Self {
        Self {
            sets: std::iter::repeat_with(Set::default).take(sets).collect(),
            failures: std::iter::repeat_with(|| None).take(failures).collect(),
            last: Found::Nothing,
            untidy: 0,
            turned_away: 0,
            hasher: foldhash::fast::RandomState::default(),
        }
    }

    /// Finds what is known of a key: among the thread's references, else in the store.
    pub fn find(&mut self, store: &Store, key: &Key, now: Timestamp) -> Known<'_> {
        // First look among the references. What is remembered of the key itself comes first there
        // as well: something that is learned of a name ends what a denial says of it.
        let hash = self.hasher.hash_one(key.as_bytes());
        let (own, tag) = (place(hash, self.sets.len()), tag(hash));
        if let Some(side) = self.sets.get(own).and_then(|set| set.find(tag, key, now)) {
            return self
                .sets
                .get(own)
                .and_then(|set| set.answers.get(side)?.as_ref())
                .map_or(Known::Nothing, Known::Answer);
        }
        if let Some(side) = self.sets.get(own).and_then(|set| set.find_denial(tag, key, now)) {
            return self
                .sets
                .get(own)
                .and_then(|set| set.answers.get(side)?.as_ref())
                .map_or(Known::Nothing, Known::Denial);
        }
        let failed = place(hash, self.failures.len());
        if self
            .failures
            .get(failed)
            .is_some_and(|kept| kept.as_ref().is_some_and(|kept| kept.is_current() && *kept.key == *key.as_bytes()))
        {
            return self.failures.get(failed).and_then(Option::as_deref).map_or(Known::Nothing, Known::Failure);
        }
        // Then look at the store, and keep a reference to what is asked for again.
        self.last = store.find(key, now);
        if !matches!(self.last, Found::Answer(_))
            && let Some(denial) = store.find_denial(key, now)
        {
            if denial.hits() > 0 {
                self.keep(own, tag, Arc::clone(&denial));
            }
            self.last = Found::Answer(denial);
            return match &self.last {
                Found::Answer(denial) => Known::Denial(denial),
                Found::Failure(_) | Found::Nothing => Known::Nothing,
            };
        }
        match &self.last {
            // A flood of names that are asked for once must not fill the places.
            Found::Answer(cached) if cached.hits() > 0 => {
                let cached = Arc::clone(cached);
                self.keep(own, tag, cached);
            }
            Found::Failure(failure) if failure.hit() > 0 => {
                if let Some(kept) = self.failures.get_mut(failed) {
                    *kept = Some(Arc::clone(failure));
                }
            }
            Found::Answer(_) | Found::Failure(_) | Found::Nothing => {}
        }
        match &self.last {
            Found::Answer(cached) => Known::Answer(cached),
            Found::Failure(failed) => Known::Failure(failed),
            Found::Nothing => Known::Nothing,
        }
    }

    /// Keeps a reference, in the place of one to a replaced answer if there is such a place.
    fn keep(&mut self, own: usize, tag: u32, cached: Arc<CachedAnswer>) {
        if cached.entry.heap_bytes() > ANSWER_MAX {
            return;
        }
        self.tidy();
        let Some(set) = self.sets.get_mut(own) else { return };
        let side = match set.answers.each_ref().map(|kept| kept.as_ref().is_some_and(|kept| kept.is_current())) {
            [false, _] => 0,
            [true, false] => 1,
            [true, true] => {
                self.turned_away = self.turned_away.wrapping_add(1);
                if !self.turned_away.is_multiple_of(NEWCOMERS) {
                    return;
                }
                usize::from(self.turned_away.is_multiple_of(NEWCOMERS * 2))
            }
        };
        if let (Some(own), Some(kept)) = (set.tags.get_mut(side), set.answers.get_mut(side)) {
            *own = tag;
            *kept = Some(cached);
        }
    }

    /// Drops some references to replaced answers.
    fn tidy(&mut self) {
        for _ in 0..TIDIED {
            self.untidy = (self.untidy + 1).checked_rem(self.sets.len()).unwrap_or_default();
            for kept in self.sets.get_mut(self.untidy).into_iter().flat_map(|set| &mut set.answers) {
                if kept.as_ref().is_some_and(|kept| !kept.is_current()) {
                    *kept = None;
                }
            }
        }
    }
}

impl Default for ThreadCache {
    fn default() -> Self {
        Self::new()
    }
}

impl Set {
    /// The side on which the answer to a key lies, if the store would find the same.
    fn find(&self, tag: u32, key: &Key, now: Timestamp) -> Option<usize> {
        let mut sides = self.tags.iter().zip(&self.answers);
        sides.position(|(own, kept)| *own == tag && kept.as_ref().is_some_and(|kept| counts(kept, key, now)))
    }

    /// The side on which a denial lies that answers a key of another type, if the store would find
    /// the same.
    fn find_denial(&self, tag: u32, key: &Key, now: Timestamp) -> Option<usize> {
        let mut sides = self.tags.iter().zip(&self.answers);
        let denies = |kept: &Arc<CachedAnswer>| kept.stands_in(now) && kept.denies(key);
        sides.position(|(own, kept)| *own == tag && kept.as_ref().is_some_and(denies))
    }
}

/// Whether the store would find this answer for a key.
fn counts(cached: &CachedAnswer, key: &Key, now: Timestamp) -> bool {
    let is_final = match cached.entry.kind {
        Kind::Positive => true,
        // A denial without an SOA gives way to an older positive answer when it expires.
        Kind::NoData | Kind::NxDomain => cached.entry.vouched || cached.entry.is_fresh(now),
    };
    cached.is_current() && is_final && cached.entry.is_servable(now) && cached.answers(key)
}

/// The place of a hash among `places`.
fn place(hash: u64, places: usize) -> usize {
    let places = u64::try_from(places).unwrap_or(1).max(1);
    usize::try_from(hash % places).unwrap_or_default()
}

/// The half of a hash that does not choose the place.
#[allow(clippy::cast_possible_truncation, reason = "the upper half is what is wanted")]
const fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::classify::classify;
    use crate::core::entry::Entry;
    use crate::core::key::Dnssec;
    use crate::core::testing::{Response, name, policy};
    use crate::core::upstream::GroupId;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn key(text: &str, qtype: u16) -> Key {
        Key::new(&name(text), qtype, 1, Dnssec::default())
    }

    /// Remembers an address; asks for it often enough to be referenced.
    fn remember(store: &Store, thread_cache: &mut ThreadCache, key: &Key, text: &str) -> Arc<CachedAnswer> {
        let bytes = Response::new(text, key.qtype()).record(6, text, key.qtype(), 60, &[192, 0, 2, 1]).bytes();
        let entry = Entry::remember(key, &bytes, classify(key.qtype(), &bytes), &policy(), NOW).unwrap().entry;
        let cached = store.insert(key, entry, GroupId::new(0), NOW, &policy().prefetch).unwrap();
        cached.hit();
        assert!(matches!(thread_cache.find(store, key, NOW), Known::Answer(_)));
        cached
    }

    /// Whether the thread cache finds this very answer for a key.
    fn finds(thread_cache: &mut ThreadCache, store: &Store, key: &Key, expected: &Arc<CachedAnswer>) -> bool {
        matches!(thread_cache.find(store, key, NOW), Known::Answer(cached) if Arc::ptr_eq(cached, expected))
    }

    fn references(thread_cache: &ThreadCache) -> usize {
        thread_cache.sets.iter().flat_map(|set| &set.answers).flatten().count()
    }

    #[test]
    fn what_is_asked_again_is_referenced_until_it_is_replaced() {
        let (store, mut thread_cache) = (Store::new(&policy().cache), ThreadCache::new());
        let old = remember(&store, &mut thread_cache, &key("www.example.com", 1), "www.example.com");
        assert_eq!(references(&thread_cache), 1);
        assert!(finds(&mut thread_cache, &store, &key("WWW.example.com", 1), &old));
        let new = remember(&store, &mut thread_cache, &key("www.example.com", 1), "www.example.com");
        assert!(finds(&mut thread_cache, &store, &key("www.example.com", 1), &new));
        assert_eq!(references(&thread_cache), 1, "the old one is let go");
    }

    #[test]
    fn an_answer_that_fits_into_no_datagram_gets_no_place() {
        let (store, mut thread_cache) = (Store::new(&policy().cache), ThreadCache::new());
        let large = key("large.example.com", 16);
        let mut response = Response::new("large.example.com", 16);
        for part in 0..10 {
            response = response.record(6, "large.example.com", 16, 60, &[[255].as_slice(), &[part; 255]].concat());
        }
        let bytes = response.bytes();
        let entry = Entry::remember(&large, &bytes, classify(16, &bytes), &policy(), NOW).unwrap().entry;
        let cached = store.insert(&large, entry, GroupId::new(0), NOW, &policy().prefetch).unwrap();
        cached.hit();
        for _ in 0..2 {
            assert!(finds(&mut thread_cache, &store, &large, &cached), "it is found in the store");
        }
        assert_eq!(references(&thread_cache), 0);
    }

    #[test]
    fn names_that_are_asked_for_once_do_not_fill_it() {
        let (store, mut thread_cache) = (Store::new(&policy().cache), ThreadCache::new());
        for index in 0..100 {
            let text = format!("n{index}.example.com");
            let cached = remember(&store, &mut thread_cache, &key(&text, 1), &text);
            assert!(cached.hits() > 0);
        }
        assert_eq!(references(&thread_cache), 100);
        let bytes = Response::new("x.example.com", 1).a("x.example.com", 60).bytes();
        let once = key("x.example.com", 1);
        let entry = Entry::remember(&once, &bytes, classify(1, &bytes), &policy(), NOW).unwrap().entry;
        let _ = store.insert(&once, entry, GroupId::new(0), NOW, &policy().prefetch);
        assert!(matches!(thread_cache.find(&store, &once, NOW), Known::Answer(_)));
        assert_eq!(references(&thread_cache), 100);
    }

    #[test]
    fn types_whose_numbers_are_letters_of_another_case_are_kept_apart() {
        // 65 is HTTPS and the letter A; 97 is the letter a.
        let (store, mut thread_cache) = (Store::new(&policy().cache), ThreadCache::with_places(1, 1));
        let capital = remember(&store, &mut thread_cache, &key("www.example.com", 65), "www.example.com");
        assert!(!capital.answers(&key("www.example.com", 97)));
        assert!(matches!(thread_cache.find(&store, &key("www.example.com", 97), NOW), Known::Nothing));
    }

    #[test]
    fn three_names_in_two_places_do_not_chase_each_other_away() {
        let (store, mut thread_cache) = (Store::new(&policy().cache), ThreadCache::with_places(1, 1));
        let names = ["a.example.com", "b.example.com", "c.example.com"];
        for text in names {
            remember(&store, &mut thread_cache, &key(text, 1), text);
        }
        let mut kept = 0;
        for round in 0..60 {
            let wanted = key(names[round % 3], 1);
            kept += usize::from(
                thread_cache.sets[0].find(tag(thread_cache.hasher.hash_one(wanted.as_bytes())), &wanted, NOW).is_some(),
            );
            assert!(
                matches!(thread_cache.find(&store, &wanted, NOW), Known::Answer(cached) if cached.answers(&wanted))
            );
        }
        assert!(kept >= 30, "{kept} of 60 from the thread cache");
    }

    #[test]
    fn a_denial_of_another_type_is_referenced_until_something_is_learned_of_the_name() {
        let (store, mut thread_cache) = (Store::new(&policy().cache), ThreadCache::new());
        let (a, aaaa) = (key("www.example.com", 1), key("www.example.com", 28));
        let bytes = Response::new("www.example.com", 1).rcode(3).soa("example.com", 30, 30).bytes();
        let entry = Entry::remember(&a, &bytes, classify(1, &bytes), &policy(), NOW).unwrap().entry;
        let denial = store.insert(&a, entry, GroupId::new(0), NOW, &policy().prefetch).unwrap();
        denial.hit();
        for _ in 0..2 {
            assert!(
                matches!(thread_cache.find(&store, &aaaa, NOW), Known::Denial(found) if Arc::ptr_eq(found, &denial))
            );
        }
        assert_eq!(references(&thread_cache), 1);
        assert!(matches!(
            thread_cache.find(&store, &aaaa, NOW.plus(std::time::Duration::from_secs(30))),
            Known::Nothing
        ));
        let good = remember(&store, &mut thread_cache, &key("www.example.com", 15), "www.example.com");
        assert!(matches!(thread_cache.find(&store, &aaaa, NOW), Known::Nothing));
        assert!(finds(&mut thread_cache, &store, &key("www.example.com", 15), &good));
        assert!(matches!(thread_cache.find(&store, &a, NOW), Known::Answer(_)), "its own question");
    }

    #[test]
    fn a_cache_without_places_finds_the_same() {
        let (store, mut thread_cache) = (Store::new(&policy().cache), ThreadCache::none());
        remember(&store, &mut thread_cache, &key("www.example.com", 1), "www.example.com");
        assert!(matches!(thread_cache.find(&store, &key("other.example.com", 1), NOW), Known::Nothing));
    }
}
