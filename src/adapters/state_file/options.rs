//! The options of one run of holdover for its state file.

use std::path::PathBuf;
use std::time::Duration;

use super::host::Host;

/// Where a state file lies, how often it is written, and which host writes it.
pub struct StateFileOptions {
    /// Path of the state file.
    pub path: PathBuf,
    /// Pause between two writes of what has changed in memory.
    pub write_every: Duration,
    /// The present boot of this host, from which follows by how much the wall clock was set between
    /// runs.
    pub host: Host,
}
