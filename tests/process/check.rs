//! `holdover check` against a running sidecar, against nothing, and against something else.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use crate::support::binary::*;
use crate::support::waiting::eventually;

/// `ready.holdover.invalid. A`, as `holdover check` asks for it.
const CHECK: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x05ready\x08holdover\x07invalid\0\0\x01\0\x01";

fn check(arguments: &[&str]) -> Finished {
    run(holdover().arg("check").args(arguments))
}

#[test]
fn a_sidecar_whose_upstream_is_dead_is_healthy() {
    let (listen, dead) = (loopback().to_string(), loopback().to_string());
    let mut sidecar = Running::spawn(holdover().args(["serve", "--listen", &listen, "--upstream", &dead]));
    sidecar.wait_for("ready").expect("it starts");
    let done = check(&["--server", &listen]);
    assert_eq!((done.code(), done.stdout.as_str()), (0, "ready"), "{done:?}");
    let done = run(holdover().arg("check").env("HOLDOVER_LISTEN_ADDRESSES", &listen));
    assert_eq!(done.code(), 0, "the address of the environment: {done:?}");
}

#[test]
fn health_checks_do_not_hold_up_the_drain() {
    let listen = loopback();
    let mut command = holdover();
    // If health checks counted as queries, the drain would last for its maximum, which is longer
    // than this test waits.
    command
        .args(["serve", "--listen", &listen.to_string(), "--upstream", &loopback().to_string()])
        .env("HOLDOVER_DRAIN_MAXIMUM", "60s");
    let mut sidecar = Running::spawn(command.env("HOLDOVER_DRAIN_IDLE", "1s"));
    sidecar.wait_for("ready").expect("it starts");
    sidecar.signal(Signal::TERM);
    sidecar.wait_for("draining").expect("it drains");
    let (ended, answered) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            udp.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            let mut tcp = TcpStream::connect(listen).unwrap();
            tcp.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            let frame = [&u16::try_from(CHECK.len()).unwrap().to_be_bytes(), CHECK].concat();
            while !ended.load(Ordering::Relaxed) {
                let mut answer = [0; 512];
                let _ = (udp.send_to(CHECK, listen), tcp.write_all(&frame));
                if udp.recv(&mut answer).is_ok() && tcp.read(&mut answer).is_ok_and(|length| length > 0) {
                    answered.store(true, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let finished = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| sidecar.finish(PATIENCE)));
        ended.store(true, Ordering::Relaxed);
        assert_eq!(finished.expect("it ends although it is checked").code(), 0);
    });
    assert!(answered.load(Ordering::Relaxed), "checks are answered in the drain as well");
}

#[test]
fn nothing_there_is_said_at_once_and_silence_after_the_time_out() {
    let nothing = loopback().to_string();
    let done = check(&["--server", &nothing]);
    assert_eq!(done.code(), 1);
    assert!(done.stderr.contains(&format!("nothing listens on {nothing}")), "{}", done.stderr);
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let done = check(&["--server", &silent.local_addr().unwrap().to_string(), "--timeout", "60ms"]);
    assert_eq!(done.code(), 1);
    assert!(done.stderr.contains("no answer") && done.stderr.contains("60ms"), "{}", done.stderr);
}

#[test]
fn another_resolver_is_not_taken_for_holdover() {
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    other.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let address = other.local_addr().unwrap().to_string();
    let thread = std::thread::spawn(move || {
        let mut packet = [0; 512];
        let (length, client) = other.recv_from(&mut packet).unwrap();
        packet[2..4].copy_from_slice(&[0x81, 0x83]);
        other.send_to(&packet[..length], client).unwrap();
    });
    let done = check(&["--server", &address]);
    thread.join().unwrap();
    assert_eq!(done.code(), 1);
    assert!(done.stderr.contains("is not holdover"), "{}", done.stderr);
}

#[test]
fn wrong_arguments_say_what_is_allowed() {
    let done = check(&["--server", "localhost"]);
    assert_eq!(done.code(), 64);
    assert!(done.stderr.contains("an IP address with an optional port"), "{}", done.stderr);
}

/// Stops one thread of a process, and no other, until the test thread ends; false where that is not
/// allowed.
#[allow(unsafe_code, reason = "there is no other way to stop one thread alone")]
fn stop_thread(thread: u32) -> bool {
    let thread = libc::pid_t::try_from(thread).unwrap();
    let nothing = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: both requests only name a thread; neither reads nor writes memory of this process.
    unsafe {
        libc::ptrace(libc::PTRACE_SEIZE, thread, nothing, nothing) == 0
            && libc::ptrace(libc::PTRACE_INTERRUPT, thread, nothing, nothing) == 0
    }
}

#[test]
fn a_sidecar_in_which_nothing_moves_any_more_is_not_healthy_although_it_answers() {
    let (listen, dead) = (loopback().to_string(), loopback().to_string());
    let folder = tempfile::tempdir().unwrap();
    let admin = folder.path().join("admin.sock").to_string_lossy().into_owned();
    let mut sidecar =
        Running::spawn(holdover().args(["serve", "--listen", &listen, "--upstream", &dead, "--admin", &admin]));
    sidecar.wait_for("ready").expect("it starts");
    assert_eq!(check(&["--server", &listen]).code(), 0);
    // The runtime of all tasks is the first thread; queries arrive on others.
    if !stop_thread(sidecar.id()) {
        eprintln!("skipped: threads cannot be stopped here");
        return;
    }
    eventually("it is not healthy", Duration::from_secs(10), || check(&["--server", &listen, "--alive"]).code() == 1);
    let done = check(&["--server", &listen]);
    assert!(done.stderr.contains("does not resolve or recover any more"), "{}", done.stderr);
    let mut socket = std::os::unix::net::UnixStream::connect(&admin).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}
