//! Probes: one task for each upstream asks it for as long as it is not healthy, so that its return
//! is noticed even when no client asks. The same task looks for forwarding loops.
//!
//! | the upstream | the task |
//! |---|---|
//! | healthy | sleeps until the state changes |
//! | healthy, and left out because it sent our own queries back | looks for the loop once a minute |
//! | impaired, down | probes at the pace of its health ([`crate::core::health`]) and looks for a loop once a minute |
//! | no longer configured | ends |

use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use super::critical::stale_critical_names;
use super::loops::Loops;
use super::resolutions;
use crate::core::budget::Class;
use crate::core::decision::Availability;
use crate::core::health::UpstreamState;
use crate::core::key::{Dnssec, Key};
use crate::core::message::{CLASS_IN, TYPE_NS};
use crate::core::time::Timestamp;
use crate::core::upstream::{GroupId, Role, UpstreamId};
use crate::core::upstream_query::{self, Extension};
use crate::telemetry::events;

/// How long a prober uses the same list of hot names; making one walks the whole store.
const CANDIDATES_FOR: Duration = Duration::from_secs(30);
/// The largest number of names in that list.
const CANDIDATES_MAX: usize = 64;
/// How long an upstream that sent our queries back is left out before it is tried again.
const LOOP_FOR: Duration = Duration::from_secs(60);
/// How long a query that looks for a loop may take to come back.
const LOOP_WAIT: Duration = Duration::from_secs(1);

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
        let mut candidates = Candidates::default();
        while !own.is_retired() {
            // Sleep for as long as the state allows.
            let pause = match own.state() {
                UpstreamState::Healthy if !own.is_left_out() => {
                    own.changed.notified().await;
                    candidates = Candidates::default();
                    continue;
                }
                UpstreamState::Healthy => LOOP_FOR,
                UpstreamState::Impaired | UpstreamState::Down => {
                    self.context.upstreams.next_probe(self.upstream, self.context.ports.chance.number())
                }
            };
            tokio::select! {
                biased;
                // Another state has another pace.
                () = own.changed.notified() => continue,
                () = tokio::time::sleep(pause) => {}
            }
            // A loop may have begun or ended since the last look.
            if self.context.now().since(looked_for_loop) >= LOOP_FOR {
                looked_for_loop = self.context.now();
                self.look_for_loop().await;
            }
            // An upstream in a loop is not probed: its answers would be our own.
            let in_loop = self.context.upstreams.is_looping(self.upstream, self.context.now());
            if own.state() != UpstreamState::Healthy && !in_loop {
                let key = match (own.role, own.group()) {
                    (Role::Primary, Some(group)) => candidates.pick(&self.context, group),
                    (Role::Primary, None) | (Role::Fallback, _) => root_servers(),
                };
                resolutions::probe(&self.context, self.upstream, key);
            }
        }
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
        let key = self.loops.query(self.upstream);
        let query = upstream_query::write(&key, u16::from_be_bytes([high, low]), Extension::Plain);
        let exchange = context.ports.transport.exchange(&own.endpoint, query);
        // The response does not matter, only whether the query arrived at our own front.
        let _ = tokio::time::timeout(LOOP_WAIT, exchange).await;
        if self.loops.take(self.upstream) {
            if context.upstreams.note_loop(self.upstream, context.now().plus(LOOP_FOR)) {
                events::LoopFound { upstream: &own.label }.emit();
            }
        } else {
            context.upstreams.clear_loop(self.upstream);
        }
    }
}

/// Hot stale names to probe with.
#[derive(Default)]
struct Candidates {
    keys: Vec<Key>,
    /// When the keys were chosen.
    chosen: Timestamp,
    /// Counts up; the remainder is the position of the next key.
    next: usize,
}

impl Candidates {
    /// The next name that is not being asked for anyway: different names in turn, so that an
    /// upstream which caches cannot answer all of them from memory; the root's name servers when
    /// there is no name.
    fn pick(&mut self, context: &Context, group: GroupId) -> Key {
        let now = context.now();
        // While another upstream of the group is healthy, clients would join the probe and wait for
        // this one.
        if context.upstreams.availability(group) == Availability::Healthy {
            return root_servers();
        }
        if self.keys.is_empty() || now.since(self.chosen) >= CANDIDATES_FOR {
            let critical = stale_critical_names(context, group, now);
            let hottest = context.memory.store().hottest_stale(Some(group), CANDIDATES_MAX, now);
            self.keys = critical.into_iter().chain(hottest).map(|(key, _)| key).collect();
            self.chosen = now;
        }
        for _ in 0..self.keys.len() {
            self.next = self.next.wrapping_add(1);
            let key = self.next.checked_rem(self.keys.len()).and_then(|index| self.keys.get(index));
            if let Some(key) = key.filter(|key| !context.flights.contains(key)) {
                return key.clone();
            }
        }
        root_servers()
    }
}

/// The question for the root's name servers, which every resolver can answer. A fallback is probed
/// with no other question, since its answers for names that other upstreams serve (private names,
/// say) are not wanted.
fn root_servers() -> Key {
    Key::new(&[0], TYPE_NS, CLASS_IN, Dnssec::default())
}
