//! When a name is asked for again: ahead of its expiry while it is in use, and after a failure.
//!
//! Most upstreams are caches themselves: what they say of a name counts down, and is 1 or 0 in the
//! last second of their record. A prefetch then brings the rest of the same life. Answers that
//! follow one another are compared, so that such a life costs two packets at most, however often
//! the name is asked for:
//!
//! | the new answer, and the one that it replaces | is fresh | is prefetched |
//! |---|---|---|
//! | TTL 0, after one of the same kind that had a TTL | for 1 s | as below |
//! | prefetched, and the rest of the same life | to 1 s beyond that life | not within 10 min |
//! | any other | for its TTL | once in its window, not within 1 s |
//!
//! The second after the end of a life is that of the upstream: a TTL that was rounded down says 1
//! or 0 for up to a second more. What is given out as fresh is therefore at most 1 s beyond a TTL.
//!
//! Critical names are refreshed without any client; see [`super::critical`].

use std::time::Duration;

use super::decision::Prefetch;
use super::entry::Entry;
use super::policy::{PrefetchPolicy, StalePolicy};
use super::time::Timestamp;

/// For how long an answer may be fresh beyond its TTL, in the cases above.
const REUSE: Duration = Duration::from_secs(1);
/// No answer is prefetched before it has this age, so one whose TTL is 1 s never is.
const PREFETCH_PAUSE: Duration = Duration::from_secs(1);
/// For how long a name is not prefetched whose upstream counts down, since that brings nothing new.
const COUNTS_DOWN_FOR: Duration = Duration::from_secs(600);

/// The times of a remembered answer that depend on the answer before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Succession {
    /// The moment from which the answer is no longer fresh: the end of its TTL, or up to 1 s later.
    pub fresh_until: Timestamp,
    /// The moment before which the answer is not prefetched.
    pub prefetch_from: Timestamp,
}

impl Succession {
    /// The times of an answer that replaces none.
    #[must_use]
    pub fn first(entry: &Entry) -> Self {
        Self { fresh_until: entry.fresh_until, prefetch_from: entry.stored.plus(PREFETCH_PAUSE) }
    }

    /// The times of the answer `new`, which replaces `old`; `self` are those of `old`.
    #[must_use]
    pub fn next(self, old: &Entry, new: &Entry, policy: &PrefetchPolicy) -> Self {
        let first = Self::first(new);
        if new.kind != old.kind {
            return first;
        }
        let prefetch_from = first.prefetch_from.max(self.prefetch_from);
        let moved_to_zero = new.was_never_fresh() && !old.was_never_fresh();
        let is_same_life = is_in_window(old, policy, new.stored)
            && life(new) < life(old)
            && new.fresh_until < old.fresh_until.plus(REUSE);
        let reused = if moved_to_zero {
            new.stored.plus(REUSE)
        } else if is_same_life {
            new.fresh_until.min(old.fresh_until).plus(REUSE)
        } else {
            new.fresh_until
        };
        Self {
            fresh_until: new.fresh_until.max(reused),
            prefetch_from: if is_same_life { new.stored.plus(COUNTS_DOWN_FOR) } else { prefetch_from },
        }
    }
}

/// Whether an entry that has had this number of hits in its TTL should be refreshed now, ahead of
/// its expiry; never before `prefetch_from`.
#[must_use]
pub fn prefetch(
    entry: &Entry,
    hits: u32,
    prefetch_from: Timestamp,
    policy: &PrefetchPolicy,
    now: Timestamp,
) -> Prefetch {
    if hits >= policy.hits && now >= prefetch_from && is_in_window(entry, policy, now) {
        Prefetch::Due
    } else {
        Prefetch::NotDue
    }
}

/// Whether a hit on the entry may start a prefetch now: in the last part of its TTL, which is at
/// most half of it.
fn is_in_window(entry: &Entry, policy: &PrefetchPolicy, now: Timestamp) -> bool {
    let life = life(entry);
    let window = (life * policy.window_percent / 100).max(policy.window_min).min(life / 2);
    policy.enabled && entry.is_fresh(now) && now.until(entry.fresh_until) <= window
}

/// The time for which an entry is fresh by its TTL.
fn life(entry: &Entry) -> Duration {
    entry.fresh_until.since(entry.stored)
}

