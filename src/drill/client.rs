//! One lookup as a stub resolver makes it, with a socket of its own, a time to wait and perhaps a
//! retry.
//!
//! A client that asks for a known name waits a second and asks twice, as glibc does with `options
//! timeout:1 attempts:2`, which is common in the field. A client that asks for a cold name asks
//! once and waits five seconds, after which stub resolvers give up by default. Like glibc, the
//! client goes on to its next attempt at once after a closed port or SERVFAIL.
//!
//! The client knows the zone, so it can distinguish a wrong answer from a right one and a stale
//! answer from a fresh one, whichever resolver it asks.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::demand::Patience;
use super::zone::{AddressType, ExpectedAnswer, Generation, ZoneQuestion};
use super::zone_clock::{AddressAge, ZoneClock};
use crate::core::classify;
use crate::core::key::{Dnssec, Key};
use crate::core::message::{self, Header, Records, Section};
use crate::core::upstream_query::{self, Extension};

/// Largest response that is read, in bytes.
const RESPONSE_MAX: usize = 4096;
/// Response codes that carry an answer (RFC 1035 §4.1.1); all others count as a failure.
const NOERROR: u16 = 0;
const NXDOMAIN: u16 = 3;

/// Result of one lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupOutcome {
    /// The right answer, within its TTL.
    Fresh,
    /// The right kind of answer, which is older than its TTL allows or carries EDE 3 or 19.
    Stale,
    /// Another kind of answer than the zone has, such as NXDOMAIN for a name that exists, or an
    /// address that the name gave up for good.
    Wrong,
    /// SERVFAIL or another error, no response, or a closed port.
    Failed,
}

/// Question with its query in wire format, ready to be sent.
#[derive(Clone, Debug)]
pub struct PreparedQuery {
    /// The question, with the answer that the zone has for it.
    pub question: ZoneQuestion,
    /// How long and how often the client asks.
    pub patience: Patience,
    /// The query in wire format; each attempt sets the message ID.
    packet: Vec<u8>,
}

impl PreparedQuery {
    /// Prepares the query for a question, for a client with short patience. Only with EDNS can the
    /// response say that it is stale.
    #[must_use]
    pub fn new(question: ZoneQuestion, extension: Extension) -> Self {
        let packet = query(&question.name, question.rtype, extension);
        Self { question, patience: Patience::SHORT, packet }
    }

    /// The query in wire format, with this message ID.
    #[must_use]
    pub fn with_id(&self, id: u16) -> Vec<u8> {
        with_id(self.packet.clone(), id)
    }

    /// Asks the resolver at this address, as often as the client's patience allows. `id` is the
    /// message ID of the first attempt; the clock says how old the addresses are.
    pub async fn look_up(&self, resolver: SocketAddr, id: u16, clock: &ZoneClock) -> LookupOutcome {
        let asked = Instant::now();
        for attempt in 0..self.patience.attempts {
            if let Some(response) = self.attempt(resolver, id.wrapping_add(attempt)).await {
                let outcome = self.classify_reply(&response, |address, ttl| clock.age(address, ttl, asked));
                if outcome != LookupOutcome::Failed {
                    return outcome;
                }
            }
        }
        LookupOutcome::Failed
    }

    /// Sends the query once and waits for its response; `None` after the timeout or a socket error.
    async fn attempt(&self, resolver: SocketAddr, id: u16) -> Option<Vec<u8>> {
        let until = Instant::now() + self.patience.timeout;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.ok()?;
        socket.connect(resolver).await.ok()?;
        socket.send(&self.with_id(id)).await.ok()?;
        let mut buffer = vec![0; RESPONSE_MAX];
        loop {
            let length = timeout_at(until, socket.recv(&mut buffer)).await.ok()?.ok()?;
            let response = buffer.get(..length)?;
            if response.get(..2) == Some(&id.to_be_bytes()) {
                return Some(response.to_vec());
            }
        }
    }

    /// Compares a response with the answer that the zone has for the question.
    /// `age` gives the age of an address with a TTL.
    fn classify_reply(&self, response: &[u8], age: impl FnOnce(Generation, u32) -> AddressAge) -> LookupOutcome {
        let Ok(header) = Header::read(response) else { return LookupOutcome::Failed };
        let rcode = header.rcode();
        if rcode != NOERROR && rcode != NXDOMAIN {
            return LookupOutcome::Failed;
        }
        let address = last_address(response, self.question.rtype);
        let is_old = match (&self.question.expected, address) {
            (ExpectedAnswer::Address { ttl, .. }, Some(generation)) if rcode == NOERROR => {
                match age(generation, *ttl) {
                    AddressAge::Valid => false,
                    AddressAge::Old => true,
                    AddressAge::Gone => return LookupOutcome::Wrong,
                }
            }
            (ExpectedAnswer::NoData, None) if rcode == NOERROR => false,
            (ExpectedAnswer::NxDomain, None) if rcode == NXDOMAIN => false,
            (ExpectedAnswer::Address { .. } | ExpectedAnswer::NoData | ExpectedAnswer::NxDomain, _) => {
                return LookupOutcome::Wrong;
            }
        };
        if is_old || says_stale(response) { LookupOutcome::Stale } else { LookupOutcome::Fresh }
    }
}

