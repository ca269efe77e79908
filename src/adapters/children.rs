//! Child processes: started, signalled, and collected, orphans of others too, which is what the
//! first process of a container owes its children.
//!
//! All are collected by one `waitpid(-1)`, so nothing else in the process may wait for a child of
//! its own.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStdin, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, WaitOptions, getpgrp, kill_process, wait};
use rustix::termios::tcgetpgrp;
use tokio::net::unix::pipe;

/// A child that was started here and has not been collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Child(Pid);

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this code.
    Code(u8),
    /// By this signal.
    Signal(u8),
}

impl End {
    /// The exit code that stands for it, as a shell tells it: 128 and the signal's number.
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

/// Starts a child.
///
/// # Errors
/// What the system says: the command is not there, or cannot be executed.
pub fn start(command: &mut Command) -> io::Result<Child> {
    let child = command.spawn()?;
    Ok(Child(Pid::from_child(&child)))
}

/// Sends a signal to a child that has not been collected; one that has just ended takes it
/// silently.
pub fn signal(child: Child, number: i32) {
    if let Some(signal) = Signal::from_named_raw(number) {
        let _ = kill_process(child.0, signal);
    }
}

/// Collects every child that has ended, ours and those left to us.
#[must_use]
pub fn collect() -> Vec<(Child, End)> {
    let mut ended = Vec::new();
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        ended.push((Child(pid), ExitStatus::from_raw(status.as_raw()).into()));
    }
    ended
}

/// A child's standard input, held open by its parent for nothing but its end, which says that the
/// parent is gone, however it ended.
///
/// Not `PR_SET_PDEATHSIG`: of a parent with several threads it tells the end of the thread that
/// started the child, while the process is still there.
#[derive(Debug)]
pub struct Line(#[expect(dead_code, reason = "held, not used")] ChildStdin);

/// Starts a child that notices when this process is gone ([`parent_ended`]), or this line is
/// dropped.
///
/// # Errors
/// As [`start`].
pub fn start_on_line(command: &mut Command) -> io::Result<(Child, Line)> {
    let mut child = command.stdin(Stdio::piped()).spawn()?;
    let line = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    Ok((Child(Pid::from_child(&child)), Line(line)))
}

/// Waits until the parent that started this process on a [`Line`] is gone. To be called within a
/// runtime.
///
/// # Errors
/// Standard input is not such a line.
pub fn parent_ended() -> io::Result<impl Future<Output = ()>> {
    let line = pipe::Receiver::from_owned_fd(io::stdin().as_fd().try_clone_to_owned()?)?;
    Ok(async move {
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

/// Whether a terminal sends its signals (Ctrl-C and the like) to this process and those that share
/// its group.
#[must_use]
pub fn is_in_foreground() -> bool {
    let own = getpgrp();
    [tcgetpgrp(io::stdin()), tcgetpgrp(io::stdout()), tcgetpgrp(io::stderr())]
        .into_iter()
        .flatten()
        .any(|group| group == own)
}

/// Whether whoever started this process had it ignore this signal (nohup(1)).
#[must_use]
pub fn is_ignored(number: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find_map(|line| line.strip_prefix("SigIgn:")).is_some_and(|mask| is_in_mask(mask.trim(), number))
}

/// Whether a signal is in a mask as `/proc` shows it.
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
