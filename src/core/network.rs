//! Networks and addresses: which clients are answered, and which addresses lead back to holdover
//! itself.
//!
//! holdover must never be an open resolver by accident. When it listens on more than loopback and
//! the operator names no networks, only clients from [`PRIVATE`] networks are answered, and when it
//! listens on loopback alone, only those of [`LOOPBACK`].
//!
//! IPv4-mapped IPv6 addresses count everywhere as the IPv4 addresses that they stand for (RFC 4291
//! §2.5.5.2).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// Port of an address that names none (RFC 1035 §4.2); a `resolv.conf` knows no other.
pub const DNS_PORT: u16 = 53;

/// A network: an address prefix such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IpNetwork {
    /// The first address of the network; all bits behind the prefix are zero.
    first: IpAddr,
    /// The length of the prefix.
    bits: u32,
}

impl IpNetwork {
    /// Makes an IPv4 network with a prefix of `bits`. Bits of the address behind the prefix are
    /// cleared; more than 32 bits count as 32.
    #[must_use]
    pub const fn v4(address: Ipv4Addr, bits: u32) -> Self {
        let bits = if bits > 32 { 32 } else { bits };
        Self { first: IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask_v4(bits))), bits }
    }

    /// Makes an IPv6 network with a prefix of `bits`. Bits of the address behind the prefix are
    /// cleared; more than 128 bits count as 128.
    #[must_use]
    pub const fn v6(address: Ipv6Addr, bits: u32) -> Self {
        let bits = if bits > 128 { 128 } else { bits };
        Self { first: IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask_v6(bits))), bits }
    }

    /// Whether `address` lies in this network.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(asked)) => asked.to_bits() & mask_v4(self.bits) == first.to_bits(),
            (IpAddr::V6(first), IpAddr::V6(asked)) => asked.to_bits() & mask_v6(self.bits) == first.to_bits(),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

const fn mask_v4(bits: u32) -> u32 {
    match u32::MAX.checked_shl(32_u32.saturating_sub(bits)) {
        Some(mask) => mask,
        None => 0,
    }
}

const fn mask_v6(bits: u32) -> u128 {
    match u128::MAX.checked_shl(128_u32.saturating_sub(bits)) {
        Some(mask) => mask,
        None => 0,
    }
}

impl fmt::Display for IpNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

/// The error for a text that is not a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an address with an optional prefix length")]
pub struct NotANetwork;

impl FromStr for IpNetwork {
    type Err = NotANetwork;

    /// Reads a network such as `192.0.2.0/24` or `2001:db8::/32`, or one address, which is a
    /// network of itself.
    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) if !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                (address, Some(bits.parse::<u32>().map_err(|_| NotANetwork)?))
            }
            Some(_) => return Err(NotANetwork),
            None => (text, None),
        };
        match address.parse().map_err(|_| NotANetwork)? {
            IpAddr::V4(address) if bits.is_none_or(|bits| bits <= 32) => Ok(Self::v4(address, bits.unwrap_or(32))),
            IpAddr::V6(address) if bits.is_none_or(|bits| bits <= 128) => Ok(Self::v6(address, bits.unwrap_or(128))),
            IpAddr::V4(_) | IpAddr::V6(_) => Err(NotANetwork),
        }
    }
}

/// The networks of the host itself. Linux drops packets that come from elsewhere to 127.0.0.0/8,
/// but not with `route_localnet`, which kube-proxy sets (CVE-2020-8558).
pub const LOOPBACK: [IpNetwork; 2] = [
    IpNetwork::v4(Ipv4Addr::new(127, 0, 0, 0), 8), // RFC 1122 §3.2.1.3
    IpNetwork::v6(Ipv6Addr::LOCALHOST, 128),       // RFC 4291 §2.5.3
];

/// The networks from which nobody on the Internet can ask: loopback, private, shared and link-local
/// addresses.
pub const PRIVATE: [IpNetwork; 9] = [
    IpNetwork::v4(Ipv4Addr::new(127, 0, 0, 0), 8),         // RFC 1122 §3.2.1.3
    IpNetwork::v4(Ipv4Addr::new(10, 0, 0, 0), 8),          // RFC 1918
    IpNetwork::v4(Ipv4Addr::new(172, 16, 0, 0), 12),       // RFC 1918
    IpNetwork::v4(Ipv4Addr::new(192, 168, 0, 0), 16),      // RFC 1918
    IpNetwork::v4(Ipv4Addr::new(100, 64, 0, 0), 10),       // RFC 6598
    IpNetwork::v4(Ipv4Addr::new(169, 254, 0, 0), 16),      // RFC 3927
    IpNetwork::v6(Ipv6Addr::LOCALHOST, 128),               // RFC 4291 §2.5.3
    IpNetwork::v6(Ipv6Addr::from_bits(0xfc << 120), 7),    // RFC 4193
    IpNetwork::v6(Ipv6Addr::from_bits(0xfe80 << 112), 10), // RFC 4291 §2.5.6
];

/// Whether a client may ask: its address lies in one of `networks`, or `networks` is empty.
#[must_use]
pub fn admits(networks: &[IpNetwork], client: IpAddr) -> bool {
    networks.is_empty() || networks.iter().any(|network| network.contains(client))
}

