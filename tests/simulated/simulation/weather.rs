//! The faults of each upstream over time.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use holdover::core::upstream::Role;
use holdover::drill::fate::{Fate, Packet, seoul};
use holdover::resolver::ports::TransportError;

use super::truth::Zone;
use crate::world::{Dice, Reaction, Sent, message};

/// A fault of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    Blackhole,
    /// Permille of packets lost.
    Loss(u64),
    /// Permille of answers that are SERVFAIL.
    ServFail(u64),
    /// SERVFAIL for names below one suffix.
    ServFailSuffix,
    Refused,
    /// Every response comes 1 to 4 s late.
    Slow,
    /// The port is closed.
    Closed,
    /// Every response is unreadable.
    Garbage,
    /// The upstream is dead and alive by turns, for 3 s each.
    Flap,
    /// The outage of 2018-11-22, as the drill plays it.
    Seoul,
    /// Packets above this number a second are dropped silently.
    Cap(usize),
}

type Phases = Vec<(Duration, Fault)>;

/// The faults of all upstreams over time.
pub struct Weather {
    upstreams: Vec<(SocketAddr, Phases)>,
    /// Times of the packets of the last second.
    recent: Mutex<VecDeque<Duration>>,
    capped: AtomicU64,
}

impl Weather {
    /// A single upstream with these phases.
    pub fn constant(address: &str, phases: Phases) -> Self {
        Self {
            upstreams: vec![(address.parse().unwrap(), phases)],
            recent: Mutex::default(),
            capped: AtomicU64::new(0),
        }
    }

    /// Random phases of half a minute to twenty minutes, the last of them without a fault.
    pub fn random(dice: &Dice, upstreams: &[(&str, Role)], length: Duration) -> Self {
        let phases = || {
            let (mut phases, mut at) = (Vec::new(), Duration::from_secs(60 + dice.below(120)));
            while at < length {
                let fault = match dice.below(16) {
                    0..=4 => Fault::None,
                    5..=6 => Fault::Blackhole,
                    7 => Fault::Loss(50 + dice.below(900)),
                    8 => Fault::ServFail(50 + dice.below(950)),
                    9 => Fault::ServFailSuffix,
                    10 => Fault::Refused,
                    11 => Fault::Slow,
                    12 => Fault::Closed,
                    13 => Fault::Garbage,
                    14 => Fault::Flap,
                    _ => Fault::ServFail(1000),
                };
                phases.push((at, fault));
                at += Duration::from_secs(30 + dice.below(1200));
            }
            phases.push((length, Fault::None));
            phases
        };
        Self {
            upstreams: upstreams.iter().map(|(address, _)| (address.parse().unwrap(), phases())).collect(),
            recent: Mutex::default(),
            capped: AtomicU64::new(0),
        }
    }

    /// The fault at a moment, and when it began.
    fn fault(phases: &Phases, at: Duration) -> (Fault, Duration) {
        phases
            .iter()
            .rev()
            .find(|(from, _)| *from <= at)
            .map_or((Fault::None, Duration::ZERO), |(from, fault)| (*fault, *from))
    }

    /// Since when no upstream has had a fault; `None` while one has.
    pub fn calm_since(&self, at: Duration) -> Option<Duration> {
        let mut calm = Duration::ZERO;
        for (_, phases) in &self.upstreams {
            match Self::fault(phases, at) {
                (Fault::None, _) => {
                    let trouble = phases
                        .windows(2)
                        .filter(|pair| pair[0].1 != Fault::None && pair[1].0 <= at)
                        .map(|pair| pair[1].0);
                    calm = calm.max(trouble.max().unwrap_or_default());
                }
                _ => return None,
            }
        }
        Some(calm)
    }

    pub fn capped(&self) -> u64 {
        self.capped.load(Ordering::SeqCst)
    }

    /// What happens to a packet.
    pub fn react(&self, zone: &Zone, dice: &Dice, sent: &Sent) -> Reaction {
        let Some((_, phases)) = self.upstreams.iter().find(|(address, _)| *address == sent.server) else {
            return Reaction::Silence;
        };
        let (fault, began) = Self::fault(phases, sent.at);
        let into = sent.at.saturating_sub(began);
        let quick = Duration::from_micros(300 + dice.below(5_000));
        let good = |after| Reaction::Answer(after, zone.response(&sent.query, sent.at + after));
        let servfail = || Reaction::Answer(quick, message::empty(&sent.query, ResponseCode::ServFail, true));
        match fault {
            Fault::None => good(quick),
            Fault::Blackhole => Reaction::Silence,
            Fault::Loss(permille) if dice.below(1000) < permille => Reaction::Silence,
            Fault::ServFail(permille) if dice.below(1000) < permille => servfail(),
            Fault::ServFailSuffix
                if message::question(&sent.query).is_some_and(|(name, _)| name.ends_with(".s3.test.")) =>
            {
                servfail()
            }
            Fault::Loss(_) | Fault::ServFail(_) | Fault::ServFailSuffix => good(quick),
            Fault::Refused => Reaction::Answer(quick, message::empty(&sent.query, ResponseCode::Refused, true)),
            Fault::Slow => good(Duration::from_millis(1_000 + dice.below(3_000))),
            Fault::Closed => Reaction::Error(quick, TransportError::Refused),
            Fault::Garbage => {
                Reaction::Answer(quick, vec![sent.query[0], sent.query[1], 0x81, 0x80, 0, 9, 0, 9, 0, 0, 0, 0, 63, 1])
            }
            Fault::Flap if (into.as_secs() / 3).is_multiple_of(2) => Reaction::Silence,
            Fault::Flap => good(quick),
            Fault::Seoul => match seoul(into, Packet::drawn(dice.below(u64::MAX))) {
                Fate::Answer => good(quick),
                Fate::Delay(late) => good(quick + late),
                Fate::Drop | Fate::Former | Fate::ServFail | Fate::LateServFail(_) | Fate::NxDomain => {
                    Reaction::Silence
                }
            },
            Fault::Cap(most) => {
                let mut recent = self.recent.lock().unwrap();
                while recent.front().is_some_and(|at| sent.at.saturating_sub(*at) >= Duration::from_secs(1)) {
                    recent.pop_front();
                }
                if recent.len() >= most {
                    self.capped.fetch_add(1, Ordering::SeqCst);
                    return Reaction::Silence;
                }
                recent.push_back(sent.at);
                good(quick)
            }
        }
    }
}
