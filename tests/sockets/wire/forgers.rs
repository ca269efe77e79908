//! Forgers who do not see the queries (RFC 5452): what they can send changes nothing, and makes the
//! question be asked over TCP.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use hickory_proto::op::Message;
use holdover::core::upstream::QueryCase;

use super::*;
use crate::upstream_sockets::guesses;

/// A response of a forger who has guessed everything but the ID.
fn forged(query: &Message, rcode: ResponseCode, off_by: u16) -> Vec<u8> {
    let mut message = Message::from_vec(&address(query, 3_600, 66)).unwrap();
    message.metadata.response_code = rcode;
    message.metadata.id = query.metadata.id.wrapping_add(off_by);
    message.to_vec().unwrap()
}

#[test]
fn from_the_second_near_miss_on_the_question_is_asked_over_tcp() {
    let over_tcp = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&over_tcp);
    let upstream = Upstream::start(move |query, via| {
        let misses = if qname(query).to_string().starts_with("one") { 1 } else { 2 };
        match via {
            Via::Udp => Reaction::SendAll((1..=misses).map(|off| forged(query, ResponseCode::NoError, off)).collect()),
            Via::Tcp => {
                count.fetch_add(1, Ordering::SeqCst);
                Reaction::Send(address(query, 60, 1))
            }
        }
    });
    let sidecar = Sidecar::start(settings(&upstream));
    let asked = Instant::now();
    assert_eq!(addresses(&sidecar.ask(&query("two.example.com.", RecordType::A))), ["192.0.2.1"]);
    assert!(asked.elapsed() < Duration::from_millis(150), "{:?}", asked.elapsed());
    assert_eq!(over_tcp.load(Ordering::SeqCst), 1, "once");
}

#[test]
fn no_number_of_forged_responses_keeps_the_true_one_out_or_says_anything_about_the_upstream() {
    let upstream = Upstream::start(|query, via| {
        let codes = [ResponseCode::NoError, ResponseCode::FormErr, ResponseCode::ServFail, ResponseCode::NXDomain];
        match via {
            Via::Udp => {
                let mut all: Vec<_> = (1..=120).map(|off| forged(query, codes[usize::from(off % 4)], off)).collect();
                // Bare headers, queries, and bytes that are nothing at all.
                let [high, low] = query.metadata.id.wrapping_add(9).to_be_bytes();
                all.extend([2, 1, 5].map(|code| vec![high, low, 0x81, 0x80 | code, 0, 0, 0, 0, 0, 0, 0, 0]));
                all.extend([query.to_vec().unwrap(), vec![], vec![0; 600]]);
                all.push(address(query, 60, 1));
                Reaction::SendAll(all)
            }
            Via::Tcp => Reaction::Silence,
        }
    });
    let sidecar = Sidecar::start(settings(&upstream));
    for number in 0..10 {
        let asked = Instant::now();
        let reply = sidecar.ask(&query(&format!("www.site{number}.test."), RecordType::A));
        assert_eq!((addresses(&reply), extended_errors(&reply)), (vec!["192.0.2.1".to_owned()], vec![]));
        assert!(asked.elapsed() < Duration::from_millis(200), "{:?}", asked.elapsed());
    }
    // Each name cost one datagram and one question over TCP: nobody was asked without OPT, again,
    // or whether the upstream is well.
    assert!(upstream.seen() <= 22, "{}", upstream.seen());
}

/// Whatever counts mismatches and forgets something because of them gives a forger a lever
/// (CVE-2026-109125).
#[test]
fn a_hundred_thousand_unwanted_responses_flush_nothing() {
    let upstream = Upstream::start(|query, via| match via {
        Via::Udp if qname(query).to_string().starts_with("flooded") => {
            let mut all: Vec<_> = (1..=25_000).map(|off| forged(query, ResponseCode::NoError, off)).collect();
            all.push(address(query, 60, 1));
            Reaction::SendAll(all)
        }
        Via::Udp | Via::Tcp => Reaction::Send(address(query, 60, 1)),
    });
    let sidecar = Sidecar::start(settings(&upstream));
    let known: Vec<_> = (0..50).map(|number| format!("known{number}.example.com.")).collect();
    for name in &known {
        assert_eq!(addresses(&sidecar.ask(&query(name, RecordType::A))), ["192.0.2.1"]);
    }
    for number in 0..4 {
        let reply = sidecar.ask(&query(&format!("flooded{number}.example.com."), RecordType::A));
        assert_eq!(addresses(&reply), ["192.0.2.1"], "the true answer comes through");
    }
    for name in &known {
        let reply = sidecar.ask(&query(name, RecordType::A));
        assert_eq!((addresses(&reply), extended_errors(&reply)), (vec!["192.0.2.1".to_owned()], vec![]));
        assert_eq!(upstream.seen_for(name), 1, "{name} is still remembered");
    }
}

