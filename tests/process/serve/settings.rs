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
        for arguments in [&["serve", "--listen", "127.0.0.1:0"][..], &["config", "check"]] {
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
