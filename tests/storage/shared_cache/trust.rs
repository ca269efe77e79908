//! Only answers that were signed with the fleet's key are believed.

use super::*;

#[test]
fn nothing_is_believed_that_does_not_bear_the_signature_of_its_group_and_name() {
    if !is_here() {
        return;
    }
    let server = Server::start(&[]);
    let _other = teach(&server.url(), &["other-group.example.com"], &[("GROUP", "other")]);
    let first = teach(&server.url(), &["www.example.com", "flipped.example.com"], &[]);
    let good: Vec<u8> = server.tell(&[b"GET", &key_of("default", "www.example.com")]);
    let mut flipped: Vec<u8> = server.tell(&[b"GET", &key_of("default", "flipped.example.com")]);
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let foreign: Vec<u8> = server.tell(&[b"GET", &key_of("other", "other-group.example.com")]);
    let mut larger = good.clone();
    larger.resize(20 << 20, 7);
    let poison: [(&str, &[u8]); 6] = [
        ("flipped.example.com", &flipped),
        ("other-group.example.com", &foreign),
        ("replayed.example.com", &good),
        ("oversize.example.com", &larger),
        ("short.example.com", b"x"),
        ("unsigned.example.com", &good[..good.len() - 32]),
    ];
    for (name, bytes) in poison {
        server.tell::<()>(&[b"SET", &key_of("default", name), bytes]);
    }
    server.tell::<()>(&[b"LPUSH", &key_of("default", "list.example.com"), b"x"]);
    let silent = silent();
    let second = Instance::start(silent.address, &server.url(), ASKS);
    second.wait_until_reached();
    for (name, _) in poison {
        assert_eq!(second.ask(name).metadata.response_code, ResponseCode::ServFail, "{name}");
    }
    assert_eq!(second.ask("list.example.com").metadata.response_code, ResponseCode::ServFail);
    assert_eq!(second.addresses("www.example.com"), ["192.0.2.1"], "what is ours is");
    let ignored = second.count("ignored_entries", "wrong_signature") + second.count("ignored_entries", "malformed");
    assert!(ignored >= 6, "{}", second.status());
    let told =
        second.process.log().iter().filter(|line| line.contains("entries of the shared cache were ignored")).count();
    assert_eq!(told, 1, "once a minute");
    // An instance that learns the true answer overwrites the false one.
    assert_eq!(first.addresses("replayed.example.com"), ["192.0.2.1"]);
    first.wait_until_published(3);
    let third = Instance::start(silent.address, &server.url(), ASKS);
    third.wait_until_reached();
    assert_eq!(third.addresses("replayed.example.com"), ["192.0.2.1"]);
}

#[test]
fn an_index_that_breaks_the_connection_costs_the_start_fill_alone() {
    if !is_here() {
        return;
    }
    let server = Server::start(&[]);
    let _first = teach(&server.url(), &["www.example.com"], &[]);
    let huge = vec![b'x'; 4 << 20];
    server.tell::<()>(&[b"ZADD", b"holdover:{default}:hot", b"1e300", &huge]);
    let silent = silent();
    let mut second = Instance::start(silent.address, &server.url(), &[]);
    assert!(second.process.wait_for("learned the most requested names").is_some(), "it ends");
    second.wait_until_reached();
    assert_eq!(second.addresses("www.example.com"), ["192.0.2.1"]);
}

#[test]
fn keys_are_changed_without_a_gap() {
    if !is_here() {
        return;
    }
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let old = write(folder.path(), "old", "old-key-old-key-old-key-old-key-old");
    let new = write(folder.path(), "new", "new-key-new-key-new-key-new-key-new");
    let _old = teach(&server.url(), &["www.example.com"], &[("KEY_FILE", &old)]);
    let silent = silent();
    let both = [("START_NAMES", "0"), ("KEY_FILE", &*new), ("FORMER_KEY_FILE", &*old)];
    let second = Instance::start(silent.address, &server.url(), &both);
    let third = Instance::start(silent.address, &server.url(), &[("START_NAMES", "0"), ("KEY_FILE", &new)]);
    second.wait_until_reached();
    third.wait_until_reached();
    assert_eq!(second.addresses("www.example.com"), ["192.0.2.1"]);
    assert_eq!(third.ask("www.example.com").metadata.response_code, ResponseCode::ServFail, "who has only the new key");
    let _fourth = teach(&server.url(), &["later.example.com"], &both[1..]);
    assert_eq!(third.addresses("later.example.com"), ["192.0.2.1"], "the first key signs");
}
