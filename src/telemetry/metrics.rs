//! Every metric: its name, what it means, and where in a [`Reading`] its value is. Nothing else
//! names metrics.
//!
//! Nothing is counted here. Whoever answers counts on lines of their own ([`super::tally`]); a
//! scrape adds that up, and costs the threads that answer nothing. Labels have few values by
//! construction: outcomes, classes, zones and upstreams of the configuration, and the names that
//! the operator lists. No name that a client asks for becomes a label.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::reading::{OutageReading, PresentOutageReading, Reading, StoreSizeReading};
use crate::core::health::UpstreamState;

/// The content type of [`render`]ed text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows; its name ends in `_total`.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

/// In what a metric is measured; it ends the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// A plain count, or a share.
    Count,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

/// One value with its labels.
pub struct Sample {
    /// Labels and their values.
    labels: Vec<(&'static str, String)>,
    /// The value.
    value: Value,
}

/// A value.
enum Value {
    /// A whole number.
    Whole(u64),
    /// Any number.
    Real(f64),
    /// Counts by size: sum, count, classes.
    Sizes(f64, u64, Vec<(f64, u64)>),
}

/// A metric.
pub struct Metric {
    /// Its name without prefix, unit and `_total`.
    name: &'static str,
    /// What it is.
    kind: Kind,
    /// In what it is measured.
    measure: Measure,
    /// What it means.
    help: &'static str,
    /// Its labels.
    labels: &'static [&'static str],
    /// Finds its values.
    samples: fn(&Reading) -> Vec<Sample>,
}

/// What all names begin with.
const PREFIX: &str = "holdover";

/// A whole number without labels.
fn whole(value: u64) -> Vec<Sample> {
    vec![Sample { labels: Vec::new(), value: Value::Whole(value) }]
}

/// Any number without labels.
fn real(value: f64) -> Vec<Sample> {
    vec![Sample { labels: Vec::new(), value: Value::Real(value) }]
}

/// A whole number with one label.
fn labelled(label: &'static str, of: &str, value: u64) -> Sample {
    Sample { labels: vec![(label, of.to_owned())], value: Value::Whole(value) }
}

/// Numbers by one label.
fn by<'a>(label: &'static str, counts: impl IntoIterator<Item = (&'a String, &'a u64)>) -> Vec<Sample> {
    counts.into_iter().map(|(of, count)| labelled(label, of, *count)).collect()
}

/// A number of each kind of what is remembered.
fn rooms(reading: &Reading, number: fn(&StoreSizeReading) -> u64) -> Vec<Sample> {
    let cache = &reading.cache;
    let kinds = [("positive", &cache.positive), ("negative", &cache.negative), ("failed", &cache.failed)];
    kinds.iter().map(|(kind, room)| labelled("kind", kind, number(room))).collect()
}

/// A number of every zone's outages.
fn zones(reading: &Reading, number: fn(&OutageReading) -> u64) -> Vec<Sample> {
    reading.outages.iter().map(|outage| labelled("zone", &outage.zone, number(outage))).collect()
}

/// A number of each outage under way.
fn outages(reading: &Reading, number: fn(&PresentOutageReading) -> Option<Value>) -> Vec<Sample> {
    let present = reading.outages.iter().filter_map(|outage| Some((&outage.zone, outage.present.as_ref()?)));
    present
        .filter_map(|(zone, present)| Some(Sample { labels: vec![("zone", zone.clone())], value: number(present)? }))
        .collect()
}

/// The states of upstreams, each with 0 or 1.
fn states(reading: &Reading) -> Vec<Sample> {
    let of = |upstream: &super::reading::UpstreamReading, state: UpstreamState| Sample {
        labels: vec![("upstream", upstream.upstream.clone()), ("state", state.label().to_owned())],
        value: Value::Whole(u64::from(upstream.state == state.label())),
    };
    reading.upstreams.iter().flat_map(|upstream| UpstreamState::ALL.map(|state| of(upstream, state))).collect()
}

