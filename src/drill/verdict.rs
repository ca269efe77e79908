//! The verdict, which compares each promise of the scenario with its measurement.
//!
//! A promise that the run cannot test is left out of the verdict: after a heal of 2 s nobody knows
//! whether answers would have been fresh after 5 s, and the memory of another resolver's process is
//! not visible from here.

use std::time::Duration;

use super::demand::QuestionGroup;
use super::flood::FloodResults;
use super::measure::{ClientResults, DrillPhase, PhaseCounts, Share};
use super::promise::{CacheBound, FaultPart, OutageSpan, Promise, mebibytes};

/// A promise with the result of its measurement.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// Text of the promise.
    pub promise: String,
    /// Text of the measurement.
    pub measured: String,
    /// Whether the promise was kept.
    pub kept: bool,
}

/// Outages that the sidecar under test has announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutageCounts {
    /// Number of outages that began in the whole run.
    pub whole_run: u64,
    /// Number of outages that began after the heal.
    pub after_heal: u64,
}

/// Measurements of one run, with which promises are compared.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// Results of the clients of the resolver under test.
    pub with: &'a ClientResults,
    /// Results of the clients of a new, empty instance that shares a cache with the resolver under
    /// test; `None` without a shared cache.
    pub newcomer: Option<&'a ClientResults>,
    /// The most packets that the resolver under test sent upstream in any second.
    pub peak_packets: u64,
    /// The most packets that the resolver under test sent upstream in any second after the heal.
    pub peak_packets_after_heal: u64,
    /// Outages that the sidecar announced; `None` if the drill cannot look into the resolver under
    /// test.
    pub outages: Option<OutageCounts>,
    /// Measurements of the flood; `None` in other scenarios.
    pub flood: Option<&'a FloodResults>,
    /// Length of the heal phase.
    pub heal: Duration,
    /// Time from the start to the first answer of the sidecar that had been killed; `None` if it
    /// never answered, and in other scenarios.
    pub back_after: Option<Duration>,
}

/// Measurement of one promise.
struct Measurement {
    text: String,
    kept: bool,
}

/// Compares promises with the measurements; leaves out those that the run cannot test.
#[must_use]
pub fn verdict(promises: &[Promise], evidence: &Evidence<'_>) -> Vec<Check> {
    let check = |promise: &Promise| {
        let Measurement { text, kept } = measure(*promise, evidence)?;
        Some(Check { promise: promise.text(), measured: text, kept })
    };
    promises.iter().filter_map(check).collect()
}

/// Measures one promise; `None` if the run cannot test it.
fn measure(promise: Promise, evidence: &Evidence<'_>) -> Option<Measurement> {
    let fault = evidence.with.phase(DrillPhase::Fault);
    let flood = evidence.flood;
    match promise {
        Promise::KnownNamesInTime { percent } => {
            let known = known_in_time(evidence.with, DrillPhase::Fault);
            Some(Measurement { text: format!("{:.3} %", known.percent()), kept: known.is_at_least(percent) })
        }
        Promise::NxDomainObeyed { percent } => Some(Measurement {
            text: format!("{:.3} % answered, {} denials", fault.answered_percent(), fault.wrong),
            // An NXDOMAIN of the fault counts as a wrong answer, because the name exists.
            kept: fault.answered_percent() >= percent && fault.wrong > 0,
        }),
        Promise::NoneUnanswered => {
            Some(Measurement { text: format!("{} of {}", fault.failed, fault.queries), kept: fault.failed == 0 })
        }
        Promise::BackAfterKill { within } => Some(back_after_kill(within, evidence)),
        Promise::NewcomerInTime { percent } => evidence.newcomer.map(|newcomer| {
            let known = known_in_time(newcomer, DrillPhase::Fault);
            Measurement { text: known.of_all(), kept: known.is_at_least(percent) }
        }),
        Promise::NoStaleWhileHealthy => Some(Measurement {
            text: evidence.with.stale_while_healthy.to_string(),
            kept: evidence.with.stale_while_healthy == 0,
        }),
        Promise::PacketsPerSecond { at_most } => Some(Measurement {
            text: format!("peak {}", evidence.peak_packets),
            kept: evidence.peak_packets <= u64::from(at_most),
        }),
        Promise::FreshAfterHeal { within } => fresh_after_heal(within, evidence),
        Promise::AffectedInTime { percent, .. } => affected_in_time(percent, evidence.with),
        Promise::AllInTime => Some(all_in_time(evidence.with)),
        Promise::NoneStaleOfOthers { .. } => Some(none_stale(evidence.with)),
        Promise::NoneGoesBack => Some(none_goes_back(evidence.with)),
        Promise::NoneDenied { groups } => Some(none_denied(groups, evidence.with)),
        Promise::NoOutage { when } => evidence.outages.map(|outages| no_outage(when, outages)),
        Promise::ColdNamesResolve { part, percent } => cold_names_resolve(part, percent, evidence.with),
        Promise::ColdMedian { within } => Some(cold_median(within, evidence.with)),
        Promise::PacketsAfterHeal { at_most } => Some(Measurement {
            text: format!("peak {}", evidence.peak_packets_after_heal),
            kept: evidence.peak_packets_after_heal <= u64::from(at_most),
        }),
        Promise::CriticalNamesInTime => flood.filter(|flood| flood.sees_inside()).map(critical_names_in_time),
        Promise::CacheStaysFull { bound } => {
            flood.filter(|flood| flood.sees_inside()).map(|flood| cache_stays_full(bound, flood))
        }
        Promise::MemoryBounded { growth_max } => {
            flood.filter(|flood| flood.sees_inside()).map(|flood| memory_bounded(growth_max, flood))
        }
        Promise::FloodAnswered { percent } => flood.map(|flood| flood_answered(percent, flood)),
    }
}

