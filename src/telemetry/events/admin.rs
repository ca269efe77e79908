//! Log lines about the admin interface, and about answers that were imported, seeded or flushed.

use std::net::SocketAddr;
use std::path::Path;

use tracing::{error, info, warn};

/// The admin interface accepts connections.
#[derive(Debug)]
pub struct AdminListening<'a> {
    /// Address of the admin interface, or the path of its unix socket.
    pub address: &'a str,
}

impl AdminListening<'_> {
    /// Writes one log line at INFO.
    pub fn emit(&self) {
        info!(address = self.address, "admin interface");
    }
}

/// The admin interface cannot be opened at present.
#[derive(Debug)]
pub struct AdminUnavailable<'a> {
    /// Configured address or path of the admin interface.
    pub address: &'a str,
    /// Why the admin interface cannot be opened.
    pub reason: &'a str,
}

impl AdminUnavailable<'_> {
    /// Writes one log line at ERROR.
    pub fn emit(&self) {
        error!(
            address = self.address,
            reason = self.reason,
            "no admin interface: queries are still answered, and opening it is tried again"
        );
    }
}

/// Nothing can be changed over the admin interface without a token at present.
#[derive(Debug)]
pub struct AdminReadOnly<'a> {
    /// Address of the admin interface.
    pub address: SocketAddr,
    /// Why the unix socket beside the address cannot be opened.
    pub reason: &'a str,
}

impl AdminReadOnly<'_> {
    /// Writes one log line at WARN.
    pub fn emit(&self) {
        warn!(
            address = %self.address,
            reason = self.reason,
            "no unix socket beside the admin address: the cache can be changed only with a token"
        );
    }
}

/// A seed was read at the start.
#[derive(Debug)]
pub struct SeedRead<'a> {
    /// Path of the seed.
    pub path: &'a Path,
    /// Number of answers that were learned from the seed.
    pub learned: u64,
    /// Number of answers that were left out, because an answer that is as new or newer is
    /// remembered.
    pub older: u64,
    /// Number of answers that were left out, because they are past their maximum stale.
    pub expired: u64,
    /// Number of answers that were left out, because they are invalid.
    pub invalid: u64,
    /// Descriptions of the first invalid answers, with the numbers of their lines.
    pub mistakes: &'a [String],
}

impl SeedRead<'_> {
    /// Writes one log line: at WARN when invalid answers were left out, else at INFO.
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
    /// Path of the seed.
    pub path: &'a Path,
    /// Why the seed cannot be used.
    pub reason: &'a str,
}

impl SeedUnusable<'_> {
    /// Writes one log line at WARN.
    pub fn emit(&self) {
        warn!(path = %self.path.display(), reason = self.reason, "seed not used");
    }
}

/// A seed takes so long to read that the start does not wait for it.
#[derive(Debug)]
pub struct SeedLate<'a> {
    /// Path of the seed.
    pub path: &'a Path,
}

impl SeedLate<'_> {
    /// Writes one log line at WARN.
    pub fn emit(&self) {
        warn!(path = %self.path.display(), "the seed takes long to read: holdover starts without it and reads on");
    }
}

/// Somebody changed the level of the log over the admin interface.
#[derive(Debug)]
pub struct LogLevelChanged {
    /// The former level.
    pub from: &'static str,
    /// The level from now on.
    pub to: &'static str,
}

impl LogLevelChanged {
    /// Writes one log line at WARN.
    pub fn emit(&self) {
        warn!(from = self.from, to = self.to, "the level of the log was changed, until the process ends");
    }
}

/// A seed was imported over the admin interface.
#[derive(Debug)]
pub struct CacheImported {
    /// Number of answers that were learned from the seed.
    pub learned: u64,
    /// Number of answers that were left out, because an answer that is as new or newer is
    /// remembered.
    pub older: u64,
}

impl CacheImported {
    /// Writes one log line at INFO.
    pub fn emit(&self) {
        info!(learned = self.learned, older = self.older, "seed imported");
    }
}

/// Names were flushed over the admin interface.
#[derive(Debug)]
pub struct CacheFlushed<'a> {
    /// Name or suffix that was flushed, and the type if only one type was.
    pub scope: &'a str,
    /// Number of names and types that were remembered and flushed.
    pub flushed: u64,
}

impl CacheFlushed<'_> {
    /// Writes one log line at INFO.
    pub fn emit(&self) {
        info!(scope = self.scope, flushed = self.flushed, "names flushed");
    }
}
