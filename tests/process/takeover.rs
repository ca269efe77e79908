//! `holdover resolvconf` and `holdover run` as their users meet them: the built binary on real
//! files, with real child processes, and in mount and process namespaces where this user may make
//! them.

mod carried;
mod left;
mod namespaces;
mod orphan;
mod resolvconf;
mod run;
mod terminal;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use hickory_proto::rr::RecordType;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::asking;
use crate::support::binary::*;
use crate::support::messages::{address, addresses, query};
use crate::support::stalled::StalledPipe;
use crate::support::upstream::{Reaction, Upstream};
use crate::support::waiting::eventually;

/// The `resolv.conf` under test, in a temporary folder of its own.
struct File {
    folder: tempfile::TempDir,
    path: PathBuf,
}

/// A file that somebody wrote by hand: one byte is no UTF-8, and the last line has no newline.
const ORIGINAL: &[u8] =
    b"# \xffmine\nnameserver 127.0.0.77\nnameserver 127.0.0.78\nsearch example.com\noptions ndots:2 rotate";

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
        fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    /// Runs `holdover resolvconf` on this file.
    #[track_caller]
    fn resolvconf(&self, arguments: &[&str]) -> Finished {
        let (verb, rest) = arguments.split_first().unwrap();
        run(holdover().args(["resolvconf", verb, "--file"]).arg(&self.path).args(rest))
    }

    /// What `holdover resolvconf show --json` prints.
    #[track_caller]
    fn show(&self, arguments: &[&str]) -> Value {
        let shown = self.resolvconf(&[&["show", "--json"], arguments].concat());
        assert_eq!(shown.code(), 0, "{shown:?}");
        serde_json::from_str(&shown.stdout).unwrap()
    }

    /// The command line of `holdover run` with this file and a sidecar at `address`, up to the `--`
    /// before the application.
    fn run(&self, address: SocketAddr, flags: &[&str]) -> Command {
        let mut command = holdover();
        // The port is not 53, so the address has to be named.
        command.args(["run", "--listen", &address.to_string(), "--nameserver", &address.ip().to_string()]);
        if !flags.contains(&"--fallback") {
            command.args(["--fallback", "yes"]);
        }
        command.arg("--resolv-conf").arg(&self.path).args(flags).arg("--");
        command
    }
}

/// Whether holdover wrote this text.
fn is_ours(text: &str) -> bool {
    text.starts_with("# Written by holdover") && text.contains("\nnameserver 127.0.0.1\n")
}

/// Asks once, and gives the addresses of the answer; `None` after half a second of silence.
fn ask(server: SocketAddr, name: &str) -> Option<Vec<String>> {
    asking::try_ask(server, &query(name, RecordType::A), Duration::from_millis(500)).map(|answer| addresses(&answer))
}

/// The sidecar processes that this `holdover run` has started.
fn sidecars(shim: u32) -> Vec<Pid> {
    let mark = format!("--sidecar-of={shim}");
    let processes =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_sidecar = |pid: &i32| {
        fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| line.split(|byte| *byte == 0).any(|word| word == mark.as_bytes()))
    };
    processes.filter(is_sidecar).filter_map(Pid::from_raw).collect()
}

/// Whether a process runs; a zombie does not.
fn is_alive(pid: Pid) -> bool {
    fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).is_ok_and(|stat| !stat.contains(") Z "))
}
