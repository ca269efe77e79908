//! Classifies an upstream's response: a positive or negative answer, a truncated one, or a failure.
//!
//! The first row that fits decides. What is part of the answer, and where its chain of aliases
//! ends, is found in [`super::chain`]; all other records of the answer section are strays.
//!
//! | response | verdict |
//! |---|---|
//! | header shorter than 12 bytes | failed: malformed |
//! | TC=1 | truncated: the question is asked again over TCP |
//! | FORMERR, NOTIMP, BADVERS | failed: not understood; the upstream may not know EDNS and is asked again without OPT |
//! | SERVFAIL, REFUSED, any response code but NOERROR and NXDOMAIN | failed |
//! | framing or names that cannot be read, an OPT outside its section | failed: malformed |
//! | a chain that is a loop, or longer than 32 aliases | failed: malformed |
//! | NXDOMAIN | NXDOMAIN, vouched for if there is an SOA |
//! | NOERROR with data at the end of the chain | positive |
//! | strays of the type asked for, or other names and nothing of the answer | failed: malformed |
//! | no data, and an SOA | NODATA (RFC 2308 §2.2) |
//! | no data and no SOA, but an alias | NODATA that no SOA vouches for |
//! | the same with nothing, or other types alone, in the answer section, and AA=1 | NODATA that no SOA vouches for |
//! | the same with AA=0, and RA=0 or a referral | failed: lame |
//! | the same with AA=0, RA=1 and no referral | NODATA that no SOA vouches for |
//!
//! An SOA counts if it is in the authority section, and its owner is the name at the end of the
//! chain or one above it. An SOA of any other zone says nothing about that name: a denial with such
//! an SOA alone is one that no SOA vouches for.
//!
//! A negative answer that no SOA vouches for gets a short life of its own, and NODATA of that kind
//! never counts instead of a positive answer (see [`super::entry`]). No negative answer lives
//! longer than the aliases that lead to it.
//!
//! RDATA are not read, except for the names of aliases and the MINIMUM of an SOA. Whether the
//! question itself matches is decided in [`super::matching`].

use super::chain::{AnswerChain, Ending, Strays};
use super::extended_error::{ExtendedError, OPTION_EXTENDED_ERROR};
use super::labelled::labelled;
use super::message::{self, Header, MalformedMessage, RecordSpan, Records, Section, sane_ttl};
use super::name::NameReader;

/// The kind of a remembered answer, in the words of RFC 2308 §1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The answer has data of the type asked for.
    Positive,
    /// The name exists, but has no data of the type asked for (NODATA).
    NoData,
    /// The name does not exist (NXDOMAIN).
    NxDomain,
}

labelled! {
    /// Why an attempt to get an answer from an upstream failed.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum Failure {
        /// The response code is SERVFAIL.
        ServFail = "servfail",
        /// The response code is REFUSED.
        Refused = "refused",
        /// The response code is FORMERR, NOTIMP or BADVERS, perhaps because of EDNS.
        NotUnderstood = "not_understood",
        /// NOERROR from a name server that does not resolve for us.
        Lame = "lame",
        /// The response has any other error code.
        OtherRcode = "other_rcode",
        /// The response cannot be read, or holds nothing that answers the question.
        Malformed = "malformed",
        /// An answer that the upstream itself marks as stale (RFC 8914 §4.4, §4.20).
        MarkedStale = "marked_stale",
        /// NODATA that no SOA vouches for, although a positive answer is remembered.
        Unvouched = "unvouched",
        /// Addresses from before a change, which nobody has confirmed for long enough
        /// ([`super::reversal`]).
        Unconfirmed = "unconfirmed",
        /// No response came in time.
        Timeout = "timeout",
        /// The network reported an error: ICMP, a TCP reset, no route.
        NetworkError = "network_error",
        /// No query was sent, because one of holdover's own limits was reached.
        LocalLimit = "local_limit",
    }
}

impl Failure {
    /// The failures that a single response can show; all other failures mean that there was no
    /// response, or that several contradict what is known.
    pub const OF_RESPONSES: [Self; 8] = [
        Self::ServFail,
        Self::Refused,
        Self::NotUnderstood,
        Self::Lame,
        Self::OtherRcode,
        Self::Malformed,
        Self::MarkedStale,
        Self::Unvouched,
    ];

