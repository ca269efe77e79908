//! A silence of an upstream: attempts in a row without any response between them.

use std::time::Duration;

use crate::core::time::Timestamp;

/// Silent attempts in a row; the default is no silence.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Silence {
    /// All of them.
    pub(super) attempts: u32,
    /// Those that were witnesses.
    pub(super) witnesses: u32,
    /// When the first of them was noticed.
    began: Timestamp,
}

impl Silence {
    /// Adds one silent attempt, which counts as this many witnesses.
    pub(super) fn add(&mut self, witnesses: u32, now: Timestamp) {
        if self.attempts == 0 {
            self.began = now;
        }
        self.attempts = self.attempts.saturating_add(1);
        self.witnesses = self.witnesses.saturating_add(witnesses);
    }

    /// How long the silence has lasted; zero without one.
    pub(super) fn lasted(&self, now: Timestamp) -> Duration {
        if self.attempts == 0 { Duration::ZERO } else { now.since(self.began) }
    }
}
