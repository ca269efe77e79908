//! Checks the rules of `src/ARCHITECTURE.md` that the compiler does not check: which layer may
//! import which, how long files are, and which files may name a library.

use std::fs;
use std::path::{Path, PathBuf};

/// Layers from the bottom; a layer may import those below it, and itself.
const LAYERS: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("config", &["core"]),
    ("telemetry", &["core"]),
    ("memory", &["core"]),
    ("resolver", &["core", "telemetry", "memory"]),
    ("adapters", &["core", "config", "telemetry", "memory", "resolver"]),
    ("app", &["core", "config", "telemetry", "memory", "resolver", "adapters"]),
    ("drill", &["core", "config", "telemetry", "memory", "resolver", "adapters", "app"]),
    ("cli", &["core", "config", "telemetry", "memory", "resolver", "adapters", "app", "drill"]),
];

/// Libraries that only certain files may name.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("hickory_server", &["src/drill/"]),
    ("hickory_resolver", &["src/adapters/upstream/"]),
    ("hickory_proto", &["src/drill/", "src/adapters/upstream/", "src/adapters/seed/"]),
    ("moka", &["src/memory/filtered.rs"]),
    ("redb", &["src/adapters/state_file/"]),
    ("arc_swap", &["src/resolver/hosts.rs", "src/resolver/recoveries.rs"]),
    ("redis", &["src/adapters/shared_cache/"]),
    ("tokio_rustls", &["src/adapters/tls.rs"]),
    ("ring", &["src/adapters/shared_cache/seal.rs"]),
    ("quick_cache", &["src/memory/denials.rs", "src/memory/positive.rs"]),
    ("xxhash_rust", &["src/adapters/state_file/checksum.rs"]),
    ("mimalloc", &["src/main.rs"]),
    (
        "libc",
        &[
            "src/adapters/footprint",
            "src/adapters/udp/",
            "src/adapters/upstream/cause.rs",
            "src/config/regular_file.rs",
        ],
    ),
    ("socket2", &["src/adapters/", "src/drill/"]),
    ("rustix", &["src/adapters/", "src/app/"]),
    ("signal_hook", &["src/adapters/children.rs"]),
    ("toml", &["src/config/"]),
    ("clap", &["src/cli", "src/drill/fault.rs"]),
    ("tracing_subscriber", &["src/telemetry/logging.rs"]),
    ("hdrhistogram", &["src/drill/"]),
    ("serde", &["src/adapters/seed/", "src/adapters/admin/", "src/telemetry/reading"]),
    ("serde_json", &["src/cli/resolvconf.rs", "src/drill/", "src/adapters/seed/", "src/adapters/admin/"]),
    ("axum", &["src/adapters/admin/routes"]),
    ("hyper", &["src/adapters/admin"]),
    ("hyper_util", &["src/adapters/admin"]),
    ("http_body_util", &["src/adapters/admin/"]),
    ("prometheus_client", &["src/telemetry/exposition.rs", "src/telemetry/metric.rs"]),
];

/// The one adapter that others may import: several protocols run over TLS.
const SHARED_ADAPTER: &str = "tls";

/// Words by which the core would use the clock, the network, files or threads.
const FORBIDDEN_IN_CORE: &[&str] = &[
    "tokio",
    "async fn",
    ".await",
    "Mutex",
    "RwLock",
    "Atomic",
    "std::fs",
    "std::net::Udp",
    "std::net::Tcp",
    "Instant",
    "SystemTime",
    "rand::",
    "tracing",
];

/// Most lines of a file before its tests.
const LINES_MAX: usize = 400;

/// All Rust files below `src`.
pub(super) fn sources() -> Vec<PathBuf> {
    rust_files("src")
}

/// All Rust files below a folder.
pub(super) fn rust_files(below: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(below)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 30, "the files were found");
    found.sort();
    found
}

/// A path below the crate's root.
pub(super) fn relative(path: &Path) -> String {
    path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().to_string_lossy().into_owned()
}

/// The code of a file without its tests and without comments.
pub(super) fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let production = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default();
    production.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Whether a file holds only tests.
