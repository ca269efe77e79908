//! Whole domain names, read out of messages with their compression resolved (RFC 1035 §4.1.4).
//!
//! | a name | is |
//! |---|---|
//! | of labels, the root, and pointers that lead backwards | read |
//! | with a pointer to itself, to what stands behind it, or into the header | malformed |
//! | of more than 255 bytes, cut off, or with a reserved label type | malformed |
//!
//! "Backwards" means before the first byte of the piece in which the pointer stands, so that no
//! name is ever endless. A message can make many names of few bytes: five thousand owner names of
//! 255 bytes each fit into 64 KiB. So a reader has a budget, and a message that needs more is
//! malformed. Names that are written out never need more, and those that are compressed as name
//! servers do it need far less.

use std::hash::{DefaultHasher, Hasher};

use super::key::{NAME_MAX, is_within};
use super::message::{HEADER, MalformedMessage, read_u16};

/// How many bytes of names are read of one message. The names of the longest message, written out,
/// are a quarter of this.
const BUDGET: usize = 4 * 65_536;

/// A whole domain name in uncompressed wire form, in a buffer of its own.
#[derive(Clone, Debug)]
pub struct WholeName {
    /// The bytes of the name; only the first `length` count.
    bytes: [u8; NAME_MAX],
    length: usize,
}

/// Stands for a name wherever names are only compared: the same for two names exactly if they are
/// equal without regard to case, but for one pair in 2⁶⁴.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NameId(u64);

impl WholeName {
    const EMPTY: Self = Self { bytes: [0; NAME_MAX], length: 0 };

    /// The name in wire form, with the root label.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// The same name in lower case.
    #[must_use]
    pub fn in_lower_case(mut self) -> Self {
        // The length bytes of labels are at most 63, which is below `A`.
        self.bytes.make_ascii_lowercase();
        self
    }

    /// The ID of the name.
    #[must_use]
    pub fn id(&self) -> NameId {
        let lower = self.clone().in_lower_case();
        let mut hasher = DefaultHasher::new();
        hasher.write(lower.as_bytes());
        NameId(hasher.finish())
    }

    /// The name to which a DNAME leads from this one: `owner`, which this name lies below, replaced
    /// by `target` (RFC 6672 §2.2). All are in lower case. `None` when this name does not lie below
    /// `owner`, or when the result is too long.
    #[must_use]
    pub fn redirected(&self, owner: &Self, target: &Self) -> Option<Self> {
        let (name, owner) = (self.as_bytes(), owner.as_bytes());
        if name.len() <= owner.len() || !is_within(name, owner) {
            return None;
        }
        let mut redirected = Self::EMPTY;
        redirected.push(name.get(..name.len() - owner.len())?)?;
        redirected.push(target.as_bytes())?;
        Some(redirected)
    }

    /// Appends bytes; `None` when the name would become too long.
    fn push(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.length + bytes.len();
        self.bytes.get_mut(self.length..end)?.copy_from_slice(bytes);
        self.length = end;
        Some(())
    }
}

/// Reads the names of one message.
pub struct NameReader<'a> {
    message: &'a [u8],
    /// Bytes of names that may still be read.
    left: usize,
    /// The last name that was a pointer and nothing else: where it leads, and its ID. Most records
    /// of a message have the owner of the record before them.
    last: Option<(u16, NameId)>,
}

impl<'a> NameReader<'a> {
    /// Makes a reader with its whole budget.
    #[must_use]
    pub const fn new(message: &'a [u8]) -> Self {
        Self { message, left: BUDGET, last: None }
    }

    /// Reads the name at the offset `start`, and returns it with the offset behind its first piece.
    ///
    /// # Errors
    /// [`MalformedMessage`] for what the table of this module calls malformed, and when the budget
    /// is used up.
    pub fn read(&mut self, start: usize) -> Result<(WholeName, usize), MalformedMessage> {
        let mut name = WholeName::EMPTY;
        let (mut piece, mut at) = (start, start);
        let mut end = None;
        loop {
            let length = usize::from(*self.message.get(at).ok_or(MalformedMessage)?);
            let cost = if length <= 63 { 1 + length } else { 2 };
            self.left = self.left.checked_sub(cost).ok_or(MalformedMessage)?;
            match length {
                0..=63 => {
                    let label = self.message.get(at..=at + length).ok_or(MalformedMessage)?;
                    name.push(label).ok_or(MalformedMessage)?;
                    at += 1 + length;
                    if length == 0 {
                        return Ok((name, end.unwrap_or(at)));
                    }
                }
                0xc0.. => {
                    let target = usize::from(read_u16(self.message, at).ok_or(MalformedMessage)? & 0x3fff);
                    if !(HEADER..piece).contains(&target) {
                        return Err(MalformedMessage);
                    }
                    end = end.or(Some(at + 2));
                    (piece, at) = (target, target);
                }
                _ => return Err(MalformedMessage),
            }
        }
    }

