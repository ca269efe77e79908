//! The table of all metrics: the name of each, its meaning, and the field of a [`Reading`] with its
//! value. No other file names metrics.
//!
//! Nothing is counted here. The threads that answer count in their own [`super::tally`]; a scrape
//! adds the counters up, and costs those threads nothing. The names follow the rules of Prometheus:
//! base units, the unit and then `_total` at the end, and a sum over a metric's labels that means
//! something. Ages and durations are given as such, and not as Unix timestamps: the sidecar
//! computes them when it is scraped, so they cannot grow stale, and they stay right when the wall
//! clock of its host jumps.
//!
//! Labels have few values by construction: outcomes, classes, zones and upstreams of the
//! configuration, and the critical names that the operator lists. No name that a client asks for
//! becomes a label.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::reading::{CurrentOutageReading, OutageReading, Reading, StoreSizeReading};
use super::tally::{ConnectionEvent, UpstreamTraffic};
use crate::core::health::UpstreamState;

/// The HTTP content type of the text that [`render`] returns.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The type of a metric in OpenMetrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// A number that only grows until the process ends; its name ends in `_total`.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// Counts of values by size, in classes with upper bounds.
    Histogram,
}

/// The unit of a metric, with which the metric's name ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// A plain number without a unit, which adds nothing to the name.
    Count,
    /// Seconds, which end the name with `_seconds`.
    Seconds,
    /// Bytes, which end the name with `_bytes`.
    Bytes,
}

/// One value of a metric, with its labels.
pub struct Sample {
    labels: Vec<(&'static str, String)>,
    value: Value,
}

enum Value {
    Whole(u64),
    Real(f64),
    /// A histogram: sum and number of all values, then upper bound and count of each class.
    Histogram(f64, u64, Vec<(f64, u64)>),
}

/// One metric, with the function that finds its values in a [`Reading`].
pub struct Metric {
    /// The name without prefix, unit and `_total`.
    name: &'static str,
    kind: MetricKind,
    measure: Measure,
    help: &'static str,
    labels: &'static [&'static str],
    /// Finds the values of the metric in a reading; none while there is nothing to measure.
    samples: fn(&Reading) -> Vec<Sample>,
}

const PREFIX: &str = "holdover";

fn whole(value: u64) -> Vec<Sample> {
    vec![Sample { labels: Vec::new(), value: Value::Whole(value) }]
}

fn real(value: f64) -> Vec<Sample> {
    vec![Sample { labels: Vec::new(), value: Value::Real(value) }]
}

fn labelled(label: &'static str, of: &str, value: u64) -> Sample {
    Sample { labels: vec![(label, of.to_owned())], value: Value::Whole(value) }
}

/// One sample for each value of one label.
fn by<'a>(label: &'static str, counts: impl IntoIterator<Item = (&'a String, &'a u64)>) -> Vec<Sample> {
    counts.into_iter().map(|(of, count)| labelled(label, of, *count)).collect()
}

/// One sample for each kind of remembered answer.
fn answers_of(reading: &Reading, number: fn(&StoreSizeReading) -> u64) -> Vec<Sample> {
    let cache = &reading.cache;
    let kinds = [("positive", &cache.positive), ("negative", &cache.negative), ("failure", &cache.failure)];
    kinds.iter().map(|(kind, size)| labelled("kind", kind, number(size))).collect()
}

/// One sample for each zone.
fn zones(reading: &Reading, number: fn(&OutageReading) -> u64) -> Vec<Sample> {
    reading.outages.iter().map(|outage| labelled("zone", &outage.zone, number(outage))).collect()
}

/// One sample for each zone that has an outage at present.
fn outages(reading: &Reading, number: fn(&CurrentOutageReading) -> Option<Value>) -> Vec<Sample> {
    let current = reading.outages.iter().filter_map(|outage| Some((&outage.zone, outage.current.as_ref()?)));
    current
        .filter_map(|(zone, current)| Some(Sample { labels: vec![("zone", zone.clone())], value: number(current)? }))
        .collect()
}

