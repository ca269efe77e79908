//! A remembered answer as bytes: what the state file holds, and whatever else carries answers from
//! one process to another.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 1 | version of this format: 1 |
//! | 1 | 1 | kind: 0 positive, 1 NODATA, 2 NXDOMAIN |
//! | 2 | 1 | flags: 1 vouched for by an SOA, 2 authentic, 4 without a date: what is stored below is a bound, and whatever has a date is newer |
//! | 3 | 1 | 0 |
//! | 4 | 4 | hits, so that the hottest names come first again |
//! | 8 | 8 | stored, µs since the Unix epoch |
//! | 16 | 8 | fresh until |
//! | 24 | 8 | stale until |
//! | 32 | 4 | cap of the TTLs shown, s |
//! | 36 | 2 | length of the extended errors |
//! | 38 | | the extended errors, then the response without OPT |
//!
//! Numbers are big-endian. The key is not in it: it lies beside, and the response repeats it. Bytes
//! that are read may come from anywhere: they are walked and judged like a response, and are
//! refused unless they say the same as the fields before them. A new version gets a new number and
//! a reader of its own in [`read`]; the old readers stay.

use super::classify::{self, Kind, Verdict, Vouched};
use super::entry::{Entry, Times};
use super::key::Key;
use super::message::{self, Header};
use super::policy::LIFE_MAX;
use super::time::Timestamp;

/// The version that is written.
const VERSION: u8 = 1;
/// Bytes before the extended errors.
const FIXED: usize = 38;
/// Flag: an SOA vouches for it.
const VOUCHED: u8 = 1;
/// Flag: upstream set AD.
const AUTHENTIC: u8 = 2;
/// Flag: nobody knows when it came.
const UNDATED: u8 = 4;
/// Longest extended errors, in bytes.
const EXTENDED_ERRORS_MAX: usize = 256;

/// An answer and how often it was asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    /// The answer.
    pub entry: Entry,
    /// Hits.
    pub hits: u32,
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Cut off.
    #[error("too short")]
    Short,
    /// Of a version that is not known here.
    #[error("of an unknown version")]
    Version,
    /// The fields before the response are out of their range, or contradict it.
    #[error("fields out of range")]
    Fields,
    /// The response cannot be walked, or answers another question.
    #[error("not a response to its question")]
    Response,
}

impl Unreadable {
    /// The metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Version => "version",
            Self::Fields => "fields",
            Self::Response => "response",
        }
    }
}

/// Appends an answer as a record.
pub fn write(entry: &Entry, hits: u32, out: &mut Vec<u8>) {
    let kind = match entry.kind {
        Kind::Positive => 0,
        Kind::NoData => 1,
        Kind::NxDomain => 2,
    };
    let flag = |is: bool, flag: u8| if is { flag } else { 0 };
    let flags = flag(entry.vouched, VOUCHED) | flag(entry.authentic, AUTHENTIC) | flag(entry.undated, UNDATED);
    let errors = entry.extended_errors();
    out.reserve(FIXED + errors.len() + entry.wire().len());
    out.extend_from_slice(&[VERSION, kind, flags, 0]);
    out.extend_from_slice(&hits.to_be_bytes());
    for time in [entry.stored, entry.fresh_until, entry.stale_until] {
        out.extend_from_slice(&time.as_micros().to_be_bytes());
    }
    out.extend_from_slice(&entry.ttl_cap().to_be_bytes());
    out.extend_from_slice(&u16::try_from(errors.len()).unwrap_or_default().to_be_bytes());
    out.extend_from_slice(errors);
    out.extend_from_slice(entry.wire());
}

/// When an answer was stored and how often it was asked for, without reading the rest; `None` when
/// that cannot be told.
#[must_use]
pub fn glance(bytes: &[u8]) -> Option<(Timestamp, u32)> {
    let number = |at| message::read_u32(bytes, at);
    let stored = Timestamp::from_micros(u64::from(number(8)?) << 32 | u64::from(number(12)?));
    (bytes.first() == Some(&VERSION)).then_some((stored, number(4)?))
}

/// Reads a record that lay under this key.
///
/// # Errors
/// [`Unreadable`], whatever the bytes are.
pub fn read(key: &Key, bytes: &[u8]) -> Result<Record, Unreadable> {
    match bytes.first() {
        None => Err(Unreadable::Short),
        Some(&VERSION) => read_first(key, bytes),
        Some(_) => Err(Unreadable::Version),
    }
}

