//! Keeps an open file like the memory: writes what the journal tells, compares both now and then,
//! and keeps the file short.
//!
//! Where the journal is not enough, the whole file is compared with the whole memory in one walk:
//! after every opening, after a page of the journal ran over, when rows and memory differ in
//! number, and every five minutes. That one way covers what was evicted or grew too old (no row is
//! left of it), what could not be written while the disk was full, another timeline, and hits. So
//! nothing waits in a queue for a disk that is away, and the file is bounded as the memory is.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use super::Options;
use super::broken::Broken;
use super::file::{self, File};
use crate::core::record;
use crate::core::time::Timestamp;
use crate::memory::Memory;
use crate::memory::cached::CachedAnswer;
use crate::memory::journal::{Change, Reader};

/// How often file and memory are compared in any case, for up to so many rows; more rarely for
/// more, since all are read.
const COMPARE_EVERY: Duration = Duration::from_secs(300);
/// Rows that are compared in some 5 ms.
const COMPARE_ROWS: u64 = 100_000;
/// Rows that file and memory may differ by until then, beside a tenth.
const SLACK: u64 = 64;
/// A file up to this length is left as it is.
const TIDY_MIN: u64 = 8 << 20;
/// A longer one is compacted when it is so many times as long as its rows, and not earlier: redb
/// doubles a file that it has no free page in, so one that was compacted is soon longer than it was
/// (3 MB of answers in a week of churn: 14 MB, and 9 MB left alone).
const TIDY_TIMES: u64 = 3;
/// How often at the most, since it writes all rows anew; and at the end.
const TIDY_EVERY: Duration = Duration::from_secs(600);
/// Changes of one transaction. Until two commits later the pages that it replaces are not free:
/// smaller ones need a smaller file, larger ones fewer syncs.
const CHANGES_MAX: usize = 256;

/// An open file and how far it is.
pub(super) struct Mirror {
    /// The file.
    pub(super) file: File,
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
    pub(super) written: Option<Timestamp>,
}

impl Mirror {
    /// A file that was just opened.
    pub(super) fn new(file: File, memory: &Memory) -> Self {
        let now = memory.now();
        Self {
            file,
            journal: memory.journal(),
            compare: true,
            compared: now,
            surplus: 0,
            entries: 0,
            tidied: now,
            written: None,
        }
    }

    /// Has file and memory compared the next time.
    pub(super) fn compare_next(&mut self) {
        self.compare = true;
    }

    /// The next time that it is saved is the last.
    pub(super) fn expect_the_end(&mut self) {
        self.compare_next();
        self.tidied = Timestamp::EPOCH;
    }

    /// Writes what changed, or all that differs; gives the rows that there are then.
    pub(super) fn save(&mut self, memory: &Memory, options: &Options) -> Result<u64, Broken> {
        let now = memory.now();
        let taken = self.journal.take();
        let [(good, _), (negative, _), _] = memory.store().sizes();
        let held = i64::try_from(good + negative).unwrap_or(i64::MAX);
        let due =
            COMPARE_EVERY.max(COMPARE_EVERY * u32::try_from((good + negative) / COMPARE_ROWS).unwrap_or(u32::MAX));
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
                        Change::Learned(cached, _) if cached.is_current() => put(rows, cached)?,
                        // Replaced or evicted since.
                        Change::Learned(..) => {}
                        Change::Flushed(key) => rows.forget(key)?,
                    }
                }
                Ok(())
            })?;
        }
        Ok(entries)
    }

    /// Compares the whole file with the whole memory, and makes it the same.
    fn write_differences(&mut self, memory: &Memory, options: &Options, now: Timestamp) -> Result<u64, Broken> {
        let hasher = foldhash::fast::RandomState::default();
        let version = |row: &[u8], stored: Timestamp| {
            let mut state = hasher.build_hasher();
            state.write(row);
            state.write_u64(stored.as_micros());
            state.finish()
        };
        let mut answers: Vec<(u64, Arc<CachedAnswer>)> = memory
            .store()
            .answers()
            .filter(|cached| cached.entry.is_servable(now))
            .filter_map(|cached| {
                Some((version(&file::row_key(&cached.key()?, cached.entry.kind), cached.entry.stored), cached))
            })
            .collect();
        answers.sort_unstable_by_key(|(version, _)| *version);
        let mut found = vec![false; answers.len()];
        self.file.write(&options.host, |rows| {
            rows.retain(|row, record| {
                let Some((stored, hits)) = record::glance(record) else { return false };
                let Ok(at) = answers.binary_search_by_key(&version(row, stored), |(version, _)| *version) else {
                    return false;
                };
                if let (Some(found), Some((_, cached))) = (found.get_mut(at), answers.get(at)) {
                    *found = !is_hotter(cached.hits(), hits);
                }
                true
            })?;
            for (_, cached) in found.iter().zip(&answers).filter(|(found, _)| !**found).map(|(_, cached)| cached) {
                put(rows, cached)?;
            }
            Ok(())
        })
    }

    /// Compacts the file when it has grown too long for what it holds.
    fn tidy(&mut self, now: Timestamp) -> Result<(), Broken> {
        if self.file.length() <= TIDY_MIN || now.since(self.tidied) < TIDY_EVERY {
            return Ok(());
        }
        self.tidied = now;
        if self.file.length() > self.file.stored_bytes()?.saturating_mul(TIDY_TIMES) {
            self.file.compact()?;
        }
        Ok(())
    }
}

/// Writes the answer in a cached.
fn put(rows: &mut file::Rows<'_>, cached: &CachedAnswer) -> Result<(), Broken> {
    match cached.key() {
        Some(key) => rows.put(&key, &cached.entry, cached.hits()),
        None => Ok(()),
    }
}

/// Whether an answer has become so much hotter than its record says that it is worth a write: four
/// times as many hits.
const fn is_hotter(hits: u32, recorded: u32) -> bool {
    hits > 1 && hits / 4 >= recorded.saturating_add(1)
}
