//! Writes the query that goes upstream. Of the client's query it holds only the question; header
//! and OPT are our own.
//!
//! | part | content |
//! |---|---|
//! | RD | set, since holdover is a stub resolver |
//! | AD | set, which asks for the AD bit in the response (RFC 6840 §5.7) |
//! | CD, DO | as in the key |
//! | OPT | offers 1232 bytes and has no options |
//!
//! So no client subnet is added, and no cookie of a client is passed on: cookies are hop-by-hop.

use super::answer::UDP_MAX;
use super::key::Key;
use super::message;

/// Whether a query upstream carries an OPT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// The query carries an OPT, which is the rule.
    Edns,
    /// The query carries no OPT, for an upstream that does not understand EDNS (RFC 6891 §6.2.2).
    Plain,
}

/// Writes the query for the question of `key` with this message ID.
///
/// DO needs an OPT, so it is lost with [`Extension::Plain`].
#[must_use]
pub fn write(key: &Key, id: u16, extension: Extension) -> Vec<u8> {
    let dnssec = key.dnssec();
    let mut flags = message::FLAG_RECURSION_DESIRED | message::FLAG_AUTHENTIC;
    if dnssec.checking_disabled {
        flags |= message::FLAG_CHECKING_DISABLED;
    }
    let mut out = Vec::with_capacity(message::HEADER + key.as_bytes().len() + 11);
    let additional: u16 = match extension {
        Extension::Edns => 1,
        Extension::Plain => 0,
    };
    for field in [id, flags, 1, 0, 0, additional] {
        out.extend_from_slice(&field.to_be_bytes());
    }
    out.extend_from_slice(key.name());
    out.extend_from_slice(&key.qtype().to_be_bytes());
    out.extend_from_slice(&key.qclass().to_be_bytes());
    match extension {
        Extension::Plain => {}
        Extension::Edns => {
            let [high, low] = u16::try_from(UDP_MAX).unwrap_or(1232).to_be_bytes();
            let flags = if dnssec.dnssec_ok { 0x80 } else { 0 };
            out.extend_from_slice(&[0, 0, 41, high, low, 0, 0, flags, 0, 0, 0]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::key::Dnssec;
    use crate::core::testing::name;

    #[test]
    fn the_query_asks_for_what_the_key_says() {
        let key = Key::new(&name("www.example.com"), 65, 1, Dnssec { dnssec_ok: true, checking_disabled: true });
        let with = write(&key, 0xabcd, Extension::Edns);
        assert_eq!(with[..12], [0xab, 0xcd, 0x01, 0x30, 0, 1, 0, 0, 0, 0, 0, 1]);
        assert_eq!(with[29..], [0, 65, 0, 1, 0, 0, 41, 4, 0xd0, 0, 0, 0x80, 0, 0, 0]);
        let without = write(&key, 0xabcd, Extension::Plain);
        assert_eq!((without[11], without.len()), (0, with.len() - 11));
    }
}
