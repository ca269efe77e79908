//! What the repository says about itself is true: its layers, documents, configuration files and
//! alerts. Beside these stand property tests of pure functions: fuzz bodies with mutated input, and
//! DNS messages that hickory-proto reads as well.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking"
)]

mod alerts;
mod answers;
mod architecture;
mod config;
mod fuzz;
mod questions;
mod readme;
mod structure;
#[path = "../support/mod.rs"]
mod support;