/// What attempts came to.
fn attempts(reading: &Reading) -> Vec<Sample> {
    let of = |upstream: &str, end: &str, count: u64| Sample {
        labels: vec![("upstream", upstream.to_owned()), ("outcome", end.to_owned())],
        value: Value::Whole(count),
    };
    let each = reading.upstreams.iter();
    each.flat_map(|own| own.attempts.iter().map(move |(end, count)| of(&own.upstream, end, *count))).collect()
}

/// Round-trip times.
fn round_trips(reading: &Reading) -> Vec<Sample> {
    let measured = reading.upstreams.iter().filter_map(|upstream| Some((upstream, upstream.p99_seconds?)));
    measured
        .map(|(own, p99)| Sample { labels: vec![("upstream", own.upstream.clone())], value: Value::Real(p99) })
        .collect()
}

/// Ages of stale answers.
fn stale_ages(reading: &Reading) -> Vec<Sample> {
    let ages = &reading.stale_ages;
    #[expect(clippy::cast_precision_loss, reason = "bounds are a week at the most")]
    let bounds = ages.bounds_seconds.iter().map(|bound| bound.map_or(f64::INFINITY, |bound| bound as f64));
    let classes: Vec<(f64, u64)> = bounds.zip(ages.counts.iter().copied()).collect();
    vec![Sample { labels: Vec::new(), value: Value::Sizes(ages.sum_seconds, ages.counts.iter().sum(), classes) }]
}

/// A number of the state file, where there is one.
fn state_file(reading: &Reading, number: fn(&super::reading::StateFileReading) -> Option<Value>) -> Vec<Sample> {
    reading.state_file.iter().filter_map(number).map(|value| Sample { labels: Vec::new(), value }).collect()
}

/// A number of each critical name.
fn critical(reading: &Reading, number: fn(&super::reading::CriticalReading) -> Option<Value>) -> Vec<Sample> {
    let labels = |own: &super::reading::CriticalReading| vec![("name", own.name.clone()), ("type", own.rtype.clone())];
    reading.critical.iter().filter_map(|own| Some(Sample { labels: labels(own), value: number(own)? })).collect()
}

/// Declares metrics, one a line and its meaning.
macro_rules! metrics {
    ($($name:literal $kind:ident $measure:ident [$($label:literal)*] $help:literal $samples:expr;)+) => {
        /// All metrics, in reading order.
        pub const METRICS: &[Metric] = &[$(Metric {
            name: $name, kind: Kind::$kind, measure: Measure::$measure, help: $help, labels: &[$($label),*], samples: $samples,
        }),+];
    };
}

