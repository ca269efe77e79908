//! The trait of a protocol whose connections can be pooled: it says how one is set up.

use std::future::Future;
use std::time::Duration;

use hickory_resolver::net::xfer::DnsClientStream;
use hickory_resolver::net::{BufDnsStreamHandle, NetError};

use crate::resolver::ports::Endpoint;

/// Sets up connections to upstreams that carry DNS messages behind a length prefix (RFC 1035
/// §4.2.2).
pub(in crate::adapters::upstream) trait Connect: Clone + Send + Sync + 'static {
    /// The messages that arrive on a connection.
    type Incoming: DnsClientStream;

    /// Opens one connection to `endpoint`, handshakes included, which takes at most `within`.
    ///
    /// Cancel safe: dropping the future closes the connection.
    ///
    /// # Errors
    /// Those of the operating system, and [`NetError::Timeout`] or `ETIMEDOUT` when the time is
    /// over.
    fn connect(
        self,
        endpoint: Endpoint,
        within: Duration,
    ) -> impl Future<Output = Result<OpenConnection<Self::Incoming>, NetError>> + Send;
}

/// Both directions of a connection that has been set up.
pub(in crate::adapters::upstream) struct OpenConnection<I> {
    /// Yields whole messages without their length prefix. Polling it also writes what was handed to
    /// `outgoing`.
    pub(in crate::adapters::upstream) incoming: I,
    /// Takes messages without their length prefix.
    pub(in crate::adapters::upstream) outgoing: BufDnsStreamHandle,
}
