//! Judges what all sources together say, and makes [`Settings`] of it. Every mistake is collected
//! before any is told.

use std::net::SocketAddr;

mod admin;
mod critical;
mod hosts;
mod shared_cache;
mod text;
mod upstreams;

use super::error::{ConfigError, Problem, next_step};
use super::keys;
use super::layer::{Given, Layer, Raw};
use super::limits::{self, Bounded, Known};
use super::quantity::{Quantity, Threads, Timer};
use super::settings::{Drain, Format, Level, Listen, Log, Settings, StateFileSettings};
use crate::core::network::{self, IpNetwork};
use crate::core::policy::{
    AttemptPolicy, BudgetPolicy, CachePolicy, ClientResponseTimer, HealthPolicy, InFlightPolicy, Policy,
    PrefetchPolicy, StalePolicy, SuffixStale, TtlPolicy, TtlZero,
};
pub use shared_cache::read_url as shared_cache_servers;
pub(super) use text::read_address;
use text::{items, read_name, text};

/// Name of the state file in a directory that is given for it.
const STATE_NAME: &str = "state.redb";

/// Makes settings of the merged layers.
///
/// # Errors
/// [`ConfigError::Wrong`] with all that is wrong.
pub fn validate(layer: &Layer) -> Result<Settings, ConfigError> {
    let mut judge = Judge { layer, problems: Vec::new() };
    let listen = judge.listen();
    let upstreams = judge.upstreams(&listen.addresses);
    let settings = Settings {
        policy: Policy {
            stale: judge.stale(),
            ttl: judge.ttl(),
            prefetch: judge.prefetch(),
            attempts: judge.attempts(),
            budget: judge.budget(),
            health: judge.health(),
            cache: judge.cache(),
            critical: judge.critical(),
            ready_timeout: judge.bounded(&limits::READY_TIMEOUT),
            in_flight: InFlightPolicy {
                resolutions: judge.bounded(&limits::BUDGET_RESOLUTIONS),
                waiting: judge.bounded(&limits::BUDGET_WAITING),
            },
        },
        state: judge.state(),
        shared_cache: judge.shared_cache(),
        drain: Drain { idle: judge.bounded(&limits::DRAIN_IDLE), at_most: judge.bounded(&limits::DRAIN_MAXIMUM) },
        log: judge.log(),
        seeds: judge.seeds(),
        admin: judge.admin(),
        hosts: judge.hosts(),
        listen,
        upstreams,
        resolv_conf: None,
    };
    if judge.problems.is_empty() { Ok(settings) } else { Err(ConfigError::Wrong(judge.problems)) }
}

/// What is being judged, and what was found wrong.
struct Judge<'a> {
    /// What was given.
    layer: &'a Layer,
    /// What is wrong.
    problems: Vec<Problem>,
}

