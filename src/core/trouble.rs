//! The questions in trouble: what upstreams had no answer for lately although they answer others.
//!
//! The trouble is charged to as little as possible: to the question; to a *zone* (the parent of the
//! names) and type when several names directly below it fail for that type and none of them was
//! answered for a while; to a *type* when names fail for it everywhere. Names charged in this way
//! get their stale answers at once, and everything else stays fresh.
//!
//! | charged | when |
//! |---|---|
//! | a question | its resolution failed |
//! | a zone and type | ≥ 3 names directly below it failed for it, and none was answered for it for 30 s |
//! | a type | ≥ 6 names with ≥ 4 suffixes failed for this type, and none was answered for it for 30 s |
//!
//! Answers to witnesses ([`super::witness`]) count here, too: where few clients ask, little else is
//! answered within 30 s.
//!
//! While names with two suffixes or more are in trouble, one of these questions is asked again each
//! second, in turn, as long as clients keep asking for them. (The names of a single suffix wait for
//! their failure recheck timers: it is likely to be broken for itself.) The first one that is
//! answered after it had failed more than once shows that whatever was wrong is over: the failure
//! notes of all names are void, so that nobody waits out a failure recheck timer of up to 30 s.
//! Questions that come and go must not get around that timer, so there are 5 s between two such
//! *mendings*, doubling to 60 s unless a quiet minute follows.
//!
//! The time comes in as `now`.

use std::time::Duration;

use super::key::{Key, parent, registrable};
use super::time::Timestamp;

/// Questions in trouble that are kept, at some 350 bytes each; beyond that the one that failed
/// longest ago makes way.
const KEPT: usize = 64;
/// Names that charge a zone.
const ZONE_NAMES: usize = 3;
/// Names that charge a type.
const TYPE_NAMES: usize = 6;
/// Suffixes that these names must have: the names of one suffix, or of three, may fail for that
/// reason.
const TYPE_SUFFIXES: usize = 4;
/// For how long nothing of a zone or type must have been answered until it is charged.
const UNANSWERED_FOR: Duration = Duration::from_secs(30);
/// For how long after its last failure a question counts as in trouble. A question that clients
/// still ask fails again before that, since its failure recheck timer is 30 s at the most.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);
/// For how long after its last failure a question counts for its zone and type: somewhat longer
/// than the longest failure recheck timer, so that what is asked for all the time goes on counting.
const COUNTS_FOR: Duration = Duration::from_secs(35);
/// The shortest wait between two mendings.
const APART_MIN: Duration = Duration::from_secs(5);
/// The longest wait between two mendings.
const APART_MAX: Duration = Duration::from_secs(60);

/// One question in trouble.
#[derive(Clone, Debug)]
struct TroubledQuestion {
    key: Key,
    /// When it failed first, without an answer since.
    since: Timestamp,
    failed_at: Timestamp,
    failures: u32,
    /// When it was last asked again for the sake of finding out.
    rechecked_at: Timestamp,
    /// When another name of its zone was last answered for its type; the epoch when not since it is
    /// in trouble.
    zone_answered_at: Timestamp,
    /// When another name was last answered for its type; the epoch when not since it is in trouble.
    type_answered_at: Timestamp,
}

/// What the answer to a question says about other questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mending {
    /// Nothing.
    Nothing,
    /// The trouble is over: the failure notes of all names are void.
    Everything,
}

/// A zone with names in trouble for one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TroubledZone {
    /// The zone, in lower-cased wire form.
    pub zone: Box<[u8]>,
    /// The type for which its names fail.
    pub qtype: u16,
    /// Its names in trouble, as far as they are kept.
    pub names: usize,
    /// When the first of them failed.
    pub since: Timestamp,
}

/// A type that fails everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TroubledType {
    /// The type.
    pub qtype: u16,
    /// The names in trouble for it, as far as they are kept.
    pub names: usize,
    /// When the first of them failed.
    pub since: Timestamp,
}

/// The zones and types that are charged at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Charges {
    /// Zones, in no particular order.
    pub zones: Vec<TroubledZone>,
    /// Types, in no particular order.
    pub types: Vec<TroubledType>,
}

