//! The promises that holdover has to keep under a fault, each with its measurement, bound and text,
//! and which of them hold in which scenario.
//!
//! A promise is data: the verdict measures it, and leaves it out if the run cannot test it.
//!
//! The texts are part of the drill's output: an operator reads them, and scripts find a check by
//! them in the JSON document.

use std::time::Duration;

use super::demand::{QuestionGroup, RESOLVED_WITHIN};
use super::fault::Scenario;
use super::measure::{Half, IN_TIME, SETTLED};
use super::zone_clock::MOVE_GRACE;
use crate::config::limits;

/// A promise with its bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Promise {
    /// At least this share of the queries for known names that are due during the fault is answered
    /// in time, and none of them wrongly.
    KnownNamesInTime {
        /// Smallest share, in percent.
        percent: f64,
    },
    /// At least this share of the queries that are due during the fault is answered, and clients
    /// get the NXDOMAIN that the upstream gives.
    NxDomainObeyed {
        /// Smallest share, in percent.
        percent: f64,
    },
    /// Every query for a known name that is due during the fault is answered, however long that
    /// takes.
    NoneUnanswered,
    /// The sidecar that was killed and started again answers this soon after its start.
    BackAfterKill {
        /// Longest time from the start to the first answer.
        within: Duration,
    },
    /// A new instance that knows nothing but the shared cache answers at least this share of the
    /// queries during the fault in time, and none of them wrongly.
    NewcomerInTime {
        /// Smallest share, in percent.
        percent: f64,
    },
    /// No answer is stale while the upstream is healthy.
    NoStaleWhileHealthy,
    /// The upstream receives at most this many packets in any one second.
    PacketsPerSecond {
        /// Largest number of packets in one second.
        at_most: u32,
    },
    /// Answers are fresh again this soon after the heal.
    FreshAfterHeal {
        /// Longest time from the heal.
        within: Duration,
    },
    /// At least this share of the queries about known names of the kind that the fault concerns,
    /// and that are due during the fault, is answered in time, and none of them wrongly.
    AffectedInTime {
        /// Smallest share, in percent.
        percent: f64,
        /// The questions that the fault concerns, in words.
        questions: &'static str,
    },
    /// Every query that is due during the fault or after it is answered in time, and none wrongly.
    AllInTime,
    /// No answer about known names that the fault does not concern is stale, at any time.
    NoneStaleOfOthers {
        /// The questions that the fault does not concern, in words.
        questions: &'static str,
    },
    /// No name of this kind is denied or answered in another wrong way, at any time.
    NoneDenied {
        /// The groups of these names.
        groups: [QuestionGroup; 2],
    },
    /// No client gets an address from before the names moved, once it has expired.
    NoneGoesBack,
    /// The sidecar announces no outage of its upstream.
    NoOutage {
        /// The time in which none is announced.
        when: OutageSpan,
    },
    /// At least this share of the queries for cold names that are due during the fault gets the
    /// right answer before the client gives up.
    ColdNamesResolve {
        /// The part of the fault in which the queries are due.
        part: FaultPart,
        /// Smallest share, in percent.
        percent: f64,
    },
    /// Half of the queries for cold names that are due during the fault take at most this long.
    ColdMedian {
        /// Longest time.
        within: Duration,
    },
    /// The upstream receives at most this many packets in any one second after the heal.
    PacketsAfterHeal {
        /// Largest number of packets in one second.
        at_most: u32,
    },
    /// Every query for a critical name is answered in time during the flood, although nobody had
    /// asked for the name before.
    CriticalNamesInTime,
    /// The flood neither empties the cache nor makes it grow beyond its bound.
    CacheStaysFull {
        /// Largest number of answers in the cache.
        bound: CacheBound,
    },
    /// Resident memory of the whole process grows by at most this much during the flood.
    MemoryBounded {
        /// Largest growth, in bytes.
        growth_max: u64,
    },
    /// At least this share of the flood's queries is answered, in whatever way.
    FloodAnswered {
        /// Smallest share, in percent.
        percent: f64,
    },
}

/// The time in which outages are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutageSpan {
    /// The whole run.
    WholeRun,
    /// The time after the heal.
    AfterHeal,
}

/// A part of the fault, with its description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultPart {
    /// The whole fault.
    Whole,
    /// One half of the fault, in which the given share of packets is lost.
    Half {
        /// Which half.
        half: Half,
        /// Share of packets that is lost, in percent.
        loss_percent: u32,
    },
}

