//! The registry of upstreams by identifier. Plans, probers and reports name an upstream by its
//! identifier for as long as they live.
//!
//! The host's resolvers change while queries are under way (`/etc/resolv.conf` is watched). An
//! identifier must therefore not mean another upstream while a plan, prober or report holds it: an
//! identifier that became free is used again only after [`RESTING`] others. A resolution lives for
//! 40 s at the most and the host's file is read every few seconds, so this is long enough. A report
//! that came even later would count once for the wrong upstream, and have no other effect.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::RwLock;

use super::member::Upstream;
use crate::core::upstream::UpstreamId;

/// The number of free identifiers that are kept before one is used again.
const RESTING: usize = 64;

/// All upstreams, in use and retired.
#[derive(Default)]
pub(super) struct Registry {
    held: RwLock<Registered>,
}

#[derive(Default)]
struct Registered {
    /// By identifier; retired ones stay until their identifier is used again.
    all: Vec<Arc<Upstream>>,
    /// Free identifiers, longest unused first.
    resting: VecDeque<UpstreamId>,
}

impl Registry {
    /// Adds an upstream, and gives its identifier.
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

    /// Retires an upstream: it is not asked any more, and its prober ends.
    pub(super) fn retire(&self, id: UpstreamId) {
        let mut held = self.held.write();
        if let Some(upstream) = held.all.get(id.index())
            && upstream.retire()
        {
            held.resting.push_back(id);
        }
    }

    /// The upstream of an identifier, in use or retired.
    pub(super) fn find(&self, id: UpstreamId) -> Option<Arc<Upstream>> {
        self.held.read().all.get(id.index()).cloned()
    }

    /// All upstreams in use, with their identifiers.
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
