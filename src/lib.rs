//! holdover.

pub mod adapters;
pub mod core;
pub mod resolver;
