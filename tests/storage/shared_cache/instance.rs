//! A real `holdover serve` with a shared cache, queried and inspected from outside.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;
use serde_json::Value;

use crate::support::asking::ask;
use crate::support::binary::{PATIENCE, Running, serve};
use crate::support::files::write;
use crate::support::http::{get, send_to_path};
use crate::support::messages::{addresses, query};

/// The fleet's signing key, as it stands in the key file.
pub const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A running `holdover serve`, its address, and the folder of its key and admin socket.
pub struct Instance {
    pub process: Running,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Instance {
    /// Starts an instance that forwards to this upstream and shares its answers at this URL.
    /// Further settings are named as `HOLDOVER_SHARED_CACHE_…` without that prefix.
    #[track_caller]
    pub fn start(upstream: SocketAddr, url: &str, settings: &[(&str, &str)]) -> Self {
        Self::start_with(upstream, url, settings, |_| ())
    }

    /// The same as [`Self::start`], with a closure that changes the command further.
    #[track_caller]
    pub fn start_with(
        upstream: SocketAddr,
        url: &str,
        settings: &[(&str, &str)],
        change: impl Fn(&mut Command),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = write(
            folder.path(),
            "fleet.key",
            &format!(
                "{KEY}
"
            ),
        );
        let (mut process, address) = serve("ready ", |command, _| {
            command.args(["--upstream", &upstream.to_string()]);
            command.arg("--admin").arg(folder.path().join("admin.sock"));
            command.env("HOLDOVER_SHARED_CACHE_URL", url).env("HOLDOVER_SHARED_CACHE_KEY_FILE", &key);
            // Far above the default: what is tested is what happens, on a host that may be busy,
            // not how fast.
            command.env("HOLDOVER_SHARED_CACHE_TIMEOUT", "300ms");
            settings.iter().for_each(|(name, value)| {
                command.env(format!("HOLDOVER_SHARED_CACHE_{name}"), value);
            });
            change(command);
        });
        process.wait_for("admin interface address=");
        Self { process, address, folder }
    }

    #[track_caller]
    pub fn ask(&self, name: &str) -> Message {
        ask(self.address, &query(name, RecordType::A))
    }

    #[track_caller]
    pub fn addresses(&self, name: &str) -> Vec<String> {
        addresses(&self.ask(name))
    }

    /// The `shared_cache` part of the status.
    #[track_caller]
    pub fn status(&self) -> Value {
        let answer = send_to_path(&self.folder.path().join("admin.sock"), &get("/status"));
        let mut status: Value = serde_json::from_str(&answer.body).unwrap();
        status["shared_cache"].take()
    }

    /// The texts of status and metrics together.
    #[track_caller]
    pub fn everything(&self) -> String {
        let socket = self.folder.path().join("admin.sock");
        format!("{}\n{}", send_to_path(&socket, &get("/status")).body, send_to_path(&socket, &get("/metrics")).body)
    }

    /// The path of the admin interface's socket.
    pub fn admin(&self) -> std::path::PathBuf {
        self.folder.path().join("admin.sock")
    }

    /// A number from the `shared_cache` part of the status.
    #[track_caller]
    pub fn count(&self, group: &str, kind: &str) -> u64 {
        self.status()[group][kind].as_u64().unwrap()
    }

    /// Waits until the `shared_cache` part of the status satisfies the closure.
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

    /// Waits until the instance has reached the cache server.
    #[track_caller]
    pub fn wait_until_reached(&self) {
        self.wait_until("it is reached", |status| status["working"] == true);
    }

    /// Waits until the instance has published at least `many` answers.
    #[track_caller]
    pub fn wait_until_published(&self, many: u64) {
        self.wait_until("it is published", |status| status["writes"]["written"].as_u64() >= Some(many));
    }

    /// Waits until the instance counts the cache server as lost.
    #[track_caller]
    pub fn wait_until_lost(&self) {
        self.wait_until("it is lost", |status| status["problem"].is_string() && status["working"] == false);
    }
}
