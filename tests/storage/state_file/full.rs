//! Disks that are full or read-only: queries are answered, and an existing state file is read.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, prlimit};

use super::sidecar::{Sidecar, nobody, upstream};
use crate::support::binary::*;

#[test]
fn a_full_disk_costs_persistence_and_all_is_written_when_there_is_room_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let (good, dead) = (upstream(), nobody());
    let mut sidecar = Sidecar::start(&path, good.address);
    let pid = rustix::process::Pid::from_raw(sidecar.process.id() as i32);
    // The process may not make a file longer than this, which looks like a full disk to it.
    let limit = |bytes| prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
    let before = limit(Some(64 << 10));
    assert_eq!(before.maximum, None, "the limit can be lifted again");
    let names: Vec<String> = (0..2_000).map(|index| format!("f{index}.example.com.")).collect();
    sidecar.expect_all(&names);
    assert!(sidecar.process.wait_for("its disk or quota is full").is_some());
    std::thread::sleep(Duration::from_secs(2));
    sidecar.expect_all(&names);
    assert_eq!(sidecar.says("the state file cannot be used"), 1, "{:#?}", sidecar.process.log());
    limit(None);
    assert!(sidecar.process.wait_for("the state file can be used again").is_some());
    sidecar.kill();
    let after = Sidecar::start(&path, dead.address);
    after.expect_all(&names);
}

#[test]
fn a_folder_that_is_read_only_costs_persistence_and_what_lies_in_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let (good, dead) = (upstream(), nobody());
    let names: Vec<String> = (0..50).map(|index| format!("r{index}.example.com.")).collect();
    let first = Sidecar::start(&path, good.address);
    first.expect_all(&names);
    std::thread::sleep(Duration::from_millis(400));
    first.kill();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o444)).unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o555)).unwrap();
    if rustix::process::geteuid().is_root() {
        // Permissions do not bind root, so the sidecar runs as another user.
        let reachable = holdover().uid_and_run(65534);
        if !reachable {
            eprintln!("SKIPPED a_folder_that_is_read_only: no other user can run the binary where it lies");
            return;
        }
    }
    let mut sidecar = Sidecar::started(&path, dead.address, |command| {
        if rustix::process::geteuid().is_root() {
            std::os::unix::process::CommandExt::uid(command, 65534);
        }
    });
    sidecar.expect_all(&names);
    assert!(sidecar.process.wait_for("it may not be written").is_some());
}

/// Tries a command as another user.
trait AsAnotherUser {
    fn uid_and_run(&mut self, uid: u32) -> bool;
}

impl AsAnotherUser for std::process::Command {
    fn uid_and_run(&mut self, uid: u32) -> bool {
        std::os::unix::process::CommandExt::uid(self, uid)
            .arg("--version")
            .output()
            .is_ok_and(|out| out.status.success())
    }
}

/// A small tmpfs, which is unmounted when the value is dropped.
struct Tiny(tempfile::TempDir);

impl Tiny {
    /// Mounts a tmpfs; `None` where this user may not mount.
    fn mount(bytes: u64) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={bytes},mode=0700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).output();
        mounted.is_ok_and(|done| done.status.success()).then(|| Self(folder))
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).output();
    }
}

#[test]
fn a_real_disk_that_fills_up_is_told_costs_no_answer_and_is_used_again_when_there_is_room() {
    let Some(disk) = Tiny::mount(1 << 20) else {
        eprintln!("SKIPPED a_real_disk_that_fills_up: this user may not mount a tmpfs");
        return;
    };
    let (path, ballast) = (disk.0.path().join("state.redb"), disk.0.path().join("ballast"));
    let admin = tempfile::tempdir().unwrap();
    let socket = admin.path().join("admin.sock");
    let (good, dead) = (upstream(), nobody());
    let mut sidecar = Sidecar::started(&path, good.address, |command| {
        command.env("HOLDOVER_ADMIN_ADDRESS", &socket);
    });
    sidecar.process.wait_for("admin interface address=").expect("it runs");
    sidecar.expect_all(&["before.example.com.".to_owned()]);
    std::thread::sleep(Duration::from_millis(400));
    // Another program, say with its logs, fills the disk until nothing more fits.
    let mut file = std::fs::File::create(&ballast).unwrap();
    while file.write_all(&[b'x'; 4096]).is_ok() {}
    drop(file);
    let names: Vec<String> = (0..2_000).map(|index| format!("d{index}.example.com.")).collect();
    sidecar.expect_all(&names);
    assert!(sidecar.process.wait_for("its disk or quota is full").is_some());
    let status = |words: &str| {
        let end = Instant::now() + PATIENCE;
        loop {
            let done = run(holdover().args(["status", "--admin"]).arg(&socket));
            assert_eq!(done.code(), 0, "{done:?}");
            if done.stdout.lines().any(|line| line.starts_with("state file") && line.contains(words)) {
                return;
            }
            assert!(Instant::now() < end, "{words:?} is not in\n{}", done.stdout);
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    status("its disk or quota is full");
    sidecar.expect_all(&names);
    assert_eq!(sidecar.says("the state file cannot be used"), 1, "{:#?}", sidecar.process.log());
    std::fs::remove_file(&ballast).unwrap();
    assert!(sidecar.process.wait_for("the state file can be used again").is_some());
    status("2001 ");
    sidecar.kill();
    let after = Sidecar::start(&path, dead.address);
    after.expect_all(&names);
    after.expect_all(&["before.example.com.".to_owned()]);
    after.kill();
}
