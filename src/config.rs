//! The configuration, which is merged from flags, environment variables and the file, and validated
//! once; from then on it is known to be valid.
//!
//! | source | overrides |
//! |---|---|
//! | flags of the command line | environment variables, the file, the defaults |
//! | environment variables | the file, the defaults |
//! | the configuration file | the defaults |
//!
//! Each source becomes a [`layer`] of raw values with their places, so that a message can say where
//! a wrong value was written. [`validate`] makes [`settings`] of the merged layers, or reports all
//! mistakes at once. Every key, its default, its range and its reason stand in one place ([`keys`]
//! and [`limits`]), which reading, validation, the default file and the messages all use.
//!
//! Nothing is read again while the process runs; a changed configuration needs a restart.

pub mod effective;
pub mod environment;
pub mod error;
pub mod file;
pub mod interface;
pub mod key;
pub mod keys;
pub mod layer;
pub mod limits;
pub mod quantity;
pub mod regular_file;
pub mod render;
pub mod secret;
pub mod sections;
pub mod settings;
pub mod validate;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use error::ConfigError;
use file::ParsedFile;
use layer::Layer;
use settings::Settings;

/// The part of the command line that concerns the configuration: the path of the file, and a layer
/// of values.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// Path of the configuration file, if a flag names it.
    pub config: Option<PathBuf>,
    /// The values that flags set.
    pub layer: Layer,
    /// What becomes of names that this version does not know.
    pub unknown: UnknownNames,
}

/// What becomes of keys, sections and environment variables that this version does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownNames {
    /// They are mistakes.
    #[default]
    Refuse,
    /// Those of the file are mistakes; variables may be somebody else's.
    RefuseKeys,
    /// They are noted ([`Settings::unknown`]) and have no effect: the file may be meant for a newer
    /// version as well.
    Allow,
}

/// Merges the file, the environment and the flags, and validates the result.
///
/// # Errors
/// [`ConfigError::Unreadable`], [`ConfigError::TooLarge`] or [`ConfigError::NotText`] when the file
/// cannot be read; [`ConfigError::Wrong`] with all mistakes when a source says something that
/// cannot be used.
pub fn load(flags: Flags, variables: impl Iterator<Item = (OsString, OsString)>) -> Result<Settings, ConfigError> {
    load_with_sources(flags, variables).map(|(settings, _)| settings)
}

/// As [`load`], and gives the merged values with their sources as well.
///
/// # Errors
/// Those of [`load`].
pub fn load_with_sources(
    flags: Flags,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<(Settings, Layer), ConfigError> {
    let environment = environment::read(variables);
    let file = match flags.config.or(environment.config) {
        Some(path) => read(&path)?,
        None => ParsedFile::default(),
    };
    // What is not known is either wrong or noted.
    let (mut wrong, mut unknown) = ([file.wrong, environment.wrong].concat(), Vec::new());
    let (keys, variables) = match flags.unknown {
        UnknownNames::Refuse => (&mut wrong, None),
        UnknownNames::RefuseKeys => (&mut wrong, Some(&mut unknown)),
        UnknownNames::Allow => (&mut unknown, None),
    };
    keys.extend(file.unknown);
    variables.unwrap_or(keys).extend(environment.unknown);

    // One mistake hides no other: the values are validated in any case.
    let mut layer = file.layer;
    layer.cover(environment.layer);
    layer.cover(flags.layer);
    match validate::validate(&layer) {
        Ok(settings) if wrong.is_empty() => Ok((Settings { unknown, ..settings }, layer)),
        Ok(_) => Err(ConfigError::Wrong(wrong)),
        Err(ConfigError::Wrong(more)) => Err(ConfigError::Wrong([wrong, more].concat())),
        Err(error) => Err(error),
    }
}

/// Reads and parses the configuration file, of which no more than its largest size is read.
fn read(path: &Path) -> Result<ParsedFile, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let bytes = regular_file::read(path, limits::CONFIG_FILE_MAX).map_err(unreadable)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limits::CONFIG_FILE_MAX {
        return Err(ConfigError::TooLarge { path: path.to_owned() });
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        ConfigError::NotText { path: path.to_owned(), line: valid.filter(|byte| **byte == b'\n').count() + 1 }
    })?;
    Ok(file::read(path, &text))
}