metrics! {
    "build" Gauge Count ["version"] "Always 1; the version is the label."
        |own| vec![labelled("version", &own.version, 1)];
    "uptime" Gauge Seconds [] "How long the process has run."
        |own| real(own.uptime_seconds);
    "ready" Gauge Count [] "1 once everything is there that the start waits for."
        |own| whole(u64::from(own.ready));
    "answers" Counter Count ["outcome"] "Queries by what became of them; stale is the outage that nobody noticed, failed and cached_failure the rest."
        |own| by("outcome", &own.answers);
    "stale_age" Histogram Seconds [] "How long ago stale answers had expired when they were given."
        stale_ages;
    "outage" Gauge Count ["zone"] "1 while no upstream of the zone is healthy."
        |own| zones(own, |outage| u64::from(outage.present.is_some()));
    "outages" Counter Count ["zone"] "Outages that have begun."
        |own| zones(own, |outage| outage.begun);
    "outage_duration" Gauge Seconds ["zone"] "How long the outage under way has lasted; absent without one."
        |own| outages(own, |present| Some(Value::Real(present.lasted_seconds)));
    "outage_answers_saved" Gauge Count ["zone"] "Queries answered from memory in the outage under way; absent without one."
        |own| outages(own, |present| Some(Value::Whole(present.answers_saved)));
    "outage_names_served_stale" Gauge Count ["zone"] "Different names and types among them; absent without an outage."
        |own| outages(own, |present| Some(Value::Whole(present.names_served_stale)));
    "outage_failed" Gauge Count ["zone"] "Queries answered with SERVFAIL in the outage under way; absent without one."
        |own| outages(own, |present| Some(Value::Whole(present.failed)));
    "time_to_cliff" Gauge Seconds ["zone"] "When the first name in use will pass its maximum stale, if the outage lasts; absent without one."
        |own| outages(own, |present| present.time_to_cliff_seconds.map(Value::Real));
    "upstream_state" Gauge Count ["upstream" "state"] "1 for the state in which the upstream is: healthy, impaired or down."
        states;
    "upstream_looping" Gauge Count ["upstream"] "1 while the upstream is left out because it sends our own queries back."
        |own| own.upstreams.iter().map(|own| labelled("upstream", &own.upstream, u64::from(own.looping))).collect();
    "upstream_p99" Gauge Seconds ["upstream"] "p99 round-trip time; absent before the first answers."
        round_trips;
    "upstream_attempts" Counter Count ["upstream" "outcome"] "Attempts by what they came to; a late one counts again for its end."
        attempts;
    "upstream_packets" Counter Count ["class"] "Queries sent upstream by what for, each attempt and each probe."
        |own| own.packets.iter().map(|(class, packets)| labelled("class", class, packets.sent)).collect();
    "upstream_packets_shed" Counter Count ["class"] "Queries that the packet budget held back when they were due."
        |own| own.packets.iter().map(|(class, packets)| labelled("class", class, packets.shed)).collect();
    "upstream_exchanged" Counter Count ["kind"] "Datagrams and queries over TCP sent, connections begun, responses taken."
        |own| by("kind", &own.exchanged);
    "upstream_responses_useless" Counter Count ["reason"] "Responses to our queries that are no answer, by what is wrong with them."
        |own| by("reason", &own.useless_responses);
    "upstream_responses_ignored" Counter Count ["reason"] "Responses that belonged to no query of ours: forged, or broken."
        |own| by("reason", &own.ignored_responses);
    "tcp_connections" Counter Count ["outcome"] "Clients' TCP connections by what became of them."
        |own| by("outcome", &own.connections);
    "resolutions_in_flight" Gauge Count [] "Resolutions under way."
        |own| whole(own.resolutions_in_flight);
    "cache_entries" Gauge Count ["kind"] "What is remembered."
        |own| rooms(own, |room| room.entries);
    "cache" Gauge Bytes ["kind"] "Memory that it takes, bookkeeping included."
        |own| rooms(own, |room| room.bytes);
    "cache_limit" Gauge Bytes [] "Room for positive answers; negative ones have a share of as much again."
        |own| whole(own.cache.limit_bytes);
    "cache_expired_entries" Gauge Count [] "Answers beyond their TTL that can be served stale."
        |own| whole(own.cache.expired_entries);
    "learned" Counter Count ["origin"] "Answers that were remembered, by where they came from."
        |own| by("origin", &own.learned);
    "state_file_working" Gauge Count [] "1 while what is learned is written to the state file; absent without one."
        |own| state_file(own, |file| Some(Value::Whole(u64::from(file.working))));
    "state_file_last_write_age" Gauge Seconds [] "How long ago something was written to the state file; absent before the first time."
        |own| state_file(own, |file| file.last_write_age_seconds.map(Value::Real));
    "state_file_failing" Gauge Seconds [] "For how long nothing could be written to the state file; absent while it works."
        |own| state_file(own, |file| file.failing_seconds.map(Value::Real));
    "state_file_entries" Gauge Count [] "Answers in the state file; absent without one."
        |own| state_file(own, |file| Some(Value::Whole(file.entries)));
    "state_file" Gauge Bytes [] "Size of the state file; absent without one."
        |own| state_file(own, |file| Some(Value::Whole(file.bytes)));
    "shared_cache_reached" Gauge Count [] "1 while the shared cache is asked and fed; absent without one."
        |own| own.shared_cache.iter().flat_map(|cache| whole(u64::from(cache.reached))).collect();
    "shared_cache_failing" Gauge Seconds [] "For how long the shared cache could not be used; absent while it can."
        |own| own.shared_cache.iter().filter_map(|cache| cache.failing_seconds).flat_map(real).collect();
    "shared_cache_asked" Counter Count ["outcome"] "Names unknown here while upstreams failed, by what the shared cache said; absent without one."
        |own| own.shared_cache.iter().flat_map(|cache| by("outcome", &cache.asked)).collect();
    "shared_cache_published" Counter Count ["outcome"] "Answers learned or hot, by what came of publishing them; absent without a shared cache."
        |own| own.shared_cache.iter().flat_map(|cache| by("outcome", &cache.published)).collect();
    "shared_cache_ignored" Counter Count ["reason"] "Entries of the shared cache that were not believed; absent without one."
        |own| own.shared_cache.iter().flat_map(|cache| by("reason", &cache.ignored)).collect();
    "critical_fresh" Gauge Count ["name" "type"] "1 while the critical name is within its TTL."
        |own| critical(own, |own| Some(Value::Whole(u64::from(own.fresh))));
    "critical_age" Gauge Seconds ["name" "type"] "How long ago the critical name was answered last; absent while nothing is remembered."
        |own| critical(own, |own| own.age_seconds.map(Value::Real));
}

