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

pub mod environment;
pub mod error;
pub mod file;
pub mod key;
pub mod keys;
pub mod layer;
pub mod limits;
pub mod quantity;
pub mod render;
pub mod secret;
pub mod sections;
pub mod settings;
pub mod validate;

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use error::ConfigError;
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
}

/// Merges the file, the environment and the flags, and validates the result.
///
/// # Errors
/// [`ConfigError::Unreadable`], [`ConfigError::TooLarge`] or [`ConfigError::NotText`] when the file
/// cannot be read; [`ConfigError::Wrong`] when a source says something that cannot be used.
pub fn load(flags: Flags, variables: impl Iterator<Item = (OsString, OsString)>) -> Result<Settings, ConfigError> {
    let environment = environment::read(variables)?;
    let mut layer = match flags.config.or(environment.config) {
        Some(path) => read(&path)?,
        None => Layer::default(),
    };
    layer.cover(environment.layer);
    layer.cover(flags.layer);
    validate::validate(&layer)
}

/// Reads and parses the configuration file, of which no more than its largest size is read.
fn read(path: &Path) -> Result<Layer, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(limits::CONFIG_FILE_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limits::CONFIG_FILE_MAX {
        return Err(ConfigError::TooLarge { path: path.to_owned() });
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        ConfigError::NotText { path: path.to_owned(), line: valid.filter(|byte| **byte == b'\n').count() + 1 }
    })?;
    file::parse(path, &text)
}
