//! The TCP front on real loopback sockets: pipelining, limits, slow and rude clients, and the end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use holdover::adapters::tcp::{Phase, TcpLimits, serve};
use holdover::resolver::ports::{Answer, PortFuture};
use holdover::telemetry::tally::{Connection, Connections};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// Echoes queries; the first label says how: `slow` waits for `release`, `silent` gives nothing, `large` gives 65 535 bytes,
/// `fails` panics.
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
    phase: watch::Sender<Phase>,
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
    let (phase, watched) = watch::channel(Phase::Serving);
    let answerer: Arc<dyn Answer> = Arc::<Echo>::clone(&echo);
    let counters = Arc::clone(&limits.counters);
    let task = tokio::spawn(serve(listener, limits, answerer, watched));
    Started { address, echo, phase, task, counters }
}

impl Started {
    /// What became of its connections: accepted, denied, evicted, refused.
    fn counted(&self) -> [u64; 4] {
        Connection::ALL.map(|kind| self.counters.total(kind))
    }

    /// A new connection.
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

/// A query with that ID for `<label>.example.com` A, with its length prefix.
fn frame(id: u16, label: &str) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    message.push(u8::try_from(label.len()).unwrap());
    message.extend(label.bytes());
    message.extend(b"\x07example\x03com\x00\x00\x01\x00\x01");
    let mut frame = u16::try_from(message.len()).unwrap().to_be_bytes().to_vec();
    frame.extend(message);
    frame
}

