//! `holdover resolvconf` and `holdover run` as their users meet them: the built binary, real files, real child processes; mount and
//! process namespaces where this user may make them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub,
    dead_code
)]

#[path = "process/binary.rs"]
mod binary;
#[path = "wire/harness.rs"]
mod harness;

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use binary::*;
use harness::{Reaction, Upstream, address, addresses, query};
use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The file under test, in a folder of its own.
struct File {
    folder: tempfile::TempDir,
    path: PathBuf,
}

/// Made by hand: not text throughout, and without an end to its last line.
const ORIGINAL: &[u8] = b"# \xffmine\nnameserver 127.0.0.77\nnameserver 127.0.0.78\nsearch example.com\noptions ndots:2 rotate";

impl File {
    fn of(bytes: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        fs::write(&path, bytes).unwrap();
        Self { folder, path }
    }

    fn read(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.path).unwrap()).into_owned()
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn kept(&self) -> PathBuf {
        self.beside("resolv.conf.before-holdover")
    }

    fn names(&self) -> Vec<String> {
        fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Runs `holdover resolvconf` on it.
    #[track_caller]
    fn resolvconf(&self, arguments: &[&str]) -> Finished {
        let (verb, rest) = arguments.split_first().unwrap();
        run(holdover().args(["resolvconf", verb, "--file"]).arg(&self.path).args(rest))
    }

    /// What `show` says for machines.
    #[track_caller]
    fn show(&self, arguments: &[&str]) -> Value {
        let shown = self.resolvconf(&[&["show", "--json"], arguments].concat());
        assert_eq!(shown.code(), 0, "{shown:?}");
        serde_json::from_str(&shown.stdout).unwrap()
    }

    /// `holdover run` with this file and a sidecar at `address`, up to the application.
    fn run(&self, address: SocketAddr, flags: &[&str]) -> Command {
        let mut command = holdover();
        // The port is not 53, so the address has to be named.
        command.args(["run", "--listen", &address.to_string(), "--nameserver", &address.ip().to_string(), "--fallback", "yes"]);
        command.arg("--resolv-conf").arg(&self.path).args(flags).arg("--");
        command
    }
}

/// Whether this is holdover's text.
fn is_ours(text: &str) -> bool {
    text.starts_with("# Written by holdover") && text.contains("\nnameserver 127.0.0.1\n")
}

/// Waits for something to become true.
#[track_caller]
fn eventually(what: &str, within: Duration, condition: impl Fn() -> bool) {
    let end = Instant::now() + within;
    while !condition() {
        assert!(Instant::now() < end, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Asks once.
fn ask(server: SocketAddr, name: &str) -> Option<Vec<String>> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    socket.send_to(&query(name, RecordType::A).to_vec().unwrap(), server).unwrap();
    let mut buffer = [0; 1232];
    let length = socket.recv(&mut buffer).ok()?;
    Some(addresses(&Message::from_vec(&buffer[..length]).unwrap()))
}

/// The sidecars of this `holdover run`.
fn sidecars(shim: u32) -> Vec<Pid> {
    let mark = format!("--sidecar-of={shim}");
    let processes = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_sidecar = |pid: &i32| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.split(|byte| *byte == 0).any(|word| word == mark.as_bytes()))
    };
    processes.filter(is_sidecar).filter_map(Pid::from_raw).collect()
}

/// Whether this user may make namespaces; says so if not.
fn may_unshare() -> bool {
    let may = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--net", "true"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !may {
        println!("skipped: this user may not make namespaces");
    }
    may
}

/// Runs a script in namespaces of its own: `$H` is holdover, `$D` a folder.
#[track_caller]
fn in_namespaces(flags: &[&str], folder: &Path, script: &str) -> Finished {
    let mut command = clean("unshare");
    command.args(flags).args(["sh", "-euc", script]).env("H", env!("CARGO_BIN_EXE_holdover")).env("D", folder);
    run(&mut command)
}

// --- resolvconf ----------------------------------------------------------------------------------------------------------------