/// Queries that were to be answered in time, and how they were answered.
#[derive(Clone, Copy, Default)]
struct InTime {
    queries: u64,
    in_time: u64,
    wrong: u64,
}

impl InTime {
    const fn and(self, counts: &PhaseCounts) -> Self {
        Self {
            queries: self.queries + counts.queries,
            in_time: self.in_time + counts.in_time,
            wrong: self.wrong + counts.wrong,
        }
    }

    fn percent(self) -> f64 {
        Share { part: self.in_time, whole: self.queries }.percent()
    }

    /// Whether there were queries, enough of them were answered in time, and none wrongly.
    fn is_at_least(self, percent: f64) -> bool {
        self.percent() >= percent && self.wrong == 0 && self.queries > 0
    }

    fn of_all(self) -> String {
        format!("{:.3} % of {}", self.percent(), self.queries)
    }
}

/// Queries for known names in one phase, whether the fault concerns them or not.
fn known_in_time(results: &ClientResults, phase: DrillPhase) -> InTime {
    [QuestionGroup::Known, QuestionGroup::Affected]
        .into_iter()
        .fold(InTime::default(), |sum, group| sum.and(results.group(group, phase)))
}

/// `None` if there are so few names that the fault concerns none of them.
fn affected_in_time(percent: f64, results: &ClientResults) -> Option<Measurement> {
    let counts = results.group(QuestionGroup::Affected, DrillPhase::Fault);
    let affected = InTime::default().and(counts);
    (affected.queries > 0).then(|| Measurement {
        text: format!("{}, {} stale", affected.of_all(), counts.stale),
        kept: affected.is_at_least(percent),
    })
}

fn all_in_time(results: &ClientResults) -> Measurement {
    let all = InTime::default().and(results.phase(DrillPhase::Fault)).and(results.phase(DrillPhase::Heal));
    Measurement { text: all.of_all(), kept: all.is_at_least(100.0) }
}

/// Sum of a count over all phases, for one group of questions.
fn in_all_phases(results: &ClientResults, group: QuestionGroup, count: fn(&PhaseCounts) -> u64) -> u64 {
    DrillPhase::ALL.iter().map(|phase| count(results.group(group, *phase))).sum()
}

fn none_stale(results: &ClientResults) -> Measurement {
    let stale = in_all_phases(results, QuestionGroup::Known, |counts| counts.stale);
    let queries = in_all_phases(results, QuestionGroup::Known, |counts| counts.queries);
    Measurement { text: format!("{stale} of {queries}"), kept: stale == 0 && queries > 0 }
}

fn none_denied(groups: [QuestionGroup; 2], results: &ClientResults) -> Measurement {
    let sum = |count| groups.iter().map(|group| in_all_phases(results, *group, count)).sum::<u64>();
    let (denied, queries) = (sum(|counts| counts.wrong), sum(|counts| counts.queries));
    Measurement { text: format!("{denied} of {queries}"), kept: denied == 0 && queries > 0 }
}

