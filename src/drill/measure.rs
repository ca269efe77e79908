//! The measurements of the drill: the answers that clients got in each phase, their latency, and
//! the time until answers were fresh again after the heal.
//!
//! The latency of a query counts from the moment at which it was due, not from the moment at which
//! it was sent, so that a client that falls behind does not hide the delay.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::client::LookupOutcome;
use super::demand::QuestionGroup;
use crate::core::labelled::labelled;

/// Longest time in which an answer is of use to the least patient clients (c-ares since 1.32).
pub const IN_TIME: Duration = Duration::from_millis(250);
/// Length of the intervals in which the answers after the heal are counted.
const BUCKET: Duration = Duration::from_millis(500);
/// Most of these intervals; later answers count in the last one.
const BUCKETS_MAX: usize = 10_000;
/// Share of answers after the heal that may be stale or missing where the rest counts as fresh, in
/// percent.
const NOT_FRESH_MAX: f64 = 1.0;
/// Largest latency that is recorded exactly, in microseconds; larger ones count as this one.
const LATENCY_MAX: u64 = 10_000_000;
/// Time after the heal within which answers may still be stale; later ones count as stale answers
/// while the upstream is healthy. Hundreds of names in use are refreshed at 20 to 80 a second, so
/// that many sidecars together do not overload an upstream that has just come back.
pub const SETTLED: Duration = Duration::from_secs(15);

labelled! {
    /// A phase of the drill, in the order in which they are played.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum DrillPhase {
        /// Everything works, before the fault.
        WarmUp = "warm-up",
        /// The upstream fails in the way of the scenario.
        Fault = "fault",
        /// Everything works again, after the fault.
        Heal = "heal",
    }
}

/// Counts and latencies of the queries of one group of clients in one phase.
#[derive(Clone, Debug)]
pub struct PhaseCounts {
    /// Number of queries that were due: the sum of fresh, stale, wrong and failed.
    pub queries: u64,
    /// Number of right answers within their TTL.
    pub fresh: u64,
    /// Number of right answers that were older than their TTL allows, or carried EDE 3 or 19.
    pub stale: u64,
    /// Number of answers of another kind than the zone has.
    pub wrong: u64,
    /// Number of lookups without an answer.
    pub failed: u64,
    /// Number of answers of any kind within [`IN_TIME`].
    pub in_time: u64,
    /// Latency of all queries, in microseconds.
    latency: Option<Histogram<u64>>,
}

impl Default for PhaseCounts {
    fn default() -> Self {
        let latency = Histogram::new_with_max(LATENCY_MAX, 3).ok();
        Self { queries: 0, fresh: 0, stale: 0, wrong: 0, failed: 0, in_time: 0, latency }
    }
}

impl PhaseCounts {
    /// Counts one query, whose lookup took `latency`.
    fn add(&mut self, outcome: LookupOutcome, latency: Duration) {
        self.queries += 1;
        match outcome {
            LookupOutcome::Fresh => self.fresh += 1,
            LookupOutcome::Stale => self.stale += 1,
            LookupOutcome::Wrong => self.wrong += 1,
            LookupOutcome::Failed => self.failed += 1,
        }
        self.in_time += u64::from(outcome != LookupOutcome::Failed && latency <= IN_TIME);
        if let Some(histogram) = &mut self.latency {
            histogram.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LATENCY_MAX));
        }
    }

    /// Share of queries that got an answer, in percent; 100 without any queries.
    #[must_use]
    pub fn answered_percent(&self) -> f64 {
        Share { part: self.queries - self.failed, whole: self.queries }.percent()
    }

    /// Share of queries that got an answer within [`IN_TIME`], in percent; 100 without any queries.
    #[must_use]
    pub fn in_time_percent(&self) -> f64 {
        Share { part: self.in_time, whole: self.queries }.percent()
    }

    /// Share of queries that got a right answer, in percent; 100 without any queries.
    #[must_use]
    pub fn resolved_percent(&self) -> f64 {
        Share { part: self.fresh + self.stale, whole: self.queries }.percent()
    }

    /// Share of queries that got a stale answer, in percent; 0 without any queries.
    #[must_use]
    pub fn stale_percent(&self) -> f64 {
        Share { part: self.stale, whole: self.queries.max(1) }.percent()
    }

    /// Percentile of the latency, in milliseconds.
    #[must_use]
    pub fn latency_ms(&self, percentile: f64) -> f64 {
        let micros = self.latency.as_ref().map_or(0, |latency| latency.value_at_percentile(percentile));
        f64::from(u32::try_from(micros).unwrap_or(u32::MAX)) / 1000.0
    }
}

/// A part of a whole, to be shown in percent.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Number of members of the whole that the share counts.
    pub part: u64,
    /// Number of all members.
    pub whole: u64,
}

impl Share {
    /// The share in percent; 100 if the whole is nothing.
    #[must_use]
    pub fn percent(self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "counts of a drill are far below 2^52")]
        let (part, whole) = (self.part as f64, self.whole as f64);
        if whole == 0.0 { 100.0 } else { part * 100.0 / whole }
    }
}

