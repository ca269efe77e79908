//! The server and the secrets change while holdover runs.

use hickory_proto::op::Message;
use hickory_proto::rr::RData;
use hickory_proto::rr::rdata::A;

use super::*;
use crate::support::waiting::eventually;

#[test]
fn a_password_that_is_changed_is_read_again() {
    if !is_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "password", "first\n");
    let (server, upstream) = (Server::start(&["--requirepass", "second"]), upstream());
    let instance = Instance::start(upstream.address, &server.url(), &[("PASSWORD_FILE", &file)]);
    instance.wait_until("it is refused", |status| {
        status["problem"].as_str().is_some_and(|problem| problem.contains("password"))
    });
    let _ = write(folder.path(), "password", "second\n");
    instance.wait_until("it is let in", |status| status["working"] == true);
}

#[test]
fn a_key_that_is_changed_is_used_while_the_connection_goes_on() {
    if !is_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "key", "old-key-old-key-old-key-old-key-old");
    let new = write(folder.path(), "new", "new-key-new-key-new-key-new-key-new");
    let server = Server::start(&[]);
    let _taught = teach(&server.url(), &["www.example.com"], &[("KEY_FILE", &new)]);
    let silent = silent();
    let mut instance = Instance::start(silent.address, &server.url(), &[ASKS[0], ("KEY_FILE", &file)]);
    instance.wait_until_reached();
    assert_eq!(instance.ask("www.example.com").metadata.response_code, ResponseCode::ServFail, "signed by another key");
    // The looks of the files are known soon after the start.
    std::thread::sleep(std::time::Duration::from_secs(1));
    std::fs::rename(&new, &file).unwrap();
    instance.process.wait_for("have changed: they are used from now on").expect("it is told");
    eventually("the answer is believed", PATIENCE, || instance.addresses("www.example.com") == ["192.0.2.1"]);
    assert!(instance.process.log().iter().all(|line| !line.contains("new-key")), "no secret is shown");
}

#[test]
fn a_key_that_becomes_unusable_is_told_and_the_former_one_used_further() {
    if !is_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "key", KEY);
    let server = Server::start(&[]);
    let upstream = upstream();
    let mut instance = Instance::start(upstream.address, &server.url(), &[("KEY_FILE", &file)]);
    instance.wait_until_reached();
    std::thread::sleep(std::time::Duration::from_secs(1));
    let _ = write(folder.path(), "key", "short");
    let line = instance.process.wait_for("what was read before is used further").expect("it is told");
    assert!(line.contains("holds 5 bytes") && line.contains("WARN"), "{line}");
    assert_eq!(instance.addresses("www.example.com"), ["192.0.2.1"]);
    instance.wait_until_published(1);
}

#[test]
fn a_single_server_that_redirects_is_not_followed() {
    if !is_here() {
        return;
    }
    let [a, b, c] = cluster();
    let upstream = upstream();
    // The keys of the group lie in one of the three; the others redirect to it.
    let mut redirected = 0;
    for server in [&a, &b, &c] {
        let instance = Instance::start(upstream.address, &server.url(), &[]);
        instance.wait_until("it is used or not", |status| {
            status["working"] == true
                || status["problem"].as_str().is_some_and(|told| told.contains("redis-cluster://"))
        });
        redirected += usize::from(instance.status()["working"] != true);
    }
    assert_eq!(redirected, 2);
}

#[test]
fn a_primary_that_was_demoted_is_left_when_its_name_leads_to_the_new_one() {
    if !is_here() {
        return;
    }
    let mut first = Server::start(&[]);
    let mut second =
        Server::prepare_at("127.0.0.2", first.port, &["--replicaof", "127.0.0.1", &first.port.to_string()]);
    second.again();
    // The name leads to the first server, and after the failover to the second.
    let leads_to = |last: u8| {
        move |query: &Message, _| {
            let cache = qname(query).to_string().starts_with("cache.");
            let address = if cache { A::new(127, 0, 0, last) } else { A::new(192, 0, 2, 1) };
            Reaction::Send(messages::answer(query, 1, RData::A(address)))
        }
    };
    let upstream = Upstream::start(leads_to(1));
    let url = format!("redis://cache.example.com:{}", first.port);
    let instance = Instance::start(upstream.address, &url, &[]);
    instance.wait_until_reached();
    assert_eq!(instance.addresses("one.example.com"), ["192.0.2.1"]);
    instance.wait_until_published(1);
    second.say::<()>(&["REPLICAOF", "NO", "ONE"]);
    first.say::<()>(&["REPLICAOF", "127.0.0.2", &second.port.to_string()]);
    upstream.set(leads_to(2));
    let is_published = || {
        let _ = instance.addresses("two.example.com");
        !second.say::<Vec<String>>(&["KEYS", "*two*"]).is_empty()
    };
    eventually("answers are published to the new primary", PATIENCE * 2, is_published);
    first.kill();
}
