//! Special-use names, for which no upstream is asked (RFC 6761 §6.3, §6.4, RFC 7686, RFC 9462).
//!
//! | name | answer |
//! |---|---|
//! | `localhost` and names below it | A and AAAA: the loopback address; other types: NODATA |
//! | `ready.holdover.invalid` | the same once holdover is ready, NXDOMAIN before, NODATA when it is stalled |
//! | `invalid` and all other names below it | NXDOMAIN |
//! | `onion` and names below it, unless a zone of an upstream says otherwise | NXDOMAIN (RFC 7686 §2) |
//! | `resolver.arpa` and names below it | NODATA (RFC 9462 §4, §6.1) |
//!
//! A name below `onion` tells whoever sees the query who uses Tor. An operator who configures an
//! upstream for the zone `onion` or a part of it has the DNS port of a Tor client there, and is
//! obeyed. What an upstream says of `resolver.arpa` would be about that upstream and not about
//! holdover, and its certificate names another address, so no zone changes that.
//!
//! Each answer is made from a message that is written here in the form in which an upstream's
//! response is remembered. So it reaches clients like any other entry: TTL, EDNS, truncation and
//! case behave the same.

use super::entry::Entry;
use super::key::{Key, is_within};
use super::message::{HEADER, TYPE_A, TYPE_AAAA};
use super::policy::Policy;
use super::routes::Routes;
use super::time::Timestamp;

/// `localhost.`
const LOCALHOST: &[u8] = b"\x09localhost\x00";
/// `invalid.`
const INVALID: &[u8] = b"\x07invalid\x00";
/// `onion.`
const ONION: &[u8] = b"\x05onion\x00";
/// `resolver.arpa.`
const RESOLVER_ARPA: &[u8] = b"\x08resolver\x04arpa\x00";
/// The wire form of `ready.holdover.invalid.`, a name that exists once holdover is ready, so that a
/// health check needs no port of its own.
pub const READY: &[u8] = b"\x05ready\x08holdover\x07invalid\x00";
/// The RNAME in the SOA of the answers made here, by which a health check distinguishes holdover
/// from other resolvers that deny `invalid`.
pub const RESPONSIBLE: &[u8] = b"\x06nobody\x07invalid\x00";
/// TTL of these answers and of their SOA, in seconds; short, since they cost no packet.
const TTL: u32 = 10;

/// Whether holdover has everything that it waits for at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Everything is there, or holdover has waited for it for as long as the operator allows.
    Ready,
    /// Something that holdover waits for is still missing; queries are answered all the same.
    NotYet,
    /// What resolves and recovers has stood still for some time, so that holdover should be started
    /// again. No upstream can be the reason.
    Stalled,
}

/// Whether a name in lower-cased wire form is one whose addresses holdover itself knows, so that no
/// zone and no hosts file changes them.
#[must_use]
pub fn is_local(name: &[u8]) -> bool {
    is_within(name, LOCALHOST) || is_within(name, INVALID)
}

/// Whether a name in lower-cased wire form is a special-use name, for which no upstream is asked.
#[must_use]
pub fn is_special(name: &[u8], routes: &Routes) -> bool {
    is_local(name)
        || is_within(name, RESOLVER_ARPA)
        || is_within(name, ONION) && !is_within(routes.zone_of(name), ONION)
}

/// The answer to a question about a special-use name; `None` for every other name.
#[must_use]
pub fn answer(key: &Key, routes: &Routes, readiness: Readiness, policy: &Policy, now: Timestamp) -> Option<Entry> {
    if !is_special(key.name(), routes) {
        return None;
    }
    let ready = readiness == Readiness::Ready && key.name() == READY;
    let message = if ready || is_within(key.name(), LOCALHOST) {
        match key.qtype() {
            TYPE_A => positive(key, std::iter::once([127, 0, 0, 1])),
            TYPE_AAAA => positive(key, std::iter::once(std::net::Ipv6Addr::LOCALHOST.octets())),
            _ => Some(negative(key, LOCALHOST, 0)),
        }?
    } else if is_within(key.name(), RESOLVER_ARPA) {
        negative(key, RESOLVER_ARPA, 0)
    } else if is_within(key.name(), ONION) {
        negative(key, ONION, 3)
    } else if readiness == Readiness::Stalled && key.name() == READY {
        negative(key, INVALID, 0)
    } else {
        negative(key, INVALID, 3)
    };
    remember(key, &message, policy, now)
}

/// Makes an entry from a message that was written by [`positive`] or [`negative`].
pub(super) fn remember(key: &Key, message: &[u8], policy: &Policy, now: Timestamp) -> Option<Entry> {
    let verdict = super::classify::classify(key.qtype(), message);
    Entry::remember(key, message, verdict, policy, now).ok().map(|remembered| remembered.entry)
}

