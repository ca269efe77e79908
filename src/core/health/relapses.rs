//! Relapses: how often in a row something good ended soon after it had begun.
//!
//! Each relapse doubles the number of events that are needed the next time, up to eight times as
//! many, so that an upstream that is only half healed does not flap between two states.

use std::time::Duration;

use crate::core::time::Timestamp;

/// An end within this time of the beginning is a relapse.
const RELAPSE_WITHIN: Duration = Duration::from_secs(60);
/// The largest number of doublings.
const DOUBLINGS_MAX: u32 = 3;

/// The relapses of one kind of one upstream.
#[derive(Debug, Default)]
pub(super) struct Relapses {
    /// When the good time began last; `None` before the first recovery.
    begun: Option<Timestamp>,
    in_a_row: u32,
}

impl Relapses {
    /// Notes that a good time begins.
    pub(super) const fn begin(&mut self, now: Timestamp) {
        self.begun = Some(now);
    }

    /// Records that the good time ends: one more relapse in a row when it was short, else none.
    pub(super) fn record(&mut self, now: Timestamp) {
        let soon = self.begun.is_some_and(|begun| now.since(begun) < RELAPSE_WITHIN);
        self.in_a_row = if soon { (self.in_a_row + 1).min(DOUBLINGS_MAX) } else { 0 };
    }

    /// The number of events that are needed the next time, where `needed` are without relapses.
    pub(super) const fn doubled(&self, needed: u32) -> u32 {
        needed << self.in_a_row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_relapse_in_a_row_doubles_what_is_needed_up_to_eight_times() {
        let at = Timestamp::from_secs;
        let mut relapses = Relapses::default();
        relapses.record(at(1));
        assert_eq!(relapses.doubled(3), 3, "nothing had recovered before");
        let mut needed = Vec::new();
        for round in 1..=4 {
            relapses.begin(at(round * 100));
            relapses.record(at(round * 100 + 59));
            needed.push(relapses.doubled(3));
        }
        assert_eq!(needed, [6, 12, 24, 24]);
        relapses.begin(at(1000));
        relapses.record(at(1060));
        assert_eq!(relapses.doubled(3), 3, "a good time of a minute ends the row");
    }
}
