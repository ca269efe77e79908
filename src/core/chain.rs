//! Finds the part of a response that answers its question: the chain of aliases that starts at
//! QNAME, and the data at its end (RFC 1034 §3.6.2, RFC 6672).
//!
//! A response with the right ID and question may still hold anything. A record of its answer
//! section is part of the answer if it hangs on the chain:
//!
//! | at the name that the chain has come to | follows |
//! |---|---|
//! | records of the type asked for (any type for ANY) | the end: these are the data |
//! | a CNAME; the first, if there are several | its target |
//! | a DNAME of a name above, and a CNAME that leads where the DNAME leads | the target; both are part of the answer |
//! | a DNAME of a name above, no CNAME | the DNAME's target; a CNAME is added for clients that know no DNAME |
//! | nothing of this | the end, without data |
//! | an alias that was followed before, or the 33rd alias | no end: the response is no answer |
//!
//! An RRSIG is part of the answer if the RRset that it covers is. Everything else in the answer
//! section is not: records of other names, types or classes.
//!
//! All names of the message are read whole here, whichever section they stand in, since clients
//! read all of it. A message in which one cannot be read is malformed, and so is one with an OPT
//! outside the additional section (RFC 6891 §6.1.1).
//!
//! The work is bounded by the length of a message and the budget of [`super::name`]: 16 bytes of
//! memory a record, and less than a millisecond. The same is done for each response when it is
//! classified and when it is remembered, and never when it is served.

use super::message::{self, HEADER, Header, MalformedMessage, RecordSpan, Records, Section};
use super::name::{NameId, NameReader, WholeName};

/// The number of aliases in a row that are followed; twice what any stub resolver follows.
const ALIASES_MAX: u8 = 32;
/// The number of DNAMEs in one response that are looked at.
const DNAMES_MAX: usize = 16;
/// The number of records in an answer section. Addresses in a message of 65 535 bytes are fewer.
const RECORDS_MAX: u16 = 4_096;
/// The class that stands for all classes (RFC 1035 §3.2.5).
const CLASS_ANY: u16 = 255;

/// One record of the answer section.
#[derive(Clone, Copy)]
struct AnswerRecord {
    owner: NameId,
    /// The offset of the owner name.
    start: u16,
    rtype: u16,
    /// The type that an RRSIG covers; 0 for all other types.
    covers: u16,
    /// The number of aliases before this record in the chain; `None` when it is not part of it.
    place: Option<u8>,
}

/// A DNAME of the answer section.
struct Redirection {
    /// The position of its record among the candidates.
    index: usize,
    owner: WholeName,
    target: WholeName,
}

/// The CNAME that a DNAME stands for (RFC 6672 §3.1), where the response has none.
#[derive(Clone, Debug)]
pub struct SynthesizedAlias {
    /// The owner of the CNAME, in lower case.
    pub owner: WholeName,
    /// The name that the CNAME leads to, in lower case.
    pub target: WholeName,
    /// The TTL of the DNAME, in seconds, as it stands.
    pub ttl: u32,
    place: u8,
}

/// What stands at the end of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Records of the type asked for.
    Data,
    /// No record of the type asked for.
    NoData,
    /// Nothing: the chain has no end that anybody would come to.
    Endless,
}

/// The records of an answer section that are not part of the answer; the first that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strays {
    /// There are none, apart from signatures.
    None,
    /// Records of the type asked for stand where the chain does not lead.
    Contradicting,
    /// Records of other names, types and classes.
    Unrelated,
    /// Records of other types, all of them at names of the chain.
    OtherTypes,
}

/// A part of an answer, in the order in which it is given.
#[derive(Clone, Copy, Debug)]
pub enum AnswerPart<'a> {
    /// The record of the response whose owner name stands at this offset.
    Record(usize),
    /// A CNAME that the response lacks.
    Synthesized(&'a SynthesizedAlias),
}

