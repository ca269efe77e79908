//! The members of the upstreams: one upstream address, and one group of names that share their
//! upstreams.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use crate::core::decision::Availability;
use crate::core::edns::EdnsStanding;
use crate::core::health::{AttemptOutcome, Health, Testimony, UpstreamState};
use crate::core::key::{Dnssec, Key};
use crate::core::message::{CLASS_IN, TYPE_NS};
use crate::core::policy::Policy;
use crate::core::time::Timestamp;
use crate::core::upstream::{Endpoint, GroupId, QueryCase, Role, UpstreamId, UpstreamPolicy};
use crate::core::witness::Witnesses;
use crate::resolver::pacing::Pacing;
use crate::resolver::recoveries::{Recoveries, subject_of};
use crate::telemetry::counters::Counters;
use crate::telemetry::tally::AttemptEnd;

/// One address that queries are sent to, with its own breaker.
pub struct Upstream {
    /// The name of the upstream in log and metrics: `name@address`, or just the address where the
    /// operator gave no name.
    pub label: String,
    /// The address and transport over which the upstream is asked.
    pub endpoint: Endpoint,
    /// Whether the upstream is a primary or a fallback.
    pub role: Role,
    /// The case of names in queries to the upstream over UDP.
    pub case: QueryCase,
    /// The operator's name for the upstream, which several addresses may share.
    pub(super) name: String,
    pub(super) retired: AtomicBool,
    pub(super) groups: Vec<GroupId>,
    pub(super) health: Mutex<Health>,
    /// The state of `health`, encoded, so that it can be read without the lock.
    pub(super) state: AtomicU8,
    /// Whether the upstream understands EDNS, as far as is known.
    pub(super) edns: Mutex<EdnsStanding>,
    /// Until when the upstream is left out because it sends our own queries back, in microseconds
    /// since the Unix epoch; 0 when it does not.
    pub(super) looping_until: AtomicU64,
    /// The questions with which the upstream is asked whether it is well.
    pub(super) witnesses: Mutex<Witnesses>,
    /// The last witness that was not answered in time, for the log.
    pub(super) last_failed_witness: Mutex<Option<(Key, Testimony)>>,
    testimonies: Counters<Testimony>,
    /// Notified when the state has changed, a witness is wanted, or the upstream was retired; wakes
    /// the prober.
    pub changed: Notify,
    attempts: Counters<AttemptEnd>,
    overdue_attempts: AtomicU64,
}

/// The upstreams of one zone, which all names of the zone share.
pub struct Group {
    /// The zone as text, for log and metrics.
    pub zone: String,
    /// Primaries, in the configured order.
    pub(super) primaries: RwLock<Arc<[UpstreamId]>>,
    /// Fallbacks, which are asked when no primary answers.
    pub(super) fallbacks: Vec<UpstreamId>,
    /// The best state among the primaries, encoded.
    pub(super) availability: AtomicU8,
    /// The client response timer, in microseconds.
    pub(super) timer: AtomicU64,
    /// Counts recoveries of upstreams and suffixes, which void the notes of failures from before.
    pub recoveries: Recoveries,
    /// Gives refreshes their turns while upstreams are ill and after they have healed.
    pub pacing: Pacing,
}

impl Upstream {
    /// Makes an upstream, which counts as healthy.
    pub(super) fn new(
        configured: &UpstreamPolicy,
        address: std::net::SocketAddr,
        groups: Vec<GroupId>,
        policy: &Policy,
    ) -> Self {
        Self {
            label: if configured.name == address.to_string() {
                configured.name.clone()
            } else {
                format!("{}@{address}", configured.name)
            },
            endpoint: configured.endpoint(address),
            role: configured.role,
            case: configured.case,
            name: configured.name.clone(),
            retired: AtomicBool::new(false),
            groups,
            health: Mutex::new(Health::new(policy.health)),
            state: AtomicU8::new(encode_state(UpstreamState::Healthy)),
            edns: Mutex::default(),
            looping_until: AtomicU64::new(0),
            witnesses: Mutex::new(apex_witnesses(&configured.zones)),
            last_failed_witness: Mutex::default(),
            testimonies: Counters::default(),
            changed: Notify::new(),
            attempts: Counters::default(),
            overdue_attempts: AtomicU64::new(0),
        }
    }

    /// Counts the outcome of an attempt.
    pub(super) fn count(&self, outcome: AttemptOutcome) {
        self.attempts.count(match outcome {
            AttemptOutcome::Answered(_) => AttemptEnd::Answered,
            AttemptOutcome::UnusableResponse(_) | AttemptOutcome::Garbage(_) => AttemptEnd::UnusableResponse,
            AttemptOutcome::Failed => AttemptEnd::NetworkError,
            AttemptOutcome::TimedOut => AttemptEnd::TimedOut,
            AttemptOutcome::Late => {
                self.overdue_attempts.fetch_add(1, Ordering::Relaxed);
                return;
            }
        });
    }

