//! The admin interface of a real process: status, metrics, export, import, flush; and what it does not let happen.

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
#[path = "admin/http.rs"]
mod http;

use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use binary::*;
use harness::{Reaction, Upstream, address, addresses, extended_errors, query};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use http::{get, read_openmetrics, request, send, send_to_path};
use rustix::process::Signal;
use serde_json::Value;
use yaml_rust2::YamlLoader;

/// A running `holdover serve`, where it listens, and a folder for its socket.
struct Sidecar {
    process: Running,
    address: SocketAddr,
    admin: String,
    folder: tempfile::TempDir,
}

impl Sidecar {
    /// Starts one before this upstream, its admin interface on a unix socket.
    #[track_caller]
    fn start(upstream: SocketAddr, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let admin = folder.path().join("admin.sock").to_str().unwrap().to_owned();
        let mut own = Self::start_with(upstream, folder, &admin, flags);
        own.process.wait_for("admin interface address=").expect("it runs");
        own
    }

    /// Starts one whose admin interface is there, or not.
    #[track_caller]
    fn start_with(upstream: SocketAddr, folder: tempfile::TempDir, admin: &str, flags: &[&str]) -> Self {
        for _ in 0..5 {
            let address = loopback();
            let mut command = holdover();
            command.args(["serve", "--listen", &address.to_string(), "--upstream", &upstream.to_string(), "--admin", admin]).args(flags);
            let mut process = Running::spawn(&mut command);
            if process.wait_for("ready").is_some() {
                return Self { process, address, admin: admin.to_owned(), folder };
            }
            let log = process.log();
            assert!(log.iter().any(|line| line.contains("in use")), "did not start: {log:#?}");
        }
        panic!("no port stayed free");
    }

    /// Asks it for a name.
    #[track_caller]
    fn ask(&self, name: &str, rtype: RecordType) -> Message {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket.send_to(&query(name, rtype).to_vec().unwrap(), self.address).unwrap();
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).expect("an answer");
        Message::from_vec(&buffer[..length]).unwrap()
    }

    /// Runs a subcommand that asks it.
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Finished {
        run(holdover().args(arguments).args(["--admin", &self.admin]))
    }

    /// Its status.
    #[track_caller]
    fn status(&self) -> Value {
        let done = self.run(&["status", "--json"]);
        assert_eq!(done.code(), 0, "{done:?}");
        serde_json::from_str(&done.stdout).unwrap()
    }

    fn socket(&self) -> &Path {
        Path::new(&self.admin)
    }
}

/// An upstream that answers everything with 192.0.2.`last`.
fn upstream(ttl: u32, last: u8) -> Upstream {
    Upstream::start(move |query, _| Reaction::Send(address(query, ttl, last)))
}

/// An address where nobody answers.
fn dead() -> SocketAddr {
    loopback()
}

/// A file of this text.
fn file(folder: &tempfile::TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Asks until `done`, with a bound.
#[track_caller]
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A seed with one name and one mistake.
const SEED: &str = r#"{"format":"holdover-seed","version":1,"answers":[
{"name":"www.example.com","type":"A","records":[{"data":"192.0.2.1"}]},
{"name":"a..b.example.com","type":"A"},
{"name":"db.example.com","type":"A","records":[{"data":"192.0.2.2"},{"data":"192.0.2.3"}]}
]}"#;

// --- the memory ----------------------------------------------------------------------------------------------------------------

#[test]
fn a_sidecar_born_in_the_outage_answers_what_its_sibling_exported() {
    let upstream = upstream(1, 7);
    let elder = Sidecar::start(upstream.address, &[]);
    for name in ["www.example.com.", "db.example.com."] {
        assert_eq!(addresses(&elder.ask(name, RecordType::A)), ["192.0.2.7"]);
    }
    let path = elder.folder.path().join("seed.json").to_str().unwrap().to_owned();
    let done = elder.run(&["cache", "export", "--output", &path]);
    assert_eq!(done.code(), 0, "{done:?}");
    std::thread::sleep(Duration::from_millis(1100));

    let younger = Sidecar::start(dead(), &[]);
    assert_eq!(younger.ask("www.example.com.", RecordType::A).response_code, ResponseCode::ServFail);
    let done = younger.run(&["cache", "import", &path]);
    assert_eq!((done.code(), done.stdout.trim()), (0, "2 taken, 0 not newer than what is known, 0 past their time"), "{done:?}");
    for name in ["www.example.com.", "db.example.com."] {
        let answer = younger.ask(name, RecordType::A);
        assert_eq!((addresses(&answer), extended_errors(&answer)), (vec!["192.0.2.7".to_owned()], vec![3]), "{name}");
    }
    let again = younger.run(&["cache", "import", &path]);
    assert_eq!(again.stdout.trim(), "0 taken, 2 not newer than what is known, 0 past their time", "{again:?}");
    assert_eq!(younger.status()["learned"]["import"], 2);
}

