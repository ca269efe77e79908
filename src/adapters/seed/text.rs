//! A seed's JSON, read and written.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::presentation::{owner, read_data, read_name, read_type, show_data, show_name, show_type};
use super::rfc3339;
use crate::core::classify::{self, Verdict};
use crate::core::entry::Entry;
use crate::core::key::{Dnssec, Key};
use crate::core::message::{self, Header, Records, Section};
use crate::core::policy::Policy;
use crate::core::restore::{Shift, restore};
use crate::core::time::Timestamp;

/// The format's name.
pub(super) const FORMAT: &str = "holdover-seed";
/// The format's version.
pub(super) const VERSION: u32 = 1;
/// TTL of records that name none, in seconds.
const TTL: u32 = 60;
/// Mistakes that are kept to be told; the others are counted.
const MISTAKES_TOLD: usize = 5;
/// Types that lead elsewhere, and their signatures.
const ALIASES: &[u16] = &[message::TYPE_CNAME, message::TYPE_DNAME, message::TYPE_RRSIG];
/// The class of the Internet.
const CLASS_IN: u16 = 1;

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'a> {
    /// What it is.
    format: String,
    /// Of which version.
    version: u32,
    /// The answers, each read on its own, so that a mistake costs one and a large file little
    /// memory.
    #[serde(borrow)]
    answers: Vec<&'a RawValue>,
}

/// One answer.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    /// The question's name.
    name: String,
    /// Its type.
    #[serde(rename = "type")]
    rtype: String,
    /// Whether the name exists.
    #[serde(default)]
    rcode: Rcode,
    /// TTL of records without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl: Option<u32>,
    /// When it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stored: Option<String>,
    /// How often it was asked for.
    #[serde(default)]
    hits: u32,
    /// What the query asked for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    dnssec: String,
    /// Whether upstream set AD.
    #[serde(default, skip_serializing_if = "is_false")]
    authentic: bool,
    /// The answer section.
    #[serde(default)]
    records: Vec<Resource>,
    /// The authority section.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    authority: Vec<Resource>,
}

/// A response code that can be remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Rcode {
    /// The name exists.
    #[default]
    NoError,
    /// It does not.
    NxDomain,
}

/// One record.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Resource {
    /// Its owner; the question's name when left out.
    #[serde(default)]
    name: Option<String>,
    /// Its type; the question's when left out.
    #[serde(rename = "type", default)]
    rtype: Option<String>,
    /// Its TTL.
    #[serde(default)]
    ttl: Option<u32>,
    /// Its RDATA.
    data: String,
}

/// Whether a switch is off.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
const fn is_false(switch: &bool) -> bool {
    !*switch
}

/// What a seed held beside its answers.
#[derive(Debug, Default)]
pub struct Leftovers {
    /// The first mistakes.
    pub mistakes: Vec<Mistake>,
    /// Answers that cannot be used on account of a mistake.
    pub refused: usize,
    /// Answers past their maximum stale.
    pub expired: usize,
}

/// One answer of a seed.
#[derive(Debug, PartialEq, Eq)]
pub struct Seedling {
    /// Its question.
    pub key: Key,
    /// The answer.
    pub entry: Entry,
    /// Hits.
    pub hits: u32,
}

/// A mistake in a seed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Mistake {
    /// Where it is.
    pub line: usize,
    /// What is wrong, and what is allowed.
    pub what: String,
}

/// Why nothing of a seed can be used.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] std::io::Error),
    /// It is too large.
    #[error("larger than {} KiB, twice the size of the cache; leave out names that nobody asks for, or enlarge [cache] size", .0 >> 10)]
    TooLarge(usize),
    /// It is no JSON, or its outermost keys are wrong.
    #[error(transparent)]
    Shape(#[from] Mistake),
}

/// Reads a seed's text, and hands over each answer as it is read: a large seed must not lie in
/// memory twice.
///
/// # Errors
/// [`SeedError::Shape`] when it is no seed.
pub fn read_text(
    text: &str,
    policy: &Policy,
    now: Timestamp,
    mut take: impl FnMut(Seedling),
) -> Result<Leftovers, SeedError> {
    let file: File<'_> = serde_json::from_str(text).map_err(|error| shape(error.line(), &error.to_string()))?;
    if file.format != FORMAT || file.version != VERSION {
        let what = format!("format \"{}\" version {}", file.format, file.version);
        return Err(shape(1, &what).into());
    }
    let mut left = Leftovers::default();
    let (mut line, mut counted) = (1, 0);
    for raw in file.answers {
        let at = raw.get().as_ptr().addr().saturating_sub(text.as_ptr().addr());
        line += text.as_bytes().get(counted..at).unwrap_or_default().iter().filter(|byte| **byte == b'\n').count();
        counted = at;
        match read_answer(raw.get(), policy, now) {
            Ok(Some(seedling)) => take(seedling),
            Ok(None) => left.expired += 1,
            Err(Mistake { line: within, what }) => {
                left.refused += 1;
                if left.mistakes.len() < MISTAKES_TOLD {
                    left.mistakes.push(Mistake { line: line + within - 1, what });
                }
            }
        }
    }
    Ok(left)
}

