//! What each fuzz target does with its bytes, and what must hold whatever they are. Used by the
//! targets of cargo-fuzz and by `tests/repository/fuzz.rs`, which feeds them mutated examples with
//! every `cargo test`.

use std::time::Duration;

use holdover::adapters::{self, seed};
use holdover::config;
use holdover::config::settings::Settings;
use holdover::core::answer::{self, Asked, ClientTransport, Shown, UDP_MAX, UDP_PLAIN};
use holdover::core::classify::{self, Verdict};
use holdover::core::entry::Entry;
use holdover::core::extended_error::ExtendedError;
use holdover::core::hosts::{ADDRESSES_MAX, Hosts, MISTAKES_SHOWN, NAMES_MAX};
use holdover::core::key::{Dnssec, Key};
use holdover::core::matching;
use holdover::core::message::{Header, Records};
use holdover::core::policy::Policy;
use holdover::core::question::{self, Received};
use holdover::core::record;
use holdover::core::resolv_conf::{ResolvConfWriter, docker_forwards_to, is_marked};
use holdover::core::restore::{self, Shift};
use holdover::core::takeover::{KeptOriginal, Was};
use holdover::core::time::Timestamp;

/// The body of one target.
pub type Body = fn(&[u8]);

/// All targets, by the names of their files.
pub const BODIES: &[(&str, Body)] = &[
    ("question", question),
    ("response", response),
    ("config", config),
    ("resolv_conf", resolv_conf),
    ("seed", seed),
    ("record", record),
    ("hosts", hosts),
];

/// The moment at which everything happens.
const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// The question under which responses and records are looked at.
fn key() -> Key {
    Key::new(b"\x03www\x07example\x03com\x00", 1, 1, Dnssec::default())
}

/// The default policy.
fn policy() -> Policy {
    Settings::standard().policy
}

/// Walks a message that holdover wrote to its very end. The last record must be an OPT exactly if
/// the query had one.
fn walk(message: &[u8], edns: Option<question::Edns>) {
    let mut records = Records::new(message).expect("our own answer has a header and a question");
    let mut last = None;
    while let Some(record) = records.next_record().expect("our own answer can be walked") {
        last = Some(record.rtype);
    }
    assert_eq!(records.position(), message.len(), "nothing stands behind the last record");
    assert_eq!(last == Some(41), edns.is_some(), "an OPT is answered with an OPT, whatever had to be cut");
}

/// A packet from a client: read, and answered with an error.
pub fn question(packet: &[u8]) {
    let (echo, code) = match question::read(packet) {
        Received::Drop(_) => return,
        Received::Error(code, echo) => (echo, code),
        Received::Query(query) => {
            assert!(query.key.name().len() <= 255);
            (query.echo, question::ErrorRcode::ServFail)
        }
    };
    for transport in [ClientTransport::Udp, ClientTransport::Stream] {
        let asked = Asked { packet, echo, transport };
        let mut out = vec![0; UDP_MAX];
        let length = answer::write_error(&asked, code, [Some(ExtendedError::NetworkError), None], &[], &mut out);
        assert!(length > 0 && length <= asked.limit());
        assert_eq!(Header::read(&out).map(|header| header.id), Ok(echo.id));
        if echo.question_end > 12 {
            walk(&out[..length], echo.edns);
        }
    }
}

/// A response from an upstream: judged, remembered, answered to every kind of client, and kept.
pub fn response(bytes: &[u8]) {
    let (key, policy) = (key(), policy());
    let _ = matching::accepts(bytes, bytes);
    assert!(classify::is_extended_errors(&classify::extended_errors(bytes, 256)));
    let verdict = classify::classify(key.qtype(), bytes);
    let entry = match verdict {
        Verdict::Positive { .. } | Verdict::Negative { .. } => {
            Entry::remember(&key, bytes, verdict, &policy, NOW).map(|kept| kept.entry)
        }
        Verdict::Truncated => Entry::from_truncated(&key, bytes, &policy, NOW),
        Verdict::Failed(_) => return,
    };
    let Ok(entry) = entry else { return };
    serve(&entry);
    if !entry.truncated {
        let mut record = Vec::new();
        record::write(&entry, 7, &mut record);
        if let Ok(read) = record::read(&key, &record) {
            assert_eq!((&read.entry, read.past.hits), (&entry, 7), "what is read is what was written");
        }
    }
}

