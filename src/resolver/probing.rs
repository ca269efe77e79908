//! Probes: one task for each upstream asks it a witness whenever its health wants one, so that
//! suspicion becomes a verdict at once and the upstream's return is noticed even when no client
//! asks. The same task looks for forwarding loops.
//!
//! | the upstream | the task |
//! |---|---|
//! | healthy | sleeps until the state changes or a witness is wanted |
//! | healthy, and left out because it sent our own queries back | looks for the loop once a minute |
//! | suspected, impaired, down | asks witnesses at the pace of its health ([`crate::core::health`]) |
//! | impaired, down | looks for a loop once a minute |
//! | no longer configured | ends |
//!
//! A witness is no resolution: clients do not join it, other upstreams' witnesses do not either,
//! and its answer is not remembered, since in a group whose upstreams have different views it might
//! not be the one that clients would get.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::context::Context;
use super::loops::Loops;
use super::ports::{PortFuture, TransportError};
use super::upstreams::Upstream;
use super::walks;
use crate::core::budget::Class;
use crate::core::classify::{self, Verdict};
use crate::core::edns::{self, OptPlace};
use crate::core::health::{Testimony, UpstreamState};
use crate::core::key::Key;
use crate::core::time::Timestamp;
use crate::core::upstream::{Role, UpstreamId};
use crate::core::upstream_query::{self, Extension};
use crate::core::witness::{Witness, WitnessStanding};
use crate::telemetry::events;

/// How long an upstream that sent our queries back is left out before it is tried again.
const LOOP_FOR: Duration = Duration::from_secs(60);
/// How long a query that looks for a loop may take to come back.
const LOOP_WAIT: Duration = Duration::from_secs(1);
/// The same after one that came back too late: as long as clients wait for an answer.
const LOOP_WAIT_LONG: Duration = Duration::from_secs(5);
/// How long the late answer of a witness is listened for: as long as clients wait for an answer.
const LATE_WAIT: Duration = Duration::from_secs(5);
/// Witnesses of one upstream whose late answers are listened for at the same time; at one a second
/// these are all.
const LATE_MAX: usize = 8;

/// Names of each kind that are offered as witnesses.
const OFFERED: usize = 8;

/// The answer to a witness that is on its way.
type Exchange = PortFuture<Result<Vec<u8>, TransportError>>;

/// Probes one upstream for as long as it is configured.
pub(super) struct Prober {
    pub(super) context: Arc<Context>,
    pub(super) loops: Arc<Loops>,
    pub(super) upstream: UpstreamId,
}

impl Prober {
    /// Runs until the upstream is no longer configured.
    pub(super) async fn run(self) {
        let Some(own) = self.context.upstreams.find(self.upstream) else { return };
        self.look_for_loop().await;
        let mut looked_for_loop = self.context.now();
        let late = Arc::new(Semaphore::new(LATE_MAX));
        while !own.is_retired() {
            // Sleep for as long as the health allows.
            let chance = self.context.ports.chance.number();
            let wanted = self.context.upstreams.next_witness(self.upstream, chance, self.context.now());
            let pause = match wanted {
                Some(pause) => pause,
                None if own.is_left_out() => LOOP_FOR,
                None => {
                    own.changed.notified().await;
                    continue;
                }
            };
            tokio::select! {
                biased;
                // Another state has another pace.
                () = own.changed.notified() => continue,
                () = tokio::time::sleep(pause) => {}
            }
            // A loop may have begun or ended since the last look.
            let is_ill = own.state() != UpstreamState::Healthy || own.is_left_out();
            if is_ill && self.context.now().since(looked_for_loop) >= LOOP_FOR {
                looked_for_loop = self.context.now();
                self.look_for_loop().await;
            }
            // An upstream in a loop is asked nothing: its answers would be our own.
            if wanted.is_some() && !self.context.upstreams.is_looping(self.upstream, self.context.now()) {
                if is_ill && own.role == Role::Primary && self.context.upstreams.lacks_witnesses(self.upstream) {
                    self.offer_witnesses(&own).await;
                }
                self.ask_witness(&own, &late).await;
            }
        }
    }

    /// Offers an upstream that has answered nothing yet what it is asked anyway: names that are
    /// remembered from an earlier run, and names that clients ask for in vain.
    async fn offer_witnesses(&self, own: &Upstream) {
        let Some(id) = own.group() else { return };
        let stale = walks::hottest_stale(&self.context, id, OFFERED).await;
        let mut keys: Vec<Key> = stale.map(|(key, _)| key).collect();
        if let Some(group) = self.context.upstreams.group(id) {
            keys.extend(group.recoveries.some_troubled(OFFERED));
        }
        self.context.upstreams.offer_witnesses(self.upstream, &keys);
    }

