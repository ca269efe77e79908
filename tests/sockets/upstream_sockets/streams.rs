//! Queries upstream over TCP: one connection carries several queries, and may be slow, reset or
//! closed.

use super::*;

/// A response with RDATA that hickory cannot read: an SVCB record whose parameters are cut off, and
/// an unknown type without data.
fn malformed_response(query: &[u8]) -> Vec<u8> {
    let mut bytes = response(query);
    bytes[7] = 2;
    bytes.extend(b"\xc0\x0c\x00\x40\x00\x01\x00\x00\x00\x3c\x00\x05\x00\x01\x00\x00\x01");
    bytes.extend(b"\xc0\x0c\xff\x01\x00\x01\x00\x00\x00\x3c\x00\x00");
    bytes
}

#[tokio::test]
async fn a_closed_tcp_port_is_known_at_once() {
    let (listener, server) = tcp_server().await;
    drop(listener);
    let start = Instant::now();
    let outcome = SocketTransport::new(LIMITS).exchange(&Endpoint::tcp(server), query(1, "www")).await;
    assert_eq!(outcome, Err(TransportError::Refused));
    assert!(start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());
}

#[tokio::test]
async fn one_connection_carries_several_queries_answered_out_of_order_each_with_its_own_id() {
    let (listener, server) = tcp_server().await;
    let wire = SocketTransport::new(LIMITS);
    let asked = [query(7, "one"), query(7, "two"), query(9, "three")];
    let waiting: Vec<_> =
        asked.iter().map(|query| tokio::spawn(wire.exchange(&Endpoint::tcp(server), query.clone()))).collect();
    let mut stream = accept(&listener).await;
    let mut received = Vec::new();
    for _ in &asked {
        received.push(read_frame(&mut stream).await.unwrap());
    }
    let mut ids: Vec<_> = received.iter().map(|query| [query[0], query[1]]).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 3, "no ID is used twice at the same time");
    for query in received.iter().rev() {
        write_frame(&mut stream, &response(query)).await;
    }
    for (query, outcome) in asked.iter().zip(waiting) {
        assert_eq!(outcome.await.unwrap(), Ok(response(query)));
    }
    assert_eq!(
        (
            wire.counters().total(UpstreamTraffic::TcpConnection),
            wire.counters().total(UpstreamTraffic::TcpQuery),
            wire.counters().total(UpstreamTraffic::Response)
        ),
        (1, 3, 3)
    );
}

#[tokio::test]
async fn rdata_that_hickory_cannot_read_passes_untouched_over_both_protocols() {
    let asked = query(3, "odd");
    let answer = malformed_response(&asked);
    assert!(Message::from_vec(&answer).is_err(), "hickory reads it: this test tests nothing");

    let (socket, server) = udp_server().await;
    let wire = SocketTransport::new(LIMITS);
    let waiting = tokio::spawn(wire.exchange(&Endpoint::udp(server), asked.clone()));
    let mut buffer = [0; 512];
    let (_, client) = socket.recv_from(&mut buffer).await.unwrap();
    socket.send_to(&answer, client).await.unwrap();
    assert_eq!(waiting.await.unwrap(), Ok(answer.clone()));

    let (listener, server) = tcp_server().await;
    let waiting = tokio::spawn(wire.exchange(&Endpoint::tcp(server), asked.clone()));
    let mut stream = accept(&listener).await;
    assert_eq!(read_frame(&mut stream).await.unwrap(), asked);
    write_frame(&mut stream, &answer).await;
    assert_eq!(waiting.await.unwrap(), Ok(answer));
}

#[tokio::test]
async fn hickorys_own_exchange_would_lose_such_a_response() {
    // This is why `upstream/stream.rs` does not use `DnsExchange`. If this test fails after an
    // upgrade of hickory, that choice can be reconsidered.
    let (listener, server) = tcp_server().await;
    let bound = Duration::from_millis(200);
    let provider = TokioRuntimeProvider::new();
    let connecting = TcpClientStream::exchange(server, None, bound, None, provider.clone());
    let (exchange, accepted) = tokio::join!(connecting, listener.accept());
    let (exchange, mut stream) = (exchange.unwrap(), accepted.unwrap().0);
    let request = DnsRequest::new(Message::from_vec(&query(3, "odd")).unwrap(), DnsRequestOptions::default());
    let waiting = tokio::spawn(exchange.send(request).first_answer());
    let received = read_frame(&mut stream).await.unwrap();
    write_frame(&mut stream, &malformed_response(&received)).await;
    let outcome = waiting.await.unwrap();
    assert!(matches!(outcome, Err(NetError::Timeout)), "{outcome:?}");
}

#[tokio::test]
async fn answers_of_64_kib_come_over_a_stream() {
    let (listener, server) = tcp_server().await;
    let asked = query(3, "large");
    let wire = SocketTransport::new(LIMITS);
    let waiting = tokio::spawn(wire.exchange(&Endpoint::tcp(server), asked.clone()));
    let mut stream = accept(&listener).await;
    read_frame(&mut stream).await.unwrap();
    let mut large = response(&asked);
    large.resize(65_535, 0xab);
    write_frame(&mut stream, &large).await;
    assert_eq!(waiting.await.unwrap(), Ok(large));
}

