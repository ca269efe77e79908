//! The recovery of a fleet: many sidecars behind one upstream that comes back from an outage must
//! not overload it again.
//!
//! Each sidecar is the real resolver in virtual time. The test runs a small fleet.
//! `tests/load/fleet` runs ten thousand sidecars (`FLEET_SIDECARS=10000`), has the result written
//! to the file that `FLEET_OUTPUT` names, and plots it: packets a second after the recovery, as it
//! is, without jitter, and without jitter and budget. A smaller fleet whose clients use all of
//! their names is in [`clients`].

mod clients;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdover::config::settings::Settings;
use holdover::core::answer::ClientTransport;
use holdover::core::routes::Routes;
use holdover::core::time::Timestamp;
use holdover::core::upstream::{Endpoint, UpstreamPolicy};
use holdover::memory::Memory;
use holdover::memory::thread_cache::ThreadCache;
use holdover::resolver::front::{Arrival, Disposition};
use holdover::resolver::ports::{Chance, Clock, PortFuture, TransportError, UpstreamTransport};
use holdover::resolver::{Ports, Resolver};
use holdover::telemetry::tally::{Answered, Tally};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;

/// Sidecars unless `FLEET_SIDECARS` says otherwise.
const SIDECARS: usize = 100;
/// Names that each sidecar has in its cache.
const NAMES: usize = 150;
/// TTL of the names in seconds: all have expired when the upstream comes back.
const TTL: u32 = 30;
/// Queries a second from the clients of each sidecar, so that they use most of its names within
/// half a minute.
const QUERIES: usize = 10;
/// How long the upstream takes for a response.
const QUICK: Duration = Duration::from_millis(2);
/// The ends of four phases in seconds: names are learned, all is well, the upstream is silent, it
/// answers again.
const WARM: u64 = 30;
const WELL: u64 = 60;
const HEALS: u64 = 120;
const END: u64 = 165;
/// Time between two batches of clients' queries.
const STEP: Duration = Duration::from_millis(20);

struct FleetClock(Instant);

impl Clock for FleetClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(1_800_000_000).plus(self.0.elapsed())
    }
}

/// Random numbers of its own for each sidecar, or none, so that all sidecars do everything at the
/// same moment.
enum FleetChance {
    Own(Mutex<SmallRng>),
    None,
}

impl Chance for FleetChance {
    fn number(&self) -> u64 {
        match self {
            Self::Own(dice) => dice.lock().unwrap().random(),
            Self::None => 0,
        }
    }
}

/// The one upstream of all sidecars, which counts the packets of each second.
struct Provider {
    began: Instant,
    silent: AtomicBool,
    arrived: Vec<AtomicU64>,
}

/// The transport to the upstream.
struct Way(Arc<Provider>);

impl UpstreamTransport for Way {
    fn exchange(&self, _: &Endpoint, query: Vec<u8>) -> PortFuture<Result<Vec<u8>, TransportError>> {
        let second = self.0.began.elapsed().as_secs() as usize;
        if let Some(count) = self.0.arrived.get(second) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let silent = self.0.silent.load(Ordering::Relaxed);
        Box::pin(async move {
            if silent {
                return std::future::pending().await;
            }
            tokio::time::sleep(QUICK).await;
            Ok(answer(query, TTL, second as u64))
        })
    }
}

/// A response with an address to any query, which ends in the second in which it was given.
fn answer(mut query: Vec<u8>, ttl: u32, second: u64) -> Vec<u8> {
    let end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
    query.truncate(end);
    query[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    query.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1]);
    query.extend_from_slice(&ttl.to_be_bytes());
    query.extend_from_slice(&[0, 4, 192, 0, 2, u8::try_from(second).unwrap()]);
    query
}

fn query(name: usize) -> Vec<u8> {
    let mut packet = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in [format!("n{name}").as_bytes(), b"example", b"com"] {
        packet.push(label.len() as u8);
        packet.extend_from_slice(label);
    }
    packet.extend_from_slice(&[0, 0, 1, 0, 1]);
    packet
}

/// Whether the sidecars of a fleet have jitter and a packet budget.
#[derive(Clone, Copy)]
struct Manners {
    jitter: bool,
    budget: bool,
}

/// The result of one fleet: packets of each second, and answers that were failures.
struct Story {
    arrived: Vec<u64>,
    failed: u64,
}

impl Story {
    /// The highest number of packets in one second of a span.
    fn peak(&self, seconds: std::ops::Range<u64>) -> u64 {
        self.arrived[seconds.start as usize..seconds.end as usize].iter().copied().max().unwrap()
    }
}

