//! The environment variables that concern holdover, read into a layer of the configuration.
//!
//! | variable | meaning |
//! |---|---|
//! | `HOLDOVER_SECTION_KEY` | `key` in `[section]`; lists are comma-separated |
//! | `HOLDOVER_CONFIG` | the path of the configuration file |
//! | `HOLDOVER_UPSTREAM` | a list of upstreams, each with its own breaker |
//! | `HOLDOVER_CRITICAL` | a list of critical names |
//! | `HOLDOVER_SHARED_CACHE_PASSWORD` | the password of the shared cache, which has no key |
//! | `STATE_DIRECTORY` | the directory for `state.path = "auto"`; systemd sets it |
//!
//! An unknown variable that begins with `HOLDOVER_` may be a mistake, or belong to somebody else
//! (`HOLDOVER_VERSION`, `HOLDOVER_IMAGE`), so it is reported apart from mistakes. Variables that
//! Kubernetes sets in every container for a service named `holdover` (`HOLDOVER_SERVICE_HOST`,
//! `HOLDOVER_PORT`, `HOLDOVER_PORT_53_UDP_ADDR` and so on) are nobody's mistake.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use super::error::Problem;
use super::keys;
use super::layer::{GivenTable, GivenValue, Layer, Raw, ValueSource};
use super::secret::Secret;
use super::sections::{SECTIONS, SectionShape};

const PREFIX: &str = "HOLDOVER_";
const CONFIG: &str = "HOLDOVER_CONFIG";
const UPSTREAM: &str = "HOLDOVER_UPSTREAM";
const CRITICAL: &str = "HOLDOVER_CRITICAL";
const SHARED_CACHE_PASSWORD: &str = "HOLDOVER_SHARED_CACHE_PASSWORD";
/// The variable in which systemd names the directories that it made for the service
/// (systemd.exec(5)), separated by colons. The first one counts.
const STATE_DIRECTORY: &str = "STATE_DIRECTORY";

/// The part of the environment that concerns the configuration: the path of the file, and a layer
/// of values.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// Path of the configuration file, if a variable names it.
    pub config: Option<PathBuf>,
    /// The values that variables set.
    pub layer: Layer,
    /// Variables that are not known.
    pub unknown: Vec<Problem>,
    /// Variables that are known, and are not UTF-8 text.
    pub wrong: Vec<Problem>,
}

/// Reads the environment variables that concern holdover.
pub fn read(variables: impl Iterator<Item = (OsString, OsString)>) -> Environment {
    let mut environment = Environment::default();
    for (name, value) in variables {
        // Variables without the prefix of holdover are of no concern, except for the one of
        // systemd.
        if name == STATE_DIRECTORY {
            let first = value.to_string_lossy().split(':').next().map(PathBuf::from);
            environment.layer.state_directory = first.filter(|directory| directory.is_absolute());
            continue;
        }
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX) && !is_service_link(name)) else {
            continue;
        };
        if name == CONFIG {
            environment.config = Some(value.into());
            continue;
        }

        // Everything else has to be a variable that we know, and text.
        let source = ValueSource::Variable(name.into());
        let key = variables_of_keys().find(|(variable, _)| variable == name).map(|(_, key)| key);
        if key.is_none() && ![SHARED_CACHE_PASSWORD, UPSTREAM, CRITICAL].contains(&name) {
            let complaint =
                format!("is not a variable that holdover knows.{} Unset it, or correct its name.", hint(name));
            environment.unknown.push(Problem::place(name, &source, complaint));
            continue;
        }
        let Ok(text) = value.into_string() else {
            environment.wrong.push(Problem::place(
                name,
                &source,
                "is not UTF-8 text. Change it, or unset the variable.",
            ));
            continue;
        };
        if name == SHARED_CACHE_PASSWORD {
            environment.layer.shared_cache_password = Some(Secret(text)).filter(|secret| !secret.0.is_empty());
        } else if name == UPSTREAM {
            environment.layer.tables.insert("upstream", upstreams(&text, &source));
        } else if name == CRITICAL {
            environment.layer.tables.insert("critical", tables(keys::CRITICAL_NAME, &source, &text));
        } else if let Some(key) = key {
            environment.layer.values.insert(key, GivenValue { raw: Raw::Word(text), source });
        }
    }
    environment
}

/// The question whether the known variable that is most like `name` was meant; empty when no known
/// variable is like `name`.
fn hint(name: &str) -> String {
    // The prefix is left out of the comparison, since the prefix alone would make any two variables
    // alike.
    let tail = |name: &str| name.get(PREFIX.len()..).unwrap_or_default().to_owned();
    let others = [CONFIG, UPSTREAM, CRITICAL, SHARED_CACHE_PASSWORD].map(tail);
    let known: Vec<String> = variables_of_keys().map(|(variable, _)| tail(&variable)).chain(others).collect();
    let guess = keys::nearest(&tail(name), known.iter().map(String::as_str));
    guess.map_or_else(String::new, |guess| format!(" Did you mean {PREFIX}{guess}?"))
}

/// Makes one upstream of each address in a comma-separated list.
///
/// An empty list is a variable that somebody forgot to fill, not a wish to do without the upstreams
/// of the file. Such a list becomes one upstream with an empty address, which validation then
/// rejects.
#[must_use]
pub fn upstreams(list: &str, source: &ValueSource) -> Vec<GivenTable> {
    tables(keys::UPSTREAM_ADDRESSES, source, list)
}

