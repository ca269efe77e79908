//! Seeds are read as they are written, and mistakes are reported with their lines.

use proptest::prelude::*;

use super::super::writer::SeedWriter;
use super::*;
use crate::core::classify::Kind;
use crate::core::record;
use crate::core::testing::{Response, name, policy};

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

fn key(text: &str, qtype: u16) -> Key {
    Key::new(&name(text), qtype, 1, Dnssec::default())
}

fn entry(key: &Key, response: &[u8]) -> Entry {
    Entry::remember(key, response, classify::classify(key.qtype(), response), &policy(), NOW).expect("an answer").entry
}

fn written(key: &Key, entry: &Entry, hits: u32) -> String {
    let mut out = Vec::new();
    let mut writer = SeedWriter::new(&mut out).unwrap();
    assert!(writer.add(key, entry, hits).unwrap());
    assert_eq!(writer.finish().unwrap(), 1);
    String::from_utf8(out).unwrap()
}

/// All that a seed holds.
#[derive(Debug)]
struct Seed {
    answers: Vec<SeedAnswer>,
    mistakes: Vec<SeedMistake>,
    refused: usize,
    too_old: usize,
}

fn read(text: &str) -> Seed {
    let mut answers = Vec::new();
    let left =
        read_text(text, &policy(), NOW.plus(std::time::Duration::from_secs(1)), |answer| answers.push(answer)).unwrap();
    Seed { answers, mistakes: left.mistakes, refused: left.refused, too_old: left.too_old }
}

fn answers(answers: &str) -> Seed {
    read(&format!("{{\"format\":\"holdover-seed\",\"version\":1,\"answers\":[\n{answers}\n]}}"))
}

#[test]
fn what_is_written_is_read_again() {
    let www = key("www.example.com", 1);
    let response = || Response::new("www.example.com", 1);
    let cases = [
        response().cname("www.example.com", "web.example.com", 300).a("web.example.com", 60).bytes(),
        response().flags(0x81a0).a("www.example.com", 60).bytes(),
        response().rcode(3).soa("example.com", 900, 900).bytes(),
        response().soa("example.com", 900, 900).bytes(),
        response().rcode(3).bytes(),
    ];
    for response in cases {
        let known = entry(&www, &response);
        let seed = read(&written(&www, &known, 7));
        assert!(seed.mistakes.is_empty(), "{:?}", seed.mistakes);
        let [answer] = &seed.answers[..] else { panic!("{seed:?}") };
        assert_eq!((&answer.key, answer.hits, answer.entry.undated), (&www, 7, false));
        let back = &answer.entry;
        assert_eq!((back.kind, back.vouched, back.authentic), (known.kind, known.vouched, known.authentic));
        assert_eq!(
            (back.stored, back.fresh_until, back.stale_until),
            (known.stored, known.fresh_until, known.stale_until)
        );
        // Only the owners are compressed now.
        assert_eq!(written(&www, back, 7), written(&www, &known, 7));
    }
}

#[test]
fn a_seed_written_by_hand_is_stale_from_the_start_and_servable_for_a_day() {
    let seed = answers(
        r#"{"name":"WWW.example.com","type":"a","records":[{"data":"192.0.2.1"},{"data":"192.0.2.2","ttl":5}]}"#,
    );
    let [answer] = &seed.answers[..] else { panic!("{seed:?}") };
    let now = NOW.plus(std::time::Duration::from_secs(1));
    assert_eq!(
        (&answer.key, answer.entry.undated, answer.entry.kind),
        (&key("www.example.com", 1), true, Kind::Positive)
    );
    assert!(!written(&answer.key, &answer.entry, 7).contains("stored"), "nor does it get a date on the way");
    assert!(!answer.entry.is_fresh(now));
    assert_eq!(answer.entry.stale_until, now.plus(std::time::Duration::from_secs(86_400)));
}

#[test]
fn negative_answers_can_be_written_by_hand() {
    let seed = answers(
        r#"{"name":"gone.example.com.","type":"A","rcode":"NXDOMAIN",
            "authority":[{"name":"example.com.","type":"SOA",
                          "data":"ns.example.com. admin.example.com. 1 2 3 4 30"}]},
           {"name":"www.example.com.","type":"AAAA"}"#,
    );
    let kinds: Vec<(Kind, bool)> =
        seed.answers.iter().map(|answer| (answer.entry.kind, answer.entry.vouched)).collect();
    assert_eq!(kinds, [(Kind::NxDomain, true), (Kind::NoData, false)], "{:?}", seed.mistakes);
}

