//! Child processes: starts, signals and collects them.
//!
//! Orphans that the kernel hands to this process are collected as well, which is the duty of the
//! first process of a container. One `waitpid(-1)` collects everything, so nothing else in the
//! process may wait for a child of its own.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStdin, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, WaitOptions, geteuid, getpgrp, kill_process, wait};
use rustix::termios::tcgetpgrp;
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithRawSiginfo;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

/// A child process, by its process ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Child(Pid);

/// Whether this process may start a child as the user with this ID.
#[must_use]
pub fn may_start_as(uid: u32) -> bool {
    let own = geteuid();
    own.is_root() || own.as_raw() == uid
}

/// How a child process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The child ended by itself, with this exit code.
    Code(u8),
    /// The signal of this number ended the child.
    Signal(u8),
}

impl End {
    /// The exit code with which a shell would report this end: for a signal, 128 plus its number.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => signal.wrapping_add(128),
        }
    }
}

impl From<ExitStatus> for End {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            // The kernel reports 8 bits of an exit code.
            (Some(code), _) => Self::Code(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
            (None, Some(signal)) => Self::Signal(u8::try_from(signal).unwrap_or(u8::MAX)),
            (None, None) => Self::Code(u8::MAX),
        }
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// Starts a child process.
///
/// # Errors
/// Those of the operating system: the command is not there, or cannot be executed.
pub fn start(command: &mut Command) -> io::Result<Child> {
    let child = command.spawn()?;
    Ok(Child(Pid::from_child(&child)))
}

/// Sends a signal to a child that has not been collected. Nothing happens for a child that has just
/// ended, and for a number that is no signal.
pub fn signal(child: Child, number: i32) {
    if let Some(signal) = Signal::from_named_raw(number) {
        let _ = kill_process(child.0, signal);
    }
}

/// Collects all children that have ended, orphans of other processes included, without waiting.
#[must_use]
pub fn collect() -> Vec<(Child, End)> {
    let mut ended = Vec::new();
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        ended.push((Child(pid), ExitStatus::from_raw(status.as_raw()).into()));
    }
    ended
}

/// The parent's end of a pipe to a child's standard input, through which nothing is ever sent. When
/// the parent is gone, however it ended, the kernel closes the pipe, and the child notices.
///
/// `PR_SET_PDEATHSIG` would not do: in a parent with several threads it reports the end of the
/// thread that started the child, while the process is still there.
#[derive(Debug)]
pub struct Line(#[expect(dead_code, reason = "held, not used")] ChildStdin);

/// Starts a child process that notices by [`parent_ended`] when this process is gone, or when the
/// returned line is dropped.
///
/// # Errors
/// Those of the operating system, as for [`start`].
pub fn start_on_line(command: &mut Command) -> io::Result<(Child, Line)> {
    let mut child = command.stdin(Stdio::piped()).spawn()?;
    let line = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    Ok((Child(Pid::from_child(&child)), Line(line)))
}

/// Waits until the parent that started this process by [`start_on_line`] is gone. To be called
/// within a tokio runtime.
///
/// # Errors
/// Standard input is not a pipe.
pub fn parent_ended() -> io::Result<impl Future<Output = ()>> {
    let line = pipe::Receiver::from_owned_fd(io::stdin().as_fd().try_clone_to_owned()?)?;
    Ok(async move {
        // Only the end of the pipe counts. Bytes that should come through it are read and dropped,
        // since the pipe would stay readable otherwise.
        let mut nothing = [0; 16];
        while line.readable().await.is_ok() {
            match line.try_read(&mut nothing) {
                Ok(0) => return,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
                Ok(_) | Err(_) => {}
            }
        }
    })
}

/// Who has sent a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The kernel: for SIGINT, SIGQUIT and SIGWINCH that is the terminal.
    Terminal,
    /// A process, with kill(2) or the like.
    Process,
}

/// Signals as they arrive, each with its number and sender.
pub type AttributedSignals = mpsc::Receiver<(i32, Sender)>;

/// Signals that may wait to be taken; the kernel merges those that come faster.
const SIGNALS_MAX: usize = 64;

/// Listens for signals of these numbers, with a thread that learns from the kernel who has sent
/// each (`si_code` of sigaction(2)).
///
/// # Errors
/// Those of the operating system, when it takes no handler or gives no thread.
pub fn listen_attributed(numbers: &[i32]) -> io::Result<AttributedSignals> {
    let mut signals = SignalsInfo::<WithRawSiginfo>::new(numbers)?;
    let (sender, receiver) = mpsc::channel(SIGNALS_MAX);
    std::thread::Builder::new().name("signals".to_owned()).stack_size(128 << 10).spawn(move || {
        for signal in &mut signals {
            let from = if signal.si_code > 0 { Sender::Terminal } else { Sender::Process };
            if let Err(mpsc::error::TrySendError::Closed(_)) = sender.try_send((signal.si_signo, from)) {
                return;
            }
        }
    })?;
    Ok(receiver)
}

/// Whether a terminal sends its signals (Ctrl-C and the like) to the process group of this process.
#[must_use]
pub fn is_in_foreground() -> bool {
    let own = getpgrp();
    [tcgetpgrp(io::stdin()), tcgetpgrp(io::stdout()), tcgetpgrp(io::stderr())]
        .into_iter()
        .flatten()
        .any(|group| group == own)
}

/// Whether this process ignores the signal of this number, as nohup(1) arranges it for SIGHUP.
#[must_use]
pub fn is_ignored(number: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find_map(|line| line.strip_prefix("SigIgn:")).is_some_and(|mask| is_in_mask(mask.trim(), number))
}

/// Whether a signal is in a mask of signals, in the hexadecimal form of `/proc`. The lowest bit
/// stands for signal 1.
fn is_in_mask(mask: &str, number: i32) -> bool {
    let bit = u32::try_from(number - 1).ok().and_then(|shift| 1_u64.checked_shl(shift));
    u64::from_str_radix(mask, 16).is_ok_and(|mask| bit.is_some_and(|bit| mask & bit != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_become_exit_codes_as_in_a_shell() {
        assert_eq!(End::from(ExitStatus::from_raw(3 << 8)).exit_code(), 3);
        assert_eq!(End::from(ExitStatus::from_raw(255 << 8)).exit_code(), 255);
        assert_eq!(End::from(ExitStatus::from_raw(15)).exit_code(), 143);
        // With a core dump.
        assert_eq!(End::from(ExitStatus::from_raw(6 | 0x80)), End::Signal(6));
    }

    #[test]
    fn an_ignored_signal_is_seen() {
        // nohup: SIGHUP; and SIGPIPE.
        assert!(is_in_mask("0000000000001001", 1) && is_in_mask("0000000000001001", 13));
        assert!(
            !is_in_mask("0000000000001001", 15) && !is_in_mask("", 1) && !is_in_mask("ff", 0) && !is_in_mask("ff", 99)
        );
    }
}
