//! The capacity of one cache of answers: bytes and entries in one number.

/// The largest size of a cache. An answer counts with at least `bytes / entries`, so that the one
/// weight that a cache library can bound keeps both limits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Capacity {
    /// The largest size in bytes, bookkeeping included.
    pub(super) bytes: u64,
    /// The largest number of answers.
    pub(super) entries: u64,
}

impl Capacity {
    /// The share of both limits, in percent.
    pub(super) const fn percent(self, percent: u64) -> Self {
        Self { bytes: self.bytes / 100 * percent, entries: self.entries * percent / 100 }
    }

    /// The least that one answer counts, in bytes.
    pub(super) fn least_weight(self) -> u64 {
        self.bytes / self.entries.max(1)
    }

    /// The largest weight of all answers together: a multiple of the least weight, so that answers
    /// of that weight fill the cache to the last one.
    pub(super) fn weight(self) -> u64 {
        self.least_weight() * self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_the_least_weight_fill_the_cache_to_the_last_one() {
        let capacity = Capacity { bytes: 8 << 20, entries: 10_000 };
        assert_eq!(capacity.weight() / capacity.least_weight(), 10_000);
        let quarter = capacity.percent(25);
        assert_eq!((quarter.entries, quarter.weight() / quarter.least_weight()), (2_500, 2_500));
        assert_eq!(Capacity { bytes: 1 << 20, entries: 0 }.weight(), 0);
    }
}
