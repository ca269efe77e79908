//! Writes the responses that clients get: from a remembered answer, or as an error. No other module
//! makes the bytes of a response to a client.
//!
//! | part of the response | content |
//! |---|---|
//! | ID, opcode, RD, CD, question | as in the query; the question byte for byte, with its case (0x20) |
//! | RA | always set |
//! | AA | never set |
//! | AD | set if upstream set it, the client asked for it (AD or DO, RFC 6840 §5.8) and the answer is fresh |
//! | TTLs | counted down while fresh (RFC 1035 §3.2.1), small and never 0 while stale (RFC 8767 §4) |
//! | OPT | present if the query had one (RFC 6891 §6.1.1) |
//!
//! The bytes of the OPT and of its extended errors are reserved before any record is copied, so
//! truncation loses neither (RFC 6891 §7): a stale answer without its extended error would pass for
//! a fresh one. Only the texts of an upstream's extended errors are left out where there is no room
//! for them. A response that is too large for its client sets TC and still holds as many whole
//! records as fit: musl before 1.2.4 reads the records of a truncated response and never asks over
//! TCP. Cutting at RRsets instead of records would leave such a client nothing of one large RRset.
//!
//! Nothing here allocates: the caller brings the buffer.

use std::time::Duration;

use super::classify::Kind;
use super::entry::Entry;
use super::extended_error::{ExtendedError, OPTION_EXTENDED_ERROR};
use super::message::{self, HEADER, Records, Section};
use super::question::{Echo, ErrorRcode};
use super::time::Timestamp;

/// The size of the largest UDP response to a client with EDNS, in bytes (DNS flag day 2020, RFC
/// 9715 §3).
pub const UDP_MAX: usize = 1232;
/// The size of the largest UDP response to a client without EDNS, in bytes (RFC 1035 §4.2.1). A
/// client's OPT that names less counts as naming this.
pub const UDP_PLAIN: usize = 512;
/// The size of the largest response over a stream, in bytes: the most that its two-byte length can
/// express.
pub const STREAM_MAX: usize = 65_535;
/// Length of an OPT without options, in bytes.
const OPT: usize = 11;
/// Length of an extended error without text, in bytes.
const EXTENDED_ERROR: usize = 6;

/// How a response travels to its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientTransport {
    /// The response is one UDP datagram.
    Udp,
    /// The response is a frame on a stream (TCP).
    Stream,
}

/// Whether a remembered answer is shown to the client as fresh or as stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The TTLs are counted down, and AD may be set.
    Fresh,
    /// The response is marked as stale, and its TTLs are short (RFC 8767 §4).
    Stale {
        /// The largest TTL that the response may show.
        ttl: Duration,
    },
}

/// The query that is being answered.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The client's packet as it was received.
    pub packet: &'a [u8],
    /// The parts of the packet that the response repeats.
    pub echo: Echo,
    /// How the response travels to the client.
    pub transport: ClientTransport,
}

impl Asked<'_> {
    /// The size of the largest response that this client takes, in bytes.
    #[must_use]
    pub fn limit(&self) -> usize {
        match (self.transport, self.echo.edns) {
            (ClientTransport::Stream, _) => STREAM_MAX,
            (ClientTransport::Udp, Some(edns)) => usize::from(edns.udp_size).clamp(UDP_PLAIN, UDP_MAX),
            (ClientTransport::Udp, None) => UDP_PLAIN,
        }
    }

    /// The question section as the client wrote it; empty when it could not be read.
    fn question(&self) -> &[u8] {
        self.packet.get(HEADER..self.echo.question_end).unwrap_or_default()
    }

    /// The flags that every response to this query has.
    const fn flags(&self) -> u16 {
        message::FLAG_RESPONSE
            | message::FLAG_RECURSION_AVAILABLE
            | self.echo.flags
                & (message::MASK_OPCODE | message::FLAG_RECURSION_DESIRED | message::FLAG_CHECKING_DISABLED)
    }
}

/// The size of a buffer that any response from `entry` fits into, in bytes.
#[must_use]
pub fn room(entry: &Entry) -> usize {
    entry.wire().len().max(UDP_PLAIN) + OPT + EXTENDED_ERROR + entry.extended_errors().len()
}

