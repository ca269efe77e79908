//! The fingerprint of an answer: one number that is equal for two answers with the same content.
//!
//! Three things are left out, because they change although the content stays the same: the header,
//! the TTLs (which caches count down) and the order of records (which name servers rotate). The
//! fingerprint only decides whether an answer is worth publishing to others. A difference without
//! meaning costs one packet, and two answers that really differ have the same fingerprint once in
//! 2⁶⁴ pairs.
//!
//! The fingerprint of the data alone says whether a name has moved: it leaves out the aliases as
//! well, and everything that is not of the type asked for.
//!
//! A fingerprint is neither stored nor sent: another version of holdover may compute another
//! number.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::entry::Entry;
use super::message::{Records, Section, read_u16};

/// Computes the fingerprint of an answer.
#[must_use]
pub fn fingerprint(entry: &Entry) -> u64 {
    let wire = entry.wire();
    let mut sum = hash(&(entry.kind as u8, entry.vouched, entry.authentic));
    let Ok(mut records) = Records::new(wire) else { return sum };
    while let Ok(Some(record)) = records.next_record() {
        // The owner name is left out: the aliases that lead to it are in the data already. A sum
        // does not depend on the order of the records.
        sum = sum.wrapping_add(hash(&(record.rtype, record.class, wire.get(record.data..record.end))));
    }
    sum
}

/// The fingerprint of the data of an answer: equal for two positive answers with the same records
/// of the type asked for, in whatever order, and whichever aliases lead to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataFingerprint(u64);

/// Computes the fingerprint of the data of an answer; that of an answer without data is always the
/// same.
#[must_use]
pub fn of_data(entry: &Entry) -> DataFingerprint {
    let (wire, question) = (entry.wire(), entry.question());
    let qtype = read_u16(question, question.len().saturating_sub(4));
    let mut sum = 0_u64;
    let Ok(mut records) = Records::new(wire) else { return DataFingerprint(sum) };
    while let Ok(Some(record)) = records.next_record() {
        if record.section == Section::Answer && Some(record.rtype) == qtype {
            sum = sum.wrapping_add(hash(&wire.get(record.data..record.end)));
        }
    }
    DataFingerprint(sum)
}

/// Hashes a value without random state, so that every process of this version gets the same number.
fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::classify::classify;
    use crate::core::key::{Dnssec, Key};
    use crate::core::testing::{Response, name, policy};
    use crate::core::time::Timestamp;

    fn of(response: Vec<u8>) -> u64 {
        let key = Key::new(&name("www.example.com"), 1, 1, Dnssec::default());
        fingerprint(
            &Entry::remember(&key, &response, classify(1, &response), &policy(), Timestamp::from_secs(1_000))
                .unwrap()
                .entry,
        )
    }

    #[test]
    fn the_fingerprint_depends_on_addresses_and_not_on_ttls() {
        let response = |ttl| Response::new("www.example.com", 1).a("www.example.com", ttl).bytes();
        assert_eq!(of(response(60)), of(response(7)));
        let mut other = response(60);
        let last = other.len() - 1;
        other[last] ^= 1;
        assert_ne!(of(response(60)), of(other));
        assert_ne!(
            of(response(60)),
            of(Response::new("www.example.com", 1).rcode(3).soa("example.com", 30, 30).bytes())
        );
    }

    #[test]
    fn the_fingerprint_of_the_data_depends_neither_on_order_nor_on_aliases() {
        let key = Key::new(&name("www.example.com"), 1, 1, Dnssec::default());
        let of_data = |owner: &str, hosts: &[u8]| {
            let response = Response::new("www.example.com", 1);
            let response = match owner {
                "www.example.com" => response,
                other => response.cname("www.example.com", other, 60),
            };
            let record = |response: Response, host: &u8| response.record(6, owner, 1, 60, &[192, 0, 2, *host]);
            let bytes = hosts.iter().fold(response, record).bytes();
            let verdict = classify(1, &bytes);
            super::of_data(
                &Entry::remember(&key, &bytes, verdict, &policy(), Timestamp::from_secs(1_000)).unwrap().entry,
            )
        };
        assert_eq!(of_data("www.example.com", &[1, 2, 3]), of_data("www.example.com", &[3, 1, 2]));
        assert_eq!(of_data("www.example.com", &[1, 2]), of_data("web.example.com", &[1, 2]));
        assert_ne!(of_data("www.example.com", &[1, 2]), of_data("www.example.com", &[1, 2, 3]));
        assert_ne!(of_data("www.example.com", &[1]), of_data("www.example.com", &[2]));
    }
}
