//! A resolver in a scripted world: the clock stands still until it is set, and the upstream answers
//! without a socket.
//!
//! Everything that has to wait runs on the world's own runtime, and only inside calls of the world.
//! Between them nothing runs beside the caller, so what is measured is the caller's own work. The
//! runtime's timers fire as soon as nothing else is left to do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use holdover::config::settings::Settings;
use holdover::core::answer::{ClientTransport, UDP_MAX};
use holdover::core::decision::Availability;
use holdover::core::routes::Routes;
use holdover::core::time::Timestamp;
use holdover::core::upstream::{Endpoint, GroupId, UpstreamPolicy};
use holdover::memory::Memory;
use holdover::memory::thread_cache::ThreadCache;
use holdover::resolver::front::{Arrival, Disposition};
use holdover::resolver::ports::{Chance, Clock, PortFuture, TransportError, UpstreamTransport};
use holdover::resolver::{Ports, Resolver};
use holdover::telemetry::tally::{Answered, Tally};
use tokio::runtime::Runtime;

/// TTL of every answer of the upstream, in seconds.
pub const TTL: u32 = 300;
/// The client of all queries.
const CLIENT: ([u8; 4], u16) = ([127, 0, 0, 1], 40_000);
/// Microseconds between two queries that may have to wait: fewer would spend the budget of packets
/// upstream.
const BETWEEN: u64 = 5_000;
/// Queries after which an upstream that refuses everything must count as down.
const DOWN_WITHIN: usize = 64;

/// A clock that is set by hand.
struct StillClock(AtomicU64);

impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::Relaxed))
    }
}

/// Numbers that are different every time and the same in every run.
struct Counting(AtomicU64);

impl Chance for Counting {
    fn number(&self) -> u64 {
        self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
    }
}

/// An upstream without a socket: SERVFAIL for names that begin with `fail`, an address for all
/// others; nothing while it is down.
struct Scripted {
    /// Whether it refuses everything.
    down: AtomicBool,
}

impl UpstreamTransport for Scripted {
    fn exchange(&self, _: &Endpoint, query: Vec<u8>) -> PortFuture<Result<Vec<u8>, TransportError>> {
        let response =
            if self.down.load(Ordering::Relaxed) { Err(TransportError::Refused) } else { Ok(respond(&query)) };
        Box::pin(async move { response })
    }
}

/// The upstream's response to a query.
fn respond(query: &[u8]) -> Vec<u8> {
    let name_end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
    let mut response = query[..name_end + 4].to_vec();
    let (failing, denied) = (query[13..].starts_with(b"fail"), query[13..].starts_with(b"denied"));
    let (rcode, answers, authorities) = match (failing, denied) {
        (true, _) => (2, 0, 0),
        (_, true) => (3, 0, 1),
        _ => (0, 1, 0),
    };
    response[2..12].copy_from_slice(&[0x81, 0x80 | rcode, 0, 1, 0, answers, 0, authorities, 0, 0]);
    if denied {
        // An SOA of the root, whose MINIMUM is the TTL.
        response.extend([0, 0, 6, 0, 1]);
        response.extend(TTL.to_be_bytes());
        response.extend([0, 22, 0, 0]);
        response.extend([1, 3600, 1200, 604_800, TTL].iter().flat_map(|number| number.to_be_bytes()));
    }
    if answers > 0 {
        response.extend([0xc0, 12, 0, 1, 0, 1]);
        response.extend(TTL.to_be_bytes());
        response.extend([0, 4, 192, 0, 2, 1]);
    }
    response
}

/// A query for an address as today's stub resolvers send it: RD, and an OPT with 1232 bytes.
pub fn query(name: &str) -> Vec<u8> {
    let mut packet = vec![0x47, 0x11, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in name.split('.') {
        packet.push(u8::try_from(label.len()).unwrap());
        packet.extend(label.as_bytes());
    }
    packet.extend([0, 0, 1, 0, 1, 0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0]);
    packet
}

/// A resolver with its clock, its upstream and its runtime.
pub struct World {
    pub resolver: Arc<Resolver>,
    /// Counts the resolver's answers.
    pub tally: Tally,
    /// The thread cache of the calling thread.
    thread_cache: std::cell::RefCell<ThreadCache>,
    clock: Arc<StillClock>,
    wire: Arc<Scripted>,
    /// The runtime on which resolutions wait.
    runtime: Runtime,
}

impl World {
    /// A resolver with the standard settings and one healthy upstream.
    pub fn new() -> Self {
        let settings = Settings::standard();
        let upstream = UpstreamPolicy::plain("scripted", vec![SocketAddr::from(([192, 0, 2, 53], 53))]);
        let clock = Arc::new(StillClock(AtomicU64::new(Timestamp::from_secs(1_800_000_000).as_micros())));
        let wire = Arc::new(Scripted { down: AtomicBool::new(false) });
        let ports = Ports { chance: Arc::new(Counting(AtomicU64::new(1))), transport: wire.clone() };
        let memory = Memory::new(&settings.policy, Routes::new(&[]), clock.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let resolver = runtime.block_on(async { Resolver::start(Arc::new(memory), &[upstream], ports) });
        Self { resolver, tally: Tally::default(), thread_cache: std::cell::RefCell::default(), clock, wire, runtime }
    }

    /// The time of the world's clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Answers one query a moment later, waiting for the upstream where that is needed.
    pub fn resolve(&self, packet: &[u8]) -> Vec<u8> {
        self.clock.0.fetch_add(BETWEEN, Ordering::Relaxed);
        let client = SocketAddr::from(CLIENT);
        self.runtime.block_on(self.resolver.answer(packet.to_vec(), client, &self.tally)).unwrap()
    }

    /// Answers one query from the cache, as the receiving thread does, and gives the answer's
    /// length.
    pub fn receive(&self, packet: &[u8], out: &mut [u8; UDP_MAX]) -> usize {
        let arrival =
            Arrival { packet, transport: ClientTransport::Udp, client: SocketAddr::from(CLIENT), now: self.now() };
        match self.resolver.receive(arrival, &self.tally, &mut self.thread_cache.borrow_mut(), out) {
            Disposition::Answered(length) => length,
            Disposition::Dropped | Disposition::Waiting(_) => panic!("not answered from memory"),
        }
    }

    /// How many answers of this kind were given.
    pub fn answered(&self, answered: Answered) -> u64 {
        self.tally.total(answered)
    }

    /// Lets every cached answer expire.
    pub fn expire(&self) {
        self.clock.0.fetch_add(u64::from(TTL + 1) * 1_000_000, Ordering::Relaxed);
    }

    /// Lets every cached answer expire, and makes the upstream refuse everything until it counts as
    /// down.
    pub fn begin_outage(&self) {
        self.wire.down.store(true, Ordering::Relaxed);
        self.expire();
        for index in 0..DOWN_WITHIN {
            if self.resolver.upstreams().availability(GroupId::new(0)) == Availability::Down {
                return;
            }
            self.resolve(&query(&format!("absent{index}.example.test")));
        }
        panic!("the upstream is still not down");
    }
}
