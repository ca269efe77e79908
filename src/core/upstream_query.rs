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
//! | QNAME | in lower case, or with the case of each letter at random ([`mix_case`]) |
//!
//! So no client subnet is added, and no cookie of a client is passed on: cookies are hop-by-hop.

use super::answer::UDP_MAX;
use super::key::Key;
use super::message::{self, Records};

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

/// Gives each letter of the name in a query the case that the next of the random `bits` says, from
/// the first letter on; after 64 letters the bits begin again.
///
/// A response then has to repeat them ([`super::matching`]).
pub fn mix_case(query: &mut [u8], mut bits: u64) {
    each_letter(query, message::HEADER, |letter| {
        if bits & 1 == 1 {
            letter.make_ascii_uppercase();
        }
        bits = bits.rotate_right(1);
    });
}

/// Takes the case of a query out of a response that repeats it: the question, and each record whose
/// owner begins as the name that was asked for, get lower case, as the name stands in the key.
///
/// The work is linear in the length of the response, since no compression pointer is followed. A
/// response whose question is in lower case is left as it is.
pub fn restore_case(response: &mut [u8]) {
    let Ok(end) = message::skip_plain_name(response, message::HEADER) else { return };
    let question = response.get(message::HEADER..end).unwrap_or_default();
    if !question.iter().any(u8::is_ascii_uppercase) {
        return;
    }
    let mut owners = vec![message::HEADER];
    if let Ok(mut records) = Records::new(response) {
        while let Ok(Some(record)) = records.next_record() {
            let own = labels(response, record.start);
            if !own.is_empty() && question.get(..own.len()).is_some_and(|same| same.eq_ignore_ascii_case(own)) {
                owners.push(record.start);
            }
        }
    }
    owners.into_iter().for_each(|owner| each_letter(response, owner, |letter| letter.make_ascii_lowercase()));
}

/// The labels of the name at this offset, up to its end or a compression pointer.
fn labels(message: &[u8], start: usize) -> &[u8] {
    let mut end = start;
    while let Some(&length @ 1..=63) = message.get(end) {
        end += 1 + usize::from(length);
    }
    message.get(start..end).unwrap_or_default()
}

/// Calls `change` for each letter of the name at this offset, up to its end or a compression
/// pointer.
fn each_letter(message: &mut [u8], mut at: usize, mut change: impl FnMut(&mut u8)) {
    while let Some(&length @ 1..=63) = message.get(at) {
        let end = at + 1 + usize::from(length);
        let Some(label) = message.get_mut(at + 1..end) else { return };
        label.iter_mut().filter(|byte| byte.is_ascii_alphabetic()).for_each(&mut change);
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::key::Dnssec;
    use crate::core::testing::{Response, name};

    #[test]
    fn the_query_asks_for_what_the_key_says() {
        let key = Key::new(&name("www.example.com"), 65, 1, Dnssec { dnssec_ok: true, checking_disabled: true });
        let with = write(&key, 0xabcd, Extension::Edns);
        assert_eq!(with[..12], [0xab, 0xcd, 0x01, 0x30, 0, 1, 0, 0, 0, 0, 0, 1]);
        assert_eq!(with[29..], [0, 65, 0, 1, 0, 0, 41, 4, 0xd0, 0, 0, 0x80, 0, 0, 0]);
        let without = write(&key, 0xabcd, Extension::Plain);
        assert_eq!((without[11], without.len()), (0, with.len() - 11));
    }

    #[test]
    fn each_letter_gets_the_case_of_its_bit_and_a_response_loses_it_again() {
        let mut query = crate::core::testing::query("a1b.example.com", 1);
        let before = query.clone();
        mix_case(&mut query, 0b101_0010);
        assert_eq!(query[12..29], *b"\x03a1B\x07exAmPle\x03com\x00"[..17].to_vec());
        assert_eq!((&query[..12], &query[29..]), (&before[..12], &before[29..]));
        let mut long = crate::core::testing::query(&format!("{}.test", "a".repeat(63)), 1);
        mix_case(&mut long, 1);
        assert_eq!((&long[13..15], &long[77..82]), (&b"Aa"[..], &b"tEst\x00"[..]), "after 64 letters");
        // Names that only end like the one that was asked for keep their case.
        let response = |owner: &str| Response::new(owner, 1).a(owner, 60).cname("Web.A1b.example.com", "X.test", 60);
        let mut mixed = response("a1B.exAmPle.com").bytes();
        restore_case(&mut mixed);
        assert_eq!(mixed, response("a1b.example.com").bytes());
    }

    #[test]
    fn names_that_end_nowhere_are_left() {
        for bytes in [&b""[..], &[0; 12], &[5; 14], &[0xc0; 20]] {
            let mut bytes = bytes.to_vec();
            mix_case(&mut bytes, u64::MAX);
            restore_case(&mut bytes);
        }
    }
}
