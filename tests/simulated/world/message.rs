//! Queries of clients and responses of upstreams as bytes, and what a client reads in an answer.

use std::fmt;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NULL};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::support::messages::{self, extended_errors};

/// A query with RD, with an OPT if `edns` is set.
pub fn query(name: &str, rtype: RecordType, id: u16, edns: bool) -> Vec<u8> {
    let mut message = if edns { messages::query(name, rtype) } else { messages::plain_query(name, rtype) };
    message.metadata.id = id;
    message.to_vec().unwrap()
}

/// The name (with its dot) and type that a query asks for.
pub fn question(query: &[u8]) -> Option<(String, RecordType)> {
    let message = Message::from_vec(query).ok()?;
    let question = message.queries.first()?;
    Some((question.name().to_ascii().to_lowercase(), question.query_type()))
}

/// An empty response.
fn response(query: &[u8], rcode: ResponseCode) -> Message {
    messages::response(&Message::from_vec(query).unwrap(), rcode)
}

/// A response with records in its answer section. Items are addresses, `cname:target`, or `#hex`;
/// `owner:name` changes whose records follow.
pub fn positive(query: &[u8], items: &[&str], ttl: u32) -> Vec<u8> {
    let mut message = response(query, ResponseCode::NoError);
    let (mut owner, rtype) = (message.queries[0].name().clone(), message.queries[0].query_type());
    for item in items {
        if let Some(other) = item.strip_prefix("owner:") {
            owner = Name::from_ascii(other).unwrap();
            continue;
        }
        let data = if let Some(target) = item.strip_prefix("cname:") {
            RData::CNAME(CNAME(Name::from_ascii(target).unwrap()))
        } else if let Some(hex) = item.strip_prefix('#') {
            let bytes = (0..hex.len() / 2)
                .map(|index| u8::from_str_radix(&hex[index * 2..index * 2 + 2], 16).unwrap())
                .collect();
            RData::Unknown { code: rtype, rdata: NULL::with(bytes) }
        } else if item.contains(':') {
            RData::AAAA(AAAA(item.parse().unwrap()))
        } else {
            RData::A(A(item.parse().unwrap()))
        };
        let next = if let RData::CNAME(target) = &data { Some(target.0.clone()) } else { None };
        message.add_answer(Record::from_rdata(owner.clone(), ttl, data));
        owner = next.unwrap_or(owner);
    }
    message.to_vec().unwrap()
}

/// The same response with EDE 3 (Stale Answer), as a cache sends it that could not refresh it.
pub fn marked_stale(mut response: Vec<u8>) -> Vec<u8> {
    response[11] += 1;
    response.extend([0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 6, 0, 15, 0, 2, 0, 3]);
    response
}

/// A name in wire form.
pub fn wire_name(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    labels.flat_map(|label| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat()).chain([0]).collect()
}

/// NXDOMAIN or NODATA, with the SOA of the zone above the name.
pub fn negative(query: &[u8], rcode: ResponseCode, ttl: u32) -> Vec<u8> {
    messages::negative(&Message::from_vec(query).unwrap(), rcode, ttl)
}

/// An empty response with this RCODE and RA bit.
pub fn empty(query: &[u8], rcode: ResponseCode, recursion_available: bool) -> Vec<u8> {
    let mut message = response(query, rcode);
    message.metadata.recursion_available = recursion_available;
    message.to_vec().unwrap()
}

/// FORMERR as old name servers send it: the header alone.
pub fn format_error(query: &[u8]) -> Vec<u8> {
    vec![query[0], query[1], 0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// A positive response with TC set and the items that fitted.
pub fn truncated(query: &[u8], items: &[&str], ttl: u32) -> Vec<u8> {
    let mut bytes = positive(query, items, ttl);
    bytes[2] |= 0x02;
    bytes
}

/// Whether a query carries an OPT.
pub fn has_edns(query: &[u8]) -> bool {
    Message::from_vec(query).is_ok_and(|message| message.edns.is_some())
}

/// What kind of answer a client sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Answer,
    NxDomain,
    NoData,
    ServFail,
    Other,
}

/// What a client reads in an answer.
#[derive(Clone, Debug)]
pub struct Seen {
    pub kind: Kind,
    /// Whether the answer carries EDE 3 (Stale Answer) or 19 (Stale NXDOMAIN Answer).
    pub stale: bool,
    /// RDATA of the answer section.
    pub data: Vec<String>,
    /// TTLs of the answer section, or of the authority section if that is empty.
    pub ttls: Vec<u32>,
    pub extended_errors: Vec<u16>,
    pub id: u16,
}

/// Reads an answer with hickory's parser.
pub fn read(bytes: &[u8]) -> Seen {
    let message = Message::from_vec(bytes).expect("an answer that hickory can read");
    let extended_errors = extended_errors(&message);
    let kind = match message.metadata.response_code {
        ResponseCode::NoError if message.answers.is_empty() => Kind::NoData,
        ResponseCode::NoError => Kind::Answer,
        ResponseCode::NXDomain => Kind::NxDomain,
        ResponseCode::ServFail => Kind::ServFail,
        _ => Kind::Other,
    };
    let records = if message.answers.is_empty() { &message.authorities } else { &message.answers };
    Seen {
        kind,
        stale: extended_errors.iter().any(|code| [3, 19].contains(code)),
        data: message.answers.iter().map(|record| record.data.to_string()).collect(),
        ttls: records.iter().map(|record| record.ttl).collect(),
        extended_errors,
        id: message.metadata.id,
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?}{} {} ttl {:?} ede {:?}",
            self.kind,
            if self.stale { " (stale)" } else { "" },
            self.data.join(","),
            self.ttls,
            self.extended_errors
        )
    }
}
