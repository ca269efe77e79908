//! Behaviour in virtual time: the real resolver with a clock that the test moves, and upstreams
//! that do what the test says. Nothing here opens a socket or waits for real.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking"
)]

mod allocations;
mod failover;
mod fleet;
mod flood;
mod forging;
mod prefetch;
mod replay;
mod simulation;
#[path = "../support/mod.rs"]
mod support;
mod variants;
mod world;
