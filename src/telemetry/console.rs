//! Output for the person who typed the command: results on standard output, everything else on
//! standard error.
//!
//! `println!` and `eprintln!` panic when they cannot write. A sidecar, a health check or the first
//! process of a container must not end because nobody reads its output, so all printing goes
//! through this module, and clippy forbids those macros in this crate.
//!
//! | problem | standard output | standard error |
//! |---|---|---|
//! | the reader is gone (`holdover status \| head -1`) | the rest is left out | the rest is left out |
//! | the stream cannot be written (a full disk) | an error, and the exit code 1 | left out: there is no other place |
//!
//! A reader that is gone does not change the exit code. Scripts call `holdover check` and the drill
//! for the exit code, whether anybody reads the words or not.

use std::fmt::Display;
use std::io::{self, Write};

use super::output;

/// Standard output cannot be written, for another reason than that its reader is gone.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output: {0}")]
pub struct Unwritable(#[source] io::Error);

/// Writes a result to standard output, completely before it returns.
///
/// # Errors
/// [`Unwritable`], unless the reader is gone, which has then read all that it wanted.
pub fn say(text: &str) -> Result<(), Unwritable> {
    say_to(io::stdout().lock(), text)
}

fn say_to(mut out: impl Write, text: &str) -> Result<(), Unwritable> {
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        Err(error) if !is_reader_gone(&error) => Err(Unwritable(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Writes one line about a problem to standard error, after the word `holdover:`.
pub fn complain(what: impl Display) {
    remark(format_args!("holdover: {what}"));
}

/// Writes a line to standard error with one system call, so that other writers' text is not mixed
/// into it. In a process that lives long, a thread does that ([`output`]).
pub fn remark(line: impl Display) {
    output::write(format!("{line}\n").as_bytes());
}

/// Whether a write failed because the reader of the output is gone.
#[must_use]
pub fn is_reader_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A writer that fails with this error.
    struct FailingWriter(io::ErrorKind);

    impl Write for FailingWriter {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn a_reader_that_is_gone_is_no_error_and_a_full_disk_is_one() {
        assert!(say_to(FailingWriter(io::ErrorKind::BrokenPipe), "result").is_ok());
        let full = say_to(FailingWriter(io::ErrorKind::StorageFull), "result").map_err(|error| error.to_string());
        assert_eq!(full, Err("cannot write to standard output: no storage space".to_owned()));
        let mut out = Vec::new();
        assert!(say_to(&mut out, "result\n").is_ok() && out == b"result\n");
    }
}
