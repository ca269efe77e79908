//! The faults that can be rehearsed: for each, its length, what clients ask for, and the incidents
//! besides.
//!
//! Each method of [`Scenario`] answers one question about all scenarios, and matches every variant.
//! A new scenario is a new variant; the compiler then points at each question that is still open:
//! here, what happens to a query in [`fate`](super::fate), and what is promised in
//! [`promise`](super::promise). No other file of the drill has to change, unless queries meet a new
//! fate (`upstream`), clients a new demand (`load`), or a promise is of a new kind (`verdict`).
//!
//! | method | question |
//! |---|---|
//! | [`label`](Scenario::label), [`story`](Scenario::story) | What do reports call the scenario? |
//! | [`timeline`](Scenario::timeline) | How long is the fault? |
//! | [`demand`](Scenario::demand) | What do clients ask for, and how often? |
//! | [`name_servers`](Scenario::name_servers) | How many upstreams are there, and do they agree? |
//! | [`renewal`](Scenario::renewal) | How often do addresses change? |
//! | [`port`](Scenario::port) | Does the upstream's port stay open? |
//! | [`incident`](Scenario::incident) | What happens besides the upstream's failure? |
//! | [`expects`](Scenario::expects), in [`promise`](super::promise) | What is promised under the scenario? |
//! | [`Fault::fate`](super::fate::Fault::fate) | What happens to a query? |

use std::time::Duration;

use clap::ValueEnum;

use super::demand::{Demand, KnownNames, QuestionGroup};
use super::zone::{AddressType, AppName, Domain, ZoneQuestion};
use super::zone_clock::Renewal;

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
    /// All names move to other addresses, and the upstream then gives old and new ones in turns
    FlipBack,
    /// Every packet to the upstream is lost, and halfway through the fault holdover is killed
    /// (SIGKILL) and started again
    Restart,
    /// The name servers of one zone are dead: its names get SERVFAIL after 3 s or no response, and
    /// all other names are answered
    Zone,
    /// Every query for an IPv6 address is lost, and all other queries are answered
    Type,
    /// The authorities of a quarter of the names that nobody has asked for before take 250 ms, and
    /// those of a few take 2.5 s
    SlowAuthority,
    /// Of two upstreams only the first knows internal names and is late now and then, and the
    /// second denies these names
    Views,
    /// 30 % and later 50 % of all packets over UDP are lost, and clients ask only for names that
    /// nobody has asked for before
    ColdLoss,
    /// Every packet to the upstream is lost for a moment, and clients send one query per second
    LowRate,
    /// Every packet to the upstream is lost, and 400 names are in use when it works again
    Recovery,
    /// The outage of AWS Seoul in 2018: packet loss grows to 95 % within 2 minutes, the remaining
    /// responses are late, and after 84 minutes it takes 40 to heal
    Seoul,
}

/// The length of a scenario's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeline {
    /// Shares of the run's length, which the operator chooses; the heal takes the rest.
    Shares {
        /// Share of the run before the fault, in percent.
        warm_up_percent: u32,
        /// Share of the run that the fault takes, in percent.
        fault_percent: u32,
    },
    /// The length of a real outage, divided by the speed that the operator chooses.
    Recorded(Duration),
}

/// The upstreams behind the resolver under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameServers {
    /// One upstream, which knows all names.
    One,
    /// Two upstreams: the first knows all names, and the second denies internal ones. The fault
    /// concerns the first alone.
    InternalAndPublic,
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

