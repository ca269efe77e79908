//! Log lines of `holdover run` about `resolv.conf`, which is pointed at holdover and given back,
//! and about the sidecar, which is started again when it ends.

use std::path::Path;
use std::time::Duration;

use tracing::{info, warn};

/// `resolv.conf` was pointed at holdover.
#[derive(Debug)]
pub struct FilePointed<'a> {
    /// The new name servers and the path of the kept original, in words.
    pub words: &'a str,
}

impl FilePointed<'_> {
    /// Writes one log line at INFO.
    pub fn emit(&self) {
        info!("{}", self.words);
    }
}

/// The original `resolv.conf` was put back.
#[derive(Debug)]
pub struct FileGivenBack<'a> {
    /// Path of the `resolv.conf`.
    pub path: &'a Path,
    /// Why the file was given back.
    pub why: GiveBackReason,
}

/// Somebody else has written `resolv.conf`, which does not name holdover any more.
#[derive(Debug)]
pub struct FileNamesOthers<'a> {
    /// Path of the `resolv.conf`.
    pub path: &'a Path,
}

impl FileNamesOthers<'_> {
    /// Writes one log line at WARN.
    pub fn emit(&self) {
        let path = self.path.display();
        warn!(%path, "another program has written this file, and nobody asks holdover any more: it is left as it is");
    }
}

/// Why `resolv.conf` was given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GiveBackReason {
    /// The application has ended.
    Ended,
    /// The sidecar does not answer. The file is pointed at the sidecar again when it does.
    Silent,
    /// The `holdover run` that pointed the file at holdover was killed.
    Orphaned,
}

impl FileGivenBack<'_> {
    /// Writes one log line: at INFO when the application has ended, else at WARN.
    pub fn emit(&self) {
        let path = self.path.display();
        match self.why {
            GiveBackReason::Ended => info!(%path, "the original name servers are back"),
            GiveBackReason::Orphaned => {
                warn!(%path, "holdover run was killed: the original name servers are back, and the sidecar ends")
            }
            GiveBackReason::Silent => {
                warn!(%path, "the sidecar does not answer: the original name servers are back until it does")
            }
        }
    }
}

/// `resolv.conf` is left as it is, because it cannot be written.
#[derive(Debug)]
pub struct FileLeft<'a> {
    /// Why the file cannot be pointed at holdover or given back, in words.
    pub reason: &'a str,
}

impl FileLeft<'_> {
    /// Writes one log line at WARN.
    pub fn emit(&self) {
        warn!("{}", self.reason);
    }
}

/// The application runs without holdover from now on.
#[derive(Debug)]
pub struct RunsWithoutHoldover<'a> {
    /// Why holdover cannot be used, in words.
    pub reason: &'a str,
}

impl RunsWithoutHoldover<'_> {
    /// Writes one log line at WARN.
    pub fn emit(&self) {
        warn!(reason = self.reason, "the application runs without holdover");
    }
}

/// The sidecar has ended although the application still runs.
#[derive(Debug)]
pub struct SidecarEnded<'a> {
    /// Exit code of the sidecar or the signal that ended it, in words.
    pub end: &'a str,
    /// Time until the sidecar is started again.
    pub restart_after: Duration,
}

impl SidecarEnded<'_> {
    /// Writes one log line at WARN.
    pub fn emit(&self) {
        warn!(
            end = self.end,
            restart_after_seconds = self.restart_after.as_secs_f64(),
            "the sidecar has ended and is started again"
        );
    }
}
