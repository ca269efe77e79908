//! Reads a client's query: which question it asks, and which parts of it a response must repeat.
//!
//! The first row that fits decides:
//!
//! | packet | outcome |
//! |---|---|
//! | shorter than 12 bytes, or QR=1 | dropped: a response would go to somebody who did not ask |
//! | opcode other than QUERY | NOTIMP; FORMERR when the only question cannot be read |
//! | QDCOUNT ≠ 1, unreadable question | FORMERR |
//! | two OPTs, OPT outside the additional section or not at the root, unreadable records | FORMERR |
//! | EDNS version > 0 | BADVERS (RFC 6891 §6.1.3) |
//! | class other than IN; AXFR, IXFR and other meta types | NOTIMP (RFC 1035 §4.1.1; `version.bind` is off) |
//! | anything else | a [`Query`] |
//!
//! Unknown EDNS options are ignored (RFC 6891 §6.1.2). Nothing here allocates. hickory-proto reads
//! the same packets in the tests, and both must agree.

use super::key::{Dnssec, Key};
use super::message::{self, CLASS_IN, HEADER, Header, Records, Section, TYPE_OPT};

/// The client's EDNS parameters (RFC 6891).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns {
    /// The size of the largest UDP response that the client takes in bytes, as its OPT names it.
    pub udp_size: u16,
    /// DO: the client wants DNSSEC records (RFC 3225).
    pub dnssec_ok: bool,
}

/// The parts of a query that its response must repeat or heed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// The message ID that the client chose.
    pub id: u16,
    /// The client's flags as they stand in the header.
    pub flags: u16,
    /// The offset behind the question section; 12 when no question could be read.
    pub question_end: usize,
    /// The client's EDNS parameters; `None` when the query has no OPT.
    pub edns: Option<Edns>,
}

/// A query that can be answered by resolving.
#[derive(Clone, Debug)]
pub struct Query {
    /// The question, as the key under which its answer is remembered.
    pub key: Key,
    /// The parts of the query that its response repeats.
    pub echo: Echo,
}

/// A response code that holdover sets itself (RFC 1035 §4.1.1, RFC 6891 §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorRcode {
    /// The query cannot be read.
    FormErr,
    /// No answer could be obtained.
    ServFail,
    /// Queries of this kind are not served.
    NotImp,
    /// The EDNS version of the query is not supported.
    BadVers,
}

impl ErrorRcode {
    /// The code as a number; its bits above the lower four belong into the OPT (RFC 6891 §6.1.3).
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::FormErr => 1,
            Self::ServFail => 2,
            Self::NotImp => 4,
            Self::BadVers => 16,
        }
    }
}

/// Why a packet gets no response at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// The packet is shorter than a header, 12 bytes.
    Short,
    /// The packet is itself a response: QR is 1.
    Response,
}

/// A packet from a client, by what is done with it.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "lives on the stack of the thread that received the packet; boxing would allocate"
)]
pub enum Received {
    /// A query that is answered from memory or by resolving.
    Query(Query),
    /// A query that gets a response with this code and no records at once.
    Error(ErrorRcode, Echo),
    /// A packet that gets no response.
    Drop(DropReason),
}

/// Reads a packet from a client.
///
/// Any bytes may be given.
#[must_use]
pub fn read(packet: &[u8]) -> Received {
    // Only a query gets a response at all.
    let Ok(header) = Header::read(packet) else { return Received::Drop(DropReason::Short) };
    if header.has(message::FLAG_RESPONSE) {
        return Received::Drop(DropReason::Response);
    }
    // An error response repeats the question if that can be read, even for an unknown opcode.
    let bare = Echo { id: header.id, flags: header.flags, question_end: HEADER, edns: None };
    if header.questions != 1 {
        let code = if header.has(message::MASK_OPCODE) { ErrorRcode::NotImp } else { ErrorRcode::FormErr };
        return Received::Error(code, bare);
    }
    // The question stands right behind the header, where no name can be compressed.
    let Ok(name_end) = message::skip_plain_name(packet, HEADER) else {
        return Received::Error(ErrorRcode::FormErr, bare);
    };
    let (Some(qtype), Some(qclass)) = (message::read_u16(packet, name_end), message::read_u16(packet, name_end + 2))
    else {
        return Received::Error(ErrorRcode::FormErr, bare);
    };
    let echo = Echo { question_end: name_end + 4, ..bare };
    if header.has(message::MASK_OPCODE) {
        return Received::Error(ErrorRcode::NotImp, echo);
    }
    // Class and type are looked at last, so that their error response carries an OPT as well.
    let edns = match read_edns(packet, header) {
        Ok(edns) => edns,
        Err((code, edns)) => return Received::Error(code, Echo { edns, ..echo }),
    };
    let echo = Echo { edns, ..echo };
    if qclass != CLASS_IN || is_meta(qtype) {
        return Received::Error(ErrorRcode::NotImp, echo);
    }
    let dnssec = Dnssec {
        dnssec_ok: edns.is_some_and(|edns| edns.dnssec_ok),
        checking_disabled: header.has(message::FLAG_CHECKING_DISABLED),
    };
    let name = packet.get(HEADER..name_end).unwrap_or_default();
    Received::Query(Query { key: Key::new(name, qtype, qclass, dnssec), echo })
}