#[test]
fn what_is_taken_over_comes_back_byte_for_byte() {
    let file = File::of(ORIGINAL);
    fs::set_permissions(&file.path, fs::Permissions::from_mode(0o664)).unwrap();
    let applied = file.resolvconf(&["apply", "--fallback", "yes"]);
    assert_eq!(applied.code(), 0, "{applied:?}");
    let text = file.read();
    assert!(
        is_ours(&text)
            && text.ends_with("nameserver 127.0.0.1\nnameserver 127.0.0.77\n# \u{fffd}mine\nsearch example.com\noptions ndots:2\n"),
        "{text}"
    );
    assert_eq!(fs::metadata(&file.path).unwrap().permissions().mode() & 0o777, 0o664);
    let restored = file.resolvconf(&["restore"]);
    assert_eq!(restored.code(), 0, "{restored:?}");
    assert_eq!(fs::read(&file.path).unwrap(), ORIGINAL);
    assert_eq!(fs::metadata(&file.path).unwrap().permissions().mode() & 0o777, 0o664);
    assert_eq!(file.names(), ["resolv.conf"]);
}

#[test]
fn it_is_not_taken_over_twice() {
    let file = File::of(ORIGINAL);
    assert_eq!(file.resolvconf(&["apply"]).code(), 0);
    let before = (file.read(), fs::read(file.kept()).unwrap());
    let again = file.resolvconf(&["apply"]);
    assert_eq!(again.code(), 1);
    assert!(again.stderr.contains("has taken it over already. `holdover resolvconf restore`"), "{again:?}");
    assert_eq!((file.read(), fs::read(file.kept()).unwrap()), before);
}

#[test]
fn a_link_becomes_a_link_again_and_its_target_is_never_written() {
    let file = File::of(b"");
    let target = file.beside("elsewhere");
    fs::rename(&file.path, &target).unwrap();
    fs::write(&target, ORIGINAL).unwrap();
    symlink("elsewhere", &file.path).unwrap();
    assert_eq!(file.resolvconf(&["apply"]).code(), 0);
    assert!(fs::symlink_metadata(&file.path).unwrap().is_file() && is_ours(&file.read()));
    assert_eq!(file.resolvconf(&["restore"]).code(), 0);
    assert_eq!((fs::read_link(&file.path).unwrap(), fs::read(&target).unwrap()), ("elsewhere".into(), ORIGINAL.to_vec()));
}

#[test]
fn what_somebody_else_wrote_since_is_left_unless_forced() {
    let file = File::of(ORIGINAL);
    assert_eq!(file.resolvconf(&["apply"]).code(), 0);
    let theirs = "# Generated by NetworkManager\nnameserver 192.0.2.9\n";
    fs::write(&file.path, theirs).unwrap();
    let refused = file.resolvconf(&["restore"]);
    assert_eq!(refused.code(), 1);
    assert!(refused.stderr.contains("by somebody else (NetworkManager)") && refused.stderr.contains("--force"), "{refused:?}");
    assert_eq!(file.read(), theirs);
    assert_eq!(file.resolvconf(&["restore", "--force"]).code(), 0);
    assert_eq!(fs::read(&file.path).unwrap(), ORIGINAL);
    // Theirs can be taken over as well, and is then what comes back.
    assert_eq!(file.resolvconf(&["apply"]).code(), 0);
    fs::write(&file.path, theirs).unwrap();
    assert_eq!(file.resolvconf(&["apply"]).code(), 0);
    assert_eq!(file.resolvconf(&["restore"]).code(), 0);
    assert_eq!(file.read(), theirs);
}

#[test]
fn killed_before_the_copy_was_removed_it_is_only_removed() {
    let file = File::of(ORIGINAL);
    assert_eq!(file.resolvconf(&["apply"]).code(), 0);
    fs::write(&file.path, ORIGINAL).unwrap();
    let restored = file.resolvconf(&["restore"]);
    assert_eq!((restored.code(), file.names().len()), (0, 1), "{restored:?}");
    let nothing = file.resolvconf(&["restore"]);
    assert!(nothing.code() == 1 && nothing.stderr.contains("nothing is kept of it; it was not taken over"), "{nothing:?}");
}

