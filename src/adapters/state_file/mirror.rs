//! Keeps an open state file equal to the memory: writes the changes that the journal reports,
//! compares the whole of both at times, and keeps the file short.
//!
//! | when | what is written |
//! |---|---|
//! | the file was just opened, a flush is to be written, or the process ends | all differences |
//! | the journal had more changes than it can hold | all differences |
//! | rows and answers in memory have drifted apart by more than a tenth | all differences, with the next write |
//! | five minutes have passed since the last comparison, longer with more than 100 000 answers | all differences |
//! | otherwise | the changes of the journal |
//!
//! The comparison covers all that the journal does not report: answers that were evicted or are
//! past their maximum stale (their rows are removed), changes that could not be written while the
//! disk was full, times that were moved to another timeline, and hits. So no queue waits for a disk
//! that is away, and the file is bounded as the memory is.
//!
//! The states of the upstreams are written after the answers, in a transaction of their own
//! ([`super::upstream_rows`]).

use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::database::{Rows, StateDatabase, row_key};
use super::error::StateFileError;
use super::options::StateFileOptions;
use super::upstream_rows::WrittenUpstreams;
use crate::core::record;
use crate::core::time::Timestamp;
use crate::memory::Memory;
use crate::memory::cached::CachedAnswer;
use crate::memory::journal::{Change, Reader};

/// How long file and memory are not compared at the most, for up to [`COMPARE_ROWS`] answers. Since
/// a comparison reads all rows, the time grows in proportion for more of them.
const COMPARE_EVERY: Duration = Duration::from_secs(300);
/// Rows that are compared in some 5 ms.
const COMPARE_ROWS: u64 = 100_000;
/// Rows by which file and memory may drift apart without a comparison, however few rows there are.
const SLACK: u64 = 64;
/// Length in bytes up to which a file is never compacted.
const TIDY_MIN: u64 = 8 << 20;
/// A longer file is compacted when it is so many times as long as its rows, and not earlier: redb
/// doubles a file in which it finds no free page, so a file that was compacted is soon longer than
/// before (3 MB of answers in a week of churn: 14 MB, and 9 MB without compaction).
const TIDY_TIMES: u64 = 3;
/// Shortest time between two compactions, since each writes all rows anew. The end of the process
/// does not wait for it.
const TIDY_EVERY: Duration = Duration::from_secs(600);
/// Changes in one transaction. The pages that a transaction replaces become free two commits later:
/// smaller transactions need a smaller file, larger ones fewer syncs.
const CHANGES_MAX: usize = 256;

/// An open state file, and how far it has followed the memory.
pub(super) struct Mirror {
    pub(super) file: StateDatabase,
    journal: Reader,
    /// Whether the next write compares file and memory.
    compare: bool,
    /// When file and memory were last compared.
    compared: Timestamp,
    /// Answers in memory beyond the rows of the file, at the last comparison. It is not zero
    /// because memory may hold answers past their maximum stale, which get no row.
    surplus: i64,
    /// Answers in the file after the last write.
    entries: u64,
    upstreams: WrittenUpstreams,
    /// When the file was last compacted, or found not to need it.
    tidied: Timestamp,
    /// When the file was last written; `None` while that has not been necessary.
    pub(super) written: Option<Timestamp>,
}

impl Mirror {
    /// A mirror of the memory in a file that was just opened.
    pub(super) fn new(file: StateDatabase, memory: &Memory) -> Self {
        let now = memory.now();
        Self {
            file,
            journal: memory.journal(),
            compare: true,
            compared: now,
            surplus: 0,
            entries: 0,
            upstreams: WrittenUpstreams::default(),
            tidied: now,
            written: None,
        }
    }

    /// Has the next write compare file and memory.
    pub(super) fn compare_next(&mut self) {
        self.compare = true;
    }

    /// Prepares for the last write: it compares file and memory, and may compact the file.
    pub(super) fn expect_the_end(&mut self) {
        self.compare_next();
        self.upstreams.write_next();
        self.tidied = Timestamp::EPOCH;
    }

