//! A sidecar with an admin interface as a child process, and what the tests of that interface
//! share.

use std::net::SocketAddr;
use std::path::Path;

use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;
use serde_json::Value;

use crate::support::asking::ask;
use crate::support::binary::*;
use crate::support::files::write;
use crate::support::messages::query;
use crate::support::upstream::Upstream;

/// A running `holdover serve`, where it listens, and a folder for its socket.
pub struct Sidecar {
    pub process: Running,
    pub address: SocketAddr,
    pub admin: String,
    pub folder: tempfile::TempDir,
}

impl Sidecar {
    /// Starts a sidecar that forwards to `upstream`, with its admin interface on a unix socket.
    #[track_caller]
    pub fn start(upstream: SocketAddr, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let admin = folder.path().join("admin.sock").to_str().unwrap().to_owned();
        let mut own = Self::start_with(upstream, folder, &admin, flags);
        own.process.wait_for("admin interface address=").expect("it runs");
        own
    }

    /// Starts a sidecar without waiting for its admin interface, which may be impossible at
    /// `admin`.
    #[track_caller]
    pub fn start_with(upstream: SocketAddr, folder: tempfile::TempDir, admin: &str, flags: &[&str]) -> Self {
        let (process, address) = serve("ready", |command, _| {
            command.args(["--upstream", &upstream.to_string(), "--admin", admin]).args(flags);
        });
        Self { process, address, admin: admin.to_owned(), folder }
    }

    #[track_caller]
    pub fn ask(&self, name: &str, rtype: RecordType) -> Message {
        ask(self.address, &query(name, rtype))
    }

    /// Runs a subcommand against this sidecar's admin interface.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Finished {
        run(holdover().args(arguments).args(["--admin", &self.admin]))
    }

    /// The status as `holdover status --json` prints it.
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

pub fn upstream(ttl: u32, last: u8) -> Upstream {
    Upstream::answering(ttl, last)
}

/// An address on which nothing listens.
pub fn dead() -> SocketAddr {
    loopback()
}

pub fn file(folder: &tempfile::TempDir, name: &str, text: &str) -> String {
    write(folder.path(), name, text)
}

/// A seed with two valid answers and, in line 3, a name that is invalid.
pub const SEED: &str = r#"{"format":"holdover-seed","version":1,"answers":[
{"name":"www.example.com","type":"A","records":[{"data":"192.0.2.1"}]},
{"name":"a..b.example.com","type":"A"},
{"name":"db.example.com","type":"A","records":[{"data":"192.0.2.2"},{"data":"192.0.2.3"}]}
]}"#;
