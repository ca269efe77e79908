//! The flood: while every packet upstream is lost, a client asks for thousands of names per second
//! that nobody has ever asked for.
//!
//! The flood meets a full cache: before the drill begins, more names are asked for than fit, so
//! that whatever the flood leaves in the cache has to push something out. A few names are critical.
//! They are configured, no client asks for them before the fault, and all of them must be answered
//! as soon as clients do.
//!
//! The flood is sent by a thread of its own that does not wait for responses, as a broken client
//! does; responses are only counted.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::time::Instant;

use super::client::{self, PreparedQuery};
use super::demand::QuestionGroup;
use super::measure::{ClientResults, DrillPhase, Half, Moment};
use super::options::DrillOptions;
use super::promise::CacheBound;
use super::zone::{self, AddressType, AppName, ZoneQuestion};
use super::zone_clock::ZoneClock;
use crate::config::limits;
use crate::config::settings::Settings;
use crate::core::key::{Dnssec, Key};
use crate::core::policy::CriticalName;
use crate::core::upstream_query::Extension;

/// Number of critical names.
const CRITICAL_NAMES: usize = 8;
/// Queries per second for critical names during the fault.
const CRITICAL_PER_SECOND: u32 = 50;
/// Size of the cache, in percent of the questions that ordinary clients ask: small enough to be
/// full.
const CACHE_PERCENT: usize = 150;
/// Names per second with which the cache is filled; below the packet budget of the sidecar.
const FILL_PER_SECOND: u32 = 700;
/// Most names that fill the cache: one minute of filling.
const FILL_MAX: usize = 42_000;
/// Number of the first name that only fills the cache, far beyond those that clients ask for.
const FILL_FROM: usize = 1_000_000;
/// How often the flood's thread looks at the clock.
const TICK: Duration = Duration::from_millis(1);
/// Most queries that the flood's thread sends at once after it was delayed.
const BURST_MAX: u64 = 1_000;
/// How long the flood's thread waits for the last responses.
const LAST_RESPONSES: Duration = Duration::from_secs(3);
/// Largest response that is read, in bytes; of the flood only the number of responses matters.
const RESPONSE_MAX: usize = 512;

/// Measurements of a flood.
#[derive(Debug, Default)]
pub struct FloodResults {
    /// Number of queries that were sent.
    pub sent: u64,
    /// Number of responses that came, of any kind.
    pub answered: u64,
    /// Time for which the flood was sent.
    pub lasted: Duration,
    /// Results of the clients that ask for critical names; empty if another resolver is tested,
    /// because only holdover has critical names.
    pub critical: ClientResults,
    /// Resident memory of the whole process just before the fault, in bytes.
    pub resident_before: u64,
    /// Largest resident memory of the whole process during the fault, in bytes.
    pub resident_peak: u64,
    /// Positive answers in the cache just before the fault; 0 if another resolver is tested.
    pub entries_before: u64,
    /// Positive answers in the cache after the fault; 0 if another resolver is tested.
    pub entries_after: u64,
}

impl FloodResults {
    /// Average number of queries that were sent per second.
    #[must_use]
    pub fn per_second(&self) -> u64 {
        let millis = u64::try_from(self.lasted.as_millis()).unwrap_or(u64::MAX).max(1);
        self.sent.saturating_mul(1000) / millis
    }

    /// Whether the resolver under test is part of this process, so that its cache and its memory
    /// could be measured.
    #[must_use]
    pub const fn sees_inside(&self) -> bool {
        self.entries_before > 0
    }
}

/// Makes the sidecar's cache so small that it is full, and configures the critical names.
pub(super) fn prepare(options: &DrillOptions, settings: &mut Settings) {
    settings.policy.cache.entries = cache_bound(options).entries;
    settings.policy.critical = critical_names(options)
        .map(|name| CriticalName {
            name: Key::new(&client::wire_name(&name), AddressType::A.code(), 1, Dnssec::default()).name().into(),
            types: AddressType::ALL.map(AddressType::code).to_vec(),
            max_age: limits::CRITICAL_MAX_AGE.default,
        })
        .collect();
}

