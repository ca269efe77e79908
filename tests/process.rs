//! The process as its operator meets it: the built binary, real sockets, signals, exit codes, and what it writes to the log.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub,
    dead_code
)]

#[path = "process/binary.rs"]
mod binary;
#[path = "wire/harness.rs"]
mod harness;
#[path = "process/hosts.rs"]
mod hosts;
#[path = "process/printing.rs"]
mod printing;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use binary::*;
use harness::{Reaction, Upstream, Via, address, addresses, extended_errors, qname, query, read_frame, write_frame};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use rustix::process::Signal;
use serde_json::Value;

/// A running `holdover serve` and where it listens.
struct Sidecar {
    process: Running,
    address: SocketAddr,
}

impl Sidecar {
    /// Starts one before this upstream, with further flags.
    #[track_caller]
    fn start(upstream: &Upstream, flags: &[&str]) -> Self {
        Self::start_with(|command, _| {
            command.args(["--upstream", &upstream.address.to_string()]).args(flags);
        })
    }

    /// Starts one with the arguments that `prepare` adds to `serve --listen ADDRESS`. A port that somebody else took meanwhile is
    /// given up for another.
    #[track_caller]
    fn start_with(prepare: impl Fn(&mut Command, SocketAddr)) -> Self {
        for _ in 0..5 {
            let address = loopback();
            let mut command = holdover();
            command.args(["serve", "--listen", &address.to_string()]);
            prepare(&mut command, address);
            let mut process = Running::spawn(&mut command);
            if process.wait_for("ready").is_some() {
                return Self { process, address };
            }
            let log = process.log();
            assert!(log.iter().any(|line| line.contains("in use")), "did not start: {log:#?}");
        }
        panic!("no port stayed free");
    }

    fn ask(&self, message: &Message) -> Message {
        ask(self.address, message)
    }
}

/// A socket that waits for answers, with a bound.
fn client(server: SocketAddr) -> UdpSocket {
    let any: SocketAddr = if server.is_ipv4() { (Ipv4Addr::LOCALHOST, 0).into() } else { (Ipv6Addr::LOCALHOST, 0).into() };
    let socket = UdpSocket::bind(any).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.connect(server).unwrap();
    socket
}

/// The next message that comes.
#[track_caller]
fn receive(socket: &UdpSocket) -> Message {
    let mut buffer = [0; 65_535];
    let length = socket.recv(&mut buffer).expect("an answer");
    Message::from_vec(&buffer[..length]).unwrap()
}

/// Asks over UDP.
#[track_caller]
fn ask(server: SocketAddr, message: &Message) -> Message {
    let socket = client(server);
    socket.send(&message.to_vec().unwrap()).unwrap();
    receive(&socket)
}

