//! The rehearsal: an upstream that fails on purpose, a real sidecar in front of it, clients with
//! and without it, a verdict.
//!
//! One process, no privileges, only loopback. The upstream, the sidecar and the clients each have a
//! thread and a runtime of their own, so that none is slow on account of another. The load is
//! open-loop: each query has a moment at which it is due, and its latency counts from there,
//! whatever the ones before it did.

pub mod client;
pub mod fault;
pub mod flood;
mod load;
pub mod measure;
pub mod report;
mod restart;
mod sidecar;
pub mod upstream;
pub mod verdict;
pub mod zone;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::telemetry::console;
use fault::Scenario;
use flood::{Flood, Flooded};
use load::Columns;
use measure::{Moment, Phase};
use report::Report;
use restart::{Gap, Restarted};
use sidecar::Sidecar;
use upstream::{Fault, Upstream};
use verdict::Evidence;

/// Share of the run in which all is well before the fault, in percent.
const WARM_UP_PERCENT: u32 = 25;
/// Share of the fault, in percent.
const FAULT_PERCENT: u32 = 50;
/// Warm-up and heal of a Seoul drill.
const SEOUL_MARGIN: Duration = Duration::from_secs(10);

/// How often memory is measured during a flood.
const MEMORY_EVERY: Duration = Duration::from_millis(250);

/// What is rehearsed.
#[derive(Clone, Debug)]
pub struct Options {
    /// What goes wrong.
    pub scenario: Scenario,
    /// Queries a second, in each of the two columns.
    pub qps: u32,
    /// Names in use.
    pub names: usize,
    /// Unknown names a second in the scenario flood.
    pub flood: u32,
    /// Length of the whole run; Seoul's follows from `speed`.
    pub duration: Duration,
    /// How fast Seoul passes.
    pub speed: f64,
    /// Makes load and loss reproducible.
    pub seed: u64,
    /// Another resolver to be tested instead of holdover: where it listens, and where it expects
    /// its upstream.
    pub target: Option<Target>,
    /// URL of a shared cache on this host, from which a new instance lives in the scenario restart.
    pub shared_cache: Option<String>,
    /// How results are told.
    pub output: Output,
}

/// Another resolver to be tested.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where it expects its upstream.
    pub upstream: SocketAddr,
}

/// How results are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// A table.
    Table,
    /// One JSON document.
    Json,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            scenario: Scenario::Blackhole,
            qps: 500,
            names: 300,
            flood: 10_000,
            duration: Duration::from_secs(40),
            speed: 120.0,
            seed: 1,
            target: None,
            shared_cache: None,
            output: Output::Table,
        }
    }
}

impl Options {
    /// Lengths of warm-up, fault and heal.
    #[must_use]
    pub fn phases(&self) -> [Duration; 3] {
        if self.scenario == Scenario::Seoul {
            return [SEOUL_MARGIN, fault::SEOUL.div_f64(self.speed.max(1.0)), SEOUL_MARGIN];
        }
        let (warm_up, fault) = (self.duration * WARM_UP_PERCENT / 100, self.duration * FAULT_PERCENT / 100);
        [warm_up, fault, self.duration.saturating_sub(warm_up + fault)]
    }

    /// The phase at a time since the beginning.
    #[must_use]
    fn moment(&self, elapsed: Duration) -> Moment {
        let [warm_up, fault, _] = self.phases();
        if elapsed < warm_up {
            Moment { phase: Phase::WarmUp, into: elapsed }
        } else if elapsed < warm_up + fault {
            Moment { phase: Phase::Fault, into: elapsed.saturating_sub(warm_up) }
        } else {
            Moment { phase: Phase::Heal, into: elapsed.saturating_sub(warm_up + fault) }
        }
    }
}

/// The two upstreams and what is tested.
struct Stage {
    /// Behind the resolver under test.
    behind: Upstream,
    /// Asked directly.
    direct: Upstream,
    /// Where the resolver under test listens.
    subject: SocketAddr,
    /// The sidecar, when it is ours and in this process.
    sidecar: Option<Sidecar>,
    /// The sidecar, when it is to be killed.
    child: Arc<Mutex<Option<Restarted>>>,
}

