//! One connection to one upstream, driven by one task: queries go out, and responses come back in
//! any order (RFC 7766 §6.2.1.1).
//!
//! The task ends when the connection does: when it cannot be set up, when the upstream closes it,
//! when it is silent or idle for too long, or when the pool has removed it and nothing is
//! outstanding. Which query a response belongs to is decided in `stream/queries.rs`.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;

use hickory_resolver::net::NetError;
use hickory_resolver::net::xfer::DnsClientStream;
use hickory_resolver::proto::op::SerialMessage;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::connect::{Connect, OpenConnection};
use super::queries::{OutstandingQueries, StreamQuery};
use crate::adapters::upstream::cause::cause;
use crate::adapters::upstream::limits::StreamLimits;
use crate::resolver::ports::{Endpoint, TransportError};
use crate::telemetry::tally::{UpstreamCounters, UpstreamTraffic};

/// Sets up the connection and serves `queries` on it until it ends. Every exchange that still waits
/// then gets the reason.
pub(super) async fn run<C: Connect>(
    connector: C,
    endpoint: Endpoint,
    limits: StreamLimits,
    counters: Arc<UpstreamCounters>,
    mut queries: mpsc::Receiver<StreamQuery>,
) {
    counters.count(UpstreamTraffic::TcpConnection);
    let upstream = endpoint.address;
    let mut outstanding = OutstandingQueries::new(limits, counters);
    let connecting = connector.connect(endpoint, limits.connect);
    let end = match set_up(connecting, &mut queries, &mut outstanding).await {
        Ok(connection) => converse(connection, upstream, &mut queries, &mut outstanding).await,
        Err(error) => cause_of(&error),
    };
    // The queue is closed before any exchange gets the reason, so that an exchange that tries again
    // finds or makes another connection instead of this one.
    queries.close();
    while let Some(query) = queries.recv().await {
        outstanding.add(query);
    }
    outstanding.end(end);
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

/// Carries queries and responses until the connection ends, and returns the reason of the end.
async fn converse<I: DnsClientStream>(
    connection: OpenConnection<I>,
    upstream: SocketAddr,
    queries: &mut mpsc::Receiver<StreamQuery>,
    outstanding: &mut OutstandingQueries,
) -> TransportError {
    let OpenConnection { mut incoming, mut outgoing } = connection;
    // First go the queries that came while the connection was being set up.
    for id in outstanding.restart() {
        outstanding.send(id, upstream, &mut outgoing);
    }
    // The pool has removed this connection once all senders of the queue are gone; what is
    // outstanding then is still answered.
    let mut may_get_queries = true;
    loop {
        if !may_get_queries && outstanding.is_empty() {
            return TransportError::Lost;
        }
        tokio::select! {
            message = next_message(&mut incoming) => match message {
                Some(Ok(message)) => match outstanding.settle(message.into_parts().0) {
                    Ok(()) => (),
                    Err(end) => return end,
                },
                Some(Err(error)) => return cause_of(&error),
                None => return TransportError::Lost,
            },
            query = queries.recv(), if may_get_queries => match query {
                Some(query) => {
                    let id = outstanding.add(query);
                    outstanding.send(id, upstream, &mut outgoing);
                }
                None => may_get_queries = false,
            },
            () = sleep_until(outstanding.next_deadline()) => match outstanding.expire(Instant::now()) {
                Ok(()) => (),
                Err(end) => return end,
            },
        }
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
