//! `resolv.conf` in the hands of `holdover run`: pointed at holdover, and given back.
//!
//! | what fails | the file then names | it is |
//! |---|---|---|
//! | pointing it at holdover | others | [`Hold::Left`]: nobody would ask a sidecar, so there is none any more |
//! | the same | holdover, by a predecessor | [`Hold::Set`]: whoever resolves names needs one |
//! | giving it back | others | [`Hold::Left`] |
//! | the same | holdover | [`Hold::Taken`]: it goes on being looked after, and giving it back is tried again |

use super::supervision::Hold;
use crate::adapters::resolv_conf::takeover::{Again, Force, Takeover, Wish};
use crate::adapters::resolv_conf::{TakeoverError, names};
use crate::cli::resolvconf::told;
use crate::telemetry::takeover::{FileLeft, GivenBack, Pointed, Why};

/// The file, and what is written into it.
pub(super) struct Held {
    /// Which file.
    place: Takeover,
    /// What is written.
    wish: Wish,
    /// What it is.
    hold: Hold,
    /// Whether it was said that it cannot be given back, since it was pointed at holdover.
    said: bool,
}

impl Held {
    /// A file that nobody has touched.
    pub(super) const fn new(place: Takeover, wish: Wish) -> Self {
        Self { place, wish, hold: Hold::Original, said: false }
    }

    /// Whether it is left alone for good.
    pub(super) fn is_left(&self) -> bool {
        self.hold == Hold::Left
    }

    /// Points the file at holdover; the error is why the application has to do without from now on.
    pub(super) fn point(&mut self) -> Result<(), String> {
        match self.hold {
            Hold::Taken | Hold::Set => {
                self.said = false;
                return Ok(());
            }
            Hold::Left => return Err("resolv.conf cannot be taken over".to_owned()),
            Hold::Original => {}
        }
        match self.place.apply(&self.wish, Again::TakenUp) {
            Ok(applied) => {
                (self.hold, self.said) = (Hold::Taken, false);
                Pointed { told: &told(self.place.file(), &self.wish, &applied) }.emit();
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

    /// Gives the file back, if it was taken; the error is why the application has to do without
    /// from now on.
    pub(super) fn give_back(&mut self, why: Why) -> Result<(), String> {
        if self.hold != Hold::Taken {
            return Ok(());
        }
        match self.place.restore(Force::No) {
            Ok(_) => {
                self.hold = Hold::Original;
                GivenBack { path: self.place.file(), why }.emit();
            }
            Err(error) if names(self.place.file(), self.wish.own) => {
                // Once in a silence, however often it is tried.
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
