//! Log lines about upstreams, outages, and the `resolv.conf` that upstreams come from.

use std::path::Path;
use std::time::Duration;

use tracing::{debug, error, info, warn};

use crate::core::health::UpstreamState;

/// An upstream changed its state.
#[derive(Debug)]
pub struct UpstreamChanged<'a> {
    /// Name and address of the upstream.
    pub upstream: &'a str,
    /// The state before.
    pub from: UpstreamState,
    /// The state now.
    pub to: UpstreamState,
}

impl UpstreamChanged<'_> {
    /// Writes the line. Going down and answering again are logged for operators; an upstream that
    /// changes between healthy and impaired only at DEBUG, because that may happen often.
    pub fn emit(&self) {
        let (upstream, from, to) = (self.upstream, self.from.label(), self.to.label());
        match (self.from, self.to) {
            (_, UpstreamState::Down) => warn!(
                upstream,
                from,
                to,
                "upstream is down: remembered names are answered stale at once, and probes check when it answers again"
            ),
            (UpstreamState::Down, UpstreamState::Healthy | UpstreamState::Impaired) => {
                info!(upstream, from, to, "upstream answers again");
            }
            (UpstreamState::Healthy, UpstreamState::Healthy | UpstreamState::Impaired)
            | (UpstreamState::Impaired, UpstreamState::Healthy) => {
                debug!(upstream, from, to, "upstream state changed");
            }
            (UpstreamState::Impaired, UpstreamState::Impaired) => {}
        }
    }
}

/// An outage began: no upstream of a group of names is healthy any more.
#[derive(Debug)]
pub struct OutageBegan<'a> {
    /// The zones of these names, `.` for all names.
    pub zones: &'a str,
    /// The best state among their upstreams: impaired or down.
    pub upstreams: UpstreamState,
}

impl OutageBegan<'_> {
    /// Writes the line.
    pub fn emit(&self) {
        warn!(zones = self.zones, upstreams = self.upstreams.label(), "outage begins");
    }
}

/// An outage ended: an upstream of a group of names has been healthy for some seconds.
#[derive(Debug)]
pub struct OutageEnded<'a> {
    /// The zones of these names, `.` for all names.
    pub zones: &'a str,
    /// How long the outage lasted.
    pub lasted: Duration,
    /// Queries that got a stale answer in the outage.
    pub stale_answers: u64,
    /// Different names and types among these answers.
    pub names_served_stale: u64,
    /// Queries that got SERVFAIL in the outage.
    pub failed_answers: u64,
}

impl OutageEnded<'_> {
    /// Writes the line.
    pub fn emit(&self) {
        info!(
            zones = self.zones,
            duration_seconds = self.lasted.as_secs_f64(),
            stale_answers = self.stale_answers,
            names_served_stale = self.names_served_stale,
            failed_answers = self.failed_answers,
            "outage ends"
        );
    }
}

/// An upstream sends holdover's own queries back to it.
#[derive(Debug)]
pub struct LoopFound<'a> {
    /// Name and address of the upstream.
    pub upstream: &'a str,
}

impl LoopFound<'_> {
    /// Writes the line.
    pub fn emit(&self) {
        error!(
            upstream = self.upstream,
            "forwarding loop: this upstream sends holdover's own queries back, so it is not used; name the resolver \
             behind it with --upstream"
        );
    }
}

/// The host's `resolv.conf` names other name servers than before, and they are used now.
#[derive(Debug)]
pub struct HostUpstreamsChanged<'a> {
    /// The file.
    pub path: &'a Path,
    /// All upstreams that are used from now on.
    pub upstreams: &'a [String],
}

impl HostUpstreamsChanged<'_> {
    /// Writes the line.
    pub fn emit(&self) {
        let (path, upstreams) = (self.path.display(), self.upstreams.join(", "));
        info!(%path, upstreams, "other upstreams are used from now on");
    }
}

/// The host's `resolv.conf` names no upstream that can be used.
#[derive(Debug)]
pub struct HostUpstreamsUnusable<'a> {
    /// The file.
    pub path: &'a Path,
    /// What is wrong with the file.
    pub reason: &'a str,
    /// Number of upstreams that the file named before, and which are still used.
    pub kept: usize,
}

impl HostUpstreamsUnusable<'_> {
    /// Writes the line.
    pub fn emit(&self) {
        let (path, reason) = (self.path.display(), self.reason);
        if self.kept > 0 {
            warn!(%path, reason, "resolv.conf cannot be used: the last good upstreams are kept");
        } else {
            warn!(
                %path,
                reason,
                "there is no upstream yet: only remembered names are answered, and the file is read again every 2 s"
            );
        }
    }
}
