//! One remembered answer: the upstream's bytes, and how long they count.
//!
//! An entry never changes. It keeps the response as it came, without OPT (hop-by-hop, RFC 6891
//! §6.2.1), with the offsets of its TTLs, so that answering is a copy and a few patches. RDATA stay
//! unread (RFC 3597), RRset order is kept.

use std::time::Duration;

use super::classify::{self, Kind, Verdict, Vouched};
use super::key::{Key, is_within};
use super::message::{self, HEADER, Header, Malformed, Records, Section};
use super::policy::{Policy, TtlZero};
use super::time::Timestamp;

/// Bytes of extended errors that are kept of an upstream's response.
const EXTENDED_ERRORS_MAX: usize = 256;

/// A remembered answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it keeps of the response.
    parts: Parts,
    /// What kind of answer it is.
    pub kind: Kind,
    /// Whether an SOA vouches for a negative answer; always true for positive ones.
    pub vouched: bool,
    /// Whether it is only the part of an answer that fits a datagram, because upstream could not be
    /// asked over TCP.
    pub truncated: bool,
    /// Whether upstream set AD.
    pub authentic: bool,
    /// Whether nobody knows when the response came: what `stored` says is no more than a bound for
    /// its life.
    pub undated: bool,
    /// When the response came.
    pub stored: Timestamp,
    /// Until when it is fresh.
    pub fresh_until: Timestamp,
    /// Until when it may be served stale.
    pub stale_until: Timestamp,
    /// No TTL in a fresh answer is larger than this minus its age, in seconds.
    ttl_cap: u32,
}

/// What is kept of a response, in one piece of memory: ten thousand entries are ten thousand times
/// what each one wastes.
#[derive(Debug, PartialEq, Eq)]
struct Parts {
    /// The response without OPT, then the offsets of its TTLs as 16-bit numbers, then its extended
    /// errors.
    bytes: Box<[u8]>,
    /// Where the response ends.
    wire_end: u16,
    /// How many offsets there are.
    offsets: u16,
}

impl Parts {
    /// Puts them together, in memory of just their size: a piece that was made larger and cut
    /// leaves a hole beside every entry.
    ///
    /// # Errors
    /// [`Malformed`] when they are larger than any response.
    fn new(wire: &[u8], ttl_offsets: &[u16], extended_errors: &[u8]) -> Result<Self, Malformed> {
        let counted = |count| u16::try_from(count).map_err(|_| Malformed);
        let (wire_end, offsets) = (counted(wire.len())?, counted(ttl_offsets.len())?);
        let mut bytes = Vec::with_capacity(wire.len() + size_of_val(ttl_offsets) + extended_errors.len());
        bytes.extend_from_slice(wire);
        bytes.extend(ttl_offsets.iter().flat_map(|offset| offset.to_be_bytes()));
        bytes.extend_from_slice(extended_errors);
        Ok(Self { bytes: bytes.into_boxed_slice(), wire_end, offsets })
    }

    /// The response, to be put right.
    fn wire_mut(&mut self) -> &mut [u8] {
        let end = usize::from(self.wire_end);
        self.bytes.get_mut(..end).unwrap_or_default()
    }

    /// The response.
    fn wire(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.wire_end)).unwrap_or_default()
    }

    /// The offsets of its TTLs.
    fn ttl_offsets(&self) -> &[[u8; 2]] {
        self.bytes.get(usize::from(self.wire_end)..self.offsets_end()).unwrap_or_default().as_chunks::<2>().0
    }

    /// Its extended errors.
    fn extended_errors(&self) -> &[u8] {
        self.bytes.get(self.offsets_end()..).unwrap_or_default()
    }

    /// Where the offsets end.
    fn offsets_end(&self) -> usize {
        usize::from(self.wire_end) + 2 * usize::from(self.offsets)
    }
}

/// The times of an entry.
pub(super) struct Times {
    /// When the response came.
    pub(super) stored: Timestamp,
    /// Until when it is fresh.
    pub(super) fresh_until: Timestamp,
    /// Until when it may be served stale.
    pub(super) stale_until: Timestamp,
    /// The largest TTL of a fresh answer, in seconds.
    pub(super) ttl_cap: u32,
}

/// What is to be done with a judged response.
#[derive(Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The answer for those who wait.
    pub entry: Entry,
    /// Whether it is kept for others.
    pub keep: Keep,
}

