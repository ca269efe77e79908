//! Every number that an operator can choose, and every bound of what holdover reads, in one place.
//!
//! A [`Bounded`] holds the key in the configuration, its default, its smallest and its largest
//! value. Its docstring is also what `holdover config default` prints above the key, so that the
//! reason and the RFC are written once. Where the core needs one of the numbers as well, it is
//! defined in the core and only referred to here. Sizes that the wire format fixes (512, 1232 and
//! 65,535 bytes) are with the code that writes answers.

use std::time::Duration;

use super::key::{ConfigKey, Presence};
use super::quantity::{Bounds, Percent, Quantity, Size, Threads, Timer};
use crate::core::health::LATE;
pub use crate::core::network::DNS_PORT;
use crate::core::policy::LIFE_MAX;

/// Bytes of the path of a file at the most (`PATH_MAX` of Linux).
pub const PATH_MAX: usize = 4096;

/// A key whose value has a range: its name, its default, and how far the value may go.
#[derive(Clone, Copy, Debug)]
pub struct Bounded<T: 'static> {
    /// Section and name of the key, such as `stale.maximum`.
    pub key: &'static str,
    /// The value that counts when no source gives one.
    pub default: T,
    /// The smallest value allowed.
    pub min: T,
    /// The largest value allowed.
    pub max: T,
    /// Purpose of the key and the reason for its default, as the lines of its docstring.
    pub lines: &'static [&'static str],
}

impl<T: Quantity> Bounded<T> {
    /// The smallest and the largest value allowed.
    #[must_use]
    pub const fn bounds(&self) -> Bounds<T> {
        Bounds { min: self.min, max: self.max }
    }
}

impl<T: Quantity> ConfigKey for Bounded<T> {
    fn full_name(&self) -> &'static str {
        self.key
    }

    fn text(&self) -> String {
        self.lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
    }

    fn default_toml(&self) -> String {
        self.default.toml()
    }

    fn allowed(&self) -> String {
        T::range(self.bounds())
    }

    fn presence(&self) -> Presence {
        Presence::Optional
    }
}

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

const fn hours(count: u64) -> Duration {
    Duration::from_secs(count * 3600)
}