impl Metric {
    /// Its whole name, as samples bear it (those of a histogram with `_bucket`, `_sum` and `_count`
    /// behind).
    #[must_use]
    pub fn full_name(&self) -> String {
        let unit = match self.measure {
            Measure::Count => "",
            Measure::Seconds => "_seconds",
            Measure::Bytes => "_bytes",
        };
        let total = match self.kind {
            Kind::Counter => "_total",
            Kind::Gauge | Kind::Histogram => "",
        };
        format!("{PREFIX}_{}{unit}{total}", self.name)
    }

    /// Its labels.
    #[must_use]
    pub const fn labels(&self) -> &'static [&'static str] {
        self.labels
    }

    /// Writes it as text.
    fn encode(&self, reading: &Reading, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let unit = match self.measure {
            Measure::Count => None,
            Measure::Seconds => Some(Unit::Seconds),
            Measure::Bytes => Some(Unit::Bytes),
        };
        let kind = match self.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
        };
        let mut metric = encoder.encode_descriptor(self.name, self.help, unit.as_ref(), kind)?;
        for Sample { labels, value } in (self.samples)(reading) {
            let mut sample = metric.encode_family(&labels)?;
            match (self.kind, value) {
                (Kind::Counter, Value::Whole(count)) => sample.encode_counter::<NoLabelSet, u64, u64>(&count, None)?,
                (Kind::Counter, Value::Real(count)) => sample.encode_counter::<NoLabelSet, f64, f64>(&count, None)?,
                (Kind::Gauge, Value::Whole(number)) => sample.encode_gauge(&number)?,
                (Kind::Gauge, Value::Real(number)) => sample.encode_gauge(&number)?,
                (Kind::Histogram, Value::Sizes(sum, count, classes)) => {
                    sample.encode_histogram::<NoLabelSet>(sum, count, &classes, None)?;
                }
                // A mistake in the table above, which its test finds.
                (Kind::Histogram, Value::Whole(_) | Value::Real(_))
                | (Kind::Counter | Kind::Gauge, Value::Sizes(..)) => {
                    return Err(std::fmt::Error);
                }
            }
        }
        Ok(())
    }
}

