//! The thread that owns the file: loads it, writes what changes, compares it with the memory now and then, begins again after a failure.
//!
//! What has to be written is told by the journal. Where that is not enough, the whole file is compared with the whole memory in one
//! walk: after every opening, after a page of the journal ran over, when rows and memory differ in number, and every five minutes. That
//! one way covers what was evicted or grew too old (no row is left of it), what could not be written while the disk was full, another
//! timeline, and hits. So nothing waits in a queue for a disk that is away, and the file is bounded as the memory is.

use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::Options;
use super::broken::Broken;
use super::file::{self, File};
use crate::core::record;
use crate::core::restore::{Shift, restore};
use crate::core::time::Timestamp;
use crate::resolver::Resolver;
use crate::resolver::journal::{Change, Origin, Reader};
use crate::resolver::slot::Slot;
use crate::telemetry::events;
use crate::telemetry::persistence::{Persistence, Trouble};

/// First wait before a file that could not be used is tried again; doubles.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// Longest such wait.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// How often file and memory are compared in any case, for up to so many rows; more rarely for more, since all are read.
const COMPARE_EVERY: Duration = Duration::from_secs(300);
/// Rows that are compared in some 5 ms.
const COMPARE_ROWS: u64 = 100_000;
/// Rows that file and memory may differ by until then, beside a tenth.
const SLACK: u64 = 64;
/// A file up to this length is left as it is.
const TIDY_MIN: u64 = 6 << 20;
/// A longer one is compacted when it is so many halves of its rows.
const TIDY_HALVES: u64 = 5;
/// How often at the most, since it writes all rows anew; and at the end.
const TIDY_EVERY: Duration = Duration::from_secs(600);
/// Changes of one transaction. Until two commits later the pages that it replaces are not free: smaller ones need a smaller file, larger
/// ones fewer syncs.
const CHANGES_MAX: usize = 256;
/// The same trouble is told again after this long.
const SAY_AGAIN: Duration = Duration::from_secs(3600);
/// Files that are kept aside; the last one is replaced when there would be more.
const ASIDE_MAX: u32 = 3;

/// What the thread owns.
pub(super) struct Keeper {
    /// How it is done.
    options: Options,
    /// What is remembered.
    memory: Arc<Resolver>,
    /// For those who ask how it stands.
    standing: Arc<Mutex<Persistence>>,
    /// The file, while it can be used.
    open: Option<Open>,
    /// Whether what it held is in memory.
    loaded: bool,
    /// That it cannot be used.
    failing: Option<Failing>,
    /// The wait before the next try.
    back_off: Duration,
    /// What was told, and when.
    told: Vec<(Trouble, Timestamp)>,
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

/// An open file and how far it is.
struct Open {
    /// The file.
    file: File,
    /// Hears of changes.
    journal: Reader,
    /// Whether file and memory have to be compared.
    compare: bool,
    /// When they were last compared.
    compared: Timestamp,
    /// Answers that memory held beyond the rows then: those that are too old, for one.
    surplus: i64,
    /// Rows.
    entries: u64,
    /// When the file was last compacted, or found to need no compaction.
    tidied: Timestamp,
    /// When it was last written.
    written: Option<Timestamp>,
}

impl Keeper {
    /// Nothing is done yet.
    pub(super) fn new(options: Options, memory: Arc<Resolver>, standing: Arc<Mutex<Persistence>>) -> Self {
        Self { options, memory, standing, open: None, loaded: false, failing: None, back_off: RETRY_MIN, told: Vec::new() }
    }

    /// Opens the file and brings back what it holds.
    pub(super) fn begin(&mut self) {
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
            open.compare = true;
            open.tidied = Timestamp::EPOCH;
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
        *self.standing.lock() = Persistence::Working { entries, bytes: open.file.occupied(), last_write: open.written };
        self.back_off = RETRY_MIN;
        if let Some(failing) = self.failing.take().filter(|failing| failing.told) {
            let failed_for = self.memory.now().since(failing.since);
            events::StateWorking { path: &self.options.path, entries, failed_for }.emit();
        }
    }

