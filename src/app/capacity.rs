//! What fits into the limits of the process: the limit on open files, and the memory limit of its
//! control group. Both are read once, at the start.
//!
//! Without this, whoever comes last gets nothing: a client's connection takes the descriptor that a
//! query to an upstream needs, or the kernel kills the process at the worst time. So what cannot
//! fit is made smaller, in this order, and each part is said once in the log and shown in the
//! status:
//!
//! | limit | made smaller, in this order | down to |
//! |---|---|---|
//! | open files | `listen.tcp_connections` | a quarter of what is to be had |
//! | | connections to upstreams | an eighth of it |
//! | | sockets to upstreams, one for each attempt | the rest, but at least half |
//! | | `budget.resolutions` | one for each of these sockets |
//! | memory | `cache.size` | what is left beside the process itself, at least 1 MiB |
//!
//! A name for which there is no room among the resolutions waits for its turn. The attempts of a
//! resolution after its first one may find no socket, and are then tried again a moment later.

use super::descriptors;
use crate::adapters::cgroup;
use crate::adapters::upstream::{StreamLimits, UpstreamLimits};
use crate::config::settings::Settings;
use crate::telemetry::events;
use crate::telemetry::reading::ShrunkReading;

/// Descriptors that are neither listeners nor sockets of attempts nor connections of clients or to
/// upstreams: the standard streams, the runtime, the log, the state file, files that are read.
const DESCRIPTORS_RESERVED: usize = 20;
/// Descriptors of the admin interface: its listener, and its connections at the most.
const DESCRIPTORS_OF_ADMIN: usize = 17;
/// The part of what is to be had that clients' connections may take where there is little.
const CLIENTS_PART: usize = 4;
/// The part that connections to upstreams may take then.
const STREAMS_PART: usize = 8;
/// Memory that is left to the process beside the cache: some 6 MiB for itself, 8 MiB that clients'
/// TCP connections may hold, and the rest for queries that wait.
const MEMORY_RESERVED: u64 = 16 << 20;
/// The smallest cache, which is the smallest that can be configured.
const CACHE_MIN: u64 = 1 << 20;

/// The settings as far as they fit, and the limits of the transport to the upstreams.
pub(super) struct FittedSettings {
    pub(super) settings: Settings,
    pub(super) upstream: UpstreamLimits,
    /// What was made smaller.
    pub(super) shrunk: Vec<ShrunkReading>,
}

/// What the process may have.
#[derive(Clone, Copy, Debug)]
struct ProcessLimits {
    /// Open files.
    descriptors: usize,
    /// Bytes of memory; `None` when there is no limit.
    memory: Option<u64>,
}

impl FittedSettings {
    /// Raises the limit on open files as far as is useful and allowed, reads both limits, and makes
    /// smaller what cannot fit.
    pub(super) fn find(settings: &Settings) -> Self {
        let wanted = Wanted::of(settings);
        let descriptors = descriptors::raise(wanted.all());
        let capacity = Self::within(settings, ProcessLimits { descriptors, memory: cgroup::memory_limit() });
        for shrunk in &capacity.shrunk {
            let ShrunkReading { what, configured, fits, limit } = shrunk;
            events::CapacityShrunk { what, configured: *configured, fits: *fits, limit }.emit();
        }
        capacity
    }

    fn within(settings: &Settings, limits: ProcessLimits) -> Self {
        let mut settings = settings.clone();
        let wanted = Wanted::of(&settings);
        let mut shrunk = Vec::new();
        let mut note = |what: &str, configured: usize, fits: usize, limit: &str| {
            if fits < configured {
                let [configured, fits] = [configured, fits].map(|value| u64::try_from(value).unwrap_or(u64::MAX));
                shrunk.push(ShrunkReading { what: what.to_owned(), configured, fits, limit: limit.to_owned() });
            }
        };
        // Descriptors, in the order of the table above.
        let files = format!("{} open files (RLIMIT_NOFILE): raise it", limits.descriptors);
        let to_be_had = limits.descriptors.saturating_sub(wanted.reserved);
        let is_enough = wanted.all() <= limits.descriptors;
        let at_most = |wanted: usize, part: usize| {
            if is_enough { wanted } else { wanted.min(to_be_had / part).max(1) }
        };
        let clients = at_most(wanted.clients, CLIENTS_PART);
        let streams = at_most(wanted.streams, STREAMS_PART);
        let sockets = wanted.sockets.min(to_be_had.saturating_sub(clients + streams)).max(1);
        let resolutions = settings.policy.in_flight.resolutions.min(sockets);
        note("listen.tcp_connections", wanted.clients, clients, &files);
        note("connections to upstreams", wanted.streams, streams, &files);
        note("sockets to upstreams", wanted.sockets, sockets, &files);
        note("budget.resolutions", settings.policy.in_flight.resolutions, resolutions, &files);
        settings.listen.tcp_connections = settings.listen.tcp_connections.min((clients / wanted.addresses).max(1));
        settings.policy.in_flight.resolutions = resolutions;
        // Memory.
        if let Some(memory) = limits.memory {
            let cache = &mut settings.policy.cache;
            let beside = u64::from(100 + cache.negative_percent);
            let fits = memory.saturating_sub(MEMORY_RESERVED) * 100 / beside;
            let fits = cache.bytes.min(fits.max(CACHE_MIN));
            if fits < cache.bytes {
                let limit = format!("{memory} bytes of memory (cgroup): raise it, or lower cache.size");
                shrunk.push(ShrunkReading { what: "cache.size".to_owned(), configured: cache.bytes, fits, limit });
                cache.bytes = fits;
            }
        }
        let streams = StreamLimits { connections: streams, ..StreamLimits::DEFAULT };
        Self { settings, upstream: UpstreamLimits { sockets, streams }, shrunk }
    }
}

