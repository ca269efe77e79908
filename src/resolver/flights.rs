//! The table of all resolutions under way: at most one per key, joined by every client that asks
//! for the same, and bounded in number.
//!
//! Clients share the table ([`crate::core::shares`]):
//!
//! | the table | a client that wants another resolution |
//! |---|---|
//! | has room, and nobody waits | gets it |
//! | is full, and the client holds fewer than the heaviest one | gets the place of the latter's youngest resolution |
//! | is full | waits in the queue; the client with the fewest resolutions is next |
//!
//! A resolution counts for the client that began it, and from then on for the lightest client that
//! has joined it: who floods names that another one needs takes nothing from that one. Background
//! work counts for nobody and is not displaced, since it has limits of its own.
//!
//! A place that becomes free is *given* to the next in the queue before that one runs: nobody who
//! comes meanwhile gets it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::flight::Flight;
use super::sharing::ClientSharing;
use crate::core::budget::{Class, PacketClaim};
use crate::core::clients::ClientId;
use crate::core::key::Key;
use crate::core::shares::{SharedPlace, Shares};
use crate::core::time::Timestamp;
use crate::telemetry::tally::Shed;

/// Resolutions of names that failed, one a second for each zone that has upstreams of its own, and
/// each for as long as a late answer is listened for; beyond the limit.
const PROBES_MAX: usize = 128;

/// Resolutions of critical names under way beyond the limit; the places of probes stay free.
const CRITICAL_MAX: usize = 32;

/// The result of asking for the resolution of a key.
pub enum Join {
    /// The resolution was under way already.
    Joined(Arc<Flight>),
    /// The caller has to run the resolution.
    Leads(Arc<Flight>),
    /// Too many resolutions are under way, so none was begun.
    Full,
}

/// A flight in the table, with the place that its client has for it.
struct ListedFlight {
    flight: Arc<Flight>,
    place: Option<SharedPlace>,
}

/// A turn that a client waits for.
#[derive(Debug, Default)]
struct QueuedTurn {
    /// Notified when a place is given to the client.
    came: Notify,
}

/// Everything about the flights that changes together.
#[derive(Default)]
struct Table {
    by_key: HashMap<Arc<[u8]>, ListedFlight, foldhash::fast::RandomState>,
    /// The places of clients, each with the key of its resolution.
    held: Shares<Arc<[u8]>>,
    /// Those who wait for a place.
    queue: Shares<Arc<QueuedTurn>>,
    /// The places that were given to clients in the queue and are not taken yet.
    given: BTreeMap<ClientId, usize>,
}

/// All resolutions under way, at most one per key.
pub struct Flights {
    table: Mutex<Table>,
    /// Resolutions under way at the most; probes and critical names have a few places beyond.
    limit: usize,
    sharing: Arc<ClientSharing>,
}

/// A client's place in the queue of those for whose resolution there was no room.
pub struct Queue<'a> {
    flights: &'a Flights,
    client: ClientId,
    turn: Arc<QueuedTurn>,
    /// The place in the queue, out of which it is taken when a place in the table is given for it;
    /// `None` once that place is used.
    place: Option<SharedPlace>,
}

impl Queue<'_> {
    /// Waits until a place in the table is given to the client. Cancel safe: the next in the queue
    /// gets it when this value is dropped.
    pub async fn turn(&self) {
        self.turn.came.notified().await;
    }

    /// As [`Flights::join`], with the place that was given to the client.
    #[must_use]
    pub fn join(mut self, key: &Key, now: Timestamp) -> Join {
        let sender = PacketClaim { class: Class::Miss, client: Some(self.client) };
        let mut table = self.flights.table.lock();
        // Who has not waited for a turn has no place, and goes the way of all others.
        let limit = if self.place.take().is_some_and(|place| table.leave_queue(place) == Left::WithPlace) {
            usize::MAX
        } else {
            self.flights.limit
        };
        let join = self.flights.enter(&mut table, key, sender, limit, now);
        // A place that was not needed after all goes to the next.
        table.give_turns(self.flights.limit);
        join
    }
}

