//! What is remembered.

pub mod cached;
mod filtered;
pub mod flushes;
pub mod journal;
mod pinned;
mod positive;
pub mod store;
pub mod thread_cache;
