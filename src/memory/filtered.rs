//! The caches for negative answers and for failures, which is what floods of random names are made
//! of.
//!
//! moka bounds each cache by weight, behind TinyLFU's admission filter: a name seen once does not
//! push out a name in use. moka's own expiry is not used, since it would delete what must be served
//! stale. Critical names have [`Pinned`] places beside the cache, since TinyLFU knows no pinning
//! and may refuse a newcomer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use moka::sync::Cache;

use super::cached::CachedAnswer;
use super::cached_failure::CachedFailure;
use super::capacity::Capacity;
use super::pinned::Pinned;
use super::place::{Hasher, Place};

/// Bookkeeping of moka and of the allocator for one negative answer, in bytes (measured: 290 and
/// 40), and its place in the index of the denials.
const OVERHEAD: usize = 400;
/// Names of which only a failure is remembered; an entry weighs about 400 bytes.
const FAILURES_MAX: u64 = 2_048;

/// A bounded cache with an admission filter.
pub(super) struct FilteredCache<V> {
    cache: Cache<Place, Arc<V>, Hasher>,
    /// Values of critical names, beside the bound.
    pinned: Pinned<V>,
    /// Whether `cache` ever held anything. moka takes note of every look, also of one that finds
    /// nothing; this saves 10 000 looks at a start.
    used: AtomicBool,
}

impl FilteredCache<CachedAnswer> {
    /// A cache of this capacity for negative answers.
    pub(super) fn of_answers(capacity: Capacity, pinned: &[Place]) -> Self {
        let least = capacity.least_weight();
        let cache = Cache::<Place, Arc<CachedAnswer>>::builder()
            .max_capacity(capacity.weight())
            .weigher(move |_, cached| u32::try_from(cached.weight(OVERHEAD).max(least)).unwrap_or(u32::MAX))
            .eviction_listener(|_, cached: Arc<CachedAnswer>, _| cached.supersede())
            .build_with_hasher(Hasher::default());
        Self { cache, pinned: Pinned::new(pinned), used: AtomicBool::new(false) }
    }

    /// Reports to the admission filter which answers were hit since the last time, one answer with
    /// each item: threads answer from caches of their own, of which the filter sees nothing.
    pub(super) fn report_hits(&self) -> impl Iterator<Item = ()> {
        self.cache.iter().map(|(place, cached)| {
            if cached.has_news() {
                let _ = self.cache.get(&*place);
            }
        })
    }
}

impl FilteredCache<CachedFailure> {
    pub(super) fn of_failures(pinned: &[Place]) -> Self {
        let cache = Cache::builder()
            .max_capacity(FAILURES_MAX)
            .weigher(|_, failed: &Arc<CachedFailure>| failed.weight())
            .eviction_listener(|_, failed: Arc<CachedFailure>, _| failed.supersede())
            .build_with_hasher(Hasher::default());
        Self { cache, pinned: Pinned::new(pinned), used: AtomicBool::new(false) }
    }
}

impl<V: Send + Sync + 'static> FilteredCache<V> {
    /// The value at a place.
    pub(super) fn get(&self, place: Place) -> Option<Arc<V>> {
        match self.pinned.get(place) {
            Some(held) => held,
            None if !self.used.load(Ordering::Acquire) => None,
            None => self.cache.get(&place),
        }
    }

    /// Puts a value at a place; the admission filter may refuse it.
    pub(super) fn insert(&self, place: Place, value: Arc<V>) {
        if let Err(Some(value)) = self.pinned.put(place, Some(value)) {
            self.used.store(true, Ordering::Release);
            self.cache.insert(place, value);
        }
    }

    /// Removes the value at a place, and gives it.
    pub(super) fn remove(&self, place: Place) -> Option<Arc<V>> {
        match self.pinned.put(place, None) {
            Ok(held) => held,
            Err(_) => self.cache.remove(&place),
        }
    }

    /// All values with their places.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Place, Arc<V>)> {
        self.pinned.iter().chain(self.cache.iter().map(|(place, value)| (*place, value)))
    }

    /// Entries, pinned ones included, and the weight of those within the bound.
    pub(super) fn size(&self) -> (u64, u64) {
        let pinned = u64::try_from(self.pinned.iter().count()).unwrap_or(u64::MAX);
        (self.cache.entry_count().saturating_add(pinned), self.cache.weighted_size())
    }

    /// Lets moka finish its pending bookkeeping, so that sizes are exact.
    pub(super) fn settle(&self) {
        self.cache.run_pending_tasks();
    }
}
