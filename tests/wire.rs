//! The lines of "on the wire", on real sockets: a real sidecar, a scripted upstream, packets as clients send them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub
)]

#[path = "wire/harness.rs"]
mod harness;

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use harness::*;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use holdover::config::settings::Settings;
use holdover::core::upstream::{Protocol, Role, UpstreamPolicy};

/// The default settings with this upstream.
fn settings(upstream: &Upstream) -> Settings {
    let mut settings = Settings::standard();
    settings.listen.addresses = vec!["127.0.0.1:0".parse().unwrap()];
    settings.upstreams = vec![UpstreamPolicy {
        name: "test".into(),
        addresses: vec![upstream.address],
        protocol: Protocol::Udp,
        zones: Vec::new(),
        role: Role::Primary,
    }];
    settings
}

/// A sidecar before a well-behaved upstream: addresses, NODATA under `nodata`, NXDOMAIN under `gone`.
fn healthy(ttl: u32) -> (Upstream, Sidecar) {
    let upstream = Upstream::start(move |query, _| Reaction::Send(well_behaved(query, ttl)));
    let sidecar = Sidecar::start(settings(&upstream));
    (upstream, sidecar)
}

fn well_behaved(query: &hickory_proto::op::Message, ttl: u32) -> Vec<u8> {
    let name = qname(query).to_string();
    if name.starts_with("gone") {
        negative(query, ResponseCode::NXDomain, ttl)
    } else if name.starts_with("nodata") {
        negative(query, ResponseCode::NoError, ttl)
    } else if name.starts_with("chain") {
        chain(query, ttl, "target.example.com.")
    } else {
        address(query, ttl, 1)
    }
}