/// Declares each key with a range together with its docstring, and lists them all.
macro_rules! bounds {
    ($($(#[doc = $line:literal])+ $name:ident: $kind:ty = $key:literal ($default:expr; $min:expr => $max:expr);)+) => {
        $($(#[doc = $line])+ pub const $name: Bounded<$kind> =
            Bounded { key: $key, default: $default, min: $min, max: $max, lines: &[$($line),+] };)+

        /// Every key that has a range, in reading order.
        pub const BOUNDS: &[&dyn ConfigKey] = &[$(&$name),+];
    };
}

bounds! {
    /// Threads that read UDP queries, for each address. "auto" is one per core, at most 4.
    LISTEN_THREADS: Threads = "listen.threads" (Threads::Automatic; Threads::Fixed(1) => Threads::Fixed(64));
    /// TCP connections that may be open at the same time, for each address. One client may have
    /// them all; when they are in use, the client that has most of them gives one up for another
    /// client: its idlest, else its oldest.
    LISTEN_TCP_CONNECTIONS: usize = "listen.tcp_connections" (256; 1 => 4096);
    /// Queries that one TCP connection may have in flight; at this number, reading from the
    /// connection pauses (RFC 7766 §6.2.1.1).
    LISTEN_TCP_QUERIES: usize = "listen.tcp_queries" (32; 1 => 1024);
    /// How long a TCP connection may be idle before it is closed (RFC 7766 §6.2.3: a few seconds).
    LISTEN_TCP_IDLE: Duration = "listen.tcp_idle" (seconds(10); seconds(1) => seconds(300));

    /// How long a client waits for a fresh answer while a stale one is available (RFC 8767 §5,
    /// client response timer). "adaptive" is 8 × the upstream's smoothed p99 round-trip time,
    /// clamped to 20 to 200 ms. The 1.8 s of the RFC are too late for clients that give up after 1
    /// to 1.75 s (c-ares since 1.32).
    STALE_CLIENT_RESPONSE_TIMER: Timer = "stale.client_response_timer"
        (Timer::Adaptive; Timer::Fixed(Duration::ZERO) => Timer::Fixed(ms(1800)));
    /// How long after its expiry an answer may still be served (RFC 8767 §5, maximum stale timer: 1
    /// to 3 days). The default covers the longest outage that we know of. 0s switches serving stale
    /// off.
    STALE_MAXIMUM: Duration = "stale.maximum" (hours(24); Duration::ZERO => LIFE_MAX);
    /// TTL of stale answers: never more than the original TTL, and never less than 1 s (RFC 8767
    /// §5: greater than 0, 30 s recommended).
    STALE_ANSWER_TTL: Duration = "stale.answer_ttl" (seconds(30); seconds(1) => seconds(300));
    /// How long holdover waits, after a refresh has failed, before it asks for that name and type
    /// again. The wait doubles with each further failure (RFC 9520 §3.2: at least 1 s).
    STALE_RECHECK_MINIMUM: Duration = "stale.recheck_minimum" (seconds(1); seconds(1) => seconds(300));
    /// Longest wait after a failed refresh (RFC 8767 §5, failure recheck timer: no more often than
    /// every 30 s; RFC 9520 §3.2: at most 5 min).
    STALE_RECHECK_MAXIMUM: Duration = "stale.recheck_maximum" (seconds(30); seconds(1) => seconds(300));

    /// Positive answers that the cache may hold.
    CACHE_ENTRIES: u64 = "cache.entries" (10_000; 100 => 1_000_000);
    /// Memory that the cached answers may take, bookkeeping included.
    CACHE_SIZE: Size = "cache.size" (Size(8 << 20); Size(1 << 20) => Size(4 << 30));
    /// Limit of the negative answers that are kept beside the positive ones, as a share of entries
    /// and size. Since negative answers have a limit of their own, queries for random names cannot
    /// evict positive answers.
    CACHE_NEGATIVES: Percent = "cache.negatives" (Percent(25); Percent(1) => Percent(90));
    /// Least TTL of an answer, within the bounds below: smaller ones are raised to it, for
    /// upstreams that answer with TTL 0 or 1. 0s leaves them as they are, as the owners of the
    /// names want it.
    CACHE_MINIMUM: Duration = "cache.minimum" (Duration::ZERO; Duration::ZERO => seconds(60));
    /// Longest time that a positive answer counts as fresh, whatever its TTL. It bounds how long a
    /// hijack or a mistaken change has an effect (RFC 8767 §4: at most 7 days).
    CACHE_POSITIVE_MAXIMUM: Duration = "cache.positive_maximum" (hours(1); seconds(1) => LIFE_MAX);
    /// Longest time that a negative answer counts as fresh. It bounds how long a wrong one has an
    /// effect (RFC 2308 §5: at most 3 hours).
    CACHE_NEGATIVE_MAXIMUM: Duration = "cache.negative_maximum" (seconds(30); Duration::ZERO => hours(3));
    /// How long a negative answer without an SOA record counts as fresh. RFC 2308 §5 would not
    /// cache it at all; a few seconds spare the upstream a storm of queries.
    CACHE_NEGATIVE_WITHOUT_SOA: Duration = "cache.negative_without_soa" (seconds(5); Duration::ZERO => seconds(300));

    /// How often changes are written to the state file, in one transaction each time. A power
    /// failure or kill -9 loses at most the changes of this time.
    STATE_WRITE_EVERY: Duration = "state.write_every" (seconds(2); ms(100) => seconds(300));

    /// How long a query for which nothing is cached may wait for the shared cache. It also bounds
    /// each write to the shared cache.
    SHARED_CACHE_TIMEOUT: Duration = "shared_cache.timeout" (ms(30); ms(5) => seconds(1));
    /// Names that a new instance fetches from the shared cache at its start: those that its group
    /// asks for most often. 0 fetches none.
    SHARED_CACHE_START_NAMES: usize = "shared_cache.start_names" (512; 0 => SHARED_CACHE_NAMES_MAX);

    /// Last part of the TTL in which a hit may start a refresh before the answer expires.
    PREFETCH_WINDOW: Percent = "prefetch.window" (Percent(10); Percent(1) => Percent(50));
    /// Shortest length of this last part, which is never more than half of the TTL.
    PREFETCH_WINDOW_MINIMUM: Duration = "prefetch.window_minimum" (seconds(1); Duration::ZERO => seconds(60));
    /// Hits that a name must have had within the present TTL to be refreshed early.
    PREFETCH_HITS: u32 = "prefetch.hits" (2; 1 => 1000);

    /// Packets to all upstreams together in any one second. AWS silently drops packets above 1024 a
    /// second per network interface.
    BUDGET_PER_SECOND: u32 = "budget.per_second" (900; 10 => 100_000);
    /// Share of these packets that refreshes ahead of the expiry may take.
    BUDGET_PREFETCH: Percent = "budget.prefetch" (Percent(10); Percent(0) => Percent(100));
    /// Packets a second for refreshing what has become stale, once an outage is over. The rate is
    /// low because many sidecars recover at the same moment.
    BUDGET_SWEEP_PER_SECOND: u32 = "budget.sweep_per_second" (20; 1 => 1000);
    /// Packets a second for names of which nothing is cached, while all upstreams are down.
    BUDGET_OUTAGE_PER_SECOND: u32 = "budget.outage_per_second" (100; 1 => 100_000);
    /// Upstream resolutions in progress at the same time. Without this bound, memory would grow
    /// without limit in an outage.
    BUDGET_RESOLUTIONS: usize = "budget.resolutions" (1000; 10 => 65_536);
    /// Clients that may wait for these resolutions at the same time.
    BUDGET_WAITING: usize = "budget.waiting" (4096; 10 => 262_144);

    /// When the second packet of a resolution is sent at the latest, counted from the first. It is
    /// sent earlier when the upstream is quick (4 × its p99 round-trip time, at least 20 ms).
    ATTEMPTS_SECOND_AFTER: Duration = "attempts.second_after" (ms(400); ms(20) => seconds(5));
    /// When each further packet of a resolution is sent at the latest, counted from the one before.
    /// It is sent earlier when the upstream is quick: each wait is 2.5 × the one before.
    ATTEMPTS_THIRD_AFTER: Duration = "attempts.third_after" (seconds(1); ms(20) => seconds(10));
    /// Queries that one resolution may send to one address over one transport (RFC 9520 §3.1: no
    /// more than 3). Every address is asked before any is asked again, and an upstream that is
    /// silent over UDP is asked over TCP.
    ATTEMPTS_SENDS: u32 = "attempts.sends" (3; 1 => 3);
    /// When a client for which no answer has been found gets SERVFAIL (RFC 8767 §5, query
    /// resolution timer). The default is below the 5 s after which glibc, musl and Go give up: a
    /// slow answer is better than SERVFAIL. While all upstreams are down it is 400 ms.
    ATTEMPTS_DEADLINE: Duration = "attempts.deadline" (ms(4800); ms(500) => seconds(10));
    /// How long after its start a resolution still accepts a late response, to refresh the cached
    /// answer.
    ATTEMPTS_LINGER: Duration = "attempts.linger" (seconds(6); ms(500) => seconds(30));

    /// Transport failures in a row, without any answer between them, after which an upstream is
    /// down.
    HEALTH_DOWN_AFTER: u32 = "health.down_after" (5; 2 => 100);
    /// Share of witnesses without a response in the window from which an upstream is impaired,
    /// though it answers others.
    HEALTH_IMPAIRED: Percent = "health.impaired" (Percent(20); Percent(1) => Percent(100));
    /// Witnesses that the window must hold before that share counts.
    HEALTH_IMPAIRED_ATTEMPTS: u32 = "health.impaired_attempts" (20; 2 => 1000);
    /// Length of the window in which witnesses are counted.
    HEALTH_WINDOW: Duration = "health.window" (seconds(10); seconds(1) => seconds(300));
    /// Witnesses in a row that must be answered in time before an upstream is healthy again.
    HEALTH_RECOVERY_SUCCESSES: u32 = "health.recovery_successes" (3; 1 => 100);
    /// Wait between two witnesses of an upstream that is impaired, and the first one of an upstream
    /// that is down. Each further wait of the latter is half as long again.
    HEALTH_PROBE_MINIMUM: Duration = "health.probe_minimum" (seconds(1); seconds(1) => seconds(60));
    /// Longest wait between two witnesses: a recovery may be noticed this much later. One packet
    /// every 2 s is nothing beside what clients ask.
    HEALTH_PROBE_MAXIMUM: Duration = "health.probe_maximum" (seconds(2); seconds(1) => seconds(300));

    /// How long `holdover check` reports "not ready" while a critical name has no answer; after
    /// that it reports "ready", with a warning. A sidecar that is not ready in an outage keeps its
    /// application down, while one that starts without the name may still learn it. 0s waits for
    /// nothing.
    READY_TIMEOUT: Duration = "ready.timeout" (seconds(10); Duration::ZERO => seconds(300));

    /// How old the answer may become before the log and the metrics report it. By default an answer
    /// counts as fresh for an hour at most, so an older one is beyond what its upstream vouches
    /// for. holdover refreshes the answer before it reaches this age, whatever its TTL.
    CRITICAL_MAX_AGE: Duration = "critical.max_age" (hours(1); seconds(5) => hours(7 * 24));

    /// After SIGTERM, holdover serves until no query has come for this long, because a sidecar that
    /// is an ordinary container gets SIGTERM at the same time as its application. Health checks
    /// (`holdover check`) are answered and do not count as queries.
    DRAIN_IDLE: Duration = "drain.idle" (seconds(2); Duration::ZERO => seconds(60));
    /// After SIGTERM, holdover ends after this long at the latest. The default is below the 30 s
    /// after which Kubernetes and ECS kill the process.
    DRAIN_MAXIMUM: Duration = "drain.maximum" (seconds(25); Duration::ZERO => seconds(600));
}

/// Shortest adaptive client response timer. Below it, scheduling noise would make healthy answers
/// stale.
pub const ADAPTIVE_TIMER_MIN: Duration = ms(20);
/// Longest adaptive client response timer. It lies below the 250 ms after which the quickest
/// clients (c-ares) ask again, and is also the time after which an attempt counts as overdue.
pub const ADAPTIVE_TIMER_MAX: Duration = LATE;
/// Threads that "auto" takes at the most, since a sidecar leaves the cores to its application.
pub const AUTOMATIC_THREADS_MAX: usize = 4;

/// Bytes of a query over TCP at the most. Without padding, a query has less than 300 bytes; the
/// longest padding in use brings it to a multiple of 128 (RFC 8467 §4.1).
pub const TCP_QUERY_MAX: usize = 4096;
/// Bytes that all TCP connections of clients may hold together: what was read, what waits, and
/// answers that are not fetched. A sidecar is given 32 MiB, of which the cache takes 8 MiB.
pub const TCP_BYTES_MAX: usize = 8 << 20;

/// Listen addresses at the most; each costs sockets and threads.
pub const LISTEN_ADDRESSES_MAX: usize = 16;
/// Client networks at the most; each query is compared with all of them.
pub const CLIENT_NETWORKS_MAX: usize = 64;
/// Upstreams at the most; each has its own health and probes.
pub const UPSTREAMS_MAX: usize = 16;
/// Addresses of one upstream at the most.
pub const UPSTREAM_ADDRESSES_MAX: usize = 8;
/// Zones of one upstream at the most.
pub const UPSTREAM_ZONES_MAX: usize = 64;
/// Bytes of an upstream's name at the most; the name is a metric label.
pub const UPSTREAM_NAME_MAX: usize = 64;
/// Suffixes with a maximum stale of their own at the most.
pub const STALE_SUFFIXES_MAX: usize = 256;
/// Seed files at the most.
pub const SEEDS_MAX: usize = 16;
/// Port of an admin address that names none.
pub const ADMIN_PORT: u16 = 9053;
/// Bytes of the admin socket's path at the most: `sun_path` has 108, and a name beside it is needed
/// while the socket is made.
pub const ADMIN_PATH_MAX: usize = 90;
/// Bytes of the token of the admin interface at the least: 128 bits as hexadecimal digits, which
/// nobody guesses.
pub const ADMIN_TOKEN_MIN: usize = 32;
/// Bytes of the token of the admin interface at the most.
pub const ADMIN_TOKEN_MAX: usize = 256;
/// Critical names at the most; each costs memory that is never evicted, and packets even when
/// nobody asks.
pub const CRITICAL_NAMES_MAX: usize = 64;
/// Types of one critical name at the most. Together with the number of names this bounds how many
/// queries are sent without any client.
pub const CRITICAL_TYPES_MAX: usize = 4;
/// Largest number of a type that is data (RFC 6895 §3.1); 128 to 255 are queries of another kind.
pub const DATA_TYPE_MAX: u16 = 65_279;
/// Hosts of one shared cache URL at the most.
pub const SHARED_CACHE_HOSTS_MAX: usize = 16;
/// Bytes of a shared cache group at the most.
pub const SHARED_CACHE_GROUP_MAX: usize = 64;
/// Bytes of a shared cache user at the most.
pub const SHARED_CACHE_USERNAME_MAX: usize = 256;
/// Bytes of a key of the shared cache at the least: as long as the output of HMAC-SHA-256 (RFC 2104
/// §3).
pub const SHARED_CACHE_KEY_MIN: usize = 32;
/// Bytes of a key or password of the shared cache at the most.
pub const SHARED_CACHE_SECRET_MAX: u64 = 4096;
/// Names in the index of those that a group asks for most often, at the most.
pub const SHARED_CACHE_NAMES_MAX: usize = 4096;
/// Problems that one message shows.
pub const PROBLEMS_SHOWN: usize = 5;
/// Bytes of the configuration file at the most.
pub const CONFIG_FILE_MAX: u64 = 1 << 20;
/// Bytes of `/etc/resolv.conf` at the most.
pub const RESOLV_CONF_MAX: u64 = 64 << 10;
/// Name servers taken from `/etc/resolv.conf`; glibc takes 3 (resolv.conf(5)), newer files name
/// more.
pub const RESOLV_CONF_NAMESERVERS_MAX: usize = 8;
/// Bytes of the hosts file at the most. The number of its names is bounded by `core::hosts`; lines
/// without a name cost nothing.
pub const HOSTS_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn lies_within<T: Quantity>(bound: &Bounded<T>) -> bool {
        !bound.default.is_outside(bound.bounds()) && !bound.min.is_outside(bound.bounds())
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
        let mut keys: Vec<_> = BOUNDS.iter().map(|bound| bound.full_name()).collect();
        assert!(BOUNDS.iter().all(|bound| bound.text().ends_with('.')));
        keys.sort_unstable();
        let before = keys.len();
        keys.dedup();
        assert_eq!(keys.len(), before);
    }

    #[test]
    fn the_texts_name_the_numbers_that_are_no_bounds() {
        let clamp = format!("clamped to {} to {} ms", ADAPTIVE_TIMER_MIN.as_millis(), ADAPTIVE_TIMER_MAX.as_millis());
        assert!(STALE_CLIENT_RESPONSE_TIMER.text().contains(&clamp));
        assert!(LISTEN_THREADS.text().contains(&format!("at most {AUTOMATIC_THREADS_MAX}.")));
    }
}
