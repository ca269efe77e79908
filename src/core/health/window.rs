//! What happened to an upstream in the last seconds: ten buckets that are reused in turn.

use std::time::Duration;

use crate::core::suffix::SuffixHash;
use crate::core::time::Timestamp;

/// Buckets.
const BUCKETS: usize = 10;
/// The same, to reckon with times.
const STRETCHES: u64 = 10;
/// Unrelated names with SERVFAIL that are kept apart.
const SUFFIXES: usize = 8;

/// What happened in one bucket's time.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Which stretch of time it counts: microseconds since the epoch divided by the bucket's
    /// length.
    number: u64,
    /// Answers in time.
    successes: u32,
    /// Late answers, silence, network errors.
    failures: u32,
    /// Responses that are no answers.
    servfails: u32,
}

/// The last seconds.
#[derive(Debug)]
pub(super) struct Window {
    /// Length of one bucket, in microseconds; at least 1.
    bucket_micros: u64,
    /// The buckets.
    buckets: [Bucket; BUCKETS],
    /// Groups of names with SERVFAIL lately, and when.
    suffixes: [(SuffixHash, Timestamp); SUFFIXES],
    /// Where the next suffix goes.
    next_suffix: usize,
}

/// Sums over the window.
#[derive(Clone, Copy, Default)]
struct Sums {
    /// As in [`Bucket`].
    successes: u32,
    /// As in [`Bucket`].
    failures: u32,
    /// As in [`Bucket`].
    servfails: u32,
}

impl Window {
    /// A window of this length.
    pub(super) fn new(length: Duration) -> Self {
        let micros = u64::try_from(length.as_micros()).unwrap_or(u64::MAX);
        Self {
            bucket_micros: (micros / STRETCHES).max(1),
            buckets: [Bucket::default(); BUCKETS],
            suffixes: [(SuffixHash::default(), Timestamp::EPOCH); SUFFIXES],
            next_suffix: 0,
        }
    }

    /// Forgets everything.
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

    /// Counts a response that is no answer, for a name below this suffix.
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

    /// Attempts in the window.
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

    /// Unrelated names with such responses.
    pub(super) fn servfail_suffixes(&self, now: Timestamp) -> usize {
        let length = Duration::from_micros(self.bucket_micros.saturating_mul(STRETCHES));
        self.suffixes.iter().filter(|(_, at)| *at > Timestamp::EPOCH && now.since(*at) < length).count()
    }

    /// The bucket of this moment, emptied if it last served another stretch.
    fn bucket(&mut self, now: Timestamp) -> Option<&mut Bucket> {
        let number = now.as_micros() / self.bucket_micros;
        let bucket = self.buckets.get_mut(usize::try_from(number % STRETCHES).ok()?)?;
        if bucket.number != number {
            *bucket = Bucket { number, ..Bucket::default() };
        }
        Some(bucket)
    }

    /// Adds up the buckets that still count.
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

/// `part` of `whole` in percent; 0 of nothing.
fn percent(part: u32, whole: u32) -> u32 {
    u32::try_from(u64::from(part) * 100 / u64::from(whole.max(1))).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_the_window_does_not_count() {
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
    fn servfails_count_by_group() {
        let mut window = Window::new(Duration::from_secs(10));
        let now = Timestamp::from_secs(1_000);
        for group in [1, 2, 1, 2, 3] {
            window.add_servfail(SuffixHash::new(group), now);
        }
        assert_eq!((window.servfail_suffixes(now), window.servfail_percent(now)), (3, 100));
        assert_eq!(window.servfail_suffixes(now.plus(Duration::from_secs(11))), 0);
    }
}
