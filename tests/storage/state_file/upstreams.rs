//! The states of the upstreams in the state file: they survive a crash and a clock that is set, and
//! neither an older file nor a broken row costs anything but themselves.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdover::adapters::state_file::database::StateDatabase;
use holdover::adapters::state_file::{StateFile, UpstreamStates};
use holdover::core::health::UpstreamState;
use holdover::core::time::Timestamp;
use holdover::core::upstream::Transport;
use holdover::core::upstream_record::RememberedUpstream;
use redb::{ReadableDatabase, ReadableTableMetadata};

use super::file::HOST;
use super::memory::{DAY, START, TestMemory, entry, key};
use crate::support::waiting::eventually;

const UPSTREAMS: redb::TableDefinition<'static, &'static [u8], &'static [u8]> = redb::TableDefinition::new("upstreams");
const PATIENCE: Duration = Duration::from_secs(20);

fn remembered(address: &str, state: UpstreamState, since: Timestamp) -> RememberedUpstream {
    RememberedUpstream {
        address: address.parse().unwrap(),
        transport: Transport::Udp,
        state,
        since,
        p99: Some(Duration::from_millis(3)),
        saved: since,
    }
}

/// The upstreams of one run: their present states, and what the file said of them at the start.
#[derive(Clone, Default)]
struct TestUpstreams {
    present: Arc<Mutex<Vec<RememberedUpstream>>>,
    resumed: Arc<Mutex<Vec<RememberedUpstream>>>,
}

impl TestUpstreams {
    fn set(&self, present: &[RememberedUpstream]) {
        *self.present.lock().unwrap() = present.to_vec();
    }

    fn resumed(&self) -> Vec<RememberedUpstream> {
        self.resumed.lock().unwrap().clone()
    }

    fn keep(&self, path: &Path, memory: &TestMemory) -> StateFile {
        let own = self.clone();
        let told = self.clone();
        let upstreams = UpstreamStates {
            present: Box::new(move || own.present.lock().unwrap().clone()),
            resume: Box::new(move |states| told.resumed.lock().unwrap().extend(states)),
        };
        memory.keep_with(path, memory.host(None), upstreams)
    }
}

/// What the file says, read from a copy as a crash at this moment would leave it; nothing when the
/// copy was made in the middle of a write, over which redb may panic.
fn after_a_crash(path: &Path) -> Vec<RememberedUpstream> {
    let copy = path.with_extension("copy");
    let read = || std::fs::copy(path, &copy).ok().and_then(|_| StateDatabase::look(&copy).ok()?.upstreams().ok());
    std::panic::catch_unwind(read).ok().flatten().unwrap_or_default()
}

#[test]
fn what_is_known_of_the_upstreams_survives_a_crash_and_those_that_are_gone_are_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let (memory, upstreams) = (TestMemory::at(START), TestUpstreams::default());
    let state = upstreams.keep(&path, &memory);
    let healthy = remembered("192.0.2.53:53", UpstreamState::Healthy, START);
    let other = remembered("[2001:db8::53]:53", UpstreamState::Impaired, START);
    upstreams.set(&[healthy, other]);
    memory.learn("www.example.com");
    eventually("both are written", PATIENCE, || after_a_crash(&path).len() == 2);

    // One goes down and the other is not configured any more; no name is learned meanwhile.
    memory.advance(Duration::from_secs(10));
    let down = remembered("192.0.2.53:53", UpstreamState::Down, START.plus(Duration::from_secs(9)));
    upstreams.set(&[down]);
    let expected = vec![RememberedUpstream { saved: memory.memory.now(), ..down }];
    eventually("the change is written", PATIENCE, || after_a_crash(&path) == expected);
    std::fs::copy(&path, folder.path().join("crashed.redb")).unwrap();
    memory.finish(state);

    // The next run knows it before the state file has started, together with the answers.
    let (after, resumed) = (TestMemory::at(START.plus(Duration::from_secs(20))), TestUpstreams::default());
    let state = resumed.keep(&folder.path().join("crashed.redb"), &after);
    assert_eq!(resumed.resumed(), expected);
    assert!(after.knows("www.example.com"));
    // It knows no upstream of its own yet, and that is no reason to forget those of the file.
    after.finish(state);
    let file = StateDatabase::open(&folder.path().join("crashed.redb")).unwrap();
    assert_eq!(file.upstreams().unwrap(), expected);
}

