//! One remembered answer: the upstream's bytes, and how long they may be served.
//!
//! An entry never changes. It keeps the response without OPT (which is hop-by-hop, RFC 6891 §6.2.1)
//! and the offsets of its TTLs, so that answering is a copy and a few patches. Everything that has
//! to be put right is put right here, once: an entry holds nothing that does not answer its
//! question, aliases stand before what they lead to, and the records of an RRset have one TTL
//! ([`kept_response`]). RDATA are not read (RFC 3597), and the order of an RRset is kept.
//!
//! | response | fresh for | stale after that for |
//! |---|---|---|
//! | positive | its smallest TTL, at most `positive_max` | maximum stale of the longest matching suffix |
//! | NODATA or NXDOMAIN with SOA | its negative TTL (RFC 2308 §5), at most `negative_max` | the same |
//! | NODATA or NXDOMAIN without SOA | `negative_without_soa` | the same, but an older positive answer counts instead |
//! | positive with TTL 0 | not at all | not kept, unless the policy says so for the suffix, or the name is critical |
//! | NODATA or NXDOMAIN with TTL 0 | not at all | the same |
//!
//! The bounds are those of [`super::policy::TtlPolicy`]. Where that has a minimum, all TTLs are
//! raised to it before anything else is looked at, so that upstreams that answer with TTL 0 or 1
//! need not be asked for each query. No negative answer is fresh for longer than the aliases that
//! lead to it.
//!
//! RFC 8767 §4 excludes answers with TTL 0 from being served stale; to keep positive ones for
//! outages is a choice of the operator. A denial with TTL 0 is always kept for outages: the address
//! of a name is of no use to a stub resolver that gets SERVFAIL for the other family (getaddrinfo
//! then fails as a whole), and a search path stops at SERVFAIL.

use std::time::Duration;

use super::classify::{self, Kind, Verdict, Vouched};
use super::extended_error;
use super::key::{Key, is_within};
use super::message::{self, HEADER, Header, MalformedMessage};
use super::policy::{Policy, TtlZero};
use super::time::Timestamp;

mod kept_response;
mod reordered;
mod rrset_ttls;

use kept_response::KeptResponse;

/// A remembered answer: a response as it is kept, and the times that bound its life.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    response: KeptResponse,
    /// The kind of answer: positive, NODATA or NXDOMAIN.
    pub kind: Kind,
    /// Whether an SOA vouches for a negative answer; always true for positive answers.
    pub vouched: bool,
    /// Whether the entry holds only the part of an answer that fits a datagram, because upstream
    /// could not be asked over TCP.
    pub truncated: bool,
    /// Whether upstream set AD: it claims to have validated the data (RFC 4035 §3.2.3).
    pub authentic: bool,
    /// Whether the time at which the response came is unknown. `stored` is then only a bound for
    /// the life of the answer, and any answer whose time is known counts as newer.
    pub undated: bool,
    /// The moment at which the response came from upstream.
    pub stored: Timestamp,
    /// The moment from which the answer is no longer fresh.
    pub fresh_until: Timestamp,
    /// The moment from which the answer may no longer be served at all.
    pub stale_until: Timestamp,
    /// No TTL in a fresh answer is larger than this minus its age, in seconds.
    ttl_cap: u32,
}

/// The times of an entry, as in [`Entry`].
pub(super) struct Times {
    pub(super) stored: Timestamp,
    pub(super) fresh_until: Timestamp,
    pub(super) stale_until: Timestamp,
}

/// Everything of an entry that was kept outside this process.
pub(super) struct StoredParts<'a> {
    /// The response as an entry keeps it: without OPT, and with the question in lower case.
    pub(super) wire: &'a [u8],
    /// The extended errors, as raw EDNS options.
    pub(super) extended_errors: &'a [u8],
    pub(super) kind: Kind,
    pub(super) vouched: bool,
    pub(super) times: Times,
    /// The largest TTL that a fresh answer may show, in seconds.
    pub(super) ttl_cap: u32,
}

