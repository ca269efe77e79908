//! Walks DNS messages without allocating: header fields, names, records (RFC 1035 §4).
//!
//! Only the framing is read. RDATA stay opaque, so unknown types and malformed RDATA pass through
//! (RFC 3597). Every read is checked: a walk over bytes that are cut off or contradict themselves
//! ends with [`MalformedMessage`], never behind the last byte.
//!
//! hickory-proto reads the same messages in the tests, and both must agree.

/// Length of the header, in bytes (RFC 1035 §4.1.1).
pub const HEADER: usize = 12;
/// TYPE of an IPv4 address.
pub const TYPE_A: u16 = 1;
/// TYPE of an authoritative name server.
pub const TYPE_NS: u16 = 2;
/// TYPE of an alias, which names another name to look up.
pub const TYPE_CNAME: u16 = 5;
/// TYPE of a start of authority.
pub const TYPE_SOA: u16 = 6;
/// TYPE of a domain name pointer, which names an address.
pub const TYPE_PTR: u16 = 12;
/// TYPE of descriptive text (RFC 1035 §3.3.14).
pub const TYPE_TXT: u16 = 16;
/// TYPE of an IPv6 address (RFC 3596).
pub const TYPE_AAAA: u16 = 28;
/// TYPE of an alias of a subtree (RFC 6672).
pub const TYPE_DNAME: u16 = 39;
/// TYPE of the EDNS pseudo-record (RFC 6891 §6.1.1).
pub const TYPE_OPT: u16 = 41;
/// TYPE of a DNSSEC signature (RFC 4034 §3).
pub const TYPE_RRSIG: u16 = 46;
/// TYPE of an HTTPS service binding (RFC 9460).
pub const TYPE_HTTPS: u16 = 65;
/// QTYPE that asks for records of all types (ANY).
pub const TYPE_ANY: u16 = 255;
/// CLASS of the Internet (IN), the only one that is served.
pub const CLASS_IN: u16 = 1;

/// The framing of a message cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed message")]
pub struct MalformedMessage;

/// Reads the 16-bit number at the offset `at`; `None` when it runs past the end.
#[must_use]
pub fn read_u16(message: &[u8], at: usize) -> Option<u16> {
    let bytes = message.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

/// Reads the 32-bit number at the offset `at`; `None` when it runs past the end.
#[must_use]
pub fn read_u32(message: &[u8], at: usize) -> Option<u32> {
    let bytes = message.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// The TTL that a TTL field stands for, in seconds: values with the top bit set count as zero (RFC
/// 2181 §8).
#[must_use]
pub const fn sane_ttl(ttl: u32) -> u32 {
    if ttl > 0x7fff_ffff { 0 } else { ttl }
}

/// The header of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The message ID, by which a response is matched with its query.
    pub id: u16,
    /// QR, OPCODE, AA, TC, RD, RA, Z, AD, CD and RCODE as they stand in the message.
    pub flags: u16,
    /// The number of entries in the question section (QDCOUNT).
    pub questions: u16,
    /// The number of records in the answer, authority and additional sections.
    pub records: [u16; 3],
}

/// The bit of QR: the message is a response.
pub const FLAG_RESPONSE: u16 = 0x8000;
/// The bit of AA: the answer is authoritative.
pub const FLAG_AUTHORITATIVE: u16 = 0x0400;
/// The bit of TC: the response is truncated.
pub const FLAG_TRUNCATED: u16 = 0x0200;
/// The bit of RD: recursion is desired.
pub const FLAG_RECURSION_DESIRED: u16 = 0x0100;
/// The bit of RA: recursion is available.
pub const FLAG_RECURSION_AVAILABLE: u16 = 0x0080;
/// The bit of AD: the data are authentic (RFC 4035 §3.2.3).
pub const FLAG_AUTHENTIC: u16 = 0x0020;
/// The bit of CD: checking is disabled (RFC 4035 §3.2.2).
pub const FLAG_CHECKING_DISABLED: u16 = 0x0010;
/// The four bits of the OPCODE, in their place among the flags.
pub const MASK_OPCODE: u16 = 0x7800;
/// The lower four bits of the RCODE, in their place among the flags.
pub const MASK_RCODE: u16 = 0x000f;

impl Header {
    /// Reads the header of a message.
    ///
    /// # Errors
    /// [`MalformedMessage`] when there are fewer than 12 bytes.
    pub fn read(message: &[u8]) -> Result<Self, MalformedMessage> {
        let field = |at| read_u16(message, at).ok_or(MalformedMessage);
        Ok(Self { id: field(0)?, flags: field(2)?, questions: field(4)?, records: [field(6)?, field(8)?, field(10)?] })
    }

    /// Whether any bit of `flag` is set.
    #[must_use]
    pub const fn has(self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// The lower four bits of the RCODE; the upper eight stand in the OPT (RFC 6891 §6.1.3).
    #[must_use]
    pub const fn rcode(self) -> u16 {
        self.flags & MASK_RCODE
    }
}

/// Steps over a name that may end in a compression pointer, and returns the offset behind it.
///
/// # Errors
/// [`MalformedMessage`] when the name runs past the end, has a reserved label type, or is longer
/// than 255 bytes.
pub fn skip_name(message: &[u8], start: usize) -> Result<usize, MalformedMessage> {
    let mut at = start;
    loop {
        let length = *message.get(at).ok_or(MalformedMessage)?;
        match length {
            0 => return Ok(at + 1),
            1..=63 => at += 1 + usize::from(length),
            0xc0..=0xff => return if at + 1 < message.len() { Ok(at + 2) } else { Err(MalformedMessage) },
            _ => return Err(MalformedMessage),
        }
        if at - start > 255 {
            return Err(MalformedMessage);
        }
    }
}

/// Steps over an uncompressed name, and returns the offset behind it.
///
/// # Errors
/// [`MalformedMessage`] as for [`skip_name`], and for a compression pointer.
pub fn skip_plain_name(message: &[u8], start: usize) -> Result<usize, MalformedMessage> {
    let mut at = start;
    loop {
        let length = *message.get(at).ok_or(MalformedMessage)?;
        match length {
            0 if at - start < 255 => return Ok(at + 1),
            1..=63 => at += 1 + usize::from(length),
            _ => return Err(MalformedMessage),
        }
        if at - start > 254 {
            return Err(MalformedMessage);
        }
    }
}

/// The QCLASS of the first question of a message.
///
/// # Errors
/// [`MalformedMessage`] when the question cannot be read.
pub fn question_class(message: &[u8]) -> Result<u16, MalformedMessage> {
    read_u16(message, skip_name(message, HEADER)? + 2).ok_or(MalformedMessage)
}

/// Whether the names at two offsets are equal, with compression resolved and case ignored.
///
/// # Errors
/// [`MalformedMessage`] for a name that cannot be read, or whose pointers do not lead backwards.
pub fn same_name(message: &[u8], first: usize, second: usize) -> Result<bool, MalformedMessage> {
    let (mut a, mut b) = (first, second);
    // A name of 255 bytes has at most 127 labels and the root.
    for _ in 0..=128 {
        a = follow(message, a)?;
        b = follow(message, b)?;
        // Both names go on at the same place, so the rest is the same.
        if a == b {
            return Ok(true);
        }
        let (x, y) = (*message.get(a).ok_or(MalformedMessage)?, *message.get(b).ok_or(MalformedMessage)?);
        if x != y {
            return Ok(false);
        }
        if x == 0 {
            return Ok(true);
        }
        let length = usize::from(x);
        let label = |at: usize| message.get(at + 1..at + 1 + length).ok_or(MalformedMessage);
        if !label(a)?.eq_ignore_ascii_case(label(b)?) {
            return Ok(false);
        }
        (a, b) = (a + 1 + length, b + 1 + length);
    }
    Err(MalformedMessage)
}

/// Follows compression pointers from the offset `at` until a label or the root is reached.
fn follow(message: &[u8], mut at: usize) -> Result<usize, MalformedMessage> {
    for _ in 0..=128 {
        match *message.get(at).ok_or(MalformedMessage)? {
            0..=63 => return Ok(at),
            0xc0..=0xff => {
                let target = usize::from(read_u16(message, at).ok_or(MalformedMessage)? & 0x3fff);
                if target >= at {
                    return Err(MalformedMessage);
                }
                at = target;
            }
            _ => return Err(MalformedMessage),
        }
    }
    Err(MalformedMessage)
}

/// The section of a message in which a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// The answer section: records that answer the question.
    Answer,
    /// The authority section: records about the zone, such as the SOA of a negative response.
    Authority,
    /// The additional section: records that may be of use to the client, and the OPT.
    Additional,
}

/// Where one record lies in its message, with the fields that are read of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordSpan {
    /// The section in which the record stands.
    pub section: Section,
    /// The offset of the owner name.
    pub start: usize,
    /// The TYPE of the record.
    pub rtype: u16,
    /// The CLASS of the record; in an OPT the sender's UDP payload size.
    pub class: u16,
    /// The offset of the TTL field.
    pub ttl_at: usize,
    /// The TTL field as it stands.
    pub ttl: u32,
    /// The offset of the RDATA.
    pub data: usize,
    /// The offset behind the last byte of the record.
    pub end: usize,
}

