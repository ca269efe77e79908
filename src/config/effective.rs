//! The effective configuration: every key with the value that counts, and the place where that was
//! written.
//!
//! The text is a configuration file that means the same, with the sources as comments behind the
//! values. A secret is the value of no key, so that it is only said whether one is given.

use std::fmt::Write;

use super::key::{ConfigKey, Presence};
use super::keys;
use super::layer::{GivenValue, Layer, Raw};
use super::sections::{SECTIONS, SectionShape};

/// The column in which the sources begin, where values leave it free.
const SOURCES_AT: usize = 44;

/// The value of one key, and where it was written.
struct EffectiveValue {
    /// The head of its section, as a file shows it.
    head: String,
    /// The full name of its section; of an array of tables with the number of the table.
    section: String,
    name: &'static str,
    /// In TOML, which is JSON as well.
    value: String,
    source: String,
}

/// Renders the values of merged layers as a configuration file.
#[must_use]
pub fn as_file(layer: &Layer) -> String {
    let (mut out, mut section) = (String::new(), String::new());
    for own in values(layer) {
        if own.section != section {
            let _ = writeln!(out, "{}{}", if section.is_empty() { "" } else { "\n" }, own.head);
            section.clone_from(&own.section);
        }
        let assignment = format!("{} = {}", own.name, own.value);
        let _ = writeln!(out, "{assignment:<SOURCES_AT$} # {}", own.source);
    }
    if let Some(directory) = &layer.state_directory {
        let _ = writeln!(out, "\n# STATE_DIRECTORY = {}", quoted(&directory.to_string_lossy()));
    }
    if layer.shared_cache_password.is_some() {
        out.push_str("\n# HOLDOVER_SHARED_CACHE_PASSWORD is set, and not shown\n");
    }
    out
}

/// Renders the values of merged layers as JSON: an array of objects with `key`, `value` and
/// `source`.
#[must_use]
pub fn as_json(layer: &Layer) -> String {
    let values = values(layer).into_iter().map(|own| {
        let (key, source) = (quoted(&format!("{}.{}", own.section, own.name)), quoted(&own.source));
        format!("{{\"key\":{key},\"value\":{},\"source\":{source}}}", own.value)
    });
    format!("[{}]\n", values.collect::<Vec<_>>().join(",\n"))
}

/// All keys that have a value or a default, in reading order.
fn values(layer: &Layer) -> Vec<EffectiveValue> {
    let mut found = Vec::new();
    for section in SECTIONS {
        let mut add = |section_name: String, key: &dyn ConfigKey, given: Option<&GivenValue>| {
            let (value, source) = match (given, key.presence()) {
                (Some(given), _) => (toml(given, &key.default_toml()), given.source.to_string()),
                (None, Presence::Optional) if section.shape == SectionShape::Table => {
                    (key.default_toml(), "default".to_owned())
                }
                (None, Presence::Optional | Presence::WithoutDefault | Presence::Required) => return,
            };
            let (head, name) = (section.head(), key.name());
            found.push(EffectiveValue { head, section: section_name, name, value, source });
        };
        match section.shape {
            SectionShape::Table => {
                for key in keys::of_section(section.name) {
                    add(section.name.to_owned(), key, layer.values.get(key.full_name()));
                }
            }
            SectionShape::ArrayOfTables => {
                for (index, table) in layer.tables.get(section.name).into_iter().flatten().enumerate() {
                    for key in keys::of_section(section.name) {
                        add(format!("{}[{index}]", section.name), key, table.values.get(key.full_name()));
                    }
                }
            }
        }
    }
    found
}

/// A value as TOML, in the form that its key takes: that of its default.
fn toml(given: &GivenValue, like: &str) -> String {
    if like.starts_with('[') {
        let items: Vec<String> = given.items().iter().map(|item| single(&item.raw, "\"")).collect();
        return format!("[{}]", items.join(", "));
    }
    single(&given.raw, like)
}

fn single(raw: &Raw, like: &str) -> String {
    match raw {
        Raw::Word(text) if !like.starts_with('"') => text.trim().to_owned(),
        Raw::Word(text) | Raw::Text(text) => quoted(text),
        Raw::Integer(number) => number.to_string(),
        Raw::Switch(on) => on.to_string(),
        Raw::List(items) => {
            let items: Vec<String> = items.iter().map(|item| single(&item.raw, like)).collect();
            format!("[{}]", items.join(", "))
        }
        Raw::Other(shown) => shown.clone(),
    }
}

/// A text as a basic string of TOML and as a string of JSON.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for own in text.chars() {
        match own {
            '"' | '\\' => {
                out.push('\\');
                out.push(own);
            }
            own if own.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(own));
            }
            own => out.push(own),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::environment;
    use crate::config::file;
    use crate::config::settings::Settings;
    use crate::config::validate::validate;
    use std::ffi::OsString;

    const FILE: &str = "[listen]\naddresses = [\"127.0.0.1:5353\", \"[::1]:53\"]\nthreads = 2\n[stale]\nmaximum = \
                        \"2d\"\n[[upstream]]\nname = \"vpc\"\naddresses = [\"192.0.2.1\"]\n";

    fn layer(text: &str, variables: &[(&str, &str)]) -> Layer {
        let mut layer = file::parse("holdover.toml", text).unwrap();
        let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        layer.cover(environment::read(variables).layer);
        layer
    }

    #[test]
    fn the_text_is_a_file_that_means_the_same() {
        let variables = [
            ("HOLDOVER_CACHE_ENTRIES", "500"),
            ("HOLDOVER_PREFETCH_ENABLED", "false"),
            ("HOLDOVER_CACHE_SEED", "/a \"b\".json,/c.json"),
            ("HOLDOVER_CRITICAL", "db.example.com"),
        ];
        let layer = layer(FILE, &variables);
        let shown = as_file(&layer);
        let again = file::parse("again.toml", &shown).and_then(|layer| validate(&layer)).unwrap();
        assert_eq!(again, validate(&layer).unwrap(), "{shown}");
        assert_ne!(again, Settings::standard());
    }

    #[test]
    fn each_value_stands_before_its_source() {
        let shown = as_file(&layer(FILE, &[("HOLDOVER_STALE_MAXIMUM", "12h")]));
        let line = |name: &str| shown.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
        assert!(line("threads = 2 ").ends_with(" # holdover.toml:3"), "{shown}");
        assert!(line("maximum = \"12h\" ").ends_with(" # HOLDOVER_STALE_MAXIMUM"), "{shown}");
        assert!(line("answer_ttl = ").ends_with(" # default"), "{shown}");
        assert!(shown.contains("[[upstream]]\nname = \"vpc\""), "{shown}");
    }

    #[test]
    fn a_secret_is_not_shown_and_control_characters_are_escaped() {
        let layer = layer("", &[("HOLDOVER_SHARED_CACHE_PASSWORD", "hush"), ("HOLDOVER_HOSTS_PATH", "/x\x1b[31m")]);
        let (file, json) = (as_file(&layer), as_json(&layer));
        assert!(!file.contains("hush") && !json.contains("hush") && file.contains("PASSWORD is set"), "{file}");
        for text in [file, json] {
            assert!(text.contains("\"/x\\u001b[31m\"") && !text.contains('\x1b'), "{text}");
        }
    }
}
