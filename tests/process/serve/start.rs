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

#[test]
fn a_missing_address_does_not_stop_the_others() {
    let upstream = upstream(60, 7);
    // TEST-NET-1, which no host has (RFC 5737).
    let missing = "192.0.2.99:5353";
    let mut sidecar = Sidecar::start(&upstream, &["--listen", missing]);
    assert_eq!(addresses(&sidecar.ask(&query("www.example.com.", RecordType::A))), ["192.0.2.7"]);
    assert_eq!(addresses(&ask_tcp(sidecar.address, &query("tcp.example.com.", RecordType::A))), ["192.0.2.7"]);
    let line = sidecar.process.wait_for("not listening here").expect("it is told");
    assert!(line.contains(missing) && line.contains(" WARN "), "{line}");
    std::thread::sleep(Duration::from_millis(2500));
    let said = sidecar.process.log().iter().filter(|line| line.contains(missing)).count();
    assert_eq!(said, 1, "once, however often it is tried: {:#?}", sidecar.process.log());
    sidecar.process.signal(Signal::TERM);
    sidecar.process.signal(Signal::TERM);
    assert_eq!(sidecar.process.finish(PATIENCE).code(), 0);
}

#[test]
fn a_host_that_has_none_of_the_addresses_ends_the_start() {
    let ended = run_with(&["serve", "--listen", "192.0.2.99,192.0.2.98", "--upstream", "127.0.0.77"]);
    assert_eq!(ended.code(), 69);
    assert!(ended.stderr.contains("this host has no such address"), "{}", ended.stderr);
}

#[test]
fn an_address_that_comes_later_is_served() {
    // A network namespace of its own has no address but the one that is added while it runs.
    let script = format!(
        "ip link set lo up && ip link add late0 type dummy && ip link set late0 up || exit 99
         {0} serve --listen 127.0.0.1:5353,198.51.100.7:5353 --upstream 127.0.0.77 & sidecar=$!
         sleep 1; ip address add 198.51.100.7/32 dev late0
         for try in 1 2 3 4 5 6 7 8 9 10 11 12; do
             {0} check --server 198.51.100.7:5353 --timeout 500ms && ok=1 && break; sleep 0.5
         done
         kill -TERM $sidecar; kill -TERM $sidecar; wait $sidecar; test \"$ok\" = 1",
        env!("CARGO_BIN_EXE_holdover")
    );
    let ended = run(clean("unshare").args(["--net", "--", "sh", "-c", &script]));
    if ended.stderr.contains("unshare") || ended.code() == 99 {
        eprintln!("skipped: no network namespaces here: {ended:?}");
        return;
    }
    assert_eq!(ended.code(), 0, "{ended:?}");
    assert!(ended.stderr.contains("listening on UDP and TCP address=198.51.100.7:5353"), "{}", ended.stderr);
}
