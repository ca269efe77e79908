//! Resolutions under way: at most one per key, joined by every client that asks for the same.
//!
//! A flight is the meeting point of a resolution and of the clients that wait for it: the
//! resolution reports how far it has come, and the clients watch. The flight also knows what the
//! resolution is wanted for: a client that joins a prefetch makes it a client's resolution, for
//! which the packet budget allows more.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::core::budget::Class;
use crate::core::key::Key;
use crate::core::time::Timestamp;
use crate::memory::cached::{CachedAnswer, ResolutionFailure};

/// Waiting clients that are remembered, to recognise their retransmissions; the retransmission of
/// any further client waits like a new query.
const WAITERS_KNOWN: usize = 64;

/// Probes under way beyond the limit: four at a time for each of 16 upstreams, for as long as each
/// may take.
const PROBES_MAX: usize = 64;

/// Resolutions of critical names under way beyond the limit; the places of probes stay free.
const CRITICAL_MAX: usize = 32;

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
    /// A truncated response, when the whole answer could not be obtained over TCP.
    pub truncated: Option<Arc<CachedAnswer>>,
}

/// One resolution under way, as the clients that wait for it see it.
#[derive(Debug)]
pub struct Flight {
    purpose: Mutex<Purpose>,
    /// Notified when a more important class wants the answer while the packet budget holds the
    /// resolution back.
    hurried: Notify,
    progress: watch::Sender<Progress>,
    /// Source and message ID of the clients that wait.
    waiters: Mutex<Vec<(SocketAddr, u16)>>,
}

/// The purpose of a resolution, and when it began.
#[derive(Clone, Copy, Debug)]
struct Purpose {
    /// The most important of the classes that asked for the resolution.
    class: Class,
    /// When the resolution began, or when the packet budget stopped holding it back.
    began: Timestamp,
    /// Whether the packet budget has no room for the class at present.
    held_back: bool,
}

