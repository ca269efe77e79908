//! Puts the parts together: settings become sockets, a resolver and its fronts; and takes them
//! apart again.
//!
//! All sockets are open before anything is served, so a port that cannot be had ends the start with
//! one message. Nothing here waits for an upstream: a sidecar that is started in an outage serves
//! at once.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::adapters::admin::AdminThread;
use crate::adapters::chance::{NoEntropy, SystemChance};
use crate::adapters::clock::SystemClock;
use crate::adapters::footprint;
use crate::adapters::state_file::{self, StateFile};
use crate::adapters::tcp::{self, TcpLimits, TcpPhase};
use crate::adapters::udp::{Admission, Sockets, UdpFront};
use crate::adapters::upstream::{SocketTransport, StreamLimits, UpstreamLimits};
use crate::config::settings::{Drain, Settings};
use crate::core::critical::Standing;
use crate::core::network::{self, IpNetwork};
use crate::core::routes::Routes;
use crate::core::special::{self, Readiness};
use crate::core::time::Timestamp;
use crate::core::upstream::Role;
use crate::memory::Memory;
use crate::resolver::ports::{Answer, Chance, Clock, PortFuture};
use crate::resolver::{self, Ports, Resolver};
use crate::telemetry::events;
use crate::telemetry::state_file::StateFileStatus;
use crate::telemetry::tally::{Answered, Connections, Tally, UpstreamCounters};

mod administration;
mod descriptors;
pub mod host;
mod hosts;
mod seeds;
pub(crate) mod shared_cache;
mod unwanted_traffic;

use administration::{Administration, Kept};
use unwanted_traffic::{LastRejectedClient, UnwantedTrafficWatch};

/// Descriptors for everything that is neither an attempt upstream nor a client's connection:
/// listeners, log, upstream connections.
const DESCRIPTORS_RESERVED: usize = 64;

/// Ports that are tried where any will do.
const ANY_PORT_TRIES: u32 = 16;

/// Why holdover cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listen address cannot be had.
    #[error("cannot listen on {address} ({protocol}): {}", advice(*address, source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// UDP or TCP.
        protocol: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// An upstream is one of our own addresses.
    #[error(
        "upstream {0} is an address that holdover itself listens on: every query would go round in a circle; name the resolver behind it"
    )]
    OwnAddress(SocketAddr),
    /// The operating system gave no random numbers, without which message IDs could be guessed.
    #[error(transparent)]
    Chance(#[from] NoEntropy),
    /// The operating system gave no thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
}

/// What to do about a port that cannot be had.
fn advice(address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!(
            "permission denied. Ports below 1024 are reserved: give the process CAP_NET_BIND_SERVICE (systemd: \
             AmbientCapabilities=CAP_NET_BIND_SERVICE), or set the sysctl net.ipv4.ip_unprivileged_port_start={} in its \
             network namespace, or listen on another port (--listen {}:5353)",
            address.port(),
            bracketed(address.ip())
        ),
        io::ErrorKind::AddrInUse => {
            "the address is in use. Another resolver listens there: stop it, or listen on another address (--listen 127.0.0.2:53 \
             works beside most)"
                .to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this host has no such address".to_owned(),
        _ => error.to_string(),
    }
}

/// An address as it stands before a port.
fn bracketed(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}

/// A running sidecar.
pub struct Running {
    /// Answers and remembers.
    resolver: Arc<Resolver>,
    /// Receives UDP.
    udp: UdpFront,
    /// Receives TCP.
    streams: Arc<Streams>,
    /// Tells the TCP listeners to end.
    phase: watch::Sender<TcpPhase>,
    /// The TCP listeners.
    listeners: JoinSet<()>,
    /// Where it listens.
    addresses: Vec<SocketAddr>,
    /// Wakes the watch over `resolv.conf`.
    look_again: Arc<Notify>,
    /// What became of clients' connections.
    connections: Arc<Connections>,
    /// What went upstream and came back.
    upstream: Arc<UpstreamCounters>,
    /// Tells about all of it.
    admin: Option<AdminThread>,
    /// Keeps what is remembered.
    state: Option<StateFile>,
}

