//! The faults that can be rehearsed: for each, the effect on queries, the incidents besides, and
//! the promises that hold under it.
//!
//! Each method of [`Scenario`] answers one question about all scenarios, and matches every variant.
//! A new scenario is a new variant; the compiler then points at each question that is still open.
//! No other file of the drill has to change, unless queries meet a new fate, which `upstream`
//! carries out, or a new kind of promise is made, which `promise` and `verdict` add.
//!
//! | method | question |
//! |---|---|
//! | [`label`](Scenario::label), [`story`](Scenario::story) | What do reports call the scenario? |
//! | [`timeline`](Scenario::timeline) | How long is the fault? |
//! | [`port`](Scenario::port) | Does the upstream's port stay open? |
//! | [`incident`](Scenario::incident) | What happens besides the upstream's failure? |
//! | [`expects`](Scenario::expects) | What is promised under the scenario? |
//! | [`Fault::fate`] | What happens to a query? |
//!
//! The fate of a query is a pure function of the fault, the time, the name and a random number, so
//! that it can be tested without a socket. The drill's upstream carries it out.

use std::time::Duration;

use clap::ValueEnum;

use super::promise::{self, CacheBound, Promise};

/// Kind of outage; the docstrings of the variants are also the texts of `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Scenario {
    /// Every packet to the upstream is lost, from one moment to the next
    Blackhole,
    /// Every packet to the upstream is lost, while clients ask for thousands of unknown names per
    /// second
    Flood,
    /// The upstream's port is closed, which gives ICMP errors
    Refused,
    /// The upstream answers SERVFAIL for every name
    Servfail,
    /// Half of all packets to the upstream are lost
    Loss,
    /// Every response is 1 to 4 s late
    Slow,
    /// The upstream answers NXDOMAIN for a quarter of the names, and later for all names
    Nxdomain,
    /// The upstream fails for 3 s and works for 3 s, in turn
    Flap,
    /// Every packet to the upstream is lost, and halfway through the fault holdover is killed
    /// (SIGKILL) and started again
    Restart,
    /// The outage of AWS Seoul in 2018: packet loss grows to 95 % within 2 minutes, the remaining
    /// responses are late, and after 84 minutes it takes 40 to heal
    Seoul,
}

/// The treatment of one query that arrives at the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The upstream answers at once.
    Answer,
    /// The packet is lost.
    Drop,
    /// The upstream answers after this delay.
    Delay(Duration),
    /// The upstream answers with SERVFAIL.
    ServFail,
    /// The upstream answers with NXDOMAIN.
    NxDomain,
}

/// The length of a scenario's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeline {
    /// A share of the run's length, which the operator chooses.
    Chosen,
    /// The length of a real outage, divided by the speed that the operator chooses.
    Recorded(Duration),
}

/// State of the upstream's port during a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// Packets arrive at the upstream, which then answers them or not.
    Open,
    /// Nothing listens, and the kernel rejects each packet.
    Closed,
}

/// An event during a fault besides the failure of the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incident {
    /// The upstream fails, and nothing else happens.
    None,
    /// Clients ask for thousands of unknown names per second.
    Flood,
    /// Halfway through the fault holdover is killed and started again.
    Restart,
}

/// A scenario that is under way, with the operator's choices.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Kind of outage that is under way.
    pub scenario: Scenario,
    /// Length of the whole fault.
    pub length: Duration,
    /// How many times faster than in reality a recorded outage passes; less than 1 counts as 1.
    pub speed: f64,
}

/// Properties of one query on which its fate can depend.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    /// Hash of the queried name: the same for the same name.
    pub name_hash: u64,
    /// Random number, drawn for this query.
    pub random: u64,
}

/// Time in which the packet loss of Seoul grew to its worst.
const SEOUL_RAMP: Duration = Duration::from_secs(2 * 60);
/// Time after which Seoul began to heal.
const SEOUL_HEALS: Duration = Duration::from_secs(84 * 60);
/// Time in which the packet loss of Seoul went back to none.
const SEOUL_HEALING: Duration = Duration::from_secs(40 * 60);
/// Packets lost at the worst of Seoul, per thousand.
const SEOUL_LOSS: u32 = 950;
/// Severity below which the answers of Seoul were on time again; 1.0 is the worst.
const SEOUL_QUICK: f64 = 0.05;
/// Time for which a flapping upstream fails, and for which it then works.
const FLAP: Duration = Duration::from_secs(3);

/// Length of the Seoul outage, from the first lost packet to the last.
pub const SEOUL: Duration = SEOUL_HEALS.saturating_add(SEOUL_HEALING);

impl Scenario {
    /// Word for the scenario on the command line and in reports.
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

