//! What is worth a log line about the hosts file.

use std::path::Path;

use tracing::{info, warn};

/// A hosts file was read.
#[derive(Debug)]
pub struct HostsRead<'a> {
    /// The file.
    pub path: &'a Path,
    /// Names that it has addresses for.
    pub names: usize,
    /// Mistakes in it.
    pub wrong: usize,
    /// The first of them.
    pub mistakes: &'a [String],
}

impl HostsRead<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        let (path, names) = (self.path.display(), self.names);
        if self.wrong == 0 {
            info!(path = %path, names, "hosts file read");
        } else {
            warn!(path = %path, names, wrong = self.wrong, mistakes = self.mistakes.join("; "), "hosts file read, without what is wrong in it");
        }
    }
}

/// A hosts file cannot be used.
#[derive(Debug)]
pub struct HostsUnusable<'a> {
    /// The file.
    pub path: &'a Path,
    /// Why.
    pub reason: &'a str,
}

impl HostsUnusable<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        warn!(path = %self.path.display(), reason = self.reason, "hosts file not read; what it said last, if anything, is answered");
    }
}
