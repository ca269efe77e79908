//! Which names the service of this group asks for most, in one sorted set that all its instances
//! keep: what a new instance learns first.
//!
//! Each minute an instance tells its hottest names. A name's score is the hour in which it was
//! told, plus the binary logarithm of its hits: an hour without it weighs as much as twice the
//! hits, nothing has to be read or aged, and the highest of all instances' scores counts (`ZADD
//! GT`). Names that nobody told any more sink, and are cut off by rank and by age. The set lives as
//! long as an answer may, and is no secret nor proof: whoever writes into it can only have us ask
//! for a bounded number of names whose entries are then not signed.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Value};

use super::keeper::{BATCH, Fetched, Keeper};
use super::servers::judge;
use crate::config::limits::SHARED_CACHE_NAMES_MAX;
use crate::core::key::{Key, NAME_MAX};
use crate::core::time::Timestamp;
use crate::memory::Memory;
use crate::memory::cached::CachedAnswer;
use crate::memory::store::Found;
use crate::telemetry::events;

/// Names that one instance tells at a time.
const TOLD_MAX: usize = 512;
/// How often it does.
const EVERY: Duration = Duration::from_secs(60);
/// The first time, after every return of the server, and while there is nothing to tell: soon.
const SOON: Duration = Duration::from_secs(3);
/// In which time a name's hot_names is worth half.
const HALF_LIFE: Duration = Duration::from_secs(3600);
/// How long the set stays without being told anything, and a name in it.
const LIFE: Duration = Duration::from_secs(86_400);
/// Longest member: a name, its type, class and service.
const MEMBER_MAX: usize = NAME_MAX + 8;
/// How long the names of the start may be asked for altogether.
const FILL_MAX: Duration = Duration::from_secs(2);
/// Names that are read from the set at once: 70 KB where all are as long as can be.
const PIECE: usize = 256;
/// How often that may fail: somebody may have put into the set what breaks the connection.
const TRIES: u32 = 3;

/// What things are called in the shared cache. The group is the hash tag, so that all of it lies in
/// one slot of a cluster.
pub(super) struct Names {
    /// What all keys begin with.
    prefix: Vec<u8>,
    /// The sorted set.
    index: Vec<u8>,
}

impl Names {
    /// Those of a group.
    pub(super) fn new(group: &str) -> Self {
        let prefix = format!("holdover:{{{group}}}:");
        // No name begins with a label of so many bytes as `h` is.
        Self { index: format!("{prefix}hot").into_bytes(), prefix: prefix.into_bytes() }
    }

    /// The sorted set.
    pub(super) fn index(&self) -> &[u8] {
        &self.index
    }

    /// A key in the same slot under which nothing lies.
    pub(super) fn probe(&self) -> &[u8] {
        &self.prefix
    }

    /// An answer.
    pub(super) fn entry(&self, key: &Key) -> Vec<u8> {
        [&self.prefix, key.as_bytes()].concat()
    }
}

/// What is to be done about what is hot.
pub(super) struct HotNames {
    /// When it is told next.
    due: Timestamp,
    /// What a new instance still wants to learn; none when that is over.
    filling: Option<Filling>,
}

/// A new instance learns what its group asks for most.
struct Filling {
    /// Names that it wants to know.
    wanted: usize,
    /// Names of the set that were read.
    read: usize,
    /// Those of them that are still to be asked for, coldest first.
    names: Vec<Key>,
    /// When it began; none while the server was never reached.
    began: Option<Timestamp>,
    /// Failures so far.
    failed: u32,
    /// Answers that were taken.
    taken: usize,
}

impl HotNames {
    /// A new instance that wants to know so many names.
    pub(super) fn new(wanted: usize, now: Timestamp) -> Self {
        let filling = Filling { wanted, read: 0, names: Vec::new(), began: None, failed: 0, taken: 0 };
        Self { due: now.plus(EVERY), filling: (wanted > 0).then_some(filling) }
    }

    /// When it is told next.
    pub(super) const fn due(&self) -> Timestamp {
        self.due
    }

    /// Has it told soon.
    pub(super) fn hurry(&mut self, now: Timestamp) {
        self.due = now.plus(SOON);
    }

    /// Whether there are names left to be asked for at the start.
    pub(super) const fn is_filling(&self) -> bool {
        self.filling.is_some()
    }
}

/// How hot a name is.
#[expect(clippy::cast_precision_loss, reason = "hours and logarithms are small")]
fn score(hits: u32, now: Timestamp) -> f64 {
    now.as_micros() as f64 / HALF_LIFE.as_micros() as f64 + (f64::from(hits) + 1.0).log2()
}

/// The hottest names that may be served.
fn hottest(memory: &Memory, now: Timestamp) -> Vec<(u32, Arc<CachedAnswer>)> {
    let answers = memory
        .store()
        .answers()
        .filter(|cached| cached.hits() > 0 && cached.is_current() && cached.entry.is_servable(now));
    let mut found: Vec<(u32, Arc<CachedAnswer>)> = Vec::with_capacity(2 * TOLD_MAX);
    let cut = |found: &mut Vec<(u32, Arc<CachedAnswer>)>| {
        found.sort_by_key(|(hits, _)| std::cmp::Reverse(*hits));
        found.truncate(TOLD_MAX);
    };
    for cached in answers {
        found.push((cached.hits(), cached));
        if found.len() == 2 * TOLD_MAX {
            cut(&mut found);
        }
    }
    cut(&mut found);
    found
}

