//! The watch over the host's `resolv.conf` from which the upstreams come: its changes are applied
//! while holdover runs.
//!
//! | the file | what happens |
//! |---|---|
//! | names other upstreams than before, and is the same 200 ms later | the new upstreams replace the former ones |
//! | is empty, cut off, gone, unreadable, or names only holdover | the last good upstreams are kept |
//! | is empty, cut off, gone or unreadable at the start already | remembered answers are served |
//! | is unchanged | nothing |
//!
//! Upstreams that are in both files keep their state, and nothing remembered is lost. One that is
//! asked over another transport from now on (`options use-vc`) is another upstream. That the last
//! good upstreams are kept is logged once. Without any upstream at the start, health checks wait
//! for one as they do for critical names.
//!
//! The file is read again and again rather than watched for events: it may be replaced by rename
//! (kubelet, NetworkManager), truncated and written in place (Docker), or mounted over, and an
//! inotify watch follows none of these by itself. It is a small file in the page cache.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::patient_read::{HANGS, PatientReads};
use crate::adapters::resolv_conf::{self, HostNameservers, ResolvConfError};
use crate::config::settings::Settings;
use crate::core::upstream::{Role, UpstreamPolicy};
use crate::resolver::Resolver;
use crate::telemetry::events;
use crate::telemetry::tasks::LongTask;

/// How often the file is read: with [`SETTLE`], a change is applied within 5 s.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A change counts when the file is still the same after this long. While a program writes the file
/// in place, half of it may be seen, with half an address.
const SETTLE: Duration = Duration::from_millis(200);

/// The upstream that stands for the name servers of a `resolv.conf`.
#[must_use]
pub fn upstream(found: HostNameservers) -> UpstreamPolicy {
    UpstreamPolicy { transport: found.transport, ..UpstreamPolicy::plain("resolv.conf", found.addresses) }
}

/// Watches the `resolv.conf` for as long as the resolver runs, if the upstreams come from one;
/// `own` are the addresses on which holdover listens. A notification of the returned handle has the
/// file read at once.
pub(super) fn start(settings: &Settings, own: &[SocketAddr], resolver: &Arc<Resolver>) -> Arc<Notify> {
    let look_again = Arc::new(Notify::new());
    if let Some(path) = &settings.resolv_conf {
        let is_from_file = |upstream: &&UpstreamPolicy| upstream.zones.is_empty() && upstream.role == Role::Primary;
        let current = settings.upstreams.iter().find(is_from_file).map_or(HostNameservers::NONE, |upstream| {
            HostNameservers { addresses: upstream.addresses.clone(), transport: upstream.transport }
        });
        let watch = HostUpstreamsWatch { path: path.clone(), own: own.to_vec(), current };
        let (own, notified) = (Arc::clone(resolver), Arc::clone(&look_again));
        resolver.supervise(LongTask::ResolvConf, move || watch.clone().run(Arc::clone(&own), Arc::clone(&notified)));
    }
    look_again
}

/// The watch over a `resolv.conf`.
#[derive(Clone)]
struct HostUpstreamsWatch {
    path: PathBuf,
    /// The addresses on which holdover listens.
    own: Vec<SocketAddr>,
    /// The upstreams that are in use.
    current: HostNameservers,
}

impl HostUpstreamsWatch {
    /// Watches the file until the task is dropped; `look_again` has the file read at once.
    async fn run(mut self, resolver: Arc<Resolver>, look_again: Arc<Notify>) {
        // The error that was logged last, until the file can be read again.
        let mut complaint = None;
        let mut reads = PatientReads::new();
        let mut wait = if self.current.addresses.is_empty() { Duration::ZERO } else { LOOK_EVERY };
        loop {
            let _ = tokio::time::timeout(wait, look_again.notified()).await;
            wait = LOOK_EVERY;
            let found = self.read(&mut reads).await;
            if found.as_ref().is_ok_and(|found| *found == self.current) {
                complaint = None;
                continue;
            }
            // The file has changed or cannot be read. Read it once more after a moment; only a
            // result that is the same both times counts.
            tokio::time::sleep(SETTLE).await;
            match (found, self.read(&mut reads).await) {
                (Ok(before), Ok(found)) if before == found => {
                    complaint = None;
                    self.apply(&resolver, found);
                }
                (Err(before), Err(reason)) if before == reason && complaint.as_ref() != Some(&reason) => {
                    events::HostUpstreamsUnusable {
                        path: &self.path,
                        reason: &reason,
                        kept: self.current.addresses.len(),
                    }
                    .emit();
                    complaint = Some(reason);
                }
                // The file still changes, or its error was logged before.
                _ => {}
            }
        }
    }

    fn apply(&mut self, resolver: &Arc<Resolver>, found: HostNameservers) {
        resolver.replace_upstream(&upstream(found.clone()));
        self.current = found;
        let labels: Vec<String> = resolver.upstreams().all().iter().map(|upstream| upstream.label.clone()).collect();
        events::HostUpstreamsChanged { path: &self.path, upstreams: &labels }.emit();
    }

    /// Reads the file on a thread that may block, so that no query waits for a disk.
    async fn read(&self, reads: &mut PatientReads<Result<HostNameservers, String>>) -> Result<HostNameservers, String> {
        let (path, own) = (self.path.clone(), self.own.clone());
        let work = move || resolv_conf::read(&path, &own).map_err(|error: ResolvConfError| error.to_string());
        let hangs = || Err(format!("{}: {HANGS}", self.path.display()));
        reads.read(work).await.unwrap_or_else(hangs)
    }
}
