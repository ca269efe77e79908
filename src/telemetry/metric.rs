//! One metric: what it is called, what it means, and how its samples are found and written.

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::reading::Reading;

/// The first part of the name of every metric.
pub(super) const PREFIX: &str = "holdover";

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
    pub(super) labels: Vec<(&'static str, String)>,
    pub(super) value: Value,
}

/// The value of a sample.
pub(super) enum Value {
    Whole(u64),
    Real(f64),
    /// A histogram: sum and number of all values, then upper bound and count of each class.
    Histogram(f64, u64, Vec<(f64, u64)>),
}

/// One metric, with the function that finds its values in a [`Reading`].
pub struct Metric {
    /// The name without prefix, unit and `_total`.
    pub(super) name: &'static str,
    pub(super) kind: MetricKind,
    pub(super) measure: Measure,
    pub(super) help: &'static str,
    pub(super) labels: &'static [&'static str],
    /// Finds the values of the metric in a reading; none while there is nothing to measure.
    pub(super) samples: fn(&Reading) -> Vec<Sample>,
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
    pub(super) fn encode(&self, reading: &Reading, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
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

pub(super) fn whole(value: u64) -> Vec<Sample> {
    vec![Sample { labels: Vec::new(), value: Value::Whole(value) }]
}

pub(super) fn real(value: f64) -> Vec<Sample> {
    vec![Sample { labels: Vec::new(), value: Value::Real(value) }]
}

pub(super) fn labelled(label: &'static str, of: &str, value: u64) -> Sample {
    Sample { labels: vec![(label, of.to_owned())], value: Value::Whole(value) }
}

/// One sample for each value of one label.
pub(super) fn by<'a>(label: &'static str, counts: impl IntoIterator<Item = (&'a String, &'a u64)>) -> Vec<Sample> {
    counts.into_iter().map(|(of, count)| labelled(label, of, *count)).collect()
}
