//! Queries over UDP that have to wait for an upstream: each waits in a task of its own on tokio,
//! and its answer leaves through the socket on which the query came.
//!
//! The number of tasks is bounded; a query beyond the bound is answered with what is there: stale,
//! else SERVFAIL.

use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::batch;
use super::envelope::Envelope;
use crate::core::answer::UDP_MAX;
use crate::resolver::{Resolver, Waiting};
use crate::telemetry::tally::Tally;

/// A query on its way from a receiving thread into tokio, with everything that its answer needs.
pub(super) struct DeferredQuery {
    pub(super) waiting: Box<Waiting>,
    /// The socket on which the query came.
    pub(super) socket: Arc<UdpSocket>,
    pub(super) envelope: Envelope,
}

impl DeferredQuery {
    /// Sends the answer. An answer that the kernel refuses is lost like any datagram, and the
    /// client asks again.
    fn answer(&self, answer: &mut [u8]) {
        let _ = batch::send_one(self.socket.as_fd(), &self.envelope, answer);
    }
}

/// The queries that have to wait, in the order in which the receiving threads hand them on.
pub(super) struct DeferredQueries {
    queue: mpsc::Receiver<DeferredQuery>,
    /// Notified when the receiving threads have ended, so that no more queries can come.
    closing: Arc<Notify>,
}

impl DeferredQueries {
    pub(super) fn new(queue: mpsc::Receiver<DeferredQuery>, closing: Arc<Notify>) -> Self {
        Self { queue, closing }
    }

    /// Answers all queries, at most `at_most` at a time, until no more can come and all have been
    /// answered.
    pub(super) async fn complete(mut self, resolver: Arc<Resolver>, at_most: usize, tally: Arc<Tally>) {
        let mut tasks = JoinSet::new();
        while let Some(query) = self.next().await {
            while tasks.try_join_next().is_some() {}
            if tasks.len() >= at_most {
                let mut answer = [0; UDP_MAX];
                let length = resolver.shed(&query.waiting, &tally, &mut answer);
                query.answer(answer.get_mut(..length).unwrap_or_default());
                continue;
            }
            let (resolver, tally) = (Arc::clone(&resolver), Arc::clone(&tally));
            tasks.spawn(async move {
                let mut answer = resolver.complete(&query.waiting, &tally).await;
                query.answer(&mut answer);
            });
        }
        while tasks.join_next().await.is_some() {}
    }

    /// The next query; `None` when all that came before `closing` have been taken.
    async fn next(&mut self) -> Option<DeferredQuery> {
        if !self.queue.is_closed() {
            tokio::select! {
                query = self.queue.recv() => return query,
                () = self.closing.notified() => self.queue.close(),
            }
        }
        self.queue.recv().await
    }
}
