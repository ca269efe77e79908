//! What one source says, before anybody has judged it: raw values by key, each with the place where
//! it stands.
//!
//! File, environment and flags each become a [`Layer`]; a higher layer covers a lower one key by
//! key, lists and tables (`[[upstream]]`, `[[stale.suffix]]`) as a whole. Judging comes once,
//! afterwards, so that the same value meets the same rule wherever it stands.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::settings::Secret;

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A command-line flag.
    Flag(&'static str),
    /// An environment variable.
    Variable(Arc<str>),
    /// A line of the configuration file.
    File {
        /// Path of the file as it was given.
        path: Arc<str>,
        /// The line, from 1.
        line: usize,
    },
}

/// A value as a source wrote it.
#[derive(Clone, Debug, PartialEq)]
pub enum Raw {
    /// Bare text of a flag or variable, whose kind the key decides.
    Word(String),
    /// A TOML string.
    Text(String),
    /// A TOML integer.
    Integer(i64),
    /// A TOML boolean.
    Switch(bool),
    /// A TOML array, or the values of a repeated flag.
    List(Vec<Given>),
    /// Something that no key takes, as it is shown.
    Other(String),
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// The value.
    pub raw: Raw,
    /// Its place.
    pub origin: Origin,
}

/// One table of an array of tables, such as one `[[upstream]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Where the table begins.
    pub origin: Origin,
    /// Its values by full key.
    pub values: BTreeMap<&'static str, Given>,
}

/// Everything that one source says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layer {
    /// Single values by full key.
    pub values: BTreeMap<&'static str, Given>,
    /// Arrays of tables by section.
    pub records: BTreeMap<&'static str, Vec<Record>>,
    /// The directory that the service manager gives for state.
    pub state_directory: Option<PathBuf>,
    /// The password of the shared cache. It has no key, so that no file and no message shows it.
    pub shared_cache_password: Option<Secret>,
}

impl Layer {
    /// Puts `higher` over this layer.
    pub fn cover(&mut self, higher: Self) {
        self.values.extend(higher.values);
        self.records.extend(higher.records);
        self.shared_cache_password = higher.shared_cache_password.or(self.shared_cache_password.take());
        self.state_directory = higher.state_directory.or(self.state_directory.take());
    }
}

/// Characters of a value that a message shows.
const SHOWN_MAX: usize = 60;

impl Raw {
    /// The value as a message shows it: escaped, cut when long.
    #[must_use]
    pub fn show(&self) -> String {
        let (text, quoted) = match self {
            Self::Word(text) => (text.escape_debug().to_string(), false),
            Self::Text(text) => (text.escape_debug().to_string(), true),
            Self::Integer(number) => (number.to_string(), false),
            Self::Switch(on) => (on.to_string(), false),
            Self::List(items) => {
                (format!("[{}]", items.iter().map(|item| item.raw.show()).collect::<Vec<_>>().join(", ")), false)
            }
            Self::Other(shown) => (shown.escape_debug().to_string(), false),
        };
        let mut shown: String = text.chars().take(SHOWN_MAX).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        if quoted { format!("\"{shown}\"") } else { shown }
    }
}
