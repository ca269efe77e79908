//! The queries that have to wait: for a refresh as long as the client response timer runs, or for a
//! resolution until its deadline.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::context::Context;
use super::flight::{NoAnswer, Progress};
use super::front::Waiting;
use super::last_resort::{self, is_better};
use super::outage::Outages;
use super::refreshes::RefreshQueue;
use super::resolutions::{Turn, join_in_turn, join_or_start};
use crate::core::answer::{self, Shown};
use crate::core::budget::{Class, PacketClaim};
use crate::core::classify::Failure;
use crate::core::decision::{self, Freshness, KnownAction, Prefetch, Recheck, Refresh, UnknownAction};
use crate::core::extended_error::ExtendedError;
use crate::core::health::LATE;
use crate::core::key::Key;
use crate::core::policy::AddressOrder;
use crate::core::question::ErrorRcode;
use crate::core::rotation;
use crate::core::time::Timestamp;
use crate::core::upstream::GroupId;
use crate::memory::cached::CachedAnswer;
use crate::memory::cached_failure::ResolutionFailure;
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
                let mut out = vec![0; answer::room(&cached.entry).min(waiting.asked().limit())];
                let length = answer::write_entry(&waiting.asked(), &cached.entry, shown, now, &mut out);
                out.truncate(length);
                if self.context.policy.addresses == AddressOrder::Rotated {
                    rotation::rotate(&cached.entry, waiting.query.key.qtype(), cached.hits(), &mut out);
                }
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
        let failed = match context.memory.find(key, now) {
            Found::Answer(cached) => return self.wait_for_refresh(waiting, cached, now).await,
            Found::Failure(failed) => Some(failed),
            Found::Nothing => None,
        };
        if let Some(denial) = context.memory.store().find_denial(key, now) {
            return Reply::Answer(denial, Shown::Fresh);
        }
        let recheck = failed.as_ref().map_or(Recheck::Due, |failed| context.recheck(key, group, &failed.note, now));
        match (decision::decide_unknown(recheck, context.upstreams.availability(group)), failed) {
            (UnknownAction::NearestElseFailure, Some(failed)) => match &failed.last_resort {
                Some(cached) if last_resort::is_fresh(cached, now) => Reply::Answer(Arc::clone(cached), Shown::Fresh),
                Some(cached) => {
                    Reply::Answer(Arc::clone(cached), Shown::Stale { ttl: context.policy.stale.answer_ttl })
                }
                None => Reply::CachedFailure(failed.reason.clone()),
            },
            (UnknownAction::NearestElseAsk, _) => match self.nearest(key) {
                Some(reply) => reply,
                None => self.wait_for_answer(waiting, group).await,
            },
            (UnknownAction::Ask | UnknownAction::NearestElseFailure, _) => self.wait_for_answer(waiting, group).await,
        }
    }

    /// The sender of what goes upstream for a waiting query.
    fn sender(&self, waiting: &Waiting) -> PacketClaim {
        let client = self.context.sharing.identify(waiting.client.ip(), self.context.now());
        PacketClaim { class: Class::Miss, client: Some(client) }
    }

    /// What is nearest to a question, as a reply; `None` when nothing is near.
    fn nearest(&self, key: &Key) -> Option<Reply> {
        let nearest = self.context.memory.nearest(key, self.context.now())?;
        nearest.hit();
        Some(Reply::Answer(nearest, Shown::Stale { ttl: self.context.policy.stale.answer_ttl }))
    }

    /// The reply when there is no answer: what is nearest, else SERVFAIL.
    fn fail(&self, key: &Key, reason: ResolutionFailure) -> Reply {
        self.nearest(key).unwrap_or(Reply::Failed(reason))
    }

    /// Waits for the refresh of a stale answer, which is the reply when the refresh takes too long.
    async fn wait_for_refresh(&self, waiting: &Waiting, cached: Arc<CachedAnswer>, now: Timestamp) -> Reply {
        let context = &self.context;
        let (key, group) = (&waiting.query.key, cached.group());
        let stale = Shown::Stale { ttl: context.policy.stale.answer_ttl };
        let freshness = if cached.is_fresh(now) { Freshness::Fresh(Prefetch::NotDue) } else { Freshness::Stale };
        let refresh = context.refresh_state(key, &cached, now);
        match decision::decide_known(freshness, refresh, context.upstreams.availability_for(group, key)) {
            KnownAction::Fresh(_) => Reply::Answer(cached, Shown::Fresh),
            // Until its turn comes, nothing is asked for the name.
            KnownAction::StartRefresh if !context.upstreams.has_turn(&cached, now) => Reply::Answer(cached, stale),
            KnownAction::Stale(beside) => {
                self.refreshes.start(beside, Class::Miss, key, &cached, now);
                Reply::Answer(cached, stale)
            }
            KnownAction::AwaitRefresh | KnownAction::StartRefresh => {
                // The stale answer is given at once when no refresh can be started, or when the
                // client has lost its patience.
                let Some(flight) = join_or_start(context, key, group, self.sender(waiting)) else {
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
                    // What an upstream marked as stale may still be newer than what is known here.
                    Some(Err(NoAnswer { last_resort: Some(marked), .. })) if is_better(&marked, &cached) => {
                        Reply::Answer(marked, stale)
                    }
                    Some(Err(_)) | None => Reply::Answer(cached, stale),
                }
            }
        }
    }

    /// Waits for the resolution of a question of which something else is known for the same name.
    /// That counts as a stale answer: it is the reply when the resolution takes too long.
    async fn wait_beside(&self, waiting: &Waiting, known: Arc<CachedAnswer>, group: GroupId) -> Reply {
        let (context, key) = (&self.context, &waiting.query.key);
        known.hit();
        let reply = Reply::Answer(known, Shown::Stale { ttl: context.policy.stale.answer_ttl });
        let Some(flight) = join_or_start(context, key, group, self.sender(waiting)) else { return reply };
        let availability = context.upstreams.availability_for(group, key);
        match decision::decide_known(Freshness::Stale, Refresh::Idle, availability) {
            KnownAction::Fresh(_) | KnownAction::Stale(_) => reply,
            KnownAction::AwaitRefresh | KnownAction::StartRefresh => {
                let rest = context.upstreams.timer(group).saturating_sub(context.now().since(flight.began()));
                match watch_until(flight.watch(), rest, InHand::StaleAnswer).await {
                    Some(Ok(resolved)) => self.show(resolved),
                    Some(Err(_)) | None => reply,
                }
            }
        }
    }

    /// Waits for the answer to a name of which nothing is remembered; for a place among the
    /// resolutions first, when too many are under way.
    async fn wait_for_answer(&self, waiting: &Waiting, group: GroupId) -> Reply {
        let (context, key) = (&self.context, &waiting.query.key);
        if let Some(known) = context.memory.nearest_of_name(key, context.now()) {
            return self.wait_beside(waiting, known, group).await;
        }
        let failed = |failure| self.fail(key, ResolutionFailure { failure, extended_errors: Box::default() });
        let began = context.now();
        let deadline = context.upstreams.deadline(group, began);
        let client = context.sharing.identify(waiting.client.ip(), began);
        let flight = match timeout(deadline, join_in_turn(context, key, group, client)).await {
            Ok(Turn::Flight(flight)) => flight,
            Ok(Turn::Answered(cached)) => return self.show_known(cached),
            Err(_) => return failed(Failure::LocalLimit),
        };
        let rest = deadline.saturating_sub(context.now().since(began));
        match watch_until(flight.watch(), rest, InHand::Nothing).await {
            Some(Ok(resolved)) => self.show(resolved),
            Some(Err(NoAnswer { last_resort: Some(cached), .. })) if cached.entry.truncated => {
                Reply::Answer(cached, Shown::Fresh)
            }
            Some(Err(NoAnswer { last_resort: Some(cached), .. })) => self.show_known(cached),
            Some(Err(NoAnswer { reason, last_resort: None })) => self.fail(key, reason),
            None => failed(Failure::Timeout),
        }
    }

    /// Shows the answer of a resolution: as fresh from an upstream, or as old as the shared cache
    /// says.
    fn show(&self, resolved: Resolved) -> Reply {
        match resolved {
            Resolved::Upstream(cached) => Reply::Answer(cached, Shown::Fresh),
            Resolved::SharedCache(cached) => self.show_known(cached),
        }
    }

    /// Shows an answer that was not given just now, as fresh as it is.
    fn show_known(&self, cached: Arc<CachedAnswer>) -> Reply {
        let shown = if cached.is_fresh(self.context.now()) {
            Shown::Fresh
        } else {
            Shown::Stale { ttl: self.context.policy.stale.answer_ttl }
        };
        Reply::Answer(cached, shown)
    }
}

/// Waits for news that end the wait; `None` when none came within `at_most`.
async fn watch_until(
    mut progress: watch::Receiver<Progress>,
    at_most: Duration,
    in_hand: InHand,
) -> Option<Result<Resolved, NoAnswer>> {
    let ends = |progress: &Progress| match (progress, in_hand) {
        (Progress::Answered(_) | Progress::Recalled(_) | Progress::GaveUp(_) | Progress::Ended(_), _)
        | (Progress::Trouble, InHand::StaleAnswer) => true,
        (Progress::Asking, _) | (Progress::Trouble, InHand::Nothing) => false,
    };
    let waited = timeout(at_most, progress.wait_for(ends)).await;
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
