//! How it stands with the state file: one vocabulary for the log, metrics, and `holdover status`.

use crate::core::labelled::labelled;
use crate::core::time::Timestamp;

/// How it stands with the state file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateFileStatus {
    /// None is configured.
    Off,
    /// What is remembered is kept.
    Working {
        /// Answers in the file.
        entries: u64,
        /// How long the file is, in bytes.
        bytes: u64,
        /// When it was last written; `None` while nothing had to be written in this run.
        last_write: Option<Timestamp>,
    },
    /// What is remembered is not kept at present. Queries are answered all the same, and the file
    /// is tried again and again.
    Failing {
        /// Since when.
        since: Timestamp,
        /// Why.
        reason: StateFileTrouble,
    },
}

/// Whether all that had changed at one moment outlives the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durable {
    /// Nothing outlives it: no state file is configured.
    Off,
    /// It is in the state file.
    Written,
    /// It is not there yet, for this reason.
    Behind(StateFileTrouble),
}

labelled! {
    /// Why the state file cannot be used.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum StateFileTrouble {
        /// Another process has it open.
        InUse = "in_use",
        /// It may not be read or written, or lies on a file system that is read-only.
        Denied = "denied",
        /// The disk, the quota or the largest file is full.
        Full = "full",
        /// Its folder is not there.
        Missing = "missing",
        /// There is something at its path that is not a file.
        NotAFile = "not_a_file",
        /// It is damaged, and cannot be kept aside.
        Damaged = "damaged",
        /// The disk does not answer in time.
        Slow = "slow",
        /// The operating system said something else.
        Device = "device",
    }
}

impl StateFileTrouble {
    /// What it means, and what to do about it.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::InUse => "another process has it open: give each holdover a state file of its own",
            Self::Denied => "it may not be written here: make its folder writable for this user",
            Self::Full => "no room is left on its disk",
            Self::Missing => "its folder does not exist: make it",
            Self::NotAFile => "what lies at its path is not a regular file: name another path",
            Self::Damaged => "it is damaged and cannot be kept aside: remove it",
            Self::Slow => "its disk does not answer",
            Self::Device => "its disk fails",
        }
    }
}
