//! The flood: while every packet upstream is lost, somebody asks for names that nobody has ever
//! asked for, thousands a second.
//!
//! It strikes a cache that is full: before the drill begins more names are asked for than fit, so
//! that whatever the flood leaves behind has to push something out. A few names are critical: they
//! are configured, never asked for before the fault, and must be there when they are. The flood is
//! sent by a thread of its own that waits for no answer, as a broken client does; answers are
//! counted as they come.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::time::Instant;

use super::client::{Outcome, Prepared};
use super::measure::{Column, Moment, Phase};
use super::{Options, zone};
use crate::config::limits;
use crate::config::settings::Settings;
use crate::core::key::{Dnssec, Key};
use crate::core::policy::CriticalName;
use crate::core::upstream_query::{self, Extension};

/// Names that are critical in this drill.
const CRITICAL_NAMES: usize = 8;
/// Questions for them a second, during the fault.
const CRITICAL_PER_SECOND: u32 = 50;
/// Room in the cache beyond the names of the drill, in percent of their questions: little, so that
/// it is full.
const ROOM_PERCENT: usize = 150;
/// Names a second with which the cache is filled; below the packet budget.
const FILL_PER_SECOND: u32 = 700;
/// Names that fill the cache at the most: a minute's worth.
const FILL_MAX: usize = 42_000;
/// The first name that only fills the cache.
const FILL_FROM: usize = 1_000_000;
/// How often the flood's thread looks at the clock.
const TICK: Duration = Duration::from_millis(1);
/// Queries that it sends in one go at the most, should it come late.
const BURST_MAX: u64 = 1_000;
/// How long it waits for the last answers.
const LAST_ANSWERS: Duration = Duration::from_secs(3);
/// TYPE A and AAAA.
const TYPES: [u16; 2] = [1, 28];

/// What came of the flood.
#[derive(Debug, Default)]
pub struct Flooded {
    /// Queries sent.
    pub sent: u64,
    /// Answers that came, of any kind.
    pub answered: u64,
    /// For how long.
    pub lasted: Duration,
    /// What clients got that asked for critical names; none were asked for where another resolver
    /// is tested.
    pub critical: Column,
    /// Resident memory of the whole drill just before the fault, in bytes, and the most during it.
    pub resident: [u64; 2],
    /// Answers in the cache just before the fault, and after it.
    pub entries: [u64; 2],
    /// Answers that the cache may hold, critical ones beside it.
    pub entries_max: u64,
}

impl Flooded {
    /// Queries a second.
    #[must_use]
    pub fn per_second(&self) -> u64 {
        let millis = u64::try_from(self.lasted.as_millis()).unwrap_or(u64::MAX).max(1);
        self.sent.saturating_mul(1000) / millis
    }
}

/// The questions of one drill's ordinary names.
fn questions(options: &Options) -> usize {
    (0..options.names).map(|index| zone::questions(index).len()).sum()
}

/// Makes the cache so small that it is full, and names what is critical.
pub(super) fn prepare(options: &Options, settings: &mut Settings) {
    settings.policy.cache.entries = entries_max(options);
    settings.policy.critical = critical_names(options)
        .map(|name| CriticalName {
            name: Key::new(&wire(&name), 1, 1, Dnssec::default()).name().into(),
            types: TYPES.to_vec(),
            max_age: limits::CRITICAL_MAX_AGE.default,
        })
        .collect();
}

/// Answers that the cache may hold.
pub(super) fn entries_max(options: &Options) -> u64 {
    let entries = u64::try_from(questions(options) * ROOM_PERCENT / 100).unwrap_or(u64::MAX);
    entries.clamp(limits::CACHE_ENTRIES.min, limits::CACHE_ENTRIES.max)
}

/// The critical names; no ordinary load asks for them.
fn critical_names(options: &Options) -> impl Iterator<Item = String> {
    (options.names..options.names + CRITICAL_NAMES).map(|index| format!("app{index}.{}", zone::DOMAIN))
}

/// A name in wire form.
fn wire(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.') {
        out.push(u8::try_from(label.len()).unwrap_or_default());
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}

/// The query for an address of a name.
fn query(name: &str, id: u64) -> Vec<u8> {
    let [.., high, low] = id.to_be_bytes();
    upstream_query::write(
        &Key::new(&wire(name), 1, 1, Dnssec::default()),
        u16::from_be_bytes([high, low]),
        Extension::Edns,
    )
}

/// Asks for more names than the cache holds, once each.
pub(super) async fn fill(options: &Options, server: SocketAddr) -> std::io::Result<()> {
    let socket = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    socket.connect(server).await?;
    let mut pace = tokio::time::interval(Duration::from_secs(1) / FILL_PER_SECOND);
    let count = usize::try_from(entries_max(options)).unwrap_or(FILL_MAX).saturating_mul(3) / 2;
    let mut answer = [0; 512];
    for index in 0..count.min(FILL_MAX) {
        pace.tick().await;
        // Every tenth kind of name has an address and nothing special.
        let name = format!("app{}.{}", FILL_FROM + index * 10, zone::DOMAIN);
        socket.send(&query(&name, u64::try_from(index).unwrap_or_default())).await?;
        while socket.try_recv(&mut answer).is_ok() {}
    }
    Ok(())
}

