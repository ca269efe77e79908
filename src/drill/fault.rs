//! What goes wrong: a pure function of scenario, time since the fault began, name, and dice.

use std::time::Duration;

use clap::ValueEnum;

/// A kind of outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Scenario {
    /// Every packet is lost, at once
    Blackhole,
    /// Every packet is lost, and thousands of unknown names a second are asked for
    Flood,
    /// The port is closed: ICMP errors
    Refused,
    /// SERVFAIL for every name
    Servfail,
    /// Half of all packets are lost
    Loss,
    /// Every answer comes 1 to 4 s late
    Slow,
    /// NXDOMAIN for a quarter of the names, then for all
    Nxdomain,
    /// Three seconds dead, three alive, over and over
    Flap,
    /// Every packet is lost, and in the middle of that holdover is killed (SIGKILL) and started
    /// again
    Restart,
    /// AWS Seoul 2018: loss grows to 95 % in 2 minutes, survivors come late, 84 minutes, then 40 to
    /// heal
    Seoul,
}

/// What becomes of one query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is answered.
    Answer,
    /// It is lost.
    Drop,
    /// It is answered after this long.
    Delay(Duration),
    /// It is answered with SERVFAIL.
    ServFail,
    /// It is answered with NXDOMAIN.
    NxDomain,
}

/// How long the Seoul loss takes to grow.
const SEOUL_RAMP: Duration = Duration::from_secs(2 * 60);
/// When Seoul began to heal.
const SEOUL_HEALS: Duration = Duration::from_secs(84 * 60);
/// How long the healing took.
const SEOUL_HEALING: Duration = Duration::from_secs(40 * 60);
/// Share of packets lost at the worst, in permille.
const SEOUL_LOSS: u32 = 950;
/// Length of one half of a flap.
const FLAP: Duration = Duration::from_secs(3);

/// The whole Seoul fault, from the first loss to the last.
pub const SEOUL: Duration = SEOUL_HEALS.saturating_add(SEOUL_HEALING);

impl Scenario {
    /// The word on the command line and in reports.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Blackhole => "blackhole",
            Self::Flood => "flood",
            Self::Refused => "refused",
            Self::Servfail => "servfail",
            Self::Loss => "loss",
            Self::Slow => "slow",
            Self::Nxdomain => "nxdomain",
            Self::Flap => "flap",
            Self::Restart => "restart",
            Self::Seoul => "seoul",
        }
    }

    /// One sentence on what will happen.
    #[must_use]
    pub const fn story(self) -> &'static str {
        match self {
            Self::Blackhole => "every packet to the upstream resolver is lost",
            Self::Flood => {
                "every packet to the upstream resolver is lost, while thousands of names a second are asked for that nobody knows"
            }
            Self::Refused => "the upstream resolver's port is closed",
            Self::Servfail => "the upstream resolver says SERVFAIL to everything",
            Self::Loss => "half of all packets to the upstream resolver are lost",
            Self::Slow => "the upstream resolver takes 1 to 4 seconds for every answer",
            Self::Nxdomain => "the upstream resolver denies a quarter of the names, then all",
            Self::Flap => "the upstream resolver is dead for 3 seconds, alive for 3, over and over",
            Self::Restart => {
                "every packet to the upstream resolver is lost, and half way through holdover is killed and started again"
            }
            Self::Seoul => {
                "the upstream resolver goes the way of AWS Seoul, 2018-11-22: 84 minutes of loss, 40 to heal"
            }
        }
    }

    /// Whether the port is closed rather than silent.
    #[must_use]
    pub fn closes_the_port(self) -> bool {
        self == Self::Refused
    }
}

