//! The things that lie in the store: a remembered answer or failure, and the hints around it.
//!
//! The answer itself never changes. The hints around it are read and written by threads without a
//! lock: each may be read a moment late, and none decides how long the answer lives.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

pub use super::failure_note::FailureNote;
use super::origin::Origin;
use crate::core::classify::{Failure, Kind};
use crate::core::entry::Entry;
use crate::core::fingerprint;
use crate::core::history::{History, Past, Succeeding};
use crate::core::key::Key;
use crate::core::nearest;
use crate::core::policy::PrefetchPolicy;
use crate::core::refresh::Succession;
use crate::core::time::Timestamp;
use crate::core::upstream::GroupId;

/// A remembered answer, with the hints that move around it.
#[derive(Debug)]
pub struct CachedAnswer {
    /// The answer itself, which never changes.
    pub entry: Entry,
    /// The DO and CD bits of the query: the part of the key that is not in the answer.
    service: u8,
    /// The upstream group of the name.
    group: GroupId,
    /// Until when the answer is fresh, and from when it may be prefetched.
    succession: Succession,
    /// When the question was sent that this answers; the epoch when that was elsewhere or in an
    /// earlier life of the process. Not persisted.
    asked: Timestamp,
    /// How steady the data were over the answers before this one; only of positive answers.
    history: History,
    /// Hits since the answer was remembered, and half of those of the answer before it.
    hits: AtomicU32,
    /// Hits that the answer began with, and which prefetch does not count.
    carried: AtomicU32,
    /// The lower 16 bits of the hits that were last reported to the cache, which is enough to see
    /// whether there were more since.
    reported_hits: AtomicU16,
    /// When the refresh under way began, in microseconds since the Unix epoch; 0 when none is under
    /// way.
    refresh_began: AtomicU64,
    /// The note of the last failed refresh, if that came after the last successful one.
    pub failure: FailureNote,
    /// Why that refresh failed: 1 and the position in [`Failure::ALL`]; 0 when none did.
    failed_for: AtomicU8,
    /// The position in [`Origin::ALL`] of where the answer came from.
    origin: AtomicU8,
    /// Until when a negative answer beside this one is served instead, in microseconds since the
    /// Unix epoch; 0 when none ever was.
    overruled_until: AtomicU64,
    /// The number of the last outage in which the answer was served stale, so that each name is
    /// counted once.
    stale_in_outage: AtomicU32,
    /// Whether the store would no longer find this answer.
    superseded: AtomicBool,
    /// Whether the answer is a denial that no longer stands in for other types or names below.
    disproved: AtomicBool,
}

impl CachedAnswer {
    /// Wraps a new answer to `key`, whose name belongs to `group`.
    #[must_use]
    pub fn new(key: &Key, entry: Entry, group: GroupId) -> Self {
        Self {
            service: key.service(),
            succession: Succession::first(&entry),
            entry,
            group,
            asked: Timestamp::EPOCH,
            history: History::FIRST,
            hits: AtomicU32::new(0),
            carried: AtomicU32::new(0),
            reported_hits: AtomicU16::new(0),
            refresh_began: AtomicU64::new(0),
            failure: FailureNote::none(),
            failed_for: AtomicU8::new(0),
            origin: AtomicU8::new(0),
            overruled_until: AtomicU64::new(0),
            stale_in_outage: AtomicU32::new(0),
            superseded: AtomicBool::new(false),
            disproved: AtomicBool::new(false),
        }
    }

    /// The same answer to a question that was sent at `asked`.
    #[must_use]
    pub fn asked_at(self, asked: Timestamp) -> Self {
        Self { asked, ..self }
    }

    /// Whether the question was sent later than `asked`: then an answer to a question from that
    /// time is older, however late it comes.
    pub(super) fn was_asked_after(&self, asked: Timestamp) -> bool {
        self.asked > asked
    }

    /// When the question was sent that this answers; the epoch when that is not known.
    pub(super) const fn asked(&self) -> Timestamp {
        self.asked
    }

    /// Whether this is the answer to the question of `key`, with the same DO and CD bits.
    #[must_use]
    pub fn answers(&self, key: &Key) -> bool {
        self.service == key.service() && self.entry.answers(key)
    }

