//! The hosts file as queries meet it: looked at before the memory, and replaced as a whole while
//! they do.
//!
//! Whoever looks takes no lock and waits for nobody: the table lies behind a pointer that is
//! swapped. Where no hosts file is configured that is one look at an empty pointer.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::Resolver;
use crate::core::entry::Entry;
use crate::core::hosts::Hosts;
use crate::core::key::Key;
use crate::core::policy::Policy;
use crate::core::time::Timestamp;

/// The present table.
#[derive(Default)]
pub(super) struct Table(ArcSwapOption<Hosts>);

impl Table {
    /// The answer to a question; `None` when there is no table, or nothing in it.
    pub(super) fn answer(&self, key: &Key, policy: &Policy, now: Timestamp) -> Option<Entry> {
        self.0.load().as_ref()?.answer(key, policy, now)
    }
}

impl Resolver {
    /// From now on the answers of this hosts file come before everything else.
    pub fn replace_hosts(&self, hosts: Hosts) {
        self.hosts.0.store(Some(Arc::new(hosts)));
    }
}