/// A mistake in the outermost part.
fn shape(line: usize, what: &str) -> Mistake {
    let what = format!(
        "{what}. Allowed: {{\"format\":\"{FORMAT}\",\"version\":{VERSION},\"answers\":[…]}}, as `holdover cache export` writes it"
    );
    Mistake { line: line.max(1), what }
}

/// Reads one answer; `None` when it is past its time.
fn read_answer(text: &str, policy: &Policy, now: Timestamp) -> Result<Option<Seedling>, Mistake> {
    let answer: Answer =
        serde_json::from_str(text).map_err(|error| Mistake { line: error.line().max(1), what: error.to_string() })?;
    make(&answer, policy, now).map_err(|what| Mistake { line: 1, what })
}

/// Makes an entry of an answer; `None` when it is past its time.
fn make(answer: &Answer, policy: &Policy, now: Timestamp) -> Result<Option<Seedling>, String> {
    let key = read_key(answer)?;
    let response = compose(answer, &key)?;
    let verdict = classify::classify(key.qtype(), &response);
    // Aliases that lead to nothing are NODATA; anything else without a record of the type asked for
    // is a slip of the pen.
    let aliases =
        |record: &Resource| record.rtype.as_deref().and_then(read_type).is_some_and(|rtype| ALIASES.contains(&rtype));
    if matches!(verdict, Verdict::Negative { .. }) && !answer.records.iter().all(aliases) {
        return Err(format!(
            "{key}: no record answers it. Allowed: a record of its type, with the aliases that lead to it, or no record"
        ));
    }
    let remember = |at| Entry::remember(&key, &response, verdict, policy, at).map(|remembered| remembered.entry);
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
    let entry = restore(&key, entry, Shift::NONE, policy, now);
    Ok(entry.map(|entry| Seedling { key, entry, hits: answer.hits }))
}

/// The question of an answer.
fn read_key(answer: &Answer) -> Result<Key, String> {
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

/// A type that answers can have.
fn known_type(text: &str) -> Result<u16, String> {
    let rtype = read_type(text).filter(|rtype| !matches!(*rtype, 0 | message::TYPE_OPT | 249..=255));
    rtype.ok_or_else(|| format!("type \"{text}\" is not known. Allowed: A, AAAA and so on, or TYPE and a number"))
}

/// The answer as the response that it was.
fn compose(answer: &Answer, key: &Key) -> Result<Vec<u8>, String> {
    let rcode = match answer.rcode {
        Rcode::NoError => 0,
        Rcode::NxDomain => 3,
    };
    let authentic = if answer.authentic { message::FLAG_AUTHENTIC } else { 0 };
    let flags = message::FLAG_RESPONSE
        | message::FLAG_RECURSION_DESIRED
        | message::FLAG_RECURSION_AVAILABLE
        | authentic
        | rcode;
    let mut out = Vec::new();
    let count = |records: &[Resource]| u16::try_from(records.len()).map_err(|_| format!("{key}: too many records"));
    for field in [0, flags, 1, count(&answer.records)?, count(&answer.authority)?, 0] {
        out.extend(field.to_be_bytes());
    }
    out.extend_from_slice(key.name());
    out.extend_from_slice(key.type_and_class());
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
            // A pointer to the question.
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

/// Shows an answer as JSON on one line; `None` when it cannot be told as text.
pub(super) fn show(key: &Key, entry: &Entry, hits: u32) -> Option<String> {
    let wire = entry.wire();
    let header = Header::read(wire).ok().filter(|_| key.qclass() == CLASS_IN)?;
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
        section.push(Resource {
            name,
            rtype: Some(show_type(record.rtype)),
            ttl: Some(record.ttl),
            data: show_data(wire, &record)?,
        });
    }
    let words = [(key.dnssec().dnssec_ok, "do"), (key.dnssec().checking_disabled, "cd")];
    let answer = Answer {
        name: show_name(key.name()),
        rtype: show_type(key.qtype()),
        rcode: if header.rcode() == 3 { Rcode::NxDomain } else { Rcode::NoError },
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
