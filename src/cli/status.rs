//! `holdover status`: shows the state of a running sidecar, as text or with `--json` as JSON.
//!
//! The text begins with what is wrong at present, an outage first, and goes on with what the
//! sidecar has done since its start. Words in capitals are those that an operator should act on.
//! The text may change with any version; programs read `--json`, which is the JSON of `/status`
//! unchanged. A terminal gets it in colours ([`colours`]), and `--watch` keeps it up to date
//! ([`watch`]). `--names` shows names instead: those that fail, are stale, or are hot.

mod colours;
mod watch;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::admin::AdminArguments;
use super::cache::list;
use crate::adapters::admin::ListScope;
use crate::adapters::admin::client::Form;
use crate::config::layer::Raw;
use crate::config::quantity::{Bounds, Quantity};
use crate::core::health::UpstreamState;
use crate::core::labelled::Labelled;
use crate::core::reversal::ReversalOutcome;
use crate::telemetry::console;
use crate::telemetry::reading::{
    CriticalReading, OutageReading, Reading, SharedCacheReading, StateFileReading, TroubleReading, UpstreamReading,
};
use crate::telemetry::shared_cache::Counted;
use crate::telemetry::tally::{Answered, AttemptEnd};
use crate::telemetry::words::duration;
use colours::Palette;

/// Arguments of `holdover status`.
#[derive(Debug, Args)]
pub struct StatusArguments {
    /// Print everything as JSON, for programs
    #[arg(long)]
    json: bool,
    /// Show names instead: the first hundred that failed, are stale, or are hot
    #[arg(long, value_name = "KIND")]
    names: Option<NamesShown>,
    /// Show the status again and again, every second or at the interval that is given, until Ctrl-C
    #[arg(
        long,
        value_name = "INTERVAL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "1s",
        value_parser = interval,
        conflicts_with_all = ["json", "names"],
    )]
    watch: Option<Duration>,
    #[command(flatten)]
    admin: AdminArguments,
}

/// Reads the interval of `--watch`: a status walks over the memory, which should not go on without
/// a pause.
fn interval(text: &str) -> Result<Duration, String> {
    let bounds = Bounds { min: Duration::from_millis(200), max: Duration::from_secs(3600) };
    Duration::read(&Raw::Word(text.to_owned()))
        .filter(|duration| !duration.is_outside(bounds))
        .ok_or_else(|| format!("allowed: {}", Duration::range(bounds)))
}

/// The names that `--names` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum NamesShown {
    /// Names whose last resolution failed
    Failed,
    /// Answers whose TTL has ended
    Stale,
    /// The names with the most hits
    Hot,
}

/// Runs the subcommand.
///
/// # Errors
/// No async runtime can be made, or standard output cannot be written.
pub fn run(arguments: StatusArguments) -> anyhow::Result<ExitCode> {
    if let Some(names) = arguments.names {
        let scope = ListScope {
            failed: names == NamesShown::Failed,
            stale: names == NamesShown::Stale,
            hot: names == NamesShown::Hot,
            ..ListScope::default()
        };
        return list(arguments.admin, &scope, if arguments.json { Form::Json } else { Form::Text });
    }
    if let Some(every) = arguments.watch {
        return arguments.admin.ask(
            async |client| {
                let first = client.status().await?;
                Ok(watch::watch(client, first, every, show).await)
            },
            |ended| ended,
        );
    }
    arguments.admin.ask(
        async |client| {
            if arguments.json {
                client.status_text().await
            } else {
                client.status().await.map(|reading| Palette::of_standard_output().paint(&show(&reading)))
            }
        },
        |text| {
            console::say(&text)?;
            Ok(ExitCode::SUCCESS)
        },
    )
}

/// The text for people.
fn show(reading: &Reading) -> String {
    let mut out = String::new();
    let ready = if reading.ready { "ready" } else { "not ready (waits for its critical names)" };
    let up = duration(reading.uptime_seconds);
    let _ = writeln!(out, "holdover {}, {ready}, up {up}, on {}", reading.version, reading.listen.join(", "));
    out.push('\n');
    for outage in &reading.outages {
        outage_lines(&mut out, outage);
    }
    for upstream in &reading.upstreams {
        line(&mut out, "upstream", &upstream_words(upstream));
    }
    for trouble in &reading.troubles {
        trouble_lines(&mut out, trouble);
    }
    line(&mut out, "queries", &query_words(reading));
    line(&mut out, "cache", &cache_words(reading));
    line(&mut out, "learned from", &origin_words(reading));
    line(&mut out, "packets", &packet_words(reading));
    client_lines(&mut out, reading);
    if reading.reversals.get(ReversalOutcome::Doubted.label()).is_some_and(|doubted| *doubted > 0) {
        line(&mut out, "reversals", &reversal_words(reading));
    }
    line(&mut out, "state file", &reading.state_file.as_ref().map_or_else(|| "off".to_owned(), state_file_words));
    if let Some(cache) = &reading.shared_cache {
        line(&mut out, "shared cache", &shared_cache_words(cache));
    }
    if reading.log_lines_dropped > 0 {
        let dropped = reading.log_lines_dropped;
        line(&mut out, "log", &format!("{dropped} lines DROPPED, because standard error took no more"));
    }
    for shrunk in &reading.shrunk {
        let words = format!("{} of {} {}, within {}", shrunk.fits, shrunk.configured, shrunk.what, shrunk.limit);
        line(&mut out, "SHRUNK", &words);
    }
    if reading.upstream_sockets_lacking > 0 {
        let lacking = reading.upstream_sockets_lacking;
        line(&mut out, "sockets", &format!("{lacking} times NOT TO BE HAD: descriptors or local ports had run out"));
    }
    for critical in &reading.critical {
        line(&mut out, "critical", &critical_words(critical));
    }
    out
}

