//! Judges where holdover is asked about itself, and what it is given to remember.

use std::path::PathBuf;

use super::Judge;
use super::text::{items, text};
use crate::config::keys;
use crate::config::limits;
use crate::config::settings::Admin;

/// The word for no admin interface.
const OFF: &str = "off";

/// Whether others than this host may be served.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Remote {
    /// They may not.
    Refuse,
    /// They may read what is no secret.
    Read,
}

impl Judge<'_> {
    /// Files of remembered answers.
    pub(super) fn seeds(&mut self) -> Vec<PathBuf> {
        let Some(given) = self.layer.values.get(keys::CACHE_SEED).cloned() else { return Vec::new() };
        let mut seeds = Vec::new();
        for item in items(&given) {
            match text(&item.raw).filter(|path| !path.is_empty() && !path.contains('\0')) {
                Some(path) => seeds.push(path.into()),
                None => self.complain(keys::CACHE_SEED, &item, "is not a path"),
            }
        }
        if seeds.len() > limits::SEEDS_MAX {
            self.complain(keys::CACHE_SEED, &given, "names too many files");
        }
        seeds
    }

    /// Where it is asked about itself.
    pub(super) fn admin(&mut self) -> Option<Admin> {
        let words = [("refuse", Remote::Refuse), ("read", Remote::Read)];
        let remote = self
            .layer
            .values
            .get(keys::ADMIN_REMOTE)
            .cloned()
            .and_then(|given| self.word(keys::ADMIN_REMOTE, &given, &words));
        let given = self.layer.values.get(keys::ADMIN_ADDRESS).cloned()?;
        let Some(address) = text(&given.raw).map(str::trim).filter(|address| *address != OFF).map(str::parse::<Admin>)
        else {
            if text(&given.raw).is_none() {
                self.complain(keys::ADMIN_ADDRESS, &given, "is neither a path nor an address");
            }
            return None;
        };
        match address {
            Ok(Admin::Address(address)) if !address.ip().is_loopback() && remote != Some(Remote::Read) => {
                self.complain(
                    keys::ADMIN_ADDRESS,
                    &given,
                    "is an address that other hosts may reach, and admin.remote = \"refuse\". Set it to \"read\" if they are to read metrics, \
                     or name a loopback address",
                );
                None
            }
            Ok(admin) => Some(admin),
            Err(()) => {
                self.complain(keys::ADMIN_ADDRESS, &given, "is neither a path nor an address");
                None
            }
        }
    }
}
