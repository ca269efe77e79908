//! The state file itself: a redb database of two tables.
//!
//! | table | key | value |
//! |---|---|---|
//! | `about` | `format` | version of this layout: 1 |
//! | | `boot` | identity of the boot in which the file was written; 0 when it is not known |
//! | | `booted_at` | when that boot began, on the writer's timeline, in µs since the Unix epoch |
//! | `answers` | the cache's key, then 0 for a positive answer, 1 for a negative one | a record |
//!
//! Keys are those of [`crate::core::key`], and records those of [`crate::core::record`]. The table
//! `about` stays as it is in every version. A new layout of the rest gets a new number and a reader
//! in [`FORMATS`], and the old readers stay. A file of an older version is read; the first write
//! turns it into a file of the present version, in one transaction.
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
    Builder, CompactionError, Database, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    StorageBackend, TableDefinition, TableError,
};

use super::error::{StateFileError, refused};
use super::host::Host;
use super::overlay::Overlay;
use crate::core::classify::Kind;
use crate::core::entry::Entry;
use crate::core::key::Key;
use crate::core::record::{self, Record};
use crate::core::time::Timestamp;
use crate::telemetry::state_file::StateFileTrouble;

const ABOUT: TableDefinition<'static, &'static str, u128> = TableDefinition::new("about");
const ANSWERS: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("answers");
/// Version of the layout that this version of holdover writes.
pub const FORMAT: u128 = 1;
/// Memory in which redb keeps pages, in bytes; redb's default is 1 GiB. When a large write changes
/// more than half of it, pages go to the file ahead of the commit.
const CACHE_BYTES: usize = 512 << 10;
/// Last byte of the row key of a positive answer.
const POSITIVE: u8 = 0;
/// Last byte of the row key of a negative answer.
const NEGATIVE: u8 = 1;