impl Drop for Queue<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let mut table = self.flights.table.lock();
            let _ = table.leave_queue(place);
            table.give_turns(self.flights.limit);
        }
    }
}

/// Whether a place in the table had been given to somebody who leaves the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    WithPlace,
    WithoutPlace,
}

impl Table {
    /// The places that are taken or given.
    fn occupied(&self) -> usize {
        self.by_key.len() + self.given.values().sum::<usize>()
    }

    /// Takes somebody out of the queue, or takes the place back that was given to them.
    fn leave_queue(&mut self, place: SharedPlace) -> Left {
        if self.queue.give_back(place).is_some() {
            return Left::WithoutPlace;
        }
        if let Some(given) = self.given.get_mut(&place.client()) {
            *given -= 1;
            if *given == 0 {
                self.given.remove(&place.client());
            }
        }
        Left::WithPlace
    }

    /// Gives the places that are free to those who wait; afterwards there is none, or nobody waits.
    fn give_turns(&mut self, limit: usize) {
        while self.occupied() < limit {
            let (held, given) = (&self.held, &self.given);
            let weight = |client| held.held(client) + given.get(&client).copied().unwrap_or_default();
            let Some((client, turn)) = self.queue.next(weight) else { return };
            *self.given.entry(client).or_default() += 1;
            turn.came.notify_one();
        }
    }

    fn insert(&mut self, key: &Key, sender: PacketClaim, now: Timestamp) -> Arc<Flight> {
        let (key, flight) = (Arc::<[u8]>::from(key.as_bytes()), Arc::new(Flight::new(sender, now)));
        let place = sender.client.map(|client| self.held.take(client, Arc::clone(&key)));
        self.by_key.insert(key, ListedFlight { flight: Arc::clone(&flight), place });
        flight
    }

    /// Takes a flight out of the table, and its place from its client.
    fn take_out(&mut self, key: &[u8]) -> Option<Arc<Flight>> {
        let listed = self.by_key.remove(key)?;
        if let Some(place) = listed.place {
            self.held.give_back(place);
        }
        Some(listed.flight)
    }

    /// Has the flight of this key count for a client that has joined it, if that one is lighter.
    fn count_for_lighter(&mut self, key: &Key, client: ClientId) {
        let Some((key, _)) = self.by_key.get_key_value(key.as_bytes()) else { return };
        let key = Arc::clone(key);
        let Some(listed) = self.by_key.get_mut(&key) else { return };
        // Background work counts for nobody, so that it cannot be displaced.
        let Some(place) = listed.place else { return };
        if self.held.held(client) + 1 < self.held.held(place.client()) {
            self.held.give_back(place);
            listed.place = Some(self.held.take(client, key));
            listed.flight.count_for(client);
        }
    }
}

impl Flights {
    /// An empty table for `limit` resolutions.
    #[must_use]
    pub fn new(limit: usize, sharing: Arc<ClientSharing>) -> Self {
        Self { table: Mutex::default(), limit, sharing }
    }

