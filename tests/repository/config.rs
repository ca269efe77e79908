//! The configuration as operators meet it: files, environment variables, flags, and the messages
//! about mistakes.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use holdover::config::layer::{GivenValue, Layer, Raw, ValueSource};
use holdover::config::quantity::{read_duration, read_size, show_duration, show_size};
use holdover::config::settings::{Admin, Settings};
use holdover::config::{self, Flags, file, render, validate};
use holdover::core::network;
use holdover::core::policy::ClientResponseTimer;
use holdover::core::upstream::{Role, Transport};
use proptest::prelude::*;

/// The settings that a file's text gives, or the message about its mistakes.
fn read(text: &str) -> Result<Settings, String> {
    file::parse("holdover.toml", text).and_then(|layer| validate::validate(&layer)).map_err(|error| error.to_string())
}

/// The message about the mistakes in a file's text.
fn message(text: &str) -> String {
    read(text).expect_err("not accepted")
}

fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn the_default_file_is_rendered_from_the_types_and_means_the_defaults() {
    let text = std::fs::read_to_string(repository("config/default.toml")).unwrap();
    assert_eq!(text, render::default_file(), "run: cargo run -- config default > config/default.toml");
    assert_eq!(read(&text), Ok(Settings::standard()));
}

#[test]
fn every_example_is_valid() {
    let mut found = 0;
    for entry in std::fs::read_dir(repository("config/examples")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(read(&text).is_ok(), "{}: {}", path.display(), message(&text));
        found += 1;
    }
    assert!(found >= 3, "{found} examples");
}

#[test]
fn the_commented_tables_of_the_default_file_are_valid_when_uncommented() {
    let text = render::default_file();
    let tables: Vec<&str> = text.split("\n\n").filter(|block| block.contains("# [[")).collect();
    assert_eq!(tables.len(), 3);
    for table in tables {
        let live: String = table
            .lines()
            .filter_map(|line| {
                line.strip_prefix("# ")
                    .filter(|rest| rest.starts_with("[[") || rest.contains(" = ") && !rest.starts_with('#'))
            })
            .map(|line| format!("{line}\n"))
            .collect();
        assert!(read(&live).is_ok(), "{live}\n{}", message(&live));
    }
}

#[test]
fn a_whole_file_is_understood() {
    let settings = read(
        r#"
        [listen]
        addresses = ["0.0.0.0:5353", "[::1]:53"]
        threads = 2

        [[upstream]]
        name = "vpc"
        addresses = ["192.0.2.1", "192.0.2.2:5353"]

        [[upstream]]
        addresses = ["2001:db8::1"]
        protocol = "tcp"
        zones = ["Corp.example.com"]
        role = "fallback"

        [stale]
        client_response_timer = "150ms"
        maximum = "2d"
        [[stale.suffix]]
        name = "db.example.com"
        maximum = "1h"
        ttl_zero = "keep"
        "#,
    )
    .unwrap();
    assert_eq!(settings.listen.threads, 2);
    assert_eq!(settings.listen.clients, network::PRIVATE, "nobody runs an open resolver by accident");
    assert_eq!(Settings::standard().listen.clients, network::LOOPBACK, "on loopback only this host is answered");
    assert_eq!(settings.upstreams[0].addresses[1], "192.0.2.2:5353".parse().unwrap());
    let fallback = &settings.upstreams[1];
    assert_eq!(
        (fallback.name.as_str(), fallback.transport, fallback.role),
        ("[2001:db8::1]:53", Transport::Tcp, Role::Fallback)
    );
    assert_eq!(&*fallback.zones[0], b"\x04corp\x07example\x03com\x00");
    assert_eq!(settings.policy.stale.client_response_timer, ClientResponseTimer::Fixed(Duration::from_millis(150)));
    assert_eq!(settings.policy.stale.suffixes[0].maximum, Duration::from_secs(3600));
}

