//! Who may change what is remembered: over TCP nobody without the token, over a unix socket the
//! user of the sidecar and root.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use hickory_proto::rr::RecordType;

use super::bounds::on_tcp;
use super::sidecar::{Sidecar, dead, file, upstream};
use crate::support::binary::*;
use crate::support::http::{request, send};
use crate::support::messages::addresses;
use crate::support::waiting::until;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A seed with a wrong address for `bank.example.com`.
const PLANTED: &str = r#"{"format":"holdover-seed","version":1,"answers":[
{"name":"bank.example.com","type":"A","records":[{"data":"192.0.2.66"}]}]}"#;

#[test]
fn over_tcp_nothing_is_changed_and_the_command_uses_the_socket_beside_it() {
    let (sidecar, admin) = on_tcp(&[]);
    let head = request("POST /cache", &["Host: localhost", &format!("Content-Length: {}", PLANTED.len())]);
    for bytes in
        [[head, PLANTED.into()].concat(), request("POST /flush?below=.", &["Host: localhost", "Content-Length: 0"])]
    {
        let answer = send(admin, &bytes);
        assert_eq!(answer.status, 403, "{answer:?}");
        assert!(answer.body.contains("holdover cache") && answer.body.contains("--token-file"), "{answer:?}");
    }
    assert_eq!(sidecar.status()["answers_learned"]["import"].as_u64().unwrap_or_default(), 0);
    let seed = file(&sidecar.folder, "seed.json", PLANTED);
    let done = sidecar.run(&["cache", "import", &seed]);
    assert!(done.code() == 0 && done.stdout.starts_with("1 learned"), "{done:?}");
    assert_eq!(sidecar.run(&["cache", "flush", "bank.example.com"]).stdout.trim(), "1 flushed");
    // Without a sidecar there, the message says what to do.
    let done = run(holdover().args(["cache", "flush", "a.example.com", "--admin", &dead().to_string()]));
    assert!(done.code() == 1 && done.stderr.contains("its unix socket cannot be reached"), "{done:?}");
}

#[test]
fn whoever_knows_the_token_may_change_something_over_tcp() {
    let folder = tempfile::tempdir().unwrap();
    let token = file(&folder, "token", TOKEN);
    let permit = |mode| std::fs::set_permissions(&token, Permissions::from_mode(mode)).unwrap();
    permit(0o600);
    let config = file(&folder, "holdover.toml", &format!("[admin]\ntoken_file = \"{token}\"\n"));
    let (sidecar, admin) = on_tcp(&["--config", &config]);
    let flush = |token: &str| {
        let header = format!("Authorization: Bearer {token}");
        let answer = send(admin, &request("POST /flush?below=.", &["Host: localhost", "Content-Length: 0", &header]));
        (answer.status, answer.body)
    };
    assert_eq!(flush(TOKEN).0, 200);
    assert_eq!(flush("0123456789abcdef0123456789abcdee").0, 403);
    assert_eq!(sidecar.run(&["cache", "flush", "a.example.com", "--token-file", &token]).stdout.trim(), "0 flushed");
    // A new token counts at once.
    std::fs::write(&token, "fedcba9876543210fedcba9876543210\n").unwrap();
    assert_eq!((flush(TOKEN).0, flush("fedcba9876543210fedcba9876543210").0), (403, 200));
    permit(0o644);
    let (status, told) = flush("fedcba9876543210fedcba9876543210");
    assert!(status == 403 && told.contains("other users may read"), "{told}");
    permit(0o600);
    std::fs::write(&token, "short").unwrap();
    let (status, told) = flush("short");
    assert!(status == 403 && told.contains("holds 5 bytes") && told.contains("openssl rand"), "{told}");
}

#[test]
fn another_user_changes_nothing_over_the_socket_beside_an_address() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not tested here: only root can ask as another user");
        return;
    }
    let (sidecar, admin) = on_tcp(&[]);
    // The other user has to be able to run the program.
    let program = sidecar.folder.path().join("holdover");
    std::fs::copy(holdover().get_program(), &program).unwrap();
    std::fs::set_permissions(sidecar.folder.path(), Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(&program);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).uid(65_534).gid(65_534).args([
        "cache",
        "flush",
        "--below",
        ".",
        "--admin",
        &admin.to_string(),
    ]);
    let done = run(&mut command);
    assert_eq!(done.code(), 1, "{done:?}");
    assert!(done.stderr.contains("only the user that the sidecar runs as, and root"), "{done:?}");
}

#[test]
fn what_is_imported_is_not_believed_while_an_upstream_is_healthy() {
    let upstream = upstream(60, 7);
    let sidecar = Sidecar::start(upstream.address, &[]);
    until("the upstream answers", Duration::from_secs(10), || {
        (addresses(&sidecar.ask("www.example.com.", RecordType::A)) == ["192.0.2.7"]).then_some(())
    });
    let date = Command::new("date").args(["-u", "-d", "1 minute ago", "+%Y-%m-%dT%H:%M:%SZ"]).output().unwrap();
    let stored = String::from_utf8(date.stdout).unwrap().trim().to_owned();
    let seed = PLANTED.replace("\"records\":[{", &format!("\"stored\":\"{stored}\",\"records\":[{{\"ttl\":3600,"));
    let path = file(&sidecar.folder, "seed.json", &seed);
    let done = sidecar.run(&["cache", "import", &path]);
    assert!(done.stdout.starts_with("1 learned"), "{done:?}");
    assert_eq!(addresses(&sidecar.ask("bank.example.com.", RecordType::A)), ["192.0.2.7"]);
}
