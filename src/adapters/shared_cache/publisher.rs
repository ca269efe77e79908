//! The publisher: which answers are published, and when. An answer that an upstream gave just now
//! is published if it is news to the other instances.
//!
//! | what lies in the shared cache | what is done |
//! |---|---|
//! | nothing, or nothing of ours | published |
//! | something else than what we learned, and older | published |
//! | the same, beyond half of its life | published |
//! | the same, younger, or something newer | left alone, and not looked at again for five minutes |
//!
//! After those five minutes a full server may have evicted the answer. A thousand instances that
//! refresh the same names every minute write each of them only twice in a maximum stale. Positive
//! answers are published at once. Negative ones are published only when they are among the hot
//! names ([`super::hot_names`]): a flood of random names has negative answers, none of which is
//! ever asked for again.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::Cmd;

use super::link::{BATCH, Fetched, Link, WriteReply};
use crate::core::classify::Kind;
use crate::core::entry::Entry;
use crate::core::fingerprint::fingerprint;
use crate::core::key::Key;
use crate::core::record;
use crate::core::time::Timestamp;
use crate::memory::cached::CachedAnswer;
use crate::memory::journal::{Change, Origin};
use crate::telemetry::shared_cache::Counted;

/// Answers that may wait to be published: as many as a default cache has entries. What is evicted
/// meanwhile is not published, and takes no memory for waiting.
const WAITING_MAX: usize = 10_000;
/// Keys for which we remember what lies in the shared cache; when there are more, all of them are
/// looked at anew.
const KNOWN_MAX: usize = 16_384;

/// How long something that was seen or published is believed to be still there: servers evict, and
/// are emptied by hand.
const BELIEVED: Duration = Duration::from_secs(300);

/// Answers that are to be published, and what is known of those that need not be.
#[derive(Default)]
pub(super) struct Publisher {
    waiting: VecDeque<Weak<CachedAnswer>>,
    /// The answers that lie in the shared cache, by the bytes of their keys.
    known: HashMap<Box<[u8]>, Sighting>,
}

/// An answer that was seen in the shared cache, or published there.
struct Sighting {
    fingerprint: u64,
    /// Until when the same answer need not be published again.
    good_until: Timestamp,
}

/// An answer that may have to be published.
struct Candidate {
    key: Key,
    cached: Arc<CachedAnswer>,
    fingerprint: u64,
}

/// Whether an answer is published.
#[derive(Debug, PartialEq, Eq)]
enum PublishDecision {
    Publish,
    /// The answer in the shared cache need not be replaced until this time.
    Enough(Timestamp),
}

impl Publisher {
    /// Takes the changes of the journal: positive answers that an upstream gave.
    pub(super) fn take(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Learned(cached, Origin::Upstream) => match cached.upgrade() {
                    Some(cached) if cached.entry.kind == Kind::Positive => self.add(&cached),
                    Some(_) | None => {}
                },
                Change::Learned(_, Origin::StateFile | Origin::Seed | Origin::Import | Origin::SharedCache)
                | Change::Flushed(_) => {}
            }
        }
    }

    /// Adds an answer to those that are to be published, unless too many are waiting.
    pub(super) fn add(&mut self, cached: &Arc<CachedAnswer>) {
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(Arc::downgrade(cached));
        }
    }

    /// Whether answers are waiting to be published.
    pub(super) fn is_busy(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Drops the answers that are waiting, and gives their number.
    pub(super) fn clear(&mut self) -> usize {
        // This may be another server now, or the old one with an empty memory.
        self.known.clear();
        std::mem::take(&mut self.waiting).len()
    }

    /// Publishes the next few answers, at most [`BATCH`], where that is necessary. Those that were
    /// taken for it are not tried again when the connection is lost.
    pub(super) async fn publish(&mut self, link: &mut Link, now: Timestamp) {
        let batch = self.next_batch(link, now);
        let keys: Vec<Key> = batch.iter().map(|candidate| candidate.key.clone()).collect();
        if keys.is_empty() {
            return;
        }
        // What lies there decides, so it is read before anything is written.
        let Some(there) = link.read(&keys).await else { return };
        let mut writes = Vec::new();
        let mut commands = Vec::new();
        for (Candidate { key, cached, fingerprint }, there) in batch.into_iter().zip(there) {
            let there = match &there {
                Fetched::Answer(record) => Some(&record.entry),
                Fetched::Nothing => None,
            };
            match compare(&cached.entry, there, now) {
                PublishDecision::Enough(good_until) => {
                    link.status.counters.count(Counted::Unchanged);
                    self.note(&key, Sighting { fingerprint, good_until }, now);
                }
                PublishDecision::Publish => match set_command(link, &key, &cached, now) {
                    Some(command) => {
                        commands.push(command);
                        writes.push((key, Sighting { fingerprint, good_until: half_of_life(&cached.entry) }));
                    }
                    None => link.status.counters.count(Counted::Rejected),
                },
            }
        }
        if commands.is_empty() {
            return;
        }
        // Only what the server has taken counts as lying there.
        let Some(replies) = link.exchange(&commands).await else { return };
        for ((key, sighting), reply) in writes.into_iter().zip(replies) {
            match link.written(reply) {
                Some(WriteReply::Taken) => {
                    link.status.counters.count(Counted::Written);
                    self.note(&key, sighting, now);
                }
                Some(WriteReply::Refused) => link.status.counters.count(Counted::Rejected),
                None => return,
            }
        }
    }

    /// Takes the next few answers that are current, servable, and not known to lie in the shared
    /// cache.
    fn next_batch(&mut self, link: &Link, now: Timestamp) -> Vec<Candidate> {
        let mut batch = Vec::new();
        while batch.len() < BATCH
            && let Some(cached) = self.waiting.pop_front()
        {
            let is_wanted = |cached: &Arc<CachedAnswer>| cached.is_current() && cached.entry.is_servable(now);
            let Some(cached) = cached.upgrade().filter(is_wanted) else { continue };
            let Some(key) = cached.key() else { continue };
            let fingerprint = fingerprint(&cached.entry);
            if self.is_known(&key, fingerprint, now) {
                link.status.counters.count(Counted::Unchanged);
            } else {
                batch.push(Candidate { key, cached, fingerprint });
            }
        }
        batch
    }

    /// Whether an answer with this fingerprint is known to lie in the shared cache, and to be young
    /// enough there.
    fn is_known(&self, key: &Key, fingerprint: u64, now: Timestamp) -> bool {
        self.known
            .get(key.as_bytes())
            .is_some_and(|sighting| sighting.fingerprint == fingerprint && now < sighting.good_until)
    }

    /// Remembers what lies in the shared cache under a key, for [`BELIEVED`] at the longest.
    fn note(&mut self, key: &Key, sighting: Sighting, now: Timestamp) {
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        let good_until = sighting.good_until.min(now.plus(BELIEVED));
        self.known.insert(key.as_bytes().into(), Sighting { good_until, ..sighting });
    }
}

