//! Reads and writes the JSON of a seed.
//!
//! An answer of a seed is turned into the response that it was, and is then classified and bounded
//! like a response from an upstream. So nothing can be remembered from a seed that could not have
//! come from an upstream.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::presentation::{owner, read_data, read_name, read_type, show_data, show_name, show_type};
use super::rfc3339;
use crate::core::classify::{self, Verdict};
use crate::core::entry::Entry;
use crate::core::key::{Dnssec, Key};
use crate::core::message::{self, CLASS_IN, Header, Records, Section};
use crate::core::policy::Policy;
use crate::core::restore::{Shift, restore};
use crate::core::time::Timestamp;

/// Name of the format, at the beginning of every seed.
pub(super) const FORMAT: &str = "holdover-seed";
/// Version of the format that is written and read.
pub(super) const VERSION: u32 = 1;
/// TTL of records without one, in seconds.
const TTL: u32 = 60;
/// Mistakes that are kept with their text; the others are only counted.
const MISTAKES_SHOWN: usize = 5;
/// Types of the records that lead from the name of the question to another one, and of their
/// signatures.
const ALIASES: &[u16] = &[message::TYPE_CNAME, message::TYPE_DNAME, message::TYPE_RRSIG];

// `expecting` below is the word for each type in the messages about mistakes.

/// The whole of a seed.
#[derive(Deserialize)]
#[serde(expecting = "struct File", deny_unknown_fields)]
struct SeedJson<'a> {
    format: String,
    version: u32,
    /// The answers, each of which is parsed separately: a mistake costs one of them, and a large
    /// seed takes little memory.
    #[serde(borrow)]
    answers: Vec<&'a RawValue>,
}

/// An answer of a seed, with the keys that [`super`] describes.
#[derive(Serialize, Deserialize)]
#[serde(expecting = "struct Answer", deny_unknown_fields)]
struct AnswerJson {
    name: String,
    #[serde(rename = "type")]
    rtype: String,
    #[serde(default)]
    rcode: RcodeJson,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stored: Option<String>,
    #[serde(default)]
    hits: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    dnssec: String,
    #[serde(default, skip_serializing_if = "is_false")]
    authentic: bool,
    #[serde(default)]
    records: Vec<RecordJson>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    authority: Vec<RecordJson>,
}

/// A response code that a seed may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "enum Rcode", rename_all = "UPPERCASE")]
enum RcodeJson {
    #[default]
    NoError,
    NxDomain,
}

/// A resource record of a seed.
#[derive(Serialize, Deserialize)]
#[serde(expecting = "struct Resource", deny_unknown_fields)]
struct RecordJson {
    /// The owner; the name of the question when left out.
    #[serde(default)]
    name: Option<String>,
    /// The type of the question when left out.
    #[serde(rename = "type", default)]
    rtype: Option<String>,
    #[serde(default)]
    ttl: Option<u32>,
    data: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
const fn is_false(switch: &bool) -> bool {
    !*switch
}

/// The answers of a seed that were left out when it was read.
#[derive(Debug, Default)]
pub struct Leftovers {
    /// The first mistakes of the seed, at most 5.
    pub mistakes: Vec<SeedMistake>,
    /// Number of answers that were left out because of a mistake.
    pub refused: usize,
    /// Number of answers that were left out because they are past their maximum stale.
    pub too_old: usize,
}

/// An answer that was read from a seed.
#[derive(Debug, PartialEq, Eq)]
pub struct SeedAnswer {
    /// Name, type and DNSSEC bits of the question.
    pub key: Key,
    /// The answer, with its times on our timeline.
    pub entry: Entry,
    /// How often the answer was asked for where the seed was written.
    pub hits: u32,
}

/// A mistake in a seed, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct SeedMistake {
    /// Line of the seed, from 1 on.
    pub line: usize,
    /// The mistake, and what is allowed instead.
    pub what: String,
}

/// Why no answer of a seed can be used.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// The file of the seed cannot be read.
    #[error(transparent)]
    File(#[from] std::io::Error),
    /// The file of the seed is longer than this many bytes.
    #[error(
        "larger than {} KiB, twice the size of the cache; leave out names that nobody asks for, \
         or enlarge [cache] size",
        .0 >> 10
    )]
    TooLarge(usize),
    /// The text is no JSON, or its outermost keys are wrong.
    #[error(transparent)]
    Shape(#[from] SeedMistake),
}