/// Adds one line: a subject, then the words about that subject.
fn line(out: &mut String, subject: &str, words: &str) {
    let _ = writeln!(out, "{subject:<12} {words}");
}

/// The count of one variant; 0 when the sidecar is of a version that does not know the variant.
fn count<L: Labelled>(counts: &BTreeMap<String, u64>, variant: L) -> u64 {
    counts.get(variant.label()).copied().unwrap_or_default()
}

fn outage_lines(out: &mut String, outage: &OutageReading) {
    let Some(current) = &outage.current else {
        return line(out, "outages", &format!("none now, {} since the start ({})", outage.begun, outage.zone));
    };
    line(
        out,
        "OUTAGE",
        &format!(
            "for {} ({}): {} stale answers for {} names, {} failed answers",
            duration(current.duration_seconds),
            outage.zone,
            current.stale_answers,
            current.names_served_stale,
            current.failed_answers
        ),
    );
    if let (Some(name), Some(cliff)) = (&current.cliff_name, current.time_to_cliff_seconds) {
        line(out, "", &format!("the first name reaches its maximum stale in {}: {name}", duration(cliff)));
    }
}

/// Says whose fault it is that names fail although the upstreams are healthy.
fn trouble_lines(out: &mut String, trouble: &TroubleReading) {
    for charge in &trouble.charges {
        let lasting = duration(charge.duration_seconds);
        let words = format!("{}: {} names failing for {lasting}; upstreams healthy", charge.charged, charge.names);
        line(out, "trouble", &words);
    }
    let charged: u64 = trouble.charges.iter().map(|charge| charge.names).sum();
    if charged == 0 {
        line(
            out,
            "trouble",
            &format!("{} names and types failing ({}); upstreams healthy", trouble.questions, trouble.zone),
        );
    }
}

fn upstream_words(upstream: &UpstreamReading) -> String {
    let count = |end| count(&upstream.attempts, end);
    let state = if upstream.looping { "LOOP (sends our own queries back)" } else { upstream.state.as_str() };
    let p99 = upstream.rtt_p99_seconds.map_or_else(String::new, |p99| format!(", p99 {:.1} ms", p99 * 1000.0));
    let age = upstream.state_age_seconds.filter(|_| upstream.state != UpstreamState::Healthy.label());
    let age = age.map_or_else(String::new, |age| format!(" for {}", duration(age)));
    format!(
        "{}: {state}{age}{p99}; {} answered, {} timed out, {} network errors, {} unusable responses; {} overdue",
        upstream.upstream,
        count(AttemptEnd::Answered),
        count(AttemptEnd::TimedOut),
        count(AttemptEnd::NetworkError),
        count(AttemptEnd::UnusableResponse),
        upstream.overdue_attempts
    )
}

fn query_words(reading: &Reading) -> String {
    let count = |answered| count(&reading.queries, answered);
    format!(
        "{} fresh, {} stale, {} failed, {} cached failures; {} local, {} rejected, {} dropped, {} not allowed",
        count(Answered::Fresh),
        count(Answered::Stale),
        count(Answered::Failed),
        count(Answered::CachedFailure),
        count(Answered::Local),
        count(Answered::Rejected),
        count(Answered::Dropped),
        count(Answered::NotAllowed),
    )
}

fn cache_words(reading: &Reading) -> String {
    let cache = &reading.cache;
    format!(
        "{} positive ({} of {}), {} negative ({}), {} failures; {} expired that can be served stale",
        cache.positive.entries,
        size(cache.positive.bytes),
        size(cache.limit_bytes),
        cache.negative.entries,
        size(cache.negative.bytes),
        cache.failure.entries,
        cache.expired_entries,
    )
}

fn origin_words(reading: &Reading) -> String {
    let learned = reading.answers_learned.iter().filter(|(_, count)| **count > 0);
    let learned: Vec<String> = learned.map(|(origin, count)| format!("{} {count}", origin.replace('_', " "))).collect();
    if learned.is_empty() { "nowhere yet".to_owned() } else { learned.join(", ") }
}

/// Says what became of answers that went back to the addresses from before a change.
fn reversal_words(reading: &Reading) -> String {
    let count = |outcome| count(&reading.reversals, outcome);
    format!(
        "{} answers went back after a change of addresses; {} refuted, {} believed",
        count(ReversalOutcome::Doubted),
        count(ReversalOutcome::Refuted),
        count(ReversalOutcome::Believed)
    )
}

