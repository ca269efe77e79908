//! Says what an upstream's response is worth: an answer, a truncated one, or a failure.
//!
//! | response | verdict |
//! |---|---|
//! | NOERROR with data for the question | positive |
//! | NOERROR without, SOA in the authority section | NODATA (RFC 2308 §2.2) |
//! | NOERROR without, no SOA, but RA or a CNAME | NODATA that nobody vouches for: short life, never served stale over a good answer |
//! | NOERROR with nothing and no RA, or a referral | lame: a failure |
//! | NXDOMAIN | NXDOMAIN, with or without SOA |
//! | TC=1 | truncated: ask over TCP |
//! | FORMERR, NOTIMP, BADVERS | a server that may not know EDNS: a failure, asked again without OPT |
//! | SERVFAIL, REFUSED, any other code | a failure |
//! | unreadable framing | garbage: a failure |

use super::labelled::labelled;
use super::message::{self, Header, Record, Records, Section};

/// What kind of answer is remembered; RFC 2308's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Data of the type asked for.
    Positive,
    /// The name exists, the type does not.
    NoData,
    /// The name does not exist.
    NxDomain,
}

labelled! {
    /// Why a resolution or one of its attempts got no answer; the reason in metrics and in
    /// `last_failure` of critical names.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum Failure {
        /// The response is SERVFAIL.
        ServFail = "servfail",
        /// The response is REFUSED.
        Refused = "refused",
        /// The response is FORMERR, NOTIMP or BADVERS, perhaps because the upstream does not know EDNS.
        NotUnderstood = "not_understood",
        /// The response is NOERROR without data, from an upstream that does not offer recursion.
        Lame = "lame",
        /// The response has another code that is no answer.
        OtherRcode = "other_rcode",
        /// The response cannot be parsed.
        Garbage = "malformed",
        /// No response came in time.
        Timeout = "timeout",
        /// The network reported an error: ICMP, a reset connection, no route.
        Network = "network_error",
        /// No query was sent, because one of holdover's own limits was reached.
        Overload = "local_limit",
    }
}

impl Failure {
    /// The failures that a response can show; the others are the lack of one.
    pub const OF_RESPONSES: [Self; 6] =
        [Self::ServFail, Self::Refused, Self::NotUnderstood, Self::Lame, Self::OtherRcode, Self::Garbage];

    /// The extended error to answer with (RFC 8914 §4.23, §4.24): 22 when upstream answered
    /// uselessly, 23 when it did not.
    #[must_use]
    pub const fn extended_error(self) -> u16 {
        match self {
            Self::ServFail | Self::Refused | Self::NotUnderstood | Self::Lame | Self::OtherRcode | Self::Garbage => 22,
            Self::Timeout | Self::Network | Self::Overload => 23,
        }
    }
}

/// Whether a negative answer came with the SOA that vouches for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vouched {
    /// With SOA; its negative TTL in seconds: min(TTL, MINIMUM) (RFC 2308 §5).
    BySoa(u32),
    /// Without.
    Not,
}

/// A response, judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Data; the smallest TTL of its answer section in seconds.
    Positive {
        /// The life of the whole chain (RFC 1034 §3.6.2 with RFC 2181 §5.2).
        ttl: u32,
    },
    /// NODATA or NXDOMAIN.
    Negative {
        /// Which of the two; never [`Kind::Positive`].
        kind: Kind,
        /// Its SOA.
        vouched: Vouched,
    },
    /// TC=1.
    Truncated,
    /// No answer.
    Failed(Failure),
}

/// TTLs with the top bit set count as zero (RFC 2181 §8).
#[must_use]
pub const fn sane_ttl(ttl: u32) -> u32 {
    if ttl > 0x7fff_ffff { 0 } else { ttl }
}

/// What one walk over a response finds.
#[derive(Default)]
struct Findings {
    /// A record of the type asked for stands in the answer section.
    data: bool,
    /// Any record stands in the answer section.
    answers: bool,
    /// Smallest TTL of the answer section.
    ttl: Option<u32>,
    /// Negative TTL of the SOA in the authority section.
    soa: Option<u32>,
    /// An NS stands in the authority section.
    referral: bool,
    /// Upper bits of the RCODE from the OPT.
    extended: u16,
}

