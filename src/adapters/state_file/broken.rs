//! Why a state file cannot be used, from whatever redb and the operating system say.
//!
//! Two cases matter: the file is no good, so that another one is needed; or the world is in the
//! way, and the same file may be good later.

use std::io::{self, ErrorKind};

use redb::{CommitError, DatabaseError, StorageError, TableError, TransactionError};

use crate::telemetry::state_file::StateFileTrouble;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// It is not ours, of a newer version, or damaged: another one is needed.
    #[error("{0}")]
    Unusable(String),
    /// It may be a good file, but the world is in the way.
    #[error("{what}")]
    Refused {
        /// The kind.
        trouble: StateFileTrouble,
        /// What the operating system said.
        what: String,
    },
}

/// The world is in the way.
pub(super) fn refused(trouble: StateFileTrouble, error: &impl ToString) -> Broken {
    Broken::Refused { trouble, what: error.to_string() }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // Not redb's, or shorter than it says.
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof => {
                Self::Unusable(format!("not a whole database: {error}"))
            }
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                refused(StateFileTrouble::Full, &error)
            }
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => refused(StateFileTrouble::Denied, &error),
            ErrorKind::NotFound | ErrorKind::NotADirectory => refused(StateFileTrouble::Missing, &error),
            ErrorKind::IsADirectory => refused(StateFileTrouble::NotAFile, &error),
            _ => refused(StateFileTrouble::Device, &error),
        }
    }
}

impl From<StorageError> for Broken {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Corrupted(what) => Self::Unusable(format!("damaged: {what}")),
            StorageError::Io(error) => error.into(),
            other => refused(StateFileTrouble::Device, &other),
        }
    }
}

impl From<redb::BackendError> for Broken {
    fn from(error: redb::BackendError) -> Self {
        StorageError::from(error).into()
    }
}

impl From<DatabaseError> for Broken {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Storage(error) => error.into(),
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
                refused(StateFileTrouble::InUse, &error)
            }
            DatabaseError::UpgradeRequired(_) | DatabaseError::RepairAborted => Self::Unusable(error.to_string()),
            other => refused(StateFileTrouble::Device, &other),
        }
    }
}

impl From<TransactionError> for Broken {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Storage(error) => error.into(),
            other => refused(StateFileTrouble::Device, &other),
        }
    }
}

impl From<TableError> for Broken {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Storage(error) => error.into(),
            // A table of ours that has other types, or is not there although `about` is.
            other => Self::Unusable(format!("damaged: {other}")),
        }
    }
}

impl From<CommitError> for Broken {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Storage(error) => error.into(),
            other => refused(StateFileTrouble::Device, &other),
        }
    }
}
