//! What is worth a log line of the admin interface, and of answers that come from elsewhere than an
//! upstream.

use std::path::Path;

use tracing::{error, info, warn};

/// The admin interface can be reached.
#[derive(Debug)]
pub struct AdminListening<'a> {
    /// Where.
    pub address: &'a str,
}

impl AdminListening<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        info!(address = self.address, "admin interface");
    }
}

/// The admin interface cannot be reached for the time being.
#[derive(Debug)]
pub struct AdminUnavailable<'a> {
    /// Where it should be.
    pub address: &'a str,
    /// Why it is not.
    pub reason: &'a str,
}

impl AdminUnavailable<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        error!(
            address = self.address,
            reason = self.reason,
            "no admin interface: queries are answered without it, and its address is tried again"
        );
    }
}

/// A seed was read.
#[derive(Debug)]
pub struct SeedRead<'a> {
    /// The file.
    pub path: &'a Path,
    /// Answers that are now remembered.
    pub taken: u64,
    /// Answers that are not newer than what was remembered.
    pub older: u64,
    /// Answers past their maximum stale.
    pub expired: u64,
    /// Answers that cannot be used on account of a mistake.
    pub refused: u64,
    /// The first mistakes, with their lines.
    pub mistakes: &'a [String],
}

impl SeedRead<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        let (path, taken, older, expired, refused) =
            (self.path.display(), self.taken, self.older, self.expired, self.refused);
        if refused == 0 {
            info!(%path, taken, older, expired, "seed read");
        } else {
            let mistakes = self.mistakes.join("; ");
            warn!(%path, taken, older, expired, refused, mistakes, "seed read, but for the answers that are wrong");
        }
    }
}

/// Nothing of a seed can be used.
#[derive(Debug)]
pub struct SeedUnusable<'a> {
    /// The file.
    pub path: &'a Path,
    /// Why.
    pub reason: &'a str,
}

impl SeedUnusable<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        warn!(path = %self.path.display(), reason = self.reason, "seed not used");
    }
}

/// Somebody imported a seed over the admin interface.
#[derive(Debug)]
pub struct CacheImported {
    /// Answers that are now remembered.
    pub taken: u64,
    /// Answers that are not newer than what was remembered.
    pub older: u64,
}

impl CacheImported {
    /// Writes it to the log.
    pub fn emit(&self) {
        info!(taken = self.taken, older = self.older, "answers imported");
    }
}

/// Somebody let names be forgotten over the admin interface.
#[derive(Debug)]
pub struct CacheFlushed<'a> {
    /// Which.
    pub scope: &'a str,
    /// How many names and types.
    pub forgotten: u64,
}

impl CacheFlushed<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        info!(scope = self.scope, forgotten = self.forgotten, "answers forgotten");
    }
}
