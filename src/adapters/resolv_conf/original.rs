//! The places in which the original of a `resolv.conf` that holdover took over is kept, and how it
//! is found again.
//!
//! | where | why |
//! |---|---|
//! | beside the file | every container has its own, also where several share one state directory |
//! | `/var/lib/holdover`, then `/run/holdover` | for a folder in which nothing can be written |
//! | as comments in the text that holdover wrote | all copies may be gone while the file stands |
//!
//! In a pod the file is mounted into every container, while a container that is started again has a
//! new root and no copy. [`KeptOriginal::recover`] reads the original from the comments.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::config::limits::RESOLV_CONF_MAX;
use crate::core::takeover::{KeptOriginal, Was, kept_in};

/// Permissions of a kept original: every user may read it, since holdover reads it as whatever user
/// it serves as.
pub(super) const READABLE: Was = Was::File { mode: 0o644, owner: 0, group: 0 };

/// The places in which the original of `file` may be kept, in the order in which they are tried.
#[must_use]
pub fn places(file: &Path) -> Vec<PathBuf> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".before-holdover");
    vec![beside.into(), "/var/lib/holdover/resolv.conf.original".into(), "/run/holdover/resolv.conf.original".into()]
}

/// Reads a kept original. Its size is bounded by three times that of a `resolv.conf`: it holds the
/// original, the text that was written in its place, and a head.
///
/// # Errors
/// The error of the operating system; [`io::ErrorKind::InvalidData`] when the file is something
/// else.
pub(super) fn load_kept(path: &Path) -> io::Result<KeptOriginal> {
    let mut bytes = Vec::new();
    File::open(path)?.take(3 * RESOLV_CONF_MAX).read_to_end(&mut bytes)?;
    KeptOriginal::read(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Finds the original of `path`, whose present text holdover wrote: the copy that the text names,
/// else what the text itself carries, else a copy that was kept for the same file under another
/// path.
pub(super) fn original_behind(path: &Path, text: &str) -> Option<KeptOriginal> {
    let kept = kept_in(text).and_then(|kept| load_kept(Path::new(kept)).ok());
    let is_of_path = |kept: &KeptOriginal| std::path::absolute(path).is_ok_and(|path| path == Path::new(&kept.file));
    let (own, other) = if kept.as_ref().is_some_and(is_of_path) { (kept, None) } else { (None, kept) };
    own.or_else(|| KeptOriginal::recover(text, &READABLE, &path.to_string_lossy())).or(other)
}

/// Finds a copy that was kept for `path` in one of its usual places, whichever program wrote the
/// present text.
pub(super) fn kept_for(path: &Path) -> Option<KeptOriginal> {
    places(path).iter().find_map(|place| load_kept(place).ok().filter(|kept| Path::new(&kept.file) == path))
}
