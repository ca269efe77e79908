//! The sockets of the listen addresses, each for UDP and TCP, which are opened before anything is
//! served on them.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::start_error::StartError;
use crate::adapters::tcp;
use crate::adapters::udp::Sockets;
use crate::config::settings::Listen;
use crate::core::network;
use crate::core::upstream::UpstreamPolicy;

/// How many ports are tried for a listen address with port 0.
const ANY_PORT_TRIES: u32 = 16;

/// A listen address that is open for UDP and TCP.
pub(super) struct OpenAddress {
    /// One UDP socket for each receiving thread.
    pub(super) udp: Sockets,
    pub(super) tcp: TcpListener,
    /// The address with its final port, which is never 0.
    pub(super) address: SocketAddr,
}

/// Opens all listen addresses, and gives those that this host does not have at present apart: a
/// bridge may come later, and IPv6 may be switched off. One address has to be there.
///
/// # Errors
/// [`StartError::Listen`] for the first address that cannot be had for another reason, or when none
/// is there.
pub(super) fn open(listen: &Listen) -> Result<(Vec<OpenAddress>, Vec<SocketAddr>), StartError> {
    let (mut open, mut missing, mut first) = (Vec::new(), Vec::new(), None);
    for address in &listen.addresses {
        match bind(*address, listen.threads) {
            Ok(bound) => open.push(bound),
            Err(error) if error.is_missing_address() => {
                missing.push(*address);
                first.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    match first {
        Some(error) if open.is_empty() => Err(error),
        Some(_) | None => Ok((open, missing)),
    }
}

/// Rejects upstreams that are holdover itself. Validation of the configuration does the same, but
/// only here the final ports are known.
///
/// # Errors
/// [`StartError::OwnAddress`] for the first such upstream.
pub(super) fn refuse_own(listening: &[SocketAddr], upstreams: &[UpstreamPolicy]) -> Result<(), StartError> {
    let mut addresses = upstreams.iter().flat_map(|upstream| &upstream.addresses);
    match addresses.find(|upstream| network::is_own(listening, **upstream)) {
        Some(own) => Err(StartError::OwnAddress(*own)),
        None => Ok(()),
    }
}

/// Opens one listen address. Port 0 stands for any port that is free for both protocols: a port
/// that the operating system gives for TCP may be in use for UDP, so several ports are tried.
///
/// # Errors
/// [`StartError::Listen`].
pub(super) fn bind(address: SocketAddr, threads: usize) -> Result<OpenAddress, StartError> {
    let mut left = if address.port() == 0 { ANY_PORT_TRIES } else { 1 };
    loop {
        left -= 1;
        match bind_once(address, threads) {
            Err(StartError::Listen { source, .. }) if left > 0 && source.kind() == io::ErrorKind::AddrInUse => {}
            bound => return bound,
        }
    }
}

fn bind_once(address: SocketAddr, threads: usize) -> Result<OpenAddress, StartError> {
    let fail = |protocol, source| StartError::Listen { address, protocol, source };
    // TCP comes first. Its port cannot be shared, so a second process fails here; over UDP it would
    // share the port and take half of the queries.
    let tcp = tcp::bind(address).map_err(|error| fail("TCP", error))?;
    let bound = tcp.local_addr().map_err(|error| fail("TCP", error))?;
    let udp = Sockets::bind(bound, threads).map_err(|error| fail("UDP", error))?;
    Ok(OpenAddress { udp, tcp, address: bound })
}
