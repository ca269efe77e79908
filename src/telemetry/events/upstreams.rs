//! Log lines about upstreams and outages.

use std::path::Path;
use std::time::Duration;

use tracing::{debug, error, info, warn};

use crate::core::health::UpstreamState;

/// An upstream changed its state.
#[derive(Debug)]
pub struct UpstreamChanged<'a> {
    /// Its name and address.
    pub upstream: &'a str,
    /// The state before.
    pub from: UpstreamState,
    /// The state now.
    pub to: UpstreamState,
}

impl UpstreamChanged<'_> {
    /// Writes it to the log. Going down and coming back are worth a line; the twitches of an
    /// impaired upstream are for who debugs.
    pub fn emit(&self) {
        let (upstream, from, to) = (self.upstream, self.from.label(), self.to.label());
        match (self.from, self.to) {
            (_, UpstreamState::Down) => warn!(
                upstream,
                from, to, "upstream is down: stale answers are served at once, probes look for its return"
            ),
            (UpstreamState::Down, _) => info!(upstream, from, to, "upstream answers again"),
            (UpstreamState::Healthy, _) | (_, UpstreamState::Healthy) => {
                debug!(upstream, from, to, "upstream state changed")
            }
            (UpstreamState::Impaired, UpstreamState::Impaired) => {}
        }
    }
}

/// No upstream of a group of names is healthy any more.
#[derive(Debug)]
pub struct OutageBegan<'a> {
    /// The zones concerned, `.` for all.
    pub zones: &'a str,
    /// `down` or `impaired`.
    pub upstreams: UpstreamState,
}

impl OutageBegan<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        warn!(zones = self.zones, upstreams = self.upstreams.label(), "outage begins");
    }
}

/// The upstreams of a group of names are healthy again.
#[derive(Debug)]
pub struct OutageEnded<'a> {
    /// The zones concerned, `.` for all.
    pub zones: &'a str,
    /// How long it lasted.
    pub lasted: Duration,
    /// Queries that were answered from memory beyond its TTL.
    pub answers_saved: u64,
    /// Different names and types among them.
    pub names_served_stale: u64,
    /// Queries that were answered with SERVFAIL.
    pub failed: u64,
}

impl OutageEnded<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        info!(
            zones = self.zones,
            lasted_seconds = self.lasted.as_secs_f64(),
            answers_saved = self.answers_saved,
            names_served_stale = self.names_served_stale,
            failed = self.failed,
            "outage ends"
        );
    }
}

/// An upstream sends our own queries back to us.
#[derive(Debug)]
pub struct LoopFound<'a> {
    /// Its name and address.
    pub upstream: &'a str,
}

impl LoopFound<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        error!(
            upstream = self.upstream,
            "forwarding loop: this upstream sends our own queries back to us and is not used; name another with --upstream"
        );
    }
}

/// The host's `resolv.conf` names other name servers than before.
#[derive(Debug)]
pub struct HostUpstreamsChanged<'a> {
    /// The file.
    pub path: &'a Path,
    /// All upstreams, from now on.
    pub upstreams: &'a [String],
}

impl HostUpstreamsChanged<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        info!(path = %self.path.display(), upstreams = self.upstreams.join(", "), "other upstreams are used from now on");
    }
}

/// The host's `resolv.conf` gives no upstream.
#[derive(Debug)]
pub struct HostUpstreamsUnusable<'a> {
    /// The file.
    pub path: &'a Path,
    /// Why.
    pub reason: &'a str,
    /// Upstreams that it gave before.
    pub kept: usize,
}

impl HostUpstreamsUnusable<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        let (path, reason) = (self.path.display(), self.reason);
        if self.kept > 0 {
            warn!(%path, reason, "the last good upstreams are kept");
        } else {
            warn!(%path, reason, "there is no upstream yet: what is remembered is served, and the file is read again every 2 s");
        }
    }
}
