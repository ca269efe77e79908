//! Receives and sends datagrams in batches: `recvmmsg(2)` and `sendmmsg(2)` over buffers that are
//! made once.
//!
//! `unsafe` code stands here and in `adapters::footprint` alone. The standard library has neither
//! call, and the safe wrappers known allocate for each batch or cannot send to a different address
//! per message. All pointers in the headers point into heap blocks that the batch owns and never
//! moves; they are set anew before every call from slices whose lengths they carry.
//!
//! On a wildcard socket each datagram's destination address is read (IP_PKTINFO, RFC 3542 §6) and
//! the answer leaves from it.
#![expect(unsafe_code, reason = "recvmmsg, sendmmsg and their headers exist only in C; see above")]
#![expect(
    clippy::cast_possible_truncation,
    reason = "the types of C's fields differ between targets; all values are small constants and counts"
)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::core::answer::UDP_MAX;

/// Datagrams in a batch: enough to spread the cost of a system call, few enough not to delay the
/// first.
pub(super) const BATCH: usize = 32;
/// The longest query that is read; longer ones are dropped.
const QUERY_MAX: usize = 2048;
/// Room for one control message with packet info.
const CONTROL: usize = 64;

/// Where a datagram came from, and the address to which it was sent.
#[derive(Clone, Copy)]
pub(super) struct Envelope {
    /// The client.
    pub(super) client: SocketAddr,
    /// Our own address, where the socket is bound to a wildcard; and the interface, for link-local
    /// addresses.
    pub(super) local: Option<(IpAddr, u32)>,
}

impl Envelope {
    /// Whether it came from this very host, to a socket that is bound to an address. Packets from
    /// loopback addresses do not come in from outside (RFC 1122 §3.2.1.3).
    pub(super) fn is_from_here(&self, bound: IpAddr) -> bool {
        let client = self.client.ip().to_canonical();
        client.is_loopback() || self.local.map_or(bound, |(local, _)| local).to_canonical() == client
    }
}

/// A block of control messages, aligned as the kernel wants it.
#[derive(Clone, Copy)]
#[repr(align(8))]
struct Control([u8; CONTROL]);

/// Buffers and headers for one direction.
struct Lane {
    /// Payloads, one after the other.
    payload: Box<[u8]>,
    /// Bytes of `payload` per datagram.
    stride: usize,
    /// Addresses.
    names: Box<[libc::sockaddr_storage; BATCH]>,
    /// Control messages.
    controls: Box<[Control; BATCH]>,
    /// Where payloads lie.
    vectors: Box<[libc::iovec; BATCH]>,
    /// Message headers.
    headers: Box<[libc::mmsghdr; BATCH]>,
}

/// A batch: what came in, and what goes out.
pub(super) struct Batch {
    /// In.
    inbox: Lane,
    /// Out.
    outbox: Lane,
    /// Answers queued in `outbox`.
    queued: usize,
}

// SAFETY: all raw pointers point into blocks that the lane itself owns, and are set anew before
// each use.
unsafe impl Send for Lane {}

impl Lane {
    /// A lane with room for `stride` bytes per datagram.
    fn new(stride: usize) -> Self {
        // SAFETY: these C structures are plain data for which all-zero bytes are valid.
        let (names, vectors, headers) = unsafe { (std::mem::zeroed(), std::mem::zeroed(), std::mem::zeroed()) };
        Self {
            payload: vec![0; stride * BATCH].into_boxed_slice(),
            stride,
            names: Box::new(names),
            controls: Box::new([Control([0; CONTROL]); BATCH]),
            vectors: Box::new(vectors),
            headers: Box::new(headers),
        }
    }

