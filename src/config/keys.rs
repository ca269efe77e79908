//! Every key that the configuration knows, in the order in which the default file shows them.
//!
//! Keys with a range are in [`limits`]; here are those that take a list, a word, a path or a name.
//! The file, the environment, the messages and the default file all use this one list, so that no
//! source knows a key that another one does not.

mod shared_cache;

use super::key::{ConfigKey, PlainKey, Presence};
use super::limits;
pub use shared_cache::{
    SHARED_CACHE_CA_FILE, SHARED_CACHE_FORMER_KEY_FILE, SHARED_CACHE_GROUP, SHARED_CACHE_KEY_FILE,
    SHARED_CACHE_PASSWORD_FILE, SHARED_CACHE_URL, SHARED_CACHE_USERNAME,
};

/// Full name of the key `listen.addresses`.
pub const LISTEN_ADDRESSES: &str = "listen.addresses";
/// Full name of the key `listen.clients`.
pub const LISTEN_CLIENTS: &str = "listen.clients";
/// Full name of the key `upstream.name`.
pub const UPSTREAM_NAME: &str = "upstream.name";
/// Full name of the key `upstream.addresses`.
pub const UPSTREAM_ADDRESSES: &str = "upstream.addresses";
/// Full name of the key `upstream.protocol`.
pub const UPSTREAM_PROTOCOL: &str = "upstream.protocol";
/// Full name of the key `upstream.zones`.
pub const UPSTREAM_ZONES: &str = "upstream.zones";
/// Full name of the key `upstream.role`.
pub const UPSTREAM_ROLE: &str = "upstream.role";
/// Full name of the key `upstream.case`.
pub const UPSTREAM_CASE: &str = "upstream.case";
/// Full name of the key `stale.suffix.name`.
pub const SUFFIX_NAME: &str = "stale.suffix.name";
/// Full name of the key `stale.suffix.maximum`.
pub const SUFFIX_MAXIMUM: &str = "stale.suffix.maximum";
/// Full name of the key `stale.suffix.ttl_zero`.
pub const SUFFIX_TTL_ZERO: &str = "stale.suffix.ttl_zero";
/// Full name of the key `cache.seed`.
pub const CACHE_SEED: &str = "cache.seed";
/// Full name of the key `admin.address`.
pub const ADMIN_ADDRESS: &str = "admin.address";
/// Full name of the key `admin.remote`.
pub const ADMIN_REMOTE: &str = "admin.remote";
/// Full name of the key `admin.token_file`.
pub const ADMIN_TOKEN_FILE: &str = "admin.token_file";
/// Full name of the key `critical.name`.
pub const CRITICAL_NAME: &str = "critical.name";
/// Full name of the key `critical.types`.
pub const CRITICAL_TYPES: &str = "critical.types";
/// Full name of the key `hosts.path`.
pub const HOSTS_PATH: &str = "hosts.path";
/// Full name of the key `state.path`.
pub const STATE_PATH: &str = "state.path";
/// Full name of the key `answers.rotate`.
pub const ANSWERS_ROTATE: &str = "answers.rotate";
/// Full name of the key `answers.failover_guard`.
pub const ANSWERS_FAILOVER_GUARD: &str = "answers.failover_guard";
/// Full name of the key `prefetch.enabled`.
pub const PREFETCH_ENABLED: &str = "prefetch.enabled";
/// Full name of the key `attempts.order`.
pub const ATTEMPTS_ORDER: &str = "attempts.order";
/// Full name of the key `log.level`.
pub const LOG_LEVEL: &str = "log.level";
/// Full name of the key `log.format`.
pub const LOG_FORMAT: &str = "log.format";

