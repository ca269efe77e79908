//! The question of a resolution to the shared cache: when it is asked, and how its reply is waited
//! for. Only the resolution of a name of which nothing is remembered here asks, and only when
//! upstreams do not answer.
//!
//! | the memory has | upstreams | the shared cache is asked |
//! |---|---|---|
//! | an answer, however stale | any | never |
//! | nothing | down | at once, beside the last resort |
//! | nothing | silent beyond the client response timer, closed ports, no usable response | when that is noticed |
//! | nothing | answered | never |
//!
//! The shared cache is asked once per resolution, on a task of its own. Clients that wait get the
//! first answer that comes, from upstream or from the shared cache; a resolution that ends without
//! an answer first waits for the shared cache, which the port bounds.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::context::Context;
use super::flight::{Flight, Progress};
use crate::core::key::Key;

/// How far a resolution's question to the shared cache has come.
#[derive(Default)]
pub(super) enum Consultation {
    /// The shared cache was not asked.
    #[default]
    NotYet,
    /// The shared cache was asked. The receiver ends when the reply has been dealt with.
    UnderWay(oneshot::Receiver<()>),
    /// The shared cache has replied, or there is nothing to wait for.
    Over,
}

impl Consultation {
    /// Asks the shared cache, unless that was done before or something is remembered here.
    pub(super) fn begin(&mut self, context: &Arc<Context>, key: &Key, flight: &Arc<Flight>) {
        // Once per resolution, however often an attempt is overdue.
        let Self::NotYet = self else { return };
        *self = Self::Over;
        let Some(shared_cache) = context.shared_cache.get().cloned() else { return };
        if context.memory.find_answer(key, context.now()).is_some() {
            return;
        }
        let (replied, reply) = oneshot::channel();
        *self = Self::UnderWay(reply);
        let (own, key, flight) = (Arc::clone(context), key.clone(), Arc::clone(flight));
        context.tasks.spawn(async move {
            let memory = &own.memory;
            if let Some(record) = shared_cache.ask(&key).await
                && memory.restore_shared(&key, record)
                && let Some(cached) = memory.find_answer(&key, memory.now())
            {
                // From now on failures of this name are noted beside the answer, not in the failure
                // cache.
                memory.clear_failure(&key);
                flight.report(Progress::Recalled(cached));
            }
            drop(replied);
        });
    }

    /// Waits until the shared cache has replied. Cancel safe.
    pub(super) async fn end(&mut self) {
        if let Self::UnderWay(reply) = std::mem::replace(self, Self::Over) {
            let _ = reply.await;
        }
    }
}
