//! Says whether a response belongs to the query that was sent.
//!
//! This is what stands between the cache and whoever can send a datagram to our port (RFC 5452
//! §9.1). The source address is the socket's business (it is connected); the rest is decided here,
//! on bytes, so that data which no parser knows passes:
//!
//! | looked at | must hold |
//! |---|---|
//! | length | a whole header, 12 bytes |
//! | QR | 1 |
//! | ID, opcode | those of the query |
//! | question | one, equal byte for byte except for the ASCII case of the name (RFC 4343) |
//!
//! FORMERR, SERVFAIL, NOTIMP and REFUSED may come without a question, as small servers send them;
//! the ID alone then has to do. Such a response can never enter the cache as data: a forger who
//! hits port and ID gains a retry, and with FORMERR an hour without EDNS towards this upstream.
//!
//! Deliberately not done: the case of the name is not compared, because holdover does not randomise
//! it (0x20); a compressed name in the question does not match, because nothing lies before it that
//! it could point to.

use super::labelled::labelled;
use super::message::{FLAG_RESPONSE, HEADER, Header, MASK_OPCODE, Malformed, skip_plain_name};

/// Whether a response is taken for the answer to a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// It belongs to the query.
    Accepted,
    /// It belongs to another query, or to nobody.
    NotOurs(Mismatch),
}

labelled! {
    /// The first reason for which a datagram is not the response to a query.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Mismatch {
        /// It is shorter than a header.
        Short = "too_short",
        /// It is a query: QR is 0.
        NotAResponse = "not_a_response",
        /// Its ID is another one.
        Id = "wrong_id",
        /// Its opcode is another one.
        Opcode = "wrong_opcode",
        /// It has no question, several, or another one.
        Question = "wrong_question",
    }
}

/// The response codes that may come without a question: FORMERR, SERVFAIL, NOTIMP, REFUSED.
const BARE_RCODES: [u16; 4] = [1, 2, 4, 5];

/// Tells whether `response` answers `query`; both are whole messages without length prefix.
///
/// Total: any bytes may be given. A `query` that itself has no single plain question is answered by
/// nothing but an error without a question.
#[must_use]
pub fn accepts(query: &[u8], response: &[u8]) -> Acceptance {
    match compare(query, response) {
        Ok(()) => Acceptance::Accepted,
        Err(mismatch) => Acceptance::NotOurs(mismatch),
    }
}

/// Looks for the first thing that does not fit.
fn compare(query: &[u8], response: &[u8]) -> Result<(), Mismatch> {
    let theirs = Header::read(response).map_err(|Malformed| Mismatch::Short)?;
    if !theirs.has(FLAG_RESPONSE) {
        return Err(Mismatch::NotAResponse);
    }
    let ours = Header::read(query).map_err(|Malformed| Mismatch::Id)?;
    if ours.id != theirs.id {
        return Err(Mismatch::Id);
    }
    if ours.flags & MASK_OPCODE != theirs.flags & MASK_OPCODE {
        return Err(Mismatch::Opcode);
    }
    let is_bare_error = theirs.questions == 0 && BARE_RCODES.contains(&theirs.rcode());
    let is_same_question = || {
        ours.questions == 1
            && theirs.questions == 1
            && question(query).is_some_and(|asked| question(response) == Some(asked))
    };
    if is_bare_error || is_same_question() { Ok(()) } else { Err(Mismatch::Question) }
}

/// The question section of a message with one question.
struct Question<'a> {
    /// QNAME in wire form, with the root label.
    name: &'a [u8],
    /// QTYPE and QCLASS.
    type_and_class: &'a [u8; 4],
}

impl PartialEq for Question<'_> {
    /// Length bytes are at most 63, below `A`: folding the whole name touches nothing but letters
    /// of its labels.
    fn eq(&self, other: &Self) -> bool {
        self.name.eq_ignore_ascii_case(other.name) && self.type_and_class == other.type_and_class
    }
}