#[test]
fn with_nothing_but_a_seed_its_names_are_answered_stale_and_its_mistakes_are_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let (seed, missing, foreign) =
        (file(&folder, "seed.json", SEED), folder.path().join("none.json"), file(&folder, "foreign.json", "<html>"));
    let mut sidecar = Sidecar::start(dead(), &["--seed", &format!("{seed},{foreign}"), "--seed", missing.to_str().unwrap()]);
    let answer = sidecar.ask("db.example.com.", RecordType::A);
    assert_eq!(addresses(&answer), ["192.0.2.2", "192.0.2.3"]);
    assert_eq!(extended_errors(&answer), [3]);
    assert_eq!(sidecar.ask("other.example.com.", RecordType::A).response_code, ResponseCode::ServFail);
    let told = sidecar.process.wait_for("seed read, but for the answers that are wrong").unwrap();
    assert!(told.contains("taken=2") && told.contains("line 3: name") && told.contains("a..b.example.com"), "{told}");
    let log = sidecar.process.log();
    assert_eq!(log.iter().filter(|line| line.contains("a..b")).count(), 1, "{log:#?}");
    let unused: Vec<&String> = log.iter().filter(|line| line.contains("seed not used")).collect();
    assert!(unused.len() == 2 && unused[0].contains("Allowed: ") && unused[1].contains("No such file"), "{log:#?}");
}

#[test]
fn a_seed_never_replaces_what_is_newer() {
    let folder = tempfile::tempdir().unwrap();
    let one = |last: u8, stored: &str| {
        format!(
            "{{\"format\":\"holdover-seed\",\"version\":1,\"answers\":[{{\"name\":\"www.example.com\",\"type\":\"A\"{stored},\"records\":[{{\"data\":\"192.0.2.{last}\"}}]}}]}}"
        )
    };
    let upstream = upstream(60, 7);
    let sidecar = Sidecar::start(upstream.address, &[]);
    assert_eq!(addresses(&sidecar.ask("www.example.com.", RecordType::A)), ["192.0.2.7"]);
    for (name, text) in [("unknown.json", one(8, "")), ("old.json", one(9, ",\"stored\":\"2026-01-01T00:00:00Z\""))] {
        let path = file(&folder, name, &text);
        let done = sidecar.run(&["cache", "import", &path]);
        assert!(done.stdout.starts_with("0 taken"), "{done:?}");
        assert_eq!(addresses(&sidecar.ask("www.example.com.", RecordType::A)), ["192.0.2.7"], "{name}");
    }
    // Of two that do not say how old they are, the first is kept.
    let newborn = Sidecar::start(dead(), &[]);
    for (name, text, taken) in [("first.json", one(8, ""), "1 taken"), ("second.json", one(9, ""), "0 taken")] {
        let path = file(&folder, name, &text);
        let done = newborn.run(&["cache", "import", &path]);
        assert!(done.stdout.starts_with(taken), "{done:?}");
    }
    assert_eq!(addresses(&newborn.ask("www.example.com.", RecordType::A)), ["192.0.2.8"]);
}

#[test]
fn an_import_with_mistakes_takes_the_rest_and_fails_with_their_lines() {
    let sidecar = Sidecar::start(dead(), &[]);
    let path = file(&sidecar.folder, "seed.json", SEED);
    let done = sidecar.run(&["cache", "import", &path]);
    assert_eq!(done.code(), 1);
    assert!(done.stdout.starts_with("2 taken") && done.stderr.contains("line 3: name \"a..b.example.com\" is no domain name"), "{done:?}");
    let foreign = file(&sidecar.folder, "foreign.json", "{}");
    let done = sidecar.run(&["cache", "import", &foreign]);
    assert_eq!(done.code(), 1);
    assert!(done.stderr.contains("Allowed: {\"format\":\"holdover-seed\""), "{done:?}");
}

