//! The pool of connections to upstreams: a few connections per endpoint, kept, shared and pipelined
//! (RFC 7766 §6.2).
//!
//! Framing is hickory's (`DnsClientStream`). Its multiplexer above that, `DnsExchange`, is not
//! used, for three reasons. It decodes every response and drops the whole message when one RDATA
//! cannot be decoded (an empty RDATA of an unknown type, a malformed SVCB), so that the client
//! would wait for an answer that has long been here. It encodes the query anew. And it does not
//! compare the question. The streams themselves carry the bytes of both directions untouched, and
//! the matching of responses with queries is a small table (`stream/queries.rs`).
//!
//! | situation | what happens |
//! |---|---|
//! | no connection | one is set up; the exchanges with the endpoint share it |
//! | eight queries on each connection | another one is set up, up to a bound |
//! | all places on all connections taken | the exchange waits in line, first come, first served |
//! | nothing arrives on a connection that had answered before | the query is sent once more elsewhere |
//! | a connection is not set up in the same time | likewise |
//! | the repetition is answered first, and still nothing has arrived | the silent connection is left |
//! | a connection ends | its unanswered queries are sent again (see below) |
//! | a connection is closed after n answers | each connection is given n queries from now on |
//! | one response is late while others arrive | timed out; the connection is kept |
//! | no queries for the idle time | closed |
//! | more connections than allowed | the least recently used one is closed |
//!
//! What becomes of a query whose connection ended (RFC 7766 §6.2.4):
//!
//! | its connection | then |
//! |---|---|
//! | was not set up, and no other is | the reason is the outcome |
//! | was not set up | it takes a place on another one |
//! | had answered other queries, the first time | it takes a place on another one |
//! | had answered nothing, or took no more, or it is the second time | it gets a connection of its own, if it can |
//! | was its own, and had answered nothing | lost: it is the upstream that closes |
//!
//! So a query is sent twice or three times over connections that end, at most [`SENDS`] times where
//! the upstream accepts only a few of them, and once more beside one that is silent. The exchange
//! is bounded in time, whatever happens in between, and the resolver decides how long it really
//! waits. What a protocol has to bring to be pooled here is [`Connect`]; what happens on one
//! connection stands in `stream/connection.rs`, which connection a query goes to in
//! `stream/table.rs`.

mod connect;
mod connection;
mod endpoint;
mod habits;
mod queries;
mod table;

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::pin::pin;
use std::sync::Arc;

use futures_util::future::{Either, select};
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

pub(super) use self::connect::{Connect, OpenConnection};
use self::connection::ConnectionTask;
use self::endpoint::{ConnectionPlace, EndpointPool, doubt};
use self::queries::Unanswered;
use self::table::{ConnectionId, Opening, PlaceChoice, Sharing};
use super::limits::StreamLimits;
use crate::core::answer::STREAM_MAX;
use crate::core::message::HEADER;
use crate::resolver::ports::{Endpoint, TransportError};
use crate::telemetry::tally::UpstreamCounters;

/// The lengths that a query on a stream can have: at least a header, at most what the length prefix
/// can express.
const QUERY_BYTES: RangeInclusive<usize> = HEADER..=STREAM_MAX;
/// Connections that may end under one query, before the last end is its outcome. More than two or
/// three do so only at an upstream that closes all but a few of our connections: in the worst case
/// the query was moved to each of the others before.
const SENDS: usize = 16;

/// The kept connections to upstreams, which exchanges share.
pub(super) struct StreamPool {
    limits: StreamLimits,
    counters: Arc<UpstreamCounters>,
    /// One permit for each exchange that may be under way or in line.
    exchanges: Semaphore,
    /// One permit for each connection that may be open.
    connections: Arc<Semaphore>,
    /// Notified when any connection has ended.
    ended: Arc<Notify>,
    endpoints: Mutex<HashMap<Endpoint, Arc<EndpointPool>>>,
    /// The tasks of the connections. Dropping the set aborts all of them.
    tasks: Mutex<JoinSet<()>>,
}

/// Whether an exchange may still send its query beside a silent connection, which it does once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repetition {
    Allowed,
    Used,
}

/// The ways of one exchange: how connections are set up, and to whom.
struct Route<C> {
    connector: C,
    endpoint: Endpoint,
    pool: Arc<EndpointPool>,
}