/// The descriptors that the settings want.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    /// Listen addresses.
    addresses: usize,
    /// For what is not made smaller.
    reserved: usize,
    /// Connections of clients, to all addresses.
    clients: usize,
    /// Connections to upstreams.
    streams: usize,
    /// Sockets of attempts.
    sockets: usize,
}

impl Wanted {
    fn of(settings: &Settings) -> Self {
        let addresses = settings.listen.addresses.len().max(1);
        // A resolution asks every address at least once, and each attempt has a socket of its own.
        let upstreams: usize = settings.upstreams.iter().map(|upstream| upstream.addresses.len()).sum();
        let attempts = usize::try_from(settings.policy.attempts.sends).unwrap_or(1).max(upstreams);
        let admin = if settings.admin.is_some() { DESCRIPTORS_OF_ADMIN } else { 0 };
        Self {
            addresses,
            reserved: DESCRIPTORS_RESERVED + admin + addresses * (settings.listen.threads + 1),
            clients: settings.listen.tcp_connections.saturating_mul(addresses),
            streams: StreamLimits::DEFAULT.connections,
            sockets: settings.policy.in_flight.resolutions.saturating_mul(attempts),
        }
    }

    const fn all(self) -> usize {
        self.reserved + self.clients + self.streams + self.sockets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capacity(descriptors: usize, memory: Option<u64>) -> FittedSettings {
        FittedSettings::within(&Settings::standard(), ProcessLimits { descriptors, memory })
    }

    fn names(capacity: &FittedSettings) -> Vec<&str> {
        capacity.shrunk.iter().map(|shrunk| shrunk.what.as_str()).collect()
    }

    #[test]
    fn what_fits_stays_as_it_was_configured() {
        let whole = capacity(65_536, Some(32 << 20));
        assert_eq!(names(&whole), Vec::<&str>::new());
        assert_eq!(whole.settings, Settings::standard());
        assert_eq!(whole.upstream.streams, StreamLimits::DEFAULT);
    }

    #[test]
    fn sockets_to_upstreams_come_last_and_nothing_takes_theirs() {
        for descriptors in [64, 128, 256, 1024] {
            let small = capacity(descriptors, None);
            let wanted = Wanted::of(&small.settings);
            let sockets = small.upstream.sockets;
            let others = wanted.reserved + wanted.clients + small.upstream.streams.connections;
            assert!(sockets + others <= descriptors, "{descriptors}: {sockets} + {others}");
            assert!(sockets * 2 >= descriptors - wanted.reserved, "{descriptors}: {sockets}");
            assert!(small.settings.policy.in_flight.resolutions <= sockets, "each has a socket");
            assert!(names(&small).contains(&"sockets to upstreams"));
        }
        assert_eq!(
            names(&capacity(128, None)),
            ["listen.tcp_connections", "connections to upstreams", "sockets to upstreams", "budget.resolutions"]
        );
        assert_eq!(capacity(0, None).upstream.sockets, 1, "whatever the limit, something is tried");
    }

    #[test]
    fn the_cache_fits_into_the_memory_of_the_control_group() {
        let small = capacity(65_536, Some(22 << 20));
        assert_eq!(names(&small), ["cache.size"]);
        let bytes = small.settings.policy.cache.bytes;
        assert!(bytes < 5 << 20 && bytes > 4 << 20, "{bytes}");
        assert_eq!(capacity(65_536, Some(1 << 20)).settings.policy.cache.bytes, CACHE_MIN);
    }
}
