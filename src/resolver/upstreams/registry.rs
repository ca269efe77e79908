//! Where upstreams have their numbers: a place each, which plans, probers and reports name for as
//! long as they live.
//!
//! The host's resolvers change while queries are under way (`/etc/resolv.conf` is watched). A
//! number must therefore not mean another upstream before everybody who holds it has ended: places
//! that fell empty are used again only after [`RESTING`] others. A resolution lives for 40 s at the
//! most and the host's file is read every few seconds, so that is long enough; a report that came
//! later still would count once for the wrong upstream, and no more.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::RwLock;

use super::member::Upstream;
use crate::core::upstream::UpstreamId;

/// Empty places that are not yet used again.
const RESTING: usize = 64;

/// The places.
#[derive(Default)]
pub(super) struct Registry {
    /// What lies in them.
    held: RwLock<Places>,
}

/// What lies in the places.
#[derive(Default)]
struct Places {
    /// By number; those that are not in use any more stay until their place is used again.
    all: Vec<Arc<Upstream>>,
    /// Numbers that are not in use, longest first.
    resting: VecDeque<UpstreamId>,
}

impl Registry {
    /// Takes one in; gives its number.
    pub(super) fn add(&self, upstream: Upstream) -> UpstreamId {
        let mut held = self.held.write();
        if held.resting.len() > RESTING
            && let Some(id) = held.resting.pop_front()
            && let Some(place) = held.all.get_mut(id.index())
        {
            *place = Arc::new(upstream);
            return id;
        }
        held.all.push(Arc::new(upstream));
        UpstreamId::new(held.all.len() - 1)
    }

    /// Gives up a number: its upstream is asked no more, and its prober ends.
    pub(super) fn retire(&self, id: UpstreamId) {
        let mut held = self.held.write();
        if let Some(upstream) = held.all.get(id.index())
            && upstream.retire()
        {
            held.resting.push_back(id);
        }
    }

    /// The upstream of a number.
    pub(super) fn find(&self, id: UpstreamId) -> Option<Arc<Upstream>> {
        self.held.read().all.get(id.index()).cloned()
    }

    /// All that are in use, with their numbers.
    pub(super) fn in_use(&self) -> Vec<(UpstreamId, Arc<Upstream>)> {
        let held = self.held.read();
        held.all
            .iter()
            .enumerate()
            .filter(|(_, upstream)| !upstream.is_retired())
            .map(|(index, own)| (UpstreamId::new(index), Arc::clone(own)))
            .collect()
    }
}
