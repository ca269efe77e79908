//! Counts what was answered. One tally per thread that answers, so that counting costs a store to a line nobody else writes;
//! whoever wants totals adds them up.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::core::budget::Class;

/// What became of a query: one vocabulary for code, log, metrics and reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answered {
    /// Answered with data within their TTL, or just fetched.
    Fresh,
    /// Answered with data beyond their TTL (RFC 8767).
    Stale,
    /// SERVFAIL: nothing could be had.
    Failed,
    /// SERVFAIL from the failure cache (RFC 9520).
    CachedFailure,
    /// A name that is never forwarded (RFC 6761).
    Local,
    /// The query itself was at fault: FORMERR, NOTIMP, BADVERS, or RD=0 for something not cached.
    Refused,
    /// No answer was owed: not a query, or not an allowed client.
    Dropped,
}

impl Answered {
    /// All of them, in the order of the counters.
    pub const ALL: [Self; 7] = [Self::Fresh, Self::Stale, Self::Failed, Self::CachedFailure, Self::Local, Self::Refused, Self::Dropped];

    /// The metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Failed => "failed",
            Self::CachedFailure => "cached_failure",
            Self::Local => "local",
            Self::Refused => "refused",
            Self::Dropped => "dropped",
        }
    }

    /// Its place among the counters.
    const fn index(self) -> usize {
        match self {
            Self::Fresh => 0,
            Self::Stale => 1,
            Self::Failed => 2,
            Self::CachedFailure => 3,
            Self::Local => 4,
            Self::Refused => 5,
            Self::Dropped => 6,
        }
    }
}

/// The counters of one thread, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Tally {
    /// By [`Answered`].
    counts: [AtomicU64; Answered::ALL.len()],
}

impl Tally {
    /// Counts one query.
    pub fn count(&self, answered: Answered) {
        if let Some(counter) = self.counts.get(answered.index()) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The queries so far.
    #[must_use]
    pub fn total(&self, answered: Answered) -> u64 {
        self.counts.get(answered.index()).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }
}

/// Packets sent upstream, by class.
#[derive(Debug, Default)]
pub struct Sends {
    /// In the order of [`Class::ALL`].
    counts: [AtomicU64; Class::ALL.len()],
}

impl Sends {
    /// Counts one send.
    pub fn sent(&self, class: Class) {
        if let Some(counter) = self.counts.get(class.index()) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The sends so far.
    #[must_use]
    pub fn total(&self, class: Class) -> u64 {
        self.counts.get(class.index()).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_own_counter() {
        let tally = Tally::default();
        for answered in Answered::ALL {
            tally.count(answered);
        }
        assert!(Answered::ALL.iter().all(|answered| tally.total(*answered) == 1));
    }
}
