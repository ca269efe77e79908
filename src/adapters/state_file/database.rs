//! The state file itself: a redb database of four tables.
//!
//! | table | key | value |
//! |---|---|---|
//! | `about` | `format` | version of this layout: 2 |
//! | | `boot` | identity of the boot in which the file was written; 0 when it is not known |
//! | | `booted_at` | when that boot began, on the writer's timeline, in µs since the Unix epoch |
//! | | `checksum` | checksum of the three numbers above |
//! | `answers` | the cache's key, then 0 for a positive answer, 1 for a negative one | a record |
//! | `upstreams` | see [`crate::core::upstream_record`] | the same |
//! | `flushes` | see [`super::flush_rows`] | nothing |
//!
//! Keys are those of [`crate::core::key`], and records those of [`crate::core::record`]. The table
//! `about` stays as it is in every version. A new layout of the rest gets a new number and a reader
//! in [`FORMATS`], and the old readers stay. A file of an older version is read; the first write
//! turns it into a file of the present version, in one transaction. The table `upstreams` may be
//! missing, and is written by [`super::upstream_rows`].
//!
//! Every row but those of `about` ends in a checksum ([`super::checksum`]), which layout 1 did not
//! have. When the table `about` is damaged, the rows are read all the same, without its times.
//!
//! Each write is one transaction with one `fdatasync`. Without it redb keeps the transaction in
//! memory, and kill -9 would lose it. redb's checksums detect a commit that a power cut left
//! incomplete, and the commit before it counts then. redb can also commit in two phases, which
//! would double the syncs and guards against data that somebody makes collide with the checksum;
//! here that attack could at most win one lost file, so one phase is enough.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use redb::{
    Builder, CompactionError, Database, ReadableDatabase, ReadableTableMetadata, StorageBackend, TableError,
    WriteTransaction,
};

use super::checksum::{self, Sealing};
use super::error::{StateFileError, refused};
use super::flush_rows::{self, FlushRow};
use super::format::{ANSWERS, About, CURRENT};
pub use super::format::{FORMAT, FORMATS, FileFormat, ReadRows};
use super::host::Host;
use super::overlay::Overlay;
use super::upstream_rows;
use crate::config::regular_file;
use crate::core::classify::Kind;
use crate::core::entry::Entry;
use crate::core::history::Past;
use crate::core::key::Key;
use crate::core::record::{self, Record};
use crate::core::upstream_record::RememberedUpstream;
use crate::memory::flushes::Flushes;
use crate::telemetry::state_file::StateFileTrouble;

/// Memory in which redb keeps pages, in bytes; redb's default is 1 GiB. When a large write changes
/// more than half of it, pages go to the file ahead of the commit.
const CACHE_BYTES: usize = 512 << 10;
/// Last byte of the row key of a positive answer.
const POSITIVE: u8 = 0;
/// Last byte of the row key of a negative answer.
const NEGATIVE: u8 = 1;

/// The rows of a file that gave no answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// Rows that have changed since they were written, by their checksums.
    pub damaged: u64,
    /// Rows that are as they were written, and are no answers for this version of holdover.
    pub invalid: u64,
}

/// An open state file, with its layout and the boot in which it was written.
pub struct StateDatabase {
    database: Database,
    /// The file that holds the database; `None` when another backend does.
    handle: Option<fs::File>,
    /// `None` while the file is new and empty.
    format: Option<FileFormat>,
    /// The boot in which the file was last written.
    host: Option<Host>,
    /// Whether the table `about` was damaged.
    is_about_damaged: bool,
}

/// The rows of a state file within one transaction that writes.
pub struct Rows<'a> {
    transaction: &'a WriteTransaction,
    table: redb::Table<'a, &'static [u8], &'static [u8]>,
    /// Buffer for the record that is being written.
    record: Vec<u8>,
    /// Whether there is something to commit.
    changed: bool,
}

