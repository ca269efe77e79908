//! Critical names, which must never be missing: when they are refreshed, and in which state each
//! is.
//!
//! A critical name is refreshed in the last part of its TTL although no client asks for it, and
//! early enough that its answer never becomes older than `max_age`. The moment is drawn at random
//! within that part, so that sidecars that started together do not go on asking together.
//!
//! | remembered | standing |
//! |---|---|
//! | data or NODATA, given as fresh by the store and not older than `max_age` | fresh |
//! | any other data or NODATA that may be served | stale |
//! | NXDOMAIN that may be served | denied |
//! | nothing that may be served | missing |
//!
//! The last row is decided by the caller, who has no entry then. A chain of CNAMEs is one answer,
//! whose shortest TTL counts (see [`super::classify`]).
//!
//! Sending the queries and raising the alarm are the resolver's part.

use std::time::Duration;

use super::classify::Kind;
use super::entry::Entry;
use super::key::{Dnssec, Key};
use super::labelled::labelled;
use super::message::CLASS_IN;
use super::policy::CriticalName;
use super::time::Timestamp;

/// The last part of an answer's life in which it is refreshed, in percent.
const WINDOW_PERCENT: u32 = 15;
/// The shortest time between two refreshes, which is that of a TTL of 1 s.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The time between two refreshes of a name whose answers have TTL 0: they serve in outages only,
/// and each costs a packet.
const PAUSE_WITHOUT_TTL: Duration = Duration::from_secs(30);

labelled! {
    /// The state of one critical name and type.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum Standing {
        /// There is an answer within its TTL that is not too old.
        Fresh = "fresh",
        /// There is an answer, but it is beyond its TTL or too old.
        Stale = "stale",
        /// The last answer says that the name does not exist.
        Denied = "nxdomain",
        /// There is no answer that could be served.
        Missing = "missing",
    }
}

/// The key of every critical name and type, as most clients ask for it (without DO and CD), with
/// the age that its answer may reach.
pub fn watched_keys(names: &[CriticalName]) -> impl Iterator<Item = (Key, Duration)> {
    names.iter().flat_map(|name| {
        name.types.iter().map(|rtype| (Key::new(&name.name, *rtype, CLASS_IN, Dnssec::default()), name.max_age))
    })
}

/// The keys that are never evicted: those of critical names with every combination of DO and CD,
/// since clients may ask for them with any.
#[must_use]
pub fn pinned_keys(names: &[CriticalName]) -> Vec<Key> {
    let services = [(false, false), (true, false), (false, true), (true, true)];
    let services = services.map(|(dnssec_ok, checking_disabled)| Dnssec { dnssec_ok, checking_disabled });
    let in_each = |key: &Key| services.map(|service| Key::new(key.name(), key.qtype(), CLASS_IN, service));
    watched_keys(names).flat_map(|(key, _)| in_each(&key)).collect()
}

/// Whether clients are given a remembered answer as fresh or as stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServedAs {
    /// The answer is within its TTL and not overruled by a later one.
    Fresh,
    /// The answer is beyond its TTL, or overruled by a later one.
    Stale,
}

/// The state of a critical name of which `entry` is remembered.
#[must_use]
pub fn standing(entry: &Entry, served_as: ServedAs, max_age: Duration, now: Timestamp) -> Standing {
    match (entry.kind, served_as) {
        (Kind::NxDomain, ServedAs::Fresh | ServedAs::Stale) => Standing::Denied,
        (Kind::Positive | Kind::NoData, ServedAs::Fresh) if now.since(entry.stored) <= max_age => Standing::Fresh,
        (Kind::Positive | Kind::NoData, ServedAs::Fresh | ServedAs::Stale) => Standing::Stale,
    }
}

/// The moment at which the name of a remembered answer is asked for again.
///
/// `chance` is a random number that spreads the moment over the first half of the window in which
/// answers are refreshed, so that the second half is left for a resolution that takes its time.
#[must_use]
pub fn refresh_at(entry: &Entry, max_age: Duration, chance: u64) -> Timestamp {
    let ttl = entry.fresh_until.since(entry.stored);
    let life = if ttl.is_zero() { PAUSE_WITHOUT_TTL } else { ttl }.min(max_age);
    let window = life * WINDOW_PERCENT / 100;
    let permille = u32::try_from(chance % 1000).unwrap_or_default();
    let ahead = window - window / 1000 * permille / 2;
    entry.stored.plus(life.saturating_sub(ahead).max(PAUSE_MIN))
}

/// A reason to raise an alarm about a critical name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CriticalTrouble {
    /// The remembered answer is older than `max_age`, or has been missing for that long.
    TooOld,
    /// Upstream says that the name does not exist.
    Denied,
}

/// The reason to raise an alarm about a critical name now, if there is one.
///
/// `known` is the time at which the remembered answer came or, while there is none, at which it was
/// first missed.
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
    use crate::core::testing::{Response, name, policy};

    fn names() -> Vec<CriticalName> {
        vec![CriticalName { name: name("db.example.com").into(), types: vec![1, 28], max_age: Duration::from_secs(60) }]
    }

    #[test]
    fn each_name_and_type_is_asked_for_once_and_pinned_in_every_service() {
        let watched: Vec<_> = watched_keys(&names()).map(|(key, _)| key.to_string()).collect();
        assert_eq!(watched, ["db.example.com. A", "db.example.com. AAAA"]);
        let pinned = pinned_keys(&names());
        let different: std::collections::HashSet<&[u8]> = pinned.iter().map(Key::as_bytes).collect();
        assert_eq!((pinned.len(), different.len()), (8, 8));
        assert!(watched_keys(&names()).all(|(key, _)| pinned.contains(&key)));
    }

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
        let stands = |entry: &Entry, served_as, now| standing(entry, served_as, Duration::from_secs(100), now);
        assert_eq!(stands(&good(60), ServedAs::Fresh, at(60)), Standing::Fresh);
        assert_eq!(stands(&good(60), ServedAs::Stale, at(61)), Standing::Stale);
        assert_eq!(stands(&good(600), ServedAs::Fresh, at(101)), Standing::Stale, "too old is not fresh");
        let response = || Response::new("db.example.com", 1).soa("example.com", 30, 30);
        assert_eq!(
            stands(&entry(&response().bytes()), ServedAs::Fresh, at(1)),
            Standing::Fresh,
            "no such data is an answer"
        );
        assert_eq!(stands(&entry(&response().rcode(3).bytes()), ServedAs::Fresh, at(1)), Standing::Denied);
    }

    #[test]
    fn a_stale_answer_is_alarming_once_it_is_too_old() {
        let max_age = Duration::from_secs(100);
        assert_eq!(trouble(Standing::Stale, NOW, max_age, at(100)), None);
        assert_eq!(trouble(Standing::Stale, NOW, max_age, at(101)), Some(CriticalTrouble::TooOld));
        assert_eq!(trouble(Standing::Missing, NOW, max_age, at(101)), Some(CriticalTrouble::TooOld));
        assert_eq!(trouble(Standing::Denied, NOW, max_age, at(1)), Some(CriticalTrouble::Denied));
        assert_eq!(trouble(Standing::Fresh, NOW, max_age, at(1)), None);
    }
}
