//! `holdover run`: how the application and the sidecar beside it start, receive signals, fail and
//! end.

use super::*;

#[test]
fn run_takes_the_file_over_for_the_application_and_passes_its_exit_code_and_streams() {
    let file = File::of(ORIGINAL);
    let address = loopback();
    let script = format!(
        "cat {}; cat; echo to-stderr >&2; {} check --server {address} >&2; exit 7",
        file.path.display(),
        env!("CARGO_BIN_EXE_holdover")
    );
    let mut command = file.run(address, &[]);
    command.args(["sh", "-c", &script]).stdin(fs::File::open("/etc/hostname").unwrap());
    let finished = run(&mut command);
    assert_eq!(finished.code(), 7, "{finished:?}");
    assert!(
        is_ours(&finished.stdout) && finished.stdout.ends_with(fs::read_to_string("/etc/hostname").unwrap().trim_end()),
        "{finished:?}"
    );
    assert!(finished.stderr.contains("\nto-stderr\nready\n"), "{finished:?}");
    assert_eq!((fs::read(&file.path).unwrap(), file.names().len()), (ORIGINAL.to_vec(), 1));
}

#[test]
fn run_tells_how_the_application_ended_as_a_shell_does() {
    let file = File::of(ORIGINAL);
    let not_executable = file.beside("data");
    fs::write(&not_executable, "x").unwrap();
    let code = |command: &[&str]| run(file.run(loopback(), &[]).args(command)).code();
    assert_eq!(code(&["true"]), 0);
    assert_eq!(code(&["sh", "-c", "exit 255"]), 255);
    assert_eq!(code(&["sh", "-c", "kill -KILL $$"]), 137);
    assert_eq!(code(&["no-such-command"]), 127);
    assert_eq!(code(&[not_executable.to_str().unwrap()]), 126);
    assert_eq!(fs::read(&file.path).unwrap(), ORIGINAL);
    let usage = run(holdover().args(["run", "true"]));
    assert_eq!(usage.code(), 64, "the command stands behind --: {usage:?}");
}

#[test]
fn run_passes_signals_on_and_gives_the_file_back() {
    let file = File::of(ORIGINAL);
    let script = "for s in HUP INT QUIT USR1 USR2 WINCH; do trap \"echo got-$s >&2\" $s; done; trap 'echo got-TERM \
                  >&2; exit 3' TERM
                  echo is-up >&2; while :; do sleep 0.02; done";
    let mut shim = Running::spawn(file.run(loopback(), &[]).args(["sh", "-c", script]));
    shim.wait_for("is-up").expect("it starts");
    assert!(is_ours(&file.read()));
    for (signal, name) in [
        (Signal::HUP, "HUP"),
        (Signal::INT, "INT"),
        (Signal::QUIT, "QUIT"),
        (Signal::USR1, "USR1"),
        (Signal::USR2, "USR2"),
        (Signal::WINCH, "WINCH"),
    ] {
        shim.signal(signal);
        shim.wait_for(&format!("got-{name}")).unwrap_or_else(|| panic!("{name}"));
    }
    shim.signal(Signal::TERM);
    let finished = shim.finish(PATIENCE);
    assert!(finished.code() == 3 && finished.stderr.contains("got-TERM"), "{finished:?}");
    assert_eq!(fs::read(&file.path).unwrap(), ORIGINAL);
    // This application has no signal handlers.
    let mut shim = Running::spawn(file.run(loopback(), &[]).args(["sleep", "100"]));
    shim.wait_for("points at holdover").expect("it starts");
    eventually("the application runs", PATIENCE, || is_ours(&file.read()));
    std::thread::sleep(Duration::from_millis(100));
    shim.signal(Signal::TERM);
    assert_eq!(shim.finish(PATIENCE).code(), 128 + 15);
    assert_eq!(fs::read(&file.path).unwrap(), ORIGINAL);
}

#[test]
fn the_sidecar_serves_as_the_user_that_is_named() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can start a sidecar as another user");
        return;
    }
    let file = File::of(ORIGINAL);
    let server = loopback();
    let mut command = file.run(server, &["--user", "65532:65531", "--strict"]);
    // The parent of the shell is `holdover run`; its other child is the sidecar.
    let script = format!(
        "id -u; for p in $(cat /proc/$PPID/task/*/children); do cat /proc/$p/comm; grep -E '^(Uid|Gid|Groups)' \
         /proc/$p/status; done; {} check --server {server}",
        env!("CARGO_BIN_EXE_holdover")
    );
    let finished = run(command.args(["sh", "-c", &script]));
    assert_eq!(finished.code(), 0, "{finished:?}");
    assert!(finished.stdout.starts_with("0\n"), "the application stays what it was: {finished:?}");
    for told in ["holdover\nUid:\t65532\t65532\t65532\t65532\nGid:\t65531", "Groups:\t \n", "ready"] {
        assert!(finished.stdout.contains(told), "{told}: {finished:?}");
    }
    assert_eq!(fs::read(&file.path).unwrap(), ORIGINAL);
    let unknown = run(file.run(server, &["--user", "no-such-user"]).args(["true"]));
    assert!(unknown.code() == 64 && unknown.stderr.contains("is not a user in /etc/passwd"), "{unknown:?}");
}

