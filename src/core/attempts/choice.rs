//! Whom to ask next: the choice among the upstreams of a plan, from what has come of those that
//! were asked.
//!
//! | choice | of whom | how often |
//! |---|---|---|
//! | planned | a primary that has not failed, the one asked least first | at most `sends` each |
//! | again | a primary that has failed, when no other can answer | once; after network errors up to `sends` |
//! | rescue | a primary that was silent over UDP, over TCP | once each, `rescues` together |
//! | fallback | a fallback that has not failed, the one asked least first | as planned sends |
//! | last resort | the primary that is down | once |
//! | confirmation | a primary, over its transport and over TCP, in the way in which it was asked least | 4 together |
//!
//! While an answer is doubted, there is no choice but the last row: others come before the upstream
//! that gave the answer, and TCP before another question over UDP.
//!
//! Among those asked equally often the best comes first. Planned sends together are as many as
//! there are primaries, and at least `sends`. While a denial is held back, only those are asked
//! that stand before the one that denied. In a further round each upstream is asked once.

use super::ledger::{EndedBy, Ledger, SentFor};
use super::plan::{Plan, Signatures, Target};
use crate::core::edns::EdnsTrust;
use crate::core::upstream::{Transport, UpstreamId};
use crate::core::upstream_query::Extension;

/// Questions by which one answer is confirmed, in one resolution. From an upstream that gives two
/// answers in turns at random, five in a row are the same once in 16 times.
pub(super) const CONFIRMATIONS: usize = 4;

/// Everything that the choice depends on.
#[derive(Clone, Copy)]
pub(super) struct Choice<'a> {
    pub(super) plan: &'a Plan,
    pub(super) ledger: &'a Ledger,
    /// The largest number of sends to one upstream over one transport.
    pub(super) sends: u32,
    /// The present round; the first is 1.
    pub(super) round: u32,
    /// The place of the upstream whose denial is held back.
    pub(super) denied_by: Option<usize>,
}

