//! Reads a `resolv.conf` within a bound on its size, and replaces small files: by rename, so that
//! every reader sees either the old or the new text; in place where a rename is not possible.
//!
//! | where | how |
//! |---|---|
//! | a file, or a symbolic link | a new file is made beside it, synchronised, and renamed over it |
//! | a mount point, or a folder that cannot be written | one write over the old bytes, then the file is cut to length |
//!
//! A link itself is replaced, because its target belongs to the program that writes it. A
//! container's `/etc/resolv.conf` is a mount point. Readers of a file that is written in place may
//! see new lines before old ones for an instant, but never an empty file, for which libc would ask
//! 127.0.0.1.
//!
//! When writing in place fails half-way, the old bytes are written back. Where the file is replaced
//! by rename, a full disk fails before the old file is touched.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt, fchown, symlink};
use std::path::{Path, PathBuf};

use super::error::ResolvConfError;
use crate::config::limits::RESOLV_CONF_MAX;
use crate::config::regular_file;
use crate::core::takeover::Was;

/// Reads the text of a `resolv.conf`; bytes that are not UTF-8 become the replacement character.
///
/// # Errors
/// [`ResolvConfError::Unreadable`] and [`ResolvConfError::TooLarge`].
pub(super) fn load(path: &Path) -> Result<String, ResolvConfError> {
    Ok(String::from_utf8_lossy(&load_bytes(path)?).into_owned())
}

/// Reads the bytes of a `resolv.conf`, at most [`RESOLV_CONF_MAX`].
///
/// # Errors
/// [`ResolvConfError::Unreadable`] and [`ResolvConfError::TooLarge`].
pub(super) fn load_bytes(path: &Path) -> Result<Vec<u8>, ResolvConfError> {
    let unreadable = |source| ResolvConfError::Unreadable { path: path.to_owned(), source };
    let bytes = regular_file::read(path, RESOLV_CONF_MAX).map_err(unreadable)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > RESOLV_CONF_MAX {
        return Err(ResolvConfError::TooLarge(path.to_owned()));
    }
    Ok(bytes)
}

/// How a file was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// A new file was renamed over the old one.
    Renamed,
    /// The bytes of the existing file were overwritten.
    InPlace,
}

/// Replaces what is at `path` by a file with these bytes, permissions and owner, or by a symbolic
/// link where `was` is one; the bytes are not used then.
///
/// # Errors
/// The error of the operating system for the last way that was tried; the old content stands.
pub(super) fn put(path: &Path, bytes: &[u8], was: &Was) -> io::Result<How> {
    // A process with the same number may have been killed here and have left its temporary file.
    let temporary = temporary_beside(path);
    let _ = fs::remove_file(&temporary);
    let renamed = make(&temporary, bytes, was).and_then(|()| fs::rename(&temporary, path));
    let Err(error) = renamed else {
        synchronise_folder(path);
        return Ok(How::Renamed);
    };
    let _ = fs::remove_file(&temporary);
    // A mount point gives EBUSY; a folder that cannot be written gives EACCES or EROFS, while the
    // file in it may still be writable.
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

/// The name of the temporary file that is renamed over `path`; only one process at a time uses it.
fn temporary_beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.holdover-{}", std::process::id()))
}

/// Makes the file or link that is renamed over the old one.
fn make(path: &Path, bytes: &[u8], was: &Was) -> io::Result<()> {
    match was {
        Was::Link(target) => symlink(target, path),
        Was::File { mode, owner, group } => {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(bytes)?;
            // Only root may give a file to another user; what any other user makes is its own
            // already.
            let _ = fchown(&file, Some(*owner), Some(*group));
            file.set_permissions(Permissions::from_mode(*mode))?;
            file.sync_all()
        }
    }
}

/// Makes a rename outlast a power cut. Where the folder cannot be synchronised, it is left to the
/// file system when the rename reaches the disk.
fn synchronise_folder(path: &Path) {
    if let Some(folder) = path.parent()
        && let Ok(folder) = File::open(folder)
    {
        let _ = folder.sync_all();
    }
}

/// Overwrites the bytes of an existing file, and writes the old ones back when that fails.
fn write_in_place(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let old = fs::read(path)?;
    let file = OpenOptions::new().write(true).open(path)?;
    let overwrite = |bytes: &[u8]| {
        file.write_all_at(bytes, 0)?;
        file.set_len(bytes.len().try_into().unwrap_or(u64::MAX))?;
        file.sync_all()
    };
    overwrite(bytes).inspect_err(|_| {
        let _ = overwrite(&old);
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
        fs::write(temporary_beside(&path), "torn").unwrap();
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
