//! The pure core: it decides, and touches nothing. No I/O, no clock, no async, no lock, no chance.

pub mod answer;
pub mod classify;
pub mod entry;
pub mod key;
pub mod matching;
pub mod message;
pub mod policy;
pub mod question;
#[cfg(test)]
pub(crate) mod testing;
pub mod time;
