//! The composition root, which makes a running sidecar from settings and takes it apart again.
//!
//! This is the only place that knows all of memory, resolver and adapters. [`start`] makes the
//! parts, each after those that it needs; [`Running`] holds the parts, and ends them in order.
//!
//! | part | task |
//! |---|---|
//! | `listeners` | opens the listen addresses |
//! | `capacity` | makes smaller what does not fit into the limits of the process (`descriptors`) |
//! | `state_file`, `seeds` | bring back answers, and states of upstreams, that were remembered before |
//! | `hosts_file`, [`host_upstreams`] | watch files of the host that may change |
//! | `shared_cache` | joins the cache that several instances share, where one is configured |
//! | `fronts` | receives queries over UDP and TCP (`stream_answerer`) from clients that may ask (`access`) |
//! | `unwanted_traffic` | logs traffic that nobody should send |
//! | `administration` | gives the admin interface what it shows and does (`export`, `list_request` and the like) |
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
use crate::adapters::upstream::SocketTransport;
use crate::config::settings::Settings;
use crate::core::critical::Standing;
use crate::core::routes::Routes;
use crate::core::special::Readiness;
use crate::memory::Memory;
use crate::resolver::ports::{Chance, Clock};
use crate::resolver::{Ports, Resolver};
use crate::telemetry::events;
use crate::telemetry::tasks::LongTask;

mod access;
mod administration;
mod capacity;
mod descriptors;
mod export;
mod flush_request;
mod fronts;
pub mod host_upstreams;
mod hosts_file;
mod list_request;
mod listeners;
pub(crate) mod name_request;
mod patient_read;
mod running;
mod seeds;
pub(crate) mod shared_cache;
mod start_error;
mod state_file;
mod stream_answerer;
mod unwanted_traffic;

use administration::Administration;
use capacity::FittedSettings;
use fronts::Fronts;
pub use patient_read::at_start;
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

    // Find out what fits into the limits of the process.
    let FittedSettings { settings, upstream: limits, shrunk } = FittedSettings::find(settings);
    let settings = &settings;

    // Open all listen addresses. Queries that arrive during the rest of the start wait in these
    // sockets, and are answered when everything that was remembered is back.
    let transport = SocketTransport::new(limits);
    let upstream = transport.counters();
    let chance: Arc<dyn Chance> = Arc::new(SystemChance::new()?);
    let (bound, missing) = listeners::open(&settings.listen)?;
    // What is missing may come, and then leads back to holdover like the others.
    let addresses: Vec<SocketAddr> =
        bound.iter().map(|listener| listener.address).chain(missing.iter().copied()).collect();
    listeners::refuse_own(&addresses, &settings.upstreams)?;

    // Make the memory, which holds every answer, whoever learned it.
    let routes = Routes::new(&settings.upstreams);
    let memory = Arc::new(Memory::new(&settings.policy, routes, clock.clone()));

    // Start the resolver, which learns into the memory and answers from it.
    let ports = Ports { chance: Arc::clone(&chance), transport: Arc::new(transport) };
    let resolver = Resolver::start(Arc::clone(&memory), &settings.upstreams, ports);

    // Bring in answers from elsewhere. The state file comes before the seeds, since a seed must not
    // replace what is newer.
    let state_file = state_file::start(settings, &clock, &memory, &resolver)?;
    state_file::watch_over(settings, state_file.as_ref(), &resolver);
    seeds::load(&settings.seeds, &memory);
    if let Some(path) = settings.hosts.clone() {
        hosts_file::start(path, &resolver);
    }
    let shared_cache = shared_cache::start(settings, &chance, &resolver);
    let look_again = host_upstreams::start(settings, &addresses, &resolver);

    // Open the admin interface, which shows all of this, and start the fronts, which receive
    // queries from here on. They are answered without the admin interface as well.
    let admin = open_admin(settings);
    let (allowed, last_rejected) = access::access_list(settings.listen.clients.clone());
    let fronts = Fronts::start(settings, (bound, missing), &resolver, &allowed)?;
    let (tallies, connections) = (fronts.tallies(), Arc::clone(fronts.connections()));
    let (watched, counters) = (Arc::clone(&resolver), Arc::clone(&upstream));
    let traffic = UnwantedTrafficWatch::new(watched, tallies, connections, counters, last_rejected);
    resolver.supervise(LongTask::UnwantedTraffic, move || traffic.clone().watch());
    resolver.supervise(LongTask::Footprint, footprint::settle);

    let administration = Administration {
        memory,
        resolver: Arc::clone(&resolver),
        tallies: fronts.tallies(),
        connections: Arc::clone(fronts.connections()),
        upstream,
        listen: addresses.iter().map(ToString::to_string).collect(),
        started,
        shrunk,
        state_file: AdministeredStateFile::new(settings.state.path.clone(), state_file.as_ref()),
        shared_cache,
    };
    if let Some(admin) = &admin {
        admin.serve(Arc::new(administration));
    }

    let labels: Vec<String> = resolver.upstreams().all().iter().map(|upstream| upstream.label.clone()).collect();
    events::Ready { upstreams: &labels, after: clock.now().since(started), awaited: awaited(&resolver) }.emit();
    Ok(Running { resolver, fronts, addresses, look_again, admin, state_file })
}

/// Opens the admin interface, if one is configured. When its thread cannot be started, that is
/// logged, and the sidecar runs without it.
fn open_admin(settings: &Settings) -> Option<AdminThread> {
    let admin = settings.admin.clone()?;
    let address = admin.to_string();
    let opened = AdminThread::open(admin, settings.admin_token_file.clone());
    opened.map_err(|error| events::AdminUnavailable { address: &address, reason: &error.to_string() }.emit()).ok()
}

/// The number of answers for critical names for which health checks still wait.
fn awaited(resolver: &Resolver) -> usize {
    match resolver.readiness() {
        Readiness::Ready => 0,
        Readiness::NotYet | Readiness::Stalled => {
            resolver.critical().iter().filter(|critical| critical.standing == Standing::Missing).count()
        }
    }
}