/// Reads a record of version 1.
fn read_first(key: &Key, bytes: &[u8]) -> Result<Record, Unreadable> {
    let &[_, kind, flags, zero, ..] = bytes else { return Err(Unreadable::Short) };
    let kind = match kind {
        0 => Kind::Positive,
        1 => Kind::NoData,
        2 => Kind::NxDomain,
        _ => return Err(Unreadable::Fields),
    };
    if zero != 0 || flags & !(VOUCHED | AUTHENTIC | UNDATED) != 0 {
        return Err(Unreadable::Fields);
    }
    let number = |at| message::read_u32(bytes, at).ok_or(Unreadable::Short);
    let time = |at: usize| Ok(Timestamp::from_micros(u64::from(number(at)?) << 32 | u64::from(number(at + 4)?)));
    let times = Times { stored: time(8)?, fresh_until: time(16)?, stale_until: time(24)?, ttl_cap: number(32)? };
    let ordered = times.stored <= times.fresh_until && times.fresh_until <= times.stale_until;
    if !ordered
        || times.fresh_until.since(times.stored) > LIFE_MAX
        || times.stale_until.since(times.fresh_until) > LIFE_MAX
    {
        return Err(Unreadable::Fields);
    }
    let errors_end = FIXED + usize::from(message::read_u16(bytes, 36).ok_or(Unreadable::Short)?);
    let (Some(errors), Some(wire)) = (bytes.get(FIXED..errors_end), bytes.get(errors_end..)) else {
        return Err(Unreadable::Short);
    };
    if errors.len() > EXTENDED_ERRORS_MAX || !classify::is_extended_errors(errors) {
        return Err(Unreadable::Fields);
    }
    let header = Header::read(wire).map_err(|_| Unreadable::Response)?;
    if !header.has(message::FLAG_RESPONSE) {
        return Err(Unreadable::Response);
    }
    let vouched = flags & VOUCHED != 0;
    let judged = match classify::classify(key.qtype(), wire) {
        Verdict::Positive { .. } => (Kind::Positive, true),
        Verdict::Negative { kind, vouched: Vouched::BySoa(_) } => (kind, true),
        Verdict::Negative { kind, vouched: Vouched::Not } => (kind, false),
        Verdict::Truncated | Verdict::Failed(_) => return Err(Unreadable::Response),
    };
    if judged != (kind, vouched) || header.has(message::FLAG_AUTHENTIC) != (flags & AUTHENTIC != 0) {
        return Err(Unreadable::Fields);
    }
    let entry = Entry::stored(key, wire, errors, kind, vouched, times).map_err(|_| Unreadable::Response)?;
    let entry = if flags & UNDATED == 0 { entry } else { entry.without_date() };
    Ok(Record { entry, hits: number(4)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::key::Dnssec;
    use crate::core::testing::{Response, name, policy};
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

    fn key() -> Key {
        Key::new(&name("www.example.com"), 1, 1, Dnssec::default())
    }

    fn entry(response: &[u8]) -> Entry {
        Entry::remember(&key(), response, classify::classify(1, response), &policy(), NOW).expect("an entry").entry
    }

    fn examples() -> Vec<Entry> {
        let response = || Response::new("www.example.com", 1);
        vec![
            entry(&response().cname("www.example.com", "web.example.com", 300).a("web.example.com", 60).bytes()),
            entry(&response().flags(0x81a0).a("www.example.com", 60).opt(0, &[0, 15, 0, 2, 0, 9]).bytes()),
            entry(&response().rcode(3).soa("example.com", 900, 900).bytes()),
            entry(&response().soa("example.com", 900, 900).bytes()),
            entry(&response().rcode(3).bytes()),
            entry(&response().a("www.example.com", 60).bytes()).without_date(),
        ]
    }

    fn written(entry: &Entry) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(entry, 7, &mut bytes);
        bytes
    }

    #[test]
    fn what_is_written_is_read_again() {
        for entry in examples() {
            assert_eq!(glance(&written(&entry)), Some((entry.stored, 7)));
            assert_eq!(read(&key(), &written(&entry)), Ok(Record { entry, hits: 7 }));
        }
    }

    #[test]
    fn a_record_of_another_name_or_version_is_refused() {
        let bytes = written(&examples()[0]);
        let other = Key::new(&name("web.example.com"), 1, 1, Dnssec::default());
        assert_eq!(read(&other, &bytes), Err(Unreadable::Response));
        assert_eq!(read(&key(), &[&[2], &bytes[1..]].concat()), Err(Unreadable::Version));
        assert_eq!(read(&key(), &[]), Err(Unreadable::Short));
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_refused_or_well_formed() {
        for entry in examples() {
            let bytes = written(&entry);
            for length in 0..bytes.len() {
                assert!(read(&key(), &bytes[..length]).is_err(), "cut to {length} of {}", bytes.len());
            }
            for bit in 0..bytes.len() * 8 {
                let mut changed = bytes.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                if let Ok(record) = read(&key(), &changed) {
                    assert!(
                        record.entry.answers(&key()) && record.entry.stale_until <= NOW.plus(LIFE_MAX * 3),
                        "bit {bit}"
                    );
                    assert_eq!(written(&record.entry).len(), bytes.len());
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200), version in 0_u8..3) {
            let _ = read(&key(), &bytes);
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut() {
                *first = version;
            }
            let _ = read(&key(), &bytes);
        }
    }
}
