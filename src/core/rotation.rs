//! Rotates the addresses in an answer, so that clients that take the first one spread over all.
//!
//! Only the addresses change places: their RDATA are written anew over the records of the one RRset
//! that answers the question, so that the CNAMEs before it, the signatures behind it and whatever
//! was left out of a truncated answer stay where they are. Which address comes first says the
//! number of answers that were given before. Nothing here allocates.

use super::entry::Entry;
use super::message::{self, RecordSpan, Records, Section, TYPE_A, TYPE_AAAA};

/// Rotates the addresses in a response that was written from `entry` to a question for `qtype`, by
/// as many places as `turn` says. Other types, and single addresses, are left as they are.
pub fn rotate(entry: &Entry, qtype: u16, turn: u32, response: &mut [u8]) {
    let length = match qtype {
        TYPE_A => 4,
        TYPE_AAAA => 16,
        _ => return,
    };
    let wire = entry.wire();
    let count = addresses(wire, qtype, length).count();
    let by = usize::try_from(turn).unwrap_or_default().checked_rem(count).unwrap_or_default();
    // A truncated response has fewer records than the entry.
    let written = usize::from(message::read_u16(response, 6).unwrap_or_default());
    if by == 0 {
        return;
    }
    let sources = addresses(wire, qtype, length).skip(by).chain(addresses(wire, qtype, length).take(by));
    for ((index, to), (_, from)) in addresses(wire, qtype, length).zip(sources) {
        let fixed = |bytes: &[u8]| bytes.get(to.start..to.ttl_at).map(<[u8]>::len);
        if index >= written || fixed(response) != fixed(wire) {
            return;
        }
        if let (Some(to), Some(from)) = (response.get_mut(to.data..to.end), wire.get(from.data..from.end)) {
            to.copy_from_slice(from);
        }
    }
}

/// The records of this type with data of this length that have the owner of the first of them, each
/// with its place in the answer section.
fn addresses(wire: &[u8], rtype: u16, length: usize) -> impl Iterator<Item = (usize, RecordSpan)> {
    let mut records = Records::new(wire).ok();
    let mut first = None;
    std::iter::from_fn(move || records.as_mut()?.next_record().ok().flatten())
        .take_while(|record| record.section == Section::Answer)
        .enumerate()
        .filter(move |(_, record)| {
            record.rtype == rtype
                && record.end - record.data == length
                && message::same_name(wire, *first.get_or_insert(record.start), record.start) == Ok(true)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::answer::{Asked, ClientTransport, Shown, room, write_entry};
    use crate::core::classify::classify;
    use crate::core::key::{Dnssec, Key};
    use crate::core::question::{Received, read};
    use crate::core::testing::{Response, name, policy, query_with_opt};
    use crate::core::time::Timestamp;
    use hickory_proto::op::Message;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    /// What a client gets of a chain to so many addresses at each of these turns.
    fn given(rtype: u16, count: u8, size: u16, turn: u32) -> Message {
        let mut response = Response::new("www.example.com", rtype).cname("www.example.com", "lb.example.net", 60);
        for index in 0..count {
            let data = [vec![index], vec![7; if rtype == TYPE_AAAA { 15 } else { 3 }]].concat();
            response = response.record(6, "lb.example.net", rtype, 60, &data);
        }
        let response = response.record(6, "lb.example.net", 46, 60, &[&rtype.to_be_bytes()[..], &[8]].concat()).bytes();
        let key = Key::new(&name("www.example.com"), rtype, 1, Dnssec::default());
        let entry = Entry::remember(&key, &response, classify(rtype, &response), &policy(), NOW).unwrap().entry;
        let packet = query_with_opt("www.example.com", rtype, size, 0x80);
        let Received::Query(read) = read(&packet) else { panic!("no query") };
        let asked = Asked { packet: &packet, echo: read.echo, transport: ClientTransport::Udp };
        let mut out = vec![0; room(&entry)];
        let length = write_entry(&asked, &entry, Shown::Fresh, NOW, &mut out);
        rotate(&entry, rtype, turn, &mut out[..length]);
        Message::from_vec(&out[..length]).unwrap()
    }

    fn first_bytes(message: &Message) -> Vec<u8> {
        let data = message.answers.iter().filter_map(|record| record.data.ip_addr());
        data.map(|address| match address {
            std::net::IpAddr::V4(address) => address.octets()[0],
            std::net::IpAddr::V6(address) => address.octets()[0],
        })
        .collect()
    }

    #[test]
    fn addresses_take_turns_and_all_else_keeps_its_place() {
        for rtype in [TYPE_A, TYPE_AAAA] {
            for (turn, order) in [(0, [0, 1, 2]), (1, [1, 2, 0]), (2, [2, 0, 1]), (3, [0, 1, 2]), (100, [1, 2, 0])] {
                let message = given(rtype, 3, 1232, turn);
                assert_eq!(first_bytes(&message), order);
                let types: Vec<u16> = message.answers.iter().map(|record| record.record_type().into()).collect();
                assert_eq!(types, [5, rtype, rtype, rtype, 46]);
            }
        }
    }

    #[test]
    fn one_address_is_left_as_it_is_and_so_are_other_types() {
        assert_eq!(first_bytes(&given(TYPE_A, 1, 1232, 1)), [0]);
        assert_eq!(given(65_280, 2, 1232, 1), given(65_280, 2, 1232, 0));
    }

    #[test]
    fn in_a_truncated_answer_each_address_has_its_turn_and_the_opt_stays() {
        let mut seen = std::collections::BTreeSet::new();
        for turn in 0..60 {
            let message = given(TYPE_A, 60, 512, turn);
            let found = first_bytes(&message);
            assert!(message.metadata.truncation && message.edns.is_some() && found.len() > 5, "{message:?}");
            assert_eq!(found[0], u8::try_from(turn).unwrap());
            seen.extend(found);
        }
        assert_eq!(seen.len(), 60);
    }
}
