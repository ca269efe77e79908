//! The errors of the state file: why it cannot be used, derived from the errors of redb and of the
//! operating system.
//!
//! Only one distinction matters. Either the file itself is no good, and a new one is needed; or
//! something in its surroundings prevents its use, and the same file may be good later.

use std::io::{self, ErrorKind};

use redb::{CommitError, DatabaseError, StorageError, TableError, TransactionError};

use crate::telemetry::state_file::StateFileTrouble;

/// Why the state file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateFileError {
    /// The file belongs to another program, is of a newer version, or is damaged: a new one is
    /// needed. The text says which of these it is.
    #[error("{0}")]
    Unusable(String),
    /// The file may be good, but it cannot be used at present.
    #[error("{what}")]
    Refused {
        /// The kind of obstacle, by which it is reported.
        trouble: StateFileTrouble,
        /// The operating system's or redb's own words.
        what: String,
    },
}

/// An error that says nothing about the content of the file.
pub(super) fn refused(trouble: StateFileTrouble, error: &impl ToString) -> StateFileError {
    StateFileError::Refused { trouble, what: error.to_string() }
}

impl From<io::Error> for StateFileError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // The file has no header of redb, or is shorter than its header says.
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof => {
                Self::Unusable(format!("not a whole database: {error}"))
            }
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                refused(StateFileTrouble::NoSpace, &error)
            }
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                refused(StateFileTrouble::PermissionDenied, &error)
            }
            ErrorKind::NotFound | ErrorKind::NotADirectory => refused(StateFileTrouble::NoFolder, &error),
            ErrorKind::IsADirectory => refused(StateFileTrouble::NotAFile, &error),
            _ => refused(StateFileTrouble::IoError, &error),
        }
    }
}

impl From<StorageError> for StateFileError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Corrupted(what) => Self::Unusable(format!("damaged: {what}")),
            StorageError::Io(error) => error.into(),
            other => refused(StateFileTrouble::IoError, &other),
        }
    }
}

impl From<redb::BackendError> for StateFileError {
    fn from(error: redb::BackendError) -> Self {
        StorageError::from(error).into()
    }
}

impl From<DatabaseError> for StateFileError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Storage(error) => error.into(),
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
                refused(StateFileTrouble::InUse, &error)
            }
            DatabaseError::UpgradeRequired(_) | DatabaseError::RepairAborted => Self::Unusable(error.to_string()),
            other => refused(StateFileTrouble::IoError, &other),
        }
    }
}

impl From<TransactionError> for StateFileError {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Storage(error) => error.into(),
            other => refused(StateFileTrouble::IoError, &other),
        }
    }
}

impl From<TableError> for StateFileError {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Storage(error) => error.into(),
            // The file has the table `about` of a state file, but one of its tables is missing or
            // has other types than ours.
            other => Self::Unusable(format!("damaged: {other}")),
        }
    }
}

impl From<CommitError> for StateFileError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Storage(error) => error.into(),
            other => refused(StateFileTrouble::IoError, &other),
        }
    }
}