impl Choice<'_> {
    /// The next planned send.
    pub(super) fn planned(&self) -> Option<(Target, SentFor)> {
        if self.spent() >= self.total(self.plan.primaries.len()) {
            return None;
        }
        let target =
            self.primaries().filter(|own| self.may_be_planned(own.upstream)).min_by_key(|own| self.asked(own))?;
        Some(self.dress_primary(target))
    }

    /// A planned send to a primary that was not asked yet.
    pub(super) fn unasked(&self) -> Option<(Target, SentFor)> {
        self.planned().filter(|(target, _)| self.asked(target) == 0)
    }

    /// A second chance for a primary that has failed, when nobody else can answer.
    pub(super) fn again(&self) -> Option<(Target, SentFor)> {
        self.primaries().find(|own| self.has_second_chance(own.upstream)).map(|target| self.dress_primary(target))
    }

    /// The next question over TCP to a primary that was silent over UDP.
    pub(super) fn rescue(&self) -> Option<(Target, SentFor)> {
        let silent = self.primaries().find(|own| self.can_be_rescued(own.upstream))?;
        // Over TCP an OPT is of little use, and it may be what is not understood.
        let extension = match (self.plan.signatures, silent.trust) {
            (Signatures::NotWanted, EdnsTrust::Open | EdnsTrust::Doubted) => Extension::Plain,
            (Signatures::NotWanted, EdnsTrust::Proven) | (Signatures::Wanted, _) => silent.extension,
        };
        Some((Target { transport: Transport::Tcp, extension, ..*silent }, SentFor::Rescue))
    }

    /// The next question to a fallback.
    pub(super) fn fallback(&self) -> Option<(Target, SentFor)> {
        let fallbacks = &self.plan.fallbacks;
        let spent: u32 = fallbacks.iter().map(|own| self.ledger.unanswered(own.upstream, self.round)).sum();
        if self.denied_by.is_some() || spent >= self.total(fallbacks.len()) {
            return None;
        }
        let open = |own: &&Target| !self.ledger.has_failed(own.upstream) && self.asked(own) < self.each();
        let target = fallbacks.iter().filter(open).min_by_key(|own| self.asked(own))?;
        Some(self.dress(*target, spent, self.total(fallbacks.len())))
    }

    /// The question to a primary that counts as down.
    pub(super) fn last_resort(&self) -> Option<(Target, SentFor)> {
        let target = self.plan.last_resort.filter(|_| self.denied_by.is_none() && self.round == 1)?;
        (self.asked(&target) == 0).then_some((target, SentFor::Planned))
    }

    /// Whether an answer was doubted, so that only its confirmation is asked for.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.ledger.doubts() > 0
    }

    /// The next question by which a doubted answer is confirmed.
    pub(super) fn confirmation(&self) -> Option<(Target, SentFor)> {
        if self.ledger.confirmations() >= CONFIRMATIONS {
            return None;
        }
        let over_tcp = |own: &Target| Target { transport: Transport::Tcp, ..*own };
        let ways = self.plan.primaries.iter().flat_map(|own| [*own, over_tcp(own)]);
        let asked = ways.filter_map(|way| {
            let times = self.ledger.asked_over(way.upstream, way.transport)?;
            Some(((times, self.ledger.asked_in_all(way.upstream)), way))
        });
        let sends = usize::try_from(self.sends).unwrap_or(usize::MAX);
        let (_, target) = asked.filter(|((times, _), _)| *times < sends).min_by_key(|(asked, _)| *asked)?;
        Some((target, SentFor::Confirmation))
    }

    /// Whether anybody can be asked when the time of the next send comes.
    pub(super) fn is_anybody_left(&self) -> bool {
        if self.is_in_doubt() {
            return self.confirmation().is_some();
        }
        self.planned().is_some() || self.rescue().is_some() || self.fallback().is_some() || self.last_resort().is_some()
    }

    /// Whether a primary that has not failed may still answer.
    pub(super) fn is_primary_under_way(&self) -> bool {
        self.primaries().any(|own| !self.ledger.has_failed(own.upstream) && self.ledger.is_under_way(own.upstream))
    }

    /// Whether a fallback that has not failed may still answer.
    pub(super) fn is_fallback_under_way(&self) -> bool {
        let fallbacks = &self.plan.fallbacks;
        fallbacks.iter().any(|own| !self.ledger.has_failed(own.upstream) && self.ledger.is_under_way(own.upstream))
    }

    /// Whether a primary will be asked again.
    pub(super) fn will_be_asked(&self, upstream: UpstreamId) -> bool {
        let planned = self.spent() < self.total(self.plan.primaries.len()) && self.may_be_planned(upstream);
        planned || self.has_second_chance(upstream) || self.can_be_rescued(upstream)
    }

    /// The primaries that may be asked now.
    fn primaries(&self) -> impl Iterator<Item = &Target> {
        let stands_before =
            |own: &&Target| self.denied_by.is_none_or(|denier| self.plan.place(own.upstream) < Some(denier));
        self.plan.primaries.iter().filter(stands_before)
    }

    fn dress_primary(&self, target: &Target) -> (Target, SentFor) {
        self.dress(*target, self.spent(), self.total(self.plan.primaries.len()))
    }

    fn asked(&self, target: &Target) -> u32 {
        self.ledger.asked(target.upstream, self.round)
    }

    /// Sends of this round to primaries, without those that brought a useless response.
    fn spent(&self) -> u32 {
        self.plan.primaries.iter().map(|own| self.ledger.unanswered(own.upstream, self.round)).sum()
    }

    /// Sends of a round to one upstream at the most.
    const fn each(&self) -> u32 {
        if self.round == 1 { self.sends } else { 1 }
    }

    /// Sends of a round to so many upstreams together at the most.
    fn total(&self, upstreams: usize) -> u32 {
        self.each().max(u32::try_from(upstreams).unwrap_or(u32::MAX))
    }

    fn may_be_planned(&self, upstream: UpstreamId) -> bool {
        !self.ledger.has_failed(upstream) && self.ledger.asked(upstream, self.round) < self.each()
    }

    fn has_second_chance(&self, upstream: UpstreamId) -> bool {
        let ledger = self.ledger;
        let sent: u32 = self.plan.primaries.iter().map(|own| ledger.asked(own.upstream, self.round)).sum();
        // A denial is about to be believed: then the one whose word counts more is asked again even
        // when the sends are used up. A network error is certain enough.
        let (room, refused) = match self.denied_by {
            Some(_) => (true, false),
            None => (sent < self.total(self.plan.primaries.len()), ledger.met(upstream, EndedBy::NetworkError)),
        };
        let useless = ledger.useless(upstream);
        room && (useless == 1 && !ledger.met(upstream, EndedBy::NetworkError) || useless == 0 && refused)
            && !ledger.is_under_way(upstream)
            && !ledger.met(upstream, EndedBy::Denial)
            && !ledger.met(upstream, EndedBy::Truncation)
            && ledger.asked(upstream, self.round) < self.each()
    }

    fn can_be_rescued(&self, upstream: UpstreamId) -> bool {
        let over_udp = |own: &Target| own.upstream == upstream && own.transport == Transport::Udp;
        self.round == 1
            && self.ledger.rescues() < self.plan.rescues
            && self.plan.primaries.iter().any(over_udp)
            && !self.ledger.has_failed(upstream)
            && self.ledger.is_under_way(upstream)
            && !self.ledger.was_asked_over_tcp(upstream)
    }

    /// Leaves EDNS out of a send to an upstream that has said nothing sensible so far: the OPT may
    /// be the reason. `spent` of `total` planned sends were sent.
    fn dress(&self, target: Target, spent: u32, total: u32) -> (Target, SentFor) {
        let is_last = self.asked(&target) + 1 >= self.each() || spent + 1 >= total;
        let was_silent = self.ledger.was_asked(target.upstream) && self.ledger.said_nothing_sensible(target.upstream);
        let leaves_out = match (self.plan.signatures, target.trust) {
            // The last send is the only one that some upstreams get.
            (Signatures::NotWanted, _) => {
                is_last && (was_silent || !self.ledger.was_asked(target.upstream) && self.ledger.is_all_silence())
            }
            // An upstream that knows EDNS is silent for another reason.
            (Signatures::Wanted, EdnsTrust::Proven) => false,
            (Signatures::Wanted, EdnsTrust::Open) => is_last && was_silent,
            (Signatures::Wanted, EdnsTrust::Doubted) => was_silent,
        };
        let extension = if leaves_out { Extension::Plain } else { target.extension };
        (Target { extension, ..target }, SentFor::Planned)
    }
}