/// The keys outside `[shared_cache]` that have no range.
const PLAIN: &[PlainKey] = &[
    PlainKey {
        key: LISTEN_ADDRESSES,
        text: "Addresses on which holdover answers clients; the port is 53 unless given.",
        toml: r#"["127.0.0.1:53"]"#,
        allowed: || format!("1 to {} IP addresses, each with an optional port", limits::LISTEN_ADDRESSES_MAX),
        presence: Presence::Optional,
    },
    PlainKey {
        key: LISTEN_CLIENTS,
        text: "Networks whose clients are answered; queries of others are dropped over UDP, and their \
               connections are closed over TCP. An empty list answers 127.0.0.0/8 and ::1 while all \
               addresses above are loopback, and otherwise the loopback, private, shared and link-local \
               ranges (RFC 1918, 4193, 6598, 3927, 4291), so that nobody runs an open resolver by \
               accident. [\"0.0.0.0/0\", \"::/0\"] answers the whole Internet. `holdover check` from this host is \
               always answered.",
        toml: "[]",
        allowed: || format!("up to {} networks such as 10.0.0.0/8", limits::CLIENT_NETWORKS_MAX),
        presence: Presence::Optional,
    },
    PlainKey {
        key: UPSTREAM_NAME,
        text: "Name of the upstream in the log and the metrics; its first address when left out.",
        toml: r#""vpc""#,
        allowed: || {
            format!("up to {} letters, digits and . : _ - [ ] signs, each name once", limits::UPSTREAM_NAME_MAX)
        },
        presence: Presence::WithoutDefault,
    },
    PlainKey {
        key: UPSTREAM_ADDRESSES,
        text: "Addresses of one and the same resolver service; the port is 53 unless given.",
        toml: r#"["192.0.2.1", "192.0.2.2:53"]"#,
        allowed: || {
            format!(
                "1 to {} IP addresses, each with an optional port, none of them holdover's own",
                limits::UPSTREAM_ADDRESSES_MAX
            )
        },
        presence: Presence::Required,
    },
    PlainKey {
        key: UPSTREAM_PROTOCOL,
        text: "Transport of the queries; udp continues over TCP after a truncated response (RFC 7766).",
        toml: r#""udp""#,
        allowed: || "udp or tcp".to_owned(),
        presence: Presence::Optional,
    },
    PlainKey {
        key: UPSTREAM_ZONES,
        text: "Zones for which this upstream is asked; all names when left out.",
        toml: r#"["corp.example.com"]"#,
        allowed: || format!("up to {} domain names", limits::UPSTREAM_ZONES_MAX),
        presence: Presence::WithoutDefault,
    },
    PlainKey {
        key: UPSTREAM_ROLE,
        text: "A fallback is asked only when no primary upstream has given an answer.",
        toml: r#""primary""#,
        allowed: || "primary or fallback".to_owned(),
        presence: Presence::Optional,
    },
    PlainKey {
        key: UPSTREAM_CASE,
        text: "Case of names in queries over UDP; lower when left out. With random, a forger has to guess \
               the case of each letter as well (0x20). A name whose case the upstream does not repeat is \
               asked for over TCP, and in lower case.",
        toml: r#""lower""#,
        allowed: || "lower or random".to_owned(),
        presence: Presence::Optional,
    },
    PlainKey {
        key: SUFFIX_NAME,
        text: "The suffix, which stands for itself and all names below it. The longest suffix that \
               matches a name counts.",
        toml: r#""db.example.com""#,
        allowed: || "a domain name, each once".to_owned(),
        presence: Presence::Required,
    },
    PlainKey {
        key: SUFFIX_MAXIMUM,
        text: "Maximum stale of these names; that of [stale] when left out.",
        toml: r#""3d""#,
        allowed: || limits::STALE_MAXIMUM.allowed(),
        presence: Presence::Optional,
    },
    PlainKey {
        key: SUFFIX_TTL_ZERO,
        text: "What becomes of answers with TTL 0. keep: they are kept for outages, which RFC 8767 §4 \
               leaves out, and never reused as fresh.",
        toml: r#""forget""#,
        allowed: || "forget or keep".to_owned(),
        presence: Presence::Optional,
    },
    PlainKey {
        key: CACHE_SEED,
        text: "Files of answers that are read at the start, before the first query is answered, and that \
               are never written: from an image, a ConfigMap, or `cache export` of another holdover. A \
               seed never replaces a newer answer. A file that is missing or wrong is reported in the \
               log, and holdover starts without it.",
        toml: "[]",
        allowed: || format!("up to {} paths", limits::SEEDS_MAX),
        presence: Presence::Optional,
    },
    PlainKey {
        key: ADMIN_ADDRESS,
        text: "Where status, metrics and `holdover cache` are served over HTTP: the path of a Unix \
               socket, which only the same user can open, or a loopback address, which only shows. Beside \
               an address there is an abstract Unix socket, over which `holdover cache` of the same \
               user, or of root, changes the cache. \"off\": nowhere, so that nothing listens that nobody \
               asked for.",
        toml: r#""off""#,
        allowed: || {
            format!(
                "off, an absolute path of up to {} bytes, or an IP address with an optional port ({})",
                limits::ADMIN_PATH_MAX,
                limits::ADMIN_PORT
            )
        },
        presence: Presence::Optional,
    },
    PlainKey {
        key: ADMIN_REMOTE,
        text: "Whether the address may be one that other hosts can reach, as Prometheus needs across \
               pods. read: it may, and other hosts can read /metrics, /status, /ready, /health, and \
               /explain without records. Cached answers can be read and changed only from this host.",
        toml: r#""refuse""#,
        allowed: || "refuse or read".to_owned(),
        presence: Presence::Optional,
    },
    PlainKey {
        key: ADMIN_TOKEN_FILE,
        text: "A file with a token, with which clients on this host may change the cache over TCP as well \
               (Authorization: Bearer). Users other than its owner and group must not be able to read \
               it. It is read for each change. `openssl rand -hex 32` makes a token.",
        toml: r#""""#,
        allowed: || {
            format!(
                "the path of a file of {} to {} bytes, or nothing",
                limits::ADMIN_TOKEN_MIN,
                limits::ADMIN_TOKEN_MAX
            )
        },
        presence: Presence::WithoutDefault,
    },
    PlainKey {
        key: CRITICAL_NAME,
        text: "The full name; search domains are not tried. HOLDOVER_CRITICAL and --critical take a list of names.",
        toml: r#""db.example.com""#,
        allowed: || format!("a domain name, each once, at most {}", limits::CRITICAL_NAMES_MAX),
        presence: Presence::Required,
    },
    PlainKey {
        key: CRITICAL_TYPES,
        text: "The types that the application asks for; A and AAAA when left out.",
        toml: r#"["A", "AAAA"]"#,
        allowed: || {
            format!(
                "1 to {} of A, AAAA, HTTPS, SVCB, SRV, MX, TXT, PTR, NS, or TYPE and a number from 1 to {}",
                limits::CRITICAL_TYPES_MAX,
                limits::DATA_TYPE_MAX
            )
        },
        presence: Presence::Optional,
    },
    PlainKey {
        key: HOSTS_PATH,
        text: "The hosts file (hosts(5)), such as /etc/hosts; it is read again when it changes. It is \
               off by default, since libc reads /etc/hosts before it sends a query: this key is for \
               clients that send queries without libc, or for a file that other containers do not have. \
               Answers from the file come before all others, with TTL 10.",
        toml: r#""off""#,
        allowed: || "off or a path".to_owned(),
        presence: Presence::Optional,
    },
    PlainKey {
        key: STATE_PATH,
        text: "The state file; each holdover needs its own. \"auto\": state.redb in the directory that \
               the variable STATE_DIRECTORY names, which systemd (StateDirectory=) and the container \
               image set; off when it is not set.",
        toml: r#""auto""#,
        allowed: || "auto, off or a path".to_owned(),
        presence: Presence::Optional,
    },
    PlainKey {
        key: ANSWERS_ROTATE,
        text: "Whether each answer begins with the next of the name's addresses, for clients that take \
               the first. The records are in the order of the upstream otherwise.",
        toml: "false",
        allowed: || "true or false".to_owned(),
        presence: Presence::Optional,
    },
    PlainKey {
        key: ANSWERS_FAILOVER_GUARD,
        text: "Whether an answer that goes back to the addresses from before a change, within 30 s of the \
               change, is confirmed by other upstreams and over TCP before it is believed. Resolvers give \
               old and new addresses in turns for a while after a failover. Names whose addresses take \
               turns anyway are not concerned.",
        toml: "true",
        allowed: || "true or false".to_owned(),
        presence: Presence::Optional,
    },
    PlainKey {
        key: PREFETCH_ENABLED,
        text: "Whether names in use are refreshed before their answers expire.",
        toml: "true",
        allowed: || "true or false".to_owned(),
        presence: Presence::Optional,
    },
    PlainKey {
        key: ATTEMPTS_ORDER,
        text: "Whom a resolution asks first, among equally healthy upstreams. listed: in the order of the \
               configuration, where a later upstream's \"no such name\" counts only when the earlier ones \
               have failed, since they may know more names. fastest: the one with the shortest round-trip \
               times first, for upstreams that all know the same names.",
        toml: r#""listed""#,
        allowed: || "listed or fastest".to_owned(),
        presence: Presence::Optional,
    },
    PlainKey {
        key: LOG_LEVEL,
        text: "Least severe level that is written. Nothing is written per query above debug.",
        toml: r#""info""#,
        allowed: || "error, warn, info, debug or trace".to_owned(),
        presence: Presence::Optional,
    },
    PlainKey {
        key: LOG_FORMAT,
        text: "One line of text, or one JSON object, per event.",
        toml: r#""text""#,
        allowed: || "text or json".to_owned(),
        presence: Presence::Optional,
    },
];

