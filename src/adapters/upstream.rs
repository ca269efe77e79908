//! The way upstream over real sockets: one query to one address, and the response that belongs to
//! it.
//!
//! Datagrams and streams live in a module each; this one dispatches, holds their common bounds, and
//! translates what the operating system says into what the resolver wants to know:
//!
//! | the operating system says | the resolver hears |
//! |---|---|
//! | ECONNREFUSED | the port is closed |
//! | EHOSTUNREACH, ENETUNREACH and kin; EPERM, EACCES (a packet filter of our own host) | unreachable |
//! | EMFILE, ENFILE, ENOBUFS, ENOMEM, EADDRNOTAVAIL, EADDRINUSE, EAGAIN, EMSGSIZE | our own side is exhausted |
//! | ETIMEDOUT | timed out |
//! | anything else, end of stream | lost |
//!
//! Which upstream to ask, when to ask again, and when to give up is the resolver's business.

mod stream;
mod udp;

use std::io;
use std::sync::Arc;

use tokio::sync::Semaphore;

pub use self::stream::StreamLimits;
use self::stream::Streams;
use crate::resolver::ports::{Endpoint, PortFuture, Transport, TransportError, UpstreamTransport};
use crate::telemetry::tally::UpstreamCounters;

/// Sends queries to upstreams over UDP and TCP.
///
/// Its futures must be polled within a tokio runtime that drives I/O and time. Dropping it closes
/// all connections.
pub struct SocketTransport {
    /// Room for datagram sockets; one permit, one descriptor.
    sockets: Arc<Semaphore>,
    /// The kept connections.
    streams: Arc<Streams>,
    /// What happened so far.
    counters: Arc<UpstreamCounters>,
}

/// What [`SocketTransport`] may hold open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamLimits {
    /// Datagram sockets at the same moment; an exchange beyond them is [`TransportError::Exhausted`].
    pub sockets: usize,
    /// Connections, and how long they may take.
    pub streams: StreamLimits,
}

impl SocketTransport {
    /// Makes a wire without opening anything.
    #[must_use]
    pub fn new(limits: UpstreamLimits) -> Self {
        let counters = Arc::new(UpstreamCounters::default());
        Self {
            sockets: Arc::new(Semaphore::new(limits.sockets.min(Semaphore::MAX_PERMITS))),
            streams: Arc::new(Streams::new(limits.streams, Arc::clone(&counters))),
            counters,
        }
    }

    /// The counters, which go on counting.
    #[must_use]
    pub fn counters(&self) -> Arc<UpstreamCounters> {
        Arc::clone(&self.counters)
    }
}

impl UpstreamTransport for SocketTransport {
    fn exchange(&self, endpoint: &Endpoint, query: Vec<u8>) -> PortFuture<Result<Vec<u8>, TransportError>> {
        match endpoint.transport {
            Transport::Udp => {
                Box::pin(udp::exchange(Arc::clone(&self.sockets), Arc::clone(&self.counters), endpoint.address, query))
            }
            Transport::Tcp => Box::pin(Arc::clone(&self.streams).exchange(endpoint.clone(), query)),
        }
    }
}

/// What an error of the operating system means for the exchange; see the table above.
fn cause(error: &io::Error) -> TransportError {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => TransportError::Refused,
        Some(
            libc::EHOSTUNREACH
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::ENETDOWN
            | libc::EAFNOSUPPORT
            | libc::ENOPROTOOPT
            | libc::EPROTO
            | libc::EPERM
            | libc::EACCES,
        ) => TransportError::Unreachable,
        Some(
            libc::EMFILE
            | libc::ENFILE
            | libc::ENOBUFS
            | libc::ENOMEM
            | libc::EADDRNOTAVAIL
            | libc::EADDRINUSE
            | libc::EAGAIN
            | libc::EMSGSIZE,
        ) => TransportError::Exhausted,
        Some(libc::ETIMEDOUT) => TransportError::TimedOut,
        Some(_) => TransportError::Lost,
        None if error.kind() == io::ErrorKind::TimedOut => TransportError::TimedOut,
        None => TransportError::Lost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_operating_system_name_their_side() {
        let cases = [
            (libc::ECONNREFUSED, TransportError::Refused),
            (libc::ENETUNREACH, TransportError::Unreachable),
            (libc::EHOSTUNREACH, TransportError::Unreachable),
            (libc::EMFILE, TransportError::Exhausted),
            (libc::ENFILE, TransportError::Exhausted),
            (libc::EADDRNOTAVAIL, TransportError::Exhausted),
            (libc::ENOBUFS, TransportError::Exhausted),
            (libc::ETIMEDOUT, TransportError::TimedOut),
            (libc::ECONNRESET, TransportError::Lost),
        ];
        for (number, expected) in cases {
            assert_eq!(cause(&io::Error::from_raw_os_error(number)), expected, "errno {number}");
        }
        assert_eq!(cause(&io::Error::from(io::ErrorKind::TimedOut)), TransportError::TimedOut);
        assert_eq!(cause(&io::Error::from(io::ErrorKind::UnexpectedEof)), TransportError::Lost);
    }
}
