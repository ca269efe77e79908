//! Limits of the process that are too low for what is configured: what does not fit is said and
//! made smaller, and names resolve all the same.

use rustix::process::{Resource, Rlimit, setrlimit};
use std::os::unix::process::CommandExt;

use super::*;

/// Starts a sidecar that may have so many open files.
#[allow(unsafe_code, reason = "only pre_exec runs between fork and exec")]
fn with_files(upstream: &Upstream, files: u64) -> Sidecar {
    Sidecar::start_with(|command, _| {
        command.args(["--upstream", &upstream.address.to_string()]);
        let limit = move || Ok(setrlimit(Resource::Nofile, Rlimit { current: Some(files), maximum: Some(files) })?);
        // SAFETY: setrlimit(2) may be called between fork and exec, and nothing is allocated.
        unsafe { command.pre_exec(limit) };
    })
}

/// Asks for so many names that nobody knows at once; gives how many resolved.
fn resolved(sidecar: &Sidecar, names: u16) -> usize {
    let socket = client(sidecar.address);
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    for number in 0..names {
        let mut message = query(&format!("cold{number}.example.com."), RecordType::A);
        message.metadata.id = number;
        socket.send(&message.to_vec().unwrap()).unwrap();
    }
    (0..names).filter(|_| addresses(&receive(&socket)) == ["192.0.2.7"]).count()
}

#[test]
fn names_resolve_although_there_are_few_descriptors() {
    for (files, names, delay) in [(128, 40, Duration::ZERO), (64, 60, Duration::from_millis(300))] {
        let upstream = Upstream::start(move |query, _| match delay {
            Duration::ZERO => Reaction::Send(address(query, 60, 7)),
            delay => Reaction::Late(delay, address(query, 60, 7)),
        });
        let mut sidecar = with_files(&upstream, files);
        assert_eq!(resolved(&sidecar, names), usize::from(names), "{files} open files");
        let line = sidecar.process.wait_for("budget.resolutions").expect("a line");
        assert!(line.contains("configured=1000") && line.contains(&format!("{files} open files")), "{line}");
    }
}
