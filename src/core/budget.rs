//! The packet budget: how many packets may go upstream in one second, and for which purposes.
//!
//! AWS drops packets silently above 1024 per second and network interface, so there must be a
//! limit, and at the limit holdover itself decides what is not sent.
//!
//! A sliding window of one second counts what was sent, by class and in slices of 50 ms. So the sum
//! never exceeds the budget in any second, not even right after a pause: a token bucket with the
//! same rate and burst would let twice as many packets through. Near the limit background work is
//! shed first, since it may only use what the queries of clients leave.
//!
//! One percent of the budget (at least one packet) is kept for probes, which must find the return
//! of an upstream under any load. The rest is the base of the table:
//!
//! | class | most packets of this class | as long as all classes together use at most |
//! |---|---|---|
//! | probe | one a second and upstream, by its own timer | 100 %, and the packets kept for probes |
//! | miss | 100 % | 100 % |
//! | outage | `outage_per_second` | 100 % |
//! | critical | 25 % | 90 % |
//! | prefetch | `prefetch_percent` | 75 % |
//! | sweep | `sweep_per_second` | 50 % |

use super::labelled::labelled;
use super::policy::BudgetPolicy;
use super::time::Timestamp;

labelled! {
    /// The purpose that a packet is sent for, most important first.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Class {
        /// A probe finds out whether an upstream is back.
        Probe = "probe",
        /// A client waits for the answer, or has just got a stale one.
        Miss = "miss",
        /// A client waits for a name of which nothing is remembered, while all upstreams are down.
        Outage = "outage",
        /// A critical name is resolved or refreshed, though no client waits.
        Critical = "critical",
        /// A fresh answer in use is refreshed ahead of its expiry.
        Prefetch = "prefetch",
        /// A stale answer is refreshed after an outage, though no client waits.
        Sweep = "sweep",
    }
}

impl Class {
    /// Whether no client waits for packets of this class.
    #[must_use]
    pub const fn is_background(self) -> bool {
        match self {
            Self::Probe | Self::Miss | Self::Outage => false,
            Self::Critical | Self::Prefetch | Self::Sweep => true,
        }
    }
}

/// Length of a slice, in microseconds.
const SLICE_MICROS: u64 = 50_000;
/// The number of slices: twenty make a second, and one more is being filled.
const SLICES: usize = 21;

/// The packets that were sent within one slice of time.
#[derive(Clone, Copy, Debug, Default)]
struct TimeSlice {
    /// Microseconds since the epoch, divided by the length of a slice.
    number: u64,
    /// Packets by class, in the order of [`Class::ALL`].
    sent: [u32; Class::ALL.len()],
}

/// The packet budget of one process, with what was used of it in the last second.
#[derive(Debug)]
pub struct Budget {
    policy: BudgetPolicy,
    /// A ring: the slice with number `n` lies at `n` modulo [`SLICES`].
    slices: [TimeSlice; SLICES],
}

impl Budget {
    /// Makes a budget of which nothing is used yet.
    #[must_use]
    pub fn new(policy: BudgetPolicy) -> Self {
        Self { policy, slices: [TimeSlice::default(); SLICES] }
    }

    /// Takes `packets` out of the budget for this class.
    ///
    /// # Errors
    /// When the budget has no room for them, the time from which it may have some again.
    pub fn take(&mut self, class: Class, packets: u32, now: Timestamp) -> Result<(), Timestamp> {
        let number = now.as_micros() / SLICE_MICROS;
        let mut used = [0; Class::ALL.len()];
        let mut oldest = number;
        // Add up the slices of the last second. Older ones still lie in the ring until their place
        // is needed, and are passed over.
        for slice in self.slices.iter().filter(|slice| number.saturating_sub(slice.number) < SLICES as u64) {
            for (sum, sent) in used.iter_mut().zip(slice.sent) {
                *sum += sent;
            }
            if slice.sent != [0; Class::ALL.len()] {
                oldest = oldest.min(slice.number);
            }
        }
        let total: u32 = used.iter().sum();
        let of_class = used.get(class.index()).copied().unwrap_or_default();
        if !self.allows(class, total.saturating_add(packets), of_class.saturating_add(packets)) {
            // Nothing becomes free before the oldest slice in use leaves the window.
            return Err(Timestamp::from_micros((oldest + SLICES as u64) * SLICE_MICROS));
        }
        // Count the packets in the present slice, whose place may hold one of an earlier round.
        let index = usize::try_from(number % SLICES as u64).unwrap_or_default();
        if let Some(slice) = self.slices.get_mut(index) {
            if slice.number != number {
                *slice = TimeSlice { number, ..TimeSlice::default() };
            }
            if let Some(sent) = slice.sent.get_mut(class.index()) {
                *sent += packets;
            }
        }
        Ok(())
    }

