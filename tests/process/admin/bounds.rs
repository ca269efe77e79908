//! What the admin interface refuses and bounds: hostile requests, idle connections, addresses that
//! are taken, and clients of other hosts.

use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use rustix::process::Signal;

use super::sidecar::{SEED, Sidecar, dead, file};
use crate::support::asking::try_ask;
use crate::support::binary::*;
use crate::support::http::{get, request, send, send_to_path};
use crate::support::messages::query;

pub fn on_tcp(flags: &[&str]) -> (Sidecar, SocketAddr) {
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
        (request("POST /flush?below=.", &["Host: localhost", "Content-Length: 0"]), 403),
        (request("POST /flush?below=.", &["Host: localhost", "Origin: http://example.com", "Content-Length: 0"]), 403),
        (request("GET /cache", &["Host: rebound.example.com:9053"]), 403),
        (request("GET /status", &["Host: rebound.example.com"]), 403),
        (request("GET /metrics", &["Host: holdover.monitoring.svc:9053"]), 200),
        (request("POST /cache", &["Host: localhost", "Content-Length: 99999999999"]), 403),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(), 400),
    ];
    for (bytes, status) in cases {
        let answer = send(admin, &bytes);
        assert_eq!(answer.status, status, "{:?}: {answer:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(60)]));
    }
    assert_eq!(send(admin, &get("/health")).status, 200);
    assert_eq!(sidecar.ask("localhost.", RecordType::A).response_code, ResponseCode::NoError);
}

#[test]
fn hostile_changes_are_refused_although_their_user_may_change_something() {
    let sidecar = Sidecar::start(dead(), &[]);
    let endless =
        [request("POST /cache", &["Host: localhost", "Transfer-Encoding: chunked"]), endless(20 << 20)].concat();
    let cases = [
        (request("POST /flush", &["Host: localhost", "Content-Length: 0"]), 400),
        (request("POST /flush?all=1", &["Host: localhost", "Content-Length: 0"]), 400),
        (request("POST /flush?below=.", &["Host: localhost", "Origin: http://example.com", "Content-Length: 0"]), 403),
        (request("POST /cache", &["Host: localhost", "Content-Length: 99999999999"]), 413),
        (endless, 413),
    ];
    for (bytes, status) in cases {
        let answer = send_to_path(sidecar.socket(), &bytes);
        assert_eq!(answer.status, status, "{:?}: {answer:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(60)]));
    }
    let body = [request("POST /cache", &["Host: localhost", "Content-Length: 2"]), b"\xff\xfe".to_vec()].concat();
    let answer = send_to_path(sidecar.socket(), &body);
    assert_eq!((answer.status, answer.body.as_str()), (400, "not UTF-8 text\n"));
    assert_eq!(send_to_path(sidecar.socket(), &get("/health")).status, 200);
}

/// A chunked body of `bytes` bytes whose last chunk never comes.
fn endless(bytes: usize) -> Vec<u8> {
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
    chunk.repeat(bytes >> 16)
}

#[test]
fn whoever_gets_an_answer_reaches_the_interface() {
    for _ in 0..10 {
        let (server, admin) = (loopback(), loopback());
        let mut command = holdover();
        command.args(["serve", "--listen", &server.to_string(), "--upstream", &dead().to_string()]);
        let _process = Running::spawn(command.args(["--admin", &admin.to_string()]));
        // A closed port refuses at once, so that this goes on until just after the start.
        let localhost = query("localhost.", RecordType::A);
        while try_ask(server, &localhost, Duration::from_millis(50)).is_none() {}
        assert_eq!(send(admin, &get("/health")).status, 200);
    }
}

#[test]
fn connections_that_never_ask_are_closed_and_others_get_through() {
    let (sidecar, admin) = on_tcp(&[]);
    let mut slow: Vec<TcpStream> = (0..64).map(|_| TcpStream::connect(admin).unwrap()).collect();
    for stream in &mut slow {
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: ").unwrap();
    }
    assert_eq!(sidecar.ask("localhost.", RecordType::A).response_code, ResponseCode::NoError, "queries do not notice");
    // Each of them could occupy a place until its time to send a request runs out, after 5 s.
    let began = Instant::now();
    for _ in 0..8 {
        assert_eq!(send(admin, &get("/health")).status, 200);
    }
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
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
    // A process that was killed leaves its socket file behind.
    drop(UnixListener::bind(&path).unwrap());
    let mut sidecar = Sidecar::start_with(dead(), folder, path.to_str().unwrap(), &[]);
    sidecar.process.wait_for("admin interface address=").expect("it runs");
    let found = std::fs::symlink_metadata(&path).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    let files: Vec<PathBuf> =
        std::fs::read_dir(sidecar.folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
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

/// An address of this host that is not loopback, if it has one.
fn outward() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Connecting a UDP socket sends nothing; it only chooses a route.
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
    let seed = file(&folder, "seed.json", SEED);
    let mut sidecar = Sidecar::start_with(dead(), folder, &admin.to_string(), &["--config", &config, "--seed", &seed]);
    sidecar.process.wait_for("admin interface address=").expect("it runs");
    let here = SocketAddr::from(([127, 0, 0, 1], admin.port()));
    assert_eq!(send(here, &get("/cache")).status, 200);
    let explain = get("/explain?name=www.example.com");
    assert!(send(here, &explain).body.contains("192.0.2.1"), "this host may read what is cached");
    let Some(ip) = outward() else {
        eprintln!("this host has no address but loopback: what other hosts may do is not tested here");
        return;
    };
    let there = SocketAddr::new(ip, admin.port());
    let told = send(there, &explain).body;
    assert!(told.contains("\"origin\":\"seed\"") && !told.contains("192.0.2.1"), "{told}");
    for (line, status) in [
        ("GET /metrics", 200),
        ("GET /status", 200),
        ("GET /ready", 200),
        ("GET /explain?name=www.example.com", 200),
        ("GET /names", 403),
        ("POST /log?level=debug", 403),
        ("GET /cache", 403),
        ("POST /cache", 403),
        ("POST /flush?below=.", 403),
    ] {
        assert_eq!(send(there, &request(line, &["Host: localhost", "Content-Length: 0"])).status, status, "{line}");
    }
}
