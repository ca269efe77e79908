//! The packets that go upstream: how many may be sent, and how many were.

use parking_lot::Mutex;

use crate::core::budget::{Budget, Class, PacketClaim};
use crate::core::clients::ClientId;
use crate::core::policy::BudgetPolicy;
use crate::core::time::Timestamp;
use crate::telemetry::tally::Sends;

/// The packet budget, and the counts of what it allowed and did not allow.
pub(super) struct Packets {
    budget: Mutex<Budget>,
    sends: Sends,
}

impl Packets {
    /// A budget of which nothing is used.
    pub(super) fn new(policy: BudgetPolicy) -> Self {
        Self { budget: Mutex::new(Budget::new(policy)), sends: Sends::default() }
    }

    /// Takes `packets` out of the budget for one send, and counts the send.
    ///
    /// # Errors
    /// The time from which the budget may have room again, when it has none for this sender now.
    pub(super) fn take(&self, sender: impl Into<PacketClaim>, packets: u32, now: Timestamp) -> Result<(), Timestamp> {
        let sender = sender.into();
        let class = sender.class;
        let taken = self.budget.lock().take(sender, packets, now);
        match taken {
            Ok(()) => self.sends.sent(class),
            Err(_) => self.sends.over_budget(class),
        }
        taken
    }

    /// Takes one packet out of the budget for a query that is no attempt of a resolution; it is not
    /// counted as a send.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub(super) fn take_uncounted(&self, class: Class, now: Timestamp) -> Result<(), Timestamp> {
        self.budget.lock().take(class, 1, now)
    }

    /// The packets that were sent for a client in the last second.
    pub(super) fn used(&self, client: ClientId, now: Timestamp) -> u32 {
        self.budget.lock().used(client, now)
    }

    /// The counters of sends, by class.
    pub(super) const fn sends(&self) -> &Sends {
        &self.sends
    }
}