/// Asks over TCP.
#[track_caller]
fn ask_tcp(server: SocketAddr, message: &Message) -> Message {
    let mut stream = TcpStream::connect_timeout(&server, Duration::from_secs(5)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    write_frame(&mut stream, &message.to_vec().unwrap());
    Message::from_vec(&read_frame(&mut stream).expect("an answer")).unwrap()
}

/// An upstream that answers everything with 192.0.2.`last`.
fn upstream(ttl: u32, last: u8) -> Upstream {
    Upstream::start(move |query, _| Reaction::Send(address(query, ttl, last)))
}

/// Runs `holdover` with these arguments, which should end by itself.
#[track_caller]
fn run_with(arguments: &[&str]) -> Finished {
    run(holdover().args(arguments))
}

/// A file of this text, and the folder that keeps it.
fn file(name: &str, text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

// --- answers -------------------------------------------------------------------------------------------------------------------

#[test]
fn it_answers_over_udp_and_tcp() {
    let upstream = upstream(60, 7);
    let sidecar = Sidecar::start(&upstream, &[]);
    assert_eq!(addresses(&sidecar.ask(&query("udp.example.com.", RecordType::A))), ["192.0.2.7"]);
    assert_eq!(addresses(&ask_tcp(sidecar.address, &query("tcp.example.com.", RecordType::A))), ["192.0.2.7"]);
    assert_eq!(addresses(&ask_tcp(sidecar.address, &query("udp.example.com.", RecordType::A))), ["192.0.2.7"]);
    let asked = sidecar.ask(&query("udp.example.com.", RecordType::AAAA));
    assert_eq!(addresses(&asked), ["2001:db8::7"]);
}

#[test]
fn several_addresses_are_comma_separated_or_repeated() {
    let upstream = upstream(60, 7);
    let further = [loopback(), free_address(Ipv4Addr::new(127, 0, 0, 2)), loopback()];
    let list = format!("{},{}", further[0], further[1]);
    let last = further[2].to_string();
    let sidecar = Sidecar::start(&upstream, &["--listen", &list, "--listen", &last]);
    for server in further.into_iter().chain([sidecar.address]) {
        assert_eq!(addresses(&ask(server, &query("many.example.com.", RecordType::A))), ["192.0.2.7"], "{server}");
        assert_eq!(addresses(&ask_tcp(server, &query("many.example.com.", RecordType::A))), ["192.0.2.7"], "{server}");
        assert!(sidecar.process.log().iter().any(|line| line.contains("listening") && line.contains(&server.to_string())), "{server}");
    }
}

#[test]
fn it_answers_over_ipv6() {
    if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        eprintln!("SKIPPED it_answers_over_ipv6: this host has no ::1");
        return;
    }
    let upstream = upstream(60, 7);
    let six = free_address(Ipv6Addr::LOCALHOST);
    let _sidecar = Sidecar::start(&upstream, &["--listen", &six.to_string()]);
    assert_eq!(addresses(&ask(six, &query("six.example.com.", RecordType::A))), ["192.0.2.7"]);
    assert_eq!(addresses(&ask_tcp(six, &query("six.example.com.", RecordType::AAAA))), ["2001:db8::7"]);
}

#[test]
fn a_second_upstream_answers_for_the_first() {
    let (silent, good) = (Upstream::start(|_, _| Reaction::Silence), upstream(60, 9));
    let list = format!("{},{}", silent.address, good.address);
    let sidecar = Sidecar::start_with(|command, _| {
        command.args(["--upstream", &list]);
    });
    assert_eq!(addresses(&sidecar.ask(&query("either.example.com.", RecordType::A))), ["192.0.2.9"]);
}

// --- resolv.conf ---------------------------------------------------------------------------------------------------------------

#[test]
fn a_resolv_conf_without_an_upstream_is_a_configuration_error_that_names_it() {
    for text in ["", "# nobody\nsearch example.com\noptions ndots:5\n"] {
        let (_folder, path) = file("resolv.conf", text);
        let ended = run_with(&["serve", "--listen", "127.0.0.1:0", "--resolv-conf", &path]);
        assert_eq!(ended.code(), 78, "{ended:?}");
        assert_eq!(ended.stderr, format!("holdover: {path}: names no name server; name the upstreams with --upstream"));
    }
    for line in ["nameserver dns.example.com", "nameserver 192.0.2.1:53", "NAMESERVER 192.0.2.1"] {
        let (_folder, path) = file("resolv.conf", &format!("search example.com\n{line}\n"));
        let ended = run_with(&["serve", "--listen", "127.0.0.1:0", "--resolv-conf", &path]);
        assert_eq!(ended.code(), 78, "{ended:?}");
        assert!(ended.stderr.starts_with(&format!("holdover: {path}:2: \"{line}\" is not understood, and ")), "{}", ended.stderr);
    }
}

#[test]
fn a_resolv_conf_that_names_only_holdover_is_a_configuration_error() {
    let (_folder, path) = file("resolv.conf", "nameserver 127.0.0.1\n");
    let ended = run_with(&["serve", "--listen", "127.0.0.1", "--resolv-conf", &path]);
    assert_eq!(ended.code(), 78, "{ended:?}");
    let told = format!("holdover: {path}: names only holdover itself (127.0.0.1:53), so there is nobody to forward to; ");
    assert!(ended.stderr.starts_with(&told), "{}", ended.stderr);
    assert!(ended.stderr.ends_with("--upstream"), "{}", ended.stderr);
}

#[test]
fn a_resolv_conf_that_is_not_there_is_a_configuration_error() {
    let (_folder, path) = file("resolv.conf", "");
    let missing = format!("{path}.missing");
    let ended = run_with(&["serve", "--listen", "127.0.0.1:0", "--resolv-conf", &missing]);
    assert_eq!(ended.code(), 78, "{ended:?}");
    assert!(ended.stderr.contains(&missing) && ended.stderr.contains("--upstream"), "{}", ended.stderr);
}

#[test]
fn the_name_servers_of_resolv_conf_become_upstreams() {
    let (_folder, path) = file("resolv.conf", "nameserver 127.0.0.77\nnameserver 127.0.0.78\n");
    let sidecar = Sidecar::start_with(|command, _| {
        command.args(["--resolv-conf", &path]);
    });
    let ready = sidecar.process.log().into_iter().find(|line| line.contains("ready")).unwrap();
    assert!(ready.contains("127.0.0.77:53") && ready.contains("127.0.0.78:53"), "{ready}");
}

#[test]
fn an_upstream_that_is_holdover_itself_is_refused() {
    let own = loopback().to_string();
    let ended = run_with(&["serve", "--listen", &own, "--upstream", &own]);
    assert_eq!(ended.code(), 64, "{ended:?}");
    assert!(ended.stderr.contains(&own) && ended.stderr.contains("circle"), "{}", ended.stderr);
}

// --- ports that cannot be had --------------------------------------------------------------------------------------------------

/// Checks the end of a process that found its address taken.
#[track_caller]
fn expect_in_use(ended: &Finished, taken: SocketAddr, protocol: &str) {
    assert_ne!(ended.code(), 0, "{ended:?}");
    let told = format!("holdover: cannot listen on {taken} ({protocol}): the address is in use.");
    assert!(ended.stderr.contains(&told), "{}", ended.stderr);
    assert!(ended.stderr.contains("stop it, or listen on another address (--listen "), "{}", ended.stderr);
    assert!(!ended.stderr.contains("ready"), "{}", ended.stderr);
}

#[test]
fn a_port_in_use_ends_the_start_with_its_address_and_advice() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = tcp.local_addr().unwrap();
    expect_in_use(&run_with(&["serve", "--listen", &taken.to_string(), "--upstream", "192.0.2.1"]), taken, "TCP");
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = udp.local_addr().unwrap();
    expect_in_use(&run_with(&["serve", "--listen", &taken.to_string(), "--upstream", "192.0.2.1"]), taken, "UDP");
}

