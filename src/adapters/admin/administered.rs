//! The sidecar as the admin interface sees it, and the types of its requests and responses.
//!
//! The interface itself knows neither the memory nor the resolver; it is given an implementation of
//! [`Administered`]. The types in here are also the JSON of the routes, and the client of the
//! interface reads the same types.

use serde::{Deserialize, Serialize};

use crate::core::special::Readiness;
use crate::resolver::ports::PortFuture;
use crate::telemetry::reading::Reading;
use crate::telemetry::reading::explanation::Explanation;
use crate::telemetry::reading::names::NamePage;
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

    /// What queries for one name get, and why. Asks no upstream and walks over nothing.
    ///
    /// # Errors
    /// The mistake in the question, in words for the operator.
    fn explain(&self, question: &NameQuestion) -> Result<Explanation, String>;

    /// One page of the names that are remembered. The future walks over the memory in slices; the
    /// interface awaits one at a time.
    ///
    /// # Errors
    /// The mistake in the scope, in words for the operator.
    fn list(&self, scope: &ListScope) -> Result<PortFuture<NamePage>, String>;

    /// Everything that is remembered, as the text of a seed in pieces of some kilobytes.
    fn export(&self) -> Box<dyn Iterator<Item = Vec<u8>> + Send>;

    /// Remembers the answers of a seed's text, where they are newer than what is remembered.
    ///
    /// # Errors
    /// The reason for which no part of the text can be used, in words for the operator.
    fn import(&self, text: &str) -> Result<Imported, String>;

    /// The largest text, in bytes, that [`import`](Self::import) takes.
    fn import_max(&self) -> usize;

    /// Flushes the names and types in `scope`.
    ///
    /// # Errors
    /// The mistake in the scope, in words for the operator; nothing is flushed then.
    fn flush(&self, scope: &FlushScope) -> Result<Flush, String>;
}

/// The names and types that an operator wants flushed, in the operator's own spelling. Exactly one
/// of `name` and `below` has to be given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlushScope {
    /// The only domain name that is flushed.
    pub name: Option<String>,
    /// A domain name that is flushed together with all names below it.
    pub below: Option<String>,
    /// The only type that is flushed of these names, such as `AAAA`; all types when `None`.
    #[serde(rename = "type")]
    pub rtype: Option<String>,
}

/// The name and the type that an operator asks about, in the operator's own spelling.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NameQuestion {
    /// The domain name.
    pub name: String,
    /// The type, such as `AAAA`; A and AAAA when `None`.
    #[serde(rename = "type")]
    pub rtype: Option<String>,
}

/// The names that an operator wants listed. Conditions that are given hold together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListScope {
    /// Only answers that are not fresh any more.
    pub stale: bool,
    /// Only names whose last resolution failed.
    pub failed: bool,
    /// Those with the most hits first, instead of by name.
    pub hot: bool,
    /// Only this name and all names below it.
    pub below: Option<String>,
    /// Only answers of this origin, such as `seed`.
    pub origin: Option<String>,
    /// The most names on the page; 100 when `None`.
    pub limit: Option<usize>,
    /// Where the page begins, as the page before it says.
    pub after: Option<String>,
}

/// A flush that has reached the memory.
pub struct Flush {
    /// The number of names and types that were flushed.
    pub flushed: u64,
    /// Waits, for a bounded time, until the state file cannot bring back any of the flushed
    /// answers.
    pub durable: PortFuture<Durable>,
}

/// The level that somebody wants the log to have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedLogLevel {
    /// The word for the level, such as `debug`.
    pub(super) level: String,
}

/// The result of a flush, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flushed {
    /// The number of names and types that were flushed.
    pub flushed: u64,
    /// Why the flushed answers may come back from the state file after a crash; `None` when they
    /// cannot.
    #[serde(default)]
    pub may_return: Option<String>,
}

/// The result of an import, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// The number of answers that were learned.
    pub learned: u64,
    /// The number of answers that were left out because what is remembered is as new or newer.
    pub older: u64,
    /// The number of answers that were left out because they are past their maximum stale.
    pub expired: u64,
    /// The number of answers that were left out because they are invalid.
    pub invalid: u64,
    /// The first of the mistakes that made answers invalid, each with its line.
    pub mistakes: Vec<String>,
}
