//! `holdover status --watch`: on a terminal, in a pipe, and until Ctrl-C.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use hickory_proto::rr::RecordType;
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};

use super::sidecar::{Sidecar, dead, upstream};
use crate::support::binary::*;
use crate::support::waiting::until;

/// `holdover status --watch` for a sidecar, prepared.
fn watch(sidecar: &Sidecar) -> Command {
    let mut command = holdover();
    command.args(["status", "--watch=200ms", "--admin", &sidecar.admin]).env("TERM", "xterm").env_remove("NO_COLOR");
    command
}

/// Gives a command a terminal as its standard output, and collects what it writes there.
fn on_terminal(command: &mut Command) -> (Running, Arc<Mutex<Vec<u8>>>) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let controller = openpt(flags).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    let user = File::from(ioctl_tiocgptpeer(&controller, flags).unwrap());
    let process = Running::spawn(command.stdout(user));
    let shown = Arc::<Mutex<Vec<u8>>>::default();
    let (mut from, into) = (File::from(controller), Arc::clone(&shown));
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            into.lock().unwrap().extend(&buffer[..length]);
        }
    });
    (process, shown)
}

fn text(shown: &Mutex<Vec<u8>>) -> String {
    String::from_utf8_lossy(&shown.lock().unwrap()).into_owned()
}

#[test]
fn in_a_pipe_one_plain_status_follows_the_other_until_ctrl_c() {
    let upstream = upstream(60, 7);
    let sidecar = Sidecar::start(upstream.address, &[]);
    let process = Running::spawn(&mut watch(&sidecar));
    until("three of them", PATIENCE, || {
        let heads = process.output().iter().filter(|line| line.starts_with("holdover ")).count();
        (heads >= 3).then_some(())
    });
    process.signal(Signal::INT);
    let done = process.finish(PATIENCE);
    assert_eq!((done.code(), done.stderr.as_str()), (0, ""));
    assert!(!done.stdout.contains('\x1b') && done.stdout.contains("\n\nholdover "), "{}", done.stdout);
}

#[test]
fn it_ends_with_its_reader_and_goes_on_while_the_sidecar_is_away() {
    let upstream = upstream(60, 7);
    let sidecar = Sidecar::start(upstream.address, &[]);
    let line =
        format!("'{}' status --watch=200ms --admin '{}' | head -1", env!("CARGO_BIN_EXE_holdover"), sidecar.admin);
    let done = run(clean("sh").args(["-c", &line]));
    assert!(done.code() == 0 && done.stdout.starts_with("holdover "), "{done:?}");

    let process = Running::spawn(&mut watch(&sidecar));
    until("a status", PATIENCE, || process.output().iter().any(|line| line.starts_with("queries ")).then_some(()));
    drop(sidecar);
    until("why there is none", PATIENCE, || {
        process.output().iter().any(|line| line.contains("no admin interface at")).then_some(())
    });
    process.signal(Signal::INT);
    assert_eq!(process.finish(PATIENCE).code(), 0);

    let nobody = dead().to_string();
    let done = run(holdover().args(["status", "--watch", "--admin", &nobody]));
    assert!(done.code() == 1 && done.stderr.contains("Is holdover running"), "{done:?}");
    let done = run(holdover().args(["status", "--watch=1ms", "--admin", &nobody]));
    assert!(done.code() == 64 && done.stderr.contains("allowed: 200ms to 1h"), "{done:?}");
}

#[test]
fn a_terminal_shows_it_in_place_and_in_colours_unless_they_are_not_wanted() {
    let sidecar = Sidecar::start(dead(), &[]);
    until("its upstream is down", PATIENCE, || {
        sidecar.ask("www.example.com.", RecordType::A);
        (sidecar.status()["upstreams"][0]["state"] == "down").then_some(())
    });
    let shown = |command: &mut Command| {
        let (process, shown) = on_terminal(command);
        until("the second one", PATIENCE, || (text(&shown).matches("\x1b[H").count() >= 2).then_some(()));
        process.signal(Signal::INT);
        assert_eq!(process.finish(PATIENCE).code(), 0);
        text(&shown)
    };
    let coloured = shown(&mut watch(&sidecar));
    assert!(coloured.contains("\x1b[31mupstream ") && coloured.contains("\x1b[K"), "{coloured:?}");
    let plain = shown(watch(&sidecar).env("NO_COLOR", "1"));
    assert!(!plain.contains("\x1b[3"), "{plain:?}");

    let (process, once) =
        on_terminal(holdover().args(["status", "--admin", &sidecar.admin]).env("TERM", "dumb").stdin(Stdio::null()));
    assert_eq!(process.finish(PATIENCE).code(), 0);
    until("all of it", PATIENCE, || text(&once).contains("state file").then_some(()));
    assert!(!text(&once).contains('\x1b'), "{:?}", text(&once));
}
