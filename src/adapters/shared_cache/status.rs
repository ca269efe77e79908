//! The status of the connection to the shared cache: whether lookups are taken, whether the server
//! is reached, and what has been counted so far. The task sets it, and clients read it.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::core::time::Timestamp;
use crate::telemetry::shared_cache::{Reach, SharedCacheCounters, SharedCacheTrouble};

/// The status of the connection to the shared cache, as the task sets it and others read it.
pub(super) struct LinkStatus {
    /// Whether lookups are taken.
    open: AtomicBool,
    reach: Mutex<Reach>,
    pub(super) counters: SharedCacheCounters,
}

impl LinkStatus {
    /// The status at the start: the server has not been reached, and no lookups are taken.
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            open: AtomicBool::new(false),
            reach: Mutex::new(Reach::Lost { since: now, reason: SharedCacheTrouble::Unreachable }),
            counters: SharedCacheCounters::default(),
        }
    }

    /// Whether lookups are taken at present.
    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Whether the shared cache is reached at present.
    pub(super) fn reach(&self) -> Reach {
        *self.reach.lock()
    }

    /// Notes whether the shared cache is reached from now on. Lookups are taken while it is.
    pub(super) fn set(&self, reach: Reach) {
        *self.reach.lock() = reach;
        self.open.store(reach == Reach::Reached, Ordering::Relaxed);
    }

    /// Takes no lookups for now. This does not count as a loss of the shared cache yet.
    pub(super) fn close(&self) {
        self.open.store(false, Ordering::Relaxed);
    }

    /// Since when the shared cache has been lost; `now` when it is not.
    pub(super) fn lost_since(&self, now: Timestamp) -> Timestamp {
        match self.reach() {
            Reach::Lost { since, .. } => since,
            Reach::Reached => now,
        }
    }
}
