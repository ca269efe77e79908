//! Everything that a running sidecar says about itself at one moment: what `/status`, `/metrics`
//! and `holdover status` show.
//!
//! It is plain data that whoever can see it fills in: the resolver, the fronts' counters, the state
//! file. As JSON it is what `/status` gives; its keys are an interface, so they may be added to,
//! and neither renamed nor removed. Numbers name their unit, times are in seconds, and `null` means
//! that there is nothing to tell.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::tally::{Answered, STALE_AGES, StaleAges, Tally};

/// A sidecar at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Its version.
    pub version: String,
    /// How long it has run.
    pub uptime_seconds: f64,
    /// Whether everything is there that its start waits for.
    pub ready: bool,
    /// Where clients reach it.
    pub listen: Vec<String>,
    /// Queries by what became of them ([`Answered::label`]).
    pub answers: BTreeMap<String, u64>,
    /// How old stale answers were when they were given.
    pub stale_ages: Histogram,
    /// Whom it asks.
    pub upstreams: Vec<UpstreamReading>,
    /// Packets upstream by what they are sent for.
    pub packets: BTreeMap<String, PacketReading>,
    /// Queries, connections and responses upstream, by kind.
    pub exchanged: BTreeMap<String, u64>,
    /// Responses that were ours and no answer, by what was wrong with them.
    pub useless_responses: BTreeMap<String, u64>,
    /// Responses that were not ours, by what was wrong with them.
    pub ignored_responses: BTreeMap<String, u64>,
    /// Clients' TCP connections by what became of them.
    pub connections: BTreeMap<String, u64>,
    /// Outages by zone, present and past.
    pub outages: Vec<OutageReading>,
    /// What is remembered.
    pub cache: CacheReading,
    /// Answers that were remembered so far, by where they came from.
    pub learned: BTreeMap<String, u64>,
    /// Resolutions under way.
    pub resolutions_in_flight: u64,
    /// The state file; `null` when there is none.
    pub state_file: Option<StateFileReading>,
    /// The memory that a fleet shares; `null` when there is none.
    #[serde(default)]
    pub shared_cache: Option<SharedCacheReading>,
    /// The names that must not be missing.
    #[serde(default)]
    pub critical: Vec<CriticalReading>,
}

/// Counts by size; cumulative counts are made of it where they are wanted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Upper bound of each class; `null` is the one without.
    pub bounds_seconds: Vec<Option<u64>>,
    /// How many fell into it.
    pub counts: Vec<u64>,
    /// All sizes together.
    pub sum_seconds: f64,
}

/// One upstream address.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UpstreamReading {
    /// Its name and address.
    pub upstream: String,
    /// `healthy`, `impaired` or `down`.
    pub state: String,
    /// Whether it is left out because it sends our own queries back.
    pub looping: bool,
    /// p99 round-trip time; `null` before its first answers.
    pub p99_seconds: Option<f64>,
    /// What attempts came to.
    pub attempts: BTreeMap<String, u64>,
}

/// Packets of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketReading {
    /// Sent.
    pub sent: u64,
    /// Held back by the budget when they were due.
    pub shed: u64,
}

/// The outages of the names that share their upstreams.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OutageReading {
    /// Their zone, `.` for all.
    pub zone: String,
    /// Outages that have begun since the start, this one included.
    pub begun: u64,
    /// The one under way; `null` when there is none.
    pub present: Option<PresentOutageReading>,
}

/// An outage under way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PresentOutageReading {
    /// How long it has lasted.
    pub lasted_seconds: f64,
    /// Queries that were answered from memory beyond its TTL.
    pub answers_saved: u64,
    /// Different names and types among them.
    pub names_served_stale: u64,
    /// Queries that were answered with SERVFAIL.
    pub failed: u64,
    /// The first of the names served stale in it that will pass its maximum stale, as name and
    /// type; `null` when none was served.
    pub first_to_lose: Option<String>,
    /// When that will be.
    pub time_to_cliff_seconds: Option<f64>,
}

/// What is remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheReading {
    /// Good answers.
    pub positive: StoreSizeReading,
    /// NODATA and NXDOMAIN.
    pub negative: StoreSizeReading,
    /// Names of which only a failure is known.
    pub failed: StoreSizeReading,
    /// Good answers and negative ones that are beyond their TTL and can be served stale.
    pub expired_entries: u64,
    /// Room for answers.
    pub limit_bytes: u64,
}

/// One kind of what is remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreSizeReading {
    /// How many.
    pub entries: u64,
    /// How much memory, bookkeeping included.
    pub bytes: u64,
}