/// All keys: those without a range, then those with one.
fn all() -> impl Iterator<Item = &'static dyn ConfigKey> {
    let plain = PLAIN.iter().chain(shared_cache::PLAIN).map(|key| key as &dyn ConfigKey);
    plain.chain(limits::BOUNDS.iter().copied())
}

/// The keys of one section, in reading order.
pub fn of_section(section: &str) -> impl Iterator<Item = &'static dyn ConfigKey> {
    all().filter(move |key| key.section() == section)
}

/// Finds a key by its full name, such as `stale.maximum`.
#[must_use]
pub fn find(full_name: &str) -> Option<&'static dyn ConfigKey> {
    all().find(|key| key.full_name() == full_name)
}

/// Likeness (Jaro-Winkler, 0 to 1) from which a known word is guessed to be the one that was meant.
const LIKENESS_MIN: f64 = 0.75;

/// The known word that is most like `word`; `None` when no known word is like it.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = known.map(|candidate| (strsim::jaro_winkler(word, candidate), candidate));
    likeness
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sections::SECTIONS;

    #[test]
    fn every_key_belongs_to_a_section() {
        let listed: usize = SECTIONS.iter().map(|section| of_section(section.name).count()).sum();
        assert_eq!(listed, all().count());
    }

    #[test]
    fn a_misspelt_key_finds_its_neighbour() {
        let names = || of_section("stale").map(ConfigKey::name);
        assert_eq!(nearest("maximun", names()), Some("maximum"));
        assert_eq!(nearest("client_timer", names()), Some("client_response_timer"));
        assert_eq!(nearest("zzz", names()), None);
    }
}