/// Asks for the critical names, one after the other, until the fault is over; nobody has asked for
/// them before.
pub(super) async fn ask_for_critical(
    options: &Options,
    server: SocketAddr,
    zone_began: Instant,
    fault: Duration,
) -> Column {
    let mut column = Column::default();
    if options.target.is_some() {
        return column;
    }
    let prepared: Vec<Prepared> = critical_names(options)
        .flat_map(|name| [zone::Type::A, zone::Type::Aaaa].map(|rtype| (name.clone(), rtype)))
        .map(|(name, rtype)| {
            Prepared::new(zone::Question { truth: zone::truth(&name, rtype), name, rtype }, Extension::Edns)
        })
        .collect();
    let began = Instant::now();
    let mut pace = tokio::time::interval(Duration::from_secs(1) / CRITICAL_PER_SECOND);
    for (id, question) in prepared.iter().cycle().enumerate() {
        let due = pace.tick().await;
        if began.elapsed() >= fault {
            break;
        }
        let id = u16::try_from(id % 60_000).unwrap_or_default();
        let outcome: Outcome = question.look_up(server, id, zone_began).await;
        column.add(Moment { phase: Phase::Fault, into: began.elapsed() }, outcome, due.elapsed());
    }
    column
}

/// A flood under way.
pub(super) struct Flood {
    /// Set to end it.
    stop: Arc<AtomicBool>,
    /// Queries sent, and answers.
    counts: Arc<[AtomicU64; 2]>,
    /// When it began.
    began: Instant,
    /// How long it lasted, once it has ended.
    lasted: Duration,
    /// Its thread.
    thread: JoinHandle<()>,
}

impl Flood {
    /// Lets it begin, at so many queries a second.
    pub(super) fn start(server: SocketAddr, per_second: u32, seed: u64) -> std::io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(server)?;
        socket.set_nonblocking(true)?;
        let (stop, counts) = (Arc::new(AtomicBool::new(false)), Arc::new([const { AtomicU64::new(0) }; 2]));
        let (ended, counted) = (Arc::clone(&stop), Arc::clone(&counts));
        let began = Instant::now();
        let send = move || pour(&socket, per_second, seed, &ended, &counted);
        let thread = std::thread::Builder::new().name("drill-flood".into()).spawn(send)?;
        Ok(Self { stop, counts, began, lasted: Duration::ZERO, thread })
    }

    /// Sends no more.
    pub(super) fn end(&mut self) {
        self.lasted = self.began.elapsed();
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Waits for the last answers; gives what came of it.
    pub(super) fn finish(self) -> Flooded {
        let _ = self.thread.join();
        let lasted = self.lasted;
        let [sent, answered] = self.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        Flooded { sent, answered, lasted, ..Flooded::default() }
    }
}

/// Sends until told to stop, and counts what comes back.
fn pour(socket: &UdpSocket, per_second: u32, seed: u64, stop: &AtomicBool, [sent, answered]: &[AtomicU64; 2]) {
    let began = Instant::now();
    let mut answer = [0; 512];
    let mut drain = || {
        while socket.recv(&mut answer).is_ok() {
            answered.fetch_add(1, Ordering::Relaxed);
        }
    };
    let mut count = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or_default();
        let due = millis.saturating_mul(u64::from(per_second)) / 1000;
        // What it cannot send in time is not sent later all at once.
        count = count.max(due.saturating_sub(BURST_MAX));
        while count < due {
            let query = query(&format!("x{count}-{seed}.flood.{}", zone::DOMAIN), count);
            sent.fetch_add(u64::from(socket.send(&query).is_ok()), Ordering::Relaxed);
            count += 1;
        }
        drain();
        std::thread::sleep(TICK);
    }
    let until = Instant::now() + LAST_ANSWERS;
    while Instant::now() < until && answered.load(Ordering::Relaxed) < sent.load(Ordering::Relaxed) {
        drain();
        std::thread::sleep(TICK);
    }
}

/// Resident memory of this process, in bytes (proc_pid_status(5)); 0 where there is no such file.
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
    fn the_cache_is_smaller_than_what_is_asked_for_and_critical_names_are_nobody_elses() {
        let options = Options { names: 300, ..Options::default() };
        let mut settings = Settings::standard();
        prepare(&options, &mut settings);
        assert_eq!(settings.policy.cache.entries, 945);
        assert_eq!(settings.policy.critical.len(), CRITICAL_NAMES);
        assert_eq!(&*settings.policy.critical[0].name, b"\x06app300\x05drill\x04test\x00");
        assert!(matches!(
            zone::truth(&format!("app{FILL_FROM}.{}", zone::DOMAIN), zone::Type::A),
            zone::Truth::Address { .. }
        ));
    }

    #[test]
    fn resident_memory_is_read() {
        assert!((1 << 20..1 << 40).contains(&resident()), "{}", resident());
    }

    #[test]
    fn a_flood_sends_unique_names_at_its_pace_and_counts_answers() {
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
        let flooded = flood.finish();
        assert_eq!(seen.len(), 200);
        assert!(flooded.sent >= 200 && flooded.answered == 200, "{flooded:?}");
    }
}
