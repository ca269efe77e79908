//! What is remembered outlives the process: kill -9, power cuts, disks that are full, read-only or somebody else's, files that are none.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub,
    dead_code
)]

#[path = "process/binary.rs"]
mod binary;
#[path = "persistence/disk.rs"]
mod disk;
#[path = "wire/harness.rs"]
mod harness;
#[path = "persistence/memory.rs"]
mod memory;

use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use binary::*;
use disk::Disk;
use harness::{Reaction, Upstream, address, query};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use holdover::adapters::state_file::Host;
use holdover::adapters::state_file::broken::Broken;
use holdover::adapters::state_file::file::{FORMAT, FORMATS, File, Format};
use holdover::core::time::Timestamp;
use holdover::telemetry::persistence::{Persistence, Trouble};
use memory::{DAY, Memory, START, entry, key};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::process::{Resource, Rlimit, Signal, prlimit};

// --- the file ------------------------------------------------------------------------------------------------------------------

const HOST: Host = Host { boot: Some(7), booted_at: Timestamp::from_secs(1_700_000_000) };

/// Names and the versions of their answers: what is in a file.
type Content = std::collections::BTreeMap<String, u64>;

fn content(file: &File) -> Content {
    let mut content = Content::new();
    let unreadable = file
        .load(|key, record| {
            content.insert(key.to_string(), record.entry.stored.as_micros());
        })
        .unwrap();
    assert_eq!(unreadable, 0);
    content
}

