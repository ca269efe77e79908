//! `holdover explain`: what it says of a name is what queries for the name then get.

use std::collections::BTreeSet;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use serde_json::Value;

use super::sidecar::{SEED, Sidecar, file, upstream};
use crate::support::binary::*;
use crate::support::http::{get, send_to_path};
use crate::support::messages::{address, extended_errors, negative, qname, response};
use crate::support::upstream::Reaction;
use crate::support::waiting::until;

/// The explanation of a name as `--json` prints it.
#[track_caller]
fn explain(sidecar: &Sidecar, arguments: &[&str]) -> Value {
    let done = sidecar.run(&[&["explain", "--json"], arguments].concat());
    assert_eq!(done.code(), 0, "{done:?}");
    serde_json::from_str(&done.stdout).unwrap()
}

/// The text for people.
#[track_caller]
fn told(sidecar: &Sidecar, arguments: &[&str]) -> String {
    let done = sidecar.run(&[&["explain"], arguments].concat());
    assert_eq!(done.code(), 0, "{done:?}");
    done.stdout
}

/// An answer in the words in which it is foreseen.
fn outcome(answer: &Message) -> &'static str {
    match (answer.metadata.response_code, &extended_errors(answer)[..]) {
        (ResponseCode::ServFail, errors) if errors.contains(&13) => "cached_failure",
        (ResponseCode::ServFail, _) => "failed",
        (_, [3, ..] | [19, ..]) => "stale",
        _ => "fresh",
    }
}

#[test]
fn a_name_is_explained_while_all_is_well_and_nobody_is_asked_for_it() {
    let upstream = upstream(60, 7);
    let sidecar = Sidecar::start(upstream.address, &[]);
    sidecar.ask("www.example.com.", RecordType::A);
    let seen = upstream.seen_for("www.example.com.") + upstream.seen_for("cold.example.com.");
    let own = explain(&sidecar, &["WWW.example.com"]);
    assert_eq!((&own["name"], &own["zone"]), (&"www.example.com.".into(), &".".into()), "{own:#}");
    assert_eq!(own["upstreams"][0]["upstream"], upstream.address.to_string());
    assert_eq!((&own["upstreams"][0]["state"], &own["upstreams"][0]["role"]), (&"healthy".into(), &"primary".into()));
    let (a, aaaa) = (&own["questions"][0], &own["questions"][1]);
    assert_eq!((&a["type"], &aaaa["type"]), (&"A".into(), &"AAAA".into()));
    let remembered = &a["remembered"];
    assert_eq!((&remembered["origin"], &remembered["kind"]), (&"upstream".into(), &"positive".into()), "{own:#}");
    assert_eq!(remembered["records"][0], "www.example.com. 60 A 192.0.2.7");
    let left = remembered["ttl_left_seconds"].as_f64().unwrap();
    let servable = remembered["servable_seconds"].as_f64().unwrap();
    assert!((40.0..60.1).contains(&left) && (86_440.0..86_461.0).contains(&servable), "{own:#}");
    assert_eq!((&a["now"]["answer"], &a["outage"]["answer"]), (&"fresh".into(), &"fresh".into()));
    let stale = a["outage"]["stale_for_seconds"].as_f64().unwrap();
    assert!((86_399.0..86_401.0).contains(&stale), "{own:#}");
    assert_eq!((&aaaa["remembered"], &aaaa["now"]["answer"]), (&Value::Null, &"resolved".into()));
    assert_eq!(aaaa["outage"]["answer"], "failed", "{own:#}");

    let text = told(&sidecar, &["www.example.com", "a"]);
    for words in ["upstream     127.0.0.1:", "A            fresh for ", "from upstream", "  outage     fresh for "] {
        assert!(text.contains(words), "{words:?} is not in\n{text}");
    }
    assert!(text.contains("then stale for "), "{text}");
    assert!(!text.contains("AAAA"), "{text}");
    explain(&sidecar, &["cold.example.com"]);
    let after = upstream.seen_for("www.example.com.") + upstream.seen_for("cold.example.com.");
    assert_eq!(after, seen, "no upstream was asked");
}

