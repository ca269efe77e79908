//! Every key that the configuration knows, in the order in which the default file shows them.
//!
//! The bounded ones are in [`limits`](super::limits); here are lists, words and the keys of tables.
//! File, environment and rendering all go by this list, so that no source knows a key that another
//! one does not.

pub mod shared_cache;

use super::limits::{BOUNDS, Known};

/// A key whose value is not a bounded quantity.
struct Plain {
    /// Section and key.
    key: &'static str,
    /// What it is and why, line by line.
    text: &'static [&'static str],
    /// The default, or for tables an example, as TOML.
    toml: &'static str,
    /// What may be written.
    allowed: &'static str,
}

impl Known for Plain {
    fn key(&self) -> &'static str {
        self.key
    }

    fn text(&self) -> &'static [&'static str] {
        self.text
    }

    fn default_toml(&self) -> String {
        self.toml.to_owned()
    }

    fn allowed(&self) -> String {
        self.allowed.to_owned()
    }
}

/// `listen.addresses`.
pub const LISTEN_ADDRESSES: &str = "listen.addresses";
/// `listen.clients`.
pub const LISTEN_CLIENTS: &str = "listen.clients";
/// `upstream.name`.
pub const UPSTREAM_NAME: &str = "upstream.name";
/// `upstream.addresses`.
pub const UPSTREAM_ADDRESSES: &str = "upstream.addresses";
/// `upstream.protocol`.
pub const UPSTREAM_PROTOCOL: &str = "upstream.protocol";
/// `upstream.zones`.
pub const UPSTREAM_ZONES: &str = "upstream.zones";
/// `upstream.role`.
pub const UPSTREAM_ROLE: &str = "upstream.role";
/// `stale.suffix.name`.
pub const SUFFIX_NAME: &str = "stale.suffix.name";
/// `stale.suffix.maximum`.
pub const SUFFIX_MAXIMUM: &str = "stale.suffix.maximum";
/// `stale.suffix.ttl_zero`.
pub const SUFFIX_TTL_ZERO: &str = "stale.suffix.ttl_zero";
/// `cache.seed`.
pub const CACHE_SEED: &str = "cache.seed";
/// `admin.address`.
pub const ADMIN_ADDRESS: &str = "admin.address";
/// `admin.remote`.
pub const ADMIN_REMOTE: &str = "admin.remote";
/// `critical.name`.
pub const CRITICAL_NAME: &str = "critical.name";
/// `critical.types`.
pub const CRITICAL_TYPES: &str = "critical.types";
/// `hosts.path`.
pub const HOSTS_PATH: &str = "hosts.path";
/// `state.path`.
pub const STATE_PATH: &str = "state.path";
/// `prefetch.enabled`.
pub const PREFETCH_ENABLED: &str = "prefetch.enabled";
/// `log.level`.
pub const LOG_LEVEL: &str = "log.level";
/// `log.format`.
pub const LOG_FORMAT: &str = "log.format";

