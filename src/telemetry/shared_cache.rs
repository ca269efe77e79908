//! How it stands with the fleet's memory: one vocabulary for the log, metrics, and `holdover
//! status`.

use super::counters::Counters;
use crate::core::labelled::labelled;
use crate::core::time::Timestamp;

labelled! {
    /// Why the shared cache cannot be used.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum SharedCacheTrouble {
        /// A key, password or certificate file cannot be used.
        Files = "files",
        /// Its name resolves to no address, and none is remembered.
        NoAddress = "no_address",
        /// No connection can be made, or it was lost.
        Unreachable = "unreachable",
        /// It does not prove who it is, or speaks no TLS.
        Tls = "tls",
        /// It does not answer in time.
        Slow = "slow",
        /// It refuses our user or password, or does not let the user do what is needed.
        Denied = "denied",
        /// No server takes what is published: the sentinels or the cluster know none, or it is just
        /// changing.
        NoPrimary = "no_primary",
        /// It says that it cannot serve at present.
        Unwilling = "unwilling",
        /// It speaks another protocol.
        Protocol = "protocol",
    }
}

impl SharedCacheTrouble {
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

labelled! {
    /// Something that is counted.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Counted {
        /// Asked for a name: it had an answer that could be served.
        Found = "found",
        /// Asked for a name: it had none.
        Missing = "missing",
        /// Asked for a name: it did not answer in time.
        Late = "late",
        /// Not asked for a name, as it was known to be away or too much was asked already.
        Skipped = "skipped",
        /// An answer was published.
        Published = "published",
        /// An answer was not published, as the one that is there says the same and is young enough.
        Unchanged = "unchanged",
        /// An answer was not taken: the server is full, or may not be written.
        Refused = "refused",
        /// An answer was not published, as the server was away.
        Unsent = "unsent",
        /// An entry was ignored for its signature.
        WrongSignature = "signature",
        /// An entry was ignored for its form, although it was signed.
        Unreadable = "unreadable",
    }
}

impl Counted {
    /// What came of asking for a name.
    pub const ASKED: [Self; 4] = [Self::Found, Self::Missing, Self::Late, Self::Skipped];

    /// What came of publishing.
    pub const PUBLISHED: [Self; 4] = [Self::Published, Self::Unchanged, Self::Refused, Self::Unsent];

    /// Why entries were ignored.
    pub const IGNORED: [Self; 2] = [Self::WrongSignature, Self::Unreadable];
}

/// Counters of the shared cache.
pub type SharedCacheCounters = Counters<Counted>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_is_shown_by_one_metric() {
        for counted in Counted::ALL {
            let shown = [&Counted::ASKED[..], &Counted::PUBLISHED, &Counted::IGNORED];
            assert_eq!(shown.iter().flat_map(|group| group.iter()).filter(|own| **own == counted).count(), 1);
        }
    }
}
