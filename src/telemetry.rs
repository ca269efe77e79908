//! Everything that holdover reports about itself: log lines, counters, metrics and `/status`.
//!
//! Other layers emit an event of [`events`] or count in [`tally`]; only this layer knows the words
//! that operators read. Those words are an interface: the README says which of them stay as they
//! are within a major version.

pub mod console;
pub mod counters;
pub mod events;
pub mod exposition;
pub mod logging;
pub mod metric;
pub mod metrics;
pub mod output;
pub mod reading;
mod samples;
pub mod shared_cache;
pub mod state_file;
pub mod takeover;
pub mod tally;
pub mod tasks;
pub mod words;
