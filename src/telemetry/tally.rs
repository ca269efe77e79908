//! Counts what was answered, and what went upstream and came back. One tally per thread that
//! answers, so that counting costs a store to a line nobody else writes; whoever wants totals adds
//! them up. What happens rarely is counted in one place for all.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::core::budget::Class;
use crate::core::classify::Failure;
use crate::core::matching::Mismatch;

/// Upper bounds of the classes in which ages of stale answers are counted, in seconds; the last
/// class has no bound. The age is the time since the answer expired: seconds are a slow resolver,
/// hours an outage that nears the default maximum of a day.
pub const STALE_AGES: [u64; 9] = [1, 10, 60, 600, 3_600, 14_400, 43_200, 86_400, 604_800];

/// What became of a query: one vocabulary for code, log, metrics and reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answered {
    /// Answered with data within their TTL, or just fetched.
    Fresh,
    /// Answered with data beyond their TTL (RFC 8767).
    Stale,
    /// SERVFAIL: nothing could be had.
    Failed,
    /// SERVFAIL from the failure cache (RFC 9520).
    CachedFailure,
    /// A name that is never forwarded (RFC 6761).
    Local,
    /// The query itself was at fault: FORMERR, NOTIMP, BADVERS, or RD=0 for something not cached.
    Rejected,
    /// No answer was owed: not a query, or too long for one.
    Dropped,
    /// The client is not allowed to ask.
    NotAllowed,
}

impl Answered {
    /// All of them, in the order of the counters.
    pub const ALL: [Self; 8] = [
        Self::Fresh,
        Self::Stale,
        Self::Failed,
        Self::CachedFailure,
        Self::Local,
        Self::Rejected,
        Self::Dropped,
        Self::NotAllowed,
    ];

    /// The metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Failed => "failed",
            Self::CachedFailure => "cached_failure",
            Self::Local => "local",
            Self::Rejected => "rejected",
            Self::Dropped => "dropped",
            Self::NotAllowed => "not_allowed",
        }
    }

    /// Whether the client got an answer.
    #[must_use]
    pub const fn is_answer(self) -> bool {
        match self {
            Self::Fresh | Self::Stale | Self::Failed | Self::CachedFailure | Self::Local | Self::Rejected => true,
            Self::Dropped | Self::NotAllowed => false,
        }
    }

    /// Its place among the counters.
    const fn index(self) -> usize {
        match self {
            Self::Fresh => 0,
            Self::Stale => 1,
            Self::Failed => 2,
            Self::CachedFailure => 3,
            Self::Local => 4,
            Self::Rejected => 5,
            Self::Dropped => 6,
            Self::NotAllowed => 7,
        }
    }
}

/// The counters of one thread, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Tally {
    /// By [`Answered`].
    counts: [AtomicU64; Answered::ALL.len()],
    /// Stale answers by the class of their age, in the order of [`STALE_AGES`].
    stale_ages: [AtomicU64; STALE_AGES.len() + 1],
    /// All those ages together, in milliseconds.
    stale_age_ms: AtomicU64,
}

/// How old stale answers were when they were given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StaleAges {
    /// Answers by class, in the order of [`STALE_AGES`].
    pub classes: [u64; STALE_AGES.len() + 1],
    /// All their ages together.
    pub sum: Duration,
}

impl StaleAges {
    /// Adds those of another thread.
    pub fn add(&mut self, other: &Self) {
        for (own, other) in self.classes.iter_mut().zip(other.classes) {
            *own += other;
        }
        self.sum += other.sum;
    }
}