/// Makes one table of each member of a comma-separated list; the member becomes the value of `key`.
/// An empty list becomes one table with an empty value.
#[must_use]
pub fn tables(key: &'static str, source: &ValueSource, list: &str) -> Vec<GivenTable> {
    let mut words: Vec<&str> = list.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        words.push("");
    }
    words
        .into_iter()
        .map(|word| {
            let given = GivenValue { raw: Raw::Word(word.to_owned()), source: source.clone() };
            GivenTable { source: source.clone(), values: BTreeMap::from([(key, given)]) }
        })
        .collect()
}

/// The variables of all keys outside arrays of tables, each with the full name of its key.
fn variables_of_keys() -> impl Iterator<Item = (String, &'static str)> {
    let sections = SECTIONS.iter().filter(|section| section.shape == SectionShape::Table);
    sections.flat_map(|section| keys::of_section(section.name)).map(|key| {
        let full_name = key.full_name();
        (format!("{PREFIX}{}", full_name.replace('.', "_").to_ascii_uppercase()), full_name)
    })
}

/// Whether Kubernetes sets a variable of this name for a service whose name is `holdover`, or
/// begins with `holdover`.
fn is_service_link(name: &str) -> bool {
    let words: Vec<&str> = name.split('_').collect();
    let is_number = |word: &&str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    words.windows(2).any(|pair| matches!(pair, ["SERVICE", "HOST" | "PORT"]))
        || name.ends_with("_PORT") && !variables_of_keys().any(|(variable, _)| variable == name)
        || words.windows(3).any(|three| matches!(three, ["PORT", number, "TCP" | "UDP" | "SCTP"] if is_number(number)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::validate::validate;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        read(variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))))
    }

    /// What is said of a variable that is not known.
    fn unknown(name: &str) -> String {
        let mut unknown = environment(&[(name, "1")]).unknown;
        assert_eq!(unknown.len(), 1);
        unknown.remove(0).to_string()
    }

    #[test]
    fn keys_are_found_by_their_variables() {
        let read = environment(&[("HOLDOVER_STALE_MAXIMUM", "12h"), ("PATH", "/bin"), ("HOLDOVER_CONFIG", "/x.toml")]);
        assert_eq!(read.layer.values.keys().collect::<Vec<_>>(), [&"stale.maximum"]);
        assert_eq!(read.config, Some(PathBuf::from("/x.toml")));
    }

    #[test]
    fn the_first_directory_that_systemd_gives_is_for_the_state_unless_somebody_says_otherwise() {
        let path = |variables: &[(&str, &str)]| validate(&environment(variables).layer).unwrap().state.path;
        let directory = ("STATE_DIRECTORY", "/var/lib/holdover:/var/lib/other");
        assert_eq!(path(&[]), None);
        assert_eq!(path(&[directory]), Some(PathBuf::from("/var/lib/holdover/state.redb")));
        assert_eq!(
            path(&[directory, ("HOLDOVER_STATE_PATH", "auto")]),
            Some(PathBuf::from("/var/lib/holdover/state.redb"))
        );
        assert_eq!(path(&[directory, ("HOLDOVER_STATE_PATH", "off")]), None);
        assert_eq!(path(&[directory, ("HOLDOVER_STATE_PATH", "/x/s.redb")]), Some(PathBuf::from("/x/s.redb")));
        assert_eq!(path(&[("STATE_DIRECTORY", "relative")]), None);
    }

    #[test]
    fn an_unknown_variable_is_told_with_a_guess() {
        let message = unknown("HOLDOVER_STALE_MAXIMUN");
        assert_eq!(
            message,
            "HOLDOVER_STALE_MAXIMUN is not a variable that holdover knows. Did you mean HOLDOVER_STALE_MAXIMUM? Unset \
             it, or correct its name."
        );
    }

    #[test]
    fn what_is_like_no_variable_gets_no_guess() {
        let message = unknown("HOLDOVER_ZZZ");
        assert_eq!(message, "HOLDOVER_ZZZ is not a variable that holdover knows. Unset it, or correct its name.");
    }

    #[test]
    fn the_variables_of_a_kubernetes_service_are_not_ours() {
        let links = [
            "HOLDOVER_SERVICE_HOST",
            "HOLDOVER_SERVICE_PORT",
            "HOLDOVER_SERVICE_PORT_DNS",
            "HOLDOVER_PORT",
            "HOLDOVER_PORT_53_UDP",
            "HOLDOVER_PORT_53_UDP_ADDR",
            "HOLDOVER_DNS_SERVICE_HOST",
            "HOLDOVER_DNS_PORT_53_TCP_PROTO",
        ];
        let read = environment(&links.map(|name| (name, "tcp://192.0.2.1:53")));
        assert!(read.layer.values.is_empty() && read.unknown.is_empty());
    }

    #[test]
    fn upstreams_are_a_list() {
        let read = environment(&[("HOLDOVER_UPSTREAM", "192.0.2.1, 192.0.2.2:5353")]);
        assert_eq!(read.layer.tables["upstream"].len(), 2);
    }

    #[test]
    fn critical_names_are_a_list_and_an_empty_one_is_a_mistake() {
        let settings = |text| validate(&environment(&[("HOLDOVER_CRITICAL", text)]).layer);
        assert_eq!(settings("db.example.com, api.example.com").unwrap().policy.critical.len(), 2);
        let told = settings(" ").unwrap_err().to_string();
        assert!(told.starts_with("HOLDOVER_CRITICAL= is not a domain name."), "{told}");
    }

    #[test]
    fn an_empty_list_of_upstreams_is_no_list() {
        for empty in ["", " ", ","] {
            let read = environment(&[("HOLDOVER_UPSTREAM", empty)]);
            let told = validate(&read.layer).unwrap_err().to_string();
            assert!(told.starts_with("HOLDOVER_UPSTREAM= names no address."), "{told}");
        }
    }
}
