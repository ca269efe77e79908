//! The flushes by operators, which must not be undone: what was flushed does not come back from the
//! shared cache, nor from a state file that was not loaded yet. What was learned after the flush
//! may come from there.

use std::sync::Arc;

use crate::core::key::Key;
use crate::core::time::Timestamp;

/// Flushes that are kept apart. Flushing is done by hand, so this is plenty.
const SCOPES_MAX: usize = 64;

/// The names and types that a flush covers: true for the key of each of them.
pub type Scope = Arc<dyn Fn(&Key) -> bool + Send + Sync>;

/// The flushes so far, each with its time.
#[derive(Default)]
pub struct Flushes {
    scopes: Vec<(Scope, Timestamp)>,
    /// Everything that was learned until this time counts as flushed, because there were too many
    /// flushes to keep apart.
    all_until: Timestamp,
}

impl Flushes {
    /// Notes that the names and types in `scope` were flushed at the time `at`.
    pub fn note(&mut self, scope: Scope, at: Timestamp) {
        if self.scopes.len() >= SCOPES_MAX {
            self.scopes = Vec::new();
            self.all_until = at;
        } else {
            self.scopes.push((scope, at));
        }
    }

    /// Whether an answer to `key` that was learned at `stored` has been flushed since.
    #[must_use]
    pub fn covers(&self, key: &Key, stored: Timestamp) -> bool {
        stored <= self.all_until || self.scopes.iter().any(|(scope, at)| stored <= *at && scope(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::key::Dnssec;
    use crate::core::testing::name;

    fn key(text: &str) -> Key {
        Key::new(&name(text), 1, 1, Dnssec::default())
    }

    #[test]
    fn only_what_was_meant_and_had_come_before_is_covered() {
        let mut flushes = Flushes::default();
        let wrong = key("wrong.example.com");
        flushes.note(Arc::new(move |key| key.as_bytes() == wrong.as_bytes()), Timestamp::from_secs(10));
        let covers = |name: &str, stored| flushes.covers(&key(name), Timestamp::from_secs(stored));
        assert!(covers("wrong.example.com", 10) && !covers("wrong.example.com", 11) && !covers("other.example.com", 5));
    }

    #[test]
    fn what_is_kept_is_bounded_and_nothing_that_was_meant_comes_back() {
        let mut flushes = Flushes::default();
        for second in 0..=SCOPES_MAX as u64 {
            flushes.note(Arc::new(|_| false), Timestamp::from_secs(second));
        }
        assert!(
            flushes.scopes.is_empty()
                && flushes.covers(&key("any.example.com"), Timestamp::from_secs(SCOPES_MAX as u64))
        );
    }
}
