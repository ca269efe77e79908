//! The validation of lists of addresses, which listeners and upstreams have in common, and of
//! spellings that are no address or that hardly anybody can mean.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::validator::Validator;
use crate::config::interface;
use crate::config::layer::GivenValue;

/// Groups at the end of an IPv6 address that are more likely a port.
const LIKE_PORTS: [&str; 4] = ["53", "853", "5300", "5353"];
/// The port of DNS over TLS (RFC 7858 §3.1).
const TLS_PORT: u16 = 853;
/// What is wrong with anything that is no address.
const NO_ADDRESS: &str =
    "is not an IP address with an optional port, such as 192.0.2.1, 192.0.2.1:5353 or [2001:db8::1]:53";

/// Reads an IP address with or without brackets; without a port it gets the given one. A link-local
/// address may name an interface of this host as its scope.
#[must_use]
pub(super) fn read_address(text: &str, port: u16) -> Option<SocketAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    match (text.parse::<SocketAddr>(), bare.parse::<IpAddr>()) {
        (Ok(address), _) => Some(address),
        (Err(_), Ok(ip)) => Some(SocketAddr::new(ip, port)),
        (Err(_), Err(_)) => {
            let scoped = ScopedAddress::read(text)?;
            let scope = interface::number(scoped.scope)?;
            Some(SocketAddrV6::new(scoped.ip, scoped.port.unwrap_or(port), 0, scope).into())
        }
    }
}

/// An address with a scope, such as `fe80::1%eth0` or `[fe80::1%eth0]:53`.
struct ScopedAddress<'a> {
    ip: Ipv6Addr,
    scope: &'a str,
    port: Option<u16>,
}

impl<'a> ScopedAddress<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let (address, port) = match text.strip_prefix('[') {
            None => (text, None),
            Some(rest) => match rest.split_once(']')? {
                (address, "") => (address, None),
                (address, port) => (address, Some(port.strip_prefix(':')?.parse().ok()?)),
            },
        };
        let (ip, scope) = address.split_once('%')?;
        Some(Self { ip: ip.parse().ok()?, scope, port })
    }
}

/// Says what is wrong with a text that is no address, and what to write.
fn complaint(text: &str) -> String {
    if let Some(scoped) = ScopedAddress::read(text) {
        return format!("names the interface \"{}\", which this host does not have", scoped.scope);
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        return match scheme {
            "udp" | "tcp" | "dns" => format!("has \"{scheme}://\" before the address: write \"{rest}\""),
            _ => format!("asks for {scheme}, which holdover does not speak: name a resolver over UDP or TCP"),
        };
    }
    // `192.0.2.1#53` of dnsmasq and BIND, `192.0.2.1@53` of Unbound.
    if let Some((ip, port)) = text.split_once(['#', '@'])
        && let (Ok(ip), Ok(port)) = (ip.parse::<IpAddr>(), port.parse::<u16>())
    {
        return format!("has its port in another program's spelling: write \"{}\"", SocketAddr::new(ip, port));
    }
    // More than eight groups: the last one is a port.
    if let Some((ip, port)) = text.rsplit_once(':')
        && let (Ok(ip), Ok(port)) = (ip.parse::<Ipv6Addr>(), port.parse::<u16>())
    {
        return format!("needs brackets around the address before a port: write \"[{ip}]:{port}\"");
    }
    NO_ADDRESS.to_owned()
}

/// Says why an address, though valid, is hardly what was meant; `None` for most.
fn doubt(text: &str, address: SocketAddr) -> Option<String> {
    let IpAddr::V6(ip) = address.ip() else { return None };
    // `2001:db8::1:53`, but not `2001:db8::53`, which is a usual address of a resolver.
    let split = text.trim().rsplit_once(':').filter(|(_, last)| LIKE_PORTS.contains(last));
    if let Some((head, port)) = split
        && let (false, Ok(meant)) = (head.ends_with(':') || head.ends_with(']'), head.parse::<Ipv6Addr>())
    {
        return Some(format!(
            "is the address {ip} as a whole, with the port {}: write \"[{meant}]:{port}\" if {port} is the port, or \
             \"[{ip}]\" to leave no doubt",
            address.port()
        ));
    }
    let is_scoped = matches!(address, SocketAddr::V6(v6) if v6.scope_id() != 0);
    (ip.is_unicast_link_local() && !is_scoped)
        .then(|| format!("is a link-local address without an interface: write it with one, as in \"{ip}%eth0\""))
}

