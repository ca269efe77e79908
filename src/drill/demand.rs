//! The demand of a scenario: which names its clients ask for, how often, and how long they wait.
//!
//! Most scenarios ask for names that are known before the fault, as often as the operator chooses.
//! Where the promise is about names that nobody has asked for before, or depends on the rate of
//! queries, the scenario has a demand of its own.

use std::time::Duration;

use super::zone::{self, AppName, Domain, ZoneQuestion};
use crate::core::labelled::labelled;

/// Number of the first cold name, far beyond those of known names and of names that fill a cache.
const COLD_FROM: usize = 100_000_000;
/// Cold names of one seed; drills with other seeds ask for other names, because a resolver that is
/// not restarted between two drills may remember them.
const COLD_NAMES: usize = 1_000_000;
/// Seeds whose cold names differ.
const SEEDS: u64 = 1_000;

/// What the clients of a scenario ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Names that are asked for again and again, and are known before the fault.
    pub known: KnownNames,
    /// Share of the queries that ask for a name which nobody has asked for before, in percent.
    pub cold_percent: u32,
    /// Domain of the cold names.
    pub cold_domain: Domain,
    /// Most queries per second, however many the operator chooses.
    pub per_second_max: u32,
}

/// The known names of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownNames {
    /// As many names as the operator chooses, a few of them far more often than the others.
    Popular,
    /// As [`KnownNames::Popular`], and every tenth name is internal.
    PopularSomeInternal,
    /// So many names, all of them equally often, and only their IPv4 addresses. Every name has the
    /// same TTL.
    Even {
        /// Number of names.
        count: usize,
        /// TTL of all these names, in seconds: 1 to 30.
        ttl: u32,
    },
    /// None: clients only ask for cold names.
    None,
}

labelled! {
    /// Group of questions whose answers are counted apart.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum QuestionGroup {
        /// Questions that are known before the fault, and that the fault does not concern.
        Known = "known",
        /// Questions that are known before the fault, and of the kind that the fault concerns,
        /// such as those about names of one zone.
        Affected = "affected",
        /// Questions about names that nobody has asked for before.
        Cold = "cold",
    }
}

/// Patience of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Time for which the client waits for a response to one attempt.
    pub timeout: Duration,
    /// Number of attempts.
    pub attempts: u16,
}

impl Patience {
    /// `options timeout:1 attempts:2`, which is common in the field.
    pub const SHORT: Self = Self { timeout: Duration::from_secs(1), attempts: 2 };
    /// Five seconds, after which glibc, musl and Go give up their first attempt by default.
    pub const LONG: Self = Self { timeout: RESOLVED_WITHIN, attempts: 1 };
}

/// Time within which a cold name has to be resolved: the patience of a client with default options.
pub const RESOLVED_WITHIN: Duration = Duration::from_secs(5);

impl Demand {
    /// The demand of most scenarios: popular names, as often as the operator chooses.
    pub const USUAL: Self =
        Self { known: KnownNames::Popular, cold_percent: 0, cold_domain: Domain::Public, per_second_max: u32::MAX };

    /// Number of known names, of which the operator chose `chosen`.
    #[must_use]
    pub const fn known_names(self, chosen: usize) -> usize {
        match self.known {
            KnownNames::Popular | KnownNames::PopularSomeInternal => chosen,
            KnownNames::Even { count, .. } => count,
            KnownNames::None => 0,
        }
    }

    /// Questions that clients ask about the known name of this rank; rank 0 is asked for most.
    #[must_use]
    pub fn known_questions(self, rank: usize) -> Vec<ZoneQuestion> {
        match self.known {
            KnownNames::Popular | KnownNames::None => zone::questions(AppName::public(rank)),
            KnownNames::PopularSomeInternal if rank % 10 == 2 => {
                zone::questions(AppName { index: rank, domain: Domain::Internal })
            }
            KnownNames::PopularSomeInternal => zone::questions(AppName::public(rank)),
            KnownNames::Even { ttl, .. } => {
                let name = AppName::public(zone::index_with_ttl(ttl, rank));
                vec![ZoneQuestion::new(name.text(), zone::AddressType::A)]
            }
        }
    }

    /// Weight of the known name of this rank among all known names.
    #[must_use]
    pub fn weight(self, rank: usize) -> f64 {
        match self.known {
            // Zipf's law: the weight of a name is 1 divided by its position, which begins with 1.
            KnownNames::Popular | KnownNames::PopularSomeInternal | KnownNames::None => {
                1.0 / (1.0 + f64::from(u32::try_from(rank).unwrap_or(u32::MAX)))
            }
            KnownNames::Even { .. } => 1.0,
        }
    }

    /// Question about a cold name: the address of the name with this number in a drill with this
    /// seed.
    #[must_use]
    pub fn cold_question(self, nth: usize, seed: u64) -> ZoneQuestion {
        let block = usize::try_from(seed % SEEDS).unwrap_or_default();
        let index = COLD_FROM + block * COLD_NAMES + nth % COLD_NAMES;
        ZoneQuestion::new(AppName { index, domain: self.cold_domain }.text(), zone::AddressType::A)
    }
}

/// Whether a name is one of the cold names.
#[must_use]
pub const fn is_cold(name: AppName) -> bool {
    name.index >= COLD_FROM
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::zone::{AddressType, ExpectedAnswer};

    #[test]
    fn cold_names_are_unique_and_no_other_client_asks_for_them() {
        let demand = Demand { cold_percent: 10, ..Demand::USUAL };
        let names: std::collections::BTreeSet<String> =
            (0..3).flat_map(|seed| (0..100).map(move |nth| demand.cold_question(nth, seed).name)).collect();
        assert_eq!(names.len(), 300);
        assert!(names.iter().all(|name| is_cold(AppName::read(name).unwrap())), "{names:?}");
        assert!(!is_cold(AppName::public(10_000)));
    }

    #[test]
    fn even_names_differ_and_have_one_ttl() {
        let demand = Demand { known: KnownNames::Even { count: 400, ttl: 6 }, ..Demand::USUAL };
        let questions: Vec<ZoneQuestion> = (0..400).flat_map(|rank| demand.known_questions(rank)).collect();
        let names: std::collections::BTreeSet<&str> = questions.iter().map(|question| &*question.name).collect();
        assert_eq!((questions.len(), names.len()), (400, 400));
        assert!(questions.iter().all(|question| question.rtype == AddressType::A
            && matches!(question.expected, ExpectedAnswer::Address { ttl: 6, .. })));
    }

    #[test]
    fn every_tenth_name_is_internal_where_the_scenario_needs_such_names() {
        let demand = Demand { known: KnownNames::PopularSomeInternal, ..Demand::USUAL };
        let internal = |rank| {
            let questions = demand.known_questions(rank);
            questions.iter().all(|question| question.name.ends_with(".internal.test"))
        };
        assert_eq!((0..30).filter(|rank| internal(*rank)).collect::<Vec<_>>(), [2, 12, 22]);
    }
}