/// Most answers that the cache of the sidecar under test may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheBound {
    /// Answers without those for critical names.
    pub entries: u64,
    /// Answers for critical names, which are kept beside the others.
    pub critical: u64,
}

/// Nearly all known names are answered in time, whatever the upstream does.
pub const KNOWN_NAMES_IN_TIME: Promise = Promise::KnownNamesInTime { percent: 99.99 };
/// Every query is answered, and an NXDOMAIN of the upstream is passed on.
pub const NXDOMAIN_OBEYED: Promise = Promise::NxDomainObeyed { percent: 99.99 };
/// No known name is left without an answer.
pub const NONE_UNANSWERED: Promise = Promise::NoneUnanswered;
/// A sidecar that was killed is back soon.
pub const BACK_AFTER_KILL: Promise = Promise::BackAfterKill { within: Duration::from_millis(50) };
/// A new instance answers from the shared cache. Not everything: a negative response is published
/// only once it was asked for again.
pub const NEWCOMER_IN_TIME: Promise = Promise::NewcomerInTime { percent: 95.0 };
/// Stale answers are for outages only.
pub const NO_STALE_WHILE_HEALTHY: Promise = Promise::NoStaleWhileHealthy;
/// The sidecar stays within the packet budget of the default settings, with which the drill runs.
pub const WITHIN_PACKET_BUDGET: Promise = Promise::PacketsPerSecond { at_most: limits::BUDGET_PER_SECOND.default };
/// After a heal that took its time, answers are fresh again at its end: most names were refreshed
/// on the way.
pub const FRESH_AFTER_GRADUAL_HEAL: Promise = Promise::FreshAfterHeal { within: Duration::from_secs(5) };
/// Answers are fresh again soon after the heal.
pub const FRESH_AFTER_HEAL: Promise = Promise::FreshAfterHeal { within: SETTLED };
/// Critical names are answered in time, whatever floods the cache.
pub const CRITICAL_NAMES_IN_TIME: Promise = Promise::CriticalNamesInTime;
/// A flood costs little memory: in the sidecar as many waiting clients and resolutions as the
/// budget allows (4096 and 1000), some 4 KiB each, and in the drill itself two seconds of clients
/// that ask the upstream directly and get no answer.
pub const MEMORY_BOUNDED: Promise = Promise::MemoryBounded { growth_max: 32 << 20 };
/// Nearly all queries of the flood are answered; the others may be lost on the way, as datagrams
/// are.
pub const FLOOD_ANSWERED: Promise = Promise::FloodAnswered { percent: 95.0 };

/// Names of other zones than the dead one are fresh.
pub const NONE_STALE_OUTSIDE_ZONE: Promise = Promise::NoneStaleOfOthers { questions: "names of other zones" };
/// Names of the dead zone are answered from memory, and soon.
pub const DEAD_ZONE_IN_TIME: Promise =
    Promise::AffectedInTime { percent: 99.99, questions: "known names of the dead zone" };
/// Addresses of the type that is not lost are fresh.
pub const NONE_STALE_OF_OTHER_TYPES: Promise = Promise::NoneStaleOfOthers { questions: "IPv4 addresses" };
/// Addresses of the type that is lost are answered from memory, and soon.
pub const LOST_TYPE_IN_TIME: Promise = Promise::AffectedInTime { percent: 99.99, questions: "known IPv6 addresses" };
/// Names that everybody asks for stay fresh while cold names are slow.
pub const NONE_STALE_OF_KNOWN_NAMES: Promise = Promise::NoneStaleOfOthers { questions: "known names" };
/// No internal name, known or cold, is denied because an upstream that does not know it was
/// quicker.
pub const NO_INTERNAL_NAME_DENIED: Promise =
    Promise::NoneDenied { groups: [QuestionGroup::Affected, QuestionGroup::Cold] };
/// Names that have moved stay where they are, whatever the upstream says now and then.
pub const NONE_GOES_BACK: Promise = Promise::NoneGoesBack;
/// Trouble of one zone, one type or a few names is no outage of the upstream.
pub const NO_OUTAGE: Promise = Promise::NoOutage { when: OutageSpan::WholeRun };
/// An outage that is over is not announced.
pub const NO_OUTAGE_AFTER_HEAL: Promise = Promise::NoOutage { when: OutageSpan::AfterHeal };
/// Every cold name is resolved.
pub const COLD_NAMES_RESOLVE: Promise = Promise::ColdNamesResolve { part: FaultPart::Whole, percent: 100.0 };
/// Nearly every cold name is resolved though three of ten packets are lost.
pub const COLD_NAMES_RESOLVE_AT_30_PERCENT_LOSS: Promise =
    Promise::ColdNamesResolve { part: FaultPart::Half { half: Half::First, loss_percent: 30 }, percent: 99.5 };
