//! Log lines about the state file.

use std::path::Path;
use std::time::Duration;

use tracing::{info, warn};

use crate::telemetry::state_file::StateFileTrouble;

/// The answers of the state file are remembered again.
#[derive(Debug)]
pub struct StateLoaded<'a> {
    /// Path of the state file.
    pub path: &'a Path,
    /// Number of answers that were loaded.
    pub entries: u64,
    /// Number of rows that were too old to be served, or could not be read.
    pub dropped: u64,
    /// Time that loading took.
    pub took: Duration,
}

impl StateLoaded<'_> {
    /// Writes one log line at INFO.
    pub fn emit(&self) {
        let took_seconds = self.took.as_secs_f64();
        let (path, entries, dropped) = (self.path.display(), self.entries, self.dropped);
        info!(%path, entries, dropped, took_seconds, "state file loaded");
    }
}

/// Some rows of the state file are damaged, and were dropped.
#[derive(Debug)]
pub struct StateDamaged<'a> {
    /// Path of the state file.
    pub path: &'a Path,
    /// Number of the rows.
    pub rows: u64,
}

impl StateDamaged<'_> {
    /// Writes one log line at WARN.
    pub fn emit(&self) {
        warn!(
            path = %self.path.display(),
            rows = self.rows,
            "rows of the state file are damaged and were dropped, the others are used; check its disk and memory"
        );
    }
}

/// The state file cannot be read or written at present.
#[derive(Debug)]
pub struct StateFailing<'a> {
    /// Path of the state file.
    pub path: &'a Path,
    /// The kind of trouble.
    pub reason: StateFileTrouble,
    /// Error of the operating system or of the database, in its own words.
    pub error: &'a str,
}

impl StateFailing<'_> {
    /// Writes one log line at WARN.
    pub fn emit(&self) {
        warn!(
            path = %self.path.display(),
            reason = self.reason.label(),
            error = self.error,
            "the state file cannot be used: {}. Queries are still answered, and the file is tried again",
            self.reason.advice()
        );
    }
}

/// The state file can be read and written again.
#[derive(Debug)]
pub struct StateWorking<'a> {
    /// Path of the state file.
    pub path: &'a Path,
    /// Number of answers in the state file.
    pub entries: u64,
    /// Time for which the state file could not be used.
    pub failed_for: Duration,
}

impl StateWorking<'_> {
    /// Writes one log line at INFO.
    pub fn emit(&self) {
        let failed_for_seconds = self.failed_for.as_secs_f64();
        let (path, entries) = (self.path.display(), self.entries);
        info!(%path, entries, failed_for_seconds, "the state file can be used again");
    }
}

/// The file at the configured path is not a state file that can be used, and was renamed to be
/// kept.
#[derive(Debug)]
pub struct StateSetAside<'a> {
    /// Configured path of the state file.
    pub path: &'a Path,
    /// New path of the unusable file.
    pub kept_as: &'a Path,
    /// Why the file is not a usable state file.
    pub reason: &'a str,
}

impl StateSetAside<'_> {
    /// Writes one log line at WARN.
    pub fn emit(&self) {
        warn!(
            path = %self.path.display(),
            kept_as = %self.kept_as.display(),
            reason = self.reason,
            "not a usable state file: it is kept aside under another name, and a new one is begun"
        );
    }
}

/// The disk of the state file answers again.
#[derive(Debug)]
pub struct StateAnswers<'a> {
    /// Path of the state file.
    pub path: &'a Path,
    /// Time for which the disk did not answer.
    pub hung_for: Duration,
}

impl StateAnswers<'_> {
    /// Writes one log line at INFO.
    pub fn emit(&self) {
        let hung_for_seconds = self.hung_for.as_secs_f64();
        info!(path = %self.path.display(), hung_for_seconds, "the disk of the state file answers again");
    }
}
