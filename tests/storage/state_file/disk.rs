//! A disk in memory that records every operation, and can reproduce what a power cut would have
//! left.

use std::sync::{Arc, Mutex};

use rand::RngExt;
use rand::rngs::StdRng;
use redb::{BackendError, StorageBackend};

/// Bytes that a disk writes either completely or not at all.
const SECTOR: usize = 512;

#[derive(Clone, Debug)]
enum Operation {
    Write(u64, Vec<u8>),
    Length(u64),
    Sync,
}

#[derive(Debug, Default)]
struct Inner {
    bytes: Vec<u8>,
    operations: Vec<Operation>,
    forgetful: bool,
}

impl Inner {
    fn apply(bytes: &mut Vec<u8>, operation: &Operation) {
        match operation {
            Operation::Write(offset, data) => {
                let (start, end) = (*offset as usize, *offset as usize + data.len());
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[start..end].copy_from_slice(data);
            }
            Operation::Length(length) => bytes.resize(*length as usize, 0),
            Operation::Sync => {}
        }
    }

    fn perform(&mut self, operation: Operation) {
        Self::apply(&mut self.bytes, &operation);
        self.operations.push(operation);
    }
}

/// The recording disk; clones share their content.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Mutex<Inner>>);

impl Disk {
    /// A disk on which nothing counts as synced, whatever was asked of it.
    pub fn forgetful() -> Self {
        Self(Arc::new(Mutex::new(Inner { forgetful: true, ..Inner::default() })))
    }

    /// A disk that holds these bytes.
    pub fn holding(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Inner { bytes, ..Inner::default() })))
    }

    pub fn operations(&self) -> usize {
        self.0.lock().unwrap().operations.len()
    }

    /// The content after a power cut that follows the first `cut` operations: everything up to the
    /// last sync, and of the writes after it any subset, in any order, sector by sector.
    pub fn image(&self, cut: usize, dice: &mut StdRng) -> Self {
        let inner = self.0.lock().unwrap();
        let done = &inner.operations[..cut];
        let synced = if inner.forgetful {
            0
        } else {
            done.iter().rposition(|operation| matches!(operation, Operation::Sync)).unwrap_or(0)
        };
        let mut bytes = Vec::new();
        done[..synced].iter().for_each(|operation| Inner::apply(&mut bytes, operation));
        let mut rest: Vec<Operation> = Vec::new();
        for operation in &done[synced..] {
            match operation {
                Operation::Write(offset, data) => {
                    let sectors = data.chunks(SECTOR).enumerate();
                    rest.extend(
                        sectors.map(|(index, part)| Operation::Write(offset + (index * SECTOR) as u64, part.to_vec())),
                    );
                }
                // The file's length belongs to the file system, whose journal keeps changes of it
                // in order.
                Operation::Length(_) => Inner::apply(&mut bytes, operation),
                Operation::Sync => {}
            }
        }
        let share = dice.random_range(0..=100);
        for index in (1..rest.len()).rev() {
            rest.swap(index, dice.random_range(0..=index));
        }
        let length = bytes.len();
        for operation in rest.iter().filter(|_| dice.random_range(0..100) < share) {
            if matches!(operation, Operation::Write(offset, data) if *offset as usize + data.len() <= length) {
                Inner::apply(&mut bytes, operation);
            }
        }
        Self(Arc::new(Mutex::new(Inner { bytes, ..Inner::default() })))
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, std::io::Error> {
        Ok(self.0.lock().unwrap().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        let inner = self.0.lock().unwrap();
        let start = offset as usize;
        let part = inner
            .bytes
            .get(start..start + out.len())
            .ok_or_else(|| std::io::Error::from(std::io::ErrorKind::UnexpectedEof))?;
        out.copy_from_slice(part);
        Ok(())
    }

    fn set_len(&self, length: u64) -> Result<(), std::io::Error> {
        self.0.lock().unwrap().perform(Operation::Length(length));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), std::io::Error> {
        self.0.lock().unwrap().perform(Operation::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        self.0.lock().unwrap().perform(Operation::Write(offset, data.to_vec()));
        Ok(())
    }

    fn try_lock_range(&self, _: std::ops::Bound<u64>, _: std::ops::Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn unlock_range(&self, _: std::ops::Bound<u64>, _: std::ops::Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }
}
