//! The ledger of one resolution: every attempt so far, and how it ended. Everything that the other
//! files decide about an upstream is counted here.

use std::time::Duration;

use super::plan::{AttemptId, Target};
use crate::core::classify::Failure;
use crate::core::time::Timestamp;
use crate::core::upstream::{Transport, UpstreamId};
use crate::core::upstream_query::Extension;

/// One send and how far it has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    pub(super) target: Target,
    pub(super) purpose: SentFor,
    /// The round of the resolution in which it was sent; the first is 1.
    pub(super) round: u32,
    pub(super) sent_at: Timestamp,
    pub(super) stage: AttemptStage,
}

/// How far an attempt's timers have run, in the order in which that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AttemptStage {
    /// No timer has run out yet.
    Young,
    /// There was no response for the client response timer.
    Overdue,
    /// There was no response for [`LATE`](crate::core::health::LATE).
    Late,
    /// There was no response for as long as an attempt is waited for.
    TimedOut,
    /// The attempt is over.
    Ended(EndedBy),
}

/// What ended an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum EndedBy {
    /// It was not sent: the budget had no room, or a limit of our own was reached.
    NotSent,
    /// A positive answer.
    Answer,
    /// An NXDOMAIN or NODATA.
    Denial,
    /// A positive answer that others have to confirm.
    Doubt,
    /// A truncated response.
    Truncation,
    /// A response that shows that the upstream does not understand EDNS; the query was repeated.
    EdnsRefusal,
    /// A response that is no answer, but can be read.
    UselessResponse,
    /// A response that cannot be read, or that says that the query could not be.
    Nonsense,
    /// The network reported an error.
    NetworkError,
    /// The transport gave up.
    Timeout,
}

/// What an attempt was sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SentFor {
    /// It is one of the planned sends.
    Planned,
    /// It repeats without EDNS what was not understood with it.
    Repeat,
    /// It asks over TCP for what came truncated.
    WholeAnswer,
    /// It asks over TCP because UDP was silent.
    Rescue,
    /// It asks over TCP because somebody else tries to answer over UDP.
    Certainty,
    /// It asks whether a doubted answer is right.
    Confirmation,
}

impl SentFor {
    /// Whether only a response is reported to the upstream's health: that nobody listens on TCP
    /// says nothing about an upstream that is asked over UDP, and one that has just answered is not
    /// to blame for the next question.
    pub(super) const fn withholds_failures(self) -> bool {
        match self {
            Self::Planned | Self::Repeat => false,
            Self::WholeAnswer | Self::Rescue | Self::Certainty | Self::Confirmation => true,
        }
    }
}

impl Attempt {
    /// Whether a response may still come.
    pub(super) fn is_under_way(&self) -> bool {
        self.stage < AttemptStage::Ended(EndedBy::NotSent)
    }

    fn was_sent(&self) -> bool {
        self.stage != AttemptStage::Ended(EndedBy::NotSent)
    }

    fn ended_by(&self, end: EndedBy) -> bool {
        self.stage == AttemptStage::Ended(end)
    }
}

/// All attempts of one resolution.
#[derive(Debug, Default)]
pub(super) struct Ledger(Vec<Attempt>);

impl Ledger {
    /// Notes a send, and gives it its identifier.
    pub(super) fn add(&mut self, attempt: Attempt) -> AttemptId {
        self.0.push(attempt);
        AttemptId(self.0.len() - 1)
    }