/// Most answers that the sidecar's cache may hold in the scenario flood.
pub(super) fn cache_bound(options: &DrillOptions) -> CacheBound {
    let questions: usize = (0..options.names).map(|index| zone::questions(AppName::public(index)).len()).sum();
    let entries = u64::try_from(questions * CACHE_PERCENT / 100).unwrap_or(u64::MAX);
    let critical = CRITICAL_NAMES * AddressType::ALL.len();
    CacheBound {
        entries: entries.clamp(limits::CACHE_ENTRIES.min, limits::CACHE_ENTRIES.max),
        critical: u64::try_from(critical).unwrap_or(u64::MAX),
    }
}

/// The critical names: those after the last name that ordinary clients ask for.
fn critical_names(options: &DrillOptions) -> impl Iterator<Item = String> {
    (options.names..options.names + CRITICAL_NAMES).map(|index| AppName::public(index).text())
}

/// A query for the IPv4 address of a name; the message ID is the lower half of `nth`.
fn query(name: &str, nth: u64) -> Vec<u8> {
    let [.., high, low] = nth.to_be_bytes();
    client::with_id(client::query(name, AddressType::A, Extension::Edns), u16::from_be_bytes([high, low]))
}

/// Asks the resolver for half as many names again as its cache may hold, once each.
pub(super) async fn fill(options: &DrillOptions, resolver: SocketAddr) -> std::io::Result<()> {
    let socket = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    socket.connect(resolver).await?;
    let mut pace = tokio::time::interval(Duration::from_secs(1) / FILL_PER_SECOND);
    let count = usize::try_from(cache_bound(options).entries).unwrap_or(FILL_MAX).saturating_mul(3) / 2;
    let mut response = [0; RESPONSE_MAX];
    for index in 0..count.min(FILL_MAX) {
        pace.tick().await;
        // Every tenth name of the zone has plain addresses: no CNAMEs and no NODATA.
        let name = AppName::public(FILL_FROM + index * 10).text();
        socket.send(&query(&name, u64::try_from(index).unwrap_or_default())).await?;
        while socket.try_recv(&mut response).is_ok() {}
    }
    Ok(())
}

/// Asks for the critical names in turn until the fault, whose length is `fault`, is over. No client
/// has asked for these names before. If another resolver is tested, this only waits for the end of
/// the fault.
pub(super) async fn ask_for_critical(
    options: &DrillOptions,
    resolver: SocketAddr,
    clock: &ZoneClock,
    fault: Duration,
) -> ClientResults {
    // Only holdover has critical names, so another resolver is not asked. The flood lasts until
    // this function returns, so it must not return early.
    let mut results = ClientResults::default();
    if options.target.is_some() {
        tokio::time::sleep(fault).await;
        return results;
    }

    // Ask one question at a time, at an even pace.
    let queries: Vec<PreparedQuery> = critical_names(options)
        .flat_map(|name| AddressType::ALL.map(|rtype| ZoneQuestion::new(name.clone(), rtype)))
        .map(|question| PreparedQuery::new(question, Extension::Edns))
        .collect();
    let began = Instant::now();
    let mut pace = tokio::time::interval(Duration::from_secs(1) / CRITICAL_PER_SECOND);
    for (nth, query) in queries.iter().cycle().enumerate() {
        let due = pace.tick().await;
        if began.elapsed() >= fault {
            break;
        }
        let id = u16::try_from(nth % 60_000).unwrap_or_default();
        let outcome = query.look_up(resolver, id, clock).await;
        let moment = Moment { phase: DrillPhase::Fault, half: Half::First, into: began.elapsed() };
        results.add(moment, QuestionGroup::Known, outcome, due.elapsed());
    }
    results
}

/// A flood that is under way, sent by a thread of its own.
pub(super) struct Flood {
    /// Set to true to end the flood.
    stop: Arc<AtomicBool>,
    counts: Arc<FloodCounts>,
    began: Instant,
    /// Time for which the flood was sent; zero until it has ended.
    lasted: Duration,
    thread: JoinHandle<()>,
}

/// Counts of a flood that its thread keeps.
#[derive(Default)]
struct FloodCounts {
    sent: AtomicU64,
    answered: AtomicU64,
}

