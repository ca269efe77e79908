//! The evidence about an upstream that its health takes, and the states that it comes to.

use std::time::Duration;

use crate::core::labelled::labelled;

labelled! {
    /// How usable an upstream is, best first.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum UpstreamState {
        /// The upstream answers in time.
        Healthy = "healthy",
        /// The upstream answers only some queries, or answers late.
        Impaired = "impaired",
        /// The upstream answers nothing; the breaker is open.
        Down = "down",
    }
}

/// The outcome of an attempt for a client's question: how it ended, or that it is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// An answer (NOERROR or NXDOMAIN) came after this time.
    Answered(Duration),
    /// A response without answer (SERVFAIL, REFUSED, lame, FORMERR) came after this time.
    UnusableResponse(Duration),
    /// A response that does not answer its question ([`Failure::is_garbage`]) came after this time.
    /// That is trouble of the question, and no reason to suspect the upstream.
    ///
    /// [`Failure::is_garbage`]: crate::core::classify::Failure::is_garbage
    Garbage(Duration),
    /// The network reported an error: ICMP, or a TCP reset.
    Failed,
    /// No response came for as long as an attempt is waited for. [`AttemptOutcome::Late`] was
    /// reported before.
    TimedOut,
    /// No response came within [`LATE`](super::LATE). How the attempt ends is reported later as
    /// well.
    Late,
}

labelled! {
    /// The outcome of a witness, which is evidence about the upstream itself.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Testimony {
        /// An answer came in time.
        InTime = "in_time",
        /// The first answer came only after the witness had been given up.
        Late = "late",
        /// A response came in time, but it was no answer.
        Unusable = "unusable",
        /// A response without answer came in time, to a question that the upstream has never
        /// answered: it shows that the upstream is there, and no more.
        Inconclusive = "inconclusive",
        /// Nothing came in time.
        Silent = "silent",
        /// The network reported an error.
        Failed = "failed",
    }
}

/// A change of an upstream's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The state before the change.
    pub from: UpstreamState,
    /// The state after the change.
    pub to: UpstreamState,
}