/// An entry made from a response, and whether it may be kept.
#[derive(Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The answer for the clients that are waiting for it.
    pub entry: Entry,
    /// Whether the answer is kept for other queries.
    pub keep: Keep,
}

/// Whether an answer is kept after the clients that waited for it have got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The answer is kept.
    Yes,
    /// The answer is not kept, since it is positive and its TTL is 0 (RFC 1035 §3.2.1).
    No,
}

impl Entry {
    /// Makes an entry from a response to the question of `key`; `verdict` is what
    /// [`classify::classify`] says of that response.
    ///
    /// # Errors
    /// [`MalformedMessage`] when the verdict is not an answer, the response cannot be read, or its
    /// question has another name than the key.
    pub fn remember(
        key: &Key,
        response: &[u8],
        verdict: Verdict,
        policy: &Policy,
        now: Timestamp,
    ) -> Result<Remembered, MalformedMessage> {
        // The verdict decides which TTL counts, and which bound of the policy.
        let (kind, vouched, ttl, at_most) = match verdict {
            Verdict::Positive { ttl } => (Kind::Positive, true, ttl, policy.ttl.positive_max),
            Verdict::Negative { kind, vouched: Vouched::BySoa(ttl), .. } => (kind, true, ttl, policy.ttl.negative_max),
            Verdict::Negative { kind, vouched: Vouched::Not, chain } => {
                (kind, false, chain.unwrap_or(u32::MAX), policy.ttl.negative_without_soa)
            }
            Verdict::Truncated | Verdict::Failed(_) => return Err(MalformedMessage),
        };
        // The suffix decides for how long the answer may be stale, and whether TTL 0 is kept at
        // all.
        let life = Duration::from_secs(u64::from(ttl)).max(policy.ttl.minimum).min(at_most);
        let (maximum_stale, ttl_zero) = maximum_stale(key, policy);
        let keep = match (kind, ttl_zero) {
            (Kind::Positive, TtlZero::Forget) if life.is_zero() => Keep::No,
            (Kind::Positive | Kind::NoData | Kind::NxDomain, TtlZero::Forget | TtlZero::KeepForOutages) => Keep::Yes,
        };
        let fresh_until = now.plus(life);
        let errors = classify::extended_errors(response, extended_error::KEPT_MAX);
        let header = Header::read(response)?;
        let mut kept = KeptResponse::new(key, response, &errors)?;
        if !policy.ttl.minimum.is_zero() {
            kept.raise_ttls(seconds(policy.ttl.minimum));
        }
        let entry = Self {
            response: kept,
            kind,
            vouched,
            truncated: false,
            authentic: header.has(message::FLAG_AUTHENTIC),
            undated: false,
            stored: now,
            fresh_until,
            stale_until: fresh_until.plus(maximum_stale),
            // In a positive answer each RRset counts down its own TTL, so only the bound of the
            // policy caps them. A negative answer lives shorter than the TTL of its SOA says when
            // MINIMUM or the policy is less, and what clients see must not outlive the entry.
            ttl_cap: match kind {
                Kind::Positive => seconds(policy.ttl.positive_max),
                Kind::NoData | Kind::NxDomain => seconds(life),
            },
        };
        Ok(Remembered { entry, keep })
    }

