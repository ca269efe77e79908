//! Writes names, types and RDATA as text, and reads them (RFC 1035 §5.1, RFC 3597).
//!
//! RDATA are written in presentation format where hickory-proto writes a text that it reads back as
//! the same bytes, and otherwise in the generic form of RFC 3597 §5: `\# 4 c0000201`. RDATA that
//! may hold compressed names (RFC 3597 §4) and that hickory-proto cannot read are refused, since
//! their bytes mean nothing outside their message.

use std::fmt::Write;

use hickory_proto::rr::{Name, RData, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, BinEncodable, BinEncoder, NameEncoding, Restrict};

use crate::core::entry::Entry;
use crate::core::key::{NAME_MAX, NameText};
use crate::core::message::{RecordSpan, Records, Section};

/// Types whose RDATA may hold compressed names (RFC 3597 §4): NS, MD, MF, CNAME, SOA, MB, MG, MR,
/// PTR, MINFO, MX, RP, AFSDB, RT, SIG, PX, NXT, SRV, NAPTR, KX, DNAME.
const COMPRESSIBLE: &[u16] = &[2, 3, 4, 5, 6, 7, 8, 9, 12, 14, 15, 17, 18, 21, 24, 26, 30, 33, 35, 36, 39];

/// Writes a name in wire form as text, with a dot at its end.
pub(super) fn show_name(wire: &[u8]) -> String {
    NameText(wire).to_string()
}

/// Reads a name into wire form; the dot at its end may be left out. `None` when the text is no
/// domain name (RFC 1035 §5.1).
#[must_use]
pub fn read_name(text: &str) -> Option<Vec<u8>> {
    if text == "." {
        return Some(vec![0]);
    }
    let (mut wire, mut label) = (Vec::new(), Vec::new());
    let mut rest = text.as_bytes();
    let mut end_label = |label: &mut Vec<u8>| {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
        wire.push(length);
        wire.append(label);
        Some(())
    };
    // A label ends at a dot that is not escaped. An escape is a backslash with three decimal
    // digits, or with one printable character that is no digit.
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'.' => end_label(&mut label)?,
            b'\\' => match *rest {
                [hundreds @ b'0'..=b'9', tens, ones, ref after @ ..] => {
                    let number = std::str::from_utf8(&[hundreds, tens, ones]).ok()?.parse().ok()?;
                    label.push(number);
                    rest = after;
                }
                [escaped @ (0x21..=0x2f | 0x3a..=0x7e), ref after @ ..] => {
                    label.push(escaped);
                    rest = after;
                }
                _ => return None,
            },
            0x21..=0x7e => label.push(byte),
            _ => return None,
        }
    }
    // The dot at the end may be left out.
    if !label.is_empty() {
        end_label(&mut label)?;
    }
    wire.push(0);
    (wire.len() > 1 && wire.len() <= NAME_MAX).then_some(wire)
}

/// Writes a type by its name, or as `TYPE65280` when it has none.
pub(super) fn show_type(rtype: u16) -> String {
    let name = RecordType::from(rtype).to_string();
    if name.parse::<RecordType>().is_ok_and(|read| u16::from(read) == rtype) { name } else { format!("TYPE{rtype}") }
}

/// Reads a type by its name in any case, or as `TYPE65280`; `None` when it is neither.
#[must_use]
pub fn read_type(text: &str) -> Option<u16> {
    let upper = text.to_ascii_uppercase();
    match upper.strip_prefix("TYPE").and_then(|number| number.parse().ok()) {
        Some(number) => Some(number),
        None => upper.parse::<RecordType>().ok().map(u16::from),
    }
}

/// The owner of a record, as a name in wire form without compression.
pub(super) fn owner(message: &[u8], record: &RecordSpan) -> Option<Vec<u8>> {
    let mut decoder = BinDecoder::new(message).clone(u16::try_from(record.start).ok()?);
    let name = Name::read(&mut decoder).ok()?;
    let mut wire = Vec::new();
    for label in name.iter() {
        wire.push(u8::try_from(label.len()).ok()?);
        wire.extend_from_slice(label);
    }
    wire.push(0);
    Some(wire)
}

/// Writes the RDATA of a record as text; `None` when their bytes mean nothing outside their
/// message.
pub(super) fn show_data(message: &[u8], record: &RecordSpan) -> Option<String> {
    let raw = message.get(record.data..record.end)?;
    match decode(message, record).and_then(|data| Some((encode(&data)?, data))) {
        Some((bytes, data)) => {
            let text = data.to_string();
            let same = read_presentation(record.rtype, &text).is_some_and(|read| read == bytes);
            Some(if same { text } else { generic(&bytes) })
        }
        None if COMPRESSIBLE.contains(&record.rtype) => None,
        None => Some(generic(raw)),
    }
}

/// Records of an answer that are shown to people at the most.
const SHOWN_MAX: usize = 32;
/// Characters of one record that are shown to people at the most.
const SHOWN_CHARACTERS_MAX: usize = 300;

