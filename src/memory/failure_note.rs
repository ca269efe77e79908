//! The note of a failed resolution, which lies beside the answer or failure of its name: when the
//! name may be asked for again.
//!
//! Threads read and write it without a lock. Each of its parts may be read a moment late, which
//! costs one question more or a second of waiting.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::core::time::Timestamp;

/// The last failed resolution of a name and type, as a hint for whether to ask again.
#[derive(Debug)]
pub struct FailureNote {
    /// When the failure recheck timer ends, in microseconds since the Unix epoch; 0 when no
    /// resolution has failed.
    recheck_at: AtomicU64,
    failures: AtomicU32,
    /// The count of recoveries when the failed resolution began. When the count has changed since,
    /// something has recovered and the note is void.
    recoveries: AtomicU32,
}

impl FailureNote {
    /// A note for a name whose last resolution did not fail.
    pub(super) const fn none() -> Self {
        Self { recheck_at: AtomicU64::new(0), failures: AtomicU32::new(0), recoveries: AtomicU32::new(0) }
    }

    /// Whether the failure recheck timer is still running. `recoveries` gives the present count of
    /// recoveries; it is called only when the timer itself has not run out.
    #[must_use]
    pub fn holds(&self, recoveries: impl FnOnce() -> u32, now: Timestamp) -> bool {
        self.recheck_at.load(Ordering::Relaxed) > now.as_micros()
            && self.recoveries.load(Ordering::Relaxed) == recoveries()
    }

    /// When the failure recheck timer ends; the epoch when no resolution has failed.
    #[must_use]
    pub fn recheck_at(&self) -> Timestamp {
        Timestamp::from_micros(self.recheck_at.load(Ordering::Relaxed))
    }

    /// The number of failed resolutions in a row, with neither an answer nor a recovery between
    /// them.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures.load(Ordering::Relaxed)
    }

    /// The number of failures in a row, counting one more, of a resolution that began at this count
    /// of recoveries: the first one after a recovery counts as the first of all. `None` when the
    /// resolution began before a recovery after which another one has failed, so that it says
    /// nothing new.
    pub(super) fn next_failure(&self, recoveries: u32) -> Option<u32> {
        let failures = self.failures();
        // The counts wrap around, so the difference says which of them is later.
        let ahead = recoveries.wrapping_sub(self.recoveries.load(Ordering::Relaxed)).cast_signed();
        match ahead {
            0 => Some(failures.saturating_add(1)),
            1.. => Some(1),
            _ => (failures == 0).then_some(1),
        }
    }

    /// Notes a failed resolution after which the name is not asked for before `recheck_at`.
    pub(super) fn set(&self, failures: u32, recheck_at: Timestamp, recoveries: u32) {
        self.failures.store(failures, Ordering::Relaxed);
        self.recoveries.store(recoveries, Ordering::Relaxed);
        self.recheck_at.store(recheck_at.as_micros(), Ordering::Relaxed);
    }
}
