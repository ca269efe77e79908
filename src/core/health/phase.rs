//! The phases of the health of an upstream: the states of the state machine.

use crate::core::time::Timestamp;

/// The phase of the state machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HealthPhase {
    /// The upstream answers in time.
    Healthy,
    /// A client's question is in trouble, and a witness decides whether the upstream is.
    Suspected {
        /// When the question in trouble was sent.
        since: Timestamp,
        /// Weight of the witnesses in a row that were not answered in time.
        doubt: u32,
    },
    /// A witness was not answered in time.
    Impaired,
    /// The breaker is open.
    Down,
    /// The upstream responds again after it was down.
    Recovering,
}
