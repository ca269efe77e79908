//! When a name is asked for again: ahead of its expiry while it is in use, and after a failure.
//!
//! Critical names are refreshed without any client; see [`super::critical`].

use std::time::Duration;

use super::decision::Prefetch;
use super::entry::Entry;
use super::policy::{PrefetchPolicy, StalePolicy};
use super::time::Timestamp;

/// Whether a fresh entry that has had this number of hits in its TTL should be refreshed now, ahead
/// of its expiry.
#[must_use]
pub fn prefetch(entry: &Entry, hits: u32, policy: &PrefetchPolicy, now: Timestamp) -> Prefetch {
    let life = entry.fresh_until.since(entry.stored);
    let window = (life * policy.window_percent / 100).max(policy.window_min);
    if policy.enabled && hits >= policy.hits && now.until(entry.fresh_until) <= window {
        Prefetch::Due
    } else {
        Prefetch::NotDue
    }
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

    fn entry(ttl: u32) -> Entry {
        let response = Response::new("www.example.com", 1).a("www.example.com", ttl).bytes();
        let key = Key::new(&name("www.example.com"), 1, 1, Dnssec::default());
        Entry::remember(&key, &response, classify(1, &response), &policy(), Timestamp::from_secs(1000))
            .expect("an entry")
            .entry
    }

    #[test]
    fn a_name_in_use_is_refreshed_in_the_last_tenth_of_its_ttl() {
        let (entry, policy) = (entry(300), policy().prefetch);
        assert_eq!(prefetch(&entry, 2, &policy, Timestamp::from_secs(1269)), Prefetch::NotDue);
        assert_eq!(prefetch(&entry, 2, &policy, Timestamp::from_secs(1270)), Prefetch::Due);
        assert_eq!(prefetch(&entry, 1, &policy, Timestamp::from_secs(1270)), Prefetch::NotDue, "one hit is not enough");
    }

    #[test]
    fn a_short_ttl_is_refreshed_in_its_last_second() {
        let (entry, policy) = (entry(3), policy().prefetch);
        assert_eq!(prefetch(&entry, 2, &policy, Timestamp::from_secs(1002)), Prefetch::Due);
        assert_eq!(prefetch(&entry, 2, &policy, Timestamp::from_secs(1001)), Prefetch::NotDue);
    }

    #[test]
    fn rechecks_double_from_one_second_to_thirty() {
        let policy = policy().stale;
        let seconds: Vec<u64> =
            [1, 2, 3, 5, 6, 100].into_iter().map(|failures| recheck_after(failures, &policy).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 16, 30, 30]);
    }
}