    /// It does not work.
    fn fail(&mut self, reason: Trouble, what: &str) {
        let now = self.memory.now();
        self.close();
        let since = self.failing.map_or(now, |failing| failing.since);
        let news = !self.told.iter().any(|(told, at)| *told == reason && now.since(*at) < SAY_AGAIN);
        let told = news || self.failing.is_some_and(|failing| failing.told);
        self.failing = Some(Failing { since, again: now.plus(self.back_off), told });
        self.back_off = (self.back_off * 2).min(RETRY_MAX);
        *self.standing.lock() = Persistence::Failing { since, reason };
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

    /// Opens the file, or a new one when what lies there is none, and loads it unless that was done.
    fn try_open(&mut self) -> Result<(), (Trouble, String)> {
        for fresh in [false, true] {
            match guarded(|| self.open_and_load()) {
                Ok(open) => {
                    self.open = Some(open);
                    return Ok(());
                }
                Err(Broken::Unusable(reason)) if fresh => return Err((Trouble::Damaged, reason)),
                Err(Broken::Unusable(reason)) => self.set_aside(&reason)?,
                Err(Broken::Refused { trouble, what }) => {
                    if trouble != Trouble::InUse && !self.loaded {
                        self.load_copy();
                    }
                    return Err((trouble, what));
                }
            }
        }
        Ok(())
    }

    /// Opens the file, and loads it unless that was done: what was forgotten by hand since must not come back.
    fn open_and_load(&mut self) -> Result<Open, Broken> {
        let file = File::open(&self.options.path)?;
        if !self.loaded {
            self.load(&file)?;
        }
        let now = self.memory.now();
        // After a failure it works only when it was written.
        if self.failing.is_none() {
            let [(good, _), (negative, _), _] = self.memory.store().sizes();
            *self.standing.lock() = Persistence::Working { entries: good + negative, bytes: file.occupied(), last_write: None };
        }
        Ok(Open { file, journal: self.memory.journal(), compare: true, compared: now, surplus: 0, entries: 0, tidied: now, written: None })
    }

    /// Loads what cannot be written to. Best effort: the trouble itself is told by whoever found it.
    fn load_copy(&mut self) {
        let path = self.options.path.clone();
        let _ = guarded(|| self.load(&File::copy_of(&path)?));
    }

    /// Brings back what a file holds.
    fn load(&mut self, file: &File) -> Result<(), Broken> {
        let began = self.memory.now();
        let shift = file.host().map_or(Shift::NONE, |theirs| self.options.host.shift_from(&theirs));
        let (mut entries, mut dropped) = (0, 0);
        let unreadable = file.load(|key, record| {
            let entry = restore(key, record.entry, shift, &self.options.policy, began);
            match entry.map(|entry| self.memory.restore(key, entry, record.hits, Origin::StateFile)) {
                Some(true) => entries += 1,
                Some(false) | None => dropped += 1,
            }
        })?;
        self.loaded = true;
        if file.host().is_some() {
            let took = self.memory.now().since(began);
            events::StateLoaded { path: &self.options.path, entries, dropped: dropped + unreadable, took }.emit();
        }
        Ok(())
    }

    /// Keeps what lies at the path under another name.
    fn set_aside(&self, reason: &str) -> Result<(), (Trouble, String)> {
        let path = &self.options.path;
        let to = aside(path);
        match fs::rename(path, &to) {
            Ok(()) => {
                events::StateSetAside { path, to: &to, reason }.emit();
                Ok(())
            }
            Err(error) => Err((Trouble::Damaged, format!("{reason}; {error}"))),
        }
    }
}

impl Open {
    /// Writes what changed, or all that differs; gives the rows that there are then.
    fn save(&mut self, memory: &Resolver, options: &Options) -> Result<u64, Broken> {
        let now = memory.now();
        let taken = self.journal.take();
        let [(good, _), (negative, _), _] = memory.store().sizes();
        let held = i64::try_from(good + negative).unwrap_or(i64::MAX);
        let due = COMPARE_EVERY.max(COMPARE_EVERY * u32::try_from((good + negative) / COMPARE_ROWS).unwrap_or(u32::MAX));
        let rows = |entries: u64| i64::try_from(entries).unwrap_or(i64::MAX);
        if self.compare || taken.missed || now.since(self.compared) >= due {
            self.entries = self.write_differences(memory, options, now)?;
            self.surplus = held - rows(self.entries);
            (self.compare, self.compared, self.written) = (false, now, Some(now));
        } else if !taken.changes.is_empty() {
            self.entries = self.write_changes(&taken.changes, options)?;
            self.written = Some(now);
            let strayed = (held - rows(self.entries)).abs_diff(self.surplus);
            self.compare = strayed > SLACK.max(self.entries / 10);
        }
        self.tidy(now)?;
        Ok(self.entries)
    }

