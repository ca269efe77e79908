//! The restart drill with a shared cache: a new, empty instance begins in the middle of the outage.

use super::*;

/// Runs the drill with this cache server. Gives how it ended, its report, and whether it kept its
/// promise about the new instance.
#[track_caller]
fn drill(server: &Server) -> (binary::Finished, serde_json::Value, bool) {
    let arguments = ["drill", "--json", "--scenario", "restart", "--qps", "100", "--names", "30", "--duration", "16s"];
    let ended = Running::spawn(holdover().args(arguments).args(["--shared-cache", &server.url()])).finish(PATIENCE * 3);
    let report: serde_json::Value =
        serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    let checks = report["checks"].as_array().unwrap();
    let check = checks
        .iter()
        .find(|check| check["promise"].as_str().unwrap().starts_with("a new, empty instance"))
        .expect("a check");
    let kept = check["kept"].as_bool().unwrap();
    (ended, report, kept)
}

#[test]
fn a_new_instance_beside_one_that_was_killed_lives_from_the_shared_cache() {
    if !is_here() {
        return;
    }
    let server = Server::start(&[]);
    let (ended, report, kept) = drill(&server);
    assert!(kept, "{report:#}");
    assert!(report["newcomer"]["phases"]["fault"]["stale"].as_u64().is_some_and(|stale| stale > 0), "{report:#}");
    assert_eq!(report["newcomer"]["phases"]["warm-up"]["queries"], 0, "{report:#}");
    // One late answer among some hundred of the others breaks their promise, and on a host that is
    // busy with other tests it may be the host's fault.
    assert!(matches!(ended.code(), 0 | 1), "{ended:?}");
    let left: Vec<String> = server.say(&["KEYS", "*"]);
    assert!(!left.is_empty() && left.iter().all(|key| key.contains("drill-")), "{left:?}");
    // The set of hot names is kept for a day, and answers for as long as they may be served.
    assert!(left.iter().all(|key| (1..=24 * 3600).contains(&server.say::<i64>(&["TTL", key]))), "none stays");
}

#[test]
fn without_a_server_the_new_instance_knows_nothing_and_the_drill_says_so() {
    if !is_here() {
        return;
    }
    let server = Server::prepare(&[]);
    let (ended, report, kept) = drill(&server);
    assert_eq!((ended.code(), kept), (1, false), "{report:#}");
    // What it knows nothing of it asks for until the fault is over.
    assert!(
        report["newcomer"]["phases"]["fault"]["in_time_percent"].as_f64().is_some_and(|percent| percent < 50.0),
        "{report:#}"
    );
    assert!(report["newcomer"]["phases"]["heal"]["fresh"].as_u64().is_some_and(|fresh| fresh > 0), "{report:#}");
}
