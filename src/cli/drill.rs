//! `holdover drill`: reads and checks the arguments of a drill, then runs it.
//!
//! A drill is a load test, so every address that an argument gives has to be on loopback.

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::config::error::EXIT_USAGE;
use crate::config::quantity::{read_duration, show_duration};
use crate::config::settings::Server;
use crate::config::validate::shared_cache_servers;
use crate::drill;
use crate::drill::fault::{Incident, NameServers, Scenario};
use crate::drill::options::{DrillOptions, OtherResolver, Output};
use crate::telemetry::console;

/// Arguments of `holdover drill`; the docstrings of the fields are the texts of `--help`.
#[derive(Debug, Args)]
pub struct DrillArguments {
    /// The outage to rehearse
    #[arg(long, value_enum, default_value = "blackhole")]
    scenario: Scenario,
    /// Queries per second, sent both with holdover and without: 1 to 20000. The scenario low-rate
    /// sends 1, cold-loss at most 100, and slow-authority, views and recovery at most 500
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    qps: u32,
    /// Number of names that clients ask for: 1 to 10000. The scenarios low-rate, recovery and
    /// cold-loss choose their names themselves
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    names: u32,
    /// Unknown names per second in the scenario flood: 100 to 50000
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..=50_000))]
    flood: u32,
    /// Length of the whole run: 4s to 1h. Shorter runs than 20s may not show how soon answers are
    /// fresh again. In the scenario seoul, --speed sets the length instead
    #[arg(long, default_value = "60s", value_parser = duration)]
    duration: Duration,
    /// How many times faster than in reality the 124 minutes of the scenario seoul pass: 1 to 1000
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=1000))]
    speed: u32,
    /// Seed of the random numbers: load and packet loss are reproducible with the same seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Address of another resolver, which is tested instead of holdover
    #[arg(long, value_name = "ADDR:PORT", requires = "upstream_listen")]
    target: Option<SocketAddr>,
    /// Address at which that resolver expects its upstream; the drill listens there
    #[arg(long, value_name = "ADDR:PORT", requires = "target")]
    upstream_listen: Option<SocketAddr>,
    /// In the scenario restart: a Valkey or Redis on this host, from which a new, empty instance
    /// answers what the killed one had learned
    #[arg(long, value_name = "URL", value_parser = shared_cache)]
    shared_cache: Option<String>,
    /// Print one JSON document instead of the table
    #[arg(long)]
    json: bool,
}

/// Shortest run: each of the three phases takes at least a second.
const DURATION_MIN: Duration = Duration::from_secs(4);
const DURATION_MAX: Duration = Duration::from_secs(3600);

/// Reads the length of the run.
fn duration(text: &str) -> Result<Duration, String> {
    let read = read_duration(text).filter(|duration| (DURATION_MIN..=DURATION_MAX).contains(duration));
    read.ok_or_else(|| {
        format!(
            "give a duration with a unit, {} to {}, such as 60s",
            show_duration(DURATION_MIN),
            show_duration(DURATION_MAX)
        )
    })
}

/// Reads the URL of a shared cache, which has to be on loopback.
fn shared_cache(url: &str) -> Result<String, String> {
    let is_loopback = |server: &Server| server.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match shared_cache_servers(url) {
        Err(wrong) => Err(format!("it {wrong}")),
        Ok(servers) if servers.hosts.iter().all(is_loopback) => Ok(url.to_owned()),
        Ok(_) => Err("give loopback addresses, such as redis://127.0.0.1:6379: a drill is a load test, \
                      and sends packets to this host only"
            .to_owned()),
    }
}

/// Runs `holdover drill`; wrong combinations of arguments are printed and give the exit code of
/// wrong usage.
///
/// # Errors
/// An upstream or a sidecar cannot be started, or the report cannot be printed.
pub fn run(arguments: DrillArguments) -> anyhow::Result<ExitCode> {
    match options(arguments) {
        Ok(options) => drill::run(&options),
        Err(message) => {
            console::complain(message);
            Ok(ExitCode::from(EXIT_USAGE))
        }
    }
}

/// Checks the arguments against each other; the error is a message for the operator.
fn options(arguments: DrillArguments) -> Result<DrillOptions, String> {
    // A drill sends packets to this host only.
    let target =
        arguments.target.zip(arguments.upstream_listen).map(|(address, upstream)| OtherResolver { address, upstream });
    let addresses = target.into_iter().flat_map(|target| [target.address, target.upstream]);
    if let Some(outside) = addresses.into_iter().find(|address| !address.ip().is_loopback()) {
        return Err(format!(
            "{outside} is not a loopback address. A drill is a load test, and sends packets to this host only."
        ));
    }
    // Some arguments belong to the scenario that kills and restarts holdover, or cannot be combined
    // with it.
    let restarts = arguments.scenario.incident() == Incident::Restart;
    if target.is_some() && restarts {
        return Err("--scenario restart kills the resolver that it tests, and can start only holdover again; \
                       leave out --target."
            .to_owned());
    }
    if target.is_some() && arguments.scenario.name_servers() != NameServers::One {
        return Err("--scenario views needs two upstreams, and another resolver has only that of --upstream-listen; \
                       leave out --target."
            .to_owned());
    }
    if arguments.shared_cache.is_some() && !restarts {
        return Err("--shared-cache is for --scenario restart, in which a new instance answers from it.".to_owned());
    }
    if arguments.shared_cache.is_some() && !cfg!(feature = "shared-cache") {
        return Err("--shared-cache needs a holdover that was built with the feature shared-cache.".to_owned());
    }
    Ok(DrillOptions {
        scenario: arguments.scenario,
        qps: arguments.qps,
        names: usize::try_from(arguments.names).unwrap_or(usize::MAX),
        flood: arguments.flood,
        duration: arguments.duration,
        speed: f64::from(arguments.speed),
        seed: arguments.seed,
        target,
        shared_cache: arguments.shared_cache,
        output: if arguments.json { Output::Json } else { Output::Table },
    })
}
