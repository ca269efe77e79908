//! The load: groups of clients that ask the same questions at the same moments. One group asks the
//! resolver under test, one asks the upstream directly, and a third asks the new instance as soon
//! as there is one.
//!
//! The load is open-loop: a query is sent when it is due, however many others still wait, and its
//! latency counts from that moment. What clients ask for is the scenario's [`Demand`]: mostly known
//! names, chosen by a Zipf distribution, because a few names make up most of what an application
//! looks up.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::Instant;

use super::client::{LookupOutcome, PreparedQuery};
use super::demand::{Demand, Patience, QuestionGroup};
use super::fault::Scenario;
use super::measure::{ClientResults, DrillPhase, Moment, PhaseCounts};
use super::options::{DrillOptions, Output};
use super::report::{self, ProgressLine};
use super::restart::Downtime;
use super::zone::ZoneQuestion;
use super::zone_clock::ZoneClock;
use crate::core::upstream_query::Extension;
use crate::telemetry::console;

/// Most lookups that may be under way at the same moment; a query beyond them counts as failed. Two
/// seconds of 4 000 queries a second.
const OUTSTANDING_MAX: usize = 8_000;
/// Questions per second with which all names are asked for before the drill begins.
const PRIME_PER_SECOND: u32 = 400;

/// The groups of clients and their questions.
pub(super) struct Load {
    /// Resolver that each group asks; `None` as long as there is none.
    resolvers: ByGroup<Cell<Option<SocketAddr>>>,
    scenario: Scenario,
    demand: Demand,
    /// Queries for known names, by name.
    names: Vec<Vec<Rc<PreparedQuery>>>,
    /// Cumulated weights of the names.
    weights: Vec<f64>,
    /// Number of the next cold name.
    next_cold: Cell<usize>,
    /// Seed of the drill, on which the cold names depend.
    seed: u64,
    clock: ZoneClock,
    results: Rc<RefCell<ByGroup<ClientResults>>>,
    /// Time in which the resolver under test was not listening.
    downtime: Rc<Cell<Option<Downtime>>>,
    random: RefCell<StdRng>,
    output: Output,
}

/// Group of clients, by the resolver that they ask.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ClientGroup {
    /// Clients of the resolver under test.
    With,
    /// Clients that ask the upstream directly.
    Without,
    /// Clients of the new instance.
    Newcomer,
}

impl ClientGroup {
    const ALL: [Self; 3] = [Self::With, Self::Without, Self::Newcomer];
}

/// One value for each group of clients.
#[derive(Default)]
pub(super) struct ByGroup<T> {
    /// Value for the clients of the resolver under test.
    pub(super) with: T,
    /// Value for the clients that ask the upstream directly.
    pub(super) without: T,
    /// Value for the clients of the new instance.
    pub(super) newcomer: T,
}

impl<T> ByGroup<T> {
    const fn get(&self, group: ClientGroup) -> &T {
        match group {
            ClientGroup::With => &self.with,
            ClientGroup::Without => &self.without,
            ClientGroup::Newcomer => &self.newcomer,
        }
    }

    const fn get_mut(&mut self, group: ClientGroup) -> &mut T {
        match group {
            ClientGroup::With => &mut self.with,
            ClientGroup::Without => &mut self.without,
            ClientGroup::Newcomer => &mut self.newcomer,
        }
    }
}

/// Lookup that is due at a certain moment.
struct DueLookup {
    query: Rc<PreparedQuery>,
    group: QuestionGroup,
    /// Message ID of the first attempt.
    id: u16,
    due: Instant,
    moment: Moment,
}

impl Load {
    /// Prepares all queries; no group asks a resolver yet.
    pub(super) fn new(options: &DrillOptions, clock: ZoneClock) -> Self {
        let prepare = |(position, question): (usize, ZoneQuestion)| {
            // Many clients send no EDNS, so every other question goes without it.
            let extension = if position.is_multiple_of(2) { Extension::Edns } else { Extension::Plain };
            Rc::new(PreparedQuery::new(question, extension))
        };
        // Names are kept in the order of their rank, with all queries of each.
        let demand = options.scenario.demand();
        let names = (0..options.known_names())
            .map(|rank| demand.known_questions(rank).into_iter().enumerate().map(prepare).collect())
            .collect();
        // Sums of the weights make the choice of a name one search.
        let mut sum = 0.0;
        let weights = (0..options.known_names())
            .map(|rank| {
                sum += demand.weight(rank);
                sum
            })
            .collect();
        Self {
            resolvers: ByGroup::default(),
            scenario: options.scenario,
            demand,
            names,
            weights,
            next_cold: Cell::default(),
            seed: options.seed,
            clock,
            results: Rc::default(),
            downtime: Rc::default(),
            random: RefCell::new(StdRng::seed_from_u64(options.seed)),
            output: options.output,
        }
    }

    /// Clock of the zone.
    pub(super) const fn clock(&self) -> &ZoneClock {
        &self.clock
    }

    /// Lets clients ask the resolver under test, which listens on this address.
    pub(super) fn ask_subject(&self, address: SocketAddr) {
        self.resolvers.with.set(Some(address));
    }

    /// Lets clients ask the upstream directly, which listens on this address.
    pub(super) fn ask_upstream(&self, address: SocketAddr) {
        self.resolvers.without.set(Some(address));
    }

    /// Lets clients ask the new instance, which listens on this address.
    pub(super) fn ask_newcomer(&self, address: SocketAddr) {
        self.resolvers.newcomer.set(Some(address));
    }

