//! The addresses of a datagram, and the C structures in which the kernel writes and reads them:
//! `sockaddr_storage` for the client, and a control message for our own address.
//!
//! On a wildcard socket each datagram's destination address is read (IP_PKTINFO, RFC 3542 §6), and
//! the answer leaves from it. Clients ignore answers that come from another address than the one
//! that they asked.
#![expect(unsafe_code, reason = "socket addresses and control messages are C structures behind untyped pointers")]
#![expect(
    clippy::cast_possible_truncation,
    reason = "the types of C's fields differ between targets; all values are small constants and counts"
)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Bytes for one control message with packet info; checked at compile time below.
pub(super) const CONTROL_BYTES: usize = 64;

/// Where a datagram came from, and to which of our addresses it was sent.
#[derive(Clone, Copy)]
pub(super) struct Envelope {
    pub(super) client: SocketAddr,
    /// The address to which the datagram was sent; only known where the socket is bound to a
    /// wildcard.
    pub(super) local: Option<LocalAddress>,
}

impl Envelope {
    /// Whether the datagram came from this very host, to a socket that is bound to the address
    /// `bound`. Packets from loopback addresses do not come in from outside (RFC 1122 §3.2.1.3).
    pub(super) fn is_from_here(&self, bound: IpAddr) -> bool {
        let client = self.client.ip().to_canonical();
        client.is_loopback() || self.local.map_or(bound, |local| local.address).to_canonical() == client
    }
}

/// One of our own addresses.
#[derive(Clone, Copy)]
pub(super) struct LocalAddress {
    address: IpAddr,
    /// The index of the interface for link-local addresses, which mean nothing without it; else 0,
    /// which lets the kernel choose the interface.
    interface: u32,
}

/// Room for one control message, aligned as the kernel wants it.
#[derive(Clone, Copy)]
#[repr(align(8))]
pub(super) struct Control([u8; CONTROL_BYTES]);

impl Control {
    pub(super) const fn new() -> Self {
        Self([0; CONTROL_BYTES])
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut libc::c_void {
        self.0.as_mut_ptr().cast()
    }

    /// Writes the control message that makes an answer leave from `local`; returns its length in
    /// bytes.
    pub(super) fn write_source(&mut self, local: LocalAddress) -> usize {
        // SAFETY: plain data for which all-zero bytes are valid.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_control = self.as_mut_ptr();
        header.msg_controllen = CONTROL_BYTES as _;
        // SAFETY: the control block has room for a header and the larger of the two structures
        // (checked below at compile time), and is aligned for a header.
        unsafe {
            let message = libc::CMSG_FIRSTHDR(&raw const header);
            match local.address {
                IpAddr::V4(address) => {
                    let mut info: libc::in_pktinfo = std::mem::zeroed();
                    info.ipi_spec_dst.s_addr = u32::from_ne_bytes(address.octets());
                    (*message).cmsg_level = libc::IPPROTO_IP;
                    (*message).cmsg_type = libc::IP_PKTINFO;
                    (*message).cmsg_len = libc::CMSG_LEN(size_of::<libc::in_pktinfo>() as _) as _;
                    std::ptr::write_unaligned(libc::CMSG_DATA(message).cast(), info);
                    libc::CMSG_SPACE(size_of::<libc::in_pktinfo>() as _) as usize
                }
                IpAddr::V6(address) => {
                    let mut info: libc::in6_pktinfo = std::mem::zeroed();
                    info.ipi6_addr.s6_addr = address.octets();
                    info.ipi6_ifindex = local.interface as _;
                    (*message).cmsg_level = libc::IPPROTO_IPV6;
                    (*message).cmsg_type = libc::IPV6_PKTINFO;
                    (*message).cmsg_len = libc::CMSG_LEN(size_of::<libc::in6_pktinfo>() as _) as _;
                    std::ptr::write_unaligned(libc::CMSG_DATA(message).cast(), info);
                    libc::CMSG_SPACE(size_of::<libc::in6_pktinfo>() as _) as usize
                }
            }
        }
    }
}

// SAFETY: CMSG_SPACE only computes a length.
const _: () = assert!(unsafe { libc::CMSG_SPACE(size_of::<libc::in6_pktinfo>() as _) } as usize <= CONTROL_BYTES);

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

/// Reads the address to which a datagram was sent from its control messages.
///
/// # Safety
/// `msg_control` of the header must point at as many initialised bytes as `msg_controllen` says.
pub(super) unsafe fn read_destination(header: &libc::msghdr) -> Option<LocalAddress> {
    if header.msg_controllen == 0 {
        return None;
    }
    // SAFETY: the caller vouches for the control block; the CMSG functions stay within its length.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while !message.is_null() {
            match ((*message).cmsg_level, (*message).cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info = std::ptr::read_unaligned(libc::CMSG_DATA(message).cast::<libc::in_pktinfo>());
                    let address = Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes());
                    return Some(LocalAddress { address: address.into(), interface: 0 });
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = std::ptr::read_unaligned(libc::CMSG_DATA(message).cast::<libc::in6_pktinfo>());
                    let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                    let interface = if address.is_unicast_link_local() { info.ipi6_ifindex } else { 0 };
                    return Some(LocalAddress { address: address.into(), interface });
                }
                _ => {}
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    None
}

/// Reads a socket address; `None` for one that is neither IPv4 nor IPv6.
pub(super) fn read_address(raw: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(raw.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says which structure it is; sockaddr_storage is large and aligned
            // enough for both.
            let v4 = unsafe { &*std::ptr::from_ref(raw).cast::<libc::sockaddr_in>() };
            let address = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddrV4::new(address, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as for IPv4.
            let v6 = unsafe { &*std::ptr::from_ref(raw).cast::<libc::sockaddr_in6>() };
            let address = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(address, u16::from_be(v6.sin6_port), v6.sin6_flowinfo, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// Writes a socket address; returns its length in bytes.
pub(super) fn write_address(address: SocketAddr, raw: &mut libc::sockaddr_storage) -> libc::socklen_t {
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
            // SAFETY: as for IPv4.
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
