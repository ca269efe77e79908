//! The hot names: those that the service of this group asks for most, in one sorted set that all
//! its instances keep. A new instance learns them first.
//!
//! Each minute an instance uploads its hottest names. The score of a name is the hour of the upload
//! plus the binary logarithm of its hits. An hour without an upload therefore weighs as much as
//! half of the hits, nothing has to be read or aged, and the highest score of all instances counts
//! (`ZADD GT`). Names that no instance uploads any more sink, and are cut off by rank and by age.
//! The set lives as long as an answer may be served.
//!
//! The set is neither secret nor proof of anything. Somebody who writes into it can only make us
//! ask for a bounded number of names, whose entries are then not signed.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Value};

use super::link::{BATCH, Fetched, Link, WriteReply};
use super::reply_error::check_reply;
use crate::config::limits::SHARED_CACHE_NAMES_MAX;
use crate::core::key::{Key, NAME_MAX};
use crate::core::time::Timestamp;
use crate::memory::Memory;
use crate::memory::cached::CachedAnswer;
use crate::memory::store::Found;
use crate::telemetry::events;

/// Names that one instance uploads at a time.
const UPLOAD_MAX: usize = 512;
/// Time between two uploads.
const UPLOAD_EVERY: Duration = Duration::from_secs(60);
/// Time until the first upload, the upload after every return of the server, and the next one while
/// there is nothing to upload.
const UPLOAD_SOON: Duration = Duration::from_secs(3);
/// Time in which the hits of a name lose half of their weight.
const HALF_LIFE: Duration = Duration::from_secs(3600);
/// How long the set lives without an upload, and a name in it.
const LIFE: Duration = Duration::from_secs(86_400);
/// Longest member of the set in bytes: a name, its type, class and service.
const MEMBER_MAX: usize = NAME_MAX + 8;
/// How long the names of the start may be asked for altogether.
const FILL_MAX: Duration = Duration::from_secs(2);
/// Names that are read from the set at once: 70 KB where all of them have the largest length.
const PIECE: usize = 256;
/// Failures after which a new instance stops learning: somebody may have put into the set what
/// breaks the connection.
const TRIES: u32 = 3;

/// When hot names are uploaded next, and what a new instance still has to learn.
pub(super) struct HotNames {
    due: Timestamp,
    /// `None` once the new instance has learned what it wanted, or has given up.
    filling: Option<Filling>,
}

/// A new instance that learns what its group asks for most.
struct Filling {
    /// The number of names that the instance wants to know.
    wanted: usize,
    /// The number of names that were read from the set.
    read: usize,
    /// The names that were read and are still to be asked for, coldest first.
    names: Vec<Key>,
    /// When the first step was taken; `None` while the server has never been reached.
    began: Option<Timestamp>,
    failed: u32,
    /// Answers that were restored into memory.
    taken: usize,
}

impl HotNames {
    /// The beginning of a new instance that wants to learn `wanted` names.
    pub(super) fn new(wanted: usize, now: Timestamp) -> Self {
        let filling = Filling { wanted, read: 0, names: Vec::new(), began: None, failed: 0, taken: 0 };
        Self { due: now.plus(UPLOAD_EVERY), filling: (wanted > 0).then_some(filling) }
    }

    /// When the next upload is due.
    pub(super) const fn due(&self) -> Timestamp {
        self.due
    }

    /// Brings the next upload forward, so that it takes place soon.
    pub(super) fn hurry(&mut self, now: Timestamp) {
        self.due = now.plus(UPLOAD_SOON);
    }

    /// Whether the new instance still learns.
    pub(super) const fn is_filling(&self) -> bool {
        self.filling.is_some()
    }