impl Flight {
    fn new(class: Class, now: Timestamp) -> Self {
        Self {
            purpose: Mutex::new(Purpose { class, began: now, held_back: false }),
            hurried: Notify::new(),
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

    /// Notes that this class wants the answer as well. If the class is more important than those
    /// before, the resolution takes it over, and is no longer held back.
    fn hurry(&self, class: Class, now: Timestamp) {
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

/// All resolutions under way, at most one per key.
pub struct Flights {
    by_key: Mutex<HashMap<Box<[u8]>, Arc<Flight>, foldhash::fast::RandomState>>,
    /// Resolutions under way at the most; probes and critical names have a few places beyond.
    limit: usize,
}

/// The result of asking for the resolution of a key.
pub enum Join {
    /// The resolution was under way already.
    Joined(Arc<Flight>),
    /// The caller has to run the resolution.
    Leads(Arc<Flight>),
    /// Too many resolutions are under way, so none was begun.
    Full,
}

impl Flights {
    /// An empty table for `limit` resolutions.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { by_key: Mutex::new(HashMap::default()), limit }
    }

    /// Joins the resolution of a key, or begins one that the caller has to run.
    #[must_use]
    pub fn join(&self, key: &Key, class: Class, now: Timestamp) -> Join {
        let mut flights = self.by_key.lock();
        if let Some(flight) = flights.get(key.as_bytes()) {
            flight.hurry(class, now);
            return Join::Joined(Arc::clone(flight));
        }
        let limit = match class {
            // A flood of new names must not hide the return of an upstream.
            Class::Probe => self.limit.saturating_add(PROBES_MAX),
            // Nor may it keep a critical name from being resolved.
            Class::Critical => self.limit.saturating_add(CRITICAL_MAX),
            Class::Miss | Class::Outage | Class::Prefetch | Class::Sweep => self.limit,
        };
        if flights.len() >= limit {
            return Join::Full;
        }
        let flight = Arc::new(Flight::new(class, now));
        flights.insert(key.as_bytes().into(), Arc::clone(&flight));
        Join::Leads(flight)
    }

    /// Whether a key is being resolved.
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        self.by_key.lock().contains_key(key.as_bytes())
    }

    /// Removes a resolution from the table, if it is still the one of its key; true when it was.
    pub fn remove(&self, key: &Key, flight: &Arc<Flight>) -> bool {
        let mut flights = self.by_key.lock();
        let still = flights.get(key.as_bytes()).is_some_and(|own| Arc::ptr_eq(own, flight));
        still && flights.remove(key.as_bytes()).is_some()
    }

    /// Removes from the table the resolutions of these names that have given up, and gives their
    /// keys. They go on listening for a late answer, and a client that asks from now on begins
    /// another resolution.
    pub fn release(&self, concerns: impl Fn(&Key) -> bool) -> Vec<Key> {
        let mut released = Vec::new();
        self.by_key.lock().retain(|key, flight| {
            let given_up = matches!(*flight.progress.borrow(), Progress::GaveUp(_));
            let key = if given_up { Key::from_stored(key).filter(|key| concerns(key)) } else { None };
            let stays = key.is_none();
            released.extend(key);
            stays
        });
        released
    }

    /// Removes from the table a resolution that has its answer already, since that answer was just
    /// flushed: a client that asks from now on begins another resolution.
    pub fn flush(&self, key: &Key) {
        let has_answer =
            |flight: &Flight| matches!(*flight.progress.borrow(), Progress::Answered(_) | Progress::Recalled(_));
        let mut flights = self.by_key.lock();
        if flights.get(key.as_bytes()).is_some_and(|flight| has_answer(flight)) {
            flights.remove(key.as_bytes());
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
        self.by_key.lock().len()
    }

    /// Whether no resolution is under way.
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
    fn an_answer_that_is_flushed_is_reported_to_no_further_client() {
        let flights = Flights::new(9);
        let www = key("www.test");
        let Join::Leads(first) = flights.join(&www, Class::Miss, NOW) else { panic!("full") };
        flights.flush(&www);
        assert!(flights.contains(&www), "it has no answer yet");
        let response = crate::core::testing::Response::new("www.test", 1).a("www.test", 60).bytes();
        let verdict = crate::core::classify::classify(1, &response);
        let entry = crate::core::entry::Entry::remember(&www, &response, verdict, &crate::core::testing::policy(), NOW)
            .unwrap()
            .entry;
        first.report(Progress::Recalled(Arc::new(CachedAnswer::new(&www, entry, GroupId::new(0)))));
        flights.flush(&www);
        assert!(matches!(flights.join(&www, Class::Miss, NOW), Join::Leads(_)));
        flights.remove(&www, &first);
        assert!(flights.contains(&www), "the first resolution ends only itself");
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
                flight.report(Progress::GaveUp(NoAnswer { reason: reason.clone(), truncated: None }));
            }
        }
        assert_eq!(flights.release(|own| *own == key("a.test")), [key("a.test")]);
        assert_eq!(flights.release(|_| true), [key("b.test")]);
        assert!(flights.contains(&key("asking.test")));
    }

    #[test]
    fn a_flood_leaves_places_for_critical_names_and_more_for_probes() {
        let flights = Flights::new(2);
        let join_many = |kind: &str, class, count: usize| {
            (0..count)
                .filter(|index| {
                    matches!(flights.join(&key(&format!("{kind}{index}.test")), class, NOW), Join::Leads(_))
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
    fn a_retransmission_has_the_same_source_and_id() {
        let flights = Flights::new(1);
        let Join::Leads(flight) = flights.join(&key("a.test"), Class::Miss, NOW) else { panic!("full") };
        let client = SocketAddr::from(([192, 0, 2, 1], 4000));
        assert!(!flight.is_retransmission(client, 7));
        assert!(!flight.is_retransmission(client, 8));
        assert!(flight.is_retransmission(client, 7));
    }
}
