//! SIGTERM and SIGINT begin the drain; how the drain and the process end.

use super::*;

#[test]
fn sigterm_and_sigint_drain_and_end_with_0() {
    let upstream = upstream(60, 7);
    std::thread::scope(|scope| {
        for (signal, name) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT")] {
            let upstream = &upstream;
            scope.spawn(move || {
                let mut sidecar = Sidecar::start(upstream, &[]);
                sidecar.ask(&query("before.example.com.", RecordType::A));
                let began = Instant::now();
                sidecar.process.signal(signal);
                let line = sidecar.process.wait_for("draining").unwrap();
                assert!(line.contains(name), "{line}");
                assert_eq!(addresses(&sidecar.ask(&query("meanwhile.example.com.", RecordType::A))), ["192.0.2.7"]);
                let ended = sidecar.process.finish(Duration::from_secs(8));
                assert_eq!(ended.code(), 0, "{ended:?}");
                assert!(
                    began.elapsed() >= Duration::from_millis(1900),
                    "it waits until two seconds have been idle: {:?}",
                    began.elapsed()
                );
                assert!(
                    ended.stderr.lines().last().is_some_and(|line| line.contains("stopped answered=2")),
                    "{}",
                    ended.stderr
                );
            });
        }
    });
}

#[test]
fn a_second_signal_ends_the_drain() {
    let upstream = upstream(60, 7);
    let mut sidecar = Sidecar::start_with(|command, _| {
        command.args(["--upstream", &upstream.address.to_string()]).env("HOLDOVER_DRAIN_IDLE", "20s");
    });
    sidecar.process.signal(Signal::TERM);
    sidecar.process.wait_for("draining").unwrap();
    sidecar.process.signal(Signal::TERM);
    assert_eq!(sidecar.process.finish(Duration::from_secs(5)).code(), 0);
}

#[test]
fn a_drain_under_load_ends_at_its_maximum() {
    let upstream = upstream(60, 7);
    let sidecar = Sidecar::start_with(|command, _| {
        command
            .args(["--upstream", &upstream.address.to_string()])
            .env("HOLDOVER_DRAIN_IDLE", "1s")
            .env("HOLDOVER_DRAIN_MAXIMUM", "1s");
    });
    let server = sidecar.address;
    sidecar.process.signal(Signal::TERM);
    let (stop, stopped) = mpsc::channel::<()>();
    let load = std::thread::spawn(move || {
        let (socket, packet) = (client(server), query("busy.example.com.", RecordType::A).to_vec().unwrap());
        while stopped.recv_timeout(Duration::from_millis(20)) == Err(mpsc::RecvTimeoutError::Timeout) {
            let _ = socket.send(&packet);
        }
    });
    let ended = sidecar.process.finish(Duration::from_secs(6));
    drop(stop);
    load.join().unwrap();
    assert_eq!(ended.code(), 0, "{ended:?}");
}

/// Sends a query for which the upstream needs 1.3 s, ends the process meanwhile, and expects the
/// answer. `idle` is the value of `drain.idle`.
#[track_caller]
fn expect_an_answer_in_the_drain(idle: &str, via: Via) {
    let upstream = Upstream::start(|query, _| Reaction::Late(Duration::from_millis(1300), address(query, 60, 7)));
    let sidecar = Sidecar::start_with(|command, _| {
        command.args(["--upstream", &upstream.address.to_string()]).env("HOLDOVER_DRAIN_IDLE", idle);
    });
    let packet = query("slow.example.com.", RecordType::A).to_vec().unwrap();
    let answer: Box<dyn FnOnce() -> Message> = match via {
        Via::Udp => {
            let socket = client(sidecar.address);
            socket.send(&packet).unwrap();
            Box::new(move || receive(&socket))
        }
        Via::Tcp => {
            let mut stream = TcpStream::connect_timeout(&sidecar.address, Duration::from_secs(5)).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            write_frame(&mut stream, &packet);
            Box::new(move || Message::from_vec(&read_frame(&mut stream).expect("an answer")).unwrap())
        }
    };
    let asked = Instant::now();
    while upstream.seen() == 0 {
        assert!(asked.elapsed() < Duration::from_secs(5), "the query goes upstream");
        std::thread::sleep(Duration::from_millis(5));
    }
    sidecar.process.signal(Signal::TERM);
    assert_eq!(addresses(&answer()), ["192.0.2.7"]);
    let ended = sidecar.process.finish(Duration::from_secs(8));
    assert_eq!(ended.code(), 0);
    assert!(ended.stderr.contains("stopped answered=1"), "{}", ended.stderr);
}

#[test]
fn a_query_that_waits_for_a_slow_upstream_is_answered_in_the_drain() {
    expect_an_answer_in_the_drain("2s", Via::Udp);
}

#[test]
fn a_query_over_tcp_that_waits_for_a_slow_upstream_is_answered_in_the_drain() {
    expect_an_answer_in_the_drain("2s", Via::Tcp);
}

#[test]
fn a_query_that_waits_longer_than_the_drain_is_idle_is_answered_too() {
    std::thread::scope(|scope| {
        for via in [Via::Udp, Via::Tcp] {
            scope.spawn(move || expect_an_answer_in_the_drain("0s", via));
        }
    });
}
