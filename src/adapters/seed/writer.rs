//! Writes a seed answer by answer, so that it never lies in memory as a whole.

use std::io;

use super::text;
use crate::core::entry::Entry;
use crate::core::key::Key;

/// Writes the text of a seed to any output, one answer per line.
#[derive(Debug)]
pub struct SeedWriter<W: io::Write> {
    out: W,
    /// Answers so far.
    written: usize,
}

impl<W: io::Write> SeedWriter<W> {
    /// Begins a seed on an output.
    ///
    /// # Errors
    /// The error of the output.
    pub fn new(mut out: W) -> io::Result<Self> {
        write!(out, "{{\"format\":\"{}\",\"version\":{},\"answers\":[", text::FORMAT, text::VERSION)?;
        Ok(Self { out, written: 0 })
    }

    /// Adds an answer; false when it cannot be written as text, and is left out.
    ///
    /// # Errors
    /// The error of the output.
    pub fn add(&mut self, key: &Key, entry: &Entry, hits: u32) -> io::Result<bool> {
        let Some(answer) = text::show(key, entry, hits) else { return Ok(false) };
        write!(self.out, "{}\n{answer}", if self.written == 0 { "" } else { "," })?;
        self.written += 1;
        Ok(true)
    }

    /// The output, from which the text so far may be taken piece by piece.
    pub const fn out(&mut self) -> &mut W {
        &mut self.out
    }

    /// Ends the seed, and gives the number of answers in it.
    ///
    /// # Errors
    /// The error of the output.
    pub fn finish(&mut self) -> io::Result<usize> {
        write!(self.out, "\n]}}\n")?;
        self.out.flush()?;
        Ok(self.written)
    }
}