/// Changes some names at random, in one transaction.
fn change(file: &mut File, content: &mut Content, step: u64, dice: &mut StdRng) {
    let now = START.plus(Duration::from_secs(step));
    file.write(&HOST, |rows| {
        for _ in 0..dice.random_range(1..40) {
            let name = format!("n{}.example.com", dice.random_range(0..200));
            if dice.random_range(0..10) == 0 {
                rows.forget(&key(&name))?;
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
    let mut file = File::on(disk.clone(), FORMATS).unwrap();
    let mut content_now = Content::new();
    // What the file holds once so many operations have reached the disk.
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
        let opened = File::on(image, FORMATS).unwrap_or_else(|error| panic!("round {round}, cut at {cut}: {error}"));
        let found = content(&opened);
        let last = commits.iter().rposition(|(at, _)| *at <= cut).unwrap();
        let possible = &commits[last..(last + 2).min(commits.len())];
        assert!(possible.iter().any(|(_, content)| *content == found), "round {round}, cut at {cut}: neither commit {last} nor the next");
        lost += u32::from(cut > commits[last].0 && commits[last].1 == found);
    }
    assert!(lost > 20, "cuts hit transactions under way: {lost}");
}

#[test]
fn a_sync_that_is_left_out_would_be_noticed() {
    // The test above must be able to fail: a disk that forgets what it was told to sync loses commits.
    let mut dice = StdRng::seed_from_u64(6);
    let disk = Disk::forgetful();
    let mut file = File::on(disk.clone(), FORMATS).unwrap();
    let mut content_now = Content::new();
    for step in 0..10 {
        change(&mut file, &mut content_now, step, &mut dice);
    }
    let broken = (0..50).any(|_| {
        let opened = File::on(disk.image(disk.operations(), &mut dice), FORMATS);
        opened.map_or(true, |file| content(&file) != content_now)
    });
    assert!(broken);
}

#[test]
fn a_file_of_an_older_version_is_read_and_becomes_one_of_this() {
    const OLD: redb::TableDefinition<'static, &'static [u8], &'static [u8]> = redb::TableDefinition::new("names");
    const OLDER: &[Format] = &[
        FORMATS[0],
        Format {
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
        File::on(redb::backends::FileBackend::new(std::fs::File::options().read(true).write(true).open(&path).unwrap()).unwrap(), formats)
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
    assert!(matches!(File::open(&path), Err(Broken::Unusable(_))));
    std::fs::remove_file(&path).unwrap();
    let database = redb::Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(redb::TableDefinition::<&str, &str>::new("about")).unwrap().insert("format", "x").unwrap();
    transaction.commit().unwrap();
    assert!(matches!(File::open(&path), Err(Broken::Refused { trouble: Trouble::InUse, .. })));
    drop(database);
    assert!(matches!(File::open(&path), Err(Broken::Unusable(_))), "another program's database");
    assert!(matches!(File::open(folder.path()), Err(Broken::Refused { trouble: Trouble::NotAFile, .. })));
    assert!(matches!(File::open(&path.join("x")), Err(Broken::Refused { trouble: Trouble::Missing, .. })));
}

// --- one memory after the other ------------------------------------------------------------------------------------------------

/// Keeps these names in a file, as a run does that ends well.
fn keep(path: &Path, names: usize, memory: &Memory) {
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
    keep(&path, 10_000, &Memory::at(START));
    for (later, known) in [(Duration::from_secs(30), 10_000), (DAY, 10_000), (DAY + Duration::from_secs(61), 0)] {
        let memory = Memory::at(START.plus(later));
        let began = Instant::now();
        let state = memory.keep(&path, memory.host(None));
        println!("10 000 names: {known} are back after {:?}", began.elapsed());
        assert_eq!(memory.known(), known, "after {later:?}");
        assert!(matches!(state.standing(), Persistence::Working { entries, .. } if entries == known as u64));
        // What is too old leaves the file, too.
        memory.finish(state);
        assert_eq!(content(&File::open(&path).unwrap()).len(), known);
    }
}

#[test]
fn a_clock_that_is_set_by_days_between_two_runs_of_one_boot_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    keep(&path, 50, &Memory::at(START));
    // Ten seconds have passed, whatever the clock says; each time the rows are put on the new timeline.
    for (days, back) in [(3, false), (40, true), (300, false)] {
        let now = if back { START.minus(DAY * days) } else { START.plus(DAY * days) }.plus(Duration::from_secs(10));
        let memory = Memory::at(now);
        let host = memory.host(Some(Duration::from_secs(10)));
        let state = memory.keep(&path, host);
        assert_eq!((memory.known(), memory.fresh()), (50, 50), "{days} days, back: {back}");
        memory.finish(state);
    }
    // After another boot nobody knows: what is from the future is stale at once, and not immortal.
    let memory = Memory::at(START.minus(DAY * 2));
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
    let memory = Memory::at(START);
    let state = memory.keep(&path, memory.host(None));
    memory.learn("gone.example.com");
    memory.learn("wrong.example.com");
    memory.wait_for_write(&state);
    memory.advance(Duration::from_secs(5));
    memory.deny("gone.example.com");
    assert!(memory.resolver.forget(&key("wrong.example.com")));
    memory.finish(state);
    let after = Memory::at(START.plus(Duration::from_secs(3600)));
    let state = after.keep(&path, after.host(None));
    assert!(after.denies("gone.example.com") && !after.knows("wrong.example.com"));
    after.finish(state);
}

#[test]
fn rows_never_outnumber_the_memory_by_much_in_a_flood_and_the_file_stays_small() {
    let folder = tempfile::tempdir_in(if Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "." }).unwrap();
    let path = folder.path().join("state.redb");
    // A week of churn in steps of twenty minutes: of 2 000 answers of 50 to 3 000 bytes a fifth is learned anew each time, and some are new.
    let memory = Memory::with_room(START, 2_000);
    let state = memory.keep(&path, memory.host(None));
    let mut dice = StdRng::seed_from_u64(8);
    let mut peak = 0;
    for step in 0..7 * 24 * 3_u64 {
        memory.advance(Duration::from_secs(1200));
        for _ in 0..400 {
            let fresh = dice.random_range(0..20) == 0;
            let name = if fresh {
                format!("s{step}-{}.example.com", dice.random_range(0..1000))
            } else {
                format!("n{}.example.com", dice.random_range(0..1900))
            };
            memory.learn_large(&name, dice.random_range(1..180));
        }
        memory.wait_for_write(&state);
        let Persistence::Working { entries, bytes, .. } = state.standing() else { panic!("{:?}", state.standing()) };
        let held = memory.resolver.store().sizes()[0].0;
        assert!(entries <= held + held / 5 + 500, "step {step}: {entries} rows for {held} answers");
        peak = peak.max(bytes);
    }
    memory.finish(state);
    let file = File::open(&path).unwrap();
    let (stored, length) = (file.stored_bytes().unwrap(), file.occupied());
    println!("after a week: {stored} bytes of answers in a file of {length}, at most {peak}");
    assert!(length <= (3 * stored).max(8 << 20), "{length} for {stored}");
    assert!(peak <= (4 * stored).max(10 << 20), "{peak} for {stored}");
}

// --- the process ---------------------------------------------------------------------------------------------------------------

/// A running `holdover serve` on a state file.
struct Sidecar {
    process: Running,
    address: SocketAddr,
}

impl Sidecar {
    #[track_caller]
    fn start(state: &Path, upstream: SocketAddr) -> Self {
        Self::started(state, upstream, |_| {})
    }

    #[track_caller]
    fn started(state: &Path, upstream: SocketAddr, prepare: impl Fn(&mut std::process::Command)) -> Self {
        for _ in 0..5 {
            let address = loopback();
            let mut command = holdover();
            command.args(["serve", "--listen", &address.to_string(), "--upstream", &upstream.to_string(), "--state"]).arg(state);
            command.env("HOLDOVER_STATE_WRITE_EVERY", "100ms").env("HOLDOVER_DRAIN_IDLE", "0s");
            prepare(&mut command);
            let mut process = Running::spawn(&mut command);
            if process.wait_for("ready").is_some() {
                return Self { process, address };
            }
            let log = process.log();
            assert!(log.iter().any(|line| line.contains("in use")), "did not start: {log:#?}");
        }
        panic!("no port stayed free");
    }

    /// Asks for one name; whether there was an address.
    fn knows(&self, name: &str) -> bool {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket.connect(self.address).unwrap();
        socket.send(&query(name, RecordType::A).to_vec().unwrap()).unwrap();
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).expect("an answer");
        let message = Message::from_vec(&buffer[..length]).unwrap();
        message.metadata.response_code == ResponseCode::NoError && !message.answers.is_empty()
    }

    #[track_caller]
    fn expect_all(&self, names: &[String]) {
        let missing: Vec<_> = names.iter().filter(|name| !self.knows(name)).collect();
        assert!(missing.is_empty(), "{} of {} are lost, such as {}\n{:#?}", missing.len(), names.len(), missing[0], self.process.log());
    }

    fn kill(self) {
        self.process.signal(Signal::KILL);
        drop(self.process.finish(PATIENCE));
    }

    fn says(&self, text: &str) -> usize {
        self.process.log().iter().filter(|line| line.contains(text)).count()
    }
}

fn upstream() -> Upstream {
    Upstream::start(|query, _| Reaction::Send(address(query, 60, 7)))
}

/// Where nobody answers.
fn nobody() -> Upstream {
    Upstream::start(|_, _| Reaction::Silence)
}

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
            // All of them together have room.
            if Instant::now() >= end || index == 700 {
                break;
            }
        }
        sidecar.kill();
        // What was learned since the last write is lost; on a busy host a write takes its time.
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
        transaction.open_table(redb::TableDefinition::<&str, u128>::new("about")).unwrap().insert("format", FORMAT + 1).unwrap();
        transaction.commit().unwrap();
    };
    // Ours, cut in the middle.
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
        let sidecar = Sidecar::start(&path, good.address);
        assert!(sidecar.knows("kept.example.com."));
        assert_eq!(sidecar.says("kept aside"), 1, "{:#?}", sidecar.process.log());
        std::thread::sleep(Duration::from_millis(400));
        sidecar.kill();
        let again = Sidecar::start(&path, nobody().address);
        again.expect_all(&["kept.example.com.".to_owned()]);
        assert_eq!(again.says("kept aside"), 0);
        again.kill();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1 + (index + 1).min(3));
    }
    assert_eq!(std::fs::read(folder.path().join("state.redb.aside-1")).unwrap(), vec![b'x'; 100_000], "the first is still what it was");
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
    assert_eq!(second.says("another process has it open"), 1, "{:#?}", second.process.log());
    first.kill();
    assert!(second.process.wait_for("the state file can be used again").is_some());
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(second.says("the state file cannot be used"), 1);
    second.kill();
    let third = Sidecar::start(&path, dead.address);
    third.expect_all(&["first.example.com.".into(), "second.example.com.".into()]);
}

