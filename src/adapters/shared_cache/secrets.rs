//! Reads keys, passwords and certificates from their files. No secret is ever shown: not in errors,
//! not in the log, not in a status.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::seal::Seal;
use crate::adapters::tls::{NoTls, Tls};
use crate::config::limits::{SHARED_CACHE_KEY_MIN as KEY_MIN, SHARED_CACHE_SECRET_MAX as SECRET_MAX};
use crate::config::settings::{Password, SharedCacheSettings, SharedCacheTransport};

/// What the files hold.
pub(super) struct Secrets {
    /// Signs and checks.
    pub(super) seal: Seal,
    /// The password, if there is one.
    pub(super) password: Option<Vec<u8>>,
    /// TLS, if wanted.
    pub(super) tls: Option<Tls>,
}

impl Secrets {
    /// Reads all files. It may block for as long as their file system does.
    ///
    /// # Errors
    /// [`Unusable`]: the first of them that cannot be used.
    pub(super) fn read(settings: &SharedCacheSettings) -> Result<Self, Unusable> {
        let tls = match settings.servers.transport {
            SharedCacheTransport::Plain => None,
            SharedCacheTransport::Tls => Some(Tls::new(settings.ca_file.as_deref()).map_err(Unusable::from_tls)?),
        };
        Ok(Self { seal: seal(settings)?, password: password(settings)?, tls })
    }
}

/// Why the shared cache cannot be used as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// A file cannot be read.
    #[error("{key}: {} cannot be read: {source}. Check the path and its permissions.", .path.display())]
    Unreadable {
        /// The key of the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A key is too short or too long.
    #[error("{key}: {} holds {length} bytes. Allowed: {KEY_MIN} to {SECRET_MAX}. `openssl rand -hex 32` makes one.", .path.display())]
    Length {
        /// The key of the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Its length.
        length: usize,
    },
    /// A password is empty or too long.
    #[error("shared_cache.password_file: {} holds no password, or one of more than {SECRET_MAX} bytes.", .path.display())]
    NoPassword {
        /// The file.
        path: PathBuf,
    },
    /// The certificate authorities that `shared_cache.ca_file` names, or the system's, cannot be
    /// used.
    #[error("shared_cache.ca_file: {0}")]
    Authorities(NoTls),
    /// TLS cannot be set up for a reason that no file is the cause of.
    #[error("{0}")]
    Tls(NoTls),
}

impl Unusable {
    /// Names the configuration key where the certificate authorities are at fault.
    fn from_tls(error: NoTls) -> Self {
        match error {
            NoTls::NoSystemAuthorities | NoTls::UnusableAuthorities { .. } => Self::Authorities(error),
            NoTls::Library(_) => Self::Tls(error),
        }
    }
}

/// Reads the keys of the fleet.
///
/// # Errors
/// [`Unusable`]
fn seal(settings: &SharedCacheSettings) -> Result<Seal, Unusable> {
    let key = key("shared_cache.key_file", &settings.key_file)?;
    let former =
        settings.former_key_file.as_deref().map(|path| self::key("shared_cache.former_key_file", path)).transpose()?;
    Ok(Seal::new(&settings.group, &key, former.as_deref()))
}

/// Reads the password.
///
/// # Errors
/// [`Unusable`]
fn password(settings: &SharedCacheSettings) -> Result<Option<Vec<u8>>, Unusable> {
    match &settings.password {
        None => Ok(None),
        Some(Password::Given(secret)) => Ok(Some(secret.0.clone().into_bytes())),
        Some(Password::File(path)) => {
            let password = read("shared_cache.password_file", path)?;
            let fits = !password.is_empty() && u64::try_from(password.len()).is_ok_and(|length| length <= SECRET_MAX);
            if fits { Ok(Some(password)) } else { Err(Unusable::NoPassword { path: path.clone() }) }
        }
    }
}

/// Reads one key.
fn key(name: &'static str, path: &Path) -> Result<Vec<u8>, Unusable> {
    let key = read(name, path)?;
    let fits = key.len() >= KEY_MIN && u64::try_from(key.len()).is_ok_and(|length| length <= SECRET_MAX);
    if fits { Ok(key) } else { Err(Unusable::Length { key: name, path: path.to_owned(), length: key.len() }) }
}

/// Reads a file without the line end that editors leave; a little more than may be of one that is
/// too long.
fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, Unusable> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(SECRET_MAX + 3).read_to_end(&mut bytes));
    read.map_err(|source| Unusable::Unreadable { key, path: path.to_owned(), source })?;
    let end = bytes.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
    bytes.truncate(end);
    Ok(bytes)
}
