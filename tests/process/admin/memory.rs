//! The cache through the admin interface: exported, imported as a seed, and flushed.

use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use yaml_rust2::YamlLoader;

use super::sidecar::{SEED, Sidecar, dead, file, upstream};
use crate::support::messages::{address, addresses, extended_errors};
use crate::support::upstream::Reaction;

#[test]
fn a_sidecar_born_in_the_outage_answers_what_its_sibling_exported() {
    let upstream = upstream(1, 7);
    let elder = Sidecar::start(upstream.address, &[]);
    for name in ["www.example.com.", "db.example.com."] {
        assert_eq!(addresses(&elder.ask(name, RecordType::A)), ["192.0.2.7"]);
    }
    let path = elder.folder.path().join("seed.json").to_str().unwrap().to_owned();
    let done = elder.run(&["cache", "export", "--output", &path]);
    assert_eq!(done.code(), 0, "{done:?}");
    std::thread::sleep(Duration::from_millis(1100));

    let younger = Sidecar::start(dead(), &[]);
    assert_eq!(younger.ask("www.example.com.", RecordType::A).response_code, ResponseCode::ServFail);
    let done = younger.run(&["cache", "import", &path]);
    assert_eq!(
        (done.code(), done.stdout.trim()),
        (0, "2 learned, 0 not newer than what is remembered, 0 past their maximum stale"),
        "{done:?}"
    );
    for name in ["www.example.com.", "db.example.com."] {
        let answer = younger.ask(name, RecordType::A);
        assert_eq!((addresses(&answer), extended_errors(&answer)), (vec!["192.0.2.7".to_owned()], vec![3]), "{name}");
    }
    let again = younger.run(&["cache", "import", &path]);
    assert_eq!(
        again.stdout.trim(),
        "0 learned, 2 not newer than what is remembered, 0 past their maximum stale",
        "{again:?}"
    );
    assert_eq!(younger.status()["answers_learned"]["import"], 2);
}

#[test]
fn with_nothing_but_a_seed_its_names_are_answered_stale_and_its_mistakes_are_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let (seed, missing, foreign) =
        (file(&folder, "seed.json", SEED), folder.path().join("none.json"), file(&folder, "foreign.json", "<html>"));
    let mut sidecar =
        Sidecar::start(dead(), &["--seed", &format!("{seed},{foreign}"), "--seed", missing.to_str().unwrap()]);
    let answer = sidecar.ask("db.example.com.", RecordType::A);
    assert_eq!(addresses(&answer), ["192.0.2.2", "192.0.2.3"]);
    assert_eq!(extended_errors(&answer), [3]);
    assert_eq!(sidecar.ask("other.example.com.", RecordType::A).response_code, ResponseCode::ServFail);
    let told = sidecar.process.wait_for("seed read, without its invalid answers").unwrap();
    assert!(told.contains("learned=2") && told.contains("line 3: name") && told.contains("a..b.example.com"), "{told}");
    let log = sidecar.process.log();
    assert_eq!(log.iter().filter(|line| line.contains("a..b")).count(), 1, "{log:#?}");
    let unused: Vec<&String> = log.iter().filter(|line| line.contains("seed not used")).collect();
    assert!(unused.len() == 2 && unused[0].contains("Allowed: ") && unused[1].contains("No such file"), "{log:#?}");
}

#[test]
fn a_seed_never_replaces_what_is_newer() {
    let folder = tempfile::tempdir().unwrap();
    let one = |last: u8, stored: &str| {
        format!(
            "{{\"format\":\"holdover-seed\",\"version\":1,\"answers\":[\
             {{\"name\":\"www.example.com\",\"type\":\"A\"{stored},\"records\":[{{\"data\":\"192.0.2.{last}\"}}]}}]}}"
        )
    };
    let upstream = upstream(60, 7);
    let sidecar = Sidecar::start(upstream.address, &[]);
    assert_eq!(addresses(&sidecar.ask("www.example.com.", RecordType::A)), ["192.0.2.7"]);
    for (name, text) in [("unknown.json", one(8, "")), ("old.json", one(9, ",\"stored\":\"2026-01-01T00:00:00Z\""))] {
        let path = file(&folder, name, &text);
        let done = sidecar.run(&["cache", "import", &path]);
        assert!(done.stdout.starts_with("0 learned"), "{done:?}");
        assert_eq!(addresses(&sidecar.ask("www.example.com.", RecordType::A)), ["192.0.2.7"], "{name}");
    }
    // Of two answers without a date, the first is kept.
    let newborn = Sidecar::start(dead(), &[]);
    for (name, text, taken) in [("first.json", one(8, ""), "1 learned"), ("second.json", one(9, ""), "0 learned")] {
        let path = file(&folder, name, &text);
        let done = newborn.run(&["cache", "import", &path]);
        assert!(done.stdout.starts_with(taken), "{done:?}");
    }
    assert_eq!(addresses(&newborn.ask("www.example.com.", RecordType::A)), ["192.0.2.8"]);
}