    /// Points one header at its buffers.
    fn aim(&mut self, index: usize, length: usize, name_length: libc::socklen_t, control_length: usize) {
        let Some(payload) = self.payload.get_mut(index * self.stride..(index + 1) * self.stride) else { return };
        let (Some(name), Some(control)) = (self.names.get_mut(index), self.controls.get_mut(index)) else { return };
        let (Some(vector), Some(header)) = (self.vectors.get_mut(index), self.headers.get_mut(index)) else { return };
        vector.iov_base = payload.as_mut_ptr().cast();
        vector.iov_len = length.min(payload.len());
        header.msg_len = 0;
        header.msg_hdr.msg_name = std::ptr::from_mut(name).cast();
        header.msg_hdr.msg_namelen = name_length;
        header.msg_hdr.msg_iov = vector;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_control =
            if control_length == 0 { std::ptr::null_mut() } else { control.0.as_mut_ptr().cast() };
        header.msg_hdr.msg_controllen = control_length.min(CONTROL) as _;
        header.msg_hdr.msg_flags = 0;
    }
}

impl Batch {
    /// Buffers for one thread.
    pub(super) fn new() -> Self {
        Self { inbox: Lane::new(QUERY_MAX), outbox: Lane::new(UDP_MAX), queued: 0 }
    }

    /// Waits for datagrams; gives how many came, up to [`BATCH`].
    ///
    /// # Errors
    /// Those of `recvmmsg`; `WouldBlock` when the socket's receive timeout ran out.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        for index in 0..BATCH {
            self.inbox.aim(
                index,
                QUERY_MAX,
                libc::socklen_t::try_from(size_of::<libc::sockaddr_storage>()).unwrap_or(0),
                CONTROL,
            );
        }
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

    /// A datagram, where it came from, and a buffer for its answer. `None` for one that was too
    /// long or has no usable address.
    pub(super) fn exchange(&mut self, index: usize) -> Option<(&[u8], Envelope, &mut [u8])> {
        let header = self.inbox.headers.get(index)?;
        if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
            return None;
        }
        let client = from_raw(self.inbox.names.get(index)?)?;
        if client.port() == 0 || client.ip().is_unspecified() {
            return None;
        }
        let local = destination(&header.msg_hdr);
        let start = index * self.inbox.stride;
        let length = usize::try_from(header.msg_len).ok()?;
        let packet = self.inbox.payload.get(start..start.checked_add(length)?)?;
        let start = self.queued * self.outbox.stride;
        let out = self.outbox.payload.get_mut(start..start + self.outbox.stride)?;
        Some((packet, Envelope { client, local }, out))
    }

    /// Queues the answer that was written into the buffer of the last [`Batch::exchange`].
    pub(super) fn queue(&mut self, envelope: &Envelope, length: usize) {
        let index = self.queued;
        let (Some(name), Some(control)) = (self.outbox.names.get_mut(index), self.outbox.controls.get_mut(index))
        else {
            return;
        };
        let name_length = to_raw(envelope.client, name);
        let control_length = envelope.local.map_or(0, |(local, interface)| write_source(local, interface, control));
        self.outbox.aim(index, length, name_length, control_length);
        self.queued += 1;
    }

    /// Sends what was queued; gives how many answers the kernel refused. One that is refused does
    /// not hold up the others.
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
    let mut control = Control([0; CONTROL]);
    let mut vector = libc::iovec { iov_base: answer.as_mut_ptr().cast(), iov_len: answer.len() };
    header.msg_namelen = to_raw(envelope.client, &mut name);
    header.msg_name = std::ptr::from_mut(&mut name).cast();
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    let control_length = envelope.local.map_or(0, |(local, interface)| write_source(local, interface, &mut control));
    if control_length > 0 {
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = control_length as _;
    }
    // SAFETY: the header points at local buffers of the lengths that it names.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_DONTWAIT) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Has the kernel say to which address each datagram was sent.
