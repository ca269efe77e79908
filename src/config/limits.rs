//! Every number that an operator can choose, and every bound of what holdover reads: one place.
//!
//! A [`Bounded`] is the key in the configuration, default, minimum and maximum. Its docstring is
//! also what `holdover config default` prints above the key, so reason and RFC are written once.
//! Sizes that the wire format fixes (512, 1232, 65 535 bytes) are with the code that writes
//! answers.

use std::time::Duration;

use super::quantity::{Percent, Quantity, Size, Threads, Timer};

/// Longest path of a file (PATH_MAX of Linux).
pub const PATH_MAX: usize = 4096;

/// A choice of the operator: its key, its default, and how far it may go.
#[derive(Clone, Copy, Debug)]
pub struct Bounded<T: 'static> {
    /// Section and key, such as `stale.maximum`.
    pub key: &'static str,
    /// The value when nobody says anything.
    pub default: T,
    /// The smallest value allowed.
    pub min: T,
    /// The largest value allowed.
    pub max: T,
    /// What it is and why, line by line.
    pub text: &'static [&'static str],
}

/// A key of the configuration, whatever its kind.
pub trait Known: Sync {
    /// Section and key, such as `stale.maximum`.
    fn key(&self) -> &'static str;
    /// What it is and why, line by line.
    fn text(&self) -> &'static [&'static str];
    /// The default as TOML.
    fn default_toml(&self) -> String;
    /// What may be written, for people.
    fn allowed(&self) -> String;
}

impl<T: Quantity> Known for Bounded<T> {
    fn key(&self) -> &'static str {
        self.key
    }

    fn text(&self) -> &'static [&'static str] {
        self.text
    }

    fn default_toml(&self) -> String {
        self.default.toml()
    }

    fn allowed(&self) -> String {
        T::range(self.min, self.max)
    }
}

/// So many milliseconds.
const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// So many seconds.
const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// So many hours.
const fn hours(count: u64) -> Duration {
    Duration::from_secs(count * 3600)
}

