//! Answers that this process did not learn itself: seeds that are read at the start, and imports
//! while the process runs.
//!
//! Nothing here can prevent the start or fail a query: a seed that is missing, wrong or too large
//! is logged and left out. A seed never replaces a newer answer. An answer without a date replaces
//! no answer at all.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::patient_read::{begin, wait_at_start};
use crate::adapters::admin::Imported;
use crate::adapters::seed::{self, SeedError};
use crate::core::policy::Policy;
use crate::core::restore;
use crate::memory::Memory;
use crate::memory::journal::Origin;
use crate::memory::store::Found;
use crate::telemetry::events;

/// Length in bytes up to which a seed is always read, however small the cache.
const SIZE_MIN: u64 = 1 << 20;
/// Length in bytes beyond which a seed is never read, however large the cache.
const SIZE_MAX: u64 = 64 << 20;

/// Length in bytes up to which a seed is read: twice the size of the cache. An answer takes fewer
/// bytes as text than in the cache, unless it is a long one. A longer seed would not fit into the
/// cache, and would take more memory than the operator gave.
pub(super) fn size_max(policy: &Policy) -> usize {
    usize::try_from(policy.cache.bytes.saturating_mul(2).clamp(SIZE_MIN, SIZE_MAX)).unwrap_or(usize::MAX)
}

/// Reads each seed of the configuration into memory, and logs how many of its answers were learned.
/// The start waits for a second and not longer: from the first seed that takes more, all are read
/// beside the running sidecar.
pub(super) fn load(paths: &[PathBuf], memory: &Arc<Memory>) {
    let mut waits = true;
    for path in paths {
        let (own, memory) = (path.clone(), Arc::clone(memory));
        let started = begin(move || load_one(&own, &memory));
        if waits && wait_at_start(&started).is_none() {
            waits = false;
            events::SeedLate { path }.emit();
        }
    }
}

fn load_one(path: &Path, memory: &Memory) {
    let text = seed::read_file(path, size_max(memory.policy()));
    match text.and_then(|text| import(&text, memory, Origin::Seed)) {
        Ok(Imported { learned, older, expired, invalid, mistakes }) => {
            events::SeedRead { path, learned, older, expired, invalid, mistakes: &mistakes }.emit();
        }
        Err(error) => events::SeedUnusable { path, reason: &error.to_string() }.emit(),
    }
}

/// Restores the answers of a seed into memory, and counts those that were learned and left out.
///
/// # Errors
/// [`SeedError::Shape`] when the text as a whole is no seed.
pub(super) fn import(text: &str, memory: &Memory, origin: Origin) -> Result<Imported, SeedError> {
    let now = memory.now();
    let (mut learned, mut older) = (0, 0);
    let left = seed::read_text(text, memory.policy(), now, |answer| {
        // The memory itself keeps an answer that is as new or newer. Nobody knows whether an answer
        // without a date is newer, so any remembered answer is kept in its place.
        let known = || matches!(memory.find(&answer.key, now), Found::Answer(_));
        let entry = match origin {
            Origin::Import => restore::as_stale(answer.entry, now),
            Origin::Upstream | Origin::StateFile | Origin::Seed | Origin::SharedCache => answer.entry,
        };
        let is_learned = !(entry.undated && known()) && memory.restore(&answer.key, entry, answer.hits, origin);
        if is_learned { learned += 1 } else { older += 1 }
    })?;
    memory.review_restored();
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let mistakes = left.mistakes.iter().map(ToString::to_string).collect();
    Ok(Imported { learned, older, expired: count(left.too_old), invalid: count(left.refused), mistakes })
}
