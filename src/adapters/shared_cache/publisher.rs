//! What is published, and when: what an upstream said just now, if that is news to the fleet.
//!
//! | what lies in the shared cache | what is done |
//! |---|---|
//! | nothing, or nothing of ours | published |
//! | something else than what we learned, and older | published |
//! | the same, beyond half of its life | published |
//! | the same, younger, or something newer | left alone, and not looked at again for five minutes: a full server forgets what it had |
//!
//! So a thousand instances that refresh the same names every minute write each of them twice in a
//! maximum stale. Positive answers go out at once; negative ones only when they were asked for
//! again ([`super::hot_names`]), since random names have negative answers, each of them once.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use redis::Cmd;

use super::keeper::{BATCH, Fetched, Keeper};
use crate::core::classify::Kind;
use crate::core::entry::Entry;
use crate::core::fingerprint::fingerprint;
use crate::core::key::Key;
use crate::core::record;
use crate::core::time::Timestamp;
use crate::memory::cached::CachedAnswer;
use crate::memory::journal::{Change, Origin};
use crate::telemetry::shared_cache::Counted;

/// Answers that may wait to be published: as many as the journal holds.
const WAITING_MAX: usize = 10_000;
/// Entries of which it is remembered what lies in the shared cache; when there are more, all are
/// looked at anew.
const KNOWN_MAX: usize = 16_384;

/// How long it is believed that what was seen or put there is still there: servers evict, and are
/// emptied by hand.
const BELIEVED: Duration = Duration::from_secs(300);

/// What is to be published, and what need not be.
#[derive(Default)]
pub(super) struct Publisher {
    /// What waits.
    waiting: VecDeque<Arc<CachedAnswer>>,
    /// What lies there: its fingerprint, and until when that is good enough.
    known: HashMap<Box<[u8]>, (u64, Timestamp)>,
}

/// What is done with an answer.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It is published.
    Publish,
    /// What is there is good enough until then.
    Enough(Timestamp),
}

impl Publisher {
    /// Takes what has changed.
    pub(super) fn take(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Learned(cached, Origin::Upstream) if cached.entry.kind == Kind::Positive => self.add(cached),
                Change::Learned(
                    _,
                    Origin::Upstream | Origin::StateFile | Origin::Seed | Origin::Import | Origin::SharedCache,
                )
                | Change::Flushed(_) => {}
            }
        }
    }

    /// Takes an answer.
    pub(super) fn add(&mut self, cached: Arc<CachedAnswer>) {
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(cached);
        }
    }

    /// Whether something waits.
    pub(super) fn is_busy(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Forgets what waits; tells how much that was.
    pub(super) fn clear(&mut self) -> usize {
        // Another server may have come, or the old one without its memory.
        self.known.clear();
        std::mem::take(&mut self.waiting).len()
    }

    /// Whether what lies there is known to be good enough.
    fn is_known(&self, key: &Key, fingerprint: u64, now: Timestamp) -> bool {
        self.known.get(key.as_bytes()).is_some_and(|(known, until)| *known == fingerprint && now < *until)
    }

    /// Remembers what lies there, and until when it is good enough.
    fn know(&mut self, key: &Key, fingerprint: u64, until: Timestamp, now: Timestamp) {
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(key.as_bytes().into(), (fingerprint, until.min(now.plus(BELIEVED))));
    }
}

/// Half of the life of what was published: from when it is published again.
fn half_of_life(entry: &Entry) -> Timestamp {
    entry.stored.plus(entry.stale_until.since(entry.stored) / 2)
}

/// Compares an answer with what lies there.
fn judge(own: &Entry, there: Option<&Entry>, now: Timestamp) -> Verdict {
    match there {
        // Whatever bears a time ahead of ours proves nothing about its age.
        Some(there) if there.stored > now => Verdict::Publish,
        Some(there) if there.is_newer_than(own) => Verdict::Enough(half_of_life(there)),
        Some(there) if fingerprint(there) == fingerprint(own) && now < half_of_life(there) => {
            Verdict::Enough(half_of_life(there))
        }
        Some(_) | None => Verdict::Publish,
    }
}

impl Keeper {
    /// Publishes the next few answers.
    pub(super) async fn publish(&mut self) {
        let now = self.memory.now();
        let mut batch: Vec<(Key, Arc<CachedAnswer>, u64)> = Vec::new();
        while batch.len() < BATCH
            && let Some(cached) = self.publisher.waiting.pop_front()
        {
            let Some(key) = cached.key().filter(|_| cached.is_current() && cached.entry.is_servable(now)) else {
                continue;
            };
            let fingerprint = fingerprint(&cached.entry);
            if self.publisher.is_known(&key, fingerprint, now) {
                self.shared.counters.count(Counted::Unchanged);
            } else {
                batch.push((key, cached, fingerprint));
            }
        }
        let keys: Vec<Key> = batch.iter().map(|(key, _, _)| key.clone()).collect();
        if keys.is_empty() {
            return;
        }
        let Some(there) = self.read(&keys).await else { return };
        let mut writes = Vec::new();
        let mut commands = Vec::new();
        for ((key, cached, fingerprint), there) in batch.into_iter().zip(there) {
            let there = match &there {
                Fetched::Answer(record) => Some(&record.entry),
                Fetched::Nothing => None,
            };
            match judge(&cached.entry, there, now) {
                Verdict::Enough(until) => {
                    self.shared.counters.count(Counted::Unchanged);
                    self.publisher.know(&key, fingerprint, until, now);
                }
                Verdict::Publish => match self.write(&key, &cached, now) {
                    Some(command) => {
                        commands.push(command);
                        writes.push((key, fingerprint, half_of_life(&cached.entry)));
                    }
                    None => self.shared.counters.count(Counted::Refused),
                },
            }
        }
        if commands.is_empty() {
            return;
        }
        let Some(replies) = self.exchange(&commands).await else { return };
        for ((key, fingerprint, until), reply) in writes.into_iter().zip(replies) {
            match self.written(reply) {
                Some(true) => {
                    self.shared.counters.count(Counted::Published);
                    self.publisher.know(&key, fingerprint, until, now);
                }
                Some(false) => self.shared.counters.count(Counted::Refused),
                None => return,
            }
        }
    }

