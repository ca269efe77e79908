//! What an operator flushed does not come back from the state file, whatever happens next.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use super::sidecar::{Sidecar, nobody, upstream};
use crate::support::binary::*;

/// Starts a sidecar with an admin interface that writes its state file in this interval.
fn start(path: &Path, socket: &Path, upstream: std::net::SocketAddr, write_every: &str) -> Sidecar {
    let mut sidecar = Sidecar::started(path, upstream, |command| {
        command.env("HOLDOVER_ADMIN_ADDRESS", socket).env("HOLDOVER_STATE_WRITE_EVERY", write_every);
    });
    sidecar.process.wait_for("admin interface address=").expect("it runs");
    sidecar
}

fn flush(socket: &Path, name: &str) -> Finished {
    run(holdover().args(["cache", "flush", name, "--admin"]).arg(socket))
}

#[test]
fn what_was_flushed_is_gone_for_good_when_the_answer_to_that_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let (path, socket) = (folder.path().join("state.redb"), folder.path().join("admin.sock"));
    let (good, dead) = (upstream(), nobody());
    let first = Sidecar::start(&path, good.address);
    first.expect_all(&["wrong.example.com.".into(), "right.example.com.".into()]);
    first.process.signal(Signal::TERM);
    assert_eq!(first.process.finish(PATIENCE).code(), 0);

    let second = start(&path, &socket, dead.address, "5m");
    let done = flush(&socket, "wrong.example.com");
    second.kill();
    assert_eq!((done.code(), done.stdout.trim()), (0, "1 flushed"), "{done:?}");

    let third = Sidecar::start(&path, dead.address);
    third.expect_all(&["right.example.com.".into()]);
    assert!(!third.knows("wrong.example.com."));
}

#[test]
fn what_was_flushed_beside_another_process_does_not_come_back_when_its_file_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let (path, socket) = (folder.path().join("state.redb"), folder.path().join("admin.sock"));
    let (good, dead) = (upstream(), nobody());
    let first = Sidecar::start(&path, good.address);
    first.expect_all(&["wrong.example.com.".into(), "right.example.com.".into()]);
    std::thread::sleep(Duration::from_millis(400));
    let mut second = start(&path, &socket, dead.address, "100ms");
    assert!(second.process.wait_for("another process has it open").is_some());
    let done = flush(&socket, "wrong.example.com");
    assert_eq!((done.code(), done.stdout.trim()), (1, "0 flushed"), "{done:?}");
    assert!(done.stderr.contains("another process has it open"), "{done:?}");
    first.kill();
    assert!(second.process.wait_for("the state file can be used again").is_some());
    second.expect_all(&["right.example.com.".into()]);
    assert!(!second.knows("wrong.example.com."));
    second.kill();
    let third = Sidecar::start(&path, dead.address);
    third.expect_all(&["right.example.com.".into()]);
    assert!(!third.knows("wrong.example.com."));
}

#[test]
fn what_another_process_learned_is_taken_over_by_one_that_had_loaded_before() {
    let folder = tempfile::tempdir().unwrap();
    let (path, socket) = (folder.path().join("state.redb"), folder.path().join("admin.sock"));
    let (good, dead) = (upstream(), nobody());
    let before = Sidecar::start(&path, good.address);
    before.expect_all(&["old.example.com.".into()]);
    before.process.signal(Signal::TERM);
    assert_eq!(before.process.finish(PATIENCE).code(), 0);

    let mut late = start(&path, &socket, dead.address, "5m");
    std::thread::sleep(Duration::from_millis(400));
    std::fs::rename(&path, folder.path().join("elsewhere")).unwrap();
    let early = Sidecar::start(&path, good.address);
    early.expect_all(&["new.example.com.".into()]);
    std::thread::sleep(Duration::from_millis(400));
    let _ = flush(&socket, "nothing.example.com");
    assert!(late.process.wait_for("another process has it open").is_some());
    early.kill();
    assert!(late.process.wait_for("the state file can be used again").is_some());
    late.expect_all(&["old.example.com.".into(), "new.example.com.".into()]);
}
