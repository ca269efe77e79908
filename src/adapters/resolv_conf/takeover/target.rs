//! The file that is taken over, and the places where its original is kept.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::adapters::resolv_conf::error::TakeoverError;
use crate::adapters::resolv_conf::file::put;
use crate::adapters::resolv_conf::original::{READABLE, load_kept, places};
use crate::core::takeover::{KeptOriginal, Was, kept_in};

/// A `resolv.conf` with the places where its original may be kept.
#[derive(Clone, Debug)]
pub(super) struct TakeoverTarget {
    file: PathBuf,
    /// Where the operator wants the original kept; `None` for the usual places.
    keep: Option<PathBuf>,
}

/// The original of a file, as far as it is known.
pub(super) struct KnownOriginal {
    /// The original; `None` when the file was not taken over, or its original is lost.
    pub(super) kept: Option<KeptOriginal>,
    /// Where the copy lies; `None` where only the text of the file carries the original.
    pub(super) kept_in: Option<PathBuf>,
}

/// The kept copy of an original, and the text that is to take the original's place.
pub(super) struct KeptCopy {
    /// The bytes of the kept copy.
    pub(super) bytes: Vec<u8>,
    /// The text for the file itself, which names the place of the copy.
    pub(super) text: String,
}

impl TakeoverTarget {
    /// Makes both paths absolute.
    ///
    /// # Errors
    /// [`TakeoverError::Path`].
    pub(super) fn new(file: &Path, keep: Option<&Path>) -> Result<Self, TakeoverError> {
        let absolute = |path: &Path| match std::path::absolute(path) {
            Ok(path) if path.to_str().is_some_and(|text| !text.contains('\n')) => Ok(path),
            Ok(_) | Err(_) => Err(TakeoverError::Path(path.to_owned())),
        };
        Ok(Self { file: absolute(file)?, keep: keep.map(absolute).transpose()? })
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// The file's path as it stands in a text; [`TakeoverTarget::new`] has made sure that it fits
    /// into one.
    pub(super) fn file_as_text(&self) -> String {
        self.file.display().to_string()
    }

    /// The places in which the original may be kept, in the order in which they are tried.
    fn places(&self) -> Vec<PathBuf> {
        self.keep.clone().map_or_else(|| places(&self.file), |keep| vec![keep])
    }

    /// Whether the file is a plain file or a symbolic link, with its owner and permissions.
    ///
    /// # Errors
    /// The error of the operating system; the file may not exist.
    pub(super) fn was(&self) -> io::Result<Was> {
        let metadata = fs::symlink_metadata(&self.file)?;
        Ok(if metadata.is_symlink() {
            Was::Link(fs::read_link(&self.file)?.to_string_lossy().into_owned())
        } else {
            Was::File { mode: metadata.mode() & 0o7777, owner: metadata.uid(), group: metadata.gid() }
        })
    }

    /// Finds the original: a kept copy, else what holdover's text in the file carries of it.
    /// `bytes` and `was` are what the file is now.
    pub(super) fn original(&self, bytes: &[u8], was: &Was) -> KnownOriginal {
        if let Some((place, kept)) = self.kept(&String::from_utf8_lossy(bytes)) {
            return KnownOriginal { kept: Some(kept), kept_in: Some(place) };
        }
        // holdover writes a plain file. Where there is a link, somebody else has put it there
        // since, and the text behind it says nothing about this file.
        let text = std::str::from_utf8(bytes).ok().filter(|_| matches!(was, Was::File { .. }));
        let carried = text.and_then(|text| KeptOriginal::recover(text, was, &self.file_as_text()));
        KnownOriginal { kept: carried, kept_in: None }
    }

    /// Finds the kept copy and its place: where the file's text says, else in one of the places.
    fn kept(&self, text: &str) -> Option<(PathBuf, KeptOriginal)> {
        // A place that the operator names is the only one that counts.
        let named = if self.keep.is_none() { kept_in(text).map(PathBuf::from) } else { None };
        named.into_iter().chain(self.places()).find_map(|place| {
            let kept = load_kept(&place).ok().filter(|kept| Path::new(&kept.file) == self.file)?;
            Some((place, kept))
        })
    }

    /// Keeps a copy of the original in the first place where that is possible, and gives that place
    /// with the text for the file. `copy` makes both for a place. A file that lies there already
    /// and is not a kept original of this file is left alone.
    ///
    /// # Errors
    /// [`TakeoverError::NowhereToKeep`] with a reason for each place.
    pub(super) fn keep(&self, copy: impl Fn(&Path) -> KeptCopy) -> Result<(PathBuf, String), TakeoverError> {
        let mut complaints = Vec::new();
        for place in self.places() {
            let occupied = match load_kept(&place) {
                Ok(kept) if Path::new(&kept.file) != self.file => Some(format!("keeps the original of {}", kept.file)),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    Some("is a file that holdover did not make".to_owned())
                }
                Ok(_) | Err(_) => None,
            };
            let KeptCopy { bytes, text } = copy(&place);
            let kept = occupied.map_or(Ok(()), Err).and_then(|()| {
                let folder = place.parent().map_or(Ok(()), fs::create_dir_all);
                folder.and_then(|()| put(&place, &bytes, &READABLE).map(drop)).map_err(|error| error.to_string())
            });
            match kept {
                Ok(()) => return Ok((place, text)),
                Err(complaint) => complaints.push(format!("{}: {complaint}", place.display())),
            }
        }
        Err(TakeoverError::NowhereToKeep(complaints.join("; ")))
    }
}
