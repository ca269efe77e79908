//! The samples of those metrics that have one for each zone, upstream, kind or name.

use std::collections::BTreeMap;

use super::metric::{Sample, Value, labelled};
use super::reading::{
    CriticalReading, CurrentOutageReading, OutageReading, Reading, StateFileReading, StoreSizeReading, UpstreamReading,
};
use super::tally::UpstreamTraffic;
use crate::core::health::UpstreamState;

/// One sample for each kind of remembered answer.
pub(super) fn answers_of(reading: &Reading, number: fn(&StoreSizeReading) -> u64) -> Vec<Sample> {
    let cache = &reading.cache;
    let kinds = [("positive", &cache.positive), ("negative", &cache.negative), ("failure", &cache.failure)];
    kinds.iter().map(|(kind, size)| labelled("kind", kind, number(size))).collect()
}

/// One sample for each zone.
pub(super) fn zones(reading: &Reading, number: fn(&OutageReading) -> u64) -> Vec<Sample> {
    reading.outages.iter().map(|outage| labelled("zone", &outage.zone, number(outage))).collect()
}

/// One sample for each zone that has an outage at present.
pub(super) fn outages(reading: &Reading, number: fn(&CurrentOutageReading) -> Option<Value>) -> Vec<Sample> {
    let current = reading.outages.iter().filter_map(|outage| Some((&outage.zone, outage.current.as_ref()?)));
    current
        .filter_map(|(zone, current)| Some(Sample { labels: vec![("zone", zone.clone())], value: number(current)? }))
        .collect()
}

/// One sample for each upstream and state, 1 for the state in which the upstream is.
pub(super) fn states(reading: &Reading) -> Vec<Sample> {
    let of = |upstream: &UpstreamReading, state: UpstreamState| Sample {
        labels: vec![("upstream", upstream.upstream.clone()), ("state", state.label().to_owned())],
        value: Value::Whole(u64::from(upstream.state == state.label())),
    };
    reading.upstreams.iter().flat_map(|upstream| UpstreamState::ALL.map(|state| of(upstream, state))).collect()
}

/// One sample for each upstream and end of an attempt.
pub(super) fn attempts(reading: &Reading) -> Vec<Sample> {
    outcomes(reading, |own| &own.attempts)
}

/// One sample for each upstream and outcome of a witness.
pub(super) fn witnesses(reading: &Reading) -> Vec<Sample> {
    outcomes(reading, |own| &own.witnesses)
}

/// One sample for each upstream and outcome of something that is counted for it.
fn outcomes(reading: &Reading, counts: fn(&UpstreamReading) -> &BTreeMap<String, u64>) -> Vec<Sample> {
    let of = |upstream: &str, outcome: &str, count: u64| Sample {
        labels: vec![("upstream", upstream.to_owned()), ("outcome", outcome.to_owned())],
        value: Value::Whole(count),
    };
    let each = reading.upstreams.iter();
    each.flat_map(|own| counts(own).iter().map(move |(outcome, count)| of(&own.upstream, outcome, *count))).collect()
}

/// One sample for each upstream whose round-trip times are known.
pub(super) fn round_trips(reading: &Reading) -> Vec<Sample> {
    let measured = reading.upstreams.iter().filter_map(|upstream| Some((upstream, upstream.rtt_p99_seconds?)));
    measured
        .map(|(own, p99)| Sample { labels: vec![("upstream", own.upstream.clone())], value: Value::Real(p99) })
        .collect()
}

/// The histogram of the ages of stale answers.
pub(super) fn stale_ages(reading: &Reading) -> Vec<Sample> {
    let ages = &reading.stale_ages;
    #[expect(clippy::cast_precision_loss, reason = "bounds are a week at the most")]
    let bounds = ages.bounds_seconds.iter().map(|bound| bound.map_or(f64::INFINITY, |bound| bound as f64));
    let classes: Vec<(f64, u64)> = bounds.zip(ages.counts.iter().copied()).collect();
    vec![Sample { labels: Vec::new(), value: Value::Histogram(ages.sum_seconds, ages.counts.iter().sum(), classes) }]
}

/// The queries, connections or responses of all upstreams together.
pub(super) fn traffic(reading: &Reading, kind: UpstreamTraffic) -> u64 {
    reading.upstream_traffic.get(kind.label()).copied().unwrap_or_default()
}

/// One sample where a state file is configured.
pub(super) fn state_file(reading: &Reading, number: fn(&StateFileReading) -> Option<Value>) -> Vec<Sample> {
    reading.state_file.iter().filter_map(number).map(|value| Sample { labels: Vec::new(), value }).collect()
}

/// One sample for each critical name and type.
pub(super) fn critical(reading: &Reading, number: fn(&CriticalReading) -> Option<Value>) -> Vec<Sample> {
    let labels = |own: &CriticalReading| vec![("name", own.name.clone()), ("type", own.rtype.clone())];
    reading.critical.iter().filter_map(|own| Some(Sample { labels: labels(own), value: number(own)? })).collect()
}
