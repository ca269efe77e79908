//! The promises that holdover has to keep under a fault, each with its measurement, bound and text.
//!
//! Which promises a scenario makes is decided by [`Scenario::expects`](super::fault::Scenario);
//! here are the promises to choose from. A promise is data: the verdict measures it, and leaves it
//! out if the run cannot test it.
//!
//! The texts are part of the drill's output: an operator reads them, and scripts find a check by
//! them in the JSON document.

use std::time::Duration;

use super::measure::{IN_TIME, SETTLED};
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
