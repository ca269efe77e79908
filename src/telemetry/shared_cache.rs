//! The status and the counters of the shared cache: one vocabulary for the log, for metrics and for
//! `holdover status`.
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
        UnusableFile = "unusable_file",
        /// The server's name resolves to no address, and no address is remembered.
        NoAddress = "no_address",
        /// No connection to the server can be made, or the connection was lost.
        Unreachable = "unreachable",
        /// The server does not speak TLS, or its certificate cannot be verified.
        Tls = "tls",
        /// The server does not answer in time.
        Timeout = "timeout",
        /// The server rejects the user or the password, or the user lacks a permission.
        PermissionDenied = "permission_denied",
        /// No server accepts writes: the sentinels or the cluster know no primary server, or the
        /// primary server is being replaced.
        NoPrimary = "no_primary",
        /// The server says that another one has the keys, although no cluster is configured.
        Redirected = "redirected",
        /// The server answers that it cannot serve at present.
        Unavailable = "unavailable",
        /// The server at the configured address speaks another protocol than Valkey and Redis.
        Protocol = "protocol",
    }
}

impl SharedCacheTrouble {
    /// The meaning of this trouble and the remedy of the operator, in words for the log and
    /// `holdover status`.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::UnusableFile => {
                "a key, password or certificate file cannot be used; the log and `holdover config check` say which"
            }
            Self::NoAddress => {
                "the server's name resolves to no address; check shared_cache.url, or give an address there"
            }
            Self::Unreachable => "the server cannot be reached",
            Self::Tls => "TLS fails; check that the server speaks it, and shared_cache.ca_file",
            Self::Timeout => "the server does not answer within shared_cache.timeout",
            Self::PermissionDenied => {
                "the server rejects the user or password, or does not let the user read and write holdover:*"
            }
            Self::NoPrimary => "no primary server is known",
            Self::Redirected => {
                "the server is a member of a cluster and names another one; write redis-cluster:// in shared_cache.url"
            }
            Self::Unavailable => "the server answers that it cannot serve at present",
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
        /// When the shared cache was first found to be unusable.
        since: Timestamp,
        /// Why the shared cache cannot be used.
        reason: SharedCacheTrouble,
    },
}

labelled! {
    /// The result of looking a name up in the shared cache, of writing an answer there, or of
    /// reading an entry, as it is counted.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Counted {
        /// A lookup found an answer that could be served.
        Hit = "hit",
        /// A lookup found no answer.
        Miss = "miss",
        /// A lookup got no reply in time.
        TimedOut = "timed_out",
        /// A lookup was not made: the shared cache could not be used, or too many lookups waited.
        Skipped = "skipped",
        /// An answer was written to the shared cache.
        Written = "written",
        /// An answer was not written, because a recent entry with the same content was there.
        Unchanged = "unchanged",
        /// An answer was rejected: the answer is too large, or the server is full or accepts no
        /// writes.
        Rejected = "rejected",
        /// An answer was not written, because the shared cache could not be used.
        Unsent = "unsent",
        /// An entry was ignored, because its signature is not valid.
        WrongSignature = "wrong_signature",
        /// An entry was ignored, because it cannot be parsed although its signature is valid.
        Malformed = "malformed",
    }
}

impl Counted {
    /// The results of looking a name up, as the metric `shared_cache_lookups` shows them.
    pub const LOOKUPS: [Self; 4] = [Self::Hit, Self::Miss, Self::TimedOut, Self::Skipped];

    /// The results of writing an answer, as the metric `shared_cache_writes` shows them.
    pub const WRITES: [Self; 4] = [Self::Written, Self::Unchanged, Self::Rejected, Self::Unsent];

    /// The reasons for ignoring an entry, as the metric `shared_cache_ignored_entries` shows them.
    pub const IGNORED_ENTRIES: [Self; 2] = [Self::WrongSignature, Self::Malformed];
}

/// Counters of the lookups, writes and ignored entries of the shared cache.
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