/// Answers what comes over streams.
struct Streams {
    /// Answers and remembers.
    resolver: Arc<Resolver>,
    /// Counts.
    tally: Arc<Tally>,
    /// When the last query came that was no health check, in microseconds.
    last_query: AtomicU64,
}

impl Answer for Arc<Streams> {
    fn answer(&self, query: Vec<u8>, client: SocketAddr) -> PortFuture<Option<Vec<u8>>> {
        let streams = Self::clone(self);
        Box::pin(async move {
            if !special::is_health_check(&query) {
                streams.last_query.store(streams.resolver.now().as_micros(), Ordering::Relaxed);
            }
            streams.resolver.answer(query, client, &streams.tally).await
        })
    }
}

/// One listen address, bound.
struct Bound {
    /// Its UDP sockets.
    udp: Sockets,
    /// Its TCP listener.
    tcp: tokio::net::TcpListener,
    /// The address with its final port.
    address: SocketAddr,
}

/// Starts a sidecar on the present tokio runtime.
///
/// # Errors
/// [`StartError`]: an address that cannot be had, an upstream that is ourselves.
pub fn start(settings: &Settings) -> Result<Running, StartError> {
    let clock = Arc::new(SystemClock::new());
    let start = clock.now();
    let wire = wire(settings);
    let upstream = wire.counters();
    let chance: Arc<dyn Chance> = Arc::new(SystemChance::new()?);
    let ports = Ports { chance: Arc::clone(&chance), transport: Arc::new(wire) };
    let bound = settings
        .listen
        .addresses
        .iter()
        .map(|address| bind(*address, settings.listen.threads))
        .collect::<Result<Vec<_>, _>>()?;
    let addresses: Vec<SocketAddr> = bound.iter().map(|bound| bound.address).collect();
    if let Some(own) = settings
        .upstreams
        .iter()
        .flat_map(|upstream| &upstream.addresses)
        .find(|upstream| network::is_own(&addresses, **upstream))
    {
        return Err(StartError::OwnAddress(*own));
    }
    let routes = Routes::new(&settings.upstreams);
    let memory = Arc::new(Memory::new(&settings.policy, routes, clock.clone()));
    let resolver = Resolver::start(Arc::clone(&memory), &settings.upstreams, ports);
    // The sockets are open: who asks meanwhile waits in them, and is answered when everything is
    // back.
    let state = keep_state(settings, &clock, &memory)?;
    seeds::load(&settings.seeds, &memory);
    if let Some(path) = settings.hosts.clone() {
        hosts::start(path, &resolver);
    }
    let shared_cache = shared_cache::start(settings, &chance, &resolver);
    let look_again = Arc::new(Notify::new());
    watch_host(settings, &addresses, &resolver, &look_again);
    let (admission, last_rejected) = admission(settings.listen.clients.clone());
    let (phase, phases) = watch::channel(TcpPhase::Serving);
    let streams = Arc::new(Streams {
        resolver: Arc::clone(&resolver),
        tally: Arc::new(Tally::default()),
        last_query: AtomicU64::new(start.as_micros()),
    });
    let limits = TcpLimits {
        connections: settings.listen.tcp_connections,
        queries: settings.listen.tcp_queries,
        idle: settings.listen.tcp_idle,
        ..TcpLimits::new(Arc::clone(&admission))
    };
    let connections = Arc::clone(&limits.counters);
    let mut listeners = JoinSet::new();
    let mut sockets = Vec::new();
    for Bound { udp, tcp, address } in bound {
        listeners.spawn(tcp::serve(tcp, limits.clone(), Arc::new(Arc::clone(&streams)), phases.clone()));
        sockets.push(udp);
        events::Listening { address, threads: settings.listen.threads }.emit();
    }
    let udp = UdpFront::start(sockets, &resolver, &admission, settings.policy.in_flight.waiting)
        .map_err(StartError::Thread)?;
    let labels: Vec<String> = resolver.upstreams().all().iter().map(|upstream| upstream.label.clone()).collect();
    let tallies: Vec<Arc<Tally>> = udp.tallies().iter().chain([&streams.tally]).cloned().collect();
    let unwanted_traffic = UnwantedTrafficWatch::new(
        Arc::clone(&resolver),
        tallies.clone(),
        Arc::clone(&connections),
        Arc::clone(&upstream),
        last_rejected,
    );
    resolver.spawn(unwanted_traffic.watch());
    resolver.spawn(footprint::settle());
    let administration = Administration {
        resolver: Arc::clone(&resolver),
        policy: settings.policy.clone(),
        tallies,
        connections: Arc::clone(&connections),
        upstream: Arc::clone(&upstream),
        listen: addresses.iter().map(ToString::to_string).collect(),
        started: start,
        state: settings.state.path.clone().zip(state.as_ref()).map(|(path, state)| Kept {
            path,
            standing: Box::new(state.watch()),
            forget: Box::new(state.flusher()),
        }),
        shared_cache,
    };
    let admin = administer(settings, administration);
    events::Ready { upstreams: &labels, after: clock.now().since(start), awaited: awaited(&resolver) }.emit();
    Ok(Running { resolver, udp, streams, phase, listeners, addresses, look_again, connections, upstream, admin, state })
}

