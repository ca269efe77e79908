//! The failover guard: an answer that goes back to the addresses from before a change is confirmed
//! before it is believed.
//!
//! After the failover of a database, resolvers were seen to give its old and its new address in
//! turns, for 20 to 30 s. Whoever believes each answer sends half of the connections to a server
//! that takes no writes any more. So a *change* is remembered for 30 s, and an answer that would
//! undo it is a *reversal*, which is doubted:
//!
//! | remembered | the upstream's answer | what follows |
//! |---|---|---|
//! | addresses that were steady ([`super::history`]) | others | they are believed; the change is remembered for 30 s |
//! | addresses that take turns, or are hardly known | any | it is believed |
//! | the new ones of a change | the new ones | they are believed; what was doubted is forgotten |
//! | the same | third ones | they are believed, and are the new ones of the change from now on |
//! | the same | the old ones | doubted: other upstreams are asked, and over TCP |
//! | the same, 30 s later | any | it is believed |
//!
//! One round of confirmation ends as soon as anybody gives the new addresses. Old and new ones may
//! come in turns from a single upstream, over TCP as well, and a cache may repeat an old answer for
//! its TTL. So one round that brings the old addresses alone proves little, and a reversal takes
//! several of them in a row:
//!
//! | the round brought | what follows |
//! |---|---|
//! | the new addresses, from anybody | they stay; doubts begin anew |
//! | the old ones alone, since less than 6 s | the new ones stay; the next rounds come 1 s, 1 s, 2 s and 2 s later |
//! | the old ones alone for 6 s, and none was refuted since the change | the old ones are believed |
//! | nothing beside the doubted answer | the new ones stay; the next round comes 2 s later, this one does not count |
//!
//! A reversal that is meant, such as a change that was taken back, is therefore believed 6 s later.
//! Once upstreams were seen to disagree, only time ends the guard: 30 s after the change the old
//! addresses are believed at once, as any answer is. From then on the data count as such that take
//! turns.
//!
//! Only A and AAAA are guarded. At most 256 changes are remembered; the oldest gives way.

use std::time::Duration;

use super::fingerprint::DataFingerprint;
use super::history::History;
use super::key::Key;
use super::labelled::labelled;
use super::message::{TYPE_A, TYPE_AAAA};
use super::time::Timestamp;

/// For how long after a change its reversal is doubted: as long as resolvers were seen to disagree
/// after a failover.
pub const GUARDED_FOR: Duration = Duration::from_secs(30);
/// For how long nobody may give the new addresses before their reversal is believed: longer than
/// the TTL of 5 s that managed databases have, for which a cache repeats what it was told.
const SETTLED_AFTER: Duration = Duration::from_secs(6);
/// The waits after the first rounds that brought the old addresses alone. They differ, so that no
/// rhythm of the upstream's can be in step with them.
const WAITS: [Duration; 2] = [Duration::from_secs(1); 2];
/// The wait after each further round, and after one that brought nothing.
const LAST_WAIT: Duration = Duration::from_secs(2);
/// Changes that are remembered, at some 100 bytes each.
const KEPT: usize = 256;

labelled! {
    /// What became of answers that went back to the addresses from before a change.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum ReversalOutcome {
        /// An answer was doubted, and confirmation was asked for.
        Doubted = "doubted",
        /// The confirmation brought the new addresses, which stay.
        Refuted = "refuted",
        /// The old addresses were confirmed for long enough, and are believed.
        Believed = "believed",
    }
}

/// One change of addresses that were steady before.
#[derive(Clone, Debug)]
struct GuardedChange {
    key: Key,
    before: DataFingerprint,
    after: DataFingerprint,
    at: Timestamp,
    /// Whether a reversal is doubted since anybody gave the new addresses.
    is_doubted: bool,
    /// When the first of the rounds in a row ended that brought the old addresses alone.
    agreed_since: Option<Timestamp>,
    /// How many of these rounds there were.
    rounds: usize,
    /// Whether a reversal was ever refuted.
    is_refuted: bool,
}

/// The data of an answer with their history.
#[derive(Clone, Copy, Debug)]
pub struct KnownData {
    /// What the data are.
    pub fingerprint: DataFingerprint,
    /// How steady they were.
    pub history: History,
}

/// How one round of confirmation ended without the new addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// Others gave the old addresses as well.
    Agreed,
    /// Nobody else answered.
    Unheard,
}

/// What follows from a round of confirmation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// The old addresses are believed.
    Believed,
    /// The new addresses stay, and the question is not asked again before this wait is over.
    Wait(Duration),
}

/// What an answer that was believed says about a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardNews {
    /// Nothing that concerns the guard.
    Nothing,
    /// Addresses that were steady have changed.
    Change,
    /// A reversal that was doubted is refuted, the first time since the change.
    FirstRefutation,
    /// The same, not for the first time.
    Refutation,
}

/// The changes that are less than 30 s old.
#[derive(Debug, Default)]
pub struct Reversals(Vec<GuardedChange>);

