//! The places in which the original of a `resolv.conf` that holdover took over is kept, and how it
//! is found again.
//!
//! | where | why |
//! |---|---|
//! | beside the file | every container has its own, also where several share one state directory |
//! | `/var/lib/holdover`, then `/run/holdover` | for a folder in which nothing can be written |
//! | as comments in the text that holdover wrote | all copies may be gone while the file stands |
//!
//! Only what root or the reading user wrote is believed beyond its text: in a folder of the
//! service's user, a service that was taken over could leave a link, an owner or permissions of its
//! choice, and root would restore them.
//!
//! In a pod the file is mounted into every container, while a container that is started again has a
//! new root and no copy. [`KeptOriginal::recover`] reads the original from the comments.

use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::limits::RESOLV_CONF_MAX;
use crate::config::regular_file;
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
/// original, the text that was written in its place, and a head. Of a copy that another user may
/// have written, the link, the permissions and the owner are left out.
///
/// # Errors
/// The error of the operating system; [`io::ErrorKind::InvalidData`] when the file is something
/// else.
pub(super) fn load_kept(path: &Path) -> io::Result<KeptOriginal> {
    let file = regular_file::open(path)?;
    let looks = file.metadata()?;
    let mut bytes = Vec::new();
    file.take(3 * RESOLV_CONF_MAX + 1).read_to_end(&mut bytes)?;
    let mut kept = KeptOriginal::read(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    if !is_trusted(looks.uid(), looks.mode(), rustix::process::geteuid().as_raw()) {
        (kept.was, kept.live) = (READABLE, None);
    }
    Ok(kept)
}

/// Whether a file of this owner and with these permissions was written by root or by `reader`.
const fn is_trusted(owner: u32, mode: u32, reader: u32) -> bool {
    (owner == 0 || owner == reader) && mode & 0o022 == 0
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_user_wrote_is_believed_in_its_text_alone() {
        assert!(is_trusted(0, 0o100_644, 0) && is_trusted(0, 0o100_644, 1000) && is_trusted(1000, 0o100_600, 1000));
        assert!(!is_trusted(1000, 0o100_644, 0) && !is_trusted(0, 0o100_664, 0) && !is_trusted(0, 0o100_646, 0));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept");
        let kept = KeptOriginal {
            file: "/etc/resolv.conf".to_owned(),
            was: Was::Link("/etc/shadow".to_owned()),
            live: Some("/run/elsewhere".to_owned()),
            wrote: "nameserver 127.0.0.1\n".to_owned(),
            original: b"nameserver 192.0.2.1\n".to_vec(),
        };
        std::fs::write(&path, kept.write()).unwrap();
        assert_eq!(load_kept(&path).unwrap(), kept);
        // Others may write it from here on.
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
        assert_eq!(load_kept(&path).unwrap(), KeptOriginal { was: READABLE, live: None, ..kept });
    }
}
