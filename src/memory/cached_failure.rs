//! A failure that is remembered although there is no answer: what lies in the store for a name that
//! could not be resolved.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::cached::CachedAnswer;
use super::failure_note::FailureNote;
use crate::core::classify::Failure;
use crate::core::key::Key;

/// A name and type of which only a failed resolution is known (RFC 9520).
#[derive(Debug)]
pub struct CachedFailure {
    /// The bytes of the key ([`Key::as_bytes`]).
    pub key: Box<[u8]>,
    /// The note that says when the name may be asked for again.
    pub note: FailureNote,
    /// Why the resolution failed, and what upstreams said about it.
    pub reason: ResolutionFailure,
    /// An answer that is better than none: truncated, when the whole one could not be obtained over
    /// TCP, or one that the upstream itself marked as stale.
    pub last_resort: Option<Arc<CachedAnswer>>,
    hits: AtomicU32,
    /// Whether the store would no longer find this failure.
    superseded: AtomicBool,
}

impl CachedFailure {
    /// Wraps a new failure of `key`, whose note is still empty.
    pub(super) fn new(key: &Key, reason: ResolutionFailure, last_resort: Option<Arc<CachedAnswer>>) -> Self {
        Self {
            key: key.as_bytes().into(),
            note: FailureNote::none(),
            reason,
            last_resort,
            hits: AtomicU32::new(0),
            superseded: AtomicBool::new(false),
        }
    }

    /// Whether the store would still find this failure under its key.
    #[must_use]
    pub fn is_current(&self) -> bool {
        !self.superseded.load(Ordering::Relaxed)
    }

    /// Marks that the store would no longer find this failure.
    pub(super) fn supersede(&self) {
        self.superseded.store(true, Ordering::Relaxed);
    }

    /// The places that this takes in the failure cache: one, and one more for each 512 bytes of a
    /// truncated answer, so that the bound in number is also one in bytes.
    pub(super) fn weight(&self) -> u32 {
        let bytes = self.last_resort.as_ref().map_or(0, |cached| cached.weight(0));
        u32::try_from(1 + bytes / 512).unwrap_or(u32::MAX)
    }

    /// Counts a hit, and gives the number of hits before this one.
    pub fn hit(&self) -> u32 {
        self.hits.fetch_add(1, Ordering::Relaxed)
    }
}

/// The reason for which a resolution has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolutionFailure {
    /// The failure of the last attempt that failed.
    pub failure: Failure,
    /// The extended errors that upstream sent (RFC 8914), as raw EDNS options.
    pub extended_errors: Box<[u8]>,
}