/// When half of the life of a published answer is over, from which on it is published again.
fn half_of_life(entry: &Entry) -> Timestamp {
    entry.stored.plus(entry.stale_until.since(entry.stored) / 2)
}

/// Compares an answer with what lies in the shared cache under its key.
fn compare(own: &Entry, there: Option<&Entry>, now: Timestamp) -> PublishDecision {
    match there {
        // A time ahead of ours proves nothing about the age of the entry.
        Some(there) if there.stored > now => PublishDecision::Publish,
        Some(there) if there.is_newer_than(own) => PublishDecision::Enough(half_of_life(there)),
        Some(there) if fingerprint(there) == fingerprint(own) && now < half_of_life(there) => {
            PublishDecision::Enough(half_of_life(there))
        }
        Some(_) | None => PublishDecision::Publish,
    }
}

/// The command that publishes an answer; `None` when the answer is too large.
fn set_command(link: &Link, key: &Key, cached: &CachedAnswer, now: Timestamp) -> Option<Cmd> {
    let mut bytes = Vec::new();
    record::write(&cached.entry, cached.past(), &mut bytes);
    let sealed = link.seal.close(key, &bytes)?;
    // The server drops the entry when the answer may no longer be served.
    let left = u64::try_from(now.until(cached.entry.stale_until).as_millis()).unwrap_or(u64::MAX).max(1);
    Some(redis::cmd("SET").arg(link.keyspace.entry(key)).arg(sealed).arg("PX").arg(left).to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, Script};
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
        let publishes = |own: &Entry, there: &Entry, now| compare(own, Some(there), now) == PublishDecision::Publish;
        let there = entry(1, THEN);
        assert_eq!(compare(&entry(1, THEN), None, THEN), PublishDecision::Publish);
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
            publisher.add(&cached);
            let key = Key::new(&name(&format!("n{index}.example.com")), 1, 1, Dnssec::default());
            publisher.note(&key, Sighting { fingerprint: 1, good_until: after(1) }, THEN);
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
        publisher.note(&key(), Sighting { fingerprint: 1, good_until: after(12) }, THEN);
        assert!(is_known(&publisher, 1, 299) && !is_known(&publisher, 1, 300) && !is_known(&publisher, 2, 1));
        publisher.note(&key(), Sighting { fingerprint: 1, good_until: THEN.plus(Duration::from_secs(10)) }, THEN);
        assert!(is_known(&publisher, 1, 9) && !is_known(&publisher, 1, 10));
    }

    #[test]
    fn only_what_an_upstream_said_is_published_at_once_and_only_when_it_is_good() {
        let mut publisher = Publisher::default();
        let cached = Arc::new(CachedAnswer::new(&key(), entry(1, THEN), GroupId::new(0)));
        for origin in Origin::ALL {
            publisher.take(vec![Change::Learned(Arc::downgrade(&cached), origin)]);
        }
        assert_eq!(publisher.waiting.len(), 1);
    }

    #[tokio::test]
    async fn an_answer_is_written_once_and_then_known_to_lie_in_the_shared_cache() {
        let server = Script::default();
        let memory = testing::memory();
        let (www, now) = (testing::entry("www.example.com"), memory.now());
        let mut link = server.link(&memory).await;
        link.connect().await;
        let mut publisher = Publisher::default();
        publisher.add(&memory.insert(&key(), www, Timestamp::EPOCH));
        server.reply("$0\r\n\r\n").reply("+OK\r\n");
        publisher.publish(&mut link, now).await;
        assert_eq!(server.commands(), ["GETRANGE", "SET"]);
        let total = |link: &Link, counted| link.status.counters.total(counted);
        assert_eq!((total(&link, Counted::Written), total(&link, Counted::Unchanged)), (1, 0));
        publisher.add(&memory.find_answer(&key(), now).unwrap());
        publisher.publish(&mut link, now).await;
        assert!(server.commands().is_empty(), "the server is not asked for what is known");
        assert_eq!((total(&link, Counted::Written), total(&link, Counted::Unchanged)), (1, 1));
    }
}
