//! Opens the UDP sockets on which queries are received.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::envelope::request_destination;

/// How long a thread waits for a datagram before it looks whether it shall end.
const WAKE_EVERY: Duration = Duration::from_millis(500);
/// Bytes of the receive buffer: a burst of some 2 000 queries while the thread is not scheduled.
const RECEIVE_BUFFER: usize = 2 << 20;

/// Opens one socket; several may share an address (SO_REUSEPORT), and the kernel spreads clients
/// over them.
///
/// # Errors
/// Those of the socket calls.
pub(super) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_port(true)?;
    // Both wildcard addresses can then be listened on side by side, as over TCP.
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // The kernel grants as much as `net.core.rmem_max` allows; less is no reason not to serve.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    // A wildcard socket has to learn the destination of each datagram, so that the answer can leave
    // from there.
    if address.ip().is_unspecified() {
        request_destination(socket.as_fd(), address)?;
    }
    socket.bind(&address.into())?;
    socket.set_read_timeout(Some(WAKE_EVERY))?;
    Ok(socket.into())
}
