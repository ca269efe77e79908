//! The output of a process that lives long: log lines, and the words on standard error, are handed
//! to a thread that writes them, so that nothing else ever waits for whoever reads them.
//!
//! A pipe that nobody reads is full after 64 KiB, and whoever writes to it then waits for ever: a
//! log shipper that hangs would stop the resolver, and the signal that is to end it.
//!
//! | what happens | what follows |
//! |---|---|
//! | standard error takes a while | lines wait, [`LINES_MAX`] of them and [`BYTES_MAX`] bytes at most |
//! | a further line comes, or one cannot be written | it is dropped and counted ([`dropped`]) |
//! | lines can be written again | one line says how many were dropped |
//! | a thread panics | that is a line like any other |
//! | the process ends | it waits for what is left, [`END_WITHIN`] at most ([`finish`]) |
//!
//! Commands that end by themselves do not call [`start`]: each of their lines is written before
//! the next step, and Ctrl-C ends them. `tracing-appender` does something alike, but bounds lines
//! alone and not bytes, and does not say what it dropped.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::panic;
use std::sync::OnceLock;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::events;

/// Lines that may wait to be written.
const LINES_MAX: usize = 4096;
/// Bytes of all lines that wait to be written; a longer line is never written.
const BYTES_MAX: usize = 512 << 10;
/// How long the end of the process waits for lines to be written.
const END_WITHIN: Duration = Duration::from_millis(500);
/// Pause before a descriptor that is not ready, and does not wait by itself, is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(20);

/// The lines of this process; empty in a process that writes its lines itself.
static WAITING: OnceLock<WaitingLines> = OnceLock::new();

/// Has all lines on standard error written by a thread from here on, those of panics included.
/// Where the system gives no thread, they are written as before.
pub fn start() {
    // A copy of the descriptor, since the lock of `io::stderr` is held by whoever waits to write.
    let Ok(descriptor) = io::stderr().as_fd().try_clone_to_owned() else { return };
    let thread = std::thread::Builder::new().name("log".to_owned()).stack_size(128 << 10);
    let started = thread.spawn(move || write_all(WAITING.get_or_init(WaitingLines::default), File::from(descriptor)));
    if started.is_ok() {
        let _ = WAITING.get_or_init(WaitingLines::default);
        panic::set_hook(Box::new(report_panic));
    }
}

/// Writes one line, its line end included, to standard error: at once, or through the thread.
pub fn write(line: &[u8]) {
    match WAITING.get() {
        Some(waiting) => waiting.push(line),
        None => drop(io::stderr().lock().write_all(line)),
    }
}

/// The number of lines that were dropped since the start, because standard error took no more.
#[must_use]
pub fn dropped() -> u64 {
    WAITING.get().map_or(0, |waiting| waiting.lines.lock().dropped)
}

/// Waits until all lines are written, for half a second at most.
pub fn finish() {
    if let Some(waiting) = WAITING.get() {
        waiting.wait_until_written(END_WITHIN);
    }
}

/// The standard error of the log: one call of `write` is one line.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogOutput;

