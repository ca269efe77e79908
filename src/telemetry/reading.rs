//! The state of a running sidecar at one moment, as `/status`, `/metrics` and `holdover status`
//! show it.
//!
//! A [`Reading`] is plain data. The resolver, the counters of the fronts, the state file and the
//! shared cache each fill in what they know; [`super::metrics`] turns it into metrics, and
//! `holdover status` into text.
//!
//! Its fields are the keys of the JSON of `/status` and `holdover status --json`, which are part of
//! the interface: keys may be added, and neither renamed nor removed. Numbers name their unit,
//! times are in seconds, and `null` means that there is no such value at present. Ages and
//! durations are measured by the sidecar at the moment of the reading, so they stay right when the
//! wall clock of its host jumps.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::tally::{Answered, STALE_AGES, StaleAges, Tally};

/// The state of a running sidecar at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Version of the holdover that is running.
    pub version: String,
    /// Time since the process started.
    pub uptime_seconds: f64,
    /// Whether the start is complete: critical names have an answer, or `[ready] timeout` is over.
    pub ready: bool,
    /// Addresses on which clients are answered.
    pub listen: Vec<String>,
    /// Queries of clients by outcome ([`Answered::label`]).
    pub queries: BTreeMap<String, u64>,
    /// How long ago stale answers had expired when they were given.
    pub stale_ages: Histogram,
    /// All upstream addresses, each with its state and its counters.
    pub upstreams: Vec<UpstreamReading>,
    /// Queries sent to upstreams, by class of the packet budget.
    pub packets: BTreeMap<String, PacketReading>,
    /// Queries, connections and responses of all upstreams together: `udp_queries`, `tcp_queries`,
    /// `tcp_connections`, `responses`.
    pub upstream_traffic: BTreeMap<String, u64>,
    /// Responses of upstreams that do not answer the query, by reason.
    pub unusable_responses: BTreeMap<String, u64>,
    /// Responses that were ignored because they belong to no query, by reason.
    pub ignored_responses: BTreeMap<String, u64>,
    /// TCP connections of clients, by event: accepted, not allowed, evicted, over the limit.
    pub tcp_connections: BTreeMap<String, u64>,
    /// Outages of each zone that has upstreams of its own.
    pub outages: Vec<OutageReading>,
    /// Number and size of the answers that are remembered.
    pub cache: CacheReading,
    /// Answers that were learned since the start, by their origin, such as an upstream or a seed.
    pub answers_learned: BTreeMap<String, u64>,
    /// Number of resolutions in flight, each of which may serve several clients.
    pub resolutions_in_flight: u64,
    /// Status of the state file; `null` when no state file is configured.
    pub state_file: Option<StateFileReading>,
    /// Status and counters of the shared cache; `null` when none is configured.
    #[serde(default)]
    pub shared_cache: Option<SharedCacheReading>,
    /// The critical names of the configuration, one entry for each type.
    #[serde(default)]
    pub critical: Vec<CriticalReading>,
}

/// A histogram with one count for each class; cumulative counts are computed from it for metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Upper bound of each class, in seconds; `null` for the class without a bound.
    pub bounds_seconds: Vec<Option<u64>>,
    /// Number of values in each class.
    pub counts: Vec<u64>,
    /// Sum of all values, in seconds.
    pub sum_seconds: f64,
}

/// One upstream address, with its state and its counters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UpstreamReading {
    /// Name and address of the upstream, such as `vpc@192.0.2.2:53`.
    pub upstream: String,
    /// State of the upstream: `healthy`, `impaired` or `down`.
    pub state: String,
    /// Whether the upstream is not used because it sends holdover's own queries back.
    pub looping: bool,
    /// 99th percentile of the upstream's round-trip times, in seconds; `null` before its first
    /// answers.
    pub rtt_p99_seconds: Option<f64>,
    /// Number of attempts by their end: `answered`, `unusable_response`, `network_error`,
    /// `timed_out`.
    pub attempts: BTreeMap<String, u64>,
    /// Number of attempts that were not answered within 200 ms. Each of them is also counted in
    /// `attempts` when it ends.
    pub overdue_attempts: u64,
}

/// Queries to upstreams of one class of the packet budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketReading {
    /// Number of queries of this class that were sent.
    pub sent: u64,
    /// Number of queries that the packet budget did not allow when they were due. They were sent
    /// later, or not at all.
    pub over_budget: u64,
}

