//! What failed lately in one group of names, whose fault that is, and what has recovered since.
//!
//! A failure note holds the count of recoveries at the time of the failure. When an upstream
//! recovers, all notes of its group are void at once; when a suffix recovers, all notes below that
//! suffix are. The store need not be walked for that.
//!
//! The zones and types that are in trouble while upstreams are well ([`crate::core::trouble`]) are
//! published for the threads that answer, which read them without a lock.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::core::key::{Key, registrable};
use crate::core::suffix::{self, SuffixHash, Suffixes};
use crate::core::time::Timestamp;
use crate::core::trouble::{Charges, Mending, Troubles};
use crate::core::witness::TroubleSubject;

/// The recoveries that concern one group of names, and what waits for one.
pub struct Recoveries {
    /// Recoveries of upstreams.
    upstreams: AtomicU32,
    /// Recoveries of suffixes, by the suffix's place.
    suffixes: [AtomicU32; suffix::PLACES],
    watched: Mutex<FailedLately>,
    /// The zones and types that are in trouble now.
    charges: ArcSwap<Charges>,
    /// Whether there are any, so that most readers need look no further.
    any_charges: AtomicBool,
}

/// What failed lately.
#[derive(Default)]
struct FailedLately {
    suffixes: Suffixes,
    troubles: Troubles,
}

/// What an answer has put right beside its own question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// Nothing else.
    None,
    /// The failure notes of all names with the same suffix are void.
    OfSuffix,
    /// The failure notes of all names of the group are void.
    OfGroup,
}

impl Default for Recoveries {
    fn default() -> Self {
        Self {
            upstreams: AtomicU32::new(0),
            suffixes: [const { AtomicU32::new(0) }; suffix::PLACES],
            watched: Mutex::default(),
            charges: ArcSwap::default(),
            any_charges: AtomicBool::new(false),
        }
    }
}

/// The hash of the suffix whose failures and answers a name counts for: nearly its registrable
/// domain (see [`registrable`]).
#[must_use]
pub fn suffix_of(name: &[u8]) -> SuffixHash {
    SuffixHash::new(foldhash::fast::FixedState::default().hash_one(registrable(name)))
}

/// The properties of a question that can be to blame for its trouble.
#[must_use]
pub fn subject_of(key: &Key) -> TroubleSubject {
    TroubleSubject { suffix: suffix_of(key.name()), qtype: key.qtype() }
}

impl Recoveries {
    /// The count of recoveries that concern a name in lower-cased wire form; it wraps around.
    #[must_use]
    pub fn of(&self, name: &[u8]) -> u32 {
        let suffix = self.suffixes.get(suffix::place(suffix_of(name))).map_or(0, |count| count.load(Ordering::Relaxed));
        self.upstreams.load(Ordering::Relaxed).wrapping_add(suffix)
    }

    /// Counts the recovery of an upstream: what failed before was its fault.
    pub fn note_upstream(&self, now: Timestamp) {
        self.upstreams.fetch_add(1, Ordering::Relaxed);
        let mut watched = self.watched.lock();
        watched.troubles.clear();
        self.publish(&watched.troubles, now);
    }

    /// Notes that a resolution failed that began at this count of recoveries. What began before an
    /// upstream recovered was that upstream's fault, not the name's.
    pub fn note_failure(&self, key: &Key, began_at: u32, now: Timestamp) {
        if self.of(key.name()) != began_at {
            return;
        }
        let mut watched = self.watched.lock();
        watched.suffixes.failed(suffix_of(key.name()));
        watched.troubles.failed(key, now);
        self.publish(&watched.troubles, now);
    }

    /// Notes that an upstream had an answer, and gives what has recovered with it.
    pub fn note_answer(&self, key: &Key, now: Timestamp) -> Recovery {
        let suffix = suffix_of(key.name());
        let mut watched = self.watched.lock();
        let of_suffix = watched.suffixes.answered(suffix, now);
        let mending = if watched.troubles.is_empty() {
            Mending::Nothing
        } else {
            let mending = watched.troubles.answered(key, now);
            self.publish(&watched.troubles, now);
            mending
        };
        match mending {
            Mending::Everything => {
                self.upstreams.fetch_add(1, Ordering::Relaxed);
                Recovery::OfGroup
            }
            Mending::Nothing if of_suffix => {
                if let Some(count) = self.suffixes.get(suffix::place(suffix)) {
                    count.fetch_add(1, Ordering::Relaxed);
                }
                Recovery::OfSuffix
            }
            Mending::Nothing => Recovery::None,
        }
    }

    /// Notes that a witness was answered: its zone and type are not to blame.
    pub fn note_witness(&self, key: &Key, now: Timestamp) {
        let mut watched = self.watched.lock();
        if !watched.troubles.is_empty() {
            watched.troubles.exonerate(key, now);
            self.publish(&watched.troubles, now);
        }
    }

    /// The question in trouble that is to be asked again now. To be called once a second.
    pub fn next_recheck(&self, now: Timestamp) -> Option<Key> {
        let mut watched = self.watched.lock();
        let next = watched.troubles.next_recheck(now);
        self.publish(&watched.troubles, now);
        next
    }

    /// The zones and types that are in trouble now.
    #[must_use]
    pub fn charges(&self) -> Arc<Charges> {
        self.charges.load_full()
    }

    /// Some of the questions in trouble, at most so many.
    #[must_use]
    pub fn some_troubled(&self, at_most: usize) -> Vec<Key> {
        self.watched.lock().troubles.some(at_most).cloned().collect()
    }

    /// How often a question failed in a row, and since when; `None` when it is not in trouble.
    #[must_use]
    pub fn trouble_of(&self, key: &Key) -> Option<(u32, Timestamp)> {
        self.watched.lock().troubles.find(key)
    }

    /// The number of questions in trouble, as far as they are kept.
    #[must_use]
    pub fn troubled(&self) -> usize {
        self.watched.lock().troubles.len()
    }

    /// Whether the zone or the type of a question is in trouble; read without a lock.
    #[must_use]
    pub fn concern(&self, key: &Key) -> bool {
        self.any_charges.load(Ordering::Relaxed) && self.charges.load().concern(key)
    }

    /// Publishes what is in trouble, if that has changed.
    fn publish(&self, troubles: &Troubles, now: Timestamp) {
        let charges = troubles.charges(now);
        if charges.is_empty() && !self.any_charges.load(Ordering::Relaxed) {
            return;
        }
        self.any_charges.store(!charges.is_empty(), Ordering::Relaxed);
        if **self.charges.load() != charges {
            self.charges.store(Arc::new(charges));
        }
    }
}
