//! The file itself: a redb database of two tables.
//!
//! | table | key | value |
//! |---|---|---|
//! | `about` | `format` | version of this layout: 1 |
//! | | `boot` | identity of the boot in which it was written; 0 when that is not known |
//! | | `booted_at` | when that boot began, on the writer's timeline, µs since the Unix epoch |
//! | `answers` | the cache's key ([`crate::core::key`]), then 0 for a positive answer, 1 for a negative one | a [`crate::core::record`] |
//!
//! `about` stays as it is in every version. Another layout of the rest gets another number and a
//! reader in [`FORMATS`]; the old readers stay. A file of an older version is read, and becomes one
//! of this version with the first write, in one transaction.
//!
//! Each write is one transaction with one `fdatasync`: without it redb keeps the transaction in
//! memory, and kill -9 would take it. redb's checksums tell a commit that a power cut tore; the one
//! before it then counts. Its second phase, which would double the syncs, guards against data made
//! to collide with the checksum; here that could at most win one lost file.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use redb::{
    Builder, CompactionError, Database, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    StorageBackend, TableDefinition, TableError,
};

use super::Host;
use super::broken::{Broken, refused};
use super::overlay::Overlay;
use crate::core::classify::Kind;
use crate::core::entry::Entry;
use crate::core::key::Key;
use crate::core::record::{self, Record};
use crate::core::time::Timestamp;
use crate::telemetry::state_file::StateFileTrouble;

/// What the file says of itself.
const ABOUT: TableDefinition<'static, &'static str, u128> = TableDefinition::new("about");
/// The answers.
const ANSWERS: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("answers");
/// The layout that is written.
pub const FORMAT: u128 = 1;
/// Memory in which redb keeps pages, in bytes; its default is 1 GiB. Pages that a large write
/// changes beyond half of it go to the file ahead of the commit.
const CACHE_BYTES: usize = 512 << 10;
/// Behind the key of a positive answer.
const POSITIVE: u8 = 0;
/// Behind the key of a negative one.
const NEGATIVE: u8 = 1;

/// Reads the answers of one layout: rows as this version has them.
pub type Read = fn(&ReadTransaction, &mut dyn FnMut(&[u8], &[u8])) -> Result<(), Broken>;

/// A layout that can be read.
#[derive(Clone, Copy)]
pub struct Format {
    /// Its number.
    pub version: u128,
    /// Its reader.
    pub read: Read,
}

/// All layouts that can be read.
pub const FORMATS: &[Format] = &[CURRENT];
/// The one that is written.
const CURRENT: Format = Format { version: FORMAT, read: read_first };

/// An open state file.
pub struct File {
    /// The database.
    database: Database,
    /// The file that it lies in; none when it lies elsewhere.
    handle: Option<fs::File>,
    /// How its answers are read; none in a new one.
    format: Option<Format>,
    /// The host that wrote it.
    host: Option<Host>,
}

/// The rows of a file while they are written.
pub struct Rows<'a> {
    /// The answers.
    table: redb::Table<'a, &'static [u8], &'static [u8]>,
    /// The record being made.
    record: Vec<u8>,
    /// Whether there is something to commit.
    changed: bool,
}

impl File {
    /// Opens or makes the file at a path, and the folder in which it lies; what that lies in has to
    /// be there.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn open(path: &Path) -> Result<Self, Broken> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            // Where it is there, or cannot be made, opening the file says what is wrong.
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

