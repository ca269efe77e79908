//! The cache of positive answers: bounded by weight, and open to every new answer.
//!
//! moka's TinyLFU may refuse an entry that has just been fetched, because the names that are there
//! are asked for more often. That is right for the caches that random names fill; but a positive
//! answer that is refused is missing when the upstream fails a moment later. Here each positive
//! answer is taken in (Clock-PRO: newcomers are on trial, and a flood of them pushes out one
//! another before it pushes out a name in use). An entry costs some 60 bytes of bookkeeping, in
//! moka 290 (measured, 10 000 entries).

use std::sync::Arc;

use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};

use super::cached::CachedAnswer;
use super::capacity::Capacity;
use super::pinned::Pinned;
use super::place::{Hasher, Place};

/// Entries of a shard, which has its own lock. A cache of up to so many has one shard, so that the
/// bound holds to the last entry: shards fill unevenly.
const SHARD_ENTRIES: u64 = 32_768;
/// The largest number of shards.
const SHARDS_MAX: u64 = 64;

/// The positive answers of a store.
pub(super) struct PositiveCache {
    cache: Cache<Place, Arc<CachedAnswer>, Weight, Hasher, Eviction>,
    /// The answers of critical names, beside the bound.
    pinned: Pinned<CachedAnswer>,
}

/// Computes the weight of an answer.
#[derive(Clone)]
struct Weight {
    /// The least that an answer weighs, in bytes.
    least: u64,
}

impl Weighter<Place, Arc<CachedAnswer>> for Weight {
    fn weight(&self, _: &Place, cached: &Arc<CachedAnswer>) -> u64 {
        cached.weight(OVERHEAD).max(self.least)
    }
}

/// Bookkeeping of the cache and of the allocator for one entry, in bytes (measured: 60 and 40).
const OVERHEAD: usize = 100;

/// Marks evicted answers, since threads may hold on to them ([`super::thread_cache`]).
#[derive(Clone)]
struct Eviction;

impl Lifecycle<Place, Arc<CachedAnswer>> for Eviction {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), _: Place, cached: Arc<CachedAnswer>) {
        cached.supersede();
    }
}

impl PositiveCache {
    /// A cache of this capacity, which the answers at the pinned places do not count towards.
    pub(super) fn new(capacity: Capacity, pinned: &[Place]) -> Self {
        let entries = usize::try_from(capacity.entries).unwrap_or(usize::MAX);
        let mut options = OptionsBuilder::new();
        options
            .estimated_items_capacity(entries)
            .weight_capacity(capacity.weight())
            .shards(usize::try_from((capacity.entries / SHARD_ENTRIES).clamp(1, SHARDS_MAX)).unwrap_or(1));
        let (weight, hasher) = (Weight { least: capacity.least_weight() }, Hasher::default());
        let cache = match options.build() {
            Ok(options) => Cache::with_options(options, weight, hasher, Eviction),
            // The builder fails only without capacities, which are given.
            Err(_) => Cache::with(entries, capacity.weight(), weight, hasher, Eviction),
        };
        Self { cache, pinned: Pinned::new(pinned) }
    }

    /// The answer at a place.
    pub(super) fn get(&self, place: Place) -> Option<Arc<CachedAnswer>> {
        match self.pinned.get(place) {
            Some(held) => held,
            None => self.cache.get(&place),
        }
    }

    /// Puts an answer at a place.
    pub(super) fn insert(&self, place: Place, cached: Arc<CachedAnswer>) {
        if let Err(Some(cached)) = self.pinned.put(place, Some(cached)) {
            self.cache.insert(place, cached);
        }
    }

    /// Removes the answer at a place, and gives it.
    pub(super) fn remove(&self, place: Place) -> Option<Arc<CachedAnswer>> {
        match self.pinned.put(place, None) {
            Ok(held) => held,
            Err(_) => self.cache.remove(&place).map(|(_, cached)| cached),
        }
    }

    /// All answers with their places.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Place, Arc<CachedAnswer>)> {
        self.pinned.iter().chain(self.cache.iter())
    }

    /// Reports to the eviction which answers were hit since the last time, one answer with each
    /// item: threads answer from caches of their own, of which the eviction sees nothing.
    pub(super) fn report_hits(&self) -> impl Iterator<Item = ()> {
        self.cache.iter().map(|(place, cached)| {
            if cached.has_news() {
                let _ = self.cache.get(&place);
            }
        })
    }

    /// Entries, pinned ones included, and the weight in bytes of those within the bound.
    pub(super) fn size(&self) -> (u64, u64) {
        let all = self.cache.len().saturating_add(self.pinned.iter().count());
        (u64::try_from(all).unwrap_or(u64::MAX), self.cache.weight())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::classify::classify;
    use crate::core::entry::Entry;
    use crate::core::key::{Dnssec, Key};
    use crate::core::testing::{Response, name, policy};
    use crate::core::time::Timestamp;
    use crate::core::upstream::GroupId;

    fn cached(text: &str) -> Arc<CachedAnswer> {
        let key = Key::new(&name(text), 1, 1, Dnssec::default());
        let bytes = Response::new(text, 1).a(text, 60).bytes();
        let entry = Entry::remember(&key, &bytes, classify(1, &bytes), &policy(), Timestamp::from_secs(1_000_000))
            .unwrap()
            .entry;
        Arc::new(CachedAnswer::new(&key, entry, GroupId::new(0)))
    }

    #[test]
    fn in_a_full_cache_each_new_answer_is_taken_in_and_what_it_pushes_out_knows() {
        let cache = PositiveCache::new(Capacity { bytes: 100 * 1024, entries: 100 }, &[]);
        for place in 0..100 {
            cache.insert(place, cached("www.example.com"));
            for _ in 0..5 {
                assert!(cache.get(place).is_some());
            }
        }
        let before: Vec<_> = cache.iter().map(|(_, cached)| cached).collect();
        for place in 100..200 {
            cache.insert(place, cached("new.example.com"));
            assert!(cache.get(place).is_some(), "answer {place} was refused");
        }
        assert_eq!(cache.size().0, 100);
        let kept = cache.iter().filter(|(place, _)| *place < 100).count();
        assert_eq!(before.iter().filter(|cached| cached.is_current()).count(), kept);
    }

    #[test]
    fn a_flood_pushes_out_itself_before_what_is_in_use() {
        let cache = PositiveCache::new(Capacity { bytes: 1000 * 1024, entries: 1000 }, &[]);
        for place in 0..500 {
            cache.insert(place, cached("www.example.com"));
            assert!(cache.get(place).is_some());
        }
        for place in 1000..50_000 {
            cache.insert(place, cached("random.example.com"));
            assert!(cache.get(place % 500).is_some(), "{} was pushed out by the flood", place % 500);
        }
    }
}
