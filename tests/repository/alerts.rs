//! The alerts of `config/prometheus` are YAML of the shape that Prometheus reads, and every metric
//! and label in them exists.

use std::path::Path;

use holdover::telemetry::metrics::METRICS;
use yaml_rust2::{Yaml, YamlLoader};

/// The rules of all groups.
fn rules() -> Vec<Yaml> {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/prometheus/holdover.rules.yaml"))
            .unwrap();
    let documents = YamlLoader::load_from_str(&text).unwrap();
    assert_eq!(documents.len(), 1);
    let groups = documents[0]["groups"].as_vec().expect("groups");
    groups.iter().flat_map(|group| group["rules"].as_vec().expect("rules").clone()).collect()
}

/// The metrics of holdover that an expression names, each with the labels in its braces.
fn metrics(expression: &str) -> Vec<(String, Vec<String>)> {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    expression
        .match_indices("holdover_")
        .map(|(start, _)| {
            let rest = &expression[start..];
            let end = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
            let braces = rest[end..].strip_prefix('{').and_then(|rest| rest.split('}').next()).unwrap_or_default();
            let labels = braces.split(',').filter(|matcher| !matcher.is_empty());
            (
                rest[..end].to_owned(),
                labels.map(|matcher| matcher.trim().chars().take_while(|own| is_word(*own)).collect()).collect(),
            )
        })
        .collect()
}

#[test]
fn every_alert_has_what_prometheus_wants_and_says_what_to_do() {
    let rules = rules();
    assert!(rules.len() >= 7, "{}", rules.len());
    let mut names: Vec<&str> = rules.iter().map(|rule| rule["alert"].as_str().expect("a name")).collect();
    for rule in &rules {
        let keys: Vec<&str> = rule.as_hash().unwrap().keys().map(|key| key.as_str().unwrap()).collect();
        assert!(keys.iter().all(|key| ["alert", "expr", "for", "labels", "annotations"].contains(key)), "{keys:?}");
        assert!(["warning", "critical"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{rule:?}");
        for annotation in ["summary", "description"] {
            let text = rule["annotations"][annotation].as_str().expect(annotation);
            assert_eq!(text.matches("{{").count(), text.matches("}}").count(), "{text}");
        }
        let expression = rule["expr"].as_str().unwrap();
        let balanced = |open, close| expression.matches(open).count() == expression.matches(close).count();
        assert!(balanced('(', ')') && balanced('{', '}') && balanced('[', ']'), "{expression}");
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), rules.len(), "each name once");
}

#[test]
fn every_alert_names_metrics_and_labels_that_exist() {
    for rule in rules() {
        let expression = rule["expr"].as_str().unwrap();
        let named = metrics(expression);
        assert!(!named.is_empty(), "{expression}");
        let mut known = vec!["instance"];
        for (name, labels) in &named {
            let metric = METRICS.iter().find(|metric| {
                let full = metric.full_name();
                full == *name
                    || name.strip_prefix(&full).is_some_and(|suffix| ["_bucket", "_sum", "_count"].contains(&suffix))
            });
            let metric = metric.unwrap_or_else(|| panic!("{name} does not exist: {expression}"));
            known.extend(metric.labels());
            for label in labels {
                assert!(metric.labels().contains(&label.as_str()), "{name} has no label {label}");
            }
        }
        let summary = rule["annotations"]["summary"].as_str().unwrap();
        for (start, _) in summary.match_indices("$labels.") {
            let label: String =
                summary[start + 8..].chars().take_while(|own| own.is_ascii_alphanumeric() || *own == '_').collect();
            assert!(known.contains(&label.as_str()), "{summary}: {label}");
        }
    }
}
