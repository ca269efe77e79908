//! What is worth a log line, as types: code says what happened, this module says it in words.
//!
//! Nothing here is emitted once per query above DEBUG.

mod admin;
mod critical;
mod hosts;
#[cfg(feature = "shared-cache")]
mod shared_cache;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tracing::{debug, error, info, warn};

use super::state_file::StateFileTrouble;
use crate::core::health::UpstreamState;
pub use admin::{AdminListening, AdminUnavailable, CacheFlushed, CacheImported, SeedRead, SeedUnusable};
pub use critical::{CriticalNameTroubled, CriticalNameWell, CriticalNamesKnown, ReadyWithout};
pub use hosts::{HostsRead, HostsUnusable};
#[cfg(feature = "shared-cache")]
pub use shared_cache::{
    SharedCacheBack, SharedCacheFilled, SharedCacheLost, SharedCacheReached, SharedCacheRefuses, SharedCacheUnusable,
    SharedCacheWrongEntries,
};

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
        let (upstream, from, to) = (self.upstream, state(self.from), state(self.to));
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

/// The word for a state.
#[must_use]
pub const fn state(state: UpstreamState) -> &'static str {
    match state {
        UpstreamState::Healthy => "healthy",
        UpstreamState::Impaired => "impaired",
        UpstreamState::Down => "down",
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
        warn!(zones = self.zones, upstreams = state(self.upstreams), "outage begins");
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

/// A socket that receives queries is open.
#[derive(Debug)]
pub struct Listening {
    /// Where.
    pub address: SocketAddr,
    /// Threads that receive UDP on it.
    pub threads: usize,
}

impl Listening {
    /// Writes it to the log.
    pub fn emit(&self) {
        info!(address = %self.address, threads = self.threads, "listening on UDP and TCP");
    }
}

/// The process is about to serve.
#[derive(Debug)]
pub struct Ready<'a> {
    /// Upstreams by name and address.
    pub upstreams: &'a [String],
    /// Milliseconds since the process began.
    pub after: Duration,
    /// Answers for critical names that health checks still wait for.
    pub awaited: usize,
}

impl Ready<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        let (upstreams, after_ms, version) =
            (self.upstreams.join(", "), (self.after.as_secs_f64() * 1e6).round() / 1e3, env!("CARGO_PKG_VERSION"));
        match self.awaited {
            0 => info!(upstreams, after_ms, version, "ready"),
            awaited => {
                info!(upstreams, after_ms, version, awaited, "serving: ready as soon as the critical names are known")
            }
        }
    }
}

/// The process was asked to end.
#[derive(Debug)]
pub struct Draining<'a> {
    /// The signal's name.
    pub signal: &'a str,
    /// It ends after so long without a query …
    pub idle: Duration,
    /// … and after so long in any case.
    pub at_most: Duration,
}

impl Draining<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        info!(
            signal = self.signal,
            idle_seconds = self.idle.as_secs_f64(),
            at_most_seconds = self.at_most.as_secs_f64(),
            "draining: queries go on being answered"
        );
    }
}

/// The process ends.
#[derive(Debug)]
pub struct Stopped {
    /// Queries answered in its life.
    pub answered: u64,
}

impl Stopped {
    /// Writes it to the log.
    pub fn emit(&self) {
        info!(answered = self.answered, "stopped");
    }
}

/// A part of the process failed and is started again.
#[derive(Debug)]
pub struct PartRestarted<'a> {
    /// Which.
    pub part: &'a str,
    /// Why.
    pub reason: &'a str,
}

impl PartRestarted<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        error!(part = self.part, reason = self.reason, "a part failed and is started again");
    }
}

/// What nobody should send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnwantedTraffic {
    /// Clients send what is no query.
    NoQuery,
    /// Clients send queries that cannot be read, or are of a kind that is not served.
    OddQuery,
    /// Somebody asks who may not.
    NotAllowed,
    /// More clients connect over TCP than there is room for.
    Crowd,
    /// Something arrives from an upstream that belongs to no query.
    Forgery,
    /// An upstream answers with what cannot be read.
    Garbage,
}

impl UnwantedTraffic {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::NoQuery, Self::OddQuery, Self::NotAllowed, Self::Crowd, Self::Forgery, Self::Garbage];
}

/// Something came that nobody should send; told at most once a minute and kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnwantedTrafficSeen {
    /// What.
    pub kind: UnwantedTraffic,
    /// How many since it was told last.
    pub count: u64,
    /// One of those who sent it, where that helps.
    pub client: Option<IpAddr>,
}

impl UnwantedTrafficSeen {
    /// Writes it to the log.
    pub fn emit(&self) {
        let count = self.count;
        match self.kind {
            UnwantedTraffic::NoQuery => {
                info!(count, "packets from clients were dropped: no queries, or too long for one")
            }
            UnwantedTraffic::OddQuery => {
                info!(
                    count,
                    "queries were refused: unreadable (FORMERR), of a kind that is not served (NOTIMP, BADVERS), or RD=0 for a name not fresh"
                );
            }
            UnwantedTraffic::NotAllowed => {
                let client = self.client.map(|client| client.to_string()).unwrap_or_default();
                warn!(count, client, "clients were turned away: none of listen.clients holds their address");
            }
            UnwantedTraffic::Crowd => {
                warn!(count, "TCP connections of clients were closed to stay within listen.tcp_connections");
            }
            UnwantedTraffic::Forgery => {
                warn!(count, "responses that belong to no query were ignored: forged, late after a retry, or broken");
            }
            UnwantedTraffic::Garbage => warn!(count, "responses of upstreams could not be read"),
        }
    }
}

/// What another run left in the state file is in memory.
#[derive(Debug)]
pub struct StateLoaded<'a> {
    /// The file.
    pub path: &'a Path,
    /// Answers that came back.
    pub entries: u64,
    /// Rows that were too old, or none.
    pub dropped: u64,
    /// How long it took.
    pub took: Duration,
}

impl StateLoaded<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        let took_ms = self.took.as_secs_f64() * 1000.0;
        info!(path = %self.path.display(), entries = self.entries, dropped = self.dropped, took_ms, "remembered answers are back");
    }
}

/// The state file cannot be used at present.
#[derive(Debug)]
pub struct StateFailing<'a> {
    /// The file.
    pub path: &'a Path,
    /// Why.
    pub reason: StateFileTrouble,
    /// What the operating system said.
    pub what: &'a str,
}

impl StateFailing<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        warn!(
            path = %self.path.display(),
            reason = self.reason.label(),
            error = self.what,
            "the state file cannot be used, {}. Queries are answered all the same; it is tried again",
            self.reason.advice()
        );
    }
}

/// The state file can be used again.
#[derive(Debug)]
pub struct StateWorking<'a> {
    /// The file.
    pub path: &'a Path,
    /// Answers in it.
    pub entries: u64,
    /// How long it could not be used.
    pub failed_for: Duration,
}

impl StateWorking<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        let failed_for_seconds = self.failed_for.as_secs_f64();
        info!(path = %self.path.display(), entries = self.entries, failed_for_seconds, "the state file can be used again");
    }
}

/// What lay in the place of the state file is none.
#[derive(Debug)]
pub struct StateSetAside<'a> {
    /// The file.
    pub path: &'a Path,
    /// Where it is now.
    pub to: &'a Path,
    /// What is wrong with it.
    pub reason: &'a str,
}

impl StateSetAside<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        warn!(path = %self.path.display(), kept_as = %self.to.display(), reason = self.reason, "not a usable state file: it is kept aside, and a new one begins");
    }
}
