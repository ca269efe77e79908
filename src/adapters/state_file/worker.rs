//! The work of the thread that owns the state file: it restores what the file holds, opens it, has
//! changes written ([`super::mirror`]), and begins again after a failure.
//!
//! The content of a file is restored once in a run, and by whichever comes first: the look at the
//! start, which changes nothing on the disk, or the opening. Until then flushes are remembered, so
//! that what they covered is not restored.
//!
//! | what is found at the path | consequence |
//! |---|---|
//! | a file that is damaged, foreign, or of a newer version | it is renamed and kept, and a new file is begun |
//! | a file that cannot be used at present | tried again after 1 s, doubling to 60 s |
//! | a file that another process has open | the same, and its content is restored when it is opened |
//! | another file than the one that is open, or none | the open one is closed, and the path is opened again |
//!
//! Up to [`ASIDE_MAX`] renamed files are kept. The content of a file that another process had open
//! is restored once more, since that process has learned more meanwhile.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::database::StateDatabase;
use super::error::StateFileError;
use super::mirror::Mirror;
use super::options::StateFileOptions;
use crate::core::restore::{Shift, restore, restore_upstream};
use crate::core::time::Timestamp;
use crate::memory::Memory;
use crate::memory::flushes::{Flushes, Scope};
use crate::memory::journal::Origin;
use crate::telemetry::events;
use crate::telemetry::state_file::{Durable, StateFileStatus, StateFileTrouble};

/// First wait before a file that could not be used is tried again; it doubles each time.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// How long the same trouble is not logged again.
const LOG_AGAIN: Duration = Duration::from_secs(3600);
/// Unusable files that are kept under other names; the last of them is replaced when there would be
/// more.
const ASIDE_MAX: u32 = 3;

/// The state of the thread that owns the file.
pub(super) struct StateFileWorker {
    options: StateFileOptions,
    memory: Arc<Memory>,
    /// Shared with the handle of the state file, which shows it.
    status: Arc<Mutex<StateFileStatus>>,
    /// Rows that were damaged when the file was read; shared with the handle as well.
    damaged: Arc<AtomicU64>,
    /// The open file; `None` while it cannot be used.
    open: Option<Mirror>,
    /// The file that was read at the start, until it is dropped in [`Self::begin`]: closing it may
    /// take a while, and the start does not wait for that.
    looked: Option<StateDatabase>,
    /// Flushes since the start while the content of the file has not been restored; `None` once it
    /// has been.
    unloaded: Option<Flushes>,
    /// When the content was restored.
    loaded: Timestamp,
    /// Whether the file has not been opened yet, so that nothing is known that is newer than the
    /// states of the upstreams in it.
    starting: bool,
    /// Set while the file cannot be used.
    failing: Option<Failing>,
    /// The wait before the next try.
    back_off: Duration,
    /// Troubles that were logged, and when.
    logged: Vec<(StateFileTrouble, Timestamp)>,
}

/// A period in which the file cannot be used.
#[derive(Clone, Copy)]
struct Failing {
    since: Timestamp,
    /// When the file is tried again.
    again: Timestamp,
    /// Whether the period was logged, so that its end is logged as well.
    logged: bool,
}

impl StateFileWorker {
    /// A worker that has not touched the file yet.
    pub(super) fn new(options: StateFileOptions, memory: Arc<Memory>, status: Arc<Mutex<StateFileStatus>>) -> Self {
        Self {
            options,
            memory,
            status,
            damaged: Arc::default(),
            open: None,
            looked: None,
            unloaded: Some(Flushes::default()),
            loaded: Timestamp::EPOCH,
            starting: true,
            failing: None,
            back_off: RETRY_MIN,
            logged: Vec::new(),
        }
    }

