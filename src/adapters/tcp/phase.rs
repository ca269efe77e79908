//! Whether the TCP front serves or is being shut down, for the front and all its connections.

use tokio::sync::watch;

/// Whether the TCP front takes new queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpPhase {
    /// The front takes new connections and queries.
    Serving,
    /// The front answers the queries that it has taken, and ends. A dropped sender of the phase
    /// means the same.
    Draining,
}

/// Waits until the front shall take no more queries. Cancel safe.
pub(super) async fn draining(phase: &mut watch::Receiver<TcpPhase>) {
    // An error says that the sender is gone, which means the same.
    let _last = phase.wait_for(|phase| *phase == TcpPhase::Draining).await;
}
