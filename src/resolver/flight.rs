//! Resolutions under way: at most one per key, joined by everybody who asks for the same.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::core::budget::Class;
use crate::core::key::Key;
use crate::core::time::Timestamp;
use crate::memory::cached::{CachedAnswer, ResolutionFailure};

/// Waiting clients that are kept apart to recognise a retransmission.
const WAITERS_KNOWN: usize = 64;

/// Probes under way beside all else: of 16 upstreams four at a time each, for as long as each may
/// take.
const PROBES_MAX: usize = 64;

/// Critical names under way beside all else; the probes' room stays theirs.
const CRITICAL_MAX: usize = 32;

/// How far a resolution has come.
#[derive(Clone, Debug)]
pub enum Progress {
    /// Under way.
    Asking,
    /// It will take longer: who has something stale need not wait.
    Trouble,
    /// The deadline has passed; a late answer is still listened for.
    GaveUp(NoAnswer),
    /// An upstream has answered.
    Answered(Arc<CachedAnswer>),
    /// The fleet remembers an answer.
    Recalled(Arc<CachedAnswer>),
    /// Over without an answer.
    Ended(NoAnswer),
}

/// What is left when there is no answer.
#[derive(Clone, Debug)]
pub struct NoAnswer {
    /// Why there is none.
    pub reason: ResolutionFailure,
    /// A truncated answer whose whole could not be had over TCP.
    pub truncated: Option<Arc<CachedAnswer>>,
}

/// One resolution under way.
#[derive(Debug)]
pub struct Flight {
    /// What for, and since when.
    errand: Mutex<Errand>,
    /// Told when it is wanted for something more important.
    hurried: Notify,
    /// How far it has come.
    progress: watch::Sender<Progress>,
    /// Who waits: source and message ID.
    waiters: Mutex<Vec<(SocketAddr, u16)>>,
}

/// What a resolution is for.
#[derive(Clone, Copy, Debug)]
struct Errand {
    /// The most important of all that want it.
    class: Class,
    /// Since when it is asked for in earnest.
    began: Timestamp,
    /// Whether the packet budget has no room for its class yet.
    held_back: bool,
}

impl Flight {
    /// A resolution that begins now.
    fn new(class: Class, now: Timestamp) -> Self {
        Self {
            errand: Mutex::new(Errand { class, began: now, held_back: false }),
            hurried: Notify::new(),
            progress: watch::Sender::new(Progress::Asking),
            waiters: Mutex::default(),
        }
    }

    /// Since when it is asked for in earnest: from its beginning, or the end of the time for which
    /// it was held back.
    #[must_use]
    pub fn began(&self) -> Timestamp {
        self.errand.lock().began
    }

    /// The packet budget has no room for it.
    pub fn hold_back(&self) {
        self.errand.lock().held_back = true;
    }

    /// It has room; says whether it had been held back.
    pub fn go_on(&self, now: Timestamp) -> bool {
        let mut errand = self.errand.lock();
        let was = std::mem::take(&mut errand.held_back);
        if was {
            errand.began = now;
        }
        was
    }

    /// What it is for.
    pub fn class(&self) -> Class {
        self.errand.lock().class
    }

    /// It is wanted for this as well; if that is more important, it counts as that, and is not held
    /// back any longer.
    fn hurry(&self, class: Class, now: Timestamp) {
        let mut errand = self.errand.lock();
        if class < errand.class {
            errand.class = class;
            if errand.held_back {
                errand.began = now;
                self.hurried.notify_one();
            }
        }
    }

    /// Waits until it is held back and wanted for something more important. Cancel safe.
    pub async fn hurried(&self) {
        loop {
            self.hurried.notified().await;
            // Its time may have come meanwhile.
            if self.errand.lock().held_back {
                return;
            }
        }
    }

    /// Watches the progress.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Tells those who wait. An end is final.
    pub fn tell(&self, news: Progress) {
        self.progress.send_if_modified(|progress| match progress {
            Progress::Asking | Progress::Trouble | Progress::GaveUp(_) => {
                *progress = news;
                true
            }
            Progress::Answered(_) | Progress::Recalled(_) | Progress::Ended(_) => false,
        });
    }

