//! The rows of the flushes by operators: one for each, in a table beside the answers, so that after
//! a restart a seed or the shared cache does not bring back what was flushed.
//!
//! | part of a row | content |
//! |---|---|
//! | key, 8 bytes | when it was flushed, µs since the Unix epoch, big-endian |
//! | the rest of the key | the scope ([`Scope::bytes`]); empty: everything |
//! | value | nothing but the checksum |
//!
//! A row that cannot be read is dropped. A file of a version without the table has no rows.

use redb::{ReadTransaction, WriteTransaction};

use super::checksum::Sealing;
use super::error::StateFileError;
use super::small_table::{self, SmallTable};
use crate::core::time::Timestamp;
use crate::memory::flushes::{Flushes, SCOPES_MAX, Scope};

const FLUSHES: SmallTable = SmallTable::new("flushes");

/// A flush as the file holds it: what was flushed, or everything, and when.
pub(super) type FlushRow = (Option<Scope>, Timestamp);

/// Reads the rows of all flushes, without those that cannot be read.
///
/// # Errors
/// [`StateFileError`] when the file cannot be read.
pub(super) fn read(transaction: &ReadTransaction, sealing: Sealing) -> Result<Vec<FlushRow>, StateFileError> {
    small_table::read(transaction, FLUSHES, SCOPES_MAX + 1, sealing, |key, _| read_key(key))
}

fn read_key(key: &[u8]) -> Option<FlushRow> {
    let (at, scope) = key.split_first_chunk()?;
    let at = Timestamp::from_micros(u64::from_be_bytes(*at));
    if scope.is_empty() { Some((None, at)) } else { Some((Some(Scope::read(scope)?), at)) }
}

/// Writes the rows of these flushes and removes all others; false when nothing had to be changed.
///
/// # Errors
/// [`StateFileError`] when the file cannot be written.
pub(super) fn write(transaction: &WriteTransaction, flushes: &Flushes) -> Result<bool, StateFileError> {
    let key = |scope: &[u8], at: Timestamp| [&at.as_micros().to_be_bytes(), scope].concat();
    let (scopes, all_until) = flushes.all();
    let every = (all_until > Timestamp::EPOCH).then(|| key(&[], all_until));
    let keys = scopes.iter().map(|(scope, at)| key(&scope.bytes(), *at)).chain(every);
    small_table::replace(transaction, FLUSHES, keys.map(|key| (key, Vec::new())))
}
