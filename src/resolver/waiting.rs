//! A query that has to wait: for a refresh as long as the client response timer runs, or for a
//! resolution until its deadline.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::Resolver;
use super::flight::{Flight, Join, NoAnswer, Progress};
use super::front::extended_error;
use super::resolution::Resolution;
use crate::core::answer::{self, Asked, ClientTransport, Shown};
use crate::core::budget::Class;
use crate::core::classify::Failure;
use crate::core::decision::{self, Freshness, KnownAction, Recheck, UnknownAction};
use crate::core::extended_error::ExtendedError;
use crate::core::health::LATE;
use crate::core::key::Key;
use crate::core::question::{ErrorRcode, Query};
use crate::core::time::Timestamp;
use crate::core::upstream::GroupId;
use crate::memory::cached::{CachedAnswer, ResolutionFailure};
use crate::memory::store::Found;
use crate::telemetry::tally::{Answered, Tally};

/// A query that could not be answered from memory at once.
#[derive(Debug)]
pub struct Waiting {
    /// The client's packet.
    pub packet: Box<[u8]>,
    /// What it asks.
    pub query: Query,
    /// How it came, and how its answer travels.
    pub transport: ClientTransport,
    /// From where.
    pub client: SocketAddr,
    /// When.
    pub arrived: Timestamp,
}

impl Waiting {
    /// The query as answers see it.
    #[must_use]
    pub fn asked(&self) -> Asked<'_> {
        Asked { packet: &self.packet, echo: self.query.echo, transport: self.transport }
    }
}

/// What a waiting query is answered with.
enum Outcome {
    /// A remembered answer.
    Entry(Arc<CachedAnswer>, Shown),
    /// SERVFAIL.
    ResolutionFailure(ResolutionFailure, Answered),
}

/// Who told it.
enum Told {
    /// An upstream, just now.
    Upstream(Arc<CachedAnswer>),
    /// The fleet, as it remembers.
    SharedCache(Arc<CachedAnswer>),
}

/// Who waits.
#[derive(Clone, Copy)]
enum Patience {
    /// Somebody who can be given something stale: any bad news ends the wait.
    HasStale,
    /// Somebody who has nothing.
    HasNothing,
}

