//! Queries over UDP that have to wait for an upstream: each waits in a task of its own on tokio,
//! and its answer leaves through the socket on which the query came.
//!
//! The number of tasks is bounded, and clients share it. A query beyond the bound is answered with
//! what is there: stale, else SERVFAIL. That is the new query, or the youngest one of the client
//! that has most queries waiting ([`crate::resolver::sharing`]).

use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::batch;
use super::envelope::Envelope;
use super::handover::Handover;
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

    /// Answers with what is there, since there is no room for the query.
    pub(super) fn shed(&self, resolver: &Resolver, tally: &Tally) {
        let mut answer = [0; UDP_MAX];
        let length = resolver.shed(&self.waiting, tally, &mut answer);
        self.answer(answer.get_mut(..length).unwrap_or_default());
    }
}

/// Answers all queries until no more can come and all have been answered.
pub(super) async fn complete(queue: Arc<Handover<DeferredQuery>>, resolver: Arc<Resolver>, tally: Arc<Tally>) {
    let mut tasks = JoinSet::new();
    while let Some((client, query)) = queue.next().await {
        while tasks.try_join_next().is_some() {}
        let Some(place) = resolver.sharing().take_place(client) else {
            query.shed(&resolver, &tally);
            continue;
        };
        let (resolver, tally) = (Arc::clone(&resolver), Arc::clone(&tally));
        tasks.spawn(async move {
            tokio::select! {
                biased;
                mut answer = resolver.complete(&query.waiting, &tally) => query.answer(&mut answer),
                // A query of a client with fewer of them has the place.
                () = place.lost() => query.shed(&resolver, &tally),
            }
        });
    }
    while tasks.join_next().await.is_some() {}
}
