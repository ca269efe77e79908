//! The layouts of the state file: how the answers of each are read, and what the table `about` says
//! of the file.

use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, TableError, WriteTransaction};

use super::checksum::{self, Sealing};
use super::error::StateFileError;
use super::host::Host;
use crate::core::time::Timestamp;

const ABOUT: TableDefinition<'static, &'static str, u128> = TableDefinition::new("about");
/// The table of the answers, in all layouts so far.
pub(super) const ANSWERS: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("answers");
/// Version of the layout that this version of holdover writes.
pub const FORMAT: u128 = 2;

/// Reads the answers of a file in one layout, and hands over each as a row of the present layout:
/// its key and its record. A damaged row comes without its record.
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
pub const FORMATS: &[FileFormat] = &[CURRENT, FileFormat { version: 1, read: read_first }];
/// The layout that this version of holdover writes.
pub(super) const CURRENT: FileFormat = FileFormat { version: FORMAT, read: read_sealed };

/// What a file says of itself.
#[derive(Clone, Copy)]
pub(super) struct About {
    /// The number of the layout.
    pub(super) version: u128,
    /// The boot in which the file was last written; `None` when it is not known.
    pub(super) host: Option<Host>,
    /// Whether these numbers have changed since they were written.
    pub(super) is_damaged: bool,
}

impl About {
    /// Reads what a file says of itself; `None` when it is new and empty.
    ///
    /// # Errors
    /// [`StateFileError::Unusable`] for the database of another program.
    pub(super) fn read(database: &Database) -> Result<Option<Self>, StateFileError> {
        // A database without tables was made just now.
        let transaction = database.begin_read()?;
        if transaction.list_tables()?.next().is_none() {
            return Ok(None);
        }
        // Every version of holdover writes the table `about` with these keys and types.
        let foreign = || StateFileError::Unusable("the database of another program".into());
        let about = match transaction.open_table(ABOUT) {
            Ok(about) => about,
            Err(TableError::Storage(error)) => return Err(error.into()),
            Err(_) => return Err(foreign()),
        };
        let number = |key| Ok::<_, StateFileError>(about.get(key)?.map(|value| value.value()));
        let (format, boot, booted_at) = (number("format")?, number("boot")?, number("booted_at")?);
        let expected = checksum_of([format, boot, booted_at]);
        let (version, is_damaged) = match (format, number("checksum")?) {
            (None, None) => return Err(foreign()),
            (Some(format), Some(checksum)) if checksum == expected => (format, false),
            (Some(format), None) if Sealing::of(format) == Sealing::Plain => (format, false),
            // The rows have checksums of their own, so they are read all the same.
            (_, Some(_)) => (FORMAT, true),
            (Some(format), None) => (format, true),
        };
        // 0 stands for a boot whose identity is not known.
        let booted_at = booted_at.and_then(|micros| u64::try_from(micros).ok()).map(Timestamp::from_micros);
        let boot = boot.filter(|boot| *boot != 0);
        let host = booted_at.filter(|_| !is_damaged).map(|booted_at| Host { boot, booted_at });
        Ok(Some(Self { version, host, is_damaged }))
    }

    /// Writes what a file of the present layout says of itself.
    ///
    /// # Errors
    /// [`StateFileError`] when the file cannot be written.
    pub(super) fn write(transaction: &WriteTransaction, host: &Host) -> Result<(), StateFileError> {
        let mut about = transaction.open_table(ABOUT)?;
        let (boot, booted_at) = (host.boot.unwrap_or_default(), u128::from(host.booted_at.as_micros()));
        about.insert("format", FORMAT)?;
        about.insert("boot", boot)?;
        about.insert("booted_at", booted_at)?;
        about.insert("checksum", checksum_of([Some(FORMAT), Some(boot), Some(booted_at)]))?;
        Ok(())
    }
}

/// The checksum of the numbers in the table `about`.
fn checksum_of(numbers: [Option<u128>; 3]) -> u128 {
    checksum::of_numbers(&numbers.map(Option::unwrap_or_default))
}

/// Reads the answers of layout 2, whose rows have checksums.
fn read_sealed(transaction: &ReadTransaction, visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StateFileError> {
    read_first(transaction, &mut |key, record| visit(key, Sealing::Sealed.open(key, record).unwrap_or_default()))
}

/// Reads the answers of layout 1.
fn read_first(transaction: &ReadTransaction, visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StateFileError> {
    for row in transaction.open_table(ANSWERS)?.iter()? {
        let (key, record) = row?;
        visit(key.value(), record.value());
    }
    Ok(())
}
