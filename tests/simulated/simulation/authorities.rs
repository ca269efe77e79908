//! Authorities that are slow, dead, lame, or lose a type, behind an upstream that is well: nothing
//! else turns stale, no outage begins, and the breaker stays closed, however few or many queries
//! come.
//!
//! Every world is played at four rates: hours at 0.2, 1 and 10 queries a second, and a minute at
//! 1000. Everything follows from one seed, which a failure names. `AUTHORITY_SEED=17 cargo test
//! --test simulated authorities` runs that world alone, and `AUTHORITY_SEEDS=1000` runs more
//! worlds.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use holdover::core::health::UpstreamState;
use holdover::core::upstream::Role;

use super::play::{MINUTE, SECOND, in_virtual_time, settings};
use crate::world::message::{self, Kind};
use crate::world::{Dice, Reaction, Reply, Sent, World};

/// Worlds that are run unless `AUTHORITY_SEEDS` says otherwise.
const SEEDS: u64 = 2;
const ZONES: u64 = 8;
const NAMES_PER_ZONE: u64 = 12;
/// The first name that nobody has asked for before.
const COLD_FROM: u64 = 1_000_000;
/// The deadline of a resolution, and a client's patience.
const PATIENCE: Duration = Duration::from_secs(5);
/// The time between two queries on average, and how long queries come.
const PACES: [(Duration, Duration); 4] = [
    (Duration::from_secs(5), Duration::from_secs(6 * 3600)),
    (SECOND, Duration::from_secs(2 * 3600)),
    (Duration::from_millis(100), Duration::from_secs(30 * 60)),
    (Duration::from_millis(1), MINUTE),
];

/// What is wrong with the authorities of a zone, or with a type.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// They take this long for every name.
    Slow(Duration),
    /// They are dead, and the upstream goes on asking for longer than anybody waits.
    Silent,
    /// They are dead, and the upstream gives up after this long.
    ServFail(Duration),
    /// They refuse every question, which the upstream passes on.
    Refused,
    /// They know nothing of their zone, and the upstream passes on an empty response.
    Lame,
    /// Responses with AAAA records are lost on their way.
    LosesAaaa,
}

/// The zones that are in trouble, each with what is wrong.
#[derive(Clone, Debug)]
struct Authorities {
    /// Zone and trouble.
    zones: Vec<(u64, Trouble)>,
    /// Whether AAAA is lost for the names of all zones.
    all_lose_aaaa: bool,
    /// When the trouble begins.
    from: Duration,
}

impl Authorities {
    /// One to three zones of which at least half are well, or a type that is lost everywhere.
    fn random(dice: &Dice, from: Duration) -> Self {
        let trouble = || match dice.below(7) {
            0 => Trouble::Slow(Duration::from_millis(150 + dice.below(250))),
            1 => Trouble::Slow(Duration::from_millis(1_000 + dice.below(2_000))),
            2 => Trouble::Silent,
            3 => Trouble::ServFail(Duration::from_millis([2, 3_000][dice.below(2) as usize])),
            4 => Trouble::Refused,
            5 => Trouble::Lame,
            _ => Trouble::LosesAaaa,
        };
        let all_lose_aaaa = dice.below(5) == 0;
        let count = if all_lose_aaaa { 0 } else { 1 + dice.below(3) };
        Self { zones: (0..count).map(|zone| (zone, trouble())).collect(), all_lose_aaaa, from }
    }

    /// What is wrong with a question, if anything is.
    fn trouble(&self, zone: u64, rtype: RecordType) -> Option<Trouble> {
        if self.all_lose_aaaa && rtype == RecordType::AAAA {
            return Some(Trouble::LosesAaaa);
        }
        let trouble = self.zones.iter().find(|(sick, _)| *sick == zone)?.1;
        let concerns = match trouble {
            Trouble::LosesAaaa => rtype == RecordType::AAAA,
            Trouble::Slow(_) | Trouble::Silent | Trouble::ServFail(_) | Trouble::Refused | Trouble::Lame => true,
        };
        concerns.then_some(trouble)
    }

    /// What the upstream does with a packet. Questions that are not about a name of the zones, such
    /// as those of probes, are answered.
    fn react(&self, dice: &Dice, sent: &Sent) -> Reaction {
        let quick = Duration::from_micros(300 + dice.below(3_000));
        let Some((name, rtype)) = message::question(&sent.query) else { return Reaction::Silence };
        let Some(zone) = zone(&name) else {
            return Reaction::Answer(quick, message::negative(&sent.query, ResponseCode::NoError, 30));
        };
        let answer = |after| Reaction::Answer(after, response(&sent.query, rtype, &name));
        match self.trouble(zone, rtype).filter(|_| sent.at >= self.from) {
            None => answer(quick),
            Some(Trouble::Slow(delay)) => answer(quick + delay),
            Some(Trouble::Silent | Trouble::LosesAaaa) => Reaction::Silence,
            Some(Trouble::ServFail(after)) => {
                Reaction::Answer(quick + after, message::empty(&sent.query, ResponseCode::ServFail, true))
            }
            Some(Trouble::Lame) => Reaction::Answer(quick, message::empty(&sent.query, ResponseCode::NoError, false)),
            Some(Trouble::Refused) => Reaction::Answer(quick, message::empty(&sent.query, ResponseCode::Refused, true)),
        }
    }
}

fn text(name: u64, zone: u64) -> String {
    format!("n{name}.z{zone}.test.")
}

/// The zone of a name.
fn zone(text: &str) -> Option<u64> {
    text.split('.').nth(1)?.strip_prefix('z')?.parse().ok()
}

