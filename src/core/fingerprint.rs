//! What an answer says, as one number: the same for two answers that differ only in what changes
//! without anything having changed.
//!
//! Left out are the header, TTLs (which count down on their way) and the order of records (which
//! servers rotate). Whoever compares only wants to know whether telling others is worth a packet: a
//! difference that is none costs one, and two answers that differ in truth have the same number
//! once in 2⁶⁴.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::entry::Entry;
use super::message::Records;

/// The number of an answer.
#[must_use]
pub fn fingerprint(entry: &Entry) -> u64 {
    let wire = entry.wire();
    let mut sum = hash(&(entry.kind as u8, entry.vouched, entry.authentic));
    let Ok(mut records) = Records::new(wire) else { return sum };
    while let Ok(Some(record)) = records.next_record() {
        // The owner's name is left out: after the chain of aliases, which is in the data, it says
        // nothing new.
        sum = sum.wrapping_add(hash(&(record.rtype, record.class, wire.get(record.data..record.end))));
    }
    sum
}

/// The hash of a value; the same in every process of this version.
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
    fn ttls_do_not_count_and_addresses_do() {
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
