//! DNS over TCP towards upstreams (RFC 7766): how a connection is set up. Everything that happens
//! on it afterwards is the same for all protocols on streams, and stands in `upstream/stream.rs`.
//!
//! Set-up and framing are hickory's (`TcpClientStream`), which switches Nagle's algorithm off, so
//! that a pipelined query does not wait for the acknowledgement of the one before it.

use std::time::Duration;

use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::runtime::iocompat::AsyncIoTokioAsStd;
use hickory_resolver::net::tcp::TcpClientStream;
use tokio::net::TcpStream;

use super::stream::{Connect, OpenConnection};
use crate::resolver::ports::Endpoint;

/// Sets up plain TCP connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tcp;

impl Connect for Tcp {
    type Incoming = TcpClientStream<AsyncIoTokioAsStd<TcpStream>>;

    async fn connect(self, endpoint: Endpoint, within: Duration) -> Result<OpenConnection<Self::Incoming>, NetError> {
        let (connecting, outgoing) =
            TcpClientStream::new(endpoint.address, None, Some(within), TokioRuntimeProvider::new());
        Ok(OpenConnection { incoming: connecting.await?, outgoing })
    }
}
