//! The activity of one TCP connection, as the front and the connection share it: how long the
//! connection has been idle, and whether it shall close.

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The idleness of one connection, which the connection reports, and the wish of the front that it
/// close.
pub(super) struct Activity {
    /// Since when the connection has been idle; `None` while it owes an answer.
    idle_since: Mutex<Option<Instant>>,
    close: Notify,
}

impl Activity {
    /// The activity of a connection that was opened at `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self { idle_since: Mutex::new(Some(now)), close: Notify::new() }
    }

    /// Since when the connection has been idle; `None` while it owes an answer.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        *self.idle_since.lock()
    }

    /// Reports since when the connection has been idle; `None` while it owes an answer.
    pub(super) fn report(&self, idle_since: Option<Instant>) {
        *self.idle_since.lock() = idle_since;
    }

    /// Asks the connection to close as soon as it owes nothing.
    pub(super) fn close(&self) {
        self.close.notify_one();
    }

    /// Waits until the front asks the connection to close. Cancel safe.
    pub(super) async fn closed(&self) {
        self.close.notified().await;
    }
}