    /// As [`NameReader::read`], but returns only the name's ID.
    ///
    /// # Errors
    /// As [`NameReader::read`].
    pub fn id(&mut self, start: usize) -> Result<(NameId, usize), MalformedMessage> {
        let pointer = read_u16(self.message, start).filter(|word| *word >= 0xc000);
        if let (Some(pointer), Some((last, id))) = (pointer, self.last)
            && pointer == last
            && usize::from(pointer & 0x3fff) < start
        {
            return Ok((id, start + 2));
        }
        let (name, end) = self.read(start)?;
        let id = name.id();
        self.last = pointer.map(|pointer| (pointer, id)).or(self.last);
        Ok((id, end))
    }

    /// Checks the compression pointers in the RDATA between two offsets, where the type is one
    /// whose names may be compressed ([`names_in`]). RDATA that are malformed in any other way
    /// pass, since they mean the same to everybody (RFC 3597).
    ///
    /// # Errors
    /// [`MalformedMessage`] when a name with a pointer cannot be read, and when the budget is used
    /// up.
    pub fn check_data(&mut self, rtype: u16, data: usize, end: usize) -> Result<(), MalformedMessage> {
        let Some(NamesInData { before, count }) = names_in(rtype) else { return Ok(()) };
        let mut at = data + before;
        for _ in 0..count {
            match self.pointer_of(at, end)? {
                Piece::Pointer => at = self.read(at)?.1,
                Piece::Root(behind) => at = behind,
                Piece::CutOff => return Ok(()),
            }
        }
        Ok(())
    }

    /// How the piece of a name that stands at `start`, and must end at `end` at the latest, ends.
    fn pointer_of(&mut self, start: usize, end: usize) -> Result<Piece, MalformedMessage> {
        let mut at = start;
        while at < end {
            let length = usize::from(*self.message.get(at).ok_or(MalformedMessage)?);
            self.left = self.left.checked_sub(1).ok_or(MalformedMessage)?;
            match length {
                0 => return Ok(Piece::Root(at + 1)),
                1..=63 => at += 1 + length,
                0xc0.. if at + 2 <= end => return Ok(Piece::Pointer),
                _ => break,
            }
        }
        Ok(Piece::CutOff)
    }
}

/// How a piece of a name ends.
enum Piece {
    /// With a pointer to the rest.
    Pointer,
    /// With the root label; the number is the offset behind it.
    Root(usize),
    /// Not within its RDATA.
    CutOff,
}

/// Where names stand in the RDATA of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamesInData {
    /// The number of bytes before the first name.
    pub before: usize,
    /// The number of names, one behind the other.
    pub count: usize,
}

