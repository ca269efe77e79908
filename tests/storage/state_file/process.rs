//! The process and its state file: after kill -9, with a file that is not a state file, beside
//! another process, and at the end of the drain.

use std::time::{Duration, Instant};

use holdover::adapters::state_file::database::FORMAT;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::process::Signal;

use super::sidecar::{Sidecar, nobody, upstream};
use crate::support::binary::*;

#[test]
fn killed_at_any_moment_under_load_it_knows_all_names_again_while_nobody_answers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let (good, dead) = (upstream(), nobody());
    let mut dice = StdRng::seed_from_u64(4);
    let mut names = Vec::new();
    for round in 0..12 {
        let sidecar = Sidecar::start(&path, good.address);
        let end = Instant::now() + Duration::from_millis(dice.random_range(450..900));
        let mut asked = Vec::new();
        for index in 0.. {
            let name = format!("k{round}-{index}.example.com.");
            assert!(sidecar.knows(&name));
            asked.push((name, Instant::now()));
            std::thread::sleep(Duration::from_millis(1));
            // The names of all rounds together fit into the cache.
            if Instant::now() >= end || index == 700 {
                break;
            }
        }
        sidecar.kill();
        // What was learned since the last write is lost, and a write may be slow on a busy host.
        let written = Instant::now().checked_sub(Duration::from_millis(400)).unwrap();
        names.extend(asked.into_iter().filter(|(_, at)| *at < written).map(|(name, _)| name));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing had to be kept aside");
    }
    assert!(names.len() > 100, "{}", names.len());
    let sidecar = Sidecar::start(&path, dead.address);
    sidecar.expect_all(&names);
}

#[test]
fn a_file_that_is_none_never_prevents_the_start_and_is_kept_aside_at_most_three_times() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let good = upstream();
    let newer = || {
        let database = redb::Database::create(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction
            .open_table(redb::TableDefinition::<&str, u128>::new("about"))
            .unwrap()
            .insert("format", FORMAT + 1)
            .unwrap();
        transaction.commit().unwrap();
    };
    // A state file of ours that is cut in the middle.
    let torn = || {
        let sidecar = Sidecar::start(&path, good.address);
        assert!(sidecar.knows("torn.example.com."));
        std::thread::sleep(Duration::from_millis(400));
        sidecar.kill();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    };
    let foreign = || std::fs::write(&path, vec![b'x'; 100_000]).unwrap();
    for (index, spoil) in [&foreign as &dyn Fn(), &newer, &torn, &foreign, &foreign].into_iter().enumerate() {
        let _ = std::fs::remove_file(&path);
        spoil();
        let mut sidecar = Sidecar::start(&path, good.address);
        assert!(sidecar.knows("kept.example.com."));
        assert!(sidecar.process.wait_for("kept aside").is_some());
        assert_eq!(sidecar.says("kept aside"), 1, "{:#?}", sidecar.process.log());
        std::thread::sleep(Duration::from_millis(400));
        sidecar.kill();
        let again = Sidecar::start(&path, nobody().address);
        again.expect_all(&["kept.example.com.".to_owned()]);
        assert_eq!(again.says("kept aside"), 0);
        again.kill();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1 + (index + 1).min(3));
    }
    assert_eq!(
        std::fs::read(folder.path().join("state.redb.aside-1")).unwrap(),
        vec![b'x'; 100_000],
        "the first is still what it was"
    );
}

#[test]
fn the_second_on_one_file_says_so_once_and_takes_it_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let (good, dead) = (upstream(), nobody());
    let first = Sidecar::start(&path, good.address);
    assert!(first.knows("first.example.com."));
    std::thread::sleep(Duration::from_millis(400));
    let mut second = Sidecar::start(&path, good.address);
    assert!(second.knows("second.example.com."));
    assert!(second.process.wait_for("another process has it open").is_some());
    first.kill();
    assert!(second.process.wait_for("the state file can be used again").is_some());
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(second.says("the state file cannot be used"), 1);
    second.kill();
    let third = Sidecar::start(&path, dead.address);
    third.expect_all(&["first.example.com.".into(), "second.example.com.".into()]);
}

#[test]
fn a_file_that_is_removed_while_it_runs_is_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let (good, dead) = (upstream(), nobody());
    let sidecar = Sidecar::start(&path, good.address);
    assert!(sidecar.knows("before.example.com."));
    std::thread::sleep(Duration::from_millis(400));
    std::fs::remove_file(&path).unwrap();
    std::thread::sleep(Duration::from_millis(600));
    assert!(sidecar.knows("after.example.com."));
    std::thread::sleep(Duration::from_millis(400));
    sidecar.kill();
    Sidecar::start(&path, dead.address).expect_all(&["before.example.com.".into(), "after.example.com.".into()]);
}

#[test]
fn the_last_write_comes_at_the_end_of_the_drain() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let (good, dead) = (upstream(), nobody());
    let sidecar = Sidecar::started(&path, good.address, |command| {
        command.env("HOLDOVER_STATE_WRITE_EVERY", "5m");
    });
    assert!(sidecar.knows("last.example.com."));
    sidecar.process.signal(Signal::TERM);
    assert_eq!(sidecar.process.finish(PATIENCE).code(), 0);
    Sidecar::start(&path, dead.address).expect_all(&["last.example.com.".to_owned()]);
}
