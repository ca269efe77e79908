//! Finds out what kinds of programs read the host's `resolv.conf`: which C libraries have their
//! dynamic loader here, and whether systemd-resolved runs.
//!
//! A loader lies where its ABI says (`/lib/ld-musl-x86_64.so.1`, `/lib64/ld-linux-x86-64.so.2`), on
//! every distribution. Alpine's gcompat puts a link to itself in the place of glibc's loader; that
//! does not count as glibc.

use std::path::Path;

use crate::core::takeover::Readers;

/// Looks for loaders and for systemd-resolved in the file system below `root`, which is `/` outside
/// of tests.
#[must_use]
pub fn readers(root: &Path) -> Readers {
    let mut readers = Readers {
        alpine: root.join("etc/alpine-release").exists(),
        resolved: root.join("run/systemd/resolve/resolv.conf").exists(),
        ..Readers::default()
    };
    for folder in ["lib", "lib64"] {
        let Ok(entries) = std::fs::read_dir(root.join(folder)) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("ld-musl-") {
                readers.musl = true;
            } else if name.starts_with("ld-linux") || name.starts_with("ld64.so") {
                let target = std::fs::canonicalize(entry.path());
                let real = target.is_ok_and(|target| {
                    !["musl", "gcompat"].iter().any(|other| target.to_string_lossy().contains(other))
                });
                readers.glibc |= real;
            }
        }
    }
    readers
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root with these empty files.
    fn root(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        root
    }

    #[test]
    fn loaders_tell_the_libc() {
        let debian = root(&["lib64/ld-linux-x86-64.so.2", "lib/ld-musl-x86_64.so.1"]);
        assert_eq!(readers(debian.path()), Readers { musl: true, glibc: true, alpine: false, resolved: false });
        let amazon = root(&["lib/ld-linux-aarch64.so.1", "run/systemd/resolve/resolv.conf"]);
        assert_eq!(readers(amazon.path()), Readers { musl: false, glibc: true, alpine: false, resolved: true });
        assert_eq!(readers(root(&[]).path()), Readers::default());
    }

    #[test]
    fn a_stand_in_for_glibc_is_none() {
        let alpine = root(&["lib/ld-musl-x86_64.so.1", "lib/libgcompat.so.0", "etc/alpine-release"]);
        std::os::unix::fs::symlink("libgcompat.so.0", alpine.path().join("lib/ld-linux-x86-64.so.2")).unwrap();
        assert_eq!(readers(alpine.path()), Readers { musl: true, glibc: false, alpine: true, resolved: false });
    }
}
