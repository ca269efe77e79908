//! The admin interface of a real process: status, metrics, export, import, flush; and what it does
//! not let happen.

mod bounds;
mod memory;
mod sidecar;
mod telling;