/// The keys that have no bounds.
const PLAIN: &[Plain] = &[
    Plain {
        key: LISTEN_ADDRESSES,
        text: &[" Addresses that clients reach holdover at; the port is 53 unless given."],
        toml: r#"["127.0.0.1:53"]"#,
        allowed: "1 to 16 IP addresses, each with an optional port",
    },
    Plain {
        key: LISTEN_CLIENTS,
        text: &[
            " Networks whose clients are answered; others are dropped on UDP and closed on TCP. Empty: everyone, while all",
            " addresses above are loopback; otherwise loopback, private, shared and link-local ranges (RFC 1918, 4193, 6598,",
            " 3927, 4291), so that nobody runs an open resolver by accident. [\"0.0.0.0/0\", \"::/0\"] answers the world.",
            " `holdover check` from this host is always answered.",
        ],
        toml: "[]",
        allowed: "up to 64 networks such as 10.0.0.0/8",
    },
    Plain {
        key: UPSTREAM_NAME,
        text: &[" What log and metrics call it; its first address when left out."],
        toml: r#""vpc""#,
        allowed: "up to 64 letters, digits and . : _ - [ ] signs, each name once",
    },
    Plain {
        key: UPSTREAM_ADDRESSES,
        text: &[" Addresses of the same service; the port is 53 unless given."],
        toml: r#"["192.0.2.1", "192.0.2.2:53"]"#,
        allowed: "1 to 8 IP addresses, each with an optional port, none of them holdover's own",
    },
    Plain {
        key: UPSTREAM_PROTOCOL,
        text: &[" How it is spoken to; udp goes on over TCP after truncation (RFC 7766)."],
        toml: r#""udp""#,
        allowed: "udp or tcp",
    },
    Plain {
        key: UPSTREAM_ZONES,
        text: &[" Zones that it is asked for; all names when left out."],
        toml: r#"["corp.example.com"]"#,
        allowed: "up to 64 domain names",
    },
    Plain {
        key: UPSTREAM_ROLE,
        text: &[" fallback: asked only when no primary upstream has given an answer."],
        toml: r#""primary""#,
        allowed: "primary or fallback",
    },
    Plain {
        key: SUFFIX_NAME,
        text: &[" The suffix; names at and below it are meant, the longest matching suffix counts."],
        toml: r#""db.example.com""#,
        allowed: "a domain name, each once",
    },
    Plain {
        key: SUFFIX_MAXIMUM,
        text: &[" Maximum stale of these names; that of [stale] when left out."],
        toml: r#""3d""#,
        allowed: "0s to 7d",
    },
    Plain {
        key: SUFFIX_TTL_ZERO,
        text: &[" keep: answers with TTL 0 are kept for outages, which RFC 8767 §4 leaves out; never reused as fresh."],
        toml: r#""forget""#,
        allowed: "forget or keep",
    },
    Plain {
        key: CACHE_SEED,
        text: &[
            " Files of remembered answers that are read at the start, before the first query is answered, and never written:",
            " from an image, a ConfigMap, or another holdover's `cache export`. A seed never replaces something newer. One that",
            " is missing or wrong is said in the log and prevents nothing.",
        ],
        toml: "[]",
        allowed: "up to 16 paths",
    },
    Plain {
        key: ADMIN_ADDRESS,
        text: &[
            " Where status, metrics and `holdover cache` are to be had over HTTP: the path of a unix socket, which only the same user",
            " can open, or a loopback address. \"off\": nowhere, so that nothing listens that nobody asked for.",
        ],
        toml: r#""off""#,
        allowed: "off, an absolute path of up to 90 bytes, or an IP address with an optional port (9053)",
    },
    Plain {
        key: ADMIN_REMOTE,
        text: &[
            " Whether the address may be one that other hosts reach, as Prometheus does across pods. read: it may, and they get",
            " /metrics, /status, /ready and /health; what is remembered can be read and changed only from this host.",
        ],
        toml: r#""refuse""#,
        allowed: "refuse or read",
    },
    Plain {
        key: CRITICAL_NAME,
        text: &[" The full name; search domains are not tried. HOLDOVER_CRITICAL and --critical take a list of names."],
        toml: r#""db.example.com""#,
        allowed: "a domain name, each once, at most 64",
    },
    Plain {
        key: CRITICAL_TYPES,
        text: &[" The types that the application asks for; A and AAAA when left out."],
        toml: r#"["A", "AAAA"]"#,
        allowed: "1 to 4 of A, AAAA, HTTPS, SVCB, SRV, MX, TXT, PTR, NS, or TYPE and a number from 1 to 65279",
    },
    Plain {
        key: HOSTS_PATH,
        text: &[
            " The file, such as /etc/hosts (hosts(5)); it is read again when it changes. Off, since libc reads it before it asks: this is for",
            " clients that ask by themselves, or a file that other containers do not have. Its answers come before all others, with TTL 10.",
        ],
        toml: r#""off""#,
        allowed: "off or a path",
    },
    Plain {
        key: STATE_PATH,
        text: &[
            " The file; one for each holdover. \"auto\": state.redb in the directory that the variable STATE_DIRECTORY names, which systemd",
            " (StateDirectory=) and the image set; off where nothing does.",
        ],
        toml: r#""auto""#,
        allowed: "auto, off or a path",
    },
    Plain {
        key: PREFETCH_ENABLED,
        text: &[" Whether names in use are refreshed ahead of their expiry."],
        toml: "true",
        allowed: "true or false",
    },
    Plain {
        key: LOG_LEVEL,
        text: &[" Least severe level that is written; nothing is written per query above debug."],
        toml: r#""info""#,
        allowed: "error, warn, info, debug or trace",
    },
    Plain {
        key: LOG_FORMAT,
        text: &[" One line of text, or one JSON object, per event."],
        toml: r#""text""#,
        allowed: "text or json",
    },
];

/// How a section stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Once: `[stale]`.
    Table,
    /// As often as wanted: `[[upstream]]`.
    Records,
}