#[test]
fn an_import_with_mistakes_takes_the_rest_and_fails_with_their_lines() {
    let sidecar = Sidecar::start(dead(), &[]);
    let path = file(&sidecar.folder, "seed.json", SEED);
    let done = sidecar.run(&["cache", "import", &path]);
    assert_eq!(done.code(), 1);
    assert!(
        done.stdout.starts_with("2 learned")
            && done.stderr.contains("line 3: name \"a..b.example.com\" is no domain name"),
        "{done:?}"
    );
    let foreign = file(&sidecar.folder, "foreign.json", "{}");
    let done = sidecar.run(&["cache", "import", &foreign]);
    assert_eq!(done.code(), 1);
    assert!(done.stderr.contains("Allowed: {\"format\":\"holdover-seed\""), "{done:?}");
}

#[test]
fn what_is_flushed_is_gone_at_once_and_asked_again() {
    let upstream = upstream(3600, 7);
    let sidecar = Sidecar::start(upstream.address, &[]);
    for (name, rtype) in
        [("www.example.com.", RecordType::A), ("www.example.com.", RecordType::AAAA), ("a.corp.test.", RecordType::A)]
    {
        sidecar.ask(name, rtype);
        sidecar.ask(name, rtype);
    }
    upstream.set(|query, _| Reaction::Send(address(query, 3600, 8)));
    assert_eq!(sidecar.run(&["cache", "flush", "WWW.example.com", "--type", "A"]).stdout.trim(), "1 flushed");
    assert_eq!(addresses(&sidecar.ask("www.example.com.", RecordType::A)), ["192.0.2.8"], "asked again");
    assert_eq!(addresses(&sidecar.ask("www.example.com.", RecordType::AAAA)), ["2001:db8::7"], "not meant");
    assert_eq!(sidecar.run(&["cache", "flush", "--below", "test"]).stdout.trim(), "1 flushed");
    assert_eq!(addresses(&sidecar.ask("a.corp.test.", RecordType::A)), ["192.0.2.8"]);
    let wrong = sidecar.run(&["cache", "flush", "a..b"]);
    assert_eq!(wrong.code(), 1);
    assert!(wrong.stderr.contains("\"a..b\" is no domain name"), "{wrong:?}");
    assert_eq!(sidecar.run(&["cache", "flush"]).code(), 64);
    assert_eq!(sidecar.run(&["cache", "flush", "--below", "."]).stdout.trim(), "3 flushed");
}

#[test]
fn the_seed_of_the_kubernetes_manifest_is_read_as_it_stands() {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config/kubernetes/sidecar/configmap.yaml"))
            .unwrap();
    let map = &YamlLoader::load_from_str(&text).unwrap()[0]["data"];
    assert!(map["holdover.toml"].as_str().unwrap().contains("seed = [\"/etc/holdover/seed.json\"]"));
    let folder = tempfile::tempdir().unwrap();
    let seed = file(&folder, "seed.json", map["seed.json"].as_str().unwrap());
    let mut sidecar = Sidecar::start(dead(), &["--seed", &seed]);
    assert!(sidecar.process.wait_for("seed read").unwrap().contains("learned=2 older=0 expired=0"));
    let name = "kubernetes.default.svc.cluster.local.";
    assert_eq!(addresses(&sidecar.ask(name, RecordType::A)), ["10.96.0.1"]);
    let nodata = sidecar.ask(name, RecordType::AAAA);
    assert_eq!((nodata.response_code, addresses(&nodata)), (ResponseCode::NoError, Vec::new()));
}
