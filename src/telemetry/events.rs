//! The events that holdover writes to its log, as types: code reports what happened by making an
//! event, and only this module knows the words.
//!
//! An event is a struct with the facts and a method `emit` that writes one line. That keeps the
//! texts and the field names in one place, where they can be read side by side, and keeps them out
//! of the code that decides. Log fields are part of the interface, as the README says.
//!
//! No event above DEBUG is emitted once per query, so that the log stays small however many queries
//! come.

mod admin;
mod critical;
mod hosts;
mod process;
mod reversals;
#[cfg(feature = "shared-cache")]
mod shared_cache;
mod state_file;
mod unwanted_traffic;
mod upstreams;

pub use admin::{
    AdminListening, AdminReadOnly, AdminUnavailable, CacheFlushed, CacheImported, LogLevelChanged, SeedLate, SeedRead,
    SeedUnusable,
};
pub use critical::{CriticalNameTroubled, CriticalNameWell, CriticalNamesKnown, ReadyWithout};
pub use hosts::{HostsRead, HostsUnusable};
pub use process::{
    AddressMissing, CapacityShrunk, ConfigurationDoubtful, Draining, Listening, LogLinesDropped, Ready, SocketsLacking,
    Stopped, TaskRestarted, ThreadPanicked, ThreadRestarted,
};
pub use reversals::{ReversalBelieved, ReversalRefuted};
#[cfg(feature = "shared-cache")]
pub use shared_cache::{
    SharedCacheBack, SharedCacheFilesKept, SharedCacheFilesRenewed, SharedCacheFilled, SharedCacheIgnoredEntries,
    SharedCacheLost, SharedCacheReached, SharedCacheRejectsWrites, SharedCacheUnusable,
};
pub use state_file::{StateAnswers, StateDamaged, StateFailing, StateLoaded, StateSetAside, StateWorking};
pub use unwanted_traffic::{UnwantedTraffic, UnwantedTrafficSeen};
pub use upstreams::{
    HostUpstreamsChanged, HostUpstreamsUnusable, LoopFound, OutageBegan, OutageEnded, TroubleBegan, TroubleEnded,
    UpstreamChanged,
};
