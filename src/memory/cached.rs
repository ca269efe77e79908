//! What lies in the store: an answer or a failure, and what moves around it.
//!
//! The answer itself never changes. Around it are hints that threads read and write without a lock:
//! each may be read a moment late, and none decides over the answer's life.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering};

use crate::core::classify::Failure;
use crate::core::entry::Entry;
use crate::core::key::Key;
use crate::core::time::Timestamp;
use crate::core::upstream::GroupId;

/// A failed resolution of a name and type.
#[derive(Debug)]
pub struct FailureNote {
    /// Until when the name is left alone; [`Timestamp::EPOCH`] when it never failed.
    recheck_at: AtomicU64,
    /// Failures in a row.
    failures: AtomicU32,
    /// The recoveries that the upstreams had seen by then: another number means that the note is
    /// void.
    recoveries: AtomicU32,
}

impl FailureNote {
    /// No failure.
    const fn none() -> Self {
        Self { recheck_at: AtomicU64::new(0), failures: AtomicU32::new(0), recoveries: AtomicU32::new(0) }
    }

    /// Whether the name is to be left alone now.
    #[must_use]
    pub fn holds(&self, recoveries: impl FnOnce() -> u32, now: Timestamp) -> bool {
        self.recheck_at.load(Ordering::Relaxed) > now.as_micros()
            && self.recoveries.load(Ordering::Relaxed) == recoveries()
    }

    /// Failures in a row.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Notes a failure.
    pub(super) fn set(&self, failures: u32, recheck_at: Timestamp, recoveries: u32) {
        self.failures.store(failures, Ordering::Relaxed);
        self.recoveries.store(recoveries, Ordering::Relaxed);
        self.recheck_at.store(recheck_at.as_micros(), Ordering::Relaxed);
    }
}

/// An entry and what moves around it. Each field is a hint that may be read a moment late; none
/// decides over the entry's life.
#[derive(Debug)]
pub struct CachedAnswer {
    /// The answer.
    pub entry: Entry,
    /// The DNSSEC service that it was asked with: the part of its key that is not in the answer.
    service: u8,
    /// The upstream group of its name.
    group: GroupId,
    /// Hits in this TTL, and since, and those that it was carried over with.
    hits: AtomicU32,
    /// The latter.
    carried: AtomicU32,
    /// Hits that the room has been told of; their lower half is enough to see whether there were
    /// more.
    told: AtomicU16,
    /// When its refresh under way began; 0 when none is.
    refresh_began: AtomicU64,
    /// Its last failed refresh.
    pub failure: FailureNote,
    /// Until when a negative answer beside it counts instead; 0 when none does.
    overruled_until: AtomicU64,
    /// The last outage in which it was served stale, to count names once.
    stale_in_outage: AtomicU32,
    /// It is no longer what the store would find.
    superseded: AtomicBool,
}

impl CachedAnswer {
    /// A cached around a new entry.
    #[must_use]
    pub fn new(key: &Key, entry: Entry, group: GroupId) -> Self {
        Self {
            service: key.service(),
            entry,
            group,
            hits: AtomicU32::new(0),
            carried: AtomicU32::new(0),
            told: AtomicU16::new(0),
            refresh_began: AtomicU64::new(0),
            failure: FailureNote::none(),
            overruled_until: AtomicU64::new(0),
            stale_in_outage: AtomicU32::new(0),
            superseded: AtomicBool::new(false),
        }
    }

    /// Whether it lies under this key.
    #[must_use]
    pub fn answers(&self, key: &Key) -> bool {
        self.service == key.service() && self.entry.answers(key)
    }

    /// The key under which it lies; `None` never happens for an entry that was made for a key.
    #[must_use]
    pub fn key(&self) -> Option<Key> {
        Key::from_question(self.entry.question(), self.service)
    }

    /// The DNSSEC service that it was asked with.
    #[must_use]
    pub const fn service(&self) -> u8 {
        self.service
    }

    /// The upstream group of its name.
    #[must_use]
    pub const fn group(&self) -> GroupId {
        self.group
    }