/// Reads the text of a seed, and gives what was left out. Each answer is handed to `take` as it is
/// read, since a large seed must not lie in memory twice.
///
/// # Errors
/// [`SeedError::Shape`] when the text as a whole is no seed of version 1.
pub fn read_text(
    text: &str,
    policy: &Policy,
    now: Timestamp,
    mut take: impl FnMut(SeedAnswer),
) -> Result<Leftovers, SeedError> {
    // The outermost keys come first, and decide whether this is a seed at all.
    let file: SeedJson<'_> = serde_json::from_str(text).map_err(|error| shape(error.line(), &error.to_string()))?;
    if file.format != FORMAT || file.version != VERSION {
        let what = format!("format \"{}\" version {}", file.format, file.version);
        return Err(shape(1, &what).into());
    }
    let mut left = Leftovers::default();
    // Each answer counts its lines from 1. Where it begins in the whole text is found by counting
    // the line ends between it and the answer before.
    let (mut line, mut counted) = (1, 0);
    for raw in file.answers {
        let at = raw.get().as_ptr().addr().saturating_sub(text.as_ptr().addr());
        line += text.as_bytes().get(counted..at).unwrap_or_default().iter().filter(|byte| **byte == b'\n').count();
        counted = at;
        match read_answer(raw.get(), policy, now) {
            Ok(Some(answer)) => take(answer),
            Ok(None) => left.too_old += 1,
            Err(SeedMistake { line: within, what }) => {
                left.refused += 1;
                if left.mistakes.len() < MISTAKES_SHOWN {
                    left.mistakes.push(SeedMistake { line: line + within - 1, what });
                }
            }
        }
    }
    Ok(left)
}

/// A mistake in the outermost part of a seed.
fn shape(line: usize, what: &str) -> SeedMistake {
    let what = format!(
        "{what}. Allowed: {{\"format\":\"{FORMAT}\",\"version\":{VERSION},\"answers\":[…]}}, \
         as `holdover cache export` writes it"
    );
    SeedMistake { line: line.max(1), what }
}

/// Reads one answer; `None` when it is past its maximum stale.
fn read_answer(text: &str, policy: &Policy, now: Timestamp) -> Result<Option<SeedAnswer>, SeedMistake> {
    let answer: AnswerJson = serde_json::from_str(text)
        .map_err(|error| SeedMistake { line: error.line().max(1), what: error.to_string() })?;
    make(&answer, policy, now).map_err(|what| SeedMistake { line: 1, what })
}

/// Makes an entry of an answer; `None` when it is past its maximum stale.
fn make(answer: &AnswerJson, policy: &Policy, now: Timestamp) -> Result<Option<SeedAnswer>, String> {
    let key = read_key(answer)?;
    let response = compose(answer, &key)?;
    let verdict = classify::classify(key.qtype(), &response);
    // No record at all, or only aliases that lead to nothing, are NODATA. Other records without one
    // of the type that is asked for are most likely a slip of the pen.
    let aliases =
        |record: &RecordJson| record.rtype.as_deref().and_then(read_type).is_some_and(|rtype| ALIASES.contains(&rtype));
    if matches!(verdict, Verdict::Negative { .. }) && !answer.records.iter().all(aliases) {
        return Err(format!(
            "{key}: no record answers it. Allowed: a record of its type, with the aliases that lead to it, or no record"
        ));
    }
    let remember = |at| Entry::remember(&key, &response, verdict, policy, at).map(|remembered| remembered.entry);
    // Without a date the answer is as old as its TTL, so that it is stale from now on.
    let unusable = |_| format!("{key}: is no answer that can be remembered");
    let entry = match &answer.stored {
        Some(text) => {
            let stored = rfc3339::read(text)
                .ok_or_else(|| format!("{key}: stored \"{text}\" is no moment. Allowed: 2026-11-24T12:00:00Z"))?;
            remember(stored).map_err(unusable)?
        }
        None => {
            let fresh = remember(now).map_err(unusable)?;
            let life = fresh.fresh_until.since(fresh.stored);
            remember(now.minus(life)).map_err(unusable)?.without_date()
        }
    };
    // From here on the entry is like an answer of an earlier run: bounded by the present policy.
    let entry = restore(&key, entry, Shift::NONE, policy, now);
    Ok(entry.map(|entry| SeedAnswer { key, entry, hits: answer.hits }))
}

fn read_key(answer: &AnswerJson) -> Result<Key, String> {
    let name = read_name(&answer.name).ok_or_else(|| format!("name \"{}\" is no domain name", answer.name))?;
    let rtype = known_type(&answer.rtype)?;
    let mut dnssec = Dnssec::default();
    for word in answer.dnssec.split_ascii_whitespace() {
        match word {
            "do" => dnssec.dnssec_ok = true,
            "cd" => dnssec.checking_disabled = true,
            _ => return Err(format!("dnssec \"{}\" is not known. Allowed: do, cd, do cd, or nothing", answer.dnssec)),
        }
    }
    Ok(Key::new(&name, rtype, CLASS_IN, dnssec))
}

