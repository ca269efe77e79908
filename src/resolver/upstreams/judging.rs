//! How upstreams are judged: what is reported of attempts for clients, and of the witnesses that
//! the prober asks.

use std::hash::BuildHasher;
use std::time::Duration;

use super::{Group, Upstream, Upstreams};
use crate::core::edns::{EdnsSuspect, WitnessAnswer};
use crate::core::health::{AttemptOutcome, Testimony, Transition, UpstreamState};
use crate::core::key::Key;
use crate::core::time::Timestamp;
use crate::core::upstream::{GroupId, UpstreamId};
use crate::core::upstream_query::Extension;
use crate::core::witness::{Witness, WitnessFor};
use crate::resolver::recoveries::{subject_of, suffix_of};

impl Upstreams {
    /// Notes the outcome of an attempt to have a question answered, and gives the change of the
    /// upstream's state, if there was one.
    pub fn report(
        &self,
        upstream: UpstreamId,
        key: &Key,
        outcome: AttemptOutcome,
        now: Timestamp,
    ) -> Option<Transition> {
        let own = self.find(upstream)?;
        own.count(outcome);
        match outcome {
            AttemptOutcome::Answered(after) => {
                own.groups.iter().filter_map(|group| self.group(*group)).for_each(|group| group.pacing.note_answer());
                let in_time = own.health.lock().witness_patience(self.policy.stale.client_response_timer);
                if after <= in_time {
                    own.witnesses.lock().answered(key, subject_of(key), now);
                }
            }
            AttemptOutcome::Garbage(_) | AttemptOutcome::Failed | AttemptOutcome::TimedOut => {}
            AttemptOutcome::UnusableResponse(_) | AttemptOutcome::Late => self.suspect(&own, key, now),
        }
        self.update(upstream, now, |health| health.record(outcome, now))
    }

    /// Notes that an attempt sent at `sent_at` is overdue.
    pub fn report_overdue(&self, upstream: UpstreamId, key: &Key, sent_at: Timestamp, now: Timestamp) {
        let Some(own) = self.find(upstream) else { return };
        self.suspect(&own, key, now);
        own.groups.iter().filter_map(|group| self.group(*group)).for_each(|group| group.pacing.note_loss(now));
        let _ = self.update(upstream, now, |health| {
            health.overdue(sent_at);
            None
        });
    }

    /// Notes that a question is in trouble, so that no witness is like it. Once the upstream itself
    /// is ill, questions are in trouble for that reason.
    fn suspect(&self, own: &Upstream, key: &Key, now: Timestamp) {
        if own.state() == UpstreamState::Healthy {
            own.witnesses.lock().suspect(subject_of(key), now);
        }
    }

    /// Notes that an upstream answered a query with OPT, or responded to it with one.
    pub fn note_edns(&self, upstream: UpstreamId, now: Timestamp) {
        if let Some(own) = self.find(upstream) {
            own.edns.lock().note_worked(now);
        }
    }

    /// Notes that an upstream answered a question without OPT, after it had not answered it with
    /// one.
    pub fn note_plain(&self, upstream: UpstreamId, key: &Key, now: Timestamp) {
        if let Some(own) = self.find(upstream) {
            own.edns.lock().note_trouble(edns_suspect(key), now);
        }
    }

    /// How the next witness of an upstream is asked.
    #[must_use]
    pub fn witness_extension(&self, upstream: UpstreamId, now: Timestamp) -> Extension {
        self.find(upstream).map_or(Extension::Edns, |own| own.edns.lock().of_witness(now))
    }

    /// Notes how a witness went that was asked with this extension.
    pub fn note_witness_extension(
        &self,
        upstream: UpstreamId,
        key: &Key,
        asked: Extension,
        testimony: Testimony,
        now: Timestamp,
    ) {
        let answer = match testimony {
            Testimony::InTime | Testimony::Late => WitnessAnswer::Came,
            Testimony::Inconclusive | Testimony::Unusable | Testimony::Silent => WitnessAnswer::Missing,
            // That nothing can be reached says nothing about what can be understood.
            Testimony::Failed => return,
        };
        if let Some(own) = self.find(upstream) {
            own.edns.lock().note_witness(edns_suspect(key), asked, answer, now);
        }
    }

    /// How long the upstream's prober waits before it asks the next witness; `None` while none is
    /// wanted. `chance` is a random number.
    #[must_use]
    pub fn next_witness(&self, upstream: UpstreamId, chance: u64, now: Timestamp) -> Option<Duration> {
        self.find(upstream)?.health.lock().next_witness(chance, now)
    }

    /// Chooses the next witness of an upstream, and gives the time that it is waited for.
    #[must_use]
    pub fn ask_witness(&self, upstream: UpstreamId, now: Timestamp) -> Option<(Witness, Duration)> {
        let own = self.find(upstream)?;
        let wanted = match own.state() {
            UpstreamState::Healthy => WitnessFor::Suspicion,
            UpstreamState::Impaired | UpstreamState::Down => WitnessFor::Illness,
        };
        let witness = own.witnesses.lock().choose(wanted, now);
        let mut health = own.health.lock();
        health.ask_witness(now);
        Some((witness, health.witness_patience(self.policy.stale.client_response_timer)))
    }

    /// Whether an upstream has no witness but the apex of its zone.
    #[must_use]
    pub fn lacks_witnesses(&self, upstream: UpstreamId) -> bool {
        self.find(upstream).is_some_and(|own| own.witnesses.lock().is_bare())
    }

    /// Gives an upstream questions as witnesses that it is asked anyway.
    pub fn offer_witnesses(&self, upstream: UpstreamId, keys: &[Key]) {
        if let Some(own) = self.find(upstream) {
            let mut witnesses = own.witnesses.lock();
            keys.iter().for_each(|key| witnesses.offer(key, subject_of(key)));
        }
    }

    /// Notes the outcome of a witness after this time, and gives the change of the upstream's
    /// state, if there was one.
    pub fn testify(
        &self,
        upstream: UpstreamId,
        key: &Key,
        testimony: Testimony,
        after: Duration,
        now: Timestamp,
    ) -> Option<Transition> {
        let own = self.find(upstream)?;
        own.count_testimony(testimony);
        match testimony {
            Testimony::InTime => {
                own.witnesses.lock().answered(key, subject_of(key), now);
                own.groups
                    .iter()
                    .filter_map(|group| self.group(*group))
                    .for_each(|group| group.recoveries.note_witness(key, now));
            }
            Testimony::Late => {}
            Testimony::Unusable | Testimony::Inconclusive | Testimony::Silent | Testimony::Failed => {
                own.witnesses.lock().failed(key);
                self.suspect(&own, key, now);
                *own.last_failed_witness.lock() = Some((key.clone(), testimony));
            }
        }
        self.update(upstream, now, |health| health.testify(testimony, after, now))
    }

    /// What shows that the primaries of a group are ill, in words for the log.
    #[must_use]
    pub fn evidence(&self, group: GroupId) -> String {
        let own = self.group(group).map(Group::primaries).unwrap_or_default();
        let said: Vec<String> = own.iter().filter_map(|id| Some(self.find(*id)?.evidence())).collect();
        said.into_iter().filter(|evidence| !evidence.is_empty()).collect::<Vec<_>>().join("; ")
    }
}

/// A name that got an answer only without OPT.
fn edns_suspect(key: &Key) -> EdnsSuspect {
    let name = foldhash::fast::FixedState::default().hash_one(key.name());
    EdnsSuspect { suffix: suffix_of(key.name()), name }
}