/// A section of the file.
pub struct Section {
    /// Its name, such as `stale.suffix`.
    pub name: &'static str,
    /// How it stands in the file.
    pub shape: Shape,
    /// What it is about, line by line.
    pub text: &'static [&'static str],
}

/// All sections, in reading order.
pub const SECTIONS: &[Section] = &[
    Section { name: "listen", shape: Shape::Table, text: &["Where clients reach holdover, over UDP and TCP alike."] },
    Section {
        name: "upstream",
        shape: Shape::Records,
        text: &[
            "Whom holdover asks; repeat for each. While none is primary for all names: the name servers of /etc/resolv.conf.",
        ],
    },
    Section { name: "stale", shape: Shape::Table, text: &["Serving stale (RFC 8767): only when upstreams fail."] },
    Section {
        name: "stale.suffix",
        shape: Shape::Records,
        text: &["Exceptions for names under a suffix; repeat for each."],
    },
    Section { name: "cache", shape: Shape::Table, text: &["What is remembered, and how long it counts as fresh."] },
    Section {
        name: "hosts",
        shape: Shape::Table,
        text: &["Names and addresses of a hosts file, for which no upstream is asked."],
    },
    Section {
        name: "state",
        shape: Shape::Table,
        text: &[
            "What is remembered outlives the process: a file that is written behind, never waited for, and bounded as the cache is.",
        ],
    },
    Section {
        name: "shared_cache",
        shape: Shape::Table,
        text: &[
            "What is remembered is shared with other instances by way of Valkey or Redis 6.2 or newer: what one has learned another one has that",
            "knows nothing of a name while its upstreams are down, or has just been started. Whatever happens to it, queries are answered as without.",
        ],
    },
    Section { name: "prefetch", shape: Shape::Table, text: &["Refreshing names in use before they expire."] },
    Section { name: "budget", shape: Shape::Table, text: &["What goes upstream, and how much at the same moment."] },
    Section { name: "attempts", shape: Shape::Table, text: &["How one resolution spends its packets."] },
    Section { name: "health", shape: Shape::Table, text: &["When an upstream is impaired, down, and healthy again."] },
    Section {
        name: "admin",
        shape: Shape::Table,
        text: &["The admin interface; whatever happens to it, queries go on being answered."],
    },
    Section {
        name: "critical",
        shape: Shape::Records,
        text: &[
            "Names that must never be missing; repeat for each. They are resolved at the start, refreshed although nobody asks, never",
            "evicted, and readiness waits for them.",
        ],
    },
    Section {
        name: "ready",
        shape: Shape::Table,
        text: &["When health checks hear that holdover is ready. Queries are answered before."],
    },
    Section { name: "drain", shape: Shape::Table, text: &["The end of the process."] },
    Section { name: "log", shape: Shape::Table, text: &["The log, on standard error."] },
];

/// The keys of one section, in reading order.
pub fn of_section(section: &str) -> impl Iterator<Item = &'static dyn Known> {
    let plain = PLAIN.iter().chain(shared_cache::PLAIN).map(|key| key as &dyn Known);
    plain.chain(BOUNDS.iter().copied()).filter(move |known| split(known.key()).0 == section)
}

/// Finds a key by section and name.
#[must_use]
pub fn find(section: &str, name: &str) -> Option<&'static dyn Known> {
    of_section(section).find(|known| split(known.key()).1 == name)
}

/// What may be written for `key`; empty for a key that is not known.
#[must_use]
pub fn allowed(key: &str) -> String {
    let (section, name) = split(key);
    find(section, name).map(Known::allowed).unwrap_or_default()
}

/// Splits a full key into section and name.
#[must_use]
pub fn split(key: &str) -> (&str, &str) {
    key.rsplit_once('.').unwrap_or(("", key))
}

/// Likeness below which a known word is no guess at what was meant (Jaro-Winkler, 0 to 1).
const LIKENESS_MIN: f64 = 0.75;

/// The word that is most like `word`, if one is like it at all.
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

    #[test]
    fn every_key_belongs_to_a_section() {
        let listed: usize = SECTIONS.iter().map(|section| of_section(section.name).count()).sum();
        assert_eq!(listed, PLAIN.len() + shared_cache::PLAIN.len() + BOUNDS.len());
    }

    #[test]
    fn a_misspelt_key_finds_its_neighbour() {
        let names = || of_section("stale").map(|known| split(known.key()).1);
        assert_eq!(nearest("maximun", names()), Some("maximum"));
        assert_eq!(nearest("client_timer", names()), Some("client_response_timer"));
        assert_eq!(nearest("zzz", names()), None);
    }
}