/// Reads a type that answers can have: no type of queries only, such as ANY, and not OPT.
fn known_type(text: &str) -> Result<u16, String> {
    let rtype = read_type(text).filter(|rtype| !matches!(*rtype, 0 | message::TYPE_OPT | 249..=255));
    rtype.ok_or_else(|| format!("type \"{text}\" is not known. Allowed: A, AAAA and so on, or TYPE and a number"))
}

/// Writes an answer as the response in which it came.
fn compose(answer: &AnswerJson, key: &Key) -> Result<Vec<u8>, String> {
    let rcode = match answer.rcode {
        RcodeJson::NoError => 0,
        RcodeJson::NxDomain => 3,
    };
    let authentic = if answer.authentic { message::FLAG_AUTHENTIC } else { 0 };
    let flags = message::FLAG_RESPONSE
        | message::FLAG_RECURSION_DESIRED
        | message::FLAG_RECURSION_AVAILABLE
        | authentic
        | rcode;
    // The header and the question.
    let mut out = Vec::new();
    let count = |records: &[RecordJson]| u16::try_from(records.len()).map_err(|_| format!("{key}: too many records"));
    for field in [0, flags, 1, count(&answer.records)?, count(&answer.authority)?, 0] {
        out.extend(field.to_be_bytes());
    }
    out.extend_from_slice(key.name());
    out.extend_from_slice(key.type_and_class());
    // The records; whatever one of them leaves out is as in the question or the answer.
    for record in answer.records.iter().chain(&answer.authority) {
        let rtype = record.rtype.as_deref().map_or_else(|| Ok(key.qtype()), known_type)?;
        let data = read_data(rtype, &record.data).ok_or_else(|| {
            let shown = show_type(rtype);
            format!(
                "data \"{}\" is no {shown}. Allowed: presentation format such as 192.0.2.1 for A, or \\# 4 c0000201",
                record.data
            )
        })?;
        let owner = record.name.as_deref().map_or_else(|| Some(key.name().to_vec()), read_name);
        let owner = owner
            .ok_or_else(|| format!("name \"{}\" is no domain name", record.name.as_deref().unwrap_or_default()))?;
        if owner == key.name() {
            // A compression pointer to the name of the question.
            out.extend([0xc0, 0x0c]);
        } else {
            out.extend(owner);
        }
        out.extend(rtype.to_be_bytes());
        out.extend(CLASS_IN.to_be_bytes());
        out.extend(record.ttl.or(answer.ttl).unwrap_or(TTL).to_be_bytes());
        out.extend(u16::try_from(data.len()).map_err(|_| format!("{key}: data too long"))?.to_be_bytes());
        out.extend(data);
    }
    if out.len() > usize::from(u16::MAX) { Err(format!("{key}: longer than 65535 bytes")) } else { Ok(out) }
}

/// Writes an answer as JSON on one line; `None` when it cannot be written as text: in another class
/// than IN, or with RDATA that mean nothing outside their message.
pub(super) fn show(key: &Key, entry: &Entry, hits: u32) -> Option<String> {
    let wire = entry.wire();
    let header = Header::read(wire).ok().filter(|_| key.qclass() == CLASS_IN)?;
    // The records of the response, by section. Additional records are left out.
    let (mut answers, mut authority) = (Vec::new(), Vec::new());
    let mut records = Records::new(wire).ok()?;
    while let Some(record) = records.next_record().ok()? {
        let section = match record.section {
            Section::Answer => &mut answers,
            Section::Authority => &mut authority,
            Section::Additional => continue,
        };
        if record.class != CLASS_IN {
            return None;
        }
        let name = Some(show_name(&owner(wire, &record)?));
        section.push(RecordJson {
            name,
            rtype: Some(show_type(record.rtype)),
            ttl: Some(record.ttl),
            data: show_data(wire, &record)?,
        });
    }
    // The question and all that is known of the answer besides its records.
    let words = [(key.dnssec().dnssec_ok, "do"), (key.dnssec().checking_disabled, "cd")];
    let answer = AnswerJson {
        name: show_name(key.name()),
        rtype: show_type(key.qtype()),
        rcode: if header.rcode() == 3 { RcodeJson::NxDomain } else { RcodeJson::NoError },
        ttl: None,
        stored: (!entry.undated).then(|| rfc3339::show(entry.stored)),
        hits,
        dnssec: words.iter().filter(|(set, _)| *set).map(|(_, word)| *word).collect::<Vec<_>>().join(" "),
        authentic: header.has(message::FLAG_AUTHENTIC),
        records: answers,
        authority,
    };
    serde_json::to_string(&answer).ok()
}

#[cfg(test)]
mod tests;
