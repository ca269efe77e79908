//! The `resolv.conf` of `holdover run`: pointed at holdover, and given back.
//!
//! | failed action | name servers in the file then | state of the file |
//! |---|---|---|
//! | pointing it at holdover | other name servers | [`Hold::Left`] |
//! | pointing it at holdover | holdover, as an earlier `holdover run` wrote | [`Hold::AlreadyPointed`] |
//! | giving it back | other name servers | [`Hold::Left`] |
//! | giving it back | holdover | [`Hold::Pointed`] |
//!
//! Containers of a pod share one file, and each may have a `holdover run`. Whichever ends first
//! puts the original back, and the others point the file at holdover again: a file that is the
//! original once more was handed over. One that somebody else has written is left alone, which is
//! reported.
//!
//! In the state [`Hold::Left`] nobody would ask a sidecar, so none runs any more. In the state
//! [`Hold::AlreadyPointed`] names are resolved only while a sidecar runs. In the state
//! [`Hold::Pointed`] the sidecar is still supervised, and giving the file back is tried again.

use crate::adapters::resolv_conf::takeover::{Force, Restored, Takeover, Wish};
use crate::adapters::resolv_conf::{TakeoverError, names};
use crate::cli::resolvconf::written_words;
use crate::telemetry::takeover::{FileGivenBack, FileLeft, FileNamesOthers, FilePointed, GiveBackReason};

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

/// What became of giving the file back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GivenBack {
    /// The original was written.
    Written,
    /// The original was there already: another `holdover run` has ended.
    ByAnother,
    /// There was nothing to give back, or it is tried again.
    Nothing,
}

/// A `resolv.conf`, and what is to be written into it.
pub(super) struct HeldFile {
    place: Takeover,
    wish: Wish,
    hold: Hold,
    /// The original, once the file was pointed at holdover.
    original: Option<Vec<u8>>,
    /// Whether the file was taken from another `holdover run` that has ended.
    is_handed_over: bool,
    /// Whether it was reported that the file names others, since it was last pointed at holdover.
    is_told: bool,
    /// Whether it was reported, since the file was last pointed at holdover, that the file cannot
    /// be given back.
    is_reported: bool,
}

impl HeldFile {
    /// A file that was not touched yet.
    pub(super) const fn new(place: Takeover, wish: Wish) -> Self {
        Self {
            place,
            wish,
            hold: Hold::Original,
            original: None,
            is_handed_over: false,
            is_told: false,
            is_reported: false,
        }
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
                if !self.is_original_again() {
                    return Ok(());
                }
                self.is_handed_over = true;
            }
            Hold::Left => return Err("resolv.conf cannot be pointed at holdover".to_owned()),
            Hold::Original => {}
        }
        // The original is pointed at holdover. Where that fails although the file names holdover,
        // an earlier `holdover run` wrote it, and a sidecar is needed all the same.
        self.original = self.place.original().or(self.original.take());
        match self.place.apply(&self.wish) {
            Ok(applied) => {
                (self.hold, self.is_told, self.is_reported) = (Hold::Pointed, false, false);
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

    /// Whether the file was taken from another `holdover run` since this was asked last.
    pub(super) fn take_handover(&mut self) -> bool {
        std::mem::take(&mut self.is_handed_over)
    }

    /// Whether another `holdover run` has put the original back into a file that was pointed at
    /// holdover. That somebody else has written it is reported once.
    fn is_original_again(&mut self) -> bool {
        if names(self.place.file(), self.wish.own) {
            return false;
        }
        let present = self.place.inspect().map(|found| found.bytes().to_vec()).ok();
        if present.is_some() && present == self.original {
            return true;
        }
        if !self.is_told && present.is_some() {
            self.is_told = true;
            FileNamesOthers { path: self.place.file() }.emit();
        }
        false
    }

    /// Gives the file back, if it was pointed at holdover here.
    ///
    /// # Errors
    /// The reason, in words, why the application has to run without holdover from now on.
    pub(super) fn give_back(&mut self, why: GiveBackReason) -> Result<GivenBack, String> {
        if self.hold != Hold::Pointed {
            return Ok(GivenBack::Nothing);
        }
        match self.place.restore(Force::No) {
            Ok(Restored::Written(_)) => {
                self.hold = Hold::Original;
                FileGivenBack { path: self.place.file(), why }.emit();
                return Ok(GivenBack::Written);
            }
            // Another `holdover run` has given it back, and has removed the copy.
            Ok(Restored::Already) | Err(TakeoverError::NotTakenOver(_)) => {
                self.hold = Hold::Original;
                return Ok(GivenBack::ByAnother);
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
        Ok(GivenBack::Nothing)
    }
}
