//! How many packets may go upstream, and for what (AWS drops silently above 1024 packets a second
//! and network interface).
//!
//! A sliding window of one second in slices of 50 ms counts what was sent by class. The sum never
//! exceeds the budget in any second, also right after a pause: a token bucket with the same rate
//! and burst would let twice as many through. At the limit background work is shed first: it may
//! only use what client misses leave.
//!
//! | class | at most | only while the whole is used below |
//! |---|---|---|
//! | probe | one a second and upstream, by its own timer | always granted |
//! | miss | the budget | 100 % |
//! | outage: a name of which nothing is remembered, while all upstreams are down | `outage_per_second` | 100 % |
//! | critical: a name that must never be missing is refreshed | a quarter of the budget | 90 % |
//! | prefetch | `prefetch_percent` of the budget | 75 % |
//! | sweep after recovery | `sweep_per_second` | 50 % |

use super::labelled::labelled;
use super::policy::BudgetPolicy;
use super::time::Timestamp;

labelled! {
    /// What a packet is sent for, most important first.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Class {
        /// A probe checks whether an upstream answers again.
        Probe = "probe",
        /// A client waits for the answer, or has just got a stale one.
        Miss = "miss",
        /// A client waits while all upstreams are down and no answer is remembered.
        Outage = "outage",
        /// A critical name is resolved or refreshed, although no client waits.
        Critical = "critical",
        /// A fresh answer that is in use is refreshed before its TTL ends.
        Prefetch = "prefetch",
        /// A stale answer is refreshed after an outage.
        Sweep = "sweep",
    }
}

impl Class {
    /// Whether nobody waits for it.
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
/// Slices: a second, and the one under way.
const SLICES: usize = 21;

/// One slice's packets.
#[derive(Clone, Copy, Debug, Default)]
struct TimeSlice {
    /// Which stretch of time it counts.
    number: u64,
    /// Packets by class.
    sent: [u32; Class::ALL.len()],
}

/// The packet budget.
#[derive(Debug)]
pub struct Budget {
    /// The operator's numbers.
    policy: BudgetPolicy,
    /// The last second.
    slices: [TimeSlice; SLICES],
}

impl Budget {
    /// A budget of which nothing is used.
    #[must_use]
    pub fn new(policy: BudgetPolicy) -> Self {
        Self { policy, slices: [TimeSlice::default(); SLICES] }
    }

    /// Takes `packets` for this class.
    ///
    /// # Errors
    /// The time at which it is worth asking again, when the budget is used up.
    pub fn take(&mut self, class: Class, packets: u32, now: Timestamp) -> Result<(), Timestamp> {
        let number = now.as_micros() / SLICE_MICROS;
        let mut used = [0; Class::ALL.len()];
        let mut oldest = number;
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
            return Err(Timestamp::from_micros((oldest + SLICES as u64) * SLICE_MICROS));
        }
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

    /// Whether this class may come to `of_class` packets and all together to `total`.
    fn allows(&self, class: Class, total: u32, of_class: u32) -> bool {
        let all = self.policy.per_second;
        // Probes must find the return of an upstream in any crowd.
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

    /// Takes one packet every `every` from `START` for `seconds`; gives the times at which it was
    /// granted.
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

    /// The most grants in any one second.
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
        assert!(granted.len() >= 3_300, "{} in 4 s: what is allowed is also given", granted.len());
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
    fn probes_are_never_refused() {
        let mut budget = Budget::new(policy().budget);
        while budget.take(Class::Miss, 1, START).is_ok() {}
        assert_eq!(budget.take(Class::Probe, 1, START), Ok(()));
    }

    #[test]
    fn who_is_refused_is_told_when_to_come_back() {
        let mut budget = Budget::new(policy().budget);
        while budget.take(Class::Miss, 1, START).is_ok() {}
        let again = budget.take(Class::Miss, 1, START).expect_err("used up");
        assert!(again > START && START.until(again) <= Duration::from_millis(1_050));
        assert_eq!(budget.take(Class::Miss, 1, again), Ok(()));
    }
}