#[test]
fn a_full_disk_costs_persistence_and_all_is_written_when_there_is_room_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let (good, dead) = (upstream(), nobody());
    let mut sidecar = Sidecar::start(&path, good.address);
    let pid = rustix::process::Pid::from_raw(sidecar.process.id() as i32);
    // No file may be longer: to the writer that is a full disk.
    let limit = |bytes| prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
    let before = limit(Some(64 << 10));
    assert_eq!(before.maximum, None, "the limit can be lifted again");
    let names: Vec<String> = (0..2_000).map(|index| format!("f{index}.example.com.")).collect();
    sidecar.expect_all(&names);
    assert!(sidecar.process.wait_for("no room is left").is_some());
    std::thread::sleep(Duration::from_secs(2));
    sidecar.expect_all(&names);
    assert_eq!(sidecar.says("the state file cannot be used"), 1, "{:#?}", sidecar.process.log());
    limit(None);
    assert!(sidecar.process.wait_for("the state file can be used again").is_some());
    sidecar.kill();
    let after = Sidecar::start(&path, dead.address);
    after.expect_all(&names);
}

#[test]
fn a_folder_that_is_read_only_costs_persistence_and_what_lies_in_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let (good, dead) = (upstream(), nobody());
    let names: Vec<String> = (0..50).map(|index| format!("r{index}.example.com.")).collect();
    let first = Sidecar::start(&path, good.address);
    first.expect_all(&names);
    std::thread::sleep(Duration::from_millis(400));
    first.kill();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o444)).unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o555)).unwrap();
    if rustix::process::geteuid().is_root() {
        // Whom permissions do not bind: another user.
        let reachable = holdover().uid_and_run(65534);
        if !reachable {
            eprintln!("SKIPPED a_folder_that_is_read_only: no other user can run the binary where it lies");
            return;
        }
    }
    let sidecar = Sidecar::started(&path, dead.address, |command| {
        if rustix::process::geteuid().is_root() {
            std::os::unix::process::CommandExt::uid(command, 65534);
        }
    });
    sidecar.expect_all(&names);
    assert_eq!(sidecar.says("it may not be written here"), 1, "{:#?}", sidecar.process.log());
}

/// Tries a command as another user.
trait AsAnotherUser {
    fn uid_and_run(&mut self, uid: u32) -> bool;
}

impl AsAnotherUser for std::process::Command {
    fn uid_and_run(&mut self, uid: u32) -> bool {
        std::os::unix::process::CommandExt::uid(self, uid).arg("--version").output().is_ok_and(|out| out.status.success())
    }
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
