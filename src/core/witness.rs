//! The witnesses of one upstream: questions that it answered in time lately, with which it is asked
//! when a client's question is in trouble ([`super::health`]).
//!
//! A good witness has nothing in common with what is in trouble: another suffix, since a zone may
//! be broken, and another type, since a middlebox may drop one. It is a question that this very
//! upstream was asked and has answered, so that nobody learns a name who would not have been asked
//! for it. Where no such question is known, the apex of the upstream's zone is asked for (`. NS`
//! for all names), which any resolver has at hand.
//!
//! | candidate, on suspicion | points |
//! |---|---|
//! | shares its suffix with a suspect | 4 |
//! | shares its type with a suspect | 2 |
//! | the apex, never answered so far | 3 |
//! | each time in a row that it had no answer in time, up to three | 2 |
//! | was the last one asked | 1 |
//!
//! The candidate with the fewest points is asked, of equals the one that was not asked for longest.
//!
//! Once the upstream is ill, its questions take turns, those first that were answered the last time
//! (any of them may have trouble of its own). While none was ever answered, the apex takes turns
//! with what the upstream is asked anyway: names that are remembered from an earlier run or that
//! fail.

use std::time::Duration;

use super::key::Key;
use super::suffix::SuffixHash;
use super::time::Timestamp;

/// Questions that are kept for each upstream, at some 350 bytes each.
const KEPT: usize = 16;
/// Suspects that are kept apart from each other.
const SUSPECTS: usize = 4;
/// For how long trouble makes a question a suspect.
const SUSPECT_FOR: Duration = Duration::from_secs(60);

/// The two properties of a question that can be to blame for its trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TroubleSubject {
    /// The suffix of the name, which stands for the servers that are authoritative for it.
    pub suffix: SuffixHash,
    /// The type that was asked for.
    pub qtype: u16,
}

/// A question that an upstream can be asked as a witness.
#[derive(Clone, Debug)]
pub struct Witness {
    /// The question.
    pub key: Key,
    /// Whether this upstream has answered the question before.
    pub standing: WitnessStanding,
}

/// What is known of a witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WitnessStanding {
    /// The upstream has answered the question in time.
    Proven,
    /// The upstream has never answered the question.
    Unproven,
}

/// Why a witness is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WitnessFor {
    /// Some questions are in trouble: is the upstream?
    Suspicion,
    /// The upstream is ill: is it still?
    Illness,
}

#[derive(Clone, Debug)]
struct WitnessCandidate {
    key: Key,
    subject: TroubleSubject,
    /// Answers in time so far make it proven.
    standing: WitnessStanding,
    /// When the upstream answered the question last.
    answered_at: Timestamp,
    /// When the question was last asked as a witness; the epoch when never.
    asked_at: Timestamp,
    /// How often in a row the question had no answer in time.
    failures: u32,
}

/// The questions from which the witnesses of one upstream are chosen.
#[derive(Debug)]
pub struct Witnesses {
    /// The question about the apex of the upstream's zone.
    apex: WitnessCandidate,
    known: Vec<WitnessCandidate>,
    suspects: Vec<(TroubleSubject, Timestamp)>,
}

impl Witnesses {
    /// Starts with nothing but the question about the apex.
    #[must_use]
    pub fn new(apex: Key, subject: TroubleSubject) -> Self {
        let apex = WitnessCandidate {
            key: apex,
            subject,
            standing: WitnessStanding::Unproven,
            answered_at: Timestamp::EPOCH,
            asked_at: Timestamp::EPOCH,
            failures: 0,
        };
        Self { apex, known: Vec::new(), suspects: Vec::new() }
    }

    /// Notes that the upstream answered a question in time.
    pub fn answered(&mut self, key: &Key, subject: TroubleSubject, now: Timestamp) {
        // The type or suffix is not to blame any more.
        self.suspects.retain(|(suspect, _)| *suspect != subject);
        let own = std::iter::once(&mut self.apex).chain(&mut self.known).find(|own| own.key == *key);
        if let Some(own) = own {
            own.standing = WitnessStanding::Proven;
            own.answered_at = now;
            own.failures = 0;
            return;
        }
        let candidate = WitnessCandidate {
            key: key.clone(),
            subject,
            standing: WitnessStanding::Proven,
            answered_at: now,
            asked_at: Timestamp::EPOCH,
            failures: 0,
        };
        if self.known.len() < KEPT {
            self.known.push(candidate);
        } else if let Some(place) = self.known.iter_mut().min_by_key(|own| own.answered_at) {
            *place = candidate;
        }
    }

    /// Whether nothing but the apex is known, which the upstream may not know: it may serve
    /// internal names alone.
    #[must_use]
    pub const fn is_bare(&self) -> bool {
        self.known.is_empty()
    }