pub(super) fn is_test(path: &Path) -> bool {
    path.ends_with("tests.rs") || path.ends_with("testing.rs")
}

/// The layer of a file: its first folder or its own name.
fn layer(path: &Path) -> Option<&'static (&'static str, &'static [&'static str])> {
    let relative = relative(path);
    let first = relative.trim_start_matches("src/").split(['/', '.']).next().unwrap_or_default();
    LAYERS.iter().find(|(name, _)| *name == first)
}

#[test]
fn imports_point_downwards_only() {
    let mut wrong = Vec::new();
    for path in sources().iter().filter(|path| !is_test(path)) {
        let Some((own, below)) = layer(path) else { continue };
        let code = code(path);
        for (other, _) in LAYERS.iter().filter(|(other, _)| other != own && !below.contains(other)) {
            if code.contains(&format!("crate::{other}::")) || code.contains(&format!("crate::{other};")) {
                wrong.push(format!("{} imports {other}", relative(path)));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_core_touches_nothing() {
    let mut wrong = Vec::new();
    for path in sources().iter().filter(|path| !is_test(path) && relative(path).starts_with("src/core")) {
        let code = code(path);
        wrong.extend(
            FORBIDDEN_IN_CORE
                .iter()
                .filter(|word| code.contains(**word))
                .map(|word| format!("{}: {word}", relative(path))),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn adapters_do_not_import_each_other() {
    let mut wrong = Vec::new();
    for path in sources().iter().filter(|path| relative(path).starts_with("src/adapters/")) {
        let own =
            relative(path).trim_start_matches("src/adapters/").split(['/', '.']).next().unwrap_or_default().to_owned();
        for line in code(path).lines().filter(|line| line.contains("crate::adapters::")) {
            if ![own.as_str(), SHARED_ADAPTER].iter().any(|name| line.contains(&format!("crate::adapters::{name}"))) {
                wrong.push(format!("{}: {line}", relative(path)));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Whether code names a library: neither `String::` nor a module `tls::ring::` is `ring::`.
fn names(code: &str, library: &str) -> bool {
    let path = format!("{library}::");
    code.match_indices(&path)
        .any(|(at, _)| !code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == ':'))
}

#[test]
fn each_library_is_named_where_it_belongs() {
    let mut wrong = Vec::new();
    for path in sources().iter().filter(|path| !is_test(path)) {
        let (code, name) = (code(path), relative(path));
        for (library, places) in LIBRARIES {
            if names(&code, library) && !places.iter().any(|place| name.starts_with(place)) {
                wrong.push(format!("{name} names {library}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn unsafe_code_stands_in_three_files() {
    let with: Vec<String> =
        sources().iter().filter(|path| code(path).contains("unsafe {")).map(|path| relative(path)).collect();
    assert_eq!(with, ["src/adapters/footprint.rs", "src/adapters/udp/batch.rs", "src/adapters/udp/envelope.rs"]);
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let mut wrong = Vec::new();
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default().lines().count();
        if lines > LINES_MAX {
            wrong.push(format!("{}: {lines} lines", relative(&path)));
        }
        if !text.starts_with("//!") && !text.starts_with("#![doc") {
            wrong.push(format!("{}: no header", relative(&path)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn test_files_are_short() {
    let wrong: Vec<String> = rust_files("tests")
        .iter()
        .map(|path| (relative(path), fs::read_to_string(path).unwrap().lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(name, lines)| format!("{name}: {lines} lines"))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_map_names_every_module() {
    let map = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ARCHITECTURE.md")).unwrap();
    let missing: Vec<String> = sources()
        .iter()
        .map(|path| relative(path))
        .filter(|path| !path.ends_with("tests.rs") && !path.ends_with("testing.rs"))
        .filter(|path| path != "src/lib.rs" && path != "src/main.rs")
        .map(|path| path.trim_start_matches("src/").trim_end_matches(".rs").replace('/', "::"))
        .filter(|module| !map.contains(&format!("`{module}`")))
        .collect();
    assert!(missing.is_empty(), "src/ARCHITECTURE.md does not name {missing:#?}");
}
