//! The explanation of one name: what is remembered of it, who is asked for it and in what state
//! they are, what a query for it gets now, and what it would get in an outage.
//!
//! The fields are the keys of the JSON of `/explain` and `holdover explain --json`, with the same
//! promises as those of a [`Reading`](super::Reading); `config/ADMIN.md` lists them. The text for
//! people ([`text`]) is written by the sidecar as well, so that command and sidecar need not be of
//! the same version.

mod text;

use serde::Serialize;

use super::{ChargeReading, CriticalReading};
use crate::core::classify::Kind;
use crate::core::labelled::labelled;

labelled! {
    /// What a query gets, as far as can be foreseen.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Foreseen {
        /// An answer for which no upstream is ever asked.
        Local = "local",
        /// The remembered answer, which is within its TTL.
        Fresh = "fresh",
        /// The remembered answer, or what is nearest, marked as stale, at once.
        Stale = "stale",
        /// The answer of an upstream if that comes in time, else the stale one.
        RefreshedElseStale = "refreshed_else_stale",
        /// The answer of an upstream, for which the client waits.
        Resolved = "resolved",
        /// The answer of a fallback upstream or of the shared cache, if they have one.
        ResolvedElsewhere = "resolved_elsewhere",
        /// SERVFAIL at once, because a resolution failed a moment ago.
        CachedFailure = "cached_failure",
        /// SERVFAIL after a short wait.
        Failed = "failed",
    }
}

/// The explanation of one name.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Explanation {
    /// The name in lower case, with a dot at its end.
    pub name: String,
    /// The longest zone with upstreams of its own that holds the name; `.` when none does.
    pub zone: String,
    /// The best state among the primary upstreams of that zone: `healthy`, `impaired` or `down`.
    pub availability: String,
    /// Time since the present outage of the zone began, in seconds; `null` without one.
    pub outage_seconds: Option<f64>,
    /// The upstreams of that zone, primaries in their configured order, then fallbacks.
    pub upstreams: Vec<ExplainedUpstream>,
    /// Whether a shared cache is asked when upstreams have no answer.
    pub shared_cache: bool,
    /// One explanation for each type, for queries without DO and CD.
    pub questions: Vec<ExplainedQuestion>,
}

impl Explanation {
    /// Leaves out the records of all answers, for those who may not read what is cached.
    pub fn leave_out_records(&mut self) {
        self.questions.iter_mut().filter_map(|own| own.remembered.as_mut()).for_each(|own| own.records.clear());
    }
}

/// One upstream of the name.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ExplainedUpstream {
    /// Name and address of the upstream, such as `vpc@192.0.2.2:53`.
    pub upstream: String,
    /// `primary` or `fallback`.
    pub role: &'static str,
    /// State of the upstream: `healthy`, `impaired` or `down`.
    pub state: &'static str,
    /// Time since the state last changed, in seconds; `null` when it has not since the start.
    pub state_age_seconds: Option<f64>,
    /// What the state comes from, in words; empty while the upstream is healthy.
    pub evidence: String,
    /// Whether the upstream is not used because it sends holdover's own queries back.
    pub looping: bool,
    /// 99th percentile of its round-trip times, in seconds; `null` before its first answers.
    pub rtt_p99_seconds: Option<f64>,
}

/// The explanation of one type of the name.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ExplainedQuestion {
    /// The type, such as `AAAA`.
    #[serde(rename = "type")]
    pub rtype: String,
    /// Why no upstream is asked: `hosts_file`, `special_use`, or `null` when one is.
    pub local: Option<&'static str>,
    /// The answer that is remembered and counts; `null` without one.
    pub remembered: Option<RememberedReading>,
    /// The positive answer beneath a remembered denial; `null` without one.
    pub overruled: Option<RememberedReading>,
    /// What stands in while there is nothing better, of another type or name; `null` without it.
    pub nearest: Option<RememberedReading>,
    /// The last failed resolution, if no answer came since; `null` without one.
    pub failure: Option<FailureReading>,
    /// Whether a resolution is under way.
    pub in_flight: bool,
    /// How often the question failed in a row although its upstreams answer others; 0 when it is
    /// not in trouble, and while upstreams are ill, whose fault it is then.
    pub failed_in_a_row: u32,
    /// The zone and the type of the question, as far as they are in trouble while upstreams are
    /// healthy.
    pub charges: Vec<ChargeReading>,
    /// The standing as a critical name; `null` when it is none. Critical names are never evicted.
    pub critical: Option<CriticalReading>,
    /// What a query would get now.
    pub now: ForeseenReading,
    /// What a query would get if all primary upstreams were down from now on.
    pub outage: ForeseenReading,
}

/// One remembered answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RememberedReading {
    /// `positive`, `nodata` or `nxdomain`.
    pub kind: &'static str,
    /// Where the answer came from: `upstream`, `state_file`, `seed`, `import` or `shared_cache`.
    pub origin: &'static str,
    /// Time since an upstream gave the answer, in seconds; `null` when that is not known.
    pub age_seconds: Option<f64>,
    /// Whether the answer may be given as fresh.
    pub fresh: bool,
    /// Time for which the answer will be fresh, in seconds; 0 when it is not.
    pub ttl_left_seconds: f64,
    /// Time for which the answer may still be served, fresh or stale, in seconds.
    pub servable_seconds: f64,
    /// Maximum stale of the name, in seconds: for how long an answer is served beyond its TTL.
    pub maximum_stale_seconds: f64,
    /// Number of hits, half of those of the answers before it included.
    pub hits: u32,
    /// Whether the upstream itself marked the answer as stale.
    pub marked_stale: bool,
    /// The records of its answer section as text, at most 32.
    pub records: Vec<String>,
}

/// The word for a kind of answer.
#[must_use]
pub const fn kind_label(kind: Kind) -> &'static str {
    match kind {
        Kind::Positive => "positive",
        Kind::NoData => "nodata",
        Kind::NxDomain => "nxdomain",
    }
}

/// A failed resolution.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FailureReading {
    /// Why it failed, such as `timeout` or `servfail`; `null` when that is not known.
    pub reason: Option<&'static str>,
    /// Failures in a row.
    pub failures: u32,
    /// Time until the name may be asked for again, in seconds; 0 when it may be now.
    pub recheck_seconds: f64,
}

/// What a query would get.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ForeseenReading {
    /// The answer, in the words of [`Foreseen`].
    pub answer: &'static str,
    /// Why, in words.
    pub because: String,
    /// Whether an upstream is asked, for the client or beside it.
    pub asks: bool,
    /// How long the client waits at most, in seconds; 0 when it is answered at once.
    pub waits_seconds: f64,
    /// Time for which the answer stays fresh, in seconds.
    pub fresh_for_seconds: f64,
    /// Time for which the answer is served stale after that, in seconds.
    pub stale_for_seconds: f64,
}