impl Reversals {
    /// Notes that an answer with the data `new` was believed in place of `old`.
    pub fn learned(&mut self, key: &Key, old: KnownData, new: DataFingerprint, now: Timestamp) -> GuardNews {
        self.0.retain(|change| now.since(change.at) < GUARDED_FOR);
        let is_same = old.fingerprint == new;
        match self.0.iter().position(|change| change.key == *key) {
            Some(found) => self.follow(found, is_same, new, now),
            None if is_same || !old.history.is_steady() || !is_guarded(key) => GuardNews::Nothing,
            None => {
                if self.0.len() >= KEPT {
                    let _ = self.0.remove(0);
                }
                self.0.push(GuardedChange {
                    key: key.clone(),
                    before: old.fingerprint,
                    after: new,
                    at: now,
                    is_doubted: false,
                    agreed_since: None,
                    rounds: 0,
                    is_refuted: false,
                });
                GuardNews::Change
            }
        }
    }

    /// Follows a change that is remembered.
    fn follow(&mut self, found: usize, is_same: bool, new: DataFingerprint, now: Timestamp) -> GuardNews {
        let Some(change) = self.0.get_mut(found) else { return GuardNews::Nothing };
        if new == change.before {
            let _ = self.0.remove(found);
            return GuardNews::Nothing;
        }
        let was_doubted = std::mem::take(&mut change.is_doubted);
        (change.agreed_since, change.rounds) = (None, 0);
        if is_same {
            let was_refuted = change.is_refuted;
            change.is_refuted |= was_doubted;
            return match (was_doubted, was_refuted) {
                (false, _) => GuardNews::Nothing,
                (true, false) => GuardNews::FirstRefutation,
                (true, true) => GuardNews::Refutation,
            };
        }
        (change.after, change.at) = (new, now);
        GuardNews::Change
    }

    /// Whether an answer with the data `new` is to be confirmed before it replaces `present`. True
    /// means that a confirmation follows.
    pub fn doubts(&mut self, key: &Key, present: DataFingerprint, new: DataFingerprint, now: Timestamp) -> bool {
        let reversal = |change: &&mut GuardedChange| {
            change.key == *key && change.after == present && change.before == new && now.since(change.at) < GUARDED_FOR
        };
        let found = self.0.iter_mut().find(reversal);
        found.map(|change| change.is_doubted = true).is_some()
    }

    /// Takes the end of a round of confirmation that did not bring the new addresses.
    pub fn conclude(&mut self, key: &Key, round: Round, now: Timestamp) -> Conclusion {
        let guarded = |change: &&mut GuardedChange| change.key == *key && now.since(change.at) < GUARDED_FOR;
        // Since the round began, the change has become too old to be guarded.
        let Some(change) = self.0.iter_mut().find(guarded) else { return Conclusion::Believed };
        if round == Round::Unheard {
            return Conclusion::Wait(LAST_WAIT);
        }
        let since = *change.agreed_since.get_or_insert(now);
        if now.since(since) >= SETTLED_AFTER && !change.is_refuted {
            return Conclusion::Believed;
        }
        let wait = WAITS.get(change.rounds).copied().unwrap_or(LAST_WAIT);
        change.rounds += 1;
        Conclusion::Wait(wait)
    }

    /// The number of changes that are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no change is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether the data of a question are addresses.
fn is_guarded(key: &Key) -> bool {
    matches!(key.qtype(), TYPE_A | TYPE_AAAA)
}

#[cfg(test)]
mod tests {
    use super::super::classify::classify;
    use super::super::entry::Entry;
    use super::super::fingerprint;
    use super::super::history::Succeeding;
    use super::super::key::Dnssec;
    use super::super::testing::{Response, name, policy};
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn at(seconds: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(seconds))
    }

    fn key(text: &str) -> Key {
        Key::new(&name(text), TYPE_A, 1, Dnssec::default())
    }

    fn db() -> Key {
        key("db.example.com")
    }

    fn address(host: u8) -> DataFingerprint {
        let bytes =
            Response::new("db.example.com", TYPE_A).record(6, "db.example.com", 1, 5, &[192, 0, 2, host]).bytes();
        let entry = Entry::remember(&db(), &bytes, classify(TYPE_A, &bytes), &policy(), NOW).unwrap().entry;
        fingerprint::of_data(&entry)
    }

    fn steady(host: u8) -> KnownData {
        let history = (0..9).fold(History::FIRST, |history, _| history.next(Succeeding::Same));
        KnownData { fingerprint: address(host), history }
    }

    fn changed(host: u8) -> KnownData {
        let history = steady(host).history.next(Succeeding::Other);
        KnownData { fingerprint: address(host), history }
    }

    /// The address 1 was steady, and has just moved to 2.
    fn moved() -> Reversals {
        let mut reversals = Reversals::default();
        assert_eq!(reversals.learned(&db(), steady(1), address(2), NOW), GuardNews::Change);
        reversals
    }

