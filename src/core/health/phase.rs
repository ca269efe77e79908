//! The phases of the health of an upstream: the states of the state machine.

/// Why the breaker opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Attempts timed out or ended in network errors.
    Transport,
    /// Responses came, but none was an answer.
    ServFail,
}

/// The phase of the state machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HealthPhase {
    /// The upstream answers in time.
    Healthy,
    /// One attempt is overdue; the next response ends this phase.
    Overdue,
    /// Too many attempts failed.
    Impaired,
    /// The breaker is open.
    Down(Cause),
    /// The upstream responds again after it was down.
    Recovering,
}
