//! Seeds: remembered answers as text that people can read and write.
//!
//! A seed comes from an image layer, a ConfigMap, or the `holdover cache export` of another
//! instance. It is read at the start, and never written to.
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
//! | key of an answer | when left out | meaning |
//! |---|---|---|
//! | `name`, `type` | required | the question, in class IN. A type without a name is written as `TYPE65280` |
//! | `rcode` | `NOERROR` | `NOERROR` or `NXDOMAIN` |
//! | `ttl` | 60 | TTL of the records that have none of their own, in seconds |
//! | `stored` | unknown | when an upstream gave the answer (RFC 3339) |
//! | `hits` | 0 | how often the answer was asked for; the hottest names are refreshed first |
//! | `dnssec` | `""` | the DNSSEC bits of the query: `do`, `cd` or `do cd` |
//! | `authentic` | `false` | whether the upstream set AD |
//! | `records` | none | the answer section: `name` and `type` (those of the question when left out), `ttl`, `data` |
//! | `authority` | none | the authority section; for negative answers the SOA |
//!
//! Without `stored` the answer is stale from the start, servable for the maximum stale from then
//! on, and never replaces another answer. `data` is in presentation format, or in the generic form
//! of RFC 3597: `\# 4 c0000201`. Additional records and extended errors are left out. What is read
//! is classified like a response from an upstream. A mistake costs the answer in which it stands
//! and no other; all mistakes are counted, and the first are reported with their lines.

mod presentation;
mod rfc3339;
mod text;
mod writer;

use std::io::Read;
use std::path::Path;

use crate::config::regular_file;
pub use presentation::{read_name, read_type, show_records};
pub use text::{Leftovers, SeedAnswer, SeedError, SeedMistake, read_text};
pub use writer::SeedWriter;

/// Reads the text of a seed from a file of at most `most` bytes.
///
/// # Errors
/// [`SeedError::File`] when the file cannot be read, [`SeedError::TooLarge`] when it is longer.
pub fn read_file(path: &Path, most: usize) -> Result<String, SeedError> {
    let file = regular_file::open(path)?;
    let mut text = String::new();
    // One byte more shows that the file is too long, without reading the rest of it.
    let bound = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    if file.take(bound).read_to_string(&mut text)? > most {
        return Err(SeedError::TooLarge(most));
    }
    Ok(text)
}
