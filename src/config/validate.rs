//! The validation of the merged layers, which makes [`Settings`] of them.
//!
//! Every mistake is collected before the first one is reported, so that an operator sees them all
//! at once. A value that is wrong is replaced by its default for the rest of the validation, which
//! therefore finds mistakes in other values as well. Files that a value names are not read here:
//! they may change while the process runs, and are read where they are used.
//!
//! Each child validates one group of sections; their common rules are in `validator`.

mod addresses;
mod admin;
mod critical;
mod files;
mod listen;
mod log;
mod names;
mod policy;
mod shared_cache;
mod stale;
mod types;
mod upstreams;
mod validator;

use super::error::ConfigError;
use super::keys;
use super::layer::Layer;
use super::limits;
use super::settings::{Drain, Settings};
pub use names::bare_suffix;
pub use shared_cache::{SharedCacheUrlError, read_url as shared_cache_servers};
use validator::Validator;

/// Makes settings of the merged layers.
///
/// # Errors
/// [`ConfigError::Wrong`] with all mistakes that were found.
pub fn validate(layer: &Layer) -> Result<Settings, ConfigError> {
    let mut validator = Validator::new(layer);
    let listen = validator.listen();
    let upstreams = validator.upstreams(&listen.addresses);
    let settings = Settings {
        policy: validator.policy(),
        state: validator.state(),
        shared_cache: validator.shared_cache(),
        drain: Drain {
            idle: validator.bounded(&limits::DRAIN_IDLE),
            at_most: validator.bounded(&limits::DRAIN_MAXIMUM),
        },
        log: validator.log(),
        seeds: validator.seeds(),
        admin: validator.admin(),
        admin_token_file: validator.path(keys::ADMIN_TOKEN_FILE),
        hosts: validator.hosts(),
        listen,
        upstreams,
        resolv_conf: None,
        unknown: Vec::new(),
        remarks: Vec::new(),
    };
    validator.finish(settings)
}

impl Settings {
    /// Settings that consist of defaults alone, without any upstream.
    ///
    /// # Panics
    /// Never: a test makes sure that the defaults are within their own bounds.
    #[must_use]
    pub fn standard() -> Self {
        validate(&Layer::default()).unwrap_or_else(|problems| unreachable_defaults(&problems))
    }
}

#[expect(clippy::panic, reason = "a fault of the table in `limits`, which a test finds before anybody else does")]
fn unreachable_defaults(problems: &ConfigError) -> Settings {
    panic!("{problems}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        let settings = Settings::standard();
        assert_eq!(settings.policy.attempts.sends, 3);
        assert_eq!(settings.listen.clients, crate::core::network::LOOPBACK, "this host alone is answered");
    }
}
