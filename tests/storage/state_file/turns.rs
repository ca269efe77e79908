//! Several runs, one after another, on the same state file, under a clock that the test sets.

use std::path::Path;
use std::time::{Duration, Instant};

use holdover::adapters::state_file::Host;
use holdover::adapters::state_file::database::StateDatabase;
use holdover::telemetry::state_file::StateFileStatus;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::file::content;
use super::memory::{DAY, START, TestMemory, key};
use crate::support::waiting::eventually;

/// Learns this many names and writes them to the file, as a run that ends normally.
fn keep(path: &Path, names: usize, memory: &TestMemory) {
    let state = memory.keep(path, memory.host(None));
    for index in 0..names {
        memory.learn(&format!("n{index}.example.com"));
    }
    memory.finish(state);
}

#[test]
fn ten_thousand_names_come_back_with_what_is_expired_and_without_what_is_too_old() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    keep(&path, 10_000, &TestMemory::at(START));
    for (later, known) in [(Duration::from_secs(30), 10_000), (DAY, 10_000), (DAY + Duration::from_secs(61), 0)] {
        let memory = TestMemory::at(START.plus(later));
        let began = Instant::now();
        let state = memory.keep(&path, memory.host(None));
        println!("10 000 names: {known} are back after {:?}", began.elapsed());
        assert_eq!(memory.known(), known, "after {later:?}");
        memory.wait_until_open(&state, known);
        // Answers that are too old are removed from the file as well.
        memory.finish(state);
        assert_eq!(content(&StateDatabase::open(&path).unwrap()).len(), known);
    }
}

#[test]
fn a_clock_that_is_set_by_days_between_two_runs_of_one_boot_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    keep(&path, 50, &TestMemory::at(START));
    // Ten seconds have passed, whatever the wall clock says. Each run puts the rows on its own
    // timeline.
    for (days, back) in [(3, false), (40, true), (300, false)] {
        let now = if back { START.minus(DAY * days) } else { START.plus(DAY * days) }.plus(Duration::from_secs(10));
        let memory = TestMemory::at(now);
        let host = memory.host(Some(Duration::from_secs(10)));
        let state = memory.keep(&path, host);
        assert_eq!((memory.known(), memory.fresh()), (50, 50), "{days} days, back: {back}");
        memory.finish(state);
    }
    // After another boot the shift is unknown: answers that seem to come from the future are stale
    // at once, and do not live for ever.
    let memory = TestMemory::at(START.minus(DAY * 2));
    let state = memory.keep(&path, Host { boot: Some(99), booted_at: START.minus(DAY * 3) });
    assert_eq!((memory.known(), memory.fresh()), (50, 0));
    memory.advance(DAY + Duration::from_secs(1));
    assert_eq!(memory.known(), 0);
    memory.finish(state);
}

#[test]
fn a_denial_beside_a_good_answer_comes_back_as_a_denial_and_what_was_forgotten_by_hand_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let memory = TestMemory::at(START);
    let state = memory.keep(&path, memory.host(None));
    memory.learn("gone.example.com");
    memory.learn("wrong.example.com");
    memory.wait_for_write(&state);
    memory.advance(Duration::from_secs(5));
    memory.deny("gone.example.com");
    assert!(memory.memory.flush(&key("wrong.example.com")));
    memory.finish(state);
    let after = TestMemory::at(START.plus(Duration::from_secs(3600)));
    let state = after.keep(&path, after.host(None));
    assert!(after.denies("gone.example.com") && !after.knows("wrong.example.com"));
    after.finish(state);
}

#[test]
fn rows_never_outnumber_the_memory_by_much_in_a_flood_and_the_file_stays_small() {
    let folder = tempfile::tempdir_in(if Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "." }).unwrap();
    let path = folder.path().join("state.redb");
    // A week of churn in steps of ten minutes: of 2 000 answers of 50 to 3 000 bytes a tenth is
    // learned anew each time, and some are new.
    let memory = TestMemory::with_room(START, 2_000);
    let state = memory.keep(&path, memory.host(None));
    let mut dice = StdRng::seed_from_u64(8);
    let mut peak = 0;
    for step in 0..7 * 24 * 6_u64 {
        memory.advance(Duration::from_secs(600));
        for _ in 0..200 {
            let fresh = dice.random_range(0..20) == 0;
            let name = if fresh {
                format!("s{step}-{}.example.com", dice.random_range(0..1000))
            } else {
                format!("n{}.example.com", dice.random_range(0..1900))
            };
            memory.learn_large(&name, dice.random_range(1..180));
        }
        memory.wait_for_write(&state);
        let StateFileStatus::Working { entries, bytes, .. } = state.status() else { panic!("{:?}", state.status()) };
        let held = memory.memory.store().sizes()[0].0;
        assert!(entries <= held + held / 5 + 500, "step {step}: {entries} rows for {held} answers");
        peak = peak.max(bytes);
    }
    memory.finish(state);
    let file = StateDatabase::open(&path).unwrap();
    let (stored, length) = (file.stored_bytes().unwrap(), file.length());
    println!("after a week: {stored} bytes of answers in a file of {length}, at most {peak}");
    assert!(length <= (3 * stored).max(8 << 20), "{length} for {stored}");
    // redb doubles the space that it needs, so the file may be twice as long for some minutes after
    // it was compacted.
    assert!(peak <= (5 * stored).max(16 << 20), "{peak} for {stored}");
}

#[test]
fn a_file_that_is_too_long_for_what_is_left_in_it_is_compacted_while_it_is_in_use() {
    let folder = tempfile::tempdir_in(if Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "." }).unwrap();
    let path = folder.path().join("state.redb");
    let memory = TestMemory::at(START);
    let state = memory.keep(&path, memory.host(None));
    let length = || std::fs::metadata(&path).unwrap().len();
    for index in 0..6_000 {
        memory.learn_large(&format!("n{index}.example.com"), 90);
    }
    memory.wait_for_write(&state);
    let long = length();
    assert!(long > 8 << 20, "{long}");
    memory.advance(Duration::from_secs(1));
    // All but those whose number begins with 1.
    for index in (0..6_000).filter(|index| !index.to_string().starts_with('1')) {
        memory.memory.flush(&key(&format!("n{index}.example.com")));
    }
    memory.learn("new.example.com");
    memory.wait_for_write(&state);
    // Not immediately, because all rows are written again for it.
    assert!(length() >= long, "{} after {long}", length());
    let left = memory.known();
    memory.advance(Duration::from_secs(601));
    memory.learn("newer.example.com");
    memory.wait_for_write(&state);
    eventually("the file is short", Duration::from_secs(20), || length() <= 8 << 20);
    memory.finish(state);
    let content = content(&StateDatabase::open(&path).unwrap());
    assert_eq!(content.len(), left + 1, "nothing but length is lost");
}