    /// Whether a response came that has nothing to say to its question, whatever it says otherwise:
    /// malformed, about other names, without an SOA against what is known, or marked as stale.
    #[must_use]
    pub const fn is_garbage(self) -> bool {
        matches!(self, Self::Malformed | Self::Unvouched | Self::MarkedStale)
    }

    /// The extended error that tells a client why it gets SERVFAIL (RFC 8914 §4.23, §4.24):
    /// upstream responded, but not with an answer, or it did not respond at all.
    #[must_use]
    pub const fn extended_error(self) -> ExtendedError {
        match self {
            Self::ServFail
            | Self::Refused
            | Self::NotUnderstood
            | Self::Lame
            | Self::OtherRcode
            | Self::Malformed
            | Self::MarkedStale
            | Self::Unvouched
            | Self::Unconfirmed => ExtendedError::NoReachableAuthority,
            Self::Timeout | Self::NetworkError | Self::LocalLimit => ExtendedError::NetworkError,
        }
    }
}

/// Whether a negative answer came with the SOA that vouches for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vouched {
    /// An SOA of a zone that holds the name stands in the authority section. The number is the
    /// negative TTL in seconds: the least of the SOA's TTL, its MINIMUM (RFC 2308 §5) and the TTLs
    /// of the chain before it.
    BySoa(u32),
    /// The response has no such SOA.
    Not,
}

/// The verdict about a response: the kind of answer that it is, or the failure that it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The response answers the question with data.
    Positive {
        /// The smallest TTL of the answer in seconds, which is the life of a whole chain (RFC 1034
        /// §3.6.2 with RFC 2181 §5.2).
        ttl: u32,
    },
    /// The response is NODATA or NXDOMAIN.
    Negative {
        /// [`Kind::NoData`] or [`Kind::NxDomain`], never [`Kind::Positive`].
        kind: Kind,
        /// Whether an SOA vouches for the answer, and for how long.
        vouched: Vouched,
        /// The smallest TTL of the aliases that lead to the denial, in seconds; `None` without one.
        chain: Option<u32>,
    },
    /// The response has TC set.
    Truncated,
    /// The response is no answer.
    Failed(Failure),
}

impl Verdict {
    /// Whether the response is NODATA that no SOA vouches for, which is no denial where data are
    /// known (RFC 2308 §2.2): a resolver that could not reach the servers of an alias's target says
    /// the same.
    #[must_use]
    pub const fn is_unvouched_nodata(self) -> bool {
        matches!(self, Self::Negative { kind: Kind::NoData, vouched: Vouched::Not, .. })
    }
}

/// The findings outside the answer section.
#[derive(Default)]
struct Findings {
    /// An NS stands in the authority section.
    referral: bool,
    /// Upper bits of the RCODE from the OPT, shifted to their place above the lower four.
    extended: u16,
}

/// Classifies a response to a question for `qtype`.
///
/// Any bytes may be given. Whether they belong to the query is not checked here.
#[must_use]
pub fn classify(qtype: u16, response: &[u8]) -> Verdict {
    let Ok(header) = Header::read(response) else { return Verdict::Failed(Failure::Malformed) };
    if header.has(message::FLAG_TRUNCATED) {
        return Verdict::Truncated;
    }
    let findings = match walk(response) {
        Ok(findings) => findings,
        // An error code counts even if the records behind it cannot be read.
        Err(_) if matches!(header.rcode(), 0 | 3) => return Verdict::Failed(Failure::Malformed),
        Err(_) => Findings::default(),
    };
    match findings.extended | header.rcode() {
        0 => judge(qtype, response, header, &findings).unwrap_or(Verdict::Failed(Failure::Malformed)),
        3 => deny(qtype, response).unwrap_or(Verdict::Failed(Failure::Malformed)),
        2 => Verdict::Failed(Failure::ServFail),
        5 => Verdict::Failed(Failure::Refused),
        1 | 4 | 16 => Verdict::Failed(Failure::NotUnderstood),
        _ => Verdict::Failed(Failure::OtherRcode),
    }
}

/// Walks all records of a response once.
fn walk(response: &[u8]) -> Result<Findings, MalformedMessage> {
    let mut findings = Findings::default();
    let mut records = Records::new(response)?;
    while let Some(record) = records.next_record()? {
        match record.section {
            Section::Authority => findings.referral |= record.rtype == message::TYPE_NS,
            Section::Additional if record.rtype == message::TYPE_OPT => {
                findings.extended = u16::from(record.ttl.to_be_bytes()[0]) << 4
            }
            Section::Answer | Section::Additional => {}
        }
    }
    Ok(findings)
}

