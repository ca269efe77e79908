//! The start of the state file, if one is configured, and the view of it for the admin interface.

use std::path::PathBuf;
use std::sync::Arc;

use super::start_error::StartError;
use crate::adapters::clock::SystemClock;
use crate::adapters::state_file::{self, StateFile};
use crate::config::settings::Settings;
use crate::core::time::Timestamp;
use crate::memory::Memory;
use crate::memory::flushes::Scope;
use crate::resolver::ports::PortFuture;
use crate::telemetry::reading::{StateFileReading, seconds};
use crate::telemetry::state_file::{Durable, StateFileStatus};

/// Restores the answers that an earlier run remembered, and writes changes to the state file from
/// then on; `None` where no state file is configured.
///
/// # Errors
/// [`StartError::Thread`] when its thread cannot be started. A file that cannot be used is no
/// error: that is logged, and the file is tried again.
pub(super) fn start(
    settings: &Settings,
    clock: &SystemClock,
    memory: &Arc<Memory>,
) -> Result<Option<StateFile>, StartError> {
    let Some(path) = settings.state.path.clone() else { return Ok(None) };
    let host = state_file::Host::present(clock.booted_at());
    let options = state_file::StateFileOptions { path, write_every: settings.state.write_every, host };
    StateFile::start(options, memory).map(Some).map_err(StartError::Thread)
}

/// The state file as the admin interface sees it. It keeps no thread alive: after the state file
/// has ended, its last status is shown, and nothing is written any more.
pub(super) struct AdministeredStateFile {
    path: PathBuf,
    status: Box<dyn Fn() -> StateFileStatus + Send + Sync>,
    flush: Box<dyn Fn(Scope, Timestamp) -> PortFuture<Durable> + Send + Sync>,
}

impl AdministeredStateFile {
    /// A view of the state file at `path`; `None` where there is none.
    pub(super) fn new(path: Option<PathBuf>, state_file: Option<&StateFile>) -> Option<Self> {
        let (path, state_file) = path.zip(state_file)?;
        Some(Self { path, status: Box::new(state_file.watch()), flush: Box::new(state_file.flusher()) })
    }

    /// Writes to the state file at once that everything in `scope` was flushed at this time, and
    /// returns whether that is on the disk.
    pub(super) fn flush(&self, scope: Scope, at: Timestamp) -> PortFuture<Durable> {
        (self.flush)(scope, at)
    }

    /// Status of the state file, as JSON and metrics show it.
    pub(super) fn read(&self, now: Timestamp) -> StateFileReading {
        let reading = StateFileReading { path: self.path.display().to_string(), ..StateFileReading::default() };
        match (self.status)() {
            StateFileStatus::Off => reading,
            StateFileStatus::Working { entries, bytes, last_write } => StateFileReading {
                working: true,
                last_write_age_seconds: last_write.map(|last| seconds(now.since(last))),
                entries,
                bytes,
                ..reading
            },
            StateFileStatus::Failing { since, reason } => StateFileReading {
                problem: Some(reason.advice().to_owned()),
                failing_seconds: Some(seconds(now.since(since))),
                ..reading
            },
        }
    }
}