/// Whether an answer is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Kept.
    Yes,
    /// Given to those who asked and forgotten (TTL 0, RFC 1035 §3.2.1).
    No,
}

impl Entry {
    /// Makes an entry from a response that was judged to be an answer to `key`.
    ///
    /// # Errors
    /// [`Malformed`] when its framing cannot be read or its question is not as long as the key's.
    pub fn remember(
        key: &Key,
        response: &[u8],
        verdict: Verdict,
        policy: &Policy,
        now: Timestamp,
    ) -> Result<Remembered, Malformed> {
        let (kind, vouched, ttl, at_most) = match verdict {
            Verdict::Positive { ttl } => (Kind::Positive, true, ttl, policy.ttl.positive_max),
            Verdict::Negative { kind, vouched: Vouched::BySoa(ttl) } => (kind, true, ttl, policy.ttl.negative_max),
            Verdict::Negative { kind, vouched: Vouched::Not } => {
                (kind, false, seconds(policy.ttl.negative_without_soa), policy.ttl.negative_without_soa)
            }
            Verdict::Truncated | Verdict::Failed(_) => return Err(Malformed),
        };
        let life = Duration::from_secs(u64::from(ttl)).min(at_most);
        let (maximum_stale, ttl_zero) = maximum_stale(key, policy);
        let keep = if life.is_zero() && ttl_zero == TtlZero::Forget { Keep::No } else { Keep::Yes };
        let fresh_until = now.plus(life);
        let parts = without_opt(key, response, &classify::extended_errors(response, EXTENDED_ERRORS_MAX))?;
        let header = Header::read(response)?;
        let entry = Self {
            parts,
            kind,
            vouched,
            truncated: false,
            authentic: header.has(message::FLAG_AUTHENTIC),
            undated: false,
            stored: now,
            fresh_until,
            stale_until: fresh_until.plus(maximum_stale),
            ttl_cap: match kind {
                Kind::Positive => seconds(policy.ttl.positive_max),
                Kind::NoData | Kind::NxDomain => seconds(life),
            },
        };
        Ok(Remembered { entry, keep })
    }

    /// Makes an entry of what was kept of one.
    ///
    /// # Errors
    /// [`Malformed`] unless `wire` is a response to the key just as an entry keeps it.
    pub(super) fn stored(
        key: &Key,
        wire: &[u8],
        errors: &[u8],
        kind: Kind,
        vouched: bool,
        times: Times,
    ) -> Result<Self, Malformed> {
        let parts = without_opt(key, wire, errors)?;
        if parts.wire() != wire {
            return Err(Malformed);
        }
        let Times { stored, fresh_until, stale_until, ttl_cap } = times;
        let authentic = Header::read(wire)?.has(message::FLAG_AUTHENTIC);
        let entry = Self {
            parts,
            kind,
            vouched,
            truncated: false,
            authentic,
            undated: false,
            stored,
            fresh_until,
            stale_until,
            ttl_cap,
        };
        if entry.answers(key) { Ok(entry) } else { Err(Malformed) }
    }

    /// Whether it had a TTL of 0.
    #[must_use]
    pub fn was_never_fresh(&self) -> bool {
        self.fresh_until <= self.stored
    }

    /// The same answer at another time.
    #[must_use]
    pub(super) fn at(self, stored: Timestamp, fresh_until: Timestamp, stale_until: Timestamp) -> Self {
        Self { stored, fresh_until, stale_until, ..self }
    }

    /// The same answer, of which nobody knows when it came.
    #[must_use]
    pub fn without_date(self) -> Self {
        Self { undated: true, ..self }
    }

    /// Whether it came later than another one, as far as anybody knows: what has no date came
    /// before all else.
    #[must_use]
    pub fn is_newer_than(&self, other: &Self) -> bool {
        !self.undated && (other.undated || self.stored > other.stored)
    }

    /// Makes an entry from a truncated response: the last resort where TCP fails. It is never kept
    /// (RFC 2181 §9).
    ///
    /// # Errors
    /// [`Malformed`] as for [`Entry::remember`], and when what came is no answer.
    pub fn from_truncated(key: &Key, response: &[u8], policy: &Policy, now: Timestamp) -> Result<Self, Malformed> {
        let mut whole = response.to_vec();
        if let Some(flags) = whole.get_mut(2) {
            *flags &= 0xfd;
        }
        let remembered = Self::remember(key, &whole, classify::classify(key.qtype(), &whole), policy, now)?;
        Ok(Self { truncated: true, ..remembered.entry })
    }