    /// Asks the upstream a witness, and waits for it as long as an answer is one in time. `late`
    /// has a permit for each late answer that may be listened for.
    async fn ask_witness(&self, own: &Upstream, late: &Arc<Semaphore>) {
        let (context, now) = (&self.context, self.context.now());
        let Some((witness, patience)) = context.upstreams.ask_witness(self.upstream, now) else { return };
        let target = context.upstreams.target(self.upstream, Class::Probe, now);
        if context.packets.take(Class::Probe, target.transport.packets(), now).is_err() {
            return;
        }
        let [high, low, ..] = context.ports.chance.number().to_be_bytes();
        let extension = context.upstreams.witness_extension(self.upstream, now);
        let query = upstream_query::write(&witness.key, u16::from_be_bytes([high, low]), extension);
        let mut exchange = context.ports.transport.exchange(&own.endpoint, query);
        let sent = Instant::now();
        let testimony = match timeout(patience, &mut exchange).await {
            Ok(Ok(response)) => of_response(&witness, &response),
            // That our own side is short of something is no evidence.
            Ok(Err(TransportError::Exhausted)) => return,
            Ok(Err(TransportError::TimedOut)) => Testimony::Silent,
            Ok(Err(TransportError::Refused | TransportError::Unreachable | TransportError::Lost)) => Testimony::Failed,
            Err(_) => {
                if let Ok(permit) = Arc::clone(late).try_acquire_owned() {
                    let listener =
                        LateAnswer { context: Arc::clone(context), upstream: self.upstream, extension, exchange, sent };
                    context.tasks.spawn(listener.listen(witness.key.clone(), permit));
                }
                Testimony::Silent
            }
        };
        context.upstreams.note_witness_extension(self.upstream, &witness.key, extension, testimony, context.now());
        testify(context, self.upstream, &witness.key, testimony, sent.elapsed());
    }

    /// Asks the upstream for a name that only this process knows; if that query arrives here, the
    /// upstream is left out for [`LOOP_FOR`].
    async fn look_for_loop(&self) {
        let context = &self.context;
        let Some(own) = context.upstreams.find(self.upstream) else { return };
        if context.packets.take_uncounted(Class::Probe, context.now()).is_err() {
            return;
        }
        // Only this process knows the name in the query.
        let [high, low, ..] = context.ports.chance.number().to_be_bytes();
        let look = self.loops.begin(self.upstream, context.ports.chance.number());
        let query = upstream_query::write(&look.key, u16::from_be_bytes([high, low]), Extension::Plain);
        let exchange = context.ports.transport.exchange(&own.endpoint, query);
        // The response does not matter, only whether the query arrived at our own front.
        let wait = if look.was_late { LOOP_WAIT_LONG } else { LOOP_WAIT };
        let _ = timeout(wait, exchange).await;
        if self.loops.take(self.upstream) {
            if context.upstreams.note_loop(self.upstream, context.now().plus(LOOP_FOR)) {
                events::LoopFound { upstream: &own.label }.emit();
            }
        } else {
            context.upstreams.clear_loop(self.upstream);
        }
    }
}

/// The answer of a witness that was not answered in time.
struct LateAnswer {
    context: Arc<Context>,
    upstream: UpstreamId,
    /// How the witness was asked.
    extension: Extension,
    exchange: Exchange,
    sent: Instant,
}

impl LateAnswer {
    /// Listens for the answer: when it comes, the upstream is not silent. `_permit` is held as
    /// long.
    async fn listen(self, key: Key, _permit: tokio::sync::OwnedSemaphorePermit) {
        if let Ok(Ok(_)) = timeout(LATE_WAIT, self.exchange).await {
            let upstreams = &self.context.upstreams;
            let now = self.context.now();
            upstreams.note_witness_extension(self.upstream, &key, self.extension, Testimony::Late, now);
            testify(&self.context, self.upstream, &key, Testimony::Late, self.sent.elapsed());
        }
    }
}

/// What a response in time says about the upstream.
fn of_response(witness: &Witness, response: &[u8]) -> Testimony {
    let is_answer = match classify::classify(witness.key.qtype(), response) {
        Verdict::Positive { .. } | Verdict::Negative { .. } | Verdict::Truncated => {
            edns::opt_of(response) != OptPlace::Elsewhere
        }
        Verdict::Failed(_) => false,
    };
    match (is_answer, witness.standing) {
        (true, _) => Testimony::InTime,
        (false, WitnessStanding::Proven) => Testimony::Unusable,
        (false, WitnessStanding::Unproven) => Testimony::Inconclusive,
    }
}

/// Reports a testimony. When that brings the upstream back, no client may join a resolution that
/// gave up before.
fn testify(context: &Arc<Context>, upstream: UpstreamId, key: &Key, testimony: Testimony, after: Duration) {
    let now: Timestamp = context.now();
    let transition = context.upstreams.testify(upstream, key, testimony, after, now);
    if transition.is_some_and(|transition| transition.to < transition.from) {
        context.release_flights(|_| true);
    }
}