#[test]
fn what_cannot_be_taken_over_is_said_and_left() {
    let circle = "nameserver 127.0.0.11\n# ExtServers: [127.0.0.1]\n";
    let cases = [
        ("", "names no name server"),
        ("search example.com\n", "names no name server"),
        ("nameserver 127.0.0.1\n", "names only 127.0.0.1, where holdover answers"),
        (circle, "forwards to 127.0.0.1, where holdover answers: every query would go round in a circle"),
    ];
    for (text, complaint) in cases {
        let file = File::of(text.as_bytes());
        let refused = file.resolvconf(&["apply"]);
        assert!(refused.code() == 1 && refused.stderr.contains(complaint), "{text}: {refused:?}");
        assert_eq!((file.read().as_str(), file.names().len()), (text, 1));
    }
    let file = File::of(ORIGINAL);
    let other = file.beside("other");
    fs::write(&other, "precious").unwrap();
    for (keep, complaint) in
        [("/proc/self/x", "cannot be kept anywhere"), (other.to_str().unwrap(), "is a file that holdover did not make")]
    {
        let refused = file.resolvconf(&["apply", "--keep", keep]);
        assert!(refused.code() == 1 && refused.stderr.contains(complaint), "{refused:?}");
        assert_eq!((fs::read(&file.path).unwrap(), fs::read(&other).unwrap()), (ORIGINAL.to_vec(), b"precious".to_vec()));
    }
    let gone = run(holdover().args(["resolvconf", "apply", "--file", "/no/such/resolv.conf"]));
    assert!(gone.code() == 1 && gone.stderr.contains("cannot be read"), "{gone:?}");
    // With upstreams in the configuration Docker's resolver is not needed.
    let file = File::of(circle.as_bytes());
    let applied = run(holdover().args(["resolvconf", "apply", "--file"]).arg(&file.path).env("HOLDOVER_UPSTREAM", "192.0.2.1"));
    assert!(applied.code() == 0 && !file.read().contains("127.0.0.11"), "{applied:?}");
}

#[test]
fn the_address_is_that_of_the_configuration_and_a_port_cannot_be_written() {
    let file = File::of(ORIGINAL);
    let apply =
        |listen: &str| run(holdover().args(["resolvconf", "apply", "--file"]).arg(&file.path).env("HOLDOVER_LISTEN_ADDRESSES", listen));
    let refused = apply("127.0.0.1:5353");
    assert!(refused.code() == 1 && refused.stderr.contains("resolv.conf cannot name a port"), "{refused:?}");
    assert_eq!(apply("127.0.0.1:5353,127.0.0.9:53").code(), 0);
    assert!(file.read().contains("\nnameserver 127.0.0.9\n"));
}

#[test]
fn show_says_what_is_there_and_what_would_be() {
    let file = File::of(b"# Generated by NetworkManager\nsearch example.com\nnameserver 192.0.2.1\n");
    let shown = file.show(&["--fallback", "no"]);
    assert_eq!((&shown["writer"], &shown["taken_over"], &shown["second"]), (&"NetworkManager".into(), &false.into(), &Value::Null));
    assert!(shown["advice"].as_str().unwrap().contains("dns=none"));
    let would = shown["would_write"].as_str().unwrap().to_owned();
    assert_eq!(file.resolvconf(&["apply", "--fallback", "no"]).code(), 0);
    assert_eq!(file.read(), would);
    let shown = file.show(&["--fallback", "no"]);
    assert_eq!(
        (&shown["writer"], &shown["original_writer"], &shown["unchanged"]),
        (&"holdover".into(), &"NetworkManager".into(), &true.into())
    );
    assert_eq!((&shown["upstreams"], &shown["kept"]), (&serde_json::json!(["192.0.2.1"]), &file.kept().to_str().unwrap().into()));
    fs::write(&file.path, file.read() + "options ndots:9\n").unwrap();
    assert_eq!(file.show(&[])["unchanged"], false);
    let text = file.resolvconf(&["show"]).stdout;
    for words in ["written by        holdover", "the file was changed since", "to make it stay   NetworkManager writes"] {
        assert!(text.contains(words), "{text}");
    }
}

// --- serve keeps the original upstreams ----------------------------------------------------------------------------------------

#[test]
fn serve_goes_on_with_the_original_upstreams() {
    let file = File::of(ORIGINAL);
    let serve = || {
        let mut command = holdover();
        let mut sidecar = Running::spawn(command.args(["serve", "--listen", &loopback().to_string(), "--resolv-conf"]).arg(&file.path));
        let line = sidecar.wait_for("ready").expect("it starts");
        assert!(line.contains("127.0.0.77:53, resolv.conf@127.0.0.78:53"), "{line}");
        sidecar
    };
    let sidecar = serve();
    assert_eq!(file.resolvconf(&["apply", "--fallback", "no"]).code(), 0);
    for _ in 0..3 {
        sidecar.signal(Signal::HUP);
        std::thread::sleep(Duration::from_millis(300));
    }
    let log = sidecar.log();
    assert!(!log.iter().any(|line| line.contains("other upstreams") || line.contains("last good")), "{log:#?}");
    drop(sidecar);
    // Started after it, it reads them from what is kept.
    drop(serve());
}

