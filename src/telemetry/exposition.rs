//! The exposition of the metrics: as OpenMetrics text for a scraper, and as a table for the README.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::Registry;

use super::metric::PREFIX;
use super::metrics::METRICS;
use super::reading::Reading;

/// The HTTP content type of the text that [`render`] returns.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

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
    use super::super::metric::{Measure, MetricKind};
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
