//! A running sidecar as its owner sees it: its addresses and its resolver, its drain and its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::fronts::Fronts;
use crate::adapters::admin::AdminThread;
use crate::adapters::state_file::StateFile;
use crate::config::settings::Drain;
use crate::resolver::Resolver;
use crate::telemetry::events;

/// How often draining looks whether queries still come.
const DRAIN_LOOK_EVERY: Duration = Duration::from_millis(100);

/// A running sidecar. Call [`stop`](Self::stop) to end it in order.
pub struct Running {
    pub(super) resolver: Arc<Resolver>,
    pub(super) fronts: Fronts,
    pub(super) addresses: Vec<SocketAddr>,
    /// Has the host's `resolv.conf` read again at once.
    pub(super) look_again: Arc<Notify>,
    pub(super) admin: Option<AdminThread>,
    pub(super) state_file: Option<StateFile>,
}

impl Running {
    /// The addresses on which the sidecar listens, with their final ports.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Reads the host's `resolv.conf` again at once, if the upstreams come from it.
    pub fn look_again(&self) {
        self.look_again.notify_one();
    }

    /// The resolver, through which the drill and tests look at upstreams and memory.
    #[must_use]
    pub const fn resolver(&self) -> &Arc<Resolver> {
        &self.resolver
    }

    /// Waits until no query but health checks has come for [`Drain::idle`], and at most for
    /// [`Drain::at_most`]. Queries are answered all the while.
    ///
    /// Cancel safe.
    pub async fn drain(&self, drain: &Drain) {
        let began = self.resolver.now();
        loop {
            let now = self.resolver.now();
            let idle = now.since(self.fronts.last_query().max(began));
            let left = drain.idle.saturating_sub(idle).min(drain.at_most.saturating_sub(now.since(began)));
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(DRAIN_LOOK_EVERY)).await;
        }
    }

    /// Ends the sidecar: first the fronts, then all work that goes on without clients, then the
    /// admin interface; the state file is written last. Queries that wait have half of `within`,
    /// and the state file the other half.
    pub async fn stop(mut self, within: Duration) {
        let half = within / 2;
        let _late = tokio::time::timeout(half, self.fronts.stop()).await;
        self.resolver.stop();
        if let Some(admin) = self.admin.take() {
            admin.stop();
        }
        if let Some(state_file) = self.state_file.take() {
            state_file.finish(half).await;
        }
        events::Stopped { answered: self.fronts.answered() }.emit();
    }
}
