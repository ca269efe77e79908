//! Failovers, and addresses that take turns: which address clients get while upstreams disagree,
//! and what it costs ([`holdover::core::reversal`]).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::rr::RecordType;
use holdover::config::settings::Settings;
use holdover::core::restore::Shift;
use holdover::core::upstream::{Role, Transport};

use crate::world::{Boot, Dice, Reaction, Sent, World, message, upstream};

const SECOND: Duration = Duration::from_secs(1);
/// TTL of all names, in seconds.
const TTL: u32 = 5;
/// When the names fail over.
const MOVES_AT: Duration = Duration::from_secs(60);
/// How long upstreams disagree from then on.
const DISAGREE_FOR: Duration = Duration::from_secs(30);
const OLD: &str = "192.0.2.1";
const NEW: &str = "192.0.2.2";

/// How upstreams disagree after the failover.
#[derive(Clone, Copy, Debug)]
enum Discord {
    /// Each packet is answered with the old address with this probability, in percent.
    AtRandom(u64),
    /// Each name server gives the new address at first, then the other one each time.
    PerPacket,
    /// For this many seconds all answers are new, for as many all are old, and so on.
    InTurns(u64),
}

/// What came of one failover of many names.
#[derive(Debug, Default)]
struct Outcome {
    /// Answers with the old address after the name was seen to have moved, a TTL and a second
    /// later.
    back: usize,
    /// Packets a name and second while upstreams disagreed.
    packets: f64,
}

/// The number in a name such as `db7.example.com.`.
fn number(name: &str) -> Option<usize> {
    name.strip_prefix("db")?.split('.').next()?.parse().ok()
}

/// Plays one failover of `names` names that are asked for ten times a second each.
async fn fail_over(discord: Discord, upstreams: usize, names: usize, seed: u64) -> Outcome {
    let mut settings = Settings::standard();
    settings.upstreams =
        (0..upstreams).map(|nth| upstream(&format!("192.0.2.{}:53", 53 + nth), Role::Primary)).collect();
    // When the new address of each name was first given.
    let first_given: Arc<Mutex<Vec<Option<Duration>>>> = Arc::new(Mutex::new(vec![None; names]));
    let (given, dice, packets) = (Arc::clone(&first_given), Dice::new(seed ^ 1), Mutex::new(0_u64));
    let world = World::new(settings, seed, move |sent: &Sent| {
        let Some(number) = message::question(&sent.query).and_then(|(name, _)| number(&name)) else {
            return Reaction::Answer(Duration::from_millis(2), message::positive(&sent.query, &[OLD], 60));
        };
        let since = sent.at.saturating_sub(MOVES_AT);
        let is_old = match discord {
            _ if sent.at < MOVES_AT => true,
            _ if since > DISAGREE_FOR => false,
            Discord::AtRandom(percent) => dice.below(100) < percent,
            Discord::PerPacket => {
                let mut packets = packets.lock().unwrap();
                *packets += 1;
                packets.is_multiple_of(2)
            }
            Discord::InTurns(seconds) => !(since.as_secs() / seconds).is_multiple_of(2),
        };
        if !is_old {
            given.lock().unwrap()[number].get_or_insert(sent.at);
        }
        let address = if is_old { OLD } else { NEW };
        Reaction::Answer(Duration::from_millis(2), message::positive(&sent.query, &[address], TTL))
    });
    let back: Arc<Mutex<usize>> = Arc::default();
    let (mut clients, mut sent_before) = (Vec::new(), 0);
    let end = MOVES_AT + DISAGREE_FOR + 10 * SECOND;
    while world.clock.elapsed() < end {
        for name in 0..names {
            let query = message::query(&format!("db{name}.example.com"), RecordType::A, 7, true);
            let ask = world.ask(query, "127.0.0.1:4000".parse().unwrap());
            let (back, given, asked) = (Arc::clone(&back), Arc::clone(&first_given), world.clock.elapsed());
            clients.push(tokio::spawn(async move {
                let seen = message::read(&ask.await.bytes.unwrap());
                let moved = given.lock().unwrap()[name];
                let is_late = moved.is_some_and(|moved| asked > moved + SECOND * (TTL + 1));
                if is_late && seen.data != [NEW] {
                    *back.lock().unwrap() += 1;
                }
            }));
        }
        if world.clock.elapsed() <= MOVES_AT {
            sent_before = world.sends();
        }
        tokio::time::sleep(SECOND / 10).await;
    }
    for client in clients {
        client.await.unwrap();
    }
    let packets = (world.sends() - sent_before) as f64 / names as f64 / (DISAGREE_FOR + 10 * SECOND).as_secs_f64();
    let back = *back.lock().unwrap();
    Outcome { back, packets }
}

fn in_virtual_time<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(work)
}

#[test]
fn from_a_failover_on_clients_get_the_new_address_alone_however_upstreams_disagree() {
    let discords = [
        Discord::AtRandom(20),
        Discord::AtRandom(50),
        Discord::AtRandom(70),
        Discord::PerPacket,
        Discord::InTurns(1),
        Discord::InTurns(2),
        Discord::InTurns(5),
    ];
    for (seed, discord) in (1..).zip(discords) {
        for upstreams in [1, 2] {
            let outcome = in_virtual_time(fail_over(discord, upstreams, 40, seed));
            println!("{discord:?}, {upstreams} upstreams: {:.2} packets a name and second", outcome.packets);
            assert_eq!(outcome.back, 0, "{discord:?}, {upstreams} upstreams");
            assert!(outcome.packets < 2.5, "{discord:?}, {upstreams} upstreams: {outcome:?}");
        }
    }
}

