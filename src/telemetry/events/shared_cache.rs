//! Log lines about the shared cache. They show the URL of the shared cache, which holds no secret.

use std::time::Duration;

use tracing::{info, warn};

use crate::core::key::Key;
use crate::telemetry::shared_cache::SharedCacheTrouble;

/// The shared cache answered for the first time since the start.
#[derive(Debug)]
pub struct SharedCacheReached<'a> {
    /// Configured URL of the shared cache.
    pub url: &'a str,
}

impl SharedCacheReached<'_> {
    /// Writes one log line at INFO.
    pub fn emit(&self) {
        info!(url = self.url, "the shared cache is used");
    }
}

/// A key, password or certificate file of the shared cache cannot be used.
#[derive(Debug)]
pub struct SharedCacheUnusable<'a> {
    /// Configured URL of the shared cache.
    pub url: &'a str,
    /// The path of the file, the problem with it, and the remedy, in words.
    pub reason: &'a str,
}

impl SharedCacheUnusable<'_> {
    /// Writes one log line at WARN.
    pub fn emit(&self) {
        warn!(
            url = self.url,
            reason = self.reason,
            "the shared cache is not used: queries are still answered, and its files are read again every few seconds"
        );
    }
}

/// The files of the shared cache have changed, and are used from now on.
#[derive(Debug)]
pub struct SharedCacheFilesRenewed<'a> {
    /// Configured URL of the shared cache.
    pub url: &'a str,
}

impl SharedCacheFilesRenewed<'_> {
    /// Writes one log line at INFO.
    pub fn emit(&self) {
        info!(
            url = self.url,
            "the key, password or certificate files of the shared cache have changed: they are used from now on"
        );
    }
}

/// The files of the shared cache have changed, and cannot be used as they are.
#[derive(Debug)]
pub struct SharedCacheFilesKept<'a> {
    /// Configured URL of the shared cache.
    pub url: &'a str,
    /// The path of the file, the problem with it, and the remedy, in words.
    pub reason: &'a str,
}

impl SharedCacheFilesKept<'_> {
    /// Writes one log line at WARN.
    pub fn emit(&self) {
        warn!(
            url = self.url,
            reason = self.reason,
            "a file of the shared cache cannot be used any more: what was read before is used further"
        );
    }
}

/// The shared cache cannot be used at present.
#[derive(Debug)]
pub struct SharedCacheLost<'a> {
    /// Configured URL of the shared cache.
    pub url: &'a str,
    /// The kind of trouble.
    pub reason: SharedCacheTrouble,
}

impl SharedCacheLost<'_> {
    /// Writes one log line at WARN.
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
    /// Configured URL of the shared cache.
    pub url: &'a str,
    /// Time for which the shared cache could not be used.
    pub failed_for: Duration,
}

impl SharedCacheBack<'_> {
    /// Writes one log line at INFO.
    pub fn emit(&self) {
        info!(url = self.url, failed_for_seconds = self.failed_for.as_secs_f64(), "the shared cache can be used again");
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
    /// Writes one log line at INFO.
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
pub struct SharedCacheIgnoredEntries<'a> {
    /// Configured URL of the shared cache.
    pub url: &'a str,
    /// Number of entries that were ignored since the last such line.
    pub entries: u64,
    /// Name and type of the last entry that was ignored.
    pub last: &'a Key,
}

impl SharedCacheIgnoredEntries<'_> {
    /// Writes one log line at WARN.
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
pub struct SharedCacheRejectsWrites<'a> {
    /// Configured URL of the shared cache.
    pub url: &'a str,
    /// Code of the server's error, such as `OOM`.
    pub error: &'a str,
}

impl SharedCacheRejectsWrites<'_> {
    /// Writes one log line at WARN.
    pub fn emit(&self) {
        warn!(
            url = self.url,
            error = self.error,
            "the shared cache rejects writes: its entries are still used, but nothing new is published"
        );
    }
}
