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
//! | probe | one a second and upstream while it is ill, ten on suspicion | 100 %, and the packets kept for probes |
//! | miss | 100 % | 100 % |
//! | retry | 100 % | 75 % |
//! | outage | `outage_per_second` | 100 % |
//! | critical | 25 % | 90 % |
//! | prefetch | `prefetch_percent` | 75 % |
//! | sweep | `sweep_per_second` | 50 % |
//!
//! Clients share what misses, retries and the class outage may use ([`super::packet_shares`]).
//! While others are present, a client that uses much leaves an eighth of it to those that use
//! little, and these may send retries as far as misses.

use super::clients::ClientId;
use super::labelled::labelled;
use super::packet_shares::{PacketShare, PacketShares, SLICE_MICROS, SLICES};
use super::policy::BudgetPolicy;
use super::time::Timestamp;

labelled! {
    /// The purpose that a packet is sent for, most important first.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Class {
        /// A witness shows whether an upstream is well, or a name that failed is asked for again to
        /// find out whether that is over.
        Probe = "probe",
        /// A client waits for the answer, or has just got a stale one.
        Miss = "miss",
        /// A client waits for the answer, and what was sent before for it had no answer.
        Retry = "retry",
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
            Self::Probe | Self::Miss | Self::Retry | Self::Outage => false,
            Self::Critical | Self::Prefetch | Self::Sweep => true,
        }
    }
}

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
    /// The shares of clients in all packets.
    shares: PacketShares,
    /// Their shares in the packets of the class outage.
    outage_shares: PacketShares,
}

/// The purpose and the client of a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketClaim {
    /// The class that its packets count as.
    pub class: Class,
    /// The client that waits for the response; `None` when none does.
    pub client: Option<ClientId>,
}

impl From<Class> for PacketClaim {
    /// A send for which no client waits.
    fn from(class: Class) -> Self {
        Self { class, client: None }
    }
}

impl Budget {
    /// Makes a budget of which nothing is used yet.
    #[must_use]
    pub fn new(policy: BudgetPolicy) -> Self {
        Self {
            policy,
            slices: [TimeSlice::default(); SLICES],
            shares: PacketShares::new(whole(policy.per_second)),
            outage_shares: PacketShares::new(policy.outage_per_second),
        }
    }

