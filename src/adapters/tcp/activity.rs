//! The activity of one TCP connection, as the front and the connection share it: whose it is, how
//! long it has been idle, the answers that its client has not fetched, and whether it shall close.
//!
//! The answers lie here, and not in the task of the connection, so that their memory can be given
//! back at once when the connection has to give way: the task may have its turn much later.

use std::net::IpAddr;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::frames::Outbox;

/// The state of one connection that others than its own task may see and change.
pub(super) struct Activity {
    /// The address of the client.
    pub(super) client: IpAddr,
    /// When the connection was accepted.
    pub(super) opened: Instant,
    /// The answers that are on their way to the client.
    pub(super) outbox: Mutex<Outbox>,
    /// Since when the connection has been idle; `None` while it owes an answer.
    idle_since: Mutex<Option<Instant>>,
    wish: Mutex<ClosingWish>,
    wished: Notify,
}

/// What others want of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ClosingWish {
    /// The connection may go on.
    Stay,
    /// The connection shall close as soon as it owes nothing.
    Close,
    /// The connection shall close at once, whatever it owes.
    GiveWay,
}

impl Activity {
    /// The activity of a connection of `client` that was opened at `now`.
    pub(super) fn new(client: IpAddr, now: Instant) -> Self {
        Self {
            client,
            opened: now,
            outbox: Mutex::default(),
            idle_since: Mutex::new(Some(now)),
            wish: Mutex::new(ClosingWish::Stay),
            wished: Notify::new(),
        }
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
        self.want(ClosingWish::Close);
    }

    /// Gives the memory of the answers back, and has the connection close at once.
    pub(super) fn give_way(&self) {
        self.want(ClosingWish::GiveWay);
        *self.outbox.lock() = Outbox::default();
    }

    fn want(&self, wish: ClosingWish) {
        let mut present = self.wish.lock();
        *present = wish.max(*present);
        self.wished.notify_one();
    }

    /// What others want of the connection at present.
    pub(super) fn wish(&self) -> ClosingWish {
        *self.wish.lock()
    }

    /// Waits until others want something else of the connection. Cancel safe.
    pub(super) async fn wished(&self) -> ClosingWish {
        self.wished.notified().await;
        self.wish()
    }
}
