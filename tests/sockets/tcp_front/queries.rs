//! Queries over one connection: pipelined, slow or broken, and which answers they get.

use super::*;

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

/// Sends `queries` queries, closes the sending side, releases the answers once the front has seen
/// that, and counts them.
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
    assert_eq!(
        answers_after_half_close(3).await,
        3,
        "fewer than may be in flight: the end is read while they are pending"
    );
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
        () = async { while works(&mut other).await { sleep(Duration::from_millis(20)).await; } } => panic!("the other \
                                                            client suffers"),
    }
    // As many answers as the kernel buffers (some megabytes on loopback) were written, and at most
    // the allowed number of queries waits behind them.
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
