//! What the fleet knows: asked by the leader of a resolution for a name of which nothing is known
//! here, when upstreams do not answer for it.
//!
//! | the store has | upstreams | the fleet is asked |
//! |---|---|---|
//! | an answer, however stale | any | never |
//! | nothing | down | at once, beside the last resort |
//! | nothing | silent beyond the client response timer, or in trouble: closed ports, no answer that is one | when that is noticed |
//! | nothing | answered | never |
//!
//! It is asked once per resolution, on a task of its own. Whoever waits gets the first answer that
//! comes, from wherever; the end of a resolution without one waits until the fleet has been heard,
//! which the port bounds.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::Resolver;
use super::flight::{Flight, Progress};
use super::ports::SharedCache;
use crate::core::key::Key;
use crate::memory::store::Found;

/// A question to the fleet.
#[derive(Default)]
pub(super) enum Consultation {
    /// It was not asked.
    #[default]
    NotYet,
    /// It was; the end of this says that it was heard.
    UnderWay(oneshot::Receiver<()>),
    /// It was heard, or there is none.
    Over,
}

impl Consultation {
    /// Asks, unless that was done or something is known.
    pub(super) fn begin(&mut self, resolver: &Arc<Resolver>, key: &Key, flight: &Arc<Flight>) {
        // Once, however often an attempt is overdue.
        let Self::NotYet = self else { return };
        *self = Self::Over;
        let Some(shared_cache) = resolver.shared_cache.get().cloned() else { return };
        if let Found::Answer(_) = resolver.memory.find(key, resolver.now()) {
            return;
        }
        let (heard, hearing) = oneshot::channel();
        *self = Self::UnderWay(hearing);
        let (own, key, flight) = (Arc::clone(resolver), key.clone(), Arc::clone(flight));
        resolver.spawn(async move {
            if let Some(record) = shared_cache.ask(&key).await
                && own.memory.restore_shared(&key, record)
                && let Found::Answer(cached) = own.memory.find(&key, own.now())
            {
                // What failed so far lies beside it from now on.
                own.memory.clear_failure(&key);
                flight.tell(Progress::Recalled(cached));
            }
            drop(heard);
        });
    }

    /// Waits until it was heard. Cancel safe.
    pub(super) async fn end(&mut self) {
        if let Self::UnderWay(hearing) = std::mem::replace(self, Self::Over) {
            let _ = hearing.await;
        }
    }
}

impl Resolver {
    /// Has this fleet asked from now on; the first one counts.
    pub fn share(&self, shared_cache: Arc<dyn SharedCache>) {
        let _ = self.shared_cache.set(shared_cache);
    }
}
