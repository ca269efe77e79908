//! A query's arrival: everything that can be answered from memory is answered here, on the thread
//! that received it.
//!
//! Fresh answers, stale answers while upstreams are not healthy, and cached failures take no lock,
//! no allocation and no await. What has to wait is handed back as [`Waiting`].

use std::net::SocketAddr;
use std::sync::Arc;

use super::background::Errand;
use super::{Resolver, Waiting};
use crate::core::answer::{self, Asked, ClientTransport, Shown};
use crate::core::budget::Class;
use crate::core::decision::{self, Beside, Freshness, KnownAction, Refresh};
use crate::core::entry::Entry;
use crate::core::extended_error::ExtendedError;
use crate::core::key::Key;
use crate::core::message::FLAG_RECURSION_DESIRED;
use crate::core::question::{self, ErrorRcode, Query, Received};
use crate::core::time::Timestamp;
use crate::core::{refresh, special};
use crate::memory::cached::{CachedAnswer, CachedFailure};
use crate::memory::store::Found;
use crate::memory::thread_cache::{Known, ThreadCache};
use crate::telemetry::tally::{Answered, Tally};

/// A packet that came in.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Its bytes.
    pub packet: &'a [u8],
    /// How it came.
    pub transport: ClientTransport,
    /// From where.
    pub client: SocketAddr,
    /// When.
    pub now: Timestamp,
}

/// What became of it.
#[derive(Debug)]
pub enum Disposition {
    /// The answer stands in the buffer, this long.
    Answered(usize),
    /// No answer is owed.
    Dropped,
    /// The answer has to be waited for.
    Waiting(Box<Waiting>),
}

/// A query that is being looked at.
struct Look<'a> {
    /// How it came.
    arrival: Arrival<'a>,
    /// What it asks.
    query: &'a Query,
    /// Counts what becomes of it.
    tally: &'a Tally,
}

impl Look<'_> {
    /// The query as answers see it.
    const fn asked(&self) -> Asked<'_> {
        Asked { packet: self.arrival.packet, echo: self.query.echo, transport: self.arrival.transport }
    }

    /// The query for later.
    fn wait(&self) -> Disposition {
        Disposition::Waiting(Box::new(Waiting {
            packet: self.arrival.packet.into(),
            query: self.query.clone(),
            transport: self.arrival.transport,
            client: self.arrival.client,
            arrived: self.arrival.now,
        }))
    }
}

impl Resolver {
    /// Answers a packet from memory into `out`, or says what it has to wait for. `tally` and
    /// `shelf` are the calling thread's own.
    pub fn receive(
        self: &Arc<Self>,
        arrival: Arrival<'_>,
        tally: &Tally,
        thread_cache: &mut ThreadCache,
        out: &mut [u8],
    ) -> Disposition {
        match question::read(arrival.packet) {
            Received::Drop(_) => {
                tally.count(Answered::Dropped);
                Disposition::Dropped
            }
            Received::Error(code, echo) => {
                tally.count(Answered::Rejected);
                let asked = Asked { packet: arrival.packet, echo, transport: arrival.transport };
                Disposition::Answered(answer::write_error(&asked, code, [None, None], &[], out))
            }
            Received::Query(query) => self.look(&Look { arrival, query: &query, tally }, thread_cache, out),
        }
    }

    /// Answers a query from memory, or says what it has to wait for.
    fn look(&self, look: &Look<'_>, thread_cache: &mut ThreadCache, out: &mut [u8]) -> Disposition {
        if let Some(entry) = self.hosts.answer(&look.query.key, &self.policy, look.arrival.now) {
            return give_local(look, &entry, out);
        }
        let recursion = look.query.echo.flags & FLAG_RECURSION_DESIRED != 0;
        match thread_cache.find(self.memory.store(), &look.query.key, look.arrival.now) {
            Known::Answer(cached) if recursion => self.serve(look, cached, out),
            Known::Answer(cached) if cached.is_fresh(look.arrival.now) => give(look, cached, Shown::Fresh, out),
            Known::Failure(failed) if recursion => self.serve_failure(look, failed, out),
            Known::Nothing if recursion => self.serve_nothing(look, out),
            Known::Answer(_) | Known::Failure(_) | Known::Nothing => {
                look.tally.count(Answered::Rejected);
                let reason = [Some(ExtendedError::NotAuthoritative), None];
                Disposition::Answered(answer::write_error(&look.asked(), ErrorRcode::ServFail, reason, &[], out))
            }
        }
    }

    /// Serves a name of which something is remembered.
    fn serve(&self, look: &Look<'_>, cached: &Arc<CachedAnswer>, out: &mut [u8]) -> Disposition {
        let now = look.arrival.now;
        let action = decision::decide_known(
            self.freshness(cached, now),
            self.refresh_state(&look.query.key, cached, now),
            self.upstreams.availability(cached.group()),
        );
        match action {
            KnownAction::Fresh(beside) => {
                self.start_beside(beside, Class::Prefetch, &look.query.key, cached, now);
                give(look, cached, Shown::Fresh, out)
            }
            KnownAction::Stale(beside) => {
                self.start_beside(beside, Class::Miss, &look.query.key, cached, now);
                self.give_stale(look, cached, out)
            }
            KnownAction::AwaitRefresh if self.waited_enough(cached, now) => self.give_stale(look, cached, out),
            KnownAction::AwaitRefresh | KnownAction::StartRefresh => look.wait(),
        }
    }

