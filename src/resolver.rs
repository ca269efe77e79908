//! The resolver, which turns queries into answers: it composes the parts that do so.
//!
//! One query in reading order: it arrives ([`front`]) and is answered from the
//! [memory](crate::memory), or it waits ([`waiting`]) for a [`flight`]. A [`resolution`] asks the
//! [`upstreams`] and reports to that flight. What goes on without clients is in [`background`],
//! [`probing`] and [`critical`].
//!
//! | part | uses |
//! |---|---|
//! | [`ports`], [`tasks`], [`packets`], [`flight`], [`sharing`], [`loops`], [`pacing`] | nothing of this room |
//! | [`flights`] | [`flight`], [`sharing`] |
//! | [`recoveries`], [`hosts`], [`last_resort`], [`outage`], [`vitals`] | nothing of this room |
//! | [`readiness`], [`watchlist`], [`reversals`] | nothing of this room |
//! | [`upstreams`], [`accusations`] | the rows above |
//! | [`context`] | the rows above; it holds the parts that a resolution works with |
//! | [`consultation`], [`resolution`], [`resolutions`], [`refreshes`], [`walks`], [`listing`] | the context |
//! | [`front`], [`waiting`], [`critical`], [`probing`], [`background`], [`reading`] | all rows above |
//! | [`explanation`] | [`front`], [`listing`], [`reading`] |
//! | [`Resolver`] | all of them |
//!
//! Nothing in this room imports [`Resolver`]: each part takes what it needs. The room reaches
//! sockets and clocks only through its [`ports`] and the memory. All waiting happens on one tokio
//! runtime; what can be answered from memory is answered on whatever thread calls
//! [`Resolver::receive`].

mod accusations;
mod background;
mod consultation;
mod context;
mod critical;
mod explanation;
pub mod flight;
mod flight_guard;
pub mod flights;
pub mod front;
mod hosts;
mod last_resort;
pub mod listing;
mod loops;
pub mod near_misses;
mod outage;
mod pacing;
mod packets;
pub mod ports;
mod probing;
mod readiness;
mod reading;
pub mod recoveries;
mod refreshes;
mod resolution;
mod resolutions;
mod reversals;
pub mod sharing;
mod tasks;
pub mod upstreams;
pub mod vitals;
mod waiting;
mod walks;
pub mod watchlist;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use crate::core::answer::{self, ClientTransport};
use crate::core::hosts::Hosts;
use crate::core::question::{self, Received};
use crate::core::special::Readiness;
use crate::core::time::Timestamp;
use crate::core::upstream::{UpstreamId, UpstreamPolicy};
use crate::core::upstream_record::RememberedUpstream;
use crate::memory::Memory;
use crate::memory::cached::CachedAnswer;
use crate::memory::store::Found;
use crate::memory::thread_cache::ThreadCache;
use crate::telemetry::reading::{Reading, explanation::Explanation, names::NamePage};
use crate::telemetry::tally::{Answered, Failures, Sends, Tally};
use crate::telemetry::tasks::LongTask;
use background::Background;
use context::Context;
use critical::CriticalNames;
use flights::Flights;
pub use front::Waiting;
use front::{Arrival, Disposition, Front};
use hosts::HostsTable;
use listing::Selection;
use loops::Loops;
use outage::Outages;
use packets::Packets;
pub use ports::Ports;
use ports::{PortFuture, SharedCache};
use probing::Prober;
use readiness::ReadyFlag;
use reversals::GuardedChanges;
use sharing::ClientSharing;
use tasks::Tasks;
use upstreams::Upstreams;
use vitals::Vitals;
use waiting::WaitingQueries;
use watchlist::{Critical, Watchlist};

/// Answers queries from memory and from upstreams.
pub struct Resolver {
    context: Arc<Context>,
    front: Front,
    waiting: WaitingQueries,
    critical: Arc<CriticalNames>,
    hosts: Arc<HostsTable>,
    loops: Arc<Loops>,
    outages: Arc<Outages>,
    ready: Arc<ReadyFlag>,
}

