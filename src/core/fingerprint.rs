//! The fingerprint of an answer: one number that is equal for two answers with the same content.
//!
//! Three things are left out, because they change although the content stays the same: the header,
//! the TTLs (which caches count down) and the order of records (which name servers rotate). The
//! fingerprint only decides whether an answer is worth publishing to others. A difference without
//! meaning costs one packet, and two answers that really differ have the same fingerprint once in
//! 2⁶⁴ pairs.
//!
//! A fingerprint is neither stored nor sent: another version of holdover may compute another
//! number.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::entry::Entry;
use super::message::Records;

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
}
