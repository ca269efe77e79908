//! The `resolv.conf` of `holdover run`: pointed at holdover, and given back.
//!
//! | what fails | the file then names | the file is |
//! |---|---|---|
//! | pointing it at holdover | other name servers | [`Hold::Left`]: nobody would ask a sidecar, so none runs any more |
//! | pointing it at holdover | holdover, as an earlier `holdover run` wrote | [`Hold::Set`]: names are resolved only while a sidecar runs |
//! | giving it back | other name servers | [`Hold::Left`] |
//! | giving it back | holdover | [`Hold::Taken`]: the sidecar is still looked after, and giving the file back is tried again |

use crate::adapters::resolv_conf::takeover::{Again, Force, Takeover, Wish};
use crate::adapters::resolv_conf::{TakeoverError, names};
use crate::cli::resolvconf::written_words;
use crate::telemetry::takeover::{FileGivenBack, FileLeft, FilePointed, GiveBackReason};

/// What was done to `resolv.conf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// Nothing: it is the original.
    Original,
    /// It was pointed at holdover, and its original is kept.
    Taken,
    /// It pointed at holdover already: there is nothing to write, and nothing to give back.
    Set,
    /// It could not be written, which was reported; it is left alone from now on.
    Left,
}

/// A `resolv.conf`, and what is to be written into it.
pub(super) struct HeldFile {
    place: Takeover,
    wish: Wish,
    hold: Hold,
    /// Whether it was reported that the file cannot be given back, since it was last pointed at
    /// holdover.
    said: bool,
}

impl HeldFile {
    /// A file that was not touched yet.
    pub(super) const fn new(place: Takeover, wish: Wish) -> Self {
        Self { place, wish, hold: Hold::Original, said: false }
    }

    /// Whether the file is left alone for good.
    pub(super) fn is_left(&self) -> bool {
        self.hold == Hold::Left
    }

    /// Points the file at holdover, unless it points there already.
    ///
    /// # Errors
    /// Why the application has to run without holdover from now on.
    pub(super) fn point(&mut self) -> Result<(), String> {
        match self.hold {
            Hold::Taken | Hold::Set => {
                self.said = false;
                return Ok(());
            }
            Hold::Left => return Err("resolv.conf cannot be pointed at holdover".to_owned()),
            Hold::Original => {}
        }
        match self.place.apply(&self.wish, Again::TakenUp) {
            Ok(applied) => {
                (self.hold, self.said) = (Hold::Taken, false);
                FilePointed { words: &written_words(self.place.file(), &self.wish, &applied) }.emit();
                Ok(())
            }
            Err(TakeoverError::OnlyHoldover { .. }) => {
                self.hold = Hold::Set;
                Ok(())
            }
            Err(error) if names(self.place.file(), self.wish.own) => {
                self.hold = Hold::Set;
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
    /// Why the application has to run without holdover from now on.
    pub(super) fn give_back(&mut self, why: GiveBackReason) -> Result<(), String> {
        if self.hold != Hold::Taken {
            return Ok(());
        }
        match self.place.restore(Force::No) {
            Ok(_) => {
                self.hold = Hold::Original;
                FileGivenBack { path: self.place.file(), why }.emit();
            }
            Err(error) if names(self.place.file(), self.wish.own) => {
                // Reported once while the sidecar is silent, however often it is tried.
                if !self.said {
                    FileLeft { reason: &error.to_string() }.emit();
                }
                self.said = true;
            }
            Err(error) => {
                self.hold = Hold::Left;
                return Err(error.to_string());
            }
        }
        Ok(())
    }
}