impl Tally {
    /// Counts one query.
    pub fn count(&self, answered: Answered) {
        if let Some(counter) = self.counts.get(answered.index()) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts one query that was answered with data whose TTL ended so long ago.
    pub fn count_stale(&self, age: Duration) {
        self.count(Answered::Stale);
        let class = STALE_AGES.iter().take_while(|bound| age > Duration::from_secs(**bound)).count();
        if let Some(counter) = self.stale_ages.get(class) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        self.stale_age_ms.fetch_add(u64::try_from(age.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How old the stale answers so far were.
    #[must_use]
    pub fn stale_ages(&self) -> StaleAges {
        let mut ages =
            StaleAges { sum: Duration::from_millis(self.stale_age_ms.load(Ordering::Relaxed)), ..StaleAges::default() };
        for (class, counter) in ages.classes.iter_mut().zip(&self.stale_ages) {
            *class = counter.load(Ordering::Relaxed);
        }
        ages
    }

    /// The queries so far.
    #[must_use]
    pub fn total(&self, answered: Answered) -> u64 {
        self.counts.get(answered.index()).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }
}

/// Packets sent upstream, by class.
#[derive(Debug, Default)]
pub struct Sends {
    /// In the order of [`Class::ALL`].
    counts: [AtomicU64; Class::ALL.len()],
    /// Likewise, what the budget did not allow.
    shed: [AtomicU64; Class::ALL.len()],
}

impl Sends {
    /// Counts one send.
    pub fn sent(&self, class: Class) {
        if let Some(counter) = self.counts.get(class.index()) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts one send that the budget did not allow when it was due; it may have been made later.
    pub fn shed(&self, class: Class) {
        if let Some(counter) = self.shed.get(class.index()) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The sends so far that the budget did not allow when they were due.
    #[must_use]
    pub fn total_shed(&self, class: Class) -> u64 {
        self.shed.get(class.index()).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// The sends so far.
    #[must_use]
    pub fn total(&self, class: Class) -> u64 {
        self.counts.get(class.index()).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }
}

/// What became of a client's TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionEvent {
    /// Taken in.
    Accepted,
    /// Closed at once: its client is not allowed to ask.
    NotAllowed,
    /// Closed to make room for a new one, as it had been idle longest.
    Evicted,
    /// Closed at once: there was no room, since all others were owed an answer.
    NoRoom,
}

impl ConnectionEvent {
    /// All of them, in the order of the counters.
    pub const ALL: [Self; 4] = [Self::Accepted, Self::NotAllowed, Self::Evicted, Self::NoRoom];

    /// The metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::NotAllowed => "not_allowed",
            Self::Evicted => "evicted",
            Self::NoRoom => "no_room",
        }
    }
}

/// Clients' TCP connections, by what became of them.
#[derive(Debug, Default)]
pub struct Connections {
    /// In the order of [`ConnectionEvent::ALL`].
    counts: [AtomicU64; ConnectionEvent::ALL.len()],
}

impl Connections {
    /// Counts one connection.
    pub fn count(&self, connection: ConnectionEvent) {
        add(place(&ConnectionEvent::ALL, &self.counts, connection));
    }

    /// The connections so far.
    #[must_use]
    pub fn total(&self, connection: ConnectionEvent) -> u64 {
        read(place(&ConnectionEvent::ALL, &self.counts, connection))
    }
}

/// Responses of upstreams that were no answer, by what was wrong with them.
#[derive(Debug, Default)]
pub struct Failures {
    /// In the order of [`Failure::ALL`].
    counts: [AtomicU64; Failure::ALL.len()],
}

impl Failures {
    /// Counts one response.
    pub fn count(&self, failure: Failure) {
        add(place(&Failure::ALL, &self.counts, failure));
    }

    /// The responses so far.
    #[must_use]
    pub fn total(&self, failure: Failure) -> u64 {
        read(place(&Failure::ALL, &self.counts, failure))
    }
}

/// What goes upstream and comes back, shared between all exchanges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Carried {
    /// A query sent as a datagram.
    Datagram,
    /// A query sent over a connection.
    Streamed,
    /// A connection whose set-up was begun.
    Connection,
    /// A response that was taken.
    Accepted,
}

impl Carried {
    /// All of them, in the order of the counters.
    pub const ALL: [Self; 4] = [Self::Datagram, Self::Streamed, Self::Connection, Self::Accepted];

    /// The metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Datagram => "datagram",
            Self::Streamed => "streamed",
            Self::Connection => "connection",
            Self::Accepted => "accepted",
        }
    }
}

/// Counts what went upstream and came back, and what came that did not belong to any query.
#[derive(Debug, Default)]
pub struct UpstreamCounters {
    /// In the order of [`Carried::ALL`].
    carried: [AtomicU64; Carried::ALL.len()],
    /// Responses that were not ours, in the order of [`Mismatch::ALL`].
    ignored: [AtomicU64; Mismatch::ALL.len()],
}

impl UpstreamCounters {
    /// Counts something that went or came.
    pub fn count(&self, carried: Carried) {
        add(place(&Carried::ALL, &self.carried, carried));
    }

