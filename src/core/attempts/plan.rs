//! The plan that the attempts of a resolution start with, and the steps that they ask the resolver
//! to take.

use std::time::Duration;

use crate::core::budget::Class;
use crate::core::classify::Failure;
use crate::core::edns::EdnsTrust;
use crate::core::health::AttemptOutcome;
use crate::core::time::Timestamp;
use crate::core::upstream::{Transport, UpstreamId};
use crate::core::upstream_query::Extension;

/// Identifies one attempt within its resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttemptId(pub(super) usize);

#[cfg(test)]
impl AttemptId {
    /// The first attempts of a resolution.
    pub(crate) fn some<const N: usize>() -> [Self; N] {
        std::array::from_fn(Self)
    }
}

/// The upstream that one send goes to, and how it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The upstream that is asked.
    pub upstream: UpstreamId,
    /// The transport over which it is asked.
    pub transport: Transport,
    /// Whether the query carries EDNS, as far as the upstream is known to understand it.
    pub extension: Extension,
    /// How far the upstream is trusted with an OPT, which says when it is asked without.
    pub trust: EdnsTrust,
    /// The class of the packet in the budget.
    pub class: Class,
}

/// A primary of the group, in its place in the configured order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The upstream at this place.
    pub upstream: UpstreamId,
    /// How long after its last attempt a denial by a later server is held back for it; `None` when
    /// denials do not wait for this server, because it is down or left out.
    pub patience: Option<Duration>,
}

/// The plan that the attempts of one resolution start with.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The primaries that are asked, each once, best first.
    pub primaries: Vec<Target>,
    /// The fallbacks, each once, that are asked when the primaries are through.
    pub fallbacks: Vec<Target>,
    /// A primary that counts as down, which is asked when nobody else is left.
    pub last_resort: Option<Target>,
    /// All primaries in the configured order, which decides whose denial counts.
    pub listed: Vec<Listed>,
    /// How many upstreams that were silent over UDP are asked over TCP.
    pub rescues: u32,
    /// How often the primaries are asked anew after all were silent, the first time included.
    pub rounds: u32,
    /// Whether the client wants what only EDNS can ask for.
    pub signatures: Signatures,
    /// The client response timer: an attempt without response for this long is overdue.
    pub timer: Duration,
    /// How long after the first send the second one is due. Each further wait is two and a half
    /// times as long.
    pub hedge: Duration,
    /// How long after the beginning the attempts give up: clients that have nothing stale to fall
    /// back on get SERVFAIL then.
    pub deadline: Duration,
    /// How long after the beginning a late answer is still taken.
    pub linger: Duration,
}

impl Plan {
    /// A plan of one send to one upstream, which is given up after `deadline`.
    #[must_use]
    pub fn single(target: Target, timer: Duration, deadline: Duration) -> Self {
        Self {
            primaries: vec![target],
            fallbacks: Vec::new(),
            last_resort: None,
            listed: Vec::new(),
            rescues: 0,
            rounds: 1,
            signatures: Signatures::NotWanted,
            timer,
            hedge: deadline,
            deadline,
            linger: deadline,
        }
    }

    /// Asks for signatures as well, which takes EDNS: the first send to each upstream has it.
    #[must_use]
    pub fn with_signatures(mut self) -> Self {
        self.signatures = Signatures::Wanted;
        for target in self.primaries.iter_mut().chain(&mut self.fallbacks).chain(&mut self.last_resort) {
            target.extension = Extension::Edns;
        }
        self
    }

    /// Leaves EDNS out of all further queries to an upstream.
    pub(super) fn leave_edns_out(&mut self, upstream: UpstreamId) {
        let targets = self.primaries.iter_mut().chain(&mut self.fallbacks).chain(&mut self.last_resort);
        targets.filter(|own| own.upstream == upstream).for_each(|own| own.extension = Extension::Plain);
    }

    /// The place of an upstream among the primaries; `None` for a fallback.
    pub(super) fn place(&self, upstream: UpstreamId) -> Option<usize> {
        self.listed
            .iter()
            .position(|listed| listed.upstream == upstream)
            .or_else(|| self.primaries.iter().position(|target| target.upstream == upstream))
    }
}

/// Whether an answer without DNSSEC signatures is as good as one with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signatures {
    /// The client did not ask for signatures (DO=0).
    NotWanted,
    /// The client asked for signatures (DO=1), which takes EDNS.
    Wanted,
}

/// One thing that the resolver has to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send the query to the target; the attempt has this ID from then on.
    Send(AttemptId, Target),
    /// Report to the upstream's health how an attempt ended.
    Report(UpstreamId, AttemptOutcome),
    /// Report to the upstream's health that the attempt that was sent at this time is overdue.
    Overdue(UpstreamId, Timestamp),
    /// Give clients that have something stale to fall back on their stale answer now, since a fresh
    /// one will take longer.
    Trouble,
    /// Take the denial that this attempt has brought: no earlier server is left to contradict it.
    Take(AttemptId),
    /// Give waiting clients SERVFAIL, or the truncated answer if there is one, but go on listening
    /// for a late answer.
    GiveUp(Failure),
    /// The attempts are over: without an answer, or with the denial that was taken.
    End(Failure),
}

/// Whether the records of a truncated response are an answer that clients can be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TruncatedAnswer {
    /// The records are an answer, if not the whole one.
    Usable,
    /// The response holds nothing that answers the question.
    Empty,
}

/// What has come of the confirmation of a doubted answer so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmed {
    /// Others gave the same answer.
    ByOthers,
    /// Nobody else has answered.
    ByNobody,
}
