//! What is nearest to a question of which nothing is remembered, so that an outage need not end in
//! SERVFAIL. What may stand in for what is decided in [`crate::core::nearest`].
//!
//! | order | remembered |
//! |---|---|
//! | 1 | the same name and type with other DO or CD bits: first with the CD bit that was asked for |
//! | 2 | NXDOMAIN of another type of the name, with the same bits first |
//! | 3 | NXDOMAIN of a name above with the same upstreams, the longest first |
//!
//! Of a name that belongs to a zone with upstreams of its own, other upstreams have denied nothing.

use std::sync::Arc;

use super::cached::CachedAnswer;
use super::denials::{SERVICES, at_and_above};
use super::store::{Found, Store};
use crate::core::key::Key;
use crate::core::nearest::{Fitting, denies_below, denies_type, fit};
use crate::core::time::Timestamp;
use crate::core::upstream::GroupId;

/// By which bits the DNSSEC services of two keys differ, nearest first: DO, CD, both.
const BY_NEARNESS: [u8; 3] = [1, 2, 3];

impl Store {
    /// The answer that is nearest to a question, in the form in which it answers that; `None` when
    /// nothing is near. `group` is the upstream group of the name.
    pub(super) fn nearest(&self, key: &Key, group: GroupId, now: Timestamp) -> Option<Arc<CachedAnswer>> {
        let found = self.same_type(key, now).or_else(|| self.denied(key, group, now))?;
        match fit(&found.entry, key).ok()? {
            Fitting::AsItIs => Some(found),
            Fitting::Changed(entry) => Some(Arc::new(CachedAnswer::new(key, *entry, group))),
        }
    }

    /// Whether what is nearest to a question is about its own name, and not about one above.
    pub(super) fn knows_name(&self, key: &Key, now: Timestamp) -> bool {
        let mut denials = SERVICES.filter_map(|service| self.denial_of(key.name(), service, now));
        self.same_type(key, now).is_some() || denials.any(|denial| denies_type(&denial.entry, key.qtype()))
    }

    /// The answer to the same question with other DO or CD bits.
    fn same_type(&self, key: &Key, now: Timestamp) -> Option<Arc<CachedAnswer>> {
        BY_NEARNESS.into_iter().find_map(|bits| match self.find(&key.with(key.qtype(), key.service() ^ bits), now) {
            Found::Answer(cached) => Some(cached),
            Found::Failure(_) | Found::Nothing => None,
        })
    }

    /// The denial of the name for another type, or of a name above it.
    fn denied(&self, key: &Key, group: GroupId, now: Timestamp) -> Option<Arc<CachedAnswer>> {
        at_and_above(key.name()).find_map(|name| {
            SERVICES.map(|bits| key.service() ^ bits).find_map(|service| {
                self.denial_of(name, service, now).filter(|denial| {
                    if name.len() == key.name().len() {
                        denies_type(&denial.entry, key.qtype())
                    } else {
                        denies_below(&denial.entry) && denial.group() == group
                    }
                })
            })
        })
    }
}
