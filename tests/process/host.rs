//! A sidecar and its host: `resolv.conf` is followed while it serves, and the service manager is
//! notified.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::binary::{self, PATIENCE, Running, holdover, loopback, run};

/// How long it may take until a changed file is used, with a little added for a busy host.
const TAKEN_UP: Duration = Duration::from_secs(7);

fn serve(path: &Path) -> Running {
    binary::serve("ready", |command, _| {
        command.arg("--resolv-conf").arg(path);
    })
    .0
}

/// How many lines of the log contain this text.
fn said(sidecar: &Running, text: &str) -> usize {
    sidecar.log().iter().filter(|line| line.contains(text)).count()
}

// --- the file changes while the sidecar serves ---

#[test]
fn s10_a_file_that_becomes_useless_changes_nothing_and_a_good_one_is_taken_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resolv.conf");
    std::fs::write(&path, "nameserver 127.0.0.77\nnameserver 127.0.0.78\n").unwrap();
    let mut sidecar = serve(&path);
    // Each kind of problem is logged once, however often the file is read.
    std::fs::write(&path, "").unwrap();
    sidecar.signal(Signal::HUP);
    sidecar.wait_for("names no name server").expect("empty");
    std::fs::remove_file(&path).unwrap();
    sidecar.signal(Signal::HUP);
    sidecar.wait_for("cannot be read").expect("gone");
    for _ in 0..5 {
        sidecar.signal(Signal::HUP);
        std::thread::sleep(Duration::from_millis(250));
    }
    assert_eq!((said(&sidecar, "last good"), said(&sidecar, "other upstreams")), (2, 0), "{:#?}", sidecar.log());
    // The file is replaced by a rename, without a signal: one name server stays, one goes, one is
    // new.
    let new = folder.path().join("new");
    std::fs::write(&new, "nameserver 127.0.0.78\nnameserver 127.0.0.79\n").unwrap();
    std::fs::rename(&new, &path).unwrap();
    let began = Instant::now();
    let line = sidecar.wait_for("other upstreams are used").expect("taken up");
    assert!(began.elapsed() < TAKEN_UP, "{:?}", began.elapsed());
    assert!(
        line.contains("resolv.conf@127.0.0.78:53, resolv.conf@127.0.0.79:53") && !line.contains("127.0.0.77"),
        "{line}"
    );
    sidecar.signal(Signal::INT);
    sidecar.signal(Signal::INT);
    assert_eq!(sidecar.finish(PATIENCE).code(), 0);
}

#[test]
fn s10_half_a_file_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resolv.conf");
    std::fs::write(&path, "nameserver 127.0.0.77\n").unwrap();
    let mut sidecar = serve(&path);
    // A file that is written in place can be read halfway, and half of an address may be a valid
    // address.
    std::fs::write(&path, "nameserver 127.0.0.7").unwrap();
    sidecar.signal(Signal::HUP);
    std::thread::sleep(Duration::from_millis(60));
    std::fs::write(&path, "nameserver 127.0.0.79\n").unwrap();
    let line = sidecar.wait_for("other upstreams are used").expect("taken up");
    assert!(line.contains("127.0.0.79:53") && said(&sidecar, "127.0.0.7:53") == 0, "{line}");
}

// --- the service manager ---

#[test]
fn the_service_manager_hears_ready_alive_and_stopping() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let heard = move || {
        let mut text = [0; 256];
        let length = manager.recv(&mut text).expect("a message");
        String::from_utf8(text[..length].to_vec()).unwrap()
    };
    let listen = loopback().to_string();
    let mut command = holdover();
    command
        .args(["serve", "--listen", &listen, "--upstream", "127.0.0.1:9"])
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000");
    let sidecar = Running::spawn(&mut command);
    assert!(heard().starts_with("READY=1\n"));
    assert_eq!(run(holdover().args(["check", "--server", &listen])).code(), 0, "ready is said when the ports are open");
    assert_eq!([heard(), heard(), heard()], ["WATCHDOG=1"; 3]);
    sidecar.signal(Signal::TERM);
    let end = Instant::now() + PATIENCE;
    while !heard().starts_with("STOPPING=1\n") {
        assert!(Instant::now() < end);
    }
    assert_eq!(heard(), "WATCHDOG=1", "it lives while it drains");
}