///
/// # Errors
/// Those of `setsockopt`.
pub(super) fn request_destination(socket: BorrowedFd<'_>, address: SocketAddr) -> io::Result<()> {
    let (level, name) = match address {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    };
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(0);
    // SAFETY: the option's value is an int that lives through the call.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const on).cast(), length) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Reads a socket address.
fn from_raw(raw: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(raw.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says which structure it is; sockaddr_storage is large and aligned
            // enough for both.
            let v4 = unsafe { &*std::ptr::from_ref(raw).cast::<libc::sockaddr_in>() };
            let address = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddrV4::new(address, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { &*std::ptr::from_ref(raw).cast::<libc::sockaddr_in6>() };
            let address = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(address, u16::from_be(v6.sin6_port), v6.sin6_flowinfo, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// Writes a socket address; gives its length.
fn to_raw(address: SocketAddr, raw: &mut libc::sockaddr_storage) -> libc::socklen_t {
    let length = match address {
        SocketAddr::V4(v4) => {
            // SAFETY: sockaddr_storage is large and aligned enough for a sockaddr_in.
            let out = unsafe { &mut *std::ptr::from_mut(raw).cast::<libc::sockaddr_in>() };
            out.sin_family = libc::AF_INET as _;
            out.sin_port = v4.port().to_be();
            out.sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(v6) => {
            // SAFETY: as above.
            let out = unsafe { &mut *std::ptr::from_mut(raw).cast::<libc::sockaddr_in6>() };
            out.sin6_family = libc::AF_INET6 as _;
            out.sin6_port = v6.port().to_be();
            out.sin6_flowinfo = v6.flowinfo();
            out.sin6_addr.s6_addr = v6.ip().octets();
            out.sin6_scope_id = v6.scope_id();
            size_of::<libc::sockaddr_in6>()
        }
    };
    libc::socklen_t::try_from(length).unwrap_or(0)
}

/// Reads the address to which a datagram was sent from its control messages.
fn destination(header: &libc::msghdr) -> Option<(IpAddr, u32)> {
    if header.msg_controllen == 0 {
        return None;
    }
    // SAFETY: msg_control points at a control block of this batch, of which the kernel filled
    // msg_controllen bytes; the CMSG functions stay within that length.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while !message.is_null() {
            match ((*message).cmsg_level, (*message).cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info = std::ptr::read_unaligned(libc::CMSG_DATA(message).cast::<libc::in_pktinfo>());
                    return Some((Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into(), 0));
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = std::ptr::read_unaligned(libc::CMSG_DATA(message).cast::<libc::in6_pktinfo>());
                    let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                    let interface = if address.is_unicast_link_local() { info.ipi6_ifindex } else { 0 };
                    return Some((address.into(), interface));
                }
                _ => {}
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    None
}

/// Writes the control message that makes an answer leave from `local`; gives its length.
fn write_source(local: IpAddr, interface: u32, control: &mut Control) -> usize {
    // SAFETY: plain data for which all-zero bytes are valid.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = CONTROL as _;
    // SAFETY: the control block has room for a header and the larger of the two structures (checked
    // below at compile time), and is aligned for a header.
    unsafe {
        let message = libc::CMSG_FIRSTHDR(&raw const header);
        match local {
            IpAddr::V4(local) => {
                let mut info: libc::in_pktinfo = std::mem::zeroed();
                info.ipi_spec_dst.s_addr = u32::from_ne_bytes(local.octets());
                (*message).cmsg_level = libc::IPPROTO_IP;
                (*message).cmsg_type = libc::IP_PKTINFO;
                (*message).cmsg_len = libc::CMSG_LEN(size_of::<libc::in_pktinfo>() as _) as _;
                std::ptr::write_unaligned(libc::CMSG_DATA(message).cast(), info);
                libc::CMSG_SPACE(size_of::<libc::in_pktinfo>() as _) as usize
            }
            IpAddr::V6(local) => {
                let mut info: libc::in6_pktinfo = std::mem::zeroed();
                info.ipi6_addr.s6_addr = local.octets();
                info.ipi6_ifindex = interface as _;
                (*message).cmsg_level = libc::IPPROTO_IPV6;
                (*message).cmsg_type = libc::IPV6_PKTINFO;
                (*message).cmsg_len = libc::CMSG_LEN(size_of::<libc::in6_pktinfo>() as _) as _;
                std::ptr::write_unaligned(libc::CMSG_DATA(message).cast(), info);
                libc::CMSG_SPACE(size_of::<libc::in6_pktinfo>() as _) as usize
            }
        }
    }
}

// SAFETY: CMSG_SPACE only computes a length.
const _: () = assert!(unsafe { libc::CMSG_SPACE(size_of::<libc::in6_pktinfo>() as _) } as usize <= CONTROL);

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
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
        let server = super::super::socket::bind("0.0.0.0:0".parse().expect("an address")).expect("a socket");
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