/// The failure recheck timer of a name after so many failures in a row: it doubles with each
/// failure up to its maximum (RFC 8767 §5, RFC 9520 §3.2).
#[must_use]
pub fn recheck_after(failures: u32, policy: &StalePolicy) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    policy.recheck_min.saturating_mul(1 << doublings).min(policy.recheck_max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::classify::classify;
    use crate::core::key::{Dnssec, Key};
    use crate::core::testing::{Response, name, policy};

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(seconds: f64) -> Timestamp {
        Timestamp::from_secs(1000).plus(Duration::from_secs_f64(seconds))
    }

    /// An answer with this TTL that came so many seconds after the first one.
    fn entry_at(ttl: u32, seconds: f64) -> Entry {
        let response = Response::new("www.example.com", 1).a("www.example.com", ttl).bytes();
        let key = Key::new(&name("www.example.com"), 1, 1, Dnssec::default());
        Entry::remember(&key, &response, classify(1, &response), &policy(), at(seconds)).expect("an entry").entry
    }

    /// Whether the first answer, with this TTL, is prefetched after so many seconds.
    fn is_due(ttl: u32, hits: u32, seconds: f64) -> bool {
        let entry = entry_at(ttl, 0.0);
        let from = Succession::first(&entry).prefetch_from;
        prefetch(&entry, hits, from, &policy().prefetch, at(seconds)) == Prefetch::Due
    }

    /// For how many seconds an answer is fresh that came after so many seconds in the place of one
    /// with another TTL, and after how many seconds from then on it may be prefetched.
    fn succeeded(old: u32, new: u32, seconds: f64) -> (f64, f64) {
        let (old, new) = (entry_at(old, 0.0), entry_at(new, seconds));
        let next = Succession::first(&old).next(&old, &new, &policy().prefetch);
        (next.fresh_until.since(new.stored).as_secs_f64(), next.prefetch_from.since(new.stored).as_secs_f64())
    }

    #[test]
    fn a_name_in_use_is_refreshed_in_the_last_tenth_of_its_ttl() {
        assert!(!is_due(300, 2, 269.0) && is_due(300, 2, 270.0));
        assert!(!is_due(300, 1, 270.0), "one hit is not enough");
        assert!(!is_due(300, 2, 300.0), "it has expired");
    }

    #[test]
    fn a_short_ttl_is_refreshed_in_its_last_second_and_never_in_its_first() {
        assert!(is_due(3, 2, 2.0) && !is_due(3, 2, 1.0));
        assert!(is_due(2, 2, 1.0) && !is_due(2, 2, 0.9));
        for tenths in 0..20_u8 {
            assert!(!is_due(1, 2, f64::from(tenths) / 10.0) && !is_due(0, 2, f64::from(tenths) / 10.0));
        }
    }

    #[test]
    fn a_window_that_is_longer_than_the_ttl_is_half_of_it() {
        let policy = PrefetchPolicy { window_min: HOUR, ..policy().prefetch };
        let entry = entry_at(60, 0.0);
        let due = |seconds| prefetch(&entry, 2, at(0.0), &policy, at(seconds));
        assert_eq!((due(29.0), due(30.0)), (Prefetch::NotDue, Prefetch::Due));
    }

    #[test]
    fn what_a_prefetch_brings_of_the_same_life_is_used_up_before_it_is_asked_for_again() {
        assert_eq!(succeeded(10, 1, 9.0), (2.0, 600.0), "to a second beyond the life of the first");
        assert_eq!(succeeded(9, 0, 8.5), (1.0, 600.0), "a TTL of 0 was rounded down");
        assert_eq!(succeeded(300, 29, 270.5), (30.0, 600.0));
        assert_eq!(succeeded(300, 30, 270.5), (30.5, 600.0), "never more than a second beyond the first answer's TTL");
        assert_eq!(succeeded(10, 10, 9.0), (10.0, 1.0), "an upstream that does not count down");
        assert_eq!(succeeded(10, 9, 9.0), (9.0, 1.0), "the next life of the upstream's record");
        assert_eq!(succeeded(10, 1, 11.0), (1.0, 1.0), "not a prefetch, so nothing was learned");
        assert_eq!(succeeded(10, 1, 3.0), (1.0, 1.0), "the provider changed it");
    }

    #[test]
    fn a_ttl_of_zero_is_reused_for_a_second_after_a_ttl_and_not_after_another_zero() {
        assert_eq!(succeeded(10, 0, 10.0), (1.0, 1.0));
        assert_eq!(succeeded(10, 0, 5000.0), (1.0, 1.0));
        assert_eq!(succeeded(0, 0, 1.0), (0.0, 1.0));
    }

    #[test]
    fn a_name_whose_upstream_counts_down_is_not_prefetched_for_ten_minutes() {
        let (first, rest, second) = (entry_at(10, 0.0), entry_at(1, 9.0), entry_at(10, 11.0));
        let policy = policy().prefetch;
        let learned = Succession::first(&first).next(&first, &rest, &policy);
        let after = learned.next(&rest, &second, &policy);
        assert_eq!(after, Succession { fresh_until: at(21.0), prefetch_from: at(609.0) });
        assert_eq!(prefetch(&second, 2, after.prefetch_from, &policy, at(20.5)), Prefetch::NotDue);
    }

    #[test]
    fn rechecks_double_from_one_second_to_thirty() {
        let policy = policy().stale;
        let seconds: Vec<u64> =
            [1, 2, 3, 5, 6, 100].into_iter().map(|failures| recheck_after(failures, &policy).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 16, 30, 30]);
    }
}
