//! Critical names, which must not be missing in floods or after outages.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_proto::rr::RecordType;
use holdover::core::budget::Class;
use holdover::core::critical::Standing;
use holdover::core::special::Readiness;
use holdover::core::upstream::Role;
use holdover::memory::journal::{Change, Origin};

use super::play::{MINUTE, Play, SECOND, critical, in_virtual_time, settings};
use super::truth::Zone;
use super::weather::{Fault, Weather};
use crate::world::{Dice, Reaction, message};

#[test]
fn critical_names_that_nobody_asks_for_survive_floods_through_a_full_cache() {
    in_virtual_time(async {
        let names: Vec<usize> = (0..10).collect();
        let mut settings = settings(&[("192.0.2.53:53", Role::Primary)]);
        settings.policy.cache.entries = 100;
        settings.policy.cache.bytes = 1 << 20;
        settings.policy.critical = critical(&names, 3 * MINUTE);
        let weather =
            Weather::constant("192.0.2.53:53", vec![(10 * MINUTE, Fault::Blackhole), (20 * MINUTE, Fault::None)]);
        let play = Play::new(6, settings, Zone::steady(4_000, &Dice::new(6)), weather);
        let all = |play: &Play, standing: Standing| {
            play.world.resolver.critical().iter().all(|critical| critical.standing == standing)
        };
        assert_eq!(play.world.resolver.readiness(), Readiness::NotYet);
        // The journal, from which the state file and the shared cache learn, holds each name and
        // each refresh.
        let journal = play.world.resolver.memory().journal();
        let learned = || {
            let changes = journal.take().changes.into_iter();
            let keys = changes.filter_map(|change| match change {
                Change::Learned(cached, Origin::Upstream) => cached.upgrade().and_then(|cached| cached.key()),
                Change::Learned(..) | Change::Flushed(_) => None,
            });
            keys.collect::<std::collections::HashSet<_>>()
        };
        tokio::time::sleep(SECOND).await;
        assert_eq!(learned().len(), names.len());
        tokio::time::sleep(2 * MINUTE).await;
        assert_eq!(learned().len(), names.len(), "refreshed though nobody asks");
        assert_eq!(play.world.resolver.readiness(), Readiness::Ready);
        let missing =
            || play.world.resolver.critical().iter().filter(|critical| critical.standing == Standing::Missing).count();
        // Forty times as many existing names as fit into the cache, and as many that do not exist.
        let mut asked = 0;
        while play.world.clock.elapsed() < 10 * MINUTE {
            asked += 1;
            let name = if asked % 2 == 0 { Zone::text(10 + asked % 3_990) } else { format!("x{asked}.flood.test.") };
            let packet = message::query(&name, RecordType::AAAA, asked as u16, true);
            drop(tokio::spawn(play.world.ask(packet, SocketAddr::from(([127, 0, 0, 1], 1024)))));
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert_eq!(missing(), 0, "not for a moment");
        }
        assert!(play.world.resolver.sends().total(Class::Critical) > 100, "they were refreshed without traffic");
        let fresh =
            play.world.resolver.critical().iter().filter(|critical| critical.standing == Standing::Fresh).count();
        assert!(fresh >= 8, "{fresh} of 10 fresh; one whose TTL is a second may just be asked for");
        let before = play.witness.sums();
        for number in 0..200_000_usize {
            let packet = message::query(&format!("y{number}.flood.test."), RecordType::AAAA, number as u16, true);
            drop(tokio::spawn(
                play.world.ask(packet, SocketAddr::from(([127, 0, 0, 1], 1024 + (number % 60_000) as u16))),
            ));
            if number % 100 == 0 {
                drop(play.ask(number / 100 % 10));
            }
            if number % 10 == 9 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        let during = play.witness.sums().since(&before);
        assert!(during.queries >= 1_990 && during.failed == 0 && during.late == 0, "{during:?}");
        assert_eq!(missing(), 0);
        let kept: Vec<_> = play.world.resolver.memory().store().answers().filter_map(|cached| cached.key()).collect();
        assert!(
            play.world.resolver.critical().iter().all(|critical| kept.contains(&critical.key)),
            "whoever missed a change and walks the store meets them all"
        );
        tokio::time::sleep(5 * MINUTE).await;
        assert!(all(&play, Standing::Stale));
        assert!(
            play.world
                .resolver
                .critical()
                .iter()
                .all(|critical| critical.too_old_since.is_some() && critical.age > Some(3 * MINUTE))
        );
        tokio::time::sleep(20 * MINUTE - play.world.clock.elapsed() + 30 * SECOND).await;
        assert!(
            play.world
                .resolver
                .critical()
                .iter()
                .all(|critical| critical.too_old_since.is_none() && critical.age < Some(MINUTE))
        );
        play.settle().await;
    });
}

#[test]
fn s15_thirty_sidecars_with_critical_names_do_not_come_back_in_one_moment() {
    in_virtual_time(async {
        let mut settings = settings(&[("192.0.2.53:53", Role::Primary)]);
        settings.policy.critical = critical(&(0..20).collect::<Vec<_>>(), 60 * MINUTE);
        let plays: Vec<Play> = (0..30)
            .map(|seed| {
                let weather =
                    Weather::constant("192.0.2.53:53", vec![(MINUTE, Fault::Blackhole), (11 * MINUTE, Fault::None)]);
                Play::new(seed, settings.clone(), Zone::steady(20, &Dice::new(3)), weather)
            })
            .collect();
        tokio::time::sleep(12 * MINUTE).await;
        let mut times: Vec<u128> = Vec::new();
        for play in &plays {
            let sent = play.world.network.sent.lock().unwrap();
            times.extend(sent.iter().filter(|sent| sent.at >= 11 * MINUTE).map(|sent| sent.at.as_millis()));
            assert!(play.world.resolver.critical().iter().all(|critical| critical.age < Some(MINUTE)));
        }
        times.sort_unstable();
        let peak = times
            .iter()
            .enumerate()
            .map(|(index, from)| times[index..].iter().take_while(|at| **at < from + 1000).count())
            .max();
        println!("600 critical names behind one interface come back with {peak:?} packets in the worst second");
        assert!(peak < Some(512), "{peak:?} packets in one second, half of what the interface lets through");
    });
}

#[test]
fn a_flood_that_takes_every_place_leaves_some_for_refreshing_critical_names() {
    in_virtual_time(async {
        let mut settings = settings(&[("192.0.2.53:53", Role::Primary)]);
        settings.policy.in_flight.resolutions = 50;
        settings.policy.critical = critical(&[0, 1, 2], 5 * SECOND);
        let weather = Weather::constant("192.0.2.53:53", vec![(Duration::ZERO, Fault::None)]);
        let play = Play::new(21, settings, Zone::steady(10, &Dice::new(21)), weather);
        let zone = std::sync::Arc::clone(&play.zone);
        let slowly = Duration::from_millis(1_500);
        play.world.set(move |sent| Reaction::Answer(slowly, zone.response(&sent.query, sent.at + slowly)));
        let (mut full, mut oldest) = (0, Duration::ZERO);
        for number in 0..30_000_usize {
            let packet = message::query(&format!("z{number}.flood.test."), RecordType::AAAA, number as u16, true);
            drop(tokio::spawn(
                play.world.ask(packet, SocketAddr::from(([127, 0, 0, 1], 1024 + (number % 60_000) as u16))),
            ));
            tokio::time::sleep(Duration::from_millis(1)).await;
            full += usize::from(play.world.resolver.in_flight() >= 50);
            if number > 10_000 {
                oldest = oldest.max(
                    play.world.resolver.critical().iter().filter_map(|critical| critical.age).max().unwrap_or(MINUTE),
                );
            }
        }
        assert!(full > 25_000, "there was no place for most of the time: {full}");
        let asked = play.world.resolver.sends().total(Class::Critical);
        println!(
            "places taken in {full} of 30 000 moments, {asked} packets for critical names, which were {oldest:?} old \
             at the most"
        );
        // Without reserved places these names get 15 refreshes in this world.
        assert!(asked >= 20, "{asked} packets for three names that may be five seconds old, in half a minute");
    });
}

#[test]
fn sidecars_that_started_together_do_not_refresh_their_critical_names_together() {
    in_virtual_time(async {
        let mut settings = settings(&[("192.0.2.53:53", Role::Primary)]);
        settings.policy.critical = critical(&[0], 10 * MINUTE);
        let plays: Vec<Play> = (0..20)
            .map(|seed| {
                let weather = Weather::constant("192.0.2.53:53", vec![(Duration::ZERO, Fault::None)]);
                Play::new(seed, settings.clone(), Zone::steady(1, &Dice::new(3)), weather)
            })
            .collect();
        tokio::time::sleep(20 * MINUTE).await;
        let second = |play: &Play| {
            let sent = play.world.network.sent.lock().unwrap();
            // Only the second refresh and later ones count, because the first answers came within
            // milliseconds of each other.
            sent.iter()
                .filter(|sent| message::question(&sent.query).is_some_and(|(name, _)| name == Zone::text(0)))
                .nth(2)
                .unwrap()
                .at
                .as_millis()
        };
        let mut times: Vec<u128> = plays.iter().map(second).collect();
        times.sort_unstable();
        let spread = times[times.len() - 1] - times[0];
        let life = times[0] / 2;
        assert!(spread * 100 >= life * 4, "within {spread} ms of a life of about {life} ms: {times:?}");
        times.dedup();
        assert!(times.len() >= 15, "{times:?}");
    });
}

#[test]
fn a_critical_name_that_is_flushed_is_asked_for_at_once() {
    in_virtual_time(async {
        let mut settings = settings(&[("192.0.2.53:53", Role::Primary)]);
        settings.policy.critical = critical(&[0], 3600 * SECOND);
        let weather = Weather::constant("192.0.2.53:53", vec![(Duration::ZERO, Fault::None)]);
        let play = Play::new(5, settings, Zone::steady(10, &Dice::new(5)), weather);
        let resolver = &play.world.resolver;
        tokio::time::sleep(5 * SECOND).await;
        let (key, sends) = (resolver.critical()[0].key.clone(), play.world.sends());
        assert!(resolver.memory().flush(&key));
        tokio::time::sleep(3 * SECOND).await;
        assert!(
            play.world.sends() > sends && resolver.critical()[0].age < Some(3 * SECOND),
            "{:?}",
            resolver.critical()
        );
    });
}
