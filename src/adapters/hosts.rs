//! Reads a hosts file from the disk, within a bound on its size, and finds out whether the file has
//! changed.
//!
//! What the lines of the file mean is decided in `core::hosts`; when the file is read again, in
//! `app`.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::config::limits::HOSTS_MAX;
use crate::config::regular_file;
use crate::core::hosts::{self, Hosts};

/// The state of a file on the disk: a file that was written or replaced has another stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Device and inode, which another file has differently.
    file: [u64; 2],
    size: u64,
    /// The time at which the content changed, then the time at which anything about the file
    /// changed; each in seconds and nanoseconds.
    changed: [i64; 4],
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        Self {
            file: [metadata.dev(), metadata.ino()],
            size: metadata.size(),
            changed: [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()],
        }
    }
}

/// Why a hosts file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HostsError {
    /// The file cannot be opened or read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// The path is no regular file: reading a pipe or a device may never end.
    #[error("is not a file")]
    NotAFile,
    /// The file is larger than any hosts file that somebody would write.
    #[error("is larger than {} KiB", HOSTS_MAX >> 10)]
    TooLarge,
}

/// Takes the present stamp of a file.
///
/// # Errors
/// [`HostsError::Unreadable`] when there is no such file or it cannot be looked at;
/// [`HostsError::NotAFile`] when the path leads to something else.
pub fn stamp(path: &Path) -> Result<Stamp, HostsError> {
    let metadata = std::fs::metadata(path)?;
    if metadata.is_file() { Ok(Stamp::from(&metadata)) } else { Err(HostsError::NotAFile) }
}

/// Reads a hosts file. A line that is not text is a mistake like any other line that cannot be
/// understood, and does not keep the rest from being used.
///
/// # Errors
/// [`HostsError::Unreadable`], [`HostsError::NotAFile`], and [`HostsError::TooLarge`] beyond 1 MiB.
pub fn read(path: &Path) -> Result<hosts::ParsedHosts, HostsError> {
    stamp(path)?;
    let bytes = regular_file::read(path, HOSTS_MAX)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > HOSTS_MAX {
        return Err(HostsError::TooLarge);
    }
    Ok(Hosts::read(&String::from_utf8_lossy(&bytes)))
}