    /// Serves a name of which only a failure is remembered.
    fn serve_failure(&self, look: &Look<'_>, failed: &CachedFailure, out: &mut [u8]) -> Disposition {
        let name = look.query.key.name();
        if !failed.note.holds(|| self.upstreams.recoveries(self.group_of(&look.query.key), name), look.arrival.now) {
            return look.wait();
        }
        look.tally.count(Answered::CachedFailure);
        let reasons = [Some(ExtendedError::CachedError), Some(extended_error(failed.reason.failure))];
        Disposition::Answered(answer::write_error(
            &look.asked(),
            ErrorRcode::ServFail,
            reasons,
            &failed.reason.extended_errors,
            out,
        ))
    }

    /// Serves a name of which nothing is remembered: some need no upstream.
    fn serve_nothing(&self, look: &Look<'_>, out: &mut [u8]) -> Disposition {
        if self.loops.note_arrival(&look.query.key) {
            look.tally.count(Answered::Rejected);
            return Disposition::Answered(answer::write_error(
                &look.asked(),
                ErrorRcode::ServFail,
                [None, None],
                &[],
                out,
            ));
        }
        let Some(entry) = special::answer(&look.query.key, self.readiness(), &self.policy, look.arrival.now) else {
            return look.wait();
        };
        give_local(look, &entry, out)
    }

    /// Gives the stale answer at once.
    fn give_stale(&self, look: &Look<'_>, cached: &Arc<CachedAnswer>, out: &mut [u8]) -> Disposition {
        self.outages.note_stale(cached);
        give(look, cached, Shown::Stale { ttl: self.policy.stale.answer_ttl }, out)
    }

    /// Answers a query that cannot wait, since too many do: stale, else SERVFAIL.
    pub fn shed(&self, waiting: &Waiting, tally: &Tally, out: &mut [u8]) -> usize {
        let now = self.now();
        let asked = waiting.asked();
        if let Found::Answer(cached) = self.memory.find(&waiting.query.key, now) {
            let shown = if cached.is_fresh(now) {
                tally.count(Answered::Fresh);
                Shown::Fresh
            } else {
                self.outages.note_stale(&cached);
                tally.count_stale(now.since(cached.entry.fresh_until));
                Shown::Stale { ttl: self.policy.stale.answer_ttl }
            };
            return answer::write_entry(&asked, &cached.entry, shown, now, out);
        }
        tally.count(Answered::Failed);
        answer::write_error(&asked, ErrorRcode::ServFail, [Some(ExtendedError::NetworkError), None], &[], out)
    }

    /// How fresh a remembered answer is; counts the hit.
    pub(super) fn freshness(&self, cached: &CachedAnswer, now: Timestamp) -> Freshness {
        let hits = cached.hit();
        if cached.is_fresh(now) {
            Freshness::Fresh(refresh::prefetch(
                &cached.entry,
                hits.saturating_sub(cached.carried()),
                &self.policy.prefetch,
                now,
            ))
        } else {
            Freshness::Stale
        }
    }

    /// What is going on for a remembered answer.
    pub(super) fn refresh_state(&self, key: &Key, cached: &CachedAnswer, now: Timestamp) -> Refresh {
        if cached.failure.holds(|| self.upstreams.recoveries(cached.group(), key.name()), now) {
            Refresh::Failed
        } else if cached.refresh_began().is_some() {
            Refresh::InFlight
        } else {
            Refresh::Idle
        }
    }

    /// Whether the refresh under way has taken longer than the client response timer.
    fn waited_enough(&self, cached: &CachedAnswer, now: Timestamp) -> bool {
        let timer = self.upstreams.timer(cached.group());
        !cached.entry.was_never_fresh() && cached.refresh_began().is_some_and(|began| now.since(began) >= timer)
    }

    /// Starts a refresh beside an answer.
    pub(super) fn start_beside(&self, beside: Beside, class: Class, key: &Key, cached: &CachedAnswer, now: Timestamp) {
        match beside {
            Beside::Nothing => {}
            Beside::Refresh => {
                if cached.claim_refresh(now) && self.errands.try_send(Errand { key: key.clone(), class }).is_err() {
                    // Too many are waiting: the next hit tries again.
                    cached.end_refresh();
                }
            }
        }
    }
}

/// Writes an answer for which no upstream is ever asked.
fn give_local(look: &Look<'_>, entry: &Entry, out: &mut [u8]) -> Disposition {
    look.tally.count(Answered::Local);
    Disposition::Answered(answer::write_entry(&look.asked(), entry, Shown::Fresh, look.arrival.now, out))
}

/// Writes a remembered answer.
fn give(look: &Look<'_>, cached: &CachedAnswer, shown: Shown, out: &mut [u8]) -> Disposition {
    match shown {
        Shown::Fresh => look.tally.count(Answered::Fresh),
        Shown::Stale { .. } => look.tally.count_stale(look.arrival.now.since(cached.entry.fresh_until)),
    }
    Disposition::Answered(answer::write_entry(&look.asked(), &cached.entry, shown, look.arrival.now, out))
}

/// The extended error that says why there is no answer.
pub(super) const fn extended_error(failure: crate::core::classify::Failure) -> ExtendedError {
    failure.extended_error()
}
