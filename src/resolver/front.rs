//! The arrival of queries: everything that can be answered from memory is answered here, on the
//! thread that received the query.
//!
//! Fresh answers and stale answers while upstreams are not healthy take no lock, no allocation and
//! no await, nor do cached failures. A query that has to wait is handed back as [`Waiting`].

use std::net::SocketAddr;
use std::sync::Arc;

use super::context::Context;
use super::hosts::HostsTable;
use super::last_resort;
use super::loops::Loops;
use super::outage::Outages;
use super::readiness::ReadyFlag;
use super::refreshes::RefreshQueue;
use crate::core::answer::{self, Asked, ClientTransport, Shown};
use crate::core::budget::Class;
use crate::core::decision::{self, Beside, Freshness, KnownAction, Recheck, UnknownAction};
use crate::core::entry::Entry;
use crate::core::extended_error::ExtendedError;
use crate::core::message::FLAG_RECURSION_DESIRED;
use crate::core::policy::AddressOrder;
use crate::core::question::{self, ErrorRcode, Query, Received};
use crate::core::time::Timestamp;
use crate::core::{refresh, rotation, special};
use crate::memory::cached::CachedAnswer;
use crate::memory::cached_failure::CachedFailure;
use crate::memory::thread_cache::{Known, ThreadCache};
use crate::telemetry::tally::{Answered, Tally};

/// A packet that a client has sent, before anything of it was read.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The bytes of the packet, as they were received.
    pub packet: &'a [u8],
    /// How the packet came, and how its answer travels.
    pub transport: ClientTransport,
    /// The client's address and port.
    pub client: SocketAddr,
    /// When the packet was received.
    pub now: Timestamp,
}

/// The result of receiving a packet.
#[derive(Debug)]
pub enum Disposition {
    /// The answer stands in the caller's buffer; this is its length in bytes.
    Answered(usize),
    /// The packet gets no answer.
    Dropped,
    /// The query has to wait for an upstream.
    Waiting(Box<Waiting>),
}

/// A query that could not be answered from memory at once.
#[derive(Debug)]
pub struct Waiting {
    /// The client's packet as far as its answer repeats it, which is the header and the question;
    /// what its OPT said is part of `query`. Padding and options are not kept while it waits.
    pub packet: Box<[u8]>,
    /// The query that was read from the packet.
    pub query: Query,
    /// How the packet came, and how its answer travels.
    pub transport: ClientTransport,
    /// The client's address and port.
    pub client: SocketAddr,
    /// When the packet was received.
    pub arrived: Timestamp,
}

impl Waiting {
    /// Keeps of a query what its answer needs.
    fn new(arrival: Arrival<'_>, query: &Query) -> Self {
        let repeated = arrival.packet.get(..query.echo.question_end);
        Self {
            packet: repeated.unwrap_or(arrival.packet).into(),
            query: query.clone(),
            transport: arrival.transport,
            client: arrival.client,
            arrived: arrival.now,
        }
    }

    /// The query, as functions that write answers need it.
    #[must_use]
    pub fn asked(&self) -> Asked<'_> {
        Asked { packet: &self.packet, echo: self.query.echo, transport: self.transport }
    }
}

/// A query that is being answered.
struct Look<'a> {
    arrival: Arrival<'a>,
    query: &'a Query,
    tally: &'a Tally,
    order: AddressOrder,
}

impl Look<'_> {
    /// The query, as functions that write answers need it.
    const fn asked(&self) -> Asked<'_> {
        Asked { packet: self.arrival.packet, echo: self.query.echo, transport: self.arrival.transport }
    }

    /// Copies the query, so that it can wait.
    fn wait(&self) -> Disposition {
        Disposition::Waiting(Box::new(Waiting::new(self.arrival, self.query)))
    }

    /// Answers with an error of our own.
    fn reject(&self, code: ErrorRcode, reason: Option<ExtendedError>, out: &mut [u8]) -> Disposition {
        self.tally.count(Answered::Rejected);
        Disposition::Answered(answer::write_error(&self.asked(), code, [reason, None], &[], out))
    }

    /// Answers from what needs no upstream: the hosts file, and names that are never forwarded.
    fn give_local(&self, entry: &Entry, out: &mut [u8]) -> Disposition {
        self.tally.count(Answered::Local);
        Disposition::Answered(answer::write_entry(&self.asked(), entry, Shown::Fresh, self.arrival.now, out))
    }

    /// Answers with a remembered answer, and counts how it was shown.
    fn give(&self, cached: &CachedAnswer, shown: Shown, out: &mut [u8]) -> Disposition {
        match shown {
            Shown::Fresh => self.tally.count(Answered::Fresh),
            Shown::Stale { .. } => self.tally.count_stale(self.arrival.now.since(cached.entry.fresh_until)),
        }
        let length = answer::write_entry(&self.asked(), &cached.entry, shown, self.arrival.now, out);
        if self.order == AddressOrder::Rotated {
            let written = out.get_mut(..length).unwrap_or_default();
            rotation::rotate(&cached.entry, self.query.key.qtype(), cached.hits(), written);
        }
        Disposition::Answered(length)
    }
}