/// One sample for each upstream and state, 1 for the state in which the upstream is.
fn states(reading: &Reading) -> Vec<Sample> {
    let of = |upstream: &super::reading::UpstreamReading, state: UpstreamState| Sample {
        labels: vec![("upstream", upstream.upstream.clone()), ("state", state.label().to_owned())],
        value: Value::Whole(u64::from(upstream.state == state.label())),
    };
    reading.upstreams.iter().flat_map(|upstream| UpstreamState::ALL.map(|state| of(upstream, state))).collect()
}

/// One sample for each upstream and end of an attempt.
fn attempts(reading: &Reading) -> Vec<Sample> {
    let of = |upstream: &str, end: &str, count: u64| Sample {
        labels: vec![("upstream", upstream.to_owned()), ("outcome", end.to_owned())],
        value: Value::Whole(count),
    };
    let each = reading.upstreams.iter();
    each.flat_map(|own| own.attempts.iter().map(move |(end, count)| of(&own.upstream, end, *count))).collect()
}

/// One sample for each upstream whose round-trip times are known.
fn round_trips(reading: &Reading) -> Vec<Sample> {
    let measured = reading.upstreams.iter().filter_map(|upstream| Some((upstream, upstream.rtt_p99_seconds?)));
    measured
        .map(|(own, p99)| Sample { labels: vec![("upstream", own.upstream.clone())], value: Value::Real(p99) })
        .collect()
}

/// The histogram of the ages of stale answers.
fn stale_ages(reading: &Reading) -> Vec<Sample> {
    let ages = &reading.stale_ages;
    #[expect(clippy::cast_precision_loss, reason = "bounds are a week at the most")]
    let bounds = ages.bounds_seconds.iter().map(|bound| bound.map_or(f64::INFINITY, |bound| bound as f64));
    let classes: Vec<(f64, u64)> = bounds.zip(ages.counts.iter().copied()).collect();
    vec![Sample { labels: Vec::new(), value: Value::Histogram(ages.sum_seconds, ages.counts.iter().sum(), classes) }]
}

/// The queries, connections or responses of all upstreams together.
fn traffic(reading: &Reading, kind: UpstreamTraffic) -> u64 {
    reading.upstream_traffic.get(kind.label()).copied().unwrap_or_default()
}

/// One sample where a state file is configured.
fn state_file(reading: &Reading, number: fn(&super::reading::StateFileReading) -> Option<Value>) -> Vec<Sample> {
    reading.state_file.iter().filter_map(number).map(|value| Sample { labels: Vec::new(), value }).collect()
}

/// One sample for each critical name and type.
fn critical(reading: &Reading, number: fn(&super::reading::CriticalReading) -> Option<Value>) -> Vec<Sample> {
    let labels = |own: &super::reading::CriticalReading| vec![("name", own.name.clone()), ("type", own.rtype.clone())];
    reading.critical.iter().filter_map(|own| Some(Sample { labels: labels(own), value: number(own)? })).collect()
}

/// Declares metrics: name, kind, unit, labels and help text in one line, the values in the next.
macro_rules! metrics {
    ($($name:literal $kind:ident $measure:ident [$($label:literal)*] $help:literal $samples:expr;)+) => {
        /// All metrics, in the order in which they are shown.
        pub const METRICS: &[Metric] = &[$(Metric {
            name: $name,
            kind: MetricKind::$kind,
            measure: Measure::$measure,
            help: $help,
            labels: &[$($label),*],
            samples: $samples,
        }),+];
    };
}

