//! The parts of a response that an entry keeps: its bytes without OPT, the places of its TTLs, and
//! its extended errors.
//!
//! | in the response | in what is kept |
//! |---|---|
//! | an answer section in which every record is part of the answer, aliases first | the same bytes |
//! | any other answer section | only the parts of the answer, aliases first ([`super::reordered`]) |
//! | TTLs that differ within an RRset | the least of them for all ([`super::rrset_ttls`]) |
//! | OPT and whatever stands behind it | nothing |
//! | the case of the name in the question | lower case |
//!
//! Keeping what is kept already changes nothing. So what comes from elsewhere (the state file, the
//! shared cache) is refused unless it is just as it would be kept.
//!
//! All of it lies in one piece of memory. Ten thousand entries multiply whatever a single one
//! wastes, and three allocations would cost three headers and three roundings each.

use std::borrow::Cow;

use super::{reordered, rrset_ttls};
use crate::core::chain::AnswerChain;
use crate::core::key::Key;
use crate::core::message::{self, HEADER, Header, MalformedMessage, Records, Section};

/// The kept parts of one response.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KeptResponse {
    /// The response without OPT, then the offsets of its TTLs as 16-bit numbers, then its extended
    /// errors.
    bytes: Box<[u8]>,
    wire_end: u16,
    /// The number of TTL offsets behind the response.
    offsets: u16,
}

impl KeptResponse {
    /// Keeps a response up to its OPT, with these extended errors (raw EDNS options).
    ///
    /// Records behind the OPT are left out (additional data may be, RFC 2181 §9): compression
    /// pointers to names behind it would no longer lead where they should. The question is written
    /// in lower case, as it stands in the key.
    ///
    /// # Errors
    /// [`MalformedMessage`] when the framing or a name cannot be read, an OPT stands outside the
    /// additional section, or the question has another name than the key.
    pub(super) fn new(key: &Key, response: &[u8], extended_errors: &[u8]) -> Result<Self, MalformedMessage> {
        // Leave out what does not answer the question.
        let chain = AnswerChain::follow(key.qtype(), response)?;
        let response =
            if chain.is_in_order() { Cow::Borrowed(response) } else { Cow::Owned(reordered::write(response, chain)?) };
        let response = response.as_ref();
        // Walk up to the OPT, and note where the TTLs are.
        let mut records = Records::new(response)?;
        let mut end = records.position();
        let mut offsets = Vec::new();
        let mut additional: u16 = 0;
        while let Some(record) = records.next_record()? {
            if record.rtype == message::TYPE_OPT {
                break;
            }
            if record.section == Section::Additional {
                additional = additional.saturating_add(1);
            }
            offsets.push(u16::try_from(record.ttl_at).map_err(|_| MalformedMessage)?);
            end = record.end;
        }
        // Write the count of additional records and the question anew.
        let wire = response.get(..end).ok_or(MalformedMessage)?;
        let name = key.name();
        let asked = wire.get(HEADER..message::skip_plain_name(wire, HEADER)?).ok_or(MalformedMessage)?;
        if !asked.eq_ignore_ascii_case(name) || Header::read(wire)?.questions != 1 {
            return Err(MalformedMessage);
        }
        let mut kept = Self::join(wire, &offsets, extended_errors)?;
        let wire = kept.wire_mut();
        wire.get_mut(10..HEADER).ok_or(MalformedMessage)?.copy_from_slice(&additional.to_be_bytes());
        wire.get_mut(HEADER..HEADER + name.len()).ok_or(MalformedMessage)?.copy_from_slice(name);
        rrset_ttls::level(wire)?;
        Ok(kept)
    }

    /// Puts the parts together in memory of exactly their size: a larger piece that was cut
    /// afterwards would leave a hole beside every entry.
    ///
    /// # Errors
    /// [`MalformedMessage`] when a part is larger than any response.
    fn join(wire: &[u8], ttl_offsets: &[u16], extended_errors: &[u8]) -> Result<Self, MalformedMessage> {
        let counted = |count| u16::try_from(count).map_err(|_| MalformedMessage);
        let (wire_end, offsets) = (counted(wire.len())?, counted(ttl_offsets.len())?);
        let mut bytes = Vec::with_capacity(wire.len() + size_of_val(ttl_offsets) + extended_errors.len());
        bytes.extend_from_slice(wire);
        bytes.extend(ttl_offsets.iter().flat_map(|offset| offset.to_be_bytes()));
        bytes.extend_from_slice(extended_errors);
        Ok(Self { bytes: bytes.into_boxed_slice(), wire_end, offsets })
    }

    /// Raises all TTLs to this number of seconds at the least.
    pub(super) fn raise_ttls(&mut self, least: u32) {
        let end = usize::from(self.wire_end);
        let (wire, behind) = self.bytes.split_at_mut_checked(end).unwrap_or_default();
        let offsets = behind.as_chunks::<2>().0.iter().take(usize::from(self.offsets));
        for at in offsets.map(|offset| usize::from(u16::from_be_bytes(*offset))) {
            let raised = message::read_u32(wire, at).map(|ttl| message::sane_ttl(ttl).max(least));
            if let (Some(raised), Some(ttl)) = (raised, wire.get_mut(at..at + 4)) {
                ttl.copy_from_slice(&raised.to_be_bytes());
            }
        }
    }

    fn wire_mut(&mut self) -> &mut [u8] {
        let end = usize::from(self.wire_end);
        self.bytes.get_mut(..end).unwrap_or_default()
    }

    /// The response without OPT.
    pub(super) fn wire(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.wire_end)).unwrap_or_default()
    }

    /// The offsets of the TTL fields in the response, big-endian.
    pub(super) fn ttl_offsets(&self) -> &[[u8; 2]] {
        self.bytes.get(usize::from(self.wire_end)..self.offsets_end()).unwrap_or_default().as_chunks::<2>().0
    }

    /// The extended errors, as raw EDNS options.
    pub(super) fn extended_errors(&self) -> &[u8] {
        self.bytes.get(self.offsets_end()..).unwrap_or_default()
    }

    /// Where the offsets end and the extended errors begin.
    fn offsets_end(&self) -> usize {
        usize::from(self.wire_end) + 2 * usize::from(self.offsets)
    }

    /// The size of all parts together, in bytes.
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }
}
