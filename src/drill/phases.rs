//! The three phases of a drill: everything works, the fault, everything works again.
//!
//! Three things happen at the same time: clients send queries, the packets at the upstreams are
//! counted and a progress line is printed every second, and the fault begins and is healed.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use anyhow::Context;
use tokio::time::Instant;

use super::fate::Fault;
use super::fault::Incident;
use super::flood::{self, Flood, FloodResults};
use super::load::Load;
use super::measure::{ClientResults, PacketCounts};
use super::options::DrillOptions;
use super::restart::Downtime;
use super::test_bed::TestBed;
use super::upstream::ActiveFault;
use super::verdict::OutageCounts;
use super::zone_clock::ZoneClock;

/// How often the packets at the upstreams are counted, [`COUNTS_PER_SECOND`] times a second.
const COUNT_EVERY: Duration = Duration::from_millis(100);
/// Counts of one second.
const COUNTS_PER_SECOND: usize = 10;
/// How often memory is measured during a flood.
const MEMORY_EVERY: Duration = Duration::from_millis(250);

/// Measurements of the phases, except those of the clients, which the load keeps.
pub(super) struct Observed {
    /// The most packets that each upstream received in any second.
    pub(super) peaks: PacketCounts,
    /// The most packets that the resolver under test sent upstream in any second after the heal.
    pub(super) peak_after_heal: u64,
    /// Outages that the sidecar announced; `None` if the drill cannot look into it.
    pub(super) outages: Option<OutageCounts>,
    /// Measurements of the flood; `None` in other scenarios.
    pub(super) flood: Option<FloodResults>,
    /// Time from the start to the first answer of a sidecar that had been killed; `None` if it
    /// never answered, and in other scenarios.
    pub(super) back_after: Option<Duration>,
}

/// Plays all phases, from the first query to the last response.
pub(super) async fn play(options: &DrillOptions, bed: &TestBed, load: &Load) -> anyhow::Result<Observed> {
    load.prime().await;
    let began = Instant::now();
    let ((), watched, caused) = tokio::join!(
        load.drive(options, began),
        watch(options, bed, load, began),
        cause_fault(options, bed, load, began),
    );
    let Caused { flood, back_after } = caused.context("cannot start the flood")?;
    let Watch { peaks, peak_after_heal, outages_before_heal } = watched;
    let outages = bed.outages().map(|whole_run| OutageCounts {
        whole_run,
        after_heal: whole_run.saturating_sub(outages_before_heal.unwrap_or_default()),
    });
    Ok(Observed { peaks, peak_after_heal, outages, flood, back_after })
}

/// What was seen while the phases were played.
#[derive(Default)]
struct Watch {
    /// The most packets that each upstream received between two progress lines.
    peaks: PacketCounts,
    /// The most packets that the resolver under test sent upstream in any second after the heal,
    /// wherever that second begins.
    peak_after_heal: u64,
    /// Outages that were announced before the heal; `None` if the drill cannot look into the
    /// sidecar.
    outages_before_heal: Option<u64>,
}

/// Counts packets, and prints a progress line per second, until the end of the run.
async fn watch(options: &DrillOptions, bed: &TestBed, load: &Load, began: Instant) -> Watch {
    let phases = options.phases();
    let mut seen = Watch::default();
    let mut before = bed.received();
    // Packets received up to each moment after the heal, for the last second.
    let mut since_heal = VecDeque::new();
    let mut tick = tokio::time::interval_at(began + COUNT_EVERY, COUNT_EVERY);
    for nth in 1_usize.. {
        let elapsed = tick.tick().await.duration_since(began);
        let received = bed.received();
        if elapsed <= phases.until_heal() {
            seen.outages_before_heal = bed.outages();
        }
        if elapsed >= phases.until_heal() {
            since_heal.push_back(received.with);
            let a_second_ago = if since_heal.len() > COUNTS_PER_SECOND { since_heal.pop_front() } else { None };
            let base = a_second_ago.or_else(|| since_heal.front().copied()).unwrap_or_default();
            seen.peak_after_heal = seen.peak_after_heal.max(received.with.saturating_sub(base));
        }
        if nth.is_multiple_of(COUNTS_PER_SECOND) {
            let packets = received.since(before);
            before = received;
            seen.peaks = seen.peaks.max(packets);
            // The line is about the second that has just passed, so its middle decides on the
            // phase.
            let phase = phases.moment(elapsed.saturating_sub(Duration::from_millis(500))).phase;
            load.print_progress(elapsed, phase, packets.with, bed.upstream_state());
            if elapsed >= phases.total() {
                break;
            }
        }
    }
    seen
}

