//! The verdict: what the contract promises of each scenario, checked against what was measured.
//!
//! A promise that the run was too short to try is left out: a heal of 2 s cannot tell who would have been fresh after 5 s.

use std::time::Duration;

use super::fault::Scenario;
use super::measure::{Column, Phase};

/// Packets a second that may go upstream.
const PACKETS_MAX: u64 = 900;
/// Seconds after the heal within which answers must be fresh.
const FRESH_WITHIN: f64 = 5.0;
/// Share of known names that must be answered in time, in percent.
const IN_TIME: f64 = 99.99;

/// One promise and whether it was kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// What was promised.
    pub promise: String,
    /// What was measured.
    pub measured: String,
    /// Whether it was kept.
    pub kept: bool,
}

/// What the checks look at.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// What went wrong.
    pub scenario: Scenario,
    /// What clients of the resolver under test got.
    pub with: &'a Column,
    /// The most packets that it sent upstream in any second.
    pub peak_packets: u64,
    /// How long the upstream was whole again when the run ended.
    pub heal: Duration,
}

/// Checks every promise that the scenario touches.
#[must_use]
pub fn verdict(evidence: &Evidence<'_>) -> Vec<Check> {
    let fault = evidence.with.phase(Phase::Fault);
    let mut checks = Vec::new();
    if evidence.scenario == Scenario::Nxdomain {
        checks.push(Check {
            promise: "every query is answered, and a denial is obeyed (hold is off)".into(),
            measured: format!("{:.3} % answered, {} denials", fault.answered_percent(), fault.wrong),
            kept: fault.answered_percent() >= IN_TIME && fault.wrong > 0,
        });
    } else {
        checks.push(Check {
            promise: format!("during the fault at least {IN_TIME} % of all queries for known names are answered within 250 ms"),
            measured: format!("{:.3} %", fault.in_time_percent()),
            kept: fault.in_time_percent() >= IN_TIME && fault.wrong == 0 && fault.queries > 0,
        });
    }
    checks.push(Check {
        promise: "no stale answer while the upstream is healthy".into(),
        measured: evidence.with.stale_while_healthy.to_string(),
        kept: evidence.with.stale_while_healthy == 0,
    });
    checks.push(Check {
        promise: format!("at most {PACKETS_MAX} packets a second upstream"),
        measured: format!("peak {}", evidence.peak_packets),
        kept: evidence.peak_packets <= PACKETS_MAX,
    });
    let fresh = evidence.with.seconds_to_fresh();
    let tried = fresh.is_some() || evidence.heal.as_secs_f64() >= FRESH_WITHIN;
    if evidence.scenario != Scenario::Nxdomain && tried {
        checks.push(Check {
            promise: format!("fresh again within {FRESH_WITHIN} s of the heal"),
            measured: fresh.map_or_else(|| "never".into(), |seconds| format!("{seconds:.1} s")),
            kept: fresh.is_some_and(|seconds| seconds <= FRESH_WITHIN),
        });
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::super::client::Outcome;
    use super::super::measure::Moment;
    use super::*;

    /// A run with these outcomes during the fault and fresh ones after it.
    fn column(outcomes: &[(Outcome, u64)]) -> Column {
        let mut column = Column::default();
        for (outcome, millis) in outcomes {
            let moment = Moment { phase: Phase::Fault, into: Duration::ZERO };
            column.add(moment, *outcome, Duration::from_millis(*millis));
        }
        column.add(Moment { phase: Phase::Heal, into: Duration::from_millis(1) }, Outcome::Fresh, Duration::from_millis(1));
        column
    }

    fn kept(scenario: Scenario, column: &Column, peak_packets: u64) -> Vec<bool> {
        verdict(&Evidence { scenario, with: column, peak_packets, heal: Duration::from_secs(10) }).iter().map(|check| check.kept).collect()
    }

    #[test]
    fn a_good_run_keeps_all_promises() {
        assert_eq!(kept(Scenario::Blackhole, &column(&[(Outcome::Stale, 1); 100]), 20), [true; 4]);
    }

    #[test]
    fn each_promise_can_be_broken() {
        assert!(!kept(Scenario::Blackhole, &column(&[(Outcome::Failed, 2000)]), 20)[0]);
        assert!(!kept(Scenario::Blackhole, &column(&[(Outcome::Stale, 300)]), 20)[0], "too late");
        assert!(!kept(Scenario::Blackhole, &column(&[(Outcome::Wrong, 1)]), 20)[0]);
        assert!(!kept(Scenario::Blackhole, &column(&[]), 20)[0], "nothing was asked");
        assert!(!kept(Scenario::Blackhole, &column(&[(Outcome::Stale, 1)]), 901)[2]);
        let mut stale = column(&[(Outcome::Stale, 1)]);
        stale.add(Moment { phase: Phase::WarmUp, into: Duration::ZERO }, Outcome::Stale, Duration::ZERO);
        assert!(!kept(Scenario::Blackhole, &stale, 20)[1]);
        stale.add(Moment { phase: Phase::Heal, into: Duration::from_secs(6) }, Outcome::Stale, Duration::ZERO);
        assert!(!kept(Scenario::Blackhole, &stale, 20)[3]);
    }

    #[test]
    fn a_heal_that_is_too_short_to_become_fresh_in_breaks_no_promise() {
        let mut column = column(&[(Outcome::Stale, 1)]);
        column.add(Moment { phase: Phase::Heal, into: Duration::from_millis(900) }, Outcome::Stale, Duration::ZERO);
        let fresh = |heal| {
            let checks = verdict(&Evidence { scenario: Scenario::Blackhole, with: &column, peak_packets: 20, heal });
            checks.iter().find(|check| check.promise.starts_with("fresh again")).map(|check| check.kept)
        };
        assert_eq!(fresh(Duration::from_secs(1)), None);
        assert_eq!(fresh(Duration::from_secs(5)), Some(false));
    }

    #[test]
    fn denials_are_obeyed() {
        assert_eq!(kept(Scenario::Nxdomain, &column(&[(Outcome::Wrong, 1)]), 20), [true; 3]);
        assert!(!kept(Scenario::Nxdomain, &column(&[(Outcome::Stale, 1)]), 20)[0]);
    }
}