#[test]
fn run_ignores_what_its_starter_ignored() {
    let file = File::of(ORIGINAL);
    let mut command = clean("nohup");
    let inner = file.run(loopback(), &[]);
    command.arg(inner.get_program()).args(inner.get_args()).args(["sh", "-c", "echo is-up >&2; sleep 0.5; exit 4"]);
    let mut shim = Running::spawn(&mut command);
    shim.wait_for("is-up").expect("it starts");
    shim.signal(Signal::HUP);
    assert_eq!(shim.finish(PATIENCE).code(), 4);
}

#[test]
fn a_sidecar_that_is_killed_or_hangs_is_started_again_and_the_application_goes_on() {
    let file = File::of(ORIGINAL);
    let server = loopback();
    let upstream = Upstream::start(|query, _| Reaction::Send(address(query, 60, 7)));
    let mut shim = Running::spawn(
        file.run(server, &["--upstream", &upstream.address.to_string()])
            .args(["sh", "-c", "read x; exit 5"])
            .stdin(Stdio::piped()),
    );
    shim.wait_for("points at holdover").expect("it starts");
    assert_eq!(ask(server, "www.example.com.").unwrap(), ["192.0.2.7"]);
    let one = || sidecars(shim.id());
    let first = one();
    assert_eq!(first.len(), 1);
    kill_process(first[0], Signal::KILL).unwrap();
    eventually("it answers again", Duration::from_secs(5), || ask(server, "www.example.com.").is_some());
    assert!(is_ours(&file.read()), "a crash is over before the file is given back");
    let second = one();
    assert!(second.len() == 1 && second != first);
    // While a sidecar hangs, the original name servers are back until another sidecar answers.
    kill_process(second[0], Signal::STOP).unwrap();
    eventually("the file is given back", Duration::from_secs(8), || fs::read(&file.path).unwrap() == ORIGINAL);
    eventually("it is taken over again", Duration::from_secs(20), || is_ours(&file.read()));
    assert_eq!(ask(server, "www.example.com.").unwrap(), ["192.0.2.7"]);
    assert!(shim.end_input().finish(PATIENCE).code() == 5);
    assert_eq!(fs::read(&file.path).unwrap(), ORIGINAL);
}

#[test]
fn the_application_runs_without_holdover_unless_strict() {
    let file = File::of(ORIGINAL);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let fine = loopback();
    // In turn: the port is taken, the configuration is wrong, there is no file, and there is no
    // place where the original could be kept.
    let cases: [(SocketAddr, &[&str], u8); 4] = [
        (address, &[], 69),
        (fine, &["--maximum-stale", "9y"], 64),
        (fine, &["--resolv-conf", "/no/such/file"], 69),
        (fine, &["--keep", "/proc/self/x"], 69),
    ];
    for (listen, flags, strict_code) in cases {
        let mut command = holdover();
        command.args(["run", "--listen", &listen.to_string(), "--nameserver", "127.0.0.1"]);
        if !flags.contains(&"--resolv-conf") {
            command.arg("--resolv-conf").arg(&file.path);
        }
        command.args(flags);
        let mut strict = clean(command.get_program());
        strict.args(command.get_args()).args(["--strict", "--", "echo", "ran"]);
        let finished = run(command.args(["--", "sh", "-c", "echo ran; exit 9"]));
        assert!(finished.code() == 9 && finished.stdout == "ran", "{flags:?}: {finished:?}");
        assert!(finished.stderr.contains("the application runs without holdover"), "{finished:?}");
        assert_eq!((fs::read(&file.path).unwrap(), file.names().len()), (ORIGINAL.to_vec(), 1), "{flags:?}");
        let finished = run(&mut strict);
        assert_eq!((finished.code(), finished.stdout.as_str()), (strict_code.into(), ""), "{flags:?}: {finished:?}");
    }
}

