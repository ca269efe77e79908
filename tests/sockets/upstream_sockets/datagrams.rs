//! Queries upstream over UDP: forged responses, floods, source ports, and how many sockets are
//! open.

use super::*;

#[tokio::test]
async fn a_closed_udp_port_is_known_at_once() {
    let (socket, server) = udp_server().await;
    drop(socket);
    let start = Instant::now();
    let outcome = SocketTransport::new(LIMITS).exchange(&Endpoint::udp(server), query(1, "www")).await;
    assert_eq!(outcome, Err(TransportError::Refused));
    assert!(start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());
}

#[tokio::test]
async fn what_is_not_ours_is_ignored_and_counted_until_the_response_comes() {
    let (socket, server) = udp_server().await;
    let wire = SocketTransport::new(LIMITS);
    let asked = query(0x1234, "www");
    let waiting = tokio::spawn(wire.exchange(&Endpoint::udp(server), asked.clone()));
    let mut buffer = [0; 512];
    let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
    assert_eq!(&buffer[..length], asked, "the query goes out as it is, ID included");

    let mut wrong_id = response(&asked);
    wrong_id[0] ^= 0xff;
    let mut wrong_opcode = response(&asked);
    wrong_opcode[2] |= 0x20;
    let wrong_question = response(&query(0x1234, "wwx"));
    for bytes in [&wrong_id[..], &wrong_question, &wrong_opcode, &asked, b"garbage", b""] {
        socket.send_to(bytes, client).await.unwrap();
    }
    // A datagram from another address does not even reach the socket, because it is connected.
    let (forger, _) = udp_server().await;
    forger.send_to(&response(&asked), client).await.unwrap();
    let mut ours = response(&asked);
    ours.extend(b"the real one");
    socket.send_to(&ours, client).await.unwrap();

    assert_eq!(waiting.await.unwrap(), Ok(ours));
    let counted = Mismatch::ALL.map(|mismatch| wire.counters().ignored(mismatch));
    assert_eq!(counted, [2, 1, 1, 1, 1, 0], "{:?}", Mismatch::ALL);
    assert_eq!(
        (wire.counters().total(UpstreamTraffic::UdpQuery), wire.counters().total(UpstreamTraffic::Response)),
        (1, 1)
    );
}

#[tokio::test]
async fn two_hundred_wrong_ids_do_not_hide_the_response() {
    let (socket, server) = udp_server().await;
    let wire = SocketTransport::new(LIMITS);
    let asked = query(1, "www");
    let waiting = tokio::spawn(wire.exchange(&Endpoint::udp(server), asked.clone()));
    let mut buffer = [0; 512];
    let (_, client) = socket.recv_from(&mut buffer).await.unwrap();
    for id in 0..200 {
        socket.send_to(&response(&query(id + 100, "www")), client).await.unwrap();
        // The receive buffer holds fewer than that, so they are read meanwhile.
        while ignored(&wire) + 50 < u64::from(id) {
            tokio::task::yield_now().await;
        }
    }
    socket.send_to(&response(&asked), client).await.unwrap();
    assert_eq!(timeout(Duration::from_secs(2), waiting).await.unwrap().unwrap(), Ok(response(&asked)));
    assert_eq!(ignored(&wire), 200);
}

#[tokio::test]
async fn a_flood_of_forged_responses_leaves_other_work_its_turn() {
    let (socket, server) = udp_server().await;
    let wire = SocketTransport::new(LIMITS);
    let waiting = tokio::spawn(wire.exchange(&Endpoint::udp(server), query(1, "www")));
    let mut buffer = [0; 512];
    let (_, client) = socket.recv_from(&mut buffer).await.unwrap();
    // The forger is a thread of its own, which sends faster than anybody can ignore.
    let forger = socket.into_std().unwrap();
    let ends = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let forging = std::thread::spawn({
        let ends = Arc::clone(&ends);
        move || {
            while !ends.load(std::sync::atomic::Ordering::Relaxed) {
                let _full = forger.send_to(&response(&query(2, "www")), client);
            }
        }
    });
    for _ in 0..20 {
        let start = Instant::now();
        sleep(Duration::from_millis(5)).await;
        assert!(start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());
    }
    assert!(ignored(&wire) > 100, "{} were forged", ignored(&wire));
    assert!(!waiting.is_finished(), "the exchange still listens");
    ends.store(true, std::sync::atomic::Ordering::Relaxed);
    forging.join().unwrap();
}

