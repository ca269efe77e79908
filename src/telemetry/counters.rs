//! Groups of counters, one counter for each variant of an enum that
//! [`labelled!`](crate::core::labelled) defines.
//!
//! Every group of counters in holdover is one [`Counters`]: queries by outcome, packets by class,
//! connections by event. Counting is one relaxed addition to an array element whose position the
//! compiler knows, without a lock, so that it may happen once per query. Which threads share a
//! group of counters is decided by its owner: [`super::tally::Tally`] gives each answering thread
//! its own.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::core::labelled::Labelled;

/// One counter for each variant of a labelled enum.
pub struct Counters<L: Labelled>(L::PerVariant<AtomicU64>);

impl<L: Labelled> Counters<L> {
    /// Adds one to the counter of `variant`.
    pub fn count(&self, variant: L) {
        self.add(variant, 1);
    }

    /// Adds `many` to the counter of `variant`.
    pub fn add(&self, variant: L, many: u64) {
        if let Some(counter) = self.0.as_ref().get(variant.index()) {
            counter.fetch_add(many, Ordering::Relaxed);
        }
    }

    /// The number of times that `variant` was counted since the process started.
    #[must_use]
    pub fn total(&self, variant: L) -> u64 {
        self.0.as_ref().get(variant.index()).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// The totals of all variants by their labels, as `/status` and `/metrics` show them.
    #[must_use]
    pub fn by_label(&self) -> BTreeMap<String, u64> {
        self.by_label_of(L::VARIANTS)
    }

    /// The totals of some variants by their labels, where an enum has variants of several metrics.
    #[must_use]
    pub fn by_label_of(&self, variants: &[L]) -> BTreeMap<String, u64> {
        variants.iter().map(|variant| (variant.label().to_owned(), self.total(*variant))).collect()
    }
}

impl<L: Labelled> Default for Counters<L> {
    fn default() -> Self {
        Self(Default::default())
    }
}

impl<L: Labelled> fmt::Debug for Counters<L> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.by_label()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::matching::Mismatch;

    #[test]
    fn every_variant_has_a_counter_of_its_own() {
        let counters = Counters::<Mismatch>::default();
        for (times, mismatch) in (1..).zip(Mismatch::ALL) {
            (0..times).for_each(|_| counters.count(mismatch));
        }
        assert_eq!(Mismatch::ALL.map(|mismatch| counters.total(mismatch)), [1, 2, 3, 4, 5, 6]);
        counters.add(Mismatch::Id, 10);
        assert_eq!(counters.total(Mismatch::Id), 13);
    }

    #[test]
    fn totals_are_shown_by_label_also_those_of_zero() {
        let counters = Counters::<Mismatch>::default();
        counters.count(Mismatch::Opcode);
        let shown = counters.by_label();
        assert_eq!((shown.len(), shown.get(Mismatch::Opcode.label())), (Mismatch::ALL.len(), Some(&1)));
        assert_eq!(counters.by_label_of(&[Mismatch::Id]), BTreeMap::from([(Mismatch::Id.label().to_owned(), 0)]));
    }
}
