//! Receives and sends datagrams in batches: `recvmmsg(2)` and `sendmmsg(2)` over buffers that are
//! made once.
//!
//! The standard library has neither call, and the safe wrappers known allocate for each batch or
//! cannot send to a different address per message. Hence the `unsafe` code here and in
//! `udp/envelope.rs`. All pointers in the headers point into heap blocks that the batch owns and
//! never moves; they are set anew before every call, from slices whose lengths they carry.
#![expect(unsafe_code, reason = "recvmmsg, sendmmsg and their headers exist only in C; see above")]
#![expect(
    clippy::cast_possible_truncation,
    reason = "the types of C's fields differ between targets; all values are small constants and counts"
)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::envelope::{CONTROL_BYTES, Control, Envelope, read_address, read_destination, write_address};
use crate::core::answer::UDP_MAX;

/// Datagrams in a batch: enough to spread the cost of a system call, few enough not to delay the
/// first.
const BATCH: usize = 32;
/// The longest query that is read, in bytes; longer ones are dropped.
const QUERY_MAX: usize = 2048;

/// Buffers and headers for the datagrams of one direction.
struct Lane {
    /// The contents of all datagrams, one after the other, `stride` bytes for each.
    payload: Box<[u8]>,
    stride: usize,
    /// The addresses of the clients.
    names: Box<[libc::sockaddr_storage; BATCH]>,
    controls: Box<[Control; BATCH]>,
    /// Where the content of each datagram lies.
    vectors: Box<[libc::iovec; BATCH]>,
    headers: Box<[libc::mmsghdr; BATCH]>,
}

/// The lengths that one message header carries, in bytes.
#[derive(Clone, Copy)]
struct Lengths {
    payload: usize,
    name: libc::socklen_t,
    /// 0 where there is no control message.
    control: usize,
}

/// The datagrams that came in together, and the answers that go out together.
pub(super) struct Batch {
    inbox: Lane,
    outbox: Lane,
    /// Answers in `outbox` that have not been sent.
    queued: usize,
}

// SAFETY: all raw pointers point into blocks that the lane itself owns, and are set anew before
// each use.
unsafe impl Send for Lane {}

impl Lane {
    /// Buffers of `stride` bytes for each datagram.
    fn new(stride: usize) -> Self {
        // SAFETY: these C structures are plain data for which all-zero bytes are valid.
        let (names, vectors, headers) = unsafe { (std::mem::zeroed(), std::mem::zeroed(), std::mem::zeroed()) };
        Self {
            payload: vec![0; stride * BATCH].into_boxed_slice(),
            stride,
            names: Box::new(names),
            controls: Box::new([Control::new(); BATCH]),
            vectors: Box::new(vectors),
            headers: Box::new(headers),
        }
    }

    /// Points one header at its buffers.
    fn aim(&mut self, index: usize, lengths: Lengths) {
        let Some(payload) = self.payload.get_mut(index * self.stride..(index + 1) * self.stride) else { return };
        let (Some(name), Some(control)) = (self.names.get_mut(index), self.controls.get_mut(index)) else { return };
        let (Some(vector), Some(header)) = (self.vectors.get_mut(index), self.headers.get_mut(index)) else { return };
        vector.iov_base = payload.as_mut_ptr().cast();
        vector.iov_len = lengths.payload.min(payload.len());
        header.msg_len = 0;
        header.msg_hdr.msg_name = std::ptr::from_mut(name).cast();
        header.msg_hdr.msg_namelen = lengths.name;
        header.msg_hdr.msg_iov = vector;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_control = if lengths.control == 0 { std::ptr::null_mut() } else { control.as_mut_ptr() };
        header.msg_hdr.msg_controllen = lengths.control.min(CONTROL_BYTES) as _;
        header.msg_hdr.msg_flags = 0;
    }
}

impl Batch {
    /// The buffers of one receiving thread.
    pub(super) fn new() -> Self {
        Self { inbox: Lane::new(QUERY_MAX), outbox: Lane::new(UDP_MAX), queued: 0 }
    }