    /// The command that publishes an answer; `None` when it is too large.
    fn write(&self, key: &Key, cached: &CachedAnswer, now: Timestamp) -> Option<Cmd> {
        let mut bytes = Vec::new();
        record::write(&cached.entry, cached.hits(), &mut bytes);
        let sealed = self.seal.close(key, &bytes)?;
        // It goes when it may no longer be served.
        let left = u64::try_from(now.until(cached.entry.stale_until).as_millis()).unwrap_or(u64::MAX).max(1);
        Some(redis::cmd("SET").arg(self.names.entry(key)).arg(sealed).arg("PX").arg(left).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::classify::classify;
    use crate::core::key::Dnssec;
    use crate::core::testing::{Response, name, policy};
    use crate::core::upstream::GroupId;

    const THEN: Timestamp = Timestamp::from_secs(1_000_000);

    fn key() -> Key {
        Key::new(&name("www.example.com"), 1, 1, Dnssec::default())
    }

    fn entry(last: u8, at: Timestamp) -> Entry {
        let mut bytes = Response::new("www.example.com", 1).a("www.example.com", 60).bytes();
        if let Some(byte) = bytes.last_mut() {
            *byte = last;
        }
        Entry::remember(&key(), &bytes, classify(1, &bytes), &policy(), at).unwrap().entry
    }

    fn after(hours: u64) -> Timestamp {
        THEN.plus(Duration::from_secs(hours * 3600))
    }

    #[test]
    fn what_is_there_is_published_again_when_it_says_something_else_or_half_of_its_life_is_over() {
        let publishes = |own: &Entry, there: &Entry, now| judge(own, Some(there), now) == Verdict::Publish;
        let there = entry(1, THEN);
        assert_eq!(judge(&entry(1, THEN), None, THEN), Verdict::Publish);
        assert!(!publishes(&entry(1, after(1)), &there, after(1)), "the same");
        assert!(publishes(&entry(2, after(1)), &there, after(1)), "another address");
        assert!(publishes(&entry(1, after(13)), &there, after(13)), "half of a day is over");
        assert!(!publishes(&entry(2, THEN), &entry(1, after(1)), after(1)), "what is there is newer");
        assert!(publishes(&entry(1, THEN), &entry(1, after(5)), after(1)), "what comes from the future is no proof");
    }

    #[test]
    fn what_waits_and_what_is_known_is_bounded() {
        let mut publisher = Publisher::default();
        let cached = Arc::new(CachedAnswer::new(&key(), entry(1, THEN), GroupId::new(0)));
        for index in 0..KNOWN_MAX + 10 {
            publisher.add(Arc::clone(&cached));
            let key = Key::new(&name(&format!("n{index}.example.com")), 1, 1, Dnssec::default());
            publisher.know(&key, 1, after(1), THEN);
        }
        assert!(publisher.waiting.len() == WAITING_MAX && publisher.known.len() <= KNOWN_MAX);
        assert_eq!(publisher.clear(), WAITING_MAX);
        assert!(!publisher.is_busy());
    }

    #[test]
    fn what_was_seen_there_is_believed_for_five_minutes_and_no_longer_than_it_is_good_enough() {
        let mut publisher = Publisher::default();
        let is_known = |publisher: &Publisher, fingerprint, seconds| {
            publisher.is_known(&key(), fingerprint, THEN.plus(Duration::from_secs(seconds)))
        };
        publisher.know(&key(), 1, after(12), THEN);
        assert!(is_known(&publisher, 1, 299) && !is_known(&publisher, 1, 300) && !is_known(&publisher, 2, 1));
        publisher.know(&key(), 1, THEN.plus(Duration::from_secs(10)), THEN);
        assert!(is_known(&publisher, 1, 9) && !is_known(&publisher, 1, 10));
    }

    #[test]
    fn only_what_an_upstream_said_is_published_at_once_and_only_when_it_is_good() {
        let mut publisher = Publisher::default();
        let cached = Arc::new(CachedAnswer::new(&key(), entry(1, THEN), GroupId::new(0)));
        for origin in Origin::ALL {
            publisher.take(vec![Change::Learned(Arc::clone(&cached), origin)]);
        }
        assert_eq!(publisher.waiting.len(), 1);
    }
}
