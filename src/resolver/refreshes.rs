//! Refreshes that are started beside an answer, without a client that waits for them.
//!
//! The thread that answers only puts the key into a bounded queue; a task on the resolver's runtime
//! starts the resolution.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};

use super::context::Context;
use super::resolutions::join_or_start;
use crate::core::budget::Class;
use crate::core::decision::Beside;
use crate::core::key::Key;
use crate::core::time::Timestamp;
use crate::memory::cached::CachedAnswer;

/// Refreshes that wait to be started; each is a key of at most 260 bytes. When the queue is full
/// the next hit on the name tries again.
const QUEUE_MAX: usize = 256;

/// A refresh that waits to be started.
struct QueuedRefresh {
    key: Key,
    class: Class,
}

/// The queue of refreshes to be started, for threads that answer.
#[derive(Clone)]
pub(super) struct RefreshQueue(mpsc::Sender<QueuedRefresh>);

/// The receiving end of the queue.
pub(super) struct QueuedRefreshes(Mutex<mpsc::Receiver<QueuedRefresh>>);

pub(super) fn queue() -> (RefreshQueue, QueuedRefreshes) {
    let (sender, receiver) = mpsc::channel(QUEUE_MAX);
    (RefreshQueue(sender), QueuedRefreshes(Mutex::new(receiver)))
}

impl RefreshQueue {
    /// Starts the refresh that the decision wants beside an answer, unless one is under way. Never
    /// waits.
    pub(super) fn start(&self, beside: Beside, class: Class, key: &Key, cached: &CachedAnswer, now: Timestamp) {
        match beside {
            Beside::Nothing => {}
            Beside::Refresh => {
                if cached.claim_refresh(now) && self.0.try_send(QueuedRefresh { key: key.clone(), class }).is_err() {
                    cached.end_refresh();
                }
            }
        }
    }
}

impl QueuedRefreshes {
    /// Starts refreshes as they come in, until all senders of the queue are gone. One task at a
    /// time does so.
    pub(super) async fn run(self: Arc<Self>, context: Arc<Context>) {
        let mut queue = self.0.lock().await;
        while let Some(QueuedRefresh { key, class }) = queue.recv().await {
            let _ = join_or_start(&context, &key, context.group_of(&key), class);
        }
    }
}
