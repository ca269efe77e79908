//! What `holdover run` says: the file taken over and given back, the sidecar started again, the
//! application without it.

use std::path::Path;
use std::time::Duration;

use tracing::{info, warn};

/// `resolv.conf` points at holdover.
#[derive(Debug)]
pub struct Pointed<'a> {
    /// What was written, in words.
    pub told: &'a str,
}

impl Pointed<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        info!("{}", self.told);
    }
}

/// `resolv.conf` is as it was before.
#[derive(Debug)]
pub struct GivenBack<'a> {
    /// The file.
    pub path: &'a Path,
    /// Why.
    pub why: Why,
}

/// Why `resolv.conf` was given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The application has ended.
    Ended,
    /// The sidecar does not answer.
    Silent,
    /// The process that took it over was killed.
    Orphaned,
}

impl GivenBack<'_> {
    /// Writes it to the log.
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

/// `resolv.conf` cannot be taken over, or given back.
#[derive(Debug)]
pub struct FileLeft<'a> {
    /// Why, in words.
    pub reason: &'a str,
}

impl FileLeft<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        warn!("{}", self.reason);
    }
}

/// The application runs without holdover.
#[derive(Debug)]
pub struct Without<'a> {
    /// Why.
    pub reason: &'a str,
}

impl Without<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        warn!(reason = self.reason, "the application runs without holdover");
    }
}

/// The sidecar has ended by itself.
#[derive(Debug)]
pub struct SidecarEnded<'a> {
    /// How.
    pub end: &'a str,
    /// When it is started again.
    pub again_after: Duration,
}

impl SidecarEnded<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        warn!(
            end = self.end,
            again_after_seconds = self.again_after.as_secs_f64(),
            "the sidecar has ended and is started again"
        );
    }
}
