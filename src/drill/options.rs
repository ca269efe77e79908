//! The choices of the operator for one drill, and what follows from them: the length of each phase,
//! and the phase of each moment.

use std::net::SocketAddr;
use std::time::Duration;

use super::fault::{Scenario, Timeline};
use super::measure::{DrillPhase, Half, Moment};

/// Length of warm-up and heal around a recorded outage, which has a length of its own.
const RECORDED_MARGIN: Duration = Duration::from_secs(10);

/// Choices of the operator for one drill.
#[derive(Clone, Debug)]
pub struct DrillOptions {
    /// Kind of outage to rehearse.
    pub scenario: Scenario,
    /// Queries per second of each group of clients.
    pub qps: u32,
    /// Number of names that clients ask for.
    pub names: usize,
    /// Unknown names per second in the scenario flood.
    pub flood: u32,
    /// Length of the whole run; that of a recorded outage follows from `speed` instead.
    pub duration: Duration,
    /// How many times faster than in reality a recorded outage passes.
    pub speed: f64,
    /// Seed of the random numbers, with which load and packet loss are reproducible.
    pub seed: u64,
    /// Resolver to be tested instead of holdover.
    pub target: Option<OtherResolver>,
    /// URL of a shared cache on this host, from which a new instance answers in the scenario
    /// restart.
    pub shared_cache: Option<String>,
    /// Format of the report.
    pub output: Output,
}

/// Resolver other than holdover that is to be tested, and that somebody else has started.
#[derive(Clone, Copy, Debug)]
pub struct OtherResolver {
    /// Address on which the resolver listens.
    pub address: SocketAddr,
    /// Address at which the resolver expects its upstream; the drill listens there.
    pub upstream: SocketAddr,
}

/// Format of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// A line per second and a table at the end.
    Table,
    /// One JSON document at the end, and no progress lines.
    Json,
}

/// Length of each phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhaseLengths {
    /// Time before the fault.
    pub warm_up: Duration,
    /// Time from the first failure to the heal.
    pub fault: Duration,
    /// Time from the heal to the end of the run.
    pub heal: Duration,
}

impl PhaseLengths {
    /// Time from the beginning of the run to the heal.
    #[must_use]
    pub const fn until_heal(self) -> Duration {
        self.warm_up.saturating_add(self.fault)
    }

    /// Length of the whole run.
    #[must_use]
    pub const fn total(self) -> Duration {
        self.until_heal().saturating_add(self.heal)
    }

    /// Phase, and time into that phase, at a time since the beginning of the run.
    #[must_use]
    pub fn moment(self, elapsed: Duration) -> Moment {
        let (phase, began, length) = if elapsed < self.warm_up {
            (DrillPhase::WarmUp, Duration::ZERO, self.warm_up)
        } else if elapsed < self.until_heal() {
            (DrillPhase::Fault, self.warm_up, self.fault)
        } else {
            (DrillPhase::Heal, self.until_heal(), self.heal)
        };
        let into = elapsed.saturating_sub(began);
        Moment { phase, half: if into < length / 2 { Half::First } else { Half::Second }, into }
    }
}

impl Default for DrillOptions {
    fn default() -> Self {
        Self {
            scenario: Scenario::Blackhole,
            qps: 500,
            names: 300,
            flood: 10_000,
            duration: Duration::from_secs(60),
            speed: 120.0,
            seed: 1,
            target: None,
            shared_cache: None,
            output: Output::Table,
        }
    }
}

impl DrillOptions {
    /// Queries per second that clients send: as many as the operator chose, or the most that the
    /// scenario allows.
    #[must_use]
    pub fn per_second(&self) -> u32 {
        self.qps.clamp(1, self.scenario.demand().per_second_max)
    }

    /// Number of names that are known before the fault.
    #[must_use]
    pub fn known_names(&self) -> usize {
        self.scenario.demand().known_names(self.names)
    }

    /// Lengths of the phases that follow from these choices.
    #[must_use]
    pub fn phases(&self) -> PhaseLengths {
        match self.scenario.timeline() {
            Timeline::Shares { warm_up_percent, fault_percent } => {
                let warm_up = self.duration * warm_up_percent / 100;
                let fault = self.duration * fault_percent / 100;
                PhaseLengths { warm_up, fault, heal: self.duration.saturating_sub(warm_up + fault) }
            }
            Timeline::Recorded(length) => PhaseLengths {
                warm_up: RECORDED_MARGIN,
                fault: length.div_f64(self.speed.max(1.0)),
                heal: RECORDED_MARGIN,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_share_the_duration_unless_the_outage_was_recorded() {
        let seconds = Duration::from_secs;
        let options = DrillOptions::default();
        assert_eq!(options.phases(), PhaseLengths { warm_up: seconds(15), fault: seconds(30), heal: seconds(15) });
        let seoul = DrillOptions { scenario: Scenario::Seoul, ..options };
        assert_eq!(seoul.phases(), PhaseLengths { warm_up: seconds(10), fault: seconds(62), heal: seconds(10) });
    }

    #[test]
    fn each_moment_lies_in_the_phase_that_is_under_way() {
        let phases = DrillOptions::default().phases();
        let moment = |seconds| phases.moment(Duration::from_secs(seconds));
        let expected = |phase, half, into| Moment { phase, half, into: Duration::from_secs(into) };
        assert_eq!(moment(14), expected(DrillPhase::WarmUp, Half::Second, 14));
        assert_eq!(moment(15), expected(DrillPhase::Fault, Half::First, 0));
        assert_eq!(moment(30), expected(DrillPhase::Fault, Half::Second, 15));
        assert_eq!(moment(46), expected(DrillPhase::Heal, Half::First, 1));
    }

    #[test]
    fn a_scenario_can_lower_the_rate_and_choose_its_names() {
        let options = DrillOptions { scenario: Scenario::LowRate, ..DrillOptions::default() };
        assert_eq!((options.per_second(), options.known_names()), (1, 10));
        let options = DrillOptions { scenario: Scenario::Blackhole, ..options };
        assert_eq!((options.per_second(), options.known_names()), (500, 300));
    }
}