impl Resolver {
    /// Makes a resolver that learns into this memory, and starts its background work on the present
    /// tokio runtime. The memory's routes must have been made from the same `upstreams`.
    #[must_use]
    pub fn start(memory: Arc<Memory>, upstreams: &[UpstreamPolicy], ports: Ports) -> Arc<Self> {
        // The parts that resolutions share come first.
        let policy = memory.policy().clone();
        let upstreams = Upstreams::new(memory.routes(), upstreams, &policy);
        let readiness = if policy.critical.is_empty() && !upstreams.all().is_empty() {
            Readiness::Ready
        } else {
            Readiness::NotYet
        };
        let loops = Arc::new(Loops::default());
        let outages = Arc::new(Outages::new(upstreams.groups().count()));
        let (hosts, ready) = (Arc::new(HostsTable::default()), Arc::new(ReadyFlag::new(readiness)));
        let clock = Arc::clone(&memory);
        let vitals = Arc::new(Vitals::new(move || clock.now()));
        let sharing = Arc::new(ClientSharing::new(ports.chance.number(), policy.in_flight.waiting));
        let context = Arc::new(Context {
            flights: Arc::new(Flights::new(policy.in_flight.resolutions, Arc::clone(&sharing))),
            sharing,
            packets: Packets::new(policy.budget),
            failures: Failures::default(),
            reversals: GuardedChanges::new(policy.guard),
            watchlist: Watchlist::new(&policy.critical, memory.now()),
            shared_cache: OnceLock::new(),
            tasks: Tasks::default(),
            vitals,
            policy,
            memory,
            upstreams,
            ports,
        });
        // A client that asks after a flush must not join a resolution that has reported its answer.
        let flights = Arc::clone(&context.flights);
        context.memory.on_flush(move |key| flights.flush(key));
        // Then come the parts that serve clients, each with what it needs of the others.
        let (refreshes, queued) = refreshes::queue();
        let resolver = Arc::new(Self {
            front: Front {
                context: Arc::clone(&context),
                hosts: Arc::clone(&hosts),
                loops: Arc::clone(&loops),
                outages: Arc::clone(&outages),
                ready: Arc::clone(&ready),
                refreshes: refreshes.clone(),
            },
            waiting: WaitingQueries { context: Arc::clone(&context), outages: Arc::clone(&outages), refreshes },
            critical: Arc::new(CriticalNames {
                context: Arc::clone(&context),
                hosts: Arc::clone(&hosts),
                ready: Arc::clone(&ready),
            }),
            context,
            hosts,
            loops,
            outages,
            ready,
        });
        resolver.start_background(queued);
        resolver
    }

    /// Starts the work that goes on without clients, and ends with the resolver's tasks.
    fn start_background(&self, queued: refreshes::QueuedRefreshes) {
        let context = &self.context;
        let (queued, own) = (Arc::new(queued), Arc::clone(context));
        context.supervise(LongTask::Refreshes, move || Arc::clone(&queued).run(Arc::clone(&own)));
        let (own, outages) = (Arc::clone(context), Arc::clone(&self.outages));
        context.supervise(LongTask::Background, move || {
            Background { context: Arc::clone(&own), outages: Arc::clone(&outages) }.run()
        });
        let own = Arc::clone(context);
        context.supervise(LongTask::HitReports, move || background::report_hits(Arc::clone(&own)));
        let critical = Arc::clone(&self.critical);
        context.supervise(LongTask::CriticalNames, move || Arc::clone(&critical).keep());
        for upstream in context.upstreams.ids() {
            self.start_probing(upstream);
        }
    }

    fn start_probing(&self, upstream: UpstreamId) {
        let (context, loops) = (Arc::clone(&self.context), Arc::clone(&self.loops));
        self.context.supervise(LongTask::Probing, move || {
            Prober { context: Arc::clone(&context), loops: Arc::clone(&loops), upstream }.run()
        });
    }

    /// Answers a packet from memory into `out`, or gives the query back that has to wait. `tally`
    /// and `thread_cache` belong to the calling thread. Never waits.
    pub fn receive(
        &self,
        arrival: Arrival<'_>,
        tally: &Tally,
        thread_cache: &mut ThreadCache,
        out: &mut [u8],
    ) -> Disposition {
        self.front.receive(arrival, tally, thread_cache, out)
    }

    /// Answers a query that cannot wait, since too many queries wait already: with what is
    /// remembered, else with SERVFAIL. Gives the length of the answer in `out`.
    pub fn shed(&self, waiting: &Waiting, tally: &Tally, out: &mut [u8]) -> usize {
        self.front.shed(waiting, tally, out)
    }

    /// Waits for as long as this query may wait, and writes its answer.
    ///
    /// Cancel safe: the resolution that was started goes on for the others.
    pub async fn complete(&self, waiting: &Waiting, tally: &Tally) -> Vec<u8> {
        self.waiting.complete(waiting, tally).await
    }

    /// Answers one query that came over a stream; `None` when no answer is owed.
    ///
    /// Cancel safe.
    pub async fn answer(&self, packet: Vec<u8>, client: SocketAddr, tally: &Tally) -> Option<Vec<u8>> {
        let arrival = Arrival { packet: &packet, transport: ClientTransport::Stream, client, now: self.now() };
        let mut out = vec![0; self.answer_size(&packet)];
        let waiting = match self.receive(arrival, tally, &mut ThreadCache::none(), &mut out) {
            Disposition::Answered(length) => {
                out.truncate(length);
                return Some(out);
            }
            Disposition::Dropped => return None,
            Disposition::Waiting(waiting) => waiting,
        };
        // Both would take their memory for as long as the query waits.
        drop((packet, out));
        Some(self.complete(&waiting, tally).await)
    }