impl Keeper {
    /// Tells what is hot, and has it published if it is not.
    pub(super) async fn look_at_what_is_hot(&mut self) {
        let now = self.memory.now();
        self.hot_names.due = now.plus(EVERY);
        self.remember_servers().await;
        let memory = Arc::clone(&self.memory);
        // A walk over a large memory takes a while, and queries are not to wait for it.
        let found = tokio::task::spawn_blocking(move || hottest(&memory, now)).await.unwrap_or_default();
        if found.is_empty() {
            self.hot_names.due = now.plus(SOON);
            return;
        }
        for piece in found.chunks(BATCH) {
            let mut add = redis::cmd("ZADD");
            add.arg(self.names.index()).arg("GT");
            for (hits, cached) in piece {
                if let Some(key) = cached.key() {
                    add.arg(score(*hits, now)).arg(key.as_bytes());
                }
            }
            if !self.tell(&[add]).await {
                return;
            }
        }
        let Ok(life) = u64::try_from(LIFE.as_millis()) else { return };
        let tidy = [
            redis::cmd("ZREMRANGEBYSCORE")
                .arg(self.names.index())
                .arg("-inf")
                .arg(score(0, now.minus(LIFE)))
                .to_owned(),
            redis::cmd("ZREMRANGEBYRANK")
                .arg(self.names.index())
                .arg(0)
                .arg(format!("-{}", SHARED_CACHE_NAMES_MAX + 1))
                .to_owned(),
            redis::cmd("PEXPIRE").arg(self.names.index()).arg(life).to_owned(),
        ];
        if !self.tell(&tidy).await {
            return;
        }
        found.into_iter().for_each(|(_, cached)| self.publisher.add(cached));
    }

    /// Writes into the set; false when that was refused or failed.
    async fn tell(&mut self, commands: &[Cmd]) -> bool {
        let Some(replies) = self.exchange(commands).await else { return false };
        replies.into_iter().all(|reply| self.written(reply) == Some(true))
    }

    /// Takes the next step of what a new instance does: reads a few names of the set, or asks for
    /// them.
    pub(super) async fn fill(&mut self) {
        let Some(mut filling) = self.hot_names.filling.take() else { return };
        let now = self.memory.now();
        let began = *filling.began.get_or_insert(now);
        let went_on =
            if filling.names.is_empty() { self.read_index(&mut filling).await } else { self.learn(&mut filling).await };
        let over = match went_on {
            Some(()) => filling.names.is_empty() && filling.read >= filling.wanted,
            None => {
                filling.failed += 1;
                filling.failed >= TRIES
            }
        };
        if over || now.since(began) > FILL_MAX {
            events::SharedCacheFilled { answers: filling.taken, names: filling.read.min(filling.wanted) }.emit();
        } else {
            self.hot_names.filling = Some(filling);
        }
    }

    /// Asks for the next few names; `None` when the connection is gone.
    async fn learn(&mut self, filling: &mut Filling) -> Option<()> {
        let now = self.memory.now();
        let some = filling.names.split_off(filling.names.len().saturating_sub(BATCH));
        let is_known = |key: &Key| match self.memory.find(key, now) {
            // What a seed says without a date gives way to what the fleet learned.
            Found::Answer(cached) => !cached.entry.undated,
            Found::Failure(_) | Found::Nothing => false,
        };
        let unknown: Vec<Key> = some.into_iter().filter(|key| !is_known(key)).collect();
        if unknown.is_empty() {
            return Some(());
        }
        for (key, lay) in unknown.iter().zip(self.read(&unknown).await?) {
            if let Fetched::Answer(record) = lay
                && self.memory.restore_shared(key, *record)
            {
                filling.taken += 1;
            }
        }
        Some(())
    }

    /// Reads the next few of the hottest names; `None` when the connection is gone.
    async fn read_index(&mut self, filling: &mut Filling) -> Option<()> {
        let end = filling.wanted.min(filling.read + PIECE);
        let command =
            redis::cmd("ZREVRANGE").arg(self.names.index()).arg(filling.read).arg(end.saturating_sub(1)).to_owned();
        let reply = self.exchange(&[command]).await?.into_iter().next()?;
        let members = match judge(reply) {
            Ok(Value::Array(members)) => members,
            // A set that we may not read, or that is none, has no names.
            Ok(_) | Err(_) => Vec::new(),
        };
        let key = |member: Value| match member {
            Value::BulkString(bytes) if bytes.len() <= MEMBER_MAX => Key::from_stored(&bytes),
            _ => None,
        };
        if members.len() < end - filling.read {
            // There are no more.
            filling.wanted = filling.read + members.len();
        }
        filling.read += members.len();
        filling.names = members.into_iter().rev().filter_map(key).collect();
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_weighs_as_much_as_twice_the_hits() {
        let now = Timestamp::from_secs(1_800_000_000);
        let later = now.plus(HALF_LIFE);
        assert!((score(63, now) - score(31, later)).abs() < 1e-6);
        assert!(score(5, now) > score(4, now));
        assert!(score(0, now.minus(LIFE)) < score(1000, now.minus(LIFE)));
    }

    #[test]
    fn all_keys_of_a_group_bear_its_tag() {
        let names = Names::new("web");
        let key = Key::new(b"\x03www\x04test\x00", 1, 1, crate::core::key::Dnssec::default());
        assert!(names.entry(&key).starts_with(b"holdover:{web}:\x03www"));
        assert_eq!(names.index(), b"holdover:{web}:hot");
    }
}
