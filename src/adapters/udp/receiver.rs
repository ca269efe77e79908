//! A receiving thread of the UDP front: receives a batch, answers what is known, hands on what has
//! to wait, sends the answers, and begins anew.
//!
//! | query | what happens |
//! |---|---|
//! | too long, or from an address that cannot be answered | dropped |
//! | from a client that is not allowed to ask | dropped |
//! | a health check from this host | answered, whichever clients are allowed |
//! | known, also stale or as a failure | answered in this batch |
//! | has to wait for an upstream | handed to `udp/deferred.rs` |
//! | has to wait, but the queue is full | it, or one of a heavier client, is answered: stale, else SERVFAIL |
//!
//! Nothing on the way of a known answer locks or allocates.

use std::io;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::batch::Batch;
use super::deferred::DeferredQuery;
use super::handover::{Crowded, Handover};
use crate::core::answer::ClientTransport;
use crate::core::special;
use crate::memory::thread_cache::ThreadCache;
use crate::resolver::Resolver;
use crate::resolver::front::{Arrival, Disposition};
use crate::resolver::ports::AccessList;
use crate::telemetry::events;
use crate::telemetry::tally::{Answered, Shed, Tally};
use crate::telemetry::tasks::LongTask;

/// How long a thread pauses after an error of its socket or a panic.
const PAUSE: Duration = Duration::from_millis(10);

/// The state that all receiving threads of the front share.
pub(super) struct FrontState {
    pub(super) resolver: Arc<Resolver>,
    pub(super) allowed: AccessList,
    /// Takes queries that have to wait for an upstream.
    pub(super) deferred: Arc<Handover<DeferredQuery>>,
    /// Set when the threads shall end.
    pub(super) stop: AtomicBool,
    /// When the last query came that was no health check, in microseconds; shutdown waits until
    /// there have been none for a while.
    pub(super) last_query: AtomicU64,
}

/// Serves one socket until the front is stopped, and starts anew after a panic: one bad packet must
/// not end the service.
pub(super) fn run(state: &FrontState, socket: &Arc<UdpSocket>, tally: &Tally) {
    while !state.stop.load(Ordering::Relaxed) {
        let outcome = catch_unwind(AssertUnwindSafe(|| serve(state, socket, tally)));
        if outcome.is_err() {
            state.resolver.vitals().restarts().count(LongTask::UdpReceiver);
            events::ThreadRestarted { thread: LongTask::UdpReceiver.label(), reason: "panic" }.emit();
            std::thread::sleep(PAUSE);
        }
    }
}

/// Receives, answers and sends, batch by batch, until the front is stopped.
fn serve(state: &FrontState, socket: &Arc<UdpSocket>, tally: &Tally) {
    let mut batch = Batch::new();
    let mut thread_cache = ThreadCache::new();
    let bound = socket.local_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip());
    while !state.stop.load(Ordering::Relaxed) {
        let received = match batch.receive(socket.as_fd()) {
            Ok(received) => received,
            // No datagram came within the socket's receive timeout: time to look at `stop`.
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => continue,
            Err(_) => {
                // Usually an ICMP error that belongs to an answer sent earlier. The pause keeps the
                // thread from spinning on an error that stays.
                std::thread::sleep(PAUSE);
                continue;
            }
        };
        // One reading of the clock serves the whole batch.
        let now = state.resolver.now();
        let mut asked = false;
        for index in 0..received {
            let Some((packet, envelope, out)) = batch.exchange(index) else {
                tally.count(Answered::Dropped);
                continue;
            };
            // The process that restarts holdover when it is ill asks from this host, and is
            // answered whichever clients are allowed.
            let health_check = special::is_health_check(packet);
            let is_allowed = (health_check && envelope.is_from_here(bound)) || (state.allowed)(envelope.client.ip());
            if !is_allowed {
                tally.count(Answered::NotAllowed);
                continue;
            }
            asked |= !health_check;
            let arrival = Arrival { packet, transport: ClientTransport::Udp, client: envelope.client, now };
            match state.resolver.receive(arrival, tally, &mut thread_cache, out) {
                Disposition::Answered(length) => batch.queue(&envelope, length),
                Disposition::Dropped => {}
                Disposition::Waiting(waiting) => {
                    let deferred = DeferredQuery { waiting, socket: Arc::clone(socket), envelope };
                    let client = state.resolver.sharing().identify(envelope.client.ip(), now);
                    if let Err(Crowded { client, query }) = state.deferred.put(client, deferred) {
                        state.resolver.sharing().note_shed(client, Shed::Arrival);
                        query.shed(&state.resolver, tally);
                    }
                }
            }
        }
        batch.send(socket.as_fd());
        if asked {
            state.last_query.store(now.as_micros(), Ordering::Relaxed);
        }
    }
}
