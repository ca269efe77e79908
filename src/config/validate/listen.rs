//! The validation of `[listen]`: the addresses on which clients are answered, and the clients that
//! are.

use std::net::{Ipv4Addr, SocketAddr};

use super::validator::Validator;
use crate::config::keys;
use crate::config::limits;
use crate::config::quantity::Threads;
use crate::config::settings::Listen;
use crate::core::network::{self, IpNetwork};

impl Validator<'_> {
    pub(super) fn listen(&mut self) -> Listen {
        let addresses = self.listen_addresses();
        let clients = self.clients(&addresses);
        Listen {
            threads: match self.bounded(&limits::LISTEN_THREADS) {
                Threads::Automatic => {
                    std::thread::available_parallelism().map_or(1, usize::from).min(limits::AUTOMATIC_THREADS_MAX)
                }
                Threads::Fixed(count) => count,
            },
            tcp_connections: self.bounded(&limits::LISTEN_TCP_CONNECTIONS),
            tcp_queries: self.bounded(&limits::LISTEN_TCP_QUERIES),
            tcp_idle: self.bounded(&limits::LISTEN_TCP_IDLE),
            addresses,
            clients,
        }
    }

    fn listen_addresses(&mut self) -> Vec<SocketAddr> {
        let Some(given) = self.given(keys::LISTEN_ADDRESSES) else {
            return vec![SocketAddr::from((Ipv4Addr::LOCALHOST, limits::DNS_PORT))];
        };
        let (at_most, port) = (limits::LISTEN_ADDRESSES_MAX, limits::DNS_PORT);
        let addresses = self.addresses(keys::LISTEN_ADDRESSES, given, at_most, port);
        // The unspecified address stands for all addresses of this host, so it is allowed here.
        let group = addresses.iter().find(|address| {
            let ip = address.ip();
            !ip.is_unspecified() && !network::is_one_host(ip)
        });
        if let Some(group) = group {
            let what = format!("names {group}, which is a multicast or broadcast address and not one of this host");
            self.complain(keys::LISTEN_ADDRESSES, given, &what);
        }
        addresses
    }

    /// The networks whose clients are answered. When the operator has named none, these are those
    /// of the host itself, and the private ranges where holdover can be reached from other hosts,
    /// so that nobody runs an open resolver by accident.
    fn clients(&mut self, addresses: &[SocketAddr]) -> Vec<IpNetwork> {
        let mut networks = Vec::new();
        if let Some(given) = self.given(keys::LISTEN_CLIENTS) {
            for item in given.items() {
                match item.raw.text().and_then(|text| text.trim().parse().ok()) {
                    Some(network) => networks.push(network),
                    None => self.complain(keys::LISTEN_CLIENTS, &item, "is not a network"),
                }
            }
            if networks.len() > limits::CLIENT_NETWORKS_MAX {
                self.complain(keys::LISTEN_CLIENTS, given, "names too many networks");
            }
        }
        if networks.is_empty() {
            let is_loopback = addresses.iter().all(|address| address.ip().is_loopback());
            networks.extend_from_slice(if is_loopback { &network::LOOPBACK } else { &network::PRIVATE });
        }
        networks
    }
}