fn packet_words(reading: &Reading) -> String {
    let sent: u64 = reading.packets.values().map(|class| class.sent).sum();
    let over_budget: u64 = reading.packets.values().map(|class| class.over_budget).sum();
    format!("{sent} sent, {over_budget} over budget; {} resolutions in flight", reading.resolutions_in_flight)
}

/// Says for whom most is under way, and what was shed so that others had their share.
fn client_lines(out: &mut String, reading: &Reading) {
    for client in &reading.top_clients {
        let words = format!(
            "{}: {} resolutions in flight and {} queued, {} queries waiting, {} packets in the last second; {} shed",
            client.client, client.resolutions, client.queued, client.waiting, client.packets, client.shed
        );
        line(out, "client", &words);
    }
    let shed: u64 = reading.queries_shed.values().sum();
    if shed > 0 {
        line(out, "shed", &format!("{shed} queries, so that other clients had their share"));
    }
}

/// Whether the state file or the shared cache works, and if not, for how long and why.
fn working_words(problem: Option<&str>, failing_seconds: Option<f64>) -> String {
    let Some(problem) = problem else { return "working".to_owned() };
    let failing = failing_seconds.map(|seconds| format!(" for {}", duration(seconds))).unwrap_or_default();
    format!("NOT WORKING{failing} ({problem})")
}

fn state_file_words(file: &StateFileReading) -> String {
    let problem = (!file.working).then(|| file.problem.as_deref().unwrap_or("cause unknown"));
    let working = working_words(problem, file.failing_seconds);
    let written = file
        .last_write_age_seconds
        .map_or_else(|| "not written yet".to_owned(), |age| format!("written {} ago", duration(age)));
    format!("{}: {working}, {written}, {} entries, {}", file.path, file.entries, size(file.bytes))
}

fn shared_cache_words(cache: &SharedCacheReading) -> String {
    let problem = (!cache.working).then(|| cache.problem.as_deref().unwrap_or("cause unknown"));
    let working = working_words(problem, cache.failing_seconds);
    format!(
        "{}, group {}: {working}; lookups {} hit, {} miss, {} timed out; writes {} written, {} rejected; {} entries \
         ignored",
        cache.url,
        cache.group,
        count(&cache.lookups, Counted::Hit),
        count(&cache.lookups, Counted::Miss),
        count(&cache.lookups, Counted::TimedOut),
        count(&cache.writes, Counted::Written),
        count(&cache.writes, Counted::Rejected),
        cache.ignored_entries.values().sum::<u64>(),
    )
}

fn critical_words(critical: &CriticalReading) -> String {
    let state = if critical.fresh { critical.state.clone() } else { critical.state.to_uppercase() };
    let age = critical
        .age_seconds
        .map_or_else(|| "no answer remembered".to_owned(), |age| format!("learned {} ago", duration(age)));
    let old = critical.too_old_seconds.map(|old| format!(", too old for {}", duration(old))).unwrap_or_default();
    let failure = critical.last_failure.as_ref().filter(|_| !critical.fresh);
    let failure = failure.map(|last| format!(", last failure: {last}")).unwrap_or_default();
    format!("{} {}: {state}, {age}{old}{failure}", critical.name, critical.rtype)
}

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
    fn an_outage_is_the_first_thing_that_is_shown() {
        let text = show(&in_an_outage());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "holdover 0.1.0, ready, up 1 h 2 min, on 127.0.0.1:53");
        assert_eq!(lines[2], "OUTAGE       for 12 min 1 s (.): 943 stale answers for 30 names, 2 failed answers");
        assert_eq!(lines[3], "             the first name reaches its maximum stale in 23 h 14 min: db.example.com. A");
        for words in [
            "trouble      zone broken.corp.example.com. A: 12 names failing for 3 min 0 s; upstreams healthy",
            "upstream     vpc@192.0.2.2:53: down for 12 min 1 s, p99 2.1 ms; 1 answered, 4 timed out, 3 network \
             errors, 2 unusable responses; 5 overdue",
            "queries      1 fresh, 1 stale, 0 failed",
            "NOT WORKING for 15 s (no space left), written 31 s ago",
            "critical     db.example.com. A: STALE, learned 1 min 30 s ago, last failure: timeout",
            "learned from seed 4, upstream 60",
            "client       10.1.2.3: 812 resolutions in flight and 40 queued, 900 queries waiting, 779 packets",
            "SHRUNK       5242880 of 8388608 cache.size, within 23068672 bytes of memory (cgroup): raise it",
            "sockets      2 times NOT TO BE HAD",
            "shed         17 queries, so that other clients had their share",
            "shared cache redis://cache.example.com, group web: NOT WORKING for 1 min 15 s (the server cannot be \
             reached); lookups 3 hit",
            "writes 40 written",
        ] {
            assert!(text.contains(words), "{words:?} is not in\n{text}");
        }
    }

    #[test]
    fn a_sidecar_that_has_done_nothing_yet_is_shown_as_such() {
        let text = show(&Reading::default());
        assert!(text.contains("learned from nowhere yet") && text.contains("state file   off"), "{text}");
    }
}
