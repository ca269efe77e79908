//! What clients send, and how they are answered.

use super::*;

#[test]
fn id_and_question_come_back_byte_for_byte() {
    let (_upstream, sidecar) = healthy(60);
    let mut packet = plain_query("www.example.com.", RecordType::A).to_vec().unwrap();
    for mixed in [*b"wWw", *b"WwW", *b"www"] {
        packet[13..16].copy_from_slice(&mixed);
        packet[0] ^= 0x55;
        let reply = sidecar.exchange(&packet, Duration::from_secs(3)).expect("an answer");
        assert_eq!(reply[..2], packet[..2]);
        assert_eq!(reply[12..packet.len()], packet[12..]);
    }
}

#[test]
fn a_and_aaaa_from_one_socket_get_two_answers() {
    let (_upstream, sidecar) = healthy(60);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    let mut aaaa = plain_query("www.example.com.", RecordType::AAAA).to_vec().unwrap();
    aaaa[0] ^= 0xff;
    socket.send_to(&plain_query("www.example.com.", RecordType::A).to_vec().unwrap(), sidecar.address).unwrap();
    socket.send_to(&aaaa, sidecar.address).unwrap();
    let mut buffer = [0; 512];
    let mut ids: Vec<u8> = (0..2)
        .map(|_| {
            socket.recv_from(&mut buffer).unwrap();
            buffer[0]
        })
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, [0x47, 0x47 ^ 0xff]);
}

#[test]
fn a_client_without_edns_gets_no_opt_and_at_most_512_bytes() {
    let upstream = Upstream::start(|query, _| {
        let mut message = response(query, ResponseCode::NoError);
        for last in 0..60 {
            message.add_answer(hickory_proto::rr::Record::from_rdata(
                qname(query),
                60,
                hickory_proto::rr::RData::A(hickory_proto::rr::rdata::A::new(192, 0, 2, last)),
            ));
        }
        Reaction::Send(message.to_vec().unwrap())
    });
    let sidecar = Sidecar::start(settings(&upstream));
    let bytes = sidecar
        .exchange(&plain_query("big.example.com.", RecordType::A).to_vec().unwrap(), Duration::from_secs(3))
        .unwrap();
    let reply = hickory_proto::op::Message::from_vec(&bytes).unwrap();
    assert!(bytes.len() <= 512 && reply.metadata.truncation && reply.edns.is_none());
    assert!(reply.answers.len() > 20, "filled with what fits: {}", reply.answers.len());
    let mut stream = sidecar.connect();
    write_frame(&mut stream, &plain_query("big.example.com.", RecordType::A).to_vec().unwrap());
    let whole = hickory_proto::op::Message::from_vec(&read_frame(&mut stream).unwrap()).unwrap();
    assert_eq!((whole.answers.len(), whole.metadata.truncation), (60, false));
    let fits = sidecar.ask(&query("big.example.com.", RecordType::A));
    assert_eq!((fits.answers.len(), fits.metadata.truncation, fits.edns.is_some()), (60, false, true));
}

#[test]
fn unreadable_and_odd_queries_get_their_code_and_responses_none() {
    let (_upstream, sidecar) = healthy(60);
    let packet = plain_query("www.example.com.", RecordType::A).to_vec().unwrap();
    let code = |bytes: &[u8]| sidecar.exchange(bytes, Duration::from_millis(300)).map(|reply| reply[3] & 15);
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut changed = packet.clone();
        change(&mut changed);
        changed
    };
    assert_eq!(code(&packet), Some(0));
    assert_eq!(code(&with(&|p| p[2] |= 0x80)), None, "QR=1");
    assert_eq!(code(&packet[..11]), None, "short");
    assert_eq!(code(&with(&|p| p[2] |= 0x28)), Some(4), "opcode UPDATE");
    assert_eq!(code(&with(&|p| p[5] = 2)), Some(1), "QDCOUNT 2");
    assert_eq!(
        code(&with(&|p| {
            p[4] = 0xff;
            p[5] = 0xff;
        })),
        Some(1),
        "QDCOUNT 65535"
    );
    assert_eq!(
        code(&with(&|p| {
            let at = p.len() - 3;
            p[at] = 252;
        })),
        Some(4),
        "AXFR"
    );
    assert_eq!(
        code(&with(&|p| {
            p[11] = 1;
            p.extend([0, 0, 41, 4, 208, 0, 1, 0, 0, 0, 0]);
        })),
        Some(0),
        "BADVERS: low bits"
    );
    assert_eq!(
        code(&with(&|p| {
            p[11] = 2;
            p.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0].repeat(2));
        })),
        Some(1),
        "two OPTs"
    );
    assert_eq!(code(&with(&|p| p.truncate(20))), Some(1), "cut off");
}

#[test]
fn two_queries_in_one_segment_are_answered_as_they_complete() {
    let upstream = Upstream::start(|query, _| {
        let bytes = address(query, 60, 1);
        if qname(query).to_string().starts_with("slow") {
            Reaction::Late(Duration::from_millis(300), bytes)
        } else {
            Reaction::Send(bytes)
        }
    });
    let sidecar = Sidecar::start(settings(&upstream));
    let mut stream = sidecar.connect();
    let mut segment = Vec::new();
    for (id, name) in [(1, "slow.example.com."), (2, "fast.example.com.")] {
        let mut bytes = query(name, RecordType::A).to_vec().unwrap();
        bytes[1] = id;
        segment.extend(u16::try_from(bytes.len()).unwrap().to_be_bytes());
        segment.extend(bytes);
    }
    std::io::Write::write_all(&mut stream, &segment).unwrap();
    let ids: Vec<u8> = (0..2).map(|_| read_frame(&mut stream).unwrap()[1]).collect();
    assert_eq!(ids, [2, 1]);
}

