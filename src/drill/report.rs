//! Tells how the drill goes: what will happen, a line a second, a table in the end, or JSON.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use super::Options;
use super::measure::{Column, Phase, Tally};
use super::verdict::Check;

/// Everything that was measured.
#[derive(Debug)]
pub struct Report<'a> {
    /// What was asked for.
    pub options: &'a Options,
    /// With the resolver under test.
    pub with: &'a Column,
    /// Without it.
    pub without: &'a Column,
    /// Through a new instance that began during the fault with nothing but a shared cache.
    pub newcomer: Option<&'a Column>,
    /// The most packets upstream in any second: with, without.
    pub peaks: [u64; 2],
    /// The verdict.
    pub checks: &'a [Check],
}

/// Says what is about to happen.
#[must_use]
pub fn introduction(options: &Options, phases: [Duration; 3], subject: &str) -> String {
    let [warm_up, fault, heal] = phases.map(|phase| phase.as_secs_f64());
    format!(
        "holdover drill: {label}\n\
         An application looks up {names} names {qps} times a second, twice side by side: through {subject}, and straight to\n\
         the upstream resolver. For {warm_up:.0} s all is well. Then, for {fault:.0} s, {story}.\n\
         Then it heals, for {heal:.0} s. Data change every second, so an old answer is found out. Everything is on loopback.\n",
        label = options.scenario.label(),
        names = options.names,
        qps = options.qps,
        story = options.scenario.story(),
    )
}

/// What a progress line shows.
#[derive(Clone, Copy, Debug)]
pub struct Second<'a> {
    /// Time since the drill began.
    pub elapsed: Duration,
    /// The phase under way.
    pub phase: Phase,
    /// With the resolver under test.
    pub with: &'a Tally,
    /// Without it.
    pub without: &'a Tally,
    /// Packets that it sent upstream.
    pub packets: u64,
    /// What the sidecar thinks of its upstream.
    pub state: &'a str,
}

/// The line of one second.
#[must_use]
pub fn progress(second: &Second<'_>) -> String {
    let stale = super::measure::percent(second.with.stale, second.with.queries.max(1));
    format!(
        "{:>4} s  {:<8} with {:>6.2} % answered ({:>5.1} % stale)   without {:>6.2} %   upstream {:>4} packets/s   {}",
        second.elapsed.as_secs(),
        second.phase.label(),
        second.with.answered_percent(),
        stale,
        second.without.answered_percent(),
        second.packets,
        second.state
    )
}

/// The table and the verdict.
#[must_use]
pub fn table(report: &Report<'_>) -> String {
    let mut out = format!(
        "\n{:<9} {:<8} {:>8} {:>10} {:>8} {:>8} {:>7} {:>8} {:>8} {:>8} {:>8} {:>8}\n",
        "phase",
        "",
        "queries",
        "answered",
        "fresh",
        "stale",
        "wrong",
        "failed",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "max ms"
    );
    for phase in Phase::ALL {
        let both = [("with", report.with), ("without", report.without)];
        for (label, column) in both.into_iter().chain(report.newcomer.map(|column| ("newcomer", column))) {
            let tally = column.phase(phase);
            if label == "newcomer" && tally.queries == 0 {
                continue;
            }
            let _ = writeln!(
                out,
                "{:<9} {:<8} {:>8} {:>8.2} % {:>8} {:>8} {:>7} {:>8} {:>8.2} {:>8.1} {:>8.1} {:>8.1}",
                if label == "with" { phase.label() } else { "" },
                label,
                tally.queries,
                tally.answered_percent(),
                tally.fresh,
                tally.stale,
                tally.wrong,
                tally.failed,
                tally.latency_ms(50.0),
                tally.latency_ms(99.0),
                tally.latency_ms(99.9),
                tally.latency_ms(100.0),
            );
        }
    }
    let [with, without] = report.peaks;
    let _ = writeln!(out, "\npackets upstream, most in a second: with {with}, without {without}\n");
    for check in report.checks {
        let _ = writeln!(out, "{}  {}: {}", if check.kept { "PASS" } else { "FAIL" }, check.promise, check.measured);
    }
    let kept = report.checks.iter().filter(|check| check.kept).count();
    let word = if kept == report.checks.len() { "PASSED" } else { "FAILED" };
    let _ = writeln!(out, "\n{word}: {kept} of {} promises kept", report.checks.len());
    out
}