/// Reads one answer; `None` at the end of the stream.
async fn read(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let length = stream.read_u16().await.ok()?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await.ok()?;
    Some(message)
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

#[tokio::test]
async fn both_of_two_queries_in_one_segment_are_answered() {
    let front = start(limits()).await;
    let mut stream = front.connect().await;
    stream.write_all(&[frame(1, "www"), frame(2, "www")].concat()).await.unwrap();
    let mut ids = [read_id(&mut stream).await, read_id(&mut stream).await];
    ids.sort_unstable();
    assert_eq!(ids, [Some(1), Some(2)]);
}

#[tokio::test]
async fn a_slow_query_holds_up_none_behind_it() {
    let front = start(limits()).await;
    let mut stream = front.connect().await;
    stream.write_all(&[frame(1, "slow"), frame(2, "www")].concat()).await.unwrap();
    assert_eq!(read_id(&mut stream).await, Some(2));
    front.echo.release.add_permits(1);
    assert_eq!(read_id(&mut stream).await, Some(1));
}

#[tokio::test]
async fn a_query_that_arrives_byte_by_byte_is_answered_and_blocks_nobody() {
    let front = start(limits()).await;
    let (mut slow, mut quick) = (front.connect().await, front.connect().await);
    for byte in frame(1, "www") {
        slow.write_all(&[byte]).await.unwrap();
        assert!(works(&mut quick).await);
    }
    assert_eq!(read_id(&mut slow).await, Some(1));
}

#[tokio::test]
async fn a_query_that_never_ends_is_bounded_by_the_idle_time_from_its_first_byte() {
    let front = start(limits()).await;
    let mut stream = front.connect().await;
    sleep(Duration::from_millis(200)).await;
    let start = Instant::now();
    let dripping = async {
        for byte in frame(1, "www") {
            if stream.write_all(&[byte]).await.is_err() || closes_within(&mut stream, Duration::from_millis(50)).await {
                return;
            }
        }
        panic!("never closed");
    };
    dripping.await;
    let elapsed = start.elapsed();
    assert!(elapsed > Duration::from_millis(380) && elapsed < Duration::from_millis(700), "{elapsed:?}");
    assert_eq!(front.echo.asked.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_one_that_owes_an_answer_is_not() {
    let front = start(limits()).await;
    let (mut idle, mut owed) = (front.connect().await, front.connect().await);
    owed.write_all(&frame(1, "slow")).await.unwrap();
    let start = Instant::now();
    assert!(closes_within(&mut idle, Duration::from_secs(2)).await);
    assert!(start.elapsed() > Duration::from_millis(350), "{:?}", start.elapsed());
    sleep(Duration::from_millis(200)).await;
    front.echo.release.add_permits(1);
    assert_eq!(read_id(&mut owed).await, Some(1));
}

#[tokio::test]
async fn a_full_front_closes_the_connection_that_has_been_idle_longest() {
    let front = start(limits()).await;
    let mut streams = Vec::new();
    for id in 0..4 {
        let mut stream = front.connect().await;
        // The first owes an answer; the others are idle, the second longest.
        if id == 0 {
            stream.write_all(&frame(id, "slow")).await.unwrap();
        } else {
            assert!(works(&mut stream).await);
        }
        streams.push(stream);
    }
    let mut fifth = front.connect().await;
    assert!(works(&mut fifth).await);
    assert!(closes_within(&mut streams[1], Duration::from_millis(200)).await);
    assert!(works(&mut streams[2]).await && works(&mut streams[3]).await);
    front.echo.release.add_permits(1);
    assert_eq!(read_id(&mut streams[0]).await, Some(0));
    assert_eq!(front.counted(), [5, 0, 1, 0]);
}

#[tokio::test]
async fn a_front_full_of_connections_that_owe_answers_closes_the_new_one() {
    let front = start(limits()).await;
    let mut streams = Vec::new();
    for id in 0..4 {
        let mut stream = front.connect().await;
        stream.write_all(&frame(id, "slow")).await.unwrap();
        streams.push(stream);
    }
    while front.echo.asked.load(Ordering::Relaxed) < 4 {
        sleep(Duration::from_millis(5)).await;
    }
    assert!(closes_within(&mut front.connect().await, Duration::from_millis(200)).await);
    assert_eq!(front.counted(), [4, 0, 0, 1]);
    front.echo.release.add_permits(4);
    for stream in &mut streams {
        assert!(read_id(stream).await.is_some());
    }
    assert!(works(&mut front.connect().await).await);
}

#[tokio::test]
async fn sixty_five_connections_are_one_too_many_by_default() {
    let front = start(TcpLimits::new(Arc::new(|_| true))).await;
    let mut streams = Vec::new();
    for _ in 0..65 {
        let mut stream = front.connect().await;
        assert!(works(&mut stream).await);
        streams.push(stream);
    }
    assert!(closes_within(&mut streams[0], Duration::from_millis(200)).await);
    assert!(works(&mut streams[1]).await && works(&mut streams[64]).await);
}

#[tokio::test]
async fn no_more_queries_than_allowed_are_in_flight_and_none_is_lost() {
    let front = start(limits()).await;
    let mut stream = front.connect().await;
    let queries: Vec<u8> = (0..10).flat_map(|id| frame(id, "slow")).collect();
    stream.write_all(&queries).await.unwrap();
    sleep(Duration::from_millis(50)).await;
    assert_eq!(front.echo.asked.load(Ordering::Relaxed), 4);
    front.echo.release.add_permits(10);
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(read_id(&mut stream).await.unwrap());
    }
    ids.sort_unstable();
    assert_eq!(ids, (0..10).collect::<Vec<_>>());
}

/// Asks so many queries, closes the sending side, lets the answers go once the front has seen that, and counts them.
async fn answers_after_half_close(queries: u16) -> usize {
    let front = start(limits()).await;
    let mut stream = front.connect().await;
    let frames: Vec<u8> = (0..queries).flat_map(|id| frame(id, "slow")).collect();
    stream.write_all(&frames).await.unwrap();
    stream.shutdown().await.unwrap();
    sleep(Duration::from_millis(50)).await;
    front.echo.release.add_permits(usize::from(queries));
    let mut answers = 0;
    while read_id(&mut stream).await.is_some() {
        answers += 1;
    }
    answers
}

#[tokio::test]
async fn a_client_that_closes_its_side_still_gets_its_answers() {
    assert_eq!(answers_after_half_close(3).await, 3, "fewer than may be in flight: the end is read while they are pending");
    assert_eq!(answers_after_half_close(10).await, 10, "more: the end is read after them");
}

#[tokio::test]
async fn answers_of_64_kib_are_delivered_whole() {
    let front = start(limits()).await;
    let mut stream = front.connect().await;
    stream.write_all(&[frame(1, "large"), frame(2, "large")].concat()).await.unwrap();
    for _ in 0..2 {
        let answer = read(&mut stream).await.unwrap();
        assert_eq!((answer.len(), answer[65_534]), (65_535, 0xab));
    }
    assert!(works(&mut stream).await);
}

#[tokio::test]
async fn a_client_that_does_not_fetch_its_answers_holds_little_and_is_closed() {
    let front = start(TcpLimits { queries: 32, ..limits() }).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(front.address).await.unwrap();
    let ask_for_ever = async {
        let query = frame(1, "large");
        while stream.write_all(&query).await.is_ok() {}
    };
    let mut other = front.connect().await;
    tokio::select! {
        ended = timeout(Duration::from_secs(5), ask_for_ever) => ended.expect("closed after the write timeout"),
        () = async { while works(&mut other).await { sleep(Duration::from_millis(20)).await; } } => panic!("the other client suffers"),
    }
    // What the kernel buffers (some megabytes on loopback) was answered; behind it at most the allowed queries.
    let asked = front.echo.asked.load(Ordering::Relaxed);
    assert!(asked < 400, "{asked}");
}

#[tokio::test]
async fn responses_and_fragments_are_dropped_without_closing() {
    let front = start(limits()).await;
    let mut stream = front.connect().await;
    let mut response = frame(1, "www");
    response[4] |= 0x80;
    stream.write_all(&[response, b"\x00\x0bfrag-ment-x".to_vec(), frame(3, "www")].concat()).await.unwrap();
    assert_eq!(read_id(&mut stream).await, Some(3));
    assert_eq!(front.echo.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_frame_of_length_zero_closes_after_what_is_owed() {
    let front = start(limits()).await;
    let mut stream = front.connect().await;
    stream.write_all(&[frame(1, "www"), vec![0, 0], frame(2, "www")].concat()).await.unwrap();
    assert_eq!(read_id(&mut stream).await, Some(1));
    assert!(closes_within(&mut stream, Duration::from_millis(100)).await);
}

#[tokio::test]
async fn no_answer_and_a_failing_answerer_cost_one_query_only() {
    let front = start(limits()).await;
    let mut stream = front.connect().await;
    stream.write_all(&[frame(1, "silent"), frame(2, "fails"), frame(3, "www")].concat()).await.unwrap();
    assert_eq!(read_id(&mut stream).await, Some(3));
    assert!(works(&mut stream).await);
}

#[tokio::test]
async fn a_client_that_is_not_allowed_is_closed_at_once() {
    let front = start(TcpLimits { allowed: Arc::new(|client| !client.is_loopback()), ..limits() }).await;
    let mut stream = front.connect().await;
    assert!(closes_within(&mut stream, Duration::from_millis(100)).await);
    assert_eq!(front.counted(), [0, 1, 0, 0]);
}

#[tokio::test]
async fn a_client_that_resets_costs_nothing() {
    let front = start(limits()).await;
    for id in 0..8 {
        let mut rude = front.connect().await;
        rude.write_all(&frame(id, "slow")).await.unwrap();
        socket2::SockRef::from(&rude).set_linger(Some(Duration::ZERO)).unwrap();
        drop(rude);
        sleep(Duration::from_millis(5)).await;
    }
    assert!(works(&mut front.connect().await).await);
}

#[tokio::test]
async fn draining_answers_what_is_in_flight_accepts_nothing_new_and_ends() {
    let front = start(limits()).await;
    let (mut busy, mut idle) = (front.connect().await, front.connect().await);
    busy.write_all(&frame(1, "slow")).await.unwrap();
    assert!(works(&mut idle).await);
    front.phase.send_replace(Phase::Draining);
    assert!(closes_within(&mut idle, Duration::from_millis(100)).await);
    assert!(TcpStream::connect(front.address).await.is_err());
    front.echo.release.add_permits(1);
    assert_eq!(read_id(&mut busy).await, Some(1));
    timeout(Duration::from_millis(100), front.task).await.expect("ends as soon as nothing is owed").unwrap();
}

#[tokio::test]
async fn draining_is_bounded_and_a_dropped_sender_drains_too() {
    let front = start(limits()).await;
    let mut stuck = front.connect().await;
    stuck.write_all(&frame(1, "slow")).await.unwrap();
    while front.echo.asked.load(Ordering::Relaxed) == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    drop(front.phase);
    let start = Instant::now();
    timeout(Duration::from_secs(1), front.task).await.expect("bounded").unwrap();
    assert!(start.elapsed() > Duration::from_millis(250), "{:?}", start.elapsed());
    assert!(closes_within(&mut stuck, Duration::from_millis(100)).await);
}