#[test]
fn what_is_flushed_is_gone_at_once_and_asked_again() {
    let upstream = upstream(3600, 7);
    let sidecar = Sidecar::start(upstream.address, &[]);
    for (name, rtype) in [("www.example.com.", RecordType::A), ("www.example.com.", RecordType::AAAA), ("a.corp.test.", RecordType::A)] {
        sidecar.ask(name, rtype);
        sidecar.ask(name, rtype);
    }
    upstream.set(|query, _| Reaction::Send(address(query, 3600, 8)));
    assert_eq!(sidecar.run(&["cache", "flush", "WWW.example.com", "--type", "A"]).stdout.trim(), "1 forgotten");
    assert_eq!(addresses(&sidecar.ask("www.example.com.", RecordType::A)), ["192.0.2.8"], "asked again");
    assert_eq!(addresses(&sidecar.ask("www.example.com.", RecordType::AAAA)), ["2001:db8::7"], "not meant");
    assert_eq!(sidecar.run(&["cache", "flush", "--below", "test"]).stdout.trim(), "1 forgotten");
    assert_eq!(addresses(&sidecar.ask("a.corp.test.", RecordType::A)), ["192.0.2.8"]);
    let wrong = sidecar.run(&["cache", "flush", "a..b"]);
    assert_eq!(wrong.code(), 1);
    assert!(wrong.stderr.contains("\"a..b\" is no domain name"), "{wrong:?}");
    assert_eq!(sidecar.run(&["cache", "flush"]).code(), 64);
    assert_eq!(sidecar.run(&["cache", "flush", "--below", "."]).stdout.trim(), "3 forgotten");
}

#[test]
fn the_seed_of_the_kubernetes_manifest_is_read_as_it_stands() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config/kubernetes/sidecar/configmap.yaml")).unwrap();
    let map = &YamlLoader::load_from_str(&text).unwrap()[0]["data"];
    assert!(map["holdover.toml"].as_str().unwrap().contains("seed = [\"/etc/holdover/seed.json\"]"));
    let folder = tempfile::tempdir().unwrap();
    let seed = file(&folder, "seed.json", map["seed.json"].as_str().unwrap());
    let mut sidecar = Sidecar::start(dead(), &["--seed", &seed]);
    assert!(sidecar.process.wait_for("seed read").unwrap().contains("taken=2 older=0 expired=0"));
    let name = "kubernetes.default.svc.cluster.local.";
    assert_eq!(addresses(&sidecar.ask(name, RecordType::A)), ["10.96.0.1"]);
    let nodata = sidecar.ask(name, RecordType::AAAA);
    assert_eq!((nodata.response_code, addresses(&nodata)), (ResponseCode::NoError, Vec::new()));
}

// --- what it tells -------------------------------------------------------------------------------------------------------------

#[test]
fn status_and_metrics_tell_of_an_outage_and_what_it_costs() {
    let upstream = upstream(1, 7);
    let sidecar = Sidecar::start(upstream.address, &[]);
    sidecar.ask("www.example.com.", RecordType::A);
    upstream.set(|_, _| Reaction::Silence);
    std::thread::sleep(Duration::from_millis(1100));
    let status = until("an outage with something saved", || {
        assert_eq!(addresses(&sidecar.ask("www.example.com.", RecordType::A)), ["192.0.2.7"]);
        // A name that nobody knows, so that the upstream is asked and found to be down.
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(&query("nobody.example.com.", RecordType::A).to_vec().unwrap(), sidecar.address).unwrap();
        let status = sidecar.status();
        let present = &status["outages"][0]["present"];
        (present["names_served_stale"].as_u64() > Some(0) && status["upstreams"][0]["state"] == "down").then_some(status)
    });
    let present = &status["outages"][0]["present"];
    assert_eq!(present["first_to_lose"], "www.example.com. A", "{status:#}");
    let cliff = present["time_to_cliff_seconds"].as_f64().unwrap();
    assert!((86_000.0..86_401.0).contains(&cliff), "{cliff}");
    assert!(status["answers"]["stale"].as_u64() > Some(0) && status["upstreams"][0]["attempts"]["timed_out"].is_u64(), "{status:#}");

    let people = sidecar.run(&["status"]).stdout;
    assert!(people.contains("OUTAGE") && people.contains("the first name in use is lost in 23 h 59 min: www.example.com. A"), "{people}");

    let answer = send_to_path(sidecar.socket(), &get("/metrics"));
    assert!(answer.status == 200 && answer.head.contains("application/openmetrics-text; version=1.0.0"), "{answer:?}");
    let samples = read_openmetrics(&answer.body);
    let label = format!("upstream=\"{}\"", upstream.address);
    assert_eq!(samples["holdover_outage{zone=\".\"}"], 1.0);
    assert_eq!(samples[&format!("holdover_upstream_state{{{label},state=\"down\"}}")], 1.0);
    assert_eq!(samples["holdover_stale_age_seconds_count"], samples["holdover_answers_total{outcome=\"stale\"}"]);
    assert!(samples["holdover_time_to_cliff_seconds{zone=\".\"}"] > 86_000.0);
    assert!(samples["holdover_cache_bytes{kind=\"positive\"}"] > 100.0);
}

