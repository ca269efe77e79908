//! The open connections to one endpoint, and the choice of the one that a query goes to.
//!
//! A connection is *silent* when something is outstanding on it and nothing has arrived for longer
//! than [`EndpointHabits::patience`]. The first row that fits is chosen; a connection has room for
//! 32 queries at once, or for as many as the upstream answers on one:
//!
//! | connections | the query goes to |
//! |---|---|
//! | one is not silent and has few queries | the one with the fewest |
//! | fewer than allowed | a new one |
//! | one is not silent and has room | the one with the fewest |
//! | one has been silent for long | a new one in its place |
//! | one has room | the one with the fewest |
//! | anything else | none: the query waits in line |
//!
//! A query that is [`alone`](Sharing::Alone) gets a new connection that nobody else uses, while one
//! may be opened. The table has no I/O and no clock: its caller opens, closes and tells the time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::habits::{ConnectionEnd, ConnectionLife, EndpointHabits};
use super::queries::StreamQuery;
use crate::adapters::upstream::limits::StreamLimits;

/// A connection that is silent for so many times the patience gives way to a new one, where no more
/// may be opened.
const PATIENCES: u32 = 5;

/// The connections to one endpoint.
#[derive(Default)]
pub(super) struct ConnectionTable {
    connections: Vec<PooledConnection>,
    habits: EndpointHabits,
    opened: u64,
}

/// Identifies a connection among those to one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ConnectionId(u64);

/// Whether a query may share its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    /// The query may be one of many on a connection.
    Shared,
    /// The query wants a connection for itself, since connections ended under it.
    Alone,
}

/// Whether another connection may be opened, as far as all endpoints together are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// There is room for another connection.
    Allowed,
    /// There is none.
    Forbidden,
}

/// What becomes of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PlaceChoice {
    /// It goes to this connection.
    Use(ConnectionId),
    /// It goes to a new connection.
    Open,
    /// It goes to a new connection, and this one is left.
    Replace(ConnectionId),
    /// It waits until a place is free.
    Wait,
}

/// Whether a connection had answered when it was given a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionAge {
    /// The connection had answered other queries, and may have been forgotten on the way since.
    Kept,
    /// The connection had not answered yet.
    New,
}

/// A place on a connection, as the table gives it.
pub(super) struct GivenPlace {
    pub(super) id: ConnectionId,
    pub(super) age: ConnectionAge,
    /// Whether the connection is the query's own.
    pub(super) sharing: Sharing,
    /// Takes the query; closed once the connection takes no more.
    pub(super) queries: mpsc::Sender<StreamQuery>,
}

/// One open connection, or one that is being set up.
struct PooledConnection {
    id: ConnectionId,
    queries: mpsc::Sender<StreamQuery>,
    /// Notified when the connection is to end at once.
    left: Arc<Notify>,
    sharing: Sharing,
    opened: Instant,
    is_set_up: bool,
    /// Queries for whose response an exchange waits.
    load: usize,
    /// Queries that it was given in its life.
    given: usize,
    answered: usize,
    last_message: Option<Instant>,
    /// Since when something is outstanding, or the connection being set up, and nothing arrives.
    waiting_since: Option<Instant>,
    used: Instant,
}

impl ConnectionTable {
    /// Chooses the connection for a query.
    pub(super) fn choose(
        &mut self,
        sharing: Sharing,
        opening: Opening,
        limits: &StreamLimits,
        now: Instant,
    ) -> PlaceChoice {
        for connection in self.connections.iter().filter(|connection| connection.load == 0) {
            self.habits.note_open(&connection.life(), now);
        }
        let patience = self.habits.patience(limits);
        let answers = self.habits.answers(now);
        let may_open = opening == Opening::Allowed && self.connections.len() < self.habits.connections(limits, now);
        if sharing == Sharing::Alone && may_open {
            return PlaceChoice::Open;
        }
        let with_room = || self.connections.iter().filter(|connection| connection.has_room(limits, answers));
        let best = with_room()
            .filter(|connection| !connection.is_silent(patience, now))
            .min_by_key(|connection| (connection.load, std::cmp::Reverse(connection.last_message)));
        match best {
            Some(best) if best.load < limits.spread => return PlaceChoice::Use(best.id),
            Some(_) | None if may_open => return PlaceChoice::Open,
            Some(best) => return PlaceChoice::Use(best.id),
            None => {}
        }
        let silent_for = |connection: &PooledConnection| connection.silent_for(now);
        if let Some(longest) = self.connections.iter().max_by_key(|connection| silent_for(connection))
            && silent_for(longest) > patience.saturating_mul(PATIENCES)
        {
            return PlaceChoice::Replace(longest.id);
        }
        let least = with_room().min_by_key(|connection| connection.load);
        least.map_or(PlaceChoice::Wait, |connection| PlaceChoice::Use(connection.id))
    }