/// Packets that each of the two upstreams received: the one behind the resolver under test, and the
/// one that clients ask directly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketCounts {
    /// Packets from the resolver under test.
    pub with: u64,
    /// Packets from clients that ask the upstream directly.
    pub without: u64,
}

impl PacketCounts {
    /// Packets since an earlier count.
    #[must_use]
    pub const fn since(self, before: Self) -> Self {
        Self { with: self.with.saturating_sub(before.with), without: self.without.saturating_sub(before.without) }
    }

    /// The larger of two counts, for each upstream.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { with: self.with.max(other.with), without: self.without.max(other.without) }
    }
}

/// Half of a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// From the beginning of the phase to its middle.
    First,
    /// From the middle of the phase to its end.
    Second,
}

/// Moment of the drill: a phase, and the time since the phase began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Phase that is under way.
    pub phase: DrillPhase,
    /// Half of the phase that is under way.
    pub half: Half,
    /// Time since the phase began.
    pub into: Duration,
}

/// Counts of each phase, in order.
#[derive(Clone, Debug, Default)]
struct PhaseTable([PhaseCounts; 3]);

impl PhaseTable {
    const fn of(&self, phase: DrillPhase) -> &PhaseCounts {
        let [warm_up, fault, heal] = &self.0;
        match phase {
            DrillPhase::WarmUp => warm_up,
            DrillPhase::Fault => fault,
            DrillPhase::Heal => heal,
        }
    }

    const fn of_mut(&mut self, phase: DrillPhase) -> &mut PhaseCounts {
        let [warm_up, fault, heal] = &mut self.0;
        match phase {
            DrillPhase::WarmUp => warm_up,
            DrillPhase::Fault => fault,
            DrillPhase::Heal => heal,
        }
    }
}

/// Measurements of one group of clients.
#[derive(Clone, Debug, Default)]
pub struct ClientResults {
    /// Counts of all questions.
    all: PhaseTable,
    /// Counts of the questions about known names that the fault does not concern.
    known: PhaseTable,
    /// Counts of the questions about known names that the fault concerns.
    affected: PhaseTable,
    /// Counts of the questions about cold names.
    cold: PhaseTable,
    /// Counts of the questions about cold names in the first half of the fault, and in the second.
    cold_in_fault: [PhaseCounts; 2],
    /// Counts since the last progress line.
    pub since_progress: PhaseCounts,
    /// Stale answers while the upstream was healthy: in the warm-up, or 5 s and more after the
    /// heal.
    pub stale_while_healthy: u64,
    /// Queries that were due while the killed sidecar was not listening; they count nowhere else.
    pub during_downtime: u64,
    /// Counts after the heal, by the interval in which the queries were due.
    after_heal: Vec<HealBucket>,
}

/// Queries that were due in one interval after the heal.
#[derive(Clone, Copy, Debug, Default)]
struct HealBucket {
    queries: u64,
    /// Queries with a stale answer or none.
    not_fresh: u64,
}

impl ClientResults {
    /// Counts one query about a question of `group` that was due at `moment` and took `latency`.
    pub fn add(&mut self, moment: Moment, group: QuestionGroup, outcome: LookupOutcome, latency: Duration) {
        let of_group = match group {
            QuestionGroup::Known => &mut self.known,
            QuestionGroup::Affected => &mut self.affected,
            QuestionGroup::Cold => &mut self.cold,
        };
        of_group.of_mut(moment.phase).add(outcome, latency);
        self.all.of_mut(moment.phase).add(outcome, latency);
        if group == QuestionGroup::Cold && moment.phase == DrillPhase::Fault {
            let [first, second] = &mut self.cold_in_fault;
            match moment.half {
                Half::First => first,
                Half::Second => second,
            }
            .add(outcome, latency);
        }
        self.since_progress.add(outcome, latency);
        let is_healthy = match moment.phase {
            DrillPhase::WarmUp => true,
            DrillPhase::Fault => false,
            DrillPhase::Heal => moment.into >= SETTLED,
        };
        self.stale_while_healthy += u64::from(is_healthy && outcome == LookupOutcome::Stale);
        if moment.phase == DrillPhase::Heal {
            self.add_after_heal(moment.into, outcome);
        }
    }

    /// Counts one query that was due at this time after the heal.
    fn add_after_heal(&mut self, since_heal: Duration, outcome: LookupOutcome) {
        let index = usize::try_from(since_heal.as_millis() / BUCKET.as_millis()).unwrap_or_default().min(BUCKETS_MAX);
        if self.after_heal.len() <= index {
            self.after_heal.resize(index + 1, HealBucket::default());
        }
        if let Some(bucket) = self.after_heal.get_mut(index) {
            bucket.queries += 1;
            bucket.not_fresh += u64::from(matches!(outcome, LookupOutcome::Stale | LookupOutcome::Failed));
        }
    }