/// The answer that a response gives to its question.
pub struct AnswerChain {
    /// All records of the answer section that have the class asked for, and those of other classes
    /// as ones that nothing leads to.
    candidates: Vec<AnswerRecord>,
    synthesized: Vec<SynthesizedAlias>,
    /// The names that the chain leads through, QNAME first.
    names: Vec<NameId>,
    /// The last of these names, in lower case.
    end: WholeName,
    /// What stands at the end of the chain.
    pub ending: Ending,
    /// The records that are not part of the answer.
    pub strays: Strays,
    /// The smallest TTL among the records of the answer, in seconds; `None` when it has none.
    pub ttl: Option<u32>,
}

impl AnswerChain {
    /// Follows the chain of a response from its QNAME to records of `qtype`. A response with any
    /// RCODE but NOERROR has no data at the end.
    ///
    /// # Errors
    /// [`MalformedMessage`] when the response does not have one question, its framing or one of its
    /// names cannot be read, an OPT stands outside the additional section, or the answer section
    /// has more than 4096 records.
    pub fn follow(qtype: u16, response: &[u8]) -> Result<Self, MalformedMessage> {
        let header = Header::read(response)?;
        let [answers, ..] = header.records;
        if header.questions != 1 || answers > RECORDS_MAX {
            return Err(MalformedMessage);
        }
        let mut names = NameReader::new(response);
        let (qname, _) = names.read(HEADER)?;
        let qclass = message::question_class(response)?;
        let mut chain = Self {
            candidates: Vec::with_capacity(usize::from(answers).min(response.len() / 11)),
            synthesized: Vec::new(),
            names: Vec::new(),
            end: qname.in_lower_case(),
            ending: Ending::NoData,
            strays: Strays::None,
            ttl: None,
        };
        let redirections = chain.read_records(&mut names, response, qclass)?;
        let wanted = if header.rcode() == 0 { Some(qtype) } else { None };
        chain.ending = chain.walk(wanted, &redirections, &mut names, response)?;
        chain.strays = chain.find_strays(qtype);
        chain.ttl = chain.least_ttl(response)?;
        Ok(chain)
    }

    /// Reads all records of the response, and lists those of the answer section.
    fn read_records(
        &mut self,
        names: &mut NameReader<'_>,
        response: &[u8],
        qclass: u16,
    ) -> Result<Vec<Redirection>, MalformedMessage> {
        let mut redirections = Vec::new();
        let mut records = Records::new(response)?;
        while let Some(record) = records.next_record()? {
            let RecordSpan { section, start, rtype, class, data, end, .. } = record;
            let (owner, _) = names.id(start)?;
            match (rtype, section) {
                (message::TYPE_OPT, Section::Additional) => continue,
                (message::TYPE_OPT, Section::Answer | Section::Authority) => return Err(MalformedMessage),
                // An alias is of use only if its target can be read.
                (message::TYPE_CNAME | message::TYPE_DNAME, _) if names.read(data)?.1 != end => {
                    return Err(MalformedMessage);
                }
                _ => names.check_data(rtype, data, end)?,
            }
            if section != Section::Answer {
                continue;
            }
            // A record of another class is listed as one of no type, so that nothing leads to it.
            let rtype = if class == qclass || qclass == CLASS_ANY { rtype } else { 0 };
            if rtype == message::TYPE_DNAME && redirections.len() < DNAMES_MAX {
                let (owner, target) = (names.read(start)?.0.in_lower_case(), names.read(data)?.0.in_lower_case());
                redirections.push(Redirection { index: self.candidates.len(), owner, target });
            }
            let covers = if rtype == message::TYPE_RRSIG { message::read_u16(response, data) } else { None };
            self.candidates.push(AnswerRecord {
                owner,
                start: u16::try_from(start).map_err(|_| MalformedMessage)?,
                rtype,
                covers: covers.unwrap_or_default(),
                place: None,
            });
        }
        Ok(redirections)
    }

