//! Replaces a small file: by rename, so that every reader sees the old or the new one; in place
//! where a rename cannot be had.
//!
//! | where | how |
//! |---|---|
//! | a file, or a symbolic link | a new file beside it, synchronised, renamed over it. A link itself is replaced: its target belongs to somebody who writes it |
//! | a mount point (a container's `/etc/resolv.conf`), or a folder that cannot be written | in place: one write over the old bytes, then cut to length. Readers see new lines before old ones for an instant, never an empty file, which libc takes for "ask 127.0.0.1" |
//!
//! Writing in place that fails half-way puts the old bytes back. A full disk fails before the old
//! file is touched, where it is replaced by rename.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt, fchown, symlink};
use std::path::{Path, PathBuf};

use crate::core::takeover::Was;

/// How a file was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// By rename.
    Renamed,
    /// In place.
    InPlace,
}

/// Puts these bytes where `path` is, as a file with these permissions and owner; a link becomes a
/// link again.
///
/// # Errors
/// What the system says about the last way that was tried.
pub(super) fn put(path: &Path, bytes: &[u8], was: &Was) -> io::Result<How> {
    let temporary = beside(path);
    // Left by a process that was killed here.
    let _ = fs::remove_file(&temporary);
    let renamed = make(&temporary, bytes, was).and_then(|()| fs::rename(&temporary, path));
    let Err(error) = renamed else {
        synchronise_folder(path);
        return Ok(How::Renamed);
    };
    let _ = fs::remove_file(&temporary);
    let is_file = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file());
    match error.kind() {
        io::ErrorKind::ResourceBusy | io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
            if is_file =>
        {
            write_in_place(path, bytes).map(|()| How::InPlace)
        }
        _ => Err(error),
    }
}

/// The name of the file that is renamed; one process at a time has it.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.holdover-{}", std::process::id()))
}

/// Makes the file that is renamed.
fn make(path: &Path, bytes: &[u8], was: &Was) -> io::Result<()> {
    match was {
        Was::Link(target) => symlink(target, path),
        Was::File { mode, owner, group } => {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(bytes)?;
            // Only root may give files away; for everybody else it is theirs already.
            let _ = fchown(&file, Some(*owner), Some(*group));
            file.set_permissions(Permissions::from_mode(*mode))?;
            file.sync_all()
        }
    }
}

/// Makes a rename last; where it cannot be done the file system decides.
fn synchronise_folder(path: &Path) {
    if let Some(folder) = path.parent()
        && let Ok(folder) = File::open(folder)
    {
        let _ = folder.sync_all();
    }
}

/// Writes over a file's bytes.
fn write_in_place(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let old = fs::read(path)?;
    let file = OpenOptions::new().write(true).open(path)?;
    let over = |bytes: &[u8]| {
        file.write_all_at(bytes, 0)?;
        file.set_len(bytes.len().try_into().unwrap_or(u64::MAX))?;
        file.sync_all()
    };
    over(bytes).inspect_err(|_| {
        let _ = over(&old);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Was = Was::File { mode: 0o640, owner: 0, group: 0 };

    #[test]
    fn a_file_is_replaced_with_its_permissions_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        fs::write(&path, "old").unwrap();
        // A predecessor of the same process number was killed.
        fs::write(beside(&path), "torn").unwrap();
        assert_eq!(put(&path, b"new", &PLAIN).unwrap(), How::Renamed);
        assert_eq!(
            (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().permissions().mode() & 0o777),
            (b"new".to_vec(), 0o640)
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_is_replaced_and_comes_back_and_its_target_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (path, target) = (folder.path().join("resolv.conf"), folder.path().join("stub"));
        fs::write(&target, "stub").unwrap();
        symlink("stub", &path).unwrap();
        put(&path, b"ours", &PLAIN).unwrap();
        assert!(fs::symlink_metadata(&path).unwrap().is_file() && fs::read(&target).unwrap() == b"stub");
        put(&path, b"", &Was::Link("stub".into())).unwrap();
        assert_eq!((fs::read_link(&path).unwrap(), fs::read(&path).unwrap()), ("stub".into(), b"stub".to_vec()));
    }

    #[test]
    fn in_place_a_shorter_text_leaves_nothing_of_the_longer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        fs::write(&path, "a long line\n").unwrap();
        write_in_place(&path, b"short\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"short\n");
    }
}
