//! Days of queries, packet loss, wrong answers, slowness, stops and restarts within seconds: the
//! real resolver in a random world, with every answer checked.
//!
//! Everything follows from one seed, which a failure names. `SIMULATION_SEED=17 cargo test --test
//! simulated simulation` runs that world alone, and `SIMULATION_SEEDS=1000` runs more worlds.

mod authorities;
mod critical;
mod play;
mod scenarios;
mod truth;
mod weather;
mod witness;

use std::time::Duration;

use holdover::core::restore::Shift;
use holdover::core::upstream::Role;
use play::{MINUTE, Play, SECOND, critical as critical_names, in_virtual_time, settings};
use truth::Zone;
use weather::Weather;

use crate::world::{Boot, Dice};

/// Worlds that are run unless `SIMULATION_SEEDS` says otherwise.
const SEEDS: u64 = 24;

#[test]
fn random_worlds_keep_every_invariant() {
    let one = std::env::var("SIMULATION_SEED").ok().map(|seed| seed.parse::<u64>().unwrap());
    let many = std::env::var("SIMULATION_SEEDS").ok().map_or(SEEDS, |seeds| seeds.parse().unwrap());
    for seed in one.map_or(0..many, |seed| seed..seed + 1) {
        let mut sums = Default::default();
        in_virtual_time(async { sums = random_world(seed).await });
        println!("seed {seed}: {sums:?}");
    }
}

/// Runs one random world for hours of virtual time.
async fn random_world(seed: u64) -> witness::Sums {
    let dice = Dice::new(seed);
    let addresses = ["192.0.2.53:53", "192.0.2.54:53", "198.51.100.53:53"];
    let upstreams: Vec<(&str, Role)> = match dice.below(4) {
        0 | 1 => vec![(addresses[0], Role::Primary)],
        2 => vec![(addresses[0], Role::Primary), (addresses[1], Role::Primary)],
        _ => vec![(addresses[0], Role::Primary), (addresses[2], Role::Fallback)],
    };
    let mut settings = settings(&upstreams);
    if dice.below(3) == 0 {
        settings.policy.stale.maximum = 20 * MINUTE;
    }
    if dice.below(2) == 0 {
        // In turn: a name that has addresses, one that comes and goes, one that never exists, and
        // one without data of this type.
        settings.policy.critical = critical_names(&[0, 6, 7, 8], 10 * MINUTE);
    }
    let maximum_stale = settings.policy.stale.maximum;
    let weather = Weather::random(&dice, &upstreams, 90 * MINUTE);
    let zone = Zone::new(20 + dice.below(180) as usize, &dice);
    let mut play = Play::new(seed, settings, zone, weather);
    let rate = 1 + dice.below(8);
    let mut answered = Vec::new();
    while play.world.clock.elapsed() < 95 * MINUTE {
        let now = play.world.clock.elapsed();
        for critical in play.world.resolver.critical() {
            match critical.age {
                Some(age) => answered.push((critical.key.clone(), now.saturating_sub(age))),
                None => assert!(
                    !answered.iter().any(|(key, at)| *key == critical.key && now < *at + maximum_stale),
                    "seed {seed} at {now:?}: {} was known and is missing",
                    critical.key
                ),
            }
        }
        play.load(Duration::from_secs(30 + dice.below(300)), rate).await;
        match dice.below(12) {
            0 => {
                play.witness.process_stopped(play.world.clock.elapsed());
                tokio::time::advance(Duration::from_secs(1 + dice.below(600))).await;
                play.witness.process_stopped(play.world.clock.elapsed());
            }
            1 => {
                tokio::time::sleep(Duration::from_secs(3)).await;
                play.world.restart();
                play.witness.process_restarted();
                answered.clear();
            }
            2 | 3 => {
                restart_with_a_state_file(&mut play, &dice).await;
                answered.clear();
            }
            4 => tokio::time::sleep(Duration::from_secs(dice.below(900))).await,
            _ => {}
        }
    }
    play.settle().await;
    play.witness.sums()
}

/// The process is killed some time after the last write of its state file, the wall clock is set by
/// seconds to days or not at all, and another process begins with the file.
async fn restart_with_a_state_file(play: &mut Play, dice: &Dice) {
    let (saved, written) = (play.world.save(), play.witness.written());
    play.load(Duration::from_millis(dice.below(2_000)), 5).await;
    // By now no query is waiting: no answer is owed to a query that was lost with its process.
    tokio::time::sleep(3 * SECOND).await;
    let by = Duration::from_secs(match dice.below(4) {
        0 => 0,
        1 => dice.below(100),
        2 => dice.below(7_200),
        _ => dice.below(40 * 86_400),
    });
    let moved = if dice.below(2) == 0 { Shift::Ahead(by) } else { Shift::Back(by) };
    let boot = if dice.below(3) == 0 { Boot::Unknown } else { Boot::Same };
    play.world.restart_from(&saved, moved, boot);
    play.witness.process_restored(written, if boot == Boot::Same { Shift::NONE } else { moved });
}