/// Nearly every cold name is resolved though half of all packets are lost.
pub const COLD_NAMES_RESOLVE_AT_50_PERCENT_LOSS: Promise =
    Promise::ColdNamesResolve { part: FaultPart::Half { half: Half::Second, loss_percent: 50 }, percent: 99.0 };
/// Most cold names need one packet. A round trip on loopback takes 1 to 2 ms, and a busy host adds
/// some.
pub const COLD_MEDIAN: Promise = Promise::ColdMedian { within: Duration::from_millis(20) };
/// Answers are fresh at the first query that comes three seconds after the heal, even if there is
/// only one query per second.
pub const FRESH_AT_ONCE: Promise = Promise::FreshAfterHeal { within: Duration::from_secs(3) };
/// Every query is answered in time before, while and after the upstream comes back.
pub const ALL_IN_TIME: Promise = Promise::AllInTime;
/// A recovery is no new flood: at most 100 packets per second for the names in use, and ten for
/// probes and the inaccuracy of the measurement.
pub const CONSIDERATE_RECOVERY: Promise = Promise::PacketsAfterHeal { at_most: 110 };
/// 400 names in use become fresh one after the other.
pub const FRESH_AFTER_CONSIDERATE_RECOVERY: Promise = Promise::FreshAfterHeal { within: Duration::from_secs(15) };

impl Scenario {
    /// Promises that holdover has to keep under this scenario, in the order of the report. `cache`
    /// bounds the cache of the sidecar under test.
    #[must_use]
    pub fn expects(self, cache: CacheBound) -> Vec<Promise> {
        match self {
            Self::Blackhole | Self::Refused | Self::Servfail | Self::Loss | Self::Slow | Self::Flap => {
                vec![KNOWN_NAMES_IN_TIME, NO_STALE_WHILE_HEALTHY, WITHIN_PACKET_BUDGET, FRESH_AFTER_HEAL]
            }
            Self::Seoul => {
                vec![KNOWN_NAMES_IN_TIME, NO_STALE_WHILE_HEALTHY, WITHIN_PACKET_BUDGET, FRESH_AFTER_GRADUAL_HEAL]
            }
            // Fresh answers soon after the heal are not promised: the NXDOMAIN responses of the
            // fault stay in the cache for their TTL of 30 s.
            Self::Nxdomain => {
                vec![NXDOMAIN_OBEYED, NO_STALE_WHILE_HEALTHY, WITHIN_PACKET_BUDGET]
            }
            Self::Restart => vec![
                KNOWN_NAMES_IN_TIME,
                BACK_AFTER_KILL,
                NEWCOMER_IN_TIME,
                NO_STALE_WHILE_HEALTHY,
                WITHIN_PACKET_BUDGET,
                FRESH_AFTER_HEAL,
            ],
            Self::Flood => vec![
                KNOWN_NAMES_IN_TIME,
                NONE_UNANSWERED,
                NO_STALE_WHILE_HEALTHY,
                WITHIN_PACKET_BUDGET,
                FRESH_AFTER_HEAL,
                CRITICAL_NAMES_IN_TIME,
                Promise::CacheStaysFull { bound: cache },
                MEMORY_BOUNDED,
                FLOOD_ANSWERED,
            ],
            Self::Zone => {
                vec![NONE_STALE_OUTSIDE_ZONE, DEAD_ZONE_IN_TIME, KNOWN_NAMES_IN_TIME, NO_OUTAGE, WITHIN_PACKET_BUDGET]
            }
            Self::Type => {
                vec![NONE_STALE_OF_OTHER_TYPES, LOST_TYPE_IN_TIME, KNOWN_NAMES_IN_TIME, NO_OUTAGE, WITHIN_PACKET_BUDGET]
            }
            Self::FlipBack => vec![NONE_GOES_BACK, KNOWN_NAMES_IN_TIME, NO_OUTAGE, WITHIN_PACKET_BUDGET],
            Self::SlowAuthority => vec![
                COLD_NAMES_RESOLVE,
                NONE_STALE_OF_KNOWN_NAMES,
                KNOWN_NAMES_IN_TIME,
                NO_OUTAGE,
                WITHIN_PACKET_BUDGET,
            ],
            Self::Views => {
                vec![NO_INTERNAL_NAME_DENIED, COLD_NAMES_RESOLVE, KNOWN_NAMES_IN_TIME, NO_OUTAGE, WITHIN_PACKET_BUDGET]
            }
            Self::ColdLoss => vec![
                COLD_NAMES_RESOLVE_AT_30_PERCENT_LOSS,
                COLD_NAMES_RESOLVE_AT_50_PERCENT_LOSS,
                COLD_MEDIAN,
                WITHIN_PACKET_BUDGET,
            ],
            Self::LowRate => {
                vec![FRESH_AT_ONCE, NO_OUTAGE_AFTER_HEAL, KNOWN_NAMES_IN_TIME]
            }
            Self::Recovery => {
                vec![ALL_IN_TIME, CONSIDERATE_RECOVERY, FRESH_AFTER_CONSIDERATE_RECOVERY]
            }
        }
    }
}

