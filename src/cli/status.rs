//! `holdover status`: how a running sidecar is, for people; with `--json` for machines.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;

use super::admin::AdminArguments;
use crate::telemetry::console;
use crate::telemetry::reading::{OutageReading, Reading, SharedCacheReading, StateFileReading, UpstreamReading};

/// Arguments of `holdover status`.
#[derive(Debug, Args)]
pub struct StatusArguments {
    /// For machines: all that there is to tell, as JSON
    #[arg(long)]
    json: bool,
    /// Whom to ask.
    #[command(flatten)]
    admin: AdminArguments,
}

/// Runs the subcommand.
///
/// # Errors
/// A runtime that cannot be made.
pub fn run(arguments: StatusArguments) -> anyhow::Result<ExitCode> {
    arguments.admin.ask(
        async |client| {
            if arguments.json {
                client.status_text().await
            } else {
                client.status().await.map(|reading| show(&reading))
            }
        },
        |text| {
            console::say(&text)?;
            Ok(ExitCode::SUCCESS)
        },
    )
}

/// Shows a sidecar to people: what is wrong first, then what it did.
fn show(reading: &Reading) -> String {
    let mut out = String::new();
    let ready = if reading.ready { "ready" } else { "waits for its critical names" };
    let up = duration(reading.uptime_seconds);
    let _ = writeln!(out, "holdover {}, {ready}, up {up}, on {}", reading.version, reading.listen.join(", "));
    out.push('\n');
    for outage in &reading.outages {
        outage_lines(&mut out, outage);
    }
    for upstream in &reading.upstreams {
        let _ = writeln!(out, "{:<12} {}", "upstream", upstream_line(upstream));
    }
    let count = |label: &str| reading.answers.get(label).copied().unwrap_or_default();
    let _ = writeln!(
        out,
        "{:<12} {} fresh, {} stale, {} failed, {} failed from memory; {} local, {} refused, {} dropped, {} denied",
        "answers",
        count("fresh"),
        count("stale"),
        count("failed"),
        count("cached_failure"),
        count("local"),
        count("refused"),
        count("dropped"),
        count("denied"),
    );
    let cache = &reading.cache;
    let _ = writeln!(
        out,
        "{:<12} {} positive ({}), {} negative ({}), {} failed; {} expired that can be served stale; room for {}",
        "memory",
        cache.positive.entries,
        size(cache.positive.bytes),
        cache.negative.entries,
        size(cache.negative.bytes),
        cache.failed.entries,
        cache.expired_entries,
        size(cache.limit_bytes),
    );
    let learned: Vec<String> = reading
        .learned
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(origin, count)| format!("{count} {}", origin.replace('_', " ")))
        .collect();
    let _ = writeln!(
        out,
        "{:<12} {}",
        "learned from",
        if learned.is_empty() { "nobody yet".to_owned() } else { learned.join(", ") }
    );
    let (sent, shed) =
        reading.packets.values().fold((0, 0), |(sent, shed), class| (sent + class.sent, shed + class.shed));
    let _ = writeln!(
        out,
        "{:<12} {sent} sent, {shed} held back by the budget, {} under way",
        "packets", reading.resolutions_in_flight
    );
    let file = reading.state_file.as_ref().map_or_else(|| "off".to_owned(), state_file);
    let _ = writeln!(out, "{:<12} {file}", "state file");
    if let Some(cache) = &reading.shared_cache {
        let _ = writeln!(out, "{:<12} {}", "shared cache", shared_cache(cache));
    }
    for critical in &reading.critical {
        let age = critical
            .age_seconds
            .map_or_else(|| "nothing remembered".to_owned(), |age| format!("answered {} ago", duration(age)));
        let state = if critical.fresh { critical.state.clone() } else { critical.state.to_uppercase() };
        let old = critical.too_old_seconds.map(|old| format!(", too old for {}", duration(old))).unwrap_or_default();
        let failed = critical
            .last_failure
            .as_ref()
            .filter(|_| !critical.fresh)
            .map(|last| format!(", last failure: {last}"))
            .unwrap_or_default();
        let _ = writeln!(out, "{:<12} {} {}: {state}, {age}{old}{failed}", "critical", critical.name, critical.rtype);
    }
    out
}

/// Shows an outage under way.
fn outage_lines(out: &mut String, outage: &OutageReading) {
    let Some(present) = &outage.present else {
        let _ = writeln!(out, "{:<12} none now, {} so far ({})", "outages", outage.begun, outage.zone);
        return;
    };
    let lasted = duration(present.lasted_seconds);
    let _ = writeln!(
        out,
        "{:<12} for {lasted} ({}): {} answers saved, {} names served stale, {} failed",
        "OUTAGE", outage.zone, present.answers_saved, present.names_served_stale, present.failed
    );
    if let (Some(name), Some(cliff)) = (&present.first_to_lose, present.time_to_cliff_seconds) {
        let _ = writeln!(out, "{:<12} the first name in use is lost in {}: {name}", "", duration(cliff));
    }
}