    /// The size of a buffer that any answer from memory to this packet fits into, in bytes.
    fn answer_size(&self, packet: &[u8]) -> usize {
        let least = answer::UDP_PLAIN;
        let Received::Query(query) = question::read(packet) else { return least };
        let now = self.now();
        if let Some(entry) = self.hosts.answer(&query.key, &self.context.policy, now) {
            return answer::room(&entry).max(least);
        }
        let memory = &self.context.memory;
        // A cached failure carries upstream's extended errors.
        let room = |cached: Option<Arc<CachedAnswer>>| cached.map_or(least * 2, |cached| answer::room(&cached.entry));
        match memory.find(&query.key, now) {
            Found::Answer(cached) => room(Some(cached)).max(least),
            Found::Failure(failed) => room(failed.last_resort.clone()).max(room(memory.nearest(&query.key, now))),
            Found::Nothing => room(memory.nearest(&query.key, now)).max(least * 2),
        }
    }

    /// The present moment on the timeline of the memory.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.context.now()
    }

    /// The upstreams that names are forwarded to, with their states.
    #[must_use]
    pub fn upstreams(&self) -> &Upstreams {
        &self.context.upstreams
    }

    /// The memory that the resolver learns into and answers from.
    #[must_use]
    pub fn memory(&self) -> &Arc<Memory> {
        &self.context.memory
    }

    /// What clients share: who they are, and the places in which their queries wait.
    #[must_use]
    pub fn sharing(&self) -> &Arc<ClientSharing> {
        &self.context.sharing
    }

    /// The number of resolutions under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.context.flights.len()
    }

    /// Whether everything is there that the start waits for, and whether the process is stalled.
    /// Health checks ask for this; queries are answered in any case.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.context.vitals.readiness(self.ready.get(), self.now())
    }

    /// The vital signs of the process.
    #[must_use]
    pub fn vitals(&self) -> &Arc<Vitals> {
        &self.context.vitals
    }

    /// Whether an outage is going on in any upstream group.
    #[must_use]
    pub fn in_outage(&self) -> bool {
        self.outages.any()
    }

    /// The states of the critical names, in the configured order.
    #[must_use]
    pub fn critical(&self) -> Vec<Critical> {
        self.critical.standings()
    }

    /// Everything that the resolver can say about itself at this moment. Walks over all answers.
    #[must_use]
    pub fn reading(&self) -> Reading {
        reading::read(&self.context, &self.outages, &self.critical(), self.readiness())
    }

    /// Explains what queries for a name in lower-cased wire form get, one type after the other.
    /// Asks no upstream.
    #[must_use]
    pub fn explain(&self, name: &[u8], types: &[u16]) -> Explanation {
        explanation::explain(&self.front, &self.critical(), name, types)
    }

    /// Lists one page of the names that are remembered. The walk over them goes on in slices as the
    /// future is polled.
    #[must_use]
    pub fn list(&self, selection: Selection) -> PortFuture<NamePage> {
        Box::pin(listing::list(Arc::clone(&self.context), selection))
    }

    /// The counters of packets that were sent upstream, by class.
    #[must_use]
    pub fn sends(&self) -> &Sends {
        self.context.packets.sends()
    }

    /// The counters of upstreams' responses that were no answer, by reason.
    #[must_use]
    pub fn failures(&self) -> &Failures {
        &self.context.failures
    }

    /// Gives the resolver a shared cache, which is asked from now on. Only the first one is taken;
    /// later ones are ignored.
    pub fn share(&self, shared_cache: Arc<dyn SharedCache>) {
        let _ = self.context.shared_cache.set(shared_cache);
    }

    /// Replaces the hosts file, whose answers come before everything else.
    pub fn replace_hosts(&self, hosts: Hosts) {
        self.hosts.replace(hosts);
    }

    /// Replaces the addresses of the upstream that the host's `resolv.conf` names; see
    /// [`Upstreams::replace`].
    pub fn replace_upstream(&self, configured: &UpstreamPolicy) {
        for upstream in self.context.upstreams.replace(configured, self.now()) {
            self.start_probing(upstream);
        }
    }

    /// What is known of all upstreams, to be kept across restarts.
    #[must_use]
    pub fn upstream_states(&self) -> Vec<RememberedUpstream> {
        self.context.upstreams.remembered(self.now())
    }

    /// Takes what an earlier run knew of the upstreams. It may come a few seconds after the start,
    /// from a slow disk, and holds only where nothing newer is known.
    pub fn resume_upstreams(&self, known: &[RememberedUpstream]) {
        self.context.upstreams.resume(known, self.now());
    }

    /// Ends all tasks of the resolver. Clients that wait get SERVFAIL.
    pub fn stop(&self) {
        self.context.tasks.stop();
    }

    /// Runs a task that ends with [`Self::stop`], and starts it again whenever it panics.
    pub fn supervise<F>(&self, task: LongTask, start: impl Fn() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.context.supervise(task, start);
    }
}

/// The number of packets with this outcome, summed over several tallies.
#[must_use]
pub fn sum(tallies: &[Arc<Tally>], answered: Answered) -> u64 {
    tallies.iter().map(|tally| tally.total(answered)).sum()
}
