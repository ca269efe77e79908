//! What the admin interface shows: status, metrics, health and readiness.

use std::net::UdpSocket;
use std::time::Duration;

use hickory_proto::rr::RecordType;

use super::sidecar::{Sidecar, dead, upstream};
use crate::support::binary::*;
use crate::support::http::{get, read_openmetrics, send_to_path};
use crate::support::messages::{addresses, query};
use crate::support::upstream::Reaction;
use crate::support::waiting::until;

#[test]
fn status_and_metrics_tell_of_an_outage_and_what_it_costs() {
    let upstream = upstream(1, 7);
    let sidecar = Sidecar::start(upstream.address, &[]);
    sidecar.ask("www.example.com.", RecordType::A);
    upstream.set(|_, _| Reaction::Silence);
    std::thread::sleep(Duration::from_millis(1100));
    let status = until("an outage with something saved", PATIENCE, || {
        assert_eq!(addresses(&sidecar.ask("www.example.com.", RecordType::A)), ["192.0.2.7"]);
        // A name that is not in the cache makes the sidecar ask the upstream, and find that it is
        // down.
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(&query("nobody.example.com.", RecordType::A).to_vec().unwrap(), sidecar.address).unwrap();
        let status = sidecar.status();
        let present = &status["outages"][0]["current"];
        (present["names_served_stale"].as_u64() > Some(0) && status["upstreams"][0]["state"] == "down")
            .then_some(status)
    });
    let present = &status["outages"][0]["current"];
    assert_eq!(present["cliff_name"], "www.example.com. A", "{status:#}");
    let cliff = present["time_to_cliff_seconds"].as_f64().unwrap();
    assert!((86_000.0..86_401.0).contains(&cliff), "{cliff}");
    assert!(
        status["queries"]["stale"].as_u64() > Some(0) && status["upstreams"][0]["attempts"]["timed_out"].is_u64(),
        "{status:#}"
    );

    let people = sidecar.run(&["status"]).stdout;
    assert!(
        people.contains("OUTAGE")
            && people.contains("the first name reaches its maximum stale in 23 h 59 min: www.example.com. A"),
        "{people}"
    );

    let answer = send_to_path(sidecar.socket(), &get("/metrics"));
    assert!(answer.status == 200 && answer.head.contains("application/openmetrics-text; version=1.0.0"), "{answer:?}");
    let samples = read_openmetrics(&answer.body);
    let label = format!("upstream=\"{}\"", upstream.address);
    assert_eq!(samples["holdover_outage{zone=\".\"}"], 1.0);
    assert_eq!(samples[&format!("holdover_upstream_state{{{label},state=\"down\"}}")], 1.0);
    assert_eq!(samples["holdover_stale_age_seconds_count"], samples["holdover_queries_total{outcome=\"stale\"}"]);
    assert!(samples["holdover_time_to_cliff_seconds{zone=\".\"}"] > 86_000.0);
    assert!(samples["holdover_cache_bytes{kind=\"positive\"}"] > 100.0);
}

#[test]
fn health_and_readiness_do_not_ask_upstream() {
    let sidecar = Sidecar::start(dead(), &[]);
    for (path, body) in [("/health", "ok\n"), ("/ready", "ready\n")] {
        let answer = send_to_path(sidecar.socket(), &get(path));
        assert_eq!((answer.status, answer.body.as_str()), (200, body));
    }
    assert!(
        sidecar.status()["upstreams"][0]["attempts"]["network_error"].as_u64() <= Some(1),
        "only the look for loops"
    );
}

#[test]
fn without_an_admin_interface_it_says_what_to_configure() {
    let done = run(holdover().arg("status"));
    assert_eq!(done.code(), 1);
    assert!(
        done.stderr.contains("no admin interface is configured") && done.stderr.contains("HOLDOVER_ADMIN_ADDRESS"),
        "{done:?}"
    );
    let nobody = dead().to_string();
    let done = run(holdover().arg("status").env("HOLDOVER_ADMIN_ADDRESS", &nobody));
    assert_eq!(done.code(), 1);
    assert!(
        done.stderr.contains(&format!("no admin interface at {nobody}")) && done.stderr.contains("Is holdover running"),
        "{done:?}"
    );
    let done = run(holdover().args(["cache", "export", "--admin", "admin.sock"]));
    assert_eq!(done.code(), 64);
    assert!(done.stderr.contains("allowed: an absolute path"), "{done:?}");
}