#[test]
fn a_forger_gets_no_more_than_three_questions_out_for_one_name() {
    let upstream = Upstream::start(|query, via| match via {
        Via::Udp => Reaction::SendAll((1..=50).map(|off| forged(query, ResponseCode::NoError, off)).collect()),
        Via::Tcp => Reaction::Silence,
    });
    let sidecar = Sidecar::start(settings(&upstream));
    let reply = sidecar.ask(&query("www.example.com.", RecordType::A));
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    // Three over UDP, one over TCP, one more after three seconds, and witnesses.
    assert!(upstream.seen() <= 14, "{}", upstream.seen());
}

/// The settings with random case (0x20).
fn mixing(upstream: &Upstream) -> Settings {
    let mut settings = settings(upstream);
    settings.upstreams[0].case = QueryCase::Random;
    settings
}

/// The response with another case of the name.
fn in_lower_case(response: &[u8]) -> Vec<u8> {
    let mut bytes = response.to_vec();
    let end = 12 + bytes[12..].iter().position(|byte| *byte == 0).unwrap();
    bytes[12..end].make_ascii_lowercase();
    bytes
}

#[test]
fn with_random_case_each_query_has_its_own_and_the_client_gets_its_own_back() {
    let names = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&names);
    let upstream = Upstream::start(move |query, _| {
        heard.lock().unwrap().push(qname(query).to_ascii());
        Reaction::Send(address(query, 60, 1))
    });
    let sidecar = Sidecar::start(mixing(&upstream));
    for _ in 0..2 {
        let asked = query("Ww0.a-rather-long-name.eXample.com.", RecordType::A).to_vec().unwrap();
        let reply = sidecar.exchange(&asked, Duration::from_secs(3)).unwrap();
        let question = 12..asked.len() - 11;
        assert_eq!(reply[question.clone()], asked[question], "also from memory");
        let reply = Message::from_vec(&reply).unwrap();
        assert_eq!(addresses(&reply), ["192.0.2.1"]);
        assert!(reply.answers[0].name.to_ascii().eq_ignore_ascii_case("ww0.a-rather-long-name.example.com."));
        assert_ne!(reply.answers[0].name.to_ascii(), names.lock().unwrap()[0], "not in that of our query");
    }
    for number in 0..20 {
        sidecar.ask(&query(&format!("another-rather-long-name{number}.example.com."), RecordType::A));
    }
    let names = names.lock().unwrap();
    let drawn = names.iter().filter_map(|name| name.get(..20)).collect::<std::collections::HashSet<_>>();
    assert!(drawn.len() >= 20, "{drawn:?}");
}

#[test]
fn an_upstream_that_does_not_repeat_the_case_is_asked_over_tcp_or_in_lower_case() {
    for tcp in [Via::Tcp, Via::Udp] {
        let upstream = Upstream::start(move |query, via| match via {
            Via::Udp => Reaction::Send(in_lower_case(&address(query, 60, 1))),
            Via::Tcp if tcp == Via::Tcp => Reaction::Send(in_lower_case(&address(query, 60, 1))),
            Via::Tcp => Reaction::Silence,
        });
        let sidecar = Sidecar::start(mixing(&upstream));
        for number in 0..3 {
            let asked = Instant::now();
            let reply = sidecar.ask(&query(&format!("www.site{number}.test."), RecordType::A));
            assert_eq!((addresses(&reply), extended_errors(&reply)), (vec!["192.0.2.1".to_owned()], vec![]));
            assert!(asked.elapsed() < Duration::from_millis(600), "{tcp:?}: {:?}", asked.elapsed());
        }
    }
}

#[test]
fn a_forger_has_to_guess_the_case_as_well() {
    let upstream = Upstream::start(|query, via| match via {
        Via::Udp => {
            let wrong = in_lower_case(&address(query, 3_600, 66));
            Reaction::SendAll([vec![wrong; 100], vec![address(query, 60, 1)]].concat())
        }
        Via::Tcp => Reaction::Silence,
    });
    let sidecar = Sidecar::start(mixing(&upstream));
    let reply = sidecar.ask(&query("a-name-with-many-letters.example.com.", RecordType::A));
    assert_eq!(addresses(&reply), ["192.0.2.1"]);
}

#[test]
fn the_port_of_a_client_tells_nothing_about_the_ports_upstream() {
    const NAMES: usize = 10_000;
    let upstream = Upstream::start(|query, _| Reaction::Send(address(query, 60, 1)));
    let mut settings = settings(&upstream);
    settings.policy.budget.per_second = 100_000;
    let sidecar = Sidecar::start(settings);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut buffer = [0; 4096];
    for number in 0..NAMES + 32 {
        if number < NAMES {
            let name = format!("n{number}.example.com.");
            client.send_to(&query(&name, RecordType::A).to_vec().unwrap(), sidecar.address).unwrap();
        }
        if number >= 32 {
            client.recv_from(&mut buffer).unwrap();
        }
    }
    let sources = upstream.sources.lock().unwrap().clone();
    assert!(sources.len() >= NAMES, "{}", sources.len());
    let classes = sources.iter().map(|source| guesses::class_of_port(source.port(), 64));
    guesses::assert_even("ports upstream", classes, 64);
}
