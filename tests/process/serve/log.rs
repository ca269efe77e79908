//! The log as text and as JSON, and that no line is written per query.

use super::*;

/// Lets an upstream fall silent and come back, and gives all lines of the log.
fn live_through_an_outage(format: &str) -> Vec<String> {
    let upstream = upstream(1, 1);
    let mut sidecar = Sidecar::start(&upstream, &["--log-format", format]);
    let names: Vec<Message> = (0..4).map(|index| query(&format!("known{index}.example.com."), RecordType::A)).collect();
    for name in &names {
        assert_eq!(addresses(&sidecar.ask(name)), ["192.0.2.1"]);
    }
    upstream.set(|_, _| Reaction::Silence);
    std::thread::sleep(Duration::from_millis(1100));
    let until = |sidecar: &Sidecar, text: &str, check: &dyn Fn(&Message)| {
        let began = Instant::now();
        while !sidecar.process.log().iter().any(|line| line.contains(text)) {
            assert!(began.elapsed() < PATIENCE, "no {text:?}: {:#?}", sidecar.process.log());
            for name in &names {
                check(&sidecar.ask(name));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    until(&sidecar, "outage begins", &|answer| {
        assert_eq!(
            (addresses(answer), answer.metadata.response_code),
            (vec!["192.0.2.1".to_owned()], ResponseCode::NoError)
        );
    });
    for name in &names {
        let answer = sidecar.ask(name);
        assert_eq!(addresses(&answer), ["192.0.2.1"]);
        assert_eq!(extended_errors(&answer), [3], "EDE 3, stale answer (RFC 8914)");
    }
    assert_eq!(
        sidecar.ask(&query("unknown.example.com.", RecordType::A)).metadata.response_code,
        ResponseCode::ServFail
    );
    upstream.set(|query, _| Reaction::Send(address(query, 60, 2)));
    until(&sidecar, "outage ends", &|answer| assert_eq!(answer.metadata.response_code, ResponseCode::NoError));
    // After the upstream is back it takes one probe or one refresh until names are fresh again.
    let healed = Instant::now();
    while addresses(&sidecar.ask(&names[0])) != ["192.0.2.2"] {
        assert!(healed.elapsed() < Duration::from_secs(5), "fresh again");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(extended_errors(&sidecar.ask(&names[0])), Vec::<u16>::new());
    sidecar.process.signal(Signal::TERM);
    sidecar.process.wait_for("draining").unwrap();
    sidecar.process.signal(Signal::TERM);
    let ended = sidecar.process.finish(Duration::from_secs(5));
    assert_eq!(ended.code(), 0);
    ended.stderr.lines().map(str::to_owned).collect()
}

#[test]
fn an_outage_is_one_line_when_it_begins_and_one_when_it_ends() {
    let log = live_through_an_outage("text");
    let with = |text: &str| log.iter().filter(|line| line.contains(text)).collect::<Vec<_>>();
    let (began, ended) = (with("outage begins"), with("outage ends"));
    assert_eq!((began.len(), ended.len()), (1, 1), "{log:#?}");
    assert!(began[0].contains(" WARN ") && ended[0].contains(" INFO "), "{log:#?}");
    assert!((0.5..30.0).contains(&number(ended[0], "duration_seconds")), "{}", ended[0]);
    assert!(number(ended[0], "stale_answers") >= 4.0, "{}", ended[0]);
    assert!((number(ended[0], "names_served_stale") - 4.0).abs() < 0.1, "{}", ended[0]);
    assert!(number(ended[0], "failed_answers") >= 1.0, "{}", ended[0]);
    assert!(log.iter().all(|line| !line.contains('\u{1b}')), "no colours where nobody sees them: {log:#?}");
    assert!(log.len() < 15, "{log:#?}");
}

#[test]
fn an_outage_in_json_is_one_object_a_line() {
    let log = live_through_an_outage("json");
    let objects: Vec<Value> =
        log.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect();
    assert!(
        objects.iter().all(|object| object["timestamp"].is_string()
            && object["level"].is_string()
            && object["message"].is_string())
    );
    let with = |text: &str| objects.iter().filter(|object| object["message"] == text).collect::<Vec<_>>();
    let (began, ended) = (with("outage begins"), with("outage ends"));
    assert_eq!((began.len(), ended.len()), (1, 1), "{log:#?}");
    assert_eq!((began[0]["level"].as_str(), began[0]["zones"].as_str()), (Some("WARN"), Some(".")), "{log:#?}");
    assert!(
        ended[0]["duration_seconds"].as_f64().is_some_and(|seconds| (0.5..30.0).contains(&seconds)),
        "{}",
        ended[0]
    );
    assert!(ended[0]["stale_answers"].as_u64().is_some_and(|count| count >= 4), "{}", ended[0]);
    assert_eq!(ended[0]["names_served_stale"], 4);
    assert!(ended[0]["failed_answers"].as_u64().is_some_and(|count| count >= 1), "{}", ended[0]);
}

#[test]
fn nothing_is_logged_per_query() {
    let kind = Arc::new(AtomicU8::new(0));
    let turn = Arc::clone(&kind);
    // Positive answers, negative answers and SERVFAIL come in turn, with so few failures that no
    // outage begins.
    let upstream = Upstream::start(move |query, _| match turn.fetch_add(1, Ordering::Relaxed) % 8 {
        0 => Reaction::Send(messages::response(query, ResponseCode::ServFail).to_vec().unwrap()),
        1 => Reaction::Send(messages::negative(query, ResponseCode::NXDomain, 60)),
        _ => Reaction::Send(address(query, 60, 7)),
    });
    let sidecar = Sidecar::start(&upstream, &[]);
    let before = sidecar.process.log().len();
    for index in 0..500 {
        sidecar.ask(&query(&format!("logged{}.example.com.", index % 250), RecordType::A));
    }
    for index in 0..20 {
        ask_tcp(sidecar.address, &query(&format!("logged{index}.example.com."), RecordType::A));
    }
    let log = sidecar.process.log();
    assert!(log.iter().all(|line| !line.contains("logged")), "{log:#?}");
    assert!(log.len() <= before + 3, "{log:#?}");
}

/// Starts a sidecar that writes its log into this pipe, and waits until it answers.
fn with_log(pipe: &StalledPipe, upstream: &Upstream) -> Sidecar {
    let address = loopback();
    let mut command = holdover();
    command.args(["serve", "--listen", &address.to_string(), "--upstream", &upstream.address.to_string()]);
    let process = Running::spawn(command.stderr(pipe.end()));
    eventually("it answers", PATIENCE, || {
        try_ask(address, &query("localhost.", RecordType::A), Duration::from_millis(100)).is_some()
    });
    Sidecar { process, address }
}

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let (pipe, upstream) = (StalledPipe::full(), upstream(1, 1));
    let sidecar = with_log(&pipe, &upstream);
    let known = query("known.example.com.", RecordType::A);
    assert_eq!(addresses(&sidecar.ask(&known)), ["192.0.2.1"]);
    // The outage and its end would be logged.
    upstream.set(|_, _| Reaction::Silence);
    std::thread::sleep(Duration::from_millis(1100));
    eventually("an outage", PATIENCE, || extended_errors(&sidecar.ask(&known)) == [3]);
    upstream.set(|query, _| Reaction::Send(address(query, 60, 2)));
    eventually("fresh again", PATIENCE, || addresses(&sidecar.ask(&known)) == ["192.0.2.2"]);
    assert_eq!(addresses(&sidecar.ask(&query("new.example.com.", RecordType::A))), ["192.0.2.2"]);
    assert_eq!(addresses(&ask_tcp(sidecar.address, &query("tcp.example.com.", RecordType::A))), ["192.0.2.2"]);
    // The drain lasts for two seconds without a query.
    sidecar.process.signal(Signal::TERM);
    assert_eq!(sidecar.process.finish(Duration::from_secs(5)).code(), 0);
}

#[test]
fn an_error_that_nobody_reads_does_not_keep_the_process() {
    let pipe = StalledPipe::full();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let failed = |arguments: &[&str]| Running::spawn(holdover().args(arguments).stderr(pipe.end())).finish(PATIENCE);
    assert_eq!(failed(&["serve", "--listen", &taken, "--upstream", "192.0.2.1"]).code(), 69);
    assert_eq!(failed(&["serve", "--listen", "nonsense"]).code(), 64);
}
