//! Judges the critical names.

use std::time::Duration;

use super::Judge;
use super::text::{items, read_name, read_type, text};
use crate::config::error::Problem;
use crate::config::keys;
use crate::config::layer::Record;
use crate::config::limits;
use crate::core::policy::CriticalName;
use crate::core::special::is_local;

/// TYPE A and AAAA.
const ADDRESSES: [u16; 2] = [1, 28];

impl Judge<'_> {
    /// Names that must never be missing.
    pub(super) fn critical(&mut self) -> Vec<CriticalName> {
        let layer = self.layer;
        let records = layer.records.get("critical").map(Vec::as_slice).unwrap_or_default();
        let mut names: Vec<CriticalName> = Vec::new();
        for record in records.iter().take(limits::CRITICAL_NAMES_MAX) {
            let Some(given) = record.values.get(keys::CRITICAL_NAME) else {
                let complaint = r#"has no name. Add a line such as name = "db.example.com"."#;
                self.problems.push(Problem::place(&record.origin, "[[critical]]", complaint));
                continue;
            };
            let Some(name) = text(&given.raw).and_then(read_name) else {
                self.complain(keys::CRITICAL_NAME, given, "is not a domain name");
                continue;
            };
            if is_local(&name) {
                self.complain(keys::CRITICAL_NAME, given, "is never asked of an upstream");
            }
            if names.iter().any(|other| other.name == name) {
                self.complain(keys::CRITICAL_NAME, given, "is named twice");
            }
            names.push(CriticalName {
                name,
                types: self.critical_types(record),
                max_age: self.critical_max_age(record),
            });
        }
        if let Some(extra) = records.get(limits::CRITICAL_NAMES_MAX) {
            let complaint = format!(
                "is one too many. Allowed: {} names. Leave those out that the application can start without.",
                limits::CRITICAL_NAMES_MAX
            );
            self.problems.push(Problem::place(&extra.origin, "[[critical]]", complaint));
        }
        names
    }

    /// The types of one of them.
    fn critical_types(&mut self, record: &Record) -> Vec<u16> {
        let Some(given) = record.values.get(keys::CRITICAL_TYPES) else { return ADDRESSES.to_vec() };
        let mut types = Vec::new();
        let items = items(given);
        for item in &items {
            match text(&item.raw).and_then(read_type) {
                None => self.complain(keys::CRITICAL_TYPES, item, "is not a type"),
                Some(rtype) if types.contains(&rtype) => self.complain(keys::CRITICAL_TYPES, item, "is named twice"),
                Some(rtype) => types.push(rtype),
            }
        }
        if items.is_empty() {
            self.complain(keys::CRITICAL_TYPES, given, "names no type");
        } else if items.len() > limits::CRITICAL_TYPES_MAX {
            self.complain(keys::CRITICAL_TYPES, given, "names too many types");
        }
        types
    }

    /// How old its answers may become.
    fn critical_max_age(&mut self, record: &Record) -> Duration {
        let bound = &limits::CRITICAL_MAX_AGE;
        let given = record.values.get(bound.key).cloned();
        given.and_then(|given| self.quantity(bound, bound.key, &given)).unwrap_or(bound.default)
    }
}
