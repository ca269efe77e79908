//! Feeds the bodies of the fuzz targets (`tests/fuzz/`) mutated examples, so that they compile and
//! hold with every `cargo test`.
//!
//! `FUZZ_ROUNDS=1000000` runs for longer, `FUZZ_SECONDS=60` for so long at each target, two targets
//! at a time, and `FUZZ_SEED` another way. A failure names target and round, and shows the bytes.

#[path = "../fuzz/bodies.rs"]
mod bodies;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bodies::BODIES;
use holdover::config::settings::Settings;
use holdover::core::classify::classify;
use holdover::core::entry::Entry;
use holdover::core::key::{Dnssec, Key};
use holdover::core::record;
use holdover::core::takeover::{KeptOriginal, Was};
use holdover::core::time::Timestamp;
use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};

/// Mutated inputs per target unless `FUZZ_ROUNDS` says otherwise.
const ROUNDS: u64 = 20_000;

/// A header and the question `www.example.com` A.
fn head(flags: u16, counts: [u8; 3]) -> Vec<u8> {
    let mut bytes = vec![0x12, 0x34];
    bytes.extend(flags.to_be_bytes());
    bytes.extend([0, 1, 0, counts[0], 0, counts[1], 0, counts[2]]);
    bytes.extend(b"\x03www\x07example\x03com\x00\x00\x01\x00\x01");
    bytes
}

/// A record whose owner is a pointer to the question's name.
fn rr(rtype: u8, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xc0, 12, 0, rtype, 0, 1];
    bytes.extend(ttl.to_be_bytes());
    bytes.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    bytes.extend(data);
    bytes
}

/// An OPT with an extended error and a cookie.
fn opt(extended: u8) -> Vec<u8> {
    vec![0, 0, 41, 4, 0xd0, extended, 0, 0x80, 0, 0, 18, 0, 15, 0, 2, 0, 6, 0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]
}

/// Good responses of every kind.
fn responses() -> Vec<Vec<u8>> {
    let soa = [b"\xc0\x10\x00".as_slice(), &[0; 16], &30_u32.to_be_bytes()].concat();
    let many = (0..90_u8).flat_map(|last| rr(1, 60, &[192, 0, 2, last])).collect::<Vec<_>>();
    vec![
        [head(0x8180, [1, 0, 0]), rr(1, 60, &[192, 0, 2, 1])].concat(),
        [head(0x81a0, [2, 0, 1]), rr(5, 300, b"\x01w\xc0\x10"), rr(1, 0x8000_0000, &[192, 0, 2, 1]), opt(0)].concat(),
        [head(0x8183, [0, 1, 1]), rr(6, 900, &soa), opt(0)].concat(),
        [head(0x8180, [0, 1, 0]), rr(6, 0, &soa)].concat(),
        [head(0x8180, [90, 0, 1]), many, opt(0)].concat(),
        [head(0x8380, [1, 0, 0]), rr(1, 60, &[192, 0, 2, 1])].concat(),
        [head(0x8182, [0, 0, 1]), opt(1)].concat(),
        head(0x8100, [0, 0, 0]),
    ]
}

/// The examples that one target begins with.
fn examples(target: &str) -> Vec<Vec<u8>> {
    let policy = Settings::standard().policy;
    match target {
        "question" => vec![
            head(0x0100, [0, 0, 0]),
            [head(0x0130, [0, 0, 1]), opt(0)].concat(),
            [head(0x0100, [0, 0, 2]), opt(0), opt(0)].concat(),
            head(0x2800, [0, 0, 0]),
        ],
        "response" => responses(),
        "config" => vec![
            include_bytes!("../../config/default.toml").to_vec(),
            include_bytes!("../../config/examples/split.toml").to_vec(),
            include_bytes!("../../config/examples/long-memory.toml").to_vec(),
        ],
        "resolv_conf" => {
            let by_hand = "# by hand\nnameserver 192.0.2.1\nnameserver fe80::1%lo\nsearch example.com\n\
                           options ndots:5 use-vc timeout:2 attempts:3 single-request edns0\n";
            let docker = "nameserver 127.0.0.11\noptions ndots:0\n# ExtServers: [host(192.0.2.1) 192.0.2.2]\n";
            let kept = KeptOriginal {
                file: "/etc/resolv.conf".to_owned(),
                was: Was::File { mode: 0o644, owner: 0, group: 0 },
                live: Some("/run/live".to_owned()),
                wrote: "# Written by holdover\nnameserver 127.0.0.1\n".to_owned(),
                original: by_hand.into(),
            };
            vec![by_hand.into(), docker.into(), kept.write()]
        }
        "seed" => vec![
            br#"{"format":"holdover-seed","version":1,"answers":[
{"name":"www.example.com.","type":"A","stored":"2026-11-24T12:00:00Z","hits":3,"dnssec":"do cd",
 "records":[{"ttl":60,"data":"192.0.2.1"}]},
{"name":"x.example.com.","type":"TYPE65280","records":[{"name":"x.example.com.","type":"TYPE65280","ttl":5,
 "data":"\\# 4 c0000201"}]},
{"name":"no.example.com.","type":"A","rcode":"NXDOMAIN",
 "authority":[{"name":"example.com.","type":"SOA","data":"ns.example.com. root.example.com. 1 2 3 4 30"}]}]}"#
                .to_vec(),
        ],
        "hosts" => vec![
            b"127.0.0.1 localhost\n192.0.2.1\tdb.example.com db www.example.com # both\r\n2001:db8::1 db\nfe80::1%lo \
              x\n"
            .to_vec(),
            b"192.0.2.1 WWW.example.com.\n192.0.2.2 www.example.com\n# nothing\n".to_vec(),
        ],
        "record" => {
            let key = Key::new(b"\x03www\x07example\x03com\x00", 1, 1, Dnssec::default());
            let kept = responses().into_iter().filter_map(|bytes| {
                let now = Timestamp::from_secs(1_799_999_990);
                let entry = Entry::remember(&key, &bytes, classify(1, &bytes), &policy, now).ok()?.entry;
                let mut out = Vec::new();
                record::write(&entry, 7, &mut out);
                Some(out)
            });
            kept.collect()
        }
        other => panic!("no examples for {other}"),
    }
}