// --- run -----------------------------------------------------------------------------------------------------------------------

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
    let script = "for s in HUP INT QUIT USR1 USR2 WINCH; do trap \"echo got-$s >&2\" $s; done; trap 'echo got-TERM >&2; exit 3' TERM
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
    // An application that does not care.
    let mut shim = Running::spawn(file.run(loopback(), &[]).args(["sleep", "100"]));
    shim.wait_for("points at holdover").expect("it starts");
    eventually("the application runs", PATIENCE, || is_ours(&file.read()));
    std::thread::sleep(Duration::from_millis(100));
    shim.signal(Signal::TERM);
    assert_eq!(shim.finish(PATIENCE).code(), 128 + 15);
    assert_eq!(fs::read(&file.path).unwrap(), ORIGINAL);
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
        file.run(server, &["--upstream", &upstream.address.to_string()]).args(["sh", "-c", "read x; exit 5"]).stdin(Stdio::piped()),
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
    // One that hangs: the original name servers are back until another answers.
    kill_process(second[0], Signal::STOP).unwrap();
    eventually("the file is given back", Duration::from_secs(8), || fs::read(&file.path).unwrap() == ORIGINAL);
    eventually("it is taken over again", Duration::from_secs(20), || is_ours(&file.read()));
    assert_eq!(ask(server, "www.example.com.").unwrap(), ["192.0.2.7"]);
    assert!(shim.end_input().finish(PATIENCE).code() == 5);
    assert_eq!(fs::read(&file.path).unwrap(), ORIGINAL);
}

#[test]
fn when_the_shim_was_killed_the_next_one_takes_up_what_it_left() {
    let file = File::of(ORIGINAL);
    let server = loopback();
    let mut shim = Running::spawn(file.run(server, &[]).args(["sleep", "3"]));
    shim.wait_for("points at holdover").expect("it starts");
    let orphan = sidecars(shim.id());
    shim.signal(Signal::KILL);
    let killed = shim.finish(PATIENCE);
    assert!(killed.status.code().is_none() && is_ours(&file.read()));
    // Its sidecar drains and ends.
    eventually("the sidecar ends", PATIENCE, || orphan.iter().all(|pid| !is_alive(*pid)));
    let finished = run(file.run(server, &[]).args(["cat", file.path.to_str().unwrap()]));
    assert!(finished.code() == 0 && is_ours(&finished.stdout), "{finished:?}");
    assert!(finished.stderr.contains("resolv.conf@127.0.0.77:53, resolv.conf@127.0.0.78:53"), "{finished:?}");
    assert_eq!((fs::read(&file.path).unwrap(), file.names().len()), (ORIGINAL.to_vec(), 1));
}