    /// A place in the queue for a client that found the table full.
    #[must_use]
    pub fn queue(&self, client: ClientId) -> Queue<'_> {
        let turn = Arc::new(QueuedTurn::default());
        let mut table = self.table.lock();
        let place = table.queue.take(client, Arc::clone(&turn));
        // A place may have become free since the table was found full.
        table.give_turns(self.limit);
        Queue { flights: self, client, turn, place: Some(place) }
    }

    /// Joins the resolution of a key, or begins one that the caller has to run.
    ///
    /// A resolution that has given up is not joined: it only listens for a late answer, and goes on
    /// doing so unseen.
    #[must_use]
    pub fn join(&self, key: &Key, sender: PacketClaim, now: Timestamp) -> Join {
        let limit = match sender.class {
            // A flood of new names must not hide that a name is well again.
            Class::Probe => self.limit.saturating_add(PROBES_MAX),
            // Nor may it keep a critical name from being resolved.
            Class::Critical => self.limit.saturating_add(CRITICAL_MAX),
            Class::Miss | Class::Retry | Class::Outage | Class::Prefetch | Class::Sweep => self.limit,
        };
        self.enter(&mut self.table.lock(), key, sender, limit, now)
    }

    /// Joins a resolution, or begins one while there are fewer than `limit`, or in the place of one
    /// of a heavier client.
    fn enter(&self, table: &mut Table, key: &Key, sender: PacketClaim, limit: usize, now: Timestamp) -> Join {
        if let Some(listed) = table.by_key.get(key.as_bytes()) {
            let flight = Arc::clone(&listed.flight);
            if !flight.has_given_up() {
                flight.hurry(sender.class, now);
                if let Some(client) = sender.client {
                    table.count_for_lighter(key, client);
                }
                return Join::Joined(flight);
            }
            // Its place goes to its successor.
            table.take_out(key.as_bytes());
            return Join::Leads(table.insert(key, sender, now));
        }
        if table.occupied() >= limit && !self.displace(table, sender) {
            return Join::Full;
        }
        Join::Leads(table.insert(key, sender, now))
    }

    /// Ends a resolution of the heaviest client for one that is lighter; whether there was one.
    fn displace(&self, table: &mut Table, sender: PacketClaim) -> bool {
        let Some((from, key)) = sender.client.and_then(|client| table.held.displace(client)) else { return false };
        if let Some(listed) = table.by_key.remove(&key) {
            listed.flight.displace();
        }
        self.sharing.note_shed(from, Shed::Resolution);
        true
    }

    /// Whether a key is being resolved.
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        self.table.lock().by_key.contains_key(key.as_bytes())
    }

    /// Removes a resolution from the table, if it is still the one of its key; true when the key
    /// has no resolution any more.
    pub fn remove(&self, key: &Key, flight: &Arc<Flight>) -> bool {
        let mut table = self.table.lock();
        match table.by_key.get(key.as_bytes()) {
            Some(listed) if Arc::ptr_eq(&listed.flight, flight) => {
                table.take_out(key.as_bytes());
                table.give_turns(self.limit);
                true
            }
            Some(_) => false,
            None => true,
        }
    }

    /// Removes from the table the resolutions of these names that have given up, and gives their
    /// keys. They go on listening for a late answer, and a client that asks from now on begins
    /// another resolution.
    pub fn release(&self, concerns: impl Fn(&Key) -> bool) -> Vec<Key> {
        let mut table = self.table.lock();
        let given_up = table.by_key.iter().filter(|(_, listed)| listed.flight.has_given_up());
        let keys = given_up.filter_map(|(key, _)| Key::from_stored(key));
        let released: Vec<Key> = keys.filter(|key| concerns(key)).collect();
        for key in &released {
            table.take_out(key.as_bytes());
        }
        table.give_turns(self.limit);
        released
    }

    /// Removes from the table a resolution that has its answer already, since that answer was just
    /// flushed: a client that asks from now on begins another resolution.
    pub fn flush(&self, key: &Key) {
        let mut table = self.table.lock();
        if table.by_key.get(key.as_bytes()).is_some_and(|listed| listed.flight.has_answer()) {
            table.take_out(key.as_bytes());
            table.give_turns(self.limit);
        }
    }

    /// Whether so many resolutions are under way that none should go on for a late answer alone.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.len() > self.limit / 2
    }

    /// The number of resolutions under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.lock().by_key.len()
    }

    /// Whether no resolution is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The clients with resolutions under way, or waiting for their turn: how many of each.
    #[must_use]
    pub fn by_client(&self) -> BTreeMap<ClientId, (usize, usize)> {
        let table = self.table.lock();
        let mut clients: BTreeMap<ClientId, (usize, usize)> = BTreeMap::new();
        for (client, held) in table.held.holders() {
            clients.entry(client).or_default().0 = held;
        }
        for (client, waiting) in table.queue.holders() {
            clients.entry(client).or_default().1 = waiting;
        }
        clients
    }
}