/// Changes a few bytes, cuts, repeats, or inserts bytes that often break parsers.
fn mutate(dice: &mut SmallRng, examples: &[Vec<u8>]) -> Vec<u8> {
    let pick = |dice: &mut SmallRng| examples[dice.random_range(0..examples.len())].clone();
    let mut bytes = pick(dice);
    for _ in 0..dice.random_range(1..5) {
        if bytes.is_empty() {
            bytes.push(0);
        }
        let at = dice.random_range(0..bytes.len());
        match dice.random_range(0..8) {
            0 | 1 => bytes[at] = dice.random(),
            2 => bytes[at] ^= 1 << dice.random_range(0..8),
            3 => bytes[at] = [0, 0xff, 0xc0, 12, 63, 64, 0x7f, 0x80][dice.random_range(0..8)],
            4 => bytes.truncate(at),
            5 => {
                let end = dice.random_range(at..bytes.len().min(at + 40) + 1).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            6 => {
                let end = (at + dice.random_range(0..12)).min(bytes.len());
                bytes.drain(at..end);
            }
            _ => {
                let other = pick(dice);
                let from = dice.random_range(0..other.len());
                bytes.truncate(at);
                bytes.extend(&other[from..]);
            }
        }
    }
    bytes
}

/// A number from the environment, if the variable is set.
fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

/// How long one target is fed.
#[derive(Clone, Copy)]
enum Length {
    Rounds(u64),
    Time(Duration),
}

impl Length {
    /// Whether the target is fed once more.
    fn goes_on(self, round: u64, began: Instant) -> bool {
        match self {
            Self::Rounds(rounds) => round < rounds,
            Self::Time(time) => began.elapsed() < time,
        }
    }
}

/// Feeds one target, and returns the number of rounds.
#[expect(clippy::disallowed_methods, reason = "a target is fed for so long in real time")]
fn feed(target: &str, body: bodies::Body, length: Length, seed: u64) -> u64 {
    let examples = examples(target);
    examples.iter().for_each(|example| body(example));
    let (mut dice, mut round, began) = (SmallRng::seed_from_u64(seed), 0, Instant::now());
    while length.goes_on(round, began) {
        let bytes = if round % 16 == 0 {
            let mut noise = vec![0; dice.random_range(0..200)];
            dice.fill_bytes(&mut noise);
            noise
        } else {
            mutate(&mut dice, &examples)
        };
        let held = catch_unwind(AssertUnwindSafe(|| body(&bytes))).is_ok();
        assert!(held, "target {target}, round {round} of seed {seed}: {:?}", bytes.escape_ascii().to_string());
        round += 1;
    }
    round
}

#[test]
fn the_bodies_hold_for_mutated_examples() {
    let (rounds, seed, seconds) = (number("FUZZ_ROUNDS", ROUNDS), number("FUZZ_SEED", 7), number("FUZZ_SECONDS", 0));
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((target, body)) = BODIES.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // A file of 200 lines takes a hundred times as long as a packet.
                    let is_file = matches!(*target, "config" | "resolv_conf" | "seed" | "hosts");
                    let length = match seconds {
                        0 if is_file => Length::Rounds(rounds / 20),
                        0 => Length::Rounds(rounds),
                        seconds => Length::Time(Duration::from_secs(seconds)),
                    };
                    let fed = feed(target, *body, length, seed);
                    println!("{target}: held for {fed} inputs");
                }
            });
        }
    });
}

#[test]
fn every_target_has_its_file() {
    let manifest = include_str!("../fuzz/Cargo.toml");
    for (target, _) in BODIES {
        let file =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fuzz/fuzz_targets/{target}.rs"));
        assert!(std::fs::read_to_string(file).unwrap().contains(&format!("bodies::{target}(bytes)")), "{target}");
        assert!(manifest.contains(&format!("name = \"{target}\"")), "{target}");
    }
}

#[test]
#[ignore = "writes the corpus that a long run begins with"]
fn write_the_examples() {
    let folder = std::path::PathBuf::from(std::env::var("EXAMPLES").expect("EXAMPLES names a folder"));
    for (target, _) in BODIES {
        std::fs::create_dir_all(folder.join(target)).unwrap();
        for (index, example) in examples(target).iter().enumerate() {
            std::fs::write(folder.join(target).join(index.to_string()), example).unwrap();
        }
    }
}