/// An address of the name, with a TTL of 1 to 60 s that depends on the name.
fn response(query: &[u8], rtype: RecordType, name: &str) -> Vec<u8> {
    let ttl = [1, 5, 10, 30, 60][name.len() % 5];
    match rtype {
        RecordType::A => message::positive(query, &["192.0.2.1"], ttl),
        RecordType::AAAA => message::positive(query, &["2001:db8::1"], ttl),
        _ => message::negative(query, ResponseCode::NoError, 30),
    }
}

/// What went wrong for questions that have nothing to do with the trouble.
#[derive(Debug, Default)]
struct Damage {
    queries: u64,
    stale: u64,
    unanswered: u64,
    /// The first broken promise, in words.
    first: Option<String>,
    /// Reviews that found the breaker open.
    down: u64,
}

impl Damage {
    fn note(&mut self, place: String, reply: &Reply) {
        self.queries += 1;
        let seen = message::read(reply.bytes.as_ref().expect("every query is answered"));
        let is_good = seen.kind == Kind::Answer && reply.took <= PATIENCE;
        self.unanswered += u64::from(!is_good);
        self.stale += u64::from(is_good && seen.stale);
        if (!is_good || seen.stale) && self.first.is_none() {
            self.first = Some(format!("{place}: {seen} after {:?}", reply.took));
        }
    }
}

/// A client's query: a name of a random zone, of each two the more popular, one in twenty of them
/// cold.
fn choose(dice: &Dice) -> (u64, u64, RecordType) {
    let name = if dice.below(20) == 0 {
        COLD_FROM + dice.below(u64::from(u32::MAX))
    } else {
        dice.below(NAMES_PER_ZONE).min(dice.below(NAMES_PER_ZONE))
    };
    (name, dice.below(ZONES), if dice.below(2) == 0 { RecordType::A } else { RecordType::AAAA })
}

/// Plays one world at one pace, and tells what it did if there was any damage.
async fn play(seed: u64, (every, length): (Duration, Duration)) -> Option<String> {
    let dice = Arc::new(Dice::new(seed));
    let from = 10 * SECOND;
    let authorities = Arc::new(Authorities::random(&dice, from));
    let (sick, draws) = (Arc::clone(&authorities), Dice::new(seed ^ 0x5eed));
    let world = World::new(settings(&[("192.0.2.53:53", Role::Primary)]), seed, move |sent| sick.react(&draws, sent));
    let damage = Arc::new(Mutex::new(Damage::default()));
    let ask = |name: u64, zone: u64, rtype: RecordType| {
        let number = dice.below(u64::MAX);
        let client = SocketAddr::from(([127, 0, 0, 1], 1024 + (number % 60_000) as u16));
        let asked = world.ask(message::query(&text(name, zone), rtype, (number >> 32) as u16, true), client);
        let is_well = authorities.trouble(zone, rtype).is_none();
        let place = format!("{} {rtype} at {:?}", text(name, zone), world.clock.elapsed());
        let damage = Arc::clone(&damage);
        tokio::spawn(async move {
            let reply = asked.await;
            if is_well {
                damage.lock().unwrap().note(place, &reply);
            }
        });
    };

    // All names are learned while all is well, and clients go on until the trouble begins.
    for name in 0..ZONES * NAMES_PER_ZONE * 2 {
        let rtype = if name % 2 == 0 { RecordType::A } else { RecordType::AAAA };
        ask(name / 2 % NAMES_PER_ZONE, name / 2 / NAMES_PER_ZONE, rtype);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let until = from + length;
    let mut review = Duration::ZERO;
    while world.clock.elapsed() < until {
        let (name, zone, rtype) = choose(&dice);
        ask(name, zone, rtype);
        let next = world.clock.elapsed()
            + if every <= Duration::from_millis(1) {
                every
            } else {
                Duration::from_micros(dice.below(2 * every.as_micros() as u64))
            };
        // The breaker is looked at twice a second, however seldom queries come.
        while world.clock.elapsed() < next {
            tokio::time::sleep((next - world.clock.elapsed()).min(SECOND / 2)).await;
            if world.clock.elapsed() >= review {
                review = world.clock.elapsed() + SECOND / 2;
                let is_down = world.resolver.upstreams().all()[0].state() == UpstreamState::Down;
                damage.lock().unwrap().down += u64::from(is_down);
            }
        }
    }
    tokio::time::sleep(12 * SECOND).await;

    let outages: u64 = world.resolver.reading().outages.iter().map(|outage| outage.begun).sum();
    let damage = damage.lock().unwrap();
    let told = format!("seed {seed}, a query every {every:?}, {authorities:?}: {outages} outages, {damage:?}");
    println!("{told}");
    world.resolver.stop();
    let is_good = (damage.stale, damage.unanswered, damage.down, outages) == (0, 0, 0, 0) && damage.queries > 0;
    (!is_good).then_some(told)
}

#[test]
fn authorities_in_trouble_harm_nothing_else() {
    let number = |variable: &str| std::env::var(variable).ok().map(|value| value.parse::<u64>().unwrap());
    let seeds = number("AUTHORITY_SEEDS").unwrap_or(SEEDS);
    let seeds = number("AUTHORITY_SEED").map_or(0..seeds, |seed| seed..seed + 1);
    let worlds = seeds.flat_map(|seed| PACES.map(|pace| (seed, pace)));
    let damaged: Vec<String> = worlds.filter_map(|(seed, pace)| in_virtual_time(play(seed, pace))).collect();
    assert!(
        damaged.is_empty(),
        "nothing else turns stale, no outage begins, and the breaker stays closed:\n{}",
        damaged.join("\n")
    );
}
