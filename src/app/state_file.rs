//! The start of the state file, if one is configured, and the view of it for the admin interface.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::start_error::StartError;
use crate::adapters::clock::SystemClock;
use crate::adapters::state_file::{self, StateFile};
use crate::config::settings::Settings;
use crate::core::time::Timestamp;
use crate::memory::Memory;
use crate::memory::flushes::Scope;
use crate::resolver::Resolver;
use crate::resolver::ports::PortFuture;
use crate::telemetry::events;
use crate::telemetry::reading::{StateFileReading, seconds};
use crate::telemetry::state_file::{Durable, StateFileStatus, StateFileTrouble};
use crate::telemetry::tasks::LongTask;

/// Restores the answers and the states of the upstreams that an earlier run remembered, and writes
/// changes to the state file from then on; `None` where no state file is configured.
///
/// # Errors
/// [`StartError::Thread`] when its thread cannot be started. A file that cannot be used is no
/// error: that is logged, and the file is tried again.
pub(super) fn start(
    settings: &Settings,
    clock: &SystemClock,
    memory: &Arc<Memory>,
    resolver: &Arc<Resolver>,
) -> Result<Option<StateFile>, StartError> {
    let Some(path) = settings.state.path.clone() else { return Ok(None) };
    let host = state_file::Host::present(clock.booted_at());
    let (asked, told) = (Arc::clone(resolver), Arc::clone(resolver));
    let upstreams = state_file::UpstreamStates {
        present: Box::new(move || asked.upstream_states()),
        resume: Box::new(move |states| told.resume_upstreams(states)),
    };
    let options = state_file::StateFileOptions { path, write_every: settings.state.write_every, host, upstreams };
    StateFile::start(options, memory).map(Some).map_err(StartError::Thread)
}

/// How often the watch looks whether the thread of the state file hangs.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// How long after a line about a hang no further one is written.
const QUIET_FOR: Duration = Duration::from_secs(600);

/// Watches for as long as the resolver runs whether the thread of the state file hangs with its
/// disk, which that thread cannot tell, and logs when it does and when it is over.
pub(super) fn watch_over(settings: &Settings, state_file: Option<&StateFile>, resolver: &Arc<Resolver>) {
    let Some((path, state_file)) = settings.state.path.clone().zip(state_file) else { return };
    let (hang, own) = (state_file.hang(), Arc::clone(resolver));
    resolver.supervise(LongTask::StateFileWatch, move || watch(path.clone(), hang.clone(), Arc::clone(&own)));
}

async fn watch(path: PathBuf, hang: impl Fn() -> Option<Timestamp>, resolver: Arc<Resolver>) {
    // Since when the present hang lasts, if it was logged; and when the last one was logged.
    let (mut told, mut told_at) = (None, None);
    loop {
        tokio::time::sleep(WATCH_EVERY).await;
        let now = resolver.now();
        match (hang(), told) {
            (Some(since), None) if told_at.is_none_or(|at| now.since(at) >= QUIET_FOR) => {
                (told, told_at) = (Some(since), Some(now));
                let error = format!("nothing came back for {} seconds", now.since(since).as_secs());
                events::StateFailing { path: &path, reason: StateFileTrouble::Timeout, error: &error }.emit();
            }
            (None, Some(since)) => {
                told = None;
                events::StateAnswers { path: &path, hung_for: now.since(since) }.emit();
            }
            (Some(_), _) | (None, None) => {}
        }
    }
}

/// The state file as the admin interface sees it. It keeps no thread alive: after the state file
/// has ended, its last status is shown, and nothing is written any more.
pub(super) struct AdministeredStateFile {
    path: PathBuf,
    status: Box<dyn Fn() -> StateFileStatus + Send + Sync>,
    damage: Box<dyn Fn() -> u64 + Send + Sync>,
    flush: Box<dyn Fn(Scope, Timestamp) -> PortFuture<Durable> + Send + Sync>,
}

impl AdministeredStateFile {
    /// A view of the state file at `path`; `None` where there is none.
    pub(super) fn new(path: Option<PathBuf>, state_file: Option<&StateFile>) -> Option<Self> {
        let (path, state_file) = path.zip(state_file)?;
        let (status, damage) = (Box::new(state_file.watch()), Box::new(state_file.damage()));
        Some(Self { path, status, damage, flush: Box::new(state_file.flusher()) })
    }

    /// Writes to the state file at once that everything in `scope` was flushed at this time, and
    /// returns whether that is on the disk.
    pub(super) fn flush(&self, scope: Scope, at: Timestamp) -> PortFuture<Durable> {
        (self.flush)(scope, at)
    }

    /// Status of the state file, as JSON and metrics show it.
    pub(super) fn read(&self, now: Timestamp) -> StateFileReading {
        let (path, damaged_rows) = (self.path.display().to_string(), (self.damage)());
        let reading = StateFileReading { path, damaged_rows, ..StateFileReading::default() };
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
