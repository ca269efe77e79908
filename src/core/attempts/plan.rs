//! The plan that the attempts of a resolution start with, and the steps that they ask the resolver
//! to take.

use std::time::Duration;

use crate::core::budget::Class;
use crate::core::classify::Failure;
use crate::core::health::AttemptOutcome;
use crate::core::time::Timestamp;
use crate::core::upstream::{Transport, UpstreamId};
use crate::core::upstream_query::Extension;

/// Identifies one attempt within its resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttemptId(pub(super) usize);

/// The upstream that one send goes to, and how it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The upstream that is asked.
    pub upstream: UpstreamId,
    /// The transport over which it is asked.
    pub transport: Transport,
    /// Whether the query carries EDNS, as far as the upstream is known to understand it.
    pub extension: Extension,
    /// The class of the packet in the budget.
    pub class: Class,
}

/// The plan that the attempts of one resolution start with.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The planned sends in their order; any beyond the allowed number are dropped.
    pub targets: Vec<Target>,
    /// The client response timer: an attempt without response for this long is overdue.
    pub timer: Duration,
    /// How long after the first send the second one is due.
    pub hedge: Duration,
    /// How long after the beginning the attempts give up: clients that have nothing stale to fall
    /// back on get SERVFAIL then.
    pub deadline: Duration,
    /// How long after the beginning a late answer is still taken.
    pub linger: Duration,
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
    /// Give waiting clients SERVFAIL, or the truncated answer if there is one, but go on listening
    /// for a late answer.
    GiveUp(Failure),
    /// The attempts are over without an answer.
    End(Failure),
}
