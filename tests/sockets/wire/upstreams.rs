//! What upstreams send, and which of it reaches clients.

use super::*;

#[test]
fn spoofs_and_garbage_before_the_answer_are_ignored() {
    let upstream = Upstream::start(|query, _| {
        let mut wrong_id = address(query, 60, 66);
        wrong_id[0] ^= 0xff;
        let mut other = query.clone();
        other.queries = plain_query("other.example.com.", RecordType::A).queries;
        Reaction::SendAll(vec![vec![1, 2, 3], wrong_id, address(&other, 60, 67), address(query, 60, 1)])
    });
    let sidecar = Sidecar::start(settings(&upstream));
    assert_eq!(addresses(&sidecar.ask(&query("www.example.com.", RecordType::A))), ["192.0.2.1"]);
}

#[test]
fn each_attempt_has_a_new_source_port() {
    let upstream = Upstream::start(|_, _| Reaction::Silence);
    let sidecar = Sidecar::start(settings(&upstream));
    assert_eq!(sidecar.ask(&query("www.example.com.", RecordType::A)).metadata.response_code, ResponseCode::ServFail);
    let sources = upstream.sources.lock().unwrap().clone();
    // Three sends, one more after three seconds, and witnesses.
    assert!((4..=12).contains(&sources.len()), "{sources:?}");
    assert_eq!(sources.iter().collect::<std::collections::HashSet<_>>().len(), sources.len(), "{sources:?}");
}

#[test]
fn truncated_by_udp_is_asked_over_tcp() {
    let upstream = Upstream::start(|query, via| match via {
        Via::Udp => {
            let mut message = response(query, ResponseCode::NoError);
            message.metadata.truncation = true;
            Reaction::Send(message.to_vec().unwrap())
        }
        Via::Tcp => Reaction::Send(address(query, 60, 7)),
    });
    let sidecar = Sidecar::start(settings(&upstream));
    let reply = sidecar.ask(&query("www.example.com.", RecordType::A));
    assert_eq!((addresses(&reply), reply.metadata.truncation), (vec!["192.0.2.7".to_owned()], false));
}

#[test]
fn a_closed_port_is_noticed_at_once() {
    let (upstream, sidecar) = healthy(1);
    sidecar.ask(&query("www.example.com.", RecordType::A));
    std::thread::sleep(Duration::from_millis(1300));
    drop(upstream);
    std::thread::sleep(Duration::from_millis(300));
    let asked = Instant::now();
    let reply = sidecar.ask(&query("www.example.com.", RecordType::A));
    assert_eq!(extended_errors(&reply), [3]);
    assert!(asked.elapsed() < Duration::from_millis(15), "{:?}", asked.elapsed());
}

#[test]
fn a_loop_through_another_forwarder_does_not_amplify() {
    // A forwarder that sends everything back to the sidecar, whose address it learns once the
    // sidecar is up.
    let relay = UdpSocket::bind("127.0.0.1:0").unwrap();
    let upstream = Upstream::start(|_, _| Reaction::Silence);
    let mut looped = settings(&upstream);
    looped.upstreams[0].addresses = vec![relay.local_addr().unwrap()];
    let sidecar = Sidecar::start(looped);
    let to = sidecar.address;
    let forwarded = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let count = std::sync::Arc::clone(&forwarded);
    std::thread::spawn(move || {
        relay.set_read_timeout(Some(Duration::from_secs(7))).unwrap();
        let mut buffer = [0; 512];
        while let Ok((length, _)) = relay.recv_from(&mut buffer) {
            count.fetch_add(u64::from(buffer[2] & 0x80 == 0), std::sync::atomic::Ordering::SeqCst);
            let _ = relay.send_to(&buffer[..length], to);
        }
    });
    let reply = sidecar.ask(&query("www.example.com.", RecordType::A));
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    let sent = forwarded.load(std::sync::atomic::Ordering::SeqCst);
    assert!(sent <= 12, "{sent} queries for one: four sends, the look for a loop, and witnesses");
}