/// Shows an upstream.
fn upstream_line(upstream: &UpstreamReading) -> String {
    let count = |end: &str| upstream.attempts.get(end).copied().unwrap_or_default();
    let state = if upstream.looping { "LOOPS BACK TO US" } else { upstream.state.as_str() };
    let p99 = upstream.p99_seconds.map_or_else(String::new, |p99| format!(", p99 {:.1} ms", p99 * 1000.0));
    format!(
        "{}: {state}{p99}; {} answered, {} timed out, {} failed, {} useless, {} late",
        upstream.upstream,
        count("answered"),
        count("timed_out"),
        count("failed"),
        count("useless"),
        count("late")
    )
}

/// Shows the state file.
fn state_file(file: &StateFileReading) -> String {
    let written = file
        .last_write_age_seconds
        .map_or_else(|| "never written".to_owned(), |age| format!("written {} ago", duration(age)));
    let state = if file.working {
        "working".to_owned()
    } else {
        let failing = file.failing_seconds.map(|seconds| format!(" for {}", duration(seconds))).unwrap_or_default();
        format!("NOT WORKING{failing} ({})", file.problem.as_deref().unwrap_or("cause unknown"))
    };
    format!("{}: {state}, {written}, {} entries, {}", file.path, file.entries, size(file.bytes))
}

/// Shows the shared cache.
fn shared_cache(cache: &SharedCacheReading) -> String {
    let count =
        |counts: &std::collections::BTreeMap<String, u64>, kind: &str| counts.get(kind).copied().unwrap_or_default();
    let state = if cache.reached {
        "reached".to_owned()
    } else {
        let failing = cache.failing_seconds.map(|seconds| format!(" for {}", duration(seconds))).unwrap_or_default();
        format!("NOT REACHED{failing} ({})", cache.problem.as_deref().unwrap_or("cause unknown"))
    };
    format!(
        "{} {}: {state}; {} published, {} refused; asked {} found, {} missing, {} late; {} entries ignored",
        cache.url,
        cache.group,
        count(&cache.published, "published"),
        count(&cache.published, "refused"),
        count(&cache.asked, "found"),
        count(&cache.asked, "missing"),
        count(&cache.asked, "late"),
        cache.ignored.values().sum::<u64>(),
    )
}

/// Shows a duration in its two largest units.
fn duration(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "floats saturate when cast")]
    let whole = seconds.round() as u64;
    let (days, hours, minutes) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{whole} s"),
        (0, 0, _) => format!("{minutes} min {} s", whole % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        (_, _, _) => format!("{days} d {hours} h"),
    }
}

/// Shows a size.
fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
    let kib = bytes as f64 / 1024.0;
    if kib < 1024.0 { format!("{kib:.1} KiB") } else { format!("{:.1} MiB", kib / 1024.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::reading::testing::in_an_outage;

    #[test]
    fn an_outage_is_the_first_thing_that_is_told() {
        let text = show(&in_an_outage());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "holdover 0.1.0, ready, up 1 h 2 min, on 127.0.0.1:53");
        assert_eq!(lines[2], "OUTAGE       for 12 min 1 s (.): 943 answers saved, 30 names served stale, 2 failed");
        assert_eq!(lines[3], "             the first name in use is lost in 23 h 14 min: db.example.com. A");
        assert!(
            text.contains(
                "upstream     vpc@192.0.2.2:53: down, p99 2.1 ms; 1 answered, 4 timed out, 3 failed, 2 useless, 5 late"
            ),
            "{text}"
        );
        assert!(text.contains("NOT WORKING for 15 s (no space left), written 31 s ago"), "{text}");
        assert!(
            text.contains("critical     db.example.com. A: STALE, answered 1 min 30 s ago, last failure: timeout"),
            "{text}"
        );
        assert!(text.contains("learned from 4 seed, 60 upstream"), "{text}");
        assert!(
            text.contains("shared cache redis://cache.example.com web: NOT REACHED for 1 min 15 s (it cannot be reached); 40 published"),
            "{text}"
        );
    }

    #[test]
    fn a_quiet_sidecar_tells_that_it_is_one() {
        let text = show(&Reading::default());
        assert!(text.contains("learned from nobody yet") && text.contains("state file   off"), "{text}");
    }
}