    /// Waits for the first datagram and takes those with it that have come by then; returns how
    /// many they are, at most 32.
    ///
    /// # Errors
    /// Those of `recvmmsg`; `WouldBlock` when the socket's receive timeout ran out.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        // The kernel has overwritten the lengths of the batch before, so all headers are aimed
        // anew.
        let name = libc::socklen_t::try_from(size_of::<libc::sockaddr_storage>()).unwrap_or(0);
        for index in 0..BATCH {
            self.inbox.aim(index, Lengths { payload: QUERY_MAX, name, control: CONTROL_BYTES });
        }
        // Only the first datagram is waited for: a lone query must not wait for 31 others.
        let flags = libc::MSG_WAITFORONE;
        // SAFETY: BATCH headers, each aimed just now at buffers of the lengths that it names.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.inbox.headers.as_mut_ptr(),
                BATCH as _,
                flags as _,
                std::ptr::null_mut(),
            )
        };
        usize::try_from(received).map_err(|_| io::Error::last_os_error())
    }

    /// The datagram at this place of the batch, its envelope, and a buffer for its answer. `None`
    /// for a datagram that was too long, or whose client cannot be answered.
    pub(super) fn exchange(&mut self, index: usize) -> Option<(&[u8], Envelope, &mut [u8])> {
        let header = self.inbox.headers.get(index)?;
        if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
            return None;
        }
        let client = read_address(self.inbox.names.get(index)?)?;
        if client.port() == 0 || client.ip().is_unspecified() {
            return None;
        }
        // SAFETY: msg_control points at a control block of this batch, of which the kernel filled
        // msg_controllen bytes.
        let local = unsafe { read_destination(&header.msg_hdr) };
        let start = index * self.inbox.stride;
        let length = usize::try_from(header.msg_len).ok()?;
        let packet = self.inbox.payload.get(start..start.checked_add(length)?)?;
        let start = self.queued * self.outbox.stride;
        let out = self.outbox.payload.get_mut(start..start + self.outbox.stride)?;
        Some((packet, Envelope { client, local }, out))
    }

    /// Queues the answer, `length` bytes, that was written into the buffer of the last
    /// [`Batch::exchange`].
    pub(super) fn queue(&mut self, envelope: &Envelope, length: usize) {
        let index = self.queued;
        let (Some(name), Some(control)) = (self.outbox.names.get_mut(index), self.outbox.controls.get_mut(index))
        else {
            return;
        };
        let name = write_address(envelope.client, name);
        let control = envelope.local.map_or(0, |local| control.write_source(local));
        self.outbox.aim(index, Lengths { payload: length, name, control });
        self.queued += 1;
    }

    /// Sends the queued answers; returns how many of them the kernel refused. An answer that is
    /// refused does not hold up the others.
    pub(super) fn send(&mut self, socket: BorrowedFd<'_>) -> usize {
        let (mut sent, mut refused) = (0, 0);
        while let Some(rest) = self.outbox.headers.get_mut(sent..self.queued).filter(|rest| !rest.is_empty()) {
            // SAFETY: the headers in `rest` were aimed at buffers of this batch when they were
            // queued.
            let count = unsafe { libc::sendmmsg(socket.as_raw_fd(), rest.as_mut_ptr(), rest.len() as _, 0) };
            match usize::try_from(count) {
                Ok(count) if count > 0 => sent += count,
                Ok(_) => break,
                Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                // sendmmsg fails only when the first message of those it was given fails, so that
                // one is left out and the rest is tried again.
                Err(_) => {
                    sent += 1;
                    refused += 1;
                }
            }
        }
        self.queued = 0;
        refused
    }
}

/// Sends one answer without waiting for room in the socket's buffer.
///
/// # Errors
/// Those of `sendmsg`.
pub(super) fn send_one(socket: BorrowedFd<'_>, envelope: &Envelope, answer: &mut [u8]) -> io::Result<()> {
    // SAFETY: plain data for which all-zero bytes are valid.
    let (mut name, mut header): (libc::sockaddr_storage, libc::msghdr) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    let mut control = Control::new();
    let mut vector = libc::iovec { iov_base: answer.as_mut_ptr().cast(), iov_len: answer.len() };
    header.msg_namelen = write_address(envelope.client, &mut name);
    header.msg_name = std::ptr::from_mut(&mut name).cast();
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    let control_length = envelope.local.map_or(0, |local| control.write_source(local));
    if control_length > 0 {
        header.msg_control = control.as_mut_ptr();
        header.msg_controllen = control_length as _;
    }
    // SAFETY: the header points at local buffers of the lengths that it names.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_DONTWAIT) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{SocketAddr, UdpSocket};
    use std::os::fd::AsFd;
    use std::time::Duration;

    /// Sends three datagrams to `server` and has them echoed by a batch; gives what came back and
    /// from where.
    fn echo(server: &UdpSocket, to: SocketAddr) -> Vec<(Vec<u8>, SocketAddr)> {
        let client = UdpSocket::bind(if to.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" }).expect("a socket");
        client.set_read_timeout(Some(Duration::from_secs(2))).expect("a timeout");
        for text in [b"one".as_slice(), b"two", b"three"] {
            client.send_to(text, to).expect("sent");
        }
        let mut batch = Batch::new();
        let mut left = 3;
        while left > 0 {
            let received = batch.receive(server.as_fd()).expect("datagrams");
            for index in 0..received {
                let (packet, envelope, out) = batch.exchange(index).expect("a datagram");
                let length = packet.len();
                out[..length].copy_from_slice(packet);
                batch.queue(&envelope, length);
            }
            assert_eq!(batch.send(server.as_fd()), 0);
            left -= received;
        }
        let mut buffer = [0; 64];
        (0..3)
            .map(|_| {
                let (length, from) = client.recv_from(&mut buffer).expect("an echo");
                (buffer[..length].to_vec(), from)
            })
            .collect()
    }

    #[test]
    fn datagrams_go_in_and_out_in_batches() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let server = UdpSocket::bind(address).expect("a socket");
            let own = server.local_addr().expect("an address");
            let echoes = echo(&server, own);
            assert_eq!(
                echoes.iter().map(|(text, _)| text.as_slice()).collect::<Vec<_>>(),
                [b"one".as_slice(), b"two", b"three"]
            );
            assert!(echoes.iter().all(|(_, from)| *from == own));
        }
    }

    #[test]
    fn an_answer_from_a_wildcard_socket_leaves_from_the_address_that_was_asked() {
        let server = crate::adapters::udp::socket::bind("0.0.0.0:0".parse().expect("an address")).expect("a socket");
        let port = server.local_addr().expect("an address").port();
        let asked = SocketAddr::from(([127, 0, 0, 77], port));
        let echoes = echo(&server, asked);
        assert!(echoes.iter().all(|(_, from)| *from == asked), "{echoes:?}");
    }

    #[test]
    fn a_query_longer_than_the_buffer_is_dropped() {
        let server = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        client.send_to(&[0; 3000], server.local_addr().expect("an address")).expect("sent");
        let mut batch = Batch::new();
        assert_eq!(batch.receive(server.as_fd()).expect("a datagram"), 1);
        assert!(batch.exchange(0).is_none());
    }
}