#[test]
fn what_is_said_between_two_hops_stays_between_them() {
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = std::sync::Arc::clone(&seen);
    let upstream = Upstream::start(move |query, _| {
        heard.lock().unwrap().push(query.clone());
        Reaction::Send(address(query, 60, 1))
    });
    let sidecar = Sidecar::start(settings(&upstream));
    let mut asked = query("www.example.com.", RecordType::A);
    // The options are client subnet, a cookie, and one that is not assigned.
    for (code, data) in [(8, vec![0, 1, 24, 0, 192, 0, 2]), (10, vec![7; 8]), (65_001, vec![1])] {
        asked
            .edns
            .as_mut()
            .unwrap()
            .options_mut()
            .insert(hickory_proto::rr::rdata::opt::EdnsOption::Unknown(code, data));
    }
    asked.edns.as_mut().unwrap().set_max_payload(4096);
    let reply = sidecar.ask(&asked);
    assert_eq!(addresses(&reply), ["192.0.2.1"], "unknown options are no mistake");
    assert!(reply.edns.as_ref().is_some_and(|edns| edns.options().as_ref().is_empty() && edns.max_payload() == 1232));
    let forwarded = seen.lock().unwrap()[0].clone();
    let edns = forwarded.edns.as_ref().expect("EDNS of our own");
    assert!(edns.options().as_ref().is_empty() && edns.max_payload() == 1232, "{edns:?}");
    assert_ne!(forwarded.metadata.id, asked.metadata.id, "an ID of our own");
}

#[test]
fn any_is_forwarded_and_neither_made_of_other_types_nor_their_source() {
    let upstream = Upstream::start(|query, _| {
        let mut both = response(query, ResponseCode::NoError);
        let name = qname(query);
        both.add_answer(record(&name, [192, 0, 2, 7]));
        both.add_answer(record(&name, [192, 0, 2, 8]));
        Reaction::Send(if query.queries[0].query_type() == RecordType::ANY {
            both.to_vec().unwrap()
        } else {
            address(query, 60, 1)
        })
    });
    let sidecar = Sidecar::start(settings(&upstream));
    assert_eq!(addresses(&sidecar.ask(&query("www.example.com.", RecordType::A))), ["192.0.2.1"]);
    assert_eq!(
        addresses(&sidecar.ask(&query("www.example.com.", RecordType::ANY))),
        ["192.0.2.7", "192.0.2.8"],
        "not made of A"
    );
    assert_eq!(addresses(&sidecar.ask(&query("web.example.com.", RecordType::ANY))), ["192.0.2.7", "192.0.2.8"]);
    assert_eq!(
        addresses(&sidecar.ask(&query("web.example.com.", RecordType::A))),
        ["192.0.2.1"],
        "A is asked for by itself"
    );
    assert_eq!(upstream.seen(), 4);
}

/// An address record.
fn record(name: &hickory_proto::rr::Name, [a, b, c, d]: [u8; 4]) -> hickory_proto::rr::Record {
    let data = hickory_proto::rr::RData::A(hickory_proto::rr::rdata::A::new(a, b, c, d));
    hickory_proto::rr::Record::from_rdata(name.clone(), 60, data)
}

#[test]
fn what_upstream_says_about_an_error_is_passed_on() {
    // EDE 6 (DNSSEC Bogus) with a text, beside a cookie, which concerns only the two sides of this
    // hop.
    let upstream = Upstream::start(|query, _| {
        let failed = qname(query).to_string().starts_with("bogus");
        let code = if failed { ResponseCode::ServFail } else { ResponseCode::NoError };
        let mut message = response(query, code);
        if !failed {
            message.add_answer(record(&qname(query), [192, 0, 2, 1]));
        }
        let mut edns = hickory_proto::op::Edns::new();
        for (code, data) in [(10, vec![7; 16]), (15, vec![0, 6, b'b', b'a', b'd'])] {
            edns.options_mut().insert(hickory_proto::rr::rdata::opt::EdnsOption::Unknown(code, data));
        }
        message.edns = Some(edns);
        Reaction::Send(message.to_vec().unwrap())
    });
    let sidecar = Sidecar::start(settings(&upstream));
    for _ in 0..2 {
        let reply = sidecar.ask(&query("www.example.com.", RecordType::A));
        assert_eq!(
            (extended_errors(&reply), reply.edns.as_ref().unwrap().options().as_ref().len()),
            (vec![6], 1),
            "also from memory"
        );
    }
    assert_eq!(extended_errors(&sidecar.ask(&query("bogus.example.com.", RecordType::A))), [22, 6]);
    assert_eq!(
        extended_errors(&sidecar.ask(&query("bogus.example.com.", RecordType::A))),
        [13, 22, 6],
        "from the failure cache"
    );
    let plain = sidecar.ask(&plain_query("bogus.example.com.", RecordType::A));
    assert!(plain.edns.is_none(), "and nothing to who sent no OPT");
}

