//! The upstream transport on real loopback sockets: which responses are accepted, which are
//! ignored, and how soon a failure is known.

mod connections;
mod datagrams;
pub(crate) mod guesses;
mod streams;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{DnsRequest, DnsRequestOptions, Message};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::tcp::TcpClientStream;
use hickory_resolver::net::xfer::{DnsHandle, FirstAnswer};
use holdover::adapters::upstream::{SocketTransport, StreamLimits, UpstreamLimits};
use holdover::core::matching::Mismatch;
use holdover::resolver::ports::{Endpoint, TransportError, UpstreamTransport};
use holdover::telemetry::tally::UpstreamTraffic;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::{Instant, sleep, timeout};

use crate::support::frames::{framed, query, read_frame};

/// Small limits, so that the tests are quick.
const LIMITS: UpstreamLimits = UpstreamLimits {
    sockets: 8,
    streams: StreamLimits {
        connect: Duration::from_millis(300),
        response: Duration::from_millis(300),
        exchange: Duration::from_millis(600),
        silence: Duration::from_millis(100),
        idle: Duration::from_millis(300),
        idle_beside: Duration::from_millis(200),
        connections: 8,
        per_endpoint: 2,
        per_hasty_endpoint: 4,
        spread: 4,
        in_flight: 4,
        exchanges: 64,
    },
};

/// An empty response to a query.
fn response(query: &[u8]) -> Vec<u8> {
    let mut bytes = query.to_vec();
    bytes[2] |= 0x80;
    bytes[3] |= 0x80;
    bytes
}

async fn udp_server() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

async fn tcp_server() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// The next connection, which must come within two seconds.
async fn accept(listener: &TcpListener) -> TcpStream {
    timeout(Duration::from_secs(2), listener.accept()).await.expect("a new connection").unwrap().0
}

async fn write_frame(stream: &mut TcpStream, message: &[u8]) {
    stream.write_all(&framed(message)).await.unwrap();
}

/// Reads one query and answers it.
async fn answer_one(stream: &mut TcpStream) {
    let query = read_frame(stream).await.unwrap();
    write_frame(stream, &response(&query)).await;
}

/// How many responses were ignored, for whatever reason.
fn ignored(wire: &SocketTransport) -> u64 {
    Mismatch::ALL.iter().map(|mismatch| wire.counters().ignored(*mismatch)).sum()
}