/// Starts the admin interface, where one is wanted. Queries are answered without it.
fn administer(settings: &Settings, administration: Administration) -> Option<AdminThread> {
    let admin = settings.admin.clone()?;
    let shown = admin.to_string();
    let started = AdminThread::start(admin, Arc::new(administration));
    started.map_err(|error| events::AdminUnavailable { address: &shown, reason: &error.to_string() }.emit()).ok()
}

/// Answers for critical names that health checks still wait for.
fn awaited(resolver: &Resolver) -> usize {
    match resolver.readiness() {
        Readiness::Ready => 0,
        Readiness::NotYet => {
            resolver.critical().iter().filter(|critical| critical.standing == Standing::Missing).count()
        }
    }
}

/// Who may ask; and who was turned away last.
fn admission(clients: Vec<IpNetwork>) -> (Admission, Arc<LastRejectedClient>) {
    let last_rejected = Arc::new(LastRejectedClient::default());
    let note = Arc::clone(&last_rejected);
    let admission = move |ip: IpAddr| {
        let admitted = network::admits(&clients, ip);
        if !admitted {
            note.note(ip);
        }
        admitted
    };
    (Arc::new(admission), last_rejected)
}

/// Brings back what another run remembered, and keeps it from now on, if there is a place for it.
fn keep_state(settings: &Settings, clock: &SystemClock, memory: &Arc<Memory>) -> Result<Option<StateFile>, StartError> {
    let Some(path) = settings.state.path.clone() else { return Ok(None) };
    let host = state_file::Host::present(clock.booted_at());
    let options = state_file::StateFileOptions { path, write_every: settings.state.write_every, host };
    StateFile::start(options, memory).map(Some).map_err(StartError::Thread)
}

/// Watches the file that the upstreams come from, if they come from one.
fn watch_host(settings: &Settings, addresses: &[SocketAddr], resolver: &Arc<Resolver>, look_again: &Arc<Notify>) {
    if let Some(path) = &settings.resolv_conf {
        let current = settings.upstreams.iter().filter(|own| own.zones.is_empty() && own.role == Role::Primary);
        let current = current.flat_map(|upstream| upstream.addresses.clone()).collect();
        let watched = host::Watched { path: path.clone(), own: addresses.to_vec(), current };
        resolver.spawn(watched.watch(Arc::clone(resolver), Arc::clone(look_again)));
    }
}

