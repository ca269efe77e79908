//! Turns the `nameserver` lines of a `resolv.conf` into socket addresses.
//!
//! [`crate::core::resolv_conf`] reads the lines, and leaves the scope of a link-local address
//! (`fe80::1%eth0`) as the word that it is. Only the host knows the number of the interface with
//! that name ([`interface`]).

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use crate::config::interface;
use crate::config::limits::DNS_PORT;
use crate::core::resolv_conf::{Nameserver, ResolvConf};

/// Reads the name servers of a `resolv.conf` in the order of its lines, each address once, with
/// port 53. Lines that are not understood are passed over, as by libc.
#[must_use]
pub fn nameservers(text: &str) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for address in ResolvConf::read(text).nameservers.iter().filter_map(address) {
        if !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

/// The address of a name server; `None` when it has a scope that is no interface of this host.
fn address(nameserver: &Nameserver) -> Option<SocketAddr> {
    match (&nameserver.scope, nameserver.ip) {
        (Some(scope), IpAddr::V6(ip)) => Some(SocketAddrV6::new(ip, DNS_PORT, 0, interface::number(scope)?).into()),
        (None, ip) | (Some(_), ip @ IpAddr::V4(_)) => Some(SocketAddr::new(ip, DNS_PORT)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        nameservers(text).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn name_servers_are_read_and_the_rest_is_passed_over() {
        let text = "# made by hand\nsearch example.com\nnameserver 192.0.2.1\n nameserver\t2001:db8::1 # second\n\
                    nameserver nonsense\nnameserver 192.0.2.1\noptions ndots:5\n";
        assert_eq!(texts(text), ["192.0.2.1:53", "[2001:db8::1]:53"]);
    }

    #[test]
    fn a_scope_is_kept() {
        assert_eq!(
            texts("nameserver fe80::1%7\nnameserver fe80::2%lo\nnameserver fe80::3%no/such"),
            ["[fe80::1%7]:53", "[fe80::2%1]:53"]
        );
    }

    #[test]
    fn no_text_panics() {
        for text in ["nameserver", "nameserver %", "nameserver ::%", "nameserver fe80::1%../..", "\0\0"] {
            assert!(texts(text).is_empty(), "{text}");
        }
    }
}