    /// Takes a question that the upstream is asked anyway, though it has not answered it yet: a
    /// name that is remembered from an earlier run, or one that clients wait for.
    pub fn offer(&mut self, key: &Key, subject: TroubleSubject) {
        if self.known.len() < KEPT && self.known.iter().all(|own| own.key != *key) {
            self.known.push(WitnessCandidate {
                key: key.clone(),
                subject,
                standing: WitnessStanding::Unproven,
                answered_at: Timestamp::EPOCH,
                asked_at: Timestamp::EPOCH,
                failures: 0,
            });
        }
    }

    /// Notes that a question is in trouble.
    pub fn suspect(&mut self, subject: TroubleSubject, now: Timestamp) {
        if let Some(known) = self.suspects.iter_mut().find(|(known, _)| *known == subject) {
            known.1 = now;
        } else if self.suspects.len() < SUSPECTS {
            self.suspects.push((subject, now));
        } else if let Some(oldest) = self.suspects.iter_mut().min_by_key(|(_, at)| *at) {
            *oldest = (subject, now);
        }
    }

    /// Chooses the next witness.
    pub fn choose(&mut self, wanted: WitnessFor, now: Timestamp) -> Witness {
        self.suspects.retain(|(_, at)| now.since(*at) < SUSPECT_FOR);
        let candidates = std::iter::once(&self.apex).chain(&self.known).enumerate();
        let best = match wanted {
            WitnessFor::Suspicion => candidates.min_by_key(|(_, own)| (self.points(own), own.asked_at)),
            WitnessFor::Illness => candidates
                .min_by_key(|(_, own)| (own.standing == WitnessStanding::Unproven, own.failures > 0, own.asked_at)),
        };
        let best = best.map_or(0, |(index, _)| index);
        let own = match best.checked_sub(1).and_then(|index| self.known.get_mut(index)) {
            Some(own) => own,
            None => &mut self.apex,
        };
        own.asked_at = now;
        Witness { key: own.key.clone(), standing: own.standing }
    }

    /// How little a candidate is worth as a witness of present trouble.
    fn points(&self, own: &WitnessCandidate) -> u32 {
        let shares = |same: fn(&TroubleSubject, &TroubleSubject) -> bool| {
            u32::from(self.suspects.iter().any(|(suspect, _)| same(suspect, &own.subject)))
        };
        let unproven = u32::from(own.standing == WitnessStanding::Unproven) * 3;
        let last = std::iter::once(&self.apex).chain(&self.known).map(|own| own.asked_at).max();
        let again = u32::from(own.asked_at > Timestamp::EPOCH && last == Some(own.asked_at));
        shares(|a, b| a.suffix == b.suffix) * 4
            + shares(|a, b| a.qtype == b.qtype) * 2
            + unproven
            + own.failures.min(3) * 2
            + again
    }