/// Hands a reading to the encoder.
#[derive(Debug)]
struct Scrape(Reading);

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        METRICS.iter().try_for_each(|metric| metric.encode(&self.0, &mut encoder))
    }
}

/// Renders a reading as OpenMetrics text.
///
/// # Errors
/// [`std::fmt::Error`] never happens; a test renders every metric.
pub fn render(reading: Reading) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Scrape(reading)));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

/// Renders the table of all metrics for the README, as Markdown.
#[must_use]
pub fn table() -> String {
    let mut out = String::from("| metric | labels | meaning |\n|---|---|---|\n");
    for metric in METRICS {
        let labels = metric.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        out.push_str(&format!("| `{}` | {labels} | {} |\n", metric.full_name(), metric.help.trim_end_matches('.')));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::reading::testing::in_an_outage;
    use super::*;

    #[test]
    fn every_metric_is_rendered_with_help_type_unit_and_its_labels() {
        let text = render(in_an_outage()).unwrap();
        for metric in METRICS {
            let name = metric.full_name();
            let family = name.trim_end_matches("_total");
            assert!(text.contains(&format!("# HELP {family} {}", metric.help)), "{name}");
            assert!(text.contains(&format!("# TYPE {family} ")), "{name}");
            let unit = match metric.measure {
                Measure::Count => None,
                Measure::Seconds => Some("seconds"),
                Measure::Bytes => Some("bytes"),
            };
            assert_eq!(text.contains(&format!("# UNIT {family} ")), unit.is_some(), "{name}");
            let sample = match metric.kind {
                Kind::Histogram => format!("{name}_bucket"),
                Kind::Counter | Kind::Gauge => name.clone(),
            };
            let is_own = |line: &&str| line.strip_prefix(&*sample).is_some_and(|rest| rest.starts_with(['{', ' ']));
            let line = text.lines().find(is_own).unwrap_or_else(|| panic!("no sample of {name}:\n{text}"));
            for label in metric.labels {
                assert!(line.contains(&format!("{label}=\"")), "{line}");
            }
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn values_are_those_of_the_reading() {
        let text = render(in_an_outage()).unwrap();
        for line in [
            "holdover_build{version=\"0.1.0\"} 1",
            "holdover_answers_total{outcome=\"stale\"} 1",
            "holdover_stale_age_seconds_bucket{le=\"60.0\"} 0",
            "holdover_stale_age_seconds_bucket{le=\"600.0\"} 1",
            "holdover_stale_age_seconds_bucket{le=\"+Inf\"} 1",
            "holdover_stale_age_seconds_count 1",
            "holdover_outage{zone=\".\"} 1",
            "holdover_time_to_cliff_seconds{zone=\".\"} 83640.0",
            "holdover_upstream_state{upstream=\"vpc@192.0.2.2:53\",state=\"down\"} 1",
            "holdover_upstream_state{upstream=\"vpc@192.0.2.2:53\",state=\"healthy\"} 0",
            "holdover_upstream_packets_shed_total{class=\"miss\"} 1",
            "holdover_cache_bytes{kind=\"positive\"} 12000",
            "holdover_state_file_working 0",
            "holdover_critical_fresh{name=\"db.example.com.\",type=\"A\"} 0",
        ] {
            assert!(text.lines().any(|own| own == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn what_there_is_not_is_left_out() {
        let text = render(Reading::default()).unwrap();
        let samples = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
        assert_eq!(
            (samples("holdover_time_to_cliff"), samples("holdover_state_file"), samples("holdover_ready")),
            (0, 0, 1)
        );
    }

    #[test]
    fn label_values_are_escaped() {
        let mut reading = Reading::default();
        reading.learned.insert("a\"b\\c\nd".to_owned(), 1);
        let text = render(reading).unwrap();
        assert!(text.contains(r#"holdover_learned_total{origin="a\"b\\c\nd"} 1"#), "{text}");
    }
}
