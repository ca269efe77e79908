//! The cache key: what makes two queries the same question.
//!
//! | bytes | content |
//! |---|---|
//! | 1 to 255 | the QNAME in uncompressed wire form, lower-cased |
//! | 2 | the QTYPE |
//! | 2 | the QCLASS |
//! | 1 | the DNSSEC service: bit 0 is DO, bit 1 is CD |
//!
//! Answers with and without DNSSEC records, and validated and unvalidated ones, are different
//! answers (RFC 4035 §3.2), so DO and CD belong to the key. The case of the name does not (RFC
//! 4343).
//!
//! Names in text form and relations between names ([`is_within`], [`registrable`]) live here as
//! well, since they work on the same wire form.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};

/// The length of the longest QNAME in wire form, in bytes (RFC 1035 §3.1).
pub const NAME_MAX: usize = 255;
/// Bytes behind the name: QTYPE, QCLASS, DNSSEC service.
const SUFFIX: usize = 5;
/// The bit of a query with DO set.
const DNSSEC_OK: u8 = 1;
/// The bit of a query with CD set.
const CHECKING_DISABLED: u8 = 2;

/// The DNSSEC service that a query asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dnssec {
    /// DO: the client wants DNSSEC records (RFC 3225).
    pub dnssec_ok: bool,
    /// CD: the client wants unvalidated data (RFC 4035 §3.2.2).
    pub checking_disabled: bool,
}

/// The key of a question, in a buffer of its own so that making one does not allocate.
#[derive(Clone)]
pub struct Key {
    /// The bytes of the key; only the first `length` count.
    bytes: [u8; NAME_MAX + SUFFIX],
    length: usize,
}

impl Key {
    /// Makes a key from a QNAME in uncompressed wire form (root label included), which is
    /// lower-cased on the way.
    ///
    /// A name longer than [`NAME_MAX`] is cut; [`super::question::read`] never hands one over.
    #[must_use]
    pub fn new(name: &[u8], qtype: u16, qclass: u16, dnssec: Dnssec) -> Self {
        let mut bytes = [0; NAME_MAX + SUFFIX];
        let mut length = 0;
        for (to, from) in bytes.iter_mut().zip(name.iter().take(NAME_MAX)) {
            *to = from.to_ascii_lowercase();
            length += 1;
        }
        let flags =
            if dnssec.dnssec_ok { DNSSEC_OK } else { 0 } | if dnssec.checking_disabled { CHECKING_DISABLED } else { 0 };
        let [t1, t2] = qtype.to_be_bytes();
        let [c1, c2] = qclass.to_be_bytes();
        for (to, from) in bytes.iter_mut().skip(length).zip([t1, t2, c1, c2, flags]) {
            *to = from;
        }
        Self { bytes, length: length + SUFFIX }
    }

    /// Makes a key from the bytes of another one ([`Key::as_bytes`]); `None` when no key has their
    /// length.
    #[must_use]
    pub fn from_stored(stored: &[u8]) -> Option<Self> {
        if stored.len() <= SUFFIX || stored.len() > NAME_MAX + SUFFIX {
            return None;
        }
        let mut bytes = [0; NAME_MAX + SUFFIX];
        bytes.get_mut(..stored.len())?.copy_from_slice(stored);
        Some(Self { bytes, length: stored.len() })
    }

    /// Makes a key from a question section in lower case and the byte of its DNSSEC service; `None`
    /// when no key has their length.
    #[must_use]
    pub fn from_question(question: &[u8], service: u8) -> Option<Self> {
        let length = question.len() + 1;
        if length <= SUFFIX || length > NAME_MAX + SUFFIX {
            return None;
        }
        let mut bytes = [0; NAME_MAX + SUFFIX];
        bytes.get_mut(..question.len())?.copy_from_slice(question);
        *bytes.get_mut(question.len())? = service;
        Some(Self { bytes, length })
    }

    /// The key of a question for another type of the same name, in this DNSSEC service.
    #[must_use]
    pub fn with(&self, qtype: u16, service: u8) -> Self {
        let mut other = self.clone();
        let behind = self.length.saturating_sub(SUFFIX);
        let [high, low] = qtype.to_be_bytes();
        for (at, byte) in [(0, high), (1, low), (4, service)] {
            if let Some(own) = other.bytes.get_mut(behind + at) {
                *own = byte;
            }
        }
        other
    }

