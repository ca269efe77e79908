//! The texts of the drill: an introduction, a progress line per second, and at the end a table with
//! the verdict, or the same as one JSON document.
//!
//! Everything here is a pure function from measurements to text; printing is done elsewhere.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use super::measure::{ClientResults, DrillPhase, PacketCounts, PhaseCounts};
use super::options::DrillOptions;
use super::verdict::{Check, OutageCounts};

/// Longest line of the introduction, in characters.
const LINE_MAX: usize = 100;

/// Everything that a report shows.
#[derive(Debug)]
pub struct Report<'a> {
    /// Choices of the operator.
    pub options: &'a DrillOptions,
    /// Results of the clients of the resolver under test.
    pub with: &'a ClientResults,
    /// Results of the clients that asked the upstream directly.
    pub without: &'a ClientResults,
    /// Results of the clients of a new instance that started during the fault and could answer only
    /// from a shared cache; `None` without a shared cache.
    pub newcomer: Option<&'a ClientResults>,
    /// The most packets that each upstream received in any second.
    pub peaks: PacketCounts,
    /// The most packets that the resolver under test sent upstream in any second after the heal.
    pub peak_after_heal: u64,
    /// Outages that the sidecar announced; `None` if the drill cannot look into the resolver under
    /// test.
    pub outages: Option<OutageCounts>,
    /// Promises and whether they were kept.
    pub checks: &'a [Check],
}

/// Introduction that describes the drill before it begins; `subject` names the resolver under test.
#[must_use]
pub fn introduction(options: &DrillOptions, subject: &str) -> String {
    let phases = options.phases();
    let seconds = |length: Duration| format!("{:.0} s", length.as_secs_f64());
    let paragraphs = [
        format!(
            "An application looks up {}, {} per second. Each lookup is made twice at the same moment: through \
             {subject}, and directly at the upstream resolver.",
            names(options),
            lookups(options)
        ),
        format!(
            "For {} everything works. Then, for {}, {}. Then, for {}, everything works again.",
            seconds(phases.warm_up),
            seconds(phases.fault),
            options.scenario.story(),
            seconds(phases.heal)
        ),
        "All addresses change every second, which shows how old an answer is. All packets stay on loopback.".to_owned(),
    ];
    let wrapped: String = paragraphs.iter().map(|paragraph| wrap(paragraph)).collect();
    format!("holdover drill: {}\n{wrapped}", options.scenario.label())
}

/// A text in lines of at most [`LINE_MAX`] characters, each with its end.
fn wrap(text: &str) -> String {
    let mut out = String::new();
    let mut length = 0;
    for word in text.split(' ') {
        if length > 0 {
            let is_full = length + 1 + word.len() > LINE_MAX;
            out.push(if is_full { '\n' } else { ' ' });
            length = if is_full { 0 } else { length + 1 };
        }
        out.push_str(word);
        length += word.len();
    }
    out + "\n"
}

/// Which names the application looks up.
fn names(options: &DrillOptions) -> String {
    match (options.known_names(), options.scenario.demand().cold_percent) {
        (0, _) => "names that nobody has asked for before".to_owned(),
        (known, 0) => format!("{known} names"),
        (known, cold) => {
            format!("{known} names, and in {cold} % of all lookups names that nobody has asked for before")
        }
    }
}

/// How many lookups the application makes.
fn lookups(options: &DrillOptions) -> String {
    match options.per_second() {
        1 => "1 lookup".to_owned(),
        many => format!("{many} lookups"),
    }
}

/// Measurements of one second, for a progress line.
#[derive(Clone, Copy, Debug)]
pub struct ProgressLine<'a> {
    /// Time since the drill began.
    pub elapsed: Duration,
    /// Phase that is under way.
    pub phase: DrillPhase,
    /// Counts of the clients of the resolver under test.
    pub with: &'a PhaseCounts,
    /// Counts of the clients that ask the upstream directly.
    pub without: &'a PhaseCounts,
    /// Packets that the resolver under test sent upstream.
    pub packets: u64,
    /// State that the sidecar sees its upstream in; empty if the drill cannot look into it.
    pub state: &'a str,
}