/// Time after which Seoul began to heal.
pub const SEOUL_HEALS: Duration = Duration::from_secs(84 * 60);
/// Time in which the packet loss of Seoul went back to none.
pub const SEOUL_HEALING: Duration = Duration::from_secs(40 * 60);
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
            Self::FlipBack => "flip-back",
            Self::Restart => "restart",
            Self::Zone => "zone",
            Self::Type => "type",
            Self::SlowAuthority => "slow-authority",
            Self::Views => "views",
            Self::ColdLoss => "cold-loss",
            Self::LowRate => "low-rate",
            Self::Recovery => "recovery",
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
            Self::FlipBack => {
                "all names move to other addresses, and 3 seconds later the upstream resolver begins to give old and \
                 new ones in turns, at random"
            }
            Self::Restart => {
                "every packet to the upstream resolver is lost, and halfway through holdover is killed and \
                 started again"
            }
            Self::Zone => {
                "the name servers of internal.test are dead: the upstream resolver answers SERVFAIL for its names \
                 after 3 seconds or not at all, and answers all other names"
            }
            Self::Type => "every query for an IPv6 address is lost, and all other queries are answered",
            Self::SlowAuthority => {
                "the authorities of a quarter of the names that nobody has asked for before take 250 ms, and those \
                 of a few take 2.5 seconds"
            }
            Self::Views => {
                "one in ten responses of the first upstream resolver is 150 ms late. A second one answers at once, \
                 and denies all names below internal.test, always"
            }
            Self::ColdLoss => {
                "30 % of all packets over UDP to the upstream resolver are lost, and later 50 %; TCP works"
            }
            Self::LowRate | Self::Recovery => "every packet to the upstream resolver is lost",
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
            | Self::Restart
            | Self::Zone
            | Self::Type
            | Self::SlowAuthority
            | Self::Views
            | Self::ColdLoss => Timeline::Shares { warm_up_percent: 25, fault_percent: 50 },
            // Before it, each name has to be known as one whose address stays.
            Self::FlipBack => Timeline::Shares { warm_up_percent: 45, fault_percent: 40 },
            // A moment of silence, and then time to see what follows from it.
            Self::LowRate => Timeline::Shares { warm_up_percent: 25, fault_percent: 10 },
            // Of 25 s the fault takes 7, in which all names expire, and 15.5 are left to become
            // fresh in.
            Self::Recovery => Timeline::Shares { warm_up_percent: 10, fault_percent: 28 },
            Self::Seoul => Timeline::Recorded(SEOUL),
        }
    }

    /// What clients ask for, and how often.
    #[must_use]
    pub const fn demand(self) -> Demand {
        match self {
            Self::Blackhole
            | Self::Flood
            | Self::Refused
            | Self::Servfail
            | Self::Loss
            | Self::Slow
            | Self::Nxdomain
            | Self::Flap
            | Self::Restart
            | Self::Type
            | Self::Seoul => Demand::USUAL,
            Self::Zone => Demand { known: KnownNames::PopularSomeInternal, ..Demand::USUAL },
            // Each cold name costs a packet at least: their rate stays far below the packet budget.
            Self::SlowAuthority => Demand { cold_percent: 10, per_second_max: 500, ..Demand::USUAL },
            Self::Views => Demand {
                known: KnownNames::PopularSomeInternal,
                cold_percent: 10,
                cold_domain: Domain::Internal,
                per_second_max: 500,
            },
            Self::ColdLoss => {
                Demand { known: KnownNames::None, cold_percent: 100, per_second_max: 100, ..Demand::USUAL }
            }
            Self::LowRate => {
                Demand { known: KnownNames::Even { count: 10, ttl: 1 }, per_second_max: 1, ..Demand::USUAL }
            }
            // So few names that each of them is refreshed as soon as it expires.
            Self::FlipBack => Demand { known: KnownNames::Even { count: 20, ttl: 2 }, ..Demand::USUAL },
            // With a TTL of 6 s a healthy sidecar refreshes 67 of these names a second.
            Self::Recovery => {
                Demand { known: KnownNames::Even { count: 400, ttl: 6 }, per_second_max: 500, ..Demand::USUAL }
            }
        }
    }

    /// Whether the fault concerns a question about a known name, where it concerns some and not
    /// others: the group in which its answers are counted.
    #[must_use]
    pub fn group(self, question: &ZoneQuestion) -> QuestionGroup {
        let is_affected = match self {
            Self::Zone | Self::Views => {
                AppName::read(&question.name).is_some_and(|name| name.domain == Domain::Internal)
            }
            Self::Type => question.rtype == AddressType::Aaaa,
            Self::Blackhole
            | Self::Flood
            | Self::Refused
            | Self::Servfail
            | Self::Loss
            | Self::Slow
            | Self::Nxdomain
            | Self::Flap
            | Self::FlipBack
            | Self::Restart
            | Self::SlowAuthority
            | Self::ColdLoss
            | Self::LowRate
            | Self::Recovery
            | Self::Seoul => false,
        };
        if is_affected { QuestionGroup::Affected } else { QuestionGroup::Known }
    }

    /// The upstreams behind the resolver under test.
    #[must_use]
    pub const fn name_servers(self) -> NameServers {
        match self {
            Self::Views => NameServers::InternalAndPublic,
            Self::Blackhole
            | Self::Flood
            | Self::Refused
            | Self::Servfail
            | Self::Loss
            | Self::Slow
            | Self::Nxdomain
            | Self::Flap
            | Self::FlipBack
            | Self::Restart
            | Self::Zone
            | Self::Type
            | Self::SlowAuthority
            | Self::ColdLoss
            | Self::LowRate
            | Self::Recovery
            | Self::Seoul => NameServers::One,
        }
    }

    /// How often the addresses of the zone change.
    #[must_use]
    pub const fn renewal(self) -> Renewal {
        match self {
            Self::FlipBack => Renewal::Once,
            Self::Blackhole
            | Self::Flood
            | Self::Refused
            | Self::Servfail
            | Self::Loss
            | Self::Slow
            | Self::Nxdomain
            | Self::Flap
            | Self::Restart
            | Self::Zone
            | Self::Type
            | Self::SlowAuthority
            | Self::Views
            | Self::ColdLoss
            | Self::LowRate
            | Self::Recovery
            | Self::Seoul => Renewal::EverySecond,
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
            | Self::FlipBack
            | Self::Restart
            | Self::Zone
            | Self::Type
            | Self::SlowAuthority
            | Self::Views
            | Self::ColdLoss
            | Self::LowRate
            | Self::Recovery
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
            | Self::FlipBack
            | Self::Zone
            | Self::Type
            | Self::SlowAuthority
            | Self::Views
            | Self::ColdLoss
            | Self::LowRate
            | Self::Recovery
            | Self::Seoul => Incident::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_is_called_by_the_word_of_the_command_line() {
        for scenario in Scenario::value_variants() {
            let value = scenario.to_possible_value().unwrap();
            assert_eq!(value.get_name(), scenario.label());
        }
    }
}
