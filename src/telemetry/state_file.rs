//! The status of the state file and the reasons why it cannot be used: one vocabulary for the log,
//! for metrics and for `holdover status`.
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
    /// The state file is written after the answers that are remembered have changed.
    Working {
        /// Number of answers in the state file.
        entries: u64,
        /// Size of the state file in bytes.
        bytes: u64,
        /// When the state file was last written; `None` while nothing had to be written since the
        /// start.
        last_write: Option<Timestamp>,
    },
    /// The state file cannot be used at present, and is tried again and again. Queries are still
    /// answered.
    Failing {
        /// When the state file was first found to be unusable.
        since: Timestamp,
        /// Why the state file cannot be used.
        reason: StateFileTrouble,
    },
}

/// Whether everything that had changed in the memory by one moment would survive a crash of the
/// process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durable {
    /// Nothing would survive a crash, as no state file is configured.
    Off,
    /// All changes are in the state file, and would survive.
    Written,
    /// Some changes are not in the state file yet, for this reason, and would be lost.
    Behind(StateFileTrouble),
}

labelled! {
    /// Why the state file cannot be used.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum StateFileTrouble {
        /// Another process has the file open.
        InUse = "in_use",
        /// The file may not be read or written, or lies on a file system that is read-only.
        PermissionDenied = "permission_denied",
        /// The disk or the quota is full, or the file has the largest size that is allowed.
        NoSpace = "no_space",
        /// The folder of the file does not exist.
        NoFolder = "no_folder",
        /// The path names something else than a regular file, such as a folder or a device.
        NotAFile = "not_a_file",
        /// The file is damaged, and could not be kept aside under another name.
        Damaged = "damaged",
        /// The disk of the state file does not answer in time.
        Timeout = "timeout",
        /// The operating system reported another error.
        IoError = "io_error",
    }
}

impl StateFileTrouble {
    /// The meaning of this trouble and the remedy of the operator, in words for the log and
    /// `holdover status`.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::InUse => "another process has it open; give each holdover a state file of its own",
            Self::PermissionDenied => "it may not be written; make its folder writable for this user",
            Self::NoSpace => "its disk or quota is full",
            Self::NoFolder => "its folder does not exist; create it",
            Self::NotAFile => "there is something at its path that is not a regular file; configure another path",
            Self::Damaged => "it is damaged and could not be kept aside; remove it",
            Self::Timeout => "its disk does not answer",
            Self::IoError => "its disk reports an error",
        }
    }
}