/// Waits for something that happens soon.
fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(5);
    while !check() {
        assert!(Instant::now() < until, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_answer_is_forwarded_once_and_then_remembered() {
    let (upstream, sidecar) = healthy(60);
    for _ in 0..5 {
        let reply = sidecar.ask(&query("www.example.com.", RecordType::A));
        assert_eq!(addresses(&reply), ["192.0.2.1"]);
        assert!(reply.metadata.recursion_available && !reply.metadata.authoritative);
        assert!(extended_errors(&reply).is_empty());
    }
    assert_eq!(upstream.seen(), 1);
}

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
    let bytes = sidecar.exchange(&plain_query("big.example.com.", RecordType::A).to_vec().unwrap(), Duration::from_secs(3)).unwrap();
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
fn stale_is_served_in_time_when_upstream_falls_silent_and_fresh_when_it_is_back() {
    let (upstream, sidecar) = healthy(1);
    for name in ["www.example.com.", "gone.example.com.", "nodata.example.com."] {
        sidecar.ask(&query(name, RecordType::A));
    }
    std::thread::sleep(Duration::from_millis(1100));
    upstream.set(|_, _| Reaction::Silence);
    for round in 0..20 {
        for (name, rcode, error) in [
            ("www.example.com.", ResponseCode::NoError, 3),
            ("gone.example.com.", ResponseCode::NXDomain, 19),
            ("nodata.example.com.", ResponseCode::NoError, 3),
        ] {
            let asked = Instant::now();
            let reply = sidecar.ask(&query(name, RecordType::A));
            assert!(asked.elapsed() < Duration::from_millis(250), "{name} took {:?}", asked.elapsed());
            assert_eq!((reply.metadata.response_code, extended_errors(&reply)), (rcode, vec![error]), "round {round}");
        }
    }
    upstream.set(|query, _| Reaction::Send(address(query, 60, 2)));
    eventually("a fresh answer after recovery", || {
        let reply = sidecar.ask(&query("www.example.com.", RecordType::A));
        extended_errors(&reply).is_empty() && addresses(&reply) == ["192.0.2.2"]
    });
}

#[test]
fn servfail_from_upstream_gives_stale_and_for_a_cold_name_servfail_with_a_reason() {
    let (upstream, sidecar) = healthy(1);
    sidecar.ask(&query("www.example.com.", RecordType::A));
    std::thread::sleep(Duration::from_millis(1100));
    upstream.set(|query, _| Reaction::Send(response(query, ResponseCode::ServFail).to_vec().unwrap()));
    let reply = sidecar.ask(&query("www.example.com.", RecordType::A));
    assert_eq!((addresses(&reply), extended_errors(&reply)), (vec!["192.0.2.1".to_owned()], vec![3]));
    let cold = sidecar.ask(&query("cold.example.com.", RecordType::A));
    assert_eq!((cold.metadata.response_code, extended_errors(&cold)), (ResponseCode::ServFail, vec![22]));
    assert_eq!(cold.queries.len(), 1);
    let seen = upstream.seen();
    let cached = sidecar.ask(&query("cold.example.com.", RecordType::A));
    assert_eq!((cached.metadata.response_code, extended_errors(&cached)), (ResponseCode::ServFail, vec![13, 22]));
    assert_eq!(upstream.seen(), seen, "answered from the failure cache");
}

#[test]
fn refused_never_reaches_a_client() {
    let upstream = Upstream::start(|query, _| Reaction::Send(response(query, ResponseCode::Refused).to_vec().unwrap()));
    let sidecar = Sidecar::start(settings(&upstream));
    assert_eq!(sidecar.ask(&query("www.example.com.", RecordType::A)).metadata.response_code, ResponseCode::ServFail);
}

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
    assert!((3..=4).contains(&sources.len()), "three attempts, perhaps a probe: {sources:?}");
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
fn an_upstream_that_does_not_know_edns_is_asked_without() {
    let upstream = Upstream::start(|query, _| {
        Reaction::Send(if query.edns.is_some() { response(query, ResponseCode::FormErr).to_vec().unwrap() } else { address(query, 60, 1) })
    });
    let sidecar = Sidecar::start(settings(&upstream));
    assert_eq!(addresses(&sidecar.ask(&query("www.example.com.", RecordType::A))), ["192.0.2.1"]);
    let seen = upstream.seen();
    sidecar.ask(&query("web.example.com.", RecordType::A));
    assert_eq!(upstream.seen(), seen + 1, "it is remembered");
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
fn without_rd_only_what_is_fresh_is_served() {
    let (upstream, sidecar) = healthy(60);
    let mut bare = query("www.example.com.", RecordType::A);
    bare.metadata.recursion_desired = false;
    assert_eq!(sidecar.ask(&bare).metadata.response_code, ResponseCode::ServFail);
    assert_eq!(upstream.seen(), 0, "never forwarded");
    sidecar.ask(&query("www.example.com.", RecordType::A));
    assert_eq!(addresses(&sidecar.ask(&bare)), ["192.0.2.1"]);
}

#[test]
fn localhost_and_invalid_are_answered_here() {
    let (upstream, sidecar) = healthy(60);
    assert_eq!(addresses(&sidecar.ask(&query("localhost.", RecordType::A))), ["127.0.0.1"]);
    assert_eq!(sidecar.ask(&query("www.invalid.", RecordType::A)).metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(upstream.seen(), 0);
}

#[test]
fn two_queries_in_one_segment_are_answered_as_they_complete() {
    let upstream = Upstream::start(|query, _| {
        let bytes = address(query, 60, 1);
        if qname(query).to_string().starts_with("slow") { Reaction::Late(Duration::from_millis(300), bytes) } else { Reaction::Send(bytes) }
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
fn unknown_types_with_any_rdata_pass_through_and_are_remembered() {
    let upstream = Upstream::start(|query, _| {
        let mut bytes = response(query, ResponseCode::NoError).to_vec().unwrap();
        bytes[7] = 2;
        // HTTPS with RDATA that no parser takes, and an empty one of a type that nobody knows.
        bytes.extend([0xc0, 12, 0, 65, 0, 1, 0, 0, 0, 60, 0, 3, 0xff, 0xff, 0xff]);
        bytes.extend([0xc0, 12, 0xfe, 0x01, 0, 1, 0, 0, 0, 60, 0, 0]);
        Reaction::Send(bytes)
    });
    let sidecar = Sidecar::start(settings(&upstream));
    let packet = plain_query("www.example.com.", RecordType::HTTPS).to_vec().unwrap();
    for _ in 0..2 {
        let reply = sidecar.exchange(&packet, Duration::from_secs(3)).unwrap();
        assert_eq!((reply[3] & 15, reply[7]), (0, 2));
        assert!(reply.ends_with(&[0xfe, 0x01, 0, 1, 0, 0, 0, 60, 0, 0]));
    }
    assert_eq!(upstream.seen(), 1);
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
    // A forwarder that sends everything back to the sidecar: its address is learnt after the sidecar is up.
    let relay = UdpSocket::bind("127.0.0.1:0").unwrap();
    let upstream = Upstream::start(|_, _| Reaction::Silence);
    let mut looped = settings(&upstream);
    looped.upstreams[0].addresses = vec![relay.local_addr().unwrap()];
    let sidecar = Sidecar::start(looped);
    let to = sidecar.address;
    let forwarded = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let count = std::sync::Arc::clone(&forwarded);
    std::thread::spawn(move || {
        relay.set_read_timeout(Some(Duration::from_secs(4))).unwrap();
        let mut buffer = [0; 512];
        while let Ok((length, _)) = relay.recv_from(&mut buffer) {
            count.fetch_add(u64::from(buffer[2] & 0x80 == 0), std::sync::atomic::Ordering::SeqCst);
            let _ = relay.send_to(&buffer[..length], to);
        }
    });
    let reply = sidecar.ask(&query("www.example.com.", RecordType::A));
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    let sent = forwarded.load(std::sync::atomic::Ordering::SeqCst);
    assert!(sent <= 5, "{sent} queries for one: three attempts, the look for a loop, and a probe");
}

#[test]
fn clients_that_are_not_allowed_are_dropped() {
    let upstream = Upstream::start(|query, _| Reaction::Send(address(query, 60, 1)));
    let mut closed = settings(&upstream);
    closed.listen.clients = vec!["192.0.2.0/24".parse().unwrap()];
    let sidecar = Sidecar::start(closed);
    assert!(sidecar.exchange(&plain_query("www.example.com.", RecordType::A).to_vec().unwrap(), Duration::from_millis(300)).is_none());
    let mut stream = sidecar.connect();
    write_frame(&mut stream, &plain_query("www.example.com.", RecordType::A).to_vec().unwrap());
    assert!(read_frame(&mut stream).is_none());
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
fn what_is_said_between_two_hops_stays_between_them() {
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = std::sync::Arc::clone(&seen);
    let upstream = Upstream::start(move |query, _| {
        heard.lock().unwrap().push(query.clone());
        Reaction::Send(address(query, 60, 1))
    });
    let sidecar = Sidecar::start(settings(&upstream));
    let mut asked = query("www.example.com.", RecordType::A);
    // Client subnet, cookie, and an option that nobody knows.
    for (code, data) in [(8, vec![0, 1, 24, 0, 192, 0, 2]), (10, vec![7; 8]), (65_001, vec![1])] {
        asked.edns.as_mut().unwrap().options_mut().insert(hickory_proto::rr::rdata::opt::EdnsOption::Unknown(code, data));
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

#[test]
fn any_is_forwarded_and_neither_made_of_other_types_nor_their_source() {
    let upstream = Upstream::start(|query, _| {
        let mut both = response(query, ResponseCode::NoError);
        let name = qname(query);
        both.add_answer(record(&name, [192, 0, 2, 7]));
        both.add_answer(record(&name, [192, 0, 2, 8]));
        Reaction::Send(if query.queries[0].query_type() == RecordType::ANY { both.to_vec().unwrap() } else { address(query, 60, 1) })
    });
    let sidecar = Sidecar::start(settings(&upstream));
    assert_eq!(addresses(&sidecar.ask(&query("www.example.com.", RecordType::A))), ["192.0.2.1"]);
    assert_eq!(addresses(&sidecar.ask(&query("www.example.com.", RecordType::ANY))), ["192.0.2.7", "192.0.2.8"], "not made of A");
    assert_eq!(addresses(&sidecar.ask(&query("web.example.com.", RecordType::ANY))), ["192.0.2.7", "192.0.2.8"]);
    assert_eq!(addresses(&sidecar.ask(&query("web.example.com.", RecordType::A))), ["192.0.2.1"], "A is asked for by itself");
    assert_eq!(upstream.seen(), 4);
}

/// An address record.
fn record(name: &hickory_proto::rr::Name, [a, b, c, d]: [u8; 4]) -> hickory_proto::rr::Record {
    let data = hickory_proto::rr::RData::A(hickory_proto::rr::rdata::A::new(a, b, c, d));
    hickory_proto::rr::Record::from_rdata(name.clone(), 60, data)
}

#[test]
fn what_upstream_says_about_an_error_is_passed_on() {
    // EDE 6 (DNSSEC bogus) with a text, beside a cookie that is nobody else's business.
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
        assert_eq!((extended_errors(&reply), reply.edns.as_ref().unwrap().options().as_ref().len()), (vec![6], 1), "also from memory");
    }
    assert_eq!(extended_errors(&sidecar.ask(&query("bogus.example.com.", RecordType::A))), [22, 6]);
    assert_eq!(extended_errors(&sidecar.ask(&query("bogus.example.com.", RecordType::A))), [13, 22, 6], "from the failure cache");
    let plain = sidecar.ask(&plain_query("bogus.example.com.", RecordType::A));
    assert!(plain.edns.is_none(), "and nothing to who sent no OPT");
}

#[test]
fn answers_of_almost_64_kib_come_over_tcp_in_the_order_of_the_upstream() {
    let sent = |index: u16| [198, 18, (index >> 8) as u8, index as u8];
    // Not sorted: 1 999 and 4 000 have no common divisor, so each comes once.
    let order: Vec<[u8; 4]> = (0..4_000_u32).map(|index| sent((index * 1_999 % 4_000) as u16)).collect();
    let records = order.clone();
    let upstream = Upstream::start(move |query, via| {
        let mut message = response(query, ResponseCode::NoError);
        message.metadata.truncation = via == Via::Udp;
        let mut bytes = message.to_vec().unwrap();
        if via == Via::Tcp {
            // By hand, each owner a pointer to the question: hickory writes long messages at such length that they do not fit.
            bytes[6..8].copy_from_slice(&4_000_u16.to_be_bytes());
            bytes.extend(records.iter().flat_map(|address| [&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4], &address[..]].concat()));
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