metrics! {
    "build_info" Gauge Count ["version"] "Always 1; the label is the version of holdover."
        |own| vec![labelled("version", &own.version, 1)];
    "uptime" Gauge Seconds [] "Time since the process started."
        |own| real(own.uptime_seconds);
    "ready" Gauge Count [] "1 once the start is complete: critical names have an answer, or [ready] timeout is over."
        |own| whole(u64::from(own.ready));
    "queries" Counter Count ["outcome"]
        "Queries of clients by outcome: stale ones are answered in spite of an upstream's failure, failed and \
         cached_failure are SERVFAIL."
        |own| by("outcome", &own.queries);
    "stale_age" Histogram Seconds [] "How long ago stale answers had expired when they were given."
        stale_ages;
    "outage" Gauge Count ["zone"] "1 while no upstream of the zone is healthy."
        |own| zones(own, |outage| u64::from(outage.current.is_some()));
    "outages" Counter Count ["zone"] "Outages that have begun."
        |own| zones(own, |outage| outage.begun);
    "outage_duration" Gauge Seconds ["zone"] "Time since the current outage began; absent without an outage."
        |own| outages(own, |current| Some(Value::Real(current.duration_seconds)));
    "outage_stale_answers" Gauge Count ["zone"]
        "Queries that got a stale answer in the current outage; absent without an outage."
        |own| outages(own, |current| Some(Value::Whole(current.stale_answers)));
    "outage_names_served_stale" Gauge Count ["zone"]
        "Different names and types that were answered stale in the current outage; absent without an outage."
        |own| outages(own, |current| Some(Value::Whole(current.names_served_stale)));
    "outage_failed_answers" Gauge Count ["zone"]
        "Queries that got SERVFAIL in the current outage; absent without an outage."
        |own| outages(own, |current| Some(Value::Whole(current.failed_answers)));
    "time_to_cliff" Gauge Seconds ["zone"]
        "Time until the first name served stale in the current outage reaches its maximum stale and is not \
         answered any more; absent without such a name."
        |own| outages(own, |current| current.time_to_cliff_seconds.map(Value::Real));
    "upstream_state" Gauge Count ["upstream" "state"]
        "1 for the state in which the upstream is: healthy, impaired or down."
        states;
    "upstream_looping" Gauge Count ["upstream"]
        "1 while the upstream is not used because it sends holdover's own queries back."
        |own| own.upstreams.iter().map(|own| labelled("upstream", &own.upstream, u64::from(own.looping))).collect();
    "upstream_rtt_p99" Gauge Seconds ["upstream"]
        "99th percentile of the round-trip times; absent before the first answers."
        round_trips;
    "upstream_attempts" Counter Count ["upstream" "outcome"]
        "Attempts to get a response from the upstream, by what they came to."
        attempts;
    "upstream_overdue_attempts" Counter Count ["upstream"]
        "Attempts that were not answered within 200 ms, whatever they came to in the end."
        |own| own.upstreams.iter().map(|own| labelled("upstream", &own.upstream, own.overdue_attempts)).collect();
    "upstream_packets" Counter Count ["class"] "Queries sent to upstreams, by class of the packet budget."
        |own| own.packets.iter().map(|(class, packets)| labelled("class", class, packets.sent)).collect();
    "upstream_packets_over_budget" Counter Count ["class"]
        "Queries that the packet budget did not allow when they were due; they were sent later, or not at all."
        |own| own.packets.iter().map(|(class, packets)| labelled("class", class, packets.over_budget)).collect();
    "upstream_queries" Counter Count ["transport"] "Queries sent to upstreams, by transport."
        |own| {
            let queries = [("udp", UpstreamTraffic::UdpQuery), ("tcp", UpstreamTraffic::TcpQuery)];
            queries.map(|(transport, kind)| labelled("transport", transport, traffic(own, kind))).into()
        };
    "upstream_tcp_connections" Counter Count [] "TCP connections to upstreams that were begun."
        |own| whole(traffic(own, UpstreamTraffic::TcpConnection));
    "upstream_responses" Counter Count [] "Responses of upstreams that belong to a query."
        |own| whole(traffic(own, UpstreamTraffic::Response));
    "upstream_unusable_responses" Counter Count ["reason"]
        "Responses of upstreams that belong to a query and do not answer it, by reason."
        |own| by("reason", &own.unusable_responses);
    "upstream_ignored_responses" Counter Count ["reason"]
        "Responses that were ignored because they belong to no query, by reason: forged, malformed, or a \
         duplicate after a retry."
        |own| by("reason", &own.ignored_responses);
    "tcp_connections" Counter Count ["outcome"] "TCP connections of clients, by whether they were accepted."
        |own| by("outcome", own.tcp_connections.iter().filter(|(event, _)| *event != ConnectionEvent::Evicted.label()));
    "tcp_connections_evicted" Counter Count []
        "Accepted TCP connections of clients that were closed to accept a new one within listen.tcp_connections."
        |own| whole(own.tcp_connections.get(ConnectionEvent::Evicted.label()).copied().unwrap_or_default());
    "resolutions_in_flight" Gauge Count [] "Resolutions in flight."
        |own| whole(own.resolutions_in_flight);
    "cache_entries" Gauge Count ["kind"]
        "Remembered answers, by kind: positive, negative, and failures of names without an answer."
        |own| answers_of(own, |size| size.entries);
    "cache" Gauge Bytes ["kind"] "Memory that remembered answers take, bookkeeping included."
        |own| answers_of(own, |size| size.bytes);
    "cache_limit" Gauge Bytes []
        "Limit of the memory for positive answers; negative ones have a share of as much again."
        |own| whole(own.cache.limit_bytes);
    "cache_expired_entries" Gauge Count [] "Remembered answers whose TTL has ended and that can be served stale."
        |own| whole(own.cache.expired_entries);
    "answers_learned" Counter Count ["origin"] "Answers that were remembered, by where they came from."
        |own| by("origin", &own.answers_learned);
    "state_file_working" Gauge Count [] "1 while the state file can be written; absent without one."
        |own| state_file(own, |file| Some(Value::Whole(u64::from(file.working))));
    "state_file_last_write_age" Gauge Seconds []
        "Time since the state file was last written; absent before the first time."
        |own| state_file(own, |file| file.last_write_age_seconds.map(Value::Real));
    "state_file_failing" Gauge Seconds [] "Time for which the state file could not be written; absent while it works."
        |own| state_file(own, |file| file.failing_seconds.map(Value::Real));
    "state_file_entries" Gauge Count [] "Answers in the state file; absent without one."
        |own| state_file(own, |file| Some(Value::Whole(file.entries)));
    "state_file" Gauge Bytes [] "Size of the state file; absent without one."
        |own| state_file(own, |file| Some(Value::Whole(file.bytes)));
    "shared_cache_working" Gauge Count [] "1 while the shared cache is read and written; absent without one."
        |own| own.shared_cache.iter().flat_map(|cache| whole(u64::from(cache.working))).collect();
    "shared_cache_failing" Gauge Seconds [] "Time for which the shared cache could not be used; absent while it works."
        |own| own.shared_cache.iter().filter_map(|cache| cache.failing_seconds).flat_map(real).collect();
    "shared_cache_lookups" Counter Count ["outcome"]
        "Lookups in the shared cache of names that were not remembered while upstreams failed; absent without a \
         shared cache."
        |own| own.shared_cache.iter().flat_map(|cache| by("outcome", &cache.lookups)).collect();
    "shared_cache_writes" Counter Count ["outcome"] "Answers to be published in the shared cache; absent without one."
        |own| own.shared_cache.iter().flat_map(|cache| by("outcome", &cache.writes)).collect();
    "shared_cache_ignored_entries" Counter Count ["reason"]
        "Entries of the shared cache that were ignored, by reason; absent without one."
        |own| own.shared_cache.iter().flat_map(|cache| by("reason", &cache.ignored_entries)).collect();
    "critical_fresh" Gauge Count ["name" "type"]
        "1 while the answer for the critical name is within its TTL and not older than max_age."
        |own| critical(own, |own| Some(Value::Whole(u64::from(own.fresh))));
    "critical_age" Gauge Seconds ["name" "type"]
        "Time since the answer for the critical name was learned; absent while no answer is remembered."
        |own| critical(own, |own| own.age_seconds.map(Value::Real));
}