impl StreamPool {
    pub(super) fn new(limits: StreamLimits, counters: Arc<UpstreamCounters>) -> Self {
        let permits = |count: usize| count.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            limits,
            counters,
            exchanges: Semaphore::new(permits(limits.exchanges)),
            connections: Arc::new(Semaphore::new(permits(limits.connections))),
            ended: Arc::default(),
            endpoints: Mutex::default(),
            tasks: Mutex::default(),
        }
    }

    /// Sends `query` to `endpoint` and waits for the response, which carries the ID of the query.
    /// Where another connection is needed, `connector` sets one up; the transport of the endpoint
    /// and the connector must be the same protocol.
    ///
    /// Cancel safe: dropping the future frees its place on the connection, which stays for others.
    ///
    /// # Errors
    /// Those of the set-up; [`TransportError::Lost`] when connections ended before the response;
    /// [`TransportError::TimedOut`] after the time that an exchange may take;
    /// [`TransportError::Exhausted`] when too many exchanges are under way, and for a `query` of a
    /// length that no message has.
    pub(super) async fn exchange(
        self: Arc<Self>,
        connector: impl Connect,
        endpoint: Endpoint,
        query: Vec<u8>,
    ) -> Result<Vec<u8>, TransportError> {
        if !QUERY_BYTES.contains(&query.len()) {
            return Err(TransportError::Exhausted);
        }
        let _admitted = self.exchanges.try_acquire().map_err(|_full| TransportError::Exhausted)?;
        let pool = self.endpoint(&endpoint);
        let route = Route { connector, endpoint, pool };
        timeout(self.limits.exchange, self.ask_until_answered(&route, &query))
            .await
            .unwrap_or(Err(TransportError::TimedOut))
    }

    /// Asks on one connection after the other, for as long as they end for reasons of their own.
    async fn ask_until_answered(&self, route: &Route<impl Connect>, query: &[u8]) -> Result<Vec<u8>, TransportError> {
        let mut sharing = Sharing::Shared;
        let mut repetition = Repetition::Allowed;
        let mut outcome = Err(TransportError::Lost);
        for sends in 1..=SENDS {
            let place = self.place(route, sharing).await?;
            let is_alone = place.sharing == Sharing::Alone;
            let why = match self.ask_or_repeat(route, place, &mut repetition, query).await {
                Ok(response) => return Ok(response),
                Err(why) => why,
            };
            let others = route.pool.table().working();
            let (cause, next) = match why {
                Unanswered::TimedOut => (TransportError::TimedOut, None),
                Unanswered::NotTaken => (TransportError::Exhausted, Some(Sharing::Alone)),
                Unanswered::NotSetUp(cause) => (cause, (others > 0).then_some(Sharing::Shared)),
                Unanswered::EndedUnused(cause) if is_alone => (cause, None),
                Unanswered::EndedUnused(cause) => (cause, Some(Sharing::Alone)),
                Unanswered::EndedUsed(cause) if sends == 1 => (cause, Some(Sharing::Shared)),
                Unanswered::EndedUsed(cause) => (cause, Some(Sharing::Alone)),
            };
            outcome = Err(cause);
            match next {
                Some(next) => sharing = next,
                None => break,
            }
        }
        outcome
    }

    /// Asks on one connection and, when that is silent, once more on another one; the response that
    /// comes first counts.
    async fn ask_or_repeat(
        &self,
        route: &Route<impl Connect>,
        place: ConnectionPlace,
        repetition: &mut Repetition,
        query: &[u8],
    ) -> Result<Vec<u8>, Unanswered> {
        let (id, age, given) = (place.id, place.age, place.given);
        let mut first = pin!(place.ask(query.to_vec()));
        match repetition {
            Repetition::Allowed => {}
            Repetition::Used => return first.await,
        }
        let second = loop {
            tokio::select! {
                outcome = &mut first => return outcome,
                () = doubt(&route.pool, id, age, given, &self.limits) => {}
            }
            let choice = |opening| route.pool.table().choose_beside(id, opening, &self.limits, Instant::now());
            if let Some(second) = self.take(route, Sharing::Shared, choice) {
                break second;
            }
            // No other connection is to be had at present.
            tokio::select! {
                outcome = &mut first => return outcome,
                () = sleep(self.limits.silence) => {}
            }
        };
        *repetition = Repetition::Used;
        let repeated = Instant::now();
        match select(first, pin!(second.ask(query.to_vec()))).await {
            Either::Left((Ok(response), _)) => Ok(response),
            Either::Left((Err(_), second)) => second.await,
            Either::Right((Ok(response), _)) => {
                // What the upstream answered here it has not answered there: the connection is
                // dead, and nobody else need wait for it.
                let mut table = route.pool.table();
                if table.is_silent_since(id, repeated) {
                    table.leave(id);
                }
                Ok(response)
            }
            // The first connection may be dead, so it is not waited for until the end.
            Either::Right((Err(why), first)) => {
                timeout(self.limits.silence.saturating_mul(2), first).await.unwrap_or(Err(why))
            }
        }
    }

    /// Waits in line for a place on a connection, and takes it. Cancel safe.
    async fn place(&self, route: &Route<impl Connect>, sharing: Sharing) -> Result<ConnectionPlace, TransportError> {
        let _turn = route.pool.turn().await?;
        loop {
            let mut ended = pin!(self.ended.notified());
            // From here on no end of a connection is missed.
            ended.as_mut().enable();
            let choice = |opening| route.pool.table().choose(sharing, opening, &self.limits, Instant::now());
            if let Some(place) = self.take(route, sharing, choice) {
                return Ok(place);
            }
            // A connection that stays silent frees no place and does not end, but gives way in
            // time.
            tokio::select! {
                () = ended => {}
                () = route.pool.freed() => {}
                () = sleep(self.limits.silence) => {}
            }
        }
    }

    /// Takes the place that `choose` chooses, and opens the connection for it where that is needed;
    /// `None` when there is none at present.
    fn take(
        &self,
        route: &Route<impl Connect>,
        sharing: Sharing,
        choose: impl Fn(Opening) -> PlaceChoice,
    ) -> Option<ConnectionPlace> {
        let id = match choose(Opening::Allowed) {
            PlaceChoice::Use(id) => id,
            choice @ (PlaceChoice::Open | PlaceChoice::Replace(_)) => {
                if let PlaceChoice::Replace(silent) = choice {
                    route.pool.table().leave(silent);
                }
                match Arc::clone(&self.connections).try_acquire_owned() {
                    Ok(permit) => self.open(route, permit),
                    Err(_full) => {
                        self.make_room(route);
                        match choose(Opening::Forbidden) {
                            PlaceChoice::Use(id) => id,
                            PlaceChoice::Open | PlaceChoice::Replace(_) | PlaceChoice::Wait => return None,
                        }
                    }
                }
            }
            PlaceChoice::Wait => return None,
        };
        let now = Instant::now();
        let place = route.pool.table().take(id, sharing, now)?;
        Some(ConnectionPlace::new(&route.pool, place, now))
    }

    /// Opens a connection, which runs in a task of its own: it outlives the exchange that wanted
    /// it.
    fn open(&self, route: &Route<impl Connect>, permit: OwnedSemaphorePermit) -> ConnectionId {
        // The queue also holds queries whose exchange was dropped before they were sent.
        let (sender, queries) = mpsc::channel(self.limits.in_flight.saturating_mul(2).max(1));
        let left = Arc::new(Notify::new());
        let mut table = route.pool.table();
        let idle = if table.len() > 0 { self.limits.idle_beside } else { self.limits.idle };
        let id = table.add(sender, Arc::clone(&left), Instant::now());
        drop(table);
        let mut tasks = self.tasks.lock();
        // Tasks that have ended are collected here, for want of anything else that comes by.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(connection::run(ConnectionTask {
            connector: route.connector.clone(),
            endpoint: route.endpoint.clone(),
            limits: self.limits,
            idle,
            counters: Arc::clone(&self.counters),
            pool: Arc::clone(&route.pool),
            id,
            queries,
            left,
            permit,
            ended: Arc::clone(&self.ended),
        }));
        id
    }

    /// Makes room for a connection: closes the least recently used one without queries. Where there
    /// is none, an endpoint without a connection takes the least recently used one of another.
    fn make_room(&self, route: &Route<impl Connect>) {
        let endpoints = self.endpoints.lock();
        let least_used = |is_wanted: fn(usize) -> bool| {
            let of_each = endpoints.values().filter_map(|pool| Some((pool.table().least_used(is_wanted)?, pool)));
            of_each.min_by_key(|((used, _), _)| *used).map(|((_, id), pool)| (id, pool))
        };
        let listed: usize = endpoints.values().map(|pool| pool.table().len()).sum();
        // A removed connection that still owes answers ends soon, and is waited for.
        let is_one_ending = listed < self.limits.connections;
        let has_none = route.pool.table().len() == 0;
        let victim = least_used(|load| load == 0)
            .or_else(|| if has_none && !is_one_ending { least_used(|_| true) } else { None });
        if let Some((id, pool)) = victim {
            pool.table().drain(id);
        }
    }

    /// The connections to an endpoint. Endpoints of which there is nothing to remember are
    /// forgotten meanwhile.
    fn endpoint(&self, endpoint: &Endpoint) -> Arc<EndpointPool> {
        let mut endpoints = self.endpoints.lock();
        if let Some(pool) = endpoints.get(endpoint) {
            return Arc::clone(pool);
        }
        let now = Instant::now();
        endpoints.retain(|_, pool| Arc::strong_count(pool) > 1 || !pool.table().is_forgettable(now));
        let pool = Arc::new(EndpointPool::new());
        endpoints.insert(endpoint.clone(), Arc::clone(&pool));
        pool
    }
}