#[test]
fn in_an_outage_the_explanation_says_what_queries_then_get() {
    let upstream = upstream(1, 7);
    let sidecar = Sidecar::start(upstream.address, &[]);
    sidecar.ask("www.example.com.", RecordType::A);
    let foreseen = explain(&sidecar, &["www.example.com", "A"]);
    assert_eq!(foreseen["questions"][0]["outage"]["answer"], "fresh");
    upstream.set(|_, _| Reaction::Silence);
    std::thread::sleep(Duration::from_millis(1100));
    until("the upstream is down", PATIENCE, || {
        sidecar.ask("www.example.com.", RecordType::A);
        (explain(&sidecar, &["www.example.com"])["availability"] == "down").then_some(())
    });
    let own = explain(&sidecar, &["www.example.com", "A"]);
    let question = &own["questions"][0];
    assert_eq!(question["now"]["answer"], "stale", "{own:#}");
    assert_eq!(outcome(&sidecar.ask("www.example.com.", RecordType::A)), "stale");
    assert_eq!(question["now"]["waits_seconds"], 0.0);
    assert_eq!((&question["failure"]["reason"], &question["remembered"]["fresh"]), (&"timeout".into(), &false.into()));
    assert_eq!(question["failed_in_a_row"], 0, "it is the fault of the upstream: {own:#}");
    let upstream = &own["upstreams"][0];
    assert!(upstream["evidence"].as_str().unwrap().contains("witnesses since"), "{own:#}");

    let cold = |wanted: &str| {
        let own = explain(&sidecar, &["cold.example.com", "A"]);
        assert_eq!(own["questions"][0]["now"]["answer"], wanted, "{own:#}");
        assert_eq!(outcome(&sidecar.ask("cold.example.com.", RecordType::A)), wanted);
    };
    cold("failed");
    cold("cached_failure");
    let text = told(&sidecar, &["cold.example.com", "A"]);
    assert!(text.contains("nothing is remembered") && text.contains("  failure    1 in a row (timeout)"), "{text}");
    assert!(told(&sidecar, &["www.example.com"]).contains(": down for "));
}

#[test]
fn the_zone_the_origin_and_what_needs_no_upstream_are_told() {
    let (upstream, corp) = (upstream(60, 7), upstream(60, 8));
    let folder = tempfile::tempdir().unwrap();
    let seed = file(&folder, "seed.json", SEED);
    let hosts = file(&folder, "hosts", "192.0.2.50 printer.example.com\n");
    let config = file(
        &folder,
        "holdover.toml",
        &format!(
            "[[upstream]]\nname = \"corp\"\naddresses = [\"{}\"]\nzones = [\"corp.example.com\"]\n[[upstream]]\nname = \
             \"vpc\"\naddresses = [\"{}\"]\n[[critical]]\nname = \"db.example.com\"\n",
            corp.address, upstream.address
        ),
    );
    let flags = ["--seed", &seed, "--hosts", &hosts, "--config", &config];
    let (mut process, address) = serve("ready", |command, _| {
        command.args(flags).args(["--admin", folder.path().join("admin.sock").to_str().unwrap()]);
    });
    process.wait_for("admin interface address=").expect("it runs");
    let admin = folder.path().join("admin.sock").to_str().unwrap().to_owned();
    let sidecar = Sidecar { process, address, admin, folder };

    let own = explain(&sidecar, &["a.corp.example.com", "A"]);
    assert_eq!(own["zone"], "corp.example.com.");
    assert_eq!(own["upstreams"][0]["upstream"], format!("corp@{}", corp.address), "{own:#}");
    assert_eq!(own["upstreams"].as_array().unwrap().len(), 1, "{own:#}");
    assert!(
        told(&sidecar, &["a.corp.example.com"]).contains("corp.example.com., the longest with upstreams of its own")
    );

    let own = explain(&sidecar, &["www.example.com", "A"]);
    assert_eq!(own["questions"][0]["remembered"]["origin"], "seed", "{own:#}");
    assert_eq!(own["questions"][0]["remembered"]["age_seconds"], Value::Null);

    let own = explain(&sidecar, &["printer.example.com", "A"]);
    assert_eq!(
        (&own["questions"][0]["local"], &own["questions"][0]["now"]["answer"]),
        (&"hosts_file".into(), &"local".into())
    );
    let own = explain(&sidecar, &["localhost", "A"]);
    assert_eq!(
        (&own["questions"][0]["local"], &own["questions"][0]["outage"]["answer"]),
        (&"special_use".into(), &"local".into())
    );
    let own = explain(&sidecar, &["db.example.com", "A"]);
    assert!(own["questions"][0]["critical"]["state"].is_string(), "{own:#}");
}

#[test]
fn a_zone_that_fails_while_others_are_answered_is_told_with_its_name() {
    let upstream = upstream(60, 7);
    upstream.set(|query, _| {
        if qname(query).to_string().contains(".broken.") {
            return Reaction::Send(response(query, ResponseCode::ServFail).to_vec().unwrap());
        }
        Reaction::Send(address(query, 60, 7))
    });
    let sidecar = Sidecar::start(upstream.address, &[]);
    for name in ["www.example.com.", "a.broken.example.org.", "b.broken.example.org.", "c.broken.example.org."] {
        sidecar.ask(name, RecordType::A);
    }
    let own = until("it is charged", PATIENCE, || {
        let own = explain(&sidecar, &["a.broken.example.org", "A"]);
        own["questions"][0]["charges"].as_array().is_some_and(|charges| !charges.is_empty()).then_some(own)
    });
    let question = &own["questions"][0];
    assert_eq!(question["charges"][0]["charged"], "zone broken.example.org. A", "{own:#}");
    assert!(question["failed_in_a_row"].as_u64() > Some(0) && question["failure"]["reason"] == "servfail", "{own:#}");
    assert_eq!(explain(&sidecar, &["www.example.com", "A"])["questions"][0]["charges"].as_array().unwrap().len(), 0);
    assert!(told(&sidecar, &["a.broken.example.org", "A"]).contains("TROUBLE    zone broken.example.org. A: 3 names"));
}

