//! The validation of `[[critical]]`: the names that must always have an answer.

use std::time::Duration;

use super::names::NameExtent;
use super::types::read_type;
use super::validator::Validator;
use crate::config::error::Problem;
use crate::config::keys;
use crate::config::layer::GivenTable;
use crate::config::limits;
use crate::core::policy::CriticalName;
use crate::core::routes::Routes;
use crate::core::special::is_special;

const SECTION: &str = "[[critical]]";
/// The types of a critical name whose table lists none: A and AAAA.
const ADDRESSES: [u16; 2] = [1, 28];

impl Validator<'_> {
    pub(super) fn critical(&mut self) -> Vec<CriticalName> {
        let tables = self.tables("critical");
        let mut names: Vec<CriticalName> = Vec::new();
        for table in tables.iter().take(limits::CRITICAL_NAMES_MAX) {
            // Without a usable name, the other keys of the table concern nothing.
            let Some(given) = table.values.get(keys::CRITICAL_NAME) else {
                let complaint = r#"has no name. Add a line such as name = "db.example.com"."#;
                self.report(Problem::place(SECTION, &table.source, complaint));
                continue;
            };
            let Some(name) = self.name(keys::CRITICAL_NAME, given, NameExtent::Name) else { continue };
            if is_special(&name, &Routes::new(&[])) {
                self.complain(
                    keys::CRITICAL_NAME,
                    given,
                    "is answered by holdover itself, which never asks an upstream for it",
                );
            }
            if names.iter().any(|other| other.name == name) {
                self.complain(keys::CRITICAL_NAME, given, "is named twice");
            }
            names.push(CriticalName { name, types: self.critical_types(table), max_age: self.critical_max_age(table) });
        }
        // Only the first table beyond the bound is reported.
        if let Some(extra) = tables.get(limits::CRITICAL_NAMES_MAX) {
            let complaint = format!(
                "is one too many. Allowed: {} names. Leave out those that the application can start without.",
                limits::CRITICAL_NAMES_MAX
            );
            self.report(Problem::place(SECTION, &extra.source, complaint));
        }
        names
    }

    fn critical_types(&mut self, table: &GivenTable) -> Vec<u16> {
        let Some(given) = table.values.get(keys::CRITICAL_TYPES) else { return ADDRESSES.to_vec() };
        let mut types = Vec::new();
        let items = given.items();
        for item in &items {
            match item.raw.text().and_then(read_type) {
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

    fn critical_max_age(&mut self, table: &GivenTable) -> Duration {
        let bound = &limits::CRITICAL_MAX_AGE;
        let given = table.values.get(bound.key);
        given.and_then(|given| self.quantity(bound.key, given, bound)).unwrap_or(bound.default)
    }
}