    /// Whether it is the answer to this key's question: the name in any case, type and class.
    #[must_use]
    pub fn answers(&self, key: &Key) -> bool {
        let (name, rest) = (key.name(), key.type_and_class());
        let name_end = message::HEADER + name.len();
        let wire = self.wire();
        wire.get(message::HEADER..name_end).is_some_and(|own| own.eq_ignore_ascii_case(name))
            && wire.get(name_end..name_end + rest.len()).is_some_and(|own| own == rest)
    }

    /// Whether it may still be served stale.
    #[must_use]
    pub fn is_servable(&self, now: Timestamp) -> bool {
        now < self.stale_until
    }

    /// Until when a negative answer counts instead of a good one that was there before it: one
    /// without an SOA is not to be trusted for longer than it is fresh.
    #[must_use]
    pub const fn overrules_until(&self) -> Timestamp {
        if self.vouched { self.stale_until } else { self.fresh_until }
    }

    /// Whether it is fresh.
    #[must_use]
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        now < self.fresh_until
    }

    /// The response as it came, without OPT; ID and flags are patched in answers.
    #[must_use]
    pub fn wire(&self) -> &[u8] {
        self.parts.wire()
    }

    /// No TTL in a fresh answer is larger than this minus its age, in seconds.
    pub(super) const fn ttl_cap(&self) -> u32 {
        self.ttl_cap
    }

    /// Where its TTL fields stand.
    pub(super) fn ttl_offsets(&self) -> impl Iterator<Item = usize> {
        let offsets = self.parts.ttl_offsets();
        offsets.iter().map(|offset| usize::from(u16::from_be_bytes(*offset)))
    }

    /// The extended errors that came with it, as raw EDNS options.
    #[must_use]
    pub fn extended_errors(&self) -> &[u8] {
        self.parts.extended_errors()
    }

    /// The question that it answers: lower-cased name, type and class.
    #[must_use]
    pub fn question(&self) -> &[u8] {
        let wire = self.wire();
        let end = message::skip_plain_name(wire, HEADER).map_or(HEADER, |end| end + 4);
        wire.get(HEADER..end).unwrap_or_default()
    }

    /// What the entry holds on the heap beyond its own fields, in bytes.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.parts.bytes.len()
    }
}

/// Whole seconds of a duration, saturating.
fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

/// How long after its expiry an answer for `key` may be served, and whether that holds for TTL 0.
#[must_use]
pub fn maximum_stale(key: &Key, policy: &Policy) -> (Duration, TtlZero) {
    let mut found = (policy.stale.maximum, TtlZero::Forget);
    let mut longest = 0;
    for exception in &policy.stale.suffixes {
        if exception.suffix.len() > longest && is_within(key.name(), &exception.suffix) {
            longest = exception.suffix.len();
            found = (exception.maximum, exception.ttl_zero);
        }
    }
    if policy.critical.iter().any(|critical| *critical.name == *key.name()) {
        // What is listed must never be missing: that opts in for it.
        found.1 = TtlZero::KeepForOutages;
    }
    found
}

