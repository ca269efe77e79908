//! The admin interface of a real process: status, metrics, export, import, flush; and what it does
//! not let happen.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub,
    dead_code
)]

#[path = "process/binary.rs"]
mod binary;
#[path = "admin/bounds.rs"]
mod bounds;
#[path = "wire/harness.rs"]
mod harness;
#[path = "admin/http.rs"]
mod http;
#[path = "admin/memory.rs"]
mod memory;
#[path = "admin/sidecar.rs"]
mod sidecar;
#[path = "admin/telling.rs"]
mod telling;
