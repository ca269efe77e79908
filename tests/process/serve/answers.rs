//! Queries over UDP and TCP are answered on every listen address.

use super::*;

#[test]
fn it_answers_over_udp_and_tcp() {
    let upstream = upstream(60, 7);
    let sidecar = Sidecar::start(&upstream, &[]);
    assert_eq!(addresses(&sidecar.ask(&query("udp.example.com.", RecordType::A))), ["192.0.2.7"]);
    assert_eq!(addresses(&ask_tcp(sidecar.address, &query("tcp.example.com.", RecordType::A))), ["192.0.2.7"]);
    assert_eq!(addresses(&ask_tcp(sidecar.address, &query("udp.example.com.", RecordType::A))), ["192.0.2.7"]);
    let asked = sidecar.ask(&query("udp.example.com.", RecordType::AAAA));
    assert_eq!(addresses(&asked), ["2001:db8::7"]);
}

#[test]
fn several_addresses_are_comma_separated_or_repeated() {
    let upstream = upstream(60, 7);
    let further = [loopback(), free_address(Ipv4Addr::new(127, 0, 0, 2)), loopback()];
    let list = format!("{},{}", further[0], further[1]);
    let last = further[2].to_string();
    let sidecar = Sidecar::start(&upstream, &["--listen", &list, "--listen", &last]);
    for server in further.into_iter().chain([sidecar.address]) {
        assert_eq!(addresses(&ask(server, &query("many.example.com.", RecordType::A))), ["192.0.2.7"], "{server}");
        assert_eq!(addresses(&ask_tcp(server, &query("many.example.com.", RecordType::A))), ["192.0.2.7"], "{server}");
        assert!(
            sidecar.process.log().iter().any(|line| line.contains("listening") && line.contains(&server.to_string())),
            "{server}"
        );
    }
}

#[test]
fn it_answers_over_ipv6() {
    if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        eprintln!("SKIPPED it_answers_over_ipv6: this host has no ::1");
        return;
    }
    let upstream = upstream(60, 7);
    let six = free_address(Ipv6Addr::LOCALHOST);
    let _sidecar = Sidecar::start(&upstream, &["--listen", &six.to_string()]);
    assert_eq!(addresses(&ask(six, &query("six.example.com.", RecordType::A))), ["192.0.2.7"]);
    assert_eq!(addresses(&ask_tcp(six, &query("six.example.com.", RecordType::AAAA))), ["2001:db8::7"]);
}

#[test]
fn a_second_upstream_answers_for_the_first() {
    let (silent, good) = (Upstream::start(|_, _| Reaction::Silence), upstream(60, 9));
    let list = format!("{},{}", silent.address, good.address);
    let sidecar = Sidecar::start_with(|command, _| {
        command.args(["--upstream", &list]);
    });
    assert_eq!(addresses(&sidecar.ask(&query("either.example.com.", RecordType::A))), ["192.0.2.9"]);
}