    /// Writes the changes since the last time, or all differences between file and memory, and
    /// gives the number of rows after it.
    ///
    /// # Errors
    /// [`StateFileError`]: the file has to be opened again. The changes that were taken from the
    /// journal are not kept for that, since the comparison after the opening finds them.
    pub(super) fn save(&mut self, memory: &Memory, options: &StateFileOptions) -> Result<u64, StateFileError> {
        // The time and the journal are taken before the memory is read: a change that comes in
        // between is then written twice, and none is left out.
        let now = memory.now();
        let taken = self.journal.take();
        let [(good, _), (negative, _), _] = memory.store().sizes();
        let held = i64::try_from(good + negative).unwrap_or(i64::MAX);
        let due =
            COMPARE_EVERY.max(COMPARE_EVERY * u32::try_from((good + negative) / COMPARE_ROWS).unwrap_or(u32::MAX));
        let rows = |entries: u64| i64::try_from(entries).unwrap_or(i64::MAX);
        // What the journal reports is not enough after some events (see the table above), nor for
        // ever: evicted answers and grown hits are not among its changes.
        if self.compare || taken.missed || now.since(self.compared) >= due {
            self.entries = self.write_differences(memory, options, now)?;
            self.surplus = held - rows(self.entries);
            (self.compare, self.compared, self.written) = (false, now, Some(now));
        } else if !taken.changes.is_empty() {
            self.entries = self.write_changes(&taken.changes, options)?;
            self.written = Some(now);
            // Every eviction leaves a row behind. Once file and memory have drifted apart since the
            // last comparison, in either direction, the next write compares them.
            let strayed = (held - rows(self.entries)).abs_diff(self.surplus);
            self.compare = strayed > SLACK.max(self.entries / 10);
        }
        self.save_upstreams(options, now)?;
        // Compaction comes last: it writes all rows anew, and the changes are safe by now.
        self.tidy(now)?;
        Ok(self.entries)
    }

    /// Writes the states of the upstreams, when they are due.
    fn save_upstreams(&mut self, options: &StateFileOptions, now: Timestamp) -> Result<(), StateFileError> {
        let Some(due) = self.upstreams.due((options.upstreams.present)(), self.written, now) else { return Ok(()) };
        self.file.write(&options.host, |rows| rows.put_upstreams(&due))?;
        self.upstreams.note(due, now);
        self.written = Some(now);
        Ok(())
    }

    /// Writes the changes of the journal, in transactions of [`CHANGES_MAX`].
    fn write_changes(&mut self, changes: &[Change], options: &StateFileOptions) -> Result<u64, StateFileError> {
        let mut entries = self.entries;
        for changes in changes.chunks(CHANGES_MAX) {
            entries = self.file.write(&options.host, |rows| {
                for change in changes {
                    match change {
                        // An answer that was replaced or evicted since is not written.
                        Change::Learned(cached, _) => {
                            if let Some(cached) = cached.upgrade().filter(|cached| cached.is_current()) {
                                put(rows, &cached)?;
                            }
                        }
                        Change::Flushed(key) => rows.remove(key)?,
                    }
                }
                Ok(())
            })?;
        }
        Ok(entries)
    }

    /// Compares the whole file with the whole memory in one transaction: removes the rows that
    /// memory does not have, and writes the answers that the file does not have.
    fn write_differences(
        &mut self,
        memory: &Memory,
        options: &StateFileOptions,
        now: Timestamp,
    ) -> Result<u64, StateFileError> {
        // An answer is recognised by a hash of its row key and the time at which it was stored. A
        // hash takes 8 bytes, where a key would have to be copied for each answer in memory.
        let hasher = foldhash::fast::RandomState::default();
        let version = |row: &[u8], stored: Timestamp| {
            let mut state = hasher.build_hasher();
            state.write(row);
            state.write_u64(stored.as_micros());
            state.finish()
        };
        // The references keep no answer in memory: the disk may hang for long, and whatever is
        // evicted meanwhile must be gone.
        let mut answers: Vec<(u64, Weak<CachedAnswer>)> = memory
            .store()
            .answers()
            .filter(|cached| cached.entry.is_servable(now))
            .filter_map(|cached| {
                let version = version(&row_key(&cached.key()?, cached.entry.kind), cached.entry.stored);
                Some((version, Arc::downgrade(&cached)))
            })
            .collect();
        // One walk through the file removes the rows that are not in memory, and marks the answers
        // that need no write: their row is there, and its hits are near enough.
        answers.sort_unstable_by_key(|(version, _)| *version);
        let mut found = vec![false; answers.len()];
        self.file.write(&options.host, move |rows| {
            rows.retain(|row, record| {
                let Some((stored, hits)) = record::glance(record) else { return false };
                let Ok(at) = answers.binary_search_by_key(&version(row, stored), |(version, _)| *version) else {
                    return false;
                };
                if let (Some(found), Some((_, cached))) = (found.get_mut(at), answers.get(at)) {
                    *found = !cached.upgrade().is_some_and(|cached| is_much_hotter(&cached, hits));
                }
                true
            })?;
            // What is not marked is missing in the file, or has become much hotter.
            for (_, (_, cached)) in found.iter().zip(&answers).filter(|(found, _)| !**found) {
                if let Some(cached) = cached.upgrade() {
                    put(rows, &cached)?;
                }
            }
            drop(answers);
            memory.with_flushes(|flushes| rows.put_flushes(flushes))
        })
    }

