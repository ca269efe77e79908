//! Names in constant use before an upstream that is a cache itself, whose TTLs count down: how many
//! packets each life of its record costs, and how old the answers are that clients get.
//!
//! The upstream has a new address for a name in each life of its record, so that every answer says
//! from which life it is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::rr::RecordType;
use holdover::config::settings::Settings;
use holdover::core::upstream::Role;

use crate::world::{Reaction, Sent, World, message, upstream};

/// How long the upstream takes for an answer.
const ROUND_TRIP: Duration = Duration::from_millis(3);
const SECOND: Duration = Duration::from_secs(1);
/// The most packets that a life of the upstream's record may cost.
const PACKETS_MAX: usize = 2;

/// How the upstream makes whole seconds of what is left of a life.
#[derive(Clone, Copy, Debug)]
enum Rounding {
    Up,
    Down,
    /// Downwards, but never to 0.
    DownToOne,
}

/// An upstream that counts down, and the clients before it.
#[derive(Clone, Debug)]
struct Case {
    /// Life of the upstream's record.
    cycle: Duration,
    /// Age of the record when the first client asks.
    age: Duration,
    rounding: Rounding,
    names: usize,
    rtype: RecordType,
    /// Queries a second, all names together.
    rate: u32,
    lives: u32,
}

impl Case {
    /// The life in which a moment lies, counted from 0.
    fn life(&self, at: Duration) -> u32 {
        ((at + self.age).as_nanos() / self.cycle.as_nanos()) as u32
    }

    /// When a life ends.
    fn end(&self, life: u32) -> Duration {
        self.cycle * (life + 1) - self.age
    }

    fn react(&self, sent: &Sent) -> Reaction {
        let life = self.life(sent.at);
        let left = (self.end(life) - sent.at).as_secs_f64();
        let ttl = match self.rounding {
            Rounding::Up => left.ceil() as u32,
            Rounding::Down => left.floor() as u32,
            Rounding::DownToOne => (left.floor() as u32).max(1),
        };
        let address = match self.rtype {
            RecordType::AAAA => format!("2001:db8::1:{life:x}"),
            _ => format!("192.0.2.{life}"),
        };
        Reaction::Answer(ROUND_TRIP, message::positive(&sent.query, &[&address], ttl))
    }

    /// The latest moment at which the answer of a life may be given out as fresh: a second beyond
    /// the TTL, which ends up to a second after the life when it was rounded up.
    fn latest(&self, life: u32) -> Duration {
        let rounded_up = match self.rounding {
            Rounding::Up | Rounding::DownToOne => SECOND,
            Rounding::Down => Duration::ZERO,
        };
        self.end(life) + rounded_up + SECOND + 2 * ROUND_TRIP
    }
}

/// What came of a case: packets by name and life, and what clients complain about.
struct Outcome {
    packets: BTreeMap<(String, u32), usize>,
    complaints: Vec<String>,
}

fn play(case: &Case) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(run(case))
}

async fn run(case: &Case) -> Outcome {
    let mut settings = Settings::standard();
    settings.upstreams = vec![upstream("192.0.2.53:53", Role::Primary)];
    let script = case.clone();
    let world = World::new(settings, 5, move |sent| match message::question(&sent.query) {
        Some((name, _)) if name.starts_with("hot") => script.react(sent),
        _ => Reaction::Answer(ROUND_TRIP, message::positive(&sent.query, &["192.0.2.250"], 60)),
    });
    let complaints: Arc<Mutex<Vec<String>>> = Arc::default();
    let last = case.end(case.lives - 1);
    let mut clients = Vec::new();
    for number in 0.. {
        let at = SECOND * number / case.rate;
        if at >= last {
            break;
        }
        tokio::time::sleep(at.saturating_sub(world.clock.elapsed())).await;
        let name = format!("hot{}.example.com", number as usize % case.names);
        let ask = world.ask(message::query(&name, case.rtype, number as u16, true), "127.0.0.1:4000".parse().unwrap());
        let (complaints, clock, case) = (Arc::clone(&complaints), Arc::clone(&world.clock), case.clone());
        clients.push(tokio::spawn(async move {
            let seen = message::read(&ask.await.bytes.unwrap());
            let life = seen.data.first().and_then(|data| {
                let (_, digits) = data.rsplit_once(['.', ':'])?;
                u32::from_str_radix(digits, if data.contains(':') { 16 } else { 10 }).ok()
            });
            let now = clock.elapsed();
            if seen.stale || life.is_none_or(|life| now > case.latest(life)) {
                complaints.lock().unwrap().push(format!("{seen} at {now:?}"));
            }
        }));
    }
    for client in clients {
        client.await.unwrap();
    }
    let mut packets = BTreeMap::new();
    for sent in world.network.sent.lock().unwrap().iter() {
        if let Some((name, _)) = message::question(&sent.query).filter(|(name, _)| name.starts_with("hot")) {
            *packets.entry((name, case.life(sent.at))).or_default() += 1;
        }
    }
    let complaints = std::mem::take(&mut *complaints.lock().unwrap());
    Outcome { packets, complaints }
}

