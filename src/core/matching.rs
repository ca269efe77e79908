//! Decides whether a response belongs to the query that was sent.
//!
//! This check stands between the cache and anybody who can send a datagram to our port (RFC 5452
//! §9.1). The source address is checked by the socket, which is connected; everything else is
//! checked here, on bytes, so that data which no parser knows can pass:
//!
//! | part of the response | condition |
//! |---|---|
//! | length | at least a whole header, 12 bytes |
//! | QR | 1 |
//! | ID, opcode | equal to those of the query |
//! | question section | one question, equal byte for byte except for the ASCII case of the name (RFC 4343) |
//! | the case of the name | equal where the query has upper case: then it was chosen at random (0x20) |
//!
//! FORMERR, SERVFAIL, NOTIMP and REFUSED may come without a question, as some small name servers
//! send them; then only ID and opcode are compared. Such a response can never enter the cache as
//! data. A forger who guesses port and ID gains one retry with it; one FORMERR takes EDNS from this
//! one question and from no other ([`super::edns`]).
//!
//! A response that is not ours ends nothing and changes nothing, however many come. But from the
//! second *near miss* on (a wrong ID or question at a port that waits) the question is asked over
//! TCP as well ([`super::attempts`]).
//!
//! A compressed name in the question section never matches, because nothing lies before it to which
//! it could point.

use super::labelled::labelled;
use super::message::{FLAG_RESPONSE, HEADER, Header, MASK_OPCODE, MalformedMessage, skip_plain_name};

/// Whether a response is accepted as the response to a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// The response belongs to the query.
    Accepted,
    /// The response belongs to another query or to none, for this reason.
    NotOurs(Mismatch),
}

labelled! {
    /// The first difference between a response and its query, in the order in which they are
    /// compared.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Mismatch {
        /// The message is shorter than a header.
        Short = "too_short",
        /// The message is a query: QR is 0.
        NotAResponse = "not_a_response",
        /// The ID is not that of the query.
        Id = "wrong_id",
        /// The opcode is not that of the query.
        Opcode = "wrong_opcode",
        /// The question section holds no question, several, or another one.
        Question = "wrong_question",
        /// The question is that of the query, except for the case of its letters, which was chosen
        /// at random.
        Case = "wrong_case",
    }
}

/// A response that is not ours, although its sender knows our port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NearMiss {
    /// The ID or the question is wrong: somebody guesses, or the upstream made a mistake.
    Guess,
    /// All but the case of the name is right: an upstream that does not repeat it, most likely.
    OtherCase,
}

impl Mismatch {
    /// The near miss that this is, if it is one. A true response that comes twice is none, since
    /// its port is closed.
    #[must_use]
    pub const fn near_miss(self) -> Option<NearMiss> {
        match self {
            Self::Id | Self::Question => Some(NearMiss::Guess),
            Self::Case => Some(NearMiss::OtherCase),
            Self::Short | Self::NotAResponse | Self::Opcode => None,
        }
    }
}

/// The response codes that may come without a question: FORMERR, SERVFAIL, NOTIMP, REFUSED.
const BARE_RCODES: [u16; 4] = [1, 2, 4, 5];

/// Decides whether `response` belongs to `query`. Both are whole messages without length prefix.
///
/// Any bytes may be given. A `query` that does not have exactly one uncompressed question matches
/// nothing but an error response without a question.
#[must_use]
pub fn accepts(query: &[u8], response: &[u8]) -> Acceptance {
    match compare(query, response) {
        Ok(()) => Acceptance::Accepted,
        Err(mismatch) => Acceptance::NotOurs(mismatch),
    }
}

/// Compares a response with its query and returns the first difference as an error.
fn compare(query: &[u8], response: &[u8]) -> Result<(), Mismatch> {
    let theirs = Header::read(response).map_err(|MalformedMessage| Mismatch::Short)?;
    if !theirs.has(FLAG_RESPONSE) {
        return Err(Mismatch::NotAResponse);
    }
    let ours = Header::read(query).map_err(|MalformedMessage| Mismatch::Id)?;
    if ours.id != theirs.id {
        return Err(Mismatch::Id);
    }
    if ours.flags & MASK_OPCODE != theirs.flags & MASK_OPCODE {
        return Err(Mismatch::Opcode);
    }
    let is_bare_error = theirs.questions == 0 && BARE_RCODES.contains(&theirs.rcode());
    if is_bare_error {
        return Ok(());
    }
    let (Some(asked), Some(answered)) = (question(query), question(response)) else { return Err(Mismatch::Question) };
    if ours.questions != 1 || theirs.questions != 1 || asked != answered {
        return Err(Mismatch::Question);
    }
    // The names of keys are in lower case, so that upper case is our own random choice.
    if asked.name.iter().any(u8::is_ascii_uppercase) && asked.name != answered.name {
        return Err(Mismatch::Case);
    }
    Ok(())
}

/// The first question of a message, as it stands on the wire.
struct QuestionBytes<'a> {
    /// QNAME in wire form, with the root label.
    name: &'a [u8],
    type_and_class: &'a [u8; 4],
}

