//! The operator's choices as plain values, in the form in which the core uses them.
//!
//! The configuration builds a [`Policy`] from file, environment and flags, and keeps every value
//! within the limits of `config::limits`. Nothing here has a default of its own or checks a range.
//! A policy does not change during the life of a resolver.

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

/// How long a client waits for a fresh answer while a stale one is at hand (client response timer,
/// RFC 8767 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientResponseTimer {
    /// Eight times the upstream's smoothed p99 round-trip time, clamped to two bounds.
    Adaptive {
        /// The shortest wait, however fast the upstream is.
        at_least: Duration,
        /// The longest wait, and the one for an upstream of which nothing is known yet.
        at_most: Duration,
    },
    /// The same time for every upstream.
    Fixed(Duration),
}

/// When and for how long stale answers are served (RFC 8767).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StalePolicy {
    /// How long a client waits before it is given the stale answer.
    pub client_response_timer: ClientResponseTimer,
    /// How long an answer that is no longer fresh may still be served (maximum stale timer, RFC
    /// 8767 §5).
    pub maximum: Duration,
    /// The largest TTL of stale answers. The TTL shown is never more than the original one, and at
    /// least 1 s.
    pub answer_ttl: Duration,
    /// The failure recheck timer after the first failure of a name and type; each further failure
    /// doubles it (RFC 8767 §5).
    pub recheck_min: Duration,
    /// The longest failure recheck timer.
    pub recheck_max: Duration,
    /// Exceptions by suffix, of which the longest that matches counts.
    pub suffixes: Vec<SuffixStale>,
}

/// The choices that differ for names at or below one suffix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuffixStale {
    /// The suffix in lower-cased wire form, with the root label.
    pub suffix: Box<[u8]>,
    /// The maximum stale timer for these names.
    pub maximum: Duration,
    /// Whether answers with TTL 0 may be served stale, which RFC 8767 §4 excludes.
    pub ttl_zero: TtlZero,
}

/// Whether an answer with TTL 0 is kept after the clients that waited for it have got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TtlZero {
    /// The answer is not kept (RFC 1035 §3.2.1).
    Forget,
    /// The answer is kept for outages: never reused as fresh, but served stale.
    KeepForOutages,
}

/// Bounds on how long answers count as fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TtlPolicy {
    /// For how long a positive answer is fresh at the most, which bounds what a hijack or a bad
    /// change can do.
    pub positive_max: Duration,
    /// For how long a negative answer with SOA is fresh at the most (RFC 2308 §5).
    pub negative_max: Duration,
    /// For how long a negative answer without SOA is fresh.
    pub negative_without_soa: Duration,
    /// For how long an answer is fresh at the least, within the bounds above; all its TTLs are
    /// raised to this. Zero leaves them as they are.
    pub minimum: Duration,
}

/// The order of the address records in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressOrder {
    /// As the upstream sent them.
    Kept,
    /// Each answer begins with the next of them.
    Rotated,
}

/// Whether an answer that goes back to the addresses from before a change is confirmed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailoverGuard {
    /// Such an answer is confirmed ([`super::reversal`]).
    On,
    /// Such an answer is believed at once, like any other.
    Off,
}

/// When a fresh answer in use is refreshed ahead of its expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefetchPolicy {
    /// Whether names are refreshed ahead of their expiry at all.
    pub enabled: bool,
    /// The last part of the TTL in which a hit may start a refresh, in percent.
    pub window_percent: u32,
    /// The length of that part at the least.
    pub window_min: Duration,
    /// The number of hits that a name must have had in this TTL.
    pub hits: u32,
}

/// The order in which the primaries of a name are asked, among those of one state of health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskingOrder {
    /// As they are configured. Servers may have different views: the denial of a later one counts
    /// only when the earlier ones have failed.
    Listed,
    /// The one with the shortest round-trip time first. All servers have the same view.
    Fastest,
}

