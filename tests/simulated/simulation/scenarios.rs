//! Known kinds of outages and floods, each with its promises in numbers.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_proto::rr::RecordType;
use holdover::core::health::UpstreamState;
use holdover::core::upstream::Role;

use super::play::{MINUTE, Play, SECOND, in_virtual_time, settings};
use super::truth::Zone;
use super::weather::{Fault, Weather};
use crate::world::{Dice, message};

/// The response time of a healthy upstream: below the shortest client response timer.
const QUICK: Duration = Duration::from_millis(3);

#[test]
fn s01_seoul_84_minutes_and_the_healing() {
    in_virtual_time(async {
        let weather = Weather::constant("192.0.2.53:53", vec![(5 * MINUTE, Fault::Seoul), (129 * MINUTE, Fault::None)]);
        let dice = Dice::new(1);
        let play = Play::new(1, settings(&[("192.0.2.53:53", Role::Primary)]), Zone::steady(200, &dice), weather);
        play.warm_up().await;
        let warm = play.world.sends();
        play.load(5 * MINUTE - play.world.clock.elapsed(), 40).await;
        let before = play.witness.sums();
        play.load(124 * MINUTE, 40).await;
        let during = play.witness.sums().since(&before);
        assert!(during.queries > 250_000, "{during:?}");
        assert_eq!((during.failed, during.late), (0, 0), "each known name was answered in time: {during:?}");
        play.load(5 * SECOND, 40).await;
        let healed = play.witness.sums();
        play.load(MINUTE, 40).await;
        let after = play.witness.sums().since(&healed);
        assert_eq!(after.stale, 0, "fresh five seconds after the heal: {after:?}");
        play.settle().await;
        let peak = play.witness.packets(&play.world.network.sent.lock().unwrap()[warm..]);
        assert!(peak <= 100, "{peak} packets in one second, for 40 queries a second");
    });
}

#[test]
fn s06_goodput_does_not_fall_as_load_rises_behind_a_cap() {
    // A network interface that silently drops everything above 1024 packets a second, as EC2's
    // does. The budget stays below it, so that nothing is dropped whatever the load.
    let goodput = |rate: u64| {
        in_virtual_time(async move {
            let weather = Weather::constant("192.0.2.53:53", vec![(Duration::ZERO, Fault::Cap(1024))]);
            let play =
                Play::new(rate, settings(&[("192.0.2.53:53", Role::Primary)]), Zone::steady(1, &Dice::new(1)), weather);
            let mut answered = 0;
            let mut asked = Vec::new();
            for number in 0..rate * 8 {
                let packet = message::query(&format!("u{number}.example.com."), RecordType::AAAA, number as u16, true);
                let client = SocketAddr::from(([127, 0, 0, 1], 1024 + (number % 60_000) as u16));
                asked.push(tokio::spawn(play.world.ask(packet, client)));
                tokio::time::sleep(SECOND / rate as u32).await;
            }
            for asked in asked {
                let reply = asked.await.unwrap();
                answered += u64::from(message::read(&reply.bytes.unwrap()).kind == message::Kind::NxDomain);
            }
            let _ = play.witness.packets(&play.world.network.sent.lock().unwrap());
            assert_eq!(play.weather.capped(), 0, "nothing ran into the cap");
            answered / 8
        })
    };
    let (half, full, double, tenfold) = (goodput(450), goodput(850), goodput(1_700), goodput(8_500));
    println!("answers a second at 450, 850, 1700, 8500 queries a second: {half}, {full}, {double}, {tenfold}");
    assert!(half >= 445 && full >= 840, "{half} {full}");
    assert!(double >= 800 && tenfold >= 800, "{double} {tenfold}");
}

