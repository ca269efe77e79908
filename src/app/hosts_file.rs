//! The watch over the hosts file, which is read at the start and again when it changes.
//!
//! | the file | what happens |
//! |---|---|
//! | has another stamp than before, and the same stamp 200 ms later | its content replaces the former content |
//! | is gone, unreadable, too large, or hangs | its last good content is still answered, and that is logged once |
//! | has lines that are not understood | these lines are left out, and logged once with their numbers |
//!
//! As with the host's `resolv.conf` ([`super::host_upstreams`]), the file is looked at again and
//! again rather than watched for events. Only its stamp is looked at; its content is read when the
//! stamp is new.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::patient_read::{HANGS, PatientReads, at_start};
use crate::adapters::hosts::{self, HostsError, Stamp};
use crate::core::hosts::ParsedHosts;
use crate::resolver::Resolver;
use crate::telemetry::events;
use crate::telemetry::tasks::LongTask;

/// How often the file's stamp is looked at: with [`SETTLE`], a change is answered within 3 s.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A change counts when the stamp is still the same after this long, so that a file that is written
/// in place is not read in the middle.
const SETTLE: Duration = Duration::from_millis(200);

/// Reads a hosts file into the resolver, and watches the file for as long as the resolver runs.
pub(super) fn start(path: PathBuf, resolver: &Arc<Resolver>) {
    let mut watch = HostsFileWatch { path: path.clone(), seen: None, complaint: None };
    if let Some(found) = at_start(move || hosts::stamp(&path).and_then(|stamp| Ok((stamp, hosts::read(&path)?)))) {
        watch.apply(resolver, found);
    } else {
        watch.complain(HANGS);
    }
    let own = Arc::clone(resolver);
    resolver.supervise(LongTask::HostsFile, move || watch.clone().run(Arc::clone(&own)));
}

/// The watch over a hosts file.
#[derive(Clone)]
struct HostsFileWatch {
    path: PathBuf,
    /// The stamp of the content that is answered now.
    seen: Option<Stamp>,
    /// The error that was logged last, until the file can be read again.
    complaint: Option<String>,
}

impl HostsFileWatch {
    /// Watches the file until the task is dropped.
    async fn run(mut self, resolver: Arc<Resolver>) {
        let (mut stamps, mut reads) = (PatientReads::new(), PatientReads::new());
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let path = self.path.clone();
            let Some(before) = stamps.read(move || hosts::stamp(&path)).await else {
                self.complain(HANGS);
                continue;
            };
            if before.as_ref().is_ok_and(|stamp| self.seen == Some(*stamp)) {
                self.complaint = None;
                continue;
            }
            // The stamp is new. Read the file after a moment; it counts if its stamp is still the
            // same then.
            tokio::time::sleep(SETTLE).await;
            let path = self.path.clone();
            let found = reads.read(move || {
                let (read, after) = (hosts::read(&path)?, hosts::stamp(&path)?);
                Ok((after, read))
            });
            match (before, found.await) {
                // The file still changes: it is looked at again.
                (Ok(before), Some(Ok((after, _)))) if before != after => {}
                (_, Some(found)) => self.apply(&resolver, found),
                (_, None) => self.complain(HANGS),
            }
        }
    }

    /// Lets the resolver answer from the new content, or logs why the file cannot be used.
    fn apply(&mut self, resolver: &Resolver, found: Result<(Stamp, ParsedHosts), HostsError>) {
        match found {
            Ok((stamp, ParsedHosts { hosts, mistakes, wrong })) => {
                let mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
                events::HostsRead { path: &self.path, names: hosts.names(), invalid: wrong, mistakes: &mistakes }
                    .emit();
                resolver.replace_hosts(hosts);
                (self.seen, self.complaint) = (Some(stamp), None);
            }
            Err(error) => self.complain(&error.to_string()),
        }
    }

    /// Logs why the file cannot be used, once until something changes.
    fn complain(&mut self, reason: &str) {
        if self.complaint.as_deref() != Some(reason) {
            events::HostsUnusable { path: &self.path, reason }.emit();
        }
        self.complaint = Some(reason.to_owned());
    }
}
