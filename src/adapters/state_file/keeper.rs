//! The thread that owns the file: brings back what it holds, opens it, has it written
//! ([`super::mirror`]), begins again after a failure.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::Options;
use super::broken::Broken;
use super::file::File;
use super::mirror::Mirror;
use crate::core::restore::{Shift, restore};
use crate::core::time::Timestamp;
use crate::memory::Memory;
use crate::memory::flushes::{Flushes, Scope};
use crate::memory::journal::Origin;
use crate::telemetry::events;
use crate::telemetry::state_file::{Durable, StateFileStatus, StateFileTrouble};

/// First wait before a file that could not be used is tried again; doubles.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// Longest such wait.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// The same trouble is told again after this long.
const SAY_AGAIN: Duration = Duration::from_secs(3600);
/// Files that are kept aside; the last one is replaced when there would be more.
const ASIDE_MAX: u32 = 3;

/// What the thread owns.
pub(super) struct Keeper {
    /// How it is done.
    options: Options,
    /// What is remembered.
    memory: Arc<Memory>,
    /// For those who ask how it stands.
    standing: Arc<Mutex<StateFileStatus>>,
    /// The file, while it can be used.
    open: Option<Mirror>,
    /// A look at it that is over.
    looked: Option<File>,
    /// What was forgotten by hand while what it holds is not in memory; none once that is there.
    unloaded: Option<Flushes>,
    /// When that came.
    loaded: Timestamp,
    /// That it cannot be used.
    failing: Option<Failing>,
    /// The wait before the next try.
    back_off: Duration,
    /// What was told, and when.
    told: Vec<(StateFileTrouble, Timestamp)>,
}

/// A time in which the file cannot be used.
#[derive(Clone, Copy)]
struct Failing {
    /// When it began.
    since: Timestamp,
    /// When the file is tried again.
    again: Timestamp,
    /// Whether it was told.
    told: bool,
}

impl Keeper {
    /// Nothing is done yet.
    pub(super) fn new(options: Options, memory: Arc<Memory>, standing: Arc<Mutex<StateFileStatus>>) -> Self {
        Self {
            options,
            memory,
            standing,
            open: None,
            looked: None,
            unloaded: Some(Flushes::default()),
            loaded: Timestamp::EPOCH,
            failing: None,
            back_off: RETRY_MIN,
            told: Vec::new(),
        }
    }

    /// Brings back what the file holds; changes nothing on the disk, and waits for it no longer
    /// than reading takes. What is in the way will be told by who opens it.
    pub(super) fn look(&mut self) {
        let path = self.options.path.clone();
        self.looked = guarded(|| {
            let file = File::look(&path)?;
            self.load(&file)?;
            Ok(file)
        })
        .ok();
    }

