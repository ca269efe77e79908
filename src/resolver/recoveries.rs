//! Counts recoveries, so that notes of failures from before a recovery can be distinguished from
//! those after it.
//!
//! A failure note holds the count at the time of the failure. When an upstream recovers, all notes
//! of its group are void at once; when a suffix recovers, all notes below that suffix are. The
//! store need not be walked for that.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;

use crate::core::key::registrable;
use crate::core::suffix::{self, SuffixHash, Suffixes};
use crate::core::time::Timestamp;

/// The recoveries that concern one group of names.
pub struct Recoveries {
    /// Recoveries of upstreams.
    upstreams: AtomicU32,
    /// Recoveries of suffixes, by the suffix's place.
    suffixes: [AtomicU32; suffix::PLACES],
    /// The suffixes that failed lately.
    watched: Mutex<Suffixes>,
}

impl Default for Recoveries {
    fn default() -> Self {
        Self {
            upstreams: AtomicU32::new(0),
            suffixes: [const { AtomicU32::new(0) }; suffix::PLACES],
            watched: Mutex::default(),
        }
    }
}

/// The hash of the suffix whose failures and answers a name counts for: nearly its registrable
/// domain (see [`registrable`]).
#[must_use]
pub fn suffix_of(name: &[u8]) -> SuffixHash {
    SuffixHash::new(foldhash::fast::FixedState::default().hash_one(registrable(name)))
}

impl Recoveries {
    /// The count of recoveries that concern a name in lower-cased wire form; it wraps around.
    #[must_use]
    pub fn of(&self, name: &[u8]) -> u32 {
        let suffix = self.suffixes.get(suffix::place(suffix_of(name))).map_or(0, |count| count.load(Ordering::Relaxed));
        self.upstreams.load(Ordering::Relaxed).wrapping_add(suffix)
    }

    /// Counts the recovery of an upstream.
    pub fn note_upstream(&self) {
        self.upstreams.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that an upstream had no answer for a name in lower-cased wire form.
    pub fn note_failure(&self, name: &[u8]) {
        self.watched.lock().failed(suffix_of(name));
    }

    /// Notes that an upstream had an answer for a name in lower-cased wire form; true when the
    /// suffix of the name has recovered with this answer.
    pub fn note_answer(&self, name: &[u8], now: Timestamp) -> bool {
        let suffix = suffix_of(name);
        let is_recovered = self.watched.lock().answered(suffix, now);
        if is_recovered && let Some(count) = self.suffixes.get(suffix::place(suffix)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        is_recovered
    }
}
