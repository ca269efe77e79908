//! The TCP front on real loopback sockets: pipelining, limits, slow and rude clients, and the end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test fails by panicking"
)]

#[path = "../common/frames.rs"]
mod frames;

mod connections;
mod queries;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use frames::{framed, query, read_frame as read};
use holdover::adapters::tcp::{TcpLimits, TcpPhase, serve};
use holdover::resolver::ports::{Answer, PortFuture};
use holdover::telemetry::tally::{ConnectionEvent, Connections};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// Echoes queries; the first label says how: `slow` waits for `release`, `silent` gives nothing,
/// `large` gives 65 535 bytes, `fails` panics.
struct Echo {
    /// Queries that came.
    asked: AtomicUsize,
    /// Answers to `slow` that may go; none at first.
    release: Arc<Semaphore>,
}

impl Answer for Echo {
    fn answer(&self, query: Vec<u8>, _client: SocketAddr) -> PortFuture<Option<Vec<u8>>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let release = Arc::clone(&self.release);
        Box::pin(async move {
            let label = query[13..].iter().take_while(|byte| byte.is_ascii_lowercase()).map(|byte| char::from(*byte));
            let mut answer = query.clone();
            answer[2] |= 0x80;
            match label.collect::<String>().as_str() {
                "slow" => release.acquire().await.unwrap().forget(),
                "silent" => return None,
                "large" => answer.resize(65_535, 0xab),
                "fails" => panic!("as the test wants it"),
                _ => (),
            }
            Some(answer)
        })
    }
}

/// A running front.
struct Started {
    /// Where it listens.
    address: SocketAddr,
    /// What answers.
    echo: Arc<Echo>,
    /// Tells it to drain.
    phase: watch::Sender<TcpPhase>,
    /// Its task.
    task: JoinHandle<()>,
    /// What became of its connections.
    counters: Arc<Connections>,
}

/// Small bounds, so that the tests are quick.
fn limits() -> TcpLimits {
    TcpLimits {
        connections: 4,
        queries: 4,
        idle: Duration::from_millis(400),
        write: Duration::from_millis(300),
        drain: Duration::from_millis(300),
        ..TcpLimits::new(Arc::new(|_| true))
    }
}

/// Starts a front.
async fn start(limits: TcpLimits) -> Started {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let echo = Arc::new(Echo { asked: AtomicUsize::new(0), release: Arc::new(Semaphore::new(0)) });
    let (phase, watched) = watch::channel(TcpPhase::Serving);
    let answerer: Arc<dyn Answer> = Arc::<Echo>::clone(&echo);
    let counters = Arc::clone(&limits.counters);
    let task = tokio::spawn(serve(listener, limits, answerer, watched));
    Started { address, echo, phase, task, counters }
}

impl Started {
    /// What became of its connections: accepted, denied, evicted, refused.
    fn counted(&self) -> [u64; 4] {
        ConnectionEvent::ALL.map(|kind| self.counters.total(kind))
    }

    /// A new connection.
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

/// A query with that ID for `<label>.example.com` A, with its length prefix.
fn frame(id: u16, label: &str) -> Vec<u8> {
    framed(&query(id, label))
}

/// The ID of the next answer; `None` at the end of the stream.
async fn read_id(stream: &mut TcpStream) -> Option<u16> {
    read(stream).await.map(|answer| u16::from_be_bytes([answer[0], answer[1]]))
}

/// Asks and gets an answer: the connection works.
async fn works(stream: &mut TcpStream) -> bool {
    stream.write_all(&frame(77, "www")).await.is_ok() && read_id(stream).await == Some(77)
}

/// Whether the other side closes the connection soon, without sending anything.
async fn closes_within(stream: &mut TcpStream, bound: Duration) -> bool {
    matches!(timeout(bound, stream.read(&mut [0; 1])).await, Ok(Ok(0) | Err(_)))
}
