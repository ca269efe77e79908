//! Log lines about the shared cache. They show its URL, which holds no secret.

use std::time::Duration;

use tracing::{info, warn};

use crate::core::key::Key;
use crate::telemetry::shared_cache::SharedCacheTrouble;

/// The shared cache answered for the first time since the start.
#[derive(Debug)]
pub struct SharedCacheReached<'a> {
    /// The configured URL.
    pub url: &'a str,
}

impl SharedCacheReached<'_> {
    /// Writes the line.
    pub fn emit(&self) {
        info!(url = self.url, "the shared cache is used");
    }
}

/// A key, password or certificate file of the shared cache cannot be used.
#[derive(Debug)]
pub struct SharedCacheUnusable<'a> {
    /// The configured URL.
    pub url: &'a str,
    /// Which file, what is wrong with it, and what to do.
    pub reason: &'a str,
}

impl SharedCacheUnusable<'_> {
    /// Writes the line.
    pub fn emit(&self) {
        warn!(
            url = self.url,
            reason = self.reason,
            "the shared cache is not used: queries are still answered, and its files are read again every few seconds"
        );
    }
}

/// The shared cache cannot be used at present.
#[derive(Debug)]
pub struct SharedCacheLost<'a> {
    /// The configured URL.
    pub url: &'a str,
    /// What kind of trouble it is.
    pub reason: SharedCacheTrouble,
}

impl SharedCacheLost<'_> {
    /// Writes the line.
    pub fn emit(&self) {
        warn!(
            url = self.url,
            reason = self.reason.label(),
            "the shared cache cannot be used: {}. Queries are still answered, and the shared cache is tried again",
            self.reason.advice()
        );
    }
}

/// The shared cache can be used again.
#[derive(Debug)]
pub struct SharedCacheBack<'a> {
    /// The configured URL.
    pub url: &'a str,
    /// How long the shared cache could not be used.
    pub lasted: Duration,
}

impl SharedCacheBack<'_> {
    /// Writes the line.
    pub fn emit(&self) {
        info!(url = self.url, failed_for_seconds = self.lasted.as_secs_f64(), "the shared cache can be used again");
    }
}

/// A new instance has learned the names that its group asks for most.
#[derive(Debug)]
pub struct SharedCacheFilled {
    /// Number of answers that were learned.
    pub answers: usize,
    /// Number of names and types that were looked up.
    pub names: usize,
}

impl SharedCacheFilled {
    /// Writes the line.
    pub fn emit(&self) {
        info!(
            answers = self.answers,
            names = self.names,
            "learned the most requested names of the group from the shared cache"
        );
    }
}

/// The shared cache holds entries that were ignored; logged at most once a minute.
#[derive(Debug)]
pub struct SharedCacheWrongEntries<'a> {
    /// The configured URL.
    pub url: &'a str,
    /// Number of such entries since the last line.
    pub entries: u64,
    /// Name and type of the last such entry.
    pub last: &'a Key,
}

impl SharedCacheWrongEntries<'_> {
    /// Writes the line.
    pub fn emit(&self) {
        warn!(
            url = self.url,
            entries = self.entries,
            last = %self.last,
            "entries of the shared cache were ignored, because they are malformed or not signed with this instance's \
             key: another program writes there, or an instance has another key"
        );
    }
}

/// The server of the shared cache rejects writes; logged at most once a minute.
#[derive(Debug)]
pub struct SharedCacheRefuses<'a> {
    /// The configured URL.
    pub url: &'a str,
    /// The code of the server's error.
    pub error: &'a str,
}

impl SharedCacheRefuses<'_> {
    /// Writes the line.
    pub fn emit(&self) {
        warn!(
            url = self.url,
            error = self.error,
            "the shared cache rejects writes: its entries are still used, but nothing new is published"
        );
    }
}