/// The way upstream, as wide as the descriptors of the process allow.
fn wire(settings: &Settings) -> SocketTransport {
    let attempts = usize::try_from(settings.policy.attempts.sends).unwrap_or(1);
    let wanted = settings.policy.in_flight.resolutions.saturating_mul(attempts);
    let others = settings.listen.tcp_connections + DESCRIPTORS_RESERVED;
    let granted = descriptors::raise(wanted + others);
    SocketTransport::new(UpstreamLimits {
        sockets: wanted.min(granted.saturating_sub(others)).max(1),
        streams: StreamLimits::DEFAULT,
    })
}

/// Opens one listen address for UDP and TCP. Port 0 is any that is free for both: the first may be
/// free for TCP alone.
fn bind(address: SocketAddr, threads: usize) -> Result<Bound, StartError> {
    let mut left = if address.port() == 0 { ANY_PORT_TRIES } else { 1 };
    loop {
        left -= 1;
        match bind_once(address, threads) {
            Err(StartError::Listen { source, .. }) if left > 0 && source.kind() == io::ErrorKind::AddrInUse => {}
            bound => return bound,
        }
    }
}

/// The same, as it comes.
fn bind_once(address: SocketAddr, threads: usize) -> Result<Bound, StartError> {
    // TCP first: its port cannot be shared, so a second process fails here instead of taking half
    // of the queries.
    let fail = |protocol, source| StartError::Listen { address, protocol, source };
    let tcp = tcp::bind(address).map_err(|error| fail("TCP", error))?;
    let bound = tcp.local_addr().map_err(|error| fail("TCP", error))?;
    let udp = Sockets::bind(bound, threads).map_err(|error| fail("UDP", error))?;
    Ok(Bound { udp, tcp, address: bound })
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Reads `resolv.conf` again at once, if the upstreams come from it.
    pub fn look_again(&self) {
        self.look_again.notify_one();
    }

    /// The resolver.
    #[must_use]
    pub const fn resolver(&self) -> &Arc<Resolver> {
        &self.resolver
    }

    /// How it stands with the state file.
    #[must_use]
    pub fn state_file(&self) -> StateFileStatus {
        self.state.as_ref().map_or(StateFileStatus::Off, StateFile::status)
    }

    /// Queries so far with this outcome.
    #[must_use]
    pub fn answered(&self, answered: Answered) -> u64 {
        resolver::sum(self.udp.tallies(), answered) + self.streams.tally.total(answered)
    }

    /// What became of clients' TCP connections.
    #[must_use]
    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// What went upstream and came back, and what came that did not belong to any query.
    #[must_use]
    pub fn upstream_counters(&self) -> &UpstreamCounters {
        &self.upstream
    }

    /// Waits until no query but health checks has come for a while, at most for as long as may be;
    /// queries go on being answered.
    pub async fn drain(&self, drain: &Drain) {
        let began = self.resolver.now();
        loop {
            let now = self.resolver.now();
            let last =
                self.udp.last_query().max(Timestamp::from_micros(self.streams.last_query.load(Ordering::Relaxed)));
            let idle = now.since(last.max(began));
            let left = drain.idle.saturating_sub(idle).min(drain.at_most.saturating_sub(now.since(began)));
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(Duration::from_millis(100))).await;
        }
    }

    /// Ends everything: listeners, then threads, then what is under way.
    pub async fn stop(mut self) {
        let _ = self.phase.send(TcpPhase::Draining);
        // Waits for its threads, half a second at most.
        self.udp.stop();
        // Both fronts answer what they have taken in.
        let (listeners, udp) = (&mut self.listeners, &mut self.udp);
        tokio::join!(async { while listeners.join_next().await.is_some() {} }, udp.finish());
        self.resolver.stop();
        if let Some(admin) = self.admin.take() {
            admin.stop();
        }
        if let Some(state) = self.state.take() {
            state.finish().await;
        }
        let answered = Answered::ALL.iter().filter(|kind| kind.is_answer()).map(|kind| self.answered(*kind)).sum();
        events::Stopped { answered }.emit();
    }
}
