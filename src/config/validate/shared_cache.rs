//! The validation of `[shared_cache]`: the servers of the shared cache, and the files and names
//! that give access to them.
//!
//! The files with keys, passwords and certificates are read at the start, not here. The URL is
//! never shown in a message, since somebody may have written a password into it.

mod url;

use std::path::PathBuf;

use super::validator::Validator;
use crate::config::error::Problem;
use crate::config::keys::{
    SHARED_CACHE_CA_FILE, SHARED_CACHE_FORMER_KEY_FILE, SHARED_CACHE_GROUP, SHARED_CACHE_KEY_FILE,
    SHARED_CACHE_PASSWORD_FILE, SHARED_CACHE_URL, SHARED_CACHE_USERNAME,
};
use crate::config::layer::GivenValue;
use crate::config::limits;
use crate::config::settings::{Password, SharedCacheServers, SharedCacheSettings, SharedCacheTransport};
pub use url::{SharedCacheUrlError, read_url};

/// The word for no shared cache.
const OFF: &str = "off";
/// The group of an instance that names none.
const DEFAULT_GROUP: &str = "default";

impl Validator<'_> {
    /// The settings of the shared cache; `None` when none is used.
    pub(super) fn shared_cache(&mut self) -> Option<SharedCacheSettings> {
        // The keys with a range are checked even when the URL is "off".
        let given = self.given(SHARED_CACHE_URL)?;
        let url = given.raw.text().map(str::trim).unwrap_or_default().to_owned();
        let (timeout, start_names) =
            (self.bounded(&limits::SHARED_CACHE_TIMEOUT), self.bounded(&limits::SHARED_CACHE_START_NAMES));
        if url == OFF {
            return None;
        }
        if !cfg!(feature = "shared-cache") {
            let what = "names a shared cache, but this holdover was built without the feature shared-cache. Use one \
                        that has the feature, or set shared_cache.url to \"off\".";
            self.complain_about_url(given, what);
            return None;
        }

        // Every key is validated before the function gives up, so that all mistakes are reported.
        let servers = read_url(&url).map_err(|error| self.complain_about_url(given, error.to_string())).ok();
        let key_file = self.key_file(given);
        let ca_file = self.ca_file(servers.as_ref());
        let (username, password) = self.credentials();
        let group = self.group();
        let former_key_file = self.path(SHARED_CACHE_FORMER_KEY_FILE);
        Some(SharedCacheSettings {
            url,
            servers: servers?,
            group,
            key_file: key_file?,
            former_key_file,
            username,
            password,
            ca_file,
            timeout,
            start_names,
        })
    }

    fn complain_about_url(&mut self, given: &GivenValue, what: impl Into<String>) {
        self.report(Problem::place(SHARED_CACHE_URL, &given.source, what));
    }

    /// Path of the file with the key that signs entries, which a URL requires.
    fn key_file(&mut self, url: &GivenValue) -> Option<PathBuf> {
        let key_file = self.path(SHARED_CACHE_KEY_FILE);
        if key_file.is_none() {
            let what = "names a shared cache, but shared_cache.key_file names no key, without which nothing in the \
                        cache could be believed. Make a key with `openssl rand -hex 32`, and give the same one to all \
                        instances of the group.";
            self.complain_about_url(url, what);
        }
        key_file
    }

    /// Path of the file with the authorities that vouch for the servers. Such a file is a mistake
    /// where the URL does not use TLS.
    fn ca_file(&mut self, servers: Option<&SharedCacheServers>) -> Option<PathBuf> {
        let ca_file = self.path(SHARED_CACHE_CA_FILE);
        let is_plain = servers.is_some_and(|servers| servers.transport == SharedCacheTransport::Plain);
        if is_plain
            && ca_file.is_some()
            && let Some(given) = self.given(SHARED_CACHE_CA_FILE)
        {
            let what = "is for TLS, but shared_cache.url does not use TLS: begin the URL with rediss";
            self.complain(SHARED_CACHE_CA_FILE, given, what);
        }
        ca_file
    }

    /// The user and the password. The variable with a password overrides the file with one.
    fn credentials(&mut self) -> (Option<String>, Option<Password>) {
        let password = match self.layer.shared_cache_password.clone() {
            Some(secret) => Some(Password::Given(secret)),
            None => self.path(SHARED_CACHE_PASSWORD_FILE).map(Password::File),
        };
        let username = self.text(SHARED_CACHE_USERNAME, limits::SHARED_CACHE_USERNAME_MAX);
        if username.is_some()
            && password.is_none()
            && let Some(given) = self.given(SHARED_CACHE_USERNAME)
        {
            let what =
                "has no password: set shared_cache.password_file, or the variable HOLDOVER_SHARED_CACHE_PASSWORD";
            self.complain(SHARED_CACHE_USERNAME, given, what);
        }
        (username, password)
    }

    fn group(&mut self) -> String {
        let Some(given) = self.given(SHARED_CACHE_GROUP) else { return DEFAULT_GROUP.to_owned() };
        let fits = |group: &&str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
            (1..=limits::SHARED_CACHE_GROUP_MAX).contains(&group.len()) && group.bytes().all(allowed)
        };
        match given.raw.text().filter(fits) {
            Some(group) => group.to_owned(),
            None => {
                self.complain(SHARED_CACHE_GROUP, given, "is not a name for a group");
                String::new()
            }
        }
    }

    /// The path that was given for a key; `None` when it is empty or cannot be a path.
    pub(super) fn path(&mut self, key: &str) -> Option<PathBuf> {
        if let Some(given) = self.given(key) {
            self.remark_on_home(key, given);
        }
        self.text(key, limits::PATH_MAX).map(PathBuf::from)
    }

    /// The text of at most `longest` bytes that was given for a key; `None` when it is empty, or
    /// after a complaint.
    fn text(&mut self, key: &str, longest: usize) -> Option<String> {
        let given = self.given(key)?;
        match given.raw.text() {
            Some("") => None,
            Some(text) if text.len() <= longest && !text.contains('\0') => Some(text.to_owned()),
            Some(_) | None => {
                self.complain(key, given, &format!("is not text of at most {longest} bytes without a NUL byte"));
                None
            }
        }
    }
}