#[cfg(test)]
mod tests {
    use super::super::flight::{NoAnswer, Progress};
    use super::*;
    use crate::core::key::Dnssec;
    use crate::core::testing::name;
    use crate::core::upstream::GroupId;
    use crate::memory::cached::CachedAnswer;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn key(text: &str) -> Key {
        Key::new(&name(text), 1, 1, Dnssec::default())
    }

    fn table(limit: usize) -> Flights {
        Flights::new(limit, Arc::new(ClientSharing::new(7, 100)))
    }

    #[test]
    fn one_leads_the_others_join_and_the_table_is_bounded() {
        let flights = table(2);
        assert!(matches!(flights.join(&key("a.test"), Class::Miss.into(), NOW), Join::Leads(_)));
        assert!(matches!(flights.join(&key("a.test"), Class::Miss.into(), NOW), Join::Joined(_)));
        assert!(matches!(flights.join(&key("b.test"), Class::Miss.into(), NOW), Join::Leads(_)));
        assert!(matches!(flights.join(&key("c.test"), Class::Miss.into(), NOW), Join::Full));
        let Join::Joined(flight) = flights.join(&key("a.test"), Class::Miss.into(), NOW) else { panic!("gone") };
        flights.remove(&key("b.test"), &flight);
        assert_eq!(flights.len(), 2, "not this one");
        flights.remove(&key("a.test"), &flight);
        assert!(matches!(flights.join(&key("c.test"), Class::Miss.into(), NOW), Join::Leads(_)));
    }

