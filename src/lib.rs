//! holdover.

pub mod adapters;
pub mod app;
pub mod config;
pub mod core;
pub mod resolver;
pub mod telemetry;
