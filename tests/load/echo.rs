//! Measures the lowest possible cost of a UDP answer: sends every query back as its own response.
//!
//! Batches, threads and socket options are those of holdover's front, so that the difference
//! between the two is what holdover itself costs: reading, looking up, deciding, writing. Run by
//! `tests/load/compare`: `echo 127.0.0.1:5300`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods
)]
#![allow(unsafe_code, reason = "recvmmsg and sendmmsg exist only in C")]

use std::mem::zeroed;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use holdover::config::settings::Settings;
use socket2::{Domain, Protocol, Socket, Type};

/// Datagrams in a batch, as in holdover.
const BATCH: usize = 32;
/// The longest query, as in holdover.
const QUERY_MAX: usize = 2048;
/// Bytes of the receive buffer, as in holdover.
const RECEIVE_BUFFER: usize = 2 << 20;

fn main() {
    let address: SocketAddr = std::env::args().nth(1).expect("echo ADDRESS:PORT").parse().expect("an address and port");
    let threads: Vec<_> = (0..Settings::standard().listen.threads)
        .map(|_| bind(address))
        .map(|socket| std::thread::Builder::new().stack_size(256 << 10).spawn(move || serve(&socket)).unwrap())
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Opens one of several sockets with the same address.
fn bind(address: SocketAddr) -> UdpSocket {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP)).unwrap();
    socket.set_reuse_port(true).unwrap();
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    socket.bind(&address.into()).expect("a free port");
    socket.into()
}

/// Sends every packet back, until the process ends.
fn serve(socket: &UdpSocket) {
    let mut payload = vec![[0_u8; QUERY_MAX]; BATCH];
    // SAFETY: plain C data for which all-zero bytes are valid.
    let mut names: Vec<libc::sockaddr_storage> = vec![unsafe { zeroed() }; BATCH];
    // SAFETY: as above.
    let mut vectors: Vec<libc::iovec> = vec![unsafe { zeroed() }; BATCH];
    // SAFETY: as above.
    let mut headers: Vec<libc::mmsghdr> = vec![unsafe { zeroed() }; BATCH];
    for index in 0..BATCH {
        vectors[index].iov_base = payload[index].as_mut_ptr().cast();
        headers[index].msg_hdr.msg_iov = &raw mut vectors[index];
        headers[index].msg_hdr.msg_iovlen = 1;
        headers[index].msg_hdr.msg_name = (&raw mut names[index]).cast();
    }
    loop {
        for index in 0..BATCH {
            vectors[index].iov_len = QUERY_MAX;
            headers[index].msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        }
        let flags = libc::MSG_WAITFORONE;
        // SAFETY: every header points at buffers of the lengths that it names; none of them is
        // moved.
        let received = unsafe {
            libc::recvmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), BATCH as _, flags as _, std::ptr::null_mut())
        };
        let Ok(received) = usize::try_from(received) else { continue };
        for index in 0..received {
            vectors[index].iov_len = headers[index].msg_len as usize;
            // QR: the query becomes a response.
            payload[index][2] |= 0x80;
        }
        let mut sent = 0;
        while sent < received {
            // SAFETY: as above; the lengths are those received.
            let count = unsafe {
                libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr().add(sent), (received - sent) as _, 0)
            };
            sent += usize::try_from(count).unwrap_or(1).max(1);
        }
    }
}
