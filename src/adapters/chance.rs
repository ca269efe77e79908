//! Unpredictable numbers from one generator that the operating system seeded.
//!
//! Message IDs are half of what a forger has to guess (RFC 5452 §4), so the generator is a
//! cryptographic one (ChaCha12). It is seeded once, at the start, where a failure can still be
//! reported to the operator; `rand`'s per-thread generator would panic in the middle of a query
//! instead. A number costs some 7 ns, uncontended lock included, and only queries that go upstream
//! draw one.

use parking_lot::Mutex;
use rand::rngs::{StdRng, SysRng};
use rand::{Rng, SeedableRng};

use crate::resolver::ports::Chance;

/// The error for an operating system that gives no random bytes to seed the generator with.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gives no random numbers: {0}")]
pub struct NoEntropy(#[source] rand::rngs::SysError);

/// Draws unpredictable numbers for message IDs, jitter and choices among equals.
#[derive(Debug)]
pub struct SystemChance {
    generator: Mutex<StdRng>,
}

impl SystemChance {
    /// Seeds the generator with random bytes of the operating system.
    ///
    /// # Errors
    /// [`NoEntropy`] when the operating system has no random bytes.
    pub fn new() -> Result<Self, NoEntropy> {
        let generator = StdRng::try_from_rng(&mut SysRng).map_err(NoEntropy)?;
        Ok(Self { generator: Mutex::new(generator) })
    }
}

impl Chance for SystemChance {
    fn number(&self) -> u64 {
        self.generator.lock().next_u64()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn numbers_and_generators_differ() {
        let (one, other) = (SystemChance::new().expect("entropy"), SystemChance::new().expect("entropy"));
        let drawn: HashSet<u64> = (0..100).flat_map(|_| [one.number(), other.number()]).collect();
        assert_eq!(drawn.len(), 200);
    }

    #[test]
    fn message_ids_spread_over_the_whole_range() {
        let chance = SystemChance::new().expect("entropy");
        let quarters: HashSet<u64> = (0..200).map(|_| (chance.number() & 0xffff) >> 14).collect();
        assert_eq!(quarters.len(), 4);
    }
}
