//! The options of one run of holdover for its state file.

use std::path::PathBuf;
use std::time::Duration;

use super::host::Host;
use crate::core::upstream_record::RememberedUpstream;

/// Where a state file lies, how often it is written, and which host writes it.
pub struct StateFileOptions {
    /// Path of the state file.
    pub path: PathBuf,
    /// Pause between two writes of what has changed in memory.
    pub write_every: Duration,
    /// The present boot of this host, from which follows by how much the wall clock was set between
    /// runs.
    pub host: Host,
    /// The states of the upstreams, which are kept beside the answers.
    pub upstreams: UpstreamStates,
}

/// A function that gives the present states of all upstreams.
pub type PresentStates = dyn Fn() -> Vec<RememberedUpstream> + Send + Sync;
/// A function that takes the states that an earlier run has saved.
pub type ResumeStates = dyn Fn(&[RememberedUpstream]) + Send + Sync;

/// Gives the states of the upstreams, and takes those of an earlier run. Both functions are called
/// on the thread of the state file.
pub struct UpstreamStates {
    /// The present states of all upstreams; the file sets when they were saved.
    pub present: Box<PresentStates>,
    /// Takes the states that an earlier run has saved; called at most once, at the start, and not
    /// when there are none.
    pub resume: Box<ResumeStates>,
}

impl UpstreamStates {
    /// No states, which leaves those in the file as they are.
    #[must_use]
    pub fn none() -> Self {
        Self { present: Box::new(Vec::new), resume: Box::new(|_| {}) }
    }
}
