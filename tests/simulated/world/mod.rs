//! The real resolver in a simulated world: virtual time, seeded random numbers, and upstreams that
//! do what the test says.
//!
//! The replay scenarios and the simulation use it. Nothing here waits for real: under tokio's
//! paused clock, 84 minutes pass in a moment.

pub mod message;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use holdover::config::settings::Settings;
use holdover::core::answer::ClientTransport;
use holdover::core::key::Key;
use holdover::core::record;
use holdover::core::restore::{BootTimes, Shift, restore};
use holdover::core::routes::Routes;
use holdover::core::time::Timestamp;
use holdover::core::upstream::{Endpoint, Role, Transport, UpstreamPolicy};
use holdover::memory::Memory;
use holdover::memory::cached::CachedAnswer;
use holdover::memory::journal::Origin;
use holdover::memory::thread_cache::ThreadCache;
use holdover::resolver::front::{Arrival, Disposition};
use holdover::resolver::near_misses::MissWatch;
use holdover::resolver::ports::{Chance, Clock, PortFuture, TransportError, UpstreamTransport};
use holdover::resolver::{Ports, Resolver};
use holdover::telemetry::tally::Tally;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

/// The wall clock's time when a world begins.
pub const EPOCH: Timestamp = Timestamp::from_secs(1_800_000_000);

/// The clock of a world, which follows tokio's clock.
pub struct WorldClock {
    began: Instant,
    /// What the present wall clock would have said when the world began. That is also when the host
    /// was booted.
    wall: Timestamp,
}

/// The content of a state file.
pub struct Saved {
    records: Vec<(Key, Vec<u8>)>,
    booted_at: Timestamp,
}

/// Whether two runs of the resolver know that they happen within one boot of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boot {
    Same,
    Unknown,
}

impl WorldClock {
    /// Time since the world began.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

impl Clock for WorldClock {
    fn now(&self) -> Timestamp {
        self.wall.plus(self.elapsed())
    }
}

/// Random numbers that follow from a seed.
pub struct Dice(Mutex<SmallRng>);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(SmallRng::seed_from_u64(seed)))
    }

    /// A number below `bound`.
    pub fn below(&self, bound: u64) -> u64 {
        self.number() % bound.max(1)
    }
}

impl Chance for Dice {
    fn number(&self) -> u64 {
        self.0.lock().unwrap().next_u64()
    }
}

/// What an upstream does with one packet.
#[derive(Clone, Debug)]
pub enum Reaction {
    /// It sends these bytes after this long.
    Answer(Duration, Vec<u8>),
    /// The network reports this error after this long.
    Error(Duration, TransportError),
    /// It forwards the packet to the sidecar itself, and the sidecar's answer back.
    Loop,
    /// Nothing ever comes.
    Silence,
}

/// One packet that went upstream.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Time since the world began.
    pub at: Duration,
    pub server: SocketAddr,
    pub transport: Transport,
    pub query: Vec<u8>,
    pub purpose: Purpose,
}

/// What a packet was sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A resolution, whose answer is remembered.
    Resolution,
    /// A witness, or the look for a loop.
    Probe,
}

/// Says what the upstreams do with a packet.
pub type Script = dyn Fn(&Sent) -> Reaction + Send + Sync;

/// The network between the resolver and its upstreams.
pub struct Network {
    clock: Arc<WorldClock>,
    script: Mutex<Arc<Script>>,
    /// The resolver, for upstreams that forward every packet back to it.
    resolver: Mutex<Weak<Resolver>>,
    /// Everything that was sent.
    pub sent: Mutex<Vec<Sent>>,
    /// How many exchanges are under way.
    pub open: Arc<std::sync::atomic::AtomicUsize>,
}

/// Counts an exchange for as long as it lives.
struct Open(Arc<std::sync::atomic::AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
    }
}

impl UpstreamTransport for Network {
    fn exchange(&self, endpoint: &Endpoint, query: Vec<u8>) -> PortFuture<Result<Vec<u8>, TransportError>> {
        self.carry(endpoint, query, Purpose::Probe)
    }

