//! A look at a database that changes nothing: what redb writes to it stays in memory, over what the
//! file holds.
//!
//! redb repairs a file that was not closed: it reads all of it, writes a commit, and waits for the
//! disk three times. With this in between, the repair is the same and none of it reaches the disk:
//! what is remembered is back before the first wait, and the file is repaired in earnest when
//! queries are answered already. So a power cut meanwhile finds the file as it was, and what lies
//! on a disk that is full or read-only can be read, too.
//!
//! Locks are taken on the file, shared ones, since a file that may not be written can have no
//! others: another process that writes it is noticed, and must wait for a moment.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::ops::Bound;
use std::os::unix::fs::FileExt;

use parking_lot::Mutex;
use redb::backends::FileBackend;
use redb::{BackendError, DatabaseError, StorageBackend};

/// Bytes that are kept together; the size of redb's pages.
const BLOCK: usize = 4096;
/// Blocks that may be kept: a repair writes the header and few pages, an end some more.
const BLOCKS_MAX: usize = 1024;

/// A file, and over it what was written.
#[derive(Debug)]
pub(super) struct Overlay {
    /// Its locks.
    locks: FileBackend,
    /// What it holds.
    file: fs::File,
    /// What was written.
    over: Mutex<Over>,
}

/// What was written.
#[derive(Debug)]
struct Over {
    /// How long the whole is.
    length: u64,
    /// How much of the file shows through: less than its length once that was cut.
    shown: u64,
    /// By their number.
    blocks: BTreeMap<u64, Box<[u8; BLOCK]>>,
}

impl Overlay {
    /// A file as it is.
    pub(super) fn new(file: fs::File) -> Result<Self, DatabaseError> {
        let (length, locks) = (
            file.metadata().map_err(redb::StorageError::Io)?.len(),
            FileBackend::new(file.try_clone().map_err(redb::StorageError::Io)?)?,
        );
        Ok(Self { locks, file, over: Mutex::new(Over { length, shown: length, blocks: BTreeMap::new() }) })
    }

    /// Reads what the file shows at this place; zeros beyond its end.
    fn show(&self, offset: u64, shown: u64, out: &mut [u8]) -> io::Result<()> {
        let most = usize::try_from(shown.saturating_sub(offset)).unwrap_or(usize::MAX).min(out.len());
        let (from_file, beyond) = out.split_at_mut(most);
        beyond.fill(0);
        self.file.read_exact_at(from_file, offset)
    }
}

/// The blocks that a range touches: number, where the common part begins in block and range, and
/// how long it is.
fn parts(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset.checked_add(u64::try_from(done).ok()?)?;
        let within = usize::try_from(at % BLOCK as u64).ok()?;
        let part = (BLOCK - within).min(length - done);
        let found = (at / BLOCK as u64, within, done, part);
        done += part;
        (part > 0).then_some(found)
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.over.lock().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let over = self.over.lock();
        if offset.saturating_add(u64::try_from(out.len()).unwrap_or(u64::MAX)) > over.length {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.show(offset, over.shown, out)?;
        for (number, within, at, part) in parts(offset, out.len()) {
            if let Some(block) = over.blocks.get(&number)
                && let (Some(to), Some(from)) = (out.get_mut(at..at + part), block.get(within..within + part))
            {
                to.copy_from_slice(from);
            }
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> Result<(), io::Error> {
        let mut over = self.over.lock();
        if length < over.length {
            over.shown = over.shown.min(length);
            let first_gone = length.div_ceil(BLOCK as u64);
            over.blocks.split_off(&first_gone);
            if let Some(block) = over.blocks.get_mut(&(length / BLOCK as u64))
                && let Some(gone) = block.get_mut(usize::try_from(length % BLOCK as u64).unwrap_or(BLOCK)..)
            {
                gone.fill(0);
            }
        }
        over.length = length;
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let mut over = self.over.lock();
        let shown = over.shown;
        for (number, within, at, part) in parts(offset, data.len()) {
            if !over.blocks.contains_key(&number) {
                if over.blocks.len() >= BLOCKS_MAX {
                    return Err(ErrorKind::StorageFull.into());
                }
                let mut block = Box::new([0; BLOCK]);
                self.show(number * BLOCK as u64, shown, &mut *block)?;
                over.blocks.insert(number, block);
            }
            if let Some(block) = over.blocks.get_mut(&number)
                && let (Some(to), Some(from)) = (block.get_mut(within..within + part), data.get(at..at + part))
            {
                to.copy_from_slice(from);
            }
        }
        Ok(())
    }

    fn close(&self) -> Result<(), io::Error> {
        self.locks.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.locks.try_lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.locks.unlock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Something that is done to it.
    #[derive(Clone, Debug)]
    enum Deed {
        Write(usize, Vec<u8>),
        Length(usize),
    }

    fn deeds() -> impl Strategy<Value = Vec<Deed>> {
        let write = (0..20_000_usize, proptest::collection::vec(any::<u8>(), 1..9_000))
            .prop_map(|(at, data)| Deed::Write(at, data));
        proptest::collection::vec(prop_oneof![write, (0..24_000_usize).prop_map(Deed::Length)], 0..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn it_holds_what_a_file_would_hold_and_the_file_stays_as_it_was(before in proptest::collection::vec(any::<u8>(), 0..16_000), deeds in deeds()) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("file");
            fs::write(&path, &before).unwrap();
            let overlay = Overlay::new(fs::File::open(&path).unwrap()).unwrap();
            let mut expected = before.clone();
            for deed in deeds {
                match deed {
                    Deed::Length(length) => {
                        overlay.set_len(length as u64).unwrap();
                        expected.resize(length, 0);
                    }
                    Deed::Write(at, data) if at + data.len() <= expected.len() => {
                        overlay.write(at as u64, &data).unwrap();
                        expected[at..at + data.len()].copy_from_slice(&data);
                    }
                    // redb writes within the length only.
                    Deed::Write(..) => {}
                }
                prop_assert_eq!(overlay.len().unwrap(), expected.len() as u64);
                let mut found = vec![7; expected.len()];
                overlay.read(0, &mut found).unwrap();
                prop_assert!(found == expected);
            }
            prop_assert!(overlay.read(1, &mut vec![0; expected.len()]).is_err(), "beyond the end");
            prop_assert!(fs::read(&path).unwrap() == before);
        }
    }

    #[test]
    fn what_it_keeps_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, []).unwrap();
        let overlay = Overlay::new(fs::File::open(&path).unwrap()).unwrap();
        overlay.set_len(1 << 30).unwrap();
        let most = (0..).find(|number| overlay.write(number * BLOCK as u64, &[1]).is_err());
        assert_eq!(most, Some(BLOCKS_MAX as u64));
    }
}
