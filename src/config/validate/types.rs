//! Reads what is neither a quantity nor a word: lists, addresses, types.

use std::net::{IpAddr, SocketAddr};

use crate::config::layer::{Given, Raw};
pub(super) use crate::core::key::read_name;

/// The text of a value.
pub(super) fn text(raw: &Raw) -> Option<&str> {
    match raw {
        Raw::Word(text) | Raw::Text(text) => Some(text),
        Raw::Integer(_) | Raw::Switch(_) | Raw::List(_) | Raw::Other(_) => None,
    }
}

/// The members of a list; a single value is a list of one, words are split at commas.
pub(super) fn items(given: &Given) -> Vec<Given> {
    match &given.raw {
        Raw::List(items) => items.iter().flat_map(items_of).collect(),
        Raw::Word(_) | Raw::Text(_) | Raw::Integer(_) | Raw::Switch(_) | Raw::Other(_) => items_of(given),
    }
}

/// One member, words split at commas.
fn items_of(given: &Given) -> Vec<Given> {
    match &given.raw {
        Raw::Word(words) => words
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty())
            .map(|word| Given { raw: Raw::Word(word.to_owned()), origin: given.origin.clone() })
            .collect(),
        Raw::Text(_) | Raw::Integer(_) | Raw::Switch(_) | Raw::List(_) | Raw::Other(_) => vec![given.clone()],
    }
}

/// Reads an address; without a port it gets this one.
#[must_use]
pub(in crate::config) fn read_address(text: &str, port: u16) -> Option<SocketAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    match (text.parse::<SocketAddr>(), bare.parse::<IpAddr>()) {
        (Ok(address), _) => Some(address),
        (Err(_), Ok(ip)) => Some(SocketAddr::new(ip, port)),
        (Err(_), Err(_)) => None,
    }
}

/// Types by their mnemonics (RFC 1035 §3.2.2, RFC 3596, RFC 2782, RFC 9460).
const TYPES: &[(&str, u16)] = &[
    ("A", 1),
    ("AAAA", 28),
    ("HTTPS", 65),
    ("SVCB", 64),
    ("SRV", 33),
    ("MX", 15),
    ("TXT", 16),
    ("PTR", 12),
    ("NS", 2),
];
/// Types up to this number are data; 128 to 255 ask for something else (RFC 6895 §3.1).
const TYPES_MAX: u16 = 65_279;

/// Reads a type of data: a mnemonic, or `TYPE` and its number (RFC 3597 §5).
#[must_use]
pub(super) fn read_type(text: &str) -> Option<u16> {
    let text = text.trim().to_ascii_uppercase();
    let named = TYPES.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
    named.or_else(|| {
        let number = text.strip_prefix("TYPE")?.parse().ok()?;
        (matches!(number, 1..=127 | 256..=TYPES_MAX) && number != crate::core::message::TYPE_OPT).then_some(number)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::limits;

    #[test]
    fn types_are_mnemonics_or_numbers_of_data() {
        assert_eq!(["A", "aaaa", " HTTPS", "TYPE64", "TYPE65279"].map(read_type), [1, 28, 65, 64, 65_279].map(Some));
        for text in ["", "ANY", "TYPE0", "TYPE41", "TYPE255", "TYPE252", "TYPE65280", "TYPE99999", "AA", "1"] {
            assert_eq!(read_type(text), None, "{text}");
        }
    }

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
