//! The rehearsal of an outage: an upstream that fails on purpose, a real sidecar in front of it,
//! clients with and without the sidecar, and a verdict.
//!
//! Everything runs on loopback in one process, without privileges; only the scenario that kills the
//! sidecar starts child processes. The upstreams, the sidecar and the clients each have a thread
//! and a runtime of their own, so that none of them delays another.
//!
//! A scenario is one value, [`fault::Scenario`], which says what the fault does and what is
//! promised under it. Adding a scenario begins there.

pub mod client;
pub mod demand;
pub mod fate;
pub mod fault;
pub mod flood;
mod load;
pub mod measure;
pub mod options;
mod phases;
pub mod promise;
pub mod report;
mod restart;
mod sidecar;
mod test_bed;
pub mod upstream;
pub mod verdict;
pub mod zone;
pub mod zone_clock;

use std::process::ExitCode;

use anyhow::Context;

use crate::telemetry::console;
use fault::Incident;
use load::{ByGroup, Load};
use options::{DrillOptions, Output};
use report::Report;
use test_bed::TestBed;
use verdict::Evidence;
use zone_clock::ZoneClock;

/// Runs a drill and prints its report; the exit code is 0 if all promises were kept, otherwise 1.
///
/// # Errors
/// An upstream or a sidecar cannot be started, such as when its address is taken, or the report
/// cannot be printed.
pub fn run(options: &DrillOptions) -> anyhow::Result<ExitCode> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot make a runtime")?;
    runtime.block_on(rehearse(options))
}

async fn rehearse(options: &DrillOptions) -> anyhow::Result<ExitCode> {
    // Set up the test bed, and fill the cache first if the scenario needs a full one.
    let clock = ZoneClock::new(options.scenario.renewal());
    let bed = TestBed::set_up(options, &clock)?;
    let subject = options.target.map_or_else(|| "holdover".to_owned(), |target| target.address.to_string());
    console::remark(report::introduction(options, &subject));
    let load = Load::new(options, clock);
    load.ask_subject(bed.subject());
    load.ask_upstream(bed.direct());
    match options.scenario.incident() {
        Incident::Flood => flood::fill(options, bed.subject()).await.context("cannot fill the cache")?,
        Incident::None | Incident::Restart => {}
    }

    // Play the phases.
    let observed = phases::play(options, &bed, &load).await?;
    let ByGroup { with, without, newcomer } = load.into_results();
    let newcomer = options.shared_cache.is_some().then_some(&newcomer);

    // Compare the measurements with the promises, and print the report.
    let evidence = Evidence {
        with: &with,
        newcomer,
        peak_packets: observed.peaks.with,
        peak_packets_after_heal: observed.peak_after_heal,
        outages: observed.outages,
        flood: observed.flood.as_ref(),
        heal: options.phases().heal,
        back_after: observed.back_after,
    };
    let promises = options.scenario.expects(flood::cache_bound(options));
    let checks = verdict::verdict(&promises, &evidence);
    let report = Report {
        options,
        with: &with,
        without: &without,
        newcomer,
        peaks: observed.peaks,
        peak_after_heal: observed.peak_after_heal,
        outages: observed.outages,
        checks: &checks,
    };
    match options.output {
        Output::Table => console::say(&report::table(&report)),
        Output::Json => console::say(&format!("{:#}\n", report::document(&report))),
    }?;
    bed.tear_down();
    Ok(if checks.iter().all(|check| check.kept) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
