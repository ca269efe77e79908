//! The places for connections to the admin interface, and which connection gives its place up.
//!
//! | a new connection comes while all places are taken | what happens |
//! |---|---|
//! | a connection has not sent the whole head of its request | the oldest of these is closed, other hosts' first |
//! | all requests are being answered | the new connection waits in the kernel |
//! | it is of another host, and those have all but [`RESERVED`] places | it takes one of theirs, or is closed |
//!
//! So no number of half requests keeps a health check waiting, and whatever other hosts do leaves
//! places for this one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::AbortHandle;

/// The largest number of connections at the same moment.
pub(super) const CONNECTIONS_MAX: usize = 16;
/// Places that other hosts never take.
const RESERVED: usize = 4;

/// From which host a connection comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ClientHost {
    OtherHost,
    ThisHost,
}

/// Whether the head of a connection's request has arrived, as the connection reports it.
#[derive(Clone, Debug, Default)]
pub(super) struct RequestProgress(Arc<AtomicBool>);

impl RequestProgress {
    /// Reports that the head has arrived.
    pub(super) fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn has_begun(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// One connection that has a place.
struct OpenConnection {
    origin: ClientHost,
    progress: RequestProgress,
    task: AbortHandle,
}

/// The connections that have a place, oldest first.
#[derive(Default)]
pub(super) struct ConnectionPlaces(Vec<OpenConnection>);

impl ConnectionPlaces {
    /// Whether a new connection can have a place, perhaps that of another one.
    pub(super) fn may_take(&mut self) -> bool {
        self.0.retain(|place| !place.task.is_finished());
        self.0.len() < CONNECTIONS_MAX || self.0.iter().any(|place| !place.progress.has_begun())
    }

    /// Makes sure that a place is free for a connection from there, for which another one may be
    /// closed; `false` when the new one has to be closed.
    pub(super) fn make_room(&mut self, origin: ClientHost) -> bool {
        self.0.retain(|place| !place.task.is_finished());
        let of_others = self.0.iter().filter(|place| place.origin == ClientHost::OtherHost).count();
        let is_reserved = origin == ClientHost::OtherHost && of_others >= CONNECTIONS_MAX - RESERVED;
        if self.0.len() < CONNECTIONS_MAX && !is_reserved {
            return true;
        }
        let unfinished = self.0.iter().enumerate().filter(|(_, place)| !place.progress.has_begun());
        let of_whom = unfinished.filter(|(_, place)| !is_reserved || place.origin == ClientHost::OtherHost);
        let Some((oldest, _)) = of_whom.min_by_key(|(index, place)| (place.origin, *index)) else { return false };
        // Ending the task closes the connection.
        self.0.remove(oldest).task.abort();
        true
    }

    /// Gives a place to a connection, which runs in this task.
    pub(super) fn take(&mut self, origin: ClientHost, progress: RequestProgress, task: AbortHandle) {
        self.0.push(OpenConnection { origin, progress, task });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Places of connections from these hosts, whose tasks never end by themselves.
    fn places(origins: &[(ClientHost, usize)]) -> (ConnectionPlaces, Vec<RequestProgress>) {
        let (mut places, mut progresses) = (ConnectionPlaces::default(), Vec::new());
        for (origin, count) in origins {
            for _ in 0..*count {
                let progress = RequestProgress::default();
                places.take(*origin, progress.clone(), tokio::spawn(std::future::pending::<()>()).abort_handle());
                progresses.push(progress);
            }
        }
        (places, progresses)
    }

    #[tokio::test]
    async fn the_oldest_half_request_gives_way_and_one_that_is_answered_does_not() {
        let (mut places, progresses) = places(&[(ClientHost::ThisHost, CONNECTIONS_MAX)]);
        progresses[0].begin();
        let second = places.0[1].task.clone();
        assert!(places.may_take() && places.make_room(ClientHost::ThisHost));
        tokio::task::yield_now().await;
        assert!(second.is_finished() && places.0.len() == CONNECTIONS_MAX - 1);
        progresses.iter().for_each(RequestProgress::begin);
        let (mut places, progresses) = self::places(&[(ClientHost::ThisHost, CONNECTIONS_MAX)]);
        progresses.iter().for_each(RequestProgress::begin);
        assert!(!places.may_take() && !places.make_room(ClientHost::ThisHost));
    }

    #[tokio::test]
    async fn other_hosts_leave_places_for_this_one() {
        let (mut places, progresses) = places(&[(ClientHost::OtherHost, CONNECTIONS_MAX - RESERVED)]);
        assert!(places.make_room(ClientHost::OtherHost), "for one of their own");
        assert_eq!(places.0.len(), CONNECTIONS_MAX - RESERVED - 1);
        progresses.iter().for_each(RequestProgress::begin);
        let (mut places, progresses) = self::places(&[(ClientHost::OtherHost, CONNECTIONS_MAX - RESERVED)]);
        progresses.iter().for_each(RequestProgress::begin);
        assert!(!places.make_room(ClientHost::OtherHost));
        assert!(places.make_room(ClientHost::ThisHost));
        assert_eq!(places.0.len(), CONNECTIONS_MAX - RESERVED);
    }
}