impl Metric {
    /// The full name of the metric; samples of a histogram add `_bucket`, `_sum` and `_count`.
    #[must_use]
    pub fn full_name(&self) -> String {
        let unit = match self.measure {
            Measure::Count => "",
            Measure::Seconds => "_seconds",
            Measure::Bytes => "_bytes",
        };
        let total = match self.kind {
            MetricKind::Counter => "_total",
            MetricKind::Gauge | MetricKind::Histogram => "",
        };
        format!("{PREFIX}_{}{unit}{total}", self.name)
    }

    /// The names of the metric's labels.
    #[must_use]
    pub const fn labels(&self) -> &'static [&'static str] {
        self.labels
    }

    /// Writes the metric and its samples.
    fn encode(&self, reading: &Reading, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        // The encoder appends the unit to the name, and `_total` to the samples of a counter.
        let unit = match self.measure {
            Measure::Count => None,
            Measure::Seconds => Some(Unit::Seconds),
            Measure::Bytes => Some(Unit::Bytes),
        };
        let kind = match self.kind {
            MetricKind::Counter => MetricType::Counter,
            MetricKind::Gauge => MetricType::Gauge,
            MetricKind::Histogram => MetricType::Histogram,
        };

        // Write the descriptor, then one line or histogram for each sample.
        let mut metric = encoder.encode_descriptor(self.name, self.help, unit.as_ref(), kind)?;
        for Sample { labels, value } in (self.samples)(reading) {
            let mut sample = metric.encode_family(&labels)?;
            match (self.kind, value) {
                (MetricKind::Counter, Value::Whole(count)) => {
                    sample.encode_counter::<NoLabelSet, u64, u64>(&count, None)?
                }
                (MetricKind::Counter, Value::Real(count)) => {
                    sample.encode_counter::<NoLabelSet, f64, f64>(&count, None)?
                }
                (MetricKind::Gauge, Value::Whole(number)) => sample.encode_gauge(&number)?,
                (MetricKind::Gauge, Value::Real(number)) => sample.encode_gauge(&number)?,
                (MetricKind::Histogram, Value::Histogram(sum, count, classes)) => {
                    sample.encode_histogram::<NoLabelSet>(sum, count, &classes, None)?;
                }
                // A mistake in the table above, which its test finds.
                (MetricKind::Histogram, Value::Whole(_) | Value::Real(_))
                | (MetricKind::Counter | MetricKind::Gauge, Value::Histogram(..)) => {
                    return Err(std::fmt::Error);
                }
            }
        }
        Ok(())
    }
}

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
                MetricKind::Histogram => format!("{name}_bucket"),
                MetricKind::Counter | MetricKind::Gauge => name.clone(),
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
            "holdover_build_info{version=\"0.1.0\"} 1",
            "holdover_queries_total{outcome=\"stale\"} 1",
            "holdover_stale_age_seconds_bucket{le=\"60.0\"} 0",
            "holdover_stale_age_seconds_bucket{le=\"600.0\"} 1",
            "holdover_stale_age_seconds_bucket{le=\"+Inf\"} 1",
            "holdover_stale_age_seconds_count 1",
            "holdover_outage{zone=\".\"} 1",
            "holdover_time_to_cliff_seconds{zone=\".\"} 83640.0",
            "holdover_upstream_state{upstream=\"vpc@192.0.2.2:53\",state=\"down\"} 1",
            "holdover_upstream_state{upstream=\"vpc@192.0.2.2:53\",state=\"healthy\"} 0",
            "holdover_upstream_packets_over_budget_total{class=\"miss\"} 1",
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
        reading.answers_learned.insert("a\"b\\c\nd".to_owned(), 1);
        let text = render(reading).unwrap();
        assert!(text.contains(r#"holdover_answers_learned_total{origin="a\"b\\c\nd"} 1"#), "{text}");
    }
}
