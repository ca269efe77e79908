//! What is remembered outlives the process: kill -9, power cuts, disks that are full, read-only or
//! somebody else's, files that are none.

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
#[path = "persistence/disk.rs"]
mod disk;
#[path = "persistence/file.rs"]
mod file;
#[path = "persistence/flush.rs"]
mod flush;
#[path = "persistence/full.rs"]
mod full;
#[path = "wire/harness.rs"]
mod harness;
#[path = "persistence/memory.rs"]
mod memory;
#[path = "persistence/process.rs"]
mod process;
#[path = "persistence/sidecar.rs"]
mod sidecar;
#[path = "persistence/turns.rs"]
mod turns;
#[path = "common/waiting.rs"]
mod waiting;