#[tokio::test]
async fn a_connection_that_was_closed_after_an_answer_is_replaced() {
    let (listener, server) = tcp_server().await;
    let wire = SocketTransport::new(LIMITS);
    for id in 0..3 {
        let asked = query(id, "www");
        let waiting = tokio::spawn(wire.exchange(&Endpoint::tcp(server), asked.clone()));
        let mut stream = accept(&listener).await;
        answer_one(&mut stream).await;
        drop(stream);
        assert_eq!(waiting.await.unwrap(), Ok(response(&asked)));
    }
}

#[tokio::test]
async fn a_query_sent_into_a_closing_connection_is_sent_once_more_on_a_new_one() {
    let (listener, server) = tcp_server().await;
    let wire = SocketTransport::new(LIMITS);
    let first = tokio::spawn(wire.exchange(&Endpoint::tcp(server), query(1, "one")));
    let mut stream = accept(&listener).await;
    answer_one(&mut stream).await;
    assert!(first.await.unwrap().is_ok());

    let second = tokio::spawn(wire.exchange(&Endpoint::tcp(server), query(2, "two")));
    read_frame(&mut stream).await.unwrap();
    drop(stream);
    let mut stream = accept(&listener).await;
    let again = read_frame(&mut stream).await.unwrap();
    assert_eq!(again, query(2, "two"));
    write_frame(&mut stream, &response(&again)).await;
    assert_eq!(second.await.unwrap(), Ok(response(&query(2, "two"))));
}

#[tokio::test]
async fn a_query_whose_new_connection_is_reset_gets_another_one_and_is_then_lost() {
    let (listener, server) = tcp_server().await;
    let wire = SocketTransport::new(LIMITS);
    let waiting = tokio::spawn(wire.exchange(&Endpoint::tcp(server), query(1, "www")));
    for _ in 0..2 {
        let mut stream = accept(&listener).await;
        read_frame(&mut stream).await.unwrap();
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        drop(stream);
    }
    assert_eq!(waiting.await.unwrap(), Err(TransportError::Lost));
    assert!(timeout(Duration::from_millis(50), listener.accept()).await.is_err());
}

#[tokio::test]
async fn a_connection_that_swallows_everything_times_out_and_is_given_up() {
    let (listener, server) = tcp_server().await;
    let wire = SocketTransport::new(LIMITS);
    let silent = tokio::spawn(wire.exchange(&Endpoint::tcp(server), query(1, "one")));
    let mut dead = accept(&listener).await;
    read_frame(&mut dead).await.unwrap();
    sleep(Duration::from_millis(150)).await;
    let beside = tokio::spawn(wire.exchange(&Endpoint::tcp(server), query(2, "two")));
    assert_eq!(silent.await.unwrap(), Err(TransportError::TimedOut));
    // A query that had joined the old connection meanwhile moves to a new one.
    let mut alive = accept(&listener).await;
    answer_one(&mut alive).await;
    assert_eq!(beside.await.unwrap(), Ok(response(&query(2, "two"))));
}

#[tokio::test]
async fn a_dead_connection_is_given_up_even_if_nobody_waits_long_enough() {
    let (listener, server) = tcp_server().await;
    let wire = SocketTransport::new(LIMITS);
    let impatient = wire.exchange(&Endpoint::tcp(server), query(1, "one"));
    assert!(timeout(Duration::from_millis(50), impatient).await.is_err());
    let _dead = accept(&listener).await;
    sleep(Duration::from_millis(400)).await;
    let next = tokio::spawn(wire.exchange(&Endpoint::tcp(server), query(2, "two")));
    let mut alive = accept(&listener).await;
    answer_one(&mut alive).await;
    assert!(next.await.unwrap().is_ok());
}

#[tokio::test]
async fn one_slow_response_does_not_cost_the_connection() {
    let (listener, server) = tcp_server().await;
    let wire = Arc::new(SocketTransport::new(LIMITS));
    let slow = tokio::spawn(wire.exchange(&Endpoint::tcp(server), query(1, "slow")));
    let mut stream = accept(&listener).await;
    read_frame(&mut stream).await.unwrap();
    for id in 2..10 {
        sleep(Duration::from_millis(50)).await;
        let quick = tokio::spawn(wire.exchange(&Endpoint::tcp(server), query(id, "quick")));
        answer_one(&mut stream).await;
        assert!(quick.await.unwrap().is_ok());
    }
    assert_eq!(slow.await.unwrap(), Err(TransportError::TimedOut));
    assert_eq!(wire.counters().total(UpstreamTraffic::TcpConnection), 1);
}