/// The outages of one zone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OutageReading {
    /// The zone, `.` for all names without upstreams of their own.
    pub zone: String,
    /// Number of outages that have begun since the start, the current one included.
    pub begun: u64,
    /// The current outage; `null` when there is none.
    pub current: Option<CurrentOutageReading>,
}

/// An outage that has not ended yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CurrentOutageReading {
    /// Time since the outage began, in seconds.
    pub duration_seconds: f64,
    /// Queries that got a stale answer in this outage.
    pub stale_answers: u64,
    /// Different names and types among these answers.
    pub names_served_stale: u64,
    /// Queries that got SERVFAIL in this outage.
    pub failed_answers: u64,
    /// The first of the names served stale that will reach its maximum stale, as name and type;
    /// `null` when no name was served stale.
    pub cliff_name: Option<String>,
    /// Time until `cliff_name` reaches its maximum stale and is not answered any more, in seconds;
    /// `null` when no name was served stale.
    pub time_to_cliff_seconds: Option<f64>,
}

/// Number and size of the answers that are remembered, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheReading {
    /// Number and size of positive answers.
    pub positive: StoreSizeReading,
    /// Number and size of negative answers: NODATA and NXDOMAIN.
    pub negative: StoreSizeReading,
    /// Number and size of resolution failures of names without any answer (RFC 9520).
    pub failure: StoreSizeReading,
    /// Number of answers whose TTL has ended and that can be served stale.
    pub expired_entries: u64,
    /// Limit of the memory for positive answers, in bytes.
    pub limit_bytes: u64,
}

/// Number and size of remembered answers of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreSizeReading {
    /// Number of remembered answers of this kind.
    pub entries: u64,
    /// Memory that the answers of this kind take, bookkeeping included, in bytes.
    pub bytes: u64,
}

/// Status of the state file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StateFileReading {
    /// Path of the state file.
    pub path: String,
    /// Whether answers that are learned are written to the state file.
    pub working: bool,
    /// Why the state file cannot be used, in words; `null` while it is working.
    pub problem: Option<String>,
    /// Time since the state file was last written, in seconds; `null` before the first time.
    pub last_write_age_seconds: Option<f64>,
    /// Number of answers in the state file.
    pub entries: u64,
    /// Size of the state file in bytes.
    pub bytes: u64,
    /// Time for which the state file could not be used, in seconds; `null` while it is working.
    pub failing_seconds: Option<f64>,
}

/// Status and counters of the cache that the instances of a group share.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SharedCacheReading {
    /// URL of the shared cache, as configured and without secrets.
    pub url: String,
    /// Group of instances that share their answers, as configured.
    pub group: String,
    /// Whether the shared cache is read and written.
    pub working: bool,
    /// Why the shared cache cannot be used, in words; `null` while it is working.
    pub problem: Option<String>,
    /// Time for which the shared cache could not be used, in seconds; `null` while it is working.
    pub failing_seconds: Option<f64>,
    /// Number of lookups of names that were not remembered here while upstreams failed, by result:
    /// `hit`, `miss`, `timed_out`, `skipped`.
    pub lookups: BTreeMap<String, u64>,
    /// Number of answers to be published, by result: `written`, `unchanged`, `rejected`, `unsent`.
    pub writes: BTreeMap<String, u64>,
    /// Number of entries that were ignored, by reason: `wrong_signature`, `malformed`.
    pub ignored_entries: BTreeMap<String, u64>,
}

/// The answer for one critical name and type.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CriticalReading {
    /// The domain name, with a dot at its end.
    pub name: String,
    /// The type of the critical name, such as `AAAA`.
    #[serde(rename = "type")]
    pub rtype: String,
    /// Time since the answer was learned, in seconds; `null` when no answer is remembered.
    pub age_seconds: Option<f64>,
    /// Whether the answer is within its TTL and not older than `max_age`.
    pub fresh: bool,
    /// State of the answer: `fresh`, `stale`, `nxdomain` or `missing`.
    #[serde(default)]
    pub state: String,
    /// Time for which the answer has been older than `max_age`, in seconds; `null` while it is not.
    #[serde(default)]
    pub too_old_seconds: Option<f64>,
    /// Why the last resolution of the name failed; `null` when that resolution succeeded.
    #[serde(default)]
    pub last_failure: Option<String>,
}