#[test]
fn clients_that_are_not_allowed_are_dropped() {
    let upstream = Upstream::start(|query, _| Reaction::Send(address(query, 60, 1)));
    let mut closed = settings(&upstream);
    closed.listen.clients = vec!["192.0.2.0/24".parse().unwrap()];
    let sidecar = Sidecar::start(closed);
    assert!(
        sidecar
            .exchange(&plain_query("www.example.com.", RecordType::A).to_vec().unwrap(), Duration::from_millis(300))
            .is_none()
    );
    let mut stream = sidecar.connect();
    write_frame(&mut stream, &plain_query("www.example.com.", RecordType::A).to_vec().unwrap());
    assert!(read_frame(&mut stream).is_none());
}

#[test]
fn a_health_check_from_this_host_is_answered_whichever_clients_are() {
    let upstream = Upstream::start(|query, _| Reaction::Send(address(query, 60, 1)));
    let mut closed = settings(&upstream);
    closed.listen.clients = vec!["192.0.2.0/24".parse().unwrap()];
    let sidecar = Sidecar::start(closed);
    let check = plain_query("ready.holdover.invalid.", RecordType::A).to_vec().unwrap();
    assert!(sidecar.exchange(&check, Duration::from_secs(3)).is_some());
    let below = plain_query("a.ready.holdover.invalid.", RecordType::A).to_vec().unwrap();
    assert!(sidecar.exchange(&below, Duration::from_millis(300)).is_none(), "and nothing else");
}

#[test]
fn an_error_repeats_id_opcode_rd_cd_and_the_question() {
    let (_upstream, sidecar) = healthy(60);
    let mut packet = plain_query("wWw.ExaMple.com.", RecordType::A).to_vec().unwrap();
    for (flags, code) in [([0x21, 0x10], 4), ([0x20, 0], 4), ([0x29, 0], 4)] {
        packet[2..4].copy_from_slice(&flags);
        let reply = sidecar.exchange(&packet, Duration::from_secs(3)).expect("an answer");
        assert_eq!(reply[..2], packet[..2]);
        assert_eq!(reply[2..4], [flags[0] | 0x80, flags[1] | 0x80 | code], "QR and RA are set, AA and TC are not");
        assert_eq!(reply[4..], packet[4..], "one question, byte for byte");
    }
}

#[test]
fn authentic_data_are_passed_on_to_who_asks_and_cd_and_do_are_questions_of_their_own() {
    let upstream = Upstream::start(|query, _| {
        let mut bytes = address(query, 1, 1);
        bytes[3] |= 0x20;
        Reaction::Send(bytes)
    });
    let sidecar = Sidecar::start(settings(&upstream));
    let asked = |authentic: bool, checking_disabled: bool, dnssec_ok: bool| {
        let mut query = query("www.example.com.", RecordType::A);
        query.metadata.authentic_data = authentic;
        query.metadata.checking_disabled = checking_disabled;
        query.edns.as_mut().unwrap().set_dnssec_ok(dnssec_ok);
        let reply = sidecar.ask(&query);
        assert_eq!(reply.metadata.checking_disabled, checking_disabled);
        assert_eq!(reply.edns.as_ref().unwrap().flags().dnssec_ok, dnssec_ok, "DO is repeated (RFC 3225 §3)");
        (reply.metadata.authentic_data, extended_errors(&reply))
    };
    assert_eq!(asked(false, false, false), (false, vec![]));
    assert_eq!(asked(true, false, false), (true, vec![]));
    assert_eq!(upstream.seen(), 1, "AD of a query is no part of the question");
    assert_eq!(asked(false, false, true), (true, vec![]), "DO asks for AD as well (RFC 6840 §5.8)");
    assert_eq!(upstream.seen(), 2, "DO is");
    asked(false, true, false);
    asked(false, true, true);
    assert_eq!(upstream.seen(), 4, "CD is");
    upstream.set(|_, _| Reaction::Silence);
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(asked(true, false, true), (false, vec![3]), "nothing stale is authentic");
}

#[test]
fn chaos_and_transfers_are_not_served_and_not_forwarded() {
    let (upstream, sidecar) = healthy(60);
    for name in ["version.bind.", "id.server.", "hostname.bind."] {
        let mut asked = query(name, RecordType::TXT);
        asked.queries[0].set_query_class(hickory_proto::rr::DNSClass::CH);
        let reply = sidecar.ask(&asked);
        assert_eq!((reply.metadata.response_code, reply.queries.len()), (ResponseCode::NotImp, 1), "{name}");
    }
    for rtype in [RecordType::AXFR, RecordType::IXFR] {
        let asked = query("example.com.", rtype);
        assert_eq!(sidecar.ask(&asked).metadata.response_code, ResponseCode::NotImp, "{rtype} over UDP");
        let mut stream = sidecar.connect();
        write_frame(&mut stream, &asked.to_vec().unwrap());
        assert_eq!(read_frame(&mut stream).unwrap()[3] & 15, 4, "{rtype} over TCP");
    }
    assert_eq!(upstream.seen(), 0);
}