/// Where names stand in the RDATA of a type whose names may be compressed: those of RFC 1035 §3.3,
/// and those that RFC 3597 §4 wants to be read likewise. `None` for every other type.
#[must_use]
pub const fn names_in(rtype: u16) -> Option<NamesInData> {
    let (before, count) = match rtype {
        // NS, MD, MF, CNAME, MB, MG, MR, PTR, DNAME.
        2 | 3 | 4 | 5 | 7 | 8 | 9 | 12 | 39 => (0, 1),
        // SOA, MINFO, RP.
        6 | 14 | 17 => (0, 2),
        // MX, AFSDB, RT, KX.
        15 | 18 | 21 | 36 => (2, 1),
        // PX.
        26 => (2, 2),
        // SRV.
        33 => (6, 1),
        _ => return None,
    };
    Some(NamesInData { before, count })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing;
    use proptest::prelude::*;

    /// A header of zeros, then these bytes, which so begin at the offset 12.
    fn message(bytes: &[u8]) -> Vec<u8> {
        [&[0; HEADER], bytes].concat()
    }

    fn read(bytes: &[u8], start: usize) -> Result<(Vec<u8>, usize), MalformedMessage> {
        let message = message(bytes);
        NameReader::new(&message).read(start).map(|(name, end)| (name.as_bytes().to_vec(), end))
    }

    fn whole(text: &str) -> WholeName {
        let bytes = message(&testing::name(text));
        NameReader::new(&bytes).read(HEADER).expect("a name").0
    }

    #[test]
    fn pointers_are_followed_backwards() {
        let bytes = b"\x04Test\x00\x01a\xc0\x0c\x01b\xc0\x12\xc0\x16";
        assert_eq!(read(bytes, 12), Ok((b"\x04Test\x00".to_vec(), 18)));
        assert_eq!(read(bytes, 18), Ok((b"\x01a\x04Test\x00".to_vec(), 22)));
        assert_eq!(read(bytes, 26), Ok((b"\x01b\x01a\x04Test\x00".to_vec(), 28)), "through three pointers");
    }

    #[test]
    fn pointers_that_do_not_lead_backwards_are_malformed() {
        for (what, bytes, start) in [
            ("to itself", b"\xc0\x0c".as_slice(), 12),
            ("to its own first label", b"\x01a\xc0\x0c", 12),
            ("forwards", b"\xc0\x0e\x00", 12),
            ("beyond the end", b"\xcf\xff", 12),
            ("into the header", b"\xc0\x04", 12),
            ("to each other", b"\x01a\xc0\x10\x01b\xc0\x0c", 16),
            ("cut off", b"\xc0", 12),
            ("a reserved label type", b"\x40\x00", 12),
            ("no end", b"\x01a", 12),
        ] {
            assert_eq!(read(bytes, start), Err(MalformedMessage), "{what}");
        }
    }

    #[test]
    fn a_name_has_255_bytes_at_most_however_it_is_put_together() {
        let mut bytes = Vec::new();
        for length in [63_u8, 63, 63] {
            bytes.push(length);
            bytes.extend(std::iter::repeat_n(b'a', usize::from(length)));
        }
        bytes.push(0);
        let pointer = [0xc0, 12];
        let with = |length: u8| [&bytes[..], &[length][..], &vec![b'b'; usize::from(length)][..], &pointer].concat();
        let start = 12 + bytes.len();
        assert_eq!(read(&with(61), start).map(|(name, _)| name.len()), Ok(255));
        assert_eq!(read(&with(62), start), Err(MalformedMessage));
    }

    #[test]
    fn names_that_differ_in_case_alone_have_one_id() {
        assert_eq!(whole("www.example.com").id(), whole("WWW.Example.COM").id());
        assert_ne!(whole("www.example.com").id(), whole("ww.wexample.com").id());
        let bytes = message(b"\x01a\x00\xc0\x0c\xc0\x0c");
        let mut names = NameReader::new(&bytes);
        let ids = [12, 15, 17].map(|start| names.id(start).expect("a name"));
        assert_eq!(ids.map(|(id, _)| id), [ids[0].0; 3]);
        assert_eq!(ids.map(|(_, end)| end), [15, 17, 19]);
    }

    #[test]
    fn a_dname_redirects_what_lies_below_it() {
        let redirected = |name: &str, owner: &str, target: &str| {
            whole(name).redirected(&whole(owner), &whole(target)).map(|name| name.as_bytes().to_vec())
        };
        let expected = Some(testing::name("a.b.example.net"));
        assert_eq!(redirected("a.b.example.com", "example.com", "example.net"), expected);
        assert_eq!(redirected("a.b", "", "example.net"), expected, "the root");
        assert_eq!(redirected("example.com", "example.com", "example.net"), None, "not the owner itself");
        assert_eq!(redirected("a.wexample.com", "example.com", "example.net"), None);
        let long = vec!["a".repeat(60); 4].join(".");
        assert_eq!(redirected(&format!("{long}.x"), "x", &"b".repeat(20)), None, "longer than a name may be");
    }

    #[test]
    fn a_message_of_many_long_names_uses_the_budget_up() {
        // One name of 255 bytes, and pointers to it from here on.
        let mut bytes = message(&vec![b"\x01a".as_slice(); 127].concat());
        bytes.push(0);
        let first = bytes.len();
        for _ in 0..5000 {
            bytes.extend([0xc0, 12]);
        }
        let mut names = NameReader::new(&bytes);
        let read = (0..5000).take_while(|index| names.read(first + 2 * index).is_ok()).count();
        assert!((500..1100).contains(&read), "{read}");
        let mut names = NameReader::new(&bytes);
        assert!((0..5000).all(|index| names.id(first + 2 * index).is_ok()), "the same pointer costs nothing");
    }

    #[test]
    fn pointers_in_data_are_checked_and_nothing_else() {
        let check = |rtype: u16, data: &[u8]| {
            let bytes = message(&[b"\x01a\x00".as_slice(), data].concat());
            NameReader::new(&bytes).check_data(rtype, 15, bytes.len())
        };
        assert_eq!(check(15, b"\x00\x0a\x02mx\xc0\x0c"), Ok(()));
        for (rtype, data) in [(15, b"\x00\x0a\xcf\xff".as_slice()), (12, b"\xc0\x0f"), (6, b"\x00\x01b\xc0\x10")] {
            assert_eq!(check(rtype, data), Err(MalformedMessage), "{rtype} {data:?}");
        }
        for (rtype, data) in [(15, b"".as_slice()), (12, b"\x3fab"), (16, b"\xcf\xff"), (6, b"\x00"), (2, b"\xc0")] {
            assert_eq!(check(rtype, data), Ok(()), "{rtype} {data:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), start in 0_usize..90) {
            let mut names = NameReader::new(&bytes);
            if let Ok((name, end)) = names.read(start) {
                prop_assert!(name.as_bytes().len() <= NAME_MAX && end <= bytes.len() && end > start);
            }
            let _ = names.check_data(6, start, bytes.len());
        }
    }
}
