//! The validation of lists of addresses, which listeners and upstreams have in common.

use std::net::{IpAddr, SocketAddr};

use super::validator::Validator;
use crate::config::layer::GivenValue;

/// Reads an IP address with or without brackets; without a port it gets the given one.
#[must_use]
pub(super) fn read_address(text: &str, port: u16) -> Option<SocketAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    match (text.parse::<SocketAddr>(), bare.parse::<IpAddr>()) {
        (Ok(address), _) => Some(address),
        (Err(_), Ok(ip)) => Some(SocketAddr::new(ip, port)),
        (Err(_), Err(_)) => None,
    }
}

impl Validator<'_> {
    /// The addresses in a list, which may hold 1 to `at_most` of them. Addresses without a port get
    /// `port`.
    pub(super) fn addresses(&mut self, key: &str, given: &GivenValue, at_most: usize, port: u16) -> Vec<SocketAddr> {
        let items = given.items();
        let mut addresses = Vec::new();
        for item in &items {
            match item.raw.text().and_then(|text| read_address(text, port)) {
                Some(address) => addresses.push(address),
                None => self.complain(
                    key,
                    item,
                    "is not an IP address with an optional port, such as 192.0.2.1, 192.0.2.1:5353 or [2001:db8::1]:53",
                ),
            }
        }
        // The number of addresses is only looked at when all of them could be read.
        if items.is_empty() {
            self.complain(key, given, "names no address");
        } else if addresses.len() == items.len() && addresses.len() > at_most {
            self.complain(key, given, "names too many addresses");
        }
        addresses.dedup();
        addresses
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::limits;

    #[test]
    fn addresses_have_a_port_or_get_53() {
        let read_address = |text| read_address(text, limits::DNS_PORT);
        assert_eq!(read_address("192.0.2.1"), Some("192.0.2.1:53".parse().unwrap()));
        assert_eq!(read_address("2001:db8::1"), Some("[2001:db8::1]:53".parse().unwrap()));
        assert_eq!(read_address("[2001:db8::1]"), Some("[2001:db8::1]:53".parse().unwrap()));
        assert_eq!(read_address("[2001:db8::1]:5353"), Some("[2001:db8::1]:5353".parse().unwrap()));
        for text in ["", "localhost", "192.0.2.1:", "192.0.2.1:99999", "192.0.2"] {
            assert_eq!(read_address(text), None, "{text}");
        }
    }
}