#[test]
fn a_holdover_that_answers_already_is_used() {
    let file = File::of(ORIGINAL);
    let server = loopback();
    let mut other =
        Running::spawn(holdover().args(["serve", "--listen", &server.to_string(), "--upstream", "127.0.0.1:9"]));
    other.wait_for("ready").expect("it starts");
    let mut shim = Running::spawn(
        file.run(server, &["--upstream", "127.0.0.1:9"]).args(["sh", "-c", "read x"]).stdin(Stdio::piped()),
    );
    shim.wait_for("points at holdover").expect("it starts");
    assert!(sidecars(shim.id()).is_empty() && is_ours(&file.read()));
    // When that holdover ends, the original name servers are back, and a sidecar of this `holdover
    // run` takes its place if it does not return.
    drop(other);
    eventually("the file is given back", Duration::from_secs(8), || fs::read(&file.path).unwrap() == ORIGINAL);
    assert!(sidecars(shim.id()).is_empty(), "it may come again, with what it remembers");
    eventually("our own answers", Duration::from_secs(25), || {
        sidecars(shim.id()).len() == 1 && ask(server, "localhost.").is_some()
    });
    let _ = shim.end_input().finish(PATIENCE);
    assert_eq!(fs::read(&file.path).unwrap(), ORIGINAL);
}

#[test]
fn what_others_write_while_the_application_runs_is_left() {
    let file = File::of(ORIGINAL);
    let script = format!("echo 'nameserver 192.0.2.9' > {}", file.path.display());
    let finished = run(file.run(loopback(), &[]).args(["sh", "-c", &script]));
    assert!(finished.code() == 0 && finished.stderr.contains("was written by somebody else"), "{finished:?}");
    assert_eq!(file.read(), "nameserver 192.0.2.9\n");
}

#[test]
fn run_passes_signals_on_when_its_log_stalls() {
    let (file, pipe) = (File::of(ORIGINAL), StalledPipe::full());
    let script = "exec 2> /dev/null; trap 'exit 7' TERM; echo is-up; while :; do sleep 0.02; done";
    let shim = Running::spawn(file.run(loopback(), &[]).args(["sh", "-c", script]).stderr(pipe.end()));
    eventually("the application runs", PATIENCE, || shim.output().contains(&"is-up".to_owned()));
    assert!(is_ours(&file.read()));
    // The end of the sidecar would be logged.
    for sidecar in sidecars(shim.id()) {
        kill_process(sidecar, Signal::KILL).unwrap();
    }
    std::thread::sleep(Duration::from_millis(500));
    shim.signal(Signal::TERM);
    assert_eq!(shim.finish(Duration::from_secs(5)).code(), 7);
    assert_eq!(fs::read(&file.path).unwrap(), ORIGINAL);
}

/// Starts two `holdover run` on one file and one address, as containers of a pod do, and ends one
/// of them; the other goes on, and so does its sidecar.
fn hand_over(first_ends: bool) {
    let (file, server) = (File::of(ORIGINAL), loopback());
    let start = || {
        let mut shim = Running::spawn(file.run(server, &[]).args(["sh", "-c", "read x; exit 5"]).stdin(Stdio::piped()));
        shim.wait_for("points at holdover").expect("it starts");
        shim
    };
    let (first, second) = (start(), start());
    assert!(is_ours(&file.read()));
    let (ending, staying) = if first_ends { (first, second) } else { (second, first) };
    assert_eq!(ending.end_input().finish(PATIENCE).code(), 5);
    eventually("the file points at holdover for good", Duration::from_secs(12), || {
        (0..20).all(|_| {
            std::thread::sleep(Duration::from_millis(100));
            is_ours(&file.read()) && ask(server, "localhost.").is_some()
        })
    });
    assert_eq!(staying.end_input().finish(PATIENCE).code(), 5);
    assert_eq!(fs::read(&file.path).unwrap(), ORIGINAL);
}

#[test]
fn a_second_run_goes_on_when_the_first_ends() {
    hand_over(true);
}

#[test]
fn the_first_run_goes_on_when_the_second_ends() {
    hand_over(false);
}

#[test]
fn a_hung_sidecar_is_out_of_the_way_within_a_second_and_replaced() {
    let (file, server) = (File::of(ORIGINAL), loopback());
    let mut shim = Running::spawn(file.run(server, &[]).args(["sh", "-c", "read x; exit 5"]).stdin(Stdio::piped()));
    shim.wait_for("points at holdover").expect("it starts");
    std::thread::sleep(Duration::from_secs(1));
    let hung = sidecars(shim.id())[0];
    kill_process(hung, Signal::STOP).unwrap();
    eventually("the original is back", Duration::from_millis(1500), || fs::read(&file.path).unwrap() == ORIGINAL);
    eventually("another takes its place", Duration::from_secs(25), || is_ours(&file.read()));
    assert!(sidecars(shim.id()).iter().all(|sidecar| *sidecar != hung) && ask(server, "localhost.").is_some());
    assert_eq!(shim.end_input().finish(PATIENCE).code(), 5);
}