/// How one resolution spends its sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptPolicy {
    /// How long after the first send the second one happens at the latest; also the time for which
    /// an attempt is waited for before it has timed out.
    pub second_after: Duration,
    /// How long after the send before it any later send happens at the latest.
    pub third_after: Duration,
    /// The largest number of sends of one resolution to one upstream over one transport (RFC 9520
    /// §3.1: at most three).
    pub sends: u32,
    /// The order in which primaries are asked.
    pub order: AskingOrder,
    /// How long a client waits for an answer to a name of which nothing is remembered, before it
    /// gets SERVFAIL (query resolution timer, RFC 8767 §5).
    pub deadline: Duration,
    /// How long after its start a resolution still takes a late answer.
    pub linger: Duration,
}

/// How many packets go upstream, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetPolicy {
    /// The largest number of packets in any one second, all classes together.
    pub per_second: u32,
    /// The share of prefetches in that number at the most, in percent.
    pub prefetch_percent: u32,
    /// The largest number of packets in a second for the sweep after an outage.
    pub sweep_per_second: u32,
    /// The largest number of packets in a second for names of which nothing is remembered, while
    /// all upstreams are down.
    pub outage_per_second: u32,
}

/// When an upstream counts as impaired, down, and healthy again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthPolicy {
    /// The number of attempts in a row without any response between them that opens the breaker,
    /// once enough of them were witnesses and the silence has lasted long enough.
    pub down_after: u32,
    /// The share of witnesses in the window without a response that makes an upstream impaired, in
    /// percent.
    pub impaired_percent: u32,
    /// The number of witnesses that the window must hold for that share to count.
    pub impaired_attempts: u32,
    /// The length of the window.
    pub window: Duration,
    /// The number of witnesses in a row, answered in time, after which an ill upstream is healthy.
    pub recovery_successes: u32,
    /// The wait between two witnesses of an impaired upstream, and the first one of an upstream
    /// that is down.
    pub probe_min: Duration,
    /// The longest wait between two witnesses.
    pub probe_max: Duration,
}

/// How much the cache may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachePolicy {
    /// The largest number of positive answers.
    pub entries: u64,
    /// The largest size of all positive answers together in bytes, bookkeeping included.
    pub bytes: u64,
    /// The share of both limits that negative answers may take beside the positive ones, in
    /// percent.
    pub negative_percent: u32,
}

/// A critical name, which must never be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CriticalName {
    /// The name in lower-cased wire form, with the root label.
    pub name: Box<[u8]>,
    /// The types for which the name is watched, each once.
    pub types: Vec<u16>,
    /// The age that an answer may reach before an alarm is raised.
    pub max_age: Duration,
}

/// How much may be under way at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InFlightPolicy {
    /// The largest number of resolutions under way.
    pub resolutions: usize,
    /// The largest number of queries that wait for one of them.
    pub waiting: usize,
}

/// All choices for one resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// When and for how long stale answers are served.
    pub stale: StalePolicy,
    /// For how long answers count as fresh.
    pub ttl: TtlPolicy,
    /// The order of the address records in an answer.
    pub addresses: AddressOrder,
    /// Whether answers that go back after a change are confirmed first.
    pub guard: FailoverGuard,
    /// When answers are refreshed ahead of their expiry.
    pub prefetch: PrefetchPolicy,
    /// How a resolution spends its sends.
    pub attempts: AttemptPolicy,
    /// How many packets go upstream.
    pub budget: BudgetPolicy,
    /// When an upstream counts as impaired, down and healthy again.
    pub health: HealthPolicy,
    /// How much the cache may hold.
    pub cache: CachePolicy,
    /// The critical names, each once.
    pub critical: Vec<CriticalName>,
    /// How long readiness waits for an answer for each critical name.
    pub ready_timeout: Duration,
    /// How much may be under way at the same moment.
    pub in_flight: InFlightPolicy,
}
