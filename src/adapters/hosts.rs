//! Reads a hosts file; what stands in it is `core::hosts`' affair.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::config::limits::HOSTS_MAX;
use crate::core::hosts::{self, Hosts};

/// Tells whether a file is as it was: written in place or replaced, it has another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Device and inode.
    file: [u64; 2],
    /// Bytes.
    size: u64,
    /// Change of content, then of anything: seconds and nanoseconds.
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
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It is no file: reading a pipe or a device may never end.
    #[error("is not a file")]
    NotAFile,
    /// It is larger than any hosts file.
    #[error("is larger than {} KiB", HOSTS_MAX >> 10)]
    TooLarge,
}

/// What a file is at the moment.
///
/// # Errors
/// [`HostsError::Unreadable`], [`HostsError::NotAFile`].
pub fn stamp(path: &Path) -> Result<Stamp, HostsError> {
    let metadata = std::fs::metadata(path)?;
    if metadata.is_file() { Ok(Stamp::from(&metadata)) } else { Err(HostsError::NotAFile) }
}

/// Reads a file; what is not text in it makes its line a wrong one.
///
/// # Errors
/// [`HostsError`].
pub fn read(path: &Path) -> Result<hosts::ParsedHosts, HostsError> {
    stamp(path)?;
    let mut bytes = Vec::new();
    File::open(path)?.take(HOSTS_MAX + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > HOSTS_MAX {
        return Err(HostsError::TooLarge);
    }
    Ok(Hosts::read(&String::from_utf8_lossy(&bytes)))
}