    #[test]
    fn an_answer_that_is_flushed_is_reported_to_no_further_client() {
        let flights = table(9);
        let www = key("www.test");
        let Join::Leads(first) = flights.join(&www, Class::Miss.into(), NOW) else { panic!("full") };
        flights.flush(&www);
        assert!(flights.contains(&www), "it has no answer yet");
        let response = crate::core::testing::Response::new("www.test", 1).a("www.test", 60).bytes();
        let verdict = crate::core::classify::classify(1, &response);
        let entry = crate::core::entry::Entry::remember(&www, &response, verdict, &crate::core::testing::policy(), NOW)
            .unwrap()
            .entry;
        first.report(Progress::Recalled(Arc::new(CachedAnswer::new(&www, entry, GroupId::new(0)))));
        flights.flush(&www);
        assert!(matches!(flights.join(&www, Class::Miss.into(), NOW), Join::Leads(_)));
        flights.remove(&www, &first);
        assert!(flights.contains(&www), "the first resolution ends only itself");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_held_back_is_hurried_by_something_more_important_alone() {
        use std::time::Duration;
        use tokio::time::timeout;
        let flights = table(9);
        let www = key("www.test");
        let later = NOW.plus(Duration::from_secs(1));
        let Join::Leads(flight) = flights.join(&www, Class::Sweep.into(), NOW) else { panic!("full") };
        let patience = Duration::from_secs(9);
        let _ = flights.join(&www, Class::Prefetch.into(), later);
        assert_eq!(flight.class(), Class::Prefetch);
        assert!(timeout(patience, flight.hurried()).await.is_err(), "it is on its way");
        flight.hold_back();
        let _ = flights.join(&www, Class::Sweep.into(), later);
        assert!(timeout(patience, flight.hurried()).await.is_err(), "no more important than itself");
        assert_eq!(flight.began(), NOW);
        let _ = flights.join(&www, Class::Miss.into(), later);
        assert!(timeout(patience, flight.hurried()).await.is_ok());
        assert_eq!((flight.class(), flight.began()), (Class::Miss, later));
        assert!(flight.go_on(later) && !flight.go_on(later));
        let Join::Leads(flight) = flights.join(&key("late.test"), Class::Sweep.into(), NOW) else { panic!("full") };
        flight.hold_back();
        let _ = flights.join(&key("late.test"), Class::Miss.into(), later);
        assert!(flight.go_on(later));
        assert!(timeout(patience, flight.hurried()).await.is_err(), "its own time had come before");
    }

    #[test]
    fn what_has_given_up_is_released_where_it_is_concerned() {
        let flights = table(9);
        for name in ["a.test", "b.test", "asking.test"] {
            let Join::Leads(flight) = flights.join(&key(name), Class::Miss.into(), NOW) else { panic!("full") };
            if name != "asking.test" {
                flight.report(Progress::GaveUp(NoAnswer::of_local_limit()));
            }
        }
        assert_eq!(flights.release(|own| *own == key("a.test")), [key("a.test")]);
        assert_eq!(flights.release(|_| true), [key("b.test")]);
        assert!(flights.contains(&key("asking.test")));
    }

    #[test]
    fn a_flood_leaves_places_for_critical_names_and_more_for_probes() {
        let flights = table(2);
        let join_many = |kind: &str, class, count: usize| {
            (0..count)
                .filter(|index| {
                    matches!(
                        flights.join(&key(&format!("{kind}{index}.test")), PacketClaim::from(class), NOW),
                        Join::Leads(_)
                    )
                })
                .count()
        };
        assert_eq!(join_many("flood", Class::Miss, 10), 2);
        assert_eq!(join_many("critical", Class::Critical, 100), CRITICAL_MAX);
        assert_eq!(join_many("prefetch", Class::Prefetch, 10), 0);
        assert_eq!(
            join_many("probe", Class::Probe, 100),
            PROBES_MAX - CRITICAL_MAX,
            "the places of probes stay free for them"
        );
    }

    #[test]
    fn a_resolution_that_has_given_up_is_not_joined() {
        let flights = table(1);
        let www = key("www.test");
        let Join::Leads(first) = flights.join(&www, Class::Miss.into(), NOW) else { panic!("full") };
        first.report(Progress::GaveUp(NoAnswer::of_local_limit()));
        let Join::Leads(second) = flights.join(&www, Class::Miss.into(), NOW) else { panic!("joined") };
        assert!(!flights.remove(&www, &first) && flights.remove(&www, &second));
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_find_the_table_full_are_served_in_turn() {
        let flights = Arc::new(table(2));
        let begun = |text: &str| match flights.join(&key(text), Class::Miss.into(), NOW) {
            Join::Leads(flight) => Some(flight),
            Join::Joined(_) | Join::Full => None,
        };
        let (a, b) = (begun("a.test").unwrap(), begun("b.test").unwrap());
        let served = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for name in ["c.test", "d.test", "e.test", "f.test"] {
            let (flights, served) = (Arc::clone(&flights), Arc::clone(&served));
            tasks.push(tokio::spawn(async move {
                let queue = flights.queue(ClientId::new(0));
                queue.turn().await;
                let Join::Leads(flight) = queue.join(&key(name), NOW) else { panic!("no place") };
                served.lock().push((name, flight));
            }));
            tokio::task::yield_now().await;
        }
        // One that leaves the queue takes nobody's turn.
        tasks.remove(1).abort();
        let settle = || tokio::time::sleep(std::time::Duration::from_millis(1));
        settle().await;
        let names = || served.lock().iter().map(|(name, _)| *name).collect::<Vec<_>>();
        flights.remove(&key("a.test"), &a);
        assert!(begun("late.test").is_none(), "nobody goes before those who wait");
        settle().await;
        assert_eq!(names(), ["c.test"]);
        // Places that become free at the same moment are all taken.
        let first = Arc::clone(&served.lock()[0].1);
        flights.remove(&key("b.test"), &b);
        flights.remove(&key("c.test"), &first);
        settle().await;
        assert_eq!(names(), ["c.test", "e.test", "f.test"]);
        assert!(begun("late.test").is_none(), "the table is full again");
        for (name, flight) in served.lock().drain(1..) {
            flights.remove(&key(name), &flight);
        }
        assert!(begun("late.test").is_some(), "nobody waits any more");
    }

    /// A query of the client with this number.
    fn of(client: usize) -> PacketClaim {
        PacketClaim { class: Class::Miss, client: Some(ClientId::new(client)) }
    }

    fn lead(flights: &Flights, text: &str, sender: PacketClaim) -> Option<Arc<Flight>> {
        match flights.join(&key(text), sender, NOW) {
            Join::Leads(flight) => Some(flight),
            Join::Joined(_) | Join::Full => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_light_client_takes_the_youngest_place_of_the_heaviest() {
        let flights = table(4);
        let _critical = lead(&flights, "critical.test", Class::Critical.into()).unwrap();
        let greedy: Vec<_> = ["a", "b", "c"].map(|name| lead(&flights, &format!("{name}.test"), of(1)).unwrap()).into();
        assert!(lead(&flights, "d.test", of(1)).is_none(), "it has nobody to take a place from");
        let modest = lead(&flights, "modest.test", of(2)).expect("a place");
        assert!(matches!(*greedy[2].watch().borrow(), Progress::Ended(_)), "those who wait for it are told");
        greedy[2].displaced().await;
        assert!(flights.remove(&key("c.test"), &greedy[2]), "nobody resolves the name any more");
        assert_eq!(flights.len(), 4);
        assert!(lead(&flights, "modest2.test", of(2)).is_none(), "both would not be equal then");
        assert_eq!(flights.sharing.shed().total(Shed::Resolution), 1);
        assert!(flights.contains(&key("critical.test")) && !modest.has_given_up());
    }

    #[test]
    fn a_resolution_counts_for_the_lightest_client_that_wants_it() {
        let flights = table(4);
        for name in ["a.test", "b.test", "c.test", "shared.test"] {
            let _ = lead(&flights, name, of(1)).unwrap();
        }
        let Join::Joined(shared) = flights.join(&key("shared.test"), of(2), NOW) else { panic!("it is under way") };
        assert_eq!(shared.client(), Some(ClientId::new(2)));
        assert!(lead(&flights, "other.test", of(3)).is_some());
        assert!(flights.contains(&key("shared.test")) && !flights.contains(&key("c.test")));
        let _ = flights.join(&key("shared.test"), of(1), NOW);
        assert_eq!(shared.client(), Some(ClientId::new(2)), "a heavier one changes nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn the_client_with_the_fewest_resolutions_is_next() {
        let flights = Arc::new(table(4));
        let begun: Vec<_> = [1, 1, 2, 2]
            .into_iter()
            .zip(["a.test", "b.test", "c.test", "d.test"])
            .map(|(client, name)| (name, lead(&flights, name, of(client)).unwrap()))
            .collect();
        let served = Arc::new(Mutex::new(Vec::new()));
        for (client, name) in [(1, "e.test"), (1, "f.test"), (2, "g.test"), (1, "h.test")] {
            let (flights, served) = (Arc::clone(&flights), Arc::clone(&served));
            assert!(lead(&flights, name, of(client)).is_none());
            tokio::spawn(async move {
                let queue = flights.queue(ClientId::new(client));
                queue.turn().await;
                let _ = queue.join(&key(name), NOW);
                served.lock().push(name);
            });
            tokio::task::yield_now().await;
        }
        for (name, flight) in &begun[2..] {
            flights.remove(&key(name), flight);
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        assert_eq!(*served.lock(), ["g.test", "e.test"]);
        assert_eq!(flights.by_client(), BTreeMap::from([(ClientId::new(1), (3, 2)), (ClientId::new(2), (1, 0))]));
    }
}
