//! What is wrong with the configuration, in the words of somebody who wants to mend it.
//!
//! One message names place, key, value, allowed range and next step. Several mistakes are told at
//! once, up to [`PROBLEMS_SHOWN`](super::limits::PROBLEMS_SHOWN), so that nobody has to start five
//! times.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::layer::{Given, Origin, Raw};
use super::limits::{CONFIG_FILE_MAX, PROBLEMS_SHOWN};

/// Exit code for wrong usage of the command line (`EX_USAGE` of sysexits.h).
pub const EXIT_USAGE: u8 = 64;
/// Exit code for a wrong configuration (`EX_CONFIG` of sysexits.h).
pub const EXIT_CONFIG: u8 = 78;

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: the configuration file cannot be read: {source}. Check the path and its permissions, or leave --config out.", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is larger than any configuration.
    #[error("{}: the configuration file is larger than {} KiB. Check that it is the right file.", .path.display(), CONFIG_FILE_MAX >> 10)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file is not text.
    #[error("{}:{line}: the configuration file is not UTF-8. Save it as UTF-8 text.", .path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// The line of the first wrong byte, from 1.
        line: usize,
    },
    /// Values are wrong; at least one.
    #[error("{}", Told(.0))]
    Wrong(Vec<Problem>),
}

impl ConfigError {
    /// The exit code of the process: 64 when a flag is wrong, otherwise 78.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Unreadable { .. } | Self::TooLarge { .. } | Self::NotText { .. } => EXIT_CONFIG,
            Self::Wrong(problems) if problems.iter().any(|problem| matches!(problem.origin, Origin::Flag(_))) => {
                EXIT_USAGE
            }
            Self::Wrong(_) => EXIT_CONFIG,
        }
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it is.
    origin: Origin,
    /// Place, key and value.
    subject: String,
    /// What is wrong, what would be right, what to do.
    complaint: String,
}

impl Problem {
    /// A value of `key` that is wrong.
    #[must_use]
    pub fn value(key: &str, given: &Given, complaint: impl Into<String>) -> Self {
        let (origin, shown) = (given.origin.clone(), given.raw.show());
        let subject = match (&origin, &given.raw) {
            (Origin::Flag(flag), _) => format!("{flag} {shown}"),
            (Origin::Variable(name), _) => format!("{name}={shown}"),
            (Origin::File { path, line }, Raw::Word(_)) => format!("{path}:{line}: {shown}"),
            (
                Origin::File { path, line },
                Raw::Text(_) | Raw::Integer(_) | Raw::Switch(_) | Raw::List(_) | Raw::Other(_),
            ) => {
                format!("{path}:{line}: {key} = {shown}")
            }
        };
        Self { origin, subject, complaint: complaint.into() }
    }

    /// A place that is wrong, whatever its value.
    #[must_use]
    pub fn place(origin: &Origin, what: &str, complaint: impl Into<String>) -> Self {
        let subject = match origin {
            Origin::Flag(flag) => (*flag).to_owned(),
            Origin::Variable(name) => name.to_string(),
            Origin::File { path, line } => format!("{path}:{line}: {what}"),
        };
        Self { origin: origin.clone(), subject, complaint: complaint.into() }
    }

    /// Where the mistake is, for sorting.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.subject, self.complaint)
    }
}

/// The first few problems as one message.
struct Told<'a>(&'a [Problem]);

impl fmt::Display for Told<'_> {
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

/// What to do about a wrong value that has a default.
#[must_use]
pub fn next_step(origin: &Origin) -> &'static str {
    match origin {
        Origin::Flag(_) => "Change it, or leave the flag out.",
        Origin::Variable(_) => "Change it, or unset the variable.",
        Origin::File { .. } => "Change it, or delete the key to get the default.",
    }
}
