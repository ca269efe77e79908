//! Log lines about the hosts file.

use std::path::Path;

use tracing::{info, warn};

/// A hosts file was read.
#[derive(Debug)]
pub struct HostsRead<'a> {
    /// The file.
    pub path: &'a Path,
    /// Number of names that the file has addresses for.
    pub names: usize,
    /// Number of lines that cannot be used.
    pub wrong: usize,
    /// What is wrong with the first of these lines.
    pub mistakes: &'a [String],
}

impl HostsRead<'_> {
    /// Writes the line.
    pub fn emit(&self) {
        let (path, names, invalid) = (self.path.display(), self.names, self.wrong);
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

/// A hosts file cannot be read.
#[derive(Debug)]
pub struct HostsUnusable<'a> {
    /// The file.
    pub path: &'a Path,
    /// Why it cannot be read.
    pub reason: &'a str,
}

impl HostsUnusable<'_> {
    /// Writes the line.
    pub fn emit(&self) {
        warn!(
            path = %self.path.display(),
            reason = self.reason,
            "hosts file not read: names are answered as it had them last, if it was ever read"
        );
    }
}