/// Finds the OPT of a query, of which there may be one. An error carries the response code, and the
/// EDNS parameters as far as they were read.
fn read_edns(packet: &[u8], header: Header) -> Result<Option<Edns>, (ErrorRcode, Option<Edns>)> {
    if header.records == [0, 0, 0] {
        return Ok(None);
    }
    let mut found: Option<(Edns, u8)> = None;
    let mut records = Records::new(packet).map_err(|_| (ErrorRcode::FormErr, None))?;
    loop {
        let record = match records.next_record() {
            Ok(Some(record)) => record,
            Ok(None) => break,
            Err(_) => return Err((ErrorRcode::FormErr, found.map(|(edns, _)| edns))),
        };
        if record.rtype != TYPE_OPT {
            continue;
        }
        // RFC 6891 §6.1.1: one OPT at most, at the root, in the additional section.
        let root = packet.get(record.start) == Some(&0);
        if found.is_some() || record.section != Section::Additional || !root {
            return Err((ErrorRcode::FormErr, found.map(|(edns, _)| edns)));
        }
        let [_, version, flags, _] = record.ttl.to_be_bytes();
        found = Some((Edns { udp_size: record.class, dnssec_ok: flags & 0x80 != 0 }, version));
    }
    // Only version 0 of EDNS is understood.
    match found {
        Some((edns, version)) if version > 0 => Err((ErrorRcode::BadVers, Some(edns))),
        Some((edns, _)) => Ok(Some(edns)),
        None => Ok(None),
    }
}

/// Whether a QTYPE stands for an operation or a pseudo-record rather than for data: OPT, and TKEY
/// to MAILA (RFC 6895 §3.1). ANY (255) is not among them, since it is served.
const fn is_meta(qtype: u16) -> bool {
    matches!(qtype, TYPE_OPT | 249..=254)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A query for `www.example.com. A` with these flags and counts, and these bytes behind the
    /// question.
    fn packet(flags: u16, counts: [u16; 4], behind: &[u8]) -> Vec<u8> {
        let mut out = vec![0x12, 0x34];
        out.extend(flags.to_be_bytes());
        for count in counts {
            out.extend(count.to_be_bytes());
        }
        out.extend(b"\x03wWw\x07example\x03com\x00\x00\x01\x00\x01");
        out.extend(behind);
        out
    }

    /// An OPT with the given version and flags.
    fn opt(version: u8, flags: u8) -> Vec<u8> {
        vec![0, 0, 41, 0x04, 0xd0, 0, version, flags, 0, 0, 0]
    }

    /// The response code and whether the question was read.
    fn error(packet: &[u8]) -> Option<(ErrorRcode, bool)> {
        match read(packet) {
            Received::Error(code, echo) => Some((code, echo.question_end > HEADER)),
            Received::Query(_) | Received::Drop(_) => None,
        }
    }

    #[test]
    fn a_plain_query_is_read() {
        let Received::Query(query) = read(&packet(0x0100, [1, 0, 0, 0], b"")) else { panic!("not a query") };
        assert_eq!(query.key.to_string(), "www.example.com. A");
        assert_eq!(query.echo, Echo { id: 0x1234, flags: 0x0100, question_end: 33, edns: None });
    }

    #[test]
    fn do_and_cd_are_read_from_opt_and_header() {
        let Received::Query(query) = read(&packet(0x0110, [1, 0, 0, 1], &opt(0, 0x80))) else { panic!("not a query") };
        assert_eq!(query.key.dnssec(), Dnssec { dnssec_ok: true, checking_disabled: true });
        assert_eq!(query.echo.edns, Some(Edns { udp_size: 1232, dnssec_ok: true }));
    }

    #[test]
    fn responses_and_fragments_are_dropped() {
        assert!(matches!(read(&packet(0x8180, [1, 0, 0, 0], b"")), Received::Drop(DropReason::Response)));
        assert!(matches!(read(&[0; 11]), Received::Drop(DropReason::Short)));
    }

    #[test]
    fn each_kind_of_bad_query_has_its_code() {
        let two = [opt(0, 0), opt(0, 0)].concat();
        assert_eq!(error(&packet(0x2800, [1, 0, 0, 0], b"")), Some((ErrorRcode::NotImp, true)), "UPDATE");
        assert_eq!(error(&packet(0x0100, [0, 0, 0, 0], b"")), Some((ErrorRcode::FormErr, false)), "no question");
        assert_eq!(error(&packet(0x0100, [2, 0, 0, 0], b"")), Some((ErrorRcode::FormErr, false)), "two questions");
        assert_eq!(
            error(&packet(0x0100, [0xffff, 0, 0, 0], b"")),
            Some((ErrorRcode::FormErr, false)),
            "65535 questions"
        );
        assert_eq!(error(&packet(0x0100, [1, 0, 0, 2], &two)), Some((ErrorRcode::FormErr, true)), "two OPTs");
        assert_eq!(error(&packet(0x0100, [1, 0, 0, 1], b"")), Some((ErrorRcode::FormErr, true)), "a missing record");
        assert_eq!(error(&packet(0x0100, [1, 0, 0, 1], &opt(1, 0))), Some((ErrorRcode::BadVers, true)), "EDNS 1");
        assert_eq!(
            error(packet(0x0100, [1, 0, 0, 0], b"").split_at(20).0),
            Some((ErrorRcode::FormErr, false)),
            "cut off"
        );
    }

    #[test]
    fn transfers_and_other_classes_are_not_implemented() {
        for (qtype, qclass) in [(252, 1), (251, 1), (249, 1), (41, 1), (16, 3), (1, 255)] {
            let mut query = packet(0x0100, [1, 0, 0, 0], b"");
            let at = query.len() - 4;
            query.splice(at.., [0, qtype, 0, qclass]);
            assert_eq!(error(&query), Some((ErrorRcode::NotImp, true)), "type {qtype} class {qclass}");
        }
    }
}
