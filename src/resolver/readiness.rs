//! The readiness of the resolver: whether everything is there that the start waits for.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::core::special::Readiness;

/// Readiness as health checks see it. Once ready it stays so, since an outage must not restart the
/// sidecar that bridges it.
#[derive(Debug)]
pub(super) struct ReadyFlag(AtomicBool);

impl ReadyFlag {
    /// A flag that begins with this readiness.
    pub(super) const fn new(readiness: Readiness) -> Self {
        Self(AtomicBool::new(matches!(readiness, Readiness::Ready)))
    }

    pub(super) fn get(&self) -> Readiness {
        if self.0.load(Ordering::Relaxed) { Readiness::Ready } else { Readiness::NotYet }
    }

    /// Marks that the start waits for nothing any more.
    pub(super) fn set_ready(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
