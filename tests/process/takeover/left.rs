//! `resolv.conf` cannot be restored, or cannot be taken over again, while the application runs.

use super::*;

/// How many lines of the log contain this text.
fn times(shim: &Running, text: &str) -> usize {
    shim.log().iter().filter(|line| line.contains(text)).count()
}

/// A `holdover run` whose application is up, and its sidecar.
fn start(file: &File, server: SocketAddr) -> (Running, Pid) {
    let mut shim = Running::spawn(file.run(server, &[]).args(["sh", "-c", "read x; exit 5"]).stdin(Stdio::piped()));
    shim.wait_for("points at holdover").expect("it starts");
    let sidecar = sidecars(shim.id());
    (shim, sidecar[0])
}

#[test]
fn where_others_wrote_the_file_the_sidecar_ends_for_good_and_it_is_said_once() {
    let file = File::of(ORIGINAL);
    let (mut shim, sidecar) = start(&file, loopback());
    // The sidecar is stopped while others write the file, and then goes on.
    kill_process(sidecar, Signal::STOP).unwrap();
    fs::write(&file.path, "nameserver 192.0.2.9\n").unwrap();
    shim.wait_for("the application runs without holdover").expect("it is said");
    kill_process(sidecar, Signal::CONT).unwrap();
    eventually("a sidecar that nobody asks ends", PATIENCE, || !is_alive(sidecar));
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(
        (sidecars(shim.id()), times(&shim, "without holdover"), times(&shim, "started again")),
        (vec![], 1, 0),
        "{:#?}",
        shim.log()
    );
    assert_eq!(shim.end_input().finish(PATIENCE).code(), 5);
    assert_eq!(file.read(), "nameserver 192.0.2.9\n");
}

#[test]
fn where_the_file_cannot_be_taken_over_again_the_sidecar_ends_for_good_and_it_is_said_once() {
    let file = File::of(ORIGINAL);
    let (mut shim, sidecar) = start(&file, loopback());
    kill_process(sidecar, Signal::STOP).unwrap();
    eventually("the file is given back", PATIENCE, || fs::read(&file.path).unwrap() == ORIGINAL);
    fs::write(&file.path, "search example.com\n").unwrap();
    kill_process(sidecar, Signal::CONT).unwrap();
    shim.wait_for("the application runs without holdover").expect("it is said");
    eventually("a sidecar that nobody asks ends", PATIENCE, || !is_alive(sidecar));
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(
        (sidecars(shim.id()), times(&shim, "without holdover"), times(&shim, "started again")),
        (vec![], 1, 0),
        "{:#?}",
        shim.log()
    );
    assert_eq!(shim.end_input().finish(PATIENCE).code(), 5);
}

#[test]
fn where_the_file_goes_on_naming_holdover_the_sidecar_is_looked_after() {
    let file = File::of(ORIGINAL);
    let server = loopback();
    let (mut shim, first) = start(&file, server);
    let theirs = file.read() + "options timeout:1\n";
    fs::write(&file.path, &theirs).unwrap();
    kill_process(first, Signal::STOP).unwrap();
    shim.wait_for("was written by somebody else").expect("it is said");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(
        (times(&shim, "was written by somebody else"), times(&shim, "without holdover")),
        (1, 0),
        "{:#?}",
        shim.log()
    );
    kill_process(first, Signal::KILL).unwrap();
    eventually("another answers", PATIENCE, || {
        sidecars(shim.id()).iter().any(|pid| *pid != first) && ask(server, "localhost.").is_some()
    });
    assert_eq!(shim.end_input().finish(PATIENCE).code(), 5);
    assert_eq!(file.read(), theirs);
}