    /// The whole key as bytes, in the form in which answers are stored under it.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// The QNAME in lower-cased wire form.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.bytes.get(..self.length.saturating_sub(SUFFIX)).unwrap_or_default()
    }

    /// The byte at this position behind the name.
    fn behind(&self, index: usize) -> u8 {
        self.bytes.get(self.length.saturating_sub(SUFFIX).saturating_add(index)).copied().unwrap_or_default()
    }

    /// The QTYPE of the question.
    #[must_use]
    pub fn qtype(&self) -> u16 {
        u16::from_be_bytes([self.behind(0), self.behind(1)])
    }

    /// The QCLASS of the question.
    #[must_use]
    pub fn qclass(&self) -> u16 {
        u16::from_be_bytes([self.behind(2), self.behind(3)])
    }

    /// The QTYPE and QCLASS as they stand behind a QNAME on the wire.
    #[must_use]
    pub fn type_and_class(&self) -> &[u8] {
        let end = self.length.saturating_sub(1);
        self.bytes.get(end.saturating_sub(4)..end).unwrap_or_default()
    }

    /// The DNSSEC service as one byte: bit 0 is DO, bit 1 is CD.
    #[must_use]
    pub fn service(&self) -> u8 {
        self.behind(4)
    }

    /// The DNSSEC service that the query asks for.
    #[must_use]
    pub fn dnssec(&self) -> Dnssec {
        let flags = self.service();
        Dnssec { dnssec_ok: flags & DNSSEC_OK != 0, checking_disabled: flags & CHECKING_DISABLED != 0 }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl std::fmt::Display for Key {
    /// Shows name and type, as in `www.example.com. AAAA`; a type without a common name is shown as
    /// in `TYPE99` (RFC 3597 §5).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ", NameText(self.name()))?;
        f.write_str(&type_text(self.qtype()))
    }
}

/// The mnemonic of a type; one without a common mnemonic is shown as in `TYPE99` (RFC 3597 §5).
#[must_use]
pub fn type_text(qtype: u16) -> Cow<'static, str> {
    Cow::Borrowed(match qtype {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        12 => "PTR",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        33 => "SRV",
        64 => "SVCB",
        65 => "HTTPS",
        255 => "ANY",
        other => return Cow::Owned(format!("TYPE{other}")),
    })
}

/// Shows a name in wire form as text, with the escapes of RFC 1035 §5.1.
pub struct NameText<'a>(pub &'a [u8]);

impl std::fmt::Display for NameText<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut rest = self.0;
        let mut empty = true;
        while let Some((&length, tail)) = rest.split_first() {
            let Some((label, after)) = tail.split_at_checked(usize::from(length)) else { break };
            if length == 0 {
                break;
            }
            empty = false;
            for &byte in label {
                match byte {
                    b'.' | b'\\' => write!(f, "\\{}", char::from(byte))?,
                    0x21..=0x7e => write!(f, "{}", char::from(byte))?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
            f.write_str(".")?;
            rest = after;
        }
        if empty { f.write_str(".") } else { Ok(()) }
    }
}

/// Reads a domain name from text into lower-cased wire form; `None` when it is not one.
///
/// A final dot makes no difference. Escapes and non-ASCII characters are not understood.
#[must_use]
pub fn read_name(text: &str) -> Option<Box<[u8]>> {
    let text = text.trim();
    let mut wire = Vec::new();
    for label in text.strip_suffix('.').unwrap_or(text).split('.').filter(|_| text != ".") {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
        if !label.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
            return None;
        }
        wire.push(length);
        wire.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
    }
    wire.push(0);
    (!text.is_empty() && wire.len() <= NAME_MAX).then(|| wire.into_boxed_slice())
}

/// Whether `name` lies at or below `suffix`. Both are in lower-cased wire form.
#[must_use]
pub fn is_within(name: &[u8], suffix: &[u8]) -> bool {
    let mut rest = name;
    loop {
        if rest.len() < suffix.len() {
            return false;
        }
        if rest == suffix {
            return true;
        }
        let Some((&length, tail)) = rest.split_first() else { return false };
        let Some(after) = tail.get(usize::from(length)..) else { return false };
        if length == 0 {
            return false;
        }
        rest = after;
    }
}