    /// Whether this client has already asked the same with the same ID: it is tired of waiting and
    /// asks again.
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

/// All resolutions under way.
pub struct Flights {
    /// By key.
    table: Mutex<HashMap<Box<[u8]>, Arc<Flight>, foldhash::fast::RandomState>>,
    /// How many there may be.
    at_most: usize,
}

/// What came of asking for a flight.
pub enum Join {
    /// It was already under way.
    Joined(Arc<Flight>),
    /// The caller has to run it.
    Leads(Arc<Flight>),
    /// Too many are under way.
    Full,
}

impl Flights {
    /// An empty table for so many resolutions.
    #[must_use]
    pub fn new(at_most: usize) -> Self {
        Self { table: Mutex::new(HashMap::default()), at_most }
    }

    /// Joins the resolution of a key, or begins one.
    #[must_use]
    pub fn join(&self, key: &Key, class: Class, now: Timestamp) -> Join {
        let mut table = self.table.lock();
        if let Some(flight) = table.get(key.as_bytes()) {
            flight.hurry(class, now);
            return Join::Joined(Arc::clone(flight));
        }
        let room = match class {
            // A flood must not hide the return of an upstream.
            Class::Probe => self.at_most.saturating_add(PROBES_MAX),
            // Nor must it keep a critical name from being resolved.
            Class::Critical => self.at_most.saturating_add(CRITICAL_MAX),
            Class::Miss | Class::Outage | Class::Prefetch | Class::Sweep => self.at_most,
        };
        if table.len() >= room {
            return Join::Full;
        }
        let flight = Arc::new(Flight::new(class, now));
        table.insert(key.as_bytes().into(), Arc::clone(&flight));
        Join::Leads(flight)
    }

    /// Whether a key is being resolved.
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        self.table.lock().contains_key(key.as_bytes())
    }

    /// Ends the resolution of a key, if it is still this one, and says so.
    pub fn remove(&self, key: &Key, flight: &Arc<Flight>) -> bool {
        let mut table = self.table.lock();
        let still = table.get(key.as_bytes()).is_some_and(|own| Arc::ptr_eq(own, flight));
        still && table.remove(key.as_bytes()).is_some()
    }

    /// Lets those that have given up and concern these names listen on unseen: whoever asks from
    /// now on begins another one. Says which.
    pub fn release(&self, concerns: impl Fn(&Key) -> bool) -> Vec<Key> {
        let mut released = Vec::new();
        self.table.lock().retain(|key, flight| {
            let given_up = matches!(*flight.progress.borrow(), Progress::GaveUp(_));
            let key = if given_up { Key::from_stored(key).filter(|key| concerns(key)) } else { None };
            let stays = key.is_none();
            released.extend(key);
            stays
        });
        released
    }

    /// Has what a resolution told so far forgotten: whoever asks from now on begins another one.
    pub fn forget(&self, key: &Key) {
        let told = |flight: &Flight| matches!(*flight.progress.borrow(), Progress::Answered(_) | Progress::Recalled(_));
        let mut table = self.table.lock();
        if table.get(key.as_bytes()).is_some_and(|flight| told(flight)) {
            table.remove(key.as_bytes());
        }
    }