/// Measurements of the incident that happened during the fault besides the upstream's failure.
#[derive(Default)]
struct Caused {
    flood: Option<FloodResults>,
    back_after: Option<Duration>,
}

/// Begins the fault after the warm-up, causes the incident that belongs to the scenario, and heals
/// the fault.
async fn cause_fault(options: &DrillOptions, bed: &TestBed, load: &Load, began: Instant) -> io::Result<Caused> {
    let phases = options.phases();
    tokio::time::sleep_until(began + phases.warm_up).await;
    let fault = Fault { scenario: options.scenario, length: phases.fault, speed: options.speed };
    load.clock().move_names();
    bed.set_fault(Some(ActiveFault { fault, began: Instant::now() }));
    let heal = began + phases.until_heal();
    match options.scenario.incident() {
        Incident::None => {
            heal_at(heal, bed).await;
            Ok(Caused::default())
        }
        Incident::Restart => {
            tokio::time::sleep_until(began + phases.warm_up + phases.fault / 2).await;
            let back_after = restart(bed, load).await;
            heal_at(heal, bed).await;
            Ok(Caused { back_after, ..Caused::default() })
        }
        Incident::Flood => {
            let flooded = flood_until_heal(options, bed, load.clock()).await;
            heal_at(heal, bed).await;
            let (flood, results) = flooded?;
            let flood = Some(finish_flood(flood, results, bed).await?);
            Ok(Caused { flood, ..Caused::default() })
        }
    }
}

/// Heals the fault at this moment.
async fn heal_at(moment: Instant, bed: &TestBed) {
    tokio::time::sleep_until(moment).await;
    bed.set_fault(None);
}

/// Kills the sidecar and starts it again, then starts the new instance if there is a shared cache;
/// gives the time from the restart to the first answer.
async fn restart(bed: &TestBed, load: &Load) -> Option<Duration> {
    let from = Instant::now();
    load.note_downtime(Downtime { from, until: None });
    let back_after = bed.restart().await;
    load.note_downtime(Downtime { from, until: Some(Instant::now()) });
    if let Some(address) = bed.start_newcomer().await {
        load.ask_newcomer(address);
    }
    back_after
}

/// Sends the flood for as long as the fault lasts, asks for critical names meanwhile, and measures
/// memory. Gives the flood, whose last responses are still to come, and the measurements so far.
async fn flood_until_heal(
    options: &DrillOptions,
    bed: &TestBed,
    clock: &ZoneClock,
) -> io::Result<(Flood, FloodResults)> {
    let resident_before = flood::resident();
    let entries_before = bed.entries();
    let mut flood = Flood::start(bed.subject(), options.flood, options.seed)?;
    let mut resident_peak = resident_before;
    let measure_memory = async {
        loop {
            tokio::time::sleep(MEMORY_EVERY).await;
            resident_peak = resident_peak.max(flood::resident());
        }
    };
    // Measuring memory never ends by itself: the critical names decide when it is over.
    let critical = tokio::select! {
        critical = flood::ask_for_critical(options, bed.subject(), clock, options.phases().fault) => critical,
        () = measure_memory => ClientResults::default(),
    };
    flood.end();
    let results = FloodResults { critical, resident_before, resident_peak, entries_before, ..FloodResults::default() };
    Ok((flood, results))
}

/// Waits for the last responses of a flood and completes its measurements.
async fn finish_flood(flood: Flood, results: FloodResults, bed: &TestBed) -> io::Result<FloodResults> {
    // The last responses can take seconds, so a thread where no client runs waits for them.
    let counted = tokio::task::spawn_blocking(move || flood.finish()).await.map_err(io::Error::other)?;
    Ok(FloodResults {
        sent: counted.sent,
        answered: counted.answered,
        lasted: counted.lasted,
        entries_after: bed.entries(),
        ..results
    })
}
