//! The nearest answer to a question: what may stand in when nothing better can be had, and what has
//! to be changed in it.
//!
//! | remembered | stands in for | as |
//! |---|---|---|
//! | the same name and type, with other DO or CD bits | the question, in an outage | stale |
//! | NXDOMAIN of another type | every type of the name (RFC 2308 §5, RFC 8020 §2) | fresh while it is, else stale |
//! | NXDOMAIN of a name above | every name below it (RFC 8020 §2), in an outage | stale |
//!
//! Such an answer is given to the client and written nowhere. A client that did not ask with DO
//! gets no DNSSEC records (RFC 4035 §3.2.1), and nobody gets AD.
//!
//! A denial at the end of a chain of CNAMEs is about the name at the end: the name that was asked
//! for exists. It stands in for the types that follow the same chain, and for no name below.

use super::classify::Kind;
use super::entry::Entry;
use super::key::Key;
use super::message::{self, HEADER, Header, MalformedMessage, Records};
use super::rewriting::Rewriting;

/// Types of records that only clients with DO get, unless they asked for the type: DS, RRSIG, NSEC,
/// DNSKEY, NSEC3, NSEC3PARAM (RFC 4034, 5155).
const DNSSEC_TYPES: [u16; 6] = [43, message::TYPE_RRSIG, 47, 48, 50, 51];
/// Types that stand beside a CNAME at its own owner, or ask for it: CNAME, DNAME, RRSIG, NSEC, ANY.
const BESIDE_CNAME: [u16; 5] = [message::TYPE_CNAME, message::TYPE_DNAME, message::TYPE_RRSIG, 47, message::TYPE_ANY];

/// What an answer to a similar question has to become to answer this one.
#[derive(Debug, PartialEq, Eq)]
pub enum Fitting {
    /// It can be given as it is.
    AsItIs,
    /// It can be given in this form.
    Changed(Box<Entry>),
}

/// Whether a denial stands in for this type of its own name.
#[must_use]
pub fn denies_type(denial: &Entry, qtype: u16) -> bool {
    denial.kind == Kind::NxDomain && (!has_chain(denial) || !BESIDE_CNAME.contains(&qtype))
}

/// Whether a denial stands in for all names below its own.
#[must_use]
pub fn denies_below(denial: &Entry) -> bool {
    denial.kind == Kind::NxDomain && denial.vouched && !has_chain(denial)
}

/// Whether anything stands in the answer section.
fn has_chain(entry: &Entry) -> bool {
    Header::read(entry.wire()).is_ok_and(|header| header.records.first() != Some(&0))
}

/// Fits an answer to a similar question to the question of `key`: the name may be another one, and
/// so may the type and the DO and CD bits.
///
/// # Errors
/// [`MalformedMessage`] when the answer cannot be read, or would become too large.
pub fn fit(entry: &Entry, key: &Key) -> Result<Fitting, MalformedMessage> {
    let wire = entry.wire();
    let name = key.name();
    // The client's question is written over the one that is remembered, which fits when the names
    // have one length: pointers to it lead to the same names then.
    let is_same_name = wire.get(HEADER..HEADER + name.len()) == Some(name);
    if is_same_name && !has_unwanted(wire, key)? {
        return Ok(Fitting::AsItIs);
    }
    let mut head = wire.get(..HEADER).ok_or(MalformedMessage)?.to_vec();
    head.extend_from_slice(name);
    head.extend_from_slice(key.type_and_class());
    let mut writing = Rewriting::new(wire, head)?;
    let mut records = Records::new(wire)?;
    while let Some(record) = records.next_record()? {
        if !is_unwanted(record.rtype, key) {
            writing.copy(record.start, record.section)?;
        }
    }
    let out = writing.finish()?;
    Ok(Fitting::Changed(Box::new(entry.as_message(key, &out)?)))
}