/// What came of a time in which a name has several sets of addresses.
#[derive(Debug, PartialEq, Eq)]
struct Turns {
    packets: usize,
    /// Answers of the upstream that were doubted.
    doubted: u64,
    /// Stale answers to clients.
    stale: usize,
}

/// Plays some minutes in which a name has these sets of addresses in turn, one of them for each
/// answer.
async fn take_turns(
    minutes: usize,
    guard: bool,
    seed: u64,
    choose: impl Fn(usize, u64) -> usize + Send + Sync + 'static,
) -> Turns {
    let text =
        format!("answers.failover_guard = {guard}\n[[upstream]]\nname = \"u\"\naddresses = [\"192.0.2.53:53\"]\n");
    let layer = holdover::config::file::parse("turns", &text).unwrap();
    let settings = holdover::config::validate::validate(&layer).unwrap();
    let (dice, answers) = (Dice::new(seed), Mutex::new(0_usize));
    let world = World::new(settings, seed, move |sent: &Sent| {
        let mut nth = answers.lock().unwrap();
        *nth += 1;
        let sets = [["192.0.2.1", "192.0.2.2"], ["192.0.2.2", "192.0.2.1"], ["192.0.2.3", "192.0.2.4"]];
        let set = sets[choose(*nth, dice.below(100))];
        Reaction::Answer(Duration::from_millis(2), message::positive(&sent.query, &set, TTL))
    });
    let mut stale = 0;
    for _ in 0..600 * minutes {
        let query = message::query("lb.example.com", RecordType::A, 7, true);
        let seen = message::read(&world.ask(query, "127.0.0.1:4000".parse().unwrap()).await.bytes.unwrap());
        stale += usize::from(seen.stale);
        tokio::time::sleep(SECOND / 10).await;
    }
    let doubted = world.resolver.reading().reversals["doubted"];
    let packets = world.network.sent.lock().unwrap().iter().filter(|sent| is_about_lb(sent)).count();
    Turns { packets, doubted, stale }
}

fn is_about_lb(sent: &Sent) -> bool {
    message::question(&sent.query).is_some_and(|(name, _)| name == "lb.example.com.")
}

#[test]
fn addresses_that_take_turns_cost_no_packet_more_and_none_is_doubted() {
    /// Chooses a set by the number of the answer and a number below 100.
    type Choice = fn(usize, u64) -> usize;
    let turns: [(&str, Choice); 4] = [
        ("one set, in another order each time", |nth, _| nth % 2),
        ("two sets in turn", |nth, _| nth % 2 * 2),
        ("two sets, each for two answers", |nth, _| nth / 2 % 2 * 2),
        ("two sets at random", |_, draw| if draw < 50 { 0 } else { 2 }),
    ];
    for (what, choose) in turns {
        let with = in_virtual_time(take_turns(2, true, 3, choose));
        let without = in_virtual_time(take_turns(2, false, 3, choose));
        assert_eq!(with, without, "{what}");
        assert_eq!((with.doubted, with.stale), (0, 0), "{what}");
    }
}

#[test]
fn a_rare_second_set_costs_a_few_packets_and_is_believed() {
    // One answer in twelve has another set, so that the first one looks steady for a while.
    let rare = |_: usize, draw: u64| if draw < 8 { 2 } else { 0 };
    let mut sums = [0; 3];
    for seed in 0..8 {
        let with = in_virtual_time(take_turns(20, true, seed, rare));
        let without = in_virtual_time(take_turns(20, false, seed, rare));
        sums = [sums[0] + with.packets, sums[1] + without.packets, sums[2] + with.stale];
    }
    let [with, without, stale] = sums;
    println!("{with} packets with the guard, {without} without it; {stale} of {} answers stale", 8 * 12_000);
    assert!(with <= without * 5 / 4 && stale <= 8 * 12_000 / 100, "{with}, {without}, {stale}");
}

#[test]
fn a_restart_does_not_forget_which_addresses_stay() {
    in_virtual_time(async {
        let mut settings = Settings::standard();
        settings.upstreams = vec![upstream("192.0.2.53:53", Role::Primary)];
        // The address over UDP and over TCP.
        let answering = |udp: &'static str, tcp: &'static str| {
            move |sent: &Sent| {
                let address = if sent.transport == Transport::Udp { udp } else { tcp };
                Reaction::Answer(Duration::from_millis(2), message::positive(&sent.query, &[address], TTL))
            }
        };
        let mut world = World::new(settings, 3, answering(OLD, OLD));
        for _ in 0..60 {
            assert_eq!(ask_for_db(&world).await, [OLD]);
            tokio::time::sleep(SECOND).await;
        }
        let saved = world.save();
        world.restart_from(&saved, Shift::NONE, Boot::Same);
        world.set(answering(NEW, NEW));
        tokio::time::sleep(SECOND * (TTL + 1)).await;
        assert_eq!(ask_for_db(&world).await, [NEW]);
        world.set(answering(OLD, NEW));
        for _ in 0..20 {
            tokio::time::sleep(SECOND).await;
            assert_eq!(ask_for_db(&world).await, [NEW]);
        }
        assert!(world.resolver.reading().reversals["refuted"] >= 2);
    });
}

/// The addresses that a client is given.
async fn ask_for_db(world: &World) -> Vec<String> {
    let query = message::query("db.example.com", RecordType::A, 7, true);
    message::read(&world.ask(query, "127.0.0.1:4000".parse().unwrap()).await.bytes.unwrap()).data
}
