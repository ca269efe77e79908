//! The state file by itself: on a disk that loses power or fails, of an older version, or not a
//! state file at all.

use std::time::Duration;

use holdover::adapters::state_file::Host;
use holdover::adapters::state_file::database::{FORMATS, FileFormat, StateDatabase, Unread};
use holdover::adapters::state_file::error::StateFileError;
use holdover::core::time::Timestamp;
use holdover::telemetry::state_file::StateFileTrouble;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::disk::Disk;
use super::memory::{START, entry, key};

pub const HOST: Host = Host { boot: Some(7), booted_at: Timestamp::from_secs(1_700_000_000) };

/// The content of a file: names and the versions of their answers.
pub type Content = std::collections::BTreeMap<String, u64>;

pub fn content(file: &StateDatabase) -> Content {
    let mut content = Content::new();
    let unread = file
        .load(|key, record| {
            content.insert(key.to_string(), record.entry.stored.as_micros());
        })
        .unwrap();
    assert_eq!(unread, Unread::default());
    content
}

/// Changes some names at random, in one transaction.
fn change(file: &mut StateDatabase, content: &mut Content, step: u64, dice: &mut StdRng) {
    let now = START.plus(Duration::from_secs(step));
    file.write(&HOST, |rows| {
        for _ in 0..dice.random_range(1..40) {
            let name = format!("n{}.example.com", dice.random_range(0..200));
            if dice.random_range(0..10) == 0 {
                rows.remove(&key(&name))?;
                content.remove(&key(&name).to_string());
            } else {
                rows.put(&key(&name), &entry(&name, dice.random_range(1..30), now), 3)?;
                content.insert(key(&name).to_string(), now.as_micros());
            }
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn whatever_a_power_cut_leaves_of_the_writes_is_the_last_whole_transaction_or_the_next() {
    let mut dice = StdRng::seed_from_u64(5);
    let disk = Disk::default();
    let mut file = StateDatabase::on(disk.clone(), FORMATS).unwrap();
    let mut content_now = Content::new();
    // The content that was committed after each number of operations on the disk.
    let mut commits = vec![(disk.operations(), content_now.clone())];
    for step in 0..60 {
        change(&mut file, &mut content_now, step, &mut dice);
        commits.push((disk.operations(), content_now.clone()));
        if step % 20 == 19 {
            file.compact().unwrap();
        }
    }
    let total = disk.operations();
    let mut lost = 0;
    for round in 0..400 {
        let cut = dice.random_range(commits[1].0..=total);
        let image = disk.image(cut, &mut dice);
        let opened =
            StateDatabase::on(image, FORMATS).unwrap_or_else(|error| panic!("round {round}, cut at {cut}: {error}"));
        let found = content(&opened);
        let last = commits.iter().rposition(|(at, _)| *at <= cut).unwrap();
        let possible = &commits[last..(last + 2).min(commits.len())];
        assert!(
            possible.iter().any(|(_, content)| *content == found),
            "round {round}, cut at {cut}: neither commit {last} nor the next"
        );
        lost += u32::from(cut > commits[last].0 && commits[last].1 == found);
    }
    assert!(lost > 20, "cuts hit transactions under way: {lost}");
}

#[test]
fn a_sync_that_is_left_out_would_be_noticed() {
    // The test above must be able to fail: on a disk that ignores syncs, commits are lost.
    let mut dice = StdRng::seed_from_u64(6);
    let disk = Disk::forgetful();
    let mut file = StateDatabase::on(disk.clone(), FORMATS).unwrap();
    let mut content_now = Content::new();
    for step in 0..10 {
        change(&mut file, &mut content_now, step, &mut dice);
    }
    let broken = (0..50).any(|_| {
        let opened = StateDatabase::on(disk.image(disk.operations(), &mut dice), FORMATS);
        opened.map_or(true, |file| content(&file) != content_now)
    });
    assert!(broken);
}

#[test]
fn a_file_of_an_older_version_is_read_and_becomes_one_of_this() {
    const OLD: redb::TableDefinition<'static, &'static [u8], &'static [u8]> = redb::TableDefinition::new("names");
    const OLDER: &[FileFormat] = &[
        FORMATS[0],
        FileFormat {
            version: 0,
            read: |transaction, visit| {
                use redb::ReadableTable;
                for row in transaction.open_table(OLD)?.iter()? {
                    let (key, record) = row?;
                    visit(key.value(), record.value());
                }
                Ok(())
            },
        },
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let database = redb::Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut record = Vec::new();
        holdover::core::record::write(&entry("old.example.com", 1, START), 9, &mut record);
        let row = [key("old.example.com").as_bytes(), &[0]].concat();
        transaction.open_table(OLD).unwrap().insert(row.as_slice(), record.as_slice()).unwrap();
        transaction.open_table(redb::TableDefinition::<&str, u128>::new("about")).unwrap().insert("format", 0).unwrap();
    }
    transaction.commit().unwrap();
    drop(database);
    let open = |formats| {
        StateDatabase::on(
            redb::backends::FileBackend::new(std::fs::File::options().read(true).write(true).open(&path).unwrap())
                .unwrap(),
            formats,
        )
    };
    {
        let mut file = open(OLDER).unwrap();
        let old = content(&file);
        assert_eq!(old.len(), 1);
        file.write(&HOST, |rows| rows.put(&key("old.example.com"), &entry("old.example.com", 1, START), 9)).unwrap();
        assert_eq!(content(&file), old);
    }
    assert_eq!(content(&open(FORMATS).unwrap()).len(), 1, "the present version reads it without the old reader");
}

#[test]
fn what_is_no_state_file_of_ours_is_told_from_a_disk_that_fails() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    std::fs::write(&path, "this is somebody's diary\n".repeat(1000)).unwrap();
    assert!(matches!(StateDatabase::open(&path), Err(StateFileError::Unusable(_))));
    std::fs::remove_file(&path).unwrap();
    let database = redb::Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(redb::TableDefinition::<&str, &str>::new("about")).unwrap().insert("format", "x").unwrap();
    transaction.commit().unwrap();
    assert!(matches!(
        StateDatabase::open(&path),
        Err(StateFileError::Refused { trouble: StateFileTrouble::InUse, .. })
    ));
    drop(database);
    assert!(matches!(StateDatabase::open(&path), Err(StateFileError::Unusable(_))), "another program's database");
    assert!(matches!(
        StateDatabase::open(folder.path()),
        Err(StateFileError::Refused { trouble: StateFileTrouble::NotAFile, .. })
    ));
    assert!(matches!(
        StateDatabase::open(&path.join("x")),
        Err(StateFileError::Refused { trouble: StateFileTrouble::NoFolder, .. })
    ));
}
