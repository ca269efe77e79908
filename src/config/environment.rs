//! The environment: `HOLDOVER_SECTION_KEY` stands for `key` in `[section]`, lists are
//! comma-separated.
//!
//! `STATE_DIRECTORY`, which systemd sets, is where the state file lies unless it is told otherwise.
//!
//! `HOLDOVER_UPSTREAM=192.0.2.1,192.0.2.2` names upstreams, each with its own breaker;
//! `HOLDOVER_CONFIG` names the file. An unknown variable is refused like an unknown key, except for
//! those that Kubernetes makes for a service named `holdover` in every container
//! (`HOLDOVER_SERVICE_HOST`, `HOLDOVER_PORT`, `HOLDOVER_PORT_53_UDP_ADDR` and so on).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use super::error::{ConfigError, Problem};
use super::keys::{self, SECTIONS, Shape};
use super::layer::{Given, Layer, Origin, Raw, Record};
use super::settings::Secret;

/// What all our variables begin with.
const PREFIX: &str = "HOLDOVER_";
/// The variable that names the file.
const CONFIG: &str = "HOLDOVER_CONFIG";
/// The variable that names upstreams.
const UPSTREAM: &str = "HOLDOVER_UPSTREAM";

/// The variable that names critical names.
const CRITICAL: &str = "HOLDOVER_CRITICAL";
/// The variable in which systemd names the directories that it made for the service
/// (systemd.exec(5)); the first counts.
const STATE_DIRECTORY: &str = "STATE_DIRECTORY";

/// The variable with the password of the shared cache. It stands for no key.
const SHARED_CACHE_PASSWORD: &str = "HOLDOVER_SHARED_CACHE_PASSWORD";

/// What the environment says.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// Single keys and upstreams.
    pub layer: Layer,
}

/// Reads the variables that concern holdover.
///
/// # Errors
/// [`ConfigError::Wrong`] for a variable that is not known or not text.
pub fn read(variables: impl Iterator<Item = (OsString, OsString)>) -> Result<Environment, ConfigError> {
    let mut environment = Environment::default();
    let mut problems = Vec::new();
    for (name, value) in variables {
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
        let origin = Origin::Variable(name.into());
        let Ok(text) = value.into_string() else {
            problems.push(Problem::place(&origin, name, "is not UTF-8 text. Change it, or unset the variable."));
            continue;
        };
        if name == SHARED_CACHE_PASSWORD {
            environment.layer.shared_cache_password = Some(Secret(text)).filter(|secret| !secret.0.is_empty());
        } else if name == UPSTREAM {
            environment.layer.records.insert("upstream", upstreams(&text, &origin));
        } else if name == CRITICAL {
            environment.layer.records.insert("critical", records(keys::CRITICAL_NAME, &text, &origin));
        } else if let Some(key) = variables_of_keys().find(|(variable, _)| variable == name).map(|(_, key)| key) {
            environment.layer.values.insert(key, Given { raw: Raw::Word(text), origin });
        } else {
            let known: Vec<String> = variables_of_keys()
                .map(|(variable, _)| variable)
                .chain([CONFIG, UPSTREAM, CRITICAL, SHARED_CACHE_PASSWORD].map(Into::into))
                .collect();
            // Without what all of them begin with, which alone would make any two alike.
            let tail = |name: &'_ str| name.get(PREFIX.len()..).unwrap_or_default().to_owned();
            let tails: Vec<String> = known.iter().map(|name| tail(name)).collect();
            let guess = keys::nearest(&tail(name), tails.iter().map(String::as_str));
            let hint = guess.map_or_else(String::new, |guess| format!(" Did you mean {PREFIX}{guess}?"));
            problems.push(Problem::place(
                &origin,
                name,
                format!("is not a variable that holdover knows.{hint} Unset it or mend its name."),
            ));
        }
    }
    if problems.is_empty() { Ok(environment) } else { Err(ConfigError::Wrong(problems)) }
}

