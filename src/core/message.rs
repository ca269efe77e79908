//! Walks DNS messages without allocating: header fields, names, records (RFC 1035 §4).
//!
//! Only framing is read: RDATA stays opaque, so unknown types and malformed RDATA pass through (RFC
//! 3597). Every read is checked; a walk ends with [`Malformed`] rather than past the end.
//! hickory-proto is the oracle in `tests`.

/// Length of the header (RFC 1035 §4.1.1).
pub const HEADER: usize = 12;
/// TYPE of the EDNS pseudo-record (RFC 6891 §6.1.1).
pub const TYPE_OPT: u16 = 41;
/// TYPE of an alias.
pub const TYPE_CNAME: u16 = 5;
/// TYPE of a start of authority.
pub const TYPE_SOA: u16 = 6;
/// TYPE of an alias of a subtree (RFC 6672).
pub const TYPE_DNAME: u16 = 39;
/// TYPE of a DNSSEC signature.
pub const TYPE_RRSIG: u16 = 46;
/// QTYPE of "all types".
pub const TYPE_ANY: u16 = 255;

/// The message's framing cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed message")]
pub struct Malformed;

/// Reads a 16-bit number.
#[must_use]
pub fn read_u16(message: &[u8], at: usize) -> Option<u16> {
    let bytes = message.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

/// Reads a 32-bit number.
#[must_use]
pub fn read_u32(message: &[u8], at: usize) -> Option<u32> {
    let bytes = message.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// The fixed fields of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// ID.
    pub id: u16,
    /// QR, OPCODE, AA, TC, RD, RA, Z, AD, CD, RCODE as they stand.
    pub flags: u16,
    /// Entries in the question section.
    pub questions: u16,
    /// Records in the answer, authority and additional sections.
    pub records: [u16; 3],
}

/// QR.
pub const FLAG_RESPONSE: u16 = 0x8000;
/// TC.
pub const FLAG_TRUNCATED: u16 = 0x0200;
/// RD.
pub const FLAG_RECURSION_DESIRED: u16 = 0x0100;
/// RA.
pub const FLAG_RECURSION_AVAILABLE: u16 = 0x0080;
/// AD.
pub const FLAG_AUTHENTIC: u16 = 0x0020;
/// CD.
pub const FLAG_CHECKING_DISABLED: u16 = 0x0010;
/// OPCODE, in place.
pub const MASK_OPCODE: u16 = 0x7800;
/// RCODE, the lower four bits.
pub const MASK_RCODE: u16 = 0x000f;

impl Header {
    /// Reads the header.
    ///
    /// # Errors
    /// [`Malformed`] under 12 bytes.
    pub fn read(message: &[u8]) -> Result<Self, Malformed> {
        let field = |at| read_u16(message, at).ok_or(Malformed);
        Ok(Self { id: field(0)?, flags: field(2)?, questions: field(4)?, records: [field(6)?, field(8)?, field(10)?] })
    }

    /// Whether a flag is set.
    #[must_use]
    pub const fn has(self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// The lower four bits of the RCODE.
    #[must_use]
    pub const fn rcode(self) -> u16 {
        self.flags & MASK_RCODE
    }
}

/// Steps over a name that may end in a compression pointer; gives the offset behind it.
///
/// # Errors
/// [`Malformed`] when it runs past the end, has a reserved label type, or is longer than 255 bytes.
pub fn skip_name(message: &[u8], start: usize) -> Result<usize, Malformed> {
    let mut at = start;
    loop {
        let length = *message.get(at).ok_or(Malformed)?;
        match length {
            0 => return Ok(at + 1),
            1..=63 => at += 1 + usize::from(length),
            0xc0..=0xff => return if at + 1 < message.len() { Ok(at + 2) } else { Err(Malformed) },
            _ => return Err(Malformed),
        }
        if at - start > 255 {
            return Err(Malformed);
        }
    }
}

/// Steps over an uncompressed name; gives the offset behind it.
///
/// # Errors
/// As [`skip_name`], and for a compression pointer.
pub fn skip_plain_name(message: &[u8], start: usize) -> Result<usize, Malformed> {
    let mut at = start;
    loop {
        let length = *message.get(at).ok_or(Malformed)?;
        match length {
            0 if at - start < 255 => return Ok(at + 1),
            1..=63 => at += 1 + usize::from(length),
            _ => return Err(Malformed),
        }
        if at - start > 254 {
            return Err(Malformed);
        }
    }
}

/// Whether the name at `first` equals the name at `second`, compression resolved and case ignored.
///
/// # Errors
/// [`Malformed`] for a name that cannot be read or whose pointers do not lead backwards.
pub fn same_name(message: &[u8], first: usize, second: usize) -> Result<bool, Malformed> {
    let (mut a, mut b) = (first, second);
    for _ in 0..=128 {
        a = follow(message, a)?;
        b = follow(message, b)?;
        if a == b {
            return Ok(true);
        }
        let (x, y) = (*message.get(a).ok_or(Malformed)?, *message.get(b).ok_or(Malformed)?);
        if x != y {
            return Ok(false);
        }
        if x == 0 {
            return Ok(true);
        }
        let length = usize::from(x);
        let label = |at: usize| message.get(at + 1..at + 1 + length).ok_or(Malformed);
        if !label(a)?.eq_ignore_ascii_case(label(b)?) {
            return Ok(false);
        }
        (a, b) = (a + 1 + length, b + 1 + length);
    }
    Err(Malformed)
}

/// Follows compression pointers at `at` until a label or the root stands there.
fn follow(message: &[u8], mut at: usize) -> Result<usize, Malformed> {
    for _ in 0..=128 {
        match *message.get(at).ok_or(Malformed)? {
            0..=63 => return Ok(at),
            0xc0..=0xff => {
                let target = usize::from(read_u16(message, at).ok_or(Malformed)? & 0x3fff);
                if target >= at {
                    return Err(Malformed);
                }
                at = target;
            }
            _ => return Err(Malformed),
        }
    }
    Err(Malformed)
}

/// The section in which a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Answer.
    Answer,
    /// Authority.
    Authority,
    /// Additional.
    Additional,
}

/// Where one record lies in its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its section.
    pub section: Section,
    /// Offset of the owner name.
    pub start: usize,
    /// TYPE.
    pub rtype: u16,
    /// CLASS; the UDP payload size in an OPT.
    pub class: u16,
    /// Offset of the TTL field.
    pub ttl_at: usize,
    /// The TTL field as it stands.
    pub ttl: u32,
    /// Offset of the RDATA.
    pub data: usize,
    /// Offset behind the record.
    pub end: usize,
}