#[test]
fn messages_name_file_line_key_value_and_what_is_allowed() {
    let cases = [
        (
            "[stale]\nmaximun = \"24h\"",
            "holdover.toml:2: key \"maximun\" in [stale] is not known. Did you mean \"maximum\"?",
        ),
        (
            "[stael]\nmaximum = \"24h\"",
            "holdover.toml:1: section \"stael\" is not known. Did you mean [stale]? Known sections: [listen] \
             [[upstream]] [stale] [[stale.suffix]] [cache] [answers] [hosts] [state] [shared_cache] [prefetch] \
             [budget] [attempts] [health] [admin] [[critical]] [ready] [drain] [log].",
        ),
        (
            "[stale]\n\nmaximum = \"30d\"",
            "holdover.toml:3: stale.maximum = \"30d\" is out of range. Allowed: 0s to 7d. Change it, or delete the \
             key to get the default.",
        ),
        (
            "[stale]\nmaximum = 30",
            "holdover.toml:2: stale.maximum = 30 is not a duration with a unit, such as \"200ms\", \"30s\" or \
             \"24h\". Allowed: 0s to 7d. Change it, or delete the key to get the default.",
        ),
        (
            "[cache]\nsize = \"8MB\"",
            "holdover.toml:2: cache.size = \"8MB\" is not a size with a unit, such as \"512KiB\" or \"8MiB\". \
             Allowed: 1MiB to 4GiB. Change it, or delete the key to get the default.",
        ),
        (
            "[[upstream]]\nname = \"vpc\"",
            "holdover.toml:1: [[upstream]] has no addresses. Add a line such as addresses = [\"192.0.2.1\"].",
        ),
        (
            "[[upstream]]\naddresses = [\"dns.example.com\"]",
            "holdover.toml:2: upstream.addresses = \"dns.example.com\" is not an IP address with an optional port, \
             such as 192.0.2.1, 192.0.2.1:5353 or [2001:db8::1]:53. \
             Allowed: 1 to 8 IP addresses, each with an optional port, none of them holdover's own. Change it.",
        ),
        (
            "[[upstream]]\naddresses = [\"127.0.0.1\"]",
            "holdover.toml:2: upstream.addresses = [\"127.0.0.1\"] names an address on which holdover itself listens, \
             so that every query would come back to it. \
             Allowed: 1 to 8 IP addresses, each with an optional port, none of them holdover's own. Change it.",
        ),
        (
            "[state]\npath = \"/var/lib/holdover/\"",
            "holdover.toml:2: state.path = \"/var/lib/holdover/\" is not the path of a file. Allowed: auto, off or a \
             path. Change it, or delete the key to get the default.",
        ),
        (
            "[log]\nlevel = \"loud\"",
            "holdover.toml:2: log.level = \"loud\" is not a word that this key takes. Allowed: error, warn, info, \
             debug or trace. Change it, or delete the key to get the default.",
        ),
        (
            "[upstream]\naddresses = [\"192.0.2.1\"]",
            "holdover.toml:1: upstream is a section that may be repeated: write [[upstream]] and its keys below.",
        ),
        (
            "[attempts]\nsecond_after = \"2s\"",
            "holdover.toml:2: attempts.second_after = \"2s\" makes attempts.second_after (2s) longer than \
             attempts.third_after (1s). Allowed: 20ms to 5s. Change it, or delete the key to get the default.",
        ),
        (
            "[admin]\naddress = \"localhost\"",
            "holdover.toml:2: admin.address = \"localhost\" is neither a path nor an address. Allowed: off, an \
             absolute path of up to 90 bytes, or an IP address with an optional port (9053). \
             Change it, or delete the key to get the default.",
        ),
        (
            "[cache]\nseed = [\"/a.json\", 7]",
            "holdover.toml:2: cache.seed = 7 is not a path. Allowed: up to 16 paths. Change it, or delete the key to \
             get the default.",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(message(text), expected);
    }
}

#[test]
fn the_admin_interface_is_off_unless_named_and_refuses_other_hosts_unless_they_may_read() {
    let admin = |text: &str| read(text).map(|settings| settings.admin);
    assert_eq!((admin(""), admin("[admin]\naddress = \"off\"")), (Ok(None), Ok(None)));
    assert_eq!(
        admin("[admin]\naddress = \"/run/holdover/admin.sock\""),
        Ok(Some(Admin::Path("/run/holdover/admin.sock".into())))
    );
    assert_eq!(admin("[admin]\naddress = \"::1\""), Ok(Some(Admin::Address("[::1]:9053".parse().unwrap()))));
    let told = message("[admin]\naddress = \"0.0.0.0:9053\"");
    assert!(told.contains("is an address that other hosts may reach, but admin.remote is \"refuse\""), "{told}");
    let remote = admin("[admin]\naddress = \"0.0.0.0:9053\"\nremote = \"read\"");
    assert_eq!(remote, Ok(Some(Admin::Address("0.0.0.0:9053".parse().unwrap()))));
    for wrong in ["run/admin.sock", "/run/", "127.0.0.1:99999", "", &format!("/{}", "a".repeat(90))] {
        assert!(admin(&format!("[admin]\naddress = \"{wrong}\"")).is_err(), "{wrong}");
    }
}

#[test]
fn seeds_are_a_list_in_the_file_and_comma_separated_in_the_environment() {
    let settings = read("[cache]\nseed = [\"/etc/holdover/seed.json\", \"other.json\"]").unwrap();
    assert_eq!(settings.seeds, [PathBuf::from("/etc/holdover/seed.json"), PathBuf::from("other.json")]);
    let variables = [(OsString::from("HOLDOVER_CACHE_SEED"), OsString::from("/a.json, /b.json"))];
    let settings = config::load(Flags::default(), variables.into_iter()).unwrap();
    assert_eq!(settings.seeds, [PathBuf::from("/a.json"), PathBuf::from("/b.json")]);
    let many = (0..17).map(|index| format!("\"/{index}.json\"")).collect::<Vec<_>>().join(", ");
    assert!(message(&format!("[cache]\nseed = [{many}]")).contains("names too many files"));
}

#[test]
fn the_hosts_file_is_off_unless_named() {
    assert_eq!(Settings::standard().hosts, None);
    assert_eq!(read("[hosts]\npath = \"off\"\n").unwrap().hosts, None);
    assert_eq!(read("[hosts]\npath = \"/etc/hosts\"\n").unwrap().hosts, Some("/etc/hosts".into()));
    for value in ["\"\"", "\"/etc/\"", "true"] {
        let told = message(&format!("[hosts]\npath = {value}\n"));
        assert!(told.starts_with("holdover.toml:2: ") && told.contains("Allowed: off or a path"), "{told}");
    }
}

#[test]
fn critical_names_have_types_and_an_age() {
    let text = "[ready]\ntimeout = \"0s\"\n[[critical]]\nname = \"DB.example.com.\"\n[[critical]]\nname = \
                \"api.example.com\"\ntypes = [\"https\", \"TYPE1234\"]\nmax_age = \"5m\"\n";
    let policy = read(text).unwrap().policy;
    assert!(policy.ready_timeout.is_zero());
    let critical = &policy.critical;
    assert_eq!(
        (&*critical[0].name, critical[0].types.as_slice()),
        (b"\x02db\x07example\x03com\x00".as_slice(), [1, 28].as_slice())
    );
    assert_eq!((critical[0].max_age, critical[1].max_age), (Duration::from_secs(3600), Duration::from_secs(300)));
    assert_eq!(critical[1].types, [65, 1234]);
}

#[test]
fn wrong_critical_names_say_what_is_allowed() {
    let cases = [
        (
            "max_age = \"1h\"",
            "holdover.toml:1: [[critical]] has no name. Add a line such as name = \"db.example.com\".",
        ),
        ("name = \"a..b\"", "holdover.toml:2: critical.name = \"a..b\" is not a domain name. Allowed: a domain name"),
        (
            "name = \"db.localhost\"",
            "holdover.toml:2: critical.name = \"db.localhost\" is answered by holdover itself, which never asks an \
             upstream for it. Allowed: ",
        ),
        (
            "name = \"a.test\"\n[[critical]]\nname = \"A.test.\"",
            "holdover.toml:4: critical.name = \"A.test.\" is named twice. Allowed: ",
        ),
        (
            "name = \"a.test\"\ntypes = [\"ANY\"]",
            "holdover.toml:3: critical.types = \"ANY\" is not a type. Allowed: 1 to 4 of A, AAAA, ",
        ),
        ("name = \"a.test\"\ntypes = []", "holdover.toml:3: critical.types = [] names no type. Allowed: "),
        (
            "name = \"a.test\"\ntypes = [\"A\", \"a\"]",
            "holdover.toml:3: critical.types = \"a\" is named twice. Allowed: ",
        ),
        ("name = \"a.test\"\ntypes = [\"A\",\"MX\",\"NS\",\"TXT\",\"SRV\"]", "is named too many"),
        (
            "name = \"a.test\"\nmax_age = \"1s\"",
            "holdover.toml:3: critical.max_age = \"1s\" is out of range. Allowed: 5s to 7d. ",
        ),
    ];
    for (table, expected) in cases {
        let told = message(&format!("[[critical]]\n{table}\n"));
        let expected = expected.replace(
            "is named too many",
            "holdover.toml:3: critical.types = [\"A\", \"MX\", \"NS\", \"TXT\", \"SRV\"] names too many types",
        );
        assert!(told.starts_with(&expected), "{told}\n{expected}");
    }
    let many: String = (0..66).map(|index| format!("[[critical]]\nname = \"n{index}.test\"\n")).collect();
    assert!(
        message(&many).starts_with("holdover.toml:129: [[critical]] is one too many. Allowed: 64 names."),
        "{}",
        message(&many)
    );
}

#[test]
fn what_is_not_toml_is_told_with_its_line() {
    let told = message("[listen]\nthreads = = 2\n");
    assert!(told.starts_with("holdover.toml:2: not TOML: "), "{told}");
    assert!(told.contains("holdover config default"), "{told}");
}

#[test]
fn several_mistakes_are_told_at_once() {
    let told = message("[stale]\nmaximum = \"30d\"\nanswer_ttl = \"1h\"\n[budget]\nper_second = 1\n");
    assert!(told.starts_with("3 problems in the configuration:\n  holdover.toml:"), "{told}");
    assert_eq!(told.lines().count(), 4);
}

#[test]
fn flags_cover_the_environment_which_covers_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("holdover.toml");
    std::fs::write(&path, "[stale]\nmaximum = \"1h\"\nanswer_ttl = \"10s\"\n[cache]\nentries = 500\n").unwrap();
    let mut layer = Layer::default();
    layer.values.insert(
        "stale.maximum",
        GivenValue { raw: Raw::Word("3h".into()), source: ValueSource::Flag("--maximum-stale") },
    );
    let variables = [("HOLDOVER_STALE_MAXIMUM", "2h"), ("HOLDOVER_STALE_ANSWER_TTL", "20s")]
        .map(|(n, v)| (OsString::from(n), OsString::from(v)));
    let flags = Flags { config: Some(path), layer, ..Flags::default() };
    let settings = config::load(flags, variables.into_iter()).unwrap();
    assert_eq!(settings.policy.stale.maximum, Duration::from_secs(3 * 3600));
    assert_eq!(settings.policy.stale.answer_ttl, Duration::from_secs(20));
    assert_eq!(settings.policy.cache.entries, 500);
}

