//! Writes a message anew with other records or another question.
//!
//! Records cannot simply be moved or left out, since the compression pointers of others may lead
//! into them. So each owner name is read whole and written again, as are the names in RDATA of the
//! types whose names may be compressed ([`names_in`]); all other RDATA are copied, as are RDATA
//! that do not look like those of their type. Owner names become pointers wherever the name was
//! written before, so that an answer of many records does not grow.

use super::message::{self, HEADER, MalformedMessage, Section};
use super::name::{NameId, NameReader, NamesInData, WholeName, names_in};

/// The longest message, in bytes.
const LONGEST: usize = 65_535;
/// The number of names that are remembered for pointers to them.
const PLACES_MAX: usize = 64;

/// A message that is being written from the records of another one.
pub struct Rewriting<'a> {
    message: &'a [u8],
    names: NameReader<'a>,
    out: Vec<u8>,
    /// Names that were written, with their offsets.
    places: Vec<(NameId, u16)>,
    /// Records that were written: answer, authority, additional.
    counts: [u16; 3],
}

impl<'a> Rewriting<'a> {
    /// Begins with a header and a question; the records will come from `message`.
    ///
    /// # Errors
    /// [`MalformedMessage`] when the name in the question cannot be read.
    pub fn new(message: &'a [u8], head: Vec<u8>) -> Result<Self, MalformedMessage> {
        let qname = NameReader::new(&head).id(HEADER)?.0;
        let names = NameReader::new(message);
        let mut writing = Self { message, names, out: head, places: Vec::new(), counts: [0; 3] };
        writing.note(qname, HEADER);
        Ok(writing)
    }

    /// Copies the record whose owner name stands at `start` into a section. The sections have to
    /// come in their order.
    ///
    /// # Errors
    /// [`MalformedMessage`] when the record cannot be read, or the result is longer than 65 535
    /// bytes.
    pub fn copy(&mut self, start: usize, section: Section) -> Result<(), MalformedMessage> {
        let (owner, fixed) = self.names.id(start)?;
        match self.place(owner) {
            Some(pointer) => self.out.extend_from_slice(&pointer),
            None => {
                let name = self.names.read(start)?.0;
                self.name(&name)?;
            }
        }
        let field = |at| message::read_u16(self.message, at).ok_or(MalformedMessage);
        let (rtype, class) = (field(fixed)?, field(fixed + 2)?);
        let ttl = message::read_u32(self.message, fixed + 4).ok_or(MalformedMessage)?;
        let data = fixed + 10;
        let end = data + usize::from(field(fixed + 8)?);
        self.fixed(rtype, class, ttl);
        self.data(|writing| writing.copy_data(rtype, data, end))?;
        self.count(section);
        Ok(())
    }

    /// Writes a CNAME into the answer section.
    ///
    /// # Errors
    /// [`MalformedMessage`] when the result is longer than 65 535 bytes.
    pub fn alias(
        &mut self,
        owner: &WholeName,
        target: &WholeName,
        class: u16,
        ttl: u32,
    ) -> Result<(), MalformedMessage> {
        match self.place(owner.id()) {
            Some(pointer) => self.out.extend_from_slice(&pointer),
            None => self.name(owner)?,
        }
        self.fixed(message::TYPE_CNAME, class, ttl);
        self.data(|writing| writing.name(target))?;
        self.count(Section::Answer);
        Ok(())
    }

    /// The whole message, with its counts of records.
    ///
    /// # Errors
    /// [`MalformedMessage`] when it began with less than a header.
    pub fn finish(self) -> Result<Vec<u8>, MalformedMessage> {
        let Self { mut out, counts, .. } = self;
        for (at, count) in [6, 8, 10].into_iter().zip(counts) {
            out.get_mut(at..at + 2).ok_or(MalformedMessage)?.copy_from_slice(&count.to_be_bytes());
        }
        Ok(out)
    }

    fn count(&mut self, section: Section) {
        let [answers, authorities, additional] = &mut self.counts;
        let count = match section {
            Section::Answer => answers,
            Section::Authority => authorities,
            Section::Additional => additional,
        };
        *count = count.saturating_add(1);
    }

    /// Writes a name in full.
    fn name(&mut self, name: &WholeName) -> Result<(), MalformedMessage> {
        let at = self.out.len();
        self.out.extend_from_slice(name.as_bytes());
        self.note(name.id(), at);
        if self.out.len() > LONGEST { Err(MalformedMessage) } else { Ok(()) }
    }

    /// Writes type, class and TTL of a record.
    fn fixed(&mut self, rtype: u16, class: u16, ttl: u32) {
        self.out.extend_from_slice(&rtype.to_be_bytes());
        self.out.extend_from_slice(&class.to_be_bytes());
        self.out.extend_from_slice(&ttl.to_be_bytes());
    }