/// Writes the response that an entry gives to a query, and returns its length in bytes: 0 when not
/// even a response without records fits into `out`.
#[must_use]
pub fn write_entry(asked: &Asked<'_>, entry: &Entry, shown: Shown, now: Timestamp, out: &mut [u8]) -> usize {
    // A stale response says that it is stale. A fresh one passes on what upstream said.
    let own = match (shown, entry.kind) {
        (Shown::Fresh, _) => None,
        (Shown::Stale { .. }, Kind::NxDomain) => Some(ExtendedError::StaleNxDomain),
        (Shown::Stale { .. }, Kind::Positive | Kind::NoData) => Some(ExtendedError::Stale),
    };
    let passed_on = if own.is_none() { entry.extended_errors() } else { &[] };
    let options = EdnsOptions { own: [own, None], passed_on };
    // The stored message is copied whole, or as many of its records as leave room for the OPT with
    // its extended errors.
    let limit = asked.limit().min(out.len());
    let reserved = if asked.echo.edns.is_some() { OPT + options.least_length() } else { 0 };
    let fit = if entry.wire().len() + reserved <= limit {
        Fit { length: put(out, 0, entry.wire()), truncated: false }
    } else {
        copy_what_fits(entry, limit.saturating_sub(reserved), out)
    };
    // What belongs to this query rather than to the stored message is written over it.
    let mut flags = asked.flags() | u16::from(entry.wire().get(3).copied().unwrap_or_default()) & message::MASK_RCODE;
    if fit.truncated || entry.truncated {
        flags |= message::FLAG_TRUNCATED;
    }
    let wants_authentic =
        asked.echo.flags & message::FLAG_AUTHENTIC != 0 || asked.echo.edns.is_some_and(|edns| edns.dnssec_ok);
    if entry.authentic && wants_authentic && shown == Shown::Fresh {
        flags |= message::FLAG_AUTHENTIC;
    }
    patch_ttls(entry, shown, now, fit.length, out);
    put(out, 0, &asked.echo.id.to_be_bytes());
    put(out, 2, &flags.to_be_bytes());
    // The client's question is as long as the stored one, since both have the same name.
    put(out, HEADER, asked.question());
    append_opt(asked, 0, options, fit.length, limit, out)
}

/// Writes a response without any record and returns its length in bytes: 0 when it does not fit
/// into `out`.
///
/// `reasons` are extended errors of our own, `passed_on` those of an upstream as raw EDNS options.
/// Both are left out for a client without EDNS. The texts of those that are passed on are left out
/// when they do not fit.
#[must_use]
pub fn write_error(
    asked: &Asked<'_>,
    rcode: ErrorRcode,
    reasons: [Option<ExtendedError>; 2],
    passed_on: &[u8],
    out: &mut [u8],
) -> usize {
    let question = asked.question();
    let [_, low] = rcode.code().to_be_bytes();
    let flags = asked.flags() | u16::from(low) & message::MASK_RCODE;
    let questions: u16 = if question.is_empty() { 0 } else { 1 };
    let length = HEADER + question.len();
    let limit = asked.limit().min(out.len());
    if length > limit {
        return 0;
    }
    for (at, field) in [(0, asked.echo.id), (2, flags), (4, questions), (6, 0), (8, 0), (10, 0)] {
        put(out, at, &field.to_be_bytes());
    }
    put(out, HEADER, question);
    append_opt(asked, rcode.code(), EdnsOptions { own: reasons, passed_on }, length, limit, out)
}

/// Copies `bytes` to the offset `at` and returns how many were copied: all, or none when they do
/// not fit.
fn put(out: &mut [u8], at: usize, bytes: &[u8]) -> usize {
    match at.checked_add(bytes.len()).and_then(|end| out.get_mut(at..end)) {
        Some(place) => {
            place.copy_from_slice(bytes);
            bytes.len()
        }
        None => 0,
    }
}

/// How much of an entry's message was copied.
struct Fit {
    length: usize,
    /// Whether a record is missing of which the client must learn by TC.
    truncated: bool,
}