    /// Walks from QNAME to the end of the chain, and marks all records that are part of it.
    fn walk(
        &mut self,
        wanted: Option<u16>,
        redirections: &[Redirection],
        names: &mut NameReader<'_>,
        response: &[u8],
    ) -> Result<Ending, MalformedMessage> {
        for place in 0..=ALIASES_MAX {
            let here = self.end.id();
            if self.names.contains(&here) {
                return Ok(Ending::Endless);
            }
            self.names.push(here);
            if let Some(qtype) = wanted
                && self.mark(place, |record| record.owner == here && is_data(qtype, record.rtype))
            {
                self.mark_signatures(place, here, |covers| is_data(qtype, covers));
                // The CNAME that is asked for may be one that a DNAME stands for.
                if qtype == message::TYPE_CNAME
                    && let Some(target) = self.target_of(here, names, response)?
                {
                    self.mark_redirection(place, redirections, &target);
                }
                return Ok(Ending::Data);
            }
            if let Some(target) = self.target_of(here, names, response)? {
                self.mark_first_alias(place, here);
                self.mark_signatures(place, here, |covers| covers == message::TYPE_CNAME);
                self.mark_redirection(place, redirections, &target);
                self.end = target;
                continue;
            }
            let Some(found) =
                redirections.iter().find(|known| self.end.redirected(&known.owner, &known.target).is_some())
            else {
                // A DNAME whose target would be too long leads nowhere (RFC 6672 §2.2).
                let leads_away = redirections.iter().any(|known| is_above(&known.owner, &self.end));
                return Ok(if leads_away { Ending::Endless } else { Ending::NoData });
            };
            let Some(target) = self.end.redirected(&found.owner, &found.target) else { return Ok(Ending::Endless) };
            let ttl = self.ttl_of(found.index, response)?;
            self.mark_redirection(place, redirections, &target);
            let owner = std::mem::replace(&mut self.end, target.clone());
            self.synthesized.push(SynthesizedAlias { owner, target, ttl, place });
            if wanted == Some(message::TYPE_CNAME) {
                return Ok(Ending::Data);
            }
        }
        Ok(Ending::Endless)
    }

    /// Marks all records for which `belongs` holds as part of the chain; true when there is one.
    fn mark(&mut self, place: u8, belongs: impl Fn(&AnswerRecord) -> bool) -> bool {
        let mut marked = false;
        for record in self.candidates.iter_mut().filter(|record| belongs(record)) {
            record.place = record.place.or(Some(place));
            marked = true;
        }
        marked
    }

    fn mark_signatures(&mut self, place: u8, owner: NameId, covered: impl Fn(u16) -> bool) {
        self.mark(place, |record| {
            record.owner == owner && record.rtype == message::TYPE_RRSIG && covered(record.covers)
        });
    }

    fn mark_first_alias(&mut self, place: u8, owner: NameId) {
        if let Some(record) = self.candidates.iter_mut().find(|record| record.is_alias_of(owner)) {
            record.place = Some(place);
        }
    }

    /// Marks the DNAME that leads from the present end of the chain to `target`, if there is one.
    fn mark_redirection(&mut self, place: u8, redirections: &[Redirection], target: &WholeName) {
        let leads = |known: &&Redirection| {
            let redirected = self.end.redirected(&known.owner, &known.target);
            redirected.is_some_and(|redirected| redirected.as_bytes() == target.as_bytes())
        };
        let Some(found) = redirections.iter().find(leads) else { return };
        if let Some(record) = self.candidates.get_mut(found.index) {
            record.place = record.place.or(Some(place));
        }
        self.mark_signatures(place, found.owner.id(), |covers| covers == message::TYPE_DNAME);
    }

    /// The target of the first CNAME of a name, in lower case; `None` when it has none.
    fn target_of(
        &self,
        owner: NameId,
        names: &mut NameReader<'_>,
        response: &[u8],
    ) -> Result<Option<WholeName>, MalformedMessage> {
        let Some(record) = self.candidates.iter().find(|record| record.is_alias_of(owner)) else { return Ok(None) };
        let data = message::skip_name(response, usize::from(record.start))? + 10;
        Ok(Some(names.read(data)?.0.in_lower_case()))
    }

