//! Names that must never be missing: when they are asked for again, and how each one stands.
//!
//! A critical name is refreshed towards the end of its life although nobody asks for it, or before
//! it grows too old, whichever comes first. The moment is drawn at random within the last part, so
//! that many sidecars that started together do not stay together.
//!
//! | remembered | standing |
//! |---|---|
//! | an answer within its TTL and not too old (addresses, or that there are none of this type) | fresh |
//! | any other answer | stale |
//! | NXDOMAIN | denied (`nxdomain` in metrics and status) |
//! | nothing that may be served | missing |
//!
//! A chain of CNAMEs is one answer, and its shortest TTL counts (see [`super::classify`]).

use std::time::Duration;

use super::classify::Kind;
use super::entry::Entry;
use super::labelled::labelled;
use super::time::Timestamp;

/// The last part of its life in which an answer is refreshed, in percent.
const WINDOW_PERCENT: u32 = 15;
/// The shortest time between two refreshes: that of the shortest TTL.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// How often a name is asked whose answers have TTL 0: they are kept for outages only, and each
/// costs a packet.
const PAUSE_WITHOUT_TTL: Duration = Duration::from_secs(30);

labelled! {
    /// The state of the answer for a critical name and type.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum Standing {
        /// An answer is remembered that is within its TTL and not older than `max_age`.
        Fresh = "fresh",
        /// An answer is remembered whose TTL has ended, or that is older than `max_age`.
        Stale = "stale",
        /// The last answer is NXDOMAIN.
        Denied = "nxdomain",
        /// No answer is remembered that could be served.
        Missing = "missing",
    }
}

/// Whether the store gives an answer as fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// It does.
    Fresh,
    /// It does not: beyond its TTL, or overruled.
    Stale,
}

/// How a remembered answer stands.
#[must_use]
pub fn standing(entry: &Entry, given: Given, max_age: Duration, now: Timestamp) -> Standing {
    match (entry.kind, given) {
        (Kind::NxDomain, _) => Standing::Denied,
        (Kind::Positive | Kind::NoData, Given::Fresh) if now.since(entry.stored) <= max_age => Standing::Fresh,
        (Kind::Positive | Kind::NoData, Given::Fresh | Given::Stale) => Standing::Stale,
    }
}

/// When a remembered answer is to be asked for again; `chance` is any number.
#[must_use]
pub fn refresh_at(entry: &Entry, max_age: Duration, chance: u64) -> Timestamp {
    let ttl = entry.fresh_until.since(entry.stored);
    let life = if ttl.is_zero() { PAUSE_WITHOUT_TTL } else { ttl }.min(max_age);
    let window = life * WINDOW_PERCENT / 100;
    let permille = u32::try_from(chance % 1000).unwrap_or_default();
    let ahead = window - window / 1000 * permille / 2;
    entry.stored.plus(life.saturating_sub(ahead).max(PAUSE_MIN))
}

/// What is wrong with a critical name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CriticalTrouble {
    /// There has been no answer for longer than it may be old.
    TooOld,
    /// The name is said not to exist.
    Denied,
}

/// What is wrong now, with an answer that came (or was first missed) at `known`.
#[must_use]
pub fn trouble(standing: Standing, known: Timestamp, max_age: Duration, now: Timestamp) -> Option<CriticalTrouble> {
    match standing {
        Standing::Fresh => None,
        Standing::Denied => Some(CriticalTrouble::Denied),
        Standing::Stale | Standing::Missing => (now.since(known) > max_age).then_some(CriticalTrouble::TooOld),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::classify::classify;
    use crate::core::key::{Dnssec, Key};
    use crate::core::testing::{Response, name, policy};

    const HOUR: Duration = Duration::from_secs(3600);
    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn at(seconds: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(seconds))
    }

    fn entry(response: &[u8]) -> Entry {
        let key = Key::new(&name("db.example.com"), 1, 1, Dnssec::default());
        Entry::remember(&key, response, classify(1, response), &policy(), NOW).expect("an entry").entry
    }

    fn good(ttl: u32) -> Entry {
        entry(&Response::new("db.example.com", 1).a("db.example.com", ttl).bytes())
    }

    #[test]
    fn an_answer_is_refreshed_within_the_last_part_of_its_ttl() {
        let entry = good(100);
        let moments: Vec<Timestamp> = (0..1000).map(|chance| refresh_at(&entry, HOUR, chance)).collect();
        assert!(moments.iter().all(|moment| (at(85)..=at(93)).contains(moment)));
        assert!(
            moments.iter().max() > moments.iter().min().map(|first| first.plus(Duration::from_secs(7))).as_ref(),
            "spread"
        );
    }

    #[test]
    fn an_answer_is_refreshed_before_it_grows_too_old_whatever_its_ttl() {
        assert!(refresh_at(&good(3000), Duration::from_secs(60), 7) < at(60));
    }

    #[test]
    fn the_shortest_ttls_cost_a_packet_a_second_and_none_at_all_one_in_half_a_minute() {
        assert_eq!(refresh_at(&good(1), HOUR, 0), at(1));
        assert!(refresh_at(&good(0), HOUR, 0) > at(20));
    }

    #[test]
    fn a_chain_lives_as_long_as_its_shortest_link() {
        let chain = Response::new("db.example.com", 1)
            .cname("db.example.com", "a.example.com", 10)
            .a("a.example.com", 300)
            .bytes();
        assert!(refresh_at(&entry(&chain), HOUR, 0) < at(10));
    }

    #[test]
    fn each_standing_has_its_case() {
        let stands = |entry: &Entry, given, now| standing(entry, given, Duration::from_secs(100), now);
        assert_eq!(stands(&good(60), Given::Fresh, at(60)), Standing::Fresh);
        assert_eq!(stands(&good(60), Given::Stale, at(61)), Standing::Stale);
        assert_eq!(stands(&good(600), Given::Fresh, at(101)), Standing::Stale, "too old is not fresh");
        let response = || Response::new("db.example.com", 1).soa("example.com", 30, 30);
        assert_eq!(
            stands(&entry(&response().bytes()), Given::Fresh, at(1)),
            Standing::Fresh,
            "no such data is an answer"
        );
        assert_eq!(stands(&entry(&response().rcode(3).bytes()), Given::Fresh, at(1)), Standing::Denied);
    }

    #[test]
    fn what_is_stale_is_alarming_once_it_is_too_old() {
        let max_age = Duration::from_secs(100);
        assert_eq!(trouble(Standing::Stale, NOW, max_age, at(100)), None);
        assert_eq!(trouble(Standing::Stale, NOW, max_age, at(101)), Some(CriticalTrouble::TooOld));
        assert_eq!(trouble(Standing::Missing, NOW, max_age, at(101)), Some(CriticalTrouble::TooOld));
        assert_eq!(trouble(Standing::Denied, NOW, max_age, at(1)), Some(CriticalTrouble::Denied));
        assert_eq!(trouble(Standing::Fresh, NOW, max_age, at(1)), None);
    }
}