#[test]
fn s14_a_flood_of_unique_names_in_an_outage_costs_hot_names_nothing() {
    in_virtual_time(async {
        let weather =
            Weather::constant("192.0.2.53:53", vec![(2 * MINUTE, Fault::Blackhole), (3 * MINUTE, Fault::None)]);
        let play =
            Play::new(14, settings(&[("192.0.2.53:53", Role::Primary)]), Zone::steady(300, &Dice::new(14)), weather);
        play.warm_up().await;
        play.load(2 * MINUTE - play.world.clock.elapsed(), 50).await;
        let before = play.witness.sums();
        let sent_before = play.world.sends();
        for number in 0..100_000_u64 {
            let packet = message::query(&format!("x{number}.flood.test."), RecordType::A, number as u16, true);
            let client = SocketAddr::from(([127, 0, 0, 1], 1024 + (number % 60_000) as u16));
            let ask = play.world.ask(packet, client);
            drop(tokio::spawn(async move {
                let reply = ask.await;
                assert!(
                    reply.bytes.is_some() && reply.took <= Duration::from_millis(4_900),
                    "each gets its SERVFAIL, soon"
                );
            }));
            if number % 100 == 0 {
                drop(play.ask(play.pick()));
                assert!(play.world.resolver.in_flight() <= 1_000 + 64, "resolutions under way are bounded");
            }
            if number % 10 == 9 {
                // Tokio's clock ticks in milliseconds, so ten queries in each make ten thousand a
                // second.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        let during = play.witness.sums().since(&before);
        assert!(during.queries >= 990 && during.failed == 0 && during.late == 0, "hot names: {during:?}");
        let sent = play.world.sends() - sent_before;
        // In the first three seconds the breaker learns; then at most a hundred packets a second
        // are sent.
        assert!(sent <= 3 * 900 + 10 * 110, "{sent} packets in ten seconds");
        play.world.resolver.memory().store().settle();
        let sizes = play.world.resolver.memory().store().sizes();
        assert!(sizes[2].0 <= 2_048, "failures that are remembered: {sizes:?}");
        assert!(sizes[0].0 >= 300 * 7 / 10, "what was known is still there: {sizes:?}");
        tokio::time::sleep(2 * MINUTE).await;
        play.load(10 * SECOND, 50).await;
        play.settle().await;
    });
}

#[test]
fn s01_a_half_healed_upstream_does_not_flap() {
    in_virtual_time(async {
        let mut phases = vec![(MINUTE, Fault::Blackhole)];
        phases.extend((0..40).map(|minute| ((2 + minute) * MINUTE, Fault::Loss(950 - 23 * minute as u64))));
        let weather = Weather::constant("192.0.2.53:53", phases);
        let play =
            Play::new(3, settings(&[("192.0.2.53:53", Role::Primary)]), Zone::steady(100, &Dice::new(3)), weather);
        let (mut outages, mut downs, mut last, mut outage) = (0, 0, UpstreamState::Healthy, false);
        for _ in 0..42 * 60 {
            play.load(SECOND, 20).await;
            let (state, now) = (play.state(), play.world.resolver.in_outage());
            downs += u32::from(state == UpstreamState::Down && last != UpstreamState::Down);
            outages += u32::from(now && !outage);
            (last, outage) = (state, now);
        }
        println!("while loss falls from 95 to 3 % in 40 minutes: down {downs} times, {outages} outages");
        assert!(downs <= 12 && outages <= 10, "down {downs} times, {outages} outages");
        play.settle().await;
    });
}

#[test]
fn what_is_known_survives_a_day_of_silence_and_not_more() {
    in_virtual_time(async {
        let weather = Weather::constant("192.0.2.53:53", vec![(MINUTE, Fault::Blackhole)]);
        let play =
            Play::new(9, settings(&[("192.0.2.53:53", Role::Primary)]), Zone::steady(20, &Dice::new(9)), weather);
        play.load(MINUTE, 20).await;
        for _ in 0..24 * 4 - 1 {
            play.load(2 * SECOND, 10).await;
            tokio::time::sleep(15 * MINUTE - 2 * SECOND).await;
        }
        let day = play.witness.sums();
        assert_eq!(day.failed, 0, "{day:?}");
        tokio::time::sleep(30 * MINUTE).await;
        play.load(2 * SECOND, 10).await;
        let after = play.witness.sums().since(&day);
        assert_eq!(after.failed, after.queries, "maximum stale is an end: {after:?}");
        play.settle().await;
    });
}

#[test]
fn quick_is_quick() {
    assert!(QUICK < Duration::from_millis(20), "a healthy upstream answers within the shortest client response timer");
}
