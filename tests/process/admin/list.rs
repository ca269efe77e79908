//! `holdover cache list` and `holdover status --names`: pages, conditions, and their bounds.

use std::collections::BTreeSet;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use serde_json::Value;

use super::explain::{documented, keys};
use super::sidecar::{SEED, Sidecar, file, upstream};
use crate::support::asking::ask;
use crate::support::binary::PATIENCE;
use crate::support::http::{get, request, send_to_path};
use crate::support::messages::{address, qname, query, response};
use crate::support::upstream::{Reaction, Upstream};
use crate::support::waiting::until;

/// A page as `--json` prints it.
#[track_caller]
fn list(sidecar: &Sidecar, arguments: &[&str]) -> Value {
    let done = sidecar.run(&[&["cache", "list", "--json"], arguments].concat());
    assert_eq!(done.code(), 0, "{done:?}");
    serde_json::from_str(&done.stdout).unwrap()
}

/// The names and types on a page.
fn shown(page: &Value) -> Vec<String> {
    let text = |own: &Value, key: &str| own[key].as_str().unwrap().to_owned();
    let names = page["names"].as_array().unwrap();
    names.iter().map(|own| format!("{} {}", text(own, "name"), text(own, "type"))).collect()
}

/// A sidecar that remembers a seed, five names of its upstream, and a failure.
fn filled() -> (Upstream, Sidecar) {
    let upstream = upstream(600, 7);
    upstream.set(|query, _| {
        if Name::from_ascii("broken.example.com.").unwrap().zone_of(&qname(query)) {
            return Reaction::Send(response(query, ResponseCode::ServFail).to_vec().unwrap());
        }
        Reaction::Send(address(query, 600, 7))
    });
    let folder = tempfile::tempdir().unwrap();
    let seed = file(&folder, "seed.json", SEED);
    let sidecar = Sidecar::start(upstream.address, &["--seed", &seed]);
    for (name, times) in [("a.example.net.", 1), ("b.a.example.net.", 4), ("example.net.", 2), ("c.example.net.", 3)] {
        for _ in 0..times {
            sidecar.ask(name, RecordType::A);
        }
    }
    sidecar.ask("example.net.", RecordType::AAAA);
    let answer = sidecar.ask("www.broken.example.com.", RecordType::A);
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    (upstream, sidecar)
}

#[test]
fn pages_give_each_name_once_in_canonical_order() {
    let (_upstream, sidecar) = filled();
    let all = shown(&list(&sidecar, &[]));
    assert_eq!(
        all,
        [
            "www.broken.example.com. A",
            "db.example.com. A",
            "www.example.com. A",
            "example.net. A",
            "example.net. AAAA",
            "a.example.net. A",
            "b.a.example.net. A",
            "c.example.net. A"
        ]
    );
    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let mut arguments = vec!["--limit", "3"];
        arguments.extend(after.iter().flat_map(|place: &String| ["--after", place]));
        let page = list(&sidecar, &arguments);
        assert_eq!(page["matching"], 8, "{page:#}");
        paged.extend(shown(&page));
        after = page["next"].as_str().map(str::to_owned);
        if after.is_none() {
            break;
        }
    }
    assert_eq!(paged, all);
    let text = sidecar.run(&["cache", "list", "--limit", "1"]).stdout;
    assert!(text.starts_with("www.broken.example.com. A: FAILED 1 times in a row (servfail)\n1 of 8 "), "{text}");
    assert!(text.contains("the next page: --after 'www.broken.example.com./A/0'"), "{text}");
}

#[test]
fn conditions_choose_among_the_names() {
    let (_upstream, sidecar) = filled();
    let chosen = |arguments: &[&str]| shown(&list(&sidecar, arguments));
    assert_eq!(chosen(&["--stale"]), ["db.example.com. A", "www.example.com. A"], "what came from a seed is stale");
    assert_eq!(chosen(&["--failed"]), ["www.broken.example.com. A"]);
    assert_eq!(chosen(&["--origin", "seed"]), ["db.example.com. A", "www.example.com. A"]);
    assert_eq!(chosen(&["--below", "A.example.net"]), ["a.example.net. A", "b.a.example.net. A"]);
    assert_eq!(chosen(&["--stale", "--below", "db.example.com"]), ["db.example.com. A"]);
    assert_eq!(chosen(&["--hot", "--limit", "2"]), ["b.a.example.net. A", "c.example.net. A"]);
    for (kind, first) in
        [("failed", "www.broken."), ("stale", "db.example.com. A: stale, "), ("hot", "b.a.example.net. A: fresh for ")]
    {
        let text = sidecar.run(&["status", "--names", kind]).stdout;
        assert!(text.starts_with(first), "{kind}: {text}");
        let json = sidecar.run(&["status", "--json", "--names", kind]).stdout;
        assert!(serde_json::from_str::<Value>(&json).unwrap()["names"].is_array());
    }
}

#[test]
fn a_stale_name_whose_refresh_failed_is_both_stale_and_failed() {
    let upstream = upstream(1, 7);
    let sidecar = Sidecar::start(upstream.address, &[]);
    sidecar.ask("www.example.com.", RecordType::A);
    upstream.set(|_, _| Reaction::Silence);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let page = until("its refresh failed", PATIENCE, || {
        sidecar.ask("www.example.com.", RecordType::A);
        let page = list(&sidecar, &["--stale", "--failed"]);
        (page["matching"] == 1).then_some(page)
    });
    assert_eq!(page["names"][0]["failure"]["reason"], "timeout", "{page:#}");
}

#[test]
fn hostile_names_are_escaped_and_wrong_conditions_are_said() {
    let (_upstream, sidecar) = filled();
    let mut hostile = query("evil.example.org.", RecordType::TXT);
    let labels: [&[u8]; 4] = [b"a\x1b[21m", b"evil", b"example", b"org"];
    hostile.queries[0].set_name(Name::from_labels(labels).unwrap());
    ask(sidecar.address, &hostile);
    let text = sidecar.run(&["cache", "list", "--below", "evil.example.org"]).stdout;
    assert!(text.starts_with("a\\027[21m.evil.example.org. TXT: ") && !text.contains('\x1b'), "{text:?}");
    for (arguments, words) in [
        (["--limit", "1001"], "limit 1001 is out of range. Allowed: 1 to 1000"),
        (["--origin", "nowhere"], "Allowed: upstream, state_file, seed, import, shared_cache"),
        (["--after", "a/b"], "Allowed: what the page before gives as the next"),
        (["--below", "a..b"], "\"a..b\" is no domain name"),
    ] {
        let done = sidecar.run(&[&["cache", "list"], &arguments[..]].concat());
        assert!(done.code() == 1 && done.stderr.contains(words), "{done:?}");
    }
    for (bytes, status) in [
        (get("/names?limit=x"), 400),
        (get("/names?all=true"), 400),
        (request("GET /names", &["Host: localhost", "Origin: http://example.com"]), 403),
        (request("GET /names", &["Host: rebound.example.com"]), 403),
    ] {
        assert_eq!(send_to_path(sidecar.socket(), &bytes).status, status, "{}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn every_key_of_a_page_is_documented_and_every_documented_key_exists() {
    let (_upstream, sidecar) = filled();
    let mut found = BTreeSet::new();
    keys(&list(&sidecar, &[]), "", &mut found);
    assert_eq!(found, documented("names"));
}
