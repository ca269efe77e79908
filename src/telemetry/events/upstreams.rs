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
    /// State of the upstream before.
    pub from: UpstreamState,
    /// State of the upstream from now on.
    pub to: UpstreamState,
    /// What shows that it is not healthy; empty when it is.
    pub evidence: &'a str,
}

impl UpstreamChanged<'_> {
    /// Writes one log line: at WARN when the upstream goes down, at INFO when it answers again. A
    /// change between healthy and impaired is logged at DEBUG only, because it may happen often.
    pub fn emit(&self) {
        let (upstream, from, to, evidence) = (self.upstream, self.from.label(), self.to.label(), self.evidence);
        match (self.from, self.to) {
            (_, UpstreamState::Down) => warn!(
                upstream,
                from,
                to,
                evidence,
                "upstream is down: remembered names are answered stale at once, and probes check when it answers again"
            ),
            (UpstreamState::Down, UpstreamState::Healthy | UpstreamState::Impaired) => {
                info!(upstream, from, to, "upstream answers again");
            }
            (UpstreamState::Healthy, UpstreamState::Healthy | UpstreamState::Impaired)
            | (UpstreamState::Impaired, UpstreamState::Healthy) => {
                debug!(upstream, from, to, evidence, "upstream state changed");
            }
            (UpstreamState::Impaired, UpstreamState::Impaired) => {}
        }
    }
}

/// An outage began: no upstream of a group of names is healthy any more.
#[derive(Debug)]
pub struct OutageBegan<'a> {
    /// Zones of the names of this group, `.` for all names.
    pub zones: &'a str,
    /// Best state among the upstreams of these names: impaired or down.
    pub upstreams: UpstreamState,
    /// The upstreams with the witnesses that prove that they are ill.
    pub evidence: &'a str,
}

impl OutageBegan<'_> {
    /// Writes one log line at WARN.
    pub fn emit(&self) {
        warn!(zones = self.zones, upstreams = self.upstreams.label(), evidence = self.evidence, "outage begins");
    }
}

/// Names of a zone fail, or names everywhere for a type, while the upstreams are well.
#[derive(Debug)]
pub struct TroubleBegan<'a> {
    /// The zone or the type that is in trouble, such as `zone broken.example. A` or `type AAAA`.
    pub charged: &'a str,
    /// The number of names in trouble, as far as they are kept.
    pub names: usize,
}

impl TroubleBegan<'_> {
    /// Writes one log line at WARN.
    pub fn emit(&self) {
        warn!(
            charged = self.charged,
            names = self.names,
            "names fail although the upstreams are healthy: these names alone are answered stale"
        );
    }
}

/// A zone or type is in trouble no more.
#[derive(Debug)]
pub struct TroubleEnded<'a> {
    /// The zone or the type that was in trouble.
    pub charged: &'a str,
    /// How long it was.
    pub lasted: Duration,
}

impl TroubleEnded<'_> {
    /// Writes one log line at INFO.
    pub fn emit(&self) {
        info!(charged = self.charged, duration_seconds = self.lasted.as_secs_f64(), "names that failed are well again");
    }
}

/// An outage ended: an upstream of a group of names has been healthy for some seconds.
#[derive(Debug)]
pub struct OutageEnded<'a> {
    /// Zones of the names of this group, `.` for all names.
    pub zones: &'a str,
    /// Length of the outage.
    pub lasted: Duration,
    /// Queries that got a stale answer in the outage.
    pub stale_answers: u64,
    /// Different names and types among these answers.
    pub names_served_stale: u64,
    /// Queries that got SERVFAIL in the outage.
    pub failed_answers: u64,
}

impl OutageEnded<'_> {
    /// Writes one log line at INFO.
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
    /// Writes one log line at ERROR.
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
    /// Path of the host's `resolv.conf`.
    pub path: &'a Path,
    /// Names and addresses of all upstreams that are used from now on.
    pub upstreams: &'a [String],
}

impl HostUpstreamsChanged<'_> {
    /// Writes one log line at INFO.
    pub fn emit(&self) {
        let (path, upstreams) = (self.path.display(), self.upstreams.join(", "));
        info!(%path, upstreams, "other upstreams are used from now on");
    }
}

/// The host's `resolv.conf` names no upstream that can be used.
#[derive(Debug)]
pub struct HostUpstreamsUnusable<'a> {
    /// Path of the host's `resolv.conf`.
    pub path: &'a Path,
    /// Why no upstream of the file can be used.
    pub reason: &'a str,
    /// Number of upstreams from an earlier version of the file, which are still used.
    pub kept: usize,
}

impl HostUpstreamsUnusable<'_> {
    /// Writes one log line at WARN, which depends on whether upstreams are still known.
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
