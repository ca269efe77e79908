//! Log lines of `holdover run`: about `resolv.conf`, which is pointed at holdover and given back,
//! and about the sidecar, which is started again when it ends.

use std::path::Path;
use std::time::Duration;

use tracing::{info, warn};

/// `resolv.conf` was pointed at holdover.
#[derive(Debug)]
pub struct Pointed<'a> {
    /// What was written and where the original is kept, in words.
    pub words: &'a str,
}

impl Pointed<'_> {
    /// Writes the line.
    pub fn emit(&self) {
        info!("{}", self.words);
    }
}

/// The original `resolv.conf` is back.
#[derive(Debug)]
pub struct GivenBack<'a> {
    /// The file.
    pub path: &'a Path,
    /// Why it was given back.
    pub why: Why,
}

/// Why `resolv.conf` was given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The application has ended.
    Ended,
    /// The sidecar does not answer. It is looked after, and the file is pointed at it again when it
    /// does.
    Silent,
    /// The `holdover run` that pointed the file at holdover was killed.
    Orphaned,
}

impl GivenBack<'_> {
    /// Writes the line.
    pub fn emit(&self) {
        let path = self.path.display();
        match self.why {
            Why::Ended => info!(%path, "the original name servers are back"),
            Why::Orphaned => {
                warn!(%path, "holdover run was killed: the original name servers are back, and the sidecar ends")
            }
            Why::Silent => {
                warn!(%path, "the sidecar does not answer: the original name servers are back until it does")
            }
        }
    }
}

/// `resolv.conf` cannot be pointed at holdover, or cannot be given back.
#[derive(Debug)]
pub struct FileLeft<'a> {
    /// Why it cannot, in words.
    pub reason: &'a str,
}

impl FileLeft<'_> {
    /// Writes the line.
    pub fn emit(&self) {
        warn!("{}", self.reason);
    }
}

/// The application runs without holdover from now on.
#[derive(Debug)]
pub struct Without<'a> {
    /// Why it does.
    pub reason: &'a str,
}

impl Without<'_> {
    /// Writes the line.
    pub fn emit(&self) {
        warn!(reason = self.reason, "the application runs without holdover");
    }
}

/// The sidecar has ended although the application still runs.
#[derive(Debug)]
pub struct SidecarEnded<'a> {
    /// Its exit code or the signal that ended it, in words.
    pub end: &'a str,
    /// Time until it is started again.
    pub again_after: Duration,
}

impl SidecarEnded<'_> {
    /// Writes the line.
    pub fn emit(&self) {
        warn!(
            end = self.end,
            restart_after_seconds = self.again_after.as_secs_f64(),
            "the sidecar has ended and is started again"
        );
    }
}
