//! The composition root, which makes a running sidecar from settings and takes it apart again.
//!
//! This is the only place that knows all of memory, resolver and adapters. [`start`] makes the
//! parts, each after those that it needs; [`Running`] holds the parts, and ends them in order.
//!
//! | part | task |
//! |---|---|
//! | `listeners` | opens the listen addresses |
//! | `transport` | makes the transport to the upstreams, with as many sockets as may be open (`descriptors`) |
//! | `state_file`, `seeds` | bring back answers that were remembered before |
//! | `hosts_file`, [`host_upstreams`] | watch files of the host that may change |
//! | `shared_cache` | joins the cache that several instances share, where one is configured |
//! | `fronts` | receives queries over UDP and TCP (`stream_answerer`) from clients that may ask (`access`) |
//! | `unwanted_traffic` | logs traffic that nobody should send |
//! | `administration` | gives the admin interface what it shows and does (`export`, `flush_request`) |
//!
//! All sockets are open before anything is served, so that an address that cannot be had ends the
//! start with one message. Nothing here waits for an upstream: a sidecar that is started during an
//! outage serves at once.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::adapters::admin::AdminThread;
use crate::adapters::chance::SystemChance;
use crate::adapters::clock::SystemClock;
use crate::adapters::footprint;
use crate::config::settings::Settings;
use crate::core::critical::Standing;
use crate::core::routes::Routes;
use crate::core::special::Readiness;
use crate::memory::Memory;
use crate::resolver::ports::{Chance, Clock};
use crate::resolver::{Ports, Resolver};
use crate::telemetry::events;

mod access;
mod administration;
mod descriptors;
mod export;
mod flush_request;
mod fronts;
pub mod host_upstreams;
mod hosts_file;
mod listeners;
mod running;
mod seeds;
pub(crate) mod shared_cache;
mod start_error;
mod state_file;
mod stream_answerer;
mod transport;
mod unwanted_traffic;

use administration::Administration;
use fronts::Fronts;
pub use running::Running;
pub use start_error::StartError;
use state_file::AdministeredStateFile;
use unwanted_traffic::UnwantedTrafficWatch;

/// Starts a sidecar on the present tokio runtime.
///
/// # Errors
/// - [`StartError::Listen`] when a listen address cannot be had.
/// - [`StartError::OwnAddress`] when an upstream is an address on which holdover listens.
/// - [`StartError::Chance`] and [`StartError::Thread`] when the operating system gives no random
///   numbers or no thread.
pub fn start(settings: &Settings) -> Result<Running, StartError> {
    let clock = Arc::new(SystemClock::new());
    let started = clock.now();

    // Open all listen addresses. Queries that arrive during the rest of the start wait in these
    // sockets, and are answered when everything that was remembered is back.
    let transport = transport::open(settings);
    let upstream = transport.counters();
    let chance: Arc<dyn Chance> = Arc::new(SystemChance::new()?);
    let bound = listeners::open(&settings.listen)?;
    let addresses: Vec<SocketAddr> = bound.iter().map(|listener| listener.address).collect();
    listeners::refuse_own(&addresses, &settings.upstreams)?;

    // Make the memory, which holds every answer, whoever learned it.
    let routes = Routes::new(&settings.upstreams);
    let memory = Arc::new(Memory::new(&settings.policy, routes, clock.clone()));

    // Start the resolver, which learns into the memory and answers from it.
    let ports = Ports { chance: Arc::clone(&chance), transport: Arc::new(transport) };
    let resolver = Resolver::start(Arc::clone(&memory), &settings.upstreams, ports);

    // Bring in answers from elsewhere. The state file comes before the seeds, since a seed must not
    // replace what is newer.
    let state_file = state_file::start(settings, &clock, &memory)?;
    seeds::load(&settings.seeds, &memory);
    if let Some(path) = settings.hosts.clone() {
        hosts_file::start(path, &resolver);
    }
    let shared_cache = shared_cache::start(settings, &chance, &resolver);
    let look_again = host_upstreams::start(settings, &addresses, &resolver);

    // Start the fronts, which receive queries from here on.
    let (allowed, last_rejected) = access::access_list(settings.listen.clients.clone());
    let fronts = Fronts::start(settings, bound, &resolver, &allowed)?;
    let unwanted_traffic = UnwantedTrafficWatch::new(
        Arc::clone(&resolver),
        fronts.tallies(),
        Arc::clone(fronts.connections()),
        Arc::clone(&upstream),
        last_rejected,
    );
    resolver.spawn(unwanted_traffic.watch());
    resolver.spawn(footprint::settle());

    // Start the admin interface, which shows all of the above. Queries are answered without it.
    let administration = Administration {
        memory,
        resolver: Arc::clone(&resolver),
        tallies: fronts.tallies(),
        connections: Arc::clone(fronts.connections()),
        upstream,
        listen: addresses.iter().map(ToString::to_string).collect(),
        started,
        state_file: AdministeredStateFile::new(settings.state.path.clone(), state_file.as_ref()),
        shared_cache,
    };
    let admin = start_admin(settings, administration);

    let labels: Vec<String> = resolver.upstreams().all().iter().map(|upstream| upstream.label.clone()).collect();
    events::Ready { upstreams: &labels, after: clock.now().since(started), awaited: awaited(&resolver) }.emit();
    Ok(Running { resolver, fronts, addresses, look_again, admin, state_file })
}

/// Starts the admin interface, if one is configured. When its thread cannot be started, that is
/// logged, and the sidecar runs without it.
fn start_admin(settings: &Settings, administration: Administration) -> Option<AdminThread> {
    let admin = settings.admin.clone()?;
    let address = admin.to_string();
    let started = AdminThread::start(admin, Arc::new(administration));
    started.map_err(|error| events::AdminUnavailable { address: &address, reason: &error.to_string() }.emit()).ok()
}

/// The number of answers for critical names for which health checks still wait.
fn awaited(resolver: &Resolver) -> usize {
    match resolver.readiness() {
        Readiness::Ready => 0,
        Readiness::NotYet => {
            resolver.critical().iter().filter(|critical| critical.standing == Standing::Missing).count()
        }
    }
}