impl Charges {
    /// Whether nothing is charged.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.zones.is_empty() && self.types.is_empty()
    }

    /// Of these charges those that concern a question: its zone, its type, both or none.
    #[must_use]
    pub fn of(&self, key: &Key) -> Self {
        let (zone, qtype) = (parent(key.name()), key.qtype());
        let zones = self.zones.iter().filter(|charged| charged.qtype == qtype && *charged.zone == *zone);
        Self {
            zones: zones.cloned().collect(),
            types: self.types.iter().filter(|charged| charged.qtype == qtype).copied().collect(),
        }
    }

    /// Whether the zone or the type of a question is charged.
    #[must_use]
    pub fn concern(&self, key: &Key) -> bool {
        self.types.iter().any(|charged| charged.qtype == key.qtype())
            || self.zones.iter().any(|charged| charged.qtype == key.qtype() && *charged.zone == *parent(key.name()))
    }
}

/// Questions that fail and have something in common.
struct FailingNames {
    /// Different names among them.
    names: usize,
    /// Different suffixes of these names.
    suffixes: usize,
    /// When the first of them failed.
    since: Timestamp,
}

/// The questions in trouble of one group of names.
#[derive(Debug, Default)]
pub struct Troubles {
    questions: Vec<TroubledQuestion>,
    mended_at: Timestamp,
    /// How long after `mended_at` the next mending may follow.
    apart: Duration,
}

impl Troubles {
    /// Notes that a resolution of the question failed.
    pub fn failed(&mut self, key: &Key, now: Timestamp) {
        if let Some(known) = self.questions.iter_mut().find(|known| known.key == *key) {
            known.failed_at = now;
            known.failures = known.failures.saturating_add(1);
            return;
        }
        if self.questions.len() >= KEPT
            && let Some(oldest) = self.oldest()
        {
            let _ = self.questions.swap_remove(oldest);
        }
        self.questions.push(TroubledQuestion {
            key: key.clone(),
            since: now,
            failed_at: now,
            failures: 1,
            rechecked_at: Timestamp::EPOCH,
            zone_answered_at: Timestamp::EPOCH,
            type_answered_at: Timestamp::EPOCH,
        });
    }

    /// Notes that an upstream answered the question, and gives what that says about others.
    pub fn answered(&mut self, key: &Key, now: Timestamp) -> Mending {
        if self.questions.is_empty() {
            return Mending::Nothing;
        }
        let mut failures = 0;
        self.questions.retain(|known| {
            let is_answered = known.key == *key;
            if is_answered {
                failures = known.failures;
            }
            !is_answered
        });
        self.exonerate(key, now);
        let quiet = now.since(self.mended_at);
        if failures < 2 || quiet < self.apart {
            return Mending::Nothing;
        }
        self.apart = if quiet >= self.apart.saturating_add(APART_MAX) {
            APART_MIN
        } else {
            (self.apart * 2).clamp(APART_MIN, APART_MAX)
        };
        self.mended_at = now;
        Mending::Everything
    }

    /// Notes that the question's type and zone were answered, for itself or as a witness.
    pub fn exonerate(&mut self, key: &Key, now: Timestamp) {
        let zone = parent(key.name());
        for known in self.questions.iter_mut().filter(|known| known.key.qtype() == key.qtype()) {
            known.type_answered_at = now;
            if parent(known.key.name()) == zone {
                known.zone_answered_at = now;
            }
        }
    }

    /// Forgets all questions, since an upstream has recovered.
    pub fn clear(&mut self) {
        self.questions.clear();
    }

    /// The question that is to be asked again now; those that were not for longest come first.
    pub fn next_recheck(&mut self, now: Timestamp) -> Option<Key> {
        self.questions.retain(|known| now.since(known.failed_at) < REMEMBERED_FOR);
        let first = self.questions.first().map(|known| registrable(known.key.name()).to_vec())?;
        if self.questions.iter().all(|known| *registrable(known.key.name()) == *first) {
            return None;
        }
        let next =
            self.questions.iter_mut().filter(|known| known.failures > 1).min_by_key(|known| known.rechecked_at)?;
        next.rechecked_at = now;
        Some(next.key.clone())
    }

    /// How often a question failed in a row, and since when; `None` when it is not in trouble.
    #[must_use]
    pub fn find(&self, key: &Key) -> Option<(u32, Timestamp)> {
        self.questions.iter().find(|known| known.key == *key).map(|known| (known.failures, known.since))
    }

    /// Some of the questions in trouble, at most so many.
    pub fn some(&self, at_most: usize) -> impl Iterator<Item = &Key> {
        self.questions.iter().rev().take(at_most).map(|known| &known.key)
    }