    /// Asks every question once in each group, so that the resolver under test has every answer in
    /// its cache.
    pub(super) async fn prime(&self) {
        let resolvers: Vec<SocketAddr> =
            ClientGroup::ALL.into_iter().filter_map(|group| self.resolvers.get(group).get()).collect();
        let clock = &self.clock;
        let prime = async {
            let mut pace = tokio::time::interval(Duration::from_secs(1) / PRIME_PER_SECOND);
            let mut lookups = JoinSet::new();
            for query in self.names.iter().flatten() {
                pace.tick().await;
                for resolver in resolvers.iter().copied() {
                    let (query, clock) = (Rc::clone(query), clock.clone());
                    lookups.spawn_local(async move { query.look_up(resolver, 1, &clock).await });
                }
            }
            while lookups.join_next().await.is_some() {}
        };
        LocalSet::new().run_until(prime).await;
    }

    /// Asks at the configured rate from `began` until all phases are over, then waits for the
    /// lookups that are under way.
    pub(super) async fn drive(&self, options: &DrillOptions, began: Instant) {
        let phases = options.phases();
        let length = phases.total();
        let drive = async {
            let mut lookups = JoinSet::new();
            let interval = Duration::from_secs(1) / options.per_second();
            let mut since_began = Duration::ZERO;
            while since_began < length {
                tokio::time::sleep_until(began + since_began).await;
                while lookups.try_join_next().is_some() {}
                // Timers are coarser than the interval, so all queries that are due by now are
                // sent.
                while since_began < length && began + since_began <= Instant::now() {
                    let (query, group) = self.choose();
                    let lookup = DueLookup {
                        query,
                        group,
                        id: self.random.borrow_mut().random(),
                        due: began + since_began,
                        moment: phases.moment(since_began),
                    };
                    for group in ClientGroup::ALL {
                        self.ask(group, &lookup, &mut lookups);
                    }
                    since_began += interval;
                }
            }
            while lookups.join_next().await.is_some() {}
        };
        LocalSet::new().run_until(drive).await;
    }

    /// Chooses a query at random: one for a cold name as often as the scenario demands, otherwise
    /// one for a known name by the weights of the names.
    fn choose(&self) -> (Rc<PreparedQuery>, QuestionGroup) {
        let mut random = self.random.borrow_mut();
        let is_cold = random.random_range(0..100) < self.demand.cold_percent;
        let point = random.random::<f64>() * self.weights.last().copied().unwrap_or_default();
        let name = self.weights.partition_point(|weight| *weight < point).min(self.names.len().saturating_sub(1));
        let queries = self.names.get(name).map(Vec::as_slice).unwrap_or_default();
        let pick = random.random_range(0..queries.len().max(1));
        match queries.get(pick) {
            Some(query) if !is_cold => (Rc::clone(query), self.scenario.group(&query.question)),
            Some(_) | None => (Rc::new(self.cold_query()), QuestionGroup::Cold),
        }
    }

    /// A query for a name that nobody has asked for before, from a client that waits for it.
    fn cold_query(&self) -> PreparedQuery {
        let nth = self.next_cold.replace(self.next_cold.get() + 1);
        let mut query = PreparedQuery::new(self.demand.cold_question(nth, self.seed), Extension::Edns);
        query.patience = Patience::LONG;
        query
    }

    /// Starts one lookup in one group, if the group has a resolver to ask.
    fn ask(&self, group: ClientGroup, lookup: &DueLookup, lookups: &mut JoinSet<()>) {
        let Some(resolver) = self.resolvers.get(group).get() else { return };
        let DueLookup { group: questions, id, due, moment, .. } = *lookup;
        let (results, downtime) = (Rc::clone(&self.results), Rc::clone(&self.downtime));
        let count = move |outcome| {
            // Nobody can answer while the sidecar under test is dead, so such queries count apart.
            let was_down = group == ClientGroup::With && downtime.get().is_some_and(|downtime| downtime.covers(due));
            let mut results = results.borrow_mut();
            let results = results.get_mut(group);
            if was_down {
                results.during_downtime += 1;
            } else {
                results.add(moment, questions, outcome, due.elapsed());
            }
        };
        if lookups.len() >= OUTSTANDING_MAX {
            return count(LookupOutcome::Failed);
        }
        let (query, clock) = (Rc::clone(&lookup.query), self.clock.clone());
        lookups.spawn_local(async move { count(query.look_up(resolver, id, &clock).await) });
    }

    /// Notes when the resolver under test was not listening; queries of that time count apart.
    pub(super) fn note_downtime(&self, downtime: Downtime) {
        self.downtime.set(Some(downtime));
    }

    /// Prints the line of one second, unless the report is JSON, and begins to count the next
    /// second.
    pub(super) fn print_progress(&self, elapsed: Duration, phase: DrillPhase, packets: u64, state: &str) {
        let mut results = self.results.borrow_mut();
        let ByGroup { with, without, .. } = &mut *results;
        if self.output == Output::Table {
            let (with, without) = (&with.since_progress, &without.since_progress);
            console::remark(report::progress(&ProgressLine { elapsed, phase, with, without, packets, state }));
        }
        with.since_progress = PhaseCounts::default();
        without.since_progress = PhaseCounts::default();
    }

    /// Results of all groups.
    pub(super) fn into_results(self) -> ByGroup<ClientResults> {
        self.results.take()
    }
}
