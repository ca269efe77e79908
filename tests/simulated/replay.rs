//! Replays the scenarios of `tests/replay/*.rpl` against the real resolver, under a clock that the
//! scenario moves.
//!
//! A scenario is a list of lines, each at a time of its own. Their grammar is in
//! `tests/replay/README.md`, and the names of the files list what holdover does.

mod scenario;

use std::path::Path;

fn scenarios() -> Vec<std::path::PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/replay");
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "rpl"))
        .collect();
    found.sort();
    found
}

#[test]
fn every_scenario_goes_as_written() {
    let only = std::env::var("REPLAY").ok();
    let mut wrong = Vec::new();
    let mut played = 0;
    for path in scenarios() {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        played += 1;
        println!("{name}");
        let text = std::fs::read_to_string(&path).unwrap();
        for complaint in scenario::play(&text) {
            wrong.push(format!("{name}.rpl:{complaint}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    assert!(only.is_some() || played >= 25, "{played} scenarios were found");
}

#[test]
fn a_scenario_that_does_not_go_as_written_is_noticed() {
    let head = "upstream 192.0.2.53:53\n0s www.example.com A: answer 192.0.2.1 ttl 60 after 5ms\n";
    for wrong in [
        "1s ask www.example.com A -> fresh 192.0.2.2",
        "1s ask www.example.com A -> stale 192.0.2.1",
        "1s ask www.example.com A -> fresh 192.0.2.1 at-once",
        "1s ask www.example.com A -> fresh 192.0.2.1 within 4ms",
        "1s ask www.example.com A -> nxdomain",
        "1s ask www.example.com A -> fresh 192.0.2.1 ttl 59",
        "1s ask www.example.com A -> fresh 192.0.2.1 ede 3",
        "1s sends www.example.com A = 1",
        "1s state 192.0.2.53:53 down",
    ] {
        assert_eq!(scenario::play(&format!("{head}{wrong}\n")).len(), 1, "{wrong}");
    }
    assert!(
        scenario::play(&format!("{head}1s ask www.example.com A -> fresh 192.0.2.1 ttl 60 within 5ms\n2s sends = 1\n"))
            .is_empty()
    );
}
