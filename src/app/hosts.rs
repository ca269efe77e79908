//! Reads the hosts file at the start, and again when it changes.
//!
//! | the file | what happens |
//! |---|---|
//! | is another than before, and the same a moment later | it takes the place of what was |
//! | is gone, unreadable, or too large | what it said last goes on being answered, and that is said once |
//! | has lines that are not understood | they are left out, and told once, with their numbers |
//!
//! Its stamp is looked at rather than its events awaited, for the reasons of [`super::host`]; its
//! content only when the stamp is new.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::adapters::hosts::{self, HostsError, Stamp};
use crate::core::hosts::ParsedHosts;
use crate::resolver::Resolver;
use crate::telemetry::events;

/// How often the file is looked at: with [`SETTLE`], a change is answered within 3 s.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A change counts when nothing has changed for this long: whoever writes in place is not read in
/// the middle.
const SETTLE: Duration = Duration::from_millis(200);

/// Reads a hosts file into a resolver, and lets it watch the file for as long as it runs.
pub(super) fn start(path: PathBuf, resolver: &Arc<Resolver>) {
    let mut watched = Watched { path, seen: None, complaint: None };
    let found = hosts::stamp(&watched.path).and_then(|stamp| Ok((stamp, hosts::read(&watched.path)?)));
    watched.take_up(resolver, found);
    resolver.spawn(watched.watch(Arc::clone(resolver)));
}

/// The file.
struct Watched {
    /// Where it is.
    path: PathBuf,
    /// What was read last.
    seen: Option<Stamp>,
    /// What was said last about it.
    complaint: Option<String>,
}

impl Watched {
    /// Watches until it is dropped.
    async fn watch(mut self, resolver: Arc<Resolver>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let path = self.path.clone();
            let Some(before) = beside(move || hosts::stamp(&path)).await else { continue };
            if before.as_ref().is_ok_and(|stamp| self.seen == Some(*stamp)) {
                self.complaint = None;
                continue;
            }
            tokio::time::sleep(SETTLE).await;
            let path = self.path.clone();
            let found = beside(move || {
                let (read, after) = (hosts::read(&path)?, hosts::stamp(&path)?);
                Ok((after, read))
            });
            match (before, found.await) {
                // Still moving: looked at again.
                (Ok(before), Some(Ok((after, _)))) if before != after => {}
                (_, Some(found)) => self.take_up(&resolver, found),
                (_, None) => {}
            }
        }
    }

    /// Lets what was found be answered, or says why not.
    fn take_up(&mut self, resolver: &Resolver, found: Result<(Stamp, ParsedHosts), HostsError>) {
        match found {
            Ok((stamp, ParsedHosts { hosts, mistakes, wrong })) => {
                let mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
                events::HostsRead { path: &self.path, names: hosts.names(), wrong, mistakes: &mistakes }.emit();
                resolver.replace_hosts(hosts);
                (self.seen, self.complaint) = (Some(stamp), None);
            }
            Err(error) => {
                let reason = error.to_string();
                if self.complaint.as_ref() != Some(&reason) {
                    events::HostsUnusable { path: &self.path, reason: &reason }.emit();
                }
                self.complaint = Some(reason);
            }
        }
    }
}

/// Does something that may wait for a disk away from the thread that answers.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}