/// Writes every answer that can be made of an entry.
fn serve(entry: &Entry) {
    let opt = |size: [u8; 2]| [&[0, 0, 41, size[0], size[1]][..], &[0; 6]].concat();
    let plain = [
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00".as_slice(),
        b"\x03wWw\x07example\x03com\x00\x00\x01\x00\x01",
    ]
    .concat();
    let mut with = [plain.clone(), opt([4, 0xd0])].concat();
    with[11] = 1;
    for packet in [plain, with] {
        let Received::Query(query) = question::read(&packet) else { panic!("our own query is one") };
        for (transport, room) in [(ClientTransport::Udp, UDP_MAX), (ClientTransport::Stream, answer::room(entry))] {
            for shown in [Shown::Fresh, Shown::Stale { ttl: Duration::from_secs(30) }] {
                for age in [0, 59, 100_000] {
                    let asked = Asked { packet: &packet, echo: query.echo, transport };
                    let mut out = vec![0xff; room.max(UDP_PLAIN)];
                    let length =
                        answer::write_entry(&asked, entry, shown, NOW.plus(Duration::from_secs(age)), &mut out);
                    assert!(length <= asked.limit(), "{length} bytes for a client that takes {}", asked.limit());
                    assert_eq!(out[..2], packet[..2]);
                    assert_eq!(out[12..33], packet[12..33], "the question byte for byte");
                    walk(&out[..length], query.echo.edns);
                }
            }
        }
    }
}

/// A `resolv.conf`, and the original of one that is kept in a file or in a text of holdover.
pub fn resolv_conf(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = adapters::resolv_conf::nameservers(&text);
    let _ = docker_forwards_to(&text);
    let _ = ResolvConfWriter::of(&text, None);
    if let Ok(kept) = KeptOriginal::read(bytes) {
        assert_eq!(KeptOriginal::read(&kept.write()).as_ref(), Ok(&kept), "what is read is what was written");
    }
    let was = Was::File { mode: 0o644, owner: 0, group: 0 };
    if let Some(recovered) = KeptOriginal::recover(&text, &was, "/etc/resolv.conf") {
        assert!(is_marked(&text) && recovered.original.len() <= bytes.len());
    }
}

/// A configuration file.
pub fn config(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match config::file::parse("holdover.toml", &text).and_then(|layer| config::validate::validate(&layer)) {
        Ok(settings) => {
            assert!(!settings.listen.addresses.is_empty());
            assert!(
                settings.policy.attempts.sends >= 1 && settings.policy.stale.maximum <= Duration::from_secs(7 * 86_400)
            );
        }
        Err(error) => {
            assert!(
                error.to_string().starts_with("holdover.toml:") || error.to_string().contains("\n  holdover.toml:"),
                "{error}"
            )
        }
    }
}

/// A seed.
pub fn seed(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut answers = Vec::new();
    let Ok(read) = seed::read_text(&text, &policy(), NOW, |answer| answers.push(answer)) else { return };
    let lines = text.lines().count().max(1);
    assert!(read.mistakes.iter().all(|mistake| mistake.line >= 1 && mistake.line <= lines));
    assert!(answers.iter().all(|answer| answer.entry.answers(&answer.key)));
}

/// A hosts file: read, and asked for what may stand in it.
pub fn hosts(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let read = Hosts::read(&text);
    let lines = text.lines().count();
    assert!(read.hosts.names() <= NAMES_MAX && read.mistakes.len() == read.wrong.min(MISTAKES_SHOWN));
    assert!(read.mistakes.iter().all(|mistake| (1..=lines).contains(&mistake.line)));
    for (name, qtype) in [
        (&b"\x03www\x07example\x03com\x00"[..], 1),
        (b"\x02db\x00", 28),
        (b"\x011\x012\x010\x03192\x07in-addr\x04arpa\x00", 12),
    ] {
        let key = Key::new(name, qtype, 1, Dnssec::default());
        let Some(entry) = read.hosts.answer(&key, &policy(), NOW) else { continue };
        assert!(entry.is_servable(NOW) && entry.wire().len() <= 12 + 259 + ADDRESSES_MAX * 28 + 100);
    }
}

/// A record of the state file.
pub fn record(bytes: &[u8]) {
    let (key, policy) = (key(), policy());
    let Ok(read) = record::read(&key, bytes) else { return };
    serve(&read.entry);
    let mut again = Vec::new();
    record::write(&read.entry, read.past, &mut again);
    match bytes.first() {
        // The version before has no history, which is five bytes long.
        Some(1) => assert_eq!((&again[1..38], &again[43..]), (&bytes[1..38], &bytes[38..])),
        _ => assert_eq!(again, bytes, "there is one way to write it"),
    }
    if let Some(entry) = restore::restore(&key, read.entry, Shift::NONE, &policy, NOW) {
        assert!(entry.is_servable(NOW) && entry.stored <= NOW);
        assert!(entry.fresh_until <= NOW.plus(policy.ttl.positive_max), "nothing lives for ever");
    }
}