/// Runs one fleet through all phases.
async fn live(sidecars: usize, manners: Manners) -> Story {
    let began = Instant::now();
    let provider = Arc::new(Provider {
        began,
        silent: AtomicBool::new(false),
        arrived: (0..END + 1).map(|_| AtomicU64::new(0)).collect(),
    });
    let mut settings = Settings::standard();
    settings.policy.cache.entries = 200;
    settings.policy.cache.bytes = 1 << 20;
    if !manners.budget {
        settings.policy.budget.per_second = 100_000;
        settings.policy.budget.sweep_per_second = 100_000;
        settings.policy.budget.outage_per_second = 100_000;
        settings.policy.budget.prefetch_percent = 100;
    }
    let upstreams = [UpstreamPolicy::plain("vpc", vec![SocketAddr::from(([192, 0, 2, 53], 53))])];
    let fleet: Vec<Arc<Resolver>> = (0..sidecars)
        .map(|index| {
            let chance = if manners.jitter {
                FleetChance::Own(Mutex::new(SmallRng::seed_from_u64(index as u64)))
            } else {
                FleetChance::None
            };
            let ports = Ports { chance: Arc::new(chance), transport: Arc::new(Way(Arc::clone(&provider))) };
            let memory = Memory::new(&settings.policy, Routes::new(&upstreams), Arc::new(FleetClock(began)));
            Resolver::start(Arc::new(memory), &upstreams, ports)
        })
        .collect();
    let tally = Arc::new(Tally::default());
    let mut dice = SmallRng::seed_from_u64(7);
    let mut learned = 0;
    for step in 0_u64.. {
        let elapsed = began.elapsed();
        if elapsed >= Duration::from_secs(END) {
            break;
        }
        let second = elapsed.as_secs();
        provider.silent.store((WELL..HEALS).contains(&second), Ordering::Relaxed);
        // In the first phase each name is asked once, evenly spread. Afterwards clients ask for
        // random names.
        let whole = sidecars * NAMES;
        let due = if second < WARM {
            whole * (step as usize + 1) / (WARM as usize * 50)
        } else {
            learned + sidecars * QUERIES / 50
        };
        while learned < due {
            let (sidecar, name) = if second < WARM {
                (learned % sidecars, learned / sidecars % NAMES)
            } else {
                (dice.random_range(0..sidecars), dice.random_range(0..NAMES))
            };
            learned += 1;
            ask(&fleet[sidecar], name, &tally);
        }
        tokio::time::sleep(STEP).await;
    }
    for resolver in &fleet {
        resolver.stop();
    }
    Story {
        arrived: provider.arrived.iter().map(|count| count.load(Ordering::Relaxed)).collect(),
        failed: tally.total(Answered::Failed) + tally.total(Answered::CachedFailure),
    }
}

/// Sends one client's query. If it has to wait, it goes on in a task of its own.
fn ask(resolver: &Arc<Resolver>, name: usize, tally: &Arc<Tally>) {
    let packet = query(name);
    let client = SocketAddr::from(([127, 0, 0, 1], 1024 + name as u16));
    let arrival = Arrival { packet: &packet, transport: ClientTransport::Udp, client, now: resolver.now() };
    if let Disposition::Waiting(waiting) = resolver.receive(arrival, tally, &mut ThreadCache::none(), &mut [0; 512]) {
        let (resolver, tally) = (Arc::clone(resolver), Arc::clone(tally));
        tokio::spawn(async move { resolver.complete(&waiting, &tally).await });
    }
}

fn story(sidecars: usize, manners: Manners) -> Story {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(live(sidecars, manners))
}

#[test]
fn a_fleet_does_not_knock_over_the_resolver_that_came_back() {
    let sidecars = std::env::var("FLEET_SIDECARS").map_or(SIDECARS, |count| count.parse().unwrap());
    let kinds =
        [("as it is", true, true), ("without jitter", false, true), ("without jitter and budget", false, false)];
    let stories: Vec<(&str, Story)> =
        kinds.into_iter().map(|(label, jitter, budget)| (label, story(sidecars, Manners { jitter, budget }))).collect();
    let after = |index: usize| stories[index].1.peak(HEALS..END);
    for (label, story) in &stories {
        let (well, silent, healed) = (story.peak(WARM + 10..WELL), story.peak(WELL + 5..HEALS), story.peak(HEALS..END));
        println!(
            "{label}: most packets in a second {well} while well, {silent} in the outage, {healed} after it; {} failed",
            story.failed
        );
    }
    if let Ok(path) = std::env::var("FLEET_OUTPUT") {
        let lines: Vec<String> = stories
            .iter()
            .map(|(label, story)| {
                format!("  {{\"label\": \"{label}\", \"packets\": {:?}}}", &story.arrived[..END as usize])
            })
            .collect();
        let head = format!("\"sidecars\": {sidecars}, \"names\": {NAMES}, \"heals\": {HEALS}, \"silent\": {WELL}");
        std::fs::write(path, format!("{{{head}, \"stories\": [\n{}\n]}}\n", lines.join(",\n"))).unwrap();
    }
    let fleet = sidecars as u64;
    assert!(stories.iter().all(|(_, story)| story.failed == 0), "every name was known");
    // A sidecar sends at most 20 packets a second for the sweep, its clients' queries, and its
    // probes, whatever the other sidecars do.
    assert!(after(0) <= fleet * (20 + QUERIES as u64 + 4), "{} packets in one second from {fleet} sidecars", after(0));
    assert!(after(0) < after(1), "jitter spreads the sweep: {} against {}", after(0), after(1));
    assert!(after(1) * 2 < after(2), "the budget bounds it: {} against {}", after(1), after(2));
    assert!(stories[0].1.peak(WELL + 5..HEALS) <= fleet * 2, "in the outage there are probes alone");
}