impl Validator<'_> {
    /// The addresses in a list, which may hold 1 to `at_most` of them. Addresses without a port get
    /// `port`.
    pub(super) fn addresses(&mut self, key: &str, given: &GivenValue, at_most: usize, port: u16) -> Vec<SocketAddr> {
        let items = given.items();
        let (mut addresses, mut valid) = (Vec::new(), 0);
        for item in &items {
            let text = item.raw.text().unwrap_or_default();
            let Some(address) = item.raw.text().and_then(|text| read_address(text, port)) else {
                self.complain(key, item, &complaint(text.trim()));
                continue;
            };
            valid += 1;
            if let Some(doubt) = doubt(text, address) {
                self.remark(key, item, &doubt);
            }
            if address.port() == TLS_PORT {
                let what = "has the port of DNS over TLS, which holdover does not speak: it asks over UDP and TCP";
                self.remark(key, item, what);
            }
            if addresses.contains(&address) {
                self.remark(key, item, &format!("is {address} once more, which counts once and is no spare"));
            } else {
                addresses.push(address);
            }
        }
        // The number of addresses is only looked at when all of them could be read.
        if items.is_empty() {
            self.complain(key, given, "names no address");
        } else if valid == items.len() && addresses.len() > at_most {
            self.complain(key, given, "names too many addresses");
        }
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

    #[test]
    fn a_link_local_address_has_a_scope() {
        let read = |text| read_address(text, limits::DNS_PORT).map(|address| address.to_string());
        for text in ["fe80::1%lo", "[fe80::1%lo]", "[fe80::1%lo]:53", "fe80::1%1"] {
            assert_eq!(read(text).as_deref(), Some("[fe80::1%1]:53"), "{text}");
        }
        for text in ["fe80::1%none0", "fe80::1%../../x", "fe80::1%", "[fe80::1%lo]:", "[fe80::1%lo]x", "192.0.2.1%lo"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert!(complaint("fe80::1%none0").contains("\"none0\", which this host does not have"));
    }

    #[test]
    fn what_is_no_address_gets_the_one_that_was_meant() {
        for (text, meant) in [
            ("192.0.2.1#5353", "write \"192.0.2.1:5353\""),
            ("2001:db8::1@53", "write \"[2001:db8::1]:53\""),
            ("2001:db8:0:0:0:0:0:1:53", "write \"[2001:db8::1]:53\""),
            ("udp://192.0.2.1", "write \"192.0.2.1\""),
            ("tls://192.0.2.1", "asks for tls, which holdover does not speak"),
            ("https://dns.example.com/dns-query", "asks for https, which"),
            ("dns.example.com", "is not an IP address"),
        ] {
            assert!(complaint(text).contains(meant), "{text}: {}", complaint(text));
        }
    }

    #[test]
    fn a_port_without_brackets_is_doubted_and_usual_addresses_are_not() {
        let doubt = |text: &str| doubt(text, read_address(text, limits::DNS_PORT).unwrap());
        for text in ["2001:db8::1:53", "2001:db8::1:2:5353", "::1:53"] {
            assert!(doubt(text).is_some(), "{text}");
        }
        assert!(doubt("2001:db8::1:53").is_some_and(|doubt| doubt.contains("write \"[2001:db8::1]:53\"")));
        assert!(doubt("fe80::1").is_some_and(|doubt| doubt.contains("%eth0")));
        for text in
            ["2001:db8::53", "[2001:db8::1]:53", "[2001:db8::1:53]", "2001:db8::1", "192.0.2.1:53", "fe80::1%lo"]
        {
            assert_eq!(doubt(text), None, "{text}");
        }
    }
}