    fn exchange_watched(
        &self,
        endpoint: &Endpoint,
        query: Vec<u8>,
        _: MissWatch,
    ) -> PortFuture<Result<Vec<u8>, TransportError>> {
        self.carry(endpoint, query, Purpose::Resolution)
    }
}

impl Network {
    fn carry(
        &self,
        endpoint: &Endpoint,
        query: Vec<u8>,
        purpose: Purpose,
    ) -> PortFuture<Result<Vec<u8>, TransportError>> {
        let (server, transport) = (endpoint.address, endpoint.transport);
        let sent = Sent { at: self.clock.elapsed(), server, transport, query, purpose };
        let script = Arc::clone(&self.script.lock().unwrap());
        let reaction = script(&sent);
        self.sent.lock().unwrap().push(sent);
        self.open.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let open = Open(Arc::clone(&self.open));
        let (resolver, query) =
            (self.resolver.lock().unwrap().upgrade(), self.sent.lock().unwrap().last().unwrap().query.clone());
        Box::pin(async move {
            let _open = open;
            match reaction {
                Reaction::Answer(after, bytes) => {
                    tokio::time::sleep(after).await;
                    Ok(bytes)
                }
                Reaction::Error(after, error) => {
                    tokio::time::sleep(after).await;
                    Err(error)
                }
                Reaction::Loop => match resolver {
                    Some(resolver) => Ok(sent_back(&resolver, &query).await),
                    None => std::future::pending().await,
                },
                Reaction::Silence => std::future::pending().await,
            }
        })
    }
}

/// What the resolver answers when its own query comes back to it like a client's.
async fn sent_back(resolver: &Arc<Resolver>, query: &[u8]) -> Vec<u8> {
    let (tally, mut out) = (Tally::default(), vec![0; 4096]);
    let arrival = Arrival {
        packet: query,
        transport: ClientTransport::Udp,
        client: "192.0.2.99:53".parse().unwrap(),
        now: resolver.now(),
    };
    match resolver.receive(arrival, &tally, &mut ThreadCache::none(), &mut out) {
        Disposition::Answered(length) => out[..length].to_vec(),
        Disposition::Dropped => std::future::pending().await,
        Disposition::Waiting(waiting) => resolver.complete(&waiting, &tally).await,
    }
}

/// A resolver with its clock, random numbers and network.
pub struct World {
    pub clock: Arc<WorldClock>,
    pub dice: Arc<Dice>,
    pub network: Arc<Network>,
    pub resolver: Arc<Resolver>,
    pub tally: Arc<Tally>,
    /// The thread cache of the one receiving thread. A restart empties it.
    thread_cache: Arc<Mutex<ThreadCache>>,
    settings: Settings,
}

/// The answer to a client's query.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The response; `None` if the query is dropped.
    pub bytes: Option<Vec<u8>>,
    /// Time from the query to the response.
    pub took: Duration,
    /// Whether the receiving thread answered at once, without waiting.
    pub at_once: bool,
}

/// An upstream with one address.
pub fn upstream(address: &str, role: Role) -> UpstreamPolicy {
    UpstreamPolicy { role, ..UpstreamPolicy::plain(address, vec![address.parse().unwrap()]) }
}

impl World {
    /// A world whose upstreams do as the script says.
    pub fn new(settings: Settings, seed: u64, script: impl Fn(&Sent) -> Reaction + Send + Sync + 'static) -> Self {
        let clock = Arc::new(WorldClock { began: Instant::now(), wall: EPOCH });
        let dice = Arc::new(Dice::new(seed));
        let script: Arc<Script> = Arc::new(script);
        let network = Arc::new(Network {
            clock: Arc::clone(&clock),
            script: Mutex::new(script),
            resolver: Mutex::default(),
            sent: Mutex::default(),
            open: Arc::default(),
        });
        let resolver = Self::start(&settings, &clock, &dice, &network);
        Self { clock, dice, network, resolver, tally: Arc::default(), thread_cache: Arc::default(), settings }
    }

