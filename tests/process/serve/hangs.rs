//! Files that hang: named pipes into which nobody writes, and a disk on which nothing ever becomes
//! durable. Queries are answered, and the process starts and ends in time.

use std::path::{Path, PathBuf};

use super::*;

/// Makes a named pipe, and gives its path.
fn fifo(folder: &Path, name: &str) -> String {
    let path = folder.join(name);
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path.to_string_lossy().into_owned()
}

/// How long a start may take although something hangs, on a busy host.
const STARTED: Duration = Duration::from_secs(5);

#[test]
fn no_file_that_hangs_prevents_the_start_an_answer_or_the_end() {
    let upstream = upstream(60, 7);
    let folder = tempfile::tempdir().unwrap();
    let seed = fifo(folder.path(), "seed.json");
    let (hosts, state) = (fifo(folder.path(), "hosts"), fifo(folder.path(), "state.redb"));
    let (_config_folder, shared) = file(
        "holdover.toml",
        &format!(
            "[shared_cache]\nurl = \"rediss://127.0.0.1:1\"\nkey_file = {:?}\nca_file = {:?}\n",
            fifo(folder.path(), "key"),
            fifo(folder.path(), "ca.pem")
        ),
    );
    for (flag, path, told) in [
        ("--seed", seed, "seed not used"),
        ("--hosts", hosts, "is not a file"),
        ("--state", state, "not a regular file"),
        ("--config", shared, "it is a named pipe and not a regular file"),
    ] {
        let began = Instant::now();
        let mut sidecar = Sidecar::start(&upstream, &[flag, &path]);
        assert!(began.elapsed() < STARTED, "{flag}: {:?}", began.elapsed());
        assert_eq!(addresses(&sidecar.ask(&query("www.example.com.", RecordType::A))), ["192.0.2.7"], "{flag}");
        assert!(sidecar.process.wait_for(told).is_some(), "{flag}");
        sidecar.process.signal(Signal::TERM);
        sidecar.process.signal(Signal::INT);
        assert_eq!(sidecar.process.finish(STARTED).code(), 0, "{flag}");
    }
}

#[test]
fn a_resolv_conf_that_is_a_pipe_is_told_and_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = fifo(folder.path(), "resolv.conf");
    let mut sidecar = Sidecar::start_with(|command, _| {
        command.args(["--resolv-conf", &path]);
    });
    let line = sidecar.process.wait_for("there is no upstream yet").expect("a line");
    assert!(line.contains("it is a named pipe and not a regular file"), "{line}");
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "nameserver 127.0.0.77\n").unwrap();
    assert!(sidecar.process.wait_for("127.0.0.77:53").is_some(), "it is taken up");
}

#[test]
fn a_configuration_that_is_a_pipe_ends_the_start_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = fifo(folder.path(), "holdover.toml");
    let ended = run_with(&["serve", "--config", &path]);
    assert_eq!(ended.code(), 78);
    assert!(ended.stderr.contains("it is a named pipe and not a regular file"), "{}", ended.stderr);
}

/// Builds a library in which `fdatasync` and `fsync` wait for ever once a file named `stall` is
/// there; `None` without a C compiler.
fn stalling_library(folder: &Path) -> Option<PathBuf> {
    let (source, library) = (folder.join("stall.c"), folder.join("stall.so"));
    let stall = folder.join("stall");
    let text = format!(
        "#include <unistd.h>\n#include <sys/syscall.h>\n\
         static void wait_here(void) {{ while (access({stall:?}, F_OK) == 0) usleep(20000); }}\n\
         int fdatasync(int f) {{ wait_here(); return syscall(SYS_fdatasync, f); }}\n\
         int fsync(int f) {{ wait_here(); return syscall(SYS_fsync, f); }}\n"
    );
    std::fs::write(&source, text).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source);
    compiler.status().is_ok_and(|status| status.success()).then_some(library)
}

#[test]
fn a_disk_that_hangs_is_told_and_prevents_no_answer_and_no_end() {
    let (upstream, folder) = (upstream(60, 7), tempfile::tempdir().unwrap());
    let Some(library) = stalling_library(folder.path()) else {
        eprintln!("skipped: no C compiler");
        return;
    };
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (admin, state, stall) = (path("admin.sock"), path("state.redb"), path("stall"));
    let mut sidecar = Sidecar::start_with(|command, _| {
        command.args(["--upstream", &upstream.address.to_string(), "--state", &state, "--admin", &admin]);
        command.env("LD_PRELOAD", &library);
    });
    assert_eq!(addresses(&sidecar.ask(&query("first.example.com.", RecordType::A))), ["192.0.2.7"]);
    let status = || -> Value {
        let shown = run(holdover().args(["status", "--json", "--admin", &admin]));
        serde_json::from_str(&shown.stdout).unwrap_or_default()
    };
    eventually("it is written", PATIENCE, || status()["state_file"]["last_write_age_seconds"].is_f64());
    std::fs::write(&stall, "").unwrap();
    assert_eq!(addresses(&sidecar.ask(&query("second.example.com.", RecordType::A))), ["192.0.2.7"]);
    let line = sidecar.process.wait_for("the state file cannot be used").expect("it is told");
    assert!(line.contains("its disk does not answer"), "{line}");
    assert_eq!(status()["state_file"]["working"], false);
    assert_eq!(addresses(&sidecar.ask(&query("third.example.com.", RecordType::A))), ["192.0.2.7"]);
    // It answers again, and that is told as well.
    std::fs::remove_file(&stall).unwrap();
    assert!(sidecar.process.wait_for("answers again").is_some());
    eventually("it works again", PATIENCE, || status()["state_file"]["working"] == true);
    // The end does not wait for a disk that hangs once more.
    std::fs::write(&stall, "").unwrap();
    sidecar.ask(&query("fourth.example.com.", RecordType::A));
    sidecar.process.signal(Signal::TERM);
    sidecar.process.signal(Signal::TERM);
    assert_eq!(sidecar.process.finish(Duration::from_secs(12)).code(), 0);
}
