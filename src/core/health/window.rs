//! A sliding window over the outcomes of an upstream's witnesses: ten buckets that are reused in
//! turn.

use std::time::Duration;

use crate::core::time::Timestamp;

/// The number of buckets in the window.
const BUCKETS: usize = 10;
/// The same number, in the type of bucket numbers.
const STRETCHES: u64 = 10;

/// Counts of the outcomes within one stretch of time.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Microseconds since the epoch, divided by the length of a bucket.
    number: u64,
    /// Answers in time.
    successes: u32,
    /// Witnesses without a response in time.
    failures: u32,
}

/// The outcomes of the last seconds.
#[derive(Debug)]
pub(super) struct Window {
    /// Length of one bucket, in microseconds; at least 1.
    bucket_micros: u64,
    buckets: [Bucket; BUCKETS],
}

impl Window {
    /// Makes an empty window of this length.
    pub(super) fn new(length: Duration) -> Self {
        let micros = u64::try_from(length.as_micros()).unwrap_or(u64::MAX);
        Self { bucket_micros: (micros / STRETCHES).max(1), buckets: [Bucket::default(); BUCKETS] }
    }

    pub(super) fn clear(&mut self) {
        self.buckets = [Bucket::default(); BUCKETS];
    }

    /// Counts an answer in time.
    pub(super) fn add_success(&mut self, now: Timestamp) {
        if let Some(bucket) = self.bucket(now) {
            bucket.successes += 1;
        }
    }

    /// Counts a witness without a response in time.
    pub(super) fn add_failure(&mut self, now: Timestamp) {
        if let Some(bucket) = self.bucket(now) {
            bucket.failures += 1;
        }
    }

    /// The number of outcomes in the window.
    pub(super) fn count(&self, now: Timestamp) -> u32 {
        let (successes, failures) = self.sums(now);
        successes + failures
    }

    /// Share of failures, in percent; 0 in an empty window.
    pub(super) fn failure_percent(&self, now: Timestamp) -> u32 {
        let (successes, failures) = self.sums(now);
        u32::try_from(u64::from(failures) * 100 / u64::from((successes + failures).max(1))).unwrap_or(100)
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

    /// Successes and failures in all buckets that still count.
    fn sums(&self, now: Timestamp) -> (u32, u32) {
        let number = now.as_micros() / self.bucket_micros;
        self.buckets
            .iter()
            .filter(|bucket| number.saturating_sub(bucket.number) < STRETCHES)
            .fold((0, 0), |(good, bad), bucket| (good + bucket.successes, bad + bucket.failures))
    }
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
        let nine = start.plus(Duration::from_secs(9));
        assert_eq!((window.count(nine), window.failure_percent(nine)), (2, 50));
        let ten = start.plus(Duration::from_secs(10));
        assert_eq!((window.count(ten), window.failure_percent(ten)), (1, 0));
    }
}
