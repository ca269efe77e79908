//! A memory under a clock that the test sets, with a state file beside it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use holdover::adapters::state_file::{Host, StateFile, StateFileOptions, UpstreamStates};
use holdover::config::settings::Settings;
use holdover::core::classify::{Kind, classify};
use holdover::core::entry::Entry;
use holdover::core::key::{Dnssec, Key};
use holdover::core::routes::Routes;
use holdover::core::time::{Clock, Timestamp};
use holdover::memory::Memory;
use holdover::memory::journal::Origin;
use holdover::memory::store::Found;
use holdover::telemetry::state_file::StateFileStatus;

pub const START: Timestamp = Timestamp::from_secs(1_800_000_000);
pub const DAY: Duration = Duration::from_secs(86_400);
/// How long before the start the host was booted.
const UP: Duration = Duration::from_secs(5_000);

struct Hands(AtomicU64);

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// The cache key of a name and type A.
pub fn key(name: &str) -> Key {
    let mut wire = Vec::new();
    for label in name.trim_end_matches('.').split('.') {
        wire.push(label.len() as u8);
        wire.extend(label.as_bytes());
    }
    wire.push(0);
    Key::new(&wire, 1, 1, Dnssec::default())
}

/// A response with this many addresses; with none it is NXDOMAIN with an SOA.
fn response(name: &str, addresses: u16) -> Vec<u8> {
    let key = key(name);
    let (flags, authority) = if addresses == 0 { (0x8183_u16, 1_u16) } else { (0x8180, 0) };
    let mut bytes = vec![0, 0];
    for number in [flags, 1, addresses, authority, 0] {
        bytes.extend(number.to_be_bytes());
    }
    bytes.extend(key.name());
    bytes.extend(key.type_and_class());
    for index in 0..addresses {
        bytes.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, index as u8]);
    }
    if authority == 1 {
        bytes.extend([0xc0, 12, 0, 6, 0, 1, 0, 0, 0, 30, 0, 22, 0, 0]);
        bytes.extend([1_u32, 2, 3, 4, 30].iter().flat_map(|number| number.to_be_bytes()));
    }
    bytes
}

/// A cache entry whose answer arrives at this moment.
pub fn entry(name: &str, addresses: u16, now: Timestamp) -> Entry {
    let bytes = response(name, addresses);
    Entry::remember(&key(name), &bytes, classify(1, &bytes), &Settings::standard().policy, now).unwrap().entry
}

pub struct TestMemory {
    pub memory: Arc<Memory>,
    hands: Arc<Hands>,
    runtime: tokio::runtime::Runtime,
}

impl TestMemory {
    pub fn at(now: Timestamp) -> Self {
        Self::with_room(now, 10_000)
    }

    pub fn with_room(now: Timestamp, entries: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let hands = Arc::new(Hands(AtomicU64::new(now.as_micros())));
        let mut policy = Settings::standard().policy;
        policy.cache.entries = entries;
        let memory = Arc::new(Memory::new(&policy, Routes::new(&[]), Arc::clone(&hands) as _));
        Self { memory, hands, runtime }
    }

    /// The host as this run sees it, all within one boot. `passed` is the time that has really
    /// passed since [`START`], for runs whose wall clock says something else.
    pub fn host(&self, passed: Option<Duration>) -> Host {
        let booted_at = passed.map_or(START.minus(UP), |passed| self.memory.now().minus(passed).minus(UP));
        Host { boot: Some(1), booted_at }
    }

    pub fn keep(&self, path: &Path, host: Host) -> StateFile {
        self.keep_with(path, host, UpstreamStates::none())
    }

    /// Keeps a state file that holds the states of these upstreams, too.
    pub fn keep_with(&self, path: &Path, host: Host, upstreams: UpstreamStates) -> StateFile {
        let options =
            StateFileOptions { path: path.to_owned(), write_every: Duration::from_millis(2), host, upstreams };
        StateFile::start(options, &self.memory).unwrap()
    }

    pub fn finish(&self, state: StateFile) {
        self.runtime.block_on(state.finish(Duration::from_secs(5)));
    }

    pub fn advance(&self, by: Duration) {
        self.hands.0.fetch_add(by.as_micros() as u64, Ordering::SeqCst);
    }

    pub fn learn(&self, name: &str) {
        self.learn_large(name, 1);
    }

    pub fn learn_large(&self, name: &str, addresses: u16) {
        let _ = self.memory.restore(&key(name), entry(name, addresses, self.memory.now()), 0, Origin::Upstream);
    }

    pub fn deny(&self, name: &str) {
        assert!(self.memory.restore(&key(name), entry(name, 0, self.memory.now()), 0, Origin::Upstream));
    }

    /// Waits until everything that was learned at the clock's present moment is in the file. Each
    /// moment can be waited for only once.
    pub fn wait_for_write(&self, state: &StateFile) {
        let end = Instant::now() + Duration::from_secs(20);
        let now = self.memory.now();
        while !matches!(state.status(), StateFileStatus::Working { last_write: Some(at), .. } if at >= now) {
            assert!(Instant::now() < end, "{:?}", state.status());
            std::thread::sleep(Duration::from_millis(1));
        }
        // What was learned during one write is in the file after the next one.
        std::thread::sleep(Duration::from_millis(10));
    }

    /// Waits until the file is open and holds `answers` answers.
    pub fn wait_until_open(&self, state: &StateFile, answers: usize) {
        let end = Instant::now() + Duration::from_secs(20);
        while !matches!(state.status(), StateFileStatus::Working { entries, .. } if entries == answers as u64) {
            assert!(Instant::now() < end, "{:?}", state.status());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn known(&self) -> usize {
        let now = self.memory.now();
        self.memory.store().answers().filter(|cached| cached.entry.is_servable(now)).count()
    }

    pub fn fresh(&self) -> usize {
        let now = self.memory.now();
        self.memory.store().answers().filter(|cached| cached.is_fresh(now)).count()
    }

    fn kind(&self, name: &str) -> Option<Kind> {
        match self.memory.store().find(&key(name), self.memory.now()) {
            Found::Answer(cached) => Some(cached.entry.kind),
            Found::Failure(_) | Found::Nothing => None,
        }
    }

    pub fn knows(&self, name: &str) -> bool {
        self.kind(name).is_some()
    }

    pub fn denies(&self, name: &str) -> bool {
        self.kind(name) == Some(Kind::NxDomain)
    }
}