    /// Counts of all questions in one phase.
    #[must_use]
    pub const fn phase(&self, phase: DrillPhase) -> &PhaseCounts {
        self.all.of(phase)
    }

    /// Counts of one group of questions in one phase.
    #[must_use]
    pub const fn group(&self, group: QuestionGroup, phase: DrillPhase) -> &PhaseCounts {
        match group {
            QuestionGroup::Known => &self.known,
            QuestionGroup::Affected => &self.affected,
            QuestionGroup::Cold => &self.cold,
        }
        .of(phase)
    }

    /// Counts of the questions about cold names in one half of the fault.
    #[must_use]
    pub const fn cold_in_fault(&self, half: Half) -> &PhaseCounts {
        let [first, second] = &self.cold_in_fault;
        match half {
            Half::First => first,
            Half::Second => second,
        }
    }

    /// Groups of which questions were asked, in order.
    pub fn groups(&self) -> impl Iterator<Item = QuestionGroup> {
        let is_asked = |group| DrillPhase::ALL.iter().any(|phase| self.group(group, *phase).queries > 0);
        QuestionGroup::ALL.into_iter().filter(move |group| is_asked(*group))
    }

    /// Seconds from the heal to the first half second from which on at least 99 % of all answers
    /// were fresh; `None` if so many were not fresh even at the end.
    #[must_use]
    pub fn seconds_to_fresh(&self) -> Option<f64> {
        let is_not_fresh = |bucket: &HealBucket| {
            bucket.queries > 0 && Share { part: bucket.not_fresh, whole: bucket.queries }.percent() > NOT_FRESH_MAX
        };
        let first = self.after_heal.iter().rposition(is_not_fresh).map_or(0, |last| last + 1);
        if first >= self.after_heal.len() {
            return None;
        }
        Some(BUCKET.as_secs_f64() * f64::from(u32::try_from(first).unwrap_or(u32::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heal(millis: u64) -> Moment {
        Moment { phase: DrillPhase::Heal, half: Half::First, into: Duration::from_millis(millis) }
    }

    #[test]
    fn shares_and_percentiles_add_up() {
        let mut results = ClientResults::default();
        let fault = Moment { phase: DrillPhase::Fault, half: Half::First, into: Duration::ZERO };
        for _ in 0..98 {
            results.add(fault, QuestionGroup::Known, LookupOutcome::Stale, Duration::from_millis(1));
        }
        results.add(fault, QuestionGroup::Known, LookupOutcome::Fresh, Duration::from_millis(300));
        results.add(fault, QuestionGroup::Known, LookupOutcome::Failed, Duration::from_secs(2));
        let counts = results.phase(DrillPhase::Fault);
        assert_eq!(
            (counts.queries, counts.stale, counts.answered_percent(), counts.in_time_percent()),
            (100, 98, 99.0, 98.0)
        );
        assert!((counts.latency_ms(50.0) - 1.0).abs() < 0.1 && counts.latency_ms(100.0) > 1999.0);
    }

    #[test]
    fn groups_and_halves_are_counted_apart_and_together() {
        let mut results = ClientResults::default();
        for (half, group) in [
            (Half::First, QuestionGroup::Cold),
            (Half::Second, QuestionGroup::Cold),
            (Half::Second, QuestionGroup::Cold),
            (Half::Second, QuestionGroup::Known),
        ] {
            let moment = Moment { phase: DrillPhase::Fault, half, into: Duration::ZERO };
            results.add(moment, group, LookupOutcome::Fresh, Duration::from_millis(1));
        }
        let queries = |group| results.group(group, DrillPhase::Fault).queries;
        assert_eq!(QuestionGroup::ALL.map(queries), [1, 0, 3]);
        assert_eq!([Half::First, Half::Second].map(|half| results.cold_in_fault(half).queries), [1, 2]);
        assert_eq!(results.phase(DrillPhase::Fault).queries, 4);
        assert_eq!(results.groups().collect::<Vec<_>>(), [QuestionGroup::Known, QuestionGroup::Cold]);
    }

    #[test]
    fn the_time_to_fresh_is_the_end_of_the_last_stale_stretch() {
        let mut results = ClientResults::default();
        for millis in (0..6000).step_by(10) {
            let outcome = if millis < 1200 { LookupOutcome::Stale } else { LookupOutcome::Fresh };
            results.add(heal(millis), QuestionGroup::Known, outcome, Duration::from_millis(1));
        }
        assert_eq!(results.seconds_to_fresh(), Some(1.5));
        assert_eq!(results.stale_while_healthy, 0);
        results.add(heal(15_900), QuestionGroup::Known, LookupOutcome::Stale, Duration::from_millis(1));
        assert_eq!(results.stale_while_healthy, 1);
    }

    #[test]
    fn without_a_fresh_interval_after_the_heal_there_is_no_time_to_fresh() {
        let mut results = ClientResults::default();
        results.add(heal(10), QuestionGroup::Known, LookupOutcome::Stale, Duration::from_millis(1));
        assert_eq!(results.seconds_to_fresh(), None);
    }
}