    /// The TTL field of the candidate at this position.
    fn ttl_of(&self, index: usize, response: &[u8]) -> Result<u32, MalformedMessage> {
        let start = self.candidates.get(index).map_or(0, |record| usize::from(record.start));
        message::read_u32(response, message::skip_name(response, start)? + 4).ok_or(MalformedMessage)
    }

    /// Says what the records are that the chain does not lead to.
    fn find_strays(&self, qtype: u16) -> Strays {
        let mut strays = Strays::None;
        for record in &self.candidates {
            if record.place.is_some() || record.rtype == message::TYPE_RRSIG {
                continue;
            }
            let is_at_chain = record.rtype != 0 && self.names.contains(&record.owner);
            match strays {
                _ if !is_at_chain && is_data(qtype, record.rtype) => return Strays::Contradicting,
                Strays::None if is_at_chain => strays = Strays::OtherTypes,
                _ if !is_at_chain => strays = Strays::Unrelated,
                Strays::None | Strays::OtherTypes | Strays::Unrelated | Strays::Contradicting => {}
            }
        }
        strays
    }

    fn least_ttl(&self, response: &[u8]) -> Result<Option<u32>, MalformedMessage> {
        let mut least = None;
        let mut records = Records::new(response)?;
        for candidate in &self.candidates {
            let Some(record) = records.next_record()? else { break };
            if candidate.place.is_some() {
                let ttl = message::sane_ttl(record.ttl);
                least = Some(least.map_or(ttl, |least: u32| least.min(ttl)));
            }
        }
        Ok(least)
    }

    /// Whether the chain leads through an alias.
    #[must_use]
    pub fn has_aliases(&self) -> bool {
        self.names.len() > 1
    }

    /// Whether `owner` is the last name of the chain or a name above it, and so can be the owner of
    /// the SOA that vouches for a denial (RFC 2308 §2).
    #[must_use]
    pub fn ends_within(&self, owner: &WholeName) -> bool {
        super::key::is_within(self.end.as_bytes(), owner.clone().in_lower_case().as_bytes())
    }

    /// Whether the answer section is just as it should be given: nothing in it is not part of the
    /// answer, nothing is missing, and aliases stand before what they lead to.
    #[must_use]
    pub fn is_in_order(&self) -> bool {
        let mut last = 0;
        self.synthesized.is_empty()
            && self.candidates.iter().all(|record| match record.place {
                // A signature may stand anywhere.
                Some(_) if record.rtype == message::TYPE_RRSIG => true,
                Some(place) => place >= std::mem::replace(&mut last, place),
                None => false,
            })
    }

    /// Takes the answer apart, in the order in which it is given: aliases before what they lead to,
    /// and the records of an RRset in the order in which they came.
    pub fn in_order(&mut self) -> impl Iterator<Item = AnswerPart<'_>> {
        self.candidates.retain(|record| record.place.is_some());
        self.candidates.sort_unstable_by_key(|record| (record.place, record.start));
        let mut synthesized = self.synthesized.iter().peekable();
        let mut records = self.candidates.iter().peekable();
        std::iter::from_fn(move || {
            // A CNAME comes behind the DNAME that it stands for.
            if let Some(alias) = synthesized.peek()
                && records.peek().is_none_or(|record| record.place > Some(alias.place))
            {
                return synthesized.next().map(AnswerPart::Synthesized);
            }
            records.next().map(|record| AnswerPart::Record(usize::from(record.start)))
        })
    }
}

impl AnswerRecord {
    fn is_alias_of(&self, owner: NameId) -> bool {
        self.owner == owner && self.rtype == message::TYPE_CNAME
    }
}

/// Whether a record of type `rtype` is data for a question for `qtype`.
const fn is_data(qtype: u16, rtype: u16) -> bool {
    rtype == qtype || qtype == message::TYPE_ANY && rtype != 0
}

/// Whether a name lies above another one. Both are in lower case.
fn is_above(above: &WholeName, name: &WholeName) -> bool {
    above.as_bytes().len() < name.as_bytes().len() && super::key::is_within(name.as_bytes(), above.as_bytes())
}

#[cfg(test)]
mod tests;