/// Copies header, question and as many whole records as fit into `limit` bytes, and sets the
/// counts.
///
/// Additional data, and the authority section of a positive answer, may be left out without setting
/// TC (RFC 2181 §9).
fn copy_what_fits(entry: &Entry, limit: usize, out: &mut [u8]) -> Fit {
    let Ok(mut records) = Records::new(entry.wire()) else { return Fit { length: 0, truncated: true } };
    let mut end = records.position();
    let mut counts = [0_u16; 3];
    let mut truncated = false;
    while let Ok(Some(record)) = records.next_record() {
        let (count, needed) = match (record.section, &mut counts) {
            (Section::Answer, [count, _, _]) => (count, true),
            (Section::Authority, [_, count, _]) => (count, entry.kind != Kind::Positive),
            (Section::Additional, [_, _, count]) => (count, false),
        };
        if record.end > limit {
            truncated |= needed;
            break;
        }
        *count += 1;
        end = record.end;
    }
    let length = put(out, 0, entry.wire().get(..end).unwrap_or_default());
    for (at, count) in [6, 8, 10].into_iter().zip(counts) {
        put(out, at, &count.to_be_bytes());
    }
    Fit { length, truncated }
}

/// Overwrites the TTLs in the first `length` bytes of `out` with those that the client is shown.
fn patch_ttls(entry: &Entry, shown: Shown, now: Timestamp, length: usize, out: &mut [u8]) {
    let age = u32::try_from(now.since(entry.stored).as_secs()).unwrap_or(u32::MAX);
    for at in entry.ttl_offsets().take_while(|at| at + 4 <= length) {
        let original = message::sane_ttl(message::read_u32(entry.wire(), at).unwrap_or_default());
        let ttl = match shown {
            Shown::Fresh => original.min(entry.ttl_cap()).saturating_sub(age),
            Shown::Stale { ttl } => original.min(u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX)).max(1),
        };
        put(out, at, &ttl.to_be_bytes());
    }
}

/// The EDNS options of a response: extended errors, and nothing else.
#[derive(Clone, Copy)]
struct EdnsOptions<'a> {
    own: [Option<ExtendedError>; 2],
    /// Upstream's extended errors, as raw options.
    passed_on: &'a [u8],
}

impl<'a> EdnsOptions<'a> {
    /// The length of all options together, in bytes.
    fn length(&self) -> usize {
        self.own.iter().flatten().count() * EXTENDED_ERROR + self.passed_on.len()
    }

    /// The length of all options together without the texts of those that are passed on, in bytes.
    fn least_length(&self) -> usize {
        (self.own.iter().flatten().count() + self.codes_passed_on().count()) * EXTENDED_ERROR
    }

    /// The INFO-CODEs that are passed on, without their texts (RFC 8914 §2).
    fn codes_passed_on(&self) -> impl Iterator<Item = [u8; 2]> + use<'a> {
        let mut rest = self.passed_on;
        std::iter::from_fn(move || {
            let [_, _, high, low, first, second, ..] = *rest else { return None };
            rest = rest.get(4 + usize::from(u16::from_be_bytes([high, low]))..).unwrap_or_default();
            Some([first, second])
        })
    }
}

/// Appends an OPT when the query had one (RFC 6891 §6.1.1), counts it as an additional record, and
/// returns the new length of the message.
///
/// The texts of the extended errors that are passed on are left out when they do not fit into
/// `limit` bytes, and all options when there is not even room for their codes.
fn append_opt(
    asked: &Asked<'_>,
    rcode: u16,
    options: EdnsOptions<'_>,
    length: usize,
    limit: usize,
    out: &mut [u8],
) -> usize {
    let Some(edns) = asked.echo.edns else { return length };
    let Some(room) = limit.checked_sub(length + OPT) else { return length };
    // A client that gets no reason still gets its answer.
    let (own, options_length) = if options.length() <= room {
        (options.own, options.length())
    } else if options.least_length() <= room {
        (options.own, options.least_length())
    } else {
        ([None, None], 0)
    };
    let additional = message::read_u16(out, 10).unwrap_or_default().saturating_add(1);
    put(out, 10, &additional.to_be_bytes());
    let [size_high, size_low] = u16::try_from(UDP_MAX).unwrap_or(512).to_be_bytes();
    let [length_high, length_low] = u16::try_from(options_length).unwrap_or_default().to_be_bytes();
    // The upper eight bits of the RCODE stand in the OPT (RFC 6891 §6.1.3).
    let [extended, _] = (rcode << 4).to_be_bytes();
    let flags = if edns.dnssec_ok { 0x80 } else { 0 };
    let mut at = length;
    at += put(out, at, &[0, 0, 41, size_high, size_low, extended, 0, flags, 0, length_high, length_low]);
    for error in own.into_iter().flatten() {
        at += put_code(out, at, error.code().to_be_bytes());
    }
    if options_length == options.length() {
        return at + put(out, at, options.passed_on);
    }
    if options_length > 0 {
        for code in options.codes_passed_on() {
            at += put_code(out, at, code);
        }
    }
    at
}

