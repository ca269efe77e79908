//! A sliding window over the outcomes of an upstream's attempts: ten buckets that are reused in
//! turn.
//!
//! Beside the counts it keeps the suffixes of the last few names that got a response without
//! answer, so that one broken zone can be distinguished from an upstream that answers nothing.

use std::time::Duration;

use crate::core::suffix::SuffixHash;
use crate::core::time::Timestamp;

/// The number of buckets in the window.
const BUCKETS: usize = 10;
/// The same number, in the type of bucket numbers.
const STRETCHES: u64 = 10;
/// The number of suffixes that are remembered apart from each other.
const SUFFIXES: usize = 8;

/// Counts of the outcomes within one stretch of time.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Microseconds since the epoch, divided by the length of a bucket.
    number: u64,
    /// Answers in time.
    successes: u32,
    /// Late answers, silence, network errors.
    failures: u32,
    /// Responses that are no answers.
    servfails: u32,
}

/// The outcomes of the last seconds.
#[derive(Debug)]
pub(super) struct Window {
    /// Length of one bucket, in microseconds; at least 1.
    bucket_micros: u64,
    buckets: [Bucket; BUCKETS],
    /// Suffixes of names that got a response without answer lately, each with the time of the last
    /// one; the epoch marks a free place.
    suffixes: [(SuffixHash, Timestamp); SUFFIXES],
    /// The place that the next new suffix takes, in turn.
    next_suffix: usize,
}

/// Sums over all buckets that still count, as in [`Bucket`].
#[derive(Clone, Copy, Default)]
struct Sums {
    successes: u32,
    failures: u32,
    servfails: u32,
}

impl Window {
    /// Makes an empty window of this length.
    pub(super) fn new(length: Duration) -> Self {
        let micros = u64::try_from(length.as_micros()).unwrap_or(u64::MAX);
        Self {
            bucket_micros: (micros / STRETCHES).max(1),
            buckets: [Bucket::default(); BUCKETS],
            suffixes: [(SuffixHash::default(), Timestamp::EPOCH); SUFFIXES],
            next_suffix: 0,
        }
    }

    pub(super) fn clear(&mut self) {
        self.buckets = [Bucket::default(); BUCKETS];
        self.suffixes = [(SuffixHash::default(), Timestamp::EPOCH); SUFFIXES];
    }

    /// Counts an answer in time.
    pub(super) fn add_success(&mut self, now: Timestamp) {
        if let Some(bucket) = self.bucket(now) {
            bucket.successes += 1;
        }
    }

    /// Counts silence, a network error, or a late answer.
    pub(super) fn add_failure(&mut self, now: Timestamp) {
        if let Some(bucket) = self.bucket(now) {
            bucket.failures += 1;
        }
    }

    /// Counts a response that is no answer, to a question about a name below this suffix.
    pub(super) fn add_servfail(&mut self, suffix: SuffixHash, now: Timestamp) {
        if let Some(bucket) = self.bucket(now) {
            bucket.servfails += 1;
        }
        if let Some(known) = self.suffixes.iter_mut().find(|(known, at)| *known == suffix && *at > Timestamp::EPOCH) {
            known.1 = now;
        } else if let Some(place) = self.suffixes.get_mut(self.next_suffix) {
            *place = (suffix, now);
            self.next_suffix = (self.next_suffix + 1) % SUFFIXES;
        }
    }

    /// The number of outcomes in the window.
    pub(super) fn attempts(&self, now: Timestamp) -> u32 {
        let sums = self.sums(now);
        sums.successes + sums.failures + sums.servfails
    }

    /// Share of failures, in percent.
    pub(super) fn failure_percent(&self, now: Timestamp) -> u32 {
        percent(self.sums(now).failures, self.attempts(now))
    }

    /// Share of responses that are no answers, in percent.
    pub(super) fn servfail_percent(&self, now: Timestamp) -> u32 {
        percent(self.sums(now).servfails, self.attempts(now))
    }

    /// The number of suffixes below which a response was no answer.
    pub(super) fn servfail_suffixes(&self, now: Timestamp) -> usize {
        let length = Duration::from_micros(self.bucket_micros.saturating_mul(STRETCHES));
        self.suffixes.iter().filter(|(_, at)| *at > Timestamp::EPOCH && now.since(*at) < length).count()
    }

    /// The bucket of this moment, emptied first if it still holds an earlier stretch of time.
    fn bucket(&mut self, now: Timestamp) -> Option<&mut Bucket> {
        let number = now.as_micros() / self.bucket_micros;
        let bucket = self.buckets.get_mut(usize::try_from(number % STRETCHES).ok()?)?;
        if bucket.number != number {
            *bucket = Bucket { number, ..Bucket::default() };
        }
        Some(bucket)
    }

    fn sums(&self, now: Timestamp) -> Sums {
        let number = now.as_micros() / self.bucket_micros;
        let mut sums = Sums::default();
        for bucket in self.buckets.iter().filter(|bucket| number.saturating_sub(bucket.number) < STRETCHES) {
            sums.successes += bucket.successes;
            sums.failures += bucket.failures;
            sums.servfails += bucket.servfails;
        }
        sums
    }
}

/// The share of `part` in `whole` in percent; 0 when `whole` is 0.
fn percent(part: u32, whole: u32) -> u32 {
    u32::try_from(u64::from(part) * 100 / u64::from(whole.max(1))).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_older_than_the_window_do_not_count() {
        let mut window = Window::new(Duration::from_secs(10));
        let start = Timestamp::from_secs(1_000);
        window.add_failure(start);
        window.add_success(start.plus(Duration::from_secs(5)));
        assert_eq!(
            (
                window.attempts(start.plus(Duration::from_secs(9))),
                window.failure_percent(start.plus(Duration::from_secs(9)))
            ),
            (2, 50)
        );
        assert_eq!(
            (
                window.attempts(start.plus(Duration::from_secs(10))),
                window.failure_percent(start.plus(Duration::from_secs(10)))
            ),
            (1, 0)
        );
    }

    #[test]
    fn responses_without_answer_count_by_suffix() {
        let mut window = Window::new(Duration::from_secs(10));
        let now = Timestamp::from_secs(1_000);
        for suffix in [1, 2, 1, 2, 3] {
            window.add_servfail(SuffixHash::new(suffix), now);
        }
        assert_eq!((window.servfail_suffixes(now), window.servfail_percent(now)), (3, 100));
        assert_eq!(window.servfail_suffixes(now.plus(Duration::from_secs(11))), 0);
    }
}
