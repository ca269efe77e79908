//! What a resolution does with an answer: it takes the answer, holds a denial back until that
//! counts, or doubts an answer that goes back to what was known before a change
//! ([`crate::core::reversal`]).

use std::sync::Arc;

use super::super::flight::{NoAnswer, Progress};
use super::{Denial, DoubtedAnswer, Flow, Note, Resolution};
use crate::core::attempts::{AttemptId, Confirmed, Step};
use crate::core::classify::{Failure, Kind};
use crate::core::entry::{Keep, Remembered};
use crate::core::reversal::{Conclusion, Round};
use crate::core::time::Timestamp;
use crate::memory::cached::CachedAnswer;

impl Resolution {
    /// Takes a denial that now counts. The resolution goes on unseen for the answer of an earlier
    /// server: a client that asks from now on gets what is remembered, or starts another one.
    pub(super) fn take_denial(&mut self, attempt: AttemptId) -> Flow {
        let Some(found) = self.denials.iter().position(|denial| denial.attempt == attempt) else { return Flow::Over };
        let Denial { response, verdict, .. } = self.denials.swap_remove(found);
        let Ok(remembered) = self.read(&response, verdict) else { return Flow::Over };
        let asked = self.attempts.sent_at(attempt).unwrap_or_else(|| self.context.now());
        self.denied = Some(asked);
        self.answer(attempt, remembered, asked);
        if self.context.flights.is_crowded() {
            return Flow::Over;
        }
        self.guard.release();
        Flow::On
    }

    /// Remembers an answer to the question that was sent at `asked`, and reports what counts now to
    /// all waiting clients.
    pub(super) fn answer(&mut self, attempt: AttemptId, remembered: Remembered, asked: Timestamp) {
        let context = &self.context;
        let now = context.now();
        if let Some(target) = self.attempts.target(attempt).filter(|_| self.attempts.suggests_plain(attempt)) {
            context.upstreams.note_plain(target.upstream, &self.key, now);
        }
        let replaced = context.memory.find_answer(&self.key, now);
        let cached = match remembered.keep {
            // An answer with TTL 0 is not kept, unless the name had a TTL before: then the older
            // answer must not come back in an outage, nor may the name be left with nothing.
            Keep::No if replaced.is_none() => Arc::new(CachedAnswer::new(&self.key, remembered.entry, self.group)),
            Keep::Yes | Keep::No => context.memory.insert(&self.key, remembered.entry, asked),
        };
        if let Some(replaced) = replaced {
            context.reversals.learned(&self.key, &replaced, &cached, now);
        }
        context.memory.clear_failure(&self.key);
        context.note_answer(&self.key, self.group, now);
        self.guard.flight.report(Progress::Answered(cached));
    }

    /// Whether an answer goes back to what was known before a change, and is to be confirmed.
    pub(super) fn doubts(&self, remembered: &Remembered) -> bool {
        let (context, now) = (&self.context, self.context.now());
        let present = context.memory.find_answer(&self.key, now).filter(|own| own.entry.kind == Kind::Positive);
        present.is_some_and(|present| context.reversals.doubts(&self.key, &present.entry, &remembered.entry, now))
    }

    /// Takes an answer that is doubted, and has it confirmed.
    pub(super) fn take_doubted(&mut self, attempt: AttemptId, remembered: Remembered) -> Vec<Step> {
        self.doubted.get_or_insert(DoubtedAnswer { attempt, remembered });
        self.attempts.doubted(attempt, self.context.now())
    }

    /// Concludes a round of confirmation in which nobody contradicted the doubted answer: it is
    /// believed, or what is remembered stays, and the question is asked again in a while.
    pub(super) fn conclude_doubt(&mut self) {
        let Some(DoubtedAnswer { attempt, remembered }) = self.doubted.take() else { return };
        let (context, now) = (Arc::clone(&self.context), self.context.now());
        let round = match self.attempts.confirmed() {
            Some(Confirmed::ByOthers) => Round::Agreed,
            Some(Confirmed::ByNobody) | None => Round::Unheard,
        };
        match context.reversals.conclude(&self.key, round, now) {
            Conclusion::Believed => {
                let asked = self.attempts.sent_at(attempt).unwrap_or(now);
                self.answer(attempt, remembered, asked);
            }
            Conclusion::Wait(wait) => {
                // Not a failure of the name or its zone: only this question waits.
                self.note = Note::Done;
                let reason = self.reason(Failure::Unconfirmed);
                context.memory.note_failure(&self.key, &reason, None, |_| now.plus(wait), self.recoveries);
                self.guard.release();
                self.guard.flight.report(Progress::Ended(NoAnswer { reason, last_resort: None }));
            }
        }
    }
}
