//! The types of data that a configuration may name, as mnemonics or numbers.

use crate::config::limits::DATA_TYPE_MAX;
use crate::core::message::TYPE_OPT;

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

/// Reads a type of data: a mnemonic, or `TYPE` and its number (RFC 3597 §5). Types that are not
/// data (OPT, and 128 to 255, RFC 6895 §3.1) are `None`.
#[must_use]
pub(super) fn read_type(text: &str) -> Option<u16> {
    let text = text.trim().to_ascii_uppercase();
    let named = TYPES.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
    named.or_else(|| {
        let number = text.strip_prefix("TYPE")?.parse().ok()?;
        (matches!(number, 1..=127 | 256..=DATA_TYPE_MAX) && number != TYPE_OPT).then_some(number)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys;

    #[test]
    fn types_are_mnemonics_or_numbers_of_data() {
        assert_eq!(["A", "aaaa", " HTTPS", "TYPE64", "TYPE65279"].map(read_type), [1, 28, 65, 64, 65_279].map(Some));
        for text in ["", "ANY", "TYPE0", "TYPE41", "TYPE255", "TYPE252", "TYPE65280", "TYPE99999", "AA", "1"] {
            assert_eq!(read_type(text), None, "{text}");
        }
    }

    #[test]
    fn every_mnemonic_is_named_where_the_key_says_what_it_takes() {
        let allowed = keys::find(keys::CRITICAL_TYPES).unwrap().allowed();
        assert!(TYPES.iter().all(|(name, _)| allowed.contains(&format!(" {name},"))), "{allowed}");
    }
}
