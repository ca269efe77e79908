//! Queries as clients send them, responses as upstreams send them, and what stands in an answer:
//! built and read with hickory-proto, which shares no code with holdover's own parser.

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, SOA};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

/// A query with RD and EDNS.
pub fn query(name: &str, rtype: RecordType) -> Message {
    let mut message = plain_query(name, rtype);
    let mut edns = Edns::new();
    edns.set_max_payload(1232);
    message.edns = Some(edns);
    message
}

/// A query with RD, without EDNS.
pub fn plain_query(name: &str, rtype: RecordType) -> Message {
    let mut message = Message::new(0x4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), rtype));
    message
}

/// An empty response to a query, with RA.
pub fn response(query: &Message, rcode: ResponseCode) -> Message {
    let mut message = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.metadata.recursion_available = true;
    message.metadata.response_code = rcode;
    message.add_queries(query.queries.iter().cloned());
    message
}

/// The name that a query asks for.
pub fn qname(query: &Message) -> Name {
    query.queries[0].name().clone()
}

/// A positive response with one record of this data.
pub fn answer(query: &Message, ttl: u32, data: RData) -> Vec<u8> {
    let mut message = response(query, ResponseCode::NoError);
    message.add_answer(Record::from_rdata(qname(query), ttl, data));
    message.to_vec().unwrap()
}

/// A positive response: 2001:db8::`last` for AAAA, and 192.0.2.`last` for any other type.
pub fn address(query: &Message, ttl: u32, last: u8) -> Vec<u8> {
    match query.queries[0].query_type() {
        RecordType::AAAA => answer(query, ttl, RData::AAAA(AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last)))),
        _ => answer(query, ttl, RData::A(A::new(192, 0, 2, last))),
    }
}

/// A positive response with a CNAME record to `target` and the address of `target`.
pub fn chain(query: &Message, ttl: u32, target: &str) -> Vec<u8> {
    let mut message = response(query, ResponseCode::NoError);
    let target = Name::from_ascii(target).unwrap();
    message.add_answer(Record::from_rdata(qname(query), ttl, RData::CNAME(CNAME(target.clone()))));
    message.add_answer(Record::from_rdata(target, ttl, RData::A(A::new(192, 0, 2, 1))));
    message.to_vec().unwrap()
}

/// NXDOMAIN or NODATA with the SOA record of the zone above the name.
pub fn negative(query: &Message, rcode: ResponseCode, ttl: u32) -> Vec<u8> {
    let mut message = response(query, rcode);
    let zone = qname(query).base_name();
    let soa = SOA::new(zone.clone(), zone.clone(), 1, 3600, 600, 86_400, ttl);
    let mut record = Record::from_rdata(zone, ttl, RData::SOA(soa));
    record.dns_class = DNSClass::IN;
    message.add_authority(record);
    message.to_vec().unwrap()
}

/// The RDATA of the answer section as text, usually addresses.
pub fn addresses(message: &Message) -> Vec<String> {
    message.answers.iter().map(|record| record.data.to_string()).collect()
}

/// The codes of the extended errors in an answer (RFC 8914).
pub fn extended_errors(message: &Message) -> Vec<u16> {
    let Some(edns) = &message.edns else { return Vec::new() };
    edns.options()
        .as_ref()
        .iter()
        .filter(|(code, _)| u16::from(*code) == 15)
        .filter_map(|(_, option)| {
            let bytes = Vec::<u8>::try_from(option).ok()?;
            Some(u16::from_be_bytes([bytes[0], bytes[1]]))
        })
        .collect()
}