#[test]
fn a_second_holdover_on_the_same_port_does_not_start_and_the_first_goes_on() {
    let upstream = upstream(60, 7);
    let first = Sidecar::start(&upstream, &[]);
    let ended = run_with(&["serve", "--listen", &first.address.to_string(), "--upstream", &upstream.address.to_string()]);
    expect_in_use(&ended, first.address, "TCP");
    for index in 0..20 {
        assert_eq!(addresses(&first.ask(&query(&format!("n{index}.example.com."), RecordType::A))), ["192.0.2.7"]);
    }
}

#[test]
fn an_address_of_another_host_is_told() {
    let ended = run_with(&["serve", "--listen", "198.51.100.1:5353", "--upstream", "192.0.2.2"]);
    assert_ne!(ended.code(), 0);
    assert!(ended.stderr.contains("cannot listen on 198.51.100.1:5353 (TCP): this host has no such address"), "{}", ended.stderr);
}

/// A command that runs the binary without any privilege where port 53 needs one; `Err` says why this host cannot.
fn without_privilege(folder: &tempfile::TempDir) -> Result<Command, &'static str> {
    if !rustix::process::geteuid().is_root() {
        return Err("not root, so neither setpriv nor a network namespace can be used");
    }
    // The folder of the build may be closed to others.
    let copy = folder.path().join("holdover");
    std::fs::copy(env!("CARGO_BIN_EXE_holdover"), &copy).unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let setpriv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let reserved =
        std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").map_or(1024, |text| text.trim().parse().unwrap());
    // Containers often open all ports; a new network namespace reserves them again.
    let words: Vec<&str> = if reserved > 53 { Vec::new() } else { vec!["unshare", "--net"] }.into_iter().chain(setpriv).collect();
    let works = clean(words[0]).args(&words[1..]).arg("true").status().is_ok_and(|status| status.success());
    if !works {
        return Err("setpriv or unshare is missing or not allowed");
    }
    let mut command = clean(words[0]);
    command.args(&words[1..]).arg(copy);
    Ok(command)
}

#[test]
fn port_53_without_privilege_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = match without_privilege(&folder) {
        Ok(command) => command,
        Err(why) => {
            eprintln!("SKIPPED port_53_without_privilege_says_what_to_do: {why}");
            return;
        }
    };
    let ended = run(command.args(["serve", "--listen", "0.0.0.0:53", "--upstream", "192.0.2.1"]));
    assert_ne!(ended.code(), 0);
    let message = ended.stderr;
    assert!(message.contains("holdover: cannot listen on 0.0.0.0:53 (TCP): permission denied"), "{message}");
    for way_out in ["CAP_NET_BIND_SERVICE", "net.ipv4.ip_unprivileged_port_start=53", "--listen 0.0.0.0:5353"] {
        assert!(message.contains(way_out), "{way_out}: {message}");
    }
}

// --- flags, variables, files ---------------------------------------------------------------------------------------------------

