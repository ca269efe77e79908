//! The validation of `[log]`: the level and the format of the log.

use super::validator::Validator;
use crate::config::keys;
use crate::config::settings::{Level, Log};
use crate::core::policy::LogFormat;

const LEVELS: [(&str, Level); 5] = [
    ("error", Level::Error),
    ("warn", Level::Warn),
    ("info", Level::Info),
    ("debug", Level::Debug),
    ("trace", Level::Trace),
];
const FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];

impl Validator<'_> {
    pub(super) fn log(&mut self) -> Log {
        let level = self.given(keys::LOG_LEVEL).and_then(|given| self.word(keys::LOG_LEVEL, given, &LEVELS));
        let format = self.given(keys::LOG_FORMAT).and_then(|given| self.word(keys::LOG_FORMAT, given, &FORMATS));
        Log { level: level.unwrap_or(Level::Info), format: format.unwrap_or(LogFormat::Text) }
    }
}