    fn start(settings: &Settings, clock: &Arc<WorldClock>, dice: &Arc<Dice>, network: &Arc<Network>) -> Arc<Resolver> {
        let ports = Ports { chance: Arc::clone(dice) as _, transport: Arc::clone(network) as _ };
        let memory =
            Memory::new(&settings.policy, Routes::new(&settings.upstreams), Arc::clone(clock) as Arc<dyn Clock>);
        let resolver = Resolver::start(Arc::new(memory), &settings.upstreams, ports);
        *network.resolver.lock().unwrap() = Arc::downgrade(&resolver);
        resolver
    }

    /// Ends the resolver as a crash would, and starts an empty one.
    pub fn restart(&mut self) {
        self.resolver.stop();
        self.thread_cache = Arc::default();
        self.resolver = Self::start(&self.settings, &self.clock, &self.dice, &self.network);
    }

    /// The content of a state file that is written now.
    pub fn save(&self) -> Saved {
        let now = self.resolver.now();
        let answers = self.resolver.memory().store().answers().filter(|cached| cached.entry.is_servable(now));
        let record = |cached: &CachedAnswer| {
            let mut bytes = Vec::new();
            record::write(&cached.entry, cached.past(), &mut bytes);
            bytes
        };
        Saved {
            records: answers.map(|cached| (cached.key().unwrap(), record(&cached))).collect(),
            booted_at: self.clock.wall,
        }
    }

    /// Ends the resolver as a crash would, moves the wall clock, and starts a resolver that
    /// restores the state file.
    pub fn restart_from(&mut self, saved: &Saved, moved: Shift, boot: Boot) {
        let wall = match moved {
            Shift::Ahead(by) => self.clock.wall.plus(by),
            Shift::Back(by) => self.clock.wall.minus(by),
        };
        self.clock = Arc::new(WorldClock { began: self.clock.began, wall });
        self.restart();
        let shift = if boot == Boot::Same {
            Shift::between(BootTimes { theirs: saved.booted_at, ours: wall })
        } else {
            Shift::NONE
        };
        let now = self.resolver.now();
        for (key, bytes) in &saved.records {
            let record = record::read(key, bytes).unwrap();
            if let Some(entry) = restore(key, record.entry, shift, &self.settings.policy, now) {
                self.resolver.memory().restore(key, entry, record.past, Origin::StateFile);
            }
        }
    }

    /// Changes what upstreams do.
    pub fn set(&self, script: impl Fn(&Sent) -> Reaction + Send + Sync + 'static) {
        *self.network.script.lock().unwrap() = Arc::new(script);
    }

    /// Sends one packet from a client; the future ends with its answer.
    pub fn ask(&self, packet: Vec<u8>, client: SocketAddr) -> impl Future<Output = Reply> + Send + use<> {
        let (resolver, clock, tally) = (Arc::clone(&self.resolver), Arc::clone(&self.clock), Arc::clone(&self.tally));
        let thread_cache = Arc::clone(&self.thread_cache);
        async move {
            let began = clock.elapsed();
            let mut out = vec![0; 4096];
            let arrival = Arrival { packet: &packet, transport: ClientTransport::Udp, client, now: resolver.now() };
            let disposition = resolver.receive(arrival, &tally, &mut thread_cache.lock().unwrap(), &mut out);
            let (bytes, at_once) = match disposition {
                Disposition::Answered(length) => {
                    out.truncate(length);
                    (Some(out), true)
                }
                Disposition::Dropped => (None, true),
                Disposition::Waiting(waiting) => (Some(resolver.complete(&waiting, &tally).await), false),
            };
            Reply { bytes, took: clock.elapsed().saturating_sub(began), at_once }
        }
    }

    /// Packets sent so far.
    pub fn sends(&self) -> usize {
        self.network.sent.lock().unwrap().len()
    }
}