#[test]
fn answers_of_almost_64_kib_come_over_tcp_in_the_order_of_the_upstream() {
    let sent = |index: u16| [198, 18, (index >> 8) as u8, index as u8];
    // The records are not sorted. 1 999 and 4 000 have no common divisor, so each number comes
    // once.
    let order: Vec<[u8; 4]> = (0..4_000_u32).map(|index| sent((index * 1_999 % 4_000) as u16)).collect();
    let records = order.clone();
    let upstream = Upstream::start(move |query, via| {
        let mut message = response(query, ResponseCode::NoError);
        message.metadata.truncation = via == Via::Udp;
        let mut bytes = message.to_vec().unwrap();
        if via == Via::Tcp {
            // The records are written by hand, each owner as a pointer to the question, because
            // hickory writes so long a message that it would not fit into a frame.
            bytes[6..8].copy_from_slice(&4_000_u16.to_be_bytes());
            bytes.extend(
                records.iter().flat_map(|address| [&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4], &address[..]].concat()),
            );
        }
        Reaction::Send(bytes)
    });
    let sidecar = Sidecar::start(settings(&upstream));
    let expected: Vec<String> = order.iter().map(|[a, b, c, d]| format!("{a}.{b}.{c}.{d}")).collect();
    let mut stream = sidecar.connect();
    for _ in 0..2 {
        write_frame(&mut stream, &query("large.example.com.", RecordType::A).to_vec().unwrap());
        let bytes = read_frame(&mut stream).unwrap();
        assert!(bytes.len() > 60_000, "{}", bytes.len());
        let reply = hickory_proto::op::Message::from_vec(&bytes).unwrap();
        assert_eq!((addresses(&reply) == expected, reply.metadata.truncation), (true, false));
    }
    let over_udp = sidecar.ask(&query("large.example.com.", RecordType::A));
    assert!(over_udp.metadata.truncation && over_udp.edns.is_some(), "cut, and its OPT is there");
    assert_eq!(addresses(&over_udp), expected[..over_udp.answers.len()], "the first of them");
    assert!(over_udp.answers.len() > 70, "filled: {}", over_udp.answers.len());
}

#[test]
fn an_address_that_flips_back_after_a_change_is_asked_for_over_tcp() {
    let upstream = Upstream::answering(1, 1);
    let sidecar = Sidecar::start(settings(&upstream));
    let question = query("db.example.com.", RecordType::A);
    let asked = || upstream.seen_for("db.example.com.");
    let is_given = |last: u8| addresses(&sidecar.ask(&question)) == [format!("192.0.2.{last}")];
    // With a TTL of 1 s the address is known as one that stays after six answers.
    eventually("the address is steady", PATIENCE, || is_given(1) && asked() >= 7);
    upstream.set(|query, _| Reaction::Send(address(query, 1, 2)));
    eventually("the name has moved", PATIENCE, || is_given(2));
    // The upstream's UDP goes back to the old address, and its TCP does not.
    upstream.set(|query, via| Reaction::Send(address(query, 1, if via == Via::Udp { 1 } else { 2 })));
    let before = asked();
    eventually("it was asked for twice over UDP, and twice over TCP", PATIENCE, || {
        assert!(is_given(2), "nobody goes back");
        asked() >= before + 4
    });
    // When TCP goes back as well, that is believed: upstreams disagreed, so half a minute later.
    upstream.set(|query, _| Reaction::Send(address(query, 1, 1)));
    eventually("half a minute is over", PATIENCE * 3, || is_given(1));
}