/// Writes an extended error without text at the offset `at`, and returns its length in bytes.
fn put_code(out: &mut [u8], at: usize, code: [u8; 2]) -> usize {
    let ([option_high, option_low], [high, low]) = (OPTION_EXTENDED_ERROR.to_be_bytes(), code);
    put(out, at, &[option_high, option_low, 0, 2, high, low])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::classify::classify;
    use crate::core::question::{self, Received};
    use crate::core::testing::{Response, policy, query, query_with_opt};

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);
    const STALE: Shown = Shown::Stale { ttl: Duration::from_secs(30) };

    /// The response to `packet` from an entry that was made of `response` at `NOW`, `later` seconds
    /// after that.
    fn answer(packet: &[u8], response: &[u8], shown: Shown, later: u64) -> Vec<u8> {
        let Received::Query(query) = question::read(packet) else { panic!("not a query") };
        let verdict = classify(query.key.qtype(), response);
        let entry = Entry::remember(&query.key, response, verdict, &policy(), NOW).expect("an entry").entry;
        let mut out = [0; 4096];
        let asked = Asked { packet, echo: query.echo, transport: ClientTransport::Udp };
        let length = write_entry(&asked, &entry, shown, NOW.plus(Duration::from_secs(later)), &mut out);
        out[..length].to_vec()
    }

    /// The TTLs of a message without its OPT.
    fn ttls(message: &[u8]) -> Vec<u32> {
        let mut records = Records::new(message).expect("a message");
        std::iter::from_fn(|| records.next_record().expect("a record"))
            .filter(|r| r.rtype != 41)
            .map(|r| r.ttl)
            .collect()
    }

    fn flags(message: &[u8]) -> u16 {
        u16::from_be_bytes([message[2], message[3]])
    }

    #[test]
    fn id_and_question_are_repeated_byte_for_byte() {
        let mut asked = query("www.example.com", 1);
        asked[13..16].copy_from_slice(b"wWW");
        let out =
            answer(&asked, &Response::new("www.example.com", 1).a("www.example.com", 60).bytes(), Shown::Fresh, 0);
        assert_eq!(out[..2], asked[..2]);
        assert_eq!(out[12..asked.len()], asked[12..]);
        assert_eq!(flags(&out), 0x8180);
    }

    #[test]
    fn ttls_are_counted_down_and_stale_ones_are_small() {
        let response = Response::new("www.example.com", 1)
            .cname("www.example.com", "w.example.com", 300)
            .a("w.example.com", 20)
            .bytes();
        let asked = query("www.example.com", 1);
        assert_eq!(ttls(&answer(&asked, &response, Shown::Fresh, 7)), [293, 13]);
        assert_eq!(ttls(&answer(&asked, &response, STALE, 5000)), [30, 20]);
    }

    #[test]
    fn a_negative_answer_keeps_its_soa_and_counts_it_down() {
        let response = Response::new("www.example.com", 1).rcode(3).soa("example.com", 900, 900).bytes();
        let out = answer(&query("www.example.com", 1), &response, Shown::Fresh, 10);
        assert_eq!((ttls(&out), flags(&out)), (vec![20], 0x8183));
    }

    #[test]
    fn a_query_with_opt_gets_an_opt_that_says_stale() {
        let response = Response::new("www.example.com", 1).a("www.example.com", 60).bytes();
        let plain = answer(&query("www.example.com", 1), &response, STALE, 100);
        assert_eq!(plain[11], 0, "a query without OPT gets none");
        let out = answer(&query_with_opt("www.example.com", 1, 4096, 0), &response, STALE, 100);
        assert_eq!(out[plain.len()..], [0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 6, 0, 15, 0, 2, 0, 3]);
        assert_eq!(out[11], 1);
        let gone = Response::new("www.example.com", 1).rcode(3).soa("example.com", 900, 900).bytes();
        assert_eq!(answer(&query_with_opt("www.example.com", 1, 4096, 0), &gone, STALE, 100).last(), Some(&19));
    }

    #[test]
    fn ad_is_set_for_clients_that_ask_for_it_and_never_on_stale_answers() {
        let response = Response::new("www.example.com", 1).flags(0x81a0).a("www.example.com", 60).bytes();
        let mut asks = query("www.example.com", 1);
        assert_eq!(flags(&answer(&asks, &response, Shown::Fresh, 0)) & 0x20, 0);
        asks[3] |= 0x20;
        assert_eq!(flags(&answer(&asks, &response, Shown::Fresh, 0)) & 0x20, 0x20);
        assert_eq!(flags(&answer(&asks, &response, STALE, 0)) & 0x20, 0);
    }

    #[test]
    fn an_answer_that_does_not_fit_is_cut_at_a_record_and_keeps_its_opt() {
        let mut response = Response::new("www.example.com", 1);
        for _ in 0..60 {
            response = response.a("www.example.com", 60);
        }
        let response = response.bytes();
        let plain = answer(&query("www.example.com", 1), &response, Shown::Fresh, 0);
        assert!(plain.len() <= 512 && plain.len() > 470, "{}", plain.len());
        assert_eq!(flags(&plain) & 0x0200, 0x0200);
        assert_eq!(ttls(&plain).len(), usize::from(plain[7]), "whole records, counted");
        let with = answer(&query_with_opt("www.example.com", 1, 600, 0x80), &response, Shown::Fresh, 0);
        assert!(with.len() <= 600 && with.len() > 560, "{}", with.len());
        assert_eq!((with[11], with[with.len() - 11..].to_vec()), (1, vec![0, 0, 41, 4, 0xd0, 0, 0, 0x80, 0, 0, 0]));
        let large = answer(&query_with_opt("www.example.com", 1, 65_000, 0), &response, Shown::Fresh, 0);
        assert!(large.len() <= 1232, "never more than 1232 bytes by UDP");
    }

    #[test]
    fn additional_data_are_left_out_without_setting_tc() {
        let mut response = Response::new("www.example.com", 1).a("www.example.com", 60);
        for _ in 0..30 {
            response = response.record(10, "ns.example.com", 1, 60, &[192, 0, 2, 9]);
        }
        let out = answer(&query("www.example.com", 1), &response.bytes(), Shown::Fresh, 0);
        assert_eq!((flags(&out) & 0x0200, out[7]), (0, 1));
        assert!(out.len() <= 512);
    }

    #[test]
    fn upstreams_extended_errors_are_passed_on_when_fresh() {
        let response =
            Response::new("www.example.com", 1).a("www.example.com", 60).opt(0, &[0, 15, 0, 2, 0, 17]).bytes();
        let out = answer(&query_with_opt("www.example.com", 1, 1232, 0), &response, Shown::Fresh, 0);
        assert_eq!(out[out.len() - 6..], [0, 15, 0, 2, 0, 17]);
    }

    #[test]
    fn errors_repeat_the_question_and_say_why() {
        let packet = query_with_opt("www.example.com", 1, 1232, 0);
        let Received::Query(query) = question::read(&packet) else { panic!("not a query") };
        let asked = Asked { packet: &packet, echo: query.echo, transport: ClientTransport::Udp };
        let mut out = [0; 512];
        let reasons = [Some(ExtendedError::CachedError), Some(ExtendedError::NetworkError)];
        let length = write_error(&asked, ErrorRcode::ServFail, reasons, &[], &mut out);
        assert_eq!((flags(&out), out[5], out[11]), (0x8182, 1, 1));
        assert_eq!(out[length - 12..length], [0, 15, 0, 2, 0, 13, 0, 15, 0, 2, 0, 23]);
        let length = write_error(&asked, ErrorRcode::BadVers, [None, None], &[], &mut out);
        assert_eq!((flags(&out) & 15, out[length - 6]), (0, 1), "BADVERS is 16: its upper bits stand in the OPT");
    }

    /// A response of `count` addresses with these extended errors of an upstream.
    fn many(count: u16, options: &[u8]) -> Vec<u8> {
        let mut response = Response::new("www.example.com", 1).bytes();
        response[6..8].copy_from_slice(&count.to_be_bytes());
        for index in 0..count {
            let [high, low] = index.to_be_bytes();
            response.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, high, low]);
        }
        response[11] = 1;
        response.extend([0, 0, 41, 4, 0xd0, 0, 0, 0, 0]);
        response.extend(u16::try_from(options.len()).expect("options").to_be_bytes());
        response.extend(options);
        response
    }

    /// The codes of the extended errors in the OPT, which is the last record of a message.
    fn codes(message: &[u8]) -> Vec<u8> {
        let mut records = Records::new(message).expect("a message");
        let last = std::iter::from_fn(|| records.next_record().expect("a record")).last().expect("an OPT");
        assert_eq!((last.rtype, last.end), (41, message.len()));
        let mut rest = &message[last.data..];
        let mut codes = Vec::new();
        while let [0, 15, high, low, 0, code, ..] = *rest {
            codes.push(code);
            rest = &rest[4 + usize::from(u16::from_be_bytes([high, low]))..];
        }
        assert!(rest.is_empty(), "{rest:?}");
        codes
    }

    #[test]
    fn no_truncation_loses_an_extended_error() {
        let text = [&[0, 15, 0, 42, 0, 17][..], &[b'x'; 40]].concat();
        let upstream = [&text[..], &[0, 15, 0, 2, 0, 9]].concat();
        let mut cut = 0;
        for count in (0..70).chain(90..110) {
            let response = many(count, &upstream);
            let packet = query_with_opt("www.example.com", 1, 1232, 0);
            let Received::Query(query) = question::read(&packet) else { panic!("not a query") };
            let entry = Entry::remember(&query.key, &response, classify(1, &response), &policy(), NOW);
            let entry = entry.expect("an entry").entry;
            for size in 512..=1232_u16 {
                let packet = query_with_opt("www.example.com", 1, size, 0);
                let Received::Query(query) = question::read(&packet) else { panic!("not a query") };
                let asked = Asked { packet: &packet, echo: query.echo, transport: ClientTransport::Udp };
                let answer = |shown| {
                    let mut out = [0; UDP_MAX];
                    let length = write_entry(&asked, &entry, shown, NOW.plus(Duration::from_secs(9)), &mut out);
                    out[..length].to_vec()
                };
                let (stale, fresh) = (answer(STALE), answer(Shown::Fresh));
                assert!(stale.len().max(fresh.len()) <= usize::from(size));
                assert_eq!((codes(&stale), codes(&fresh)), (vec![3], vec![17, 9]), "{count} addresses, {size} bytes");
                let is_cut = flags(&fresh) & 0x0200 != 0;
                cut += u32::from(is_cut);
                // The text goes before any address does.
                assert_eq!(is_cut, response.len() - 40 > usize::from(size), "{count} addresses, {size} bytes");
            }
        }
        assert!(cut > 10_000, "{cut}");
    }

    #[test]
    fn an_answer_that_fills_a_stream_keeps_its_extended_error() {
        for count in 4080..=4093_u16 {
            let response = many(count, &[]);
            let packet = query_with_opt("www.example.com", 1, 1232, 0);
            let Received::Query(query) = question::read(&packet) else { panic!("not a query") };
            let Ok(remembered) = Entry::remember(&query.key, &response, classify(1, &response), &policy(), NOW) else {
                panic!("{count} addresses are {} bytes", response.len())
            };
            let entry = remembered.entry;
            let mut out = vec![0; room(&entry)];
            let asked = Asked { packet: &packet, echo: query.echo, transport: ClientTransport::Stream };
            let length = write_entry(&asked, &entry, STALE, NOW.plus(Duration::from_secs(100)), &mut out);
            assert!(length <= STREAM_MAX);
            assert_eq!(codes(&out[..length]), [3]);
        }
    }
}