/// Whether a process runs; a zombie does not.
fn is_alive(pid: Pid) -> bool {
    fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn the_application_runs_without_holdover_unless_strict() {
    let file = File::of(ORIGINAL);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let fine = loopback();
    // The port is taken; the configuration is wrong; there is no file; the original can be kept nowhere.
    let cases: [(SocketAddr, &[&str], u8); 4] = [
        (address, &[], 69),
        (fine, &["--maximum-stale", "9y"], 64),
        (fine, &["--resolv-conf", "/no/such/file"], 78),
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
    let mut other = Running::spawn(holdover().args(["serve", "--listen", &server.to_string(), "--upstream", "127.0.0.1:9"]));
    other.wait_for("ready").expect("it starts");
    let mut shim = Running::spawn(file.run(server, &["--upstream", "127.0.0.1:9"]).args(["sh", "-c", "read x"]).stdin(Stdio::piped()));
    shim.wait_for("points at holdover").expect("it starts");
    assert!(sidecars(shim.id()).is_empty() && is_ours(&file.read()));
    // When it goes, one of our own takes its place.
    drop(other);
    eventually("our own answers", PATIENCE, || sidecars(shim.id()).len() == 1 && ask(server, "localhost.").is_some());
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

// --- namespaces ----------------------------------------------------------------------------------------------------------------

#[test]
fn a_mount_point_is_written_in_place_and_a_read_only_one_is_said() {
    if !may_unshare() {
        return;
    }
    let file = File::of(b"nameserver 192.0.2.99\n");
    fs::write(file.beside("mounted"), ORIGINAL).unwrap();
    let script = "mount --bind $D/mounted $D/resolv.conf
        inode=$(stat -c %i $D/resolv.conf)
        $H resolvconf show --json --file $D/resolv.conf | grep -q '\"mounted\": true'
        $H resolvconf apply --file $D/resolv.conf --fallback yes >&2
        grep -q '^nameserver 127.0.0.1' $D/mounted
        $H resolvconf restore --file $D/resolv.conf >&2
        test $inode = $(stat -c %i $D/resolv.conf)
        mount -o remount,bind,ro $D/resolv.conf
        if $H resolvconf apply --file $D/resolv.conf; then exit 99; fi
        ls $D
        $H run --listen 127.0.0.1:5399 --nameserver 127.0.0.1 --resolv-conf $D/resolv.conf -- echo the application runs";
    let finished = in_namespaces(&["--mount", "--net"], file.folder.path(), &format!("ip link set lo up; {script}"));
    assert_eq!(finished.code(), 0, "{finished:?}");
    assert!(finished.stderr.contains("its file system is read-only") && finished.stderr.contains("runs without holdover"), "{finished:?}");
    assert!(finished.stdout.ends_with("mounted\nresolv.conf\nthe application runs"), "nothing is left beside it: {finished:?}");
    assert_eq!(fs::read(file.beside("mounted")).unwrap(), ORIGINAL);
}

#[test]
fn libc_asks_holdover_after_the_takeover_and_not_before() {
    if !may_unshare() {
        return;
    }
    let file = File::of(b"nameserver 127.0.0.77\n");
    // Only holdover knows this name.
    let script = "ip link set lo up
        mount --bind $D/resolv.conf /etc/resolv.conf
        if getent hosts ready.holdover.invalid; then exit 99; fi
        $H run --keep $D/kept -- getent hosts ready.holdover.invalid
        cat /etc/resolv.conf";
    let finished = in_namespaces(&["--mount", "--net"], file.folder.path(), script);
    assert_eq!(finished.code(), 0, "{finished:?}");
    assert!(finished.stdout.starts_with("::1 ") && finished.stdout.ends_with("\nnameserver 127.0.0.77"), "{finished:?}");
}

#[test]
fn behind_the_stub_of_systemd_resolved_its_upstreams_are_used() {
    if !may_unshare() {
        return;
    }
    let file = File::of(b"");
    fs::remove_file(&file.path).unwrap();
    let script = "mount -t tmpfs none /run
        mkdir -p /run/systemd/resolve
        echo 'nameserver 127.0.0.53' > /run/systemd/resolve/stub-resolv.conf
        echo 'options edns0 trust-ad' >> /run/systemd/resolve/stub-resolv.conf
        printf 'nameserver 127.0.0.77\\nnameserver 127.0.0.78\\n' > /run/systemd/resolve/resolv.conf
        ln -s /run/systemd/resolve/stub-resolv.conf $D/resolv.conf
        $H run --listen 127.0.0.1:5399 --nameserver 127.0.0.1 --resolv-conf $D/resolv.conf -- cat $D/resolv.conf
        readlink $D/resolv.conf
        $H resolvconf apply --file $D/resolv.conf >&2
        echo 'nameserver 127.0.0.79' > /run/systemd/resolve/resolv.conf
        $H resolvconf show --json --file $D/resolv.conf";
    let finished = in_namespaces(&["--mount", "--net"], file.folder.path(), &format!("ip link set lo up; {script}"));
    assert_eq!(finished.code(), 0, "{finished:?}");
    assert!(finished.stderr.contains("resolv.conf@127.0.0.77:53, resolv.conf@127.0.0.78:53"), "{finished:?}");
    let (text, shown) = finished.stdout.split_once("/run/systemd/resolve/stub-resolv.conf\n").expect("it is a link again");
    assert!(is_ours(text) && text.ends_with("\nnameserver 127.0.0.1\noptions edns0\n"), "no stub, no second, no trust in AD: {text}");
    let shown: Value = serde_json::from_str(shown).unwrap();
    assert_eq!(shown["upstreams"], serde_json::json!(["127.0.0.79"]), "its upstreams of today");
}

#[test]
fn as_the_first_process_it_collects_orphans() {
    if !may_unshare() {
        return;
    }
    let file = File::of(ORIGINAL);
    // The inner shell ends at once, its child is an orphan; then it ends, too.
    let application = "sh -c 'sleep 0.2 & exit 0'; sleep 1; grep -l '^State:.Z' /proc/[0-9]*/status || echo no zombies; exit 6";
    let mut command = clean("unshare");
    command.args(["--pid", "--fork", "--mount-proc"]);
    let inner = file.run(loopback(), &[]);
    command.arg(inner.get_program()).args(inner.get_args()).args(["sh", "-c", application]);
    let finished = run(&mut command);
    assert_eq!((finished.code(), finished.stdout.as_str()), (6, "no zombies"), "{finished:?}");
    assert_eq!(fs::read(&file.path).unwrap(), ORIGINAL);
}
