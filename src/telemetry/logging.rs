//! Starts the log, which goes to standard error as text or as JSON.
//!
//! What is logged is defined in [`super::events`]. Libraries that log once per query are only heard
//! when holdover itself is debugged.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text for people; in colour on a terminal.
    Text,
    /// One JSON object in each line.
    Json,
}

/// Starts the log of the whole process; does nothing when it was started before.
pub fn start(level: LevelFilter, format: Format) {
    // Libraries log once per query at INFO, which would fill the log of every healthy sidecar.
    let others = if level >= LevelFilter::DEBUG { level } else { level.min(LevelFilter::WARN) };
    let targets = Targets::new().with_default(others).with_target("holdover", level);
    let lines =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let registry = tracing_subscriber::registry().with(targets);
    let _ = match format {
        Format::Text => registry.with(lines.with_target(false)).try_init(),
        Format::Json => registry.with(lines.json().flatten_event(true).with_target(false)).try_init(),
    };
}
