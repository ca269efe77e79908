//! The sidecar that runs beside the application of `holdover run`, and the `resolv.conf` that
//! points at it.
//!
//! [`SidecarProcess`] starts the sidecar as a child process, asks again and again whether it
//! answers, and carries out what [`super::supervision`] decides: start the sidecar again, kill it
//! when it hangs, and give `resolv.conf` back while nothing answers. Where another holdover answers
//! already, that one is used, and no child is started.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use tokio::signal::unix::SignalKind;

use super::arguments::RunArguments;
use super::hold::{GivenBack, HeldFile};
use super::signals::{Arrived, Signals};
use super::supervision::{Own, Seen, Steps, Supervision};
use super::user::SidecarUser;
use crate::adapters::children::{self, Child, End, Line};
use crate::adapters::clock::SystemClock;
use crate::adapters::resolv_conf::takeover::Takeover;
use crate::cli::check::{CheckResult, ask, first_present};
use crate::cli::resolvconf::wish;
use crate::cli::serve::{resolve_settings, start_log};
use crate::config::error::EXIT_UNAVAILABLE;
use crate::resolver::ports::Clock;
use crate::telemetry::takeover::{FileLeft, GiveBackReason, RunsWithoutHoldover, SidecarEnded};

/// How long the application waits for the sidecar at its start.
const READY_WITHIN: Duration = Duration::from_secs(2);
/// Pause between two questions while something is expected to happen.
pub(super) const READY_EVERY: Duration = Duration::from_millis(10);
/// How long an answer of the sidecar may take.
const ANSWER_WITHIN: Duration = Duration::from_millis(200);
/// How long the sidecar may take to end after the application has ended; then it is killed.
const END_WITHIN: Duration = Duration::from_secs(5);
/// SIGKILL, which also ends a sidecar that hangs.
const KILL: i32 = 9;

/// The sidecar of this `holdover run`, and the file that points at it.
pub(super) struct SidecarProcess {
    /// Where the sidecar answers.
    server: SocketAddr,
    file: HeldFile,
    clock: SystemClock,
    supervision: Supervision,
    /// The child process; `None` while it does not run, or another holdover answers.
    own: Option<Child>,
    /// A pipe whose end shows the child that this process has ended.
    line: Option<Line>,
    /// The user as which the child runs; `None` for the own one.
    user: Option<SidecarUser>,
    /// Whether the child was ended for good.
    retired: bool,
}

impl SidecarProcess {
    /// Reads settings, starts the log, and finds out which file is to be pointed at holdover.
    ///
    /// # Errors
    /// The problem in words, and the exit code for `--strict`.
    pub(super) fn prepare(arguments: &RunArguments) -> Result<Self, (String, u8)> {
        let settings = resolve_settings(&arguments.serve, std::env::vars_os())
            .map_err(|error| (error.to_string(), error.exit_code()))?;
        start_log(&settings);
        if let Some(user) = arguments.user
            && !children::may_start_as(user.uid)
        {
            return Err((format!("--user {user}: only root can run the sidecar as another user"), EXIT_UNAVAILABLE));
        }
        let unavailable = |error: &dyn std::error::Error| (error.to_string(), EXIT_UNAVAILABLE);
        let wish = wish(arguments.nameserver, arguments.fallback, &settings).map_err(|error| unavailable(&error))?;
        let place = Takeover::new(arguments.serve.resolv_conf(), arguments.keep.as_deref())
            .map_err(|error| unavailable(&error))?;
        Ok(Self {
            server: first_present(&settings.listen.addresses),
            file: HeldFile::new(place, wish),
            clock: SystemClock::new(),
            supervision: Supervision::default(),
            own: None,
            line: None,
            user: arguments.user,
            retired: false,
        })
    }

    /// Whether a child process runs.
    pub(super) const fn runs(&self) -> bool {
        self.own.is_some()
    }

    /// The address of the sidecar to ask; `None` once `resolv.conf` names other servers for good.
    pub(super) fn supervised(&self) -> Option<SocketAddr> {
        (!self.file.is_left()).then_some(self.server)
    }

    /// How long to wait before the next question.
    pub(super) const fn pause(&self) -> Duration {
        self.supervision.pause()
    }

    /// Starts the sidecar unless a holdover answers already, and points the file at it.
    ///
    /// # Errors
    /// The outer error is the exit code when a signal ended the start. The inner error says why the
    /// application runs without holdover for now.
    pub(super) async fn get_ready(&mut self, signals: &mut Signals) -> Result<Result<(), String>, ExitCode> {
        // Start the sidecar, if no holdover answers yet.
        let began = self.clock.now();
        if look(self.server).await == Seen::Silent {
            self.start();
        }

        // Wait for its first answer. A signal of the operator ends the wait.
        let mut seen = look(self.server).await;
        while seen == Seen::Silent && self.own.is_some() && self.clock.now().since(began) < READY_WITHIN {
            tokio::select! {
                Arrived { kind, .. } = signals.next() => {
                    if kind == SignalKind::child() {
                        self.collect();
                    } else if kind != SignalKind::window_change() {
                        // The application that the signal would be passed on to does not run yet.
                        let signal = u8::try_from(kind.as_raw_value()).unwrap_or(0);
                        return Err(ExitCode::from(End::Signal(signal).exit_code()));
                    }
                }
                () = tokio::time::sleep(READY_EVERY) => {}
            }
            seen = look(self.server).await;
        }
        if seen == Seen::Silent {
            return Ok(Err(format!("holdover does not answer on {}", self.server)));
        }

        // Supervision has to know now whether the one that answers is our own: it may be gone at
        // the next look.
        self.supervision.look(seen, self.own(), self.clock.now());
        let pointed = self.file.point();
        if pointed.is_err() {
            self.retire();
        }
        Ok(pointed)
    }

