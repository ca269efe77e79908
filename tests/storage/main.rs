//! What is remembered outside of the process: the state file on disk, and the cache that the
//! instances of a fleet share in Redis or Valkey.

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

#[cfg(feature = "shared-cache")]
mod shared_cache;
mod state_file;
#[path = "../support/mod.rs"]
mod support;
