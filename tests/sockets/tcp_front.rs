//! The TCP front on real loopback sockets: pipelining, limits, slow and rude clients, and the
//! drain.

mod bytes;
mod connections;
mod queries;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use holdover::adapters::tcp::{ByteLedger, TcpLimits, TcpPhase, bind, serve};
use holdover::resolver::ports::{Answer, PortFuture};
use holdover::telemetry::tally::{ConnectionEvent, Connections};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::support::frames::{framed, query, read_frame as read};

/// Echoes queries. The first label says how: `slow` waits for `release`, `silent` gives no answer,
/// `large` gives 65 535 bytes, `fails` panics.
struct Echo {
    /// Queries that have come so far.
    asked: AtomicUsize,
    /// Permits for answers to `slow`; none at first.
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
    address: SocketAddr,
    echo: Arc<Echo>,
    /// Tells the front to drain.
    phase: watch::Sender<TcpPhase>,
    task: JoinHandle<()>,
    /// Counters of its connections.
    counters: Arc<Connections>,
}

/// Small limits, so that the tests are quick.
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

async fn start(limits: TcpLimits) -> Started {
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let echo = Arc::new(Echo { asked: AtomicUsize::new(0), release: Arc::new(Semaphore::new(0)) });
    let (phase, watched) = watch::channel(TcpPhase::Serving);
    let answerer: Arc<dyn Answer> = Arc::<Echo>::clone(&echo);
    let counters = Arc::clone(&limits.counters);
    let task = tokio::spawn(serve(listener, limits, answerer, watched));
    Started { address, echo, phase, task, counters }
}

impl Started {
    /// How many connections were accepted, denied, evicted and refused.
    fn counted(&self) -> [u64; 4] {
        use ConnectionEvent::{Accepted, Evicted, NotAllowed, OverLimit};
        [Accepted, NotAllowed, Evicted, OverLimit].map(|kind| self.counters.total(kind))
    }

    /// A connection from this address of the host.
    async fn connect_from(&self, client: [u8; 4]) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((client, 0).into()).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    /// Connections from this address, each of which is owed an answer.
    async fn owed(&self, count: u16, client: [u8; 4]) -> Vec<TcpStream> {
        let (mut streams, before) = (Vec::new(), self.echo.asked.load(Ordering::Relaxed));
        for id in 0..count {
            let mut stream = self.connect_from(client).await;
            stream.write_all(&frame(id, "slow")).await.unwrap();
            streams.push(stream);
        }
        while self.echo.asked.load(Ordering::Relaxed) < before + usize::from(count) {
            sleep(Duration::from_millis(5)).await;
        }
        streams
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

/// A query with this ID for `<label>.example.com` A, with its length prefix.
fn frame(id: u16, label: &str) -> Vec<u8> {
    framed(&query(id, label))
}

/// The ID of the next answer; `None` at the end of the stream.
async fn read_id(stream: &mut TcpStream) -> Option<u16> {
    read(stream).await.map(|answer| u16::from_be_bytes([answer[0], answer[1]]))
}

/// Whether a query on this connection is answered.
async fn works(stream: &mut TcpStream) -> bool {
    stream.write_all(&frame(77, "www")).await.is_ok() && read_id(stream).await == Some(77)
}

/// Whether the other side closes the connection within `bound`, without sending anything.
async fn closes_within(stream: &mut TcpStream, bound: Duration) -> bool {
    matches!(timeout(bound, stream.read(&mut [0; 1])).await, Ok(Ok(0) | Err(_)))
}