#[test]
fn wrong_usage_ends_with_64() {
    let cases: &[(&[&str], &str)] = &[
        (&[], "Usage: holdover"),
        (&["sevre"], "serve"),
        (&["serve", "--no-such-flag"], "--no-such-flag"),
        (&["serve", "--listne", "127.0.0.1:0"], "--listen"),
        (&["serve", "--listen"], "--listen"),
        (&["serve", "surplus"], "surplus"),
        (&["config", "chek"], "check"),
        (&["serve", "--maximum-stale", "soon"], "--maximum-stale soon is not a duration"),
        (&["serve", "--maximum-stale", "30d"], "Allowed: 0s to 7d"),
        (&["serve", "--client-response-timer", "5s"], "Allowed: adaptive, or 0s to 1800ms"),
        (&["serve", "--log-level", "loud"], "Allowed: error, warn, info, debug or trace"),
        (&["serve", "--log-format", "xml"], "Allowed: text or json"),
        (&["serve", "--listen", "localhost"], "--listen"),
        (&["serve", "--listen", ""], "--listen"),
        (&["serve", "--listen", "127.0.0.1:70000"], "--listen"),
        (&["serve", "--listen", "127.0.0.1:0", "--upstream", "dns.example.com"], "--upstream"),
        (&["serve", "--listen", "127.0.0.1:0", "--upstream", ""], "--upstream"),
        (&["serve", "--listen", "127.0.0.1:0", "--upstream", "192.0.2.1:0"], "names 192.0.2.1:0, where no resolver can be"),
        (&["serve", "--listen", "127.0.0.1:0", "--upstream", "0.0.0.0"], "names 0.0.0.0:53, where no resolver can be"),
        (&["serve", "--listen", "127.0.0.1:0", "--upstream", "ff02::1"], "where no resolver can be"),
        (&["serve", "--listen", "224.0.0.1:5353", "--upstream", "192.0.2.1"], "names 224.0.0.1:5353, which is a group of hosts"),
    ];
    for (arguments, told) in cases {
        let ended = run_with(arguments);
        assert_eq!(ended.code(), 64, "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(told), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stdout.is_empty(), "{arguments:?}: {}", ended.stdout);
    }
}

#[test]
fn help_and_version_are_no_mistakes() {
    for arguments in [&["--help"][..], &["--version"], &["serve", "--help"], &["drill", "--help"], &["config", "check", "--help"]] {
        let ended = run_with(arguments);
        assert_eq!(ended.code(), 0, "{ended:?}");
        assert!(ended.stderr.is_empty() && ended.stdout.contains("holdover"), "{ended:?}");
    }
}

#[test]
fn an_unknown_key_is_told_with_line_and_nearest_known_key() {
    let (_folder, path) = file("holdover.toml", "[cache]\nentries = 500\n\n[stale]\nmaximun = \"24h\"\n");
    for arguments in [&["serve", "--config", &path][..], &["config", "check", "--config", &path]] {
        let ended = run_with(arguments);
        assert_eq!(ended.code(), 78, "{ended:?}");
        assert_eq!(ended.stderr, format!("holdover: {path}:5: key \"maximun\" in [stale] is not known. Did you mean \"maximum\"?"));
    }
}

#[test]
fn a_file_that_is_missing_or_broken_is_told_with_its_path() {
    let (_folder, path) = file("holdover.toml", "[listen]\nthreads = = 2\n");
    let ended = run_with(&["serve", "--config", &path]);
    assert_eq!(ended.code(), 78, "{ended:?}");
    assert!(ended.stderr.starts_with(&format!("holdover: {path}:2: not TOML: ")), "{}", ended.stderr);
    let missing = format!("{path}.missing");
    let ended = run_with(&["config", "check", "--config", &missing]);
    assert_eq!(ended.code(), 78, "{ended:?}");
    assert!(ended.stderr.starts_with(&format!("holdover: {missing}: the configuration file cannot be read: ")), "{}", ended.stderr);
}

#[test]
fn a_wrong_variable_is_told_by_name() {
    let cases = [
        (
            "HOLDOVER_STALE_MAXIMUN",
            "12h",
            "HOLDOVER_STALE_MAXIMUN is not a variable that holdover knows. Did you mean HOLDOVER_STALE_MAXIMUM?",
        ),
        ("HOLDOVER_STALE_MAXIMUM", "30d", "HOLDOVER_STALE_MAXIMUM=30d is out of range. Allowed: 0s to 7d."),
        ("HOLDOVER_UPSTREAM", "dns.example.com", "HOLDOVER_UPSTREAM=dns.example.com is not an IP address"),
        ("HOLDOVER_UPSTREAM", "", "HOLDOVER_UPSTREAM= names no address. Allowed: 1 to 8 IP addresses"),
        ("HOLDOVER_CONFIG", "/no/such/file.toml", "/no/such/file.toml: the configuration file cannot be read"),
    ];
    for (name, value, told) in cases {
        for arguments in [&["serve", "--listen", "127.0.0.1:0"][..], &["config", "check"]] {
            let ended = run(holdover().args(arguments).env(name, value));
            assert_eq!(ended.code(), 78, "{name}={value}: {ended:?}");
            assert!(ended.stderr.contains(told), "{name}={value}: {}", ended.stderr);
        }
    }
    let ended = run(holdover().args(["config", "check"]).env("HOLDOVER_LISTEN_ADDRESSES", ""));
    assert_eq!(ended.code(), 78, "{ended:?}");
    assert!(ended.stderr.contains("HOLDOVER_LISTEN_ADDRESSES"), "{}", ended.stderr);
}

#[test]
fn the_default_file_is_printed_and_valid() {
    let printed = run_with(&["config", "default"]);
    assert_eq!(printed.code(), 0);
    let (_folder, path) = file("holdover.toml", &printed.stdout);
    let checked = run_with(&["config", "check", "--config", &path]);
    assert_eq!((checked.code(), checked.stdout), (0, format!("{path} is valid")));
}

#[test]
fn flags_cover_variables_which_cover_the_file() {
    let by = [11, 12, 13].map(|last| upstream(60, last));
    let is_json = |sidecar: &Sidecar| sidecar.process.log().iter().all(|line| serde_json::from_str::<Value>(line).is_ok());
    let answer = |sidecar: &Sidecar| addresses(&sidecar.ask(&query("who.example.com.", RecordType::A))).join(" ");
    let text = format!("[log]\nformat = \"json\"\n[[upstream]]\naddresses = [\"{}\"]\n", by[0].address);
    let (_folder, path) = file("holdover.toml", &text);
    let from_file = Sidecar::start_with(|command, _| {
        command.args(["--config", &path]);
    });
    assert_eq!((answer(&from_file).as_str(), is_json(&from_file)), ("192.0.2.11", true));
    let variables =
        [("HOLDOVER_CONFIG", path.clone()), ("HOLDOVER_LOG_FORMAT", "text".into()), ("HOLDOVER_UPSTREAM", by[1].address.to_string())];
    let from_variables = Sidecar::start_with(|command, _| {
        command.envs(variables.clone());
    });
    assert_eq!((answer(&from_variables).as_str(), is_json(&from_variables)), ("192.0.2.12", false));
    let from_flags = Sidecar::start_with(|command, _| {
        command.envs(variables.clone()).args(["--log-format", "json", "--upstream", &by[2].address.to_string()]);
    });
    assert_eq!((answer(&from_flags).as_str(), is_json(&from_flags)), ("192.0.2.13", true));
}

#[test]
fn the_listen_address_of_a_flag_covers_that_of_a_variable() {
    let upstream = upstream(60, 7);
    let covered = loopback();
    let sidecar = Sidecar::start_with(|command, _| {
        command.args(["--upstream", &upstream.address.to_string()]).env("HOLDOVER_LISTEN_ADDRESSES", covered.to_string());
    });
    assert_eq!(addresses(&sidecar.ask(&query("here.example.com.", RecordType::A))), ["192.0.2.7"]);
    assert!(TcpStream::connect_timeout(&covered, Duration::from_secs(1)).is_err(), "nobody listens where the variable said");
}

// --- signals -------------------------------------------------------------------------------------------------------------------

#[test]
fn sigterm_and_sigint_drain_and_end_with_0() {
    let upstream = upstream(60, 7);
    std::thread::scope(|scope| {
        for (signal, name) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT")] {
            let upstream = &upstream;
            scope.spawn(move || {
                let mut sidecar = Sidecar::start(upstream, &[]);
                sidecar.ask(&query("before.example.com.", RecordType::A));
                let began = Instant::now();
                sidecar.process.signal(signal);
                let line = sidecar.process.wait_for("draining").unwrap();
                assert!(line.contains(name), "{line}");
                assert_eq!(addresses(&sidecar.ask(&query("meanwhile.example.com.", RecordType::A))), ["192.0.2.7"]);
                let ended = sidecar.process.finish(Duration::from_secs(8));
                assert_eq!(ended.code(), 0, "{ended:?}");
                assert!(began.elapsed() >= Duration::from_millis(1900), "it waits until two seconds have been idle: {:?}", began.elapsed());
                assert!(ended.stderr.lines().last().is_some_and(|line| line.contains("stopped answered=2")), "{}", ended.stderr);
            });
        }
    });
}

