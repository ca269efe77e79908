//! Seeds: remembered answers as a text that people can read and write.
//!
//! A seed comes from an image layer, a ConfigMap, or a sibling's `holdover cache export`; it is
//! read at the start and never written to.
//!
//! ```json
//! {
//!   "format": "holdover-seed",
//!   "version": 1,
//!   "answers": [
//!     {"name": "www.example.com.", "type": "A", "stored": "2026-11-24T12:00:00Z",
//!      "records": [{"name": "www.example.com.", "type": "A", "ttl": 60, "data": "192.0.2.1"}]}
//!   ]
//! }
//! ```
//!
//! | key of an answer | when left out | what |
//! |---|---|---|
//! | `name`, `type` | needed | the question; class IN. A type without a name is `TYPE65280` |
//! | `rcode` | `NOERROR` | or `NXDOMAIN` |
//! | `ttl` | 60 | TTL of the records that name none, in seconds |
//! | `stored` | unknown | when upstream gave it (RFC 3339). Unknown: it is stale from the start, servable for maximum stale from then on, and never replaces anything |
//! | `hits` | 0 | how often it was asked for; the hottest names are refreshed first |
//! | `dnssec` | `""` | `do`, `cd` or `do cd`: what the query asked for |
//! | `authentic` | `false` | whether upstream set AD |
//! | `records` | none | the answer section: `name` (the question's when left out), `type` (the question's when left out), `ttl`, `data` |
//! | `authority` | none | the authority section, of negative answers the SOA |
//!
//! `data` is presentation format, or the generic form of RFC 3597: `\# 4 c0000201`. Additional
//! records and extended errors are left out. What is read is judged like a response from upstream.
//! One wrong answer costs that answer; all mistakes are told with their lines.

mod presentation;
mod rfc3339;
mod text;

use std::io::Read;
use std::path::Path;

pub use presentation::{read_name, read_type};
pub use text::{Leftovers, Mistake, SeedError, Seedling, read_text};

use crate::core::entry::Entry;
use crate::core::key::Key;

/// Reads a file's text, of so many bytes at the most.
///
/// # Errors
/// [`SeedError`] when it cannot be read, or is too large.
pub fn read_file(path: &Path, most: usize) -> Result<String, SeedError> {
    let file = std::fs::File::open(path)?;
    let mut text = String::new();
    let bound = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    if file.take(bound).read_to_string(&mut text)? > most {
        return Err(SeedError::TooLarge(most));
    }
    Ok(text)
}

/// Writes a file's text answer by answer.
#[derive(Debug)]
pub struct Writer<W: std::io::Write> {
    /// Where to.
    out: W,
    /// Answers so far.
    written: usize,
}

impl<W: std::io::Write> Writer<W> {
    /// Begins the text.
    ///
    /// # Errors
    /// What the output says.
    pub fn new(mut out: W) -> std::io::Result<Self> {
        write!(out, "{{\"format\":\"{}\",\"version\":{},\"answers\":[", text::FORMAT, text::VERSION)?;
        Ok(Self { out, written: 0 })
    }

    /// Adds an answer; false when it cannot be told as text.
    ///
    /// # Errors
    /// What the output says.
    pub fn add(&mut self, key: &Key, entry: &Entry, hits: u32) -> std::io::Result<bool> {
        let Some(answer) = text::show(key, entry, hits) else { return Ok(false) };
        write!(self.out, "{}\n{answer}", if self.written == 0 { "" } else { "," })?;
        self.written += 1;
        Ok(true)
    }

    /// The output so far, to be taken away piece by piece.
    pub const fn out(&mut self) -> &mut W {
        &mut self.out
    }

    /// Ends the text; gives the number of its answers.
    ///
    /// # Errors
    /// What the output says.
    pub fn finish(&mut self) -> std::io::Result<usize> {
        write!(self.out, "\n]}}\n")?;
        self.out.flush()?;
        Ok(self.written)
    }
}
