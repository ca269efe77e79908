//! The story of one query, in reading order: it arrives ([`front`]), is answered from the [`store`]
//! or waits ([`waiting`]) for a [`flight`] whose [`resolution`] asks the [`upstreams`]; what goes
//! on without clients is in [`background`].
//!
//! The resolver knows no socket and no clock but through its [`ports`]. All waiting happens on one
//! tokio runtime; what can be answered from memory is answered on whatever thread calls
//! [`Resolver::receive`].

mod background;
mod consultation;
pub mod critical;
pub mod flight;
pub mod front;
mod hosts;
mod loops;
mod outage;
pub mod ports;
mod reading;
pub mod recoveries;
mod resolution;
pub mod upstreams;
mod waiting;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::core::answer::ClientTransport;
use crate::core::budget::Budget;
use crate::core::key::Key;
use crate::core::policy::Policy;
use crate::core::special::Readiness;
use crate::core::time::Timestamp;
use crate::core::upstream::GroupId;
use crate::core::upstream::UpstreamPolicy;
use crate::memory::Memory;
use crate::memory::store::Found;
use crate::memory::thread_cache::ThreadCache;
use crate::telemetry::tally::{Answered, Failures, Sends, Tally};
use background::Errand;
use critical::Watchlist;
use flight::Flights;
use front::{Arrival, Disposition};
use loops::Loops;
use outage::Outages;
use ports::{Chance, SharedCache, UpstreamTransport};
use upstreams::Upstreams;
pub use waiting::Waiting;

/// What the resolver needs of the world.
#[derive(Clone)]
pub struct Ports {
    /// Throws dice.
    pub chance: Arc<dyn Chance>,
    /// Carries queries upstream.
    pub transport: Arc<dyn UpstreamTransport>,
}

/// Resolves, remembers, and answers.
pub struct Resolver {
    /// The operator's choices.
    policy: Policy,
    /// What is remembered.
    memory: Arc<Memory>,
    /// Who is asked.
    upstreams: Upstreams,
    /// What comes before it.
    hosts: hosts::Table,
    /// What must never be missing.
    critical: Watchlist,
    /// What is being asked.
    flights: Arc<Flights>,
    /// What may be sent.
    budget: Mutex<Budget>,
    /// The world.
    ports: Ports,
    /// What others have learned, if that can be asked for.
    shared_cache: OnceLock<Arc<dyn SharedCache>>,
    /// Refreshes to be started.
    errands: mpsc::Sender<Errand>,
    /// Outages and what they cost.
    outages: Outages,
    /// Recognises our own queries.
    loops: Loops,
    /// Whether everything is there that the start waits for.
    ready: AtomicBool,
    /// What was sent.
    sends: Sends,
    /// What came back and was no answer.
    failures: Failures,
    /// Everything that runs.
    tasks: Mutex<JoinSet<()>>,
}

impl Resolver {
    /// Makes a resolver and starts its background work on the present tokio runtime.
    #[must_use]
    pub fn start(memory: Arc<Memory>, upstreams: &[UpstreamPolicy], ports: Ports) -> Arc<Self> {
        let policy = memory.policy().clone();
        let (errands, errands_in) = mpsc::channel(background::ERRANDS_MAX);
        let upstreams = Upstreams::new(memory.routes(), upstreams, &policy);
        let resolver = Arc::new(Self {
            memory: Arc::clone(&memory),
            hosts: hosts::Table::default(),
            critical: Watchlist::new(&policy.critical, memory.now()),
            flights: Arc::new(Flights::new(policy.in_flight.resolutions)),
            budget: Mutex::new(Budget::new(policy.budget)),
            outages: Outages::new(upstreams.groups().count()),
            loops: Loops::new(ports.chance.number()),
            ready: AtomicBool::new(policy.critical.is_empty() && !upstreams.all().is_empty()),
            sends: Sends::default(),
            failures: Failures::default(),
            shared_cache: OnceLock::new(),
            tasks: Mutex::default(),
            policy,
            upstreams,
            ports,
            errands,
        });
        let flights = Arc::clone(&resolver.flights);
        resolver.memory.on_flush(move |key| flights.forget(key));
        resolver.start_background(errands_in);
        resolver
    }

    /// Answers one query that came over a stream; `None` when no answer is owed.
    ///
    /// Cancel safe.
    pub async fn answer(self: &Arc<Self>, packet: Vec<u8>, client: SocketAddr, tally: &Tally) -> Option<Vec<u8>> {
        let arrival = Arrival { packet: &packet, transport: ClientTransport::Stream, client, now: self.now() };
        let mut out = vec![0; self.room(&packet)];
        match self.receive(arrival, tally, &mut ThreadCache::none(), &mut out) {
            Disposition::Answered(length) => {
                out.truncate(length);
                Some(out)
            }
            Disposition::Dropped => None,
            Disposition::Waiting(waiting) => Some(self.complete(&waiting, tally).await),
        }
    }

    /// Room that an answer from memory to this packet may need, in bytes.
    fn room(&self, packet: &[u8]) -> usize {
        let least = crate::core::answer::UDP_PLAIN;
        let crate::core::question::Received::Query(query) = crate::core::question::read(packet) else { return least };
        if let Some(entry) = self.hosts.answer(&query.key, &self.policy, self.now()) {
            return crate::core::answer::room(&entry).max(least);
        }
        match self.memory.find(&query.key, self.now()) {
            Found::Answer(cached) => crate::core::answer::room(&cached.entry).max(least),
            Found::Failure(_) | Found::Nothing => least * 2,
        }
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.memory.now()
    }

    /// The upstreams and their states.
    #[must_use]
    pub const fn upstreams(&self) -> &Upstreams {
        &self.upstreams
    }

    /// What is remembered.
    #[must_use]
    pub const fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// The upstream group of a key's name.
    fn group_of(&self, key: &Key) -> GroupId {
        self.memory.routes().group_of(key.name())
    }

    /// Resolutions under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// Whether everything is there that the start waits for; health checks ask for it, queries do
    /// not.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        if self.ready.load(Ordering::Relaxed) { Readiness::Ready } else { Readiness::NotYet }
    }

    /// Whether an outage is going on.
    #[must_use]
    pub fn in_outage(&self) -> bool {
        self.outages.any()
    }

    /// What was sent upstream.
    #[must_use]
    pub const fn sends(&self) -> &Sends {
        &self.sends
    }

    /// What upstreams sent that was no answer.
    #[must_use]
    pub const fn failures(&self) -> &Failures {
        &self.failures
    }

    /// Ends everything that runs. Whoever waits is told that there is no answer.
    pub fn stop(&self) {
        self.tasks.lock().abort_all();
    }

    /// Runs a task that the resolver owns: it ends with [`Self::stop`].
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }
}

/// The sum of one outcome over several tallies.
#[must_use]
pub fn sum(tallies: &[Arc<Tally>], answered: Answered) -> u64 {
    tallies.iter().map(|tally| tally.total(answered)).sum()
}
