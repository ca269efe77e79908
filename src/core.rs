//! The pure core: it decides, and touches nothing. No I/O, no clock, no async, no lock, no chance.

pub mod answer;
pub mod attempts;
pub mod budget;
pub mod classify;
pub mod critical;
pub mod decision;
pub mod entry;
pub mod fingerprint;
pub mod health;
pub mod hosts;
pub mod key;
pub mod labelled;
pub mod matching;
pub mod message;
pub mod network;
pub mod policy;
pub mod question;
pub mod record;
pub mod refresh;
pub mod resolv_conf;
pub mod restore;
pub mod routes;
pub mod special;
pub mod suffix;
pub mod takeover;
#[cfg(test)]
pub(crate) mod testing;
pub mod time;
pub mod upstream;
pub mod upstream_query;
