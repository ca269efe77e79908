//! Bits of the state file that have changed since they were written, on the disk or in memory: no
//! address that was not learned is ever served, what is not damaged is read, and the start
//! succeeds.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use holdover::adapters::state_file::database::{FORMATS, StateDatabase, Unread};
use holdover::core::record;
use holdover::memory::flushes::{Extent, Scope};
use holdover::memory::journal::Origin;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::disk::Disk;
use super::memory::{START, TestMemory, entry, key};

/// The rows of a file: keys and the records under them, as bytes.
type Rows = BTreeMap<String, Vec<u8>>;

/// Writes a file as a run does that ends normally, and gives its bytes.
fn closed_file() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let memory = TestMemory::at(START);
    let state = memory.keep(&path, memory.host(None));
    for index in 0..30_u16 {
        memory.learn_large(&format!("n{index}.example.com"), index + 1);
        memory.deny(&format!("d{index}.example.com"));
    }
    memory.memory.flush_all(&Scope::new(b"\x07flushed\x04test\x00", Extent::Name, None));
    memory.finish(state);
    std::fs::read(&path).unwrap()
}

/// Reads a file from its bytes; `None` when it cannot be used.
fn read(bytes: Vec<u8>) -> Option<(Rows, Unread)> {
    let reading = || {
        let file = StateDatabase::on(Disk::holding(bytes), FORMATS).ok()?;
        let mut rows = Rows::new();
        let unread = file.load(|key, known| {
            let mut bytes = Vec::new();
            record::write(&known.entry, known.past, &mut bytes);
            rows.insert(format!("{key} {}", key.service()), bytes);
        });
        Some((rows, unread.ok()?))
    };
    // redb panics over some kinds of damage, which the worker takes for an unusable file.
    catch_unwind(AssertUnwindSafe(reading)).ok().flatten()
}

#[test]
fn whatever_bit_flips_no_row_says_what_was_not_written() {
    let whole = closed_file();
    let (expected, unread) = read(whole.clone()).unwrap();
    assert_eq!((expected.len(), unread), (60, Unread::default()));
    let used: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] != 0).collect();
    let mut dice = StdRng::seed_from_u64(3);
    let (mut unusable, mut damaged) = (0, 0);
    for round in 0..1_500 {
        let (at, bit) = (used[dice.random_range(0..used.len())], dice.random_range(0..8));
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << bit;
        let Some((rows, unread)) = read(bytes) else {
            unusable += 1;
            continue;
        };
        damaged += u32::from(unread.damaged > 0);
        let wrong: Vec<&String> =
            rows.iter().filter(|(key, record)| expected.get(*key) != Some(record)).map(|(key, _)| key).collect();
        assert!(wrong.is_empty(), "round {round}, bit {bit} of byte {at}: {wrong:?}");
    }
    // Most of the others hit pages that hold what was written before, and are used no more.
    assert!(damaged > 150 && unusable < 150, "{damaged} damaged, {unusable} unusable");
}

#[test]
fn a_damaged_row_is_dropped_and_counted_and_the_others_are_there_after_a_start() {
    let whole = closed_file();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    // The last byte of an address of the largest answer.
    let answer = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 29];
    let at = whole.windows(answer.len()).position(|bytes| bytes == answer).unwrap();
    let mut bytes = whole;
    bytes[at + answer.len() - 1] ^= 0x40;
    std::fs::write(&path, bytes).unwrap();
    let memory = TestMemory::at(START);
    let state = memory.keep(&path, memory.host(None));
    assert!(!memory.knows("n29.example.com"));
    assert_eq!(memory.known(), 59);
    assert_eq!((state.damage())(), 1);
    memory.finish(state);
    // The row is gone from the file as well.
    let (rows, unread) = read(std::fs::read(&path).unwrap()).unwrap();
    assert_eq!((rows.len(), unread), (59, Unread::default()));
}

#[test]
fn the_start_succeeds_whatever_bit_flips() {
    let whole = closed_file();
    let used: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] != 0).collect();
    let mut dice = StdRng::seed_from_u64(4);
    // The header and the first pages of redb, and anything else.
    let sample = (0..40).map(|at| at * 8).chain((0..40).map(|_| used[dice.random_range(0..used.len())]));
    for at in sample.collect::<Vec<_>>() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.redb");
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << dice.random_range(0..8);
        std::fs::write(&path, bytes).unwrap();
        let memory = TestMemory::at(START);
        let state = memory.keep(&path, memory.host(None));
        memory.learn("new.example.com");
        memory.finish(state);
        // The next run reads what this one wrote. redb may meet the damage only then, and the file
        // is kept aside.
        let next = TestMemory::at(START);
        let state = next.keep(&path, next.host(None));
        let is_aside = std::fs::read_dir(folder.path()).unwrap().count() > 1;
        assert!(next.knows("new.example.com") || is_aside, "byte {at}");
        next.learn("newer.example.com");
        next.finish(state);
    }
}

#[test]
fn a_file_of_the_format_without_checksums_is_read_and_gets_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let database = redb::Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut bytes = Vec::new();
        record::write(&entry("old.example.com", 1, START), 9, &mut bytes);
        let row = [key("old.example.com").as_bytes(), &[0]].concat();
        let answers: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new("answers");
        transaction.open_table(answers).unwrap().insert(row.as_slice(), bytes.as_slice()).unwrap();
        let about: redb::TableDefinition<'_, &str, u128> = redb::TableDefinition::new("about");
        let mut about = transaction.open_table(about).unwrap();
        about.insert("format", 1).unwrap();
        about.insert("boot", 1).unwrap();
        about.insert("booted_at", u128::from(START.as_micros())).unwrap();
    }
    transaction.commit().unwrap();
    drop(database);
    let memory = TestMemory::at(START);
    let state = memory.keep(&path, memory.host(None));
    assert!(memory.knows("old.example.com"));
    assert_eq!((state.damage())(), 0);
    memory.finish(state);
    let mut bytes = std::fs::read(&path).unwrap();
    let address = [192, 0, 2, 0];
    let at = bytes.windows(4).position(|found| found == address).unwrap();
    bytes[at] ^= 1;
    let (rows, unread) = read(bytes).unwrap();
    assert_eq!((rows.len(), unread.damaged), (0, 1));
}

#[test]
fn a_flush_is_kept_for_what_other_places_have() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let flushed = Scope::new(key("wrong.example.com").name(), Extent::Name, None);
    let first = TestMemory::at(START);
    let state = first.keep(&path, first.host(None));
    first.memory.flush_all(&flushed);
    first.finish(state);
    let second = TestMemory::at(START);
    second.advance(std::time::Duration::from_secs(60));
    let state = second.keep(&path, second.host(Some(std::time::Duration::from_secs(60))));
    let seeded = |name: &str, stored| {
        let record = entry(name, 1, stored);
        second.memory.restore(&key(name), record, 0, Origin::Seed)
    };
    assert!(!seeded("wrong.example.com", START), "the seed is older than the flush");
    assert!(seeded("right.example.com", START));
    assert!(seeded("wrong.example.com", second.memory.now()), "and what is newer is taken");
    second.finish(state);
}