    /// Uploads the names of the hottest answers, and gives these answers, which are to be published
    /// where the shared cache lacks them. Gives none when the upload was refused or failed.
    pub(super) async fn upload(&mut self, link: &mut Link, memory: &Arc<Memory>) -> Vec<Arc<CachedAnswer>> {
        let now = memory.now();
        self.due = now.plus(UPLOAD_EVERY);
        link.remember_servers().await;
        // A walk over a large memory takes a while, and queries are not to wait for it.
        let own = Arc::clone(memory);
        let found = tokio::task::spawn_blocking(move || hottest(&own, now)).await.unwrap_or_default();
        if found.is_empty() {
            self.due = now.plus(UPLOAD_SOON);
            return Vec::new();
        }
        for piece in found.chunks(BATCH) {
            let mut add = redis::cmd("ZADD");
            add.arg(link.keyspace.index()).arg("GT");
            for (hits, cached) in piece {
                if let Some(key) = cached.key() {
                    add.arg(score(*hits, now)).arg(key.as_bytes());
                }
            }
            if write(link, &[add]).await != WriteReply::Taken {
                return Vec::new();
            }
        }
        // Any instance cuts the set down for all: by age, then by rank. It also moves the end of
        // the set's life.
        let Ok(life) = u64::try_from(LIFE.as_millis()) else { return Vec::new() };
        let index = link.keyspace.index();
        let tidy = [
            redis::cmd("ZREMRANGEBYSCORE").arg(index).arg("-inf").arg(score(0, now.minus(LIFE))).to_owned(),
            redis::cmd("ZREMRANGEBYRANK").arg(index).arg(0).arg(format!("-{}", SHARED_CACHE_NAMES_MAX + 1)).to_owned(),
            redis::cmd("PEXPIRE").arg(index).arg(life).to_owned(),
        ];
        if write(link, &tidy).await != WriteReply::Taken {
            return Vec::new();
        }
        found.into_iter().map(|(_, cached)| cached).collect()
    }

    /// Takes the next step of what a new instance does: reads a few names of the set, or asks for
    /// the answers to a few of them. It ends when all wanted names were asked for, and is given up
    /// after [`FILL_MAX`] or [`TRIES`] failures.
    pub(super) async fn fill(&mut self, link: &mut Link, memory: &Memory) {
        let Some(mut filling) = self.filling.take() else { return };
        let now = memory.now();
        let began = *filling.began.get_or_insert(now);
        let went_on =
            if filling.names.is_empty() { filling.read_index(link).await } else { filling.learn(link, memory).await };
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
            self.filling = Some(filling);
        }
    }
}

impl Filling {
    /// Asks for the answers to the next few names; `None` when the connection is lost.
    async fn learn(&mut self, link: &mut Link, memory: &Memory) -> Option<()> {
        let now = memory.now();
        let some = self.names.split_off(self.names.len().saturating_sub(BATCH));
        let is_known = |key: &Key| match memory.find(key, now) {
            // An answer of a seed without a date gives way to what the group learned.
            Found::Answer(cached) => !cached.entry.undated,
            Found::Failure(_) | Found::Nothing => false,
        };
        let unknown: Vec<Key> = some.into_iter().filter(|key| !is_known(key)).collect();
        if unknown.is_empty() {
            return Some(());
        }
        for (key, fetched) in unknown.iter().zip(link.read(&unknown).await?) {
            if let Fetched::Answer(record) = fetched
                && memory.restore_shared(key, *record)
            {
                self.taken += 1;
            }
        }
        Some(())
    }

    /// Reads the next few of the hottest names; `None` when the connection is lost.
    async fn read_index(&mut self, link: &mut Link) -> Option<()> {
        let end = self.wanted.min(self.read + PIECE);
        let command =
            redis::cmd("ZREVRANGE").arg(link.keyspace.index()).arg(self.read).arg(end.saturating_sub(1)).to_owned();
        let reply = link.exchange(&[command]).await?.into_iter().next()?;
        let members = match check_reply(reply) {
            Ok(Value::Array(members)) => members,
            // A set that the user may not read, or another value in its place, has no names.
            Ok(_) | Err(_) => Vec::new(),
        };
        let key = |member: Value| match member {
            Value::BulkString(bytes) if bytes.len() <= MEMBER_MAX => Key::from_stored(&bytes),
            _ => None,
        };
        if members.len() < end - self.read {
            // The set has no more names.
            self.wanted = self.read + members.len();
        }
        self.read += members.len();
        self.names = members.into_iter().rev().filter_map(key).collect();
        Some(())
    }
}

/// Writes into the set; also refused when the connection is lost or a reply is not to be had.
async fn write(link: &mut Link, commands: &[Cmd]) -> WriteReply {
    let Some(replies) = link.exchange(commands).await else { return WriteReply::Refused };
    if replies.into_iter().all(|reply| link.written(reply) == Some(WriteReply::Taken)) {
        WriteReply::Taken
    } else {
        WriteReply::Refused
    }
}

