//! The validation of paths of files that hold answers: seeds, the hosts file and the state file.

use std::path::PathBuf;

use super::validator::Validator;
use crate::config::keys;
use crate::config::layer::GivenValue;
use crate::config::limits;
use crate::config::settings::StateFileSettings;

/// The word that switches a file off.
const OFF: &str = "off";
/// The word that puts the state file into the directory that the service manager provides.
const AUTOMATIC: &str = "auto";
/// Name of the state file in that directory.
const STATE_NAME: &str = "state.redb";

impl Validator<'_> {
    /// Notes a path with `~`, which only a shell replaces by a home directory.
    pub(super) fn remark_on_home(&mut self, key: &str, given: &GivenValue) {
        if given.raw.text().is_some_and(|path| path.trim_start().starts_with('~')) {
            self.remark(
                key,
                given,
                "begins with ~, which is not replaced by a home directory here: write the whole path",
            );
        }
    }

    /// The seed files, in the order in which they were given.
    pub(super) fn seeds(&mut self) -> Vec<PathBuf> {
        let Some(given) = self.given(keys::CACHE_SEED) else { return Vec::new() };
        let mut seeds = Vec::new();
        for item in given.items() {
            match item.raw.text().filter(|path| !path.is_empty() && !path.contains('\0')) {
                Some(path) => {
                    self.remark_on_home(keys::CACHE_SEED, &item);
                    if seeds.contains(&PathBuf::from(path)) {
                        self.remark(keys::CACHE_SEED, &item, "is named twice");
                    }
                    seeds.push(path.into());
                }
                None => self.complain(keys::CACHE_SEED, &item, "is not a path"),
            }
        }
        if seeds.len() > limits::SEEDS_MAX {
            self.complain(keys::CACHE_SEED, given, "names too many files");
        }
        seeds
    }

    /// Path of the hosts file; `None` when none is used.
    pub(super) fn hosts(&mut self) -> Option<PathBuf> {
        let given = self.given(keys::HOSTS_PATH)?;
        match given.raw.text().map(str::trim) {
            Some(OFF) => None,
            Some(path) if !path.is_empty() && !path.ends_with('/') && !path.contains('\0') => {
                self.remark_on_home(keys::HOSTS_PATH, given);
                Some(path.into())
            }
            Some(_) | None => {
                self.complain(keys::HOSTS_PATH, given, "is not the path of a file");
                None
            }
        }
    }

    pub(super) fn state(&mut self) -> StateFileSettings {
        let path = self.state_path();
        StateFileSettings { path, write_every: self.bounded(&limits::STATE_WRITE_EVERY) }
    }

    fn state_path(&mut self) -> Option<PathBuf> {
        let automatic = self.layer.state_directory.as_ref().map(|directory| directory.join(STATE_NAME));
        let Some(given) = self.given(keys::STATE_PATH) else { return automatic };
        match given.raw.text().map(str::trim) {
            Some(AUTOMATIC) => automatic,
            Some(OFF) => None,
            Some(path) if !path.is_empty() && !path.ends_with('/') => {
                self.remark_on_home(keys::STATE_PATH, given);
                Some(path.into())
            }
            Some(_) | None => {
                self.complain(keys::STATE_PATH, given, "is not the path of a file");
                None
            }
        }
    }
}
