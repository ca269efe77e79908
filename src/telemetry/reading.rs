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

mod bounded;
pub mod explanation;
pub mod names;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::bounded::{CacheReading, ClientReading, PacketReading, ShrunkReading, StoreSizeReading};
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
    /// TCP connections of clients, by event: accepted, not allowed, evicted, over the
    /// limit, over the bytes, closed for a long query.
    pub tcp_connections: BTreeMap<String, u64>,
    /// Outages of each zone that has upstreams of its own.
    pub outages: Vec<OutageReading>,
    /// Names that fail although the upstreams of their zone are healthy.
    #[serde(default)]
    pub troubles: Vec<TroubleReading>,
    /// Number and size of the answers that are remembered.
    pub cache: CacheReading,
    /// Answers that were learned since the start, by their origin, such as an upstream or a seed.
    pub answers_learned: BTreeMap<String, u64>,
    /// Number of resolutions in flight, each of which may serve several clients.
    pub resolutions_in_flight: u64,
    /// Number of queries that lost a place so that other clients had their share, by the place:
    /// `arrival`, `waiting`, `resolution`. They were answered with what was remembered, else with
    /// SERVFAIL.
    #[serde(default)]
    pub queries_shed: BTreeMap<String, u64>,
    /// Number of answers that went back to the addresses from before a change, by what became of
    /// them: `doubted` (and confirmation was asked for), `refuted`, `believed`.
    #[serde(default)]
    pub reversals: BTreeMap<String, u64>,
    /// What was made smaller at the start, because it did not fit into the limits of the process.
    #[serde(default)]
    pub shrunk: Vec<ShrunkReading>,
    /// Number of times that no socket was to be had for a query to an upstream, because
    /// descriptors or local ports had run out. The query was tried again a moment later.
    #[serde(default)]
    pub upstream_sockets_lacking: u64,
    /// The clients for which most is under way at present, at most five, the heaviest first.
    #[serde(default)]
    pub top_clients: Vec<ClientReading>,
    /// Number of times that each task of the process failed and was started again.
    #[serde(default)]
    pub task_restarts: BTreeMap<String, u64>,
    /// Number of lines of the log that were dropped, because standard error took no more.
    #[serde(default)]
    pub log_lines_dropped: u64,
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
    /// Time since the state last changed, in seconds; `null` when it has not changed since the
    /// start.
    #[serde(default)]
    pub state_age_seconds: Option<f64>,
    /// Number of witnesses by their outcome: questions that the upstream had answered lately, with
    /// which it was asked whether it is well. `in_time`, `late` (counted as `silent` before),
    /// `unusable`, `inconclusive`, `silent`, `failed`.
    #[serde(default)]
    pub witnesses: BTreeMap<String, u64>,
}

/// Names that fail although the upstreams are healthy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TroubleReading {
    /// Zone of the upstreams that are asked for these names, `.` for all names.
    pub zone: String,
    /// Number of questions (a name and a type) in trouble, as far as they are kept: at most 64.
    pub questions: u64,
    /// The zones and types in which names fail everywhere.
    pub charges: Vec<ChargeReading>,
}

/// A zone or a type in which names fail everywhere.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChargeReading {
    /// The zone or the type, such as `zone broken.example. A` or `type AAAA`.
    pub charged: String,
    /// Number of its names that fail, as far as they are kept.
    pub names: u64,
    /// Time since the first of them failed, in seconds.
    pub duration_seconds: f64,
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
    /// Number of rows of the state file that were damaged when it was read, and were dropped.
    #[serde(default)]
    pub damaged_rows: u64,
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
                state_age_seconds: Some(721.0),
                witnesses: BTreeMap::from([("in_time".to_owned(), 7), ("silent".to_owned(), 360)]),
            }],
            troubles: vec![TroubleReading {
                zone: "corp.example.com.".to_owned(),
                questions: 13,
                charges: vec![ChargeReading {
                    charged: "zone broken.corp.example.com. A".to_owned(),
                    names: 12,
                    duration_seconds: 180.0,
                }],
            }],
            packets: BTreeMap::from([("miss".to_owned(), PacketReading { sent: 5, over_budget: 1 })]),
            upstream_traffic: UpstreamCounters::default().traffic().by_label(),
            unusable_responses: BTreeMap::from([("servfail".to_owned(), 2)]),
            ignored_responses: BTreeMap::from([("wrong_id".to_owned(), 3)]),
            tcp_connections: ["accepted", "over_bytes", "query_too_long"].map(|event| (event.to_owned(), 1)).into(),
            outages: vec![OutageReading { zone: ".".to_owned(), begun: 1, current: Some(current_outage()) }],
            cache: CacheReading {
                positive: StoreSizeReading { entries: 30, bytes: 12_000 },
                limit_bytes: 8 << 20,
                expired_entries: 28,
                ..CacheReading::default()
            },
            answers_learned: BTreeMap::from([("upstream".to_owned(), 60), ("seed".to_owned(), 4)]),
            resolutions_in_flight: 1,
            shrunk: vec![ShrunkReading {
                what: "cache.size".to_owned(),
                configured: 8 << 20,
                fits: 5 << 20,
                limit: "23068672 bytes of memory (cgroup): raise it, or lower cache.size".to_owned(),
            }],
            upstream_sockets_lacking: 2,
            queries_shed: BTreeMap::from([("resolution".to_owned(), 17)]),
            reversals: BTreeMap::from([
                ("doubted".to_owned(), 6),
                ("refuted".to_owned(), 4),
                ("believed".to_owned(), 1),
            ]),
            top_clients: vec![ClientReading {
                client: "10.1.2.3".to_owned(),
                resolutions: 812,
                queued: 40,
                waiting: 900,
                packets: 779,
                shed: 17,
            }],
            task_restarts: BTreeMap::from([("background".to_owned(), 1)]),
            log_lines_dropped: 3,
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
