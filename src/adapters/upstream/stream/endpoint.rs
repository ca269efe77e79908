//! The connections to one endpoint as exchanges and connections share them: the table behind its
//! lock, and the line of the exchanges that wait for a place.
//!
//! Places are given in the order in which exchanges came. Only the first in line looks for a place
//! and waits until one is free; the others wait for their turn.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, Semaphore, SemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::queries::{StreamQuery, Unanswered};
use super::table::{ConnectionAge, ConnectionId, ConnectionTable, GivenPlace, Sharing};
use crate::adapters::upstream::limits::StreamLimits;
use crate::resolver::ports::TransportError;

/// The connections to one endpoint.
pub(super) struct EndpointPool {
    table: Mutex<ConnectionTable>,
    /// One permit, which the first in line holds.
    turn: Semaphore,
    /// Notified when a place is free.
    freed: Notify,
}

impl EndpointPool {
    pub(super) fn new() -> Self {
        Self { table: Mutex::default(), turn: Semaphore::new(1), freed: Notify::new() }
    }

    /// The table of the connections, which must not be held across a wait.
    pub(super) fn table(&self) -> MutexGuard<'_, ConnectionTable> {
        self.table.lock()
    }

    /// Waits in line; whoever holds the permit is the first. Cancel safe.
    pub(super) async fn turn(&self) -> Result<SemaphorePermit<'_>, TransportError> {
        // The semaphore is never closed.
        self.turn.acquire().await.map_err(|_closed| TransportError::Exhausted)
    }

    /// Waits until a place is free that was not free before. Cancel safe.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }

    /// Says that a place is free.
    pub(super) fn note_freed(&self) {
        self.freed.notify_one();
    }
}

/// A place on a connection, which dropping frees.
pub(super) struct ConnectionPlace {
    pub(super) id: ConnectionId,
    pub(super) age: ConnectionAge,
    pub(super) sharing: Sharing,
    pub(super) given: Instant,
    queries: mpsc::Sender<StreamQuery>,
    hold: PlaceHold,
}

/// Frees a place when it is dropped.
struct PlaceHold {
    pool: Arc<EndpointPool>,
    id: ConnectionId,
}

impl Drop for PlaceHold {
    fn drop(&mut self) {
        self.pool.table().free(self.id);
        self.pool.note_freed();
    }
}

impl ConnectionPlace {
    pub(super) fn new(pool: &Arc<EndpointPool>, place: GivenPlace, now: Instant) -> Self {
        let GivenPlace { id, age, sharing, queries } = place;
        Self { id, age, sharing, given: now, queries, hold: PlaceHold { pool: Arc::clone(pool), id } }
    }

    /// Hands a query to the connection and waits for its response or for the end of the connection.
    ///
    /// Cancel safe: dropping the future frees the place.
    pub(super) async fn ask(self, query: Vec<u8>) -> Result<Vec<u8>, Unanswered> {
        let Self { queries, hold, .. } = self;
        let (reply, response) = oneshot::channel();
        queries.try_send(StreamQuery { query, reply }).map_err(|_full_or_closed| Unanswered::NotTaken)?;
        // A connection that was removed from the table ends when the last sender is gone, so no
        // sender may be held while waiting.
        drop(queries);
        let outcome = response.await.unwrap_or(Err(Unanswered::NotTaken));
        drop(hold);
        outcome
    }
}

/// Waits until a place's connection is to be doubted: nothing arrives on it, though something
/// should. Waits forever where the connection has ended, which the exchange then learns elsewhere.
///
/// Cancel safe.
pub(super) async fn doubt(
    pool: &EndpointPool,
    id: ConnectionId,
    age: ConnectionAge,
    given: Instant,
    limits: &StreamLimits,
) {
    loop {
        let now = Instant::now();
        let due = pool.table().doubted_at(id, age, given, limits, now);
        match due {
            None => std::future::pending().await,
            Some(due) if due <= now => return,
            Some(due) => sleep_until(due).await,
        }
    }
}
