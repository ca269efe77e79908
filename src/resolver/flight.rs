//! One resolution under way, as those who wait for it see it.
//!
//! A flight is the meeting point of a resolution and of the clients that wait for it: the
//! resolution reports how far it has come, and the clients watch. The flight also knows what the
//! resolution is wanted for: a client that joins a prefetch makes it a client's resolution, for
//! which the packet budget allows more. All flights are in the table of [`super::flights`].

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::core::budget::{Class, PacketClaim};
use crate::core::classify::Failure;
use crate::core::clients::ClientId;
use crate::core::time::Timestamp;
use crate::memory::cached::CachedAnswer;
use crate::memory::cached_failure::ResolutionFailure;

/// Waiting clients that are remembered, to recognise their retransmissions; the retransmission of
/// any further client waits like a new query.
const WAITERS_KNOWN: usize = 64;

/// How far a resolution has come.
#[derive(Clone, Debug)]
pub enum Progress {
    /// Upstreams are being asked, and none has answered yet.
    Asking,
    /// An answer will take longer than the client response timer: a client with a stale answer in
    /// reach need not wait.
    Trouble,
    /// The resolution deadline has passed; a late answer is still listened for.
    GaveUp(NoAnswer),
    /// An upstream has answered just now.
    Answered(Arc<CachedAnswer>),
    /// The shared cache had an answer.
    Recalled(Arc<CachedAnswer>),
    /// The resolution is over without an answer.
    Ended(NoAnswer),
}

/// The result of a resolution without an answer, as clients get it.
#[derive(Clone, Debug)]
pub struct NoAnswer {
    /// The reason for which there is no answer.
    pub reason: ResolutionFailure,
    /// An answer that is better than none: truncated, when the whole one could not be obtained over
    /// TCP, or one that the upstream itself marked as stale.
    pub last_resort: Option<Arc<CachedAnswer>>,
}

impl NoAnswer {
    /// No answer, because a limit on our own side left no room for the resolution.
    #[must_use]
    pub fn of_local_limit() -> Self {
        let reason = ResolutionFailure { failure: Failure::LocalLimit, extended_errors: Box::default() };
        Self { reason, last_resort: None }
    }
}

/// One resolution under way, as the clients that wait for it see it.
#[derive(Debug)]
pub struct Flight {
    purpose: Mutex<Purpose>,
    /// Notified when a more important class wants the answer while the packet budget holds the
    /// resolution back.
    hurried: Notify,
    /// Notified when the resolution has lost its place.
    displaced: Notify,
    progress: watch::Sender<Progress>,
    /// Source and message ID of the clients that wait.
    waiters: Mutex<Vec<(SocketAddr, u16)>>,
}

/// The purpose of a resolution, and when it began.
#[derive(Clone, Copy, Debug)]
struct Purpose {
    /// The most important of the classes that asked for the resolution.
    class: Class,
    /// The client for which the resolution has its place and its packets; `None` while no client
    /// asks for it.
    client: Option<ClientId>,
    /// When the resolution began, or when the packet budget stopped holding it back.
    began: Timestamp,
    /// Whether the packet budget has no room for the class at present.
    held_back: bool,
}

impl Flight {
    pub(super) fn new(sender: PacketClaim, now: Timestamp) -> Self {
        let PacketClaim { class, client } = sender;
        Self {
            purpose: Mutex::new(Purpose { class, client, began: now, held_back: false }),
            hurried: Notify::new(),
            displaced: Notify::new(),
            progress: watch::Sender::new(Progress::Asking),
            waiters: Mutex::default(),
        }
    }

    /// When the resolution began. A resolution that the packet budget held back counts from when
    /// that ended, so that clients do not count that time as waiting for an upstream.
    #[must_use]
    pub fn began(&self) -> Timestamp {
        self.purpose.lock().began
    }

    /// Notes that the packet budget has no room for the resolution at present.
    pub fn hold_back(&self) {
        self.purpose.lock().held_back = true;
    }

    /// Notes that the packet budget has room; true when it had held the resolution back.
    pub fn go_on(&self, now: Timestamp) -> bool {
        let mut purpose = self.purpose.lock();
        let was = std::mem::take(&mut purpose.held_back);
        if was {
            purpose.began = now;
        }
        was
    }

    /// The most important of the classes that asked for this resolution; its packets count as this
    /// class.
    pub fn class(&self) -> Class {
        self.purpose.lock().class
    }

    /// The client that the places and the packets of this resolution count for.
    #[must_use]
    pub fn client(&self) -> Option<ClientId> {
        self.purpose.lock().client
    }

    /// Has the resolution count for this client from now on.
    pub(super) fn count_for(&self, client: ClientId) {
        self.purpose.lock().client = Some(client);
    }

    /// Ends the resolution, whose place somebody else gets. Those who wait for it are told at once.
    pub(super) fn displace(&self) {
        self.report(Progress::Ended(NoAnswer::of_local_limit()));
        self.displaced.notify_one();
    }

    /// Waits until the resolution has lost its place. Cancel safe.
    pub async fn displaced(&self) {
        self.displaced.notified().await;
    }

    /// Whether the resolution has given up, and only listens for a late answer.
    pub(super) fn has_given_up(&self) -> bool {
        matches!(*self.progress.borrow(), Progress::GaveUp(_))
    }

    /// Whether the resolution has its answer.
    pub(super) fn has_answer(&self) -> bool {
        matches!(*self.progress.borrow(), Progress::Answered(_) | Progress::Recalled(_))
    }

    /// Notes that this class wants the answer as well. If the class is more important than those
    /// before, the resolution takes it over, and is no longer held back.
    pub(super) fn hurry(&self, class: Class, now: Timestamp) {
        let mut purpose = self.purpose.lock();
        if class < purpose.class {
            purpose.class = class;
            if purpose.held_back {
                purpose.began = now;
                self.hurried.notify_one();
            }
        }
    }

    /// Waits until the resolution is held back and a more important class wants it. Cancel safe.
    pub async fn hurried(&self) {
        loop {
            self.hurried.notified().await;
            // The budget may have had room for the resolution since the notification.
            if self.purpose.lock().held_back {
                return;
            }
        }
    }

    /// A watch over the progress of the resolution.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Reports to all waiting clients how far the resolution has come. Answers and ends are final:
    /// what is reported after them is ignored.
    pub fn report(&self, progress: Progress) {
        self.progress.send_if_modified(|present| match present {
            Progress::Asking | Progress::Trouble | Progress::GaveUp(_) => {
                *present = progress;
                true
            }
            Progress::Answered(_) | Progress::Recalled(_) | Progress::Ended(_) => false,
        });
    }

    /// Whether this client has asked the same question with the same ID before. Then it has lost
    /// its patience and asks again, which is the signal to send a stale answer now.
    #[must_use]
    pub fn is_retransmission(&self, client: SocketAddr, id: u16) -> bool {
        let mut waiters = self.waiters.lock();
        if waiters.contains(&(client, id)) {
            return true;
        }
        if waiters.len() < WAITERS_KNOWN {
            waiters.push((client, id));
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retransmission_has_the_same_source_and_id() {
        let flight = Flight::new(Class::Miss.into(), Timestamp::from_secs(1_000_000));
        let client = SocketAddr::from(([192, 0, 2, 1], 4000));
        assert!(!flight.is_retransmission(client, 7));
        assert!(!flight.is_retransmission(client, 8));
        assert!(flight.is_retransmission(client, 7));
    }
}