    /// Clause that describes the fault, for the introduction of the drill.
    #[must_use]
    pub const fn story(self) -> &'static str {
        match self {
            Self::Blackhole => "every packet to the upstream resolver is lost",
            Self::Flood => {
                "every packet to the upstream resolver is lost, while clients ask for thousands of unknown \
                 names per second"
            }
            Self::Refused => "the upstream resolver's port is closed",
            Self::Servfail => "the upstream resolver answers SERVFAIL for every name",
            Self::Loss => "half of all packets to the upstream resolver are lost",
            Self::Slow => "the upstream resolver takes 1 to 4 seconds for every response",
            Self::Nxdomain => {
                "the upstream resolver answers NXDOMAIN for a quarter of the names, and later for all of them"
            }
            Self::Flap => "the upstream resolver fails for 3 seconds and works for 3 seconds, in turn",
            Self::Restart => {
                "every packet to the upstream resolver is lost, and halfway through holdover is killed and \
                 started again"
            }
            Self::Seoul => {
                "the upstream resolver fails as in AWS Seoul on 2018-11-22: 84 minutes of packet loss, then 40 \
                 minutes to heal"
            }
        }
    }

    /// Length of the fault, or how it is chosen.
    #[must_use]
    pub const fn timeline(self) -> Timeline {
        match self {
            Self::Blackhole
            | Self::Flood
            | Self::Refused
            | Self::Servfail
            | Self::Loss
            | Self::Slow
            | Self::Nxdomain
            | Self::Flap
            | Self::Restart => Timeline::Chosen,
            Self::Seoul => Timeline::Recorded(SEOUL),
        }
    }

    /// State of the upstream's port during the fault.
    #[must_use]
    pub const fn port(self) -> Port {
        match self {
            Self::Refused => Port::Closed,
            Self::Blackhole
            | Self::Flood
            | Self::Servfail
            | Self::Loss
            | Self::Slow
            | Self::Nxdomain
            | Self::Flap
            | Self::Restart
            | Self::Seoul => Port::Open,
        }
    }

    /// The event during the fault besides the failure of the upstream.
    #[must_use]
    pub const fn incident(self) -> Incident {
        match self {
            Self::Flood => Incident::Flood,
            Self::Restart => Incident::Restart,
            Self::Blackhole
            | Self::Refused
            | Self::Servfail
            | Self::Loss
            | Self::Slow
            | Self::Nxdomain
            | Self::Flap
            | Self::Seoul => Incident::None,
        }
    }

    /// Promises that holdover has to keep under this scenario, in the order of the report. `cache`
    /// bounds the cache of the sidecar under test.
    #[must_use]
    pub fn expects(self, cache: CacheBound) -> Vec<Promise> {
        match self {
            Self::Blackhole | Self::Refused | Self::Servfail | Self::Loss | Self::Slow | Self::Flap | Self::Seoul => {
                vec![
                    promise::KNOWN_NAMES_IN_TIME,
                    promise::NO_STALE_WHILE_HEALTHY,
                    promise::WITHIN_PACKET_BUDGET,
                    promise::FRESH_AFTER_HEAL,
                ]
            }
            // Fresh answers soon after the heal are not promised: the NXDOMAIN responses of the
            // fault stay in the cache for their TTL of 30 s.
            Self::Nxdomain => {
                vec![promise::NXDOMAIN_OBEYED, promise::NO_STALE_WHILE_HEALTHY, promise::WITHIN_PACKET_BUDGET]
            }
            Self::Restart => vec![
                promise::KNOWN_NAMES_IN_TIME,
                promise::BACK_AFTER_KILL,
                promise::NEWCOMER_IN_TIME,
                promise::NO_STALE_WHILE_HEALTHY,
                promise::WITHIN_PACKET_BUDGET,
                promise::FRESH_AFTER_HEAL,
            ],
            Self::Flood => vec![
                promise::KNOWN_NAMES_IN_TIME,
                promise::NONE_UNANSWERED,
                promise::NO_STALE_WHILE_HEALTHY,
                promise::WITHIN_PACKET_BUDGET,
                promise::FRESH_AFTER_HEAL,
                promise::CRITICAL_NAMES_IN_TIME,
                Promise::CacheStaysFull { bound: cache },
                promise::MEMORY_BOUNDED,
                promise::FLOOD_ANSWERED,
            ],
        }
    }
}

impl Fault {
    /// The treatment of a query that arrives at this time after the fault began.
    #[must_use]
    pub fn fate(&self, into: Duration, packet: Packet) -> Fate {
        match self.scenario {
            Scenario::Blackhole | Scenario::Flood | Scenario::Refused | Scenario::Restart => Fate::Drop,
            Scenario::Servfail => Fate::ServFail,
            Scenario::Loss if packet.permille() < 500 => Fate::Drop,
            Scenario::Loss => Fate::Answer,
            Scenario::Slow => Fate::Delay(Duration::from_secs(1) + Duration::from_millis(packet.delay_draw() % 3000)),
            Scenario::Nxdomain if into >= self.length / 2 || packet.name_hash.is_multiple_of(4) => Fate::NxDomain,
            Scenario::Nxdomain => Fate::Answer,
            Scenario::Flap if (into.as_millis() / FLAP.as_millis()).is_multiple_of(2) => Fate::Drop,
            Scenario::Flap => Fate::Answer,
            Scenario::Seoul => seoul(into.mul_f64(self.speed.max(1.0)), packet),
        }
    }
}