/// The score of a name in the set: hours since the Unix epoch plus the binary logarithm of its
/// hits.
#[expect(clippy::cast_precision_loss, reason = "hours and logarithms are small")]
fn score(hits: u32, now: Timestamp) -> f64 {
    now.as_micros() as f64 / HALF_LIFE.as_micros() as f64 + (f64::from(hits) + 1.0).log2()
}

/// The answers with the most hits that may be served, at most [`UPLOAD_MAX`], hottest first.
fn hottest(memory: &Memory, now: Timestamp) -> Vec<(u32, Arc<CachedAnswer>)> {
    let answers = memory
        .store()
        .answers()
        .filter(|cached| cached.hits() > 0 && cached.is_current() && cached.entry.is_servable(now));
    // Sorting a buffer of twice the size whenever it is full keeps memory and time bounded, however
    // many answers there are.
    let mut found: Vec<(u32, Arc<CachedAnswer>)> = Vec::with_capacity(2 * UPLOAD_MAX);
    let cut = |found: &mut Vec<(u32, Arc<CachedAnswer>)>| {
        found.sort_by_key(|(hits, _)| std::cmp::Reverse(*hits));
        found.truncate(UPLOAD_MAX);
    };
    for cached in answers {
        found.push((cached.hits(), cached));
        if found.len() == 2 * UPLOAD_MAX {
            cut(&mut found);
        }
    }
    cut(&mut found);
    found
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW, Script, bulk, entry, key, memory, seal};
    use super::*;
    use crate::core::record;

    #[test]
    fn an_hour_weighs_as_much_as_twice_the_hits() {
        let now = Timestamp::from_secs(1_800_000_000);
        let later = now.plus(HALF_LIFE);
        assert!((score(63, now) - score(31, later)).abs() < 1e-6);
        assert!(score(5, now) > score(4, now));
        assert!(score(0, now.minus(LIFE)) < score(1000, now.minus(LIFE)));
    }

    #[tokio::test]
    async fn a_new_instance_asks_for_the_names_of_the_set_and_takes_what_is_signed() {
        let (server, memory) = (Script::default(), memory());
        let mut link = server.link(&memory).await;
        link.connect().await;
        let mut hot_names = HotNames::new(10, NOW);
        let (www, forged) = (key("www.example.com"), key("forged.example.com"));
        let members = [bulk(www.as_bytes()), bulk(forged.as_bytes())].concat();
        server.reply([b"*2\r\n", &members[..]].concat());
        hot_names.fill(&mut link, &memory).await;
        assert!(hot_names.is_filling());
        let mut bytes = Vec::new();
        record::write(&entry("www.example.com"), 3, &mut bytes);
        // The coldest name is asked for first.
        server.reply(bulk(b"forged")).reply(bulk(&seal().close(&www, &bytes).unwrap()));
        hot_names.fill(&mut link, &memory).await;
        assert_eq!(server.commands(), ["ZREVRANGE", "GETRANGE", "GETRANGE"]);
        assert!(!hot_names.is_filling());
        assert!(memory.find_answer(&www, NOW).is_some() && memory.find_answer(&forged, NOW).is_none());
    }

    #[tokio::test]
    async fn the_hottest_answers_are_uploaded_and_then_published_unless_the_set_cannot_be_written() {
        let (server, memory) = (Script::default(), memory());
        let mut link = server.link(&memory).await;
        link.connect().await;
        let mut hot_names = HotNames::new(0, NOW);
        memory.insert(&key("www.example.com"), entry("www.example.com"), Timestamp::EPOCH);
        assert!(hot_names.upload(&mut link, &memory).await.is_empty(), "no client has asked for it");
        assert!(server.commands().is_empty() && hot_names.due() == NOW.plus(UPLOAD_SOON));
        memory.find_answer(&key("www.example.com"), NOW).unwrap().hit();
        for reply in [":1\r\n", ":0\r\n", ":0\r\n", ":1\r\n"] {
            server.reply(reply);
        }
        assert_eq!(hot_names.upload(&mut link, &memory).await.len(), 1);
        assert_eq!(server.commands(), ["ZADD", "ZREMRANGEBYSCORE", "ZREMRANGEBYRANK", "PEXPIRE"]);
        server.reply("-NOPERM no permission\r\n");
        assert!(hot_names.upload(&mut link, &memory).await.is_empty());
        assert!(link.is_connected() && hot_names.due() == NOW.plus(UPLOAD_EVERY));
    }
}
