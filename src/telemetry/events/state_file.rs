//! Log lines about the state file.

use std::path::Path;
use std::time::Duration;

use tracing::{info, warn};

use crate::telemetry::state_file::StateFileTrouble;

/// What another run left in the state file is in memory.
#[derive(Debug)]
pub struct StateLoaded<'a> {
    /// The file.
    pub path: &'a Path,
    /// Answers that came back.
    pub entries: u64,
    /// Rows that were too old, or none.
    pub dropped: u64,
    /// How long it took.
    pub took: Duration,
}

impl StateLoaded<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        let took_ms = self.took.as_secs_f64() * 1000.0;
        info!(path = %self.path.display(), entries = self.entries, dropped = self.dropped, took_ms, "remembered answers are back");
    }
}

/// The state file cannot be used at present.
#[derive(Debug)]
pub struct StateFailing<'a> {
    /// The file.
    pub path: &'a Path,
    /// Why.
    pub reason: StateFileTrouble,
    /// What the operating system said.
    pub what: &'a str,
}

impl StateFailing<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        warn!(
            path = %self.path.display(),
            reason = self.reason.label(),
            error = self.what,
            "the state file cannot be used, {}. Queries are answered all the same; it is tried again",
            self.reason.advice()
        );
    }
}

/// The state file can be used again.
#[derive(Debug)]
pub struct StateWorking<'a> {
    /// The file.
    pub path: &'a Path,
    /// Answers in it.
    pub entries: u64,
    /// How long it could not be used.
    pub failed_for: Duration,
}

impl StateWorking<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        let failed_for_seconds = self.failed_for.as_secs_f64();
        info!(path = %self.path.display(), entries = self.entries, failed_for_seconds, "the state file can be used again");
    }
}

/// What lay in the place of the state file is none.
#[derive(Debug)]
pub struct StateSetAside<'a> {
    /// The file.
    pub path: &'a Path,
    /// Where it is now.
    pub to: &'a Path,
    /// What is wrong with it.
    pub reason: &'a str,
}

impl StateSetAside<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        warn!(path = %self.path.display(), kept_as = %self.to.display(), reason = self.reason, "not a usable state file: it is kept aside, and a new one begins");
    }
}
