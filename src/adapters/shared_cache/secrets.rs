//! Reads keys, passwords and certificates from their files. No secret ever appears in an error, in
//! the log, or in a status.
//!
//! A file that cannot be used does not prevent the start, since a sidecar that does not start is
//! worse than one without a shared cache. The files are read again until all of them can be used: a
//! secret may be mounted late.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::seal::Seal;
use super::status::LinkStatus;
use crate::adapters::tls::{NoTls, Tls};
use crate::config::limits::{SHARED_CACHE_KEY_MIN as KEY_MIN, SHARED_CACHE_SECRET_MAX as SECRET_MAX};
use crate::config::regular_file;
use crate::config::settings::{Password, SharedCacheSettings, SharedCacheTransport};
use crate::memory::Memory;
use crate::telemetry::events;
use crate::telemetry::shared_cache::{Reach, SharedCacheTrouble};

/// Wait before files that could not be used are read again; doubles each time.
const READ_AGAIN_MIN: Duration = Duration::from_secs(1);
const READ_AGAIN_MAX: Duration = Duration::from_secs(15);

/// The content of the files of the shared cache.
pub(super) struct Secrets {
    pub(super) seal: Seal,
    /// `None` when no password is configured.
    pub(super) password: Option<Vec<u8>>,
    /// `None` when the servers are spoken to in clear.
    pub(super) tls: Option<Tls>,
}

impl Secrets {
    /// Reads the files until all of them can be used, and notes meanwhile that the shared cache is
    /// not reached. Each new complaint is logged once.
    pub(super) async fn wait_until_usable(
        settings: &SharedCacheSettings,
        status: &LinkStatus,
        memory: &Memory,
    ) -> Self {
        let (mut logged, mut wait) = (String::new(), READ_AGAIN_MIN);
        loop {
            // On a thread of its own, since the file system may hang.
            let own = settings.clone();
            match tokio::task::spawn_blocking(move || Self::read(&own)).await {
                Ok(Ok(secrets)) => return secrets,
                Ok(Err(unusable)) => {
                    let complaint = unusable.to_string();
                    if complaint != logged {
                        events::SharedCacheUnusable { url: &settings.url, reason: &complaint }.emit();
                        logged = complaint;
                    }
                }
                // The runtime is shutting down, or reading has panicked, which it does not.
                Err(_) => {}
            }
            status
                .set(Reach::Lost { since: status.lost_since(memory.now()), reason: SharedCacheTrouble::UnusableFile });
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(READ_AGAIN_MAX);
        }
    }

    /// Reads all files. Blocks for as long as their file system does.
    ///
    /// # Errors
    /// [`Unusable`] for the first file that cannot be used.
    pub(super) fn read(settings: &SharedCacheSettings) -> Result<Self, Unusable> {
        let tls = match settings.servers.transport {
            SharedCacheTransport::Plain => None,
            SharedCacheTransport::Tls => Some(Tls::new(settings.ca_file.as_deref()).map_err(Unusable::from_tls)?),
        };
        Ok(Self { seal: seal(settings)?, password: password(settings)?, tls })
    }
}

/// Why the shared cache cannot be used with the files that the configuration names.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The file of a key or password cannot be read.
    #[error("{key}: {} cannot be read: {source}. Check the path and its permissions.", .path.display())]
    Unreadable {
        /// Key of the configuration that names the file.
        key: &'static str,
        /// The path of the file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A signing key is too short or too long.
    #[error(
        "{key}: {} holds {length} bytes. Allowed: {KEY_MIN} to {SECRET_MAX}. `openssl rand -hex 32` makes one.",
        .path.display()
    )]
    Length {
        /// Key of the configuration that names the file.
        key: &'static str,
        /// The path of the file.
        path: PathBuf,
        /// Bytes in the file, without a line end.
        length: usize,
    },
    /// The password in the file is empty or too long.
    #[error(
        "shared_cache.password_file: {} holds no password, or one of more than {SECRET_MAX} bytes.",
        .path.display()
    )]
    NoPassword {
        /// The path of the file.
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

fn seal(settings: &SharedCacheSettings) -> Result<Seal, Unusable> {
    let key = key("shared_cache.key_file", &settings.key_file)?;
    let former =
        settings.former_key_file.as_deref().map(|path| self::key("shared_cache.former_key_file", path)).transpose()?;
    Ok(Seal::new(&settings.group, &key, former.as_deref()))
}

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

/// Reads one signing key; `name` is the key of the configuration that names the file.
fn key(name: &'static str, path: &Path) -> Result<Vec<u8>, Unusable> {
    let key = read(name, path)?;
    let fits = key.len() >= KEY_MIN && u64::try_from(key.len()).is_ok_and(|length| length <= SECRET_MAX);
    if fits { Ok(key) } else { Err(Unusable::Length { key: name, path: path.to_owned(), length: key.len() }) }
}

/// Reads a file without the line end that editors leave. Of a file that is too long, a little more
/// is read than a secret may have, so that its length shows.
fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, Unusable> {
    let read = regular_file::read(path, SECRET_MAX + 2);
    let mut bytes = read.map_err(|source| Unusable::Unreadable { key, path: path.to_owned(), source })?;
    let end = bytes.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
    bytes.truncate(end);
    Ok(bytes)
}
