//! What the admin interface needs of the sidecar that it shows, and what goes in and out.
//!
//! The interface itself knows neither the memory nor the resolver; it is given an implementation of
//! [`Administered`]. The types in here are also the JSON of the routes, so the client of the
//! interface reads the same ones.

use serde::{Deserialize, Serialize};

use crate::core::special::Readiness;
use crate::resolver::ports::PortFuture;
use crate::telemetry::reading::Reading;
use crate::telemetry::state_file::Durable;

/// A sidecar that can be looked at, filled and flushed through its admin interface.
///
/// [`reading`](Self::reading), [`import`](Self::import) and [`flush`](Self::flush) may walk over
/// the whole memory; the interface calls them one at a time, on a thread that may block.
pub trait Administered: Send + Sync + 'static {
    /// Everything that status and metrics show.
    fn reading(&self) -> Reading;

    /// Whether the sidecar's start is over. Never waits.
    fn readiness(&self) -> Readiness;

    /// Everything that is remembered, as the text of a seed in pieces of some kilobytes.
    fn export(&self) -> Box<dyn Iterator<Item = Vec<u8>> + Send>;

    /// Remembers the answers of a seed's text, where they are newer than what is remembered.
    ///
    /// # Errors
    /// Why no part of the text can be used, in words for the operator.
    fn import(&self, text: &str) -> Result<Imported, String>;

    /// The largest text, in bytes, that [`import`](Self::import) takes.
    fn import_max(&self) -> usize;

    /// Flushes the names and types in `scope`.
    ///
    /// # Errors
    /// What is wrong with the scope, in words for the operator; nothing is flushed then.
    fn flush(&self, scope: &FlushScope) -> Result<Flush, String>;
}

/// Which names and types an operator wants flushed, in the operator's own spelling. Exactly one of
/// `name` and `below` has to be given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlushScope {
    /// Only this domain name.
    pub name: Option<String>,
    /// This domain name and all names below it.
    pub below: Option<String>,
    /// Only this type of these names, such as `AAAA`; all types when `None`.
    #[serde(rename = "type")]
    pub rtype: Option<String>,
}

/// A flush that has reached the memory.
pub struct Flush {
    /// How many names and types were flushed.
    pub flushed: u64,
    /// Waits, for a bounded time, until the state file cannot bring them back any more.
    pub durable: PortFuture<Durable>,
}

/// The result of a flush, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flushed {
    /// How many names and types were flushed.
    pub flushed: u64,
    /// Why they may come back from the state file after a crash; `None` when they cannot.
    #[serde(default)]
    pub may_return: Option<String>,
}

/// The result of an import, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Answers that were learned.
    pub learned: u64,
    /// Answers that were left out because what is remembered is as new or newer.
    pub older: u64,
    /// Answers that were left out because they are past their maximum stale.
    pub expired: u64,
    /// Answers that are invalid.
    pub invalid: u64,
    /// The first of these mistakes, with their lines.
    pub mistakes: Vec<String>,
}