impl StateDatabase {
    /// Opens the file at a path, or makes it together with the folder in which it lies. The parent
    /// of that folder has to exist.
    ///
    /// # Errors
    /// [`StateFileError::Unusable`] when what lies at the path is no state file that this version
    /// can read; [`StateFileError::Refused`] when the file cannot be opened at present.
    pub fn open(path: &Path) -> Result<Self, StateFileError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            // The result does not matter: the folder exists already, or opening the file fails and
            // says what is wrong.
            let _ = fs::DirBuilder::new().mode(0o700).create(folder);
        }
        let file =
            regular(path, fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600))?;
        let handle = file.try_clone()?;
        let mut opened =
            Self::opened(builder().create_with_backend(redb::backends::FileBackend::new(file)?)?, FORMATS)?;
        opened.handle = Some(handle);
        Ok(opened)
    }

    /// Opens or makes a state file on any storage, and reads the given layouts.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn on(backend: impl StorageBackend, formats: &'static [FileFormat]) -> Result<Self, StateFileError> {
        Self::opened(builder().create_with_backend(backend)?, formats)
    }

    /// Opens the file at a path to read it: the file does not change, since whatever is written to
    /// the database stays in memory ([`Overlay`]).
    ///
    /// # Errors
    /// As for [`Self::open`]; [`StateFileError::Refused`] also when there is no file.
    pub fn look(path: &Path) -> Result<Self, StateFileError> {
        Self::on(Overlay::new(regular(path, fs::OpenOptions::new().read(true))?)?, FORMATS)
    }

    /// Reads the table `about` of a database that was just opened.
    fn opened(database: Database, formats: &'static [FileFormat]) -> Result<Self, StateFileError> {
        let Some(About { version, host, is_damaged }) = About::read(&database)? else {
            return Ok(Self { database, handle: None, format: None, host: None, is_about_damaged: false });
        };
        let Some(format) = formats.iter().find(|format| format.version == version) else {
            return Err(StateFileError::Unusable(format!(
                "of format {version}; this version of holdover reads up to {FORMAT}"
            )));
        };
        Ok(Self { database, handle: None, format: Some(*format), host, is_about_damaged: is_damaged })
    }

    /// The boot in which the file was last written; `None` for a new file.
    #[must_use]
    pub const fn host(&self) -> Option<Host> {
        self.host
    }

    /// Hands every answer of the file to `visit`, and gives the numbers of rows that are none.
    ///
    /// # Errors
    /// [`StateFileError`] when the file cannot be read to its end.
    pub fn load(&self, mut visit: impl FnMut(&Key, Record)) -> Result<Unread, StateFileError> {
        let mut unread = Unread { damaged: u64::from(self.is_about_damaged), invalid: 0 };
        let Some(format) = self.format else { return Ok(unread) };
        (format.read)(&self.database.begin_read()?, &mut |row, bytes| {
            let key = row.split_last().and_then(|(_, key)| Key::from_stored(key));
            match key.as_ref().map(|key| (key, record::read(key, bytes))) {
                Some((key, Ok(record))) => visit(key, record),
                // A damaged row comes without its record.
                Some((_, Err(_))) | None if bytes.is_empty() => unread.damaged += 1,
                Some((_, Err(_))) | None => unread.invalid += 1,
            }
        })?;
        Ok(unread)
    }

    /// The states of the upstreams; rows that cannot be read are left out.
    ///
    /// # Errors
    /// [`StateFileError`] when the file cannot be read.
    pub fn upstreams(&self) -> Result<Vec<RememberedUpstream>, StateFileError> {
        upstream_rows::read(&self.database.begin_read()?, self.sealing())
    }

    /// The flushes that the file has kept; rows that cannot be read are left out.
    ///
    /// # Errors
    /// [`StateFileError`] when the file cannot be read.
    pub(super) fn flushes(&self) -> Result<Vec<FlushRow>, StateFileError> {
        flush_rows::read(&self.database.begin_read()?, self.sealing())
    }

    /// Whether the rows of the file have checksums.
    fn sealing(&self) -> Sealing {
        Sealing::of(self.format.map_or(FORMAT, |format| format.version))
    }

    /// Changes rows in one transaction, and gives the number of answers after it. Nothing is
    /// written when neither a row nor the host has changed.
    ///
    /// # Errors
    /// [`StateFileError`]: no row has changed, and the file has to be opened again.
    pub fn write(
        &mut self,
        host: &Host,
        edit: impl FnOnce(&mut Rows<'_>) -> Result<(), StateFileError>,
    ) -> Result<u64, StateFileError> {
        let transaction = self.database.begin_write()?;
        // A file of an older layout loses its tables and gets all rows anew in this transaction:
        // the caller compares the whole file with the memory after every opening.
        let current = self.format.is_some_and(|format| format.version == FORMAT) && !self.is_about_damaged;
        if !current {
            let old: Vec<_> = transaction.list_tables()?.collect();
            for table in old {
                transaction.delete_table(table)?;
            }
        }
        let (entries, changed) = {
            let mut rows = Rows::new(&transaction)?;
            edit(&mut rows)?;
            (rows.table.len()?, rows.changed)
        };
        // A new boot is written even when no row has changed, since the times are read with it.
        if !changed && current && self.host == Some(*host) {
            transaction.abort()?;
            return Ok(entries);
        }
        About::write(&transaction, host)?;
        transaction.commit()?;
        self.format = Some(CURRENT);
        self.host = Some(*host);
        self.is_about_damaged = false;
        Ok(entries)
    }

    /// Bytes of all rows together, without what redb needs around them. Walks through the file.
    ///
    /// # Errors
    /// [`StateFileError`] when the file cannot be read.
    pub fn stored_bytes(&self) -> Result<u64, StateFileError> {
        let transaction = self.database.begin_read()?;
        match transaction.open_table(ANSWERS) {
            Ok(table) => Ok(table.stats()?.stored_bytes()),
            Err(TableError::TableDoesNotExist(_)) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Shortens the file by the pages that it does not use. Writes all rows anew.
    ///
    /// # Errors
    /// [`StateFileError`]: the file has to be opened again.
    pub fn compact(&mut self) -> Result<(), StateFileError> {
        match self.database.compact() {
            Ok(_) => Ok(()),
            Err(CompactionError::Storage(error)) => Err(error.into()),
            Err(error) => Err(refused(StateFileTrouble::IoError, &error)),
        }
    }

    /// Length of the file in bytes; 0 when the database lies in no file.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.handle.as_ref().and_then(|handle| handle.metadata().ok()).map_or(0, |found| found.len())
    }

    /// Whether the open file is still the one at `path`: somebody may have removed or replaced it.
    #[must_use]
    pub fn lies_at(&self, path: &Path) -> bool {
        let identity = |found: fs::Metadata| (found.dev(), found.ino());
        let own = self.handle.as_ref().and_then(|handle| handle.metadata().ok()).map(identity);
        own.is_some() && own == fs::metadata(path).ok().map(identity)
    }
}

impl<'a> Rows<'a> {
    fn new(transaction: &'a WriteTransaction) -> Result<Self, StateFileError> {
        Ok(Self { transaction, table: transaction.open_table(ANSWERS)?, record: Vec::new(), changed: false })
    }

    /// Writes an answer under its key, and replaces an older one of the same kind. A positive
    /// answer also removes the negative one of the same name and type.
    ///
    /// # Errors
    /// [`StateFileError`] when the file cannot be written.
    pub fn put(&mut self, key: &Key, entry: &Entry, past: impl Into<Past>) -> Result<(), StateFileError> {
        self.record.clear();
        record::write(entry, past, &mut self.record);
        let kind = match entry.kind {
            Kind::Positive => {
                self.table.remove(row(key, NEGATIVE).as_slice())?;
                POSITIVE
            }
            Kind::NoData | Kind::NxDomain => NEGATIVE,
        };
        let row = row(key, kind);
        checksum::seal(&row, &mut self.record);
        self.table.insert(row.as_slice(), self.record.as_slice())?;
        self.changed = true;
        Ok(())
    }

    /// Removes both answers of a name and type, the positive and the negative one.
    ///
    /// # Errors
    /// [`StateFileError`] when the file cannot be written.
    pub fn remove(&mut self, key: &Key) -> Result<(), StateFileError> {
        for kind in [POSITIVE, NEGATIVE] {
            self.changed |= self.table.remove(row(key, kind).as_slice())?.is_some();
        }
        Ok(())
    }

    /// Writes the states of these upstreams, and removes those of all others.
    ///
    /// # Errors
    /// [`StateFileError`] when the file cannot be written.
    pub fn put_upstreams(&mut self, upstreams: &[RememberedUpstream]) -> Result<(), StateFileError> {
        self.changed |= upstream_rows::write(self.transaction, upstreams)?;
        Ok(())
    }

    /// Writes these flushes, and removes all others.
    ///
    /// # Errors
    /// [`StateFileError`] when the file cannot be written.
    pub fn put_flushes(&mut self, flushes: &Flushes) -> Result<(), StateFileError> {
        self.changed |= flush_rows::write(self.transaction, flushes)?;
        Ok(())
    }

    /// Removes the answers for which `wanted` says no, and those that are damaged. It is given the
    /// key ([`row_key`]) and the record of each row.
    ///
    /// # Errors
    /// [`StateFileError`] when the file cannot be written.
    pub fn retain(&mut self, mut wanted: impl FnMut(&[u8], &[u8]) -> bool) -> Result<(), StateFileError> {
        let mut removed = false;
        self.table.retain(|row, record| {
            let wanted = Sealing::Sealed.open(row, record).is_some_and(|record| wanted(row, record));
            removed |= !wanted;
            wanted
        })?;
        self.changed |= removed;
        Ok(())
    }
}

/// The row key of an answer of this kind.
#[must_use]
pub fn row_key(key: &Key, kind: Kind) -> Vec<u8> {
    row(
        key,
        match kind {
            Kind::Positive => POSITIVE,
            Kind::NoData | Kind::NxDomain => NEGATIVE,
        },
    )
}

fn row(key: &Key, kind: u8) -> Vec<u8> {
    let mut row = Vec::with_capacity(key.as_bytes().len() + 1);
    row.extend_from_slice(key.as_bytes());
    row.push(kind);
    row
}

/// Opens a regular file. Anything else is refused, since opening a pipe, for example, could wait
/// for ever.
fn regular(path: &Path, options: &mut fs::OpenOptions) -> Result<fs::File, StateFileError> {
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(StateFileError::Refused { trouble: StateFileTrouble::NotAFile, what: "not a regular file".into() });
    }
    // Something else may lie there by now; it is opened without waiting for anybody.
    let file = options.custom_flags(regular_file::FLAGS).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(StateFileError::Refused { trouble: StateFileTrouble::NotAFile, what: "not a regular file".into() });
    }
    Ok(file)
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_folder_of_the_path_is_made_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        assert!(StateDatabase::open(&folder.path().join("holdover/state.redb")).is_ok());
        assert!(
            StateDatabase::open(&folder.path().join("lib/holdover/state.redb")).is_err()
                && !folder.path().join("lib").exists()
        );
    }
}
