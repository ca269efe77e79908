//! The fate of a query under a fault: whether and when the drill's upstream answers it, and how.
//!
//! The fate is a pure function of the fault, the time, the query and a random number, so that it
//! can be tested without a socket. The drill's upstream carries it out.

use std::time::Duration;

use super::demand;
use super::fault::{SEOUL_HEALING, SEOUL_HEALS, Scenario};
use super::zone::{AddressType, AppName, Domain};
use crate::core::upstream::Transport;

/// The treatment of one query that arrives at the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The upstream answers at once.
    Answer,
    /// The upstream answers at once, with the addresses from before the names moved.
    Former,
    /// The packet is lost.
    Drop,
    /// The upstream answers after this delay.
    Delay(Duration),
    /// The upstream answers with SERVFAIL.
    ServFail,
    /// The upstream answers with SERVFAIL after this delay, because it asks name servers that are
    /// dead.
    LateServFail(Duration),
    /// The upstream answers with NXDOMAIN.
    NxDomain,
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
    /// Name that is queried; `None` if it is not an application of the zone.
    pub name: Option<AppName>,
    /// Type that is queried; `None` if it is no address.
    pub rtype: Option<AddressType>,
    /// Transport over which the query came.
    pub transport: Transport,
    /// Hash of the queried name: the same for the same name.
    pub name_hash: u64,
    /// Random number, drawn for this query.
    pub random: u64,
}

/// Time in which the packet loss of Seoul grew to its worst.
const SEOUL_RAMP: Duration = Duration::from_secs(2 * 60);
/// Packets lost at the worst of Seoul, per thousand.
const SEOUL_LOSS: u32 = 950;
/// Severity below which the answers of Seoul were on time again; 1.0 is the worst.
const SEOUL_QUICK: f64 = 0.05;
/// Time for which a flapping upstream fails, and for which it then works.
const FLAP: Duration = Duration::from_secs(3);

/// Time for which the upstream gives new addresses alone, before it gives old and new ones in
/// turns: longer than the TTL of the names, so that each of them is seen to move.
const FLIP_AFTER: Duration = Duration::from_secs(3);
/// Answers that go back to the old addresses, per thousand.
const FLIPPED_BACK: u32 = 500;

/// Time after which the upstream gives up the dead name servers of a zone.
const DEAD_ZONE_SERVFAIL: Duration = Duration::from_secs(3);
/// Of a thousand cold names, so many take [`SLOWEST_AUTHORITY`].
const SLOWEST_NAMES: u64 = 20;
/// Of a thousand cold names, so many take [`SLOW_AUTHORITY`].
const SLOW_NAMES: u64 = 250;
/// Time that the authorities of a quarter of all names take.
const SLOW_AUTHORITY: Duration = Duration::from_millis(250);
/// Time that the authorities of a few names take.
const SLOWEST_AUTHORITY: Duration = Duration::from_millis(2500);
/// Of a thousand responses of the internal upstream, so many are late.
const LATE_VIEWS: u32 = 100;
/// Delay of the late responses of the internal upstream.
const LATE_VIEW: Duration = Duration::from_millis(150);
/// Packets lost in the first half of the scenario cold-loss, per thousand.
const COLD_LOSS_FIRST: u32 = 300;
/// Packets lost in its second half, per thousand.
const COLD_LOSS_SECOND: u32 = 500;

impl Fault {
    /// The treatment of a query that arrives at this time after the fault began.
    #[must_use]
    pub fn fate(&self, into: Duration, packet: Packet) -> Fate {
        match self.scenario {
            Scenario::Blackhole
            | Scenario::Flood
            | Scenario::Refused
            | Scenario::Restart
            | Scenario::LowRate
            | Scenario::Recovery => Fate::Drop,
            Scenario::Servfail => Fate::ServFail,
            Scenario::Loss => packet.lost(500),
            Scenario::Slow => Fate::Delay(Duration::from_secs(1) + Duration::from_millis(packet.delay_draw() % 3000)),
            Scenario::Nxdomain if into >= self.length / 2 || packet.name_hash.is_multiple_of(4) => Fate::NxDomain,
            Scenario::Nxdomain => Fate::Answer,
            Scenario::Flap if (into.as_millis() / FLAP.as_millis()).is_multiple_of(2) => Fate::Drop,
            Scenario::Flap => Fate::Answer,
            Scenario::FlipBack if into >= FLIP_AFTER && packet.permille() < FLIPPED_BACK => Fate::Former,
            Scenario::FlipBack => Fate::Answer,
            Scenario::Zone => dead_zone(packet),
            Scenario::Type if packet.rtype == Some(AddressType::Aaaa) => Fate::Drop,
            Scenario::Type => Fate::Answer,
            Scenario::SlowAuthority => slow_authority(packet),
            Scenario::Views if packet.permille() < LATE_VIEWS => Fate::Delay(LATE_VIEW),
            Scenario::Views => Fate::Answer,
            Scenario::ColdLoss => match packet.transport {
                Transport::Udp if into < self.length / 2 => packet.lost(COLD_LOSS_FIRST),
                Transport::Udp => packet.lost(COLD_LOSS_SECOND),
                Transport::Tcp => Fate::Answer,
            },
            Scenario::Seoul => seoul(into.mul_f64(self.speed.max(1.0)), packet),
        }
    }
}

impl Packet {
    /// A packet over UDP of whose query only the random number matters.
    #[must_use]
    pub const fn drawn(random: u64) -> Self {
        Self { name: None, rtype: None, transport: Transport::Udp, name_hash: 0, random }
    }