/// Progress line of one second.
#[must_use]
pub fn progress(line: &ProgressLine<'_>) -> String {
    format!(
        "{:>4} s  {:<8} with {:>6.2} % answered ({:>5.1} % stale)   without {:>6.2} %   upstream {:>4} packets/s   {}",
        line.elapsed.as_secs(),
        line.phase.label(),
        line.with.answered_percent(),
        line.with.stale_percent(),
        line.without.answered_percent(),
        line.packets,
        line.state
    )
}

/// Table of the results, followed by the verdict.
#[must_use]
pub fn table(report: &Report<'_>) -> String {
    // The table, with one line for each group of clients in each phase.
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
    for phase in DrillPhase::ALL {
        let both = [("with", report.with), ("without", report.without)];
        // The new instance has no line in phases in which it was not there.
        let newcomer = report.newcomer.filter(|results| results.phase(phase).queries > 0);
        for (label, results) in both.into_iter().chain(newcomer.map(|results| ("newcomer", results))) {
            let first = if label == "with" { phase.label() } else { "" };
            write_row(&mut out, [first, label], results.phase(phase));
        }
        // Where questions of several groups were asked, each group has a line of its own.
        if report.with.groups().count() > 1 {
            for group in report.with.groups() {
                write_row(&mut out, ["", group.label()], report.with.group(group, phase));
            }
        }
    }

    // The packets, then each promise with its measurement, and the verdict.
    let PacketCounts { with, without } = report.peaks;
    let _ = writeln!(out, "\npackets upstream, most in a second: with {with}, without {without}\n");
    for check in report.checks {
        let _ = writeln!(out, "{}  {}: {}", if check.kept { "PASS" } else { "FAIL" }, check.promise, check.measured);
    }
    let kept = report.checks.iter().filter(|check| check.kept).count();
    let word = if kept == report.checks.len() { "PASSED" } else { "FAILED" };
    let _ = writeln!(out, "\n{word}: {kept} of {} promises kept", report.checks.len());
    out
}

/// Appends one line of the table, which begins with these words.
fn write_row(out: &mut String, [first, second]: [&str; 2], counts: &PhaseCounts) {
    let _ = writeln!(
        out,
        "{first:<9} {second:<8} {:>8} {:>8.2} % {:>8} {:>8} {:>7} {:>8} {:>8.2} {:>8.1} {:>8.1} {:>8.1}",
        counts.queries,
        counts.answered_percent(),
        counts.fresh,
        counts.stale,
        counts.wrong,
        counts.failed,
        counts.latency_ms(50.0),
        counts.latency_ms(99.0),
        counts.latency_ms(99.9),
        counts.latency_ms(100.0),
    );
}

/// Results and verdict as one JSON document.
#[must_use]
pub fn document(report: &Report<'_>) -> Value {
    let phases = |results: &ClientResults| -> serde_json::Map<_, _> {
        DrillPhase::ALL.iter().map(|phase| (phase.label().to_owned(), counts(results.phase(*phase)))).collect()
    };
    let groups = |results: &ClientResults| -> serde_json::Map<_, _> {
        let of_group = |group| -> serde_json::Map<_, _> {
            let phase = |phase: &DrillPhase| (phase.label().to_owned(), counts(results.group(group, *phase)));
            DrillPhase::ALL.iter().map(phase).collect()
        };
        results.groups().map(|group| (group.label().to_owned(), of_group(group).into())).collect()
    };
    let group = |results: &ClientResults, peak: u64| {
        json!({
            "phases": phases(results),
            "groups": groups(results),
            "upstream_packets_per_second_peak": peak,
            "stale_while_healthy": results.stale_while_healthy,
            "seconds_to_fresh": results.seconds_to_fresh(),
        })
    };
    json!({
        "scenario": report.options.scenario.label(),
        "qps": report.options.per_second(),
        "names": report.options.known_names(),
        "seed": report.options.seed,
        "with": group(report.with, report.peaks.with),
        "without": group(report.without, report.peaks.without),
        "upstream_packets_per_second_peak_after_heal": report.peak_after_heal,
        "outages": report.outages.map(|outages| json!({
            "whole_run": outages.whole_run, "after_heal": outages.after_heal
        })),
        "newcomer": report.newcomer.map(|results| json!({ "phases": phases(results) })),
        "checks": report.checks.iter().map(|check| json!({
            "promise": check.promise, "measured": check.measured, "kept": check.kept
        })).collect::<Vec<_>>(),
        "passed": report.checks.iter().all(|check| check.kept),
    })
}