/// Judges a response with NOERROR.
fn judge(qtype: u16, response: &[u8], header: Header, findings: &Findings) -> Result<Verdict, MalformedMessage> {
    let chain = AnswerChain::follow(qtype, response)?;
    // Records of other types are left out of what is kept, so they make no difference here.
    let is_empty = !chain.has_aliases();
    match (chain.ending, chain.strays) {
        (Ending::Data, _) => return Ok(Verdict::Positive { ttl: chain.ttl.unwrap_or(0) }),
        (Ending::Endless, _) | (Ending::NoData, Strays::Contradicting) => return Err(MalformedMessage),
        (Ending::NoData, Strays::Unrelated) if !chain.has_aliases() => return Err(MalformedMessage),
        (Ending::NoData, Strays::Unrelated | Strays::OtherTypes | Strays::None) => {}
    }
    let vouched = vouched(response, &chain)?;
    let is_responsible = header.has(message::FLAG_AUTHORITATIVE);
    let resolves = header.has(message::FLAG_RECURSION_AVAILABLE) && !findings.referral;
    if vouched == Vouched::Not && is_empty && !is_responsible && !resolves {
        return Ok(Verdict::Failed(Failure::Lame));
    }
    Ok(Verdict::Negative { kind: Kind::NoData, vouched, chain: chain.ttl })
}

/// Judges a response with NXDOMAIN, which is about the name at the end of the chain (RFC 6604).
fn deny(qtype: u16, response: &[u8]) -> Result<Verdict, MalformedMessage> {
    let chain = AnswerChain::follow(qtype, response)?;
    if chain.ending == Ending::Endless {
        return Err(MalformedMessage);
    }
    Ok(Verdict::Negative { kind: Kind::NxDomain, vouched: vouched(response, &chain)?, chain: chain.ttl })
}

/// Whether an SOA vouches for a denial at the end of a chain.
fn vouched(response: &[u8], chain: &AnswerChain) -> Result<Vouched, MalformedMessage> {
    let mut names = NameReader::new(response);
    let mut records = Records::new(response)?;
    // The question was read when the chain was followed.
    let qclass = message::question_class(response)?;
    let mut least = None;
    while let Some(record) = records.next_record()? {
        let is_soa = record.section == Section::Authority && record.rtype == message::TYPE_SOA;
        if is_soa && record.class == qclass && chain.ends_within(&names.read(record.start)?.0) {
            let ttl = negative_ttl(response, &record);
            least = Some(least.map_or(ttl, |least: u32| least.min(ttl)));
        }
    }
    Ok(least.map_or(Vouched::Not, |ttl| Vouched::BySoa(chain.ttl.map_or(ttl, |chain| chain.min(ttl)))))
}

/// The lesser of an SOA's TTL and MINIMUM in seconds; the TTL alone when its RDATA are too short
/// for a MINIMUM.
fn negative_ttl(response: &[u8], soa: &RecordSpan) -> u32 {
    let ttl = sane_ttl(soa.ttl);
    // The RDATA end with five 32-bit numbers, of which MINIMUM is the last (RFC 1035 §3.3.13).
    if soa.end < soa.data + 20 {
        return ttl;
    }
    message::read_u32(response, soa.end - 4).map_or(ttl, |minimum| ttl.min(sane_ttl(minimum)))
}

/// Whether `options` are whole EDNS options in wire form, all of them extended errors.
#[must_use]
pub fn is_extended_errors(mut options: &[u8]) -> bool {
    while let [code_high, code_low, high, low, rest @ ..] = options {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (OPTION_EXTENDED_ERROR, Some(rest)) = (u16::from_be_bytes([*code_high, *code_low]), rest.get(length..))
        else {
            return false;
        };
        options = rest;
    }
    options.is_empty()
}