#[test]
fn an_ordinary_end_saves_how_things_stand_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let (memory, upstreams) = (TestMemory::at(START), TestUpstreams::default());
    let state = upstreams.keep(&path, &memory);
    let healthy = remembered("192.0.2.53:53", UpstreamState::Healthy, START);
    upstreams.set(&[healthy]);
    eventually("it is written", PATIENCE, || after_a_crash(&path).len() == 1);
    memory.advance(Duration::from_secs(3600));
    memory.finish(state);
    let saved = RememberedUpstream { saved: START.plus(Duration::from_secs(3600)), ..healthy };
    assert_eq!(StateDatabase::open(&path).unwrap().upstreams().unwrap(), [saved]);
}

#[test]
fn a_clock_that_was_set_moves_their_times_and_none_lies_in_the_future() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let (memory, upstreams) = (TestMemory::at(START), TestUpstreams::default());
    let down = remembered("192.0.2.53:53", UpstreamState::Down, START.minus(Duration::from_secs(60)));
    upstreams.set(&[RememberedUpstream { saved: START, ..down }]);
    let state = upstreams.keep(&path, &memory);
    memory.finish(state);
    let resume = |now: Timestamp, host| {
        let copy = folder.path().join("copy.redb");
        std::fs::copy(&path, &copy).unwrap();
        let (memory, upstreams) = (TestMemory::at(now), TestUpstreams::default());
        let host = if host { memory.host(Some(Duration::from_secs(5))) } else { HOST };
        let own = upstreams.clone();
        let states = UpstreamStates {
            resume: Box::new(move |states| own.resumed.lock().unwrap().extend(states)),
            ..UpstreamStates::none()
        };
        memory.finish(memory.keep_with(&copy, host, states));
        let [found] = upstreams.resumed()[..] else { panic!("{:?}", upstreams.resumed()) };
        (now.since(found.since), now.since(found.saved), found.since <= found.saved && found.saved <= now)
    };
    let seconds = Duration::from_secs;
    assert_eq!(resume(START.plus(DAY), true), (seconds(65), seconds(5), true), "set ahead by a day");
    assert_eq!(resume(START.minus(DAY), true), (seconds(65), seconds(5), true), "set back by a day");
    assert_eq!(resume(START.minus(DAY), false), (seconds(0), seconds(0), true), "in another boot");
}

#[test]
fn a_file_without_their_table_is_read_and_gets_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    {
        let mut file = StateDatabase::open(&path).unwrap();
        file.write(&HOST, |rows| rows.put(&key("old.example.com"), &entry("old.example.com", 1, START), 9)).unwrap();
        assert_eq!(file.upstreams().unwrap(), []);
    }
    let (memory, upstreams) = (TestMemory::at(START), TestUpstreams::default());
    upstreams.set(&[remembered("192.0.2.53:53", UpstreamState::Healthy, START)]);
    let state = upstreams.keep(&path, &memory);
    assert!(memory.knows("old.example.com") && upstreams.resumed().is_empty());
    memory.finish(state);
    assert_eq!(StateDatabase::open(&path).unwrap().upstreams().unwrap().len(), 1);
}

#[test]
fn a_broken_row_is_dropped_and_nothing_else_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let (good, other) = (
        remembered("192.0.2.53:53", UpstreamState::Down, START),
        remembered("192.0.2.54:53", UpstreamState::Impaired, START),
    );
    {
        let mut file = StateDatabase::open(&path).unwrap();
        file.write(&HOST, |rows| {
            rows.put(&key("www.example.com"), &entry("www.example.com", 1, START), 9)?;
            rows.put_upstreams(&[good, other])
        })
        .unwrap();
    }
    let database = redb::Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut table = transaction.open_table(UPSTREAMS).unwrap();
        table.insert(other.key().as_slice(), &[1, 9, 0][..]).unwrap();
        table.insert(&b"\x09nonsense"[..], good.value().as_slice()).unwrap();
        table.insert(&b""[..], &b""[..]).unwrap();
    }
    transaction.commit().unwrap();
    drop(database);

    let (memory, upstreams) = (TestMemory::at(START), TestUpstreams::default());
    upstreams.set(&[good]);
    let state = upstreams.keep(&path, &memory);
    assert_eq!(upstreams.resumed(), [good]);
    assert!(memory.knows("www.example.com"));
    memory.finish(state);
    let database = redb::Database::open(&path).unwrap();
    let left = database.begin_read().unwrap().open_table(UPSTREAMS).unwrap().len().unwrap();
    assert_eq!(left, 1, "broken rows are removed from the file");
}