    /// What went or came so far.
    #[must_use]
    pub fn total(&self, carried: Carried) -> u64 {
        read(place(&Carried::ALL, &self.carried, carried))
    }

    /// Counts an ignored response.
    pub fn ignore(&self, mismatch: Mismatch) {
        add(place(&Mismatch::ALL, &self.ignored, mismatch));
    }

    /// Responses ignored because of `mismatch`: forged, late after a retry, or broken.
    #[must_use]
    pub fn ignored(&self, mismatch: Mismatch) -> u64 {
        read(place(&Mismatch::ALL, &self.ignored, mismatch))
    }
}

/// The counter of one kind.
fn place<'a, K: PartialEq>(kinds: &[K], counts: &'a [AtomicU64], kind: K) -> Option<&'a AtomicU64> {
    kinds.iter().zip(counts).find_map(|(own, counter)| (*own == kind).then_some(counter))
}

/// Counts one.
fn add(counter: Option<&AtomicU64>) {
    if let Some(counter) = counter {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// The count so far.
fn read(counter: Option<&AtomicU64>) -> u64 {
    counter.map_or(0, |counter| counter.load(Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_own_counter() {
        let tally = Tally::default();
        for answered in Answered::ALL {
            tally.count(answered);
        }
        assert!(Answered::ALL.iter().all(|answered| tally.total(*answered) == 1));
    }

    #[test]
    fn every_kind_has_a_counter_of_its_own() {
        let (connections, failures, upstream) =
            (Connections::default(), Failures::default(), UpstreamCounters::default());
        let times = |number: u64, count: &dyn Fn()| (0..number).for_each(|_| count());
        (1..).zip(ConnectionEvent::ALL).for_each(|(number, kind)| times(number, &|| connections.count(kind)));
        (1..).zip(Failure::ALL).for_each(|(number, kind)| times(number, &|| failures.count(kind)));
        (1..).zip(Carried::ALL).for_each(|(number, kind)| times(number, &|| upstream.count(kind)));
        (1..).zip(Mismatch::ALL).for_each(|(number, kind)| times(number, &|| upstream.ignore(kind)));
        assert_eq!(ConnectionEvent::ALL.map(|kind| connections.total(kind)), [1, 2, 3, 4]);
        assert_eq!(Failure::ALL.map(|kind| failures.total(kind)), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(Carried::ALL.map(|kind| upstream.total(kind)), [1, 2, 3, 4]);
        assert_eq!(Mismatch::ALL.map(|kind| upstream.ignored(kind)), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn the_age_of_a_stale_answer_is_counted_once_in_its_class() {
        let tally = Tally::default();
        for seconds in [0, 1, 2, 86_400, 86_401, 604_801] {
            tally.count_stale(Duration::from_secs(seconds));
        }
        let mut ages = tally.stale_ages();
        assert_eq!((ages.classes, ages.sum), ([2, 1, 0, 0, 0, 0, 0, 1, 1, 1], Duration::from_secs(777_605)));
        assert_eq!(tally.total(Answered::Stale), 6);
        ages.add(&tally.stale_ages());
        assert_eq!(ages.classes.iter().sum::<u64>(), 12);
    }
}
