#![doc = include_str!("ARCHITECTURE.md")]
// They panic when nobody reads any more: `telemetry::console` does not.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod core;

pub mod config;
pub mod telemetry;

pub mod memory;
pub mod resolver;

pub mod adapters;

pub mod app;

pub mod drill;

pub mod cli;
