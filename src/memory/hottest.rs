//! The hottest of many answers, found without keeping or sorting all of them.
//!
//! A walk over the store offers one answer after another. A heap keeps the hottest so far, up to
//! its bound, with the coldest of them on top, so that most offers cost one comparison. At the end
//! the answers are given out one by one: whoever needs the first few pays for no more.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::cached::CachedAnswer;
use crate::core::classify::Kind;
use crate::core::key::Key;
use crate::core::time::Timestamp;
use crate::core::upstream::GroupId;

/// An answer with the hits that it had when it was offered; the hottest is the greatest.
struct Ranked {
    hits: u32,
    cached: Arc<CachedAnswer>,
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        let rest = |own: &Self| (own.cached.service(), own.cached.entry.kind == Kind::Positive);
        // Equally hot answers are sorted by name, so that a simulation goes the same way each time.
        self.hits
            .cmp(&other.hits)
            .then_with(|| other.cached.entry.question().cmp(self.cached.entry.question()))
            .then_with(|| rest(other).cmp(&rest(self)))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ranked {}

/// A search for the hottest answers that are stale and still servable.
pub struct HottestStale {
    group: Option<GroupId>,
    limit: usize,
    /// The coldest of those found so far is on top.
    found: BinaryHeap<Reverse<Ranked>>,
}

impl HottestStale {
    /// A search for at most `limit` answers, of one group or of all.
    #[must_use]
    pub const fn new(group: Option<GroupId>, limit: usize) -> Self {
        Self { group, limit, found: BinaryHeap::new() }
    }

    /// Takes an answer if it is among the hottest so far. Answers that were never hit are left out.
    pub fn offer(&mut self, cached: Arc<CachedAnswer>, now: Timestamp) {
        let is_wanted = self.group.is_none_or(|group| cached.group() == group)
            && !cached.is_fresh(now)
            && cached.entry.is_servable(now);
        let hits = cached.hits();
        if !is_wanted || hits == 0 {
            return;
        }
        let own = Ranked { hits, cached };
        if self.found.len() < self.limit {
            self.found.push(Reverse(own));
        } else if let Some(mut coldest) = self.found.peek_mut()
            && coldest.0 < own
        {
            *coldest = Reverse(own);
        }
    }

    /// The answers that were found with their keys, hottest first.
    #[must_use]
    pub fn hottest_first(self) -> HottestFirst {
        HottestFirst(self.found.into_iter().map(|Reverse(own)| own).collect())
    }
}

/// Gives answers with their keys, hottest first.
pub struct HottestFirst(BinaryHeap<Ranked>);

impl Iterator for HottestFirst {
    type Item = (Key, Arc<CachedAnswer>);

    fn next(&mut self) -> Option<Self::Item> {
        // An answer always has a key; one without would be left out.
        loop {
            let Ranked { cached, .. } = self.0.pop()?;
            if let Some(key) = cached.key() {
                return Some((key, cached));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::classify::classify;
    use crate::core::entry::Entry;
    use crate::core::key::Dnssec;
    use crate::core::testing::{Response, name, policy};
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn cached(text: &str, group: usize, hits: u32) -> Arc<CachedAnswer> {
        let key = Key::new(&name(text), 1, 1, Dnssec::default());
        let bytes = Response::new(text, 1).a(text, 60).bytes();
        let entry = Entry::remember(&key, &bytes, classify(1, &bytes), &policy(), NOW).unwrap().entry;
        let cached = Arc::new(CachedAnswer::new(&key, entry, GroupId::new(group)));
        cached.resume(hits);
        cached
    }

    fn found(search: HottestStale) -> Vec<String> {
        search.hottest_first().map(|(key, _)| key.to_string()).collect()
    }

    #[test]
    fn the_hottest_are_kept_in_whatever_order_they_come_and_equals_are_sorted_by_name() {
        let stale = NOW.plus(Duration::from_secs(100));
        let hits = [("a", 1), ("b", 9), ("c", 0), ("d", 3), ("e", 9), ("f", 2)];
        for turn in 0..hits.len() {
            let mut search = HottestStale::new(None, 4);
            for (text, hits) in hits.iter().cycle().skip(turn).take(hits.len()) {
                search.offer(cached(text, 0, *hits), stale);
            }
            assert_eq!(found(search), ["b. A", "e. A", "d. A", "f. A"]);
        }
    }

    #[test]
    fn only_stale_answers_of_the_group_are_taken() {
        for (moment, expected) in [(30, 0), (100, 1), (90_000, 0)] {
            let mut search = HottestStale::new(Some(GroupId::new(1)), 4);
            for group in 0..3 {
                search.offer(cached("a", group, 5), NOW.plus(Duration::from_secs(moment)));
            }
            assert_eq!(found(search).len(), expected, "after {moment} s");
        }
        let mut none = HottestStale::new(None, 0);
        none.offer(cached("a", 0, 5), NOW.plus(Duration::from_secs(100)));
        assert!(found(none).is_empty());
    }
}