    /// Counts the outcome of a witness.
    pub(super) fn count_testimony(&self, testimony: Testimony) {
        self.testimonies.count(testimony);
    }

    /// The numbers of witnesses, by outcome; one whose answer came late counts as silent as well.
    #[must_use]
    pub fn testimonies(&self) -> &Counters<Testimony> {
        &self.testimonies
    }

    /// When the state last changed; `None` when it has not changed since the start.
    #[must_use]
    pub fn since(&self) -> Option<Timestamp> {
        Some(self.health.lock().since()).filter(|since| *since > Timestamp::EPOCH)
    }

    /// The reasons for the present state, in words for the log; empty while it is healthy.
    #[must_use]
    pub fn evidence(&self) -> String {
        let witnesses = self.health.lock().witnesses();
        match (self.state(), &*self.last_failed_witness.lock()) {
            (UpstreamState::Healthy, _) => String::new(),
            (_, Some((key, testimony))) => {
                format!(
                    "{}: {witnesses} witnesses since, the last one in trouble {key} ({})",
                    self.label,
                    testimony.label()
                )
            }
            (_, None) => format!("{}: {witnesses} witnesses since", self.label),
        }
    }

    /// The numbers of attempts that have ended, by outcome.
    #[must_use]
    pub fn attempts(&self) -> &Counters<AttemptEnd> {
        &self.attempts
    }

    /// The number of attempts that were not answered within [`LATE`](crate::core::health::LATE),
    /// whatever their outcome was in the end.
    #[must_use]
    pub fn overdue_attempts(&self) -> u64 {
        self.overdue_attempts.load(Ordering::Relaxed)
    }

    /// The smoothed 99th percentile of the round-trip time; `None` before the first response.
    #[must_use]
    pub fn p99(&self) -> Option<Duration> {
        self.health.lock().p99()
    }

    /// Whether the upstream is left out now, because it sends our own queries back.
    #[must_use]
    pub fn is_looping(&self, now: Timestamp) -> bool {
        self.looping_until.load(Ordering::Relaxed) > now.as_micros()
    }

    /// Whether the upstream is left out until a look for the loop finds none.
    #[must_use]
    pub fn is_left_out(&self) -> bool {
        self.looping_until.load(Ordering::Relaxed) != 0
    }

    /// The present state of the upstream, read without a lock.
    #[must_use]
    pub fn state(&self) -> UpstreamState {
        match self.state.load(Ordering::Relaxed) {
            0 => UpstreamState::Healthy,
            1 => UpstreamState::Impaired,
            _ => UpstreamState::Down,
        }
    }

    /// Whether the upstream is no longer configured.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// Takes the upstream out of use and wakes its prober, which ends; true when it was in use.
    pub(super) fn retire(&self) -> bool {
        let was_in_use = !self.retired.swap(true, Ordering::Relaxed);
        self.changed.notify_one();
        was_in_use
    }

    /// The first group that the upstream serves, from which its probes take their names.
    #[must_use]
    pub fn group(&self) -> Option<GroupId> {
        self.groups.first().copied()
    }
}

impl Group {
    /// A group of a zone in lower-cased wire form, still without upstreams.
    pub(super) fn new(zone: &[u8]) -> Self {
        Self {
            zone: crate::core::key::NameText(zone).to_string(),
            primaries: RwLock::new(Arc::new([])),
            fallbacks: Vec::new(),
            availability: AtomicU8::new(0),
            timer: AtomicU64::new(0),
            recoveries: Recoveries::default(),
            pacing: Pacing::default(),
        }
    }

    /// The best state among the primaries of the group, read without a lock.
    #[must_use]
    pub fn availability(&self) -> Availability {
        match self.availability.load(Ordering::Relaxed) {
            0 => Availability::Healthy,
            1 => Availability::Impaired,
            _ => Availability::Down,
        }
    }

    /// The primaries as they are now.
    pub(super) fn primaries(&self) -> Arc<[UpstreamId]> {
        Arc::clone(&self.primaries.read())
    }

    /// Whether any upstream serves the names of the group.
    #[must_use]
    pub fn has_upstreams(&self) -> bool {
        !self.primaries.read().is_empty() || !self.fallbacks.is_empty()
    }
}

/// Witnesses that begin with the apex of the first of these zones, the root without any: each
/// resolver has its name servers at hand.
fn apex_witnesses(zones: &[Box<[u8]>]) -> Witnesses {
    let apex = Key::new(zones.first().map_or(&[0], |zone| zone), TYPE_NS, CLASS_IN, Dnssec::default());
    let subject = subject_of(&apex);
    Witnesses::new(apex, subject)
}

/// The number by which a state stands in an atomic; greater is worse.
pub(super) const fn encode_state(state: UpstreamState) -> u8 {
    match state {
        UpstreamState::Healthy => 0,
        UpstreamState::Impaired => 1,
        UpstreamState::Down => 2,
    }
}
