//! The start of the log, which goes to standard error as text or as JSON.
//!
//! The log lines themselves are defined in [`super::events`]. Libraries may log once per query, so
//! their lines below WARN are written only when holdover itself logs at DEBUG.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::output::LogOutput;
use crate::core::policy::LogFormat;

/// Starts the log of the whole process; does nothing when the log was started before.
pub fn start(level: LevelFilter, format: LogFormat) {
    // Libraries log once per query at INFO, which would fill the log of every healthy sidecar.
    let others = if level >= LevelFilter::DEBUG { level } else { level.min(LevelFilter::WARN) };
    let targets = Targets::new().with_default(others).with_target("holdover", level);
    let lines =
        tracing_subscriber::fmt::layer().with_writer(LogOutput::default).with_ansi(std::io::stderr().is_terminal());
    let registry = tracing_subscriber::registry().with(targets);
    let _ = match format {
        LogFormat::Text => registry.with(lines.with_target(false)).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true).with_target(false)).try_init(),
    };
}
