//! The keys of the memory that a fleet shares.

use super::Plain;

/// `shared_cache.url`.
pub const SHARED_CACHE_URL: &str = "shared_cache.url";
/// `shared_cache.group`.
pub const SHARED_CACHE_GROUP: &str = "shared_cache.group";
/// `shared_cache.key_file`.
pub const SHARED_CACHE_KEY_FILE: &str = "shared_cache.key_file";
/// `shared_cache.former_key_file`.
pub const SHARED_CACHE_FORMER_KEY_FILE: &str = "shared_cache.former_key_file";
/// `shared_cache.username`.
pub const SHARED_CACHE_USERNAME: &str = "shared_cache.username";
/// `shared_cache.password_file`.
pub const SHARED_CACHE_PASSWORD_FILE: &str = "shared_cache.password_file";
/// `shared_cache.ca_file`.
pub const SHARED_CACHE_CA_FILE: &str = "shared_cache.ca_file";

/// The keys that have no bounds.
pub(super) const PLAIN: &[Plain] = &[
    Plain {
        key: SHARED_CACHE_URL,
        text: &[
            " Where it is; \"off\": nowhere. redis://host:6379/0, with TLS rediss://. Of sentinels: redis-sentinel://host,host:26379/name-of-the-",
            " primary (rediss-sentinel://), of some members of a cluster: redis-cluster://host,host (rediss-cluster://). A host is an address or",
            " a full name, which holdover resolves and remembers itself. No user and no password: they have keys of their own.",
        ],
        toml: r#""off""#,
        allowed: "off, or such a URL of 1 to 16 hosts",
    },
    Plain {
        key: SHARED_CACHE_GROUP,
        text: &[
            " Whose memory it is: instances of one group share what they learned, and a new one first learns what its group asks for most. One for",
            " each service whose names are resolved alike.",
        ],
        toml: r#""default""#,
        allowed: "1 to 64 letters, digits and . _ - signs",
    },
    Plain {
        key: SHARED_CACHE_KEY_FILE,
        text: &[
            " The file with the key of the fleet, which signs what is shared: whoever has it is believed, nobody else. Needed.",
            " `openssl rand -hex 32` makes one.",
        ],
        toml: r#""""#,
        allowed: "the path of a file of 32 to 4096 bytes",
    },
    Plain {
        key: SHARED_CACHE_FORMER_KEY_FILE,
        text: &[
            " The key before, which is accepted as well but no longer signs, while a new one is brought to all instances.",
        ],
        toml: r#""""#,
        allowed: "the path of a file of 32 to 4096 bytes, or nothing",
    },
    Plain {
        key: SHARED_CACHE_USERNAME,
        text: &[" The user (ACL); needs to read and write ~holdover:*. The default user when left out."],
        toml: r#""""#,
        allowed: "up to 256 bytes",
    },
    Plain {
        key: SHARED_CACHE_PASSWORD_FILE,
        text: &[
            " The file with the password. The variable HOLDOVER_SHARED_CACHE_PASSWORD covers it; there is no key for the password itself.",
        ],
        toml: r#""""#,
        allowed: "the path of a file, or nothing",
    },
    Plain {
        key: SHARED_CACHE_CA_FILE,
        text: &[
            " Who vouches for the server (TLS): a PEM file with certificates of authorities. The system's when left out.",
        ],
        toml: r#""""#,
        allowed: "the path of a file, or nothing",
    },
];
