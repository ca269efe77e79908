//! The state of the state file: one vocabulary for the log, for metrics and for `holdover status`.
//!
//! Queries are answered whatever the state file does. Its troubles are shown to operators, and
//! never become the error of a query.

use crate::core::labelled::labelled;
use crate::core::time::Timestamp;

/// Whether the state file can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateFileStatus {
    /// No state file is configured.
    Off,
    /// What is remembered is written to the state file.
    Working {
        /// Number of answers in the file.
        entries: u64,
        /// Size of the file in bytes.
        bytes: u64,
        /// When the file was last written; `None` while nothing had to be written since the start.
        last_write: Option<Timestamp>,
    },
    /// The state file cannot be used at present, and is tried again and again. Queries are still
    /// answered.
    Failing {
        /// Since when the file cannot be used.
        since: Timestamp,
        /// Why the file cannot be used.
        reason: StateFileTrouble,
    },
}

/// Whether everything that had changed at one moment would survive the end of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durable {
    /// Nothing survives it, as no state file is configured.
    Off,
    /// All changes are in the state file.
    Written,
    /// Some changes are not in the state file yet, for this reason.
    Behind(StateFileTrouble),
}

labelled! {
    /// Why the state file cannot be used.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum StateFileTrouble {
        /// Another process has the file open.
        InUse = "in_use",
        /// The file may not be read or written, or lies on a file system that is read-only.
        Denied = "permission_denied",
        /// The disk or the quota is full, or the file has the largest size that is allowed.
        Full = "no_space",
        /// The folder of the file does not exist.
        Missing = "no_folder",
        /// What lies at the path is not a regular file.
        NotAFile = "not_a_file",
        /// The file is damaged, and could not be kept aside under another name.
        Damaged = "damaged",
        /// The disk does not answer in time.
        Slow = "timeout",
        /// The operating system reported another error.
        Device = "io_error",
    }
}

impl StateFileTrouble {
    /// What this trouble means and what to do about it, for the log and `holdover status`.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::InUse => "another process has it open; give each holdover a state file of its own",
            Self::Denied => "it may not be written; make its folder writable for this user",
            Self::Full => "its disk or quota is full",
            Self::Missing => "its folder does not exist; create it",
            Self::NotAFile => "there is something at its path that is not a regular file; configure another path",
            Self::Damaged => "it is damaged and could not be kept aside; remove it",
            Self::Slow => "its disk does not answer",
            Self::Device => "its disk reports an error",
        }
    }
}
