//! Critical names as the operator meets them: the built binary, `holdover check`, and the log.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;

use crate::support::asking;
use crate::support::binary::{self, Finished, PATIENCE, Running, holdover, loopback, run};
use crate::support::messages::{address, query};
use crate::support::upstream::{Reaction, Upstream};

/// Starts a sidecar, and waits until it answers queries; it may not be ready yet.
#[track_caller]
fn serve(upstream: SocketAddr, configure: impl Fn(&mut std::process::Command)) -> (Running, SocketAddr) {
    binary::serve("serving: ready as soon as the critical names are known", |command, _| {
        command.args(["--upstream", &upstream.to_string()]);
        configure(command);
    })
}

fn check(server: SocketAddr, more: &[&str]) -> Finished {
    run(holdover().args(["check", "--server", &server.to_string()]).args(more))
}

/// Asks over UDP, and gives the answer and how long it took.
#[track_caller]
fn ask(server: SocketAddr, name: &str) -> (Message, Duration) {
    let began = Instant::now();
    (asking::ask(server, &query(name, RecordType::A)), began.elapsed())
}

#[test]
fn readiness_waits_for_critical_names_while_the_upstream_is_dead_but_not_for_ever() {
    let (mut process, server) = serve(loopback(), |command| {
        command.args(["--critical", "db.example.com"]).env("HOLDOVER_READY_TIMEOUT", "4s");
    });
    let done = check(server, &[]);
    assert_eq!(done.code(), 1, "{done:?}");
    assert!(done.stderr.contains("is not ready: it waits for its critical names"), "{}", done.stderr);
    assert_eq!(check(server, &["--alive"]).code(), 0);
    let (answer, took) = ask(server, "other.example.com.");
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    assert!(took < Duration::from_millis(2500), "queries are answered meanwhile: {took:?}");
    let (answer, _) = ask(server, "localhost.");
    assert_eq!(answer.answers.len(), 1);
    let line = process.wait_for("ready without all critical names").expect("it goes on");
    assert!(line.contains("WARN") && line.contains("db.example.com. A, db.example.com. AAAA"), "{line}");
    let done = check(server, &[]);
    assert_eq!((done.code(), done.stdout.as_str()), (0, "ready"), "{done:?}");
    assert_eq!(process.log().iter().filter(|line| line.contains("ready without")).count(), 1, "said once");
}

#[test]
fn readiness_comes_with_the_last_critical_name() {
    let upstream = Upstream::start(|_, _| Reaction::Silence);
    let (mut process, server) = serve(upstream.address, |command| {
        command.env("HOLDOVER_CRITICAL", "db.example.com,api.example.com").env("HOLDOVER_READY_TIMEOUT", "5m");
    });
    assert_eq!(check(server, &[]).code(), 1);
    upstream.set(|query, _| Reaction::Send(address(query, 60, 7)));
    process.wait_for("ready: all critical names are known").expect("it goes on");
    assert_eq!(check(server, &[]).code(), 0);
    // The upstream says nothing any more, so what comes now comes from memory.
    upstream.set(|_, _| Reaction::Silence);
    for name in ["db.example.com.", "api.example.com."] {
        let (answer, took) = ask(server, name);
        assert_eq!(answer.answers.len(), 1, "{name} though nobody had asked for it");
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
}

#[test]
fn a_critical_name_of_the_hosts_file_is_known_at_once_and_asked_of_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    std::fs::write(&hosts, "192.0.2.50 db.example.com\n").unwrap();
    let upstream = Upstream::start(|_, _| Reaction::Silence);
    let server = loopback();
    let mut command = holdover();
    command.args(["serve", "--listen", &server.to_string(), "--upstream", &upstream.address.to_string()]);
    command.args(["--critical", "db.example.com", "--hosts"]).arg(&hosts).env("HOLDOVER_READY_TIMEOUT", "5m");
    let mut process = Running::spawn(&mut command);
    process.wait_for("ready: all critical names are known").expect("the hosts file says all");
    assert_eq!(check(server, &[]).code(), 0);
    assert_eq!(upstream.seen(), 0);
    // Once the hosts file does not have the name any more, the upstream is asked for it.
    std::fs::write(&hosts, "192.0.2.51 other.example.com\n").unwrap();
    let end = Instant::now() + PATIENCE;
    while upstream.seen() == 0 {
        assert!(Instant::now() < end, "the upstream is not asked");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn wrong_names_are_refused_with_what_is_allowed() {
    let done = run(holdover().args(["serve", "--critical", "not..a.name", "--upstream", "192.0.2.1"]));
    assert_eq!(done.code(), 64);
    assert!(
        done.stderr.contains("--critical not..a.name is not a domain name. Allowed: a domain name, each once"),
        "{}",
        done.stderr
    );
}
