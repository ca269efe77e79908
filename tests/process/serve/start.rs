//! Starts that fail or have to wait: a `resolv.conf` without an upstream, and ports that cannot be
//! bound.

use super::*;

#[test]
fn a_resolv_conf_without_an_upstream_is_told_and_read_again() {
    let starts = |path: &str| {
        Sidecar::start_with(|command, _| {
            command.args(["--resolv-conf", path]);
        })
    };
    for text in ["", "# nobody\nsearch example.com\noptions ndots:5\n"] {
        let (_folder, path) = file("resolv.conf", text);
        let mut sidecar = starts(&path);
        let line = sidecar.process.wait_for("there is no upstream yet").expect("a line");
        assert!(line.contains(&format!("{path}: names no name server; name the upstreams with --upstream")), "{line}");
    }
    for text in ["nameserver dns.example.com", "nameserver 192.0.2.1:53", "NAMESERVER 192.0.2.1"] {
        let (_folder, path) = file("resolv.conf", &format!("search example.com\n{text}\n"));
        let mut sidecar = starts(&path);
        let line = sidecar.process.wait_for("there is no upstream yet").expect("a line");
        assert!(
            line.contains(&format!("{path}:2: ")) && line.contains(text) && line.contains("is not understood, and "),
            "{line}"
        );
    }
}

#[test]
fn without_an_upstream_it_serves_what_it_knows_and_is_ready_when_there_is_one() {
    let (folder, path) = file("resolv.conf", "");
    let seed = folder.path().join("seed.json");
    let known = r#"{"format": "holdover-seed", "version": 1, "answers": [
        {"name": "db.example.com", "type": "A", "records": [{"data": "192.0.2.10"}]}]}"#;
    std::fs::write(&seed, known).unwrap();
    let mut sidecar = Sidecar::start_with(|command, _| {
        command.args(["--resolv-conf", &path, "--seed", seed.to_str().unwrap()]);
    });
    assert!(sidecar.process.wait_for("there is no upstream yet").is_some());
    assert_eq!(addresses(&sidecar.ask(&query("db.example.com.", RecordType::A))), ["192.0.2.10"]);
    let address = sidecar.address.to_string();
    let check = || run_with(&["check", "--server", &address]).code();
    assert_eq!(check(), 1, "not ready");
    std::fs::write(&path, "nameserver 127.0.0.77\n").unwrap();
    let since = Instant::now();
    while check() != 0 {
        assert!(since.elapsed() < Duration::from_secs(10), "never ready");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_resolv_conf_that_names_only_holdover_is_a_configuration_error() {
    let (_folder, path) = file("resolv.conf", "nameserver 127.0.0.1\n");
    let ended = run_with(&["serve", "--listen", "127.0.0.1", "--resolv-conf", &path]);
    assert_eq!(ended.code(), 78, "{ended:?}");
    let told =
        format!("holdover: {path}: names only holdover itself (127.0.0.1:53), so there is nobody to forward to; ");
    assert!(ended.stderr.starts_with(&told), "{}", ended.stderr);
    assert!(ended.stderr.ends_with("--upstream"), "{}", ended.stderr);
}

#[test]
fn a_resolv_conf_that_is_not_there_is_told_and_waited_for() {
    let (_folder, path) = file("resolv.conf", "");
    let missing = format!("{path}.missing");
    let mut sidecar = Sidecar::start_with(|command, _| {
        command.args(["--resolv-conf", &missing]);
    });
    let line = sidecar.process.wait_for("there is no upstream yet").expect("a line");
    assert!(line.contains(&missing) && line.contains("--upstream"), "{line}");
    std::fs::write(&missing, "nameserver 127.0.0.77\n").unwrap();
    let line = sidecar.process.wait_for("127.0.0.77:53").expect("it is taken up");
    assert!(line.contains("upstreams"), "{line}");
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
    assert!(ended.stderr.contains(&own) && ended.stderr.contains("would come back to it"), "{}", ended.stderr);
}

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
    // This address is used by no other test, so that the same port is free for TCP, which is bound
    // first.
    let udp = UdpSocket::bind("127.0.53.1:0").unwrap();
    let taken = udp.local_addr().unwrap();
    expect_in_use(&run_with(&["serve", "--listen", &taken.to_string(), "--upstream", "192.0.2.1"]), taken, "UDP");
}

#[test]
fn a_second_holdover_on_the_same_port_does_not_start_and_the_first_goes_on() {
    let upstream = upstream(60, 7);
    let first = Sidecar::start(&upstream, &[]);
    let ended =
        run_with(&["serve", "--listen", &first.address.to_string(), "--upstream", &upstream.address.to_string()]);
    expect_in_use(&ended, first.address, "TCP");
    for index in 0..20 {
        assert_eq!(addresses(&first.ask(&query(&format!("n{index}.example.com."), RecordType::A))), ["192.0.2.7"]);
    }
}

#[test]
fn an_address_of_another_host_is_told() {
    let ended = run_with(&["serve", "--listen", "198.51.100.1:5353", "--upstream", "192.0.2.2"]);
    assert_ne!(ended.code(), 0);
    assert!(
        ended.stderr.contains("cannot listen on 198.51.100.1:5353 (TCP): this host has no such address"),
        "{}",
        ended.stderr
    );
}

/// A command that runs the binary without privileges where port 53 needs one. `Err` says why that
/// is impossible on this host.
fn without_privilege(folder: &tempfile::TempDir) -> Result<Command, &'static str> {
    if !rustix::process::geteuid().is_root() {
        return Err("not root, so neither setpriv nor a network namespace can be used");
    }
    // Other users may not be able to read the build folder, so they get a copy.
    let copy = folder.path().join("holdover");
    std::fs::copy(env!("CARGO_BIN_EXE_holdover"), &copy).unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let setpriv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let reserved = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start")
        .map_or(1024, |text| text.trim().parse().unwrap());
    // Containers often open all ports; a new network namespace reserves them again.
    let words: Vec<&str> =
        if reserved > 53 { Vec::new() } else { vec!["unshare", "--net"] }.into_iter().chain(setpriv).collect();
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
