//! Takes measurements: what clients got in each phase, how long it took, how soon answers were
//! fresh after the heal.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::client::Outcome;
use crate::core::labelled::labelled;

/// Answers later than this are too late for the quickest clients (c-ares since 1.32).
pub const IN_TIME: Duration = Duration::from_millis(250);
/// Length of the buckets in which freshness after the heal is looked for.
const BUCKET: Duration = Duration::from_millis(500);
/// Largest latency that is told apart, in microseconds.
const LATENCY_MAX: u64 = 10_000_000;

labelled! {
    /// A part of the drill.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Phase {
        /// Everything works.
        WarmUp = "warm-up",
        /// The fault.
        Fault = "fault",
        /// Everything works again.
        Heal = "heal",
    }
}

/// What clients got in one phase.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Queries.
    pub queries: u64,
    /// Right answers within their TTL.
    pub fresh: u64,
    /// Right answers beyond it.
    pub stale: u64,
    /// Other answers than the true ones.
    pub wrong: u64,
    /// No answers.
    pub failed: u64,
    /// Answers of any kind within [`IN_TIME`].
    pub in_time: u64,
    /// Latency of all queries, in microseconds, from the moment at which each was due.
    latency: Option<Histogram<u64>>,
}

impl Default for Tally {
    fn default() -> Self {
        let latency = Histogram::new_with_max(LATENCY_MAX, 3).ok();
        Self { queries: 0, fresh: 0, stale: 0, wrong: 0, failed: 0, in_time: 0, latency }
    }
}

impl Tally {
    /// Takes one query in.
    fn add(&mut self, outcome: Outcome, after: Duration) {
        self.queries += 1;
        match outcome {
            Outcome::Fresh => self.fresh += 1,
            Outcome::Stale => self.stale += 1,
            Outcome::Wrong => self.wrong += 1,
            Outcome::Failed => self.failed += 1,
        }
        self.in_time += u64::from(outcome != Outcome::Failed && after <= IN_TIME);
        if let Some(latency) = &mut self.latency {
            latency.saturating_record(u64::try_from(after.as_micros()).unwrap_or(LATENCY_MAX));
        }
    }

    /// Share of queries that got an answer, in percent.
    #[must_use]
    pub fn answered_percent(&self) -> f64 {
        percent(self.queries - self.failed, self.queries)
    }

    /// Share of queries that got an answer in time, in percent.
    #[must_use]
    pub fn in_time_percent(&self) -> f64 {
        percent(self.in_time, self.queries)
    }

    /// A percentile of the latency, in milliseconds.
    #[must_use]
    pub fn latency_ms(&self, percentile: f64) -> f64 {
        let micros = self.latency.as_ref().map_or(0, |latency| latency.value_at_percentile(percentile));
        f64::from(u32::try_from(micros).unwrap_or(u32::MAX)) / 1000.0
    }
}

/// `part` of `whole` in percent; 100 of nothing.
#[must_use]
pub fn percent(part: u64, whole: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts of a drill are far below 2^52")]
    let (part, whole) = (part as f64, whole as f64);
    if whole == 0.0 { 100.0 } else { part * 100.0 / whole }
}

/// One moment on the drill's timeline: a phase, and the time since it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The phase.
    pub phase: Phase,
    /// Time since it began.
    pub into: Duration,
}

/// The measurements of one column: with holdover, or without.
#[derive(Clone, Debug, Default)]
pub struct Column {
    /// By phase.
    phases: [Tally; 3],
    /// Since the last progress line.
    pub second: Tally,
    /// Stale answers while the upstream was healthy and had been for long enough.
    pub stale_while_healthy: u64,
    /// Queries that were due while nobody listened, because the sidecar had been killed; they count
    /// nowhere else.
    pub while_nobody_listened: u64,
    /// Answers and stale answers after the heal, by bucket of the moment at which they were due.
    after_heal: Vec<(u64, u64)>,
}

/// A stale answer counts as one "while healthy" when the upstream has been well for so long.
const SETTLED: Duration = Duration::from_secs(5);

impl Column {
    /// Takes one query in that was due at `moment`.
    pub fn add(&mut self, moment: Moment, outcome: Outcome, after: Duration) {
        let index = match moment.phase {
            Phase::WarmUp => 0,
            Phase::Fault => 1,
            Phase::Heal => 2,
        };
        if let Some(tally) = self.phases.get_mut(index) {
            tally.add(outcome, after);
        }
        self.second.add(outcome, after);
        let healthy = moment.phase == Phase::WarmUp || moment.phase == Phase::Heal && moment.into >= SETTLED;
        self.stale_while_healthy += u64::from(healthy && outcome == Outcome::Stale);
        if moment.phase == Phase::Heal {
            let bucket = usize::try_from(moment.into.as_millis() / BUCKET.as_millis()).unwrap_or_default().min(10_000);
            if self.after_heal.len() <= bucket {
                self.after_heal.resize(bucket + 1, (0, 0));
            }
            if let Some((answers, stale)) = self.after_heal.get_mut(bucket) {
                *answers += 1;
                *stale += u64::from(matches!(outcome, Outcome::Stale | Outcome::Failed));
            }
        }
    }

    /// What clients got in a phase.
    #[must_use]
    pub fn phase(&self, phase: Phase) -> &Tally {
        let [warm_up, fault, heal] = &self.phases;
        match phase {
            Phase::WarmUp => warm_up,
            Phase::Fault => fault,
            Phase::Heal => heal,
        }
    }

    /// Seconds from the heal to the first half second from which on at least 99 % of all answers
    /// were fresh; `None` if that never came.
    #[must_use]
    pub fn seconds_to_fresh(&self) -> Option<f64> {
        let not_fresh = |(answers, stale): &(u64, u64)| *answers > 0 && percent(*stale, *answers) > 1.0;
        let first = self.after_heal.iter().rposition(not_fresh).map_or(0, |last| last + 1);
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
        Moment { phase: Phase::Heal, into: Duration::from_millis(millis) }
    }

    #[test]
    fn shares_and_percentiles_add_up() {
        let mut column = Column::default();
        let fault = Moment { phase: Phase::Fault, into: Duration::ZERO };
        for _ in 0..98 {
            column.add(fault, Outcome::Stale, Duration::from_millis(1));
        }
        column.add(fault, Outcome::Fresh, Duration::from_millis(300));
        column.add(fault, Outcome::Failed, Duration::from_secs(2));
        let tally = column.phase(Phase::Fault);
        assert_eq!(
            (tally.queries, tally.stale, tally.answered_percent(), tally.in_time_percent()),
            (100, 98, 99.0, 98.0)
        );
        assert!((tally.latency_ms(50.0) - 1.0).abs() < 0.1 && tally.latency_ms(100.0) > 1999.0);
    }

    #[test]
    fn the_time_to_fresh_is_the_end_of_the_last_stale_stretch() {
        let mut column = Column::default();
        for millis in (0..6000).step_by(10) {
            let outcome = if millis < 1200 { Outcome::Stale } else { Outcome::Fresh };
            column.add(heal(millis), outcome, Duration::from_millis(1));
        }
        assert_eq!(column.seconds_to_fresh(), Some(1.5));
        assert_eq!(column.stale_while_healthy, 0);
        column.add(heal(5900), Outcome::Stale, Duration::from_millis(1));
        assert_eq!(column.stale_while_healthy, 1);
    }

    #[test]
    fn never_fresh_is_said() {
        let mut column = Column::default();
        column.add(heal(10), Outcome::Stale, Duration::from_millis(1));
        assert_eq!(column.seconds_to_fresh(), None);
    }
}