/// Whether a packet asks for [`READY`], and so comes from a health check.
///
/// Health checks come for as long as holdover runs, so the drain at its end does not wait for them
/// to stop.
#[must_use]
pub fn is_health_check(packet: &[u8]) -> bool {
    packet.get(HEADER..HEADER + READY.len()).is_some_and(|name| name.eq_ignore_ascii_case(READY))
}

/// The header and question of a response; `counts` are the records in the answer and authority
/// sections.
fn begin(key: &Key, rcode: u8, counts: [u8; 2]) -> Vec<u8> {
    let [answers, authorities] = counts;
    let mut out = vec![0, 0, 0x81, 0x80 | rcode, 0, 1, 0, answers, 0, authorities, 0, 0];
    out.extend_from_slice(key.name());
    out.extend_from_slice(&key.qtype().to_be_bytes());
    out.extend_from_slice(&key.qclass().to_be_bytes());
    out
}

/// Appends what follows the owner name of a record: type, class IN, TTL, length and RDATA.
fn end_record(out: &mut Vec<u8>, rtype: u16, data: &[u8]) {
    out.extend_from_slice(&rtype.to_be_bytes());
    out.extend_from_slice(&[0, 1]);
    out.extend_from_slice(&TTL.to_be_bytes());
    out.extend_from_slice(&u16::try_from(data.len()).unwrap_or_default().to_be_bytes());
    out.extend_from_slice(data);
}

/// A positive response with one record of the type asked for per item of `data` (its RDATA), at
/// most 255 of them; `None` when there is no item.
pub(super) fn positive(key: &Key, data: impl Iterator<Item = impl AsRef<[u8]>>) -> Option<Vec<u8>> {
    let mut records = Vec::new();
    let mut count = 0;
    for data in data.take(usize::from(u8::MAX)) {
        // The owner is a pointer to the QNAME, which stands behind the header.
        records.extend_from_slice(&[0xc0, 12]);
        end_record(&mut records, key.qtype(), data.as_ref());
        count += 1;
    }
    (count > 0).then(|| [begin(key, 0, [count, 0]), records].concat())
}

/// A NODATA response (`rcode` 0) or an NXDOMAIN response (`rcode` 3) with an SOA of the zone.
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
    use crate::core::upstream::UpstreamPolicy;

    fn kind(text: &str, qtype: u16) -> Option<Kind> {
        kind_beside(&[], text, qtype)
    }

    /// The kind of the answer beside an upstream for each of these zones.
    fn kind_beside(zones: &[&str], text: &str, qtype: u16) -> Option<Kind> {
        let upstream = |zone: &&str| UpstreamPolicy {
            zones: vec![name(zone).into()],
            ..UpstreamPolicy::plain((*zone).to_owned(), vec!["192.0.2.53:53".parse().unwrap()])
        };
        answer(
            &Key::new(&name(text), qtype, 1, Dnssec::default()),
            &Routes::new(&zones.iter().map(upstream).collect::<Vec<_>>()),
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
    fn what_is_nobodys_business_is_not_forwarded_and_only_onion_can_have_an_upstream() {
        for qtype in [1, 28, 64, 65] {
            assert_eq!(kind("onion", qtype), Some(Kind::NxDomain));
            assert_eq!(kind("www.x.onion", qtype), Some(Kind::NxDomain));
            assert_eq!(kind("resolver.arpa", qtype), Some(Kind::NoData));
            assert_eq!(kind("_dns.resolver.arpa", qtype), Some(Kind::NoData));
            assert_eq!(kind_beside(&["resolver.arpa"], "_dns.resolver.arpa", qtype), Some(Kind::NoData));
            assert_eq!(kind_beside(&["onion"], "x.onion", qtype), None);
            assert_eq!(kind_beside(&["x.onion"], "www.x.onion", qtype), None);
            assert_eq!(kind_beside(&["x.onion"], "y.onion", qtype), Some(Kind::NxDomain));
        }
        assert_eq!((kind("1.0.0.127.in-addr.arpa", 12), kind("example.onions", 1)), (None, None));
    }

    #[test]
    fn the_name_for_health_checks_exists_once_holdover_is_ready() {
        let ask = |readiness| {
            let key = Key::new(READY, TYPE_A, 1, Dnssec::default());
            answer(&key, &Routes::new(&[]), readiness, &policy(), Timestamp::from_secs(5)).map(|entry| entry.kind)
        };
        assert_eq!((ask(Readiness::NotYet), ask(Readiness::Ready)), (Some(Kind::NxDomain), Some(Kind::Positive)));
        assert_eq!(ask(Readiness::Stalled), Some(Kind::NoData));
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