#[test]
fn a_denial_and_the_data_beneath_it_are_both_told() {
    let upstream = upstream(1, 7);
    let sidecar = Sidecar::start(upstream.address, &[]);
    sidecar.ask("www.example.com.", RecordType::A);
    upstream.set(|query, _| Reaction::Send(negative(query, ResponseCode::NXDomain, 30)));
    std::thread::sleep(Duration::from_millis(2100));
    until("it is denied", PATIENCE, || {
        let answer = sidecar.ask("www.example.com.", RecordType::A);
        (answer.metadata.response_code == ResponseCode::NXDomain).then_some(())
    });
    let own = explain(&sidecar, &["www.example.com"]);
    let (a, aaaa) = (&own["questions"][0], &own["questions"][1]);
    assert_eq!(
        (&a["remembered"]["kind"], &a["overruled"]["kind"]),
        (&"nxdomain".into(), &"positive".into()),
        "{own:#}"
    );
    assert_eq!((&aaaa["nearest"]["kind"], &aaaa["now"]["answer"]), (&"nxdomain".into(), &"fresh".into()), "{own:#}");
    assert_eq!(sidecar.ask("www.example.com.", RecordType::AAAA).metadata.response_code, ResponseCode::NXDomain);
    let text = told(&sidecar, &["www.example.com"]);
    assert!(text.contains("A            NXDOMAIN, fresh for ") && text.contains("  beneath    stale, "), "{text}");
}

#[test]
fn hostile_names_are_escaped_and_what_is_no_name_is_said() {
    let upstream = upstream(60, 7);
    let sidecar = Sidecar::start(upstream.address, &[]);
    let text = told(&sidecar, &["a\\027\\091\\0501m\\.b.example.com", "TXT"]);
    assert!(text.starts_with("a\\027[21m\\.b.example.com.\n") && !text.contains('\x1b'), "{text:?}");
    for (arguments, words) in [
        (vec!["a..b"], "\"a..b\" is no domain name. Allowed: a name such as www.example.com"),
        (vec!["*.example.com"], "stands for many names. Name one, such as example.com"),
        (vec!["a\x1bb"], "\"a\\u{1b}b\" is no domain name"),
        (vec!["example.com", "AB"], "type \"AB\" is not known"),
    ] {
        let done = sidecar.run(&[&["explain"], &arguments[..]].concat());
        assert!(done.code() == 64 && done.stderr.contains(words) && !done.stderr.contains('\x1b'), "{done:?}");
    }
    for (path, words) in [
        ("/explain", "Allowed: name and type"),
        ("/explain?name=a..b", "\"a..b\" is no domain name"),
        ("/explain?name=a.example.com&type=%07", "type \"\\u{7}\" is not known"),
        ("/explain?name=a&below=b", "Allowed: name and type"),
    ] {
        let answer = send_to_path(sidecar.socket(), &get(path));
        assert!(answer.status == 400 && answer.body.contains(words), "{path}: {answer:?}");
    }
    let longest = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
    assert_eq!(explain(&sidecar, &[&longest])["name"], format!("{longest}."));
}

/// The keys that `config/ADMIN.md` documents in one section.
pub fn documented(section: &str) -> BTreeSet<String> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config/ADMIN.md")).unwrap();
    let section = page.split(&format!("\n## {section}\n")).nth(1).unwrap().split("\n## ").next().unwrap();
    let keys = section.lines().take_while(|line| !line.starts_with("| answer |"));
    keys.filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(key, _)| key.to_owned())).collect()
}

/// All keys of a JSON value with their places, as in `questions[].type`.
pub fn keys(value: &Value, place: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                let place = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
                found.insert(place.clone());
                keys(value, &place, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| keys(item, &format!("{place}[]"), found)),
        _ => {}
    }
}

#[test]
fn every_key_of_the_json_is_documented_and_every_documented_key_exists() {
    let upstream = upstream(1, 7);
    let sidecar = Sidecar::start(upstream.address, &["--critical", "www.example.com"]);
    let mut found = BTreeSet::new();
    sidecar.ask("www.example.com.", RecordType::A);
    keys(&explain(&sidecar, &["www.example.com"]), "", &mut found);
    let documented = documented("explain");
    // What is found inside of values that are null here is checked by its outer key.
    let missing: Vec<&String> = found.difference(&documented).collect();
    assert!(missing.is_empty(), "config/ADMIN.md does not document {missing:#?}");
    let outer = ["questions[].overruled.", "questions[].nearest.", "questions[].failure.", "questions[].charges[]."];
    let gone: Vec<&String> =
        documented.difference(&found).filter(|key| !outer.iter().any(|outer| key.starts_with(outer))).collect();
    assert!(gone.is_empty(), "config/ADMIN.md documents {gone:#?}, which do not exist");
}
