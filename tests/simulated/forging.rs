//! How likely a forger who does not see the queries (RFC 5452 §7) gets a false answer for one name
//! into the memory within an hour: counted from what the real resolver sends, and compared with the
//! table in `src/ARCHITECTURE.md`.

use std::time::Duration;

use hickory_proto::rr::RecordType;
use holdover::config::settings::Settings;
use holdover::core::upstream::{Role, Transport};

use crate::world::{Purpose, Reaction, Sent, World, message, upstream};

/// Forged responses that the forger sends in a second.
const PACKETS_PER_SECOND: f64 = 100_000.0;
/// Ports from which Linux draws, unless it is told otherwise: 32 768 to 60 999.
const PORTS: f64 = 28_232.0;
/// Message IDs.
const IDS: f64 = 65_536.0;
/// Letters of the name, each of which has one of two cases.
const LETTERS: i32 = 13;
/// The name in question.
const NAME: &str = "www.example.com.";
const ROUND_TRIP: Duration = Duration::from_millis(10);
const HOUR: Duration = Duration::from_secs(3_600);

/// One hour in which a client asks for the name every second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hour {
    /// The upstream answers everything, with a TTL of 60 s.
    Healthy,
    /// The name was answered once, and then nothing is any more.
    KnownAndSilent,
    /// Nothing is ever answered.
    UnknownAndSilent,
    /// Nothing is answered for the name, and everything for others.
    DeadName,
}

impl Hour {
    /// The first cell of its row.
    const fn label(self) -> &'static str {
        match self {
            Self::Healthy => "all is well, TTL 60 s",
            Self::KnownAndSilent => "an outage; the name is known",
            Self::UnknownAndSilent => "an outage; the name is not known",
            Self::DeadName => "this name alone is not answered",
        }
    }

    fn is_answered(self, name: &str, at: Duration) -> bool {
        match self {
            Self::Healthy => true,
            Self::KnownAndSilent => at < Duration::from_secs(5),
            Self::UnknownAndSilent => false,
            Self::DeadName => name != NAME,
        }
    }

    /// How many sockets of resolutions wait for an answer to the name, on average over the hour: at
    /// the most, since one that is not answered is taken to wait for as long as any may.
    async fn open_sockets(self) -> f64 {
        let mut settings = Settings::standard();
        settings.upstreams = vec![upstream("192.0.2.53:53", Role::Primary)];
        let wait = if self == Self::Healthy { ROUND_TRIP } else { settings.policy.attempts.linger };
        let world = World::new(settings, 7, move |sent: &Sent| match message::question(&sent.query) {
            Some((name, RecordType::A)) if self.is_answered(&name, sent.at) => {
                Reaction::Answer(ROUND_TRIP, message::positive(&sent.query, &["192.0.2.1"], 60))
            }
            _ => Reaction::Silence,
        });
        let mut asked = Vec::new();
        while world.clock.elapsed() < HOUR {
            for name in [NAME, "web.example.net."] {
                let packet = message::query(name, RecordType::A, asked.len() as u16, true);
                asked.push(tokio::spawn(world.ask(packet, "192.0.2.99:4000".parse().unwrap())));
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let is_for_the_name = |sent: &&Sent| {
            (sent.transport, sent.purpose) == (Transport::Udp, Purpose::Resolution)
                && message::question(&sent.query).is_some_and(|(name, _)| name == NAME)
        };
        let sends = world.network.sent.lock().unwrap().iter().filter(is_for_the_name).count();
        sends as f64 * wait.as_secs_f64() / HOUR.as_secs_f64()
    }
}

/// The chance, in percent, that one of the forged responses of an hour hits one of so many open
/// sockets, each of which takes one of `space` equally likely ones.
fn chance(open_sockets: f64, space: f64) -> f64 {
    -f64::exp_m1(-PACKETS_PER_SECOND * HOUR.as_secs_f64() * open_sockets / space) * 100.0
}

/// The numbers in the cells behind the label of a row of the table.
fn documented(label: &str) -> Vec<f64> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/ARCHITECTURE.md")).unwrap();
    let row = text.lines().find(|line| line.starts_with(&format!("| {label} |")));
    let row = row.unwrap_or_else(|| panic!("no row for {label}"));
    row.split('|').skip(2).filter_map(|cell| cell.trim().trim_end_matches(" %").parse().ok()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_documented_chances_of_a_forger_are_those_of_the_resolver() {
    for hour in [Hour::Healthy, Hour::KnownAndSilent, Hour::UnknownAndSilent, Hour::DeadName] {
        let open = hour.open_sockets().await;
        let spaces = [IDS, IDS * PORTS, IDS * PORTS * 2_f64.powi(LETTERS)];
        let counted: Vec<f64> = [open].into_iter().chain(spaces.map(|space| chance(open, space))).collect();
        println!("| {} | {open:.4} | {:.1} % | {:.4} % | {:.7} % |", hour.label(), counted[1], counted[2], counted[3]);
        let documented = documented(hour.label());
        assert_eq!(documented.len(), counted.len(), "{hour:?}: {documented:?}");
        for (documented, counted) in documented.iter().zip(&counted) {
            assert!((documented - counted).abs() <= counted * 0.25, "{hour:?}: {documented} is {counted}");
        }
    }
}
