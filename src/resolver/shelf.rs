//! What one thread answered lately, within its own reach.
//!
//! A read of the store is not free: moka keeps its books on the thread that reads, which costs some 100 ns and now and then an
//! allocation. So each thread that answers keeps references to what it was asked for more than once. What lies on a shelf counts
//! only as long as the store would find the same; whoever replaces or evicts an entry marks it ([`Slot::is_current`]).
//!
//! A shelf holds references, not copies. What was replaced is let go when its place is needed, or when the shelf is tidied:
//! a few places with each new one.

use std::hash::BuildHasher;
use std::sync::Arc;

use super::store::{FailedName, Found, Slot, Store};
use crate::core::classify::Kind;
use crate::core::time::Timestamp;

/// Sets of a thread's shelf: with two places each enough for the default cache of 10 000 names.
const SETS: usize = 8_192;
/// Places that are tidied with each new reference.
const TIDIED: usize = 4;

/// One reference.
#[derive(Debug)]
enum Kept {
    /// Nothing.
    Nothing,
    /// An answer.
    Answer(Arc<Slot>),
    /// A failure.
    Failure(Arc<FailedName>),
}

/// What is known of a name and type, borrowed.
#[derive(Debug)]
pub enum Known<'a> {
    /// An answer that may be served.
    Answer(&'a Arc<Slot>),
    /// A failure, and nothing that may be served.
    Failure(&'a FailedName),
    /// Nothing.
    Nothing,
}

/// One thread's references.
pub struct Shelf {
    /// Two places a set.
    sets: Box<[[Kept; 2]]>,
    /// What was found last and has no place.
    last: Kept,
    /// The set that is tidied next.
    untidy: usize,
    /// Chooses the set.
    hasher: foldhash::fast::RandomState,
}

impl Shelf {
    /// An empty shelf.
    #[must_use]
    pub fn new() -> Self {
        Self::with_sets(SETS)
    }

    /// A shelf without places, for whoever answers one query.
    #[must_use]
    pub fn none() -> Self {
        Self::with_sets(0)
    }

    /// A shelf with so many sets.
    fn with_sets(sets: usize) -> Self {
        let sets = std::iter::repeat_with(|| [Kept::Nothing, Kept::Nothing]).take(sets).collect();
        Self { sets, last: Kept::Nothing, untidy: 0, hasher: foldhash::fast::RandomState::default() }
    }

    /// Finds what is known under a key: on the shelf, else in the store.
    pub fn find(&mut self, store: &Store, key: &[u8], now: Timestamp) -> Known<'_> {
        let own = self.own_set(key);
        let [first, second] =
            own.and_then(|own| self.sets.get(own)).map_or([false; 2], |set| set.each_ref().map(|kept| kept.fits(key, now)));
        if !first && !second {
            return self.fetch(store, own, key, now);
        }
        match own.and_then(|own| self.sets.get(own)) {
            Some([kept, _]) if first => kept.known(),
            Some([_, kept]) => kept.known(),
            None => Known::Nothing,
        }
    }

    /// Finds it in the store, and keeps it when it is asked for again.
    fn fetch(&mut self, store: &Store, own: Option<usize>, key: &[u8], now: Timestamp) -> Known<'_> {
        self.last = match store.find(key, now) {
            Found::Answer(slot) => Kept::Answer(slot),
            Found::Failure(failed) => Kept::Failure(failed),
            Found::Nothing => Kept::Nothing,
        };
        if !self.last.is_asked_again() {
            return self.last.known();
        }
        self.tidy();
        let Some(set) = own.and_then(|own| self.sets.get_mut(own)) else { return self.last.known() };
        // The newcomer takes the first place; who had it takes the second.
        set.swap(0, 1);
        let [first, _] = set;
        std::mem::swap(first, &mut self.last);
        self.last = Kept::Nothing;
        first.known()
    }

    /// The set of a key.
    fn own_set(&self, key: &[u8]) -> Option<usize> {
        let hash = self.hasher.hash_one(key);
        usize::try_from(hash % u64::try_from(self.sets.len()).ok()?.max(1)).ok()
    }

    /// Lets go of some of what was replaced.
    fn tidy(&mut self) {
        for _ in 0..TIDIED {
            self.untidy = (self.untidy + 1).checked_rem(self.sets.len()).unwrap_or_default();
            for kept in self.sets.get_mut(self.untidy).into_iter().flatten() {
                if !kept.is_current() {
                    *kept = Kept::Nothing;
                }
            }
        }
    }
}

impl Default for Shelf {
    fn default() -> Self {
        Self::new()
    }
}

impl Kept {
    /// Whether the store would find this under a key.
    fn fits(&self, key: &[u8], now: Timestamp) -> bool {
        match self {
            Self::Nothing => false,
            Self::Answer(slot) => {
                let counts = match slot.entry.kind {
                    Kind::Positive => true,
                    // One without an SOA gives way to an older good answer when it expires.
                    Kind::NoData | Kind::NxDomain => slot.entry.vouched || slot.entry.is_fresh(now),
                };
                *slot.key == *key && slot.is_current() && counts && slot.entry.is_servable(now)
            }
            Self::Failure(failed) => *failed.key == *key && failed.is_current(),
        }
    }

    /// Whether it was not replaced.
    fn is_current(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Answer(slot) => slot.is_current(),
            Self::Failure(failed) => failed.is_current(),
        }
    }

    /// Whether it is worth a place: a flood of names that are asked for once must not fill shelves.
    fn is_asked_again(&self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Answer(slot) => slot.hits() > 0,
            Self::Failure(failed) => failed.hit() > 0,
        }
    }

    /// The same, borrowed.
    fn known(&self) -> Known<'_> {
        match self {
            Self::Nothing => Known::Nothing,
            Self::Answer(slot) => Known::Answer(slot),
            Self::Failure(failed) => Known::Failure(failed),
        }
    }
}
