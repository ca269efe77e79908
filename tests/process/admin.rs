//! The admin interface of a real process: status, metrics, export, import and flush, and its
//! limits.

mod bounds;
mod changes;
mod explain;
mod list;
mod log_level;
mod memory;
mod sidecar;
mod telling;
mod watch;
