//! The reasons why a sidecar cannot start, each with the remedy of the operator.

use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::adapters::chance::NoEntropy;

/// Why a sidecar cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listen address cannot be opened.
    #[error("cannot listen on {address} ({protocol}): {}", advice(*address, source))]
    Listen {
        /// The address that cannot be opened.
        address: SocketAddr,
        /// The protocol, `UDP` or `TCP`.
        protocol: &'static str,
        /// The error of the operating system.
        source: io::Error,
    },
    /// An upstream is an address on which holdover listens.
    #[error(
        "upstream {0} is an address on which holdover itself listens: every query would go round in a circle; \
         name the resolver to which holdover is to forward"
    )]
    OwnAddress(SocketAddr),
    /// The operating system gave no random numbers, without which message IDs could be guessed.
    #[error(transparent)]
    Chance(#[from] NoEntropy),
    /// The operating system gave no thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
}

impl StartError {
    /// Whether this host does not have a listen address at present: no interface has it, or its
    /// address family is switched off.
    #[must_use]
    pub(super) fn is_missing_address(&self) -> bool {
        match self {
            Self::Listen { source, .. } => {
                source.kind() == io::ErrorKind::AddrNotAvailable
                    || source.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
            }
            Self::OwnAddress(_) | Self::Chance(_) | Self::Thread(_) => false,
        }
    }
}

/// Says what an operator can do about a listen address that cannot be opened.
fn advice(address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!(
            "permission denied. Ports below 1024 are reserved: give the process CAP_NET_BIND_SERVICE (systemd: \
             AmbientCapabilities=CAP_NET_BIND_SERVICE), or set the sysctl net.ipv4.ip_unprivileged_port_start={} in \
             its network namespace, or listen on another port (--listen {}:5353)",
            address.port(),
            before_port(address.ip())
        ),
        io::ErrorKind::AddrInUse => "the address is in use. Another process, most likely another resolver, listens \
                                     there: stop it, or listen on another address (--listen 127.0.0.2:53 works next \
                                     to most resolvers)"
            .to_owned(),
        io::ErrorKind::AddrNotAvailable => {
            "this host has no such address. Listen on an address that it has (--listen 127.0.0.1:53), or add this one \
             to a network interface first"
                .to_owned()
        }
        _ => error.to_string(),
    }
}

/// An address as it is written before a port: an IPv6 address in brackets.
fn before_port(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}