impl Promise {
    /// The promise as reports print it.
    #[must_use]
    pub fn text(self) -> String {
        let in_time = IN_TIME.as_millis();
        match self {
            Self::KnownNamesInTime { percent } => format!(
                "during the fault at least {percent} % of all queries for known names are answered within {in_time} ms"
            ),
            Self::NxDomainObeyed { .. } => "every query is answered, and a denial is obeyed (hold is off)".to_owned(),
            Self::NoneUnanswered => "none of them is left without an answer".to_owned(),
            Self::BackAfterKill { within } => {
                format!("killed and started again, it answers within {} ms of its start", within.as_millis())
            }
            Self::NewcomerInTime { percent } => {
                format!("a new, empty instance answers from the shared cache at least {percent} % within {in_time} ms")
            }
            Self::NoStaleWhileHealthy => "no stale answer while the upstream is healthy".to_owned(),
            Self::PacketsPerSecond { at_most } => format!("at most {at_most} packets a second upstream"),
            Self::FreshAfterHeal { within } => format!("fresh again within {} s of the heal", within.as_secs()),
            Self::AffectedInTime { percent, questions } => format!(
                "during the fault at least {percent} % of all queries for {questions} are answered within {in_time} ms"
            ),
            Self::AllInTime => {
                format!("during the fault and after it all queries are answered within {in_time} ms")
            }
            Self::NoneStaleOfOthers { questions } => format!("no stale answer for {questions}"),
            Self::NoneGoesBack => format!(
                "no client gets an address from before the move later than {} s after its TTL",
                MOVE_GRACE.as_secs()
            ),
            Self::NoneDenied { .. } => "no internal name is denied".to_owned(),
            Self::NoOutage { when: OutageSpan::WholeRun } => "no outage is announced".to_owned(),
            Self::NoOutage { when: OutageSpan::AfterHeal } => "no outage is announced after the heal".to_owned(),
            Self::ColdNamesResolve { part, percent } => {
                let when = match part {
                    FaultPart::Whole => "during the fault".to_owned(),
                    FaultPart::Half { loss_percent, .. } => format!("at {loss_percent} % loss"),
                };
                let seconds = RESOLVED_WITHIN.as_secs();
                format!("{when} at least {percent} % of all unknown names are resolved within {seconds} s")
            }
            Self::ColdMedian { within } => {
                format!("half of all unknown names are resolved within {} ms", within.as_millis())
            }
            Self::PacketsAfterHeal { at_most } => format!("at most {at_most} packets a second upstream after the heal"),
            Self::CriticalNamesInTime => format!(
                "critical names that nobody had asked for are all answered within {in_time} ms while the flood lasts"
            ),
            Self::CacheStaysFull { bound } => {
                format!("the cache stays full and within its bound of {} answers and the critical ones", bound.entries)
            }
            Self::MemoryBounded { growth_max } => {
                format!("resident memory, all of the drill's own included, grows by at most {}", mebibytes(growth_max))
            }
            Self::FloodAnswered { percent } => {
                format!("of the flood at least {percent} % are answered, be it with SERVFAIL")
            }
        }
    }
}