#[test]
fn a_second_signal_ends_the_drain() {
    let upstream = upstream(60, 7);
    let mut sidecar = Sidecar::start_with(|command, _| {
        command.args(["--upstream", &upstream.address.to_string()]).env("HOLDOVER_DRAIN_IDLE", "20s");
    });
    sidecar.process.signal(Signal::TERM);
    sidecar.process.wait_for("draining").unwrap();
    sidecar.process.signal(Signal::TERM);
    assert_eq!(sidecar.process.finish(Duration::from_secs(5)).code(), 0);
}

#[test]
fn a_drain_under_load_ends_at_its_maximum() {
    let upstream = upstream(60, 7);
    let sidecar = Sidecar::start_with(|command, _| {
        command.args(["--upstream", &upstream.address.to_string()]).env("HOLDOVER_DRAIN_IDLE", "1s").env("HOLDOVER_DRAIN_MAXIMUM", "1s");
    });
    let server = sidecar.address;
    sidecar.process.signal(Signal::TERM);
    let (stop, stopped) = mpsc::channel::<()>();
    let load = std::thread::spawn(move || {
        let (socket, packet) = (client(server), query("busy.example.com.", RecordType::A).to_vec().unwrap());
        while stopped.recv_timeout(Duration::from_millis(20)) == Err(mpsc::RecvTimeoutError::Timeout) {
            let _ = socket.send(&packet);
        }
    });
    let ended = sidecar.process.finish(Duration::from_secs(6));
    drop(stop);
    load.join().unwrap();
    assert_eq!(ended.code(), 0, "{ended:?}");
}