    /// Compacts the file when it has grown too long for what it holds.
    fn tidy(&mut self, now: Timestamp) -> Result<(), StateFileError> {
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

fn put(rows: &mut Rows<'_>, cached: &CachedAnswer) -> Result<(), StateFileError> {
    match cached.key() {
        Some(key) => rows.put(&key, &cached.entry, cached.past()),
        None => Ok(()),
    }
}

/// Whether an answer has so many more hits than its record says that the row is written again: four
/// times as many.
fn is_much_hotter(cached: &CachedAnswer, recorded: u32) -> bool {
    let hits = cached.hits();
    hits > 1 && hits / 4 >= recorded.saturating_add(1)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::PathBuf;

    use parking_lot::Mutex;
    use redb::StorageBackend;
    use redb::backends::InMemoryBackend;

    use super::super::format::FORMATS;
    use super::super::host::Host;
    use super::super::options::UpstreamStates;
    use super::*;
    use crate::core::classify::classify;
    use crate::core::entry::Entry;
    use crate::core::key::{Dnssec, Key};
    use crate::core::routes::Routes;
    use crate::core::testing::{Response, name, policy};
    use crate::core::time::Clock;

    struct Stopped;

    impl Clock for Stopped {
        fn now(&self) -> Timestamp {
            Timestamp::from_secs(1_000_000)
        }
    }

    /// Has the memory learn the address of one name anew.
    fn learn(memory: &Memory) -> Arc<CachedAnswer> {
        let key = Key::new(&name("www.example.com"), 1, 1, Dnssec::default());
        let bytes = Response::new("www.example.com", 1).a("www.example.com", 60).bytes();
        let entry = Entry::remember(&key, &bytes, classify(1, &bytes), &policy(), memory.now()).unwrap().entry;
        memory.insert(&key, entry, memory.now())
    }

    /// What happens while the disk syncs.
    type WhileItSyncs = Arc<Mutex<Box<dyn FnMut() + Send>>>;

    /// A disk that does something else each time before a sync returns.
    struct SlowDisk(InMemoryBackend, WhileItSyncs);

    impl std::fmt::Debug for SlowDisk {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("SlowDisk")
        }
    }

    impl StorageBackend for SlowDisk {
        fn len(&self) -> Result<u64, io::Error> {
            self.0.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
            self.0.read(offset, out)
        }

        fn set_len(&self, length: u64) -> Result<(), io::Error> {
            self.0.set_len(length)
        }

        fn sync_data(&self) -> Result<(), io::Error> {
            (self.1.lock())();
            self.0.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
            self.0.write(offset, data)
        }
    }

    #[test]
    fn while_the_disk_syncs_what_was_replaced_takes_no_memory() {
        let memory = Arc::new(Memory::new(&policy(), Routes::new(&[]), Arc::new(Stopped)));
        let syncs: WhileItSyncs = Arc::new(Mutex::new(Box::new(|| {})));
        let file = StateDatabase::on(SlowDisk(InMemoryBackend::new(), Arc::clone(&syncs)), FORMATS).unwrap();
        let options = StateFileOptions {
            path: PathBuf::new(),
            write_every: Duration::from_secs(2),
            host: Host { boot: None, booted_at: Timestamp::EPOCH },
            upstreams: UpstreamStates::none(),
        };
        let mut mirror = Mirror::new(file, &memory);
        // The first write compares all of both, the second one writes the changes of the journal.
        for round in ["all differences", "the changes"] {
            let old = Arc::downgrade(&learn(&memory));
            let (own, gone) = (Arc::clone(&memory), Arc::new(Mutex::new(Vec::new())));
            let seen = Arc::clone(&gone);
            *syncs.lock() = Box::new(move || {
                drop(learn(&own));
                seen.lock().push(old.strong_count() == 0);
            });
            mirror.save(&memory, &options).unwrap();
            assert!(!gone.lock().is_empty() && gone.lock().iter().all(|gone| *gone), "{round}: {:?}", gone.lock());
        }
    }
}
