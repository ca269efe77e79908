//! The operator's choices as plain values, in the form in which the core uses them.
//!
//! `config` builds these from file, environment and flags, within the limits of `config::limits`;
//! nothing here has a default of its own. A policy is read-only for the life of a resolver.

use std::time::Duration;

/// Longest time that an answer may count as fresh, and longest time that it may be served stale
/// after that: 7 days (RFC 8767 §4). No configuration goes beyond it, so an entry that does was not
/// written by holdover.
pub const LIFE_MAX: Duration = Duration::from_secs(7 * 86_400);

/// The form in which the lines of the log are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One line of text per event, for people.
    Text,
    /// One JSON object per line and event, for machines.
    Json,
}

/// How long a client with a stale answer in reach waits for a fresh one (RFC 8767 §5, client
/// response timer).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientResponseTimer {
    /// 8 × the upstream's smoothed p99 round-trip time, clamped to the two bounds.
    Adaptive {
        /// The shortest wait.
        at_least: Duration,
        /// The longest wait.
        at_most: Duration,
    },
    /// Always this long.
    Fixed(Duration),
}

/// When and for how long stale answers are served (RFC 8767).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StalePolicy {
    /// How long a client waits before it is given the stale answer.
    pub client_response_timer: ClientResponseTimer,
    /// How long after its expiry an answer may still be served (RFC 8767 §5, maximum stale timer).
    pub maximum: Duration,
    /// The TTL of stale answers at the most; never less than 1 s, never more than the original TTL.
    pub answer_ttl: Duration,
    /// The first wait after a failed refresh of a name and type before it is asked again; doubles
    /// (RFC 8767 §5).
    pub recheck_min: Duration,
    /// The longest such wait.
    pub recheck_max: Duration,
    /// Exceptions by suffix; the longest matching suffix counts.
    pub suffixes: Vec<SuffixStale>,
}

/// What differs for names at or below one suffix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuffixStale {
    /// The suffix in lower-cased wire form, with the root label.
    pub suffix: Box<[u8]>,
    /// Maximum stale for these names.
    pub maximum: Duration,
    /// Whether answers with TTL 0 may be served stale, which RFC 8767 §4 leaves out.
    pub ttl_zero: TtlZero,
}

/// What becomes of an answer with TTL 0 after it was given to who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TtlZero {
    /// It is forgotten (RFC 1035 §3.2.1).
    Forget,
    /// It is kept for outages: never reused as fresh, but served stale.
    KeepForOutages,
}

/// Bounds on how long answers count as fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TtlPolicy {
    /// Longest life of a positive answer; bounds what a hijack or a bad change can do.
    pub positive_max: Duration,
    /// Longest life of a negative answer (RFC 2308 §5).
    pub negative_max: Duration,
    /// Life of a negative answer that came without an SOA.
    pub negative_without_soa: Duration,
}

/// When a fresh answer in use is refreshed ahead of its expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefetchPolicy {
    /// Whether names are refreshed ahead at all.
    pub enabled: bool,
    /// The last part of the TTL in which a hit may start a refresh, in percent.
    pub window_percent: u32,
    /// The shortest such part.
    pub window_min: Duration,
    /// Hits that a name must have had in this TTL.
    pub hits: u32,
}

/// How one resolution spends its sends (RFC 9520 §3.1: at most three).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptPolicy {
    /// When the second send happens at the latest, counted from the first.
    pub second_after: Duration,
    /// When the third send happens.
    pub third_after: Duration,
    /// Sends of one resolution at the most.
    pub sends: u32,
    /// When a client that nothing can be found for gets SERVFAIL (query resolution timer).
    pub deadline: Duration,
    /// How long after its start a resolution still takes a late answer.
    pub linger: Duration,
}

/// How many packets go upstream, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetPolicy {
    /// Packets in any one second, all classes together.
    pub per_second: u32,
    /// Of these, prefetches at the most, in percent.
    pub prefetch_percent: u32,
    /// Packets a second of the recovery sweep.
    pub sweep_per_second: u32,
    /// Packets a second for names of which nothing is remembered, while all upstreams are down.
    pub outage_per_second: u32,
}

/// When an upstream counts as impaired, down, and healthy again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthPolicy {
    /// Transport failures in a row without any answer that open the breaker.
    pub down_after: u32,
    /// Share of failures in the window that makes an upstream impaired, in percent.
    pub impaired_percent: u32,
    /// Attempts that the window must hold for that share to count.
    pub impaired_attempts: u32,
    /// Length of the window.
    pub window: Duration,
    /// Successes in a row until a recovering upstream counts as healthy.
    pub recovery_successes: u32,
    /// First wait between probes of an upstream that is down.
    pub probe_min: Duration,
    /// Longest wait between probes.
    pub probe_max: Duration,
}

/// What the cache may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachePolicy {
    /// Positive answers at the most.
    pub entries: u64,
    /// Their weight at the most, bookkeeping included, in bytes.
    pub bytes: u64,
    /// Room for negative answers beside them, in percent of both.
    pub negative_percent: u32,
}

/// A name that must never be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CriticalName {
    /// The name in lower-cased wire form, with the root label.
    pub name: Box<[u8]>,
    /// The types of it, each once.
    pub types: Vec<u16>,
    /// How old its answers may become before that is alarming.
    pub max_age: Duration,
}

/// What may be under way at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InFlightPolicy {
    /// Upstream resolutions.
    pub resolutions: usize,
    /// Clients waiting for one of them.
    pub waiting: usize,
}

/// All choices of one resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Serving stale.
    pub stale: StalePolicy,
    /// Freshness.
    pub ttl: TtlPolicy,
    /// Refreshing ahead.
    pub prefetch: PrefetchPolicy,
    /// Sends of one resolution.
    pub attempts: AttemptPolicy,
    /// Packets upstream.
    pub budget: BudgetPolicy,
    /// Upstream states.
    pub health: HealthPolicy,
    /// Size of the memory.
    pub cache: CachePolicy,
    /// Names that must never be missing, each once.
    pub critical: Vec<CriticalName>,
    /// How long readiness waits for an answer for each of them.
    pub ready_timeout: Duration,
    /// Work at the same moment.
    pub in_flight: InFlightPolicy,
}
