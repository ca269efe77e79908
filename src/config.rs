//! Configuration: flags over environment over file over defaults, judged once, valid from then on.
//!
//! Every key, its default, its range and its reason stand in one place ([`limits`], [`keys`]);
//! reading, judging, the default file and error messages all go by it.

pub mod environment;
pub mod error;
pub mod file;
pub mod keys;
pub mod layer;
pub mod limits;
pub mod quantity;
pub mod render;
pub mod settings;
pub mod validate;

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use error::ConfigError;
use layer::Layer;
use settings::Settings;

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// Single keys and upstreams.
    pub layer: Layer,
}

/// Puts all sources together.
///
/// # Errors
/// [`ConfigError`]: a file that cannot be read, or values that cannot be used.
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

/// Reads the configuration file.
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
    file::parse(&path.display().to_string(), &text)
}