    /// Takes `packets` out of the budget for this sender.
    ///
    /// # Errors
    /// When the budget has no room for them, the time from which it may have some again.
    pub fn take(&mut self, sender: impl Into<PacketClaim>, packets: u32, now: Timestamp) -> Result<(), Timestamp> {
        let sender = sender.into();
        let class = sender.class;
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
        let share = self.share(sender, packets, number);
        if share == PacketShare::Paused {
            return Err(Timestamp::from_micros((number + 1) * SLICE_MICROS));
        }
        if !self.allows(class, share, total.saturating_add(packets), of_class.saturating_add(packets)) {
            // Nothing becomes free before the oldest slice in use leaves the window. A retry comes
            // a slice later, so that first sends that wait for the same moment go before it.
            let behind = match class {
                Class::Retry => 1,
                Class::Probe | Class::Miss | Class::Outage | Class::Critical | Class::Prefetch | Class::Sweep => 0,
            };
            return Err(Timestamp::from_micros((oldest + SLICES as u64 + behind) * SLICE_MICROS));
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
        if let Some(client) = sender.client {
            self.shares.note(client, packets, number);
            if class == Class::Outage {
                self.outage_shares.note(client, packets, number);
            }
        }
        Ok(())
    }

    /// The packets that a client used in the last second.
    #[must_use]
    pub fn used(&self, client: ClientId, now: Timestamp) -> u32 {
        self.shares.used(client, now.as_micros() / SLICE_MICROS)
    }

    /// The share of the sender's client in what its class shares.
    fn share(&mut self, sender: PacketClaim, packets: u32, slice: u64) -> PacketShare {
        let Some(client) = sender.client else { return PacketShare::Alone };
        let of_all = self.shares.share(client, packets, slice);
        match sender.class {
            Class::Outage => self.outage_shares.share(client, packets, slice),
            Class::Probe | Class::Miss | Class::Retry | Class::Critical | Class::Prefetch | Class::Sweep => of_all,
        }
    }

    /// Whether within one second this class may reach `of_class` packets, and all classes together
    /// `total`.
    fn allows(&self, class: Class, share: PacketShare, total: u32, of_class: u32) -> bool {
        let whole = whole(self.policy.per_second);
        match class {
            Class::Probe => total <= self.policy.per_second,
            Class::Miss => total <= share.of(whole),
            // What is left to first sends is left to those of the same client, and others may have
            // taken it: a client that uses little need not go behind them.
            Class::Retry if share == PacketShare::Light => total <= whole,
            Class::Retry => total <= whole / 4 * 3,
            Class::Outage => total <= whole && of_class <= share.of(self.policy.outage_per_second),
            Class::Critical => total <= whole - whole / 10 && of_class <= (whole / 4).max(1),
            Class::Prefetch => {
                total <= whole / 4 * 3 && of_class <= (whole / 100).max(1) * self.policy.prefetch_percent
            }
            Class::Sweep => total <= whole / 2 && of_class <= self.policy.sweep_per_second,
        }
    }
}

/// What is shared when so many packets may go upstream in all; the rest is kept for probes.
fn whole(per_second: u32) -> u32 {
    per_second.saturating_sub((per_second / 100).max(1))
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
    fn retries_leave_a_quarter_to_first_sends_and_go_behind_them() {
        let mut budget = Budget::new(policy().budget);
        let sent = (0..).take_while(|_| budget.take(Class::Retry, 1, START).is_ok()).count();
        assert_eq!(sent, 666);
        let retry = budget.take(Class::Retry, 1, START).expect_err("used up");
        while budget.take(Class::Miss, 1, START).is_ok() {}
        let miss = budget.take(Class::Miss, 1, START).expect_err("used up");
        assert!(miss < retry, "{miss:?} {retry:?}");
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

    /// Has each of these clients want `wanted` packets every millisecond for three seconds, as
    /// misses or as another class, and gives what each got in the last second.
    fn last_second(class: Class, wants: &[(usize, u32)]) -> Vec<u32> {
        let mut budget = Budget::new(policy().budget);
        let mut now = START;
        for _ in 0..3_000 {
            now = now.plus(Duration::from_millis(1));
            for (number, wanted) in wants {
                let sender = PacketClaim { class, client: Some(ClientId::new(*number)) };
                (0..*wanted).take_while(|_| budget.take(sender, 1, now).is_ok()).count();
            }
        }
        let clients = wants.iter().map(|(number, _)| ClientId::new(*number));
        match class {
            Class::Outage => {
                clients.map(|client| budget.outage_shares.used(client, now.as_micros() / SLICE_MICROS)).collect()
            }
            _ => clients.map(|client| budget.used(client, now)).collect(),
        }
    }

    #[test]
    fn one_client_leaves_the_others_their_packets() {
        for class in [Class::Miss, Class::Outage] {
            let alone = last_second(class, &[(0, 3)])[0];
            let all = if class == Class::Miss { 891 } else { 100 };
            assert!(alone > all * 9 / 10, "{class:?}: {alone}");
            let both = last_second(class, &[(0, 3), (1, 3)]);
            assert!(both.iter().all(|used| *used > all * 3 / 8), "{class:?}: {both:?}");
        }
    }

    #[test]
    fn the_retry_of_a_client_that_uses_little_goes_beside_the_misses_of_another() {
        let mut budget = Budget::new(policy().budget);
        let [greedy, modest] = [0, 1].map(|number| Some(ClientId::new(number)));
        let _ = budget.take(PacketClaim { class: Class::Miss, client: modest }, 1, START);
        while budget.take(PacketClaim { class: Class::Miss, client: greedy }, 1, START).is_ok() {}
        assert!(budget.take(PacketClaim { class: Class::Retry, client: greedy }, 1, START).is_err());
        assert_eq!(budget.take(PacketClaim { class: Class::Retry, client: modest }, 1, START), Ok(()));
        assert_eq!(budget.take(PacketClaim { class: Class::Miss, client: modest }, 1, START), Ok(()));
    }
}