    /// Chooses the connection for the repetition of a query on which `silent` says nothing: one on
    /// which something arrived meanwhile, or that was opened meanwhile, else a new one.
    pub(super) fn choose_beside(
        &self,
        silent: ConnectionId,
        opening: Opening,
        limits: &StreamLimits,
        now: Instant,
    ) -> PlaceChoice {
        let since = self.find(silent).and_then(|connection| connection.waiting_since).unwrap_or(now);
        let answers = self.habits.answers(now);
        let is_younger = |connection: &&PooledConnection| {
            connection.id != silent
                && connection.has_room(limits, answers)
                && (connection.opened > since || connection.last_message > Some(since))
                && !connection.is_silent(self.habits.patience(limits), now)
        };
        if let Some(best) = self.connections.iter().filter(is_younger).min_by_key(|connection| connection.load) {
            return PlaceChoice::Use(best.id);
        }
        if opening == Opening::Allowed && self.connections.len() < self.habits.connections(limits, now) {
            return PlaceChoice::Open;
        }
        // Another idle connection was probably forgotten on the way as well.
        let mut idle = self.connections.iter().filter(|connection| connection.id != silent && connection.load == 0);
        idle.next().map_or(PlaceChoice::Wait, |connection| PlaceChoice::Replace(connection.id))
    }

    /// Adds a connection that is being set up.
    pub(super) fn add(&mut self, queries: mpsc::Sender<StreamQuery>, left: Arc<Notify>, now: Instant) -> ConnectionId {
        self.opened = self.opened.saturating_add(1);
        let id = ConnectionId(self.opened);
        self.connections.push(PooledConnection {
            id,
            queries,
            left,
            sharing: Sharing::Shared,
            opened: now,
            is_set_up: false,
            load: 0,
            given: 0,
            answered: 0,
            last_message: None,
            waiting_since: Some(now),
            used: now,
        });
        id
    }

    /// Takes a place on a connection; `None` when it is no longer there. Whoever wants to be alone
    /// is so only on a new connection: where no more may be opened, many may have to share one.
    pub(super) fn take(&mut self, id: ConnectionId, sharing: Sharing, now: Instant) -> Option<GivenPlace> {
        let connection = self.find_mut(id)?;
        connection.load = connection.load.saturating_add(1);
        connection.given = connection.given.saturating_add(1);
        connection.used = now;
        if connection.given == 1 {
            connection.sharing = sharing;
        }
        let age = if connection.answered > 0 { ConnectionAge::Kept } else { ConnectionAge::New };
        Some(GivenPlace { id, age, sharing: connection.sharing, queries: connection.queries.clone() })
    }

    /// Frees a place.
    pub(super) fn free(&mut self, id: ConnectionId) {
        if let Some(connection) = self.find_mut(id) {
            connection.load = connection.load.saturating_sub(1);
            // Whoever wanted it alone is done.
            if connection.load == 0 {
                connection.sharing = Sharing::Shared;
            }
        }
    }

    /// The connection was set up.
    pub(super) fn note_set_up(&mut self, id: ConnectionId, now: Instant) {
        if let Some(connection) = self.find_mut(id) {
            connection.is_set_up = true;
            connection.waiting_since = (connection.load > 0).then_some(now);
        }
    }

    /// A query was handed to the connection.
    pub(super) fn note_sent(&mut self, id: ConnectionId, now: Instant) {
        if let Some(connection) = self.find_mut(id) {
            connection.waiting_since.get_or_insert(now);
        }
    }

    /// A message arrived, after which `outstanding` queries have no response yet. `took` is the
    /// time of the response, if the message was one.
    pub(super) fn note_message(&mut self, id: ConnectionId, took: Option<Duration>, outstanding: usize, now: Instant) {
        if let Some(took) = took {
            self.habits.note_answer(took);
        }
        if let Some(connection) = self.find_mut(id) {
            connection.answered = connection.answered.saturating_add(usize::from(took.is_some()));
            connection.last_message = Some(now);
            connection.waiting_since = (outstanding > 0).then_some(now);
        }
    }