impl Resolver {
    /// Waits for as long as this query may wait, and writes its answer.
    ///
    /// Cancel safe: the resolution that was started goes on for the others.
    pub async fn complete(self: &Arc<Self>, waiting: &Waiting, tally: &Tally) -> Vec<u8> {
        let outcome = self.wait_for(waiting).await;
        let now = self.now();
        match outcome {
            Outcome::Entry(cached, shown) => {
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
            Outcome::ResolutionFailure(reason, answered) => {
                tally.count(answered);
                let reasons = match answered {
                    Answered::CachedFailure => [Some(ExtendedError::CachedError), Some(extended_error(reason.failure))],
                    _ => [Some(extended_error(reason.failure)), None],
                };
                self.outages.note_failed(self.group_of(&waiting.query.key));
                let mut out = vec![0; answer::UDP_PLAIN + reason.extended_errors.len()];
                let length = answer::write_error(
                    &waiting.asked(),
                    ErrorRcode::ServFail,
                    reasons,
                    &reason.extended_errors,
                    &mut out,
                );
                out.truncate(length);
                out
            }
        }
    }

    /// Decides again, since time has passed, and waits.
    async fn wait_for(self: &Arc<Self>, waiting: &Waiting) -> Outcome {
        let now = self.now();
        let key = &waiting.query.key;
        match self.memory.find(key, now) {
            Found::Answer(cached) => self.wait_for_refresh(waiting, cached, now).await,
            Found::Failure(failed) => {
                let group = self.group_of(key);
                let recheck = if failed.note.holds(|| self.upstreams.recoveries(group, key.name()), now) {
                    Recheck::NotDue
                } else {
                    Recheck::Due
                };
                self.wait_for_answer(waiting, group, recheck, Some(&failed.reason)).await
            }
            Found::Nothing => self.wait_for_answer(waiting, self.group_of(key), Recheck::Due, None).await,
        }
    }

    /// Waits with something stale in hand.
    async fn wait_for_refresh(
        self: &Arc<Self>,
        waiting: &Waiting,
        cached: Arc<CachedAnswer>,
        now: Timestamp,
    ) -> Outcome {
        let key = &waiting.query.key;
        let stale = Shown::Stale { ttl: self.policy.stale.answer_ttl };
        let freshness =
            if cached.is_fresh(now) { Freshness::Fresh(decision::Prefetch::NotDue) } else { Freshness::Stale };
        let availability = self.upstreams.availability(cached.group());
        match decision::decide_known(freshness, self.refresh_state(key, &cached, now), availability) {
            KnownAction::Fresh(_) => Outcome::Entry(cached, Shown::Fresh),
            KnownAction::Stale(beside) => {
                self.start_beside(beside, Class::Miss, &waiting.query.key, &cached, now);
                Outcome::Entry(cached, stale)
            }
            KnownAction::AwaitRefresh | KnownAction::StartRefresh => {
                let Some(flight) = self.fly(&waiting.query.key, cached.group(), Class::Miss) else {
                    return Outcome::Entry(cached, stale);
                };
                if flight.is_retransmission(waiting.client, waiting.query.echo.id) {
                    return Outcome::Entry(cached, stale);
                }
                let timer = self.upstreams.timer(cached.group());
                // What was never fresh is for outages (TTL 0): an answer that comes at all is
                // better.
                let patience = if cached.entry.was_never_fresh() { timer.max(LATE) } else { timer };
                let rest = patience.saturating_sub(now.since(flight.began()));
                match watch_until(flight.watch(), rest, Patience::HasStale).await {
                    Some(Ok(found)) => self.shown(found),
                    Some(Err(_)) | None => Outcome::Entry(cached, stale),
                }
            }
        }
    }

    /// Waits with nothing in hand.
    async fn wait_for_answer(
        self: &Arc<Self>,
        waiting: &Waiting,
        group: GroupId,
        recheck: Recheck,
        known: Option<&ResolutionFailure>,
    ) -> Outcome {
        match (decision::decide_unknown(recheck), known) {
            (UnknownAction::CachedFailure, Some(reason)) => {
                return Outcome::ResolutionFailure(reason.clone(), Answered::CachedFailure);
            }
            (UnknownAction::CachedFailure, None) | (UnknownAction::Ask, _) => {}
        }
        let Some(flight) = self.fly(&waiting.query.key, group, Class::Miss) else { return overload() };
        match watch_until(flight.watch(), self.upstreams.deadline(group, self.now()), Patience::HasNothing).await {
            Some(Ok(cached)) => self.shown(cached),
            Some(Err(NoAnswer { truncated: Some(cached), .. })) => Outcome::Entry(cached, Shown::Fresh),
            Some(Err(NoAnswer { reason, truncated: None })) => Outcome::ResolutionFailure(reason, Answered::Failed),
            None => Outcome::ResolutionFailure(
                ResolutionFailure { failure: Failure::Timeout, extended_errors: Box::default() },
                Answered::Failed,
            ),
        }
    }

    /// What a resolution found: fresh from an upstream, or as the fleet remembered it.
    fn shown(&self, told: Told) -> Outcome {
        match told {
            Told::Upstream(cached) => Outcome::Entry(cached, Shown::Fresh),
            Told::SharedCache(cached) if cached.is_fresh(self.now()) => Outcome::Entry(cached, Shown::Fresh),
            Told::SharedCache(cached) => Outcome::Entry(cached, Shown::Stale { ttl: self.policy.stale.answer_ttl }),
        }
    }

    /// Something has come back: whoever asks for what it concerns is not to join a resolution from
    /// before that has given up.
    pub(super) fn release_flights(&self, concerns: impl Fn(&Key) -> bool) {
        for key in self.flights.release(concerns) {
            if let Found::Answer(cached) = self.memory.find(&key, self.now()) {
                cached.end_refresh();
            }
        }
    }

    /// Joins the resolution of a key or starts it; `None` when too many are under way.
    pub(super) fn fly(self: &Arc<Self>, key: &Key, group: GroupId, class: Class) -> Option<Arc<Flight>> {
        let now = self.now();
        match self.flights.join(key, class, now) {
            Join::Joined(flight) => Some(flight),
            Join::Leads(flight) => {
                let known = match self.memory.find(key, now) {
                    Found::Answer(cached) => {
                        let _ = cached.claim_refresh(now);
                        true
                    }
                    Found::Failure(_) | Found::Nothing => false,
                };
                let plan = self.upstreams.plan(group, class, known, self.ports.chance.number(), now);
                self.spawn(Resolution::new(self, key.clone(), group, plan, Arc::clone(&flight)).run());
                Some(flight)
            }
            Join::Full => {
                if let Found::Answer(cached) = self.memory.find(key, now) {
                    cached.end_refresh();
                }
                None
            }
        }
    }
}

/// There is no room to ask.
fn overload() -> Outcome {
    Outcome::ResolutionFailure(
        ResolutionFailure { failure: Failure::Overload, extended_errors: Box::default() },
        Answered::Failed,
    )
}

/// Waits for news that end the wait; `None` when none came in time.
///
/// Who joins a resolution that has already given up, and has nothing, goes on waiting for its late
/// answer.
async fn watch_until(
    mut progress: watch::Receiver<Progress>,
    at_most: Duration,
    patience: Patience,
) -> Option<Result<Told, NoAnswer>> {
    let joined_late = matches!(&*progress.borrow(), Progress::GaveUp(NoAnswer { truncated: None, .. }));
    let ends = |progress: &Progress| match (progress, patience) {
        (Progress::Answered(_) | Progress::Recalled(_) | Progress::Ended(_), _)
        | (Progress::Trouble | Progress::GaveUp(_), Patience::HasStale) => true,
        (Progress::GaveUp(_), Patience::HasNothing) => !joined_late,
        (Progress::Asking, _) | (Progress::Trouble, Patience::HasNothing) => false,
    };
    let waited = tokio::time::timeout(at_most, progress.wait_for(ends)).await;
    match waited {
        Ok(Ok(news)) => match &*news {
            Progress::Answered(cached) => Some(Ok(Told::Upstream(Arc::clone(cached)))),
            Progress::Recalled(cached) => Some(Ok(Told::SharedCache(Arc::clone(cached)))),
            Progress::Ended(no_answer) | Progress::GaveUp(no_answer) => Some(Err(no_answer.clone())),
            Progress::Asking | Progress::Trouble => None,
        },
        Ok(Err(_)) | Err(_) => None,
    }
}
