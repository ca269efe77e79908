//! DNS over UDP towards upstreams: one query as one datagram, from a socket of its own.
//!
//! Every exchange binds port 0: Linux then draws a free port at random from `ip_local_port_range`
//! (RFC 6056 §3.3.1, some 28 000 ports), respects `ip_local_reserved_ports`, and never takes a port
//! on which a neighbour in the same pod is about to listen, as drawing from 1024 to 65535 would.
//! Together with the ID, a forger has about 30 bits to guess (RFC 5452 §9.2).
//!
//! The socket is connected. The kernel then drops datagrams from any other address than the
//! upstream's, and reports ICMP errors to this socket: a closed port is known in a round trip
//! instead of after a timeout. A datagram that still arrives and does not belong to the query is
//! counted and ignored, up to a bound.
//!
//! There is no timeout here: a late response is still a response. A caller that no longer wants it
//! drops the future, which closes the socket. An exchange that waits holds a descriptor and no
//! buffer.

use std::cell::RefCell;
use std::io::Read;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;

use super::cause::cause;
use crate::core::matching::{Acceptance, accepts};
use crate::resolver::ports::TransportError;
use crate::telemetry::tally::{UpstreamCounters, UpstreamTraffic};

/// The longest response that is received, in bytes. We advertise 1232; responses of upstreams that
/// send more all the same are taken up to this size.
const RESPONSE_BYTES: usize = 4096;
/// Datagrams that one exchange ignores before it is given up. So many mean that somebody is
/// guessing, and each guess costs a wake-up.
const IGNORED_MAX: usize = 64;

/// Sends `query` once from a new port and waits for the response that belongs to it.
///
/// Cancel safe: dropping the future closes the socket.
///
/// # Errors
/// Those of [`cause`]; [`TransportError::Exhausted`] when no socket is free;
/// [`TransportError::Lost`] after [`IGNORED_MAX`] datagrams that did not belong to the query. There
/// is no [`TransportError::TimedOut`] unless the operating system says so.
pub(super) async fn exchange(
    sockets: Arc<Semaphore>,
    counters: Arc<UpstreamCounters>,
    upstream: SocketAddr,
    query: Vec<u8>,
) -> Result<Vec<u8>, TransportError> {
    let _permit = sockets.try_acquire_owned().map_err(|_full| TransportError::Exhausted)?;
    let socket = connect(upstream).await.map_err(|error| cause(&error))?;
    socket.send(&query).await.map_err(|error| cause(&error))?;
    counters.count(UpstreamTraffic::UdpQuery);
    for _ in 0..IGNORED_MAX {
        let response = receive(&socket).await.map_err(|error| cause(&error))?;
        match accepts(&query, &response) {
            Acceptance::Accepted => {
                counters.count(UpstreamTraffic::Response);
                return Ok(response);
            }
            Acceptance::NotOurs(mismatch) => counters.ignore(mismatch),
        }
    }
    Err(TransportError::Lost)
}

/// Opens a socket on a random port that exchanges datagrams with `upstream` only.
async fn connect(upstream: SocketAddr) -> std::io::Result<UdpSocket> {
    let any_port = match upstream {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any_port).await?;
    socket.connect(upstream).await?;
    Ok(socket)
}

thread_local! {
    /// The buffer into which this thread receives. A buffer made for each response and cut to its
    /// length would leave a hole in the heap beside every entry that is made of one: 10 000 names
    /// took 27 MiB instead of 12 (glibc, 2026-11-24).
    static SCRATCH: RefCell<[u8; RESPONSE_BYTES]> = const { RefCell::new([0; RESPONSE_BYTES]) };
}

/// Waits for a datagram, or for an ICMP error that the kernel reports.
async fn receive(socket: &UdpSocket) -> std::io::Result<Vec<u8>> {
    // Not `readable` and `try_recv` in a loop: they do not clear the readiness of an error that
    // another call has already taken from the socket, and the loop would spin.
    let receive = || {
        SCRATCH.with_borrow_mut(|scratch| {
            let length = (&*SockRef::from(socket)).read(scratch)?;
            Ok(scratch.get(..length).unwrap_or_default().to_vec())
        })
    };
    socket.async_io(Interest::READABLE | Interest::ERROR, receive).await
}
