//! The layers of the configuration: the raw values of one source by key, before they are validated,
//! each with the place where it was written.
//!
//! The file, the environment and the flags each become a [`Layer`]. A higher layer replaces the
//! values of a lower one key by key, lists and arrays of tables (`[[upstream]]`,
//! `[[stale.suffix]]`) as a whole. Validation comes once, afterwards, so that the same rule applies
//! to a value wherever it was written.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::secret::Secret;

/// Where a value was written: a flag, an environment variable, or a line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueSource {
    /// A command-line flag, such as `--listen`.
    Flag(&'static str),
    /// An environment variable, by its full name.
    Variable(Arc<str>),
    /// A line of the configuration file.
    File {
        /// Path of the file as it was given.
        path: Arc<str>,
        /// Number of the line, from 1.
        line: usize,
    },
}

impl fmt::Display for ValueSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Variable(name) => f.write_str(name),
            Self::File { path, line } => write!(f, "{path}:{line}"),
        }
    }
}

/// A value as a source wrote it, before it is known what kind of value its key takes.
#[derive(Clone, Debug, PartialEq)]
pub enum Raw {
    /// Text of a flag or an environment variable, which may stand for a value of any kind.
    Word(String),
    /// A TOML string of the file.
    Text(String),
    /// A TOML integer of the file.
    Integer(i64),
    /// A TOML boolean of the file.
    Switch(bool),
    /// A TOML array, or the values of a flag that was repeated.
    List(Vec<GivenValue>),
    /// A value of a kind that no key takes (a float, a date, a table), as the file shows it.
    Other(String),
}

/// A raw value, and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct GivenValue {
    /// The value as it was written.
    pub raw: Raw,
    /// The place where the value was written.
    pub source: ValueSource,
}

/// One table of an array of tables, such as one `[[upstream]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct GivenTable {
    /// The place where the table begins.
    pub source: ValueSource,
    /// The values of the table by full key, such as `upstream.name`.
    pub values: BTreeMap<&'static str, GivenValue>,
}

/// All values of one source, or of several sources after they have been merged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layer {
    /// Values outside arrays of tables, by full key, such as `stale.maximum`.
    pub values: BTreeMap<&'static str, GivenValue>,
    /// Arrays of tables by section, such as `upstream`.
    pub tables: BTreeMap<&'static str, Vec<GivenTable>>,
    /// The directory that the service manager provides for state.
    pub state_directory: Option<PathBuf>,
    /// The password of the shared cache. It has no key, so that no file and no message shows it.
    pub shared_cache_password: Option<Secret>,
}

impl Layer {
    /// Replaces the values of this layer by those of `higher`, wherever `higher` has a value.
    pub fn cover(&mut self, higher: Self) {
        self.values.extend(higher.values);
        self.tables.extend(higher.tables);
        self.shared_cache_password = higher.shared_cache_password.or(self.shared_cache_password.take());
        self.state_directory = higher.state_directory.or(self.state_directory.take());
    }
}

impl GivenValue {
    /// Members of a list, each with its own source. A single value is a list of one, and the text
    /// of a flag or variable is split at commas.
    #[must_use]
    pub fn items(&self) -> Vec<Self> {
        match &self.raw {
            Raw::List(items) => items.iter().flat_map(Self::split_word).collect(),
            Raw::Word(_) | Raw::Text(_) | Raw::Integer(_) | Raw::Switch(_) | Raw::Other(_) => self.split_word(),
        }
    }

    fn split_word(&self) -> Vec<Self> {
        match &self.raw {
            Raw::Word(words) => words
                .split(',')
                .map(str::trim)
                .filter(|word| !word.is_empty())
                .map(|word| Self { raw: Raw::Word(word.to_owned()), source: self.source.clone() })
                .collect(),
            Raw::Text(_) | Raw::Integer(_) | Raw::Switch(_) | Raw::List(_) | Raw::Other(_) => vec![self.clone()],
        }
    }
}

/// Characters of a value that a message shows.
const SHOWN_MAX: usize = 60;

impl Raw {
    /// The text of a value that is text in every source; `None` for every other kind of value.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Word(text) | Self::Text(text) => Some(text),
            Self::Integer(_) | Self::Switch(_) | Self::List(_) | Self::Other(_) => None,
        }
    }

    /// The value as a message shows it: control characters are escaped, and after 60 characters it
    /// is cut off.
    #[must_use]
    pub fn show(&self) -> String {
        let (text, quote) = match self {
            Self::Word(text) => (text.escape_debug().to_string(), ""),
            Self::Text(text) => (text.escape_debug().to_string(), "\""),
            Self::Integer(number) => (number.to_string(), ""),
            Self::Switch(on) => (on.to_string(), ""),
            Self::List(items) => {
                (format!("[{}]", items.iter().map(|item| item.raw.show()).collect::<Vec<_>>().join(", ")), "")
            }
            Self::Other(shown) => (shown.escape_debug().to_string(), ""),
        };
        let mut shown: String = text.chars().take(SHOWN_MAX).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        format!("{quote}{shown}{quote}")
    }
}