/// A query for a name and type in wire format, with the message ID 0.
#[must_use]
pub fn query(name: &str, rtype: AddressType, extension: Extension) -> Vec<u8> {
    upstream_query::write(&Key::new(&wire_name(name), rtype.code(), 1, Dnssec::default()), 0, extension)
}

/// Sets the message ID of a query in wire format.
#[must_use]
pub fn with_id(mut packet: Vec<u8>, id: u16) -> Vec<u8> {
    for (to, from) in packet.iter_mut().zip(id.to_be_bytes()) {
        *to = from;
    }
    packet
}

/// A name in wire format; the argument has no dot at the end.
#[must_use]
pub fn wire_name(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.') {
        out.push(u8::try_from(label.len()).unwrap_or_default());
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}

/// Generation of the last address in the answer section.
fn last_address(response: &[u8], rtype: AddressType) -> Option<Generation> {
    let mut records = Records::new(response).ok()?;
    let mut found = None;
    while let Ok(Some(record)) = records.next_record() {
        if record.section == Section::Answer && record.rtype == rtype.code() {
            found = response.get(record.data..record.end).and_then(Generation::in_rdata);
        }
    }
    found
}

/// Whether the response carries EDE 3 or 19 (RFC 8914 §4.4, §4.20).
fn says_stale(response: &[u8]) -> bool {
    let errors = classify::extended_errors(response, RESPONSE_MAX);
    let mut rest = errors.as_slice();
    while let (Some(length), Some(code)) = (message::read_u16(rest, 2), message::read_u16(rest, 4)) {
        if matches!(code, 3 | 19) {
            return true;
        }
        rest = rest.get(4 + usize::from(length)..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn prepared(name: &str) -> PreparedQuery {
        PreparedQuery::new(ZoneQuestion::new(name.into(), AddressType::A), Extension::Edns)
    }

    fn generation(seconds: u64) -> Generation {
        Generation::at(Duration::from_secs(seconds))
    }

    /// A response with this code, one A record of this generation if any, and an extended error if
    /// any.
    fn response(query: &PreparedQuery, rcode: u8, address: Option<Generation>, error: Option<u8>) -> Vec<u8> {
        let question_end = query.packet.len() - 11;
        let mut out = query.packet[..question_end].to_vec();
        out[2] = 0x81;
        out[3] = 0x80 | rcode;
        out[7] = u8::from(address.is_some());
        out[11] = u8::from(error.is_some());
        if let Some(address) = address {
            out.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4]);
            out.extend(address.address_v4().octets());
        }
        if let Some(error) = error {
            out.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 6, 0, 15, 0, 2, 0, error]);
        }
        out
    }

    #[test]
    fn replies_are_classified_by_kind_and_age() {
        let now = generation(100);
        let age = |address: Generation, ttl| match address.is_older_than(ttl, now) {
            _ if address == generation(7) => AddressAge::Gone,
            true => AddressAge::Old,
            false => AddressAge::Valid,
        };
        let query = prepared("app0.drill.test");
        let classify = |rcode, address, error| query.classify_reply(&response(&query, rcode, address, error), age);
        assert_eq!(classify(0, Some(now), None), LookupOutcome::Fresh);
        assert_eq!(classify(0, Some(generation(90)), None), LookupOutcome::Stale, "TTL 1, ten seconds old");
        assert_eq!(classify(0, Some(generation(7)), None), LookupOutcome::Wrong, "given up for good");
        assert_eq!(classify(0, Some(now), Some(3)), LookupOutcome::Stale, "it carries EDE 3");
        assert_eq!(classify(3, None, None), LookupOutcome::Wrong);
        assert_eq!(classify(0, None, None), LookupOutcome::Wrong);
        assert_eq!(classify(2, None, Some(22)), LookupOutcome::Failed);
        let missing = prepared("app9.drill.test.svc.cluster.test");
        let classify = |rcode, address, error| missing.classify_reply(&response(&missing, rcode, address, error), age);
        assert_eq!(classify(3, None, None), LookupOutcome::Fresh);
        assert_eq!(classify(3, None, Some(19)), LookupOutcome::Stale);
    }
}
