//! `holdover log-level`: what is written changes at once, and only for those who may change it.

use hickory_proto::rr::RecordType;

use super::bounds::on_tcp;
use super::sidecar::{Sidecar, upstream};
use crate::support::binary::*;
use crate::support::http::{request, send, send_to_path};
use crate::support::upstream::Reaction;
use crate::support::waiting::until;

#[test]
fn the_level_of_a_running_sidecar_is_shown_and_changed() {
    let upstream = upstream(60, 7);
    let mut sidecar = Sidecar::start(upstream.address, &[]);
    let level = |wanted: &[&str]| {
        let done = sidecar.run(&[&["log-level"], wanted].concat());
        (done.code(), done.stdout)
    };
    assert_eq!(level(&[]), (0, "info".to_owned()));
    assert_eq!(level(&["error"]), (0, "error, was info".to_owned()));
    sidecar.run(&["cache", "flush", "unseen.example.com"]);
    assert_eq!(level(&["debug"]), (0, "debug, was error".to_owned()));
    sidecar.run(&["cache", "flush", "seen.example.com"]);
    // A change between healthy and impaired is written at DEBUG alone.
    upstream.set(|_, _| Reaction::Silence);
    until("a line at DEBUG", PATIENCE, || {
        sidecar.ask("www.example.com.", RecordType::A);
        sidecar.process.log().iter().any(|line| line.contains(" DEBUG ")).then_some(())
    });
    assert!(sidecar.process.wait_for("seen.example.com").is_some());
    let log = sidecar.process.log().join("\n");
    assert!(log.contains("the level of the log was changed") && !log.contains("unseen"), "{log}");
    let refused = sidecar.run(&["log-level", "loud"]);
    assert!(refused.code() == 1 && refused.stderr.contains("Allowed: error, warn, info, debug, trace"), "{refused:?}");
    let refused = send_to_path(sidecar.socket(), &request("POST /log", &["Host: localhost", "Content-Length: 0"]));
    assert!(refused.status == 400 && refused.body.contains("Allowed: level"), "{refused:?}");
}

#[test]
fn over_tcp_nobody_changes_the_level_without_the_token() {
    let (sidecar, admin) = on_tcp(&[]);
    let refused = send(admin, &request("POST /log?level=trace", &["Host: localhost", "Content-Length: 0"]));
    assert_eq!(refused.status, 403, "{refused:?}");
    assert_eq!(sidecar.run(&["log-level"]).stdout, "info");
}
