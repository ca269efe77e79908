//! The upstreams by identifier. Plans, probers and reports name an upstream by its identifier for
//! as long as they live.
//!
//! The host's resolvers change while queries are under way (`/etc/resolv.conf` is watched). An
//! identifier must therefore not mean another upstream before everybody who holds it has ended: one
//! that fell free is used again only after [`RESTING`] others. A resolution lives for 40 s at the
//! most and the host's file is read every few seconds, so that is long enough; a report that came
//! later still would count once for the wrong upstream, and no more.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::RwLock;

use super::member::Upstream;
use crate::core::upstream::UpstreamId;

/// Free identifiers that are not used again yet.
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
    /// Adds an upstream; gives its identifier.
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

    /// Retires an upstream: it is asked no more, and its prober ends.
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