/// Decides over one query. `into` is the time since the fault began, `whole` its length, `speed`
/// compresses Seoul; `name_hash` is the same for the same name, `dice` is thrown anew for each
/// query.
#[must_use]
pub fn fate(scenario: Scenario, into: Duration, whole: Duration, speed: f64, name_hash: u64, dice: u64) -> Fate {
    let permille = u32::try_from(dice % 1000).unwrap_or_default();
    match scenario {
        Scenario::Blackhole | Scenario::Flood | Scenario::Refused | Scenario::Restart => Fate::Drop,
        Scenario::Servfail => Fate::ServFail,
        Scenario::Loss if permille < 500 => Fate::Drop,
        Scenario::Loss => Fate::Answer,
        Scenario::Slow => Fate::Delay(Duration::from_secs(1) + Duration::from_millis(dice / 1000 % 3000)),
        Scenario::Nxdomain if into >= whole / 2 || name_hash.is_multiple_of(4) => Fate::NxDomain,
        Scenario::Nxdomain => Fate::Answer,
        Scenario::Flap if (into.as_millis() / FLAP.as_millis()).is_multiple_of(2) => Fate::Drop,
        Scenario::Flap => Fate::Answer,
        Scenario::Seoul => seoul(into.mul_f64(speed.max(1.0)), permille, dice),
    }
}

/// The curve of Seoul at a moment in its own time.
fn seoul(at: Duration, permille: u32, dice: u64) -> Fate {
    let share = |part: Duration, whole: Duration| (part.as_secs_f64() / whole.as_secs_f64()).clamp(0.0, 1.0);
    let severity = if at < SEOUL_HEALS {
        share(at, SEOUL_RAMP)
    } else {
        1.0 - share(at.saturating_sub(SEOUL_HEALS), SEOUL_HEALING)
    };
    if f64::from(permille) < severity * f64::from(SEOUL_LOSS) {
        return Fate::Drop;
    }
    // The survivors are late as long as most are lost; the last to heal are slow no more.
    if severity < 0.05 {
        Fate::Answer
    } else {
        Fate::Delay(Duration::from_millis(500 + dice / 1000 % 2500).mul_f64(severity))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shares of lost, delayed and answered queries among a thousand, in percent.
    fn shares(scenario: Scenario, into: u64) -> (usize, usize, usize) {
        let fates: Vec<Fate> = (0..1000)
            .map(|dice: u64| {
                fate(scenario, Duration::from_secs(into), Duration::from_secs(60), 1.0, dice, dice.wrapping_mul(7919))
            })
            .collect();
        let count = |check: fn(&Fate) -> bool| fates.iter().filter(|fate| check(fate)).count() / 10;
        (count(|f| *f == Fate::Drop), count(|f| matches!(f, Fate::Delay(_))), count(|f| *f == Fate::Answer))
    }

    #[test]
    fn each_scenario_does_what_it_says() {
        assert_eq!(shares(Scenario::Blackhole, 5), (100, 0, 0));
        assert_eq!(shares(Scenario::Loss, 5), (50, 0, 50));
        assert_eq!(shares(Scenario::Slow, 5), (0, 100, 0));
        assert_eq!((shares(Scenario::Flap, 1), shares(Scenario::Flap, 4)), ((100, 0, 0), (0, 0, 100)));
        assert_eq!(shares(Scenario::Nxdomain, 5).2, 75);
        assert_eq!(shares(Scenario::Nxdomain, 35).2, 0);
    }

    #[test]
    fn seoul_ramps_holds_and_heals() {
        assert_eq!(shares(Scenario::Seoul, 0), (0, 0, 100));
        assert_eq!(shares(Scenario::Seoul, 60), (47, 52, 0));
        assert_eq!(shares(Scenario::Seoul, 120), (95, 5, 0));
        assert_eq!(shares(Scenario::Seoul, 83 * 60), (95, 5, 0));
        let half_healed = shares(Scenario::Seoul, 104 * 60);
        assert!((45..50).contains(&half_healed.0), "{half_healed:?}");
        assert_eq!(shares(Scenario::Seoul, 124 * 60), (0, 0, 100));
    }

    #[test]
    fn late_answers_are_one_to_four_seconds_late() {
        for dice in 0..10_000_u64 {
            let Fate::Delay(delay) = fate(Scenario::Slow, Duration::ZERO, Duration::ZERO, 1.0, 0, dice * 977) else {
                panic!("not late")
            };
            assert!((Duration::from_secs(1)..Duration::from_secs(4)).contains(&delay));
        }
    }
}
