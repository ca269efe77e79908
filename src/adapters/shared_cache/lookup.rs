//! A lookup in the shared cache, on its way from the query that waits for it to the task.

use tokio::sync::oneshot;

use crate::core::key::Key;
use crate::core::record::Record;

/// A name and type to be looked up in the shared cache for a query that waits.
pub(super) struct Lookup {
    pub(super) key: Key,
    /// Gets the record that the shared cache has, or `None` when it has none that can be trusted.
    /// Dropped without a reply when the server cannot be asked.
    pub(super) reply: oneshot::Sender<Option<Record>>,
}
