//! The flushes by operators, which must not be undone: what was flushed does not come back from a
//! seed, the shared cache, or a state file that was not loaded yet. What was learned after the
//! flush may come from there. The state file keeps the flushes across restarts.
//!
//! A flush means the records of a name wherever they are remembered, so it also covers answers that
//! lead through the name ([`crate::core::alias`]).

use crate::core::alias;
use crate::core::entry::Entry;
use crate::core::key::{Key, NAME_MAX, is_within};
use crate::core::message;
use crate::core::policy::LIFE_MAX;
use crate::core::time::Timestamp;

/// Flushes that are kept apart. Flushing is done by hand, so this is plenty.
pub const SCOPES_MAX: usize = 64;
/// The types of the bytes of a scope that covers all types, and those of one that covers one type.
const TYPES: [u8; 2] = [0, 1];

/// How much of the tree of names a flush covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The name itself, and no other name.
    Name,
    /// The name itself and all names below it.
    Subtree,
}

/// The names and types that a flush covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The name in lower-cased wire form.
    name: Box<[u8]>,
    extent: Extent,
    /// The type; `None` for all types.
    rtype: Option<u16>,
}

impl Scope {
    /// A flush of a name in wire form, or of all names at and below it, for one type or for all.
    #[must_use]
    pub fn new(name: &[u8], extent: Extent, rtype: Option<u16>) -> Self {
        Self { name: name.to_ascii_lowercase().into(), extent, rtype }
    }

    /// Whether the flush covers a name in lower-cased wire form, for any type.
    #[must_use]
    pub fn covers_name(&self, name: &[u8]) -> bool {
        match self.extent {
            Extent::Name => *name == *self.name,
            Extent::Subtree => is_within(name, &self.name),
        }
    }

    /// Whether the flush covers the question of `key`.
    #[must_use]
    pub fn covers(&self, key: &Key) -> bool {
        self.covers_type(key.qtype()) && self.covers_name(key.name())
    }

    /// Whether the flush covers an answer to `key`: its question, or a name that it leads through.
    #[must_use]
    pub fn covers_answer(&self, key: &Key, entry: &Entry) -> bool {
        let qtype = self.covers_type(key.qtype());
        qtype && self.covers_name(key.name())
            || alias::leads_through(entry, |name, rtype| (qtype || self.covers_type(rtype)) && self.covers_name(name))
    }

    fn covers_type(&self, rtype: u16) -> bool {
        self.rtype.is_none_or(|own| own == rtype)
    }

    /// The scope as bytes: how much it covers, whether it covers one type, that type, and the name.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let [all, one] = TYPES;
        let extent = match self.extent {
            Extent::Name => 0,
            Extent::Subtree => 1,
        };
        let [high, low] = self.rtype.unwrap_or_default().to_be_bytes();
        let mut bytes = vec![extent, if self.rtype.is_some() { one } else { all }, high, low];
        bytes.extend_from_slice(&self.name);
        bytes
    }

    /// Reads a scope from its bytes; `None` unless they are exactly what [`Self::bytes`] writes.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let [all, one] = TYPES;
        let (&[extent, types, high, low], name) = bytes.split_first_chunk()?;
        let extent = match extent {
            0 => Extent::Name,
            1 => Extent::Subtree,
            _ => return None,
        };
        let rtype = match (types, u16::from_be_bytes([high, low])) {
            (own, 0) if own == all => None,
            (own, rtype) if own == one => Some(rtype),
            _ => return None,
        };
        let is_name = name.len() <= NAME_MAX && message::skip_plain_name(name, 0) == Ok(name.len());
        let scope = Self::new(name, extent, rtype);
        (is_name && *scope.name == *name).then_some(scope)
    }
}

/// The flushes so far, each with its time.
#[derive(Debug, Default)]
pub struct Flushes {
    scopes: Vec<(Scope, Timestamp)>,
    /// Everything that was learned until this time counts as flushed, because there were too many
    /// flushes to keep apart.
    all_until: Timestamp,
}

impl Flushes {
    /// Notes that the names and types in `scope` were flushed at the time `at`.
    pub fn note(&mut self, scope: Scope, at: Timestamp) {
        // What was learned before a flush from long ago is not served any more.
        self.scopes.retain(|(known, since)| since.plus(LIFE_MAX * 2) > at && !(*known == scope && *since <= at));
        if self.scopes.iter().any(|(known, since)| *known == scope && *since >= at) {
            return;
        }
        if self.scopes.len() >= SCOPES_MAX {
            self.scopes = Vec::new();
            self.all_until = at;
        } else {
            self.scopes.push((scope, at));
        }
    }

    /// Notes that everything that was learned until the time `at` was flushed.
    pub fn note_all(&mut self, at: Timestamp) {
        self.all_until = self.all_until.max(at);
    }

