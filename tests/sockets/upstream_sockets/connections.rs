//! Queries upstream over TCP when one connection is not enough: bursts, servers that close early or
//! answer one query after the other, connections that die in silence.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::AsyncReadExt;

use super::*;

/// The limits of production, for tests of what they are chosen for.
const PRODUCTION: UpstreamLimits = UpstreamLimits { sockets: 8, streams: StreamLimits::DEFAULT };

/// How a server treats its connections.
#[derive(Clone, Copy)]
struct Manner {
    /// How long each answer takes.
    delay: Duration,
    /// Whether the queries of one connection are answered together or in turn.
    order: Order,
    /// Answers on one connection, after which it is closed; none means closed at once.
    answers: usize,
    /// Connections at the same moment; each further one is closed at once.
    accepts: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Together,
    InTurn,
}

const PLAIN: Manner =
    Manner { delay: Duration::ZERO, order: Order::Together, answers: usize::MAX, accepts: usize::MAX };

/// A server that answers every query in its manner.
struct StreamServer {
    endpoint: Endpoint,
    connections: Arc<AtomicUsize>,
}

impl StreamServer {
    async fn start(manner: Manner) -> Self {
        let (listener, address) = tcp_server().await;
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let open = Arc::new(AtomicUsize::new(0));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
                if open.load(Ordering::Relaxed) >= manner.accepts {
                    continue;
                }
                open.fetch_add(1, Ordering::Relaxed);
                let open = Arc::clone(&open);
                tokio::spawn(async move {
                    serve(stream, manner).await;
                    open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Self { endpoint: Endpoint::tcp(address), connections }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// Serves one connection until either side closes it.
async fn serve(stream: TcpStream, manner: Manner) {
    let (mut reading, mut writing) = stream.into_split();
    let (ready, mut answers) = tokio::sync::mpsc::unbounded_channel();
    let reader = tokio::spawn(async move {
        while let Ok(length) = reading.read_u16().await {
            let mut query = vec![0; usize::from(length)];
            reading.read_exact(&mut query).await.unwrap();
            if manner.order == Order::InTurn {
                sleep(manner.delay).await;
                ready.send(framed(&response(&query))).unwrap();
            } else {
                let ready = ready.clone();
                tokio::spawn(async move {
                    sleep(manner.delay).await;
                    let _gone = ready.send(framed(&response(&query)));
                });
            }
        }
    });
    for _ in 0..manner.answers {
        let Some(answer) = answers.recv().await else { break };
        if writing.write_all(&answer).await.is_err() {
            break;
        }
    }
    // Both halves go together, which closes the connection.
    reader.abort();
}

/// Sends so many queries at the same moment; returns how many were answered, and how long all took.
async fn burst(wire: &SocketTransport, endpoint: &Endpoint, count: u16) -> (usize, Duration) {
    let start = Instant::now();
    let waiting: Vec<_> = (0..count).map(|id| tokio::spawn(wire.exchange(endpoint, query(id, "burst")))).collect();
    let mut answered = 0;
    for (id, outcome) in (0..count).zip(waiting) {
        answered += usize::from(outcome.await.unwrap() == Ok(response(&query(id, "burst"))));
    }
    (answered, start.elapsed())
}

#[tokio::test]
async fn a_burst_of_two_hundred_slow_answers_comes_over_a_few_connections() {
    let server = StreamServer::start(Manner { delay: Duration::from_millis(300), ..PLAIN }).await;
    let wire = SocketTransport::new(PRODUCTION);
    let (answered, took) = burst(&wire, &server.endpoint, 200).await;
    assert_eq!(answered, 200);
    assert!(took < Duration::from_millis(1000), "{took:?}");
    assert!(server.connections() <= StreamLimits::DEFAULT.per_endpoint, "{} connections", server.connections());
    assert_eq!(wire.counters().total(UpstreamTraffic::TcpQuery), 200, "each query goes out once");
}

#[tokio::test]
async fn a_server_that_answers_one_query_after_the_other_gets_several_connections() {
    let server = StreamServer::start(Manner { delay: Duration::from_millis(50), order: Order::InTurn, ..PLAIN }).await;
    let (answered, took) = burst(&SocketTransport::new(PRODUCTION), &server.endpoint, 100).await;
    assert_eq!(answered, 100);
    assert!(took < Duration::from_millis(1500), "{took:?}");
}

#[tokio::test]
async fn an_answer_after_two_seconds_and_a_half_still_arrives_over_tcp() {
    let server = StreamServer::start(Manner { delay: Duration::from_millis(2500), ..PLAIN }).await;
    let (answered, _) = burst(&SocketTransport::new(PRODUCTION), &server.endpoint, 3).await;
    assert_eq!((answered, server.connections()), (3, 1));
}

#[tokio::test]
async fn a_server_that_closes_after_each_answer_answers_a_hundred_at_once() {
    for (answers, delay) in [(1, 0), (1, 300), (3, 0)] {
        let manner = Manner { answers, delay: Duration::from_millis(delay), ..PLAIN };
        let server = StreamServer::start(manner).await;
        let wire = SocketTransport::new(PRODUCTION);
        let (answered, took) = burst(&wire, &server.endpoint, 20).await;
        assert_eq!(answered, 20, "{answers} answers on each connection, after {delay} ms");
        assert!(took < Duration::from_secs(2), "{took:?}");
        let (answered, took) = burst(&wire, &server.endpoint, 100).await;
        assert_eq!(answered, 100, "{answers} answers on each connection, after {delay} ms");
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
}

#[tokio::test]
async fn what_was_learned_of_a_server_that_closes_after_each_answer_spares_repetitions() {
    let server = StreamServer::start(Manner { answers: 1, ..PLAIN }).await;
    let wire = SocketTransport::new(PRODUCTION);
    assert_eq!(burst(&wire, &server.endpoint, 2).await.0, 2);
    let before = wire.counters().total(UpstreamTraffic::TcpQuery);
    assert_eq!(burst(&wire, &server.endpoint, 50).await.0, 50);
    assert_eq!(wire.counters().total(UpstreamTraffic::TcpQuery) - before, 50, "each query goes out once");
}

#[tokio::test]
async fn a_server_that_accepts_two_connections_answers_a_burst_on_these() {
    let manner = Manner { delay: Duration::from_millis(100), accepts: 2, ..PLAIN };
    let server = StreamServer::start(manner).await;
    let wire = SocketTransport::new(PRODUCTION);
    let (answered, took) = burst(&wire, &server.endpoint, 200).await;
    assert_eq!(answered, 200);
    assert!(took < Duration::from_secs(2), "{took:?}");
    let before = server.connections();
    assert_eq!(burst(&wire, &server.endpoint, 200).await.0, 200);
    assert_eq!(server.connections(), before, "no connection is tried in vain a second time");
}

#[tokio::test]
async fn a_server_that_accepts_and_closes_is_lost_at_once() {
    let server = StreamServer::start(Manner { answers: 0, ..PLAIN }).await;
    let wire = SocketTransport::new(PRODUCTION);
    let start = Instant::now();
    assert_eq!(wire.exchange(&server.endpoint, query(1, "www")).await, Err(TransportError::Lost));
    assert!(start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());
    assert_eq!(server.connections(), 2);
    let (answered, took) = burst(&wire, &server.endpoint, 50).await;
    assert_eq!(answered, 0);
    assert!(took < Duration::from_millis(500), "{took:?}");
    assert!(server.connections() <= 150, "{} connections", server.connections());
}

#[tokio::test]
async fn queries_outstanding_on_a_connection_that_closes_are_sent_again() {
    let (listener, server) = tcp_server().await;
    let wire = SocketTransport::new(LIMITS);
    let first = tokio::spawn(wire.exchange(&Endpoint::tcp(server), query(9, "first")));
    let mut stream = accept(&listener).await;
    answer_one(&mut stream).await;
    assert!(first.await.unwrap().is_ok());

    let waiting: Vec<_> =
        (0..4).map(|id| tokio::spawn(wire.exchange(&Endpoint::tcp(server), query(id, "www")))).collect();
    for _ in 0..4 {
        read_frame(&mut stream).await.unwrap();
    }
    // A reset, as after a restart of the server.
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
    tokio::spawn(async move {
        loop {
            tokio::spawn(serve(listener.accept().await.unwrap().0, PLAIN));
        }
    });
    for (id, outcome) in (0..4).zip(waiting) {
        assert_eq!(outcome.await.unwrap(), Ok(response(&query(id, "www"))));
    }
}

#[tokio::test]
async fn a_connection_that_died_in_silence_is_left_and_the_query_sent_on_a_new_one() {
    let (listener, server) = tcp_server().await;
    let wire = SocketTransport::new(LIMITS);
    let first = tokio::spawn(wire.exchange(&Endpoint::tcp(server), query(1, "one")));
    let mut dead = accept(&listener).await;
    answer_one(&mut dead).await;
    assert!(first.await.unwrap().is_ok());

    // Two queries go into the connection that is now dead, and are asked again elsewhere.
    let start = Instant::now();
    let waiting: Vec<_> =
        (2..4).map(|id| tokio::spawn(wire.exchange(&Endpoint::tcp(server), query(id, "two")))).collect();
    let mut alive = accept(&listener).await;
    assert!(start.elapsed() > Duration::from_millis(90), "not before it was silent for a moment");
    for _ in 0..2 {
        answer_one(&mut alive).await;
    }
    for (id, outcome) in (2..4).zip(waiting) {
        assert_eq!(outcome.await.unwrap(), Ok(response(&query(id, "two"))));
    }
    assert!(start.elapsed() < Duration::from_millis(250), "{:?}", start.elapsed());
    // The dead connection is closed, and what comes next goes to the other one.
    for _ in 0..2 {
        read_frame(&mut dead).await.unwrap();
    }
    assert_eq!(timeout(Duration::from_millis(100), read_frame(&mut dead)).await, Ok(None));
    let next = tokio::spawn(wire.exchange(&Endpoint::tcp(server), query(4, "three")));
    answer_one(&mut alive).await;
    assert!(next.await.unwrap().is_ok());
    assert_eq!(wire.counters().total(UpstreamTraffic::TcpConnection), 2);
}

#[tokio::test]
async fn a_slow_answer_on_a_kept_connection_is_repeated_once_and_still_taken() {
    let (listener, server) = tcp_server().await;
    let wire = SocketTransport::new(LIMITS);
    let first = tokio::spawn(wire.exchange(&Endpoint::tcp(server), query(1, "one")));
    let mut kept = accept(&listener).await;
    answer_one(&mut kept).await;
    assert!(first.await.unwrap().is_ok());

    let slow = tokio::spawn(wire.exchange(&Endpoint::tcp(server), query(2, "slow")));
    read_frame(&mut kept).await.unwrap();
    let mut second = accept(&listener).await;
    read_frame(&mut second).await.unwrap();
    sleep(Duration::from_millis(120)).await;
    write_frame(&mut kept, &response(&query(2, "slow"))).await;
    assert_eq!(slow.await.unwrap(), Ok(response(&query(2, "slow"))));
    assert_eq!(wire.counters().total(UpstreamTraffic::TcpQuery), 3, "one repetition");
    // Both connections go on.
    let next = tokio::spawn(wire.exchange(&Endpoint::tcp(server), query(3, "next")));
    answer_one(&mut kept).await;
    assert!(next.await.unwrap().is_ok());
}

#[tokio::test]
async fn dropped_exchanges_leave_their_places_to_others() {
    let server = StreamServer::start(Manner { delay: Duration::from_millis(100), ..PLAIN }).await;
    let wire = SocketTransport::new(LIMITS);
    for _ in 0..10 {
        let dropped: Vec<_> =
            (0..40).map(|id| tokio::spawn(wire.exchange(&server.endpoint, query(id, "dropped")))).collect();
        sleep(Duration::from_millis(5)).await;
        dropped.iter().for_each(tokio::task::JoinHandle::abort);
    }
    assert_eq!(burst(&wire, &server.endpoint, 8).await.0, 8);
}

#[tokio::test]
async fn more_endpoints_than_connections_take_turns() {
    let streams = StreamLimits { connections: 2, exchange: Duration::from_secs(2), ..LIMITS.streams };
    let wire = Arc::new(SocketTransport::new(UpstreamLimits { streams, ..LIMITS }));
    let mut servers = Vec::new();
    for _ in 0..6 {
        servers.push(StreamServer::start(Manner { delay: Duration::from_millis(30), ..PLAIN }).await);
    }
    let bursts = servers.iter().map(|server| burst(&wire, &server.endpoint, 6));
    let answered: Vec<usize> =
        futures_util::future::join_all(bursts).await.iter().map(|(answered, _)| *answered).collect();
    assert_eq!(answered, [6; 6]);
}