/// Walks the records of a message from the answer section to the end of the additional section.
pub struct Records<'a> {
    message: &'a [u8],
    /// Offset of the next record.
    at: usize,
    /// Records left in the answer, authority and additional sections.
    left: [u16; 3],
}

impl<'a> Records<'a> {
    /// Starts a walk behind the question section, which is stepped over.
    ///
    /// # Errors
    /// [`MalformedMessage`] when the header or a question cannot be read.
    pub fn new(message: &'a [u8]) -> Result<Self, MalformedMessage> {
        let header = Header::read(message)?;
        let mut at = HEADER;
        for _ in 0..header.questions {
            at = skip_name(message, at)? + 4;
            if at > message.len() {
                return Err(MalformedMessage);
            }
        }
        Ok(Self { message, at, left: header.records })
    }

    /// The offset of the next record.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.at
    }

    /// Returns the next record, and `None` behind the last.
    ///
    /// # Errors
    /// [`MalformedMessage`] when the record runs past the end of the message.
    pub fn next_record(&mut self) -> Result<Option<RecordSpan>, MalformedMessage> {
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
        let rtype = read_u16(self.message, fixed).ok_or(MalformedMessage)?;
        let class = read_u16(self.message, fixed + 2).ok_or(MalformedMessage)?;
        let ttl = read_u32(self.message, fixed + 4).ok_or(MalformedMessage)?;
        let length = read_u16(self.message, fixed + 8).ok_or(MalformedMessage)?;
        let data = fixed + 10;
        let end = data + usize::from(length);
        if end > self.message.len() {
            return Err(MalformedMessage);
        }
        self.at = end;
        Ok(Some(RecordSpan { section, start, rtype, class, ttl_at: fixed + 4, ttl, data, end }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_must_lead_backwards() {
        let mut message = vec![0; 12];
        message.extend_from_slice(b"\xc0\x0c");
        assert_eq!(same_name(&message, 12, 12), Err(MalformedMessage));
        assert_eq!(skip_name(&message, 12), Ok(14));
        assert_eq!(skip_plain_name(&message, 12), Err(MalformedMessage));
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
        assert_eq!(skip_plain_name(&longer, 0), Err(MalformedMessage));
    }
}
