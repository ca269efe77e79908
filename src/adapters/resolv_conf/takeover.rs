//! Takes a `resolv.conf` over, puts it back, and shows what it is.
//!
//! Taking it over writes a text in which holdover's address comes first, and keeps the original;
//! what that text says is decided in [`crate::core::takeover`]. The steps are ordered so that the
//! process may be killed between any two of them:
//!
//! | killed | what is then found | what happens next |
//! |---|---|---|
//! | before the original is kept | the original | as if nothing had happened |
//! | before the file is written | the original, and a kept copy of it | taking over keeps it again |
//! | after the file is written | holdover's text, and a kept copy | it is put back, or the takeover is continued |
//! | the same, and the kept copy is lost | holdover's text, which carries the original | the same, from the text |
//! | before the copy is removed again | the original, and a kept copy of it | putting it back only removes the copy |
//!
//! A command puts the original back, and `holdover run` continues a takeover. A kept copy is lost
//! when a container gets a new root.
//!
//! A text that another program or a person wrote since is never overwritten, unless the operator
//! asks for that ([`Force::Yes`]).

use std::path::Path;

use super::error::TakeoverError;
use crate::core::resolv_conf::ResolvConfWriter;

mod apply;
mod inspection;
mod restore;
mod target;

pub use super::file::How;
pub use apply::Applied;
pub use inspection::{Inspection, Replacement, UpstreamSource, Wish};
pub use restore::{Force, Restored};
use target::TakeoverTarget;

/// A `resolv.conf` that may be taken over, together with the places where its original is kept.
#[derive(Clone, Debug)]
pub struct Takeover(TakeoverTarget);

impl Takeover {
    /// Names the file, and where its original is kept if not in one of the usual
    /// [`places`](super::original::places). Nothing is read yet.
    ///
    /// # Errors
    /// [`TakeoverError::Path`] when one of the paths is not a single line of UTF-8.
    pub fn new(file: &Path, keep: Option<&Path>) -> Result<Self, TakeoverError> {
        TakeoverTarget::new(file, keep).map(Self)
    }

    /// The absolute path of the `resolv.conf`.
    #[must_use]
    pub fn file(&self) -> &Path {
        self.0.file()
    }

    /// Reads the file, and finds out who wrote it and what is kept for it.
    ///
    /// # Errors
    /// [`TakeoverError::Unreadable`].
    pub fn inspect(&self) -> Result<Inspection, TakeoverError> {
        Inspection::of(&self.0)
    }

    /// The bytes of the original, wherever it is: in the file, or kept; `None` when it is lost.
    #[must_use]
    pub fn original(&self) -> Option<Vec<u8>> {
        let found = self.inspect().ok()?;
        match (found.writer, found.kept) {
            (ResolvConfWriter::Holdover, kept) => kept.map(|kept| kept.original),
            (_, _) => Some(found.bytes),
        }
    }

    /// Keeps the original, and writes a text in its place that points at holdover.
    ///
    /// # Errors
    /// The file is as it was before in all of these cases:
    /// - [`TakeoverError::Unreadable`] when it cannot be read.
    /// - [`TakeoverError::PointsElsewhere`] when it is taken over for another address, and its
    ///   original is gone.
    /// - [`TakeoverError::OnlyHoldover`], [`TakeoverError::Empty`] and [`TakeoverError::Circle`]
    ///   when it names no upstream to which holdover could forward.
    /// - [`TakeoverError::NowhereToKeep`] and [`TakeoverError::Unwritable`] when a copy of the
    ///   original, or the file itself, cannot be written.
    pub fn apply(&self, wish: &Wish) -> Result<Applied, TakeoverError> {
        apply::apply(&self.0, wish)
    }

    /// Puts the original back, byte for byte and with its permissions, or as the symbolic link that
    /// it was; then removes the kept copy.
    ///
    /// # Errors
    /// - [`TakeoverError::NotTakenOver`] and [`TakeoverError::OriginalLost`] when no original is
    ///   known.
    /// - [`TakeoverError::ChangedSince`] when somebody else wrote the file since, and `force` is
    ///   [`Force::No`].
    /// - [`TakeoverError::Unwritable`] when the file cannot be written.
    pub fn restore(&self, force: Force) -> Result<Restored, TakeoverError> {
        restore::restore(&self.0, force)
    }
}
