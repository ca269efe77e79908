//! Connections: how many there may be, for how long, from which clients, and how a drain ends them.

use super::*;

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
        // The front owes the first connection an answer. The others are idle, the second one for
        // the longest time.
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
async fn a_client_with_all_connections_gives_its_oldest_to_another_although_it_is_owed_an_answer() {
    let front = start(limits()).await;
    let mut greedy = front.owed(4, [127, 0, 0, 2]).await;
    let mut modest = front.connect_from([127, 0, 0, 3]).await;
    assert!(works(&mut modest).await);
    assert!(closes_within(&mut greedy[0], Duration::from_millis(500)).await);
    // The greedy client has three of four by now, and gets no more.
    assert!(closes_within(&mut front.connect_from([127, 0, 0, 2]).await, Duration::from_millis(500)).await);
    assert_eq!(front.counted(), [5, 0, 1, 1]);
    front.echo.release.add_permits(4);
    for stream in &mut greedy[1..] {
        assert!(read_id(stream).await.is_some());
    }
}

#[tokio::test]
async fn clients_with_as_many_connections_as_another_take_none_from_each_other() {
    let front = start(limits()).await;
    let _first = front.owed(2, [127, 0, 0, 2]).await;
    let _second = front.owed(2, [127, 0, 0, 3]).await;
    assert!(closes_within(&mut front.connect_from([127, 0, 0, 2]).await, Duration::from_millis(500)).await);
    let mut third = front.connect_from([127, 0, 0, 4]).await;
    assert!(works(&mut third).await);
    assert_eq!(front.counted(), [5, 0, 1, 1]);
}

#[tokio::test]
async fn a_hundred_connections_at_once_are_answered_and_two_hundred_and_fifty_seven_are_one_too_many() {
    let front = start(TcpLimits::new(Arc::new(|_| true))).await;
    let mut streams = Vec::new();
    for id in 0..257_u16 {
        let mut stream = front.connect().await;
        if id < 100 {
            stream.write_all(&frame(id, "www")).await.unwrap();
        } else {
            assert!(works(&mut stream).await);
        }
        streams.push(stream);
    }
    for (id, stream) in (0..100).zip(&mut streams) {
        assert_eq!(read_id(stream).await, Some(id));
    }
    assert_eq!(front.counted(), [257, 0, 1, 0]);
    assert!(works(&mut streams[255]).await && works(&mut streams[256]).await);
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
    front.phase.send_replace(TcpPhase::Draining);
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
