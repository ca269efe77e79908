//! Log lines about the admin interface, and about answers that were imported, seeded or flushed.

use std::path::Path;

use tracing::{error, info, warn};

/// The admin interface accepts connections.
#[derive(Debug)]
pub struct AdminListening<'a> {
    /// Its address or the path of its socket.
    pub address: &'a str,
}

impl AdminListening<'_> {
    /// Writes the line.
    pub fn emit(&self) {
        info!(address = self.address, "admin interface");
    }
}

/// The admin interface cannot be opened at present.
#[derive(Debug)]
pub struct AdminUnavailable<'a> {
    /// The configured address or path.
    pub address: &'a str,
    /// Why it cannot be opened.
    pub reason: &'a str,
}

impl AdminUnavailable<'_> {
    /// Writes the line.
    pub fn emit(&self) {
        error!(
            address = self.address,
            reason = self.reason,
            "no admin interface: queries are still answered, and opening it is tried again"
        );
    }
}

/// A seed was read at the start.
#[derive(Debug)]
pub struct SeedRead<'a> {
    /// The file.
    pub path: &'a Path,
    /// Number of answers that were learned from the seed.
    pub learned: u64,
    /// Number of answers that are not newer than what is remembered.
    pub older: u64,
    /// Number of answers that are past their maximum stale.
    pub expired: u64,
    /// Number of answers that are invalid.
    pub invalid: u64,
    /// What is wrong with the first invalid answers, with their lines.
    pub mistakes: &'a [String],
}

impl SeedRead<'_> {
    /// Writes the line.
    pub fn emit(&self) {
        let (path, learned, older, expired, invalid) =
            (self.path.display(), self.learned, self.older, self.expired, self.invalid);
        if invalid == 0 {
            info!(%path, learned, older, expired, "seed read");
        } else {
            let mistakes = self.mistakes.join("; ");
            warn!(%path, learned, older, expired, invalid, mistakes, "seed read, without its invalid answers");
        }
    }
}

/// A seed cannot be used at all.
#[derive(Debug)]
pub struct SeedUnusable<'a> {
    /// The file.
    pub path: &'a Path,
    /// Why it cannot be used.
    pub reason: &'a str,
}

impl SeedUnusable<'_> {
    /// Writes the line.
    pub fn emit(&self) {
        warn!(path = %self.path.display(), reason = self.reason, "seed not used");
    }
}

/// A seed was imported over the admin interface.
#[derive(Debug)]
pub struct CacheImported {
    /// Number of answers that were learned from the seed.
    pub learned: u64,
    /// Number of answers that are not newer than what is remembered.
    pub older: u64,
}

impl CacheImported {
    /// Writes the line.
    pub fn emit(&self) {
        info!(learned = self.learned, older = self.older, "seed imported");
    }
}

/// Names were flushed over the admin interface.
#[derive(Debug)]
pub struct CacheFlushed<'a> {
    /// The name or suffix, and the type if only one was flushed.
    pub scope: &'a str,
    /// Number of names and types that were known and flushed.
    pub flushed: u64,
}

impl CacheFlushed<'_> {
    /// Writes the line.
    pub fn emit(&self) {
        info!(scope = self.scope, flushed = self.flushed, "names flushed");
    }
}