/// Reads the answers of a file in one layout, and hands over each as a row of the present layout:
/// its key and its record.
pub type ReadRows = fn(&ReadTransaction, &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StateFileError>;

/// A layout of the file that this version of holdover can read.
#[derive(Clone, Copy)]
pub struct FileFormat {
    /// Number of the layout, as it stands in the table `about`.
    pub version: u128,
    /// Reader of the answers in this layout.
    pub read: ReadRows,
}

/// All layouts of the file that this version of holdover can read.
pub const FORMATS: &[FileFormat] = &[CURRENT];
const CURRENT: FileFormat = FileFormat { version: FORMAT, read: read_first };

/// An open state file, with its layout and the boot in which it was written.
pub struct StateDatabase {
    database: Database,
    /// The file that holds the database; `None` when another backend does.
    handle: Option<fs::File>,
    /// `None` while the file is new and empty.
    format: Option<FileFormat>,
    /// The boot in which the file was last written.
    host: Option<Host>,
}

/// The answers of a state file within one transaction that writes.
pub struct Rows<'a> {
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
        // A database without tables was made just now.
        let transaction = database.begin_read()?;
        if transaction.list_tables()?.next().is_none() {
            return Ok(Self { database, handle: None, format: None, host: None });
        }
        // Every version of holdover writes the table `about` with these keys and types.
        let foreign = || StateFileError::Unusable("the database of another program".into());
        let about = match transaction.open_table(ABOUT) {
            Ok(about) => about,
            Err(TableError::Storage(error)) => return Err(error.into()),
            Err(_) => return Err(foreign()),
        };
        let number = |key| Ok::<_, StateFileError>(about.get(key)?.map(|value| value.value()));
        let version = number("format")?.ok_or_else(foreign)?;
        let Some(format) = formats.iter().find(|format| format.version == version) else {
            return Err(StateFileError::Unusable(format!(
                "of format {version}; this version of holdover reads up to {FORMAT}"
            )));
        };
        // 0 stands for a boot whose identity is not known.
        let booted_at = number("booted_at")?.and_then(|micros| u64::try_from(micros).ok()).map(Timestamp::from_micros);
        let boot = number("boot")?.filter(|boot| *boot != 0);
        let host = booted_at.map(|booted_at| Host { boot, booted_at });
        drop((about, transaction));
        Ok(Self { database, handle: None, format: Some(*format), host })
    }

    /// The boot in which the file was last written; `None` for a new file.
    #[must_use]
    pub const fn host(&self) -> Option<Host> {
        self.host
    }

    /// Hands every answer of the file to `visit`, and gives the number of rows that are not valid
    /// answers.
    ///
    /// # Errors
    /// [`StateFileError`] when the file cannot be read to its end.
    pub fn load(&self, mut visit: impl FnMut(&Key, Record)) -> Result<u64, StateFileError> {
        let Some(format) = self.format else { return Ok(0) };
        let mut unreadable = 0;
        (format.read)(&self.database.begin_read()?, &mut |row, bytes| {
            let key = row.split_last().and_then(|(_, key)| Key::from_stored(key));
            match key.as_ref().map(|key| (key, record::read(key, bytes))) {
                Some((key, Ok(record))) => visit(key, record),
                Some((_, Err(_))) | None => unreadable += 1,
            }
        })?;
        Ok(unreadable)
    }

    /// Changes rows in one transaction, and gives the number of rows after it. Nothing is written
    /// when neither a row nor the host has changed.
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
        let current = self.format.is_some_and(|format| format.version == FORMAT);
        if !current {
            let old: Vec<_> = transaction.list_tables()?.collect();
            for table in old {
                transaction.delete_table(table)?;
            }
        }
        let (entries, changed) = {
            let mut rows = Rows { table: transaction.open_table(ANSWERS)?, record: Vec::new(), changed: false };
            edit(&mut rows)?;
            (rows.table.len()?, rows.changed)
        };
        // A new boot is written even when no row has changed, since the times are read with it.
        if !changed && current && self.host == Some(*host) {
            transaction.abort()?;
            return Ok(entries);
        }
        {
            let mut about = transaction.open_table(ABOUT)?;
            about.insert("format", FORMAT)?;
            about.insert("boot", host.boot.unwrap_or_default())?;
            about.insert("booted_at", u128::from(host.booted_at.as_micros()))?;
        }
        transaction.commit()?;
        self.format = Some(CURRENT);
        self.host = Some(*host);
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

impl Rows<'_> {
    /// Writes an answer under its key, and replaces an older one of the same kind. A positive
    /// answer also removes the negative one of the same name and type.
    ///
    /// # Errors
    /// [`StateFileError`] when the file cannot be written.
    pub fn put(&mut self, key: &Key, entry: &Entry, hits: u32) -> Result<(), StateFileError> {
        self.record.clear();
        record::write(entry, hits, &mut self.record);
        let kind = match entry.kind {
            Kind::Positive => {
                self.table.remove(row(key, NEGATIVE).as_slice())?;
                POSITIVE
            }
            Kind::NoData | Kind::NxDomain => NEGATIVE,
        };
        self.table.insert(row(key, kind).as_slice(), self.record.as_slice())?;
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

    /// Removes the rows for which `wanted` says no. It is given the key ([`row_key`]) and the
    /// record of each row.
    ///
    /// # Errors
    /// [`StateFileError`] when the file cannot be written.
    pub fn retain(&mut self, mut wanted: impl FnMut(&[u8], &[u8]) -> bool) -> Result<(), StateFileError> {
        let mut removed = false;
        self.table.retain(|row, record| {
            let wanted = wanted(row, record);
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
fn regular(path: &Path, options: &fs::OpenOptions) -> Result<fs::File, StateFileError> {
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(StateFileError::Refused { trouble: StateFileTrouble::NotAFile, what: "not a regular file".into() });
    }
    Ok(options.open(path)?)
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Reads the answers of layout 1.
fn read_first(transaction: &ReadTransaction, visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StateFileError> {
    for row in transaction.open_table(ANSWERS)?.iter()? {
        let (key, record) = row?;
        visit(key.value(), record.value());
    }
    Ok(())
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
