//! The test bed of a drill: an upstream behind the resolver under test, in one scenario two of
//! them, an upstream that clients ask directly, and the resolver under test.
//!
//! The resolver under test is a sidecar in this process, unless the scenario kills it, in which
//! case it is a child process, or the operator tests another resolver.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use parking_lot::Mutex;

use super::fault::{Incident, NameServers};
use super::flood;
use super::measure::PacketCounts;
use super::options::{DrillOptions, OtherResolver};
use super::restart::ChildSidecar;
use super::sidecar::Sidecar;
use super::upstream::{ActiveFault, FaultyUpstream, View};
use super::zone_clock::ZoneClock;
use crate::telemetry::console;

/// Distinguishes the random numbers of the upstream that clients ask directly from those of the one
/// behind the resolver under test.
const DIRECT_SEED: u64 = 0x5bd1;

/// All upstreams and the resolver under test.
pub(super) struct TestBed {
    /// Upstream of the resolver under test.
    behind: FaultyUpstream,
    /// Second upstream of the resolver under test, which knows only public names and never fails;
    /// `None` in scenarios with one upstream.
    public: Option<FaultyUpstream>,
    /// Upstream that clients ask directly.
    direct: FaultyUpstream,
    subject: Subject,
}

/// The resolver under test.
enum Subject {
    /// A sidecar in this process.
    Here(Sidecar),
    /// A sidecar in a child process, which can be killed.
    Child {
        address: SocketAddr,
        /// The child process, behind a lock because a thread that may block restarts it.
        child: Arc<Mutex<ChildSidecar>>,
    },
    /// Another resolver, which somebody else has started.
    Other(OtherResolver),
}

impl TestBed {
    /// Starts the upstreams and, unless another resolver is tested, the sidecar.
    pub(super) fn set_up(options: &DrillOptions, clock: &ZoneClock) -> anyhow::Result<Self> {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let listen = options.target.map_or(loopback, |target| target.upstream);
        let behind = FaultyUpstream::start(listen, View::Internal, clock.clone(), options.seed)
            .with_context(|| format!("cannot start the upstream on {listen}"))?;
        let direct = FaultyUpstream::start(loopback, View::Internal, clock.clone(), options.seed ^ DIRECT_SEED)
            .context("cannot start the upstream that clients ask directly")?;
        let public = match options.scenario.name_servers() {
            NameServers::One => None,
            NameServers::InternalAndPublic => Some(
                FaultyUpstream::start(loopback, View::Public, clock.clone(), options.seed)
                    .context("cannot start the second upstream")?,
            ),
        };
        let addresses = std::iter::once(&behind).chain(&public).map(FaultyUpstream::address).collect();
        let subject = match (options.target, options.scenario.incident()) {
            (Some(other), Incident::None | Incident::Flood | Incident::Restart) => Subject::Other(other),
            (None, Incident::None) => Subject::Here(Sidecar::start(addresses, |_| ())?),
            (None, Incident::Flood) => {
                Subject::Here(Sidecar::start(addresses, |settings| flood::prepare(options, settings))?)
            }
            (None, Incident::Restart) => {
                let child = ChildSidecar::start(behind.address(), options.shared_cache.as_deref())?;
                Subject::Child { address: child.address(), child: Arc::new(Mutex::new(child)) }
            }
        };
        Ok(Self { behind, public, direct, subject })
    }

    /// Address of the resolver under test.
    pub(super) const fn subject(&self) -> SocketAddr {
        match &self.subject {
            Subject::Here(sidecar) => sidecar.address(),
            Subject::Child { address, .. } => *address,
            Subject::Other(other) => other.address,
        }
    }

    /// Address of the upstream that clients ask directly.
    pub(super) const fn direct(&self) -> SocketAddr {
        self.direct.address()
    }

    /// Begins a fault on both upstreams, or heals it with `None`.
    pub(super) fn set_fault(&self, fault: Option<ActiveFault>) {
        self.behind.set_fault(fault);
        self.direct.set_fault(fault);
    }

    /// Packets that all upstreams have received.
    pub(super) fn received(&self) -> PacketCounts {
        let with = std::iter::once(&self.behind).chain(&self.public).map(FaultyUpstream::received).sum();
        PacketCounts { with, without: self.direct.received() }
    }

    /// Number of positive answers in the cache of the sidecar; 0 if it is not in this process.
    pub(super) fn entries(&self) -> u64 {
        match &self.subject {
            Subject::Here(sidecar) => sidecar.entries(),
            Subject::Child { .. } | Subject::Other(_) => 0,
        }
    }

    /// State that the sidecar sees its upstream in; empty if the sidecar is not in this process.
    pub(super) fn upstream_state(&self) -> &'static str {
        match &self.subject {
            Subject::Here(sidecar) => sidecar.upstream_state(),
            Subject::Child { .. } | Subject::Other(_) => "",
        }
    }

    /// Number of outages that the sidecar has announced so far; `None` if it is not in this
    /// process.
    pub(super) fn outages(&self) -> Option<u64> {
        match &self.subject {
            Subject::Here(sidecar) => Some(sidecar.outages()),
            Subject::Child { .. } | Subject::Other(_) => None,
        }
    }

    /// Kills the child process and starts it again; gives the time from that start to the first
    /// answer, or `None` if there is no child process or its start failed, which is printed.
    pub(super) async fn restart(&self) -> Option<Duration> {
        match self.with_child(ChildSidecar::restart).await? {
            Ok(took) => Some(took),
            Err(error) => {
                console::complain(format_args!("{error:#}"));
                None
            }
        }
    }

    /// Starts a new instance beside the child process and waits until it answers; gives its
    /// address, or `None` if there is no shared cache or the start failed, which is printed.
    pub(super) async fn start_newcomer(&self) -> Option<SocketAddr> {
        match self.with_child(ChildSidecar::start_newcomer).await? {
            Ok(address) => address,
            Err(error) => {
                console::complain(format_args!("{error:#}"));
                None
            }
        }
    }

    /// Runs a function that waits for processes and sockets, in a thread where no client runs;
    /// `None` if there is no child process.
    async fn with_child<T: Send + 'static>(
        &self,
        act: fn(&mut ChildSidecar) -> anyhow::Result<T>,
    ) -> Option<anyhow::Result<T>> {
        let child = match &self.subject {
            Subject::Here(_) | Subject::Other(_) => return None,
            Subject::Child { child, .. } => Arc::clone(child),
        };
        let acted = tokio::task::spawn_blocking(move || act(&mut child.lock())).await;
        Some(acted.map_err(anyhow::Error::from).and_then(|result| result))
    }

    /// Ends the sidecar, whether it runs in this process or in a child process.
    pub(super) fn tear_down(self) {
        match self.subject {
            Subject::Here(sidecar) => sidecar.stop(),
            // A child process is killed when its value is dropped.
            Subject::Child { .. } | Subject::Other(_) => {}
        }
    }
}
