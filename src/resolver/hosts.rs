//! The hosts file that answers queries: it is looked at before the memory, and replaced as a whole
//! while queries are answered.
//!
//! A look takes no lock and never waits: the table lies behind a pointer that is swapped. Where no
//! hosts file is configured a look costs one read of an empty pointer.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::core::entry::Entry;
use crate::core::hosts::Hosts;
use crate::core::key::Key;
use crate::core::policy::Policy;
use crate::core::time::Timestamp;

/// The present hosts file, if there is one.
#[derive(Default)]
pub(super) struct HostsTable(ArcSwapOption<Hosts>);

impl HostsTable {
    /// The answer of the hosts file to a question; `None` when there is no file, or when the file
    /// has no answer.
    pub(super) fn answer(&self, key: &Key, policy: &Policy, now: Timestamp) -> Option<Entry> {
        self.0.load().as_ref()?.answer(key, policy, now)
    }

    /// Replaces the hosts file.
    pub(super) fn replace(&self, hosts: Hosts) {
        self.0.store(Some(Arc::new(hosts)));
    }
}