/// The last two labels of a name in wire form, which is nearly its registrable domain.
///
/// Health decisions count names as unrelated when these labels differ.
#[must_use]
pub fn registrable(name: &[u8]) -> &[u8] {
    let (mut last, mut before, mut rest) = (name, name, name);
    while let Some((&length, tail)) = rest.split_first() {
        if length == 0 {
            break;
        }
        before = last;
        last = rest;
        rest = tail.get(usize::from(length)..).unwrap_or_default();
    }
    before
}

/// The name in wire form without its first label, as long as that leaves two labels; shorter names
/// are their own parent. Names with the same parent are likely to share their authoritative
/// servers.
#[must_use]
pub fn parent(name: &[u8]) -> &[u8] {
    let suffix = registrable(name);
    let Some((&length, tail)) = name.split_first() else { return name };
    let above = tail.get(usize::from(length)..).unwrap_or_default();
    if above.len() < suffix.len() { suffix } else { above }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WWW: &[u8] = b"\x03WwW\x07example\x03com\x00";

    #[test]
    fn the_parent_keeps_two_labels() {
        let parent_of = |text: &str| NameText(parent(&crate::core::testing::name(text))).to_string();
        let names = ["a.b.example.com", "www.example.com", "example.com", "com"].map(parent_of);
        assert_eq!(names, ["b.example.com.", "example.com.", "example.com.", "com."]);
        assert_eq!(parent(&[0]), &[0]);
    }

    #[test]
    fn case_does_not_count_and_dnssec_does() {
        let plain = Key::new(WWW, 1, 1, Dnssec::default());
        let lower = Key::new(b"\x03www\x07example\x03com\x00", 1, 1, Dnssec::default());
        let signed = Key::new(WWW, 1, 1, Dnssec { dnssec_ok: true, checking_disabled: false });
        assert_eq!(plain, lower);
        assert_ne!(plain, signed);
        assert_eq!((plain.qtype(), plain.qclass(), signed.dnssec().dnssec_ok), (1, 1, true));
        assert_eq!(Key::from_stored(signed.as_bytes()), Some(signed));
    }

    #[test]
    fn another_type_in_another_service_is_another_key_of_the_name() {
        let own = Key::new(WWW, 1, 1, Dnssec::default());
        let other = own.with(28, DNSSEC_OK);
        assert_eq!(other, Key::new(WWW, 28, 1, Dnssec { dnssec_ok: true, checking_disabled: false }));
        assert_eq!(other.with(1, 0), own);
    }

    #[test]
    fn shows_name_and_type() {
        assert_eq!(Key::new(WWW, 28, 1, Dnssec::default()).to_string(), "www.example.com. AAAA");
        assert_eq!(Key::new(b"\x00", 99, 1, Dnssec::default()).to_string(), ". TYPE99");
        assert_eq!(NameText(b"\x03a.\x07\x00").to_string(), "a\\.\\007.");
    }

    #[test]
    fn suffixes_match_at_label_borders_only() {
        let name = b"\x03www\x07example\x03com\x00";
        assert!(is_within(name, b"\x07example\x03com\x00"));
        assert!(is_within(name, b"\x00"));
        assert!(is_within(name, name));
        assert!(!is_within(b"\x08wexample\x03com\x00", b"\x07example\x03com\x00"));
        assert!(!is_within(b"\x03com\x00", b"\x07example\x03com\x00"));
    }

    #[test]
    fn unrelated_names_differ_in_their_last_two_labels() {
        assert_eq!(registrable(b"\x03www\x07example\x03com\x00"), b"\x07example\x03com\x00");
        assert_eq!(registrable(b"\x03com\x00"), b"\x03com\x00");
        assert_eq!(registrable(b"\x00"), b"\x00");
    }

    #[test]
    fn names_become_lower_cased_wire_form() {
        assert_eq!(read_name("Corp.Example.com").as_deref(), Some(b"\x04corp\x07example\x03com\x00".as_slice()));
        assert_eq!(read_name("example.com."), read_name("example.com"));
        assert_eq!(read_name(".").as_deref(), Some(b"\x00".as_slice()));
        for text in ["", "a..b", ".com", "ü.example", &"a".repeat(64)] {
            assert_eq!(read_name(text), None, "{text}");
        }
    }
}