/// One upstream for each address of a list. An empty list is a variable that somebody forgot to
/// set, not a wish for other upstreams than the file's: it stands for one address, which is then
/// found to be none.
#[must_use]
pub fn upstreams(list: &str, origin: &Origin) -> Vec<Record> {
    records(keys::UPSTREAM_ADDRESSES, list, origin)
}

/// One table for each member of a list, which becomes the value of `key`.
#[must_use]
pub fn records(key: &'static str, list: &str, origin: &Origin) -> Vec<Record> {
    let mut words: Vec<&str> = list.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        words.push("");
    }
    words
        .into_iter()
        .map(|word| {
            let given = Given { raw: Raw::Word(word.to_owned()), origin: origin.clone() };
            Record { origin: origin.clone(), values: BTreeMap::from([(key, given)]) }
        })
        .collect()
}

/// The variables of all keys that stand once.
fn variables_of_keys() -> impl Iterator<Item = (String, &'static str)> {
    let sections = SECTIONS.iter().filter(|section| section.shape == Shape::Table);
    sections.flat_map(|section| keys::of_section(section.name)).map(|known| {
        let key = known.key();
        (format!("{PREFIX}{}", key.replace('.', "_").to_ascii_uppercase()), key)
    })
}

/// Whether Kubernetes makes such a variable for a service named `holdover`, or for one whose name
/// begins with it.
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

    fn environment(variables: &[(&str, &str)]) -> Result<Environment, String> {
        read(variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn keys_are_found_by_their_variables() {
        let read = environment(&[("HOLDOVER_STALE_MAXIMUM", "12h"), ("PATH", "/bin"), ("HOLDOVER_CONFIG", "/x.toml")])
            .unwrap();
        assert_eq!(read.layer.values.keys().collect::<Vec<_>>(), [&"stale.maximum"]);
        assert_eq!(read.config, Some(PathBuf::from("/x.toml")));
    }

    #[test]
    fn the_first_directory_that_systemd_gives_is_for_the_state_unless_somebody_says_otherwise() {
        let path = |variables: &[(&str, &str)]| {
            super::super::validate::validate(&environment(variables).unwrap().layer).unwrap().state.path
        };
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
    fn an_unknown_variable_is_refused_with_a_guess() {
        let message = environment(&[("HOLDOVER_STALE_MAXIMUN", "12h")]).unwrap_err();
        assert_eq!(
            message,
            "HOLDOVER_STALE_MAXIMUN is not a variable that holdover knows. Did you mean HOLDOVER_STALE_MAXIMUM? Unset it or mend its name."
        );
    }

    #[test]
    fn what_is_like_no_variable_gets_no_guess() {
        let message = environment(&[("HOLDOVER_ZZZ", "1")]).unwrap_err();
        assert_eq!(message, "HOLDOVER_ZZZ is not a variable that holdover knows. Unset it or mend its name.");
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
        let read = environment(&links.map(|name| (name, "tcp://192.0.2.1:53"))).unwrap();
        assert!(read.layer.values.is_empty());
    }

    #[test]
    fn upstreams_are_a_list() {
        let read = environment(&[("HOLDOVER_UPSTREAM", "192.0.2.1, 192.0.2.2:5353")]).unwrap();
        assert_eq!(read.layer.records["upstream"].len(), 2);
    }

    #[test]
    fn critical_names_are_a_list_and_an_empty_one_is_a_mistake() {
        let judge =
            |text| super::super::validate::validate(&environment(&[("HOLDOVER_CRITICAL", text)]).unwrap().layer);
        assert_eq!(judge("db.example.com, api.example.com").unwrap().policy.critical.len(), 2);
        let told = judge(" ").unwrap_err().to_string();
        assert!(told.starts_with("HOLDOVER_CRITICAL= is not a domain name."), "{told}");
    }

    #[test]
    fn an_empty_list_of_upstreams_is_no_list() {
        for empty in ["", " ", ","] {
            let read = environment(&[("HOLDOVER_UPSTREAM", empty)]).unwrap();
            let told = super::super::validate::validate(&read.layer).unwrap_err().to_string();
            assert!(told.starts_with("HOLDOVER_UPSTREAM= names no address."), "{told}");
        }
    }
}
