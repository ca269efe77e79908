//! holdover.

pub mod core;
pub mod resolver;
pub mod telemetry;