impl Judge<'_> {
    /// Complains about a value.
    fn complain(&mut self, key: &str, given: &Given, what: &str) {
        let complaint = format!("{what}. Allowed: {}. {}", keys::allowed(key), next_step(&given.origin));
        self.problems.push(Problem::value(key, given, complaint));
    }

    /// A bounded value, or its default.
    fn bounded<T: Quantity>(&mut self, bound: &Bounded<T>) -> T {
        let Some(given) = self.layer.values.get(bound.key).cloned() else { return bound.default };
        self.quantity(bound, bound.key, &given).unwrap_or(bound.default)
    }

    /// A value within a bound.
    fn quantity<T: Quantity>(&mut self, bound: &Bounded<T>, key: &str, given: &Given) -> Option<T> {
        match T::read(&given.raw) {
            None => self.problems.push(Problem::value(
                key,
                given,
                format!("is not {}. Allowed: {}. {}", T::WHAT, bound.allowed(), next_step(&given.origin)),
            )),
            Some(value) if value.is_outside(bound.min, bound.max) => self.problems.push(Problem::value(
                key,
                given,
                format!("is out of range. Allowed: {}. {}", bound.allowed(), next_step(&given.origin)),
            )),
            Some(value) => return Some(value),
        }
        None
    }

    /// One word out of a few.
    fn word<T: Copy>(&mut self, key: &'static str, given: &Given, words: &[(&str, T)]) -> Option<T> {
        let found = text(&given.raw).and_then(|text| words.iter().find(|(word, _)| *word == text));
        if found.is_none() {
            self.complain(key, given, "is not a word that this key takes");
        }
        found.map(|(_, value)| *value)
    }

    /// Where clients reach holdover.
    fn listen(&mut self) -> Listen {
        let addresses = match self.layer.values.get(keys::LISTEN_ADDRESSES).cloned() {
            Some(given) => self.addresses(keys::LISTEN_ADDRESSES, &given, limits::LISTEN_ADDRESSES_MAX),
            None => vec![SocketAddr::from(([127, 0, 0, 1], limits::DNS_PORT))],
        };
        if let Some(given) = self.layer.values.get(keys::LISTEN_ADDRESSES).cloned()
            && let Some(group) =
                addresses.iter().find(|address| !address.ip().is_unspecified() && !network::is_one_host(address.ip()))
        {
            self.complain(
                keys::LISTEN_ADDRESSES,
                &given,
                &format!("names {group}, which is a group of hosts and not an address of this one"),
            );
        }
        let clients = self.clients(&addresses);
        Listen {
            threads: match self.bounded(&limits::LISTEN_THREADS) {
                Threads::Automatic => {
                    std::thread::available_parallelism().map_or(1, usize::from).min(limits::AUTOMATIC_THREADS_MAX)
                }
                Threads::Fixed(count) => count,
            },
            tcp_connections: self.bounded(&limits::LISTEN_TCP_CONNECTIONS),
            tcp_queries: self.bounded(&limits::LISTEN_TCP_QUERIES),
            tcp_idle: self.bounded(&limits::LISTEN_TCP_IDLE),
            addresses,
            clients,
        }
    }

    /// Who is answered.
    fn clients(&mut self, addresses: &[SocketAddr]) -> Vec<IpNetwork> {
        let mut networks = Vec::new();
        if let Some(given) = self.layer.values.get(keys::LISTEN_CLIENTS).cloned() {
            for item in items(&given) {
                match text(&item.raw).and_then(|text| text.trim().parse().ok()) {
                    Some(network) => networks.push(network),
                    None => self.complain(keys::LISTEN_CLIENTS, &item, "is not a network"),
                }
            }
            if networks.len() > limits::CLIENT_NETWORKS_MAX {
                self.complain(keys::LISTEN_CLIENTS, &given, "names too many networks");
            }
        }
        if networks.is_empty() && addresses.iter().any(|address| !address.ip().is_loopback()) {
            networks.extend(network::PRIVATE);
        }
        networks
    }

    /// Serving stale.
    fn stale(&mut self) -> StalePolicy {
        let maximum = self.bounded(&limits::STALE_MAXIMUM);
        let policy = StalePolicy {
            client_response_timer: match self.bounded(&limits::STALE_CLIENT_RESPONSE_TIMER) {
                Timer::Adaptive => ClientResponseTimer::Adaptive {
                    at_least: limits::ADAPTIVE_TIMER_MIN,
                    at_most: limits::ADAPTIVE_TIMER_MAX,
                },
                Timer::Fixed(duration) => ClientResponseTimer::Fixed(duration),
            },
            maximum,
            answer_ttl: self.bounded(&limits::STALE_ANSWER_TTL),
            recheck_min: self.bounded(&limits::STALE_RECHECK_MINIMUM),
            recheck_max: self.bounded(&limits::STALE_RECHECK_MAXIMUM),
            suffixes: self.suffixes(maximum),
        };
        self.ordered(&limits::STALE_RECHECK_MINIMUM, &limits::STALE_RECHECK_MAXIMUM);
        policy
    }

    /// Exceptions by suffix.
    fn suffixes(&mut self, otherwise: std::time::Duration) -> Vec<SuffixStale> {
        let layer = self.layer;
        let records = layer.records.get("stale.suffix").map(Vec::as_slice).unwrap_or_default();
        let mut suffixes: Vec<SuffixStale> = Vec::new();
        for record in records.iter().take(limits::STALE_SUFFIXES_MAX) {
            let Some(given) = record.values.get(keys::SUFFIX_NAME) else {
                self.problems.push(Problem::place(
                    &record.origin,
                    "[[stale.suffix]]",
                    r#"has no name. Add a line such as name = "db.example.com"."#,
                ));
                continue;
            };
            let Some(suffix) = text(&given.raw).and_then(read_name) else {
                self.complain(keys::SUFFIX_NAME, given, "is not a domain name");
                continue;
            };
            if suffixes.iter().any(|other| other.suffix == suffix) {
                self.complain(keys::SUFFIX_NAME, given, "is named twice");
            }
            let maximum = record
                .values
                .get(keys::SUFFIX_MAXIMUM)
                .and_then(|given| self.quantity(&limits::STALE_MAXIMUM, keys::SUFFIX_MAXIMUM, given));
            let words = [("forget", TtlZero::Forget), ("keep", TtlZero::KeepForOutages)];
            let ttl_zero = record
                .values
                .get(keys::SUFFIX_TTL_ZERO)
                .and_then(|given| self.word(keys::SUFFIX_TTL_ZERO, given, &words));
            suffixes.push(SuffixStale {
                suffix,
                maximum: maximum.unwrap_or(otherwise),
                ttl_zero: ttl_zero.unwrap_or(TtlZero::Forget),
            });
        }
        if let Some(extra) = records.get(limits::STALE_SUFFIXES_MAX) {
            let complaint = format!(
                "is one too many. Allowed: {} suffixes. One suffix covers all names below it.",
                limits::STALE_SUFFIXES_MAX
            );
            self.problems.push(Problem::place(&extra.origin, "[[stale.suffix]]", complaint));
        }
        suffixes
    }

    /// Freshness.
    fn ttl(&mut self) -> TtlPolicy {
        TtlPolicy {
            positive_max: self.bounded(&limits::CACHE_POSITIVE_MAXIMUM),
            negative_max: self.bounded(&limits::CACHE_NEGATIVE_MAXIMUM),
            negative_without_soa: self.bounded(&limits::CACHE_NEGATIVE_WITHOUT_SOA),
        }
    }

    /// Refreshing ahead.
    fn prefetch(&mut self) -> PrefetchPolicy {
        let enabled = match self.layer.values.get(keys::PREFETCH_ENABLED).cloned() {
            None => true,
            Some(given) => match &given.raw {
                Raw::Switch(on) => *on,
                Raw::Word(word) if word == "true" || word == "false" => word == "true",
                Raw::Word(_) | Raw::Text(_) | Raw::Integer(_) | Raw::List(_) | Raw::Other(_) => {
                    self.complain(keys::PREFETCH_ENABLED, &given, "is neither true nor false");
                    true
                }
            },
        };
        PrefetchPolicy {
            enabled,
            window_percent: self.bounded(&limits::PREFETCH_WINDOW).0,
            window_min: self.bounded(&limits::PREFETCH_WINDOW_MINIMUM),
            hits: self.bounded(&limits::PREFETCH_HITS),
        }
    }

    /// Sends of one resolution.
    fn attempts(&mut self) -> AttemptPolicy {
        let policy = AttemptPolicy {
            second_after: self.bounded(&limits::ATTEMPTS_SECOND_AFTER),
            third_after: self.bounded(&limits::ATTEMPTS_THIRD_AFTER),
            sends: self.bounded(&limits::ATTEMPTS_SENDS),
            deadline: self.bounded(&limits::ATTEMPTS_DEADLINE),
            linger: self.bounded(&limits::ATTEMPTS_LINGER),
        };
        self.ordered(&limits::ATTEMPTS_SECOND_AFTER, &limits::ATTEMPTS_THIRD_AFTER);
        self.ordered(&limits::ATTEMPTS_DEADLINE, &limits::ATTEMPTS_LINGER);
        policy
    }

    /// Packets upstream.
    fn budget(&mut self) -> BudgetPolicy {
        BudgetPolicy {
            per_second: self.bounded(&limits::BUDGET_PER_SECOND),
            prefetch_percent: self.bounded(&limits::BUDGET_PREFETCH).0,
            sweep_per_second: self.bounded(&limits::BUDGET_SWEEP_PER_SECOND),
            outage_per_second: self.bounded(&limits::BUDGET_OUTAGE_PER_SECOND),
        }
    }

    /// States of upstreams.
    fn health(&mut self) -> HealthPolicy {
        let policy = HealthPolicy {
            down_after: self.bounded(&limits::HEALTH_DOWN_AFTER),
            impaired_percent: self.bounded(&limits::HEALTH_IMPAIRED).0,
            impaired_attempts: self.bounded(&limits::HEALTH_IMPAIRED_ATTEMPTS),
            window: self.bounded(&limits::HEALTH_WINDOW),
            recovery_successes: self.bounded(&limits::HEALTH_RECOVERY_SUCCESSES),
            probe_min: self.bounded(&limits::HEALTH_PROBE_MINIMUM),
            probe_max: self.bounded(&limits::HEALTH_PROBE_MAXIMUM),
        };
        self.ordered(&limits::HEALTH_PROBE_MINIMUM, &limits::HEALTH_PROBE_MAXIMUM);
        policy
    }

    /// Size of the memory.
    fn cache(&mut self) -> CachePolicy {
        CachePolicy {
            entries: self.bounded(&limits::CACHE_ENTRIES),
            bytes: self.bounded(&limits::CACHE_SIZE).0,
            negative_percent: self.bounded(&limits::CACHE_NEGATIVES).0,
        }
    }

    /// The state file.
    fn state(&mut self) -> StateFileSettings {
        let automatic = || self.layer.state_directory.as_ref().map(|directory| directory.join(STATE_NAME));
        let path = match self.layer.values.get(keys::STATE_PATH).cloned() {
            None => automatic(),
            Some(given) => match text(&given.raw).map(str::trim) {
                Some("auto") => automatic(),
                Some("off") => None,
                Some(path) if !path.is_empty() && !path.ends_with('/') => Some(path.into()),
                Some(_) | None => {
                    self.complain(keys::STATE_PATH, &given, "is not the path of a file");
                    None
                }
            },
        };
        StateFileSettings { path, write_every: self.bounded(&limits::STATE_WRITE_EVERY) }
    }

    /// The log.
    fn log(&mut self) -> Log {
        let levels = [
            ("error", Level::Error),
            ("warn", Level::Warn),
            ("info", Level::Info),
            ("debug", Level::Debug),
            ("trace", Level::Trace),
        ];
        let formats = [("text", Format::Text), ("json", Format::Json)];
        let level = self
            .layer
            .values
            .get(keys::LOG_LEVEL)
            .cloned()
            .and_then(|given| self.word(keys::LOG_LEVEL, &given, &levels));
        let format = self
            .layer
            .values
            .get(keys::LOG_FORMAT)
            .cloned()
            .and_then(|given| self.word(keys::LOG_FORMAT, &given, &formats));
        Log { level: level.unwrap_or(Level::Info), format: format.unwrap_or(Format::Text) }
    }

    /// Complains when a smaller value was given larger than the larger one.
    fn ordered(&mut self, smaller: &Bounded<std::time::Duration>, larger: &Bounded<std::time::Duration>) {
        let values = &self.layer.values;
        let value = |bound: &Bounded<std::time::Duration>| {
            values.get(bound.key).map_or(Some(bound.default), |given| std::time::Duration::read(&given.raw))
        };
        let (Some(low), Some(high)) = (value(smaller), value(larger)) else { return };
        let Some((key, given)) =
            [larger, smaller].iter().find_map(|bound| Some((bound.key, values.get(bound.key)?.clone())))
        else {
            return;
        };
        if low > high {
            let what = format!("makes {} ({}) longer than {} ({})", smaller.key, low.toml(), larger.key, high.toml())
                .replace('"', "");
            self.complain(key, &given, &what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        let settings = Settings::standard();
        assert_eq!(settings.policy.attempts.sends, 3);
        assert!(settings.listen.clients.is_empty(), "a loopback listener answers whoever reaches it");
    }
}