    pub(super) fn find(&self, attempt: AttemptId) -> Option<&Attempt> {
        self.0.get(attempt.0)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Attempt> {
        self.0.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Attempt> {
        self.0.iter_mut()
    }

    /// Ends an attempt, and returns its target and age; `None` when it is over already.
    pub(super) fn close(&mut self, attempt: AttemptId, end: EndedBy, now: Timestamp) -> Option<(Target, Duration)> {
        let attempt = self.0.get_mut(attempt.0).filter(|attempt| attempt.is_under_way())?;
        attempt.stage = AttemptStage::Ended(end);
        Some((attempt.target, now.since(attempt.sent_at)))
    }

    /// Whether anything was sent before this attempt.
    pub(super) fn is_later_send(&self, attempt: AttemptId) -> bool {
        self.0.iter().take(attempt.0).any(Attempt::was_sent)
    }

    /// How many attempts could not be sent.
    pub(super) fn unsent(&self) -> u32 {
        u32::try_from(self.0.iter().filter(|attempt| !attempt.was_sent()).count()).unwrap_or(u32::MAX)
    }

    /// Whether no response can come any more.
    pub(super) fn is_silent(&self) -> bool {
        !self.0.iter().any(Attempt::is_under_way)
    }

    fn of(&self, upstream: UpstreamId) -> impl Iterator<Item = &Attempt> {
        self.0.iter().filter(move |attempt| attempt.target.upstream == upstream && attempt.was_sent())
    }

    /// How often an upstream was asked in a round, over the transport that it is asked over.
    pub(super) fn asked(&self, upstream: UpstreamId, round: u32) -> u32 {
        let sends = self.of(upstream).filter(|own| own.round == round && !own.purpose.withholds_failures());
        u32::try_from(sends.count()).unwrap_or(u32::MAX)
    }

    /// How many of those sends were not answered in vain: they are under way, or ended otherwise.
    pub(super) fn unanswered(&self, upstream: UpstreamId, round: u32) -> u32 {
        self.asked(upstream, round).saturating_sub(self.useless(upstream))
    }

    /// How many responses of an upstream were of no use.
    pub(super) fn useless(&self, upstream: UpstreamId) -> u32 {
        let ended = |own: &&Attempt| own.ended_by(EndedBy::UselessResponse) || own.ended_by(EndedBy::Nonsense);
        u32::try_from(self.of(upstream).filter(ended).count()).unwrap_or(u32::MAX)
    }

    /// Whether an upstream has failed in this resolution, or has said all that it will say: it is
    /// not asked again while another one may still answer.
    pub(super) fn has_failed(&self, upstream: UpstreamId) -> bool {
        self.of(upstream).any(|own| match own.stage {
            AttemptStage::Young | AttemptStage::Overdue | AttemptStage::Late | AttemptStage::TimedOut => false,
            AttemptStage::Ended(end) => match end {
                EndedBy::NotSent | EndedBy::Answer | EndedBy::EdnsRefusal => false,
                EndedBy::Denial
                | EndedBy::Doubt
                | EndedBy::Truncation
                | EndedBy::UselessResponse
                | EndedBy::Nonsense => true,
                EndedBy::NetworkError | EndedBy::Timeout => !own.purpose.withholds_failures(),
            },
        })
    }

    /// Whether an upstream's planned sends met this end.
    pub(super) fn met(&self, upstream: UpstreamId, end: EndedBy) -> bool {
        self.of(upstream).any(|own| !own.purpose.withholds_failures() && own.ended_by(end))
    }

    /// Whether a response of this upstream may still come.
    pub(super) fn is_under_way(&self, upstream: UpstreamId) -> bool {
        self.of(upstream).any(Attempt::is_under_way)
    }

    /// Whether an upstream was asked over TCP beside its planned sends.
    pub(super) fn was_asked_over_tcp(&self, upstream: UpstreamId) -> bool {
        self.of(upstream).any(|own| own.target.transport == Transport::Tcp)
    }

    /// Whether a response of this upstream may still come over TCP.
    pub(super) fn is_under_way_over_tcp(&self, upstream: UpstreamId) -> bool {
        self.of(upstream).any(|own| own.target.transport == Transport::Tcp && own.is_under_way())
    }

    /// How many upstreams were asked over TCP because they were silent over UDP.
    pub(super) fn rescues(&self) -> u32 {
        let rescues = self.0.iter().filter(|own| own.purpose == SentFor::Rescue && own.was_sent());
        u32::try_from(rescues.count()).unwrap_or(u32::MAX)
    }

    /// How many attempts were sent to confirm an answer.
    pub(super) fn confirmations(&self) -> usize {
        self.0.iter().filter(|own| own.purpose == SentFor::Confirmation && own.was_sent()).count()
    }

    /// How many answers have to be confirmed.
    pub(super) fn doubts(&self) -> usize {
        self.0.iter().filter(|own| own.ended_by(EndedBy::Doubt)).count()
    }

    /// How often an upstream was asked over a transport, for whatever reason; `None` when nobody
    /// can be asked in this way, since the network said so.
    pub(super) fn asked_over(&self, upstream: UpstreamId, transport: Transport) -> Option<usize> {
        let own = || self.of(upstream).filter(|own| own.target.transport == transport);
        let is_closed = own().any(|own| own.ended_by(EndedBy::NetworkError) || own.ended_by(EndedBy::Timeout));
        (!is_closed).then(|| own().count())
    }

    /// How often an upstream was asked at all.
    pub(super) fn asked_in_all(&self, upstream: UpstreamId) -> usize {
        self.of(upstream).count()
    }

    /// Whether an upstream was asked, and all that came back was silence or nonsense.
    pub(super) fn said_nothing_sensible(&self, upstream: UpstreamId) -> bool {
        self.of(upstream).all(|own| own.is_under_way() || own.ended_by(EndedBy::Nonsense))
    }

    /// When the last attempt with an upstream that may still be answered was sent.
    pub(super) fn last_under_way(&self, upstream: UpstreamId) -> Option<Timestamp> {
        self.of(upstream).filter(|own| own.is_under_way()).map(|own| own.sent_at).max()
    }

    /// Whether an upstream was asked at all.
    pub(super) fn was_asked(&self, upstream: UpstreamId) -> bool {
        self.of(upstream).next().is_some()
    }

    /// Whether nobody has responded so far.
    pub(super) fn is_all_silence(&self) -> bool {
        self.0.iter().all(|own| own.is_under_way() || !own.was_sent())
    }

    /// Whether an answer to this attempt may have come because it has no OPT: the same upstream
    /// was asked with one before, over the same transport, and none of that was answered.
    pub(super) fn suggests_plain(&self, attempt: AttemptId) -> bool {
        let Some(plain) = self.find(attempt).filter(|own| own.target.extension == Extension::Plain) else {
            return false;
        };
        let had_opt =
            |own: &&Attempt| own.target.extension == Extension::Edns && own.target.transport == plain.target.transport;
        let before = || self.0.iter().take(attempt.0).filter(|own| own.target.upstream == plain.target.upstream);
        let of_use = [EndedBy::Answer, EndedBy::Denial, EndedBy::Doubt, EndedBy::Truncation];
        let was_answered = |own: &Attempt| of_use.iter().any(|end| own.ended_by(*end));
        before().any(|own| own.was_sent() && had_opt(&own)) && !before().filter(had_opt).any(was_answered)
    }
}

impl EndedBy {
    /// How a response that is no answer ends its attempt.
    pub(super) const fn useless(failure: Failure) -> Self {
        match failure {
            Failure::NotUnderstood | Failure::Malformed => Self::Nonsense,
            Failure::ServFail
            | Failure::Refused
            | Failure::Lame
            | Failure::OtherRcode
            | Failure::MarkedStale
            | Failure::Unvouched
            | Failure::Unconfirmed => Self::UselessResponse,
            Failure::Timeout => Self::Timeout,
            Failure::NetworkError => Self::NetworkError,
            Failure::LocalLimit => Self::NotSent,
        }
    }
}
