//! Reads the memory limit of the control group in which the process runs: beyond it the kernel
//! kills the process.
//!
//! `/proc/self/cgroup` names the group of each hierarchy. A limit of a parent counts for its
//! children, so that the least one on the way to the root is the limit. In a container the path may
//! be that of the host, of which only the end is mounted: then the root of the mount is the group.
//!
//! | hierarchy | file |
//! |---|---|
//! | cgroup v2 | `memory.max` below `/sys/fs/cgroup`, or `/sys/fs/cgroup/unified` beside v1 |
//! | cgroup v1 | `memory.limit_in_bytes` below `/sys/fs/cgroup/memory` |

use std::fs;
use std::path::Path;

/// A limit from this value on is none: cgroup v1 writes one near the largest number for that.
const UNLIMITED: u64 = 1 << 60;

/// The memory limit of the present process in bytes; `None` when it has none, or none can be read.
#[must_use]
pub fn memory_limit() -> Option<u64> {
    limit_in(Path::new("/"))
}

/// The limit that the files below `root` tell.
fn limit_in(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mounts = root.join("sys/fs/cgroup");
    let limits = groups.lines().filter_map(|line| {
        // A line is `number:controllers:path`; v2 has the number 0 and no controllers.
        let mut parts = line.splitn(3, ':');
        let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        if number == "0" && controllers.is_empty() {
            let unified = least(&mounts.join("unified"), path, "memory.max");
            least(&mounts, path, "memory.max").into_iter().chain(unified).min()
        } else if controllers.split(',').any(|controller| controller == "memory") {
            least(&mounts.join("memory"), path, "memory.limit_in_bytes")
        } else {
            None
        }
    });
    limits.min()
}

/// The least limit of a group and of all groups above it.
fn least(mount: &Path, group: &str, file: &str) -> Option<u64> {
    let group = mount.join(group.trim_start_matches('/'));
    let groups = group.ancestors().take_while(|path| path.starts_with(mount));
    // `max` stands for no limit, and is no number.
    let limits = groups.filter_map(|path| fs::read_to_string(path.join(file)).ok()?.trim().parse().ok());
    limits.filter(|limit| *limit < UNLIMITED).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The limit that these files tell.
    fn limit(files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        limit_in(root.path())
    }

    #[test]
    fn the_least_limit_on_the_way_to_the_root_counts() {
        let group = ("proc/self/cgroup", "0::/pod/sidecar\n");
        let own = ("sys/fs/cgroup/pod/sidecar/memory.max", "max\n");
        assert_eq!(limit(&[group, own]), None);
        assert_eq!(limit(&[group, own, ("sys/fs/cgroup/pod/memory.max", "33554432\n")]), Some(32 << 20));
        let rooted = ("sys/fs/cgroup/memory.max", "1048576\n");
        assert_eq!(limit(&[group, own, rooted]), Some(1 << 20), "the path may be one of the host");
        assert_eq!(limit(&[rooted]), None);
    }

    #[test]
    fn the_first_version_has_a_hierarchy_of_its_own_for_memory() {
        let group = ("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/docker/a\n0::/\n");
        let file = "sys/fs/cgroup/memory/docker/a/memory.limit_in_bytes";
        assert_eq!(limit(&[group, (file, "67108864\n")]), Some(64 << 20));
        assert_eq!(limit(&[group, (file, "9223372036854771712\n")]), None);
        assert_eq!(limit(&[group, ("sys/fs/cgroup/unified/memory.max", "67108864\n")]), Some(64 << 20));
        let unified = ("sys/fs/cgroup/unified/memory.max", "33554432\n");
        assert_eq!(limit(&[group, (file, "67108864\n"), unified]), Some(32 << 20), "the least of both");
    }
}