#[tokio::test]
async fn frames_that_belong_to_no_query_are_ignored_on_a_stream_too() {
    let (listener, server) = tcp_server().await;
    let wire = SocketTransport::new(LIMITS);
    let asked = query(5, "www");
    let waiting = tokio::spawn(wire.exchange(&Endpoint::tcp(server), asked.clone()));
    let mut stream = accept(&listener).await;
    read_frame(&mut stream).await.unwrap();
    write_frame(&mut stream, &response(&query(6, "www"))).await;
    write_frame(&mut stream, &response(&query(5, "wwx"))).await;
    write_frame(&mut stream, b"x").await;
    write_frame(&mut stream, &response(&asked)).await;
    assert_eq!(waiting.await.unwrap(), Ok(response(&asked)));
    assert_eq!(ignored(&wire), 3);
}

#[tokio::test]
async fn queries_above_the_bound_wait_in_line_and_dropping_one_makes_room() {
    let (listener, server) = tcp_server().await;
    let streams = StreamLimits { per_endpoint: 1, ..LIMITS.streams };
    let wire = SocketTransport::new(UpstreamLimits { streams, ..LIMITS });
    let waiting: Vec<_> =
        (0..6).map(|id| tokio::spawn(wire.exchange(&Endpoint::tcp(server), query(id, "www")))).collect();
    let mut stream = accept(&listener).await;
    for id in 0..4 {
        assert_eq!(read_frame(&mut stream).await.unwrap(), query(id, "www"));
    }
    assert!(timeout(Duration::from_millis(50), read_frame(&mut stream)).await.is_err(), "four may be outstanding");
    // A response and a dropped exchange make room for one query each, in the order in which they
    // came.
    write_frame(&mut stream, &response(&query(0, "www"))).await;
    assert_eq!(read_frame(&mut stream).await.unwrap(), query(4, "www"));
    waiting[1].abort();
    assert_eq!(read_frame(&mut stream).await.unwrap(), query(5, "www"));
    assert_eq!(wire.counters().total(UpstreamTraffic::TcpConnection), 1);
}

#[tokio::test]
async fn no_more_exchanges_than_allowed_are_under_way() {
    let (_listener, server) = tcp_server().await;
    let streams = StreamLimits { exchanges: 3, ..LIMITS.streams };
    let wire = SocketTransport::new(UpstreamLimits { streams, ..LIMITS });
    let waiting: Vec<_> =
        (0..3).map(|id| tokio::spawn(wire.exchange(&Endpoint::tcp(server), query(id, "www")))).collect();
    tokio::task::yield_now().await;
    assert_eq!(wire.exchange(&Endpoint::tcp(server), query(9, "www")).await, Err(TransportError::Exhausted));
    drop(waiting);
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let (listener, server) = tcp_server().await;
    let wire = SocketTransport::new(LIMITS);
    let waiting = tokio::spawn(wire.exchange(&Endpoint::tcp(server), query(1, "www")));
    let mut stream = accept(&listener).await;
    answer_one(&mut stream).await;
    assert!(waiting.await.unwrap().is_ok());
    let closed = timeout(Duration::from_secs(1), read_frame(&mut stream)).await;
    assert_eq!(closed, Ok(None));
}

#[tokio::test]
async fn the_least_recently_used_connection_makes_room_for_a_new_server() {
    let streams = StreamLimits { connections: 2, ..LIMITS.streams };
    let wire = SocketTransport::new(UpstreamLimits { streams, ..LIMITS });
    let mut open = Vec::new();
    for id in 0..3 {
        let (listener, server) = tcp_server().await;
        let waiting = tokio::spawn(wire.exchange(&Endpoint::tcp(server), query(id, "www")));
        let mut stream = accept(&listener).await;
        answer_one(&mut stream).await;
        assert!(waiting.await.unwrap().is_ok());
        open.push(stream);
    }
    let mut first = open.remove(0);
    assert_eq!(timeout(Duration::from_millis(100), read_frame(&mut first)).await, Ok(None), "the first one is closed");
    assert!(timeout(Duration::from_millis(50), read_frame(&mut open[1])).await.is_err(), "the last one is open");
}

#[tokio::test]
async fn dropping_the_wire_closes_its_connections() {
    let (listener, server) = tcp_server().await;
    let wire = SocketTransport::new(LIMITS);
    let waiting = tokio::spawn(wire.exchange(&Endpoint::tcp(server), query(1, "www")));
    let mut stream = accept(&listener).await;
    answer_one(&mut stream).await;
    assert!(waiting.await.unwrap().is_ok());
    drop(wire);
    assert_eq!(timeout(Duration::from_millis(100), read_frame(&mut stream)).await, Ok(None));
}

#[tokio::test]
async fn what_no_stream_can_carry_is_refused_on_our_own_side() {
    let (_listener, server) = tcp_server().await;
    let wire = SocketTransport::new(LIMITS);
    for length in [0, 11, 65_536] {
        assert_eq!(
            wire.exchange(&Endpoint::tcp(server), vec![0; length]).await,
            Err(TransportError::Exhausted),
            "{length} bytes"
        );
    }
}
