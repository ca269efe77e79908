//! What is worth a log line about the fleet's memory. Its URL holds no secret.

use std::time::Duration;

use tracing::{info, warn};

use crate::core::key::Key;
use crate::telemetry::shared_cache::SharedCacheTrouble;

/// The shared cache is reached for the first time.
#[derive(Debug)]
pub struct SharedCacheReached<'a> {
    /// Where it is.
    pub url: &'a str,
}

impl SharedCacheReached<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        info!(url = self.url, "shared cache is reached");
    }
}

/// A file that the shared cache needs cannot be used.
#[derive(Debug)]
pub struct SharedCacheUnusable<'a> {
    /// Where it is.
    pub url: &'a str,
    /// Which, why, and what to do.
    pub reason: &'a str,
}

impl SharedCacheUnusable<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        warn!(
            url = self.url,
            reason = self.reason,
            "shared cache is not used: queries are answered without it, its files are read again"
        );
    }
}

/// The shared cache cannot be used.
#[derive(Debug)]
pub struct SharedCacheLost<'a> {
    /// Where it is.
    pub url: &'a str,
    /// Why.
    pub reason: SharedCacheTrouble,
}

impl SharedCacheLost<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        let (url, reason, what) = (self.url, self.reason.label(), self.reason.advice());
        warn!(url, reason, what, "shared cache is lost: queries are answered without it, it is tried again and again");
    }
}

/// The shared cache can be used again.
#[derive(Debug)]
pub struct SharedCacheBack<'a> {
    /// Where it is.
    pub url: &'a str,
    /// For how long it could not.
    pub lasted: Duration,
}

impl SharedCacheBack<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        info!(url = self.url, lasted_seconds = self.lasted.as_secs_f64(), "shared cache is back");
    }
}

/// A new instance learned what its service asks for most.
#[derive(Debug)]
pub struct SharedCacheFilled {
    /// Answers that were taken.
    pub answers: usize,
    /// Names and types that were asked for.
    pub names: usize,
}

impl SharedCacheFilled {
    /// Writes it to the log.
    pub fn emit(&self) {
        info!(answers = self.answers, names = self.names, "learned from the shared cache what is asked for most");
    }
}

/// Entries were ignored; said once a minute at the most.
#[derive(Debug)]
pub struct SharedCacheWrongEntries<'a> {
    /// Where they lie.
    pub url: &'a str,
    /// How many were found since this was said last.
    pub entries: u64,
    /// The last of them.
    pub last: &'a Key,
}

impl SharedCacheWrongEntries<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        warn!(
            url = self.url,
            entries = self.entries,
            last = %self.last,
            "shared cache holds entries that nobody with our key has signed: they are ignored. Somebody else writes there, or has another key"
        );
    }
}

/// The server does not take what is published; said once a minute at the most.
#[derive(Debug)]
pub struct SharedCacheRefuses<'a> {
    /// Where it is.
    pub url: &'a str,
    /// The code of its error.
    pub error: &'a str,
}

impl SharedCacheRefuses<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        warn!(url = self.url, error = self.error, "shared cache does not take what is published; what it has is used");
    }
}