    /// The connection has ended: it is given no more queries.
    pub(super) fn note_end(&mut self, id: ConnectionId, end: ConnectionEnd, now: Instant) {
        let Some(at) = self.connections.iter().position(|connection| connection.id == id) else { return };
        let ended = self.connections.remove(at);
        let answering = self.connections.iter().filter(|connection| connection.answered > 0).count();
        let life = ConnectionLife { working_beside: self.working(), answering_beside: answering, ..ended.life() };
        self.habits.note_end(end, &life, now);
    }

    /// Removes a connection that is to end at once.
    pub(super) fn leave(&mut self, id: ConnectionId) {
        if let Some(connection) = self.find(id) {
            connection.left.notify_one();
        }
        self.connections.retain(|connection| connection.id != id);
    }

    /// When the connection is to be doubted for a query that it was given at `given`, unless
    /// something arrives before; `None` when the connection is not there.
    ///
    /// | connection | nothing arrives for |
    /// |---|---|
    /// | answered other queries before | the patience |
    /// | is being set up | the patience: the next SYN would come after 1 s |
    /// | was just set up, while others answer | twice the patience: it may wait for others to close |
    /// | was just set up, and there is no other | any time: the upstream is slow |
    pub(super) fn doubted_at(
        &self,
        id: ConnectionId,
        age: ConnectionAge,
        given: Instant,
        limits: &StreamLimits,
        now: Instant,
    ) -> Option<Instant> {
        let connection = self.find(id)?;
        // Another query of the same connection may have waited for longer, and may just be slow.
        let since = connection.waiting_since.map_or(given, |since| since.max(given));
        let patience = self.habits.patience(limits);
        if age == ConnectionAge::Kept || !connection.is_set_up {
            return Some(since + patience);
        }
        let due = since + patience.saturating_mul(2);
        let others_answer = self.connections.iter().any(|other| other.id != id && other.last_message > Some(since));
        // Where no other connection is there to compare, the question comes again later.
        Some(if others_answer { due } else { due.max(now + patience) })
    }

    /// Whether nothing has arrived on the connection since `since`.
    pub(super) fn is_silent_since(&self, id: ConnectionId, since: Instant) -> bool {
        self.find(id).is_some_and(|connection| connection.last_message < Some(since))
    }

    /// The number of connections that have been set up.
    pub(super) fn working(&self) -> usize {
        self.connections.iter().filter(|connection| connection.is_set_up).count()
    }

    /// The number of connections that are open, or being set up.
    pub(super) fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether the table may be forgotten.
    pub(super) fn is_forgettable(&self, now: Instant) -> bool {
        self.connections.is_empty() && !self.habits.is_known(now)
    }

    /// The connection that was used least recently, and when; `load` says which ones are asked for.
    pub(super) fn least_used(&self, is_wanted: impl Fn(usize) -> bool) -> Option<(Instant, ConnectionId)> {
        let wanted = self.connections.iter().filter(|connection| is_wanted(connection.load));
        wanted.map(|connection| (connection.used, connection.id)).min_by_key(|(used, _)| *used)
    }

    /// Removes a connection, which ends once its outstanding queries have their responses.
    pub(super) fn drain(&mut self, id: ConnectionId) {
        self.connections.retain(|connection| connection.id != id);
    }

    fn find(&self, id: ConnectionId) -> Option<&PooledConnection> {
        self.connections.iter().find(|connection| connection.id == id)
    }

    fn find_mut(&mut self, id: ConnectionId) -> Option<&mut PooledConnection> {
        self.connections.iter_mut().find(|connection| connection.id == id)
    }
}

impl PooledConnection {
    fn has_room(&self, limits: &StreamLimits, answers: usize) -> bool {
        let is_free = self.sharing == Sharing::Shared || self.load == 0;
        is_free && self.load < limits.in_flight && self.given < answers
    }

    fn silent_for(&self, now: Instant) -> Duration {
        self.waiting_since.map_or(Duration::ZERO, |since| now.duration_since(since))
    }

    fn is_silent(&self, patience: Duration, now: Instant) -> bool {
        self.silent_for(now) >= patience
    }