/// Whether an address can be that of one host: it is neither unspecified, nor multicast, nor the
/// broadcast address.
#[must_use]
pub const fn is_one_host(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => !(v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast()),
        IpAddr::V6(v6) => !(v6.is_unspecified() || v6.is_multicast()),
    }
}

/// Whether a query to `target` would come back to one of our own `listeners`.
///
/// A listener on the unspecified address also receives what is sent to loopback; the other
/// addresses of the host are not known here. A packet to the unspecified address goes to loopback,
/// which is what `nameserver 0.0.0.0` in a `resolv.conf` means.
#[must_use]
pub fn is_own(listeners: &[SocketAddr], target: SocketAddr) -> bool {
    let asked = match target.ip().to_canonical() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        other => other,
    };
    listeners.iter().any(|listener| {
        let own = listener.ip().to_canonical();
        listener.port() == target.port()
            && (own == asked
                || match (own, asked) {
                    (IpAddr::V4(own), IpAddr::V4(asked)) => own.is_unspecified() && asked.is_loopback(),
                    // A listener on the unspecified IPv6 address receives IPv4 as well, unless the
                    // host is configured otherwise.
                    (IpAddr::V6(own), asked) => own.is_unspecified() && asked.is_loopback(),
                    (IpAddr::V4(_), IpAddr::V6(_)) => false,
                })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> IpNetwork {
        text.parse().unwrap()
    }

    fn own(listener: &str, target: &str) -> bool {
        is_own(&[listener.parse().unwrap()], target.parse().unwrap())
    }

    #[test]
    fn a_network_contains_its_range_and_nothing_else() {
        assert!(network("192.0.2.128/25").contains("192.0.2.255".parse().unwrap()));
        assert!(!network("192.0.2.128/25").contains("192.0.2.127".parse().unwrap()));
        assert!(network("2001:db8::/32").contains("2001:db8:ffff::1".parse().unwrap()));
        assert!(!network("2001:db8::/32").contains("2001:db9::1".parse().unwrap()));
    }

    #[test]
    fn a_prefix_of_zero_bits_contains_its_family() {
        assert!(network("0.0.0.0/0").contains("203.0.113.1".parse().unwrap()));
        assert!(network("::/0").contains("2001:db8::1".parse().unwrap()));
        assert!(!network("::/0").contains("203.0.113.1".parse().unwrap()));
    }

    #[test]
    fn a_mapped_address_counts_as_ipv4() {
        assert!(network("192.0.2.0/24").contains("::ffff:192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn other_texts_are_not_networks() {
        for text in
            ["", "/", "192.0.2.0/", "192.0.2.0/33", "192.0.2.0/+8", "2001:db8::/129", "example.com", "192.0.2.0/8/8"]
        {
            assert_eq!(text.parse::<IpNetwork>(), Err(NotANetwork), "{text}");
        }
    }

    #[test]
    fn networks_show_as_they_are_read() {
        assert_eq!(network("192.0.2.77/24").to_string(), "192.0.2.0/24");
        assert_eq!(network("2001:db8::1").to_string(), "2001:db8::1/128");
    }

    #[test]
    fn private_networks_admit_neighbours_and_nobody_from_the_internet() {
        for client in [
            "127.0.0.53",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.1.1",
            "100.127.0.1",
            "169.254.1.1",
            "::1",
            "fd00::1",
            "fe80::1",
        ] {
            assert!(admits(&PRIVATE, client.parse().unwrap()), "{client}");
        }
        for client in ["192.0.2.1", "172.32.0.1", "100.128.0.1", "2001:db8::1", "fec0::1"] {
            assert!(!admits(&PRIVATE, client.parse().unwrap()), "{client}");
        }
        assert!(admits(&[], "192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn an_address_that_leads_back_to_a_listener_is_recognised() {
        assert!(own("127.0.0.1:53", "127.0.0.1:53"));
        assert!(own("127.0.0.1:53", "[::ffff:127.0.0.1]:53"));
        assert!(own("0.0.0.0:53", "127.0.0.53:53"));
        assert!(own("[::]:53", "[::1]:53"));
        assert!(own("[::]:53", "127.0.0.1:53"));
        assert!(own("127.0.0.1:53", "0.0.0.0:53"));
        assert!(own("[::1]:53", "[::]:53"));
    }

    #[test]
    fn multicast_broadcast_and_unspecified_addresses_are_not_one_host() {
        for address in ["0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "ff02::1", "::ffff:0.0.0.0"] {
            assert!(!is_one_host(address.parse().unwrap()), "{address}");
        }
        for address in ["127.0.0.1", "192.0.2.1", "2001:db8::1", "fe80::1"] {
            assert!(is_one_host(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn an_address_of_another_host_or_port_is_not_our_own() {
        assert!(!own("127.0.0.1:53", "127.0.0.53:53"));
        assert!(!own("127.0.0.1:53", "127.0.0.1:5300"));
        assert!(!own("0.0.0.0:53", "192.0.2.1:53"));
        assert!(!own("0.0.0.0:53", "[::1]:53"));
        assert!(!own("127.0.0.2:53", "0.0.0.0:53"));
    }
}
