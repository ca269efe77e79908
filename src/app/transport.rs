//! The transport to the upstreams, with as many sockets as the limit on open files allows.

use super::descriptors;
use crate::adapters::upstream::{SocketTransport, StreamLimits, UpstreamLimits};
use crate::config::settings::Settings;

/// Descriptors for everything that is neither an attempt nor a client's connection: the listeners,
/// the log, connections to upstreams.
const DESCRIPTORS_RESERVED: usize = 64;

/// Makes the transport, and raises the limit on open files for its sockets. Each attempt to get a
/// response has a socket of its own; where the limit is too low for all attempts, fewer of them run
/// at the same time.
pub(super) fn open(settings: &Settings) -> SocketTransport {
    let attempts = usize::try_from(settings.policy.attempts.sends).unwrap_or(1);
    let wanted = settings.policy.in_flight.resolutions.saturating_mul(attempts);
    let others = settings.listen.tcp_connections + DESCRIPTORS_RESERVED;
    let granted = descriptors::raise(wanted + others);
    SocketTransport::new(UpstreamLimits {
        sockets: wanted.min(granted.saturating_sub(others)).max(1),
        streams: StreamLimits::DEFAULT,
    })
}
