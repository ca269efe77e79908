//! Puts the original of a `resolv.conf` back.

use std::fs;

use super::target::{KnownOriginal, TakeoverTarget};
use crate::adapters::resolv_conf::error::TakeoverError;
use crate::adapters::resolv_conf::file::{How, load_bytes, put};
use crate::adapters::resolv_conf::original::READABLE;
use crate::core::resolv_conf::{ResolvConfWriter, is_marked};
use crate::core::takeover::Was;

/// Whether the original is put back over what somebody else wrote since the takeover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// A file that somebody else wrote is left as it is.
    No,
    /// Whatever stands in the file is overwritten.
    Yes,
}

/// How the original came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restored {
    /// The original was written in this way.
    Written(How),
    /// The file was the original already.
    Already,
}

/// Puts the original back, and removes the kept copy.
///
/// # Errors
/// Those of `Takeover::restore`.
pub(super) fn restore(target: &TakeoverTarget, force: Force) -> Result<Restored, TakeoverError> {
    let file = target.file();
    // The file may be gone. Then only a kept copy shows what it was.
    let was = target.was().ok();
    let bytes = was.as_ref().and_then(|_| load_bytes(file).ok());
    let present = bytes.as_deref().unwrap_or_default();
    let text = String::from_utf8_lossy(present).into_owned();
    let KnownOriginal { kept, kept_in } = target.original(present, was.as_ref().unwrap_or(&READABLE));
    let Some(kept) = kept else {
        let file = file.to_owned();
        return Err(if is_marked(&text) {
            TakeoverError::OriginalLost(file)
        } else {
            TakeoverError::NotTakenOver(file)
        });
    };

    // Find out whose text stands in the file now: the original, holdover's, or somebody else's.
    let link = fs::read_link(file).ok().map(|link| link.to_string_lossy().into_owned());
    let is_original = match &kept.was {
        Was::Link(original) => link.as_ref() == Some(original),
        Was::File { .. } => link.is_none() && bytes.as_ref() == Some(&kept.original),
    };
    let is_ours = link.is_none() && bytes.as_deref() == Some(kept.wrote.as_bytes());

    // Only holdover's own text may be overwritten, unless the operator asks for more.
    let restored = if is_original {
        Restored::Already
    } else if is_ours || force == Force::Yes {
        let written = put(file, &kept.original, &kept.was);
        Restored::Written(written.map_err(|cause| TakeoverError::Unwritable { file: file.to_owned(), cause })?)
    } else {
        let writer = ResolvConfWriter::of(&text, link.as_deref());
        // An original that only the text carries never comes here: such a text is holdover's own.
        return Err(TakeoverError::ChangedSince { file: file.to_owned(), writer, kept: kept_in.unwrap_or_default() });
    };

    // A copy that cannot be removed does no harm: the next takeover writes over it.
    let _ = kept_in.map(fs::remove_file);
    Ok(restored)
}
