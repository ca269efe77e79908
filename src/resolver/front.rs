//! A query's arrival: everything that can be answered from memory is answered here, on the thread
//! that received it.
//!
//! Fresh answers, stale answers while upstreams are not healthy, and cached failures take no lock,
//! no allocation and no await. What has to wait is handed back as [`Waiting`].

use std::net::SocketAddr;
use std::sync::Arc;

use super::background::Errand;
use super::shelf::{Known, Shelf};
use super::slot::{FailedName, Slot};
use super::store::Found;
use super::{Resolver, Waiting};
use crate::core::answer::{self, Asked, ExtendedError, Shown, Transport};
use crate::core::budget::Class;
use crate::core::decision::{self, Action, Beside, Freshness, Refresh};
use crate::core::entry::Entry;
use crate::core::key::Key;
use crate::core::message::FLAG_RECURSION_DESIRED;
use crate::core::question::{self, Query, Rcode, Received};
use crate::core::time::Timestamp;
use crate::core::{refresh, special};
use crate::telemetry::tally::{Answered, Tally};

/// A packet that came in.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Its bytes.
    pub packet: &'a [u8],
    /// How it came.
    pub transport: Transport,
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
        shelf: &mut Shelf,
        out: &mut [u8],
    ) -> Disposition {
        match question::read(arrival.packet) {
            Received::Drop(_) => {
                tally.count(Answered::Dropped);
                Disposition::Dropped
            }
            Received::Error(code, echo) => {
                tally.count(Answered::Refused);
                let asked = Asked { packet: arrival.packet, echo, transport: arrival.transport };
                Disposition::Answered(answer::write_error(&asked, code, [None, None], &[], out))
            }
            Received::Query(query) => self.look(&Look { arrival, query: &query, tally }, shelf, out),
        }
    }

    /// Answers a query from memory, or says what it has to wait for.
    fn look(&self, look: &Look<'_>, shelf: &mut Shelf, out: &mut [u8]) -> Disposition {
        if let Some(entry) = self.hosts.answer(&look.query.key, &self.policy, look.arrival.now) {
            return give_local(look, &entry, out);
        }
        let recursion = look.query.echo.flags & FLAG_RECURSION_DESIRED != 0;
        match shelf.find(&self.store, &look.query.key, look.arrival.now) {
            Known::Answer(slot) if recursion => self.serve(look, slot, out),
            Known::Answer(slot) if slot.is_fresh(look.arrival.now) => give(look, slot, Shown::Fresh, out),
            Known::Failure(failed) if recursion => self.serve_failure(look, failed, out),
            Known::Nothing if recursion => self.serve_nothing(look, out),
            Known::Answer(_) | Known::Failure(_) | Known::Nothing => {
                look.tally.count(Answered::Refused);
                let reason = [Some(ExtendedError::NotAuthoritative), None];
                Disposition::Answered(answer::write_error(&look.asked(), Rcode::ServFail, reason, &[], out))
            }
        }
    }

    /// Serves a name of which something is remembered.
    fn serve(&self, look: &Look<'_>, slot: &Arc<Slot>, out: &mut [u8]) -> Disposition {
        let now = look.arrival.now;
        let action = decision::decide(
            self.freshness(slot, now),
            self.refresh_state(&look.query.key, slot, now),
            self.upstreams.availability(slot.group()),
        );
        match action {
            Action::AnswerFresh(beside) => {
                self.start_beside(beside, Class::Prefetch, &look.query.key, slot, now);
                give(look, slot, Shown::Fresh, out)
            }
            Action::AnswerStale(beside) => {
                self.start_beside(beside, Class::Miss, &look.query.key, slot, now);
                self.give_stale(look, slot, out)
            }
            Action::AwaitRefresh if self.waited_enough(slot, now) => self.give_stale(look, slot, out),
            Action::AwaitRefresh
            | Action::StartRefresh
            | Action::AnswerFailure
            | Action::Join
            | Action::Forward
            | Action::LastResort => look.wait(),
        }
    }

    /// Serves a name of which only a failure is remembered.
    fn serve_failure(&self, look: &Look<'_>, failed: &FailedName, out: &mut [u8]) -> Disposition {
        let name = look.query.key.name();
        if !failed.note.holds(|| self.upstreams.recoveries(self.upstreams.group_of(name), name), look.arrival.now) {
            return look.wait();
        }
        look.tally.count(Answered::CachedFailure);
        let reasons = [Some(ExtendedError::CachedError), Some(extended_error(failed.lack.failure))];
        Disposition::Answered(answer::write_error(
            &look.asked(),
            Rcode::ServFail,
            reasons,
            &failed.lack.extended_errors,
            out,
        ))
    }

    /// Serves a name of which nothing is remembered: some need no upstream.
    fn serve_nothing(&self, look: &Look<'_>, out: &mut [u8]) -> Disposition {
        if self.loops.note_arrival(&look.query.key) {
            look.tally.count(Answered::Refused);
            return Disposition::Answered(answer::write_error(&look.asked(), Rcode::ServFail, [None, None], &[], out));
        }
        let Some(entry) = special::answer(&look.query.key, self.readiness(), &self.policy, look.arrival.now) else {
            return look.wait();
        };
        give_local(look, &entry, out)
    }

    /// Gives the stale answer at once.
    fn give_stale(&self, look: &Look<'_>, slot: &Arc<Slot>, out: &mut [u8]) -> Disposition {
        self.outages.note_stale(slot);
        give(look, slot, Shown::Stale { ttl: self.policy.stale.answer_ttl }, out)
    }

    /// Answers a query that cannot wait, since too many do: stale, else SERVFAIL.
    pub fn shed(&self, waiting: &Waiting, tally: &Tally, out: &mut [u8]) -> usize {
        let now = self.now();
        let asked = waiting.asked();
        if let Found::Answer(slot) = self.store.find(&waiting.query.key, now) {
            let shown = if slot.is_fresh(now) {
                tally.count(Answered::Fresh);
                Shown::Fresh
            } else {
                self.outages.note_stale(&slot);
                tally.count_stale(now.since(slot.entry.fresh_until));
                Shown::Stale { ttl: self.policy.stale.answer_ttl }
            };
            return answer::write_entry(&asked, &slot.entry, shown, now, out);
        }
        tally.count(Answered::Failed);
        answer::write_error(&asked, Rcode::ServFail, [Some(ExtendedError::NetworkError), None], &[], out)
    }

    /// How fresh a remembered answer is; counts the hit.
    pub(super) fn freshness(&self, slot: &Slot, now: Timestamp) -> Freshness {
        let hits = slot.hit();
        if slot.is_fresh(now) {
            Freshness::Fresh(refresh::prefetch(
                &slot.entry,
                hits.saturating_sub(slot.carried()),
                &self.policy.prefetch,
                now,
            ))
        } else {
            Freshness::Stale
        }
    }

    /// What is going on for a remembered answer.
    pub(super) fn refresh_state(&self, key: &Key, slot: &Slot, now: Timestamp) -> Refresh {
        if slot.failure.holds(|| self.upstreams.recoveries(slot.group(), key.name()), now) {
            Refresh::Failed
        } else if slot.refresh_began().is_some() {
            Refresh::InFlight
        } else {
            Refresh::Idle
        }
    }

    /// Whether the refresh under way has taken longer than the client response timer.
    fn waited_enough(&self, slot: &Slot, now: Timestamp) -> bool {
        let timer = self.upstreams.timer(slot.group());
        !slot.entry.was_never_fresh() && slot.refresh_began().is_some_and(|began| now.since(began) >= timer)
    }

    /// Starts a refresh beside an answer.
    pub(super) fn start_beside(&self, beside: Beside, class: Class, key: &Key, slot: &Slot, now: Timestamp) {
        match beside {
            Beside::Nothing => {}
            Beside::Refresh => {
                if slot.claim_refresh(now) && self.errands.try_send(Errand { key: key.clone(), class }).is_err() {
                    // Too many are waiting: the next hit tries again.
                    slot.end_refresh();
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
fn give(look: &Look<'_>, slot: &Slot, shown: Shown, out: &mut [u8]) -> Disposition {
    match shown {
        Shown::Fresh => look.tally.count(Answered::Fresh),
        Shown::Stale { .. } => look.tally.count_stale(look.arrival.now.since(slot.entry.fresh_until)),
    }
    Disposition::Answered(answer::write_entry(&look.asked(), &slot.entry, shown, look.arrival.now, out))
}

/// The extended error that says why there is no answer.
pub(super) const fn extended_error(failure: crate::core::classify::Failure) -> ExtendedError {
    match failure.extended_error() {
        22 => ExtendedError::NoReachableAuthority,
        _ => ExtendedError::NetworkError,
    }
}
