//! Takeover inside namespaces, where this user may make them: a `resolv.conf` that is a mount
//! point, libc's own resolver, systemd-resolved's stub, and holdover as the first process of a
//! container.

use super::*;

/// Whether this user may make namespaces; prints that the test is skipped if not.
fn may_unshare() -> bool {
    let may = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--net", "true"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !may {
        println!("skipped: this user may not make namespaces");
    }
    may
}

/// Runs a script in new namespaces. `$H` is the holdover binary and `$D` the folder.
#[track_caller]
fn in_namespaces(flags: &[&str], folder: &Path, script: &str) -> Finished {
    let mut command = clean("unshare");
    command.args(flags).args(["sh", "-euc", script]).env("H", env!("CARGO_BIN_EXE_holdover")).env("D", folder);
    run(&mut command)
}

#[test]
fn a_mount_point_is_written_in_place_and_a_read_only_one_is_said() {
    if !may_unshare() {
        return;
    }
    let file = File::of(b"nameserver 192.0.2.99\n");
    fs::write(file.beside("mounted"), ORIGINAL).unwrap();
    let script = "mount --bind $D/mounted $D/resolv.conf
        inode=$(stat -c %i $D/resolv.conf)
        $H resolvconf show --json --file $D/resolv.conf | grep -q '\"mount_point\": true'
        $H resolvconf apply --file $D/resolv.conf --fallback yes >&2
        grep -q '^nameserver 127.0.0.1' $D/mounted
        $H resolvconf restore --file $D/resolv.conf >&2
        test $inode = $(stat -c %i $D/resolv.conf)
        mount -o remount,bind,ro $D/resolv.conf
        if $H resolvconf apply --file $D/resolv.conf; then exit 99; fi
        ls $D
        $H run --listen 127.0.0.1:5399 --nameserver 127.0.0.1 --resolv-conf $D/resolv.conf \\
            -- echo the application runs";
    let finished = in_namespaces(&["--mount", "--net"], file.folder.path(), &format!("ip link set lo up; {script}"));
    assert_eq!(finished.code(), 0, "{finished:?}");
    assert!(
        finished.stderr.contains("its file system is read-only") && finished.stderr.contains("runs without holdover"),
        "{finished:?}"
    );
    assert!(
        finished.stdout.ends_with("mounted\nresolv.conf\nthe application runs"),
        "nothing is left beside it: {finished:?}"
    );
    assert_eq!(fs::read(file.beside("mounted")).unwrap(), ORIGINAL);
}

#[test]
fn libc_asks_holdover_after_the_takeover_and_not_before() {
    if !may_unshare() {
        return;
    }
    let file = File::of(b"nameserver 127.0.0.77\n");
    // Only holdover answers for this name.
    let script = "ip link set lo up
        mount --bind $D/resolv.conf /etc/resolv.conf
        if getent hosts ready.holdover.invalid; then exit 99; fi
        $H run --keep $D/kept -- getent hosts ready.holdover.invalid
        cat /etc/resolv.conf";
    let finished = in_namespaces(&["--mount", "--net"], file.folder.path(), script);
    assert_eq!(finished.code(), 0, "{finished:?}");
    assert!(
        finished.stdout.starts_with("::1 ") && finished.stdout.ends_with("\nnameserver 127.0.0.77"),
        "{finished:?}"
    );
}

#[test]
fn behind_the_stub_of_systemd_resolved_its_upstreams_are_used() {
    if !may_unshare() {
        return;
    }
    let file = File::of(b"");
    fs::remove_file(&file.path).unwrap();
    let script = "mount -t tmpfs none /run
        mkdir -p /run/systemd/resolve
        echo 'nameserver 127.0.0.53' > /run/systemd/resolve/stub-resolv.conf
        echo 'options edns0 trust-ad' >> /run/systemd/resolve/stub-resolv.conf
        printf 'nameserver 127.0.0.77\\nnameserver 127.0.0.78\\n' > /run/systemd/resolve/resolv.conf
        ln -s /run/systemd/resolve/stub-resolv.conf $D/resolv.conf
        $H run --listen 127.0.0.1:5399 --nameserver 127.0.0.1 --resolv-conf $D/resolv.conf -- cat $D/resolv.conf
        readlink $D/resolv.conf
        $H resolvconf apply --file $D/resolv.conf >&2
        echo 'nameserver 127.0.0.79' > /run/systemd/resolve/resolv.conf
        $H resolvconf show --json --file $D/resolv.conf";
    let finished = in_namespaces(&["--mount", "--net"], file.folder.path(), &format!("ip link set lo up; {script}"));
    assert_eq!(finished.code(), 0, "{finished:?}");
    assert!(finished.stderr.contains("resolv.conf@127.0.0.77:53, resolv.conf@127.0.0.78:53"), "{finished:?}");
    let (text, shown) =
        finished.stdout.split_once("/run/systemd/resolve/stub-resolv.conf\n").expect("it is a link again");
    assert!(
        is_ours(text) && text.ends_with("\nnameserver 127.0.0.1\noptions edns0\n"),
        "no stub, no second, no trust in AD: {text}"
    );
    let shown: Value = serde_json::from_str(shown).unwrap();
    assert_eq!(shown["upstreams"], serde_json::json!(["127.0.0.79"]), "its upstreams of today");
}

#[test]
fn as_the_first_process_it_collects_orphans() {
    if !may_unshare() {
        return;
    }
    let file = File::of(ORIGINAL);
    // The inner shell ends at once, so that its child becomes an orphan, which ends a little later.
    let application =
        "sh -c 'sleep 0.2 & exit 0'; sleep 1; grep -l '^State:.Z' /proc/[0-9]*/status || echo no zombies; exit 6";
    let mut command = clean("unshare");
    command.args(["--pid", "--fork", "--mount-proc"]);
    let inner = file.run(loopback(), &[]);
    command.arg(inner.get_program()).args(inner.get_args()).args(["sh", "-c", application]);
    let finished = run(&mut command);
    assert_eq!((finished.code(), finished.stdout.as_str()), (6, "no zombies"), "{finished:?}");
    assert_eq!(fs::read(&file.path).unwrap(), ORIGINAL);
}
