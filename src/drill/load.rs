//! The load: columns of clients that ask the same questions at the same moments, one through the
//! resolver under test, one straight to the upstream, and later one through a new instance, where
//! there is one.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::client::{Outcome, Prepared};
use super::measure::{Column, Moment, Phase, Tally};
use super::report::{self, Second};
use super::restart::Gap;
use super::zone;
use super::{Options, Output};
use crate::core::upstream_query::Extension;
use crate::telemetry::console;

/// Queries that may wait for an answer at the same moment; one more counts as failed. Two seconds
/// of 4 000 queries a second.
const OUTSTANDING_MAX: usize = 8_000;
/// Questions a second with which names are made known before the drill begins.
const PRIME_PER_SECOND: u32 = 400;

/// The columns and what they ask.
pub(super) struct Columns {
    /// Where the columns send to: with, without, the newcomer as soon as it is there.
    servers: [Cell<Option<SocketAddr>>; 3],
    /// What may be asked, by name.
    names: Vec<Vec<Rc<Prepared>>>,
    /// Cumulated weights of the names, Zipf.
    weights: Vec<f64>,
    /// When generation 0 was.
    zone_began: Instant,
    /// What was measured, in the same order.
    measured: Rc<RefCell<[Column; 3]>>,
    /// When nobody listened in the first column.
    gap: Rc<Cell<Option<Gap>>>,
    /// Throws dice.
    dice: RefCell<StdRng>,
    /// How results are told.
    output: Output,
}

impl Columns {
    /// Prepares all questions.
    pub(super) fn new(options: &Options, servers: [SocketAddr; 2], zone_began: Instant) -> Self {
        let prepare = |(position, question): (usize, zone::Question)| {
            // Every other question goes without EDNS, as many clients' do.
            Rc::new(Prepared::new(
                question,
                if position.is_multiple_of(2) { Extension::Edns } else { Extension::Plain },
            ))
        };
        let names = (0..options.names)
            .map(|index| zone::questions(index).into_iter().enumerate().map(prepare).collect())
            .collect();
        let mut sum = 0.0;
        let weights = (1..=options.names)
            .map(|rank| {
                sum += 1.0 / f64::from(u32::try_from(rank).unwrap_or(u32::MAX));
                sum
            })
            .collect();
        let dice = RefCell::new(StdRng::seed_from_u64(options.seed));
        let [with, without] = servers.map(|server| Cell::new(Some(server)));
        let servers = [with, without, Cell::new(None)];
        Self {
            servers,
            names,
            weights,
            zone_began,
            measured: Rc::default(),
            gap: Rc::default(),
            dice,
            output: options.output,
        }
    }

    /// When generation 0 was.
    pub(super) const fn zone_began(&self) -> Instant {
        self.zone_began
    }

    /// From now on the newcomer is asked as well.
    pub(super) fn add_newcomer(&self, address: SocketAddr) {
        let [_, _, newcomer] = &self.servers;
        newcomer.set(Some(address));
    }

    /// Asks every question once in both columns, so that all names are known.
    pub(super) async fn prime(&self) {
        let tasks = tokio::task::LocalSet::new();
        let questions = self.names.iter().flatten().cloned();
        let servers: Vec<SocketAddr> = self.servers.iter().filter_map(Cell::get).collect();
        let zone_began = self.zone_began;
        tasks
            .run_until(async move {
                let mut pace = tokio::time::interval(Duration::from_secs(1) / PRIME_PER_SECOND);
                let mut all = JoinSet::new();
                for question in questions {
                    pace.tick().await;
                    for server in servers.iter().copied() {
                        let question = Rc::clone(&question);
                        all.spawn_local(async move { question.look_up(server, 1, zone_began).await });
                    }
                }
                while all.join_next().await.is_some() {}
            })
            .await;
    }

    /// Asks at the configured rate from `began` until `end`, then waits for what is outstanding.
    pub(super) async fn drive(&self, options: &Options, began: Instant, end: Duration) {
        let tasks = tokio::task::LocalSet::new();
        tasks
            .run_until(async {
                let mut all = JoinSet::new();
                let gap = Duration::from_secs(1) / options.qps.max(1);
                let mut due = Duration::ZERO;
                while due < end {
                    tokio::time::sleep_until(began + due).await;
                    while all.try_join_next().is_some() {}
                    // Timers are coarser than the gap: everything that is due goes out.
                    while due < end && began + due <= Instant::now() {
                        let (question, id) = self.choose();
                        for (column, server) in self.servers.iter().enumerate() {
                            if let Some(server) = server.get() {
                                self.ask(&mut all, &question, id, (column, server), began + due, options.moment(due));
                            }
                        }
                        due += gap;
                    }
                }
                while all.join_next().await.is_some() {}
            })
            .await;
    }

    /// Chooses a question: hot names often, cold ones seldom.
    fn choose(&self) -> (Rc<Prepared>, u16) {
        let mut dice = self.dice.borrow_mut();
        let point = dice.random::<f64>() * self.weights.last().copied().unwrap_or(1.0);
        let name = self.weights.partition_point(|weight| *weight < point).min(self.names.len().saturating_sub(1));
        let questions = self.names.get(name).map(Vec::as_slice).unwrap_or_default();
        let pick = dice.random_range(0..questions.len().max(1));
        let question =
            questions.get(pick).cloned().unwrap_or_else(|| Rc::new(Prepared::new(fallback(), Extension::Edns)));
        (question, dice.random())
    }

    /// Asks one question in one column.
    fn ask(
        &self,
        all: &mut JoinSet<()>,
        question: &Rc<Prepared>,
        id: u16,
        (column, server): (usize, SocketAddr),
        due: Instant,
        moment: Moment,
    ) {
        let measured = Rc::clone(&self.measured);
        let gap = Rc::clone(&self.gap);
        let add = move |outcome| {
            let nobody = column == 0 && gap.get().is_some_and(|gap| gap.covers(due));
            if let Some(column) = measured.borrow_mut().get_mut(column).filter(|_| nobody) {
                column.while_nobody_listened += 1;
            } else if let Some(column) = measured.borrow_mut().get_mut(column) {
                column.add(moment, outcome, due.elapsed());
            }
        };
        if all.len() >= OUTSTANDING_MAX {
            return add(Outcome::Failed);
        }
        let (question, zone_began) = (Rc::clone(question), self.zone_began);
        all.spawn_local(async move { add(question.look_up(server, id, zone_began).await) });
    }

    /// Notes when nobody listened: what was asked then counts apart.
    pub(super) fn note_gap(&self, gap: Gap) {
        self.gap.set(Some(gap));
    }

    /// Writes the line of one second and begins the next.
    pub(super) fn progress(&self, elapsed: Duration, phase: Phase, packets: u64, state: &str) {
        let mut measured = self.measured.borrow_mut();
        let [with, without, _] = &mut *measured;
        if self.output == Output::Table {
            let second = Second { elapsed, phase, with: &with.second, without: &without.second, packets, state };
            console::remark(report::progress(&second));
        }
        with.second = Tally::default();
        without.second = Tally::default();
    }

    /// What was measured: with, without, through the newcomer.
    pub(super) fn take(self) -> [Column; 3] {
        self.measured.take()
    }
}

/// A question for a drill without names.
fn fallback() -> zone::Question {
    let name = format!("app0.{}", zone::DOMAIN);
    zone::Question { truth: zone::truth(&name, zone::Type::A), name, rtype: zone::Type::A }
}
