//! Flags cover environment variables, which cover the file; and the messages about wrong ones.

use super::*;

#[test]
fn wrong_usage_ends_with_64() {
    let cases: &[(&[&str], &str)] = &[
        (&[], "Usage: holdover"),
        (&["sevre"], "serve"),
        (&["serve", "--no-such-flag"], "--no-such-flag"),
        (&["serve", "--listne", "127.0.0.1:0"], "--listen"),
        (&["serve", "--listen"], "--listen"),
        (&["serve", "surplus"], "surplus"),
        (&["config", "chek"], "check"),
        (&["serve", "--maximum-stale", "soon"], "--maximum-stale soon is not a duration"),
        (&["serve", "--maximum-stale", "30d"], "Allowed: 0s to 7d"),
        (&["serve", "--client-response-timer", "5s"], "Allowed: adaptive, or 0s to 1800ms"),
        (&["serve", "--log-level", "loud"], "Allowed: error, warn, info, debug or trace"),
        (&["serve", "--log-format", "xml"], "Allowed: text or json"),
        (&["serve", "--listen", "localhost"], "--listen"),
        (&["serve", "--listen", ""], "--listen"),
        (&["serve", "--listen", "127.0.0.1:70000"], "--listen"),
        (&["serve", "--listen", "127.0.0.1:0", "--upstream", "dns.example.com"], "--upstream"),
        (&["serve", "--listen", "127.0.0.1:0", "--upstream", ""], "--upstream"),
        (
            &["serve", "--listen", "127.0.0.1:0", "--upstream", "192.0.2.1:0"],
            "names 192.0.2.1:0, where no resolver can be",
        ),
        (&["serve", "--listen", "127.0.0.1:0", "--upstream", "0.0.0.0"], "names 0.0.0.0:53, where no resolver can be"),
        (&["serve", "--listen", "127.0.0.1:0", "--upstream", "ff02::1"], "where no resolver can be"),
        (
            &["serve", "--listen", "224.0.0.1:5353", "--upstream", "192.0.2.1"],
            "names 224.0.0.1:5353, which is a multicast or broadcast address",
        ),
    ];
    for (arguments, told) in cases {
        let ended = run_with(arguments);
        assert_eq!(ended.code(), 64, "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(told), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stdout.is_empty(), "{arguments:?}: {}", ended.stdout);
    }
}

#[test]
fn help_and_version_are_no_mistakes() {
    for arguments in
        [&["--help"][..], &["--version"], &["serve", "--help"], &["drill", "--help"], &["config", "check", "--help"]]
    {
        let ended = run_with(arguments);
        assert_eq!(ended.code(), 0, "{ended:?}");
        assert!(ended.stderr.is_empty() && ended.stdout.contains("holdover"), "{ended:?}");
    }
}

#[test]
fn an_unknown_key_is_told_with_line_and_nearest_known_key() {
    let (_folder, path) = file("holdover.toml", "[cache]\nentries = 500\n\n[stale]\nmaximun = \"24h\"\n");
    for arguments in [&["serve", "--config", &path][..], &["config", "check", "--config", &path]] {
        let ended = run_with(arguments);
        assert_eq!(ended.code(), 78, "{ended:?}");
        assert_eq!(
            ended.stderr,
            format!("holdover: {path}:5: key \"maximun\" in [stale] is not known. Did you mean \"maximum\"?")
        );
    }
}

#[test]
fn a_file_that_is_missing_or_broken_is_told_with_its_path() {
    let (_folder, path) = file("holdover.toml", "[listen]\nthreads = = 2\n");
    let ended = run_with(&["serve", "--config", &path]);
    assert_eq!(ended.code(), 78, "{ended:?}");
    assert!(ended.stderr.starts_with(&format!("holdover: {path}:2: not TOML: ")), "{}", ended.stderr);
    let missing = format!("{path}.missing");
    let ended = run_with(&["config", "check", "--config", &missing]);
    assert_eq!(ended.code(), 78, "{ended:?}");
    assert!(
        ended.stderr.starts_with(&format!("holdover: {missing}: the configuration file cannot be read: ")),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_wrong_variable_is_told_by_name() {
    let cases = [
        (
            "HOLDOVER_STALE_MAXIMUN",
            "12h",
            "HOLDOVER_STALE_MAXIMUN is not a variable that holdover knows. Did you mean HOLDOVER_STALE_MAXIMUM?",
        ),
        ("HOLDOVER_STALE_MAXIMUM", "30d", "HOLDOVER_STALE_MAXIMUM=30d is out of range. Allowed: 0s to 7d."),
        ("HOLDOVER_UPSTREAM", "dns.example.com", "HOLDOVER_UPSTREAM=dns.example.com is not an IP address"),
        ("HOLDOVER_UPSTREAM", "", "HOLDOVER_UPSTREAM= names no address. Allowed: 1 to 8 IP addresses"),
        ("HOLDOVER_CONFIG", "/no/such/file.toml", "/no/such/file.toml: the configuration file cannot be read"),
    ];
    for (name, value, told) in cases {
        let serve = &["serve", "--listen", "127.0.0.1:0"][..];
        // A variable that is not known may be somebody else's, and does not prevent the start.
        let commands = if name == "HOLDOVER_STALE_MAXIMUN" { vec![] } else { vec![serve] };
        for arguments in commands.into_iter().chain([&["config", "check"][..]]) {
            let ended = run(holdover().args(arguments).env(name, value));
            assert_eq!(ended.code(), 78, "{name}={value}: {ended:?}");
            assert!(ended.stderr.contains(told), "{name}={value}: {}", ended.stderr);
        }
    }
    let ended = run(holdover().args(["config", "check"]).env("HOLDOVER_LISTEN_ADDRESSES", ""));
    assert_eq!(ended.code(), 78, "{ended:?}");
    assert!(ended.stderr.contains("HOLDOVER_LISTEN_ADDRESSES"), "{}", ended.stderr);
}

#[test]
fn the_default_file_is_printed_and_valid() {
    let printed = run_with(&["config", "default"]);
    assert_eq!(printed.code(), 0);
    let (_folder, path) = file("holdover.toml", &printed.stdout);
    let checked = run_with(&["config", "check", "--config", &path]);
    assert_eq!((checked.code(), checked.stdout), (0, format!("{path} is valid")));
}

#[test]
fn flags_cover_variables_which_cover_the_file() {
    let by = [11, 12, 13].map(|last| upstream(60, last));
    let is_json =
        |sidecar: &Sidecar| sidecar.process.log().iter().all(|line| serde_json::from_str::<Value>(line).is_ok());
    let answer = |sidecar: &Sidecar| addresses(&sidecar.ask(&query("who.example.com.", RecordType::A))).join(" ");
    let text = format!("[log]\nformat = \"json\"\n[[upstream]]\naddresses = [\"{}\"]\n", by[0].address);
    let (_folder, path) = file("holdover.toml", &text);
    let from_file = Sidecar::start_with(|command, _| {
        command.args(["--config", &path]);
    });
    assert_eq!((answer(&from_file).as_str(), is_json(&from_file)), ("192.0.2.11", true));
    let variables = [
        ("HOLDOVER_CONFIG", path.clone()),
        ("HOLDOVER_LOG_FORMAT", "text".into()),
        ("HOLDOVER_UPSTREAM", by[1].address.to_string()),
    ];
    let from_variables = Sidecar::start_with(|command, _| {
        command.envs(variables.clone());
    });
    assert_eq!((answer(&from_variables).as_str(), is_json(&from_variables)), ("192.0.2.12", false));
    let from_flags = Sidecar::start_with(|command, _| {
        command.envs(variables.clone()).args(["--log-format", "json", "--upstream", &by[2].address.to_string()]);
    });
    assert_eq!((answer(&from_flags).as_str(), is_json(&from_flags)), ("192.0.2.13", true));
}

#[test]
fn the_listen_address_of_a_flag_covers_that_of_a_variable() {
    let upstream = upstream(60, 7);
    let covered = loopback();
    let sidecar = Sidecar::start_with(|command, _| {
        command
            .args(["--upstream", &upstream.address.to_string()])
            .env("HOLDOVER_LISTEN_ADDRESSES", covered.to_string());
    });
    assert_eq!(addresses(&sidecar.ask(&query("here.example.com.", RecordType::A))), ["192.0.2.7"]);
    assert!(
        TcpStream::connect_timeout(&covered, Duration::from_secs(1)).is_err(),
        "nobody listens where the variable said"
    );
}

#[test]
fn signals_of_other_daemons_do_not_end_it() {
    let upstream = upstream(60, 7);
    let sidecar = Sidecar::start(&upstream, &[]);
    for signal in [Signal::USR1, Signal::USR2, Signal::ALARM, Signal::HUP, Signal::VTALARM, Signal::PROF, Signal::IO] {
        sidecar.process.signal(signal);
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(addresses(&sidecar.ask(&query("www.example.com.", RecordType::A))), ["192.0.2.7"], "{signal:?}");
    }
    sidecar.process.signal(Signal::TERM);
    sidecar.process.signal(Signal::TERM);
    assert_eq!(sidecar.process.finish(PATIENCE).code(), 0);
}

#[test]
fn a_foreign_variable_does_not_prevent_the_start_and_config_check_complains() {
    let upstream = upstream(60, 7);
    for (name, value) in [("HOLDOVER_VERSION", "0.1.0"), ("HOLDOVER_IMAGE", "registry.example.com/holdover")] {
        let mut sidecar = Sidecar::start_with(|command, _| {
            command.args(["--upstream", &upstream.address.to_string()]).env(name, value);
        });
        assert_eq!(addresses(&sidecar.ask(&query("www.example.com.", RecordType::A))), ["192.0.2.7"]);
        let line = sidecar.process.wait_for(name).expect("it is logged");
        assert!(line.contains(" WARN ") && line.contains("is not a variable that holdover knows"), "{line}");
        let check = |flags: &[&str]| run(holdover().args(["config", "check"]).args(flags).env(name, value));
        let refused = check(&[]);
        assert_eq!(refused.code(), 78, "{refused:?}");
        assert!(refused.stderr.contains(name), "{refused:?}");
        let allowed = check(&["--lenient"]);
        assert!(allowed.code() == 0 && allowed.stderr.contains(name), "{allowed:?}");
        // A health check with the same environment is not concerned.
        let healthy = run(holdover().args(["check", "--server", &sidecar.address.to_string()]).env(name, value));
        assert_eq!(healthy.code(), 0, "{healthy:?}");
        let mut command = holdover();
        let healthy =
            run(command.arg("check").env(name, value).env("HOLDOVER_LISTEN_ADDRESSES", sidecar.address.to_string()));
        assert_eq!(healthy.code(), 0, "{healthy:?}");
    }
}

#[test]
fn each_effective_value_is_shown_with_its_source_and_no_password_is() {
    let text = "[stale]\nmaximum = \"2d\"\nanswer_ttl = \"20s\"\n\n[[upstream]]\naddresses = [\"192.0.2.1\"]\n";
    let (_folder, path) = file("holdover.toml", text);
    let show = |flags: &[&str]| {
        let mut command = holdover();
        command.args(["config", "show", "--config", &path, "--maximum-stale", "3d"]).args(flags);
        run(command.env("HOLDOVER_CACHE_ENTRIES", "500").env("HOLDOVER_SHARED_CACHE_PASSWORD", "hush-hush"))
    };
    let shown = show(&[]);
    assert_eq!((shown.code(), shown.stderr.as_str()), (0, ""), "{shown:?}");
    for (value, source) in [
        ("maximum = \"3d\" ", "--maximum-stale"),
        ("answer_ttl = \"20s\" ", &format!("{path}:3")),
        ("entries = 500 ", "HOLDOVER_CACHE_ENTRIES"),
        ("addresses = [\"192.0.2.1\"] ", &format!("{path}:6")),
        ("recheck_maximum = ", "default"),
    ] {
        let found = shown.stdout.lines().any(|line| line.starts_with(value) && line.ends_with(&format!(" # {source}")));
        assert!(found, "{value:?} from {source} is not in\n{}", shown.stdout);
    }
    let json = show(&["--json"]).stdout;
    let values: serde_json::Value = serde_json::from_str(&json).unwrap();
    let find = |key: &str| values.as_array().unwrap().iter().find(|own| own["key"] == key).cloned().unwrap();
    assert_eq!(find("stale.maximum")["source"], "--maximum-stale", "{json}");
    assert_eq!(find("cache.entries")["value"], 500);
    assert_eq!(find("upstream[0].addresses")["value"][0], "192.0.2.1");
    assert!(!json.contains("hush") && !shown.stdout.contains("hush"));
    let (_folder, path) = file("holdover.toml", "[stale]\nmaximum = \"30d\"\n");
    let refused = run_with(&["config", "show", "--config", &path]);
    assert!(refused.code() == 78 && refused.stderr.contains("Allowed: 0s to 7d"), "{refused:?}");
}

#[test]
fn keys_of_a_newer_version_are_logged_where_that_is_asked_for() {
    let upstream = upstream(60, 7);
    let (_folder, path) = file("holdover.toml", "[cache]\nsize = \"4MiB\"\nnewer = 1\n\n[newest]\nkey = 2\n");
    let refused = run_with(&["serve", "--config", &path]);
    assert_eq!(refused.code(), 78);
    let mut sidecar = Sidecar::start(&upstream, &["--config", &path, "--lenient"]);
    for unknown in ["key \"newer\" in [cache] is not known", "section \"newest\" is not known"] {
        assert!(sidecar.process.wait_for(unknown).is_some_and(|line| line.contains(" WARN ")), "{unknown}");
    }
    let check = |flags: &[&str]| run_with(&[&["config", "check", "--config", &path], flags].concat());
    assert_eq!((check(&[]).code(), check(&["--lenient"]).code()), (78, 0));
    assert!(check(&["--lenient"]).stderr.contains("\"newer\""));
}

#[test]
fn an_unknown_name_hides_no_other_mistake() {
    let (_folder, path) = file("holdover.toml", "[cache]\nnewer = 1\nsize = \"4MB\"\n");
    let told = run(holdover().args(["config", "check", "--config", &path]).env("HOLDOVER_ZZZ", "1")).stderr;
    for part in ["3 problems", "key \"newer\"", "cache.size = \"4MB\"", "HOLDOVER_ZZZ"] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
}

#[test]
fn what_is_hardly_meant_is_told_and_valid() {
    for (text, told) in [
        ("[[upstream]]\naddresses = [\"192.0.2.1\", \"192.0.2.1:53\"]\n", "is 192.0.2.1:53 once more"),
        ("[[upstream]]\naddresses = [\"2001:db8::1:53\"]\n", "write \"[2001:db8::1]:53\" if 53 is the port"),
        (
            "[[upstream]]\nname = \"a\"\naddresses = [\"192.0.2.1\"]\n[[upstream]]\nname = \"b\"\naddresses = \
             [\"192.0.2.1\"]\n",
            "has the address 192.0.2.1:53, which \"a\" has as well",
        ),
        ("[[upstream]]\naddresses = [\"192.0.2.1\"]\nrole = \"fallback\"\n", "has the role fallback, but"),
        ("[state]\npath = \"~/state.redb\"\n", "begins with ~, which is not replaced"),
        ("[listen]\naddresses = [\"127.0.0.1\", \"127.0.0.1:53\"]\n", "is 127.0.0.1:53 once more"),
    ] {
        let (_folder, path) = file("holdover.toml", text);
        let checked = run_with(&["config", "check", "--config", &path]);
        assert!(checked.code() == 0 && checked.stderr.contains(told), "{told} is not in {checked:?}");
    }
}

#[test]
fn what_can_only_be_a_mistake_is_refused_with_what_to_write() {
    let upstream = "[[upstream]]\naddresses = [\"192.0.2.1\"]\n";
    for (text, told) in [
        (format!("{upstream}zones = [\"*.corp.example.com\"]\n"), "write \"corp.example.com\""),
        (format!("{upstream}zones = [\".corp.example.com\"]\n"), "write \"corp.example.com\""),
        (format!("{upstream}zones = [\"a.*.example.com\"]\n"), "has a wildcard, which matches nothing here"),
        (format!("{upstream}[[stale.suffix]]\nname = \"~corp.example.com\"\n"), "write \"corp.example.com\""),
        (format!("{upstream}[[critical]]\nname = \"*.corp.example.com\"\n"), "write \"corp.example.com\""),
        (format!("{upstream}protocol = \"tls\"\n"), "asks for DNS over TLS, which this version does not speak"),
        ("[[upstream]]\naddresses = [\"tls://192.0.2.1\"]\n".to_owned(), "asks for tls, which holdover does not speak"),
        ("[[upstream]]\naddresses = [\"192.0.2.1#53\"]\n".to_owned(), "write \"192.0.2.1:53\""),
    ] {
        let (_folder, path) = file("holdover.toml", &text);
        let refused = run_with(&["config", "check", "--config", &path]);
        assert!(refused.code() == 78 && refused.stderr.contains(told), "{told} is not in {refused:?}");
        assert!(!text.contains("zones") || !refused.stderr.contains("get the default"), "{refused:?}");
    }
}

#[test]
fn upstreams_are_asked_once_where_that_is_asked_for() {
    let (upstream, dead) = (upstream(60, 7), loopback());
    let text = |address: SocketAddr, protocol: &str| {
        format!("[[upstream]]\nname = \"vpc\"\naddresses = [\"{address}\"]\nprotocol = \"{protocol}\"\n")
    };
    let asked = |text: &str| {
        let (_folder, path) = file("holdover.toml", text);
        run_with(&["config", "check", "--config", &path, "--ask"])
    };
    for protocol in ["udp", "tcp"] {
        let well = asked(&text(upstream.address, protocol));
        assert_eq!(well.code(), 0, "{well:?}");
        assert!(well.stdout.contains(&format!("vpc@{} answers, after ", upstream.address)), "{well:?}");
        let ill = asked(&text(dead, protocol));
        assert!(ill.code() == 1 && ill.stdout.contains(&format!("vpc@{dead} does not answer")), "{ill:?}");
    }
    // The health check asks them only with the flag.
    let sidecar = Sidecar::start(&upstream, &[]);
    let check = |flags: &[&str]| {
        let address = sidecar.address.to_string();
        let upstream = dead.to_string();
        let mut command = holdover();
        run(command.args(["check", "--server", &address]).args(flags).env("HOLDOVER_UPSTREAM", &upstream)).code()
    };
    assert_eq!((check(&[]), check(&["--upstream"])), (0, 1));
}
