//! The kept copy of the original is gone, as after the restart of one container in a pod. The text
//! that holdover wrote contains the original as well.

use super::*;

/// A `resolv.conf` as the kubelet writes it.
const POD: &[u8] =
    b"search shop.svc.cluster.local svc.cluster.local\nnameserver 127.0.0.77\nnameserver 127.0.0.78\noptions ndots:5\n";

#[test]
fn without_the_kept_copy_the_original_comes_back_from_the_text_byte_for_byte() {
    for original in
        [POD, b"# mine\r\n\n nameserver 127.0.0.77\n\n#< x\n#   y", "# \u{fc}\nnameserver 127.0.0.77\n".as_bytes()]
    {
        let file = File::of(original);
        fs::set_permissions(&file.path, fs::Permissions::from_mode(0o664)).unwrap();
        assert_eq!(file.resolvconf(&["apply"]).code(), 0);
        fs::remove_file(file.kept()).unwrap();
        let shown = file.show(&[]);
        assert_eq!(
            (&shown["taken_over"], &shown["unchanged"], &shown["original"]),
            (&true.into(), &Value::Null, &Value::Null)
        );
        assert_eq!(shown["upstreams"][0], "127.0.0.77", "{shown}");
        assert_eq!(shown["would_write"], file.read().as_str());
        let text = file.resolvconf(&["show"]).stdout;
        assert!(text.contains("only what the file itself repeats of it is left"), "{text}");
        let restored = file.resolvconf(&["restore"]);
        assert_eq!(restored.code(), 0, "{restored:?}");
        assert_eq!(fs::read(&file.path).unwrap(), original);
        assert_eq!((fs::metadata(&file.path).unwrap().permissions().mode() & 0o777, file.names().len()), (0o664, 1));
    }
}

#[test]
fn what_is_kept_for_another_file_is_not_taken_for_the_original() {
    let file = File::of(POD);
    assert_eq!(file.resolvconf(&["apply"]).code(), 0);
    let kept = fs::read_to_string(file.kept()).unwrap();
    let other = kept
        .replace(&format!("#: file {}\n", file.path.display()), "#: file /other\n")
        .replace("127.0.0.77", "127.0.0.99");
    fs::write(file.kept(), &other).unwrap();
    assert_eq!(file.show(&[])["upstreams"][0], "127.0.0.77");
    assert_eq!(file.resolvconf(&["restore"]).code(), 0);
    assert_eq!((fs::read(&file.path).unwrap(), fs::read_to_string(file.kept()).unwrap()), (POD.to_vec(), other));
}

#[test]
fn when_all_were_killed_and_the_kept_copy_is_gone_the_next_one_has_the_original_upstreams() {
    // In the second round there is no place where the original could be kept.
    for keep in [None, Some("/proc/self/x")] {
        let file = File::of(POD);
        let server = loopback();
        let mut shim = Running::spawn(file.run(server, &["--fallback", "no"]).args(["sleep", "1"]));
        shim.wait_for("points at holdover").expect("it starts");
        let sidecar = sidecars(shim.id());
        // A sidecar that is stopped first cannot clean up.
        kill_process(sidecar[0], Signal::STOP).unwrap();
        shim.signal(Signal::KILL);
        kill_process(sidecar[0], Signal::KILL).unwrap();
        assert!(shim.finish(PATIENCE).status.code().is_none() && is_ours(&file.read()));
        eventually("the sidecar is gone", PATIENCE, || !is_alive(sidecar[0]));
        fs::remove_file(file.kept()).unwrap();
        let script =
            format!("cat {}; {} check --server {server} >&2", file.path.display(), env!("CARGO_BIN_EXE_holdover"));
        let flags: Vec<&str> = ["--strict", "--fallback", "no"]
            .into_iter()
            .chain(keep.into_iter().flat_map(|keep| ["--keep", keep]))
            .collect();
        let finished = run(file.run(server, &flags).args(["sh", "-c", &script]));
        assert!(finished.code() == 0 && is_ours(&finished.stdout), "{finished:?}");
        assert!(finished.stderr.contains("resolv.conf@127.0.0.77:53, resolv.conf@127.0.0.78:53"), "{finished:?}");
        assert_eq!(finished.stderr.contains("the original is kept in"), keep.is_none(), "{finished:?}");
        // A file that was being written when the process was killed may be left under a temporary
        // name.
        assert_eq!((fs::read(&file.path).unwrap(), file.kept().exists()), (POD.to_vec(), false), "{:?}", file.names());
    }
}