#[tokio::test]
async fn a_response_that_is_late_by_a_second_and_a_half_still_arrives() {
    let (socket, server) = udp_server().await;
    let asked = query(7, "late");
    let waiting = tokio::spawn(SocketTransport::new(LIMITS).exchange(&Endpoint::udp(server), asked.clone()));
    let mut buffer = [0; 512];
    let (_, client) = socket.recv_from(&mut buffer).await.unwrap();
    sleep(Duration::from_millis(1500)).await;
    socket.send_to(&response(&asked), client).await.unwrap();
    assert_eq!(waiting.await.unwrap(), Ok(response(&asked)));
}

#[tokio::test]
async fn every_exchange_has_its_own_port_and_dropping_it_frees_its_socket() {
    let (socket, server) = udp_server().await;
    let wire = SocketTransport::new(LIMITS);
    let mut buffer = [0; 512];
    let mut ports = std::collections::HashSet::new();
    for id in 0..20 {
        let waiting = tokio::spawn(wire.exchange(&Endpoint::udp(server), query(id, "www")));
        let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..length], query(id, "www"));
        ports.insert(client.port());
        waiting.abort();
        assert!(waiting.await.unwrap_err().is_cancelled());
    }
    // Among twenty draws from 28 000 ports two are equal once in 150 runs, and three collisions
    // never happen.
    assert!(ports.len() >= 18, "{ports:?}");
}

#[tokio::test]
async fn no_more_sockets_than_allowed_are_opened() {
    let (_socket, server) = udp_server().await;
    let wire = SocketTransport::new(UpstreamLimits { sockets: 1, ..LIMITS });
    let waiting = tokio::spawn(wire.exchange(&Endpoint::udp(server), query(1, "www")));
    while wire.counters().total(UpstreamTraffic::UdpQuery) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(wire.exchange(&Endpoint::udp(server), query(2, "www")).await, Err(TransportError::Exhausted));
    waiting.abort();
    assert!(waiting.await.is_err());
    let freed = timeout(Duration::from_millis(50), wire.exchange(&Endpoint::udp(server), query(3, "www"))).await;
    assert!(freed.is_err(), "the slot is free again, so this one waits: {freed:?}");
}

#[tokio::test]
async fn an_error_without_a_question_is_taken() {
    let (socket, server) = udp_server().await;
    let waiting = tokio::spawn(SocketTransport::new(LIMITS).exchange(&Endpoint::udp(server), query(0x0102, "www")));
    let mut buffer = [0; 512];
    let (_, client) = socket.recv_from(&mut buffer).await.unwrap();
    let formerr = [1, 2, 0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0];
    socket.send_to(&formerr, client).await.unwrap();
    assert_eq!(waiting.await.unwrap(), Ok(formerr.to_vec()));
}

#[tokio::test]
async fn responses_of_any_length_are_taken_whole() {
    let (socket, server) = udp_server().await;
    let wire = SocketTransport::new(LIMITS);
    let mut buffer = [0; 512];
    // The longest datagram over IPv4 is 65 507 bytes.
    for length in [1_233, 4_096, 4_097, 16_384, 65_507] {
        let asked = query(9, "large");
        let waiting = tokio::spawn(wire.exchange(&Endpoint::udp(server), asked.clone()));
        let (_, client) = socket.recv_from(&mut buffer).await.unwrap();
        let mut large = response(&asked);
        large.resize(length, 0xab);
        socket.send_to(&large, client).await.unwrap();
        let taken = timeout(Duration::from_secs(2), waiting).await.unwrap().unwrap();
        assert_eq!(taken.map(|response| response.len()), Ok(length));
    }
}
