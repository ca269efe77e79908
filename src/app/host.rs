//! Watches the `resolv.conf` from which the upstreams come, and takes up what changes in it.
//!
//! | the file | what happens |
//! |---|---|
//! | names others than before, and says the same a moment later | they are taken up: whoever stays keeps its state, nothing remembered is lost |
//! | is empty, cut off, gone, unreadable, or names only holdover | the last good ones are kept, and that is said once |
//! | is so at the start already | what is remembered is served; health checks wait for an upstream as they do for critical names |
//! | is as before | nothing |
//!
//! It is read again rather than watched for events: it may be replaced by rename (kubelet,
//! NetworkManager), truncated and written in place (Docker), or mounted over, and inotify follows
//! none of these by itself. It is a small file in the page cache.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::adapters::resolv_conf::{self, ResolvConfError};
use crate::core::upstream::{Role, Transport, UpstreamPolicy};
use crate::resolver::Resolver;
use crate::telemetry::events;

/// How often the file is read: with [`SETTLE`], a change is taken up within 5 s.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A change counts when it is still the same after this long: whoever writes in place is seen at
/// half of it, with half an address.
const SETTLE: Duration = Duration::from_millis(200);

/// The upstream that stands for the name servers of a `resolv.conf`.
#[must_use]
pub fn upstream(addresses: Vec<SocketAddr>) -> UpstreamPolicy {
    UpstreamPolicy {
        name: "resolv.conf".to_owned(),
        addresses,
        transport: Transport::Udp,
        zones: Vec::new(),
        role: Role::Primary,
    }
}

/// What is watched.
pub(super) struct Watched {
    /// The file.
    pub(super) path: PathBuf,
    /// Where holdover listens.
    pub(super) own: Vec<SocketAddr>,
    /// What it said last that could be used.
    pub(super) current: Vec<SocketAddr>,
}

impl Watched {
    /// Watches until it is dropped; `again` asks for a look at once.
    pub(super) async fn watch(mut self, resolver: Arc<Resolver>, again: Arc<Notify>) {
        let mut complaint = None;
        let mut wait = if self.current.is_empty() { Duration::ZERO } else { LOOK_EVERY };
        loop {
            let _ = tokio::time::timeout(wait, again.notified()).await;
            wait = LOOK_EVERY;
            let found = self.read().await;
            if found.as_ref().is_ok_and(|found| *found == self.current) {
                complaint = None;
                continue;
            }
            tokio::time::sleep(SETTLE).await;
            match (found, self.read().await) {
                (Ok(before), Ok(found)) if before == found => {
                    complaint = None;
                    resolver.replace_upstream(&upstream(found.clone()));
                    self.current = found;
                    let labels: Vec<String> =
                        resolver.upstreams().all().iter().map(|upstream| upstream.label.clone()).collect();
                    events::HostUpstreamsChanged { path: &self.path, upstreams: &labels }.emit();
                }
                (Err(before), Err(reason)) if before == reason && complaint.as_ref() != Some(&reason) => {
                    events::HostUpstreamsUnusable { path: &self.path, reason: &reason, kept: self.current.len() }
                        .emit();
                    complaint = Some(reason);
                }
                // Still moving, or said before.
                _ => {}
            }
        }
    }

    /// Reads the file away from the thread that answers.
    async fn read(&self) -> Result<Vec<SocketAddr>, String> {
        let (path, own) = (self.path.clone(), self.own.clone());
        let read = tokio::task::spawn_blocking(move || resolv_conf::read(&path, &own)).await;
        read.map_err(|error| error.to_string())?.map_err(|error: ResolvConfError| error.to_string())
    }
}
