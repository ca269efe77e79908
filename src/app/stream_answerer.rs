//! The part of the TCP front that has the resolver answer the queries of clients.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::core::special;
use crate::core::time::Timestamp;
use crate::resolver::Resolver;
use crate::resolver::ports::{Answer, PortFuture};
use crate::telemetry::tally::Tally;

/// Passes queries from TCP connections to the resolver, counts them, and notes when the last one
/// came.
pub(super) struct StreamAnswerer {
    resolver: Arc<Resolver>,
    tally: Arc<Tally>,
    /// When the last query came that was no health check, in microseconds.
    last_query: AtomicU64,
}

impl StreamAnswerer {
    /// An answerer that has counted nothing; the last query counts as received now.
    pub(super) fn new(resolver: &Arc<Resolver>) -> Arc<Self> {
        Arc::new(Self {
            resolver: Arc::clone(resolver),
            tally: Arc::default(),
            last_query: AtomicU64::new(resolver.now().as_micros()),
        })
    }

    /// The counters of all queries over TCP.
    pub(super) const fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// When the last query came that was no health check.
    pub(super) fn last_query(&self) -> Timestamp {
        Timestamp::from_micros(self.last_query.load(Ordering::Relaxed))
    }
}

impl Answer for Arc<StreamAnswerer> {
    fn answer(&self, query: Vec<u8>, client: SocketAddr) -> PortFuture<Option<Vec<u8>>> {
        let answerer = Self::clone(self);
        Box::pin(async move {
            if !special::is_health_check(&query) {
                answerer.last_query.store(answerer.resolver.now().as_micros(), Ordering::Relaxed);
            }
            answerer.resolver.answer(query, client, &answerer.tally).await
        })
    }
}
