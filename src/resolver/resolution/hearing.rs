//! What a resolution hears in a response: the verdict about it, the entry that is made of it,
//! whether its upstream understands EDNS ([`crate::core::edns`]), and that somebody else tries to
//! answer.

use super::Resolution;
use crate::core::attempts::{AttemptId, Step, Target};
use crate::core::classify::{self, Failure, Verdict};
use crate::core::edns::{self, OptPlace};
use crate::core::entry::{Entry, Remembered};
use crate::core::matching::NearMiss;
use crate::core::message::MalformedMessage;
use crate::core::time::Timestamp;
use crate::core::upstream::{QueryCase, Transport};
use crate::core::upstream_query::{self, Extension};

impl Resolution {
    /// The verdict about a response, and the entry that is made of an answer. An answer that cannot
    /// be kept is malformed, and one that counts for less than what is known is a failure.
    pub(super) fn judge(&mut self, response: &[u8]) -> (Verdict, Option<Remembered>) {
        let verdict = classify::classify(self.key.qtype(), response);
        let remembered = match verdict {
            Verdict::Positive { .. } | Verdict::Negative { .. } => self.read(response, verdict),
            Verdict::Truncated | Verdict::Failed(_) => return (verdict, None),
        };
        match remembered {
            Err(_) => (Verdict::Failed(Failure::Malformed), None),
            // The upstream could not refresh it, so it refreshes nothing here.
            Ok(marked) if marked.entry.is_marked_stale() => {
                self.last_resort.keep(&self.key, marked.entry.expired(), self.group);
                (Verdict::Failed(Failure::MarkedStale), None)
            }
            // That is no denial, so what is known of the name goes on.
            Ok(_) if verdict.is_unvouched_nodata() && self.context.knows_data(&self.key) => {
                (Verdict::Failed(Failure::Unvouched), None)
            }
            Ok(remembered) => (verdict, Some(remembered)),
        }
    }

    /// Makes an entry of a response.
    pub(super) fn read(&self, response: &[u8], verdict: Verdict) -> Result<Remembered, MalformedMessage> {
        Entry::remember(&self.key, response, verdict, &self.context.policy, self.context.now())
    }

    /// Takes near misses at the sockets of this resolution.
    pub(super) fn hear_of_misses(&mut self) -> Vec<Step> {
        let now = self.context.now();
        let mut steps = Vec::new();
        for (attempt, miss) in self.misses.take() {
            // From now on this upstream is asked in lower case, or the question had no answer.
            let upstream = self.attempts.target(attempt).map(|target| target.upstream);
            self.unmixed.extend(upstream.filter(|own| miss == NearMiss::OtherCase && !self.unmixed.contains(own)));
            steps.extend(self.attempts.near_missed(attempt, now));
        }
        steps
    }

    /// The query of one attempt.
    pub(super) fn query(&self, target: Target, case: QueryCase) -> Vec<u8> {
        let chance = &self.context.ports.chance;
        let [high, low, ..] = chance.number().to_be_bytes();
        let mut query = upstream_query::write(&self.key, u16::from_be_bytes([high, low]), target.extension);
        // Over TCP there is nothing to guess.
        match (case, target.transport) {
            (QueryCase::Random, Transport::Udp) if !self.unmixed.contains(&target.upstream) => {
                upstream_query::mix_case(&mut query, chance.number());
            }
            (QueryCase::Random | QueryCase::Lower, _) => {}
        }
        query
    }

    /// Notes what a response shows about EDNS at its upstream, when the query had an OPT. Gives the
    /// extension of the response itself.
    pub(super) fn note_extension(
        &self,
        attempt: AttemptId,
        response: &[u8],
        verdict: Verdict,
        now: Timestamp,
    ) -> Extension {
        let theirs = match edns::opt_of(response) {
            OptPlace::Additional => Extension::Edns,
            OptPlace::Nowhere | OptPlace::Elsewhere => Extension::Plain,
        };
        let works = match verdict {
            Verdict::Positive { .. } | Verdict::Negative { .. } | Verdict::Truncated => true,
            Verdict::Failed(Failure::NotUnderstood | Failure::Malformed) => false,
            // An OPT in response to ours shows that it was understood, whatever is wrong otherwise.
            Verdict::Failed(_) => theirs == Extension::Edns,
        };
        let target = self.attempts.target(attempt);
        if let Some(target) = target.filter(|own| works && own.extension == Extension::Edns) {
            self.context.upstreams.note_edns(target.upstream, now);
        }
        theirs
    }
}
