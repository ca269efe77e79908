//! What is said to whoever typed the command: results on standard output, everything else on
//! standard error.
//!
//! The macros of the standard library panic when that cannot be written; a sidecar, a health check
//! or the first process of a container must not end because nobody reads what it says. So nothing
//! else here prints (`lib.rs` has clippy hold that).
//!
//! | what is wrong | standard output | standard error |
//! |---|---|---|
//! | its reader is gone (`holdover status \| head -1`) | the rest is left out | the rest is left out |
//! | it cannot be written (a full disk) | an error: the command fails with 1 and says so | left out: there is no place to say it |
//!
//! A reader that is gone does not change the exit code. It is what `holdover check` and the drill
//! are called for, whether somebody reads the words or not; a shell that wants the other meaning
//! has `pipefail` for the command that went away.

use std::fmt::Display;
use std::io::{self, Write};

/// Standard output cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output: {0}")]
pub struct Unwritable(#[source] io::Error);

/// Writes a result, all of it, before it returns.
///
/// # Errors
/// [`Unwritable`], unless the reader is gone, who has read enough.
pub fn say(text: &str) -> Result<(), Unwritable> {
    say_to(io::stdout().lock(), text)
}

/// The same to any place.
fn say_to(mut out: impl Write, text: &str) -> Result<(), Unwritable> {
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        Err(error) if !is_reader_gone(&error) => Err(Unwritable(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Says on standard error what is wrong, in the name of holdover.
pub fn complain(what: impl Display) {
    remark(format_args!("holdover: {what}"));
}

/// Writes a line to standard error, in one piece.
pub fn remark(line: impl Display) {
    let _ = io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

/// Whether something could not be written since nobody reads any more.
#[must_use]
pub fn is_reader_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails like this.
    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn a_reader_that_is_gone_is_no_error_and_a_full_disk_is_one() {
        assert!(say_to(Broken(io::ErrorKind::BrokenPipe), "result").is_ok());
        let full = say_to(Broken(io::ErrorKind::StorageFull), "result").map_err(|error| error.to_string());
        assert_eq!(full, Err("cannot write to standard output: no storage space".to_owned()));
        let mut out = Vec::new();
        assert!(say_to(&mut out, "result\n").is_ok() && out == b"result\n");
    }
}