/// Finds the first question; `None` when it is cut off, compressed or too long.
fn question(message: &[u8]) -> Option<Question<'_>> {
    let end = skip_plain_name(message, HEADER).ok()?;
    Some(Question { name: message.get(HEADER..end)?, type_and_class: message.get(end..)?.first_chunk()? })
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Header as OracleHeader, MessageType, Query};
    use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
    use proptest::prelude::*;

    use super::*;
    use crate::core::testing;

    /// A query for `www.example.com` A with the ID 0x1234 and RD.
    fn query() -> Vec<u8> {
        testing::query("www.example.com", 1)
    }

    /// A query with that question section.
    fn message(question: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x12, 0x34, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        bytes.extend_from_slice(question);
        bytes
    }

    /// The response to `query` without any RRset.
    fn response(query: &[u8]) -> Vec<u8> {
        let mut bytes = query.to_vec();
        bytes[2] |= 0x80;
        bytes[3] |= 0x80;
        bytes
    }

    /// `query()` and a response to it that `change` has touched.
    fn verdict(change: impl FnOnce(&mut Vec<u8>)) -> Acceptance {
        let mut bytes = response(&query());
        change(&mut bytes);
        accepts(&query(), &bytes)
    }

    #[test]
    fn its_own_response_is_accepted_whatever_follows_the_question() {
        assert_eq!(verdict(|_| ()), Acceptance::Accepted);
        assert_eq!(verdict(|bytes| bytes.extend_from_slice(&[0xff; 40])), Acceptance::Accepted);
    }

    #[test]
    fn the_case_of_the_name_does_not_matter() {
        assert_eq!(verdict(|bytes| bytes[13..16].make_ascii_uppercase()), Acceptance::Accepted);
    }

    #[test]
    fn each_difference_is_named() {
        use Mismatch::{Id, NotAResponse, Opcode, Question, Short};
        assert_eq!(verdict(|bytes| bytes.truncate(11)), Acceptance::NotOurs(Short));
        assert_eq!(verdict(|bytes| bytes[2] &= 0x7f), Acceptance::NotOurs(NotAResponse));
        assert_eq!(verdict(|bytes| bytes[1] ^= 1), Acceptance::NotOurs(Id));
        assert_eq!(verdict(|bytes| bytes[2] |= 0x20), Acceptance::NotOurs(Opcode));
        assert_eq!(verdict(|bytes| bytes[14] = b'x'), Acceptance::NotOurs(Question), "another name");
        assert_eq!(verdict(|bytes| bytes[30] = 28), Acceptance::NotOurs(Question), "another type");
        assert_eq!(verdict(|bytes| bytes[32] = 3), Acceptance::NotOurs(Question), "another class");
        assert_eq!(verdict(|bytes| bytes[5] = 2), Acceptance::NotOurs(Question), "two questions");
        assert_eq!(verdict(|bytes| bytes[5] = 0), Acceptance::NotOurs(Question), "none, without an error");
        assert_eq!(verdict(|bytes| bytes.truncate(32)), Acceptance::NotOurs(Question), "cut off");
    }

    #[test]
    fn label_boundaries_count() {
        let dotted = message(b"\x0bwww.example\x03com\x00\x00\x01\x00\x01");
        assert_eq!(accepts(&query(), &response(&dotted)), Acceptance::NotOurs(Mismatch::Question));
    }

    #[test]
    fn a_compressed_question_does_not_match() {
        let pointer = message(b"\xc0\x0c\x00\x01\x00\x01");
        assert_eq!(accepts(&pointer, &response(&pointer)), Acceptance::NotOurs(Mismatch::Question));
    }

    #[test]
    fn errors_may_come_without_a_question() {
        for rcode in 0..16_u8 {
            let bare = verdict(|bytes| {
                bytes.truncate(12);
                bytes[3] |= rcode;
                bytes[5] = 0;
            });
            let expected = if matches!(rcode, 1 | 2 | 4 | 5) {
                Acceptance::Accepted
            } else {
                Acceptance::NotOurs(Mismatch::Question)
            };
            assert_eq!(bare, expected, "rcode {rcode}");
        }
    }

    #[test]
    fn errors_with_another_question_do_not_match() {
        let other = verdict(|bytes| {
            bytes[3] |= 2;
            bytes[14] = b'x';
        });
        assert_eq!(other, Acceptance::NotOurs(Mismatch::Question));
    }

    #[test]
    fn nothing_answers_a_query_that_is_none() {
        assert_eq!(accepts(&[], &response(&query())), Acceptance::NotOurs(Mismatch::Id));
        assert_eq!(accepts(&query()[..12], &response(&query())), Acceptance::NotOurs(Mismatch::Question));
    }

    /// What hickory makes of header and question; `None` when it cannot read them.
    fn oracle(bytes: &[u8]) -> Option<(OracleHeader, Option<Query>)> {
        let mut decoder = BinDecoder::new(bytes);
        let header = OracleHeader::read(&mut decoder).ok()?;
        Some((header, Query::read(&mut decoder).ok()))
    }

    /// Whether the parsed forms belong together, by the rules of this module.
    fn oracle_accepts(query: &[u8], response: &[u8]) -> bool {
        let (Some((ours, asked)), Some((theirs, answered))) = (oracle(query), oracle(response)) else {
            return false;
        };
        let same_head = theirs.metadata.message_type == MessageType::Response
            && ours.metadata.id == theirs.metadata.id
            && ours.metadata.op_code == theirs.metadata.op_code;
        let bare = theirs.counts.queries == 0 && matches!(response[3] & 0x0f, 1 | 2 | 4 | 5);
        let same_question =
            ours.counts.queries == 1 && theirs.counts.queries == 1 && asked.is_some() && asked == answered;
        same_head && (bare || same_question)
    }

    /// A name in wire form of a few short labels.
    fn name() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::collection::vec(any::<u8>(), 1..6), 0..5).prop_map(|labels| {
            let mut wire: Vec<u8> = labels
                .iter()
                .flat_map(|label| std::iter::once(u8::try_from(label.len()).unwrap()).chain(label.iter().copied()))
                .collect();
            wire.push(0);
            wire
        })
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(query in prop::collection::vec(any::<u8>(), 0..80), response in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = accepts(&query, &response);
        }

        #[test]
        fn hickory_agrees_on_touched_responses(
            name in name(), kind in any::<u16>(), rcode in 0_u8..16, upper in any::<bool>(),
            touched in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        ) {
            let mut section = name;
            section.extend_from_slice(&kind.to_be_bytes());
            section.extend_from_slice(&[0, 1]);
            let query = message(&section);
            let mut bytes = response(&query);
            bytes[3] |= rcode;
            if upper {
                bytes[12..].make_ascii_uppercase();
                let end = bytes.len();
                bytes[end - 4..].copy_from_slice(&query[end - 4..]);
            }
            if let Some((place, value)) = touched {
                let place = place.index(bytes.len());
                bytes[place] = value;
            }
            let accepted = accepts(&query, &bytes) == Acceptance::Accepted;
            let is_compressed = bytes.get(12..).is_some_and(|section| section.iter().any(|byte| *byte >= 0xc0));
            if accepted || !is_compressed {
                prop_assert_eq!(accepted, oracle_accepts(&query, &bytes));
            }
        }
    }
}