impl PartialEq for QuestionBytes<'_> {
    fn eq(&self, other: &Self) -> bool {
        // The length bytes of labels are at most 63, which is below `A`. So ignoring case over the
        // whole name touches only the letters of its labels.
        self.name.eq_ignore_ascii_case(other.name) && self.type_and_class == other.type_and_class
    }
}

/// Finds the first question of a message; `None` when it is cut off, compressed or too long.
fn question(message: &[u8]) -> Option<QuestionBytes<'_>> {
    let end = skip_plain_name(message, HEADER).ok()?;
    Some(QuestionBytes { name: message.get(HEADER..end)?, type_and_class: message.get(end..)?.first_chunk()? })
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

    /// A query with this question section.
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

    /// Whether the response to `query()` is still accepted after `change` has changed it.
    fn acceptance(change: impl FnOnce(&mut Vec<u8>)) -> Acceptance {
        let mut bytes = response(&query());
        change(&mut bytes);
        accepts(&query(), &bytes)
    }

    #[test]
    fn the_right_response_is_accepted_whatever_follows_the_question() {
        assert_eq!(acceptance(|_| ()), Acceptance::Accepted);
        assert_eq!(acceptance(|bytes| bytes.extend_from_slice(&[0xff; 40])), Acceptance::Accepted);
    }

    #[test]
    fn the_case_of_the_name_does_not_matter() {
        assert_eq!(acceptance(|bytes| bytes[13..16].make_ascii_uppercase()), Acceptance::Accepted);
    }

    #[test]
    fn each_difference_is_named() {
        use Mismatch::{Id, NotAResponse, Opcode, Question, Short};
        assert_eq!(acceptance(|bytes| bytes.truncate(11)), Acceptance::NotOurs(Short));
        assert_eq!(acceptance(|bytes| bytes[2] &= 0x7f), Acceptance::NotOurs(NotAResponse));
        assert_eq!(acceptance(|bytes| bytes[1] ^= 1), Acceptance::NotOurs(Id));
        assert_eq!(acceptance(|bytes| bytes[2] |= 0x20), Acceptance::NotOurs(Opcode));
        assert_eq!(acceptance(|bytes| bytes[14] = b'x'), Acceptance::NotOurs(Question), "another name");
        assert_eq!(acceptance(|bytes| bytes[30] = 28), Acceptance::NotOurs(Question), "another type");
        assert_eq!(acceptance(|bytes| bytes[32] = 3), Acceptance::NotOurs(Question), "another class");
        assert_eq!(acceptance(|bytes| bytes[5] = 2), Acceptance::NotOurs(Question), "two questions");
        assert_eq!(acceptance(|bytes| bytes[5] = 0), Acceptance::NotOurs(Question), "none, without an error");
        assert_eq!(acceptance(|bytes| bytes.truncate(32)), Acceptance::NotOurs(Question), "cut off");
    }

    #[test]
    fn a_wrong_id_or_question_is_a_near_miss_and_garbage_is_none() {
        let near: Vec<_> = Mismatch::ALL.into_iter().filter(|mismatch| mismatch.near_miss().is_some()).collect();
        assert_eq!(near, [Mismatch::Id, Mismatch::Question, Mismatch::Case]);
    }

    #[test]
    fn a_case_that_was_chosen_at_random_has_to_be_repeated() {
        let mixed = testing::query("wWw.eXample.com", 1);
        let mut lower = response(&mixed);
        lower[12..29].make_ascii_lowercase();
        let mut other = response(&mixed);
        other[13..16].copy_from_slice(b"WwW");
        let mut stranger = lower.clone();
        stranger[14] = b'x';
        let accepted = |response: &[u8]| accepts(&mixed, response);
        assert_eq!(accepted(&response(&mixed)), Acceptance::Accepted);
        assert_eq!([accepted(&lower), accepted(&other)], [Acceptance::NotOurs(Mismatch::Case); 2]);
        assert_eq!(accepted(&stranger), Acceptance::NotOurs(Mismatch::Question));
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
            let bare = acceptance(|bytes| {
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
        let other = acceptance(|bytes| {
            bytes[3] |= 2;
            bytes[14] = b'x';
        });
        assert_eq!(other, Acceptance::NotOurs(Mismatch::Question));
    }

    #[test]
    fn nothing_matches_bytes_that_are_no_query() {
        assert_eq!(accepts(&[], &response(&query())), Acceptance::NotOurs(Mismatch::Id));
        assert_eq!(accepts(&query()[..12], &response(&query())), Acceptance::NotOurs(Mismatch::Question));
    }

    /// Header and question as hickory reads them; `None` when it cannot read the header.
    fn oracle(bytes: &[u8]) -> Option<(OracleHeader, Option<Query>)> {
        let mut decoder = BinDecoder::new(bytes);
        let header = OracleHeader::read(&mut decoder).ok()?;
        Some((header, Query::read(&mut decoder).ok()))
    }

    /// Whether query and response belong together by the rules of this module, applied to what
    /// hickory parsed.
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
        fn no_bytes_make_it_panic(
            query in prop::collection::vec(any::<u8>(), 0..80),
            response in prop::collection::vec(any::<u8>(), 0..80),
        ) {
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
            // Queries with upper case are another matter.
            prop_assume!(!query[12..query.len() - 4].iter().any(u8::is_ascii_uppercase));
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
