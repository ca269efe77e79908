//! One client asks for thousands of names that nobody knows, and another for a few: the first one
//! takes nothing from the second, whatever the upstreams do.

use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use holdover::config::settings::Settings;
use holdover::core::upstream::Role;
use holdover::telemetry::reading::Reading;

use crate::world::message::{self, Kind};
use crate::world::{Purpose, Reaction, Sent, World, upstream};

const ROUND_TRIP: Duration = Duration::from_millis(2);
/// Names that the modest client asks for, ten a second.
const NAMES: usize = 25;

/// What the upstreams do with the names of the flood; they answer all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FloodedNames {
    Answered,
    /// Each takes a second.
    Slow,
    Silent,
    ServFail,
    /// A fifth of the packets is lost, those for other names as well.
    Lossy,
}

/// A flood of names below one zone.
#[derive(Clone, Copy, Debug)]
struct Flood {
    names: FloodedNames,
    per_second: u64,
    /// The addresses from which it comes.
    sources: u64,
}

fn world(flood: Flood) -> World {
    let mut settings = Settings::standard();
    settings.upstreams = vec![upstream("192.0.2.53:53", Role::Primary)];
    let packets = std::sync::atomic::AtomicU64::new(0);
    World::new(settings, 7, move |sent: &Sent| {
        let number = packets.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let Some((name, _)) = message::question(&sent.query) else { return Reaction::Silence };
        let answer = |after| Reaction::Answer(after, message::positive(&sent.query, &["192.0.2.1"], 1));
        match flood.names {
            FloodedNames::Lossy if number.is_multiple_of(5) => Reaction::Silence,
            FloodedNames::Answered | FloodedNames::Lossy => answer(ROUND_TRIP),
            _ if !name.ends_with("flood.example.org.") => answer(ROUND_TRIP),
            FloodedNames::Slow => answer(Duration::from_secs(1)),
            FloodedNames::Silent => Reaction::Silence,
            FloodedNames::ServFail => {
                Reaction::Answer(ROUND_TRIP, message::empty(&sent.query, ResponseCode::ServFail, true))
            }
        }
    })
}

/// Floods for six seconds; from the third one on the other client asks. Gives how many of its new
/// names resolved, how many of its answers for a name that it knows were fresh, and how the sidecar
/// saw itself in the end.
async fn beside(flood: Flood) -> (usize, usize, Reading) {
    let world = world(flood);
    let modest = "192.0.2.200:4000".parse().unwrap();
    let ask = |name: String, id: usize, client| {
        let packet = message::query(&name, RecordType::A, id as u16, true);
        tokio::spawn(world.ask(packet, client))
    };
    let (mut new, mut known) = (Vec::new(), Vec::new());
    let mut asked = 0;
    for millis in 0..6_000_u64 {
        while asked < millis * flood.per_second / 1_000 {
            let client = std::net::SocketAddr::from(([10, 0, 0, (asked % flood.sources) as u8], 4_000));
            drop(ask(format!("r{asked}.flood.example.org."), asked as usize, client));
            asked += 1;
        }
        if millis >= 3_000 && millis % 100 == 0 && new.len() < NAMES {
            new.push(ask(format!("new{millis}.example.com."), new.len(), modest));
            known.push(ask("known.example.com.".to_owned(), known.len(), modest));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let reading = world.resolver.reading();
    let (mut resolved, mut fresh) = (0, 0);
    for (new, known) in new.into_iter().zip(known) {
        resolved += usize::from(message::read(&new.await.unwrap().bytes.unwrap()).kind == Kind::Answer);
        let seen = message::read(&known.await.unwrap().bytes.unwrap());
        fresh += usize::from(seen.kind == Kind::Answer && !seen.stale);
    }
    world.resolver.stop();
    (resolved, fresh, reading)
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_one_client_takes_nothing_from_another() {
    use FloodedNames::{Answered, Lossy, ServFail, Silent, Slow};
    for (names, per_second, sources) in [
        (Answered, 1_000, 1),
        (Answered, 2_000, 1),
        (Answered, 5_000, 8),
        (Slow, 2_000, 1),
        (Silent, 2_000, 1),
        (Silent, 2_000, 20),
        (ServFail, 2_000, 1),
        (Lossy, 2_000, 1),
    ] {
        let flood = Flood { names, per_second, sources };
        let (resolved, fresh, reading) = beside(flood).await;
        assert!(resolved >= NAMES - 1, "{flood:?}: {resolved} new names resolved");
        // A lost packet is a reason for a stale answer.
        let lossless = names != Lossy;
        assert!(fresh >= NAMES - 2 || !lossless, "{flood:?}: {fresh} answers for a known name were fresh");
        if sources == 1 && names != ServFail {
            let top = reading.top_clients.first().expect("a client");
            assert_eq!(top.client, "10.0.0.0", "{flood:?}");
            assert!(top.resolutions > 500 && top.packets > 300, "{flood:?}: {top:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lone_client_may_have_everything() {
    let world = world(Flood { names: FloodedNames::Slow, per_second: 0, sources: 1 });
    let client = "127.0.0.1:4000".parse().unwrap();
    let asked: Vec<_> = (0..1_500_usize)
        .map(|number| {
            let packet = message::query(&format!("n{number}.flood.example.org."), RecordType::A, number as u16, true);
            tokio::spawn(world.ask(packet, client))
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(world.resolver.in_flight(), 1_000);
    let sent = world.network.sent.lock().unwrap().iter().filter(|sent| sent.purpose == Purpose::Resolution).count();
    assert!((880..=891).contains(&sent), "the whole budget but for what is kept and used for probes: {sent}");
    for asked in asked {
        assert_eq!(message::read(&asked.await.unwrap().bytes.unwrap()).kind, Kind::Answer);
    }
    assert_eq!(world.resolver.reading().queries_shed.values().sum::<u64>(), 0);
}
