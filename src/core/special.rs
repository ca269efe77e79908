//! Names for which no upstream is asked (RFC 6761 §6.3, §6.4): `localhost` and `invalid`; below the
//! latter, `ready.holdover.invalid`.
//!
//! Each is answered from a message made here, in the form in which an upstream's would be stored,
//! so that it is written like any other entry: TTL, EDNS, truncation and case behave the same.

use super::entry::Entry;
use super::key::{Key, is_within};
use super::message::HEADER;
use super::policy::Policy;
use super::time::Timestamp;

/// `localhost.`
const LOCALHOST: &[u8] = b"\x09localhost\x00";
/// `invalid.`
const INVALID: &[u8] = b"\x07invalid\x00";
/// `ready.holdover.invalid.`: exists once holdover is ready, so that a health check needs no port
/// of its own.
pub const READY: &[u8] = b"\x05ready\x08holdover\x07invalid\x00";
/// Who answers for the zones here (the SOA's RNAME); tells a holdover from other resolvers, which
/// deny `invalid` as well.
pub const RESPONSIBLE: &[u8] = b"\x06nobody\x07invalid\x00";
/// TTL of these answers and of their SOA, in seconds; short, as they cost nothing.
const TTL: u32 = 10;
/// TYPE A.
const TYPE_A: u16 = 1;
/// TYPE AAAA.
const TYPE_AAAA: u16 = 28;

/// Whether holdover has all that it waits for at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It has, or has waited long enough.
    Ready,
    /// Not yet; queries are answered all the same.
    NotYet,
}

/// Whether a name in lower-cased wire form is never forwarded.
#[must_use]
pub fn is_local(name: &[u8]) -> bool {
    is_within(name, LOCALHOST) || is_within(name, INVALID)
}

/// The answer for a name that is never forwarded; `None` for every other name.
#[must_use]
pub fn answer(key: &Key, readiness: Readiness, policy: &Policy, now: Timestamp) -> Option<Entry> {
    let ready = readiness == Readiness::Ready && key.name() == READY;
    let message = if ready || is_within(key.name(), LOCALHOST) {
        match key.qtype() {
            TYPE_A => positive(key, std::iter::once([127, 0, 0, 1])),
            TYPE_AAAA => positive(key, std::iter::once(std::net::Ipv6Addr::LOCALHOST.octets())),
            _ => Some(negative(key, LOCALHOST, 0)),
        }?
    } else if is_within(key.name(), INVALID) {
        negative(key, INVALID, 3)
    } else {
        return None;
    };
    remember(key, &message, policy, now)
}

/// The entry of a message made here.
pub(super) fn remember(key: &Key, message: &[u8], policy: &Policy, now: Timestamp) -> Option<Entry> {
    let verdict = super::classify::classify(key.qtype(), message);
    Entry::remember(key, message, verdict, policy, now).ok().map(|remembered| remembered.entry)
}

/// Whether a packet asks for the name of health checks: they come as long as holdover runs, so the
/// drain does not wait for their end.
#[must_use]
pub fn is_health_check(packet: &[u8]) -> bool {
    packet.get(HEADER..HEADER + READY.len()).is_some_and(|name| name.eq_ignore_ascii_case(READY))
}

/// Header and question.
fn begin(key: &Key, rcode: u8, counts: [u8; 2]) -> Vec<u8> {
    let [answers, authorities] = counts;
    let mut out = vec![0, 0, 0x81, 0x80 | rcode, 0, 1, 0, answers, 0, authorities, 0, 0];
    out.extend_from_slice(key.name());
    out.extend_from_slice(&key.qtype().to_be_bytes());
    out.extend_from_slice(&key.qclass().to_be_bytes());
    out
}

/// Type, class IN, TTL, length and RDATA of a record.
fn end_record(out: &mut Vec<u8>, rtype: u16, data: &[u8]) {
    out.extend_from_slice(&rtype.to_be_bytes());
    out.extend_from_slice(&[0, 1]);
    out.extend_from_slice(&TTL.to_be_bytes());
    out.extend_from_slice(&u16::try_from(data.len()).unwrap_or_default().to_be_bytes());
    out.extend_from_slice(data);
}

/// An answer with a record of the type asked for of each of these data, up to 255; `None` when
/// there are none.
pub(super) fn positive(key: &Key, data: impl Iterator<Item = impl AsRef<[u8]>>) -> Option<Vec<u8>> {
    let mut records = Vec::new();
    let mut count = 0;
    for data in data.take(usize::from(u8::MAX)) {
        records.extend_from_slice(&[0xc0, 12]);
        end_record(&mut records, key.qtype(), data.as_ref());
        count += 1;
    }
    (count > 0).then(|| [begin(key, 0, [count, 0]), records].concat())
}

/// NODATA or NXDOMAIN with an SOA of the zone itself.
pub(super) fn negative(key: &Key, zone: &[u8], rcode: u8) -> Vec<u8> {
    let mut out = begin(key, rcode, [0, 1]);
    out.extend_from_slice(zone);
    let mut data = vec![0];
    data.extend_from_slice(RESPONSIBLE);
    for field in [1, 3600, 1200, 604_800, TTL] {
        data.extend_from_slice(&field.to_be_bytes());
    }
    end_record(&mut out, super::message::TYPE_SOA, &data);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::classify::Kind;
    use crate::core::key::Dnssec;
    use crate::core::testing::{name, policy};

    fn kind(text: &str, qtype: u16) -> Option<Kind> {
        answer(
            &Key::new(&name(text), qtype, 1, Dnssec::default()),
            Readiness::NotYet,
            &policy(),
            Timestamp::from_secs(5),
        )
        .map(|entry| entry.kind)
    }

    #[test]
    fn localhost_is_the_loopback_address_and_invalid_does_not_exist() {
        assert_eq!(kind("localhost", 1), Some(Kind::Positive));
        assert_eq!(kind("db.localhost", 28), Some(Kind::Positive));
        assert_eq!(kind("localhost", 16), Some(Kind::NoData));
        assert_eq!(kind("www.invalid", 1), Some(Kind::NxDomain));
        assert_eq!(kind("notlocalhost", 1), None);
        assert_eq!(kind("example.com", 1), None);
    }

    #[test]
    fn the_name_for_health_checks_exists_once_holdover_is_ready() {
        let ask = |readiness| {
            let key = Key::new(READY, TYPE_A, 1, Dnssec::default());
            answer(&key, readiness, &policy(), Timestamp::from_secs(5)).map(|entry| entry.kind)
        };
        assert_eq!((ask(Readiness::NotYet), ask(Readiness::Ready)), (Some(Kind::NxDomain), Some(Kind::Positive)));
    }

    #[test]
    fn a_health_check_is_told_from_every_other_query() {
        let ask = |text: &str| is_health_check(&crate::core::testing::query(text, TYPE_A));
        assert!(ask("ready.holdover.invalid") && ask("ReAdY.holdover.INVALID"));
        assert!(
            !ask("ready.holdover.invalid.example.com")
                && !ask("read.holdover.invalid")
                && !ask("a.ready.holdover.invalid")
        );
        assert!(
            !is_health_check(b"")
                && !is_health_check(&crate::core::testing::query("ready.holdover.invalid", TYPE_A)[..34])
        );
    }
}
