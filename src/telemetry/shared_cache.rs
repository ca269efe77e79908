//! The state of the shared cache, and what is counted about it: one vocabulary for the log, for
//! metrics and for `holdover status`.
//!
//! Queries are answered whatever the shared cache does. Its troubles are shown to operators, and
//! never become the error of a query; the same holds for the [state file](super::state_file).

use super::counters::Counters;
use crate::core::labelled::labelled;
use crate::core::time::Timestamp;

labelled! {
    /// Why the shared cache cannot be used.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum SharedCacheTrouble {
        /// A key, password or certificate file cannot be used.
        Files = "unusable_file",
        /// The server's name resolves to no address, and no address is remembered.
        NoAddress = "no_address",
        /// No connection can be made, or it was lost.
        Unreachable = "unreachable",
        /// The server does not speak TLS, or its certificate cannot be verified.
        Tls = "tls",
        /// The server does not answer in time.
        Slow = "timeout",
        /// The server rejects the user or the password, or the user lacks a permission.
        Denied = "permission_denied",
        /// No server accepts writes: the sentinels or the cluster know no primary, or it is being
        /// replaced.
        NoPrimary = "no_primary",
        /// The server answers that it cannot serve at present.
        Unwilling = "unavailable",
        /// The server speaks another protocol.
        Protocol = "protocol",
    }
}

impl SharedCacheTrouble {
    /// What this trouble means and what to do about it, for the log and `holdover status`.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Files => {
                "a key, password or certificate file cannot be used; the log and `holdover config check` say which"
            }
            Self::NoAddress => {
                "the server's name resolves to no address; check shared_cache.url, or give an address there"
            }
            Self::Unreachable => "the server cannot be reached",
            Self::Tls => "TLS fails; check that the server speaks it, and shared_cache.ca_file",
            Self::Slow => "the server does not answer within shared_cache.timeout",
            Self::Denied => {
                "the server rejects the user or password, or does not let the user read and write holdover:*"
            }
            Self::NoPrimary => "no primary server is known",
            Self::Unwilling => "the server answers that it cannot serve at present",
            Self::Protocol => "the server at this address is neither Valkey nor Redis",
        }
    }
}

/// Whether the shared cache can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The shared cache is read and written.
    Reached,
    /// The shared cache is neither read nor written, and is tried again and again.
    Lost {
        /// Since when it cannot be used.
        since: Timestamp,
        /// Why it cannot be used.
        reason: SharedCacheTrouble,
    },
}

labelled! {
    /// What came of looking a name up in the shared cache, of writing an answer there, or of an
    /// entry that was read.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Counted {
        /// A lookup found an answer that could be served.
        Found = "hit",
        /// A lookup found no answer.
        Missing = "miss",
        /// A lookup got no reply in time.
        Late = "timed_out",
        /// A lookup was not made: the shared cache could not be used, or too many lookups waited.
        Skipped = "skipped",
        /// An answer was written.
        Published = "written",
        /// An answer was not written, as a recent entry that says the same was there.
        Unchanged = "unchanged",
        /// An answer was rejected: it is too large, or the server is full or lets nobody write.
        Refused = "rejected",
        /// An answer was not written, because the shared cache could not be used.
        Unsent = "unsent",
        /// An entry was ignored, because its signature is not valid.
        WrongSignature = "wrong_signature",
        /// An entry was ignored, because it is signed and still cannot be parsed.
        Unreadable = "malformed",
    }
}

impl Counted {
    /// The results of looking a name up.
    pub const LOOKUPS: [Self; 4] = [Self::Found, Self::Missing, Self::Late, Self::Skipped];

    /// The results of writing an answer.
    pub const WRITES: [Self; 4] = [Self::Published, Self::Unchanged, Self::Refused, Self::Unsent];

    /// The reasons for ignoring an entry.
    pub const IGNORED_ENTRIES: [Self; 2] = [Self::WrongSignature, Self::Unreadable];
}

/// Counters of the shared cache.
pub type SharedCacheCounters = Counters<Counted>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_is_shown_by_one_metric() {
        for counted in Counted::ALL {
            let shown = [&Counted::LOOKUPS[..], &Counted::WRITES, &Counted::IGNORED_ENTRIES];
            assert_eq!(shown.iter().flat_map(|group| group.iter()).filter(|own| **own == counted).count(), 1);
        }
    }
}