/// A number of bytes in MiB, for reports.
pub(super) fn mebibytes(bytes: u64) -> String {
    format!("{}.{} MiB", bytes >> 20, ((bytes % (1 << 20)) * 10) >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The promises of a scenario, one a line.
    fn promises(scenario: Scenario) -> String {
        let cache = CacheBound { entries: 945, critical: 16 };
        let texts: Vec<String> = scenario.expects(cache).iter().map(|promise| promise.text()).collect();
        texts.join("\n")
    }

    #[test]
    fn every_scenario_promises_what_is_fixed_for_it() {
        let outage = "during the fault at least 99.99 % of all queries for known names are answered within 250 ms\n\
                      no stale answer while the upstream is healthy\n\
                      at most 900 packets a second upstream\n\
                      fresh again within 15 s of the heal";
        for scenario in
            [Scenario::Blackhole, Scenario::Refused, Scenario::Servfail, Scenario::Loss, Scenario::Slow, Scenario::Flap]
        {
            assert_eq!(promises(scenario), outage);
        }
        assert_eq!(promises(Scenario::Seoul), outage.replace("15 s", "5 s"));
        assert_eq!(
            promises(Scenario::Nxdomain),
            "every query is answered, and a denial is obeyed (hold is off)\n\
             no stale answer while the upstream is healthy\n\
             at most 900 packets a second upstream"
        );
        assert_eq!(
            promises(Scenario::Restart),
            "during the fault at least 99.99 % of all queries for known names are answered within 250 ms\n\
             killed and started again, it answers within 50 ms of its start\n\
             a new, empty instance answers from the shared cache at least 95 % within 250 ms\n\
             no stale answer while the upstream is healthy\n\
             at most 900 packets a second upstream\n\
             fresh again within 15 s of the heal"
        );
        assert_eq!(
            promises(Scenario::Flood),
            "during the fault at least 99.99 % of all queries for known names are answered within 250 ms\n\
             none of them is left without an answer\n\
             no stale answer while the upstream is healthy\n\
             at most 900 packets a second upstream\n\
             fresh again within 15 s of the heal\n\
             critical names that nobody had asked for are all answered within 250 ms while the flood lasts\n\
             the cache stays full and within its bound of 945 answers and the critical ones\n\
             resident memory, all of the drill's own included, grows by at most 32.0 MiB\n\
             of the flood at least 95 % are answered, be it with SERVFAIL"
        );
    }

    #[test]
    fn faults_of_a_part_promise_that_everything_else_is_fresh() {
        assert_eq!(
            promises(Scenario::Zone),
            "no stale answer for names of other zones\n\
             during the fault at least 99.99 % of all queries for known names of the dead zone are answered \
             within 250 ms\n\
             during the fault at least 99.99 % of all queries for known names are answered within 250 ms\n\
             no outage is announced\n\
             at most 900 packets a second upstream"
        );
        assert_eq!(
            promises(Scenario::Type),
            "no stale answer for IPv4 addresses\n\
             during the fault at least 99.99 % of all queries for known IPv6 addresses are answered within 250 ms\n\
             during the fault at least 99.99 % of all queries for known names are answered within 250 ms\n\
             no outage is announced\n\
             at most 900 packets a second upstream"
        );
        assert_eq!(
            promises(Scenario::SlowAuthority),
            "during the fault at least 100 % of all unknown names are resolved within 5 s\n\
             no stale answer for known names\n\
             during the fault at least 99.99 % of all queries for known names are answered within 250 ms\n\
             no outage is announced\n\
             at most 900 packets a second upstream"
        );
        assert_eq!(
            promises(Scenario::Views),
            "no internal name is denied\n\
             during the fault at least 100 % of all unknown names are resolved within 5 s\n\
             during the fault at least 99.99 % of all queries for known names are answered within 250 ms\n\
             no outage is announced\n\
             at most 900 packets a second upstream"
        );
    }

    #[test]
    fn names_that_have_moved_are_promised_to_stay() {
        assert_eq!(
            promises(Scenario::FlipBack),
            "no client gets an address from before the move later than 1 s after its TTL\n\
             during the fault at least 99.99 % of all queries for known names are answered within 250 ms\n\
             no outage is announced\n\
             at most 900 packets a second upstream"
        );
    }

    #[test]
    fn losses_low_rates_and_recoveries_have_promises_of_their_own() {
        assert_eq!(
            promises(Scenario::ColdLoss),
            "at 30 % loss at least 99.5 % of all unknown names are resolved within 5 s\n\
             at 50 % loss at least 99 % of all unknown names are resolved within 5 s\n\
             half of all unknown names are resolved within 20 ms\n\
             at most 900 packets a second upstream"
        );
        assert_eq!(
            promises(Scenario::LowRate),
            "fresh again within 3 s of the heal\n\
             no outage is announced after the heal\n\
             during the fault at least 99.99 % of all queries for known names are answered within 250 ms"
        );
        assert_eq!(
            promises(Scenario::Recovery),
            "during the fault and after it all queries are answered within 250 ms\n\
             at most 110 packets a second upstream after the heal\n\
             fresh again within 15 s of the heal"
        );
    }
}