impl Stage {
    /// Sets everything up.
    fn set(options: &Options, zone_began: Instant) -> anyhow::Result<Self> {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let at = options.target.map_or(loopback, |target| target.upstream);
        let behind = Upstream::start(at, zone_began, options.seed)
            .with_context(|| format!("cannot start the upstream on {at}"))?;
        let direct =
            Upstream::start(loopback, zone_began, options.seed ^ 0x5bd1).context("cannot start the second upstream")?;
        let (subject, sidecar, child) = match options.target {
            Some(target) => (target.address, None, None),
            None if options.scenario == Scenario::Restart => {
                let child = Restarted::start(behind.address(), options.shared_cache.as_deref())?;
                (child.address(), None, Some(child))
            }
            None => {
                let sidecar = Sidecar::start(behind.address(), |settings| {
                    if options.scenario == Scenario::Flood {
                        flood::prepare(options, settings);
                    }
                })?;
                (sidecar.address(), Some(sidecar), None)
            }
        };
        Ok(Self { behind, direct, subject, sidecar, child: Arc::new(Mutex::new(child)) })
    }

    /// Lets the fault happen on both upstreams, or heals it.
    fn set_fault(&self, fault: Option<Fault>) {
        self.behind.set_fault(fault);
        self.direct.set_fault(fault);
    }

    /// Good answers that the sidecar remembers.
    fn entries(&self) -> u64 {
        self.sidecar.as_ref().map_or(0, Sidecar::entries)
    }

    /// Kills the child and starts it again; gives how long the new one took to its first answer,
    /// none when there is no child or it failed.
    async fn restart(&self) -> Option<Duration> {
        let child = Arc::clone(&self.child);
        // It waits for processes and sockets: not where the clients run.
        let restarted = tokio::task::spawn_blocking(move || child.lock().as_mut().map(Restarted::restart)).await;
        match restarted.ok()?? {
            Ok(took) => Some(took),
            Err(error) => {
                console::complain(format_args!("{error:#}"));
                None
            }
        }
    }

    /// Starts a new instance beside the child, where they share a cache; gives where it listens
    /// once it answers.
    async fn start_newcomer(&self) -> anyhow::Result<Option<SocketAddr>> {
        let child = Arc::clone(&self.child);
        let started = tokio::task::spawn_blocking(move || child.lock().as_mut().map(Restarted::start_newcomer)).await;
        Ok(started?.transpose()?.flatten())
    }

    /// What the sidecar thinks of its upstream.
    fn state(&self) -> &'static str {
        self.sidecar.as_ref().map_or("", Sidecar::state)
    }
}

/// Runs the drill; the exit code is 0 when all promises were kept, 1 otherwise.
///
/// # Errors
/// Sockets or threads could not be had, or the result cannot be written.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot make a runtime")?;
    runtime.block_on(rehearse(options))
}