impl Packet {
    /// Random number from 0 to 999, which decides whether the packet is lost.
    fn permille(self) -> u32 {
        u32::try_from(self.random % 1000).unwrap_or_default()
    }

    /// Random number that does not depend on [`Self::permille`], for the delay of the response.
    const fn delay_draw(self) -> u64 {
        self.random / 1000
    }
}

/// The treatment of a query in the Seoul outage at this time after its beginning, at the speed of
/// the real outage.
#[must_use]
pub fn seoul(at: Duration, packet: Packet) -> Fate {
    let severity = if at < SEOUL_HEALS {
        at.div_duration_f64(SEOUL_RAMP).min(1.0)
    } else {
        1.0 - at.saturating_sub(SEOUL_HEALS).div_duration_f64(SEOUL_HEALING).min(1.0)
    };
    if f64::from(packet.permille()) < severity * f64::from(SEOUL_LOSS) {
        return Fate::Drop;
    }
    // The responses that come are slow as long as most packets are lost; when the outage is nearly
    // over, they are on time.
    if severity < SEOUL_QUICK {
        Fate::Answer
    } else {
        Fate::Delay(Duration::from_millis(500 + packet.delay_draw() % 2500).mul_f64(severity))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shares of lost, delayed and answered queries among a thousand, in percent.
    fn shares(scenario: Scenario, into: u64) -> (usize, usize, usize) {
        let fault = Fault { scenario, length: Duration::from_secs(60), speed: 1.0 };
        let fates: Vec<Fate> = (0..1000_u64)
            .map(|nth| Packet { name_hash: nth, random: nth.wrapping_mul(7919) })
            .map(|packet| fault.fate(Duration::from_secs(into), packet))
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
        let fault = Fault { scenario: Scenario::Slow, length: Duration::ZERO, speed: 1.0 };
        for nth in 0..10_000_u64 {
            let packet = Packet { name_hash: 0, random: nth * 977 };
            let Fate::Delay(delay) = fault.fate(Duration::ZERO, packet) else { panic!("not late") };
            assert!((Duration::from_secs(1)..Duration::from_secs(4)).contains(&delay));
        }
    }

    #[test]
    fn every_scenario_is_called_by_the_word_of_the_command_line() {
        for scenario in Scenario::value_variants() {
            let value = scenario.to_possible_value().unwrap();
            assert_eq!(value.get_name(), scenario.label());
        }
    }

    #[test]
    fn every_scenario_promises_what_is_fixed_for_it() {
        let promises = |scenario: Scenario| {
            let cache = CacheBound { entries: 945, critical: 16 };
            let texts: Vec<String> = scenario.expects(cache).iter().map(|promise| promise.text()).collect();
            texts.join("\n")
        };
        let outage = "during the fault at least 99.99 % of all queries for known names are answered within 250 ms\n\
                      no stale answer while the upstream is healthy\n\
                      at most 900 packets a second upstream\n\
                      fresh again within 5 s of the heal";
        for scenario in [
            Scenario::Blackhole,
            Scenario::Refused,
            Scenario::Servfail,
            Scenario::Loss,
            Scenario::Slow,
            Scenario::Flap,
            Scenario::Seoul,
        ] {
            assert_eq!(promises(scenario), outage);
        }
        assert_eq!(
            promises(Scenario::Nxdomain),
            "every query is answered, and a denial is obeyed (hold is off)\n\
             no stale answer while the upstream is healthy\n\
             at most 900 packets a second upstream"
        );
        assert_eq!(
            promises(Scenario::Restart),
            "during the fault at least 99.99 % of all queries for known names are answered within 250 ms\n\
             killed and started again, it answers within 50 ms of its start\n\
             a new, empty instance answers from the shared cache at least 95 % within 250 ms\n\
             no stale answer while the upstream is healthy\n\
             at most 900 packets a second upstream\n\
             fresh again within 5 s of the heal"
        );
        assert_eq!(
            promises(Scenario::Flood),
            "during the fault at least 99.99 % of all queries for known names are answered within 250 ms\n\
             none of them is left without an answer\n\
             no stale answer while the upstream is healthy\n\
             at most 900 packets a second upstream\n\
             fresh again within 5 s of the heal\n\
             critical names that nobody had asked for are all answered within 250 ms while the flood lasts\n\
             the cache stays full and within its bound of 945 answers and the critical ones\n\
             resident memory, all of the drill's own included, grows by at most 32.0 MiB\n\
             of the flood at least 95 % are answered, be it with SERVFAIL"
        );
    }
}
