//! `holdover run` is killed: what its sidecar does, and what the next start finds.

use super::*;

#[test]
fn when_the_shim_is_killed_its_sidecar_gives_the_file_back_and_ends() {
    let file = File::of(ORIGINAL);
    let server = loopback();
    let upstream = Upstream::start(|query, _| Reaction::Send(address(query, 60, 7)));
    let mut command = file.run(server, &["--upstream", &upstream.address.to_string()]);
    command.env("HOLDOVER_DRAIN_MAXIMUM", "3s").env("HOLDOVER_DRAIN_IDLE", "3s");
    let ended = file.beside("ended");
    let mut shim =
        Running::spawn(command.args(["sh", "-c", &format!("while ! [ -e {} ]; do sleep 0.05; done", ended.display())]));
    shim.wait_for("points at holdover").expect("it starts");
    let orphan = sidecars(shim.id());
    assert_eq!(orphan.len(), 1);
    shim.signal(Signal::KILL);
    eventually("the file is given back", PATIENCE, || fs::read(&file.path).unwrap() == ORIGINAL);
    eventually("nothing is kept any more", PATIENCE, || !file.kept().exists());
    // Clients that go on asking are answered, but do not keep the sidecar beyond the drain's
    // maximum.
    let mut answered = 0;
    eventually("the sidecar ends", PATIENCE, || {
        answered += u32::from(ask(server, "www.example.com.").is_some());
        orphan.iter().all(|pid| !is_alive(*pid))
    });
    assert!(answered > 0, "it answers while it drains");
    // The application also holds the pipe of the log open.
    fs::write(&ended, "").unwrap();
    let killed = shim.finish(PATIENCE);
    assert!(
        killed.status.code().is_none()
            && killed.stderr.contains("the original name servers are back, and the sidecar ends"),
        "{killed:?}"
    );
}

#[test]
fn when_both_were_killed_the_next_one_takes_up_what_they_left() {
    let file = File::of(ORIGINAL);
    let server = loopback();
    let mut shim = Running::spawn(file.run(server, &[]).args(["sleep", "3"]));
    shim.wait_for("points at holdover").expect("it starts");
    let orphan = sidecars(shim.id());
    // A sidecar that is stopped first cannot clean up.
    kill_process(orphan[0], Signal::STOP).unwrap();
    shim.signal(Signal::KILL);
    kill_process(orphan[0], Signal::KILL).unwrap();
    let killed = shim.finish(PATIENCE);
    assert!(killed.status.code().is_none() && is_ours(&file.read()));
    eventually("the sidecar is gone", PATIENCE, || !is_alive(orphan[0]));
    let finished = run(file.run(server, &[]).args(["cat", file.path.to_str().unwrap()]));
    assert!(finished.code() == 0 && is_ours(&finished.stdout), "{finished:?}");
    assert!(finished.stderr.contains("resolv.conf@127.0.0.77:53, resolv.conf@127.0.0.78:53"), "{finished:?}");
    // A file that was being written when the process was killed may be left under a temporary name.
    assert_eq!((fs::read(&file.path).unwrap(), file.kept().exists()), (ORIGINAL.to_vec(), false));
}
