//! The denials of whole names: which NXDOMAIN stands in for the other types of its name, and for
//! the names below (RFC 2308 §5, RFC 8020).
//!
//! An index beside the cache of negative answers, and only that: it keeps no answer alive. A denial
//! that was evicted or replaced there is not found here any more.
//!
//! | learned | consequence |
//! |---|---|
//! | NXDOMAIN of a name | stands in for all types, unless an address of the name is fresh |
//! | data or NODATA of a name, later | the name exists: no denial of it, or of a name above, stands in for anything |
//! | a flush of the name, of any type | the same |
//!
//! A denial beside a fresh address is the mistake of a name server that denies the name instead of
//! the type (RFC 4074 §4.2).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use quick_cache::UnitWeighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

use super::cached::CachedAnswer;
use super::place::{Hasher, Place, Places};

/// The DNSSEC services that a key can ask for: each combination of DO and CD.
pub(super) const SERVICES: std::ops::Range<u8> = 0..4;

/// The index of the denials, by name and DNSSEC service.
pub(super) struct Denials {
    cache: Cache<Place, Weak<CachedAnswer>, UnitWeighter, Hasher>,
    /// Whether there ever was a denial: most of what is learned is none, and disproves none.
    used: AtomicBool,
}

impl Denials {
    /// An empty index of at most so many denials.
    pub(super) fn new(entries: u64) -> Self {
        let items = usize::try_from(entries).unwrap_or(usize::MAX);
        let cache = Cache::with(items, entries, UnitWeighter, Hasher::default(), DefaultLifecycle::default());
        Self { cache, used: AtomicBool::new(false) }
    }

    /// Notes a denial, which takes the place of an older one of its name.
    pub(super) fn note(&self, places: &Places, denial: &Arc<CachedAnswer>) {
        self.used.store(true, Ordering::Release);
        let place = places.of_name(denial.name(), denial.service());
        if let Some(present) = self.find(places, denial.name(), denial.service()) {
            if present.entry.is_newer_than(&denial.entry) {
                return;
            }
            // Threads may hold on to it.
            present.disprove();
        }
        self.cache.insert(place, Arc::downgrade(denial));
    }

    /// The denial of a name that nothing speaks against.
    pub(super) fn find(&self, places: &Places, name: &[u8], service: u8) -> Option<Arc<CachedAnswer>> {
        if !self.used.load(Ordering::Acquire) {
            return None;
        }
        let denial = self.cache.get(&places.of_name(name, service))?.upgrade()?;
        (denial.is_undisputed() && denial.name() == name && denial.service() == service).then_some(denial)
    }

    /// Ends what denials of a name, and of the names above it, say of anything but their own
    /// questions, as far as `outlasts` does not say that they came later.
    pub(super) fn disprove(&self, places: &Places, name: &[u8], outlasts: impl Fn(&CachedAnswer) -> bool) {
        if !self.used.load(Ordering::Acquire) {
            return;
        }
        for name in at_and_above(name) {
            for denial in SERVICES.filter_map(|service| self.find(places, name, service)) {
                if !outlasts(&denial) {
                    denial.disprove();
                    let _ = self.cache.remove(&places.of_name(name, denial.service()));
                }
            }
        }
    }

    /// All denials that nothing speaks against.
    pub(super) fn iter(&self) -> impl Iterator<Item = Arc<CachedAnswer>> {
        self.cache.iter().filter_map(|(_, denial)| denial.upgrade()).filter(|denial| denial.is_undisputed())
    }
}

/// A name in wire form and the names above it, the root excluded.
pub(super) fn at_and_above(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(name), |name| {
        let (&length, rest) = name.split_first()?;
        rest.get(usize::from(length)..)
    })
    .take_while(|name| name.len() > 1)
}
