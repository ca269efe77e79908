//! Judges which hosts file is answered from.

use std::path::PathBuf;

use super::Judge;
use super::text::text;
use crate::config::keys;

impl Judge<'_> {
    /// The hosts file; none when that is off.
    pub(super) fn hosts(&mut self) -> Option<PathBuf> {
        let given = self.layer.values.get(keys::HOSTS_PATH).cloned()?;
        match text(&given.raw).map(str::trim) {
            Some("off") => None,
            Some(path) if !path.is_empty() && !path.ends_with('/') && !path.contains('\0') => Some(path.into()),
            Some(_) | None => {
                self.complain(keys::HOSTS_PATH, &given, "is not the path of a file");
                None
            }
        }
    }
}