#[test]
fn a_mistake_costs_one_answer_and_is_told_with_its_line() {
    let good = r#"{"name":"www.example.com.","type":"A","records":[{"data":"192.0.2.1"}]}"#;
    let cases = [
        (r#"{"name":"a..b","type":"A"}"#, "line 3: name \"a..b\" is no domain name"),
        (
            r#"{"name":"a.test","type":"AA"}"#,
            "type \"AA\" is not known. Allowed: A, AAAA and so on, or TYPE and a number",
        ),
        (r#"{"name":"a.test","type":"ANY"}"#, "type \"ANY\" is not known"),
        (
            r#"{"name":"a.test","type":"A","records":[{"data":"192.0.2"}]}"#,
            "data \"192.0.2\" is no A. Allowed: presentation format",
        ),
        (r#"{"name":"a.test","type":"A","records":[{"type":"TXT","data":"x"}]}"#, "no record answers it"),
        (
            r#"{"name":"a.test","type":"A","stored":"today","records":[{"data":"192.0.2.1"}]}"#,
            "stored \"today\" is no moment. Allowed: 2026-",
        ),
        (r#"{"name":"a.test","type":"A","dnssec":"yes"}"#, "Allowed: do, cd, do cd, or nothing"),
        (
            r#"{"name":"a.test","type":"A","rcode":"SERVFAIL"}"#,
            "unknown variant `SERVFAIL`, expected `NOERROR` or `NXDOMAIN`",
        ),
        (r#"{"name":"a.test","type":"A","recods":[]}"#, "unknown field `recods`"),
        ("{\"name\":\"a.test\",\n\n\"type\":7}", "line 5: invalid type"),
        ("7", "line 3: invalid type: integer `7`, expected struct Answer"),
    ];
    for (wrong, reported) in cases {
        let seed = answers(&format!("{good},\n{wrong},\n{good}"));
        assert_eq!((seed.answers.len(), seed.refused), (2, 1), "{wrong}");
        assert!(seed.mistakes[0].to_string().contains(reported), "{wrong}: {}", seed.mistakes[0]);
    }
    let many = answers(&vec!["7"; 50].join(","));
    assert_eq!((many.mistakes.len(), many.refused), (MISTAKES_SHOWN, 50));
}

#[test]
fn what_is_no_seed_is_refused_with_what_is_allowed() {
    for (text, reported) in [
        ("", "line 1: "),
        ("{}", "missing field `format`"),
        ("[1,\n2", "line "),
        (r#"{"format":"holdover-seed","version":2,"answers":[]}"#, "format \"holdover-seed\" version 2"),
        (r#"{"format":"other","version":1,"answers":[]}"#, "format \"other\" version 1"),
    ] {
        let error = read_text(text, &policy(), NOW, drop).unwrap_err().to_string();
        assert!(
            error.contains(reported) && error.contains("Allowed: {\"format\":\"holdover-seed\",\"version\":1"),
            "{text}: {error}"
        );
    }
}

#[test]
fn what_is_past_its_time_is_left_out() {
    let seed = answers(
        r#"{"name":"www.example.com.","type":"A","stored":"2018-11-22T08:19:00+09:00",
            "records":[{"data":"192.0.2.1"}]}"#,
    );
    assert_eq!((seed.answers.len(), seed.too_old, seed.refused), (0, 1, 0));
}

#[test]
fn compressed_names_are_resolved() {
    let mx = key("example.com", 15);
    // 10 mail.example.com, compressed; and an unknown type whose bytes stay as they are.
    let response = Response::new("example.com", 15)
        .record(6, "example.com", 15, 60, b"\x00\x0a\x04mail\xc0\x0c")
        .record(8, "example.com", 65_280, 60, &[0xc0, 0x0c])
        .bytes();
    let text = written(&mx, &entry(&mx, &response), 0);
    assert!(text.contains(r#""data":"10 mail.example.com.""#) && text.contains(r##""data":"\\# 2 c00c""##), "{text}");
    let seed = read(&text);
    assert_eq!(written(&mx, &seed.answers[0].entry, 0), text);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_rdata_of_any_type_comes_back_as_the_same_bytes(
        rtype in prop_oneof![0_u16..70, 250_u16..262, any::<u16>()],
        data in proptest::collection::vec(any::<u8>(), 0..80),
        ttl in 1_u32..100_000,
    ) {
        prop_assume!(!matches!(rtype, 0 | 41 | 249..=255));
        let key = key("www.example.com", rtype);
        let response = Response::new("www.example.com", rtype).record(6, "www.example.com", rtype, ttl, &data).bytes();
        // Names with a pointer that leads nowhere are no RDATA that any answer may hold.
        let Verdict::Positive { .. } = classify::classify(rtype, &response) else { return Ok(()) };
        let known = entry(&key, &response);
        // Names that cannot be written without their message are left out, and only those.
        if let Some(text) = show(&key, &known, 3) {
            let seed = answers(&text);
            prop_assert_eq!(seed.mistakes.first(), None);
            prop_assert_eq!(show(&key, &seed.answers[0].entry, 3), Some(text));
            let mut bytes = Vec::new();
            record::write(&seed.answers[0].entry, 3, &mut bytes);
            prop_assert!(record::read(&key, &bytes).is_ok(), "what a seed gives can be written down");
        }
    }

    #[test]
    fn rdata_without_names_come_back_byte_for_byte(
        rtype in 256_u16..65_280,
        data in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let key = key("www.example.com", rtype);
        let response = Response::new("www.example.com", rtype).record(6, "www.example.com", rtype, 60, &data).bytes();
        let text = show(&key, &entry(&key, &response), 0).expect("text");
        let seed = answers(&text);
        prop_assert_eq!(seed.mistakes.first(), None);
        prop_assert!(seed.answers[0].entry.wire().ends_with(&data));
    }

    #[test]
    fn any_text_is_survived(text in ".{0,200}") {
        let _ = read_text(&text, &policy(), NOW, drop);
    }
}
