//! The reader of holdover's output may go away, and the disk behind it may be full: neither makes
//! holdover panic or stop serving.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::{Command, Stdio};

use super::*;

/// The writing end of a pipe whose reading end is closed.
fn closed_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// `/dev/full`, where each write fails because no space is left.
fn full_disk() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}

/// A sidecar that has one name in its cache, and the address of its admin interface.
fn with_admin(folder: &Path) -> (Sidecar, String) {
    let (admin, upstream) = (folder.join("admin.sock").to_str().unwrap().to_owned(), upstream(60, 7));
    let sidecar = Sidecar::start(&upstream, &["--admin", &admin]);
    sidecar.ask(&query("known.example.com.", RecordType::A));
    (sidecar, admin)
}

/// Every command that prints a result and ends.
fn commands(sidecar: &Sidecar, admin: &str, folder: &Path) -> Vec<Vec<String>> {
    let (resolv_conf, seed) = (folder.join("resolv.conf"), folder.join("seed.json"));
    std::fs::write(&resolv_conf, "nameserver 192.0.2.1\n").unwrap();
    std::fs::write(&seed, r#"{"format": "holdover-seed", "version": 1, "answers": []}"#).unwrap();
    let (resolv_conf, seed, server) =
        (resolv_conf.to_str().unwrap(), seed.to_str().unwrap(), sidecar.address.to_string());
    let lines: &[&[&str]] = &[
        &["--help"],
        &["--version"],
        &["serve", "--help"],
        &["config", "default"],
        &["config", "check"],
        &["check", "--server", &server],
        &["status", "--admin", admin],
        &["status", "--json", "--admin", admin],
        &["cache", "export", "--admin", admin],
        &["cache", "import", "--admin", admin, seed],
        &["cache", "flush", "--admin", admin, "other.example.com"],
        &["resolvconf", "show", "--file", resolv_conf],
        &["resolvconf", "show", "--json", "--file", resolv_conf],
        &["drill", "--duration", "4s", "--qps", "20", "--names", "5"],
        &["drill", "--duration", "4s", "--qps", "20", "--names", "5", "--json"],
    ];
    lines.iter().map(|words| words.iter().map(ToString::to_string).collect()).collect()
}

/// Runs a command that ends by itself, with this standard output.
#[track_caller]
fn run_into(stdout: Stdio, arguments: &[String]) -> (Option<i32>, String) {
    let mut command = holdover();
    let child = command.args(arguments).stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
    let ended = child.wait_with_output().unwrap();
    (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
}

#[test]
fn a_reader_that_goes_away_ends_a_command_quietly_and_a_full_disk_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (sidecar, admin) = with_admin(folder.path());
    std::thread::scope(|scope| {
        for arguments in commands(&sidecar, &admin, folder.path()) {
            scope.spawn(move || {
                // So short a drill may pass or fail; this test does not ask which.
                let is_drill = arguments[0] == "drill";
                let (code, stderr) = run_into(closed_pipe(), &arguments);
                assert!(code == Some(0) || (is_drill && code == Some(1)), "{arguments:?}: {code:?} {stderr}");
                let quiet = is_drill || stderr.is_empty();
                assert!(
                    quiet && !stderr.contains("panicked") && !stderr.contains("standard output"),
                    "{arguments:?}: {stderr}"
                );
                let (code, stderr) = run_into(full_disk(), &arguments);
                assert!(code == Some(1) && !stderr.contains("panicked"), "{arguments:?}: {code:?} {stderr}");
                assert!(
                    stderr.contains("holdover: cannot write ") && stderr.contains("No space left on device"),
                    "{arguments:?}: {stderr}"
                );
            });
        }
    });
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    for broken in [closed_pipe, full_disk] {
        let (upstream, address) = (upstream(60, 7), loopback());
        let mut command = holdover();
        command.args(["serve", "--listen", &address.to_string(), "--upstream", &upstream.address.to_string()]);
        let mut process = command.stderr(broken()).spawn().unwrap();
        let check = || run_with(&["check", "--server", &address.to_string(), "--timeout", "200ms"]);
        let began = Instant::now();
        while check().code() != 0 {
            assert!(
                began.elapsed() < PATIENCE && process.try_wait().unwrap().is_none(),
                "it serves although nobody reads its log"
            );
        }
        process.kill().unwrap();
        process.wait().unwrap();
    }
}

#[test]
fn complaints_that_cannot_be_written_do_not_change_the_exit_code() {
    let silent = loopback().to_string();
    let cases: [(&[&str], i32); 5] = [
        (&["serve", "--no-such-flag"], 64),
        (&["serve", "--maximum-stale", "soon"], 64),
        (&["config", "check", "--config", "/no/such/file.toml"], 78),
        (&["check", "--server", &silent], 1),
        // The application runs although nobody can read that it runs without holdover.
        (&["run", "--maximum-stale", "soon", "--", "sh", "-c", "exit 9"], 9),
    ];
    for (arguments, code) in cases {
        for broken in [closed_pipe, full_disk] {
            let ended = Command::new(holdover().get_program())
                .args(arguments)
                .stdout(Stdio::null())
                .stderr(broken())
                .status()
                .unwrap();
            assert_eq!(ended.code(), Some(code), "{arguments:?}");
        }
    }
}