    /// What the connection was, as if it were the only one.
    fn life(&self) -> ConnectionLife {
        ConnectionLife {
            given: self.given,
            outstanding: self.load,
            answered: self.answered,
            last_message: self.last_message,
            working_beside: 0,
            answering_beside: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: StreamLimits =
        StreamLimits { per_endpoint: 2, per_hasty_endpoint: 3, spread: 2, in_flight: 4, ..StreamLimits::DEFAULT };

    /// Adds a connection that is set up and has so many queries.
    fn open(table: &mut ConnectionTable, load: usize, now: Instant) -> ConnectionId {
        let id = table.add(mpsc::channel(1).0, Arc::default(), now);
        table.note_set_up(id, now);
        for _ in 0..load {
            take(table, id, now);
        }
        id
    }

    fn take(table: &mut ConnectionTable, id: ConnectionId, now: Instant) {
        assert!(table.take(id, Sharing::Shared, now).is_some());
        table.note_sent(id, now);
    }

    fn choose(table: &mut ConnectionTable, now: Instant) -> PlaceChoice {
        table.choose(Sharing::Shared, Opening::Allowed, &LIMITS, now)
    }

    #[test]
    fn queries_spread_over_as_many_connections_as_allowed_and_then_wait() {
        let now = Instant::now();
        let mut table = ConnectionTable::default();
        assert_eq!(choose(&mut table, now), PlaceChoice::Open);
        let first = open(&mut table, 1, now);
        assert_eq!(choose(&mut table, now), PlaceChoice::Use(first));
        take(&mut table, first, now);
        assert_eq!(choose(&mut table, now), PlaceChoice::Open);
        assert_eq!(table.choose(Sharing::Shared, Opening::Forbidden, &LIMITS, now), PlaceChoice::Use(first));
        let second = open(&mut table, 4, now);
        assert_eq!(choose(&mut table, now), PlaceChoice::Use(first));
        (0..2).for_each(|_| take(&mut table, first, now));
        assert_eq!(choose(&mut table, now), PlaceChoice::Wait);
        table.free(second);
        assert_eq!(choose(&mut table, now), PlaceChoice::Use(second));
    }

    #[test]
    fn a_silent_connection_is_avoided_and_gives_way_in_the_end() {
        let now = Instant::now();
        let mut table = ConnectionTable::default();
        let silent = open(&mut table, 1, now);
        let later = now + LIMITS.silence;
        assert_eq!(choose(&mut table, later), PlaceChoice::Open);
        let other = open(&mut table, 2, later);
        assert_eq!(choose(&mut table, later), PlaceChoice::Use(other));
        let much_later = later + LIMITS.silence * PATIENCES;
        assert_eq!(choose(&mut table, much_later), PlaceChoice::Replace(silent));
        table.note_message(silent, Some(Duration::from_millis(1)), 0, much_later);
        assert_eq!(choose(&mut table, much_later), PlaceChoice::Use(silent));
    }

    #[test]
    fn who_is_alone_shares_its_connection_with_nobody() {
        let now = Instant::now();
        let mut table = ConnectionTable::default();
        let shared = open(&mut table, 0, now);
        assert_eq!(table.choose(Sharing::Alone, Opening::Allowed, &LIMITS, now), PlaceChoice::Open);
        let own = open(&mut table, 0, now);
        assert_eq!(table.take(own, Sharing::Alone, now).unwrap().sharing, Sharing::Alone);
        (0..4).for_each(|_| take(&mut table, shared, now));
        assert_eq!(choose(&mut table, now), PlaceChoice::Wait);
        // Where no connection may be opened, an open one must do.
        table.free(shared);
        assert_eq!(table.choose(Sharing::Alone, Opening::Allowed, &LIMITS, now), PlaceChoice::Use(shared));
        assert_eq!(table.take(shared, Sharing::Alone, now).unwrap().sharing, Sharing::Shared);
        table.free(own);
        assert_eq!(choose(&mut table, now), PlaceChoice::Use(own));
    }

    #[test]
    fn a_query_is_repeated_where_something_arrives_or_on_a_new_connection() {
        let now = Instant::now();
        let mut table = ConnectionTable::default();
        let silent = open(&mut table, 1, now);
        table.note_message(silent, Some(Duration::from_millis(1)), 0, now);
        take(&mut table, silent, now);
        let due = table.doubted_at(silent, ConnectionAge::Kept, now, &LIMITS, now);
        assert_eq!(due, Some(now + LIMITS.silence));
        let later = now + LIMITS.silence;
        let beside = |table: &ConnectionTable| table.choose_beside(silent, Opening::Allowed, &LIMITS, later);
        assert_eq!(beside(&table), PlaceChoice::Open);
        let idle = open(&mut table, 0, now);
        assert_eq!(beside(&table), PlaceChoice::Replace(idle), "it was forgotten, too");
        table.note_message(idle, None, 0, later);
        assert_eq!(beside(&table), PlaceChoice::Use(idle));
    }
}