    /// Whether an answer to `key` has been flushed since it was learned. Of an answer without a
    /// date nobody knows that it came later.
    #[must_use]
    pub fn covers(&self, key: &Key, entry: &Entry) -> bool {
        let is_before = |at: Timestamp| entry.stored <= at || entry.undated && at > Timestamp::EPOCH;
        is_before(self.all_until)
            || self.scopes.iter().any(|(scope, at)| is_before(*at) && scope.covers_answer(key, entry))
    }

    /// The flushes that are kept apart, and until when everything counts as flushed.
    #[must_use]
    pub fn all(&self) -> (&[(Scope, Timestamp)], Timestamp) {
        (&self.scopes, self.all_until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::classify::classify;
    use crate::core::key::Dnssec;
    use crate::core::testing::{Response, name, policy};

    fn key(text: &str) -> Key {
        Key::new(&name(text), 1, 1, Dnssec::default())
    }

    fn entry_of(text: &str, response: &[u8], second: u64) -> Entry {
        let now = Timestamp::from_secs(second);
        Entry::remember(&key(text), response, classify(1, response), &policy(), now).unwrap().entry
    }

    fn entry(text: &str, second: u64) -> Entry {
        entry_of(text, &Response::new(text, 1).a(text, 60).bytes(), second)
    }

    fn scope(text: &str) -> Scope {
        Scope::new(&name(text), Extent::Name, None)
    }

    #[test]
    fn only_what_was_meant_and_had_come_before_is_covered() {
        let mut flushes = Flushes::default();
        flushes.note(scope("Wrong.example.com"), Timestamp::from_secs(10));
        let covers = |text: &str, stored| flushes.covers(&key(text), &entry(text, stored));
        assert!(covers("wrong.example.com", 10) && !covers("wrong.example.com", 11) && !covers("other.example.com", 5));
        let undated = |text: &str| flushes.covers(&key(text), &entry(text, 11).without_date());
        assert!(undated("wrong.example.com") && !undated("other.example.com"));
    }

    #[test]
    fn an_answer_that_leads_through_a_flushed_name_is_covered() {
        let alias = |text: &str| {
            let response = Response::new(text, 1).cname(text, "Lb.example.net", 60).a("lb.example.net", 60).bytes();
            (key(text), entry_of(text, &response, 5))
        };
        let (own, answer) = alias("alias.example.com");
        let covers = |text: &str, extent, rtype| Scope::new(&name(text), extent, rtype).covers_answer(&own, &answer);
        for (text, extent, rtype, covered) in [
            ("lb.example.net", Extent::Name, None, true),
            ("lb.example.net", Extent::Name, Some(1), true),
            ("lb.example.net", Extent::Name, Some(28), false),
            ("alias.example.com", Extent::Name, Some(5), true),
            ("example.net", Extent::Name, None, false),
            ("example.net", Extent::Subtree, None, true),
            ("other.example.net", Extent::Subtree, None, false),
        ] {
            assert_eq!(covers(text, extent, rtype), covered, "{text} {extent:?} {rtype:?}");
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_nothing_that_was_meant_comes_back() {
        let mut flushes = Flushes::default();
        for second in 1..=SCOPES_MAX as u64 + 1 {
            flushes.note(scope(&format!("n{second}.example.com")), Timestamp::from_secs(second));
        }
        let any = |second| flushes.covers(&key("any.example.com"), &entry("any.example.com", second));
        assert!(flushes.scopes.is_empty() && any(SCOPES_MAX as u64) && !any(SCOPES_MAX as u64 + 2));
    }

    #[test]
    fn the_same_flush_again_takes_one_place() {
        let mut flushes = Flushes::default();
        for second in [5, 9, 7] {
            flushes.note(scope("www.example.com"), Timestamp::from_secs(second));
        }
        assert_eq!(flushes.all().0, [(scope("www.example.com"), Timestamp::from_secs(9))]);
    }

    #[test]
    fn scopes_are_read_as_they_were_written_and_nothing_else_is() {
        for scope in [
            scope("www.example.com"),
            Scope::new(&[0], Extent::Subtree, None),
            Scope::new(&name("example.com"), Extent::Subtree, Some(28)),
        ] {
            let bytes = scope.bytes();
            assert_eq!(Scope::read(&bytes), Some(scope));
            for end in 0..bytes.len() {
                assert_eq!(Scope::read(&bytes[..end]), None, "{end}");
            }
        }
        for bytes in [&[2, 0, 0, 0, 0][..], &[0, 2, 0, 0, 0], &[0, 0, 0, 1, 0], &[0, 0, 0, 0, 1, b'A', 0]] {
            assert_eq!(Scope::read(bytes), None, "{bytes:?}");
        }
    }
}
