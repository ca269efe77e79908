//! The queue in which queries that have to wait go from the receiving threads into tokio.
//!
//! It is bounded, and clients share it ([`crate::core::shares`]): the threads can receive more in a
//! moment than tokio starts, and what does not fit is taken from the client that has most in the
//! queue. Taking a query out gives each client its turn.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::core::clients::ClientId;
use crate::core::shares::Shares;

/// The queue between the receiving threads and tokio.
pub(super) struct Handover<T> {
    queries: Mutex<Shares<T>>,
    limit: usize,
    /// Notified when a query has come, or when no more will come.
    came: Notify,
    closed: AtomicBool,
}

/// A query for which there was no room in the queue, and the client that it is taken from.
pub(super) struct Crowded<T> {
    pub(super) client: ClientId,
    pub(super) query: T,
}

impl<T> Handover<T> {
    /// An empty queue for `limit` queries.
    pub(super) fn new(limit: usize) -> Self {
        Self { queries: Mutex::default(), limit, came: Notify::new(), closed: AtomicBool::new(false) }
    }

    /// Puts a query into the queue.
    ///
    /// # Errors
    /// When the queue is full: the query that has to go for it, which may be the same one.
    pub(super) fn put(&self, client: ClientId, query: T) -> Result<(), Crowded<T>> {
        let mut queries = self.queries.lock();
        let heavier = if queries.len() < self.limit {
            None
        } else {
            match queries.displace(client) {
                Some((client, query)) => Some(Crowded { client, query }),
                None => return Err(Crowded { client, query }),
            }
        };
        queries.take(client, query);
        drop(queries);
        self.came.notify_one();
        heavier.map_or(Ok(()), Err)
    }

    /// Takes out the next query; `None` when the queue is closed and empty. Cancel safe.
    pub(super) async fn next(&self) -> Option<(ClientId, T)> {
        loop {
            // In this order nothing is missed that came before the queue was closed.
            let closed = self.closed.load(Ordering::Acquire);
            let next = self.queries.lock().next(|_| 0);
            if next.is_some() || closed {
                return next;
            }
            self.came.notified().await;
        }
    }

    /// Says that nothing more will come.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.came.notify_one();
    }
}
