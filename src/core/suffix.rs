//! Notices when a suffix recovers that failed while other names were answered.
//!
//! An upstream that says SERVFAIL to every name below one suffix is not down: its breaker stays
//! closed, and each name waits for its own failure recheck timer, up to 30 s. When the suffix works
//! again, clients should not have to wait that long. So the first answers after a row of failures
//! *mend* the suffix: the cached failures of all names below it are void.
//!
//! A suffix in which some names fail for good while others are answered must not get around the
//! failure recheck timer in this way. Three rules prevent it:
//!
//! | rule | number |
//! |---|---|
//! | the suffix is broken only after a row of failures without any answer between them | 5 |
//! | it is mended only by answers without any failure between them | 2 |
//! | it is not mended again before a wait, which doubles unless it then stays well for a minute | 5 s to 60 s |
//!
//! The time comes in as `now`.

use std::time::Duration;

use super::time::Timestamp;

/// The number of places in which suffixes are watched, at 40 bytes each. A new suffix takes the
/// place of another one with the same remainder, unless that one is broken.
pub const PLACES: usize = 64;
/// Failures in a row that make a suffix broken.
const BROKEN_AFTER: u32 = 5;
/// Answers in a row that mend a broken suffix.
const MENDED_AFTER: u32 = 2;
/// The shortest wait between two mendings.
const APART_MIN: Duration = Duration::from_secs(5);
/// The longest wait between two mendings.
const APART_MAX: Duration = Duration::from_secs(60);
/// A suffix that was not mended for this long after its wait begins with the shortest wait again.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);

/// The hash of a suffix, which stands for the nearly registrable domain of a name (see
/// [`super::key::registrable`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SuffixHash(u64);

impl SuffixHash {
    /// Makes the hash of a suffix from a number that the caller has computed with any good hash
    /// function.
    #[must_use]
    pub const fn new(hash: u64) -> Self {
        Self(hash)
    }
}

/// One suffix that failed lately.
#[derive(Clone, Copy, Debug, Default)]
struct SuffixState {
    /// Hash of the suffix; 0 when the place is free.
    suffix: SuffixHash,
    /// Failures without any answer between them.
    failures: u32,
    /// Answers without any failure between them, since the suffix broke.
    answers: u32,
    mended_at: Timestamp,
    /// How long after `mended_at` the suffix may be mended again.
    apart: Duration,
}

/// The suffixes that failed lately, each in the place that its hash gives it.
#[derive(Debug)]
pub struct Suffixes {
    places: [SuffixState; PLACES],
}

impl Default for Suffixes {
    fn default() -> Self {
        Self { places: [SuffixState::default(); PLACES] }
    }
}

/// The place of a suffix, below [`PLACES`].
#[must_use]
pub const fn place(suffix: SuffixHash) -> usize {
    #[allow(clippy::cast_possible_truncation, reason = "the mask leaves six bits")]
    {
        (suffix.0 & 63) as usize
    }
}

impl Suffixes {
    /// Records that an upstream had no answer for a name below the suffix.
    pub fn failed(&mut self, suffix: SuffixHash) {
        let Some(own) = self.places.get_mut(place(suffix)) else { return };
        if own.suffix != suffix {
            // A broken suffix keeps its place until it is mended; others make way.
            if own.failures >= BROKEN_AFTER {
                return;
            }
            *own = SuffixState { suffix, ..SuffixState::default() };
        }
        own.failures = own.failures.saturating_add(1);
        own.answers = 0;
    }

    /// Records an answer for a name below the suffix. True when that mends the suffix, so that the
    /// cached failures of its names are void.
    pub fn answered(&mut self, suffix: SuffixHash, now: Timestamp) -> bool {
        let Some(own) = self.places.get_mut(place(suffix)).filter(|own| own.suffix == suffix) else { return false };
        if own.failures < BROKEN_AFTER {
            own.failures = 0;
            return false;
        }
        own.answers = own.answers.saturating_add(1);
        // A suffix that is mended time and again has names that fail for good: it waits longer and
        // longer. After a quiet time the wait is short again.
        let age = now.since(own.mended_at);
        if own.answers < MENDED_AFTER || age < own.apart {
            return false;
        }
        own.apart = if age >= own.apart.saturating_add(FORGIVEN_AFTER) {
            APART_MIN
        } else {
            (own.apart * 2).clamp(APART_MIN, APART_MAX)
        };
        own.failures = 0;
        own.answers = 0;
        own.mended_at = now;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn at(seconds: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(seconds))
    }

    fn broken() -> Suffixes {
        let mut suffixes = Suffixes::default();
        for _ in 0..5 {
            suffixes.failed(SuffixHash::new(7));
        }
        suffixes
    }

    #[test]
    fn two_answers_after_a_row_of_failures_mend_a_suffix_once() {
        let mut suffixes = broken();
        assert_eq!([0, 0, 0].map(|_| suffixes.answered(SuffixHash::new(7), NOW)), [false, true, false]);
    }

    #[test]
    fn single_failures_between_answers_break_nothing() {
        let mut suffixes = Suffixes::default();
        for second in 0..100 {
            for _ in 0..4 {
                suffixes.failed(SuffixHash::new(7));
            }
            assert!(!suffixes.answered(SuffixHash::new(7), at(second)));
        }
    }

    #[test]
    fn a_half_broken_suffix_is_mended_more_and_more_rarely() {
        let mut suffixes = Suffixes::default();
        let mended = (0..600)
            .filter(|second| {
                for _ in 0..5 {
                    suffixes.failed(SuffixHash::new(7));
                }
                let _ = suffixes.answered(SuffixHash::new(7), at(*second));
                suffixes.answered(SuffixHash::new(7), at(*second))
            })
            .count();
        assert!((8..=14).contains(&mended), "{mended} times in ten minutes");
    }

    #[test]
    fn another_suffix_in_the_same_place_counts_for_itself() {
        let mut suffixes = broken();
        suffixes.failed(SuffixHash::new(7 + 64));
        assert!(!suffixes.answered(SuffixHash::new(7 + 64), NOW));
        assert!(!suffixes.answered(SuffixHash::new(7), NOW));
        assert!(suffixes.answered(SuffixHash::new(7), NOW), "a broken suffix is not pushed out");
        suffixes.failed(SuffixHash::new(7 + 64));
        assert!(!suffixes.answered(SuffixHash::new(7), NOW), "a mended suffix is");
    }
}
