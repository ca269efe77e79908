//! Opens files that the operator names, and nothing but regular files: opening a named pipe waits
//! until somebody writes to it, and reading a device may never end.
//!
//! The path is looked at before it is opened, since opening a device can have effects, and the open
//! file is looked at again, since the path may lead elsewhere by then. It is opened without waiting
//! for a writer. A file system that hangs still hangs its reader: whoever must not wait for it
//! reads on a thread of its own.

use std::fs::{File, FileType, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Flags with which a file is opened (open(2)) so that nobody is waited for.
pub const FLAGS: i32 = libc::O_NONBLOCK;

/// Opens a regular file for reading; a link is followed.
///
/// # Errors
/// Those of the operating system; [`io::ErrorKind::InvalidInput`] for anything but a regular file.
pub fn open(path: &Path) -> io::Result<File> {
    refuse_others(std::fs::metadata(path)?.file_type())?;
    let file = OpenOptions::new().read(true).custom_flags(FLAGS).open(path)?;
    refuse_others(file.metadata()?.file_type())?;
    Ok(file)
}

/// Reads a regular file of at most `most` bytes; one byte more shows that the file is longer.
///
/// # Errors
/// Those of [`open`] and of reading.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn refuse_others(kind: FileType) -> io::Result<()> {
    let what = match kind {
        kind if kind.is_file() => return Ok(()),
        kind if kind.is_dir() => "a folder",
        kind if kind.is_fifo() => "a named pipe",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what} and not a regular file")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_opened_and_nothing_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let told = |path: &Path| open(path).unwrap_err().to_string();
        assert_eq!(told(&fifo), "it is a named pipe and not a regular file");
        assert_eq!(told(folder.path()), "it is a folder and not a regular file");
        assert_eq!(told(Path::new("/dev/zero")), "it is a device and not a regular file");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&fifo, &link).unwrap();
        assert_eq!(told(&link), "it is a named pipe and not a regular file");
        let file = folder.path().join("file");
        std::fs::write(&file, "12345").unwrap();
        assert_eq!((read(&file, 5).unwrap().len(), read(&file, 3).unwrap().len()), (5, 4));
    }
}
