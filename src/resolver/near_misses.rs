//! The near misses of one resolution: responses at its sockets with a wrong ID or question. Whoever
//! sends them has found a port and guesses the rest (RFC 5452 §4).
//!
//! One near miss may be a mistake of the upstream. From the second one on, whichever of the sockets
//! they come to, the resolution hears of it, once for each attempt, and asks over TCP
//! ([`crate::core::attempts`]). A flood of them costs a count each: no memory, and no wake-up of
//! the resolution. Of a response in which all but the case of the name is right the resolution
//! hears at once: it is that of an upstream that does not repeat the case.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::core::attempts::AttemptId;
use crate::core::matching::NearMiss;

/// Near misses of one resolution after which it hears of them.
const HEARD_FROM: u32 = 2;
/// Attempts of one resolution whose near misses are told apart, each for each kind; more than it
/// can have over UDP.
const ATTEMPTS: usize = 64;

/// The near misses of one resolution.
#[derive(Debug, Default)]
pub struct NearMisses {
    seen: Mutex<SeenMisses>,
    heard: Notify,
}

/// What was seen so far.
#[derive(Debug, Default)]
struct SeenMisses {
    count: u32,
    /// The attempts at which there were any, each once for each kind, in the order of their first.
    attempts: Vec<(AttemptId, NearMiss)>,
    /// How many of those the resolution has heard of.
    told: usize,
}

/// Takes the near misses of one attempt.
#[derive(Clone, Debug)]
pub struct MissWatch {
    misses: Arc<NearMisses>,
    attempt: AttemptId,
}

impl NearMisses {
    /// The watch over one attempt.
    #[must_use]
    pub fn watch(self: &Arc<Self>, attempt: AttemptId) -> MissWatch {
        MissWatch { misses: Arc::clone(self), attempt }
    }

    /// Waits until there is something to hear of. Cancel safe.
    pub async fn heard(&self) {
        self.heard.notified().await;
    }

    /// The attempts with near misses that were not taken before.
    pub fn take(&self) -> Vec<(AttemptId, NearMiss)> {
        let mut seen = self.seen.lock();
        let new = seen.attempts.get(seen.told..).unwrap_or_default().to_vec();
        seen.told = seen.attempts.len();
        new
    }
}

impl MissWatch {
    /// Notes a near miss at the socket of the attempt.
    pub fn note(&self, miss: NearMiss) {
        let mut seen = self.misses.seen.lock();
        seen.count = seen.count.saturating_add(1);
        let own = (self.attempt, miss);
        if seen.attempts.len() < ATTEMPTS && !seen.attempts.contains(&own) {
            seen.attempts.push(own);
        }
        if (seen.count >= HEARD_FROM || miss == NearMiss::OtherCase) && seen.told < seen.attempts.len() {
            self.misses.heard.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_second_near_miss_is_heard_of_and_then_the_first_at_each_other_attempt() {
        let misses = Arc::new(NearMisses::default());
        let attempts = AttemptId::some::<3>();
        let guesses = attempts.map(|attempt| (attempt, NearMiss::Guess));
        let patience = Duration::from_secs(1);
        misses.watch(attempts[0]).note(NearMiss::Guess);
        assert!(timeout(patience, misses.heard()).await.is_err(), "it may be a mistake");
        misses.watch(attempts[1]).note(NearMiss::Guess);
        assert!(timeout(patience, misses.heard()).await.is_ok());
        assert_eq!(misses.take(), guesses[..2]);
        (0..1_000).for_each(|_| misses.watch(attempts[0]).note(NearMiss::Guess));
        assert!(timeout(patience, misses.heard()).await.is_err(), "a flood wakes nobody");
        misses.watch(attempts[2]).note(NearMiss::Guess);
        assert!(timeout(patience, misses.heard()).await.is_ok());
        assert_eq!(misses.take(), guesses[2..]);
    }

    #[tokio::test(start_paused = true)]
    async fn another_case_is_heard_of_at_once() {
        let misses = Arc::new(NearMisses::default());
        let [attempt] = AttemptId::some();
        misses.watch(attempt).note(NearMiss::OtherCase);
        assert!(timeout(Duration::from_secs(1), misses.heard()).await.is_ok());
        assert_eq!(misses.take(), [(attempt, NearMiss::OtherCase)]);
    }
}