    /// Makes an entry again from the parts of one.
    ///
    /// # Errors
    /// [`MalformedMessage`] unless `wire` is a response to the question of `key` exactly as an
    /// entry keeps it.
    pub(super) fn from_parts(key: &Key, parts: StoredParts<'_>) -> Result<Self, MalformedMessage> {
        let StoredParts { wire, extended_errors, kind, vouched, times, ttl_cap } = parts;
        let Times { stored, fresh_until, stale_until } = times;
        let response = KeptResponse::new(key, wire, extended_errors)?;
        // Keeping it once more changes nothing in a response that an entry has kept already.
        if response.wire() != wire {
            return Err(MalformedMessage);
        }
        let authentic = Header::read(wire)?.has(message::FLAG_AUTHENTIC);
        let entry = Self {
            response,
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
        if entry.answers(key) { Ok(entry) } else { Err(MalformedMessage) }
    }

    /// Makes an entry from a truncated response, which is the last resort when TCP fails. Such an
    /// entry must never be kept (RFC 2181 §9).
    ///
    /// # Errors
    /// [`MalformedMessage`] as for [`Entry::remember`], and when the records that did fit are no
    /// answer.
    pub fn from_truncated(
        key: &Key,
        response: &[u8],
        policy: &Policy,
        now: Timestamp,
    ) -> Result<Self, MalformedMessage> {
        // Without TC the response is classified by the records that it has.
        let mut whole = response.to_vec();
        if let Some(flags) = whole.get_mut(2) {
            *flags &= 0xfd;
        }
        let remembered = Self::remember(key, &whole, classify::classify(key.qtype(), &whole), policy, now)?;
        Ok(Self { truncated: true, ..remembered.entry })
    }

    /// The same answer as another message, which answers the question of `key`. It is never
    /// authentic: nobody has validated this message.
    ///
    /// # Errors
    /// [`MalformedMessage`] as for [`KeptResponse::new`].
    pub(super) fn as_message(&self, key: &Key, message: &[u8]) -> Result<Self, MalformedMessage> {
        Ok(Self {
            response: KeptResponse::new(key, message, self.extended_errors())?,
            kind: self.kind,
            vouched: self.vouched,
            truncated: self.truncated,
            authentic: false,
            undated: self.undated,
            stored: self.stored,
            fresh_until: self.fresh_until,
            stale_until: self.stale_until,
            ttl_cap: self.ttl_cap,
        })
    }

    /// The same answer with other times.
    #[must_use]
    pub(super) fn at(self, times: Times) -> Self {
        let Times { stored, fresh_until, stale_until } = times;
        Self { stored, fresh_until, stale_until, ..self }
    }

    /// Whether the upstream itself marked the answer as stale (RFC 8914 §4.4, §4.20).
    #[must_use]
    pub fn is_marked_stale(&self) -> bool {
        extended_error::marks_stale(self.extended_errors())
    }

    /// The same answer, which is not fresh from its arrival on and is not to be kept.
    #[must_use]
    pub fn expired(self) -> Self {
        Self { fresh_until: self.stored, stale_until: self.stored, ..self }
    }

    /// The same answer, marked as one whose time of arrival is unknown.
    #[must_use]
    pub fn without_date(self) -> Self {
        Self { undated: true, ..self }
    }

    /// Whether the answer had a TTL of 0, so that it never was fresh.
    #[must_use]
    pub fn was_never_fresh(&self) -> bool {
        self.fresh_until <= self.stored
    }

    /// Whether the answer came later than `other`, as far as is known: an answer without a date
    /// counts as older than any other.
    #[must_use]
    pub fn is_newer_than(&self, other: &Self) -> bool {
        !self.undated && (other.undated || self.stored > other.stored)
    }

    /// Whether the entry answers the question of `key`: the same name in any case, the same type
    /// and class.
    #[must_use]
    pub fn answers(&self, key: &Key) -> bool {
        let (name, rest) = (key.name(), key.type_and_class());
        let name_end = message::HEADER + name.len();
        let wire = self.wire();
        wire.get(message::HEADER..name_end).is_some_and(|own| own.eq_ignore_ascii_case(name))
            && wire.get(name_end..name_end + rest.len()).is_some_and(|own| own == rest)
    }

    /// Whether the answer is fresh.
    #[must_use]
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        now < self.fresh_until
    }

    /// Whether the answer may still be served, fresh or stale.
    #[must_use]
    pub fn is_servable(&self, now: Timestamp) -> bool {
        now < self.stale_until
    }

