//! `holdover run` in a real terminal: what Ctrl-C and Ctrl-Z do to the application, to holdover,
//! and to the sidecar.
#![allow(unsafe_code, reason = "a child gets a terminal of its own between fork and exec, which only pre_exec can do")]

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rustix::process::{ioctl_tiocsctty, setsid};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};

use super::*;

/// A pseudo-terminal, and the process that runs in it.
struct Terminal {
    keyboard: fs::File,
    screen: Arc<Mutex<Vec<u8>>>,
    child: Child,
}

impl Terminal {
    /// Runs a command in a new terminal, as its foreground group.
    fn run(command: &mut Command) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let controller = openpt(flags).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let user = fs::File::from(ioctl_tiocgptpeer(&controller, flags).unwrap());
        let end = || Stdio::from(user.try_clone().unwrap());
        command.stdin(end()).stdout(end()).stderr(end());
        // SAFETY: two system calls, which may be made between fork and exec; nothing is allocated.
        unsafe {
            command.pre_exec(|| {
                setsid()?;
                Ok(ioctl_tiocsctty(std::io::stdin())?)
            });
        }
        let child = command.spawn().unwrap();
        let keyboard = fs::File::from(controller);
        let (mut from, screen) = (keyboard.try_clone().unwrap(), Arc::<Mutex<Vec<u8>>>::default());
        let shown = Arc::clone(&screen);
        // Reading fails, and the thread ends, when no process has the terminal open any more.
        std::thread::spawn(move || {
            let mut buffer = [0; 1024];
            while let Ok(length) = from.read(&mut buffer) {
                shown.lock().unwrap().extend(&buffer[..length]);
            }
        });
        Self { keyboard, screen, child }
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned()
    }

    fn type_in(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    #[track_caller]
    fn wait_for(&self, text: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.shown().contains(text) {
            assert!(Instant::now() < end, "no {text:?}: {}", self.shown());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The exit code of a process that should end by itself soon.
    #[track_caller]
    fn finish(&mut self) -> Option<i32> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < end, "it goes on: {}", self.shown());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The state letter of a process (proc(5)).
fn state(pid: u32) -> Option<char> {
    fs::read_to_string(format!("/proc/{pid}/stat")).ok()?.rsplit_once(") ")?.1.chars().next()
}

#[test]
fn ctrl_c_reaches_the_application_once_and_its_exit_code_passes_through() {
    let file = File::of(ORIGINAL);
    // The script waits in a busy loop, so that its trap runs between the terminal's signal and one
    // that holdover might pass on: the shell would merge two signals that come at once.
    let script = "n=0; trap 'n=$((n+1))' INT; echo is-up; while [ $n -eq 0 ]; do :; done
                  i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo interrupted $n times; exit 5";
    let mut terminal = Terminal::run(file.run(loopback(), &[]).args(["sh", "-c", script]));
    terminal.wait_for("is-up");
    assert!(is_ours(&file.read()));
    terminal.type_in("\x03");
    terminal.wait_for("interrupted 1 times");
    assert_eq!(terminal.finish(), Some(5), "{}", terminal.shown());
    assert_eq!((fs::read(&file.path).unwrap(), file.names().len()), (ORIGINAL.to_vec(), 1));
}

#[test]
fn ctrl_c_ends_an_application_that_does_not_care_and_the_sidecar_with_it() {
    let file = File::of(ORIGINAL);
    let server = loopback();
    let mut terminal = Terminal::run(file.run(server, &[]).args(["sh", "-c", "echo is-up; exec sleep 100"]));
    terminal.wait_for("is-up");
    let sidecar = sidecars(terminal.child.id());
    terminal.type_in("\x03");
    assert_eq!(terminal.finish(), Some(130), "{}", terminal.shown());
    assert!(sidecar.len() == 1 && !is_alive(sidecar[0]));
    assert_eq!(fs::read(&file.path).unwrap(), ORIGINAL);
}

#[test]
fn ctrl_z_stops_the_application_and_not_the_sidecar_and_fg_goes_on() {
    let file = File::of(ORIGINAL);
    let server = loopback();
    let mut command = clean("sh");
    let mut terminal = Terminal::run(command.arg("-i").env("PS1", "ready> ").env_remove("ENV"));
    terminal.wait_for("ready> ");
    let inner = file.run(server, &[]);
    let words: Vec<String> = [inner.get_program()]
        .into_iter()
        .chain(inner.get_args())
        .map(|word| word.to_str().unwrap().to_owned())
        .collect();
    // The application prints its own process ID and that of its parent, which is holdover. It
    // starts no process itself: a shell that is inside vfork(2) when its child is stopped would not
    // count as stopped.
    terminal.type_in(&format!("{} sh -c 'echo pids=$PPID,$$,is-up; exec sleep 100'\n", words.join(" ")));
    terminal.wait_for(",is-up\r\n");
    let shown = terminal.shown();
    let pids =
        shown.lines().find_map(|line| line.trim().strip_prefix("pids=")?.strip_suffix(",is-up")).expect("numbers");
    let pids: Vec<u32> = pids.split(',').map(|pid| pid.parse().unwrap()).collect();
    let stopped = |pid: &u32| state(*pid) == Some('T');
    terminal.type_in("\x1a");
    eventually("both are stopped", PATIENCE, || pids.iter().all(stopped));
    assert!(ask(server, "localhost.").is_some(), "the sidecar goes on, for whoever else asks it");
    assert!(is_ours(&file.read()));
    terminal.type_in("fg\n");
    eventually("both go on", PATIENCE, || !pids.iter().any(stopped));
    terminal.type_in("\x03");
    eventually("both have ended", PATIENCE, || pids.iter().all(|pid| state(*pid).is_none_or(|state| state == 'Z')));
    terminal.type_in("echo code=$?\n");
    terminal.wait_for("code=130");
    assert_eq!(fs::read(&file.path).unwrap(), ORIGINAL);
    terminal.type_in("exit\n");
    terminal.finish();
}

#[test]
fn signals_from_outside_reach_the_application_on_a_terminal() {
    for (signal, code) in [(Signal::INT, 3), (Signal::QUIT, 4), (Signal::TERM, 5)] {
        let file = File::of(ORIGINAL);
        let script =
            "trap 'exit 3' INT; trap 'exit 4' QUIT; trap 'exit 5' TERM; echo is-up; while :; do sleep 0.1; done";
        let mut terminal = Terminal::run(file.run(loopback(), &[]).args(["sh", "-c", script]));
        terminal.wait_for("is-up");
        kill_process(Pid::from_child(&terminal.child), signal).unwrap();
        assert_eq!(terminal.finish(), Some(code), "{signal:?}: {}", terminal.shown());
    }
}
