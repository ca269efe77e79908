//! Tables of few rows beside that of the answers: each is read as a whole, and written as a whole
//! where it differs. Every row carries a checksum. A file of a version without the table has no
//! rows.

use std::collections::BTreeMap;

use redb::{ReadTransaction, ReadableTable, TableDefinition, TableError, WriteTransaction};

use super::checksum::{self, Sealing};
use super::error::StateFileError;

/// The definition of such a table.
pub(super) type SmallTable = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// Reads at most so many rows, each from its key and its value without the checksum; those that
/// are damaged, or that `row` cannot read, are left out.
///
/// # Errors
/// [`StateFileError`] when the file cannot be read.
pub(super) fn read<T>(
    transaction: &ReadTransaction,
    table: SmallTable,
    at_most: usize,
    sealing: Sealing,
    row: impl Fn(&[u8], &[u8]) -> Option<T>,
) -> Result<Vec<T>, StateFileError> {
    let table = match transaction.open_table(table) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut found = Vec::new();
    for present in table.iter()?.take(at_most) {
        let (key, value) = present?;
        let value = sealing.open(key.value(), value.value());
        found.extend(value.and_then(|value| row(key.value(), value)));
    }
    Ok(found)
}

/// Writes these rows, each with a checksum, and removes all others; false when nothing had to be
/// changed.
///
/// # Errors
/// [`StateFileError`] when the file cannot be written.
pub(super) fn replace(
    transaction: &WriteTransaction,
    table: SmallTable,
    rows: impl Iterator<Item = (Vec<u8>, Vec<u8>)>,
) -> Result<bool, StateFileError> {
    let sealed = |(key, mut value): (Vec<u8>, Vec<u8>)| {
        checksum::seal(&key, &mut value);
        (key, value)
    };
    let rows: BTreeMap<Vec<u8>, Vec<u8>> = rows.map(sealed).collect();
    let mut table = transaction.open_table(table)?;
    let mut changed = false;
    table.retain(|key, _| {
        let wanted = rows.contains_key(key);
        changed |= !wanted;
        wanted
    })?;
    for (key, value) in &rows {
        let is_there = table.get(key.as_slice())?.is_some_and(|present| present.value() == value.as_slice());
        if !is_there {
            table.insert(key.as_slice(), value.as_slice())?;
            changed = true;
        }
    }
    Ok(changed)
}
