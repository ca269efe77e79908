//! A world with clients that send queries.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::RecordType;
use holdover::config::settings::Settings;
use holdover::core::health::UpstreamState;
use holdover::core::policy::CriticalName;
use holdover::core::upstream::Role;

use super::truth::Zone;
use super::weather::Weather;
use super::witness::Witness;
use crate::world::{Dice, World, message, upstream};

pub const SECOND: Duration = Duration::from_secs(1);
pub const MINUTE: Duration = Duration::from_secs(60);

/// The default settings with these upstreams.
pub fn settings(upstreams: &[(&str, Role)]) -> Settings {
    let mut settings = Settings::standard();
    settings.upstreams = upstreams.iter().map(|(address, role)| upstream(address, *role)).collect();
    settings
}

/// These names of a zone as critical names.
pub fn critical(names: &[usize], max_age: Duration) -> Vec<CriticalName> {
    let wire = |text: String| {
        let labels = text.trim_end_matches('.').split('.');
        let labels =
            labels.flat_map(|label| std::iter::once(label.len() as u8).chain(label.bytes()).collect::<Vec<u8>>());
        labels.chain([0]).collect()
    };
    names.iter().map(|name| CriticalName { name: wire(Zone::text(*name)), types: vec![28], max_age }).collect()
}

/// Runs a future under paused time.
pub fn in_virtual_time<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(future)
}

/// A world, its zone and its faults, and the witness that checks every answer.
pub struct Play {
    pub world: World,
    pub zone: Arc<Zone>,
    pub weather: Arc<Weather>,
    pub witness: Arc<Witness>,
    pub dice: Dice,
}

impl Play {
    pub fn new(seed: u64, settings: Settings, zone: Zone, weather: Weather) -> Self {
        let (zone, weather) = (Arc::new(zone), Arc::new(weather));
        let witness =
            Arc::new(Witness::new(seed, Arc::clone(&zone), Arc::clone(&weather), settings.policy.stale.maximum));
        let (truth, sky, dice) = (Arc::clone(&zone), Arc::clone(&weather), Dice::new(seed ^ 0x5eed));
        let world = World::new(settings, seed, move |sent| sky.react(&truth, &dice, sent));
        Self { world, zone, weather, witness, dice: Dice::new(seed.wrapping_mul(31)) }
    }

    /// A random name; low indices are more popular.
    pub fn pick(&self) -> usize {
        let names = self.zone.names() as u64;
        let (a, b) = (self.dice.below(names), self.dice.below(names));
        a.min(b) as usize
    }

    /// Sends one client's query for one name.
    pub fn ask(&self, name: usize) -> tokio::task::JoinHandle<()> {
        let number = self.dice.below(u64::MAX);
        let client = SocketAddr::from(([127, 0, 0, 1], 1024 + (number % 60_000) as u16));
        let id = (number >> 32) as u16;
        let packet = message::query(&Zone::text(name), RecordType::AAAA, id, true);
        let asked = self.witness.asked(name, id, self.world.clock.elapsed());
        let (witness, clock, ask) =
            (Arc::clone(&self.witness), Arc::clone(&self.world.clock), self.world.ask(packet, client));
        tokio::spawn(async move {
            let reply = ask.await;
            witness.answered(&asked, &reply, clock.elapsed());
        })
    }

    /// Asks for each name once, while all is well.
    pub async fn warm_up(&self) {
        for name in 0..self.zone.names() {
            drop(self.ask(name));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Lets clients ask for `length`, at `per_second` queries a second on average.
    pub async fn load(&self, length: Duration, per_second: u64) {
        let until = self.world.clock.elapsed() + length;
        while self.world.clock.elapsed() < until {
            drop(self.ask(self.pick()));
            tokio::time::sleep(Duration::from_micros(self.dice.below(2_000_000 / per_second))).await;
        }
    }

    /// Waits without new queries until all work has ended, and checks that every query was
    /// answered.
    pub async fn settle(&self) {
        tokio::time::sleep(Duration::from_secs(12)).await;
        self.witness.everybody_was_answered();
        assert!(self.world.resolver.in_flight() <= 2, "{}: resolutions go on without an end", self.witness.label());
        let _ = self.witness.packets(&self.world.network.sent.lock().unwrap());
    }

    pub fn state(&self) -> UpstreamState {
        self.world.resolver.upstreams().all()[0].state()
    }
}
