//! What the repository says about itself is true: layers, documents, configuration, alerts. Beside
//! them stand the pure functions of the core, held against random input.

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
mod architecture;
mod config;
mod fuzz;
mod questions;
mod readme;
#[path = "../support/mod.rs"]
mod support;