/// Judges a response to a question for `qtype`.
#[must_use]
pub fn classify(qtype: u16, response: &[u8]) -> Verdict {
    let Ok(header) = Header::read(response) else { return Verdict::Failed(Failure::Garbage) };
    if header.has(message::FLAG_TRUNCATED) {
        return Verdict::Truncated;
    }
    let findings = match walk(qtype, response) {
        Ok(findings) => findings,
        // An error code counts even if what follows it is garbage.
        Err(_) if matches!(header.rcode(), 0 | 3) => return Verdict::Failed(Failure::Garbage),
        Err(_) => Findings::default(),
    };
    // A denial at the end of a chain lives no longer than what leads to it.
    let vouched =
        findings.soa.map_or(Vouched::Not, |ttl| Vouched::BySoa(findings.ttl.map_or(ttl, |chain| chain.min(ttl))));
    match findings.extended | header.rcode() {
        0 if findings.data => Verdict::Positive { ttl: findings.ttl.unwrap_or(0) },
        0 if findings.soa.is_some() || findings.answers => Verdict::Negative { kind: Kind::NoData, vouched },
        0 if !header.has(message::FLAG_RECURSION_AVAILABLE) || findings.referral => Verdict::Failed(Failure::Lame),
        0 => Verdict::Negative { kind: Kind::NoData, vouched },
        3 => Verdict::Negative { kind: Kind::NxDomain, vouched },
        2 => Verdict::Failed(Failure::ServFail),
        5 => Verdict::Failed(Failure::Refused),
        1 | 4 | 16 => Verdict::Failed(Failure::NotUnderstood),
        _ => Verdict::Failed(Failure::OtherRcode),
    }
}

/// Walks all records once.
fn walk(qtype: u16, response: &[u8]) -> Result<Findings, message::Malformed> {
    let mut findings = Findings::default();
    let mut records = Records::new(response)?;
    while let Some(record) = records.next_record()? {
        match record.section {
            Section::Answer => {
                findings.answers = true;
                findings.data |= answers(qtype, record.rtype);
                let ttl = sane_ttl(record.ttl);
                findings.ttl = Some(findings.ttl.map_or(ttl, |least| least.min(ttl)));
            }
            Section::Authority if record.rtype == message::TYPE_SOA => {
                findings.soa = Some(negative_ttl(response, &record))
            }
            Section::Authority => findings.referral |= record.rtype == 2,
            Section::Additional if record.rtype == message::TYPE_OPT => {
                findings.extended = u16::from(record.ttl.to_be_bytes()[0]) << 4
            }
            Section::Additional => {}
        }
    }
    Ok(findings)
}

/// Whether a record of type `rtype` in the answer section is data for a question for `qtype`.
const fn answers(qtype: u16, rtype: u16) -> bool {
    rtype == qtype || qtype == message::TYPE_ANY && !matches!(rtype, message::TYPE_OPT)
}

/// min(TTL, MINIMUM) of an SOA; the TTL alone when its RDATA is too short to hold a MINIMUM.
fn negative_ttl(response: &[u8], soa: &Record) -> u32 {
    let ttl = sane_ttl(soa.ttl);
    if soa.end < soa.data + 20 {
        return ttl;
    }
    message::read_u32(response, soa.end - 4).map_or(ttl, |minimum| ttl.min(sane_ttl(minimum)))
}

/// Whether bytes are whole raw options, all of them extended errors.
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

/// The extended errors of a response's OPT as raw options (code, length, data), at most `limit`
/// bytes of them.
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

/// EDNS option code of extended errors (RFC 8914 §2).
pub const OPTION_EXTENDED_ERROR: u16 = 15;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::Response;

    #[test]
    fn data_live_as_long_as_their_shortest_ttl() {
        let response = Response::new("www.example.com", 1)
            .cname("www.example.com", "web.example.com", 300)
            .a("web.example.com", 60)
            .bytes();
        assert_eq!(classify(1, &response), Verdict::Positive { ttl: 60 });
    }

    #[test]
    fn nodata_and_nxdomain_take_the_smaller_of_soa_ttl_and_minimum() {
        let nodata = Response::new("www.example.com", 28).soa("example.com", 300, 20).bytes();
        assert_eq!(classify(28, &nodata), Verdict::Negative { kind: Kind::NoData, vouched: Vouched::BySoa(20) });
        let nxdomain = Response::new("www.example.com", 28).rcode(3).soa("example.com", 10, 20).bytes();
        assert_eq!(classify(28, &nxdomain), Verdict::Negative { kind: Kind::NxDomain, vouched: Vouched::BySoa(10) });
        let chain = Response::new("www.example.com", 28)
            .cname("www.example.com", "web.example.com", 300)
            .soa("example.com", 10, 20)
            .bytes();
        assert_eq!(classify(28, &chain), Verdict::Negative { kind: Kind::NoData, vouched: Vouched::BySoa(10) });
    }

    #[test]
    fn nothing_at_all_is_lame_without_ra_and_a_weak_nodata_with_it() {
        let with = Response::new("www.example.com", 1).bytes();
        assert_eq!(classify(1, &with), Verdict::Negative { kind: Kind::NoData, vouched: Vouched::Not });
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
        assert_eq!(classify(1, &response), Verdict::Failed(Failure::Garbage));
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
