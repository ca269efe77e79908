//! Reads a database without changing its file: what redb writes stays in memory, over what the file
//! holds.
//!
//! redb repairs a file that was not closed: it reads all of it, writes a commit, and waits for the
//! disk three times. With an overlay in between, the repair is the same, and none of it reaches the
//! disk. So remembered answers are restored before the first wait for a disk, and the file itself
//! is repaired later, when queries are answered already. A power cut in between finds the file as
//! it was. Files on a disk that is full or read-only can be read, too.
//!
//! The file is locked in shared mode, since a file that is open only for reading can have no other
//! locks. A process that has the file open for writing is noticed by them; a process that wants to
//! open it for writing has to wait for a moment.

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
/// Blocks that may be kept: a repair writes the header and a few pages, closing writes some more.
const BLOCKS_MAX: usize = 1024;

/// A file together with the writes that did not reach it.
#[derive(Debug)]
pub(super) struct Overlay {
    /// Takes the locks on the file, and is used for nothing else.
    locks: FileBackend,
    file: fs::File,
    over: Mutex<Over>,
}

/// The writes that lie over the file.
#[derive(Debug)]
struct Over {
    /// Length in bytes of file and writes together.
    length: u64,
    /// Bytes of the file that still show through: fewer than the file has once it was cut, since
    /// what is appended after a cut are zeros, and not the old content.
    shown: u64,
    /// Blocks that were written, by their number. Each was filled from the file first.
    blocks: BTreeMap<u64, Box<[u8; BLOCK]>>,
}

/// The part of a read or write that lies within one block.
struct Part {
    /// The number of the block in the file.
    number: u64,
    /// Where the part begins within the block.
    in_block: usize,
    /// Where the part begins within the data that are read or written.
    in_data: usize,
    length: usize,
}

impl Overlay {
    /// An overlay without writes over a file that is open for reading.
    pub(super) fn new(file: fs::File) -> Result<Self, DatabaseError> {
        let (length, locks) = (
            file.metadata().map_err(redb::StorageError::Io)?.len(),
            FileBackend::new(file.try_clone().map_err(redb::StorageError::Io)?)?,
        );
        Ok(Self { locks, file, over: Mutex::new(Over { length, shown: length, blocks: BTreeMap::new() }) })
    }

    /// Fills `out` with what the file shows from `offset` on, and with zeros beyond its first
    /// `shown` bytes.
    fn read_file(&self, offset: u64, out: &mut [u8], shown: u64) -> io::Result<()> {
        let most = usize::try_from(shown.saturating_sub(offset)).unwrap_or(usize::MAX).min(out.len());
        let (from_file, beyond) = out.split_at_mut(most);
        beyond.fill(0);
        self.file.read_exact_at(from_file, offset)
    }
}

/// Cuts a range of the file at the borders of the blocks.
fn parts(offset: u64, length: usize) -> impl Iterator<Item = Part> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset.checked_add(u64::try_from(done).ok()?)?;
        let in_block = usize::try_from(at % BLOCK as u64).ok()?;
        let part =
            Part { number: at / BLOCK as u64, in_block, in_data: done, length: (BLOCK - in_block).min(length - done) };
        done += part.length;
        (part.length > 0).then_some(part)
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
        // First what the file shows, then the blocks that were written over it.
        self.read_file(offset, out, over.shown)?;
        for Part { number, in_block, in_data, length } in parts(offset, out.len()) {
            if let Some(block) = over.blocks.get(&number)
                && let (Some(to), Some(from)) =
                    (out.get_mut(in_data..in_data + length), block.get(in_block..in_block + length))
            {
                to.copy_from_slice(from);
            }
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> Result<(), io::Error> {
        let mut over = self.over.lock();
        if length < over.length {
            // What is cut off must not show again when the length grows: neither from the file, nor
            // from whole blocks beyond the cut, nor from the rest of the block in which the cut
            // lies.
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
        // Nothing ever reaches the disk, so there is nothing to wait for.
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let mut over = self.over.lock();
        let shown = over.shown;
        for Part { number, in_block, in_data, length } in parts(offset, data.len()) {
            // A block is filled from the file with its first write, so that later reads need not
            // know which of its bytes were written.
            if !over.blocks.contains_key(&number) {
                if over.blocks.len() >= BLOCKS_MAX {
                    return Err(ErrorKind::StorageFull.into());
                }
                let mut block = Box::new([0; BLOCK]);
                self.read_file(number * BLOCK as u64, &mut *block, shown)?;
                over.blocks.insert(number, block);
            }
            if let Some(block) = over.blocks.get_mut(&number)
                && let (Some(to), Some(from)) =
                    (block.get_mut(in_block..in_block + length), data.get(in_data..in_data + length))
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
        // redb asks for an exclusive lock, which a file open only for reading cannot have.
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

    /// Something that redb does to its storage.
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
        fn it_holds_what_a_file_would_hold_and_the_file_stays_as_it_was(
            before in proptest::collection::vec(any::<u8>(), 0..16_000),
            deeds in deeds(),
        ) {
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
