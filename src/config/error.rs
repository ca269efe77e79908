//! The errors of the configuration, in the words of somebody who wants to correct a mistake.
//!
//! One message names place, key, value, allowed range and next step. Several mistakes are reported
//! at once, up to [`PROBLEMS_SHOWN`], so that nobody has to start the process once for each of
//! them.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::key::Presence;
use super::layer::{GivenValue, Raw, ValueSource};
use super::limits::{CONFIG_FILE_MAX, PROBLEMS_SHOWN};

/// Exit code for wrong usage of the command line (`EX_USAGE` of sysexits.h).
pub const EXIT_USAGE: u8 = 64;
/// Exit code for something that the process needs and cannot have at present (`EX_UNAVAILABLE` of
/// sysexits.h).
pub const EXIT_UNAVAILABLE: u8 = 69;
/// Exit code for a wrong configuration (`EX_CONFIG` of sysexits.h).
pub const EXIT_CONFIG: u8 = 78;

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The configuration file cannot be read.
    #[error(
        "{}: the configuration file cannot be read: {source}. Check the path and its permissions, or leave --config \
         out.",
        .path.display()
    )]
    Unreadable {
        /// Path of the file as it was given.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The configuration file is larger than any configuration needs to be.
    #[error(
        "{}: the configuration file is larger than {} KiB. Check that it is the right file.",
        .path.display(),
        CONFIG_FILE_MAX >> 10
    )]
    TooLarge {
        /// Path of the file as it was given.
        path: PathBuf,
    },
    /// The configuration file is not UTF-8.
    #[error("{}:{line}: the configuration file is not UTF-8. Save it as UTF-8 text.", .path.display())]
    NotText {
        /// Path of the file as it was given.
        path: PathBuf,
        /// Line of the first wrong byte, from 1.
        line: usize,
    },
    /// At least one source says something that cannot be used.
    #[error("{}", ProblemList(.0))]
    Wrong(Vec<Problem>),
}

impl ConfigError {
    /// The exit code of the process: 64 when a flag is wrong, otherwise 78.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Unreadable { .. } | Self::TooLarge { .. } | Self::NotText { .. } => EXIT_CONFIG,
            Self::Wrong(problems) if problems.iter().any(|problem| matches!(problem.source, ValueSource::Flag(_))) => {
                EXIT_USAGE
            }
            Self::Wrong(_) => EXIT_CONFIG,
        }
    }
}

/// One mistake in the configuration, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    source: ValueSource,
    /// Place, key and value, with which the message begins.
    subject: String,
    /// The mistake, the allowed values and the next step, to follow the subject.
    complaint: String,
}

impl Problem {
    /// Reports a wrong value of the key with this full name. The complaint follows the value in the
    /// message.
    #[must_use]
    pub fn value(key: &str, given: &GivenValue, complaint: impl Into<String>) -> Self {
        let (source, shown) = (given.source.clone(), given.raw.show());
        let subject = match (&source, &given.raw) {
            (ValueSource::Flag(flag), _) => format!("{flag} {shown}"),
            (ValueSource::Variable(name), _) => format!("{name}={shown}"),
            (ValueSource::File { path, line }, Raw::Word(_)) => format!("{path}:{line}: {shown}"),
            (
                ValueSource::File { path, line },
                Raw::Text(_) | Raw::Integer(_) | Raw::Switch(_) | Raw::List(_) | Raw::Other(_),
            ) => {
                format!("{path}:{line}: {key} = {shown}")
            }
        };
        Self { source, subject, complaint: complaint.into() }
    }

    /// Reports a mistake that is not one value, or whose value must not be shown. The message calls
    /// a mistake in the file `what`, and one in a flag or variable by the name of that source.
    #[must_use]
    pub fn place(what: &str, source: &ValueSource, complaint: impl Into<String>) -> Self {
        let subject = match source {
            ValueSource::Flag(flag) => (*flag).to_owned(),
            ValueSource::Variable(name) => name.to_string(),
            ValueSource::File { path, line } => format!("{path}:{line}: {what}"),
        };
        Self { source: source.clone(), subject, complaint: complaint.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.subject, self.complaint)
    }
}

/// Shows the first few problems as one message.
struct ProblemList<'a>(&'a [Problem]);

impl fmt::Display for ProblemList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.0 {
            return write!(f, "{only}");
        }
        write!(f, "{} problems in the configuration:", self.0.len())?;
        for problem in self.0.iter().take(PROBLEMS_SHOWN) {
            write!(f, "\n  {problem}")?;
        }
        match self.0.len().saturating_sub(PROBLEMS_SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

/// The next step of the operator after a wrong value, as the last sentence of a message. A key that
/// is required, or has no default, can only be changed.
#[must_use]
pub fn next_step(source: &ValueSource, presence: Presence) -> &'static str {
    match (source, presence) {
        (ValueSource::Flag(_), _) => "Change it, or leave the flag out.",
        (ValueSource::Variable(_), _) => "Change it, or unset the variable.",
        (ValueSource::File { .. }, Presence::Optional) => "Change it, or delete the key to get the default.",
        (ValueSource::File { .. }, Presence::WithoutDefault | Presence::Required) => "Change it.",
    }
}
