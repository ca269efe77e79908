#![doc = include_str!("ARCHITECTURE.md")]

pub mod core;

pub mod config;
pub mod telemetry;

pub mod resolver;

pub mod adapters;

pub mod app;

pub mod drill;

pub mod cli;
