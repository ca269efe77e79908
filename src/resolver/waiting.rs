//! The queries that have to wait: for a refresh as long as the client response timer runs, or for a
//! resolution until its deadline.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::context::Context;
use super::flight::{NoAnswer, Progress};
use super::front::Waiting;
use super::outage::Outages;
use super::refreshes::RefreshQueue;
use super::resolutions::join_or_start;
use crate::core::answer::{self, Shown};
use crate::core::budget::Class;
use crate::core::classify::Failure;
use crate::core::decision::{self, Freshness, KnownAction, Prefetch, UnknownAction};
use crate::core::extended_error::ExtendedError;
use crate::core::health::LATE;
use crate::core::question::ErrorRcode;
use crate::core::time::Timestamp;
use crate::core::upstream::GroupId;
use crate::memory::cached::{CachedAnswer, ResolutionFailure};
use crate::memory::store::Found;
use crate::telemetry::tally::{Answered, Tally};

/// The reply to a waiting query.
enum Reply {
    /// A remembered answer.
    Answer(Arc<CachedAnswer>, Shown),
    /// SERVFAIL, because this resolution failed.
    Failed(ResolutionFailure),
    /// SERVFAIL from the failure cache.
    CachedFailure(ResolutionFailure),
}

/// Where the answer of a resolution came from.
enum Resolved {
    /// An upstream gave the answer just now.
    Upstream(Arc<CachedAnswer>),
    /// The shared cache had the answer.
    SharedCache(Arc<CachedAnswer>),
}

/// The answer that a waiting client can get when no better one comes.
#[derive(Clone, Copy)]
enum InHand {
    /// A stale answer: any bad news ends the wait.
    StaleAnswer,
    /// Nothing: only an answer or the end of the resolution ends the wait.
    Nothing,
}

/// Answers the queries that have to wait.
pub(super) struct WaitingQueries {
    pub(super) context: Arc<Context>,
    pub(super) outages: Arc<Outages>,
    pub(super) refreshes: RefreshQueue,
}

impl WaitingQueries {
    /// Waits for as long as this query may wait, and writes its answer.
    ///
    /// Cancel safe: the resolution that was started goes on for the others.
    pub(super) async fn complete(&self, waiting: &Waiting, tally: &Tally) -> Vec<u8> {
        match self.wait_for(waiting).await {
            Reply::Answer(cached, shown) => {
                let now = self.context.now();
                if let Shown::Stale { .. } = shown {
                    self.outages.note_stale(&cached);
                    tally.count_stale(now.since(cached.entry.fresh_until));
                } else {
                    tally.count(Answered::Fresh);
                }
                let mut out = vec![0; answer::room(&cached.entry)];
                let length = answer::write_entry(&waiting.asked(), &cached.entry, shown, now, &mut out);
                out.truncate(length);
                out
            }
            Reply::Failed(reason) => {
                tally.count(Answered::Failed);
                self.write_failure(waiting, &reason, [Some(reason.failure.extended_error()), None])
            }
            Reply::CachedFailure(reason) => {
                tally.count(Answered::CachedFailure);
                let reasons = [Some(ExtendedError::CachedError), Some(reason.failure.extended_error())];
                self.write_failure(waiting, &reason, reasons)
            }
        }
    }

    /// Writes SERVFAIL and counts it for the outage, if there is one.
    fn write_failure(
        &self,
        waiting: &Waiting,
        reason: &ResolutionFailure,
        reasons: [Option<ExtendedError>; 2],
    ) -> Vec<u8> {
        self.outages.note_failed(self.context.group_of(&waiting.query.key));
        let mut out = vec![0; answer::UDP_PLAIN + reason.extended_errors.len()];
        let length =
            answer::write_error(&waiting.asked(), ErrorRcode::ServFail, reasons, &reason.extended_errors, &mut out);
        out.truncate(length);
        out
    }

    /// Decides again, since time has passed between arrival and this task, and waits.
    async fn wait_for(&self, waiting: &Waiting) -> Reply {
        let context = &self.context;
        let (key, now) = (&waiting.query.key, context.now());
        let group = context.group_of(key);
        match context.memory.find(key, now) {
            Found::Answer(cached) => self.wait_for_refresh(waiting, cached, now).await,
            Found::Failure(failed) => match decision::decide_unknown(context.recheck(key, group, &failed.note, now)) {
                UnknownAction::CachedFailure => Reply::CachedFailure(failed.reason.clone()),
                UnknownAction::Ask => self.wait_for_answer(waiting, group).await,
            },
            Found::Nothing => self.wait_for_answer(waiting, group).await,
        }
    }

