//! The keys of `[shared_cache]` that have no range.

use crate::config::key::{PlainKey, Presence};
use crate::config::limits;

/// Full name of the key `shared_cache.url`.
pub const SHARED_CACHE_URL: &str = "shared_cache.url";
/// Full name of the key `shared_cache.group`.
pub const SHARED_CACHE_GROUP: &str = "shared_cache.group";
/// Full name of the key `shared_cache.key_file`.
pub const SHARED_CACHE_KEY_FILE: &str = "shared_cache.key_file";
/// Full name of the key `shared_cache.former_key_file`.
pub const SHARED_CACHE_FORMER_KEY_FILE: &str = "shared_cache.former_key_file";
/// Full name of the key `shared_cache.username`.
pub const SHARED_CACHE_USERNAME: &str = "shared_cache.username";
/// Full name of the key `shared_cache.password_file`.
pub const SHARED_CACHE_PASSWORD_FILE: &str = "shared_cache.password_file";
/// Full name of the key `shared_cache.ca_file`.
pub const SHARED_CACHE_CA_FILE: &str = "shared_cache.ca_file";

/// The keys of `[shared_cache]` that have no range, in reading order.
pub(super) const PLAIN: &[PlainKey] = &[
    PlainKey {
        key: SHARED_CACHE_URL,
        text: "Where the shared cache is; \"off\": there is none. One server: redis://host:6379/0, or \
               rediss:// for TLS. Sentinels: redis-sentinel://host,host:26379/name-of-the-primary \
               (rediss-sentinel://). Some members of a cluster: redis-cluster://host,host \
               (rediss-cluster://). A host is an address or a full name, which holdover resolves and \
               caches itself. The URL holds no user and no password, which have keys of their own.",
        toml: r#""off""#,
        allowed: || format!("off, or such a URL of 1 to {} hosts", limits::SHARED_CACHE_HOSTS_MAX),
        presence: Presence::Optional,
    },
    PlainKey {
        key: SHARED_CACHE_GROUP,
        text: "Instances of one group share what they have learned, and a new instance first fetches the \
               names that its group asks for most often. Give each service whose names resolve alike a \
               group of its own.",
        toml: r#""default""#,
        allowed: || format!("1 to {} letters, digits and . _ - signs", limits::SHARED_CACHE_GROUP_MAX),
        presence: Presence::Optional,
    },
    PlainKey {
        key: SHARED_CACHE_KEY_FILE,
        text: "The file with the key that signs what is shared, the same for all instances of the group: \
               whoever has the key is believed, and nobody else. It is required with a URL. `openssl \
               rand -hex 32` makes a key.",
        toml: r#""""#,
        allowed: || {
            format!(
                "the path of a file of {} to {} bytes",
                limits::SHARED_CACHE_KEY_MIN,
                limits::SHARED_CACHE_SECRET_MAX
            )
        },
        presence: Presence::Required,
    },
    PlainKey {
        key: SHARED_CACHE_FORMER_KEY_FILE,
        text: "The file with the former key, which is still accepted but no longer signs, while a new \
               key is brought to all instances.",
        toml: r#""""#,
        allowed: || {
            format!(
                "the path of a file of {} to {} bytes, or nothing",
                limits::SHARED_CACHE_KEY_MIN,
                limits::SHARED_CACHE_SECRET_MAX
            )
        },
        presence: Presence::WithoutDefault,
    },
    PlainKey {
        key: SHARED_CACHE_USERNAME,
        text: "The user (ACL), who must be allowed to read and write ~holdover:*. The default user when left out.",
        toml: r#""""#,
        allowed: || format!("up to {} bytes", limits::SHARED_CACHE_USERNAME_MAX),
        presence: Presence::WithoutDefault,
    },
    PlainKey {
        key: SHARED_CACHE_PASSWORD_FILE,
        text: "The file with the password. The variable HOLDOVER_SHARED_CACHE_PASSWORD overrides it; \
               there is no key for the password itself.",
        toml: r#""""#,
        allowed: || "the path of a file, or nothing".to_owned(),
        presence: Presence::WithoutDefault,
    },
    PlainKey {
        key: SHARED_CACHE_CA_FILE,
        text: "A PEM file with the certificates of the authorities that vouch for the server of the \
               shared cache (TLS). The authorities of the system when left out.",
        toml: r#""""#,
        allowed: || "the path of a file, or nothing".to_owned(),
        presence: Presence::WithoutDefault,
    },
];