/// Keeps a response up to its OPT, where its TTLs stand, and its extended errors. An OPT in another
/// section is malformed.
///
/// Records behind an OPT are left out (additional data may be, RFC 2181 §9): compression pointers
/// to names behind it would no longer lead where they should. The question is written lower-cased
/// from the key.
fn without_opt(key: &Key, response: &[u8], extended_errors: &[u8]) -> Result<Parts, Malformed> {
    let mut records = Records::new(response)?;
    let mut end = records.position();
    let mut offsets = Vec::new();
    let mut additional: u16 = 0;
    while let Some(record) = records.next_record()? {
        match (record.rtype == message::TYPE_OPT, record.section) {
            (true, Section::Additional) => break,
            // It would be kept and passed on, and read as ours (RFC 6891 §6.1.1 allows it in the
            // additional section only).
            (true, Section::Answer | Section::Authority) => return Err(Malformed),
            (false, _) => {}
        }
        if record.section == Section::Additional {
            additional = additional.saturating_add(1);
        }
        offsets.push(u16::try_from(record.ttl_at).map_err(|_| Malformed)?);
        end = record.end;
    }
    let kept = response.get(..end).ok_or(Malformed)?;
    let name = key.name();
    if message::skip_plain_name(kept, HEADER)? != HEADER + name.len() || Header::read(kept)?.questions != 1 {
        return Err(Malformed);
    }
    let mut parts = Parts::new(kept, &offsets, extended_errors)?;
    let wire = parts.wire_mut();
    wire.get_mut(10..HEADER).ok_or(Malformed)?.copy_from_slice(&additional.to_be_bytes());
    wire.get_mut(HEADER..HEADER + name.len()).ok_or(Malformed)?.copy_from_slice(name);
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::key::Dnssec;
    use crate::core::testing::{Response, name, policy};

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn key(text: &str, qtype: u16) -> Key {
        Key::new(&name(text), qtype, 1, Dnssec::default())
    }

    fn remember(qtype: u16, response: &[u8]) -> Remembered {
        Entry::remember(&key("www.example.com", qtype), response, classify::classify(qtype, response), &policy(), NOW)
            .expect("an answer")
    }

    #[test]
    fn a_positive_answer_lives_as_long_as_its_chain_and_a_day_beyond() {
        let response = Response::new("www.example.com", 1)
            .cname("www.example.com", "web.example.com", 300)
            .a("web.example.com", 60)
            .bytes();
        let entry = remember(1, &response).entry;
        assert_eq!(entry.fresh_until, NOW.plus(Duration::from_secs(60)));
        assert_eq!(entry.stale_until, NOW.plus(Duration::from_secs(60 + 86_400)));
        assert_eq!(entry.ttl_offsets().count(), 2);
    }

    #[test]
    fn long_lives_are_cut() {
        let positive = remember(1, &Response::new("www.example.com", 1).a("www.example.com", 86_400).bytes()).entry;
        assert_eq!(positive.fresh_until, NOW.plus(Duration::from_secs(3600)));
        let negative =
            remember(1, &Response::new("www.example.com", 1).rcode(3).soa("example.com", 900, 900).bytes()).entry;
        assert_eq!(negative.fresh_until, NOW.plus(Duration::from_secs(30)));
        let unvouched = remember(1, &Response::new("www.example.com", 1).rcode(3).bytes()).entry;
        assert_eq!((unvouched.fresh_until, unvouched.vouched), (NOW.plus(Duration::from_secs(5)), false));
    }

    #[test]
    fn ttl_zero_is_not_kept_unless_a_suffix_opts_in() {
        let response = Response::new("www.example.com", 1).a("www.example.com", 0).bytes();
        assert_eq!(remember(1, &response).keep, Keep::No);
        let mut policy = policy();
        policy.stale.suffixes.push(crate::core::policy::SuffixStale {
            suffix: name("example.com").into(),
            maximum: Duration::from_secs(60),
            ttl_zero: TtlZero::KeepForOutages,
        });
        let kept =
            Entry::remember(&key("www.example.com", 1), &response, classify::classify(1, &response), &policy, NOW)
                .expect("an answer");
        assert_eq!(
            (kept.keep, kept.entry.is_fresh(NOW), kept.entry.stale_until),
            (Keep::Yes, false, NOW.plus(Duration::from_secs(60)))
        );
    }

    #[test]
    fn the_opt_is_not_stored() {
        let plain = Response::new("www.example.com", 1).a("www.example.com", 60).bytes();
        let with = Response::new("www.example.com", 1).a("www.example.com", 60).opt(0, &[0, 15, 0, 2, 0, 9]).bytes();
        assert_eq!(remember(1, &with).entry.wire(), remember(1, &plain).entry.wire());
        assert_eq!(remember(1, &with).entry.extended_errors(), [0, 15, 0, 2, 0, 9]);
    }

    #[test]
    fn an_opt_among_the_answers_is_refused() {
        for count_at in [6, 8] {
            let response =
                Response::new("www.example.com", 1).a("www.example.com", 60).record(count_at, "", 41, 0, &[]).bytes();
            let verdict = classify::classify(1, &response);
            assert_eq!(Entry::remember(&key("www.example.com", 1), &response, verdict, &policy(), NOW), Err(Malformed));
        }
    }

    #[test]
    fn an_answer_to_a_question_of_another_length_is_refused() {
        let response = Response::new("w.example.com", 1).a("w.example.com", 60).bytes();
        let verdict = classify::classify(1, &response);
        assert_eq!(Entry::remember(&key("www.example.com", 1), &response, verdict, &policy(), NOW), Err(Malformed));
    }
}