    /// Waits for the refresh of a stale answer, which is the reply when the refresh takes too long.
    async fn wait_for_refresh(&self, waiting: &Waiting, cached: Arc<CachedAnswer>, now: Timestamp) -> Reply {
        let context = &self.context;
        let (key, group) = (&waiting.query.key, cached.group());
        let stale = Shown::Stale { ttl: context.policy.stale.answer_ttl };
        let freshness = if cached.is_fresh(now) { Freshness::Fresh(Prefetch::NotDue) } else { Freshness::Stale };
        let refresh = context.refresh_state(key, &cached, now);
        match decision::decide_known(freshness, refresh, context.upstreams.availability(group)) {
            KnownAction::Fresh(_) => Reply::Answer(cached, Shown::Fresh),
            KnownAction::Stale(beside) => {
                self.refreshes.start(beside, Class::Miss, key, &cached, now);
                Reply::Answer(cached, stale)
            }
            KnownAction::AwaitRefresh | KnownAction::StartRefresh => {
                // The stale answer is given at once when no refresh can be started, or when the
                // client has lost its patience.
                let Some(flight) = join_or_start(context, key, group, Class::Miss) else {
                    return Reply::Answer(cached, stale);
                };
                if flight.is_retransmission(waiting.client, waiting.query.echo.id) {
                    return Reply::Answer(cached, stale);
                }
                let timer = context.upstreams.timer(group);
                // An answer that was never fresh (TTL 0) is meant for outages, so the refresh is
                // waited for longer.
                let patience = if cached.entry.was_never_fresh() { timer.max(LATE) } else { timer };
                let rest = patience.saturating_sub(now.since(flight.began()));
                match watch_until(flight.watch(), rest, InHand::StaleAnswer).await {
                    Some(Ok(resolved)) => self.show(resolved),
                    Some(Err(_)) | None => Reply::Answer(cached, stale),
                }
            }
        }
    }

    /// Waits for the answer to a name of which nothing is remembered.
    async fn wait_for_answer(&self, waiting: &Waiting, group: GroupId) -> Reply {
        let context = &self.context;
        let failed = |failure| Reply::Failed(ResolutionFailure { failure, extended_errors: Box::default() });
        let Some(flight) = join_or_start(context, &waiting.query.key, group, Class::Miss) else {
            return failed(Failure::LocalLimit);
        };
        let deadline = context.upstreams.deadline(group, context.now());
        match watch_until(flight.watch(), deadline, InHand::Nothing).await {
            Some(Ok(resolved)) => self.show(resolved),
            Some(Err(NoAnswer { truncated: Some(cached), .. })) => Reply::Answer(cached, Shown::Fresh),
            Some(Err(NoAnswer { reason, truncated: None })) => Reply::Failed(reason),
            None => failed(Failure::Timeout),
        }
    }

    /// Shows the answer of a resolution: as fresh from an upstream, or as old as the shared cache
    /// says.
    fn show(&self, resolved: Resolved) -> Reply {
        match resolved {
            Resolved::Upstream(cached) => Reply::Answer(cached, Shown::Fresh),
            Resolved::SharedCache(cached) if cached.is_fresh(self.context.now()) => Reply::Answer(cached, Shown::Fresh),
            Resolved::SharedCache(cached) => {
                Reply::Answer(cached, Shown::Stale { ttl: self.context.policy.stale.answer_ttl })
            }
        }
    }
}

/// Waits for news that end the wait; `None` when none came within `at_most`.
///
/// A client that joins a resolution which has already given up, and has nothing in hand, goes on
/// waiting for its late answer.
async fn watch_until(
    mut progress: watch::Receiver<Progress>,
    at_most: Duration,
    in_hand: InHand,
) -> Option<Result<Resolved, NoAnswer>> {
    let joined_late = matches!(&*progress.borrow(), Progress::GaveUp(NoAnswer { truncated: None, .. }));
    let ends = |progress: &Progress| match (progress, in_hand) {
        (Progress::Answered(_) | Progress::Recalled(_) | Progress::Ended(_), _)
        | (Progress::Trouble | Progress::GaveUp(_), InHand::StaleAnswer) => true,
        (Progress::GaveUp(_), InHand::Nothing) => !joined_late,
        (Progress::Asking, _) | (Progress::Trouble, InHand::Nothing) => false,
    };
    let waited = tokio::time::timeout(at_most, progress.wait_for(ends)).await;
    match waited {
        Ok(Ok(news)) => match &*news {
            Progress::Answered(cached) => Some(Ok(Resolved::Upstream(Arc::clone(cached)))),
            Progress::Recalled(cached) => Some(Ok(Resolved::SharedCache(Arc::clone(cached)))),
            Progress::Ended(no_answer) | Progress::GaveUp(no_answer) => Some(Err(no_answer.clone())),
            Progress::Asking | Progress::Trouble => None,
        },
        Ok(Err(_)) | Err(_) => None,
    }
}