/// Asks a slow upstream, ends the process meanwhile, and expects the answer. `idle` is `drain.idle`.
#[track_caller]
fn expect_an_answer_in_the_drain(idle: &str, via: Via) {
    let upstream = Upstream::start(|query, _| Reaction::Late(Duration::from_millis(1300), address(query, 60, 7)));
    let sidecar = Sidecar::start_with(|command, _| {
        command.args(["--upstream", &upstream.address.to_string()]).env("HOLDOVER_DRAIN_IDLE", idle);
    });
    let packet = query("slow.example.com.", RecordType::A).to_vec().unwrap();
    let answer: Box<dyn FnOnce() -> Message> = match via {
        Via::Udp => {
            let socket = client(sidecar.address);
            socket.send(&packet).unwrap();
            Box::new(move || receive(&socket))
        }
        Via::Tcp => {
            let mut stream = TcpStream::connect_timeout(&sidecar.address, Duration::from_secs(5)).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            write_frame(&mut stream, &packet);
            Box::new(move || Message::from_vec(&read_frame(&mut stream).expect("an answer")).unwrap())
        }
    };
    let asked = Instant::now();
    while upstream.seen() == 0 {
        assert!(asked.elapsed() < Duration::from_secs(5), "the query goes upstream");
        std::thread::sleep(Duration::from_millis(5));
    }
    sidecar.process.signal(Signal::TERM);
    assert_eq!(addresses(&answer()), ["192.0.2.7"]);
    let ended = sidecar.process.finish(Duration::from_secs(8));
    assert_eq!(ended.code(), 0);
    assert!(ended.stderr.contains("stopped answered=1"), "{}", ended.stderr);
}

#[test]
fn a_query_that_waits_for_a_slow_upstream_is_answered_in_the_drain() {
    expect_an_answer_in_the_drain("2s", Via::Udp);
}

#[test]
fn a_query_over_tcp_that_waits_for_a_slow_upstream_is_answered_in_the_drain() {
    expect_an_answer_in_the_drain("2s", Via::Tcp);
}

#[test]
fn a_query_that_waits_longer_than_the_drain_is_idle_is_answered_too() {
    std::thread::scope(|scope| {
        for via in [Via::Udp, Via::Tcp] {
            scope.spawn(move || expect_an_answer_in_the_drain("0s", via));
        }
    });
}

// --- the log -------------------------------------------------------------------------------------------------------------------

