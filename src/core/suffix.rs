//! Notices when a suffix comes back that failed while the rest of the world was answered.
//!
//! An upstream that says SERVFAIL to everything below one suffix is no outage of the upstream: its
//! breaker stays closed, and each name waits out its own failure recheck, up to 30 s. When the
//! suffix is mended, nobody should have to wait that long. So the first answers after a row of
//! failures void the failure notes of the whole suffix.
//!
//! A suffix in which some names fail for good and others are fine must not use this as a way around
//! the recheck: it takes a row of failures without any answer between, then a row of answers
//! without any failure, and each further time within a minute waits twice as long as the last.
//! Pure: time comes in as `now`.

use std::time::Duration;

use super::time::Timestamp;

/// Suffixes that are watched; each takes 32 bytes. A new one takes the place of one that is well.
pub const PLACES: usize = 64;
/// Failures in a row that make a suffix broken.
const BROKEN_AFTER: u32 = 5;
/// Answers in a row that mend it.
const MENDED_AFTER: u32 = 2;
/// The shortest time between two mendings.
const APART_MIN: Duration = Duration::from_secs(5);
/// The longest.
const APART_MAX: Duration = Duration::from_secs(60);
/// A suffix that was well for this long starts anew.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);

/// The hash of a suffix: of the registrable domain of a name, or nearly so (see
/// [`super::key::registrable`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SuffixHash(u64);

impl SuffixHash {
    /// Takes a hash that somebody has computed; any good one will do.
    #[must_use]
    pub const fn new(hash: u64) -> Self {
        Self(hash)
    }
}

/// What is known of one suffix.
#[derive(Clone, Copy, Debug, Default)]
struct SuffixState {
    /// Hash of the suffix; 0 when the place is free.
    suffix: SuffixHash,
    /// Failures without any answer between.
    failures: u32,
    /// Answers without any failure between, since it broke.
    answers: u32,
    /// When it was mended last.
    mended_at: Timestamp,
    /// How long after that it may be mended again.
    apart: Duration,
}

/// The suffixes that failed lately.
#[derive(Debug)]
pub struct Suffixes {
    /// One place per remainder of the hash.
    places: [SuffixState; PLACES],
}

impl Default for Suffixes {
    fn default() -> Self {
        Self { places: [SuffixState::default(); PLACES] }
    }
}

/// The place of a suffix, by the hash of its name.
#[must_use]
pub const fn place(suffix: SuffixHash) -> usize {
    // Below 64, so nothing is lost.
    #[allow(clippy::cast_possible_truncation, reason = "the mask leaves six bits")]
    {
        (suffix.0 & 63) as usize
    }
}

impl Suffixes {
    /// Takes note that an upstream had no answer for a name below the suffix.
    pub fn failed(&mut self, suffix: SuffixHash) {
        let Some(own) = self.places.get_mut(place(suffix)) else { return };
        if own.suffix != suffix {
            if own.failures >= BROKEN_AFTER {
                return;
            }
            *own = SuffixState { suffix, ..SuffixState::default() };
        }
        own.failures = own.failures.saturating_add(1);
        own.answers = 0;
    }

    /// Takes note of an answer for a name below the suffix; true when that mends it.
    pub fn answered(&mut self, suffix: SuffixHash, now: Timestamp) -> bool {
        let Some(own) = self.places.get_mut(place(suffix)).filter(|own| own.suffix == suffix) else { return false };
        if own.failures < BROKEN_AFTER {
            own.failures = 0;
            return false;
        }
        own.answers = own.answers.saturating_add(1);
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
    fn half_broken_suffixes_mend_ever_more_rarely() {
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
        assert!(suffixes.answered(SuffixHash::new(7), NOW), "the broken one is not pushed out");
        suffixes.failed(SuffixHash::new(7 + 64));
        assert!(!suffixes.answered(SuffixHash::new(7), NOW), "a mended one is");
    }
}