    /// Whether so many are under way that none should go on for a late answer alone.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.len() > self.at_most / 2
    }

    /// How many are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.lock().len()
    }

    /// Whether none is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::key::Dnssec;
    use crate::core::testing::name;
    use crate::core::upstream::GroupId;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn key(text: &str) -> Key {
        Key::new(&name(text), 1, 1, Dnssec::default())
    }

    #[test]
    fn one_leads_the_others_join_and_the_table_is_bounded() {
        let flights = Flights::new(2);
        assert!(matches!(flights.join(&key("a.test"), Class::Miss, NOW), Join::Leads(_)));
        assert!(matches!(flights.join(&key("a.test"), Class::Miss, NOW), Join::Joined(_)));
        assert!(matches!(flights.join(&key("b.test"), Class::Miss, NOW), Join::Leads(_)));
        assert!(matches!(flights.join(&key("c.test"), Class::Miss, NOW), Join::Full));
        let Join::Joined(flight) = flights.join(&key("a.test"), Class::Miss, NOW) else { panic!("gone") };
        flights.remove(&key("b.test"), &flight);
        assert_eq!(flights.len(), 2, "not this one");
        flights.remove(&key("a.test"), &flight);
        assert!(matches!(flights.join(&key("c.test"), Class::Miss, NOW), Join::Leads(_)));
    }

    #[test]
    fn what_was_told_and_is_forgotten_is_told_to_nobody_else() {
        let flights = Flights::new(9);
        let www = key("www.test");
        let Join::Leads(first) = flights.join(&www, Class::Miss, NOW) else { panic!("full") };
        flights.forget(&www);
        assert!(flights.contains(&www), "it has told nothing");
        let response = crate::core::testing::Response::new("www.test", 1).a("www.test", 60).bytes();
        let verdict = crate::core::classify::classify(1, &response);
        let entry = crate::core::entry::Entry::remember(&www, &response, verdict, &crate::core::testing::policy(), NOW)
            .unwrap()
            .entry;
        first.tell(Progress::Recalled(Arc::new(CachedAnswer::new(&www, entry, GroupId::new(0)))));
        flights.forget(&www);
        assert!(matches!(flights.join(&www, Class::Miss, NOW), Join::Leads(_)));
        flights.remove(&www, &first);
        assert!(flights.contains(&www), "the first one ends itself alone");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_held_back_is_hurried_by_something_more_important_alone() {
        use std::time::Duration;
        use tokio::time::timeout;
        let flights = Flights::new(9);
        let www = key("www.test");
        let later = NOW.plus(Duration::from_secs(1));
        let Join::Leads(flight) = flights.join(&www, Class::Sweep, NOW) else { panic!("full") };
        let patience = Duration::from_secs(9);
        let _ = flights.join(&www, Class::Prefetch, later);
        assert_eq!(flight.class(), Class::Prefetch);
        assert!(timeout(patience, flight.hurried()).await.is_err(), "it is on its way");
        flight.hold_back();
        let _ = flights.join(&www, Class::Sweep, later);
        assert!(timeout(patience, flight.hurried()).await.is_err(), "no more important than itself");
        assert_eq!(flight.began(), NOW);
        let _ = flights.join(&www, Class::Miss, later);
        assert!(timeout(patience, flight.hurried()).await.is_ok());
        assert_eq!((flight.class(), flight.began()), (Class::Miss, later));
        assert!(flight.go_on(later) && !flight.go_on(later));
        let Join::Leads(flight) = flights.join(&key("late.test"), Class::Sweep, NOW) else { panic!("full") };
        flight.hold_back();
        let _ = flights.join(&key("late.test"), Class::Miss, later);
        assert!(flight.go_on(later));
        assert!(timeout(patience, flight.hurried()).await.is_err(), "its own time had come before");
    }

    #[test]
    fn what_has_given_up_is_released_where_it_is_concerned() {
        let flights = Flights::new(9);
        let reason =
            ResolutionFailure { failure: crate::core::classify::Failure::Timeout, extended_errors: Box::default() };
        for name in ["a.test", "b.test", "asking.test"] {
            let Join::Leads(flight) = flights.join(&key(name), Class::Miss, NOW) else { panic!("full") };
            if name != "asking.test" {
                flight.tell(Progress::GaveUp(NoAnswer { reason: reason.clone(), truncated: None }));
            }
        }
        assert_eq!(flights.release(|own| *own == key("a.test")), [key("a.test")]);
        assert_eq!(flights.release(|_| true), [key("b.test")]);
        assert!(flights.contains(&key("asking.test")));
    }

    #[test]
    fn a_flood_leaves_places_for_critical_names_and_more_for_probes() {
        let flights = Flights::new(2);
        let board = |kind: &str, class, count: usize| {
            (0..count)
                .filter(|index| {
                    matches!(flights.join(&key(&format!("{kind}{index}.test")), class, NOW), Join::Leads(_))
                })
                .count()
        };
        assert_eq!(board("flood", Class::Miss, 10), 2);
        assert_eq!(board("critical", Class::Critical, 100), CRITICAL_MAX);
        assert_eq!(board("prefetch", Class::Prefetch, 10), 0);
        assert_eq!(board("probe", Class::Probe, 100), PROBES_MAX - CRITICAL_MAX, "the probes' room stays theirs");
    }

    #[test]
    fn a_retransmission_has_the_same_source_and_id() {
        let flights = Flights::new(1);
        let Join::Leads(flight) = flights.join(&key("a.test"), Class::Miss, NOW) else { panic!("full") };
        let client = SocketAddr::from(([192, 0, 2, 1], 4000));
        assert!(!flight.is_retransmission(client, 7));
        assert!(!flight.is_retransmission(client, 8));
        assert!(flight.is_retransmission(client, 7));
    }
}
