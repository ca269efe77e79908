//! How it stands with the fleet's memory: one vocabulary for the log, metrics, and `holdover
//! status`.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::core::time::Timestamp;

/// Why the shared cache cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedCacheTrouble {
    /// A key, password or certificate file cannot be used.
    Files,
    /// Its name resolves to no address, and none is remembered.
    NoAddress,
    /// No connection can be made, or it was lost.
    Unreachable,
    /// It does not prove who it is, or speaks no TLS.
    Tls,
    /// It does not answer in time.
    Slow,
    /// It refuses our user or password, or does not let the user do what is needed.
    Denied,
    /// No server takes what is published: the sentinels or the cluster know none, or it is just
    /// changing.
    NoPrimary,
    /// It says that it cannot serve at present.
    Unwilling,
    /// It speaks another protocol.
    Protocol,
}

impl SharedCacheTrouble {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::Files,
        Self::NoAddress,
        Self::Unreachable,
        Self::Tls,
        Self::Slow,
        Self::Denied,
        Self::NoPrimary,
        Self::Unwilling,
        Self::Protocol,
    ];

    /// The metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::NoAddress => "no_address",
            Self::Unreachable => "unreachable",
            Self::Tls => "tls",
            Self::Slow => "slow",
            Self::Denied => "denied",
            Self::NoPrimary => "no_primary",
            Self::Unwilling => "unwilling",
            Self::Protocol => "protocol",
        }
    }

    /// What it means, and what to do about it.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Files => {
                "a key, password or certificate file cannot be used: the log names it, and `holdover config check`"
            }
            Self::NoAddress => "its name resolves to no address: check shared_cache.url, or name an address",
            Self::Unreachable => "it cannot be reached",
            Self::Tls => "TLS fails: check that the server speaks it, and shared_cache.ca_file",
            Self::Slow => "it does not answer within shared_cache.timeout",
            Self::Denied => "it refuses our user or password, or does not let the user read and write holdover:*",
            Self::NoPrimary => "no primary server is known",
            Self::Unwilling => "it says that it cannot serve at present",
            Self::Protocol => "what answers there is no Valkey or Redis",
        }
    }
}

/// How it stands with the shared cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It is asked and fed.
    Reached,
    /// Neither, since then; it is tried again and again.
    Lost {
        /// Since when.
        since: Timestamp,
        /// Why.
        reason: SharedCacheTrouble,
    },
}

/// Something that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Asked for a name: it had an answer that could be served.
    Found,
    /// Asked for a name: it had none.
    Missing,
    /// Asked for a name: it did not answer in time.
    Late,
    /// Not asked for a name, as it was known to be away or too much was asked already.
    Skipped,
    /// An answer was published.
    Published,
    /// An answer was not published, as the one that is there says the same and is young enough.
    Unchanged,
    /// An answer was not taken: the server is full, or may not be written.
    Refused,
    /// An answer was not published, as the server was away.
    Unsent,
    /// An entry was ignored for its signature.
    WrongSignature,
    /// An entry was ignored for its form, although it was signed.
    Unreadable,
}

impl Counted {
    /// All, in the order of their places.
    pub const ALL: [Self; 10] = [
        Self::Found,
        Self::Missing,
        Self::Late,
        Self::Skipped,
        Self::Published,
        Self::Unchanged,
        Self::Refused,
        Self::Unsent,
        Self::WrongSignature,
        Self::Unreadable,
    ];
    /// What came of asking for a name.
    pub const ASKED: [Self; 4] = [Self::Found, Self::Missing, Self::Late, Self::Skipped];
    /// What came of publishing.
    pub const PUBLISHED: [Self; 4] = [Self::Published, Self::Unchanged, Self::Refused, Self::Unsent];
    /// Why entries were ignored.
    pub const IGNORED: [Self; 2] = [Self::WrongSignature, Self::Unreadable];

    /// The metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Missing => "missing",
            Self::Late => "late",
            Self::Skipped => "skipped",
            Self::Published => "published",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
            Self::Unsent => "unsent",
            Self::WrongSignature => "signature",
            Self::Unreadable => "unreadable",
        }
    }

    /// Its place among the counters.
    const fn index(self) -> usize {
        self as usize
    }
}

/// Counters of the shared cache.
#[derive(Debug, Default)]
pub struct SharedCacheCounters([AtomicU64; Counted::ALL.len()]);

impl SharedCacheCounters {
    /// Counts one.
    pub fn count(&self, what: Counted) {
        self.add(what, 1);
    }

    /// Counts several.
    pub fn add(&self, what: Counted, many: u64) {
        if let Some(counter) = self.0.get(what.index()) {
            counter.fetch_add(many, Ordering::Relaxed);
        }
    }

    /// How many so far.
    #[must_use]
    pub fn total(&self, what: Counted) -> u64 {
        self.0.get(what.index()).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_place_of_its_own_and_is_shown_once() {
        for (place, counted) in Counted::ALL.into_iter().enumerate() {
            assert_eq!(counted.index(), place);
            let shown = [&Counted::ASKED[..], &Counted::PUBLISHED, &Counted::IGNORED];
            assert_eq!(shown.iter().flat_map(|group| group.iter()).filter(|own| **own == counted).count(), 1);
        }
    }
}
