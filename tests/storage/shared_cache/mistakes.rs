//! Mistakes in the configuration of the shared cache are reported, and no message shows a secret.

use super::*;

#[test]
fn a_wrong_password_is_told_and_never_shown() {
    if !is_here() {
        return;
    }
    let server = Server::start(&["--requirepass", "right"]);
    let upstream = upstream();
    let instance = Instance::start(upstream.address, &server.url(), &[("PASSWORD", "not-the-right-one")]);
    instance.wait_until("it is refused", |status| {
        status["problem"].as_str().is_some_and(|problem| problem.contains("password"))
    });
    assert_eq!(instance.addresses("www.example.com"), ["192.0.2.1"]);
    let told = format!("{} {:?}", instance.everything(), instance.process.log());
    assert!(!told.contains("not-the-right-one") && !told.contains(KEY), "{told}");
}

#[test]
fn each_mistake_in_the_configuration_is_told_and_no_secret_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let key = write(folder.path(), "key", KEY);
    let key = key.as_str();
    let url = "redis://cache.example.com";
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("URL", url), ("GROUP", "web")], "shared_cache.key_file names no key"),
        (&[("URL", "cache.example.com"), ("KEY_FILE", key)], "has a scheme that is not known"),
        (&[("URL", "redis://me:s3cret@cache.example.com"), ("KEY_FILE", key)], "holds a user or password"),
        (&[("URL", "redis-sentinel://cache.example.com"), ("KEY_FILE", key)], "names sentinels but no primary"),
        (&[("URL", url), ("KEY_FILE", key), ("GROUP", "a{b}")], "is not a name for a group"),
        (&[("URL", url), ("KEY_FILE", key), ("TIMEOUT", "1ms")], "is out of range"),
        (&[("URL", url), ("KEY_FILE", key), ("USERNAME", "me")], "has no password"),
        (&[("URL", url), ("KEY_FILE", key), ("CA_FILE", "/ca.pem")], "does not use TLS: begin the URL with rediss"),
    ];
    for (settings, told) in cases {
        let mut command = holdover();
        command.args(["config", "check"]);
        settings.iter().for_each(|(name, value)| {
            command.env(format!("HOLDOVER_SHARED_CACHE_{name}"), value);
        });
        let finished = run(&mut command);
        assert_eq!(finished.code(), 78, "{settings:?}");
        assert!(
            finished.stderr.contains(told) && !finished.stderr.contains("s3cret"),
            "{settings:?}: {}",
            finished.stderr
        );
    }
}

#[test]
fn files_that_cannot_be_used_are_told_and_queries_are_answered_without_them() {
    let folder = tempfile::tempdir().unwrap();
    let key = write(folder.path(), "key", KEY);
    let short = write(folder.path(), "short", "too-short-to-be-a-key");
    let empty = write(folder.path(), "empty", "\n");
    let url = "rediss://cache.example.com";
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("KEY_FILE", "/nowhere/key")], "shared_cache.key_file: /nowhere/key cannot be read"),
        (&[("KEY_FILE", &short)], "holds 21 bytes. Allowed: 32 to 4096"),
        (&[("KEY_FILE", &key), ("FORMER_KEY_FILE", &short)], "shared_cache.former_key_file"),
        (&[("KEY_FILE", &key), ("PASSWORD_FILE", &empty)], "holds no password"),
        (&[("KEY_FILE", &key), ("CA_FILE", &empty)], "it holds no certificate"),
    ];
    for (settings, told) in cases {
        let set = |command: &mut std::process::Command| {
            command.env("HOLDOVER_SHARED_CACHE_URL", url);
            settings.iter().for_each(|(name, value)| {
                command.env(format!("HOLDOVER_SHARED_CACHE_{name}"), value);
            });
        };
        let mut check = holdover();
        set(check.args(["config", "check"]));
        let finished = run(&mut check);
        assert_eq!((finished.code(), finished.stdout.trim()), (0, "the configuration is valid"), "{settings:?}");
        assert!(
            finished.stderr.contains(told) && !finished.stderr.contains("too-short"),
            "{settings:?}: {}",
            finished.stderr
        );
        let mut serve = holdover();
        set(serve.args(["serve", "--listen", &binary::loopback().to_string(), "--upstream", "192.0.2.1"]));
        let mut served = Running::spawn(&mut serve);
        served.wait_for("ready").expect("it starts");
        let line = served.wait_for("shared cache is not used").expect("it is told");
        assert!(line.contains(told) && !line.contains("too-short"), "{settings:?}: {line}");
    }
}

#[test]
fn a_key_that_is_mounted_late_is_read_then() {
    if !is_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("late");
    let (server, upstream) = (Server::start(&[]), upstream());
    let instance = Instance::start(upstream.address, &server.url(), &[("KEY_FILE", path.to_str().unwrap())]);
    instance.wait_until("the file is missed", |status| {
        status["problem"].as_str().is_some_and(|problem| problem.contains("config check"))
    });
    assert_eq!(instance.addresses("www.example.com"), ["192.0.2.1"]);
    let _ = write(folder.path(), "late", KEY);
    instance.wait_until("it is used", |status| status["working"] == true);
}