/// The drill itself.
async fn rehearse(options: &Options) -> anyhow::Result<ExitCode> {
    let zone_began = Instant::now();
    let stage = Stage::set(options, zone_began)?;
    let subject = options.target.map_or_else(|| "holdover".to_owned(), |target| target.address.to_string());
    console::remark(report::introduction(options, options.phases(), &subject));
    let columns = Columns::new(options, [stage.subject, stage.direct.address()], zone_began);
    if options.scenario == Scenario::Flood {
        flood::fill(options, stage.subject).await.context("cannot fill the cache")?;
    }
    let Played { peaks, flooded, back_after } = play(options, &stage, &columns).await?;
    let [with, without, newcomer] = columns.take();
    let newcomer = options.shared_cache.is_some().then_some(&newcomer);
    let [_, _, heal] = options.phases();
    let evidence = Evidence {
        scenario: options.scenario,
        with: &with,
        newcomer,
        peak_packets: peaks[0],
        heal,
        flooded: flooded.as_ref(),
        back_after,
    };
    let checks = verdict::verdict(&evidence);
    let report = Report { options, with: &with, without: &without, newcomer, peaks, checks: &checks };
    match options.output {
        Output::Table => console::say(&report::table(&report)),
        Output::Json => console::say(&format!("{:#}\n", report::document(&report))),
    }?;
    if let Some(sidecar) = stage.sidecar {
        sidecar.stop();
    }
    Ok(if checks.iter().all(|check| check.kept) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the phases came to.
struct Played {
    /// The most packets in a second of both upstreams.
    peaks: [u64; 2],
    /// What came of a flood.
    flooded: Option<Flooded>,
    /// How soon a child that was killed answered again.
    back_after: Option<Duration>,
}

/// Plays the phases.
async fn play(options: &Options, stage: &Stage, columns: &Columns) -> anyhow::Result<Played> {
    columns.prime().await;
    let began = Instant::now();
    let [warm_up, fault, heal] = options.phases();
    let end = warm_up + fault + heal;
    let load = columns.drive(options, began, end);
    let watch = async {
        let mut peaks = [0, 0];
        let mut before = [stage.behind.received(), stage.direct.received()];
        let mut tick = tokio::time::interval_at(began + Duration::from_secs(1), Duration::from_secs(1));
        loop {
            let elapsed = tick.tick().await.duration_since(began);
            let now = [stage.behind.received(), stage.direct.received()];
            let packets = [now[0] - before[0], now[1] - before[1]];
            before = now;
            peaks = [peaks[0].max(packets[0]), peaks[1].max(packets[1])];
            columns.progress(
                elapsed,
                options.moment(elapsed.saturating_sub(Duration::from_millis(500))).phase,
                packets[0],
                stage.state(),
            );
            if elapsed >= end {
                return peaks;
            }
        }
    };
    let faults = async {
        tokio::time::sleep_until(began + warm_up).await;
        stage.set_fault(Some(Fault {
            scenario: options.scenario,
            began: Instant::now(),
            whole: fault,
            speed: options.speed,
        }));
        let flooded = match options.scenario {
            Scenario::Flood => Some(inundate(options, stage, columns.zone_began(), fault).await),
            _ => None,
        };
        let mut back_after = None;
        if options.scenario == Scenario::Restart {
            tokio::time::sleep_until(began + warm_up + fault / 2).await;
            let from = Instant::now();
            columns.note_gap(Gap { from, until: None });
            back_after = stage.restart().await;
            columns.note_gap(Gap { from, until: Some(Instant::now()) });
            match stage.start_newcomer().await {
                Ok(Some(address)) => columns.add_newcomer(address),
                Ok(None) => {}
                Err(error) => console::complain(format_args!("{error:#}")),
            }
        }
        tokio::time::sleep_until(began + warm_up + fault).await;
        stage.set_fault(None);
        let flooded = match flooded {
            Some(flooded) => finish(flooded?, stage).await.map(Some),
            None => Ok(None),
        };
        flooded.map(|flooded| (flooded, back_after))
    };
    let ((), peaks, seen) = tokio::join!(load, watch, faults);
    let (flooded, back_after) = seen.context("cannot start the flood")?;
    Ok(Played { peaks, flooded, back_after })
}

/// Lets the flood come for as long as the fault lasts, and looks at what it does; gives the flood,
/// whose last answers are still to come.
async fn inundate(
    options: &Options,
    stage: &Stage,
    zone_began: Instant,
    fault: Duration,
) -> std::io::Result<(Flood, Flooded)> {
    let before = flood::resident();
    let entries = [stage.entries(), 0];
    let mut flood = Flood::start(stage.subject, options.flood, options.seed)?;
    let mut peak = before;
    let watch = async {
        loop {
            tokio::time::sleep(MEMORY_EVERY).await;
            peak = peak.max(flood::resident());
        }
    };
    let critical = tokio::select! {
        critical = flood::ask_for_critical(options, stage.subject, zone_began, fault) => critical,
        () = watch => measure::Column::default(),
    };
    flood.end();
    Ok((
        flood,
        Flooded {
            critical,
            resident: [before, peak],
            entries,
            entries_max: flood::entries_max(options),
            ..Flooded::default()
        },
    ))
}

/// Waits for the last answers of a flood.
async fn finish((flood, seen): (Flood, Flooded), stage: &Stage) -> std::io::Result<Flooded> {
    let counted = tokio::task::spawn_blocking(move || flood.finish()).await.map_err(std::io::Error::other)?;
    let [before, _] = seen.entries;
    Ok(Flooded {
        sent: counted.sent,
        answered: counted.answered,
        lasted: counted.lasted,
        entries: [before, stage.entries()],
        ..seen
    })
}