/// Plays cases; each life of each name costs two packets at most, and no answer is too old.
fn expect(cases: impl IntoIterator<Item = Case>) {
    let mut wrong = Vec::new();
    for case in cases {
        let outcome = play(&case);
        let dear: Vec<_> = outcome.packets.iter().filter(|(_, packets)| **packets > PACKETS_MAX).collect();
        if !dear.is_empty() || !outcome.complaints.is_empty() {
            let complaints = &outcome.complaints[..outcome.complaints.len().min(3)];
            wrong.push(format!("{case:?}: packets {dear:?}; answers {complaints:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}

/// One name at 300 queries a second.
fn hot(seconds: u64, age_millis: u64, rounding: Rounding) -> Case {
    Case {
        cycle: SECOND * seconds as u32,
        age: Duration::from_millis(age_millis),
        rounding,
        names: 1,
        rtype: RecordType::A,
        rate: 300,
        lives: 4,
    }
}

#[test]
fn a_life_of_any_length_costs_two_packets_at_most_wherever_it_begins() {
    let mut cases = Vec::new();
    for seconds in [2, 3, 4, 5, 7, 10] {
        for rounding in [Rounding::Up, Rounding::Down, Rounding::DownToOne] {
            // A first answer with a TTL of 0 has nothing before it, and is not reused.
            let ages = match rounding {
                Rounding::Up | Rounding::DownToOne => seconds * 1000,
                Rounding::Down => (seconds - 1) * 1000,
            };
            cases.extend((0..ages).step_by(370).map(|age| hot(seconds, age, rounding)));
        }
    }
    expect(cases);
}

#[test]
fn long_lives_and_windows_of_several_seconds_cost_no_more() {
    let mut cases = Vec::new();
    for rounding in [Rounding::Up, Rounding::Down, Rounding::DownToOne] {
        for (seconds, age) in [(60, 0), (60, 31_400), (60, 52_900), (300, 150), (300, 280_250)] {
            cases.push(Case { rate: 20, lives: 3, ..hot(seconds, age, rounding) });
        }
    }
    expect(cases);
}

#[test]
fn several_names_and_types_and_quieter_clients_cost_no_more() {
    expect([
        Case { names: 5, ..hot(10, 1, Rounding::Down) },
        Case { names: 5, ..hot(10, 1, Rounding::Up) },
        Case { names: 30, rate: 100, ..hot(7, 2400, Rounding::Down) },
        Case { rtype: RecordType::AAAA, ..hot(5, 3300, Rounding::DownToOne) },
        Case { rate: 7, lives: 10, ..hot(3, 900, Rounding::Down) },
        Case { rate: 1, lives: 10, ..hot(10, 500, Rounding::Up) },
    ]);
}

#[test]
fn after_the_first_life_nothing_is_given_out_beyond_the_ttl_but_a_zero() {
    // Once it is known that the upstream counts down, there is no prefetch whose answer would have
    // to be reused: a life costs one packet, and the next is known when the TTL has run out.
    let case = Case { lives: 12, ..hot(10, 1500, Rounding::Up) };
    let packets: Vec<usize> = play(&case).packets.into_values().collect();
    assert_eq!(packets, [2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
}

#[test]
fn a_ttl_that_is_always_one_costs_one_packet_a_second() {
    // Each life is one second, so every answer says 1.
    let case = Case { lives: 30, ..hot(1, 0, Rounding::Up) };
    let outcome = play(&case);
    assert!(outcome.packets.values().sum::<usize>() <= 31, "{:?}", outcome.packets);
    assert_eq!(outcome.complaints, Vec::<String>::new());
}

#[test]
fn an_upstream_that_does_not_count_down_is_asked_ahead_so_that_nobody_waits() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        for ttl in [2, 3, 5, 20] {
            let mut settings = Settings::standard();
            settings.upstreams = vec![upstream("192.0.2.53:53", Role::Primary)];
            let world = World::new(settings, 5, move |sent| {
                Reaction::Answer(ROUND_TRIP * 10, message::positive(&sent.query, &["192.0.2.1"], ttl))
            });
            let ask = || {
                world.ask(message::query("hot.example.com", RecordType::A, 7, true), "127.0.0.1:4000".parse().unwrap())
            };
            ask().await;
            let mut waited = 0;
            for _ in 0..60 * 50 {
                tokio::time::sleep(SECOND / 50).await;
                waited += usize::from(!ask().await.at_once);
            }
            assert_eq!(waited, 0, "with TTL {ttl}");
            // The first packet looks for a forwarding loop.
            let most = 2 + 60 / (ttl as usize - 1).max(1);
            assert!(world.sends() <= most + 1, "{} packets with TTL {ttl}", world.sends());
        }
    });
}
