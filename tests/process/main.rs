//! The built binary as its users meet it: commands, signals, exit codes, the log, the admin
//! interface, and the takeover of `resolv.conf`. Every test starts child processes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking, and measures real time"
)]

mod admin;
mod check;
mod critical;
mod drill;
mod host;
mod serve;
#[path = "../support/mod.rs"]
mod support;
mod takeover;