    /// Whether it may be given as fresh. What was ever overruled may not.
    #[must_use]
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        self.entry.is_fresh(now) && self.overruled_until.load(Ordering::Relaxed) == 0
    }

    /// Whether it is still what the store would find.
    #[must_use]
    pub fn is_current(&self) -> bool {
        !self.superseded.load(Ordering::Relaxed)
    }

    /// Marks that the store would no longer find it.
    pub(super) fn supersede(&self) {
        self.superseded.store(true, Ordering::Relaxed);
    }

    /// What it weighs in a room whose bookkeeping for it takes so many bytes.
    pub(super) fn weight(&self, bookkeeping: usize) -> u64 {
        u64::try_from(bookkeeping + size_of::<Self>() + self.entry.heap_bytes()).unwrap_or(u64::MAX)
    }

    /// Whether it had hits since this was last asked.
    pub(super) fn has_news(&self) -> bool {
        let [_, _, high, low] = self.hits().to_be_bytes();
        let hits = u16::from_be_bytes([high, low]);
        self.told.swap(hits, Ordering::Relaxed) != hits
    }

    /// Lets a negative answer count instead, until then.
    pub(super) fn overrule(&self, until: Timestamp) {
        self.end_refresh();
        self.overruled_until.store(until.as_micros(), Ordering::Relaxed);
    }

    /// Whether a negative answer counts instead.
    pub(super) fn is_overruled(&self, now: Timestamp) -> bool {
        self.overruled_until.load(Ordering::Relaxed) > now.as_micros()
    }

    /// Counts a hit; gives the hits so far.
    pub fn hit(&self) -> u32 {
        self.hits.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Goes on counting from the hits of an earlier life.
    pub(super) fn resume(&self, hits: u32) {
        self.hits.store(hits, Ordering::Relaxed);
        self.carried.store(hits, Ordering::Relaxed);
    }

    /// Takes over half of the hits of the answer that it replaces, so that a name in use stays one,
    /// however short its TTL.
    pub(super) fn inherit(&self, replaced: &Self) {
        self.resume(replaced.hits().div_ceil(2));
    }

    /// Hits of earlier lives.
    #[must_use]
    pub fn carried(&self) -> u32 {
        self.carried.load(Ordering::Relaxed)
    }

    /// Hits so far.
    #[must_use]
    pub fn hits(&self) -> u32 {
        self.hits.load(Ordering::Relaxed)
    }

    /// When the refresh under way began.
    #[must_use]
    pub fn refresh_began(&self) -> Option<Timestamp> {
        match self.refresh_began.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(Timestamp::from_micros(micros)),
        }
    }

    /// Claims the refresh; false when one is under way.
    pub fn claim_refresh(&self, now: Timestamp) -> bool {
        self.refresh_began.compare_exchange(0, now.as_micros().max(1), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Marks that the refresh under way goes upstream now.
    pub fn send_refresh(&self, now: Timestamp) {
        self.refresh_began.store(now.as_micros().max(1), Ordering::Relaxed);
    }

    /// Marks that the refresh under way is held back: whoever waits for it has not waited yet.
    pub fn hold_refresh_back(&self) {
        self.refresh_began.store(Timestamp::NEVER.as_micros(), Ordering::Relaxed);
    }

    /// Marks that no refresh is under way.
    pub fn end_refresh(&self) {
        self.refresh_began.store(0, Ordering::Relaxed);
    }

    /// Whether it was served stale in this outage, and in none since.
    #[must_use]
    pub fn is_stale_of(&self, outage: u32) -> bool {
        self.stale_in_outage.load(Ordering::Relaxed) == outage
    }

    /// Whether it is served stale for the first time in this outage.
    pub fn is_first_stale_of(&self, outage: u32) -> bool {
        self.stale_in_outage.swap(outage, Ordering::Relaxed) != outage
    }
}

/// A name of which only a failure is known.
#[derive(Debug)]
pub struct CachedFailure {
    /// The key that it lies under.
    pub key: Box<[u8]>,
    /// When it may be asked again.
    pub note: FailureNote,
    /// Why it failed.
    pub reason: ResolutionFailure,
    /// Hits.
    hits: AtomicU32,
    /// It is no longer what the store would find.
    superseded: AtomicBool,
}

impl CachedFailure {
    /// A failure of which nothing is noted yet.
    pub(super) fn new(key: &Key, reason: ResolutionFailure) -> Self {
        Self {
            key: key.as_bytes().into(),
            note: FailureNote::none(),
            reason,
            hits: AtomicU32::new(0),
            superseded: AtomicBool::new(false),
        }
    }

    /// Whether it is still what the store would find.
    #[must_use]
    pub fn is_current(&self) -> bool {
        !self.superseded.load(Ordering::Relaxed)
    }

    /// Marks that the store would no longer find it.
    pub(super) fn supersede(&self) {
        self.superseded.store(true, Ordering::Relaxed);
    }

    /// Counts a hit; gives the hits before.
    pub fn hit(&self) -> u32 {
        self.hits.fetch_add(1, Ordering::Relaxed)
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolutionFailure {
    /// What went wrong last.
    pub failure: Failure,
    /// What upstream said about it, as raw extended errors.
    pub extended_errors: Box<[u8]>,
}
