//! Log lines about critical names.

use std::time::Duration;

use tracing::{info, warn};

use crate::core::critical::CriticalTrouble;
use crate::core::key::Key;

/// Every critical name has an answer, so the sidecar is ready.
#[derive(Debug)]
pub struct CriticalNamesKnown {
    /// Number of critical names and types.
    pub answers: usize,
    /// Time since the process started.
    pub after: Duration,
}

impl CriticalNamesKnown {
    /// Writes one log line at INFO.
    pub fn emit(&self) {
        info!(answers = self.answers, after_seconds = self.after.as_secs_f64(), "ready: all critical names are known");
    }
}

/// The sidecar is ready although some critical names have no answer, because `[ready] timeout` is
/// over.
#[derive(Debug)]
pub struct ReadyWithout<'a> {
    /// Names and types that have no answer yet.
    pub missing: &'a [String],
    /// Time since the process started.
    pub after: Duration,
}

impl ReadyWithout<'_> {
    /// Writes one log line at WARN.
    pub fn emit(&self) {
        warn!(
            missing = self.missing.join(", "),
            after_seconds = self.after.as_secs_f64(),
            "ready without all critical names: these have no answer yet, and are resolved again until they have one"
        );
    }
}

/// A critical name is too old or does not exist; logged once until that ends.
#[derive(Debug)]
pub struct CriticalNameTroubled<'a> {
    /// Name and type of the critical name.
    pub name: &'a Key,
    /// The kind of trouble: too old or denied.
    pub trouble: CriticalTrouble,
    /// Age of the remembered answer, or the time for which there has been none.
    pub age: Duration,
    /// Configured `max_age` of the name.
    pub max_age: Duration,
}

impl CriticalNameTroubled<'_> {
    /// Writes one log line at WARN.
    pub fn emit(&self) {
        let (name, age_seconds, max_age_seconds) = (self.name, self.age.as_secs_f64(), self.max_age.as_secs_f64());
        match self.trouble {
            CriticalTrouble::TooOld => {
                warn!(
                    %name,
                    age_seconds,
                    max_age_seconds,
                    "critical name is too old: no upstream has answered for it within max_age"
                );
            }
            CriticalTrouble::Denied => {
                warn!(%name, "critical name does not exist: its upstream answers NXDOMAIN");
            }
        }
    }
}

/// A critical name that was too old or did not exist is fresh again.
#[derive(Debug)]
pub struct CriticalNameWell<'a> {
    /// Name and type of the critical name.
    pub name: &'a Key,
    /// Time for which the name was too old or did not exist.
    pub lasted: Duration,
}

impl CriticalNameWell<'_> {
    /// Writes one log line at INFO.
    pub fn emit(&self) {
        info!(name = %self.name, duration_seconds = self.lasted.as_secs_f64(), "critical name is fresh again");
    }
}
