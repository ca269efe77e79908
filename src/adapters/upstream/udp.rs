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
//! counted and ignored. No number of them ends the exchange: giving up over wrong IDs would let
//! whoever sends them decide which names resolve (RFC 5452 §9.1). They cost a wake-up each and no
//! memory, and other work gets its turn among them.
//!
//! There is no timeout here: a late response is still a response. A caller that no longer wants it
//! drops the future, which closes the socket. An exchange that waits holds a descriptor and no
//! buffer: the one buffer of each thread is as large as any datagram, so that an answer of an
//! upstream that sends more than was asked for is whole (nobody else could say what is missing).

use std::cell::RefCell;
use std::io::Read;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;

use super::cause::cause;
use crate::core::matching::{Acceptance, Mismatch, accepts};
use crate::resolver::near_misses::MissWatch;
use crate::resolver::ports::TransportError;
use crate::telemetry::events;
use crate::telemetry::tally::{UpstreamCounters, UpstreamTraffic};

/// The longest response that is received, in bytes. We advertise 1232, but some upstreams send
/// whatever they have. No datagram is longer than this, so none is ever cut off unnoticed.
const RESPONSE_BYTES: usize = 65_535;
/// Datagrams that one exchange ignores in a row before other tasks of the runtime get their turn.
/// Checking one takes about a microsecond, so nobody waits longer than a few dozen microseconds.
const IGNORED_AT_ONCE: usize = 32;

/// Sends `query` once from a new port and waits for the response that belongs to it. `watch` takes
/// the near misses meanwhile.
///
/// Cancel safe: dropping the future closes the socket.
///
/// # Errors
/// Those of [`cause`], and [`TransportError::Exhausted`] when no socket is free. There is no
/// [`TransportError::TimedOut`] unless the operating system says so.
pub(super) async fn exchange(
    sockets: Arc<Semaphore>,
    counters: Arc<UpstreamCounters>,
    upstream: SocketAddr,
    query: Vec<u8>,
    watch: Option<MissWatch>,
) -> Result<Vec<u8>, TransportError> {
    let _permit = sockets.try_acquire_owned().map_err(|_full| TransportError::Exhausted)?;
    let socket = connect(upstream).await.map_err(|error| {
        let cause = cause(&error);
        if cause == TransportError::Exhausted && counters.lack() {
            events::SocketsLacking { reason: &error.to_string() }.emit();
        }
        cause
    })?;
    socket.send(&query).await.map_err(|error| cause(&error))?;
    counters.count(UpstreamTraffic::UdpQuery);
    loop {
        for _ in 0..IGNORED_AT_ONCE {
            match receive(&socket, &query).await.map_err(|error| cause(&error))? {
                Ok(response) => {
                    counters.count(UpstreamTraffic::Response);
                    return Ok(response);
                }
                Err(mismatch) => {
                    counters.ignore(mismatch);
                    if let (Some(watch), Some(miss)) = (&watch, mismatch.near_miss()) {
                        watch.note(miss);
                    }
                }
            }
        }
        tokio::task::yield_now().await;
    }
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
    ///
    /// It is made when a thread first receives, so that threads which never do have none, and its
    /// pages take memory only up to the longest response that came.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Waits for a datagram, or for an ICMP error that the kernel reports. Only a response that belongs
/// to `query` is taken out of the buffer.
async fn receive(socket: &UdpSocket, query: &[u8]) -> std::io::Result<Result<Vec<u8>, Mismatch>> {
    // Not `readable` and `try_recv` in a loop: they do not clear the readiness of an error that
    // another call has already taken from the socket, and the loop would spin.
    let receive = || {
        SCRATCH.with_borrow_mut(|scratch| {
            if scratch.is_empty() {
                *scratch = vec![0; RESPONSE_BYTES];
            }
            let length = (&*SockRef::from(socket)).read(scratch)?;
            let response = scratch.get(..length).unwrap_or_default();
            Ok(match accepts(query, response) {
                Acceptance::Accepted => Ok(response.to_vec()),
                Acceptance::NotOurs(mismatch) => Err(mismatch),
            })
        })
    };
    socket.async_io(Interest::READABLE | Interest::ERROR, receive).await
}