    /// The number of questions in trouble.
    #[must_use]
    pub fn len(&self) -> usize {
        self.questions.len()
    }

    /// Whether no question is in trouble.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.questions.is_empty()
    }

    /// The zones and types that are charged now.
    #[must_use]
    pub fn charges(&self, now: Timestamp) -> Charges {
        let mut charges = Charges::default();
        for (index, first) in self.questions.iter().enumerate() {
            // Each zone and each type is looked at once, at its first question.
            let earlier = self.questions.get(..index).unwrap_or_default();
            let (zone, qtype) = (parent(first.key.name()), first.key.qtype());
            let of_zone = |known: &TroubledQuestion| known.key.qtype() == qtype && parent(known.key.name()) == zone;
            if !earlier.iter().any(of_zone) {
                let failing = self.failing(of_zone, |known| known.zone_answered_at, now);
                if let Some(FailingNames { names, since, .. }) = failing.filter(|failing| failing.names >= ZONE_NAMES) {
                    charges.zones.push(TroubledZone { zone: zone.into(), qtype, names, since });
                }
            }
            if !earlier.iter().any(|known| known.key.qtype() == qtype) {
                let belongs = |known: &TroubledQuestion| known.key.qtype() == qtype;
                let failing = self.failing(belongs, |known| known.type_answered_at, now);
                let charged = |failing: &FailingNames| failing.names >= TYPE_NAMES && failing.suffixes >= TYPE_SUFFIXES;
                if let Some(FailingNames { names, since, .. }) = failing.filter(charged) {
                    charges.types.push(TroubledType { qtype, names, since });
                }
            }
        }
        charges
    }

    /// What fails among the questions that belong together; `None` when anything like them was
    /// answered lately.
    fn failing(
        &self,
        belongs: impl Fn(&TroubledQuestion) -> bool,
        answered_at: impl Fn(&TroubledQuestion) -> Timestamp,
        now: Timestamp,
    ) -> Option<FailingNames> {
        let recent = self.questions.iter().filter(|known| now.since(known.failed_at) < COUNTS_FOR);
        let (mut names, mut suffixes): (Vec<&[u8]>, Vec<&[u8]>) = (Vec::new(), Vec::new());
        let mut since = Timestamp::NEVER;
        for known in recent.filter(|known| belongs(known)) {
            if now.since(answered_at(known)) < UNANSWERED_FOR {
                return None;
            }
            since = since.min(known.since);
            let name = known.key.name();
            if !names.contains(&name) {
                names.push(name);
            }
            if !suffixes.contains(&registrable(name)) {
                suffixes.push(registrable(name));
            }
        }
        Some(FailingNames { names: names.len(), suffixes: suffixes.len(), since })
    }

    /// The position of the question that failed longest ago.
    fn oldest(&self) -> Option<usize> {
        self.questions.iter().enumerate().min_by_key(|(_, known)| known.failed_at).map(|(index, _)| index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::key::Dnssec;
    use crate::core::testing::name;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn at(seconds: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(seconds))
    }

    fn key(text: &str, qtype: u16) -> Key {
        Key::new(&name(text), qtype, 1, Dnssec::default())
    }

    fn troubled(names: &[(&str, u16)]) -> Troubles {
        let mut troubles = Troubles::default();
        names.iter().for_each(|(text, qtype)| troubles.failed(&key(text, *qtype), NOW));
        troubles
    }

    #[test]
    fn three_names_charge_their_zone_and_nobody_else() {
        let two = troubled(&[("a.broken.test", 1), ("b.broken.test", 1), ("c.broken.test", 28)]);
        assert!(two.charges(at(1)).is_empty(), "two names for one type are not enough");
        let mut three = troubled(&[("a.broken.test", 1), ("b.broken.test", 1), ("c.broken.test", 1)]);
        let _ = three.answered(&key("a.broken.test", 28), at(1));
        let charges = three.charges(at(1));
        assert_eq!(charges.zones, [TroubledZone { zone: name("broken.test").into(), qtype: 1, names: 3, since: NOW }]);
        assert!(charges.concern(&key("d.broken.test", 1)) && !charges.concern(&key("d.broken.test", 28)));
        assert!(three.charges(at(35)).is_empty(), "nobody has asked for them for long");
        assert_eq!(charges.of(&key("d.broken.test", 1)), charges, "what concerns a question is told of it");
        for other in ["www.test", "d.e.broken.test", "broken.test2"] {
            assert!(!charges.concern(&key(other, 1)) && charges.of(&key(other, 1)).is_empty(), "{other}");
        }
        assert!(charges.of(&key("d.broken.test", 28)).is_empty());
        three.failed(&key("b.broken.test", 1), at(2));
        assert_eq!(three.find(&key("b.broken.test", 1)), Some((2, NOW)));
        assert_eq!(three.find(&key("b.broken.test", 28)), None);
    }

    #[test]
    fn a_zone_of_which_anything_is_answered_is_not_charged() {
        let mut troubles = troubled(&[("a.example.test", 1), ("b.example.test", 1), ("c.example.test", 1)]);
        assert_eq!(troubles.answered(&key("www.example.test", 1), at(5)), Mending::Nothing);
        assert!(troubles.charges(at(30)).is_empty());
        ["a.example.test", "b.example.test", "c.example.test"]
            .iter()
            .for_each(|text| troubles.failed(&key(text, 1), at(30)));
        assert!(!troubles.charges(at(35)).is_empty(), "not for half a minute");
    }

    #[test]
    fn a_type_that_fails_everywhere_is_charged() {
        let names = ["a.one.test", "b.two.test", "c.three.test", "d.four.test", "e.five.test", "f.six.test"];
        let mut troubles = troubled(&names.map(|text| (text, 28)));
        let _ = troubles.answered(&key("a.one.test", 1), at(1));
        let charges = troubles.charges(at(1));
        assert_eq!(charges.types, [TroubledType { qtype: 28, names: 6, since: NOW }]);
        assert!(charges.concern(&key("new.test", 28)) && !charges.concern(&key("a.one.test", 1)));
        troubles.exonerate(&key("other.test", 28), at(2));
        assert!(troubles.charges(at(3)).is_empty(), "a witness was answered for the type");
    }

    #[test]
    fn three_broken_zones_do_not_charge_a_type() {
        let three = ["a.one.test", "b.one.test", "a.two.test", "b.two.test", "a.three.test", "b.three.test"];
        assert!(troubled(&three.map(|text| (text, 28))).charges(at(1)).is_empty());
    }

    #[test]
    fn questions_in_trouble_are_asked_again_in_turn_while_they_keep_failing() {
        let mut single = troubled(&[("a.one.test", 1), ("b.one.test", 1)]);
        single.failed(&key("a.one.test", 1), at(1));
        assert_eq!(single.next_recheck(at(2)), None, "all of one suffix");
        let mut troubles = troubled(&[("a.test", 1), ("b.test", 1), ("c.test", 1)]);
        assert_eq!(troubles.next_recheck(at(1)), None, "a first failure is rechecked soon anyway");
        for text in ["a.test", "b.test"] {
            troubles.failed(&key(text, 1), at(2));
        }
        let mut asked: Vec<String> =
            (3..7).filter_map(|now| troubles.next_recheck(at(now))).map(|key| key.to_string()).collect();
        asked.sort();
        assert_eq!(asked, ["a.test. A", "a.test. A", "b.test. A", "b.test. A"]);
        assert_eq!(troubles.next_recheck(at(62)), None, "nobody asks for them any more");
        assert!(troubles.is_empty());
    }

    #[test]
    fn an_answer_after_repeated_failures_mends_everything_and_not_too_often() {
        let mended = |every: u64| {
            let mut troubles = Troubles::default();
            (1..=600 / every)
                .filter(|round| {
                    let now = at(round * every);
                    troubles.failed(&key("a.test", 1), now);
                    troubles.failed(&key("a.test", 1), now);
                    troubles.answered(&key("a.test", 1), now) == Mending::Everything
                })
                .count()
        };
        assert!((8..=16).contains(&mended(1)), "{} times in ten minutes", mended(1));
        assert_eq!(mended(200), 3);
        let mut once = troubled(&[("a.test", 1)]);
        assert_eq!(once.answered(&key("a.test", 1), at(1)), Mending::Nothing, "one failure is nothing to mend");
    }

    #[test]
    fn as_many_questions_are_kept_as_there_is_room_for() {
        let mut troubles = Troubles::default();
        for index in 0..1_000 {
            troubles.failed(&key(&format!("n{index}.test"), 1), at(index));
        }
        assert_eq!(troubles.len(), KEPT);
        assert!(troubles.questions.iter().all(|known| known.failed_at >= at(1_000 - 64)));
    }
}