/// Walks the records of a message, section by section.
pub struct Records<'a> {
    /// The whole message.
    message: &'a [u8],
    /// Offset of the next record.
    at: usize,
    /// Records left in the three sections.
    left: [u16; 3],
}

impl<'a> Records<'a> {
    /// Starts behind the question section, which is stepped over.
    ///
    /// # Errors
    /// [`Malformed`] when header or questions cannot be read.
    pub fn new(message: &'a [u8]) -> Result<Self, Malformed> {
        let header = Header::read(message)?;
        let mut at = HEADER;
        for _ in 0..header.questions {
            at = skip_name(message, at)? + 4;
            if at > message.len() {
                return Err(Malformed);
            }
        }
        Ok(Self { message, at, left: header.records })
    }

    /// Offset of the next record.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.at
    }

    /// The next record, `None` behind the last.
    ///
    /// # Errors
    /// [`Malformed`] when its framing runs past the end.
    pub fn next_record(&mut self) -> Result<Option<Record>, Malformed> {
        let [answer, authority, additional] = &mut self.left;
        let (section, left) = if *answer > 0 {
            (Section::Answer, answer)
        } else if *authority > 0 {
            (Section::Authority, authority)
        } else if *additional > 0 {
            (Section::Additional, additional)
        } else {
            return Ok(None);
        };
        *left -= 1;
        let start = self.at;
        let fixed = skip_name(self.message, start)?;
        let rtype = read_u16(self.message, fixed).ok_or(Malformed)?;
        let class = read_u16(self.message, fixed + 2).ok_or(Malformed)?;
        let ttl = read_u32(self.message, fixed + 4).ok_or(Malformed)?;
        let length = read_u16(self.message, fixed + 8).ok_or(Malformed)?;
        let data = fixed + 10;
        let end = data + usize::from(length);
        if end > self.message.len() {
            return Err(Malformed);
        }
        self.at = end;
        Ok(Some(Record { section, start, rtype, class, ttl_at: fixed + 4, ttl, data, end }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_must_lead_backwards() {
        let mut message = vec![0; 12];
        message.extend_from_slice(b"\xc0\x0c");
        assert_eq!(same_name(&message, 12, 12), Err(Malformed));
        assert_eq!(skip_name(&message, 12), Ok(14));
        assert_eq!(skip_plain_name(&message, 12), Err(Malformed));
    }

    #[test]
    fn names_compare_through_compression_and_case() {
        let mut message = vec![0; 12];
        message.extend_from_slice(b"\x01A\x04test\x00\x01a\xc0\x0e");
        assert_eq!(same_name(&message, 12, 20), Ok(true));
        assert_eq!(same_name(&message, 12, 14), Ok(false));
    }

    #[test]
    fn a_name_of_255_bytes_is_read_and_one_of_256_is_not() {
        let mut name = Vec::new();
        for length in [63_u8, 63, 63, 61] {
            name.push(length);
            name.extend(std::iter::repeat_n(b'a', usize::from(length)));
        }
        name.push(0);
        assert_eq!(name.len(), 255);
        assert_eq!(skip_plain_name(&name, 0), Ok(255));
        let mut longer = Vec::new();
        for length in [63_u8, 63, 63, 62] {
            longer.push(length);
            longer.extend(std::iter::repeat_n(b'a', usize::from(length)));
        }
        longer.push(0);
        assert_eq!(skip_plain_name(&longer, 0), Err(Malformed));
    }
}