/// Whether a message has a record that this question does not want.
fn has_unwanted(message: &[u8], key: &Key) -> Result<bool, MalformedMessage> {
    let mut records = Records::new(message)?;
    while let Some(record) = records.next_record()? {
        if is_unwanted(record.rtype, key) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_unwanted(rtype: u16, key: &Key) -> bool {
    let is_asked_for = key.qtype() == rtype || key.qtype() == message::TYPE_ANY;
    !key.dnssec().dnssec_ok && !is_asked_for && DNSSEC_TYPES.contains(&rtype)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::answer::{Asked, ClientTransport, Shown, room, write_entry};
    use crate::core::classify::classify;
    use crate::core::key::Dnssec;
    use crate::core::question::{Received, read};
    use crate::core::testing::{Response, name, policy, query};
    use crate::core::time::Timestamp;
    use hickory_proto::op::Message;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn key(text: &str, qtype: u16, dnssec_ok: bool) -> Key {
        Key::new(&name(text), qtype, 1, Dnssec { dnssec_ok, checking_disabled: false })
    }

    fn entry(key: &Key, response: &[u8]) -> Entry {
        Entry::remember(key, response, classify(key.qtype(), response), &policy(), NOW).unwrap().entry
    }

    /// What a client without EDNS gets of an answer that stands in, read by hickory.
    fn given(entry: &Entry, asked: &Key) -> Message {
        let changed = match fit(entry, asked).unwrap() {
            Fitting::AsItIs => None,
            Fitting::Changed(changed) => Some(changed),
        };
        let entry = changed.as_deref().unwrap_or(entry);
        let text = crate::core::key::NameText(asked.name()).to_string();
        let packet = query(&text, asked.qtype());
        let Received::Query(read) = read(&packet) else { panic!("no query") };
        let asked = Asked { packet: &packet, echo: read.echo, transport: ClientTransport::Udp };
        let mut out = vec![0; room(entry)];
        let length = write_entry(&asked, entry, Shown::Stale { ttl: Duration::from_secs(30) }, NOW, &mut out);
        Message::from_vec(&out[..length]).unwrap()
    }

    fn signed(text: &str) -> Vec<u8> {
        Response::new(text, 1)
            .cname(text, "lb.example.net", 60)
            .record(6, text, 46, 60, &[0, 5, 8, 2])
            .record(6, "lb.example.net", 1, 60, &[192, 0, 2, 1])
            .record(6, "lb.example.net", 46, 60, &[0, 1, 8, 2])
            .record(8, "example.net", 47, 60, &[0, 1])
            .bytes()
    }

    #[test]
    fn dnssec_records_are_left_out_for_who_did_not_ask_with_do() {
        let with = key("www.example.com", 1, true);
        let known = entry(&with, &signed("www.example.com"));
        let message = given(&known, &key("www.example.com", 1, false));
        let types: Vec<u16> = message.answers.iter().map(|record| record.record_type().into()).collect();
        assert_eq!((types, message.authorities.len()), (vec![5, 1], 0));
        assert_eq!(fit(&known, &with), Ok(Fitting::AsItIs), "another CD bit changes nothing");
        let plain =
            entry(&key("a.example.com", 1, false), &Response::new("a.example.com", 1).a("a.example.com", 60).bytes());
        assert_eq!(fit(&plain, &key("a.example.com", 1, true)), Ok(Fitting::AsItIs));
        assert_eq!(fit(&plain, &key("a.example.com", 1, false)), Ok(Fitting::AsItIs), "nothing to be left out");
    }

    #[test]
    fn what_was_asked_for_by_type_is_left_in() {
        let with = key("www.example.com", 46, true);
        let known =
            entry(&with, &Response::new("www.example.com", 46).record(6, "www.example.com", 46, 60, &[0, 5]).bytes());
        assert_eq!(fit(&known, &key("www.example.com", 46, false)), Ok(Fitting::AsItIs));
    }

    #[test]
    fn a_denial_of_a_name_above_is_given_for_the_name_that_was_asked() {
        // The owner of the SOA is compressed, and points into the question.
        let mut response = Response::new("nope.example.com", 1).rcode(3).bytes();
        response[9] = 1;
        response.extend([0xc0, 17, 0, 6, 0, 1, 0, 0, 0, 60, 0, 24, 0xc0, 12, 0xc0, 17]);
        response.extend([0; 16]);
        response.extend(60_u32.to_be_bytes());
        let denial = entry(&key("nope.example.com", 1, false), &response);
        assert!(denies_below(&denial) && denies_type(&denial, 5));
        let message = given(&denial, &key("www.deep.nope.example.com", 28, false));
        let soa = &message.authorities[0];
        assert_eq!((soa.name.to_string(), soa.ttl), ("example.com.".to_owned(), 30));
        assert_eq!(message.metadata.response_code, hickory_proto::op::ResponseCode::NXDomain);
        assert!(soa.data.to_string().starts_with("nope.example.com. example.com."), "{}", soa.data);
    }

    #[test]
    fn a_denial_behind_a_chain_is_about_the_end_of_the_chain() {
        let response = Response::new("www.example.com", 1)
            .rcode(3)
            .cname("www.example.com", "gone.example.net", 60)
            .soa("example.net", 60, 60)
            .bytes();
        let denial = entry(&key("www.example.com", 1, false), &response);
        assert!(denies_type(&denial, 28) && !denies_below(&denial));
        assert!(BESIDE_CNAME.iter().all(|qtype| !denies_type(&denial, *qtype)));
        let bare = entry(&key("nope.example.com", 1, false), &Response::new("nope.example.com", 1).rcode(3).bytes());
        assert!(denies_type(&bare, 28) && !denies_below(&bare), "nobody vouches for it");
    }
}
