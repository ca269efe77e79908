//! The `resolv.conf` of `holdover run`: pointed at holdover, and given back.
//!
//! | failed action | name servers in the file then | state of the file |
//! |---|---|---|
//! | pointing it at holdover | other name servers | [`Hold::Left`] |
//! | pointing it at holdover | holdover, as an earlier `holdover run` wrote | [`Hold::AlreadyPointed`] |
//! | giving it back | other name servers | [`Hold::Left`] |
//! | giving it back | holdover | [`Hold::Pointed`] |
//!
//! In the state [`Hold::Left`] nobody would ask a sidecar, so none runs any more. In the state
//! [`Hold::AlreadyPointed`] names are resolved only while a sidecar runs. In the state
//! [`Hold::Pointed`] the sidecar is still supervised, and giving the file back is tried again.

use crate::adapters::resolv_conf::takeover::{Again, Force, Takeover, Wish};
use crate::adapters::resolv_conf::{TakeoverError, names};
use crate::cli::resolvconf::written_words;
use crate::telemetry::takeover::{FileGivenBack, FileLeft, FilePointed, GiveBackReason};

/// The state of the `resolv.conf`, by who wrote it last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// The file is the original, and nothing was done to it.
    Original,
    /// The file was pointed at holdover here, and its original is kept.
    Pointed,
    /// The file pointed at holdover already: there is nothing to write, and nothing to give back.
    AlreadyPointed,
    /// The file could not be written, which was reported; it is left alone from now on.
    Left,
}

/// A `resolv.conf`, and what is to be written into it.
pub(super) struct HeldFile {
    place: Takeover,
    wish: Wish,
    hold: Hold,
    /// Whether it was reported, since the file was last pointed at holdover, that the file cannot
    /// be given back.
    is_reported: bool,
}

impl HeldFile {
    /// A file that was not touched yet.
    pub(super) const fn new(place: Takeover, wish: Wish) -> Self {
        Self { place, wish, hold: Hold::Original, is_reported: false }
    }

    /// Whether the file is left alone for good.
    pub(super) fn is_left(&self) -> bool {
        self.hold == Hold::Left
    }

    /// Points the file at holdover, unless it points there already.
    ///
    /// # Errors
    /// The reason, in words, why the application has to run without holdover from now on.
    pub(super) fn point(&mut self) -> Result<(), String> {
        // A file that points at holdover already, and one that cannot be written, stay as they are.
        match self.hold {
            Hold::Pointed | Hold::AlreadyPointed => {
                self.is_reported = false;
                return Ok(());
            }
            Hold::Left => return Err("resolv.conf cannot be pointed at holdover".to_owned()),
            Hold::Original => {}
        }
        // The original is pointed at holdover. Where that fails although the file names holdover,
        // an earlier `holdover run` wrote it, and a sidecar is needed all the same.
        match self.place.apply(&self.wish, Again::TakenUp) {
            Ok(applied) => {
                (self.hold, self.is_reported) = (Hold::Pointed, false);
                FilePointed { words: &written_words(self.place.file(), &self.wish, &applied) }.emit();
                Ok(())
            }
            Err(TakeoverError::OnlyHoldover { .. }) => {
                self.hold = Hold::AlreadyPointed;
                Ok(())
            }
            Err(error) if names(self.place.file(), self.wish.own) => {
                self.hold = Hold::AlreadyPointed;
                FileLeft { reason: &error.to_string() }.emit();
                Ok(())
            }
            Err(error) => {
                self.hold = Hold::Left;
                Err(error.to_string())
            }
        }
    }

    /// Gives the file back, if it was pointed at holdover here.
    ///
    /// # Errors
    /// The reason, in words, why the application has to run without holdover from now on.
    pub(super) fn give_back(&mut self, why: GiveBackReason) -> Result<(), String> {
        if self.hold != Hold::Pointed {
            return Ok(());
        }
        match self.place.restore(Force::No) {
            Ok(_) => {
                self.hold = Hold::Original;
                FileGivenBack { path: self.place.file(), why }.emit();
            }
            Err(error) if names(self.place.file(), self.wish.own) => {
                // Reported once while the sidecar is silent, however often it is tried.
                if !self.is_reported {
                    FileLeft { reason: &error.to_string() }.emit();
                }
                self.is_reported = true;
            }
            Err(error) => {
                self.hold = Hold::Left;
                return Err(error.to_string());
            }
        }
        Ok(())
    }
}