/// Counts of one phase as JSON.
fn counts(counts: &PhaseCounts) -> Value {
    json!({
        "queries": counts.queries,
        "answered_percent": counts.answered_percent(),
        "in_time_percent": counts.in_time_percent(),
        "fresh": counts.fresh,
        "stale": counts.stale,
        "wrong": counts.wrong,
        "failed": counts.failed,
        "p50_ms": counts.latency_ms(50.0),
        "p99_ms": counts.latency_ms(99.0),
        "p999_ms": counts.latency_ms(99.9),
        "max_ms": counts.latency_ms(100.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::client::LookupOutcome;
    use crate::drill::demand::QuestionGroup;
    use crate::drill::fault::Scenario;
    use crate::drill::measure::{Half, Moment};

    fn results(outcome: LookupOutcome) -> ClientResults {
        let mut results = ClientResults::default();
        for phase in DrillPhase::ALL {
            let moment = Moment { phase, half: Half::First, into: Duration::from_secs(1) };
            results.add(moment, QuestionGroup::Known, outcome, Duration::from_millis(2));
        }
        results
    }

    #[test]
    fn table_and_document_say_the_same() {
        let (with, without) = (results(LookupOutcome::Fresh), results(LookupOutcome::Failed));
        let checks = [Check { promise: "it works".into(), measured: "yes".into(), kept: true }];
        let report = Report {
            options: &DrillOptions::default(),
            with: &with,
            without: &without,
            newcomer: None,
            peaks: PacketCounts { with: 7, without: 9 },
            peak_after_heal: 5,
            outages: Some(OutageCounts { whole_run: 1, after_heal: 0 }),
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
        assert_eq!(document["outages"]["whole_run"], 1);
        assert_eq!(document["upstream_packets_per_second_peak_after_heal"], 5);
        assert!(document["newcomer"].is_null() && !text.contains("newcomer"));
        let mut late = ClientResults::default();
        late.add(
            Moment { phase: DrillPhase::Fault, half: Half::First, into: Duration::from_secs(1) },
            QuestionGroup::Known,
            LookupOutcome::Stale,
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

    #[test]
    fn each_group_of_questions_has_a_line_where_there_are_several() {
        let (mut with, without) = (results(LookupOutcome::Fresh), results(LookupOutcome::Fresh));
        let moment = Moment { phase: DrillPhase::Fault, half: Half::First, into: Duration::from_secs(1) };
        with.add(moment, QuestionGroup::Cold, LookupOutcome::Failed, Duration::from_millis(400));
        let report = Report {
            options: &DrillOptions::default(),
            with: &with,
            without: &without,
            newcomer: None,
            peaks: PacketCounts::default(),
            peak_after_heal: 0,
            outages: None,
            checks: &[],
        };
        let text = table(&report);
        assert!(
            text.contains("\n          cold            1     0.00 %        0        0       0        1   400"),
            "{text}"
        );
        assert_eq!(text.matches("\n          known ").count(), 3, "{text}");
        let document = document(&report);
        assert_eq!(document["with"]["groups"]["cold"]["fault"]["failed"], 1);
        assert!(document["without"]["groups"].get("cold").is_none() && document["outages"].is_null());
    }

    #[test]
    fn the_introduction_says_what_clients_ask_for() {
        let told = |scenario| {
            let text = introduction(&DrillOptions { scenario, ..DrillOptions::default() }, "holdover");
            assert!(text.starts_with("holdover drill: ") && text.ends_with("loopback.\n"), "{text}");
            assert!(text.lines().all(|line| line.len() <= LINE_MAX && !line.ends_with(' ')), "{text}");
            text.replace('\n', " ")
        };
        assert!(told(Scenario::Blackhole).contains("looks up 300 names, 500 lookups per second."));
        assert!(told(Scenario::ColdLoss).contains("names that nobody has asked for before, 100 lookups per second."));
        assert!(told(Scenario::LowRate).contains("looks up 10 names, 1 lookup per second."));
        assert!(told(Scenario::Views).contains("300 names, and in 10 % of all lookups names that nobody has asked"));
    }
}
