//! A pipe that nobody reads, as a log shipper that hangs leaves it.

use std::fs::OpenOptions;
use std::io::{PipeReader, PipeWriter, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Stdio;

/// A pipe that nobody reads; whoever writes to it once it is full waits for ever.
pub struct StalledPipe {
    /// Held, so that writing waits instead of failing.
    _reader: PipeReader,
    writer: PipeWriter,
}

impl StalledPipe {
    /// A pipe that still takes a few bytes.
    pub fn new() -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        Self { _reader: reader, writer }
    }

    /// A pipe that is full.
    pub fn full() -> Self {
        let pipe = Self::new();
        pipe.fill();
        pipe
    }

    /// Fills the pipe to the last byte.
    pub fn fill(&self) {
        // Opened once more, so that only this descriptor does not wait.
        let path = format!("/proc/self/fd/{}", self.writer.as_raw_fd());
        let mut again = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap();
        for size in [4096, 1] {
            while again.write(&vec![b'x'; size]).is_ok() {}
        }
    }

    /// The end for writing, as the standard error of a child.
    pub fn end(&self) -> Stdio {
        self.writer.try_clone().unwrap().into()
    }
}