    /// Opens or makes one on something like a disk.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn on(backend: impl StorageBackend, formats: &'static [Format]) -> Result<Self, Broken> {
        Self::opened(builder().create_with_backend(backend)?, formats)
    }

    /// Looks at the file at a path: what is written to it stays in memory ([`Overlay`]).
    ///
    /// # Errors
    /// [`Broken`].
    pub fn look(path: &Path) -> Result<Self, Broken> {
        Self::on(Overlay::new(regular(path, fs::OpenOptions::new().read(true))?)?, FORMATS)
    }

    /// Looks at what a database says of itself.
    fn opened(database: Database, formats: &'static [Format]) -> Result<Self, Broken> {
        let transaction = database.begin_read()?;
        if transaction.list_tables()?.next().is_none() {
            return Ok(Self { database, handle: None, format: None, host: None });
        }
        let foreign = || Broken::Unusable("the database of another program".into());
        let about = match transaction.open_table(ABOUT) {
            Ok(about) => about,
            Err(TableError::Storage(error)) => return Err(error.into()),
            Err(_) => return Err(foreign()),
        };
        let number = |key| Ok::<_, Broken>(about.get(key)?.map(|value| value.value()));
        let version = number("format")?.ok_or_else(foreign)?;
        let Some(format) = formats.iter().find(|format| format.version == version) else {
            return Err(Broken::Unusable(format!(
                "of format {version}; this version of holdover reads up to {FORMAT}"
            )));
        };
        let booted_at = number("booted_at")?.and_then(|micros| u64::try_from(micros).ok()).map(Timestamp::from_micros);
        let boot = number("boot")?.filter(|boot| *boot != 0);
        let host = booted_at.map(|booted_at| Host { boot, booted_at });
        drop((about, transaction));
        Ok(Self { database, handle: None, format: Some(*format), host })
    }

    /// The host that wrote it; `None` of a new file.
    #[must_use]
    pub const fn host(&self) -> Option<Host> {
        self.host
    }

    /// Reads all answers; gives how many rows were none.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn load(&self, mut visit: impl FnMut(&Key, Record)) -> Result<u64, Broken> {
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

    /// Changes rows in one transaction, which is whole or not there; gives how many there are then.
    /// Nothing is written when nothing changes.
    ///
    /// # Errors
    /// [`Broken`]: nothing has changed, and the file has to be opened again.
    pub fn write(
        &mut self,
        host: &Host,
        edit: impl FnOnce(&mut Rows<'_>) -> Result<(), Broken>,
    ) -> Result<u64, Broken> {
        let transaction = self.database.begin_write()?;
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

    /// Bytes of all rows, without what the file needs around them. Walks the file.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn stored_bytes(&self) -> Result<u64, Broken> {
        let transaction = self.database.begin_read()?;
        match transaction.open_table(ANSWERS) {
            Ok(table) => Ok(table.stats()?.stored_bytes()),
            Err(TableError::TableDoesNotExist(_)) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives back what the file does not need.
    ///
    /// # Errors
    /// [`Broken`]: the file has to be opened again.
    pub fn compact(&mut self) -> Result<(), Broken> {
        match self.database.compact() {
            Ok(_) => Ok(()),
            Err(CompactionError::Storage(error)) => Err(error.into()),
            Err(error) => Err(refused(StateFileTrouble::Device, &error)),
        }
    }

    /// How long the file is, in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.handle.as_ref().and_then(|handle| handle.metadata().ok()).map_or(0, |found| found.len())
    }

    /// Whether it is still what lies at this path: somebody may have removed it, or put another one
    /// there.
    #[must_use]
    pub fn lies_at(&self, path: &Path) -> bool {
        let identity = |found: fs::Metadata| (found.dev(), found.ino());
        let own = self.handle.as_ref().and_then(|handle| handle.metadata().ok()).map(identity);
        own.is_some() && own == fs::metadata(path).ok().map(identity)
    }
}

impl Rows<'_> {
    /// Writes an answer under its key, over an older one. A good answer ends the negative one
    /// beside it.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn put(&mut self, key: &Key, entry: &Entry, hits: u32) -> Result<(), Broken> {
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

    /// Removes all that is known of a name and type.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn forget(&mut self, key: &Key) -> Result<(), Broken> {
        for kind in [POSITIVE, NEGATIVE] {
            self.changed |= self.table.remove(row(key, kind).as_slice())?.is_some();
        }
        Ok(())
    }

    /// Removes the rows that are not wanted. `wanted` is given the key of each ([`row_key`]) and
    /// its record.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn retain(&mut self, mut wanted: impl FnMut(&[u8], &[u8]) -> bool) -> Result<(), Broken> {
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

/// The key of the row of an answer of this kind.
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

/// A key and what stands behind it.
fn row(key: &Key, kind: u8) -> Vec<u8> {
    let mut row = Vec::with_capacity(key.as_bytes().len() + 1);
    row.extend_from_slice(key.as_bytes());
    row.push(kind);
    row
}

/// Opens what lies at a path, which has to be a file: a pipe, for one, would let us wait for ever.
fn regular(path: &Path, options: &fs::OpenOptions) -> Result<fs::File, Broken> {
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(Broken::Refused { trouble: StateFileTrouble::NotAFile, what: "not a regular file".into() });
    }
    Ok(options.open(path)?)
}

/// How databases are opened.
fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Reads the first layout.
fn read_first(transaction: &ReadTransaction, visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), Broken> {
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
        assert!(File::open(&folder.path().join("holdover/state.redb")).is_ok());
        assert!(
            File::open(&folder.path().join("lib/holdover/state.redb")).is_err() && !folder.path().join("lib").exists()
        );
    }
}
