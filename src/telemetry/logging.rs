//! The log, which goes to standard error as text or as JSON, and its level, which can be changed
//! while the process runs.
//!
//! The log lines themselves are defined in [`super::events`]. Libraries may log once per query, so
//! their lines below WARN are written only when holdover itself logs at DEBUG.

use std::io::IsTerminal;
use std::sync::OnceLock;

use parking_lot::Mutex;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;

use super::events;
use super::output::LogOutput;
use crate::core::policy::LogFormat;

/// The levels by their words, most severe first.
const LEVELS: [(&str, LevelFilter); 5] = [
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];

/// The log of the process, once it was started.
static LOG: OnceLock<ChangeableLog> = OnceLock::new();

struct ChangeableLog {
    filter: Handle<Targets, Registry>,
    level: Mutex<LevelFilter>,
}

/// Starts the log of the whole process; does nothing when the log was started before.
pub fn start(level: LevelFilter, format: LogFormat) {
    let lines =
        tracing_subscriber::fmt::layer().with_writer(LogOutput::default).with_ansi(std::io::stderr().is_terminal());
    let (targets, filter) = reload::Layer::new(targets(level));
    let registry = tracing_subscriber::registry().with(targets);
    let started = match format {
        LogFormat::Text => registry.with(lines.with_target(false)).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true).with_target(false)).try_init(),
    };
    if started.is_ok() {
        let _ = LOG.set(ChangeableLog { filter, level: Mutex::new(level) });
    }
}

/// What is written at a level.
fn targets(level: LevelFilter) -> Targets {
    // Libraries log once per query at INFO, which would fill the log of every healthy sidecar.
    let others = if level >= LevelFilter::DEBUG { level } else { level.min(LevelFilter::WARN) };
    Targets::new().with_default(others).with_target("holdover", level)
}

/// The word for the present level.
#[must_use]
pub fn level() -> &'static str {
    LOG.get().map_or("off", |log| word(*log.level.lock()))
}

/// Changes the level, and gives the word for the former one.
///
/// # Errors
/// A message for the operator, when the word stands for no level.
pub fn change_level(wanted: &str) -> Result<&'static str, String> {
    let Some((to, level)) = LEVELS.into_iter().find(|(own, _)| *own == wanted) else {
        let allowed = LEVELS.map(|(own, _)| own).join(", ");
        return Err(format!("\"{}\" is no level of the log. Allowed: {allowed}", wanted.escape_debug()));
    };
    let Some(log) = LOG.get() else { return Err("this process has no log".to_owned()) };
    let mut present = log.level.lock();
    let from = word(*present);
    log.filter.reload(targets(level)).map_err(|error| error.to_string())?;
    *present = level;
    drop(present);
    events::LogLevelChanged { from, to }.emit();
    Ok(from)
}

fn word(level: LevelFilter) -> &'static str {
    LEVELS.iter().find(|(_, own)| *own == level).map_or("off", |(word, _)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_level_is_said_without_its_control_characters() {
        assert_eq!(
            change_level("lo\x1bud"),
            Err("\"lo\\u{1b}ud\" is no level of the log. Allowed: error, warn, info, debug, trace".to_owned())
        );
    }
}
