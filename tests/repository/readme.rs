//! What the README shows is true: its commands run, its configuration is valid, and its tables are
//! those that the program renders.

use std::path::Path;
use std::process::{Command, Stdio};

use holdover::adapters::seed;
use holdover::config;
use holdover::config::settings::Settings;
use holdover::core::time::Timestamp;
use holdover::telemetry::exposition;

use crate::support::binary;

fn file(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The code blocks of the README in one language.
fn blocks(language: &str) -> Vec<String> {
    let readme = file("README.md");
    let opening = format!("```{language}\n");
    readme.split(&opening).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

fn holdover(arguments: &[&str]) -> Command {
    let mut command = binary::holdover();
    command.args(arguments);
    command
}

/// The README's configuration in a temporary file.
fn configuration() -> tempfile::NamedTempFile {
    let blocks = blocks("toml");
    assert_eq!(blocks.len(), 1);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &blocks[0]).unwrap();
    file
}

#[test]
fn every_command_is_one_that_is_run() {
    for command in blocks("sh").iter().flat_map(|block| block.lines()) {
        match command {
            // These two are run by `.ci/run` as they stand.
            "cargo test" | "cargo run --release -- drill" => {
                assert!(
                    file(".ci/run").lines().any(|line| line.replace("--locked", "").trim_end().ends_with(command)),
                    "{command}"
                );
            }
            // `tests/containers/run` reads these from the README, runs them and checks what each
            // has to show.
            command if command.starts_with("docker compose -f docker/compose.yaml ") => {
                assert!(file(".ci/run").contains("tests/containers/run"), "{command}");
            }
            "cargo install --path ." => assert!(file(".ci/run").contains("tests/packages/run"), "{command}"),
            // These are run by the tests below, and by `tests/storage/state_file.rs`.
            "holdover serve --listen 127.0.0.1:5353 --state /var/lib/holdover/state.redb" => {}
            "holdover serve --listen 127.0.0.1:5353"
            | "dig @127.0.0.1 -p 5353 example.com"
            | "holdover config check --config /etc/holdover/holdover.toml"
            | "holdover config show --config /etc/holdover/holdover.toml"
            | "holdover serve --config /etc/holdover/holdover.toml" => {}
            // These are run by `tests/process/admin.rs`, with its own paths.
            "holdover serve --listen 127.0.0.1:5353 --admin /run/holdover/admin.sock"
            | "holdover status --admin /run/holdover/admin.sock"
            | "holdover explain --admin /run/holdover/admin.sock service-0.example.com A"
            | "holdover cache list --admin /run/holdover/admin.sock --stale --below example.com --limit 2"
            | "holdover cache export --admin /run/holdover/admin.sock --output seed.json"
            | "holdover cache import --admin /run/holdover/admin.sock seed.json"
            | "holdover serve --listen 127.0.0.1:5353 --seed seed.json"
            | "holdover cache flush --admin /run/holdover/admin.sock www.example.com" => {}
            takeover if takeover.starts_with("holdover resolvconf ") || takeover.starts_with("holdover run ") => {}
            other => panic!("nothing runs `{other}`"),
        }
    }
}

#[test]
fn the_commands_around_resolv_conf_run() {
    let folder = tempfile::tempdir().unwrap();
    let (file, app) = (folder.path().join("resolv.conf"), folder.path().join("your-app"));
    let original = "nameserver 192.0.2.1\n";
    std::fs::write(&file, original).unwrap();
    std::fs::write(&app, "#!/bin/sh\ntest \"$*\" = '--its arguments'\n").unwrap();
    std::fs::set_permissions(&app, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let listen = binary::loopback().to_string();
    let (file, path) =
        (file.to_str().unwrap(), format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap()));
    let mut ran = 0;
    for command in blocks("sh").iter().flat_map(|block| block.lines()).filter_map(|line| line.strip_prefix("holdover "))
    {
        let words: Vec<&str> = command.split(' ').collect();
        // The host's own `resolv.conf` must stay as it is, and its port 53 may be taken.
        let words = match words[0] {
            "resolvconf" => [&words, &["--file", file][..]].concat(),
            "run" => [
                &["run", "--listen", &listen, "--nameserver", "127.0.0.1", "--resolv-conf", file, "--strict"],
                &words[1..],
            ]
            .concat(),
            _ => continue,
        };
        let out = holdover(&words).env("PATH", &path).output().unwrap();
        assert!(out.status.success(), "{words:?}: {out:?}");
        assert_eq!(std::fs::read_to_string(file).unwrap() == original, words[1] != "apply", "{words:?}");
        ran += 1;
    }
    assert_eq!((ran, std::fs::read_to_string(file).unwrap().as_str()), (4, original));
}

#[test]
fn the_configuration_is_valid() {
    let file = configuration();
    for command in ["check", "show"] {
        let out = holdover(&["config", command, "--config", file.path().to_str().unwrap()]).output().unwrap();
        assert!(out.status.success(), "{command}: {}", String::from_utf8_lossy(&out.stderr));
    }
}

#[test]
fn the_table_of_keys_is_the_programs() {
    let readme = file("README.md");
    let table =
        readme.split("<!-- configuration -->\n").nth(1).and_then(|rest| rest.split("<!-- end -->").next()).unwrap();
    assert_eq!(table.trim(), config::render::table().trim(), "the table in the README is `config::render::table()`");
}

#[test]
fn the_table_of_metrics_is_the_programs() {
    let readme = file("README.md");
    let table = readme.split("<!-- metrics -->\n").nth(1).and_then(|rest| rest.split("<!-- end -->").next()).unwrap();
    assert_eq!(table.trim(), exposition::table().trim(), "the table in the README is `telemetry::exposition::table()`");
}

#[test]
fn the_seed_that_it_shows_is_one() {
    let blocks = blocks("json");
    assert_eq!(blocks.len(), 1);
    let mut names = Vec::new();
    let policy = Settings::standard().policy;
    let left = seed::read_text(&blocks[0], &policy, Timestamp::from_secs(1_800_000_000), |own| {
        names.push(own.key.to_string())
    })
    .unwrap();
    assert_eq!((names, left.refused), (vec!["db.example.com. A".to_owned()], 0), "{:?}", left.mistakes);
}

#[test]
fn serving_with_a_configuration_and_with_a_flag_answers() {
    // The README's port may be taken on this host, so a flag covers the file's address. Nothing
    // answers at its upstreams.
    let file = configuration();
    for arguments in [vec![], vec!["--config", file.path().to_str().unwrap()]] {
        let listen = binary::loopback().to_string();
        let mut all = vec!["serve", "--listen", &listen];
        all.extend(&arguments);
        if arguments.is_empty() {
            all.extend(["--upstream", "127.0.0.1:9"]);
        }
        let mut child = holdover(&all).stderr(Stdio::null()).spawn().unwrap();
        let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
        // A query for localhost, which holdover answers without an upstream.
        let query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x09localhost\x00\x00\x01\x00\x01";
        let answered = (0..50).any(|_| {
            let _ = client.send_to(query, &listen);
            let mut answer = [0; 512];
            let heard = client.recv(&mut answer).is_ok_and(|length| length > query.len() && answer[..2] == query[..2]);
            if !heard {
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            heard
        });
        let _ = child.kill();
        let _ = child.wait();
        assert!(answered, "{all:?}");
    }
}