impl Flood {
    /// Begins to send `per_second` queries per second. The seed makes the names differ from those
    /// of other drills, which a resolver under test may still have in its cache.
    pub(super) fn start(resolver: SocketAddr, per_second: u32, seed: u64) -> std::io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(resolver)?;
        socket.set_nonblocking(true)?;
        let (stop, counts) = (Arc::new(AtomicBool::new(false)), Arc::new(FloodCounts::default()));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&counts));
        let began = Instant::now();
        let send = move || send_until_stopped(&socket, per_second, seed, &stopped, &counted);
        let thread = std::thread::Builder::new().name("drill-flood".into()).spawn(send)?;
        Ok(Self { stop, counts, began, lasted: Duration::ZERO, thread })
    }

    /// Ends the flood; its thread goes on counting responses for a moment.
    pub(super) fn end(&mut self) {
        self.lasted = self.began.elapsed();
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Waits for the last responses; gives the measurements of the flood itself: the queries that
    /// were sent, the responses, and the time.
    pub(super) fn finish(self) -> FloodResults {
        let _ = self.thread.join();
        FloodResults {
            sent: self.counts.sent.load(Ordering::Relaxed),
            answered: self.counts.answered.load(Ordering::Relaxed),
            lasted: self.lasted,
            ..FloodResults::default()
        }
    }
}

/// Sends queries until `stop` is set, and counts responses until all have come or
/// [`LAST_RESPONSES`] is over.
fn send_until_stopped(socket: &UdpSocket, per_second: u32, seed: u64, stop: &AtomicBool, counts: &FloodCounts) {
    let began = Instant::now();
    let mut response = [0; RESPONSE_MAX];
    let mut count_responses = || {
        while socket.recv(&mut response).is_ok() {
            counts.answered.fetch_add(1, Ordering::Relaxed);
        }
    };

    // Send all queries that are due, then count the responses that have come.
    let mut count = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or_default();
        let due = millis.saturating_mul(u64::from(per_second)) / 1000;
        // After a long delay the queries that were due are skipped instead of sent all at once.
        count = count.max(due.saturating_sub(BURST_MAX));
        while count < due {
            let query = query(&format!("x{count}-{seed}.flood.{}", zone::DOMAIN), count);
            counts.sent.fetch_add(u64::from(socket.send(&query).is_ok()), Ordering::Relaxed);
            count += 1;
        }
        count_responses();
        std::thread::sleep(TICK);
    }

    // Wait for the last responses.
    let until = Instant::now() + LAST_RESPONSES;
    while Instant::now() < until && counts.answered.load(Ordering::Relaxed) < counts.sent.load(Ordering::Relaxed) {
        count_responses();
        std::thread::sleep(TICK);
    }
}

/// Resident memory of this process, in bytes (`proc_pid_status(5)`); 0 where there is no such file.
pub(super) fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let kilobytes = line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).unwrap_or_default();
    kilobytes.saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_small_and_no_ordinary_client_asks_for_critical_names() {
        let options = DrillOptions { names: 300, ..DrillOptions::default() };
        let mut settings = Settings::standard();
        prepare(&options, &mut settings);
        assert_eq!(settings.policy.cache.entries, 945);
        assert_eq!(cache_bound(&options).critical, 16);
        assert_eq!(settings.policy.critical.len(), CRITICAL_NAMES);
        assert_eq!(&*settings.policy.critical[0].name, b"\x06app300\x05drill\x04test\x00");
        assert!(matches!(
            zone::expected_answer(&AppName::public(FILL_FROM).text(), AddressType::A),
            zone::ExpectedAnswer::Address { .. }
        ));
    }

    #[test]
    fn resident_memory_is_read() {
        assert!((1 << 20..1 << 40).contains(&resident()), "{}", resident());
    }

    #[test]
    fn a_flood_sends_unique_names_at_its_pace_and_counts_responses() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut flood = Flood::start(server.local_addr().unwrap(), 1_000, 7).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        let mut packet = [0; 512];
        for _ in 0..200 {
            let (length, client) = server.recv_from(&mut packet).unwrap();
            seen.insert(packet[12..length].to_vec());
            server.send_to(&packet[..length], client).unwrap();
        }
        flood.end();
        let results = flood.finish();
        assert_eq!(seen.len(), 200);
        assert!(results.sent >= 200 && results.answered == 200, "{results:?}");
    }
}
