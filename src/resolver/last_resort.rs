//! The last resort of a resolution: an answer that is better than none, truncated or marked as
//! stale by the upstream itself.

use std::sync::Arc;

use crate::core::classify::Kind;
use crate::core::entry::Entry;
use crate::core::key::Key;
use crate::core::time::Timestamp;
use crate::core::upstream::GroupId;
use crate::memory::cached::CachedAnswer;

/// Whether a last resort may be given as fresh, as a truncated answer may. What is nearest to a
/// question, or was marked as stale, never is.
pub(super) fn is_fresh(cached: &CachedAnswer, now: Timestamp) -> bool {
    cached.entry.truncated && cached.is_fresh(now)
}

/// The answer that clients get when no better one comes, if there is one.
#[derive(Debug, Default)]
pub(super) struct LastResort(Option<Arc<CachedAnswer>>);

impl LastResort {
    /// Keeps an answer, unless it is a denial and whole data are kept already.
    pub(super) fn keep(&mut self, key: &Key, entry: Entry, group: GroupId) {
        let is_whole = |kept: &Entry| !kept.truncated && kept.kind == Kind::Positive;
        if entry.kind == Kind::Positive || !self.0.as_ref().is_some_and(|kept| is_whole(&kept.entry)) {
            self.0 = Some(Arc::new(CachedAnswer::new(key, entry, group)));
        }
    }

    /// The answer that is kept.
    pub(super) fn get(&self) -> Option<Arc<CachedAnswer>> {
        self.0.clone()
    }
}

/// Whether the last resort is given rather than a remembered answer that is stale as well: unless
/// it is truncated, or a denial where data are known.
pub(super) fn is_better(last_resort: &CachedAnswer, known: &CachedAnswer) -> bool {
    let (new, old) = (&last_resort.entry, &known.entry);
    !new.truncated && (new.kind == Kind::Positive || new.kind == old.kind)
}
