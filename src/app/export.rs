//! The export of all remembered answers as the text of a seed, piece by piece.

use std::sync::Arc;
use std::vec;

use crate::adapters::seed::SeedWriter;
use crate::core::time::Timestamp;
use crate::memory::Memory;
use crate::memory::cached::CachedAnswer;

/// Bytes of one piece of an export. A piece ends with a whole answer, so it may be a little longer.
const PIECE: usize = 16 << 10;

/// An export under way. The export holds pointers to the answers that were remembered when it
/// began, so later changes are not part of it.
pub(super) struct Export {
    /// The answers that are still to be written.
    answers: vec::IntoIter<Arc<CachedAnswer>>,
    /// `None` when everything has been written.
    writer: Option<SeedWriter<Vec<u8>>>,
}

impl Export {
    /// An export of all answers that may be served at `now`, fresh or stale.
    pub(super) fn new(memory: &Memory, now: Timestamp) -> Self {
        let answers: Vec<_> = memory.store().answers().filter(|cached| cached.entry.is_servable(now)).collect();
        Self { answers: answers.into_iter(), writer: SeedWriter::new(Vec::new()).ok() }
    }
}

impl Iterator for Export {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut writer = self.writer.take()?;
        for cached in self.answers.by_ref() {
            if let Some(key) = cached.key() {
                // Writing to memory does not fail.
                let _ = writer.add(&key, &cached.entry, cached.hits());
            }
            if writer.out().len() >= PIECE {
                let piece = std::mem::take(writer.out());
                self.writer = Some(writer);
                return Some(piece);
            }
        }
        let _ = writer.finish();
        Some(std::mem::take(writer.out()))
    }
}