/// The extended errors in a response's OPT, as raw EDNS options (code, length, data).
///
/// Options that would make the result longer than `limit` bytes are left out; so is all that
/// follows an option or a record that cannot be read.
#[must_use]
pub fn extended_errors(response: &[u8], limit: usize) -> Vec<u8> {
    let mut found = Vec::new();
    let Ok(mut records) = Records::new(response) else { return found };
    while let Ok(Some(record)) = records.next_record() {
        if record.rtype != message::TYPE_OPT {
            continue;
        }
        let mut rest = response.get(record.data..record.end).unwrap_or_default();
        while let (Some(code), Some(length)) = (message::read_u16(rest, 0), message::read_u16(rest, 2)) {
            let Some((option, after)) = rest.split_at_checked(4 + usize::from(length)) else { break };
            if code == OPTION_EXTENDED_ERROR && length >= 2 && found.len() + option.len() <= limit {
                found.extend_from_slice(option);
            }
            rest = after;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::Response;

    #[test]
    fn a_positive_answer_lives_as_long_as_its_shortest_ttl() {
        let response = Response::new("www.example.com", 1)
            .cname("www.example.com", "web.example.com", 300)
            .a("web.example.com", 60)
            .bytes();
        assert_eq!(classify(1, &response), Verdict::Positive { ttl: 60 });
    }

    #[test]
    fn nodata_and_nxdomain_take_the_smaller_of_soa_ttl_and_minimum() {
        let nodata = Response::new("www.example.com", 28).soa("example.com", 300, 20).bytes();
        assert_eq!(
            classify(28, &nodata),
            Verdict::Negative { kind: Kind::NoData, vouched: Vouched::BySoa(20), chain: None }
        );
        let nxdomain = Response::new("www.example.com", 28).rcode(3).soa("example.com", 10, 20).bytes();
        assert_eq!(
            classify(28, &nxdomain),
            Verdict::Negative { kind: Kind::NxDomain, vouched: Vouched::BySoa(10), chain: None }
        );
        let chain = Response::new("www.example.com", 28)
            .cname("www.example.com", "web.example.com", 300)
            .soa("example.com", 10, 20)
            .bytes();
        assert_eq!(
            classify(28, &chain),
            Verdict::Negative { kind: Kind::NoData, vouched: Vouched::BySoa(10), chain: Some(300) }
        );
    }

    #[test]
    fn an_empty_response_is_lame_without_ra_and_an_unvouched_nodata_with_it() {
        let with = Response::new("www.example.com", 1).bytes();
        assert_eq!(classify(1, &with), Verdict::Negative { kind: Kind::NoData, vouched: Vouched::Not, chain: None });
        let without = Response::new("www.example.com", 1).flags(0x8100).bytes();
        assert_eq!(classify(1, &without), Verdict::Failed(Failure::Lame));
    }

    #[test]
    fn error_codes_are_failures_of_their_kind() {
        for (rcode, failure) in [
            (1, Failure::NotUnderstood),
            (2, Failure::ServFail),
            (4, Failure::NotUnderstood),
            (5, Failure::Refused),
            (9, Failure::OtherRcode),
        ] {
            assert_eq!(
                classify(1, &Response::new("www.example.com", 1).rcode(rcode).bytes()),
                Verdict::Failed(failure)
            );
        }
    }

    #[test]
    fn badvers_is_read_from_the_opt() {
        let response = Response::new("www.example.com", 1).opt(1, &[]).bytes();
        assert_eq!(classify(1, &response), Verdict::Failed(Failure::NotUnderstood));
    }

    #[test]
    fn a_message_cut_off_is_garbage() {
        let mut response = Response::new("www.example.com", 1).a("www.example.com", 60).bytes();
        response.truncate(response.len() - 1);
        assert_eq!(classify(1, &response), Verdict::Failed(Failure::Malformed));
    }

    #[test]
    fn a_ttl_with_the_top_bit_set_is_zero() {
        let response = Response::new("www.example.com", 1).a("www.example.com", 0x8000_0000).bytes();
        assert_eq!(classify(1, &response), Verdict::Positive { ttl: 0 });
    }

    #[test]
    fn extended_errors_are_copied_and_bounded() {
        let options = [0, 10, 0, 1, 9, 0, 15, 0, 4, 0, 7, b'h', b'i'];
        let response = Response::new("www.example.com", 1).rcode(2).opt(0, &options).bytes();
        assert_eq!(extended_errors(&response, 512), [0, 15, 0, 4, 0, 7, b'h', b'i']);
        assert!(extended_errors(&response, 4).is_empty());
    }
}
