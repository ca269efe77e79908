//! A real `holdover serve` that shares what it remembers, asked and looked at from outside.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;
use serde_json::Value;

use super::binary::{PATIENCE, Running, holdover, loopback};
use super::harness::{addresses, query};
use super::http::{get, send_to_path};
use super::server::write;

/// A key of the fleet.
pub const KEY: &str = "0123456789abcdef0123456789abcdef";

/// An instance.
pub struct Instance {
    pub process: Running,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Instance {
    /// Starts one before this upstream that shares at this URL; further settings are
    /// `HOLDOVER_SHARED_CACHE_…` without its beginning.
    #[track_caller]
    pub fn start(upstream: SocketAddr, url: &str, settings: &[(&str, &str)]) -> Self {
        Self::start_with(upstream, url, settings, |_| ())
    }

    /// The same, with whatever else is changed of its command.
    #[track_caller]
    pub fn start_with(
        upstream: SocketAddr,
        url: &str,
        settings: &[(&str, &str)],
        change: impl Fn(&mut Command),
    ) -> Self {
        for _ in 0..5 {
            let folder = tempfile::tempdir().unwrap();
            let key = write(folder.path(), "fleet.key", &format!("{KEY}\n"));
            let address = loopback();
            let mut command = holdover();
            command.args(["serve", "--listen", &address.to_string(), "--upstream", &upstream.to_string()]);
            command.arg("--admin").arg(folder.path().join("admin.sock"));
            command.env("HOLDOVER_SHARED_CACHE_URL", url).env("HOLDOVER_SHARED_CACHE_KEY_FILE", key);
            // Far above the default: what is tested is what happens, on a host that may be busy,
            // not how fast.
            command.env("HOLDOVER_SHARED_CACHE_TIMEOUT", "300ms");
            settings.iter().for_each(|(name, value)| {
                command.env(format!("HOLDOVER_SHARED_CACHE_{name}"), value);
            });
            change(&mut command);
            let mut process = Running::spawn(&mut command);
            if process.wait_for("ready ").is_some() {
                process.wait_for("admin interface address=");
                return Self { process, address, folder };
            }
            let log = process.log();
            assert!(log.iter().any(|line| line.contains("in use")), "did not start: {log:#?}");
        }
        panic!("no port stayed free");
    }

    /// Asks for the address of a name.
    #[track_caller]
    pub fn ask(&self, name: &str) -> Message {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.send_to(&query(name, RecordType::A).to_vec().unwrap(), self.address).unwrap();
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).expect("an answer");
        Message::from_vec(&buffer[..length]).unwrap()
    }

    /// Asks for the address of a name; the addresses in the answer.
    #[track_caller]
    pub fn addresses(&self, name: &str) -> Vec<String> {
        addresses(&self.ask(name))
    }

    /// What it says of the shared cache.
    #[track_caller]
    pub fn status(&self) -> Value {
        let answer = send_to_path(&self.folder.path().join("admin.sock"), &get("/status"));
        let mut status: Value = serde_json::from_str(&answer.body).unwrap();
        status["shared_cache"].take()
    }

    /// Everything that it says: status and metrics.
    #[track_caller]
    pub fn everything(&self) -> String {
        let socket = self.folder.path().join("admin.sock");
        format!("{}\n{}", send_to_path(&socket, &get("/status")).body, send_to_path(&socket, &get("/metrics")).body)
    }

    /// The path of its admin interface.
    pub fn admin(&self) -> std::path::PathBuf {
        self.folder.path().join("admin.sock")
    }

    /// A number of its status.
    #[track_caller]
    pub fn count(&self, group: &str, kind: &str) -> u64 {
        self.status()[group][kind].as_u64().unwrap()
    }

    /// Waits until its status is so.
    #[track_caller]
    pub fn wait_until(&self, what: &str, holds: impl Fn(&Value) -> bool) {
        let end = Instant::now() + PATIENCE * 2;
        loop {
            let status = self.status();
            if holds(&status) {
                return;
            }
            assert!(Instant::now() < end, "not within time: {what}: {status:#} {:#?}", self.process.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until it has reached the server.
    #[track_caller]
    pub fn wait_until_reached(&self) {
        self.wait_until("it is reached", |status| status["working"] == true);
    }

    /// Waits until it has published so many answers.
    #[track_caller]
    pub fn wait_until_published(&self, many: u64) {
        self.wait_until("it is published", |status| status["writes"]["written"].as_u64() >= Some(many));
    }

    /// Waits until the server counts as lost.
    #[track_caller]
    pub fn wait_until_lost(&self) {
        self.wait_until("it is lost", |status| status["problem"].is_string() && status["working"] == false);
    }

    /// Waits until it was lost and is reached again.
    #[track_caller]
    pub fn wait_until_lost_and_back(&mut self) {
        assert!(self.process.wait_for("shared cache cannot be used").is_some());
        assert!(self.process.wait_for("shared cache can be used again").is_some());
    }

    /// A folder of its own.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}