/// An address that was given up counts as a wrong answer.
fn none_goes_back(results: &ClientResults) -> Measurement {
    let [back, queries] = [|counts: &PhaseCounts| counts.wrong, |counts: &PhaseCounts| counts.queries]
        .map(|count| in_all_phases(results, QuestionGroup::Known, count));
    Measurement { text: format!("{back} of {queries}"), kept: back == 0 && queries > 0 }
}

fn no_outage(when: OutageSpan, outages: OutageCounts) -> Measurement {
    let begun = match when {
        OutageSpan::WholeRun => outages.whole_run,
        OutageSpan::AfterHeal => outages.after_heal,
    };
    Measurement { text: begun.to_string(), kept: begun == 0 }
}

/// `None` if no cold name was asked for.
fn cold_names_resolve(part: FaultPart, percent: f64, results: &ClientResults) -> Option<Measurement> {
    let counts = match part {
        FaultPart::Whole => results.group(QuestionGroup::Cold, DrillPhase::Fault),
        FaultPart::Half { half, .. } => results.cold_in_fault(half),
    };
    (counts.queries > 0).then(|| Measurement {
        text: format!(
            "{:.3} % of {}, the slowest {:.0} ms",
            counts.resolved_percent(),
            counts.queries,
            counts.latency_ms(100.0)
        ),
        kept: counts.resolved_percent() >= percent,
    })
}

fn cold_median(within: Duration, results: &ClientResults) -> Measurement {
    let counts = results.group(QuestionGroup::Cold, DrillPhase::Fault);
    let median = counts.latency_ms(50.0);
    Measurement { text: format!("{median:.1} ms"), kept: counts.queries > 0 && median <= within.as_secs_f64() * 1000.0 }
}

fn back_after_kill(within: Duration, evidence: &Evidence<'_>) -> Measurement {
    let missed = evidence.with.during_downtime;
    let text = evidence.back_after.map_or_else(
        || "never".to_owned(),
        |after| {
            format!(
                "{:.1} ms; {missed} queries came while nobody listened, and are not counted above",
                after.as_secs_f64() * 1000.0
            )
        },
    );
    Measurement { text, kept: evidence.back_after.is_some_and(|after| after <= within) }
}

/// `None` if answers were not fresh at the end of a heal that was shorter than the promised time.
fn fresh_after_heal(within: Duration, evidence: &Evidence<'_>) -> Option<Measurement> {
    let fresh = evidence.with.seconds_to_fresh();
    if fresh.is_none() && evidence.heal < within {
        return None;
    }
    Some(Measurement {
        text: fresh.map_or_else(|| "never".to_owned(), |seconds| format!("{seconds:.1} s")),
        kept: fresh.is_some_and(|seconds| seconds <= within.as_secs_f64()),
    })
}

fn critical_names_in_time(flood: &FloodResults) -> Measurement {
    let critical = flood.critical.phase(DrillPhase::Fault);
    Measurement {
        text: format!("{:.3} % of {}, {} stale", critical.in_time_percent(), critical.queries, critical.stale),
        kept: critical.queries > 0 && critical.in_time == critical.queries && critical.wrong == 0,
    }
}

/// The cache is full if it lost or gained at most one percent of its answers.
fn cache_stays_full(bound: CacheBound, flood: &FloodResults) -> Measurement {
    let (before, after) = (flood.entries_before, flood.entries_after);
    Measurement {
        text: format!("{before} before the flood, {after} after it"),
        kept: after.abs_diff(before) <= before / 100 && after <= bound.entries + bound.critical,
    }
}

fn memory_bounded(growth_max: u64, flood: &FloodResults) -> Measurement {
    let (before, peak) = (flood.resident_before, flood.resident_peak);
    Measurement {
        text: format!("{} before the flood, {} at most during it", mebibytes(before), mebibytes(peak)),
        kept: peak.saturating_sub(before) <= growth_max,
    }
}