    #[test]
    fn a_reversal_is_doubted_for_thirty_seconds() {
        let mut reversals = moved();
        assert!(reversals.doubts(&db(), address(2), address(1), at(29)));
        assert!(!reversals.doubts(&db(), address(2), address(1), at(30)));
        assert!(!reversals.doubts(&db(), address(2), address(3), at(1)), "that is another change");
        assert!(!reversals.doubts(&db(), address(1), address(2), at(1)), "what it would undo is not remembered");
        assert!(!reversals.doubts(&key("other.example.com"), address(2), address(1), at(1)));
    }

    #[test]
    fn addresses_that_take_turns_or_are_hardly_known_are_not_guarded() {
        let mut reversals = Reversals::default();
        let fresh = KnownData { fingerprint: address(1), history: History::FIRST };
        for old in [changed(1), fresh] {
            assert_eq!(reversals.learned(&db(), old, address(2), NOW), GuardNews::Nothing);
        }
        assert_eq!(reversals.learned(&db(), steady(1), address(1), NOW), GuardNews::Nothing);
        let text = Key::new(&name("db.example.com"), 16, 1, Dnssec::default());
        assert_eq!(reversals.learned(&text, steady(1), address(2), NOW), GuardNews::Nothing, "no addresses");
        assert!(reversals.is_empty() && !reversals.doubts(&db(), address(2), address(1), NOW));
    }

    #[test]
    fn a_reversal_that_is_confirmed_for_six_seconds_is_believed() {
        let mut reversals = moved();
        let wait = |seconds| Conclusion::Wait(Duration::from_secs(seconds));
        let rounds = [(5, wait(1)), (6, wait(1)), (7, wait(2)), (9, wait(2)), (11, Conclusion::Believed)];
        for (seconds, conclusion) in rounds {
            assert!(reversals.doubts(&db(), address(2), address(1), at(seconds)));
            assert_eq!(reversals.conclude(&db(), Round::Agreed, at(seconds)), conclusion, "after {seconds} s");
        }
        assert_eq!(reversals.learned(&db(), changed(2), address(1), at(11)), GuardNews::Nothing);
        assert!(reversals.is_empty(), "neither address is guarded any more");
    }

    #[test]
    fn the_new_addresses_refute_a_reversal_and_doubts_begin_anew() {
        let mut reversals = moved();
        for seconds in [5, 6, 8] {
            assert!(reversals.doubts(&db(), address(2), address(1), at(seconds)));
            assert_ne!(reversals.conclude(&db(), Round::Agreed, at(seconds)), Conclusion::Believed);
        }
        assert_eq!(reversals.learned(&db(), changed(2), address(2), at(10)), GuardNews::FirstRefutation);
        assert_eq!(reversals.learned(&db(), changed(2), address(2), at(11)), GuardNews::Nothing, "said once");
        assert!(reversals.doubts(&db(), address(2), address(1), at(12)));
        assert_eq!(reversals.conclude(&db(), Round::Agreed, at(12)), Conclusion::Wait(WAITS[0]));
        assert_eq!(reversals.learned(&db(), changed(2), address(2), at(13)), GuardNews::Refutation);
    }

    #[test]
    fn once_upstreams_were_seen_to_disagree_only_time_ends_the_guard() {
        let mut reversals = moved();
        assert!(reversals.doubts(&db(), address(2), address(1), at(5)));
        assert_eq!(reversals.learned(&db(), changed(2), address(2), at(5)), GuardNews::FirstRefutation);
        for seconds in 6..30 {
            assert!(reversals.doubts(&db(), address(2), address(1), at(seconds)));
            assert_ne!(reversals.conclude(&db(), Round::Agreed, at(seconds)), Conclusion::Believed);
        }
        assert!(!reversals.doubts(&db(), address(2), address(1), at(30)));
    }

    #[test]
    fn a_round_in_which_nobody_else_answered_proves_nothing() {
        let mut reversals = moved();
        for seconds in (1..29).step_by(3) {
            assert!(reversals.doubts(&db(), address(2), address(1), at(seconds)));
            assert_eq!(reversals.conclude(&db(), Round::Unheard, at(seconds)), Conclusion::Wait(LAST_WAIT));
        }
        assert_eq!(reversals.conclude(&db(), Round::Unheard, at(30)), Conclusion::Believed, "nothing is guarded");
    }

    #[test]
    fn a_second_failover_is_believed_at_once_and_guarded_against_the_same_addresses() {
        let mut reversals = moved();
        assert_eq!(reversals.learned(&db(), changed(2), address(3), at(20)), GuardNews::Change);
        assert!(reversals.doubts(&db(), address(3), address(1), at(49)));
        assert!(!reversals.doubts(&db(), address(3), address(1), at(50)));
    }

    #[test]
    fn as_many_changes_are_remembered_as_there_is_room_for() {
        let mut reversals = Reversals::default();
        for nth in 0..1_000 {
            let question = key(&format!("db{nth}.example.com"));
            assert_eq!(reversals.learned(&question, steady(1), address(2), NOW), GuardNews::Change);
        }
        assert_eq!(reversals.len(), KEPT);
        assert!(reversals.doubts(&key("db999.example.com"), address(2), address(1), NOW));
        assert!(!reversals.doubts(&key("db0.example.com"), address(2), address(1), NOW), "the oldest gave way");
    }
}