    /// Writes RDATA with their length before them.
    fn data(&mut self, write: impl FnOnce(&mut Self) -> Result<(), MalformedMessage>) -> Result<(), MalformedMessage> {
        let at = self.out.len();
        self.out.extend_from_slice(&[0, 0]);
        write(self)?;
        let length = u16::try_from(self.out.len() - at - 2).map_err(|_| MalformedMessage)?;
        self.out.get_mut(at..at + 2).ok_or(MalformedMessage)?.copy_from_slice(&length.to_be_bytes());
        if self.out.len() > LONGEST { Err(MalformedMessage) } else { Ok(()) }
    }

    /// Copies RDATA, with their names written in full; as they are when they do not look like those
    /// of their type.
    fn copy_data(&mut self, rtype: u16, data: usize, end: usize) -> Result<(), MalformedMessage> {
        let (length, places) = (self.out.len(), self.places.len());
        if self.write_data_out(rtype, data, end).is_err() {
            self.out.truncate(length);
            self.places.truncate(places);
            self.out.extend_from_slice(self.message.get(data..end).ok_or(MalformedMessage)?);
        }
        Ok(())
    }

    fn write_data_out(&mut self, rtype: u16, data: usize, end: usize) -> Result<(), MalformedMessage> {
        let NamesInData { before, count } = names_in(rtype).unwrap_or(NamesInData { before: 0, count: 0 });
        let mut at = data + before;
        self.out.extend_from_slice(self.message.get(data..at).ok_or(MalformedMessage)?);
        for _ in 0..count {
            let (name, behind) = self.names.read(at)?;
            if behind > end {
                return Err(MalformedMessage);
            }
            self.name(&name)?;
            at = behind;
        }
        self.out.extend_from_slice(self.message.get(at..end).ok_or(MalformedMessage)?);
        Ok(())
    }

    /// A pointer to a name that was written before.
    fn place(&self, id: NameId) -> Option<[u8; 2]> {
        let (_, at) = self.places.iter().find(|(known, _)| *known == id)?;
        Some((0xc000 | at).to_be_bytes())
    }

    /// Notes where a name was written, as far as a pointer reaches.
    fn note(&mut self, id: NameId, at: usize) {
        if let Ok(at) = u16::try_from(at)
            && at < 0x4000
            && self.places.len() < PLACES_MAX
        {
            self.places.push((id, at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::message::Records;
    use crate::core::testing::{Response, name};
    use proptest::prelude::*;

    /// The same message, with the names of its records written out.
    fn rewritten(message: &[u8]) -> Result<Vec<u8>, MalformedMessage> {
        let mut records = Records::new(message)?;
        let mut writing = Rewriting::new(message, message.get(..records.position()).unwrap().to_vec())?;
        while let Some(record) = records.next_record()? {
            writing.copy(record.start, record.section)?;
        }
        writing.finish()
    }

    #[test]
    fn names_in_data_of_known_types_are_written_out_and_owners_are_pointers() {
        let compressed = Response::new("www.example.com", 15)
            .record(6, "www.example.com", 15, 60, &[0, 10, 2, b'm', b'x', 0xc0, 16])
            .record(8, "www.example.com", 5, 60, &[0xc0, 12])
            .bytes();
        let expected = Response::new("www.example.com", 15)
            .record(6, "", 15, 60, &[&[0, 10][..], &name("mx.example.com")].concat())
            .record(8, "", 5, 60, &name("www.example.com"))
            .bytes();
        // An empty owner is the root there, and a pointer to the question here.
        let head = 12 + name("www.example.com").len() + 4;
        let mut pointed = expected[..head].to_vec();
        for record in [&expected[head..head + 11 + 18], &expected[head + 11 + 18..]] {
            pointed.extend([0xc0, 12]);
            pointed.extend(&record[1..]);
        }
        assert_eq!(rewritten(&compressed), Ok(pointed));
    }

    #[test]
    fn data_that_do_not_look_like_their_type_are_copied() {
        for (rtype, data) in
            [(5, &[0xc0, 0xff][..]), (5, &[]), (15, &[0]), (6, &[0xc0, 12, 0xc0]), (46, &[0xc0, 12]), (1, &[1])]
        {
            let message = Response::new("www.example.com", rtype).record(6, "www.example.com", rtype, 60, data).bytes();
            assert!(rewritten(&message).unwrap().ends_with(data), "TYPE{rtype} {data:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_bounded_and_panics_never(
            tail in proptest::collection::vec(prop_oneof![any::<u8>(), Just(0xc0), Just(1)], 0..600),
        ) {
            let mut message = Response::new("www.example.com", 1).bytes();
            message[7] = 9;
            message.extend(tail);
            if let Ok(out) = rewritten(&message) {
                prop_assert!(out.len() <= LONGEST);
            }
        }
    }
}