    /// The number of damaged rows that were dropped so far.
    pub(super) fn damaged(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.damaged)
    }

    /// Restores what the file holds without changing anything on the disk, and so without waiting
    /// for more than reading takes. An error is not reported here: opening the file meets it again.
    pub(super) fn look(&mut self) {
        let path = self.options.path.clone();
        self.looked = guarded(|| {
            let file = StateDatabase::look(&path)?;
            self.load(&file)?;
            if self.starting {
                self.resume_upstreams(&file)?;
            }
            Ok(file)
        })
        .ok();
    }

    /// Hands over the states of the upstreams that an earlier run has saved.
    fn resume_upstreams(&self, file: &StateDatabase) -> Result<(), StateFileError> {
        let (now, shift) = (self.memory.now(), self.shift_of(file));
        let upstreams: Vec<_> =
            file.upstreams()?.into_iter().map(|upstream| restore_upstream(upstream, shift, now)).collect();
        if !upstreams.is_empty() {
            (self.options.upstreams.resume)(&upstreams);
        }
        Ok(())
    }

    /// By how much the wall clock was set since a file was last written. Two runs of one boot know
    /// that, and all times are moved by as much before they are compared with anything.
    fn shift_of(&self, file: &StateDatabase) -> Shift {
        file.host().map_or(Shift::NONE, |theirs| self.options.host.shift_from(&theirs))
    }

    /// Opens the file for writing.
    pub(super) fn begin(&mut self) {
        self.starting = false;
        let looked = self.looked.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(looked)));
        if let Err((trouble, what)) = self.try_open() {
            self.fail(trouble, &what);
        }
    }

    /// How long until [`Self::turn`] is due.
    pub(super) fn pause(&self) -> Duration {
        match self.failing {
            Some(failing) => self.memory.now().until(failing.again).min(RETRY_MAX),
            None => self.options.write_every,
        }
    }

    /// Writes a flush at once, and gives whether anything that it covers can still come back from
    /// the file.
    pub(super) fn flush(&mut self, scope: Scope, at: Timestamp) -> Durable {
        match &mut self.unloaded {
            Some(flushes) => flushes.note(scope, at),
            // The memory was flushed while the file was being read, so the flush may have missed
            // answers that were restored right after it.
            None if at <= self.loaded => drop(self.memory.flush_all(&scope)),
            None => {}
        }
        if let Some(open) = &mut self.open {
            // The journal reports only answers that were in memory. Rows of other answers that the
            // flush covers are found by comparing the whole file.
            open.compare_next();
        }
        self.turn();
        match *self.status.lock() {
            StateFileStatus::Off => Durable::Off,
            StateFileStatus::Working { .. } if self.open.is_some() => Durable::Written,
            // An unusable file has just been renamed, and the new one is written with the next
            // turn.
            StateFileStatus::Working { .. } => Durable::Behind(StateFileTrouble::Damaged),
            StateFileStatus::Failing { reason, .. } => Durable::Behind(reason),
        }
    }

    /// Writes what has changed, or tries to open the file again.
    pub(super) fn turn(&mut self) {
        let removed = self.open.as_ref().is_some_and(|open| !open.file.lies_at(&self.options.path));
        if removed {
            self.close();
        }
        if self.open.is_none()
            && let Err((trouble, what)) = self.try_open()
        {
            return self.fail(trouble, &what);
        }
        let Some(open) = &mut self.open else { return };
        let (memory, options) = (&self.memory, &self.options);
        match guarded(|| open.save(memory, options)) {
            Ok(entries) => self.note_working(entries),
            Err(error) => self.lose(error),
        }
    }

    /// Writes all that differs for the last time, and closes the file.
    pub(super) fn finish(&mut self) {
        if let Some(open) = &mut self.open {
            open.expect_the_end();
        }
        self.turn();
        if self.open.is_none() && self.failing.is_none() {
            // A file that turned out to be damaged has just been renamed: a new one is written.
            self.turn();
        }
        self.close();
    }

    /// Closes the file. redb may panic over a damaged file, which must not end the thread.
    fn close(&mut self) {
        let open = self.open.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(open)));
    }

    /// Notes that the file was written, and logs the end of a failure that was logged.
    fn note_working(&mut self, entries: u64) {
        let Some(open) = &self.open else { return };
        *self.status.lock() = StateFileStatus::Working { entries, bytes: open.file.length(), last_write: open.written };
        self.back_off = RETRY_MIN;
        if let Some(failing) = self.failing.take().filter(|failing| failing.logged) {
            let failed_for = self.memory.now().since(failing.since);
            events::StateWorking { path: &self.options.path, entries, failed_for }.emit();
        }
    }

    /// Closes the file, sets the time of the next try, and logs the trouble unless the same one was
    /// logged within the last hour.
    fn fail(&mut self, reason: StateFileTrouble, what: &str) {
        let now = self.memory.now();
        self.close();
        let since = self.failing.map_or(now, |failing| failing.since);
        let news = !self.logged.iter().any(|(logged, at)| *logged == reason && now.since(*at) < LOG_AGAIN);
        let logged = news || self.failing.is_some_and(|failing| failing.logged);
        self.failing = Some(Failing { since, again: now.plus(self.back_off), logged });
        self.back_off = (self.back_off * 2).min(RETRY_MAX);
        *self.status.lock() = StateFileStatus::Failing { since, reason };
        if news {
            self.logged.retain(|(logged, _)| *logged != reason);
            self.logged.push((reason, now));
            events::StateFailing { path: &self.options.path, reason, error: what }.emit();
        }
    }

    /// Closes a file that could be used until now.
    fn lose(&mut self, error: StateFileError) {
        self.close();
        let failed = match error {
            StateFileError::Refused { trouble, what } => Err((trouble, what)),
            // All that the file held is in memory: the next turn writes it to a new file.
            StateFileError::Unusable(reason) => self.set_aside(&reason),
        };
        if let Err((trouble, what)) = failed {
            self.fail(trouble, &what);
        }
    }

    /// Opens the file, or a new one in the place of an unusable one, and restores its content
    /// unless that was done already.
    fn try_open(&mut self) -> Result<(), (StateFileTrouble, String)> {
        // The second round is for the new file, after an unusable one was renamed.
        for fresh in [false, true] {
            match guarded(|| self.open_and_load()) {
                Ok(open) => {
                    self.open = Some(open);
                    return Ok(());
                }
                Err(StateFileError::Unusable(reason)) if fresh => return Err((StateFileTrouble::Damaged, reason)),
                Err(StateFileError::Unusable(reason)) => self.set_aside(&reason)?,
                Err(StateFileError::Refused { trouble, what }) => {
                    if trouble == StateFileTrouble::InUse {
                        // The other process goes on learning. Its answers are restored when the
                        // file can be opened, even if an earlier content was restored already.
                        let _ = self.unloaded.get_or_insert_default();
                    }
                    if trouble != StateFileTrouble::InUse && self.unloaded.is_some() {
                        // A file that cannot be opened for writing may still be readable.
                        self.look();
                        self.looked = None;
                    }
                    return Err((trouble, what));
                }
            }
        }
        Ok(())
    }

    fn open_and_load(&mut self) -> Result<Mirror, StateFileError> {
        let file = StateDatabase::open(&self.options.path)?;
        self.load(&file)?;
        // After a failure the file counts as working only once it has been written.
        if self.failing.is_none() {
            let [(good, _), (negative, _), _] = self.memory.store().sizes();
            *self.status.lock() =
                StateFileStatus::Working { entries: good + negative, bytes: file.length(), last_write: None };
        }
        Ok(Mirror::new(file, &self.memory))
    }

    /// Restores the content of a file, unless that was done already.
    fn load(&mut self, file: &StateDatabase) -> Result<(), StateFileError> {
        // A second load would bring back what was flushed after the first one.
        let Some(flushes) = &self.unloaded else { return Ok(()) };
        let began = self.memory.now();
        let shift = self.shift_of(file);
        let (mut entries, mut dropped) = (0, 0);
        self.note_flushes(file, shift, began)?;
        let unread = file.load(|key, record| {
            // A row is dropped when its answer is past its maximum stale, was flushed since the
            // start, or is no newer than what is in memory by now.
            let entry = restore(key, record.entry, shift, self.memory.policy(), began)
                .filter(|entry| !flushes.covers(key, entry));
            match entry.map(|entry| self.memory.restore(key, entry, record.past, Origin::StateFile)) {
                Some(true) => entries += 1,
                Some(false) | None => dropped += 1,
            }
        })?;
        // Only a file that was read to its end counts as loaded; after an error the same rows are
        // read again, and those that are in memory already are dropped.
        (self.unloaded, self.loaded) = (None, self.memory.now());
        self.memory.review_restored();
        if unread.damaged > 0 {
            self.damaged.fetch_add(unread.damaged, Ordering::Relaxed);
            events::StateDamaged { path: &self.options.path, rows: unread.damaged }.emit();
        }
        if file.host().is_some() {
            let dropped = dropped + unread.damaged + unread.invalid;
            let took = self.memory.now().since(began);
            events::StateLoaded { path: &self.options.path, entries, dropped, took }.emit();
        }
        Ok(())
    }

    /// Notes the flushes that the file has kept. One that seems to come from the future was made
    /// when the clock was ahead, and counts as made now.
    fn note_flushes(&self, file: &StateDatabase, shift: Shift, now: Timestamp) -> Result<(), StateFileError> {
        for (scope, at) in file.flushes()? {
            let at = shift.apply(at).min(now);
            self.memory.with_flushes(|flushes| match scope {
                Some(scope) => flushes.note(scope, at),
                None => flushes.note_all(at),
            });
        }
        Ok(())
    }

    /// Renames the file at the path, so that it is kept and a new one can be made.
    fn set_aside(&self, reason: &str) -> Result<(), (StateFileTrouble, String)> {
        let path = &self.options.path;
        let to = aside(path);
        match fs::rename(path, &to) {
            Ok(()) => {
                events::StateSetAside { path, kept_as: &to, reason }.emit();
                Ok(())
            }
            Err(error) => Err((StateFileTrouble::Damaged, format!("{reason}; {error}"))),
        }
    }
}

/// Runs something that uses redb, which panics over some kinds of damage: a panic means that the
/// file is unusable, and has no other consequence.
fn guarded<T>(work: impl FnOnce() -> Result<T, StateFileError>) -> Result<T, StateFileError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(StateFileError::Unusable("damaged in a way that redb does not expect".into())))
}

/// The name under which an unusable file is kept: the first of `.aside-1` to `.aside-3` that is
/// free, else the last.
fn aside(path: &Path) -> PathBuf {
    let name = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".aside-{number}"));
        PathBuf::from(name)
    };
    (1..ASIDE_MAX).map(name).find(|name| fs::symlink_metadata(name).is_err()).unwrap_or_else(|| name(ASIDE_MAX))
}