    /// Takes the steps that follow from whether a holdover answers.
    pub(super) fn attend(&mut self, seen: Seen) {
        let Steps { point, give_back, kill, start } = self.supervision.look(seen, self.own(), self.clock.now());
        if point && let Err(reason) = self.file.point() {
            return self.go_without(&reason);
        }
        if self.file.take_handover() {
            self.supervision.other_left(self.clock.now());
        }
        if give_back {
            match self.file.give_back(GiveBackReason::Silent) {
                Ok(GivenBack::Written | GivenBack::Nothing) => {}
                Ok(GivenBack::ByAnother) => self.supervision.other_left(self.clock.now()),
                Err(reason) => return self.go_without(&reason),
            }
        }
        if kill && let Some(own) = self.own {
            children::signal(own, KILL);
        }
        if start {
            self.start();
        }
    }

    /// Collects children that have ended, and returns those that are not the sidecar.
    pub(super) fn collect(&mut self) -> Vec<(Child, End)> {
        let mut ended = children::collect();
        if let Some(index) = ended.iter().position(|(child, _)| Some(*child) == self.own) {
            let (_, end) = ended.swap_remove(index);
            self.own = None;
            if !self.retired {
                self.ended(&end.to_string());
            }
        }
        ended
    }

    /// Gives the file back, then ends the sidecar, which may first write its state file.
    pub(super) async fn end(&mut self) {
        if let Err(reason) = self.file.give_back(GiveBackReason::Ended) {
            FileLeft { reason: &reason }.emit();
        }
        self.retire();
        let Some(own) = self.own.take() else { return };
        let began = self.clock.now();
        while !children::collect().iter().any(|(child, _)| *child == own) {
            if self.clock.now().since(began) > END_WITHIN {
                children::signal(own, KILL);
                return;
            }
            tokio::time::sleep(READY_EVERY).await;
        }
    }

    const fn own(&self) -> Own {
        if self.own.is_some() { Own::Runs } else { Own::None }
    }

    fn start(&mut self) {
        // Through /proc the binary is found even when its file was replaced meanwhile.
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("holdover")
            .arg("run")
            .arg(format!("--sidecar-of={}", std::process::id()))
            .args(std::env::args_os().skip(2));
        // The service manager waits for the application and not for the sidecar, and signals of a
        // terminal are for the application: hence no notification socket and a process group of its
        // own.
        command.env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC").process_group(0).stdout(Stdio::null());
        if let Some(user) = self.user {
            command.uid(user.uid).gid(user.gid);
        }
        self.supervision.started(self.clock.now());
        match children::start_on_line(&mut command) {
            Ok((child, line)) => (self.own, self.line) = (Some(child), Some(line)),
            Err(error) => self.ended(&error.to_string()),
        }
    }

    /// Takes note that the child has ended or could not be started.
    fn ended(&mut self, end: &str) {
        let again_after = self.supervision.ended(self.clock.now());
        SidecarEnded { end, restart_after: again_after }.emit();
    }

    /// Ends the child for good: `resolv.conf` does not name it, and a sidecar that nobody asks
    /// would only take memory.
    fn retire(&mut self) {
        self.retired = true;
        if let Some(own) = self.own {
            // Nobody asks this sidecar any more, so a second signal ends its drain at once.
            children::signal(own, SignalKind::terminate().as_raw_value());
            children::signal(own, SignalKind::interrupt().as_raw_value());
        }
    }

    /// Leaves the application without holdover from now on.
    fn go_without(&mut self, reason: &str) {
        RunsWithoutHoldover { reason }.emit();
        self.retire();
    }
}

/// Asks once whether a holdover answers.
async fn look(server: SocketAddr) -> Seen {
    let found = tokio::task::spawn_blocking(move || ask(server, ANSWER_WITHIN)).await;
    match found {
        Ok(Ok(CheckResult::Ready | CheckResult::NotReady)) => Seen::Answers,
        // A sidecar that is stalled is treated like one that hangs.
        Ok(Ok(CheckResult::Stalled | CheckResult::NotHoldover) | Err(_)) | Err(_) => Seen::Silent,
    }
}

/// Waits, then asks whether a holdover answers; without an address it waits for ever.
pub(super) async fn supervise(server: Option<SocketAddr>, pause: Duration) -> Seen {
    let Some(server) = server else { return std::future::pending().await };
    tokio::time::sleep(pause).await;
    look(server).await
}