/// Declares each bound with its docstring, and lists them all.
macro_rules! bounds {
    ($($(#[doc = $line:literal])+ $name:ident: $kind:ty = $key:literal ($default:expr; $min:expr => $max:expr);)+) => {
        $($(#[doc = $line])+ pub const $name: Bounded<$kind> =
            Bounded { key: $key, default: $default, min: $min, max: $max, text: &[$($line),+] };)+

        /// All bounds, in reading order.
        pub const BOUNDS: &[&dyn Known] = &[$(&$name),+];
    };
}

bounds! {
    /// Threads that read UDP, for each address; "auto" is one per core, at most 4.
    LISTEN_THREADS: Threads = "listen.threads" (Threads::Automatic; Threads::Fixed(1) => Threads::Fixed(64));
    /// TCP connections at the same moment, for each address; when all are taken, the one that has
    /// been idle longest is closed.
    LISTEN_TCP_CONNECTIONS: usize = "listen.tcp_connections" (64; 1 => 4096);
    /// Queries that one TCP connection may have in flight; reading pauses at this number (RFC 7766
    /// §6.2.1.1).
    LISTEN_TCP_QUERIES: usize = "listen.tcp_queries" (32; 1 => 1024);
    /// How long a TCP connection may be idle (RFC 7766 §6.2.3: a few seconds).
    LISTEN_TCP_IDLE: Duration = "listen.tcp_idle" (seconds(10); seconds(1) => seconds(300));

    /// How long a client waits for a fresh answer when a stale one is there (RFC 8767 §5, client
    /// response timer). "adaptive" is 8 × the upstream's smoothed p99 round-trip time, clamped to
    /// 20 to 200 ms: the 1.8 s of the RFC are too late for clients that give up after 1 to 1.75 s
    /// (c-ares since 1.32).
    STALE_CLIENT_RESPONSE_TIMER: Timer = "stale.client_response_timer"
        (Timer::Adaptive; Timer::Fixed(Duration::ZERO) => Timer::Fixed(ms(1800)));
    /// How long after its expiry an answer may still be served (RFC 8767 §5, maximum stale timer: 1
    /// to 3 days). The longest outage that we know of is covered by the default. 0s switches
    /// serving stale off.
    STALE_MAXIMUM: Duration = "stale.maximum" (hours(24); Duration::ZERO => hours(7 * 24));
    /// TTL of stale answers, at most the original TTL and at least 1 s (RFC 8767 §5: greater than
    /// 0, 30 s recommended).
    STALE_ANSWER_TTL: Duration = "stale.answer_ttl" (seconds(30); seconds(1) => seconds(300));
    /// First wait before a name and type whose refresh failed is asked again; doubles (RFC 9520
    /// §3.2: at least 1 s).
    STALE_RECHECK_MINIMUM: Duration = "stale.recheck_minimum" (seconds(1); seconds(1) => seconds(300));
    /// Longest such wait (RFC 8767 §5, failure recheck timer: no more often than every 30 s; RFC
    /// 9520 §3.2: at most 5 min).
    STALE_RECHECK_MAXIMUM: Duration = "stale.recheck_maximum" (seconds(30); seconds(1) => seconds(300));

    /// Positive answers at the most.
    CACHE_ENTRIES: u64 = "cache.entries" (10_000; 100 => 1_000_000);
    /// Memory of the cached answers at the most, bookkeeping included.
    CACHE_SIZE: Size = "cache.size" (Size(8 << 20); Size(1 << 20) => Size(4 << 30));
    /// Room for negative answers; random names must not push out the good ones.
    CACHE_NEGATIVES: Percent = "cache.negatives" (Percent(25); Percent(1) => Percent(90));
    /// Longest time that a positive answer counts as fresh, whatever its TTL: bounds a hijack or a
    /// bad change (RFC 8767 §4: at most 7 days).
    CACHE_POSITIVE_MAXIMUM: Duration = "cache.positive_maximum" (hours(1); seconds(1) => hours(7 * 24));
    /// Longest time that a negative answer counts as fresh: bounds wrong negatives (RFC 2308 §5: at
    /// most 3 hours).
    CACHE_NEGATIVE_MAXIMUM: Duration = "cache.negative_maximum" (seconds(30); Duration::ZERO => hours(3));
    /// Life of a negative answer without SOA, which RFC 2308 §5 would not cache at all; only spares
    /// the upstream a storm.
    CACHE_NEGATIVE_WITHOUT_SOA: Duration = "cache.negative_without_soa" (seconds(5); Duration::ZERO => seconds(300));

    /// How often what changed is written to the state file, in one transaction; what a power cut or
    /// kill -9 may cost at the most.
    STATE_WRITE_EVERY: Duration = "state.write_every" (seconds(2); ms(100) => seconds(300));

    /// How long a query may wait for it that has nothing else; what is published takes no longer at
    /// a time.
    SHARED_CACHE_TIMEOUT: Duration = "shared_cache.timeout" (ms(30); ms(5) => seconds(1));
    /// Names that a new instance learns at the start: those that its group asks for most. 0: none.
    SHARED_CACHE_START_NAMES: usize = "shared_cache.start_names" (512; 0 => 4096);

    /// Last part of the TTL in which a hit may start a refresh ahead of the expiry.
    PREFETCH_WINDOW: Percent = "prefetch.window" (Percent(10); Percent(1) => Percent(50));
    /// Shortest such part.
    PREFETCH_WINDOW_MINIMUM: Duration = "prefetch.window_minimum" (seconds(1); Duration::ZERO => seconds(60));
    /// Hits that a name must have had in this TTL.
    PREFETCH_HITS: u32 = "prefetch.hits" (2; 1 => 1000);

    /// Packets to all upstreams in any one second. AWS drops silently above 1024 packets/s per
    /// network interface.
    BUDGET_PER_SECOND: u32 = "budget.per_second" (900; 10 => 100_000);
    /// Share of them that refreshes ahead of the expiry may take.
    BUDGET_PREFETCH: Percent = "budget.prefetch" (Percent(10); Percent(0) => Percent(100));
    /// Packets a second of the recovery sweep; many sidecars heal at the same moment.
    BUDGET_SWEEP_PER_SECOND: u32 = "budget.sweep_per_second" (20; 1 => 1000);
    /// Packets a second for names of which nothing is remembered, while all upstreams are down.
    BUDGET_OUTAGE_PER_SECOND: u32 = "budget.outage_per_second" (100; 1 => 100_000);
    /// Upstream resolutions under way at the same moment; an outage is when memory explodes.
    BUDGET_RESOLUTIONS: usize = "budget.resolutions" (1000; 10 => 65_536);
    /// Clients that wait for one of them.
    BUDGET_WAITING: usize = "budget.waiting" (4096; 10 => 262_144);

    /// When the second packet of a resolution is sent at the latest; earlier when the upstream is
    /// quick (4 × its p99).
    ATTEMPTS_SECOND_AFTER: Duration = "attempts.second_after" (ms(400); ms(20) => seconds(5));
    /// When the third packet is sent, counted from the first.
    ATTEMPTS_THIRD_AFTER: Duration = "attempts.third_after" (seconds(1); ms(20) => seconds(10));
    /// Packets of one resolution at the most (RFC 9520 §3.1: no more than 3).
    ATTEMPTS_SENDS: u32 = "attempts.sends" (3; 1 => 3);
    /// When a client for which nothing is found gets SERVFAIL (RFC 8767 §5, query resolution
    /// timer); ahead of the 2.5 s after which musl sends again, and of glibc's 5 s.
    ATTEMPTS_DEADLINE: Duration = "attempts.deadline" (seconds(2); ms(500) => seconds(10));
    /// How long after its start a resolution still takes a late answer, to refresh the entry.
    ATTEMPTS_LINGER: Duration = "attempts.linger" (seconds(6); ms(500) => seconds(30));

    /// Transport failures in a row, without any answer between, after which an upstream is down.
    HEALTH_DOWN_AFTER: u32 = "health.down_after" (5; 2 => 100);
    /// Share of failures in the window from which an upstream is impaired.
    HEALTH_IMPAIRED: Percent = "health.impaired" (Percent(20); Percent(1) => Percent(100));
    /// Attempts that the window must hold for that share to count.
    HEALTH_IMPAIRED_ATTEMPTS: u32 = "health.impaired_attempts" (20; 2 => 1000);
    /// Length of the window.
    HEALTH_WINDOW: Duration = "health.window" (seconds(10); seconds(1) => seconds(300));
    /// Successes in a row after which an upstream is healthy again.
    HEALTH_RECOVERY_SUCCESSES: u32 = "health.recovery_successes" (3; 1 => 100);
    /// First wait between two probes of an upstream that is down; grows by half each time.
    HEALTH_PROBE_MINIMUM: Duration = "health.probe_minimum" (seconds(1); seconds(1) => seconds(60));
    /// Longest such wait; how late a recovery is noticed. One packet every 2 s is nothing beside
    /// what clients ask.
    HEALTH_PROBE_MAXIMUM: Duration = "health.probe_maximum" (seconds(2); seconds(1) => seconds(300));

    /// How long `holdover check` says "not ready" for want of an answer for a critical name; then
    /// it is ready with a warning. A sidecar that is held back in an outage keeps its application
    /// down, one that starts without may still learn the name. 0s waits for nothing.
    READY_TIMEOUT: Duration = "ready.timeout" (seconds(10); Duration::ZERO => seconds(300));

    /// How old the answer may become before the log and the metrics complain. Every answer counts
    /// as fresh for an hour at most, so an older one is beyond what its upstream vouches for. It is
    /// refreshed before it is as old, whatever its TTL.
    CRITICAL_MAX_AGE: Duration = "critical.max_age" (hours(1); seconds(5) => hours(7 * 24));

    /// After SIGTERM: go on serving until no query has come for this long. Old-style sidecars get
    /// SIGTERM with the application. Health checks (`holdover check`) are answered and do not
    /// count.
    DRAIN_IDLE: Duration = "drain.idle" (seconds(2); Duration::ZERO => seconds(60));
    /// After SIGTERM: end at the latest after this long; below the 30 s after which Kubernetes and
    /// ECS kill.
    DRAIN_MAXIMUM: Duration = "drain.maximum" (seconds(25); Duration::ZERO => seconds(600));
}

/// Shortest adaptive client response timer; below it, scheduling noise would make healthy answers
/// stale.
pub const ADAPTIVE_TIMER_MIN: Duration = ms(20);
/// Longest adaptive client response timer; below the 250 ms after which the quickest clients
/// (c-ares) ask again.
pub const ADAPTIVE_TIMER_MAX: Duration = ms(200);
/// Threads that "auto" takes at the most; a sidecar leaves the cores to its application.
pub const AUTOMATIC_THREADS_MAX: usize = 4;

/// Port of an address that names none (RFC 1035 §4.2).
pub const DNS_PORT: u16 = 53;
/// Listen addresses at the most; each costs sockets and threads.
pub const LISTEN_ADDRESSES_MAX: usize = 16;
/// Client networks at the most; each query is held against all of them.
pub const CLIENT_NETWORKS_MAX: usize = 64;
/// Upstreams at the most; each has its own health and probes.
pub const UPSTREAMS_MAX: usize = 16;
/// Addresses of one upstream at the most.
pub const UPSTREAM_ADDRESSES_MAX: usize = 8;
/// Zones of one upstream at the most.
pub const UPSTREAM_ZONES_MAX: usize = 64;
/// Bytes of an upstream's name at the most; it is a metric label.
pub const UPSTREAM_NAME_MAX: usize = 64;
/// Suffixes with their own maximum stale at the most.
pub const STALE_SUFFIXES_MAX: usize = 256;
/// Seeds at the most.
pub const SEEDS_MAX: usize = 16;
/// Port of an admin address that names none.
pub const ADMIN_PORT: u16 = 9053;
/// Bytes of the admin socket's path at the most: `sun_path` has 108, and a name beside it is needed
/// while it is made.
pub const ADMIN_PATH_MAX: usize = 90;
/// Critical names at the most; each costs memory that nothing evicts, and packets although nobody
/// asks.
pub const CRITICAL_NAMES_MAX: usize = 64;
/// Types of one critical name at the most; with the names this bounds what is asked for without
/// traffic.
pub const CRITICAL_TYPES_MAX: usize = 4;
/// Problems that one message tells.
pub const PROBLEMS_SHOWN: usize = 5;
/// Bytes of the configuration file at the most.
pub const CONFIG_FILE_MAX: u64 = 1 << 20;
/// Bytes of `/etc/resolv.conf` at the most.
pub const RESOLV_CONF_MAX: u64 = 64 << 10;
/// Name servers taken from `/etc/resolv.conf`; glibc takes 3 (resolv.conf(5)), newer files name
/// more.
pub const RESOLV_CONF_NAMESERVERS_MAX: usize = 8;
/// Bytes of the hosts file at the most; its names are bounded by `core::hosts`, lines without one
/// cost nothing.
pub const HOSTS_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::super::quantity::Quantity;
    use super::*;

    fn lies_within<T: Quantity>(bound: &Bounded<T>) -> bool {
        !bound.default.is_outside(bound.min, bound.max) && !bound.min.is_outside(bound.min, bound.max)
    }

    #[test]
    fn the_contract_holds() {
        assert!(lies_within(&STALE_MAXIMUM));
        assert_eq!(STALE_MAXIMUM.allowed(), "0s to 7d");
        assert_eq!(STALE_MAXIMUM.default_toml(), "\"24h\"");
        assert_eq!(STALE_CLIENT_RESPONSE_TIMER.allowed(), "adaptive, or 0s to 1800ms");
        assert_eq!(CACHE_SIZE.default_toml(), "\"8MiB\"");
        assert_eq!(BUDGET_PER_SECOND.allowed(), "10 to 100000");
    }

    #[test]
    fn every_bound_has_a_reason_and_its_own_key() {
        let mut keys: Vec<_> = BOUNDS.iter().map(|bound| bound.key()).collect();
        assert!(BOUNDS.iter().all(|bound| bound.text().iter().all(|line| !line.trim().is_empty())));
        keys.sort_unstable();
        let before = keys.len();
        keys.dedup();
        assert_eq!(keys.len(), before);
    }
}