/// The records in the answer section of an entry for people: owner, TTL as it came, type and data,
/// at most 32 of them and in printable ASCII.
#[must_use]
pub fn show_records(entry: &Entry) -> Vec<String> {
    let wire = entry.wire();
    let Ok(mut records) = Records::new(wire) else { return Vec::new() };
    let next = std::iter::from_fn(|| records.next_record().ok().flatten());
    let answers = next.take_while(|record| record.section == Section::Answer).take(SHOWN_MAX);
    let shown = answers.filter_map(|record| {
        let (owner, data) = (show_name(&owner(wire, &record)?), show_data(wire, &record)?);
        let line = format!("{owner} {} {} {data}", record.ttl, show_type(record.rtype));
        let printable = line.chars().map(|own| if matches!(own, ' '..='~') { own } else { '?' });
        Some(printable.take(SHOWN_CHARACTERS_MAX).collect())
    });
    shown.collect()
}

/// The RDATA as hickory-proto reads them, with compressed names resolved.
fn decode(message: &[u8], record: &RecordSpan) -> Option<RData> {
    // hickory-proto takes empty RDATA for part of a dynamic update.
    let length = u16::try_from(record.end.checked_sub(record.data)?).ok().filter(|length| *length > 0)?;
    let mut decoder = BinDecoder::new(message).clone(u16::try_from(record.data).ok()?);
    RData::read(&mut decoder, RecordType::from(record.rtype), Restrict::new(length)).ok()
}

/// RDATA in wire form, without compressed names.
fn encode(data: &RData) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    data.emit(&mut encoder).ok()?;
    Some(bytes)
}

/// Writes RDATA in the generic form (RFC 3597 §5).
fn generic(bytes: &[u8]) -> String {
    let mut text = format!("\\# {}", bytes.len());
    for (index, byte) in bytes.iter().enumerate() {
        let _ = write!(text, "{}{byte:02x}", if index == 0 { " " } else { "" });
    }
    text
}

/// Reads RDATA of a type, in presentation format or in the generic form; `None` when they are
/// neither.
pub(super) fn read_data(rtype: u16, text: &str) -> Option<Vec<u8>> {
    // Presentation format is ASCII, and other bytes are written as \DDD. hickory-proto would take a
    // name with such bytes for an internationalised one.
    if !text.is_ascii() {
        return None;
    }
    match text.trim().strip_prefix("\\#") {
        Some(rest) => read_generic(rest),
        None => read_presentation(rtype, text),
    }
}

fn read_presentation(rtype: u16, text: &str) -> Option<Vec<u8>> {
    // One record is one line, but hickory-proto would read on in the next one.
    if text.contains(['\n', '\r']) {
        return None;
    }
    encode(&RData::try_from_str(RecordType::from(rtype), text).ok()?)
}

/// Reads the generic form without the mark `\#` at its beginning: the length, then hexadecimal
/// digits with spaces anywhere between them.
fn read_generic(text: &str) -> Option<Vec<u8>> {
    let mut words = text.split_ascii_whitespace();
    let length: u16 = words.next()?.parse().ok()?;
    let digits: Vec<u8> = words
        .flat_map(str::bytes)
        .map(|byte| char::from(byte).to_digit(16))
        .map(|d| u8::try_from(d?).ok())
        .collect::<Option<_>>()?;
    let (pairs, odd) = digits.as_chunks::<2>();
    (odd.is_empty() && pairs.len() == usize::from(length))
        .then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_read_as_they_are_shown() {
        for wire in [&b"\x03www\x07example\x03com\x00"[..], b"\x00", b"\x03a.\x07\x00", b"\x02\\\xff\x00"] {
            assert_eq!(read_name(&show_name(wire)).as_deref(), Some(wire));
        }
        assert_eq!(read_name("www.example.com"), read_name("www.example.com."));
        let long = "a".repeat(64);
        for text in ["", "..", "a..b", ".a", "a b", "ä.example.com", "a\\", "a\\300.", "a\\1", long.as_str()] {
            assert_eq!(read_name(text), None, "{text}");
        }
    }

    #[test]
    fn types_are_read_as_they_are_shown() {
        assert_eq!((show_type(1), show_type(65_280)), ("A".to_owned(), "TYPE65280".to_owned()));
        for rtype in 0..=u16::MAX {
            assert_eq!(read_type(&show_type(rtype)), Some(rtype), "{rtype}");
        }
        assert_eq!(
            (read_type("https"), read_type("type65"), read_type("NONSENSE"), read_type("TYPE65536")),
            (Some(65), Some(65), None, None)
        );
    }

    #[test]
    fn rdata_are_read_in_both_forms() {
        assert_eq!(read_data(1, "192.0.2.1"), Some(vec![192, 0, 2, 1]));
        assert_eq!(read_data(1, "\\# 4 c000 0201"), Some(vec![192, 0, 2, 1]));
        assert_eq!(read_data(16, "\"two words\""), Some(b"\x09two words".to_vec()));
        assert_eq!(read_data(5, "www.example.com."), Some(b"\x03www\x07example\x03com\x00".to_vec()));
        for (rtype, text) in [
            (1, "192.0.2"),
            (1, "\\# 5 c0000201"),
            (1, "\\# 4 c000020"),
            (1, "\\#"),
            (1, ""),
            (65_280, "abc"),
            (1, "192.0.2.1\n"),
        ] {
            assert_eq!(read_data(rtype, text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(rtype in prop_oneof![0_u16..70, any::<u16>()], text in ".{0,60}") {
            let _ = (read_name(&text), read_type(&text), read_data(rtype, &text));
        }
    }
}
