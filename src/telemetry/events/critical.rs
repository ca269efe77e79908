//! What is worth a log line about critical names.

use std::time::Duration;

use tracing::{info, warn};

use crate::core::critical::CriticalTrouble;
use crate::core::key::Key;

/// Every critical name has an answer.
#[derive(Debug)]
pub struct CriticalNamesKnown {
    /// Names and types.
    pub answers: usize,
    /// Time since the process began to serve.
    pub after: Duration,
}

impl CriticalNamesKnown {
    /// Writes it to the log.
    pub fn emit(&self) {
        info!(
            answers = self.answers,
            after_ms = (self.after.as_secs_f64() * 1e6).round() / 1e3,
            "ready: all critical names are known"
        );
    }
}

/// Some critical names have no answer, and readiness has waited for them long enough.
#[derive(Debug)]
pub struct ReadyWithout<'a> {
    /// Names and types.
    pub missing: &'a [String],
    /// Time since the process began to serve.
    pub after: Duration,
}

impl ReadyWithout<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        warn!(
            missing = self.missing.join(", "),
            after_seconds = self.after.as_secs_f64(),
            "ready without all critical names: nothing has been heard of these yet, they are asked for again and again"
        );
    }
}

/// Something is wrong with a critical name; said once until it ends.
#[derive(Debug)]
pub struct CriticalNameTroubled<'a> {
    /// Name and type.
    pub name: &'a Key,
    /// What is wrong.
    pub trouble: CriticalTrouble,
    /// How old its answer is, or for how long it has had none.
    pub age: Duration,
    /// How old it may become.
    pub max_age: Duration,
}

impl CriticalNameTroubled<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        let (name, age_seconds, max_age_seconds) = (self.name, self.age.as_secs_f64(), self.max_age.as_secs_f64());
        match self.trouble {
            CriticalTrouble::TooOld => {
                warn!(%name, age_seconds, max_age_seconds, "critical name is too old: its upstreams have not answered for it since")
            }
            CriticalTrouble::Denied => {
                warn!(%name, "critical name is denied: its upstream says that it does not exist")
            }
        }
    }
}

/// Nothing is wrong with a critical name any more.
#[derive(Debug)]
pub struct CriticalNameWell<'a> {
    /// Name and type.
    pub name: &'a Key,
    /// How long something was.
    pub lasted: Duration,
}

impl CriticalNameWell<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        info!(name = %self.name, lasted_seconds = self.lasted.as_secs_f64(), "critical name is fresh again");
    }
}