    /// Notes that a witness had no answer in time.
    pub fn failed(&mut self, key: &Key) {
        let own = std::iter::once(&mut self.apex).chain(&mut self.known).find(|own| own.key == *key);
        if let Some(own) = own {
            own.failures = own.failures.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::key::{Dnssec, NameText};
    use crate::core::testing::name;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn at(seconds: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(seconds))
    }

    /// A question for a name below a suffix that this number stands for.
    fn question(suffix: u64, qtype: u16) -> (Key, TroubleSubject) {
        let key = Key::new(&name(&format!("www.site{suffix}.example")), qtype, 1, Dnssec::default());
        (key, TroubleSubject { suffix: SuffixHash::new(suffix), qtype })
    }

    fn witnesses(answered: &[(u64, u16)]) -> Witnesses {
        let apex = Key::new(&[0], 2, 1, Dnssec::default());
        let mut witnesses = Witnesses::new(apex, TroubleSubject { suffix: SuffixHash::new(999), qtype: 2 });
        for (suffix, qtype) in answered {
            let (key, subject) = question(*suffix, *qtype);
            witnesses.answered(&key, subject, NOW);
        }
        witnesses
    }

    fn suspect(witnesses: &mut Witnesses, suffix: u64, qtype: u16) {
        witnesses.suspect(TroubleSubject { suffix: SuffixHash::new(suffix), qtype }, NOW);
    }

    /// The names of the next witnesses, one a second.
    fn next(witnesses: &mut Witnesses, count: u64) -> Vec<String> {
        let shown = |key: &Key| format!("{} {}", NameText(key.name()), key.qtype());
        (1..=count).map(|second| shown(&witnesses.choose(WitnessFor::Suspicion, at(second)).key)).collect()
    }

    #[test]
    fn nothing_known_is_the_apex_and_that_is_not_proven() {
        let mut witnesses = witnesses(&[]);
        let first = witnesses.choose(WitnessFor::Suspicion, at(1));
        assert_eq!((first.key.qtype(), first.standing), (2, WitnessStanding::Unproven));
        assert_eq!(next(&mut witnesses, 2), [". 2", ". 2"]);
        witnesses.answered(&first.key.clone(), witnesses.apex.subject, at(3));
        assert_eq!(witnesses.choose(WitnessFor::Suspicion, at(4)).standing, WitnessStanding::Proven);
    }

    #[test]
    fn a_witness_shares_neither_suffix_nor_type_with_what_is_in_trouble() {
        let mut witnesses = witnesses(&[(1, 1), (1, 28), (2, 1), (2, 28), (3, 16)]);
        suspect(&mut witnesses, 1, 28);
        let chosen = next(&mut witnesses, 6);
        assert!(chosen.iter().all(|own| !own.contains("site1") && !own.ends_with(" 28")), "{chosen:?}");
        assert!(chosen.iter().any(|own| own.contains("site2")) && chosen.iter().any(|own| own.contains("site3")));
    }

    #[test]
    fn where_all_names_are_below_the_suffix_in_trouble_the_apex_is_asked_for() {
        let mut witnesses = witnesses(&[(1, 1), (1, 28)]);
        suspect(&mut witnesses, 1, 1);
        assert_eq!(witnesses.choose(WitnessFor::Suspicion, at(1)).standing, WitnessStanding::Unproven);
        let apex = witnesses.apex.key.clone();
        (0..3).for_each(|_| witnesses.failed(&apex));
        assert_ne!(witnesses.choose(WitnessFor::Suspicion, at(2)).key.qtype(), 2, "it has no answer either");
    }

    #[test]
    fn different_witnesses_take_turns_and_those_without_answer_come_last() {
        let mut witnesses = witnesses(&[(1, 1), (2, 1), (3, 1)]);
        let mut chosen = next(&mut witnesses, 3);
        chosen.sort();
        assert_eq!(chosen, ["www.site1.example. 1", "www.site2.example. 1", "www.site3.example. 1"]);
        let (first, _) = question(1, 1);
        witnesses.failed(&first);
        let chosen: Vec<String> = (10..20)
            .map(|second| NameText(witnesses.choose(WitnessFor::Suspicion, at(second)).key.name()).to_string())
            .collect();
        assert!(!chosen.iter().any(|own| own.contains("site1")), "{chosen:?}");
    }

    #[test]
    fn a_suspect_is_one_for_a_minute_and_until_it_is_answered() {
        let mut witnesses = witnesses(&[(1, 1)]);
        suspect(&mut witnesses, 1, 1);
        assert_eq!(witnesses.choose(WitnessFor::Suspicion, at(1)).key.qtype(), 2);
        let (key, subject) = question(1, 1);
        witnesses.answered(&key, subject, at(2));
        assert_eq!(witnesses.choose(WitnessFor::Suspicion, at(3)).key.qtype(), 1);
    }

    #[test]
    fn an_ill_upstream_is_asked_in_turn_what_it_answered_and_first_what_it_answers() {
        let mut witnesses = witnesses(&[(1, 1), (2, 1), (3, 1)]);
        suspect(&mut witnesses, 1, 1);
        let asked = |witnesses: &mut Witnesses, from: u64| -> Vec<String> {
            (from..from + 6)
                .map(|second| {
                    let key = witnesses.choose(WitnessFor::Illness, at(second)).key;
                    let answered = from > 6 && key == question(2, 1).0;
                    if answered {
                        witnesses.answered(&key, question(2, 1).1, at(second))
                    } else {
                        witnesses.failed(&key)
                    }
                    key.to_string()
                })
                .collect()
        };
        let silent = asked(&mut witnesses, 1);
        assert_eq!(silent[..3], silent[3..], "all in turn: {silent:?}");
        assert!(!silent.contains(&". NS".to_owned()));
        let healing = asked(&mut witnesses, 7);
        assert!(healing[3..].iter().all(|own| own == "www.site2.example. A"), "{healing:?}");
    }

    #[test]
    fn what_is_remembered_from_an_earlier_run_takes_turns_with_the_apex_until_something_is_answered() {
        let mut witnesses = witnesses(&[]);
        assert!(witnesses.is_bare());
        let (key, subject) = question(1, 1);
        witnesses.offer(&key, subject);
        witnesses.offer(&key, subject);
        let mut ask = |second| {
            let chosen = witnesses.choose(WitnessFor::Illness, at(second));
            witnesses.failed(&chosen.key);
            (chosen.key == key, chosen.standing)
        };
        let chosen: Vec<_> = (1..=4).map(&mut ask).collect();
        assert_eq!(chosen.iter().filter(|(own, _)| *own).count(), 2);
        assert!(chosen.iter().all(|(_, standing)| *standing == WitnessStanding::Unproven));
        witnesses.answered(&key, subject, at(5));
        let next = witnesses.choose(WitnessFor::Illness, at(6));
        assert_eq!((next.key == key, next.standing), (true, WitnessStanding::Proven));
    }

    #[test]
    fn as_many_questions_are_kept_as_there_is_room_for() {
        let mut witnesses = witnesses(&[]);
        for suffix in 0..1_000 {
            let (key, subject) = question(suffix, 1);
            witnesses.answered(&key, subject, at(suffix));
            suspect(&mut witnesses, suffix, 28);
        }
        assert_eq!((witnesses.known.len(), witnesses.suspects.len()), (KEPT, SUSPECTS));
        assert!(witnesses.known.iter().all(|own| own.answered_at >= at(1_000 - 16)), "the latest ones");
    }
}
