//! `holdover drill`: arguments of the rehearsal, checked.

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::config::error::EXIT_USAGE;
use crate::config::quantity::{read_duration, show_duration};
use crate::config::settings::Server;
use crate::config::validate::shared_cache_servers;
use crate::drill::fault::Scenario;
use crate::drill::{self, Options, Output, Target};
use crate::telemetry::console;

/// Flags of `holdover drill`.
#[derive(Debug, Args)]
pub struct DrillArguments {
    /// What goes wrong
    #[arg(long, value_enum, default_value = "blackhole")]
    scenario: Scenario,
    /// Queries a second, with and without holdover each: 1 to 20000
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    qps: u32,
    /// Names in use: 1 to 10000
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    names: u32,
    /// Unknown names a second in the scenario flood: 100 to 50000
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..=50_000))]
    flood: u32,
    /// Length of the whole run: 4s to 1h, from 20s on it tells how soon answers are fresh again;
    /// Seoul's follows from --speed
    #[arg(long, default_value = "40s", value_parser = duration)]
    duration: Duration,
    /// How many times faster than life the 124 minutes of Seoul pass: 1 to 1000
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=1000))]
    speed: u32,
    /// Makes load and loss reproducible
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Tests another resolver, which listens here, instead of holdover
    #[arg(long, value_name = "ADDR:PORT", requires = "upstream_listen")]
    target: Option<SocketAddr>,
    /// Where that resolver expects its upstream
    #[arg(long, value_name = "ADDR:PORT", requires = "target")]
    upstream_listen: Option<SocketAddr>,
    /// In the scenario restart: a Valkey or Redis on this host, through which a new, empty instance
    /// beside it learns what it knew
    #[arg(long, value_name = "URL", value_parser = shared_cache)]
    shared_cache: Option<String>,
    /// Prints one JSON document instead of the table
    #[arg(long)]
    json: bool,
}

/// Shortest run: three phases of at least a second.
const DURATION_MIN: Duration = Duration::from_secs(4);
/// Longest run.
const DURATION_MAX: Duration = Duration::from_secs(3600);

/// Reads the length of the run.
fn duration(text: &str) -> Result<Duration, String> {
    let read = read_duration(text).filter(|duration| (DURATION_MIN..=DURATION_MAX).contains(duration));
    read.ok_or_else(|| {
        format!(
            "give a duration with a unit, {} to {}, such as 40s",
            show_duration(DURATION_MIN),
            show_duration(DURATION_MAX)
        )
    })
}

/// Reads the URL of a shared cache, which has to be on this host.
fn shared_cache(url: &str) -> Result<String, String> {
    let is_here = |server: &Server| server.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match shared_cache_servers(url) {
        Err(wrong) => Err(format!("it {wrong}")),
        Ok(servers) if servers.hosts.iter().all(is_here) => Ok(url.to_owned()),
        Ok(_) => {
            Err("give loopback addresses, such as redis://127.0.0.1:6379: a drill is a load test; it sends to this host only".to_owned())
        }
    }
}

/// Runs the subcommand.
///
/// # Errors
/// Sockets or threads could not be had.
pub fn run(arguments: DrillArguments) -> anyhow::Result<ExitCode> {
    let target =
        arguments.target.zip(arguments.upstream_listen).map(|(address, upstream)| Target { address, upstream });
    if let Some(outside) = target
        .into_iter()
        .flat_map(|target| [target.address, target.upstream])
        .find(|address| !address.ip().is_loopback())
    {
        console::complain(format_args!(
            "{outside} is not a loopback address. A drill is a load test; it sends to this host only."
        ));
        return Ok(ExitCode::from(EXIT_USAGE));
    }
    if target.is_some() && arguments.scenario == Scenario::Restart {
        console::complain(
            "--scenario restart kills what it tests, and starts only holdover again; leave --target out.",
        );
        return Ok(ExitCode::from(EXIT_USAGE));
    }
    if arguments.shared_cache.is_some() && arguments.scenario != Scenario::Restart {
        console::complain("--shared-cache is for --scenario restart, in which a new instance lives from it.");
        return Ok(ExitCode::from(EXIT_USAGE));
    }
    if arguments.shared_cache.is_some() && !cfg!(feature = "shared-cache") {
        console::complain("--shared-cache needs a holdover that was built with the feature shared-cache.");
        return Ok(ExitCode::from(EXIT_USAGE));
    }
    drill::run(&Options {
        scenario: arguments.scenario,
        qps: arguments.qps,
        names: usize::try_from(arguments.names)?,
        flood: arguments.flood,
        duration: arguments.duration,
        speed: f64::from(arguments.speed),
        seed: arguments.seed,
        target,
        shared_cache: arguments.shared_cache,
        output: if arguments.json { Output::Json } else { Output::Table },
    })
}
