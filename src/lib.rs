//! holdover.

pub mod core;
pub mod resolver;