#[test]
fn health_and_readiness_do_not_ask_upstream() {
    let sidecar = Sidecar::start(dead(), &[]);
    for (path, body) in [("/health", "ok\n"), ("/ready", "ready\n")] {
        let answer = send_to_path(sidecar.socket(), &get(path));
        assert_eq!((answer.status, answer.body.as_str()), (200, body));
    }
    assert!(sidecar.status()["upstreams"][0]["attempts"]["failed"].as_u64() <= Some(1), "only the look for loops");
}

#[test]
fn without_an_admin_interface_it_says_what_to_configure() {
    let done = run(holdover().arg("status"));
    assert_eq!(done.code(), 1);
    assert!(done.stderr.contains("no admin interface is configured") && done.stderr.contains("HOLDOVER_ADMIN_ADDRESS"), "{done:?}");
    let nobody = dead().to_string();
    let done = run(holdover().arg("status").env("HOLDOVER_ADMIN_ADDRESS", &nobody));
    assert_eq!(done.code(), 1);
    assert!(done.stderr.contains(&format!("no admin interface at {nobody}")) && done.stderr.contains("Is holdover running"), "{done:?}");
    let done = run(holdover().args(["cache", "export", "--admin", "admin.sock"]));
    assert_eq!(done.code(), 64);
    assert!(done.stderr.contains("allowed: an absolute path"), "{done:?}");
}

// --- what it does not let happen -----------------------------------------------------------------------------------------------

/// A sidecar whose admin interface is on TCP.
fn on_tcp(flags: &[&str]) -> (Sidecar, SocketAddr) {
    let admin = loopback();
    let mut sidecar = Sidecar::start_with(dead(), tempfile::tempdir().unwrap(), &admin.to_string(), flags);
    sidecar.process.wait_for("admin interface address=").expect("it runs");
    (sidecar, admin)
}

#[test]
fn hostile_requests_are_refused_and_cost_nobody_anything() {
    let (sidecar, admin) = on_tcp(&["--seed", "/nowhere.json"]);
    let long = "a".repeat(64 << 10);
    let many: Vec<String> = (0..100).map(|index| format!("X-{index}: y")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let cases = [
        (request("GET /health", &["Host: localhost", &format!("X: {long}")]), 431),
        (request("GET /health", &many), 431),
        (request(&format!("GET /{long}"), &["Host: localhost"]), 431),
        (request("GET /nowhere", &["Host: localhost"]), 404),
        (request("DELETE /cache", &["Host: localhost"]), 405),
        (request("POST /metrics", &["Host: localhost", "Content-Length: 0"]), 405),
        (request("GET /flush?below=.", &["Host: localhost"]), 405),
        (request("POST /flush", &["Host: localhost", "Content-Length: 0"]), 400),
        (request("POST /flush?all=1", &["Host: localhost", "Content-Length: 0"]), 400),
        (request("POST /flush?below=.", &["Host: localhost", "Origin: http://example.com", "Content-Length: 0"]), 403),
        (request("GET /cache", &["Host: rebound.example.com:9053"]), 403),
        (request("POST /cache", &["Host: localhost", "Content-Length: 99999999999"]), 413),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(), 400),
    ];
    for (bytes, status) in cases {
        let answer = send(admin, &bytes);
        assert_eq!(answer.status, status, "{:?}: {answer:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(60)]));
    }
    let body = [request("POST /cache", &["Host: localhost", "Transfer-Encoding: chunked"]), endless(20 << 20)].concat();
    assert_eq!(send(admin, &body).status, 413, "a body without an end");
    let answer = send(admin, &[request("POST /cache", &["Host: localhost", "Content-Length: 2"]), b"\xff\xfe".to_vec()].concat());
    assert_eq!((answer.status, answer.body.as_str()), (400, "not UTF-8 text\n"));
    assert_eq!(send(admin, &get("/health")).status, 200);
    assert_eq!(sidecar.ask("localhost.", RecordType::A).response_code, ResponseCode::NoError);
}

/// A chunked body of so many bytes that does not end.
fn endless(bytes: usize) -> Vec<u8> {
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
    chunk.repeat(bytes >> 16)
}

#[test]
fn connections_that_never_ask_are_closed_and_others_get_through() {
    let (sidecar, admin) = on_tcp(&[]);
    let mut slow: Vec<TcpStream> = (0..64).map(|_| TcpStream::connect(admin).unwrap()).collect();
    for stream in &mut slow {
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: ").unwrap();
    }
    assert_eq!(sidecar.ask("localhost.", RecordType::A).response_code, ResponseCode::NoError, "queries do not notice");
    drop(slow.split_off(16));
    // The 16 that are left hold all the room, until they have taken too long.
    let began = Instant::now();
    assert_eq!(send(admin, &get("/health")).status, 200);
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
}

#[test]
fn an_admin_address_that_is_taken_is_said_and_queries_are_answered() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = taken.local_addr().unwrap().to_string();
    let mut sidecar = Sidecar::start_with(dead(), tempfile::tempdir().unwrap(), &admin, &[]);
    let told = sidecar.process.wait_for("no admin interface").expect("it runs");
    assert!(told.contains(&admin) && told.contains("another process listens there"), "{told}");
    assert_eq!(sidecar.ask("localhost.", RecordType::A).response_code, ResponseCode::NoError);
    drop(taken);
    sidecar.process.wait_for("admin interface address=").expect("it is tried again");
    assert_eq!(sidecar.status()["ready"], true);
}