    /// Whether within one second this class may reach `of_class` packets, and all classes together
    /// `total`.
    fn allows(&self, class: Class, total: u32, of_class: u32) -> bool {
        let all = self.policy.per_second;
        // The rest is kept for probes.
        let whole = all.saturating_sub((all / 100).max(1));
        match class {
            Class::Probe => total <= all,
            Class::Miss => total <= whole,
            Class::Outage => total <= whole && of_class <= self.policy.outage_per_second,
            Class::Critical => total <= whole - whole / 10 && of_class <= (whole / 4).max(1),
            Class::Prefetch => {
                total <= whole / 4 * 3 && of_class <= (whole / 100).max(1) * self.policy.prefetch_percent
            }
            Class::Sweep => total <= whole / 2 && of_class <= self.policy.sweep_per_second,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::policy;
    use std::time::Duration;

    const START: Timestamp = Timestamp::from_secs(1_000_000);

    /// Asks for one packet every `every` from `START` on for `seconds`, and returns the times at
    /// which it was granted.
    fn grants(budget: &mut Budget, class: Class, every: Duration, seconds: u64) -> Vec<Timestamp> {
        let mut now = START;
        let mut granted = Vec::new();
        while now < START.plus(Duration::from_secs(seconds)) {
            if budget.take(class, 1, now).is_ok() {
                granted.push(now);
            }
            now = now.plus(every);
        }
        granted
    }

    /// The largest number of grants within any one second.
    fn peak(granted: &[Timestamp]) -> usize {
        granted
            .iter()
            .map(|from| granted.iter().filter(|at| *at >= from && at.since(*from) < Duration::from_secs(1)).count())
            .max()
            .unwrap_or(0)
    }

    #[test]
    fn no_second_sees_more_than_the_budget_not_even_after_a_pause() {
        let mut budget = Budget::new(policy().budget);
        let granted = grants(&mut budget, Class::Miss, Duration::from_micros(250), 4);
        assert!(peak(&granted) <= 900, "{}", peak(&granted));
        assert!(granted.len() >= 3_300, "{} in 4 s: what is allowed is also granted", granted.len());
    }

    #[test]
    fn background_work_is_shed_first() {
        let mut budget = Budget::new(policy().budget);
        for _ in 0..880 {
            assert_eq!(budget.take(Class::Miss, 1, START), Ok(()));
        }
        assert!(budget.take(Class::Prefetch, 1, START).is_err());
        assert!(budget.take(Class::Sweep, 1, START).is_err());
        assert_eq!(budget.take(Class::Miss, 1, START), Ok(()));
    }

    #[test]
    fn critical_names_come_before_prefetch_and_sweep_and_after_clients() {
        let mut budget = Budget::new(policy().budget);
        let sent = (0..).take_while(|_| budget.take(Class::Critical, 1, START).is_ok()).count();
        assert_eq!(sent, 222, "a quarter, so that clients never wait for them");
        let mut budget = Budget::new(policy().budget);
        for _ in 0..700 {
            assert_eq!(budget.take(Class::Miss, 1, START), Ok(()));
        }
        assert!(budget.take(Class::Prefetch, 1, START).is_err() && budget.take(Class::Sweep, 1, START).is_err());
        assert_eq!(budget.take(Class::Critical, 1, START), Ok(()));
        while budget.take(Class::Critical, 1, START).is_ok() {}
        assert_eq!(budget.take(Class::Miss, 1, START), Ok(()));
    }

    #[test]
    fn each_background_class_has_its_own_limit() {
        assert!(peak(&grants(&mut Budget::new(policy().budget), Class::Prefetch, Duration::from_millis(1), 3)) <= 90);
        assert!(peak(&grants(&mut Budget::new(policy().budget), Class::Sweep, Duration::from_millis(1), 3)) <= 20);
        assert!(peak(&grants(&mut Budget::new(policy().budget), Class::Outage, Duration::from_millis(1), 3)) <= 100);
    }

    #[test]
    fn a_probe_is_granted_when_misses_have_used_up_the_budget() {
        let mut budget = Budget::new(policy().budget);
        while budget.take(Class::Miss, 1, START).is_ok() {}
        assert_eq!(budget.take(Class::Probe, 1, START), Ok(()));
    }

    #[test]
    fn a_refusal_names_the_time_from_which_packets_are_granted_again() {
        let mut budget = Budget::new(policy().budget);
        while budget.take(Class::Miss, 1, START).is_ok() {}
        let again = budget.take(Class::Miss, 1, START).expect_err("used up");
        assert!(again > START && START.until(again) <= Duration::from_millis(1_050));
        assert_eq!(budget.take(Class::Miss, 1, again), Ok(()));
    }
}
