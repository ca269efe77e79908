//! Lets answers be remembered that this process did not learn itself: seeds at the start, imports
//! while it runs.
//!
//! Nothing here can prevent the start or fail a query: a seed that is missing, wrong or too large
//! is said and left out. A seed never replaces something newer, and one that does not say how old
//! an answer is replaces nothing.

use std::path::PathBuf;

use crate::adapters::admin::Imported;
use crate::adapters::seed::{self, SeedError};
use crate::core::policy::Policy;
use crate::memory::Memory;
use crate::memory::journal::Origin;
use crate::memory::store::Found;
use crate::telemetry::events;

/// Bytes of a seed that are always taken.
const SIZE_MIN: u64 = 1 << 20;
/// Bytes of a seed at the most, however large the cache.
const SIZE_MAX: u64 = 64 << 20;

/// Bytes of a seed at the most. An answer takes fewer as text than in the cache, unless it is a
/// long one; what is larger than this would not fit in, and would take more memory than the
/// operator gave.
pub(super) fn size_max(policy: &Policy) -> usize {
    usize::try_from(policy.cache.bytes.saturating_mul(2).clamp(SIZE_MIN, SIZE_MAX)).unwrap_or(usize::MAX)
}

/// Reads the seeds of the configuration, each for itself, and says what came of it.
pub(super) fn load(paths: &[PathBuf], memory: &Memory, policy: &Policy) {
    for path in paths {
        let text = seed::read_file(path, size_max(policy));
        match text.and_then(|text| take_in(&text, memory, policy, Origin::Seed)) {
            Ok(Imported { learned, older, expired, invalid, mistakes }) => {
                events::SeedRead { path, learned, older, expired, invalid, mistakes: &mistakes }.emit();
            }
            Err(error) => events::SeedUnusable { path, reason: &error.to_string() }.emit(),
        }
    }
}

/// Takes in a seed's text.
///
/// # Errors
/// [`SeedError::Shape`] when it is no seed.
pub(super) fn take_in(text: &str, memory: &Memory, policy: &Policy, origin: Origin) -> Result<Imported, SeedError> {
    let now = memory.now();
    let (mut learned, mut older) = (0, 0);
    let left = seed::read_text(text, policy, now, |seedling| {
        let known = || matches!(memory.find(&seedling.key, now), Found::Answer(_));
        let is_taken = !(seedling.entry.undated && known())
            && memory.restore(&seedling.key, seedling.entry, seedling.hits, origin);
        if is_taken { learned += 1 } else { older += 1 }
    })?;
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let mistakes = left.mistakes.iter().map(ToString::to_string).collect();
    Ok(Imported { learned, older, expired: count(left.expired), invalid: count(left.refused), mistakes })
}
