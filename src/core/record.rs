//! A remembered answer as bytes: the form in which the state file and the shared cache hold it.
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 1 | version of this format: 2 |
//! | 1 | 1 | kind: 0 positive, 1 NODATA, 2 NXDOMAIN |
//! | 2 | 1 | flags: 1 vouched for by an SOA, 2 authentic, 4 undated |
//! | 3 | 1 | 0 |
//! | 4 | 4 | hits, so that the hottest names come first again |
//! | 8 | 8 | stored, µs since the Unix epoch; only a bound when the answer is undated |
//! | 16 | 8 | fresh until, µs since the Unix epoch |
//! | 24 | 8 | stale until, µs since the Unix epoch |
//! | 32 | 4 | cap of the TTLs shown, s |
//! | 36 | 2 | length of the extended errors |
//! | 38 | 5 | how steady the data were ([`super::history`]) |
//! | 43 | | the extended errors, then the response without OPT |
//!
//! Version 1 has no history: there the extended errors begin at 38.
//!
//! Numbers are big-endian. The key is not part of the record: it lies beside it, and the response
//! repeats the question.
//!
//! The bytes that are read may come from anywhere. Their response is classified like one from an
//! upstream, and the record is rejected unless the verdict agrees with the fields before it. A new
//! version of the format gets a new number and a reader of its own in [`read`]; the old readers
//! stay.

use super::classify::{self, Kind, Verdict, Vouched};
use super::entry::{Entry, StoredParts, Times};
use super::extended_error;
use super::history::{History, Past};
use super::key::Key;
use super::message::{self, Header};
use super::policy::LIFE_MAX;
use super::time::Timestamp;

/// The version that is written.
const VERSION: u8 = 2;
/// The version before, which has no history.
const WITHOUT_HISTORY: u8 = 1;
/// Bytes before the history, or before the extended errors where there is none.
const FIXED: usize = 38;
/// Bytes of the history.
const HISTORY: usize = 5;
/// The flag of a negative answer with SOA, and of every positive one.
const VOUCHED: u8 = 1;
/// The flag of an answer with AD.
const AUTHENTIC: u8 = 2;
/// The flag of an answer whose time of arrival is unknown.
const UNDATED: u8 = 4;

/// A remembered answer with its popularity, as it was read from bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    /// The answer, with its times as they were written.
    pub entry: Entry,
    /// The queries that the answer had served, and how steady its data were, when it was written.
    pub past: Past,
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableRecord {
    /// The bytes end before the record does.
    #[error("too short")]
    Short,
    /// The record has a version that this release cannot read.
    #[error("of an unknown version")]
    Version,
    /// A field before the response is out of its range, or contradicts the response.
    #[error("fields out of range")]
    Fields,
    /// The response cannot be read, or answers another question.
    #[error("not a response to its question")]
    Response,
}

