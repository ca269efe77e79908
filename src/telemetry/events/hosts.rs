//! Log lines about the hosts file.

use std::path::Path;

use tracing::{info, warn};

/// A hosts file was read, and its names are answered from now on.
#[derive(Debug)]
pub struct HostsRead<'a> {
    /// Path of the hosts file.
    pub path: &'a Path,
    /// Number of names that the file has addresses for.
    pub names: usize,
    /// Number of lines that cannot be used and were left out.
    pub invalid: usize,
    /// Descriptions of the first of these lines, with their numbers.
    pub mistakes: &'a [String],
}

impl HostsRead<'_> {
    /// Writes one log line: at WARN when lines were left out, else at INFO.
    pub fn emit(&self) {
        let (path, names, invalid) = (self.path.display(), self.names, self.invalid);
        if invalid == 0 {
            info!(%path, names, "hosts file read");
        } else {
            warn!(
                %path,
                names,
                invalid,
                mistakes = self.mistakes.join("; "),
                "hosts file read, without its invalid lines"
            );
        }
    }
}

/// A hosts file cannot be read, so its last good content is still answered.
#[derive(Debug)]
pub struct HostsUnusable<'a> {
    /// Path of the hosts file.
    pub path: &'a Path,
    /// Why the hosts file cannot be read.
    pub reason: &'a str,
}

impl HostsUnusable<'_> {
    /// Writes one log line at WARN.
    pub fn emit(&self) {
        warn!(
            path = %self.path.display(),
            reason = self.reason,
            "hosts file not read: names are answered as it had them last, if it was ever read"
        );
    }
}