/// The state file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StateFileReading {
    /// Where it is.
    pub path: String,
    /// Whether what is learned is being written.
    pub working: bool,
    /// Why it is not, in a few words.
    pub problem: Option<String>,
    /// How long ago something was written last; `null` before the first time.
    pub last_write_age_seconds: Option<f64>,
    /// Entries in it.
    pub entries: u64,
    /// Its size.
    pub bytes: u64,
    /// For how long it has not been working; `null` while it is.
    pub failing_seconds: Option<f64>,
}

/// The memory that a fleet shares.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SharedCacheReading {
    /// Where it is.
    pub url: String,
    /// Whose it is.
    pub group: String,
    /// Whether it is asked and fed.
    pub reached: bool,
    /// Why it is not, in a few words.
    pub problem: Option<String>,
    /// For how long it has not been; `null` while it is.
    pub failing_seconds: Option<f64>,
    /// Names that were missing here while upstreams did not answer, by what came of asking:
    /// `found`, `missing`, `late`, `skipped`.
    pub asked: BTreeMap<String, u64>,
    /// Answers that were learned or hot, by what came of publishing: `published`, `unchanged`,
    /// `refused`, `unsent`.
    pub published: BTreeMap<String, u64>,
    /// Entries that were ignored, by what was wrong with them: `signature`, `unreadable`.
    pub ignored: BTreeMap<String, u64>,
}

/// A name that must not be missing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CriticalReading {
    /// The name.
    pub name: String,
    /// The type.
    #[serde(rename = "type")]
    pub rtype: String,
    /// How long ago it was answered last; `null` when nothing is remembered.
    pub age_seconds: Option<f64>,
    /// Whether it is within its TTL.
    pub fresh: bool,
    /// `fresh`, `stale`, `denied` or `missing`.
    #[serde(default)]
    pub state: String,
    /// For how long it has been older than its `max_age`; `null` while it is not.
    #[serde(default)]
    pub too_old_seconds: Option<f64>,
    /// Why its last resolution failed; `null` when none did.
    #[serde(default)]
    pub last_failure: Option<String>,
}

impl Reading {
    /// Takes in the counters of the threads that answer.
    pub fn add_tallies<'a>(&mut self, tallies: impl Iterator<Item = &'a Tally>) {
        let mut ages = StaleAges::default();
        self.answers = Answered::ALL.iter().map(|answered| (answered.label().to_owned(), 0)).collect();
        for tally in tallies {
            for answered in Answered::ALL {
                *self.answers.entry(answered.label().to_owned()).or_default() += tally.total(answered);
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

/// A duration as readings tell it.
#[must_use]
pub fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// A sidecar in an outage, with everything that there is to tell.
    pub(crate) fn in_an_outage() -> Reading {
        let tally = Tally::default();
        tally.count(Answered::Fresh);
        tally.count_stale(Duration::from_secs(61));
        let attempts = ["answered", "useless", "failed", "timed_out", "late"];
        let present = PresentOutageReading {
            lasted_seconds: 720.5,
            answers_saved: 943,
            names_served_stale: 30,
            failed: 2,
            first_to_lose: Some("db.example.com. A".to_owned()),
            time_to_cliff_seconds: Some(83_640.0),
        };
        let mut reading = Reading {
            version: "0.1.0".to_owned(),
            uptime_seconds: 3723.0,
            ready: true,
            listen: vec!["127.0.0.1:53".to_owned()],
            upstreams: vec![UpstreamReading {
                upstream: "vpc@192.0.2.2:53".to_owned(),
                state: "down".to_owned(),
                looping: false,
                p99_seconds: Some(0.0021),
                attempts: attempts.iter().zip(1..).map(|(end, count)| ((*end).to_owned(), count)).collect(),
            }],
            packets: BTreeMap::from([("miss".to_owned(), PacketReading { sent: 5, shed: 1 })]),
            exchanged: BTreeMap::from([("datagram".to_owned(), 5)]),
            useless_responses: BTreeMap::from([("servfail".to_owned(), 2)]),
            ignored_responses: BTreeMap::from([("id".to_owned(), 3)]),
            connections: BTreeMap::from([("accepted".to_owned(), 1)]),
            outages: vec![OutageReading { zone: ".".to_owned(), begun: 1, present: Some(present) }],
            cache: CacheReading {
                positive: StoreSizeReading { entries: 30, bytes: 12_000 },
                limit_bytes: 8 << 20,
                expired_entries: 28,
                ..CacheReading::default()
            },
            learned: BTreeMap::from([("upstream".to_owned(), 60), ("seed".to_owned(), 4)]),
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
                problem: Some("it cannot be reached".to_owned()),
                failing_seconds: Some(75.0),
                asked: BTreeMap::from([("found".to_owned(), 3), ("late".to_owned(), 1)]),
                published: BTreeMap::from([("published".to_owned(), 40)]),
                ignored: BTreeMap::from([("signature".to_owned(), 2)]),
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