fn flood_answered(percent: f64, flood: &FloodResults) -> Measurement {
    let answered = Share { part: flood.answered, whole: flood.sent }.percent();
    Measurement {
        text: format!("{answered:.3} % of {}, {} a second", flood.sent, flood.per_second()),
        kept: flood.sent > 0 && answered >= percent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::client::LookupOutcome;
    use crate::drill::fault::Scenario;
    use crate::drill::measure::{Half, Moment};

    const CACHE: CacheBound = CacheBound { entries: 945, critical: 16 };

    /// Results with these outcomes during the fault and a fresh one after it.
    fn results(outcomes: &[(LookupOutcome, u64)]) -> ClientResults {
        let mut results = ClientResults::default();
        for (outcome, millis) in outcomes {
            let moment = Moment { phase: DrillPhase::Fault, half: Half::First, into: Duration::ZERO };
            results.add(moment, QuestionGroup::Known, *outcome, Duration::from_millis(*millis));
        }
        results.add(heal_after(1), QuestionGroup::Known, LookupOutcome::Fresh, Duration::from_millis(1));
        results
    }

    fn heal_after(millis: u64) -> Moment {
        Moment { phase: DrillPhase::Heal, half: Half::First, into: Duration::from_millis(millis) }
    }

    /// Evidence of a run with these results in which nothing else was measured.
    fn evidence(with: &ClientResults) -> Evidence<'_> {
        Evidence {
            with,
            newcomer: None,
            peak_packets: 20,
            peak_packets_after_heal: 20,
            outages: Some(OutageCounts::default()),
            heal: Duration::from_secs(20),
            flood: None,
            back_after: None,
        }
    }

    /// Whether each promise of a scenario was kept.
    fn kept(scenario: Scenario, evidence: &Evidence<'_>) -> Vec<bool> {
        verdict(&scenario.expects(CACHE), evidence).iter().map(|check| check.kept).collect()
    }

    #[test]
    fn one_client_that_gets_an_address_that_was_given_up_breaks_the_promise() {
        let good = results(&[(LookupOutcome::Fresh, 1), (LookupOutcome::Stale, 1)]);
        assert_eq!(kept(Scenario::FlipBack, &evidence(&good)), [true; 4]);
        let back = results(&[(LookupOutcome::Fresh, 1), (LookupOutcome::Wrong, 1)]);
        assert!(!kept(Scenario::FlipBack, &evidence(&back))[0]);
    }

    #[test]
    fn a_good_run_keeps_all_promises() {
        let with = results(&[(LookupOutcome::Stale, 1); 100]);
        assert_eq!(kept(Scenario::Blackhole, &evidence(&with)), [true; 4]);
    }

    #[test]
    fn each_promise_can_be_broken() {
        let blackhole = |with: &ClientResults| kept(Scenario::Blackhole, &evidence(with));
        assert!(!blackhole(&results(&[(LookupOutcome::Failed, 2000)]))[0]);
        assert!(!blackhole(&results(&[(LookupOutcome::Stale, 300)]))[0], "too late");
        assert!(!blackhole(&results(&[(LookupOutcome::Wrong, 1)]))[0]);
        assert!(!blackhole(&results(&[]))[0], "no query was sent");
        let mut stale = results(&[(LookupOutcome::Stale, 1)]);
        assert!(!kept(Scenario::Blackhole, &Evidence { peak_packets: 901, ..evidence(&stale) })[2]);
        let warm_up = Moment { phase: DrillPhase::WarmUp, half: Half::First, into: Duration::ZERO };
        stale.add(warm_up, QuestionGroup::Known, LookupOutcome::Stale, Duration::ZERO);
        assert!(!blackhole(&stale)[1]);
        stale.add(heal_after(16_000), QuestionGroup::Known, LookupOutcome::Stale, Duration::ZERO);
        assert!(!blackhole(&stale)[3]);
    }

    #[test]
    fn a_heal_that_is_too_short_to_become_fresh_in_breaks_no_promise() {
        let mut with = results(&[(LookupOutcome::Stale, 1)]);
        with.add(heal_after(900), QuestionGroup::Known, LookupOutcome::Stale, Duration::ZERO);
        let fresh = |heal| {
            let checks = verdict(&Scenario::Blackhole.expects(CACHE), &Evidence { heal, ..evidence(&with) });
            checks.iter().find(|check| check.promise.starts_with("fresh again")).map(|check| check.kept)
        };
        assert_eq!(fresh(Duration::from_secs(1)), None);
        assert_eq!(fresh(Duration::from_secs(15)), Some(false));
    }

    #[test]
    fn each_promise_of_a_flood_can_be_broken() {
        let with = results(&[(LookupOutcome::Stale, 1); 100]);
        let flood = || FloodResults {
            sent: 1000,
            answered: 1000,
            lasted: Duration::from_secs(1),
            critical: results(&[(LookupOutcome::Stale, 1); 10]),
            resident_before: 20 << 20,
            resident_peak: 30 << 20,
            entries_before: 960,
            entries_after: 961,
        };
        // The first five promises are not about the flood.
        let kept = |flood: FloodResults| {
            let evidence = Evidence { flood: Some(&flood), ..evidence(&with) };
            kept(Scenario::Flood, &evidence)[5..].to_vec()
        };
        assert_eq!(kept(flood()), [true; 4]);
        assert_eq!(
            kept(FloodResults {
                critical: results(&[(LookupOutcome::Failed, 1), (LookupOutcome::Stale, 1)]),
                ..flood()
            }),
            [false, true, true, true]
        );
        assert_eq!(
            kept(FloodResults { critical: ClientResults::default(), ..flood() }),
            [false, true, true, true],
            "no query for a critical name was sent"
        );
        assert_eq!(
            kept(FloodResults { entries_after: 700, ..flood() }),
            [true, false, true, true],
            "the flood pushed answers out"
        );
        assert_eq!(kept(FloodResults { resident_peak: 99 << 20, ..flood() }), [true, true, false, true]);
        assert_eq!(kept(FloodResults { answered: 900, ..flood() }), [true, true, true, false]);
        assert_eq!(
            kept(FloodResults { entries_before: 0, entries_after: 0, ..flood() }),
            [true],
            "of another resolver only what is visible from outside is measured"
        );
    }

    #[test]
    fn a_known_name_without_an_answer_breaks_a_promise_of_the_flood() {
        let good = results(&[(LookupOutcome::Stale, 1); 100]);
        assert!(kept(Scenario::Flood, &evidence(&good))[1]);
        let failed = results(&[(LookupOutcome::Failed, 1)]);
        assert!(!kept(Scenario::Flood, &evidence(&failed))[1]);
    }

    #[test]
    fn a_sidecar_that_was_killed_has_to_be_back_soon() {
        let with = results(&[(LookupOutcome::Stale, 1)]);
        let check = |back_after| kept(Scenario::Restart, &Evidence { back_after, ..evidence(&with) })[1];
        assert!(check(Some(Duration::from_millis(50))));
        assert!(!check(Some(Duration::from_millis(51))) && !check(None));
    }

    #[test]
    fn an_instance_that_begins_with_nothing_has_to_answer_from_the_shared_cache() {
        let with = results(&[(LookupOutcome::Stale, 1)]);
        let check = |newcomer: &ClientResults| {
            let evidence =
                Evidence { newcomer: Some(newcomer), back_after: Some(Duration::from_millis(20)), ..evidence(&with) };
            let checks = verdict(&Scenario::Restart.expects(CACHE), &evidence);
            checks.iter().find(|check| check.promise.starts_with("a new, empty")).map(|check| check.kept)
        };
        assert_eq!(check(&results(&[(LookupOutcome::Stale, 30)])), Some(true));
        assert_eq!(check(&results(&[(LookupOutcome::Stale, 1), (LookupOutcome::Failed, 1)])), Some(false));
        assert_eq!(check(&results(&[(LookupOutcome::Stale, 300)])), Some(false), "too late");
        assert_eq!(check(&ClientResults::default()), Some(false), "the instance never answered");
    }

    #[test]
    fn nxdomain_is_obeyed() {
        let denied = results(&[(LookupOutcome::Wrong, 1)]);
        assert_eq!(kept(Scenario::Nxdomain, &evidence(&denied)), [true; 3]);
        let stale = results(&[(LookupOutcome::Stale, 1)]);
        assert!(!kept(Scenario::Nxdomain, &evidence(&stale))[0]);
    }

    /// A lookup that was due in the first half of the fault.
    fn add(results: &mut ClientResults, group: QuestionGroup, outcome: LookupOutcome, millis: u64) {
        let moment = Moment { phase: DrillPhase::Fault, half: Half::First, into: Duration::ZERO };
        results.add(moment, group, outcome, Duration::from_millis(millis));
    }

    #[test]
    fn a_dead_zone_must_not_make_other_names_stale_nor_be_an_outage() {
        let mut with = results(&[(LookupOutcome::Fresh, 1); 100]);
        assert_eq!(kept(Scenario::Zone, &evidence(&with)).len(), 4, "no name of the dead zone was asked for");
        add(&mut with, QuestionGroup::Affected, LookupOutcome::Stale, 1);
        assert_eq!(kept(Scenario::Zone, &evidence(&with)), [true; 5]);
        let outages = Some(OutageCounts { whole_run: 1, after_heal: 0 });
        assert_eq!(kept(Scenario::Zone, &Evidence { outages, ..evidence(&with) }), [true, true, true, false, true]);
        assert_eq!(kept(Scenario::Zone, &Evidence { outages: None, ..evidence(&with) }), [true; 4]);
        add(&mut with, QuestionGroup::Affected, LookupOutcome::Stale, 251);
        assert_eq!(kept(Scenario::Zone, &evidence(&with)), [true, false, false, true, true]);
        let stale = results(&[(LookupOutcome::Stale, 1)]);
        assert!(!kept(Scenario::Zone, &evidence(&stale))[0]);
    }

    #[test]
    fn every_cold_name_has_to_resolve_while_known_names_are_in_time() {
        let mut with = results(&[(LookupOutcome::Fresh, 1); 100]);
        add(&mut with, QuestionGroup::Cold, LookupOutcome::Fresh, 2600);
        assert_eq!(kept(Scenario::SlowAuthority, &evidence(&with)), [true; 5], "a cold name may take seconds");
        add(&mut with, QuestionGroup::Cold, LookupOutcome::Failed, 400);
        assert_eq!(kept(Scenario::SlowAuthority, &evidence(&with)), [false, true, true, true, true]);
    }

    #[test]
    fn an_internal_name_must_not_be_denied() {
        let mut with = results(&[(LookupOutcome::Fresh, 1); 100]);
        add(&mut with, QuestionGroup::Cold, LookupOutcome::Fresh, 150);
        assert_eq!(kept(Scenario::Views, &evidence(&with)), [true; 5]);
        add(&mut with, QuestionGroup::Cold, LookupOutcome::Wrong, 20);
        assert_eq!(kept(Scenario::Views, &evidence(&with)), [false, false, true, true, true]);
    }

    #[test]
    fn cold_names_are_judged_by_the_half_of_the_fault() {
        let mut with = ClientResults::default();
        for half in [Half::First, Half::Second] {
            for nth in 0..100 {
                let moment = Moment { phase: DrillPhase::Fault, half, into: Duration::ZERO };
                let failed = half == Half::Second && nth < 1;
                let outcome = if failed { LookupOutcome::Failed } else { LookupOutcome::Fresh };
                with.add(moment, QuestionGroup::Cold, outcome, Duration::from_millis(if nth < 60 { 2 } else { 90 }));
            }
        }
        assert_eq!(kept(Scenario::ColdLoss, &evidence(&with)), [true; 4], "99 % are enough at 50 % loss");
        for _ in 0..2 {
            add(&mut with, QuestionGroup::Cold, LookupOutcome::Failed, 4800);
        }
        assert_eq!(kept(Scenario::ColdLoss, &evidence(&with)), [false, true, true, true]);
        for _ in 0..90 {
            add(&mut with, QuestionGroup::Cold, LookupOutcome::Fresh, 90);
        }
        assert!(!kept(Scenario::ColdLoss, &evidence(&with))[2]);
    }

    #[test]
    fn a_recovery_has_to_be_quick_considerate_and_unnoticed() {
        let mut with = results(&[(LookupOutcome::Stale, 1); 100]);
        let low_rate = |evidence: &Evidence<'_>| kept(Scenario::LowRate, evidence);
        assert_eq!(low_rate(&evidence(&with)), [true; 3]);
        let outages = Some(OutageCounts { whole_run: 1, after_heal: 0 });
        assert_eq!(low_rate(&Evidence { outages, ..evidence(&with) }), [true; 3], "announced while it lasted");
        let outages = Some(OutageCounts { whole_run: 1, after_heal: 1 });
        assert_eq!(low_rate(&Evidence { outages, ..evidence(&with) }), [true, false, true]);
        let recovery = |evidence: &Evidence<'_>| kept(Scenario::Recovery, evidence);
        assert_eq!(recovery(&evidence(&with)), [true; 3]);
        let wave = Evidence { peak_packets_after_heal: 111, heal: Duration::from_secs(16), ..evidence(&with) };
        assert_eq!(recovery(&wave), [true, false, true]);
        with.add(heal_after(3600), QuestionGroup::Known, LookupOutcome::Stale, Duration::from_millis(251));
        assert!(!recovery(&evidence(&with))[0]);
        assert!(!low_rate(&evidence(&with))[0]);
    }
}
