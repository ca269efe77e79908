//! Names of a hosts file are answered from it, and it is read again when it changes.

use super::*;

/// A PTR query for 192.0.2.`last`.
fn pointer(last: u8) -> Message {
    query(&format!("{last}.2.0.192.in-addr.arpa."), RecordType::PTR)
}

/// Asks until the addresses are `wanted`. A change of the file is taken up within 3 s.
#[track_caller]
fn becomes(sidecar: &Sidecar, message: &Message, wanted: &[&str]) {
    let began = Instant::now();
    while addresses(&sidecar.ask(message)) != wanted {
        assert!(began.elapsed() < PATIENCE, "not {wanted:?}: {:?}", addresses(&sidecar.ask(message)));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn names_of_a_hosts_file_are_answered_without_an_upstream() {
    let (_folder, path) = file("hosts", "192.0.2.50 db.example.com db\n2001:db8::50 db\nwrong line\n");
    let upstream = upstream(60, 7);
    let sidecar = Sidecar::start(&upstream, &["--hosts", &path]);
    for ask in [ask, ask_tcp] {
        let told = |name, rtype| ask(sidecar.address, &query(name, rtype));
        let found = told("DB.example.com.", RecordType::A);
        assert_eq!((addresses(&found), found.answers[0].ttl), (vec!["192.0.2.50".to_owned()], 10));
        assert_eq!(addresses(&told("db.", RecordType::AAAA)), ["2001:db8::50"]);
        assert_eq!(addresses(&ask(sidecar.address, &pointer(50))), ["db.example.com."]);
        let nodata = told("db.example.com.", RecordType::AAAA);
        assert_eq!((nodata.answers.len(), nodata.metadata.response_code), (0, ResponseCode::NoError));
        assert_eq!(nodata.authorities.len(), 1, "with an SOA, so that it may be remembered");
    }
    assert_eq!(upstream.seen(), 0);
    assert_eq!(addresses(&sidecar.ask(&query("www.example.com.", RecordType::A))), ["192.0.2.7"]);
    let told: Vec<String> = sidecar.process.log().into_iter().filter(|line| line.contains("hosts file")).collect();
    assert!(told.len() == 1 && told[0].contains("line 3: does not begin with an IP address"), "{told:#?}");
}

#[test]
fn a_change_is_taken_up_and_a_file_that_vanishes_is_remembered() {
    let (_folder, path) = file("hosts", "192.0.2.50 db.example.com\n");
    let upstream = upstream(60, 7);
    let mut sidecar = Sidecar::start_with(|command, _| {
        command.args(["--upstream", &upstream.address.to_string()]).env("HOLDOVER_HOSTS_PATH", &path);
    });
    let db = query("db.example.com.", RecordType::A);
    assert_eq!(addresses(&sidecar.ask(&db)), ["192.0.2.50"]);
    std::fs::write(&path, "192.0.2.51 db.example.com\n").unwrap();
    becomes(&sidecar, &db, &["192.0.2.51"]);
    std::fs::remove_file(&path).unwrap();
    sidecar.process.wait_for("hosts file not read").expect("it is said");
    assert_eq!(addresses(&sidecar.ask(&db)), ["192.0.2.51"]);
    // A name that the file does not have any more is asked of the upstream.
    std::fs::write(&path, "192.0.2.52 other.example.com\n").unwrap();
    becomes(&sidecar, &query("other.example.com.", RecordType::A), &["192.0.2.52"]);
    assert_eq!(addresses(&sidecar.ask(&db)), ["192.0.2.7"]);
}

#[test]
fn without_a_hosts_file_that_can_be_read_it_starts_all_the_same() {
    let (folder, path) = file("hosts", "");
    std::fs::write(&path, vec![b'#'; (1 << 20) + 1]).unwrap();
    let upstream = upstream(60, 7);
    let folder = folder.path().to_str().unwrap();
    for (wrong, told) in [
        (path.as_str(), "is larger than 1024 KiB"),
        ("/no/such/file", "cannot be read"),
        (folder, "is not a file"),
        ("/dev/zero", "is not a file"),
    ] {
        let sidecar = Sidecar::start(&upstream, &["--hosts", wrong]);
        assert!(
            sidecar.process.log().iter().any(|line| line.contains("hosts file not read") && line.contains(told)),
            "{wrong}"
        );
        assert_eq!(addresses(&sidecar.ask(&query("www.example.com.", RecordType::A))), ["192.0.2.7"]);
    }
}