#[test]
fn the_socket_is_closed_to_others_and_a_dead_ones_place_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    // A process that was killed leaves its socket behind.
    drop(UnixListener::bind(&path).unwrap());
    let mut sidecar = Sidecar::start_with(dead(), folder, path.to_str().unwrap(), &[]);
    sidecar.process.wait_for("admin interface address=").expect("it runs");
    let found = std::fs::symlink_metadata(&path).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    let files: Vec<PathBuf> = std::fs::read_dir(sidecar.folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files, std::slice::from_ref(&path), "nothing is left beside it");

    let mut second = Sidecar::start_with(dead(), tempfile::tempdir().unwrap(), path.to_str().unwrap(), &[]);
    assert!(second.process.wait_for("no admin interface").unwrap().contains("another process listens there"));
    assert_eq!(sidecar.status()["listen"][0], sidecar.address.to_string(), "the first keeps it");

    let Sidecar { process, folder: _folder, .. } = sidecar;
    process.signal(Signal::TERM);
    assert_eq!(process.finish(PATIENCE).code(), 0);
    assert!(!path.exists(), "it takes its socket away");
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "precious", "do not lose");
    let mut sidecar = Sidecar::start_with(dead(), folder, &path, &[]);
    let told = sidecar.process.wait_for("no admin interface").expect("it runs");
    assert!(told.contains("a file that is no socket, which is left alone"), "{told}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "do not lose");
    let mut lost = Sidecar::start_with(dead(), tempfile::tempdir().unwrap(), "/no/such/folder/admin.sock", &[]);
    assert!(lost.process.wait_for("no admin interface").unwrap().contains("the folder /no/such/folder does not exist"));
}

/// An address of this host that is not loopback, where it has one.
fn outward() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Sends nothing: it only chooses a route.
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

#[test]
fn clients_of_other_hosts_may_read_what_is_no_secret_and_change_nothing() {
    let admin = SocketAddr::from(([0, 0, 0, 0], loopback().port()));
    let refused = run(holdover().args(["serve", "--listen", &loopback().to_string(), "--admin", &admin.to_string()]));
    assert_eq!(refused.code(), 64);
    assert!(refused.stderr.contains("is an address that other hosts may reach"), "{refused:?}");

    let folder = tempfile::tempdir().unwrap();
    let config = file(&folder, "holdover.toml", "[admin]\nremote = \"read\"\n");
    let mut sidecar = Sidecar::start_with(dead(), folder, &admin.to_string(), &["--config", &config]);
    sidecar.process.wait_for("admin interface address=").expect("it runs");
    let here = SocketAddr::from(([127, 0, 0, 1], admin.port()));
    assert_eq!(send(here, &get("/cache")).status, 200);
    let Some(ip) = outward() else {
        eprintln!("this host has no address but loopback: what other hosts may do is not tested here");
        return;
    };
    let there = SocketAddr::new(ip, admin.port());
    for (line, status) in [
        ("GET /metrics", 200),
        ("GET /status", 200),
        ("GET /ready", 200),
        ("GET /cache", 403),
        ("POST /cache", 403),
        ("POST /flush?below=.", 403),
    ] {
        assert_eq!(send(there, &request(line, &["Host: localhost", "Content-Length: 0"])).status, status, "{line}");
    }
}
