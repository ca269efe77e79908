//! The common rules of the validation, with the values that were given and the problems that were
//! found so far.

use std::time::Duration;

use crate::config::error::{ConfigError, Problem, next_step};
use crate::config::key::Presence;
use crate::config::keys;
use crate::config::layer::{GivenTable, GivenValue, Layer};
use crate::config::limits::Bounded;
use crate::config::quantity::Quantity;
use crate::config::settings::Settings;

/// A validation that is under way.
pub(super) struct Validator<'a> {
    /// The merged layers of all sources.
    pub(super) layer: &'a Layer,
    problems: Vec<Problem>,
    /// Values that are valid, though hardly meant.
    remarks: Vec<Problem>,
}

impl<'a> Validator<'a> {
    /// Begins the validation of merged layers.
    pub(super) const fn new(layer: &'a Layer) -> Self {
        Self { layer, problems: Vec::new(), remarks: Vec::new() }
    }

    /// Returns the settings, unless a problem was found.
    pub(super) fn finish(self, settings: Settings) -> Result<Settings, ConfigError> {
        if self.problems.is_empty() {
            Ok(Settings { remarks: self.remarks, ..settings })
        } else {
            Err(ConfigError::Wrong(self.problems))
        }
    }

    /// The value that was given for a key outside arrays of tables.
    pub(super) fn given(&self, key: &str) -> Option<&'a GivenValue> {
        self.layer.values.get(key)
    }

    /// The tables that were given for a section that may be repeated.
    pub(super) fn tables(&self, section: &str) -> &'a [GivenTable] {
        self.layer.tables.get(section).map(Vec::as_slice).unwrap_or_default()
    }

    /// Adds a problem to those that will be reported.
    pub(super) fn report(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Notes that a value is valid, though hardly meant, and says what to write.
    pub(super) fn remark(&mut self, key: &str, given: &GivenValue, what: &str) {
        self.remarks.push(Problem::value(key, given, format!("{what}.")));
    }

    /// Notes the same of something that is not one value.
    pub(super) fn remark_on(&mut self, remark: Problem) {
        self.remarks.push(remark);
    }

    /// Reports a wrong value together with the allowed values and the next step.
    pub(super) fn complain(&mut self, key: &str, given: &GivenValue, what: &str) {
        let (allowed, presence) =
            keys::find(key).map_or((String::new(), Presence::Optional), |key| (key.allowed(), key.presence()));
        let complaint = format!("{what}. Allowed: {allowed}. {}", next_step(&given.source, presence));
        self.report(Problem::value(key, given, complaint));
    }

    /// The value of a key with a range, or its default.
    pub(super) fn bounded<T: Quantity>(&mut self, bound: &Bounded<T>) -> T {
        self.given(bound.key).and_then(|given| self.quantity(bound.key, given, bound)).unwrap_or(bound.default)
    }

    /// The value of `key` within a range, which may be that of another key; `None` after a
    /// complaint.
    pub(super) fn quantity<T: Quantity>(&mut self, key: &str, given: &GivenValue, bound: &Bounded<T>) -> Option<T> {
        match T::read(&given.raw) {
            None => self.complain(key, given, &format!("is not {}", T::KIND)),
            Some(value) if value.is_outside(bound.bounds()) => self.complain(key, given, "is out of range"),
            Some(value) => return Some(value),
        }
        None
    }

    /// The value for which one of a few words stands; `None` after a complaint.
    pub(super) fn word<T: Copy>(&mut self, key: &str, given: &GivenValue, words: &[(&str, T)]) -> Option<T> {
        let found = given.raw.text().and_then(|text| words.iter().find(|(word, _)| *word == text));
        if found.is_none() {
            self.complain(key, given, "is not a word that this key takes");
        }
        found.map(|(_, value)| *value)
    }

    /// Complains when the first of two durations is longer than the second, defaults included.
    pub(super) fn ascending(&mut self, [smaller, larger]: [&Bounded<Duration>; 2]) {
        let value = |bound: &Bounded<Duration>| {
            self.given(bound.key).map_or(Some(bound.default), |given| Duration::read(&given.raw))
        };
        let (Some(low), Some(high)) = (value(smaller), value(larger)) else { return };
        // The defaults are in order, so at least one of the two was given when they are not. The
        // message shows that one.
        let Some((key, given)) = [larger, smaller].iter().find_map(|bound| Some((bound.key, self.given(bound.key)?)))
        else {
            return;
        };
        if low > high {
            let what = format!("makes {} ({}) longer than {} ({})", smaller.key, low.toml(), larger.key, high.toml())
                .replace('"', "");
            self.complain(key, given, &what);
        }
    }
}
