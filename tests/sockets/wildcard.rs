//! A sidecar on the wildcard addresses of a host with several addresses: answers leave from the
//! address that was asked. Otherwise clients with a connected socket, which is all of them, would
//! never see an answer.
//!
//! The test needs a second IPv6 address, so it runs itself again in a network namespace that has
//! one. Where that is not allowed, it prints that it was skipped.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use hickory_proto::rr::RecordType;
use holdover::config::settings::Settings;
use holdover::core::upstream::UpstreamPolicy;

use crate::support::messages::{address, query};
use crate::support::sidecar::Sidecar;
use crate::support::upstream::{Reaction, Upstream};

/// The port on both wildcard addresses. It is fixed because the namespace belongs to this test
/// alone.
const PORT: u16 = 5399;

#[test]
fn answers_leave_from_the_address_that_was_asked_ipv4_and_ipv6() {
    let setup = "ip link set lo up && ip addr add 192.0.2.77/32 dev lo && ip -6 addr add 2001:db8::77/128 dev lo nodad";
    let inside = |then: &str| {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", &format!("{setup} && {then}"), "sh"]).arg(std::env::current_exe().unwrap());
        command.output()
    };
    if !inside("true").is_ok_and(|output| output.status.success()) {
        eprintln!(
            "SKIPPED answers_leave_from_the_address_that_was_asked_ipv4_and_ipv6: no network namespace with two \
             addresses can be made here"
        );
        return;
    }
    let output = inside("exec \"$1\" --ignored --exact wildcard::in_a_namespace_with_two_addresses").unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "run by the test above, in a namespace of its own"]
fn in_a_namespace_with_two_addresses() {
    let upstream = Upstream::start(|query, _| Reaction::Send(address(query, 60, 1)));
    let mut settings = Settings::standard();
    settings.listen.addresses = vec![(Ipv4Addr::UNSPECIFIED, PORT).into(), (Ipv6Addr::UNSPECIFIED, PORT).into()];
    settings.upstreams = vec![UpstreamPolicy::plain("test", vec![upstream.address])];
    let _sidecar = Sidecar::start(settings);
    let asked: [IpAddr; 4] = [
        Ipv4Addr::LOCALHOST.into(),
        "192.0.2.77".parse().unwrap(),
        Ipv6Addr::LOCALHOST.into(),
        "2001:db8::77".parse().unwrap(),
    ];
    for ip in asked {
        let from: IpAddr = if ip.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
        let socket = UdpSocket::bind((from, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        // An answer from another address does not reach a connected socket.
        socket.connect(SocketAddr::from((ip, PORT))).unwrap();
        // The first query waits for the upstream, and the second is answered by the receiving
        // thread, which sends in another way.
        for way in ["waiting", "from memory"] {
            socket
                .send(
                    &query(&format!("{}.example.com.", ip.to_string().replace([':', '.'], "x")), RecordType::A)
                        .to_vec()
                        .unwrap(),
                )
                .unwrap();
            assert!(socket.recv(&mut [0; 512]).is_ok(), "no answer from {ip} ({way})");
        }
    }
}