    /// Random number from 0 to 999, which decides whether the packet is lost.
    fn permille(self) -> u32 {
        u32::try_from(self.random % 1000).unwrap_or_default()
    }

    /// Random number that does not depend on [`Self::permille`], for the delay of the response.
    const fn delay_draw(self) -> u64 {
        self.random / 1000
    }

    /// The fate of a packet where so many of a thousand are lost.
    fn lost(self, permille: u32) -> Fate {
        if self.permille() < permille { Fate::Drop } else { Fate::Answer }
    }
}

/// The treatment of a query while the name servers of the internal zone are dead. Half of its names
/// get no response at all, as from a resolver that goes on asking for longer than anybody waits.
fn dead_zone(packet: Packet) -> Fate {
    match packet.name.map(|name| name.domain) {
        Some(Domain::Internal) if packet.name_hash.is_multiple_of(2) => Fate::LateServFail(DEAD_ZONE_SERVFAIL),
        Some(Domain::Internal) => Fate::Drop,
        Some(Domain::Public) | None => Fate::Answer,
    }
}

/// The treatment of a query while the authorities of some names are slow. Known names are in the
/// upstream's cache, so only cold names wait for their authorities.
fn slow_authority(packet: Packet) -> Fate {
    let draw = packet.name_hash % 1000;
    if !packet.name.is_some_and(demand::is_cold) {
        Fate::Answer
    } else if draw < SLOWEST_NAMES {
        Fate::Delay(SLOWEST_AUTHORITY)
    } else if draw < SLOWEST_NAMES + SLOW_NAMES {
        Fate::Delay(SLOW_AUTHORITY)
    } else {
        Fate::Answer
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
            .map(|nth| Packet { name_hash: nth, ..Packet::drawn(nth.wrapping_mul(7919)) })
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
            let packet = Packet::drawn(nth * 977);
            let Fate::Delay(delay) = fault.fate(Duration::ZERO, packet) else { panic!("not late") };
            assert!((Duration::from_secs(1)..Duration::from_secs(4)).contains(&delay));
        }
    }

    /// The fate of a query for an address 8 s after a fault of 10 s began.
    fn fate(scenario: Scenario, name: AppName, rtype: AddressType) -> Fate {
        let fault = Fault { scenario, length: Duration::from_secs(10), speed: 1.0 };
        let packet = Packet { name: Some(name), rtype: Some(rtype), name_hash: 4, ..Packet::drawn(999) };
        fault.fate(Duration::from_secs(8), packet)
    }

    #[test]
    fn a_dead_zone_fails_and_all_other_names_are_answered() {
        let internal = AppName { index: 2, domain: Domain::Internal };
        assert_eq!(fate(Scenario::Zone, internal, AddressType::A), Fate::LateServFail(DEAD_ZONE_SERVFAIL));
        assert_eq!(fate(Scenario::Zone, AppName::public(2), AddressType::A), Fate::Answer);
        let silent = Packet { name: Some(internal), name_hash: 5, ..Packet::drawn(0) };
        assert_eq!(dead_zone(silent), Fate::Drop);
    }

    #[test]
    fn only_one_type_is_dropped() {
        assert_eq!(fate(Scenario::Type, AppName::public(2), AddressType::Aaaa), Fate::Drop);
        assert_eq!(fate(Scenario::Type, AppName::public(2), AddressType::A), Fate::Answer);
    }

    #[test]
    fn a_quarter_of_cold_names_is_slow_and_a_few_are_very_slow() {
        let cold = zone_name(&demand::Demand::USUAL.cold_question(0, 1).name);
        let fates: Vec<Fate> = (0..1000)
            .map(|name_hash| slow_authority(Packet { name: Some(cold), name_hash, ..Packet::drawn(0) }))
            .collect();
        let count = |wanted: Fate| fates.iter().filter(|fate| **fate == wanted).count();
        assert_eq!((count(Fate::Delay(SLOWEST_AUTHORITY)), count(Fate::Delay(SLOW_AUTHORITY))), (20, 250));
        assert_eq!(fate(Scenario::SlowAuthority, AppName::public(2), AddressType::A), Fate::Answer);
    }

    fn zone_name(text: &str) -> AppName {
        AppName::read(text).unwrap()
    }

    #[test]
    fn packets_of_cold_names_are_lost_over_udp_and_not_over_tcp() {
        assert_eq!(shares(Scenario::ColdLoss, 5), (30, 0, 70));
        assert_eq!(shares(Scenario::ColdLoss, 35), (50, 0, 50));
        let fault = Fault { scenario: Scenario::ColdLoss, length: Duration::ZERO, speed: 1.0 };
        let packet = Packet { transport: Transport::Tcp, ..Packet::drawn(0) };
        assert_eq!(fault.fate(Duration::ZERO, packet), Fate::Answer);
    }

    #[test]
    fn the_internal_upstream_is_late_now_and_then() {
        assert_eq!(shares(Scenario::Views, 5), (0, 10, 90));
    }

    #[test]
    fn addresses_flip_back_once_they_were_seen_to_move() {
        let fault = Fault { scenario: Scenario::FlipBack, length: Duration::from_secs(30), speed: 1.0 };
        let former = |seconds| {
            let fates = (0..1000).map(|random| fault.fate(Duration::from_secs(seconds), Packet::drawn(random)));
            fates.filter(|fate| *fate == Fate::Former).count()
        };
        assert_eq!((former(0), former(2), former(3), former(29)), (0, 0, 500, 500));
    }
}