/// The same as one JSON document.
#[must_use]
pub fn document(report: &Report<'_>) -> Value {
    let [peak_with, peak_without] = report.peaks;
    let phases = |column: &Column| -> serde_json::Map<_, _> {
        Phase::ALL.iter().map(|phase| (phase.label().to_owned(), tally(column.phase(*phase)))).collect()
    };
    let column = |column: &Column, peak: u64| {
        json!({
            "phases": phases(column),
            "upstream_packets_per_second_peak": peak,
            "stale_while_healthy": column.stale_while_healthy,
            "seconds_to_fresh": column.seconds_to_fresh(),
        })
    };
    json!({
        "scenario": report.options.scenario.label(),
        "qps": report.options.qps,
        "names": report.options.names,
        "seed": report.options.seed,
        "with": column(report.with, peak_with),
        "without": column(report.without, peak_without),
        "newcomer": report.newcomer.map(|column| json!({ "phases": phases(column) })),
        "checks": report.checks.iter().map(|check| json!({
            "promise": check.promise, "measured": check.measured, "kept": check.kept
        })).collect::<Vec<_>>(),
        "passed": report.checks.iter().all(|check| check.kept),
    })
}

/// One phase as JSON.
fn tally(tally: &Tally) -> Value {
    json!({
        "queries": tally.queries,
        "answered_percent": tally.answered_percent(),
        "in_time_percent": tally.in_time_percent(),
        "fresh": tally.fresh,
        "stale": tally.stale,
        "wrong": tally.wrong,
        "failed": tally.failed,
        "p50_ms": tally.latency_ms(50.0),
        "p99_ms": tally.latency_ms(99.0),
        "p999_ms": tally.latency_ms(99.9),
        "max_ms": tally.latency_ms(100.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::client::Outcome;
    use crate::drill::measure::Moment;

    fn column(outcome: Outcome) -> Column {
        let mut column = Column::default();
        for phase in Phase::ALL {
            column.add(Moment { phase, into: Duration::from_secs(1) }, outcome, Duration::from_millis(2));
        }
        column
    }

    #[test]
    fn table_and_document_say_the_same() {
        let (with, without) = (column(Outcome::Fresh), column(Outcome::Failed));
        let checks = [Check { promise: "it works".into(), measured: "yes".into(), kept: true }];
        let report = Report {
            options: &Options::default(),
            with: &with,
            without: &without,
            newcomer: None,
            peaks: [7, 9],
            checks: &checks,
        };
        let text = table(&report);
        assert!(
            text.contains("warm-up   with            1   100.00 %        1        0       0        0     2.00"),
            "{text}"
        );
        assert!(text.contains("PASS  it works: yes\n\nPASSED: 1 of 1 promises kept\n"), "{text}");
        let document = document(&report);
        assert_eq!(document["with"]["phases"]["fault"]["fresh"], 1);
        assert_eq!(document["without"]["phases"]["fault"]["answered_percent"], 0.0);
        assert_eq!(document["passed"], true);
        assert!(document["newcomer"].is_null() && !text.contains("newcomer"));
        let mut late = Column::default();
        late.add(
            Moment { phase: Phase::Fault, into: Duration::from_secs(1) },
            Outcome::Stale,
            Duration::from_millis(2),
        );
        let report = Report { newcomer: Some(&late), ..report };
        let text = table(&report);
        assert!(
            text.contains("          newcomer        1   100.00 %        0        1       0        0     2.00"),
            "{text}"
        );
        assert_eq!(text.matches("newcomer").count(), 1, "not in phases before it: {text}");
        assert_eq!(super::document(&report)["newcomer"]["phases"]["fault"]["stale"], 1);
    }
}
