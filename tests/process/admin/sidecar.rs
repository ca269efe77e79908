//! A sidecar with an admin interface, and what it needs around it.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;
use serde_json::Value;

use crate::support::binary::*;
use crate::support::harness::{Reaction, Upstream, address, query};

/// A running `holdover serve`, where it listens, and a folder for its socket.
pub struct Sidecar {
    pub process: Running,
    pub address: SocketAddr,
    pub admin: String,
    pub folder: tempfile::TempDir,
}

impl Sidecar {
    /// Starts one before this upstream, its admin interface on a unix socket.
    #[track_caller]
    pub fn start(upstream: SocketAddr, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let admin = folder.path().join("admin.sock").to_str().unwrap().to_owned();
        let mut own = Self::start_with(upstream, folder, &admin, flags);
        own.process.wait_for("admin interface address=").expect("it runs");
        own
    }

    /// Starts one whose admin interface is there, or not.
    #[track_caller]
    pub fn start_with(upstream: SocketAddr, folder: tempfile::TempDir, admin: &str, flags: &[&str]) -> Self {
        for _ in 0..5 {
            let address = loopback();
            let mut command = holdover();
            command
                .args([
                    "serve",
                    "--listen",
                    &address.to_string(),
                    "--upstream",
                    &upstream.to_string(),
                    "--admin",
                    admin,
                ])
                .args(flags);
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
    pub fn ask(&self, name: &str, rtype: RecordType) -> Message {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket.send_to(&query(name, rtype).to_vec().unwrap(), self.address).unwrap();
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).expect("an answer");
        Message::from_vec(&buffer[..length]).unwrap()
    }

    /// Runs a subcommand that asks it.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Finished {
        run(holdover().args(arguments).args(["--admin", &self.admin]))
    }

    /// Its status.
    #[track_caller]
    pub fn status(&self) -> Value {
        let done = self.run(&["status", "--json"]);
        assert_eq!(done.code(), 0, "{done:?}");
        serde_json::from_str(&done.stdout).unwrap()
    }

    pub fn socket(&self) -> &Path {
        Path::new(&self.admin)
    }
}

/// An upstream that answers everything with 192.0.2.`last`.
pub fn upstream(ttl: u32, last: u8) -> Upstream {
    Upstream::start(move |query, _| Reaction::Send(address(query, ttl, last)))
}

/// An address where nobody answers.
pub fn dead() -> SocketAddr {
    loopback()
}

/// A file of this text.
pub fn file(folder: &tempfile::TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Asks until `done`, with a bound.
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
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
pub const SEED: &str = r#"{"format":"holdover-seed","version":1,"answers":[
{"name":"www.example.com","type":"A","records":[{"data":"192.0.2.1"}]},
{"name":"a..b.example.com","type":"A"},
{"name":"db.example.com","type":"A","records":[{"data":"192.0.2.2"},{"data":"192.0.2.3"}]}
]}"#;