    /// Writes what the journal told.
    fn write_changes(&mut self, changes: &[Change], options: &Options) -> Result<u64, Broken> {
        let mut entries = self.entries;
        for changes in changes.chunks(CHANGES_MAX) {
            entries = self.file.write(&options.host, |rows| {
                for change in changes {
                    match change {
                        Change::Learned(slot, _) if slot.is_current() => put(rows, slot)?,
                        // Replaced or evicted since.
                        Change::Learned(..) => {}
                        Change::Forgotten(key) => rows.forget(key)?,
                    }
                }
                Ok(())
            })?;
        }
        Ok(entries)
    }

    /// Compares the whole file with the whole memory, and makes it the same.
    fn write_differences(&mut self, memory: &Resolver, options: &Options, now: Timestamp) -> Result<u64, Broken> {
        let hasher = foldhash::fast::RandomState::default();
        let version = |row: &[u8], stored: Timestamp| {
            let mut state = hasher.build_hasher();
            state.write(row);
            state.write_u64(stored.as_micros());
            state.finish()
        };
        let mut slots: Vec<(u64, Arc<Slot>)> = memory
            .store()
            .slots()
            .filter(|slot| slot.entry.is_servable(now))
            .filter_map(|slot| Some((version(&file::row_key(&slot.key()?, slot.entry.kind), slot.entry.stored), slot)))
            .collect();
        slots.sort_unstable_by_key(|(version, _)| *version);
        let mut found = vec![false; slots.len()];
        self.file.write(&options.host, |rows| {
            rows.retain(|row, record| {
                let Some((stored, hits)) = record::glance(record) else { return false };
                let Ok(at) = slots.binary_search_by_key(&version(row, stored), |(version, _)| *version) else { return false };
                if let (Some(found), Some((_, slot))) = (found.get_mut(at), slots.get(at)) {
                    *found = !is_hotter(slot.hits(), hits);
                }
                true
            })?;
            for (_, slot) in found.iter().zip(&slots).filter(|(found, _)| !**found).map(|(_, slot)| slot) {
                put(rows, slot)?;
            }
            Ok(())
        })
    }

    /// Compacts the file when it has grown too long for what it holds.
    fn tidy(&mut self, now: Timestamp) -> Result<(), Broken> {
        if self.file.occupied() <= TIDY_MIN || now.since(self.tidied) < TIDY_EVERY {
            return Ok(());
        }
        self.tidied = now;
        if self.file.occupied() > self.file.stored_bytes()?.saturating_mul(TIDY_HALVES) / 2 {
            self.file.compact()?;
        }
        Ok(())
    }
}

/// Writes the answer in a slot.
fn put(rows: &mut file::Rows<'_>, slot: &Slot) -> Result<(), Broken> {
    match slot.key() {
        Some(key) => rows.put(&key, &slot.entry, slot.hits()),
        None => Ok(()),
    }
}

/// Whether an answer has become so much hotter than its record says that it is worth a write: four times as many hits.
const fn is_hotter(hits: u32, recorded: u32) -> bool {
    hits > 1 && hits / 4 >= recorded.saturating_add(1)
}

/// Does something with redb, which panics over some kinds of damage: then the file is unusable, and nothing else is.
fn guarded<T>(work: impl FnOnce() -> Result<T, Broken>) -> Result<T, Broken> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(Broken::Unusable("damaged in a way that redb does not expect".into())))
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
