//! The place of an answer or failure in the caches of the store: a hash of its key.
//!
//! Each answer and failure knows its own key, so the caches need only the hash, which saves two
//! allocations an entry. Should two of a million names ever have the same 64 bits (1 in 40
//! million), the later one is remembered.

use std::hash::BuildHasher;

use crate::core::key::Key;

/// The hash of a key.
pub(super) type Place = u64;

/// Hashes keys; a cache that hashes places once more uses it as well.
pub(super) type Hasher = foldhash::fast::RandomState;

/// Computes the place of a key. The hash is seeded anew in each process, so that nobody can choose
/// names that collide.
#[derive(Default)]
pub(super) struct Places(Hasher);

impl Places {
    /// The place of a key, the same in every cache of one store.
    pub(super) fn of(&self, key: &Key) -> Place {
        self.0.hash_one(key.as_bytes())
    }

    /// The place of a name in one DNSSEC service, for what is known of all of its types.
    pub(super) fn of_name(&self, name: &[u8], service: u8) -> Place {
        self.0.hash_one((name, service))
    }
}