    /// Opens the file.
    pub(super) fn begin(&mut self) {
        let looked = self.looked.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(looked)));
        if let Err((trouble, what)) = self.try_open() {
            self.fail(trouble, &what);
        }
    }

    /// How long until there is something to do.
    pub(super) fn pause(&self) -> Duration {
        match self.failing {
            Some(failing) => self.memory.now().until(failing.again).min(RETRY_MAX),
            None => self.options.write_every,
        }
    }

    /// Writes at once that something was forgotten by hand; gives whether it cannot come back any
    /// more.
    pub(super) fn forget(&mut self, scope: Scope, at: Timestamp) -> Durable {
        match &mut self.unloaded {
            Some(forgotten) => forgotten.note(scope, at),
            // It was forgotten while the file was read, and may have come back from there.
            None if at <= self.loaded => drop(self.memory.flush_all(&scope)),
            None => {}
        }
        if let Some(open) = &mut self.open {
            // Rows of what the memory no longer held when it was forgotten are found by a walk
            // only.
            open.compare_next();
        }
        self.turn();
        match *self.standing.lock() {
            StateFileStatus::Off => Durable::Off,
            StateFileStatus::Working { .. } if self.open.is_some() => Durable::Written,
            StateFileStatus::Working { .. } => Durable::Behind(StateFileTrouble::Damaged),
            StateFileStatus::Failing { reason, .. } => Durable::Behind(reason),
        }
    }

    /// Writes what changed, or tries to open the file again.
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
            Ok(entries) => self.work(entries),
            Err(broken) => self.lose(broken),
        }
    }

    /// Writes all that is worth it for the last time, and closes the file.
    pub(super) fn finish(&mut self) {
        if let Some(open) = &mut self.open {
            open.expect_the_end();
        }
        self.turn();
        self.close();
    }

    /// Closes the file. Whatever is wrong with it, that must not end the thread.
    fn close(&mut self) {
        let open = self.open.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(open)));
    }

    /// It works.
    fn work(&mut self, entries: u64) {
        let Some(open) = &self.open else { return };
        *self.standing.lock() =
            StateFileStatus::Working { entries, bytes: open.file.length(), last_write: open.written };
        self.back_off = RETRY_MIN;
        if let Some(failing) = self.failing.take().filter(|failing| failing.told) {
            let failed_for = self.memory.now().since(failing.since);
            events::StateWorking { path: &self.options.path, entries, failed_for }.emit();
        }
    }

    /// It does not work.
    fn fail(&mut self, reason: StateFileTrouble, what: &str) {
        let now = self.memory.now();
        self.close();
        let since = self.failing.map_or(now, |failing| failing.since);
        let news = !self.told.iter().any(|(told, at)| *told == reason && now.since(*at) < SAY_AGAIN);
        let told = news || self.failing.is_some_and(|failing| failing.told);
        self.failing = Some(Failing { since, again: now.plus(self.back_off), told });
        self.back_off = (self.back_off * 2).min(RETRY_MAX);
        *self.standing.lock() = StateFileStatus::Failing { since, reason };
        if news {
            self.told.retain(|(told, _)| *told != reason);
            self.told.push((reason, now));
            events::StateFailing { path: &self.options.path, reason, what }.emit();
        }
    }

    /// A file that was in use cannot be used any more.
    fn lose(&mut self, broken: Broken) {
        self.close();
        let failed = match broken {
            Broken::Refused { trouble, what } => Err((trouble, what)),
            // All that it held is in memory: a new one is written with the next turn.
            Broken::Unusable(reason) => self.set_aside(&reason),
        };
        if let Err((trouble, what)) = failed {
            self.fail(trouble, &what);
        }
    }

    /// Opens the file, or a new one when what lies there is none, and loads it unless that was
    /// done.
    fn try_open(&mut self) -> Result<(), (StateFileTrouble, String)> {
        for fresh in [false, true] {
            match guarded(|| self.open_and_load()) {
                Ok(open) => {
                    self.open = Some(open);
                    return Ok(());
                }
                Err(Broken::Unusable(reason)) if fresh => return Err((StateFileTrouble::Damaged, reason)),
                Err(Broken::Unusable(reason)) => self.set_aside(&reason)?,
                Err(Broken::Refused { trouble, what }) => {
                    // What the other one learns meanwhile is not in memory, though what the file
                    // held before may be.
                    if trouble == StateFileTrouble::InUse {
                        let _ = self.unloaded.get_or_insert_default();
                    }
                    if trouble != StateFileTrouble::InUse && self.unloaded.is_some() {
                        self.look();
                        self.looked = None;
                    }
                    return Err((trouble, what));
                }
            }
        }
        Ok(())
    }

    /// Opens the file, and loads it unless that was done.
    fn open_and_load(&mut self) -> Result<Mirror, Broken> {
        let file = File::open(&self.options.path)?;
        self.load(&file)?;
        // After a failure it works only when it was written.
        if self.failing.is_none() {
            let [(good, _), (negative, _), _] = self.memory.store().sizes();
            *self.standing.lock() =
                StateFileStatus::Working { entries: good + negative, bytes: file.length(), last_write: None };
        }
        Ok(Mirror::new(file, &self.memory))
    }

    /// Brings back what a file holds, once: what was forgotten by hand since must not come back.
    fn load(&mut self, file: &File) -> Result<(), Broken> {
        let began = self.memory.now();
        let Some(forgotten) = &self.unloaded else { return Ok(()) };
        let shift = file.host().map_or(Shift::NONE, |theirs| self.options.host.shift_from(&theirs));
        let (mut entries, mut dropped) = (0, 0);
        let unreadable = file.load(|key, record| {
            let entry = restore(key, record.entry, shift, &self.options.policy, began)
                .filter(|entry| !forgotten.covers(key, entry.stored));
            match entry.map(|entry| self.memory.restore(key, entry, record.hits, Origin::StateFile)) {
                Some(true) => entries += 1,
                Some(false) | None => dropped += 1,
            }
        })?;
        (self.unloaded, self.loaded) = (None, self.memory.now());
        if file.host().is_some() {
            let took = self.memory.now().since(began);
            events::StateLoaded { path: &self.options.path, entries, dropped: dropped + unreadable, took }.emit();
        }
        Ok(())
    }

    /// Keeps what lies at the path under another name.
    fn set_aside(&self, reason: &str) -> Result<(), (StateFileTrouble, String)> {
        let path = &self.options.path;
        let to = aside(path);
        match fs::rename(path, &to) {
            Ok(()) => {
                events::StateSetAside { path, to: &to, reason }.emit();
                Ok(())
            }
            Err(error) => Err((StateFileTrouble::Damaged, format!("{reason}; {error}"))),
        }
    }
}

/// Does something with redb, which panics over some kinds of damage: then the file is unusable, and
/// nothing else is.
fn guarded<T>(work: impl FnOnce() -> Result<T, Broken>) -> Result<T, Broken> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Broken::Unusable("damaged in a way that redb does not expect".into())))
}

/// The name under which a file is kept aside: the first that is free, else the last.
fn aside(path: &Path) -> PathBuf {
    let name = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".aside-{number}"));
        PathBuf::from(name)
    };
    (1..ASIDE_MAX).map(name).find(|name| fs::symlink_metadata(name).is_err()).unwrap_or_else(|| name(ASIDE_MAX))
}
