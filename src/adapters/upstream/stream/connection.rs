//! One connection to one upstream, driven by one task: queries go out, and responses come back in
//! any order (RFC 7766 §6.2.1.1).
//!
//! The task ends when the connection does: when it cannot be set up, when the upstream closes it,
//! when it is silent or idle for too long, when it is left, or when it was removed from the table
//! of its endpoint and nothing is outstanding. Which query a response belongs to is decided in
//! `stream/queries.rs`.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::net::NetError;
use hickory_resolver::net::xfer::DnsClientStream;
use hickory_resolver::proto::op::SerialMessage;
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, sleep_until};

use super::connect::{Connect, OpenConnection};
use super::endpoint::EndpointPool;
use super::habits::ConnectionEnd;
use super::queries::{OutstandingQueries, StreamQuery};
use super::table::ConnectionId;
use crate::adapters::upstream::cause::cause;
use crate::adapters::upstream::limits::StreamLimits;
use crate::resolver::ports::{Endpoint, TransportError};
use crate::telemetry::tally::{UpstreamCounters, UpstreamTraffic};

/// Everything that the task of one connection needs.
pub(super) struct ConnectionTask<C> {
    pub(super) connector: C,
    pub(super) endpoint: Endpoint,
    pub(super) limits: StreamLimits,
    /// How long the connection is kept while nothing is outstanding.
    pub(super) idle: Duration,
    pub(super) counters: Arc<UpstreamCounters>,
    /// The table in which the connection stands, and its place there.
    pub(super) pool: Arc<EndpointPool>,
    pub(super) id: ConnectionId,
    /// The queries that the connection is given.
    pub(super) queries: mpsc::Receiver<StreamQuery>,
    /// Notified when the connection is to end at once.
    pub(super) left: Arc<Notify>,
    /// The connection's part of the limit on all connections.
    pub(super) permit: OwnedSemaphorePermit,
    /// Notified when the connection has ended.
    pub(super) ended: Arc<Notify>,
}

/// Sets up the connection and serves its queries until it ends. Every exchange that still waits
/// then gets the reason.
pub(super) async fn run<C: Connect>(task: ConnectionTask<C>) {
    let ConnectionTask { connector, endpoint, limits, idle, counters, pool, id, mut queries, left, permit, ended } =
        task;
    counters.count(UpstreamTraffic::TcpConnection);
    let mut outstanding = OutstandingQueries::new(limits, idle, counters);
    let connecting = connector.connect(endpoint.clone(), limits.connect);
    let set_up = tokio::select! {
        set_up = set_up(connecting, &mut queries, &mut outstanding) => set_up.map_err(|error| cause_of(&error)),
        () = left.notified() => Err(TransportError::TimedOut),
    };
    let conversation = match set_up {
        Ok(connection) => {
            let served = Served { pool: &pool, id, endpoint: &endpoint };
            Ok(tokio::select! {
                end = served.converse(connection, &mut queries, &mut outstanding) => end,
                () = left.notified() => (ConnectionEnd::ByUs, TransportError::Lost),
            })
        }
        Err(cause) => Err(cause),
    };
    // The connection leaves the table and its queue is closed before any exchange gets the reason,
    // so that an exchange that tries again gets another connection instead of this one.
    let end = conversation.map_or(ConnectionEnd::NotSetUp, |(end, _)| end);
    pool.table().note_end(id, end, Instant::now());
    drop(permit);
    queries.close();
    while let Some(query) = queries.recv().await {
        outstanding.add(query);
    }
    match conversation {
        Ok((_, cause)) => outstanding.end_with_connection(cause),
        Err(cause) => outstanding.end_without_connection(cause),
    }
    pool.note_freed();
    ended.notify_waiters();
}

/// Waits until the connection is set up, and meanwhile takes in the queries that come for it.
async fn set_up<I>(
    connecting: impl Future<Output = Result<OpenConnection<I>, NetError>>,
    queries: &mut mpsc::Receiver<StreamQuery>,
    outstanding: &mut OutstandingQueries,
) -> Result<OpenConnection<I>, NetError> {
    let mut connecting = pin!(connecting);
    loop {
        tokio::select! {
            connected = &mut connecting => return connected,
            Some(query) = queries.recv() => { outstanding.add(query); }
        }
    }
}

/// A connection as the table of its endpoint knows it.
struct Served<'a> {
    pool: &'a EndpointPool,
    id: ConnectionId,
    endpoint: &'a Endpoint,
}

impl Served<'_> {
    /// Carries queries and responses until the connection ends, and returns the reason of the end.
    async fn converse<I: DnsClientStream>(
        &self,
        connection: OpenConnection<I>,
        queries: &mut mpsc::Receiver<StreamQuery>,
        outstanding: &mut OutstandingQueries,
    ) -> (ConnectionEnd, TransportError) {
        let OpenConnection { mut incoming, mut outgoing } = connection;
        let upstream = self.endpoint.address;
        self.pool.table().note_set_up(self.id, Instant::now());
        // First go the queries that came while the connection was being set up.
        for id in outstanding.restart() {
            outstanding.send(id, upstream, &mut outgoing);
        }
        // The connection was removed from its table once all senders of the queue are gone; what is
        // outstanding then is still answered.
        let mut may_get_queries = true;
        loop {
            if !may_get_queries && outstanding.is_empty() {
                return (ConnectionEnd::ByUs, TransportError::Lost);
            }
            tokio::select! {
                message = next_message(&mut incoming) => match message {
                    Some(Ok(message)) => match outstanding.settle(message.into_parts().0) {
                        Ok(took) => self.note_message(took, outstanding.len()),
                        Err(end) => return (ConnectionEnd::ByUs, end),
                    },
                    Some(Err(error)) => return (ConnectionEnd::ByUpstream, cause_of(&error)),
                    None => return (ConnectionEnd::ByUpstream, TransportError::Lost),
                },
                query = queries.recv(), if may_get_queries => match query {
                    Some(query) => {
                        let id = outstanding.add(query);
                        outstanding.send(id, upstream, &mut outgoing);
                        self.pool.table().note_sent(self.id, Instant::now());
                    }
                    None => {
                        may_get_queries = false;
                        outstanding.forget_dropped();
                    }
                },
                () = sleep_until(outstanding.next_deadline()) => match outstanding.expire(Instant::now()) {
                    Ok(()) => (),
                    Err(end) => return (ConnectionEnd::ByUs, end),
                },
            }
        }
    }

    fn note_message(&self, took: Option<Duration>, outstanding: usize) {
        self.pool.table().note_message(self.id, took, outstanding, Instant::now());
    }
}

/// The next whole message. Cancel safe: bytes that were read of a message stay in `incoming`.
async fn next_message<I: DnsClientStream>(incoming: &mut I) -> Option<Result<SerialMessage, NetError>> {
    poll_fn(|context| Pin::new(&mut *incoming).poll_next(context)).await
}

/// The meaning of an error of the connection for the exchanges that wait on it.
fn cause_of(error: &NetError) -> TransportError {
    match error {
        NetError::Io(error) => cause(error),
        NetError::Timeout => TransportError::TimedOut,
        _ => TransportError::Lost,
    }
}