impl Write for LogOutput {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        write(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reports a panic in the log, or in plain words where the log has not been started yet.
fn report_panic(panic: &panic::PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("unnamed");
    if tracing::dispatcher::has_been_set() {
        events::ThreadPanicked { thread: name, panic: &panic.to_string() }.emit();
    } else {
        write(format!("thread '{name}' {panic}\n").as_bytes());
    }
}

/// Lines that wait to be written by one thread.
#[derive(Default)]
struct WaitingLines {
    lines: Mutex<Lines>,
    /// Notified when a line has come or was written.
    changed: Condvar,
}

#[derive(Default)]
struct Lines {
    waiting: VecDeque<Box<[u8]>>,
    /// Bytes of the lines that wait, and of the one that is being written.
    bytes: usize,
    is_writing: bool,
    /// Lines that were dropped since the start.
    dropped: u64,
    /// Those of them of which no line has told yet.
    untold: u64,
}

impl Lines {
    fn drop_line(&mut self) {
        self.dropped = self.dropped.saturating_add(1);
        self.untold = self.untold.saturating_add(1);
    }
}

impl WaitingLines {
    /// Takes a line in, or drops it. Never waits.
    fn push(&self, line: &[u8]) {
        let mut lines = self.lines.lock();
        if lines.waiting.len() >= LINES_MAX || lines.bytes.saturating_add(line.len()) > BYTES_MAX {
            return lines.drop_line();
        }
        lines.bytes += line.len();
        lines.waiting.push_back(line.into());
        drop(lines);
        self.changed.notify_all();
    }

    /// Waits for the next line to be written.
    fn next(&self) -> Box<[u8]> {
        let mut lines = self.lines.lock();
        loop {
            if let Some(line) = lines.waiting.pop_front() {
                lines.is_writing = true;
                return line;
            }
            self.changed.wait(&mut lines);
        }
    }

    /// Takes note that a line was written or lost; gives how many lines were dropped when now is
    /// the time to tell.
    fn note(&self, line: &[u8], written: bool) -> Option<u64> {
        let mut lines = self.lines.lock();
        lines.is_writing = false;
        lines.bytes = lines.bytes.saturating_sub(line.len());
        if !written {
            lines.drop_line();
        }
        // There has to be room, or the line that tells of dropped ones would be dropped as well.
        let told = (written && lines.untold > 0 && lines.bytes < BYTES_MAX / 2).then(|| lines.untold);
        if told.is_some() {
            lines.untold = 0;
        }
        drop(lines);
        self.changed.notify_all();
        told
    }

    /// Waits until no line is left; false when that takes too long.
    fn wait_until_written(&self, within: Duration) -> bool {
        let mut lines = self.lines.lock();
        let left = |lines: &mut Lines| lines.is_writing || !lines.waiting.is_empty();
        !self.changed.wait_while_for(&mut lines, left, within).timed_out()
    }
}

/// Writes lines as they come, for as long as the process lives.
fn write_all(waiting: &WaitingLines, mut out: impl Write) {
    loop {
        let line = waiting.next();
        let written = write_line(&mut out, &line).is_ok();
        if let Some(dropped) = waiting.note(&line, written) {
            events::LogLinesDropped { dropped }.emit();
        }
    }
}

/// Writes a line as a whole, also to a descriptor that does not wait until it is ready.
fn write_line(out: &mut impl Write, mut line: &[u8]) -> io::Result<()> {
    while !line.is_empty() {
        match out.write(line) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(length) => line = line.get(length..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(RETRY_AFTER),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    #[test]
    fn lines_beyond_the_bounds_are_dropped_and_counted() {
        let of = |lines: &WaitingLines| {
            let lines = lines.lines.lock();
            (lines.waiting.len(), lines.bytes, lines.dropped)
        };
        let many = WaitingLines::default();
        (0..LINES_MAX + 3).for_each(|_| many.push(b"line\n"));
        assert_eq!(of(&many), (LINES_MAX, LINES_MAX * 5, 3));
        let long = WaitingLines::default();
        (0..3).for_each(|_| long.push(&vec![b'x'; BYTES_MAX / 2]));
        assert_eq!(of(&long), (2, BYTES_MAX, 1));
        // A line counts until it is written, also while it is being written.
        let line = long.next();
        long.push(b"line\n");
        assert_eq!(of(&long), (1, BYTES_MAX, 2));
        assert_eq!(long.note(&line, true), None, "there is no room yet for a line that tells");
        let line = long.next();
        assert_eq!(long.note(&line, true), Some(2));
        assert_eq!(of(&long), (0, 0, 2));
    }

    #[test]
    fn dropped_lines_are_told_once_and_only_when_a_line_could_be_written() {
        let waiting = WaitingLines::default();
        waiting.push(b"lost\n");
        waiting.push(b"written\n");
        let lost = waiting.next();
        assert_eq!(waiting.note(&lost, false), None);
        let written = waiting.next();
        assert_eq!((waiting.note(&written, true), waiting.note(&written, true)), (Some(1), None));
    }

    #[test]
    fn the_end_waits_for_the_last_line_and_not_for_a_reader_that_hangs() {
        let waiting = WaitingLines::default();
        assert!(waiting.wait_until_written(SHORT), "there is none");
        waiting.push(b"line\n");
        assert!(!waiting.wait_until_written(SHORT), "nobody writes it");
        let line = waiting.next();
        assert!(!waiting.wait_until_written(SHORT), "it is being written");
        waiting.note(&line, true);
        assert!(waiting.wait_until_written(SHORT));
    }

    #[test]
    fn a_line_is_written_as_a_whole_to_a_descriptor_that_does_not_wait() {
        /// Takes three bytes at a time, and every second time nothing.
        struct Slow(Vec<u8>, bool);
        impl Write for Slow {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.1 = !self.1;
                if self.1 {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                let length = bytes.len().min(3);
                self.0.extend_from_slice(&bytes[..length]);
                Ok(length)
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut slow = Slow(Vec::new(), false);
        assert!(write_line(&mut slow, b"a line\n").is_ok());
        assert_eq!(slow.0, b"a line\n");
    }
}
