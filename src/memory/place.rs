//! Where an answer or failure lies in the caches of the store: a hash of its key.
//!
//! What lies at a place knows its own key, so the caches go by the hash alone, which saves two
//! allocations an entry. Should two of a million names ever have the same 64 bits (1 in 40
//! million), the later one is remembered.

use std::hash::BuildHasher;

use crate::core::key::Key;

/// The hash of a key.
pub(super) type Place = u64;

/// Hashes keys, and places once more where a cache does so.
pub(super) type Hasher = foldhash::fast::RandomState;

/// Tells the place of a key; seeded anew in each process, so that nobody can choose names that
/// collide.
#[derive(Default)]
pub(super) struct Places(Hasher);

impl Places {
    /// The place of a key, the same in every cache of one store.
    pub(super) fn of(&self, key: &Key) -> Place {
        self.0.hash_one(key.as_bytes())
    }
}