    /// The key of the question that this answers; never `None` for an entry that was made for a
    /// key.
    #[must_use]
    pub fn key(&self) -> Option<Key> {
        Key::from_question(self.entry.question(), self.service)
    }

    /// The DO and CD bits of the query, as they stand in the key.
    #[must_use]
    pub const fn service(&self) -> u8 {
        self.service
    }

    /// The upstream group of the name.
    #[must_use]
    pub const fn group(&self) -> GroupId {
        self.group
    }

    /// Whether the answer may be served as fresh: within its TTL, or up to 1 s beyond
    /// ([`crate::core::refresh`]). An answer that was ever overruled by a negative one may not,
    /// since it may be wrong.
    #[must_use]
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        now < self.succession.fresh_until && self.overruled_until.load(Ordering::Relaxed) == 0
    }

    /// Until when the answer may be served as fresh, unless it is overruled.
    #[must_use]
    pub const fn fresh_until(&self) -> Timestamp {
        self.succession.fresh_until
    }

    /// Where the answer came from.
    #[must_use]
    pub fn origin(&self) -> Origin {
        let place = usize::from(self.origin.load(Ordering::Relaxed));
        Origin::ALL.get(place).copied().unwrap_or(Origin::Upstream)
    }

    /// Marks that the answer came from elsewhere than an upstream of this process.
    pub(super) fn came_from(&self, origin: Origin) {
        self.origin.store(u8::try_from(origin.index()).unwrap_or_default(), Ordering::Relaxed);
    }

    /// Why the last refresh failed; `None` when none did since the answer was remembered.
    #[must_use]
    pub fn failed_for(&self) -> Option<Failure> {
        let place = usize::from(self.failed_for.load(Ordering::Relaxed)).checked_sub(1)?;
        Failure::ALL.get(place).copied()
    }

    /// Notes why a refresh failed.
    pub(super) fn fail_for(&self, failure: Failure) {
        self.failed_for.store(u8::try_from(failure.index() + 1).unwrap_or_default(), Ordering::Relaxed);
    }

    /// The moment before which the answer is not prefetched.
    #[must_use]
    pub const fn prefetch_from(&self) -> Timestamp {
        self.succession.prefetch_from
    }

    /// Whether the store would still find this answer under its key.
    #[must_use]
    pub fn is_current(&self) -> bool {
        !self.superseded.load(Ordering::Relaxed)
    }

    /// Marks that the store would no longer find this answer.
    pub(super) fn supersede(&self) {
        self.superseded.store(true, Ordering::Relaxed);
    }

    /// The name that was asked for, in lower-cased wire form.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        let question = self.entry.question();
        question.get(..question.len().saturating_sub(4)).unwrap_or_default()
    }

    /// Whether this denial answers the question of `key` as well, which is of another type: nothing
    /// that was learned since says that the name exists.
    #[must_use]
    pub fn denies(&self, key: &Key) -> bool {
        self.is_undisputed()
            && self.service == key.service()
            && self.name() == key.name()
            && nearest::denies_type(&self.entry, key.qtype())
    }

    /// Whether this denial may be given as fresh for another type of its name: an SOA vouches
    /// for it, and it is fresh.
    #[must_use]
    pub fn stands_in(&self, now: Timestamp) -> bool {
        self.entry.vouched && self.entry.is_fresh(now)
    }

    /// Whether the store would find this denial, and nothing speaks against it.
    pub(super) fn is_undisputed(&self) -> bool {
        self.is_current() && !self.disproved.load(Ordering::Relaxed)
    }

    /// Marks that something else was learned of the name of this denial: it answers its own
    /// question alone from now on.
    pub(super) fn disprove(&self) {
        self.disproved.store(true, Ordering::Relaxed);
    }

    /// The weight of the answer in bytes, in a cache that keeps `bookkeeping` bytes beside it.
    pub(super) fn weight(&self, bookkeeping: usize) -> u64 {
        u64::try_from(bookkeeping + size_of::<Self>() + self.entry.heap_bytes()).unwrap_or(u64::MAX)
    }

    /// Whether the answer had hits since the last call.
    pub(super) fn has_news(&self) -> bool {
        let [_, _, high, low] = self.hits().to_be_bytes();
        let hits = u16::from_be_bytes([high, low]);
        self.reported_hits.swap(hits, Ordering::Relaxed) != hits
    }

    /// Marks that a negative answer is served instead of this one until `until`.
    pub(super) fn overrule(&self, until: Timestamp) {
        self.end_refresh();
        self.overruled_until.store(until.as_micros(), Ordering::Relaxed);
    }

    /// Whether a negative answer is served instead of this one.
    #[must_use]
    pub fn is_overruled(&self, now: Timestamp) -> bool {
        self.overruled_until.load(Ordering::Relaxed) > now.as_micros()
    }

    /// Counts a hit, and gives the number of hits so far, this one included.
    pub fn hit(&self) -> u32 {
        self.hits.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// The same answer, with what is known of the time before it.
    pub(super) fn with_past(mut self, past: Past) -> Self {
        self.resume(past.hits);
        self.history = past.history;
        self
    }

    /// What is known of the time before the answer.
    #[must_use]
    pub fn past(&self) -> Past {
        Past { hits: self.hits(), history: self.history }
    }

    /// Takes over the hits that the answer had in an earlier life of the process.
    pub(super) fn resume(&self, hits: u32) {
        self.hits.store(hits, Ordering::Relaxed);
        self.carried.store(hits, Ordering::Relaxed);
    }

    /// Takes over from the answer that this one replaces: half of its hits, so that a name in use
    /// counts as one, however short its TTL; what was learned about its TTLs, and how steady its
    /// data are.
    pub(super) fn inherit(&mut self, replaced: &Self, policy: &PrefetchPolicy) {
        self.resume(replaced.hits().div_ceil(2));
        if self.entry.kind == Kind::Positive && replaced.entry.kind == Kind::Positive {
            let is_same = fingerprint::of_data(&self.entry) == fingerprint::of_data(&replaced.entry);
            self.history = replaced.history.next(if is_same { Succeeding::Same } else { Succeeding::Other });
        }
        if self.entry.kind == replaced.entry.kind {
            self.succession = replaced.succession.next(&replaced.entry, &self.entry, policy);
        }
    }

    /// How steady the data were over the answers of upstreams so far.
    #[must_use]
    pub const fn history(&self) -> History {
        self.history
    }

    /// The number of hits that the answer had when it was remembered, which prefetch does not
    /// count.
    #[must_use]
    pub fn carried(&self) -> u32 {
        self.carried.load(Ordering::Relaxed)
    }

    /// The number of hits so far, those included that the answer began with.
    #[must_use]
    pub fn hits(&self) -> u32 {
        self.hits.load(Ordering::Relaxed)
    }

    /// When the refresh of this answer began; `None` when none is under way.
    #[must_use]
    pub fn refresh_began(&self) -> Option<Timestamp> {
        match self.refresh_began.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(Timestamp::from_micros(micros)),
        }
    }

    /// Claims the refresh for the caller; false when one is under way already.
    pub fn claim_refresh(&self, now: Timestamp) -> bool {
        self.refresh_began.compare_exchange(0, now.as_micros().max(1), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Marks that the refresh under way is sent upstream only now, after it was held back.
    pub fn send_refresh(&self, now: Timestamp) {
        self.refresh_began.store(now.as_micros().max(1), Ordering::Relaxed);
    }

    /// Marks that the packet budget holds the refresh under way back: clients that wait for it have
    /// not waited for an upstream yet.
    pub fn hold_refresh_back(&self) {
        self.refresh_began.store(Timestamp::NEVER.as_micros(), Ordering::Relaxed);
    }

    /// Marks that no refresh is under way.
    pub fn end_refresh(&self) {
        self.refresh_began.store(0, Ordering::Relaxed);
    }

    /// Whether the outage of this number is the last one in which the answer was served stale.
    #[must_use]
    pub fn is_stale_of(&self, outage: u32) -> bool {
        self.stale_in_outage.load(Ordering::Relaxed) == outage
    }

    /// Notes that the answer is served stale in the outage of this number; true the first time.
    pub fn is_first_stale_of(&self, outage: u32) -> bool {
        self.stale_in_outage.swap(outage, Ordering::Relaxed) != outage
    }
}
