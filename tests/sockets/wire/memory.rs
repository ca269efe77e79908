//! What is cached, and how responses of upstreams change it.

use super::*;

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
    eventually("a fresh answer after recovery", Duration::from_secs(5), || {
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
    let seen = upstream.seen_for("cold.example.com.");
    let cached = sidecar.ask(&query("cold.example.com.", RecordType::A));
    assert_eq!((cached.metadata.response_code, extended_errors(&cached)), (ResponseCode::ServFail, vec![13, 22]));
    assert_eq!(upstream.seen_for("cold.example.com."), seen, "answered from the failure cache");
}

#[test]
fn refused_never_reaches_a_client() {
    let upstream = Upstream::start(|query, _| Reaction::Send(response(query, ResponseCode::Refused).to_vec().unwrap()));
    let sidecar = Sidecar::start(settings(&upstream));
    assert_eq!(sidecar.ask(&query("www.example.com.", RecordType::A)).metadata.response_code, ResponseCode::ServFail);
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
fn unknown_types_with_any_rdata_pass_through_and_are_remembered() {
    let upstream = Upstream::start(|query, _| {
        let mut bytes = response(query, ResponseCode::NoError).to_vec().unwrap();
        bytes[7] = 2;
        // RDATA that no parser accepts, and none at all.
        let [high, low] = u16::from(query.queries[0].query_type()).to_be_bytes();
        bytes.extend([0xc0, 12, high, low, 0, 1, 0, 0, 0, 60, 0, 3, 0xff, 0xff, 0xff]);
        bytes.extend([0xc0, 12, high, low, 0, 1, 0, 0, 0, 60, 0, 0]);
        Reaction::Send(bytes)
    });
    let sidecar = Sidecar::start(settings(&upstream));
    for (asked, rtype) in (1..).zip([RecordType::HTTPS, RecordType::Unknown(0xfe01)]) {
        let packet = plain_query("www.example.com.", rtype).to_vec().unwrap();
        let [high, low] = u16::from(rtype).to_be_bytes();
        for _ in 0..2 {
            let reply = sidecar.exchange(&packet, Duration::from_secs(3)).unwrap();
            assert_eq!((reply[3] & 15, reply[7]), (0, 2));
            assert!(reply.ends_with(&[high, low, 0, 1, 0, 0, 0, 60, 0, 0]));
        }
        assert_eq!(upstream.seen(), asked);
    }
}