#[test]
fn a_wrong_flag_is_usage_and_a_wrong_file_is_configuration() {
    let code = |source: ValueSource| {
        let mut layer = Layer::default();
        layer.values.insert("stale.maximum", GivenValue { raw: Raw::Word("soon".into()), source });
        validate::validate(&layer).unwrap_err().exit_code()
    };
    assert_eq!(code(ValueSource::Flag("--maximum-stale")), 64);
    assert_eq!(code(ValueSource::Variable("HOLDOVER_STALE_MAXIMUM".into())), 78);
    let missing = config::load(Flags { config: Some("/no/such/file".into()), ..Flags::default() }, std::iter::empty())
        .unwrap_err();
    assert_eq!(missing.exit_code(), 78);
    assert!(missing.to_string().starts_with("/no/such/file: the configuration file cannot be read: "), "{missing}");
}

#[test]
fn a_file_that_is_too_large_or_not_text_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("holdover.toml");
    let load = || {
        config::load(Flags { config: Some(path.clone()), ..Flags::default() }, std::iter::empty())
            .unwrap_err()
            .to_string()
    };
    std::fs::write(&path, vec![b'#'; 2 << 20]).unwrap();
    assert!(load().contains("is larger than 1024 KiB"));
    std::fs::write(&path, b"# fine\n\xff\xfe\n").unwrap();
    assert!(load().contains("holdover.toml:2: the configuration file is not UTF-8"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = read(&text);
    }

    #[test]
    fn no_value_of_a_known_key_panics(value in "[\"\\[\\]a-z0-9.:,%\\-]{0,30}") {
        for key in [
            "[stale]\nmaximum",
            "[listen]\naddresses",
            "[[upstream]]\naddresses",
            "[[upstream]]\naddresses=[\"192.0.2.1\"]\nzones",
            "[cache]\nsize",
            "[listen]\nclients",
        ] {
            let _ = read(&format!("{key} = {value}"));
            let _ = read(&format!("{key} = \"{value}\""));
        }
    }

    #[test]
    fn durations_and_sizes_come_back(micros in 0_u64..1_000_000_000_000, bytes in 0_u64..1 << 50) {
        let duration = Duration::from_micros(micros);
        prop_assert_eq!(read_duration(&show_duration(duration)), Some(duration));
        let size = read_size(&format!("{bytes}B")).unwrap();
        prop_assert_eq!(read_size(&show_size(size)), Some(size));
    }
}
