//! The verdict: what the contract promises of each scenario, checked against what was measured.
//!
//! A promise that the run was too short to try is left out: a heal of 2 s cannot tell who would
//! have been fresh after 5 s.

use std::time::Duration;

use super::fault::Scenario;
use super::flood::Flooded;
use super::measure::{Column, Phase, percent};

/// A sidecar that was killed answers so soon after its start.
const BACK_WITHIN: Duration = Duration::from_millis(50);
/// Share of the queries that a new instance must answer in time from the shared cache, in percent.
/// Not all: a denial is published only once it was asked for again.
const NEWCOMER_IN_TIME: f64 = 95.0;
/// Packets a second that may go upstream.
const PACKETS_MAX: u64 = 900;
/// Seconds after the heal within which answers must be fresh.
const FRESH_WITHIN: f64 = 5.0;
/// Share of known names that must be answered in time, in percent.
const IN_TIME: f64 = 99.99;

/// Memory that a flood may cost at the most, in bytes: 4096 clients that wait and 1000 resolutions
/// in the sidecar, some 4 KiB each, and in the drill itself two seconds of clients without holdover
/// and without an answer.
const GROWTH_MAX: u64 = 32 << 20;
/// Share of the flood that is answered, in percent; the rest may be lost on the way, as datagrams
/// are.
const FLOOD_ANSWERED: f64 = 95.0;
/// Answers for critical names in the drill at the most.
const CRITICAL_ANSWERS_MAX: u64 = 16;

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
    /// What clients of a new, empty instance beside it got, which has a shared cache.
    pub newcomer: Option<&'a Column>,
    /// The most packets that it sent upstream in any second.
    pub peak_packets: u64,
    /// What came of a flood.
    pub flooded: Option<&'a Flooded>,
    /// How long the upstream was whole again when the run ended.
    pub heal: Duration,
    /// How long after its start the sidecar that had been killed answered again.
    pub back_after: Option<Duration>,
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
            promise: format!(
                "during the fault at least {IN_TIME} % of all queries for known names are answered within 250 ms"
            ),
            measured: format!("{:.3} %", fault.in_time_percent()),
            kept: fault.in_time_percent() >= IN_TIME && fault.wrong == 0 && fault.queries > 0,
        });
    }
    if evidence.scenario == Scenario::Flood {
        checks.push(Check {
            promise: "none of them is left without an answer".into(),
            measured: format!("{} of {}", fault.failed, fault.queries),
            kept: fault.failed == 0,
        });
    }
    if evidence.scenario == Scenario::Restart {
        let deaf = evidence.with.while_nobody_listened;
        checks.push(Check {
            promise: format!("killed and started again, it answers within {} ms of its start", BACK_WITHIN.as_millis()),
            measured: evidence.back_after.map_or_else(
                || "never".into(),
                |after| {
                    format!(
                        "{:.1} ms; {deaf} queries came while nobody listened, and are not counted above",
                        after.as_secs_f64() * 1000.0
                    )
                },
            ),
            kept: evidence.back_after.is_some_and(|after| after <= BACK_WITHIN),
        });
    }
    if let Some(newcomer) = evidence.newcomer {
        let fault = newcomer.phase(Phase::Fault);
        checks.push(Check {
            promise: format!(
                "a new, empty instance answers from the shared cache at least {NEWCOMER_IN_TIME} % within 250 ms"
            ),
            measured: format!("{:.3} % of {}", fault.in_time_percent(), fault.queries),
            kept: fault.in_time_percent() >= NEWCOMER_IN_TIME && fault.wrong == 0 && fault.queries > 0,
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
    checks.extend(evidence.flooded.into_iter().flat_map(flood));
    checks
}

/// Checks what is promised of a flood.
fn flood(flooded: &Flooded) -> Vec<Check> {
    let critical = flooded.critical.phase(Phase::Fault);
    let [before, peak] = flooded.resident;
    let [full, after] = flooded.entries;
    let mebibytes = |bytes: u64| format!("{}.{} MiB", bytes >> 20, ((bytes % (1 << 20)) * 10) >> 20);
    let grown = peak.saturating_sub(before);
    let mut checks = Vec::new();
    if flooded.entries_max > 0 && full > 0 {
        checks.push(Check {
            promise: "critical names that nobody had asked for are all answered within 250 ms while the flood lasts"
                .into(),
            measured: format!("{:.3} % of {}, {} stale", critical.in_time_percent(), critical.queries, critical.stale),
            kept: critical.queries > 0 && critical.in_time == critical.queries && critical.wrong == 0,
        });
        checks.push(Check {
            promise: format!(
                "the cache stays full and within its bound of {} answers and the critical ones",
                flooded.entries_max
            ),
            measured: format!("{full} before the flood, {after} after it"),
            kept: after.abs_diff(full) <= full / 100 && after <= flooded.entries_max + CRITICAL_ANSWERS_MAX,
        });
        checks.push(Check {
            promise: format!(
                "resident memory, all of the drill's own included, grows by at most {}",
                mebibytes(GROWTH_MAX)
            ),
            measured: format!("{} before the flood, {} at most during it", mebibytes(before), mebibytes(peak)),
            kept: grown <= GROWTH_MAX,
        });
    }
    let (sent, answered) = (flooded.sent, flooded.answered);
    checks.push(Check {
        promise: format!("of the flood at least {FLOOD_ANSWERED} % are answered, be it with SERVFAIL"),
        measured: format!("{:.3} % of {sent}, {} a second", percent(answered, sent), flooded.per_second()),
        kept: sent > 0 && percent(answered, sent) >= FLOOD_ANSWERED,
    });
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
        column.add(
            Moment { phase: Phase::Heal, into: Duration::from_millis(1) },
            Outcome::Fresh,
            Duration::from_millis(1),
        );
        column
    }

    fn kept(scenario: Scenario, column: &Column, peak_packets: u64) -> Vec<bool> {
        verdict(&Evidence {
            scenario,
            with: column,
            newcomer: None,
            peak_packets,
            heal: Duration::from_secs(10),
            flooded: None,
            back_after: None,
        })
        .iter()
        .map(|check| check.kept)
        .collect()
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
            let checks = verdict(&Evidence {
                scenario: Scenario::Blackhole,
                with: &column,
                newcomer: None,
                peak_packets: 20,
                heal,
                flooded: None,
                back_after: None,
            });
            checks.iter().find(|check| check.promise.starts_with("fresh again")).map(|check| check.kept)
        };
        assert_eq!(fresh(Duration::from_secs(1)), None);
        assert_eq!(fresh(Duration::from_secs(5)), Some(false));
    }

    #[test]
    fn each_promise_of_a_flood_can_be_broken() {
        let flooded = || Flooded {
            sent: 1000,
            answered: 1000,
            lasted: Duration::from_secs(1),
            critical: column(&[(Outcome::Stale, 1); 10]),
            resident: [20 << 20, 30 << 20],
            entries: [960, 961],
            entries_max: 945,
        };
        let kept = |flooded: Flooded| flood(&flooded).iter().map(|check| check.kept).collect::<Vec<_>>();
        assert_eq!(kept(flooded()), [true; 4]);
        assert_eq!(
            kept(Flooded { critical: column(&[(Outcome::Failed, 1), (Outcome::Stale, 1)]), ..flooded() }),
            [false, true, true, true]
        );
        assert_eq!(
            kept(Flooded { critical: Column::default(), ..flooded() }),
            [false, true, true, true],
            "nobody asked"
        );
        assert_eq!(kept(Flooded { entries: [960, 700], ..flooded() }), [true, false, true, true], "washed out");
        assert_eq!(kept(Flooded { resident: [20 << 20, 99 << 20], ..flooded() }), [true, true, false, true]);
        assert_eq!(kept(Flooded { answered: 900, ..flooded() }), [true, true, true, false]);
        assert_eq!(
            kept(Flooded { entries: [0, 0], ..flooded() }),
            [true],
            "of another resolver only what is seen from outside"
        );
    }

    #[test]
    fn a_sidecar_that_was_killed_has_to_be_back_soon() {
        let column = column(&[(Outcome::Stale, 1)]);
        let check = |back_after| {
            let evidence = Evidence {
                scenario: Scenario::Restart,
                with: &column,
                newcomer: None,
                peak_packets: 20,
                heal: Duration::from_secs(10),
                flooded: None,
                back_after,
            };
            verdict(&evidence)[1].kept
        };
        assert!(check(Some(Duration::from_millis(50))));
        assert!(!check(Some(Duration::from_millis(51))) && !check(None));
    }

    #[test]
    fn an_instance_that_begins_with_nothing_has_to_live_from_the_shared_cache() {
        let with = column(&[(Outcome::Stale, 1)]);
        let check = |newcomer: &Column| {
            let evidence = Evidence {
                scenario: Scenario::Restart,
                with: &with,
                newcomer: Some(newcomer),
                peak_packets: 20,
                heal: Duration::from_secs(10),
                flooded: None,
                back_after: Some(Duration::from_millis(20)),
            };
            verdict(&evidence).iter().find(|check| check.promise.starts_with("a new, empty")).map(|check| check.kept)
        };
        assert_eq!(check(&column(&[(Outcome::Stale, 30)])), Some(true));
        assert_eq!(check(&column(&[(Outcome::Stale, 1), (Outcome::Failed, 1)])), Some(false));
        assert_eq!(check(&column(&[(Outcome::Stale, 300)])), Some(false), "too late");
        assert_eq!(check(&Column::default()), Some(false), "it never came");
    }

    #[test]
    fn denials_are_obeyed() {
        assert_eq!(kept(Scenario::Nxdomain, &column(&[(Outcome::Wrong, 1)]), 20), [true; 3]);
        assert!(!kept(Scenario::Nxdomain, &column(&[(Outcome::Stale, 1)]), 20)[0]);
    }
}