/// Answers queries as they arrive, from memory alone.
pub(super) struct Front {
    pub(super) context: Arc<Context>,
    pub(super) hosts: Arc<HostsTable>,
    pub(super) loops: Arc<Loops>,
    pub(super) outages: Arc<Outages>,
    pub(super) ready: Arc<ReadyFlag>,
    pub(super) refreshes: RefreshQueue,
}

impl Front {
    /// Answers a packet into `out`, or gives the query back that has to wait. `tally` and
    /// `thread_cache` belong to the calling thread.
    pub(super) fn receive(
        &self,
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
            Received::Query(query) => {
                let order = self.context.policy.addresses;
                self.look(&Look { arrival, query: &query, tally, order }, thread_cache, out)
            }
        }
    }

    /// Answers a query from memory, or gives it back as one that has to wait.
    fn look(&self, look: &Look<'_>, thread_cache: &mut ThreadCache, out: &mut [u8]) -> Disposition {
        let now = look.arrival.now;
        if let Some(entry) = self.hosts.answer(&look.query.key, &self.context.policy, now) {
            return look.give_local(&entry, out);
        }
        let recursion = look.query.echo.flags & FLAG_RECURSION_DESIRED != 0;
        match thread_cache.find(self.context.memory.store(), &look.query.key, now) {
            Known::Answer(cached) if recursion => self.serve(look, cached, out),
            Known::Answer(cached) if cached.is_fresh(now) => look.give(cached, Shown::Fresh, out),
            Known::Denial(cached) => {
                cached.hit();
                look.give(cached, Shown::Fresh, out)
            }
            Known::Failure(failed) if recursion => self.serve_failure(look, failed, out),
            Known::Nothing if recursion => self.serve_nothing(look, out),
            // A query with RD=0 gets a fresh answer or none.
            Known::Answer(_) | Known::Failure(_) | Known::Nothing => {
                look.reject(ErrorRcode::ServFail, Some(ExtendedError::NotAuthoritative), out)
            }
        }
    }

    /// Serves a name of which an answer is remembered.
    fn serve(&self, look: &Look<'_>, cached: &Arc<CachedAnswer>, out: &mut [u8]) -> Disposition {
        let (key, now) = (&look.query.key, look.arrival.now);
        let (upstreams, group) = (&self.context.upstreams, cached.group());
        let freshness = self.freshness(cached, cached.hit(), now);
        // Only what is no longer fresh depends on whether its zone or type is in trouble.
        let availability = match freshness {
            Freshness::Fresh(_) => upstreams.availability(group),
            Freshness::Stale => upstreams.availability_for(group, key),
        };
        match decision::decide_known(freshness, self.context.refresh_state(key, cached, now), availability) {
            KnownAction::Fresh(beside) => {
                self.refreshes.start(beside, Class::Prefetch, key, cached, now);
                look.give(cached, Shown::Fresh, out)
            }
            KnownAction::Stale(beside) => {
                if beside == Beside::Refresh && upstreams.has_turn(cached, now) {
                    self.refreshes.start(beside, Class::Miss, key, cached, now);
                }
                self.give_stale(look, cached, out)
            }
            KnownAction::AwaitRefresh if self.waited_enough(cached, now) => self.give_stale(look, cached, out),
            KnownAction::StartRefresh if upstreams.has_to_wait(cached, now) => self.give_stale(look, cached, out),
            KnownAction::AwaitRefresh | KnownAction::StartRefresh => look.wait(),
        }
    }

    /// Serves a name of which only a failure is remembered.
    fn serve_failure(&self, look: &Look<'_>, failed: &CachedFailure, out: &mut [u8]) -> Disposition {
        let key = &look.query.key;
        let group = self.context.group_of(key);
        let recheck = self.context.recheck(key, group, &failed.note, look.arrival.now);
        match decision::decide_unknown(recheck, self.context.upstreams.availability(group)) {
            UnknownAction::Ask => look.wait(),
            UnknownAction::NearestElseAsk => self.give_nearest(look, out).unwrap_or_else(|| look.wait()),
            UnknownAction::NearestElseFailure => {
                if let Some(cached) = &failed.last_resort {
                    if last_resort::is_fresh(cached, look.arrival.now) {
                        return look.give(cached, Shown::Fresh, out);
                    }
                    return self.give_stale(look, cached, out);
                }
                look.tally.count(Answered::CachedFailure);
                let reason = &failed.reason;
                let reasons = [Some(ExtendedError::CachedError), Some(reason.failure.extended_error())];
                let length =
                    answer::write_error(&look.asked(), ErrorRcode::ServFail, reasons, &reason.extended_errors, out);
                Disposition::Answered(length)
            }
        }
    }

    /// Serves a name of which nothing is remembered: special-use names are answered; others get
    /// what is nearest while all upstreams are down, or wait.
    fn serve_nothing(&self, look: &Look<'_>, out: &mut [u8]) -> Disposition {
        let key = &look.query.key;
        if self.loops.note_arrival(key) {
            return look.reject(ErrorRcode::ServFail, None, out);
        }
        let (routes, policy) = (self.context.memory.routes(), &self.context.policy);
        let readiness = self.context.vitals.readiness(self.ready.get(), look.arrival.now);
        if let Some(entry) = special::answer(key, routes, readiness, policy, look.arrival.now) {
            return look.give_local(&entry, out);
        }
        match decision::decide_unknown(Recheck::Due, self.context.upstreams.availability(self.context.group_of(key))) {
            UnknownAction::NearestElseFailure | UnknownAction::NearestElseAsk => {
                self.give_nearest(look, out).unwrap_or_else(|| look.wait())
            }
            UnknownAction::Ask => look.wait(),
        }
    }

    /// Gives what is nearest to the question; `None` when nothing is near.
    fn give_nearest(&self, look: &Look<'_>, out: &mut [u8]) -> Option<Disposition> {
        let nearest = self.context.memory.nearest(&look.query.key, look.arrival.now)?;
        nearest.hit();
        Some(self.give_stale(look, &nearest, out))
    }

    /// Gives the stale answer at once.
    fn give_stale(&self, look: &Look<'_>, cached: &CachedAnswer, out: &mut [u8]) -> Disposition {
        self.outages.note_stale(cached);
        look.give(cached, Shown::Stale { ttl: self.context.policy.stale.answer_ttl }, out)
    }

    /// Answers a query that cannot wait, since too many queries wait already: with what is
    /// remembered, else with SERVFAIL.
    pub(super) fn shed(&self, waiting: &Waiting, tally: &Tally, out: &mut [u8]) -> usize {
        let now = self.context.now();
        let asked = waiting.asked();
        let (memory, key) = (&self.context.memory, &waiting.query.key);
        let (cached, is_own) = match memory.find_answer(key, now) {
            Some(cached) => (Some(cached), true),
            None => (memory.nearest(key, now), false),
        };
        let Some(cached) = cached else {
            tally.count(Answered::Failed);
            return answer::write_error(
                &asked,
                ErrorRcode::ServFail,
                [Some(ExtendedError::NetworkError), None],
                &[],
                out,
            );
        };
        let shown = if is_own && cached.is_fresh(now) {
            tally.count(Answered::Fresh);
            Shown::Fresh
        } else {
            self.outages.note_stale(&cached);
            tally.count_stale(now.since(cached.entry.fresh_until));
            Shown::Stale { ttl: self.context.policy.stale.answer_ttl }
        };
        answer::write_entry(&asked, &cached.entry, shown, now, out)
    }

    /// How fresh a remembered answer is that has had so many hits, the present one included.
    pub(super) fn freshness(&self, cached: &CachedAnswer, hits: u32, now: Timestamp) -> Freshness {
        if cached.is_fresh(now) {
            // Hits from before the last refresh do not make a name worth a prefetch.
            let hits = hits.saturating_sub(cached.carried());
            let policy = &self.context.policy.prefetch;
            Freshness::Fresh(refresh::prefetch(&cached.entry, hits, cached.prefetch_from(), policy, now))
        } else {
            Freshness::Stale
        }
    }

    /// Whether the refresh under way has taken longer than the client response timer. An answer
    /// that was never fresh (TTL 0) is meant for outages: its clients wait for the refresh itself.
    pub(super) fn waited_enough(&self, cached: &CachedAnswer, now: Timestamp) -> bool {
        let timer = self.context.upstreams.timer(cached.group());
        !cached.entry.was_never_fresh() && cached.refresh_began().is_some_and(|began| now.since(began) >= timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::query_with_opt;

    #[test]
    fn a_waiting_query_keeps_no_padding_and_gets_the_same_answer() {
        let mut packet = query_with_opt("www.example.com", 1, 1232, 0);
        // The option of RFC 7830, 3000 bytes long, is the only one.
        let rdlength = packet.len() - 2;
        packet.splice(rdlength.., [[11, 188].as_slice(), &[0, 12, 11, 184], &[0; 3000]].concat());
        let Received::Query(query) = question::read(&packet) else { panic!("not a query") };
        let (now, client) = (Timestamp::from_secs(1_000_000), SocketAddr::from(([192, 0, 2, 1], 5353)));
        let arrival = Arrival { packet: &packet, transport: ClientTransport::Stream, client, now };
        let waiting = Waiting::new(arrival, &query);
        assert_eq!(&*waiting.packet, &packet[..33], "header and question");
        let error = |asked: &Asked<'_>| {
            let mut out = [0; 512];
            let length =
                answer::write_error(asked, ErrorRcode::ServFail, [Some(ExtendedError::Stale), None], &[], &mut out);
            out[..length].to_vec()
        };
        let whole = Asked { packet: &packet, echo: query.echo, transport: ClientTransport::Stream };
        assert_eq!(error(&waiting.asked()), error(&whole));
        assert!(error(&whole).len() > 33 + 11, "it has an OPT");
    }
}
