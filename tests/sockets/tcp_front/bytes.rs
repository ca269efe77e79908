//! What connections may hold in bytes: long queries, answers that nobody fetches, who gives way.

use super::*;

/// Limits with a ledger of so many bytes, and time enough that nothing else closes a connection.
fn with_bytes(bytes: usize) -> TcpLimits {
    let (limits, second) = (limits(), Duration::from_secs(30));
    let ledger = ByteLedger::new(bytes, Arc::clone(&limits.counters));
    TcpLimits { connections: 64, queries: 32, idle: second, write: second, ledger, ..limits }
}

/// A query of this length, padding included, with its length prefix.
fn padded(id: u16, label: &str, length: usize) -> Vec<u8> {
    let mut bytes = query(id, label);
    bytes.resize(length, 0);
    framed(&bytes)
}

/// Asks `count` times for 64 KiB over a connection that takes in as little as possible, and fetches
/// nothing.
async fn fetch_nothing(front: &Started, client: [u8; 4], count: u16) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind((client, 0).into()).unwrap();
    let mut stream = socket.connect(front.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for id in 0..count {
        stream.write_all(&frame(id, "large")).await.unwrap();
    }
    stream
}

#[tokio::test]
async fn a_query_above_four_kilobytes_closes_its_connection_after_what_is_owed() {
    let front = start(with_bytes(1 << 20)).await;
    let mut stream = front.connect().await;
    stream.write_all(&padded(1, "www", 4096)).await.unwrap();
    assert_eq!(read_id(&mut stream).await, Some(1));
    let long = padded(3, "www", 4097);
    stream.write_all(&[frame(2, "slow"), long[..100].to_vec()].concat()).await.unwrap();
    while front.counters.total(ConnectionEvent::QueryTooLong) == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    front.echo.release.add_permits(1);
    assert_eq!(read_id(&mut stream).await, Some(2));
    assert!(closes_within(&mut stream, Duration::from_secs(2)).await);
    assert_eq!(front.echo.asked.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn of_two_clients_the_one_that_fetches_nothing_gives_way() {
    let front = start(with_bytes(1 << 20)).await;
    let mut greedy = Vec::new();
    for _ in 0..8 {
        greedy.push(fetch_nothing(&front, [127, 0, 0, 2], 32).await);
    }
    let mut modest = front.connect_from([127, 0, 0, 3]).await;
    let gives_way = async {
        while front.counters.total(ConnectionEvent::OverBytes) == 0 {
            assert!(works(&mut modest).await);
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(10), gives_way).await.expect("a connection gives way");
    modest.write_all(&frame(1, "large")).await.unwrap();
    assert_eq!(read(&mut modest).await.map(|answer| answer.len()), Some(65_535));
    assert!(works(&mut modest).await);
}

#[tokio::test]
async fn a_client_that_fetches_its_answers_is_slowed_down_and_loses_none() {
    // Every connection alone could bring two megabytes together.
    let front = start(with_bytes(1 << 20)).await;
    let mut streams = Vec::new();
    for _ in 0..4 {
        let mut stream = front.connect().await;
        for id in 0..32 {
            stream.write_all(&frame(id, "large")).await.unwrap();
        }
        streams.push(stream);
    }
    let fetch = streams.into_iter().map(|mut stream| async move {
        for _ in 0..32 {
            assert_eq!(read(&mut stream).await.map(|answer| answer.len()), Some(65_535));
        }
    });
    futures_util::future::join_all(fetch).await;
    assert_eq!(front.counters.total(ConnectionEvent::OverBytes), 0);
}

#[tokio::test]
async fn when_little_is_left_a_connection_that_owes_nothing_is_still_answered() {
    // Sixteen queries that wait are three quarters of this limit.
    let front = start(with_bytes(48 << 10)).await;
    let mut busy = front.connect().await;
    let queries: Vec<u8> = (0..32).flat_map(|id| frame(id, "slow")).collect();
    busy.write_all(&queries).await.unwrap();
    sleep(Duration::from_millis(100)).await;
    let asked = front.echo.asked.load(Ordering::Relaxed);
    assert!(asked < 32, "{asked}: reading pauses");
    assert!(works(&mut front.connect().await).await);
    front.echo.release.add_permits(32);
    for _ in 0..32 {
        assert!(read_id(&mut busy).await.is_some());
    }
}
