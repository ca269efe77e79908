//! What clients share in the resolver: who they are, the places in which queries wait, and what was
//! shed so that each has its share.
//!
//! The rules are in [`crate::core::clients`] and [`crate::core::shares`]; the table of resolutions
//! ([`super::flights`]) and the packet budget ([`super::packets`]) follow them as well. Nothing
//! here is on the way of a query that memory answers.

use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::core::clients::{ClientId, Clients};
use crate::core::shares::{SharedPlace, Shares};
use crate::core::time::Timestamp;
use crate::telemetry::counters::Counters;
use crate::telemetry::tally::Shed;

/// The clients, and the places in which their queries wait.
pub struct ClientSharing {
    clients: Mutex<Clients>,
    waiting: Mutex<Shares<Arc<Notify>>>,
    /// Queries that may wait at the same time.
    limit: usize,
    shed: Counters<Shed>,
}

/// The place of a query that waits, which is free again when it is dropped.
pub struct WaitingPlace {
    sharing: Arc<ClientSharing>,
    place: SharedPlace,
    lost: Arc<Notify>,
}

impl WaitingPlace {
    /// Waits until a query of a lighter client has the place. Cancel safe.
    pub async fn lost(&self) {
        self.lost.notified().await;
    }
}

impl Drop for WaitingPlace {
    fn drop(&mut self) {
        self.sharing.waiting.lock().give_back(self.place);
    }
}

impl ClientSharing {
    /// Nobody waits, of at most `limit` queries. `seed` is a random number.
    #[must_use]
    pub fn new(seed: u64, limit: usize) -> Self {
        let clients = Mutex::new(Clients::new(seed));
        Self { clients, waiting: Mutex::default(), limit, shed: Counters::default() }
    }

    /// The client with this address, which asks just now.
    pub fn identify(&self, address: IpAddr, now: Timestamp) -> ClientId {
        self.clients.lock().identify(address, now)
    }

    /// Takes a place in which a query of this client waits; when all are taken, that of a heavier
    /// client's youngest query. `None` when the client has its share already.
    #[must_use]
    pub fn take_place(self: &Arc<Self>, client: ClientId) -> Option<WaitingPlace> {
        let (lost, displaced) = (Arc::new(Notify::new()), Arc::clone(self));
        let mut waiting = self.waiting.lock();
        if waiting.len() >= self.limit {
            let heavier = waiting.displace(client);
            let loser = heavier.as_ref().map_or(client, |(heavier, _)| *heavier);
            self.note_shed(loser, Shed::Waiting);
            heavier?.1.notify_one();
        }
        let place = waiting.take(client, Arc::clone(&lost));
        Some(WaitingPlace { sharing: displaced, place, lost })
    }

    /// Counts a query of a client that had to go for one of another client.
    pub fn note_shed(&self, client: ClientId, shed: Shed) {
        self.shed.count(shed);
        self.clients.lock().note_shed(client);
    }

    /// The counters of queries that had to go.
    #[must_use]
    pub const fn shed(&self) -> &Counters<Shed> {
        &self.shed
    }

    /// The clients with queries that wait, and how many.
    #[must_use]
    pub fn waiting(&self) -> Vec<(ClientId, usize)> {
        self.waiting.lock().holders().collect()
    }

    /// The name of a client, and how many of its queries had to go.
    #[must_use]
    pub fn describe(&self, client: ClientId) -> (String, u64) {
        let clients = self.clients.lock();
        (clients.name(client), clients.shed(client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_query_of_a_light_client_has_the_place_of_a_heavy_ones() {
        let sharing = Arc::new(ClientSharing::new(7, 3));
        let [greedy, modest] = ["192.0.2.1", "192.0.2.2"]
            .map(|address| sharing.identify(address.parse().expect("an address"), Timestamp::from_secs(1_000)));
        let mut places: Vec<_> = (0..3).map(|_| sharing.take_place(greedy).expect("room")).collect();
        assert!(sharing.take_place(greedy).is_none());
        let place = sharing.take_place(modest).expect("a place");
        places[2].lost().await;
        places.clear();
        assert_eq!(sharing.waiting(), [(modest, 1)]);
        drop(place);
        assert_eq!(sharing.waiting(), []);
        assert_eq!(sharing.describe(greedy), ("192.0.2.1".to_owned(), 2));
        assert_eq!((sharing.describe(modest).1, sharing.shed().total(Shed::Waiting)), (0, 2));
    }
}