    /// The moment from which a negative answer no longer counts instead of a positive one that was
    /// remembered before it. A negative answer without SOA is not trusted for longer than it is
    /// fresh.
    #[must_use]
    pub const fn overrules_until(&self) -> Timestamp {
        if self.vouched { self.stale_until } else { self.fresh_until }
    }

    /// The response in wire form, without OPT. ID, flags and TTLs are those with which it came.
    #[must_use]
    pub fn wire(&self) -> &[u8] {
        self.response.wire()
    }

    /// No TTL in a fresh answer is larger than this minus its age, in seconds.
    pub(super) const fn ttl_cap(&self) -> u32 {
        self.ttl_cap
    }

    /// The offsets of the TTL fields in [`Entry::wire`].
    pub(super) fn ttl_offsets(&self) -> impl Iterator<Item = usize> {
        let offsets = self.response.ttl_offsets();
        offsets.iter().map(|offset| usize::from(u16::from_be_bytes(*offset)))
    }

    /// The extended errors that came with the response, as raw EDNS options.
    #[must_use]
    pub fn extended_errors(&self) -> &[u8] {
        self.response.extended_errors()
    }

    /// The question section in wire form: the name in lower case, type and class.
    #[must_use]
    pub fn question(&self) -> &[u8] {
        let wire = self.wire();
        let end = message::skip_plain_name(wire, HEADER).map_or(HEADER, |end| end + 4);
        wire.get(HEADER..end).unwrap_or_default()
    }

    /// The memory that the entry holds on the heap beyond its own fields, in bytes.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.response.size()
    }
}

/// The whole seconds of a duration, at most `u32::MAX`.
fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

/// For how long an answer for `key` may be served once it is no longer fresh, and whether answers
/// with TTL 0 are kept for outages.
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
        // A critical name must never be missing, so listing it is consent to keep TTL 0 as well.
        found.1 = TtlZero::KeepForOutages;
    }
    found
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
    fn long_ttls_are_capped() {
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
    fn ttls_are_raised_to_the_minimum_within_their_bounds() {
        let mut policy = policy();
        policy.ttl.minimum = Duration::from_secs(60);
        let life = |response: Vec<u8>| {
            let verdict = classify::classify(1, &response);
            let kept = Entry::remember(&key("www.example.com", 1), &response, verdict, &policy, NOW).unwrap();
            assert_eq!(kept.keep, Keep::Yes);
            let ttls = kept.entry.ttl_offsets().map(|at| message::read_u32(kept.entry.wire(), at).unwrap()).collect();
            (kept.entry.fresh_until.since(NOW).as_secs(), ttls)
        };
        let www = || Response::new("www.example.com", 1);
        assert_eq!(life(www().a("www.example.com", 0).bytes()), (60, vec![60]));
        assert_eq!(life(www().cname("www.example.com", "a.test", 1).a("a.test", 90).bytes()), (60, vec![60, 90]));
        assert_eq!(life(www().a("www.example.com", 61).bytes()), (61, vec![61]));
        assert_eq!(life(www().rcode(3).soa("example.com", 0, 0).bytes()), (30, vec![60]), "the bound of denials");
        assert_eq!(life(www().rcode(3).bytes()).0, 5, "nobody vouches for it");
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
            assert_eq!(
                Entry::remember(&key("www.example.com", 1), &response, verdict, &policy(), NOW),
                Err(MalformedMessage)
            );
        }
    }

    #[test]
    fn an_answer_to_a_question_of_another_length_is_refused() {
        let response = Response::new("w.example.com", 1).a("w.example.com", 60).bytes();
        let verdict = classify::classify(1, &response);
        assert_eq!(
            Entry::remember(&key("www.example.com", 1), &response, verdict, &policy(), NOW),
            Err(MalformedMessage)
        );
    }
}
