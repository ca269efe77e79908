//! The inspection of a `resolv.conf`: what it is at present, and what holdover would write in its
//! place.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::target::{KnownOriginal, TakeoverTarget};
use crate::adapters::resolv_conf::error::{ResolvConfError, TakeoverError};
use crate::adapters::resolv_conf::file::{load, load_bytes};
use crate::core::resolv_conf::{Nameserver, ResolvConfWriter};
use crate::core::takeover::{
    self, Fallback, KeptOriginal, Readers, SecondNameserver, Was, is_usable_source, leads_back, upstreams,
};

/// The content that the operator wants in the file, and the facts about the host that decide about
/// it.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// The address on which holdover answers, which becomes the first name server.
    pub own: IpAddr,
    /// Whether an original name server follows holdover's address.
    pub fallback: Fallback,
    /// The kinds of programs on this host that read the file.
    pub readers: Readers,
    /// Where holdover's upstreams come from.
    pub upstreams: UpstreamSource,
}

/// Where holdover's upstreams come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamSource {
    /// The `resolv.conf` that is taken over, which must name one.
    File,
    /// The configuration of holdover.
    Configured,
}

/// The present state of a `resolv.conf`.
#[derive(Debug)]
pub struct Inspection {
    /// The absolute path of the file.
    pub file: PathBuf,
    pub(super) bytes: Vec<u8>,
    pub(super) was: Was,
    /// The program that wrote the file, as far as its text or its link shows.
    pub writer: ResolvConfWriter,
    /// The original that is kept for the file; `None` when it was not taken over, or its original
    /// is lost.
    pub kept: Option<KeptOriginal>,
    /// Where the original is kept; `None` where only the file's text carries it.
    pub kept_in: Option<PathBuf>,
}

/// A text that would take the place of the original, and what it is made from.
#[derive(Debug)]
pub struct Replacement {
    /// The text that would be written.
    pub text: String,
    /// The second name server in the text, or the reason why it has none.
    pub second: SecondNameserver,
    /// The name servers of the original to which holdover can forward.
    pub upstreams: Vec<Nameserver>,
    /// Whether the original names Docker's resolver, and that would send every query back.
    pub circle: bool,
    /// The program that wrote the original.
    pub writer: ResolvConfWriter,
}

impl Inspection {
    /// The bytes of the file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads the file and what is kept for it.
    ///
    /// # Errors
    /// [`TakeoverError::Unreadable`].
    pub(super) fn of(target: &TakeoverTarget) -> Result<Self, TakeoverError> {
        let file = target.file().to_owned();
        let unreadable = |source| ResolvConfError::Unreadable { path: file.clone(), source };
        let bytes = load_bytes(&file)?;
        let was = target.was().map_err(unreadable)?;
        let writer = ResolvConfWriter::of(&String::from_utf8_lossy(&bytes), link_target(&was));
        let KnownOriginal { kept, kept_in } = target.original(&bytes, &was);
        Ok(Self { file, bytes, was, writer, kept, kept_in })
    }

    /// The text of the file; bytes that are not UTF-8 become the replacement character.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The target of the file, where it is a symbolic link.
    #[must_use]
    pub fn link(&self) -> Option<&str> {
        link_target(&self.was)
    }

    /// Whether the file is still as holdover wrote it; `None` where holdover did not write it, or
    /// no copy is kept with which it could be compared.
    #[must_use]
    pub fn is_unchanged(&self) -> Option<bool> {
        let kept =
            self.kept.as_ref().filter(|_| self.writer == ResolvConfWriter::Holdover && self.kept_in.is_some())?;
        Some(kept.wrote.as_bytes() == self.bytes)
    }

    /// Whether something is mounted over the file, so that it can only be written in place.
    #[must_use]
    pub fn is_mounted(&self) -> bool {
        let Ok(path) = fs::canonicalize(&self.file) else { return false };
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        // The fifth field is the mount point, in which a space is written as \040 (proc(5)).
        mounts
            .lines()
            .filter_map(|mount| mount.split(' ').nth(4))
            .any(|point| Path::new(&point.replace("\\040", " ")) == path)
    }

    /// Makes the text that would take the original's place, with the original kept in `place`.
    #[must_use]
    pub fn plan(&self, wish: &Wish, place: &Path) -> Replacement {
        // Where holdover wrote the file, the text is made from the original behind it.
        let (original, writer, live) = match &self.kept {
            Some(kept) if self.writer == ResolvConfWriter::Holdover => {
                let original = String::from_utf8_lossy(&kept.original).into_owned();
                let writer = ResolvConfWriter::of(&original, link_target(&kept.was));
                (original, writer, kept.live.clone())
            }
            Some(_) | None => {
                // The file of systemd-resolved's stub names no upstream. All other files name their
                // upstreams themselves and are up to date.
                let live = if self.writer == ResolvConfWriter::ResolvedStub {
                    self.writer.live_source().map(str::to_owned)
                } else {
                    None
                };
                (self.text(), self.writer, live)
            }
        };
        // Name servers come from the file that the writer keeps up to date, where there is one;
        // everything else comes from the original.
        let source = live.and_then(|live| load(Path::new(&live)).ok()).filter(|text| is_usable_source(text, wish.own));
        let source = source.as_ref().unwrap_or(&original);
        let upstreams = upstreams(source, wish.own);
        let second = takeover::second_nameserver(wish.fallback, wish.readers, &upstreams);
        let text = takeover::replacement(&original, writer, wish.own, &second, &place.display().to_string());
        Replacement { text, second, circle: leads_back(source, wish.own), upstreams, writer }
    }
}

fn link_target(was: &Was) -> Option<&str> {
    match was {
        Was::Link(target) => Some(target),
        Was::File { .. } => None,
    }
}