/// Lets an upstream fall silent and come back; gives the whole log.
fn live_through_an_outage(format: &str) -> Vec<String> {
    let upstream = upstream(1, 1);
    let mut sidecar = Sidecar::start(&upstream, &["--log-format", format]);
    let names: Vec<Message> = (0..4).map(|index| query(&format!("known{index}.example.com."), RecordType::A)).collect();
    for name in &names {
        assert_eq!(addresses(&sidecar.ask(name)), ["192.0.2.1"]);
    }
    upstream.set(|_, _| Reaction::Silence);
    std::thread::sleep(Duration::from_millis(1100));
    let until = |sidecar: &Sidecar, text: &str, check: &dyn Fn(&Message)| {
        let began = Instant::now();
        while !sidecar.process.log().iter().any(|line| line.contains(text)) {
            assert!(began.elapsed() < PATIENCE, "no {text:?}: {:#?}", sidecar.process.log());
            for name in &names {
                check(&sidecar.ask(name));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    until(&sidecar, "outage begins", &|answer| {
        assert_eq!((addresses(answer), answer.metadata.response_code), (vec!["192.0.2.1".to_owned()], ResponseCode::NoError));
    });
    for name in &names {
        let answer = sidecar.ask(name);
        assert_eq!(addresses(&answer), ["192.0.2.1"]);
        assert_eq!(extended_errors(&answer), [3], "EDE 3, stale answer (RFC 8914)");
    }
    assert_eq!(sidecar.ask(&query("unknown.example.com.", RecordType::A)).metadata.response_code, ResponseCode::ServFail);
    upstream.set(|query, _| Reaction::Send(address(query, 60, 2)));
    until(&sidecar, "outage ends", &|answer| assert_eq!(answer.metadata.response_code, ResponseCode::NoError));
    // Names are fresh again one probe or refresh after the upstream is.
    let healed = Instant::now();
    while addresses(&sidecar.ask(&names[0])) != ["192.0.2.2"] {
        assert!(healed.elapsed() < Duration::from_secs(5), "fresh again");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(extended_errors(&sidecar.ask(&names[0])), Vec::<u16>::new());
    sidecar.process.signal(Signal::TERM);
    sidecar.process.wait_for("draining").unwrap();
    sidecar.process.signal(Signal::TERM);
    let ended = sidecar.process.finish(Duration::from_secs(5));
    assert_eq!(ended.code(), 0);
    ended.stderr.lines().map(str::to_owned).collect()
}

/// The number behind `name=` in a line of text.
fn number(line: &str, name: &str) -> f64 {
    let word =
        line.split_whitespace().find_map(|word| word.strip_prefix(&format!("{name}="))).unwrap_or_else(|| panic!("no {name}: {line}"));
    word.parse().unwrap()
}

#[test]
fn an_outage_is_one_line_when_it_begins_and_one_when_it_ends() {
    let log = live_through_an_outage("text");
    let with = |text: &str| log.iter().filter(|line| line.contains(text)).collect::<Vec<_>>();
    let (began, ended) = (with("outage begins"), with("outage ends"));
    assert_eq!((began.len(), ended.len()), (1, 1), "{log:#?}");
    assert!(began[0].contains(" WARN ") && ended[0].contains(" INFO "), "{log:#?}");
    assert!((0.5..30.0).contains(&number(ended[0], "lasted_seconds")), "{}", ended[0]);
    assert!(number(ended[0], "answers_saved") >= 4.0, "{}", ended[0]);
    assert!((number(ended[0], "names_served_stale") - 4.0).abs() < 0.1, "{}", ended[0]);
    assert!(number(ended[0], "failed") >= 1.0, "{}", ended[0]);
    assert!(log.iter().all(|line| !line.contains('\u{1b}')), "no colours where nobody sees them: {log:#?}");
    assert!(log.len() < 15, "{log:#?}");
}

#[test]
fn an_outage_in_json_is_one_object_a_line() {
    let log = live_through_an_outage("json");
    let objects: Vec<Value> = log.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect();
    assert!(objects.iter().all(|object| object["timestamp"].is_string() && object["level"].is_string() && object["message"].is_string()));
    let with = |text: &str| objects.iter().filter(|object| object["message"] == text).collect::<Vec<_>>();
    let (began, ended) = (with("outage begins"), with("outage ends"));
    assert_eq!((began.len(), ended.len()), (1, 1), "{log:#?}");
    assert_eq!((began[0]["level"].as_str(), began[0]["zones"].as_str()), (Some("WARN"), Some(".")), "{log:#?}");
    assert!(ended[0]["lasted_seconds"].as_f64().is_some_and(|seconds| (0.5..30.0).contains(&seconds)), "{}", ended[0]);
    assert!(ended[0]["answers_saved"].as_u64().is_some_and(|count| count >= 4), "{}", ended[0]);
    assert_eq!(ended[0]["names_served_stale"], 4);
    assert!(ended[0]["failed"].as_u64().is_some_and(|count| count >= 1), "{}", ended[0]);
}

#[test]
fn nothing_is_logged_per_query() {
    let kind = Arc::new(AtomicU8::new(0));
    let turn = Arc::clone(&kind);
    // Answers, denials and SERVFAIL in turn; failures few enough that no outage begins.
    let upstream = Upstream::start(move |query, _| match turn.fetch_add(1, Ordering::Relaxed) % 8 {
        0 => Reaction::Send(harness::response(query, ResponseCode::ServFail).to_vec().unwrap()),
        1 => Reaction::Send(harness::negative(query, ResponseCode::NXDomain, 60)),
        _ => Reaction::Send(address(query, 60, 7)),
    });
    let sidecar = Sidecar::start(&upstream, &[]);
    let before = sidecar.process.log().len();
    for index in 0..500 {
        sidecar.ask(&query(&format!("logged{}.example.com.", index % 250), RecordType::A));
    }
    for index in 0..20 {
        ask_tcp(sidecar.address, &query(&format!("logged{index}.example.com."), RecordType::A));
    }
    let log = sidecar.process.log();
    assert!(log.iter().all(|line| !line.contains("logged")), "{log:#?}");
    assert!(log.len() <= before + 3, "{log:#?}");
}

// --- garbage -------------------------------------------------------------------------------------------------------------------

/// SplitMix64: reproducible bytes.
struct Dice(u64);

impl Dice {
    fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.throw() % bound as u64) as usize
    }

    /// Noise, or a query with a few bytes changed and perhaps an end cut off.
    fn packet(&mut self, sound: &[u8]) -> Vec<u8> {
        if self.below(2) == 0 {
            let length = self.below(1400);
            return (0..length).map(|_| self.throw() as u8).collect();
        }
        let mut packet = sound.to_vec();
        for _ in 0..=self.below(4) {
            let place = self.below(packet.len());
            packet[place] = self.throw() as u8;
        }
        packet.truncate(packet.len() - self.below(3) * self.below(8));
        packet
    }
}

#[test]
fn garbage_is_survived_and_told_once() {
    let upstream = upstream(60, 7);
    let mut sidecar = Sidecar::start(&upstream, &[]);
    let mut dice = Dice(0x686f_6c64);
    let sound = query("garbage.example.com.", RecordType::A).to_vec().unwrap();
    let socket = client(sidecar.address);
    for index in 0..2000 {
        socket.send(&dice.packet(&sound)).unwrap();
        if index % 100 == 0 {
            // Lets the kernel's queue empty, so that most of it arrives.
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    for round in 0..60 {
        let mut stream = TcpStream::connect_timeout(&sidecar.address, Duration::from_secs(5)).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
        for _ in 0..20 {
            let packet = dice.packet(&sound);
            // In a frame, or with no length, or with one that promises more than comes.
            match round % 3 {
                0 => write_frame(&mut stream, &packet),
                1 => drop(stream.write_all(&packet)),
                _ => drop(stream.write_all(&[&[0xff, 0xff][..], &packet].concat())),
            }
        }
        if round % 2 == 0 {
            let _ = stream.set_read_timeout(Some(Duration::from_millis(1)));
            let _ = stream.read(&mut [0; 512]);
        }
    }
    assert_eq!(addresses(&sidecar.ask(&query("alive-udp.example.com.", RecordType::A))), ["192.0.2.7"]);
    assert_eq!(addresses(&ask_tcp(sidecar.address, &query("alive-tcp.example.com.", RecordType::A))), ["192.0.2.7"]);
    for kind in ["packets from clients were dropped", "queries were refused"] {
        let line = sidecar.process.wait_for(kind).unwrap_or_else(|| panic!("no {kind:?}: {:#?}", sidecar.process.log()));
        assert!(number(&line, "count") > 100.0, "{line}");
    }
    let log = sidecar.process.log();
    assert!(log.len() <= 8, "{log:#?}");
    assert!(log.iter().all(|line| !line.contains("panic")), "{log:#?}");
}

#[test]
fn memory_stays_flat_however_much_garbage_comes() {
    let upstream = upstream(60, 7);
    let sidecar = Sidecar::start(&upstream, &[]);
    let mut dice = Dice(5);
    let sound = query("garbage.example.com.", RecordType::A).to_vec().unwrap();
    let socket = client(sidecar.address);
    let known = || addresses(&sidecar.ask(&query("alive.example.com.", RecordType::A)));
    assert_eq!(known(), ["192.0.2.7"]);
    let flood = |dice: &mut Dice, packets: usize, connections: usize| {
        for index in 0..packets {
            let _ = socket.send(&dice.packet(&sound));
            if index % 200 == 0 {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        // More than may be open; each promises a frame of 64 KiB and sends the most part of it.
        let open: Vec<TcpStream> = (0..connections).map(|_| TcpStream::connect(sidecar.address).unwrap()).collect();
        for mut stream in open {
            let _ = stream.write_all(&[&[0xff, 0xff][..], &vec![0; 60_000]].concat());
        }
    };
    flood(&mut dice, 20_000, 200);
    let before = sidecar.process.resident_kib();
    flood(&mut dice, 60_000, 600);
    let after = sidecar.process.resident_kib();
    eprintln!("{before} KiB, then {after} KiB");
    // 64 connections may hold a frame each: 4 MiB. Mutated names that resolve fill the cache, 8 MiB at the most.
    assert!(after < before + 12 * 1024, "{before} KiB, then {after} KiB");
    // One that is known: what the flood asks for stands before the packet budget, and so would a new one.
    assert_eq!(known(), ["192.0.2.7"]);
}

#[test]
fn who_is_turned_away_is_told_with_the_address() {
    let upstream = upstream(60, 7);
    let mut sidecar = Sidecar::start_with(|command, _| {
        command.args(["--upstream", &upstream.address.to_string()]).env("HOLDOVER_LISTEN_CLIENTS", "192.0.2.0/24");
    });
    let socket = client(sidecar.address);
    for _ in 0..10 {
        socket.send(&query("www.example.com.", RecordType::A).to_vec().unwrap()).unwrap();
    }
    let line = sidecar.process.wait_for("turned away").expect("a line");
    assert!(line.contains("listen.clients") && line.contains("127.0.0.1"), "{line}");
}

#[test]
fn garbage_from_the_upstream_is_survived_and_told_once() {
    let noise = std::sync::Mutex::new(Dice(7));
    let upstream = Upstream::start(move |query, via| match via {
        Via::Udp if qname(query).to_ascii().starts_with("noise") => {
            let sound = address(query, 60, 66);
            let mut dice = noise.lock().unwrap();
            let mut all: Vec<Vec<u8>> = (0..20).map(|_| dice.packet(&sound)).collect();
            // The message ID is right, so that some get as far as may be.
            for packet in all.iter_mut().filter(|packet| packet.len() > 2) {
                packet[..2].copy_from_slice(&query.metadata.id.to_be_bytes());
            }
            Reaction::SendAll(all)
        }
        Via::Udp | Via::Tcp => Reaction::Send(address(query, 60, 7)),
    });
    let mut sidecar = Sidecar::start(&upstream, &[]);
    let socket = client(sidecar.address);
    for index in 0..50 {
        socket.send(&query(&format!("noise{index}.example.com."), RecordType::A).to_vec().unwrap()).unwrap();
    }
    let good = (0..50).map(|_| receive(&socket)).filter(|answer| answer.metadata.response_code == ResponseCode::NoError).count();
    eprintln!("{good} of 50 names were made out through the noise");
    assert_eq!(addresses(&sidecar.ask(&query("clear.example.com.", RecordType::A))), ["192.0.2.7"]);
    let line = sidecar.process.wait_for("belong to no query").expect("a line");
    assert!(number(&line, "count") > 0.0, "{line}");
    let log = sidecar.process.log();
    assert!(log.len() <= 10, "{log:#?}");
    assert!(log.iter().all(|line| !line.contains("panic")), "{log:#?}");
}