impl UnreadableRecord {
    /// The word for this reason in metrics and in the log.
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

/// Appends the record of an answer to `out`.
pub fn write(entry: &Entry, past: impl Into<Past>, out: &mut Vec<u8>) {
    let Past { hits, history } = past.into();
    let kind = match entry.kind {
        Kind::Positive => 0,
        Kind::NoData => 1,
        Kind::NxDomain => 2,
    };
    let flag = |is: bool, flag: u8| if is { flag } else { 0 };
    let flags = flag(entry.vouched, VOUCHED) | flag(entry.authentic, AUTHENTIC) | flag(entry.undated, UNDATED);
    let errors = entry.extended_errors();
    out.reserve(FIXED + HISTORY + errors.len() + entry.wire().len());
    out.extend_from_slice(&[VERSION, kind, flags, 0]);
    out.extend_from_slice(&hits.to_be_bytes());
    for time in [entry.stored, entry.fresh_until, entry.stale_until] {
        out.extend_from_slice(&time.as_micros().to_be_bytes());
    }
    out.extend_from_slice(&entry.ttl_cap().to_be_bytes());
    out.extend_from_slice(&u16::try_from(errors.len()).unwrap_or_default().to_be_bytes());
    out.extend_from_slice(&history.to_bytes());
    out.extend_from_slice(errors);
    out.extend_from_slice(entry.wire());
}

/// When a record's answer was stored and how many hits it had, without reading the rest of it;
/// `None` when the bytes are too short or have another version.
#[must_use]
pub fn glance(bytes: &[u8]) -> Option<(Timestamp, u32)> {
    let number = |at| message::read_u32(bytes, at);
    let stored = Timestamp::from_micros(u64::from(number(8)?) << 32 | u64::from(number(12)?));
    matches!(bytes.first(), Some(&(VERSION | WITHOUT_HISTORY))).then_some((stored, number(4)?))
}

/// Reads a record that was kept under this key.
///
/// # Errors
/// [`UnreadableRecord`] unless the bytes are a whole record whose response answers the question of
/// `key`. Any bytes may be given.
pub fn read(key: &Key, bytes: &[u8]) -> Result<Record, UnreadableRecord> {
    match bytes.first() {
        None => Err(UnreadableRecord::Short),
        Some(&VERSION) => {
            let history = bytes.get(FIXED..).and_then(<[u8]>::first_chunk).ok_or(UnreadableRecord::Short)?;
            let history = History::from_bytes(*history).ok_or(UnreadableRecord::Fields)?;
            read_after(key, bytes, history, FIXED + HISTORY)
        }
        Some(&WITHOUT_HISTORY) => read_after(key, bytes, History::FIRST, FIXED),
        Some(_) => Err(UnreadableRecord::Version),
    }
}

/// Reads a record with this history, whose extended errors begin at `errors_at`.
fn read_after(key: &Key, bytes: &[u8], history: History, errors_at: usize) -> Result<Record, UnreadableRecord> {
    // The fixed fields come first, each in its range.
    let &[_, kind, flags, zero, ..] = bytes else { return Err(UnreadableRecord::Short) };
    let kind = match kind {
        0 => Kind::Positive,
        1 => Kind::NoData,
        2 => Kind::NxDomain,
        _ => return Err(UnreadableRecord::Fields),
    };
    if zero != 0 || flags & !(VOUCHED | AUTHENTIC | UNDATED) != 0 {
        return Err(UnreadableRecord::Fields);
    }
    let number = |at| message::read_u32(bytes, at).ok_or(UnreadableRecord::Short);
    let time = |at: usize| Ok(Timestamp::from_micros(u64::from(number(at)?) << 32 | u64::from(number(at + 4)?)));
    let times = Times { stored: time(8)?, fresh_until: time(16)?, stale_until: time(24)? };
    // No record may make an answer live longer than the configuration could.
    let ordered = times.stored <= times.fresh_until && times.fresh_until <= times.stale_until;
    if !ordered
        || times.fresh_until.since(times.stored) > LIFE_MAX
        || times.stale_until.since(times.fresh_until) > LIFE_MAX
    {
        return Err(UnreadableRecord::Fields);
    }
    // The length of the extended errors says where the response begins.
    let errors_end = errors_at + usize::from(message::read_u16(bytes, 36).ok_or(UnreadableRecord::Short)?);
    let (Some(errors), Some(wire)) = (bytes.get(errors_at..errors_end), bytes.get(errors_end..)) else {
        return Err(UnreadableRecord::Short);
    };
    if errors.len() > extended_error::KEPT_MAX || !classify::is_extended_errors(errors) {
        return Err(UnreadableRecord::Fields);
    }
    // The fields must say about the response what classifying it says.
    let header = Header::read(wire).map_err(|_| UnreadableRecord::Response)?;
    if !header.has(message::FLAG_RESPONSE) {
        return Err(UnreadableRecord::Response);
    }
    let vouched = flags & VOUCHED != 0;
    let classified = match classify::classify(key.qtype(), wire) {
        Verdict::Positive { .. } => (Kind::Positive, true),
        Verdict::Negative { kind, vouched: Vouched::BySoa(_), .. } => (kind, true),
        Verdict::Negative { kind, vouched: Vouched::Not, .. } => (kind, false),
        Verdict::Truncated | Verdict::Failed(_) => return Err(UnreadableRecord::Response),
    };
    if classified != (kind, vouched) || header.has(message::FLAG_AUTHENTIC) != (flags & AUTHENTIC != 0) {
        return Err(UnreadableRecord::Fields);
    }
    let parts = StoredParts { wire, extended_errors: errors, kind, vouched, times, ttl_cap: number(32)? };
    let entry = Entry::from_parts(key, parts).map_err(|_| UnreadableRecord::Response)?;
    let entry = if flags & UNDATED == 0 { entry } else { entry.without_date() };
    Ok(Record { entry, past: Past { hits: number(4)?, history } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::history::Succeeding;
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

    fn past() -> Past {
        let history = (0..9).fold(History::FIRST, |history, _| history.next(Succeeding::Same));
        Past { hits: 7, history: history.next(Succeeding::Other) }
    }

    fn written(entry: &Entry) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(entry, past(), &mut bytes);
        bytes
    }

    #[test]
    fn a_record_of_the_version_before_is_read_without_a_history() {
        for entry in examples() {
            let bytes = written(&entry);
            let before = [&[WITHOUT_HISTORY], &bytes[1..FIXED], &bytes[FIXED + HISTORY..]].concat();
            assert_eq!(glance(&before), Some((entry.stored, 7)));
            assert_eq!(read(&key(), &before), Ok(Record { entry, past: 7.into() }));
        }
    }

    #[test]
    fn a_written_record_is_read_back() {
        for entry in examples() {
            assert_eq!(glance(&written(&entry)), Some((entry.stored, 7)));
            assert_eq!(read(&key(), &written(&entry)), Ok(Record { entry, past: past() }));
        }
    }

    #[test]
    fn a_record_of_another_name_or_version_is_rejected() {
        let bytes = written(&examples()[0]);
        let other = Key::new(&name("web.example.com"), 1, 1, Dnssec::default());
        assert_eq!(read(&other, &bytes), Err(UnreadableRecord::Response));
        assert_eq!(read(&key(), &[&[3], &bytes[1..]].concat()), Err(UnreadableRecord::Version));
        assert_eq!(read(&key(), &[]), Err(UnreadableRecord::Short));
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_rejected_or_well_formed() {
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
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), version in 0_u8..4) {
            let _ = read(&key(), &bytes);
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut() {
                *first = version;
            }
            let _ = read(&key(), &bytes);
        }
    }
}