impl Reading {
    /// Fills in `queries` and `stale_ages` with the sums of the counters of all threads.
    pub fn add_tallies<'a>(&mut self, tallies: impl Iterator<Item = &'a Tally>) {
        let mut ages = StaleAges::default();
        self.queries = Answered::ALL.iter().map(|answered| (answered.label().to_owned(), 0)).collect();
        for tally in tallies {
            for answered in Answered::ALL {
                *self.queries.entry(answered.label().to_owned()).or_default() += tally.total(answered);
            }
            ages.add(&tally.stale_ages());
        }
        self.stale_ages = Histogram {
            bounds_seconds: STALE_AGES.iter().copied().map(Some).chain([None]).collect(),
            counts: ages.classes.to_vec(),
            sum_seconds: ages.sum.as_secs_f64(),
        };
    }
}

/// A duration in seconds, as readings contain it.
#[must_use]
pub fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

#[cfg(test)]
pub(crate) mod testing {
    use super::super::tally::{AttemptEnd, UpstreamCounters};
    use super::*;

    fn current_outage() -> CurrentOutageReading {
        CurrentOutageReading {
            duration_seconds: 720.5,
            stale_answers: 943,
            names_served_stale: 30,
            failed_answers: 2,
            cliff_name: Some("db.example.com. A".to_owned()),
            time_to_cliff_seconds: Some(83_640.0),
        }
    }

    /// A sidecar in an outage, with a value for every field.
    pub(crate) fn in_an_outage() -> Reading {
        let tally = Tally::default();
        tally.count(Answered::Fresh);
        tally.count_stale(Duration::from_secs(61));
        let attempts = AttemptEnd::ALL.map(AttemptEnd::label);
        let mut reading = Reading {
            version: "0.1.0".to_owned(),
            uptime_seconds: 3723.0,
            ready: true,
            listen: vec!["127.0.0.1:53".to_owned()],
            upstreams: vec![UpstreamReading {
                upstream: "vpc@192.0.2.2:53".to_owned(),
                state: "down".to_owned(),
                looping: false,
                rtt_p99_seconds: Some(0.0021),
                attempts: attempts.iter().zip(1..).map(|(end, count)| ((*end).to_owned(), count)).collect(),
                overdue_attempts: 5,
            }],
            packets: BTreeMap::from([("miss".to_owned(), PacketReading { sent: 5, over_budget: 1 })]),
            upstream_traffic: UpstreamCounters::default().traffic().by_label(),
            unusable_responses: BTreeMap::from([("servfail".to_owned(), 2)]),
            ignored_responses: BTreeMap::from([("wrong_id".to_owned(), 3)]),
            tcp_connections: BTreeMap::from([("accepted".to_owned(), 1)]),
            outages: vec![OutageReading { zone: ".".to_owned(), begun: 1, current: Some(current_outage()) }],
            cache: CacheReading {
                positive: StoreSizeReading { entries: 30, bytes: 12_000 },
                limit_bytes: 8 << 20,
                expired_entries: 28,
                ..CacheReading::default()
            },
            answers_learned: BTreeMap::from([("upstream".to_owned(), 60), ("seed".to_owned(), 4)]),
            resolutions_in_flight: 1,
            state_file: Some(StateFileReading {
                path: "/var/lib/holdover/state".to_owned(),
                problem: Some("no space left".to_owned()),
                last_write_age_seconds: Some(31.0),
                failing_seconds: Some(15.0),
                ..StateFileReading::default()
            }),
            shared_cache: Some(SharedCacheReading {
                url: "redis://cache.example.com".to_owned(),
                group: "web".to_owned(),
                problem: Some("the server cannot be reached".to_owned()),
                failing_seconds: Some(75.0),
                lookups: BTreeMap::from([("hit".to_owned(), 3), ("timed_out".to_owned(), 1)]),
                writes: BTreeMap::from([("written".to_owned(), 40)]),
                ignored_entries: BTreeMap::from([("wrong_signature".to_owned(), 2)]),
                ..SharedCacheReading::default()
            }),
            critical: vec![CriticalReading {
                name: "db.example.com.".to_owned(),
                rtype: "A".to_owned(),
                age_seconds: Some(90.0),
                fresh: false,
                state: "stale".to_owned(),
                too_old_seconds: None,
                last_failure: Some("timeout".to_owned()),
            }],
            ..Reading::default()
        };
        reading.add_tallies(std::iter::once(&tally));
        reading
    }
}
