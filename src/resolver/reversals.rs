//! The failover guard at work: which changes of addresses are remembered, what is doubted because
//! of them, and what became of that ([`crate::core::reversal`] decides).

use parking_lot::Mutex;

use crate::core::classify::Kind;
use crate::core::entry::Entry;
use crate::core::fingerprint;
use crate::core::key::Key;
use crate::core::policy::FailoverGuard;
use crate::core::reversal::{Conclusion, GuardNews, KnownData, ReversalOutcome, Reversals, Round};
use crate::core::time::Timestamp;
use crate::memory::cached::CachedAnswer;
use crate::telemetry::counters::Counters;
use crate::telemetry::events;

/// The changes of addresses that are guarded, with what was counted of their reversals.
pub(super) struct GuardedChanges {
    guard: FailoverGuard,
    changes: Mutex<Reversals>,
    outcomes: Counters<ReversalOutcome>,
}

impl GuardedChanges {
    /// No change is remembered yet.
    pub(super) fn new(guard: FailoverGuard) -> Self {
        Self { guard, changes: Mutex::default(), outcomes: Counters::default() }
    }

    /// Notes that an answer was believed in place of another one.
    pub(super) fn learned(&self, key: &Key, replaced: &CachedAnswer, new: &CachedAnswer, now: Timestamp) {
        if self.guard == FailoverGuard::Off || [replaced, new].iter().any(|own| own.entry.kind != Kind::Positive) {
            return;
        }
        let old = KnownData { fingerprint: fingerprint::of_data(&replaced.entry), history: replaced.history() };
        match self.changes.lock().learned(key, old, fingerprint::of_data(&new.entry), now) {
            GuardNews::Nothing | GuardNews::Change => {}
            GuardNews::FirstRefutation => {
                self.outcomes.count(ReversalOutcome::Refuted);
                events::ReversalRefuted { question: key }.emit();
            }
            GuardNews::Refutation => self.outcomes.count(ReversalOutcome::Refuted),
        }
    }

    /// Whether an answer is to be confirmed before it replaces the present one. True means that a
    /// confirmation follows.
    pub(super) fn doubts(&self, key: &Key, present: &Entry, new: &Entry, now: Timestamp) -> bool {
        let mut changes = self.changes.lock();
        // Mostly nothing has changed lately, and then nothing need be compared.
        let is_doubted =
            !changes.is_empty() && changes.doubts(key, fingerprint::of_data(present), fingerprint::of_data(new), now);
        if is_doubted {
            self.outcomes.count(ReversalOutcome::Doubted);
        }
        is_doubted
    }

    /// Takes the end of a round of confirmation that did not bring the new addresses.
    pub(super) fn conclude(&self, key: &Key, round: Round, now: Timestamp) -> Conclusion {
        let conclusion = self.changes.lock().conclude(key, round, now);
        if conclusion == Conclusion::Believed {
            self.outcomes.count(ReversalOutcome::Believed);
            events::ReversalBelieved { question: key }.emit();
        }
        conclusion
    }

    /// What became of answers that went back to the addresses from before a change.
    pub(super) const fn outcomes(&self) -> &Counters<ReversalOutcome> {
        &self.outcomes
    }
}
