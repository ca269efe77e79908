//! `holdover run -- COMMAND`: runs an application with a sidecar beside it and `resolv.conf`
//! pointing at it, where nobody else can do either: the entry point of a container on ECS/Fargate,
//! which cannot set name servers.
//!
//! Three processes: this one, which waits and forwards signals; the sidecar, started from the same
//! binary; the application. The sidecar is a process and not a thread, so that nothing that can
//! happen to it (a crash, the kernel's OOM killer) takes the application along.
//!
//! | what goes wrong | what happens |
//! |---|---|
//! | the configuration is wrong, the port cannot be had, the file cannot be written | a warning, and the application runs without; with `--strict` it does not run |
//! | the sidecar crashes or hangs | it is started again; meanwhile the original name servers are back ([`supervision`]) |
//! | another holdover answers there | that one is used: containers of an ECS task share loopback, but not `resolv.conf`. When it is gone it may be started again, with what it remembers; only then does one of our own take its place |
//! | somebody else writes the file meanwhile | it is left as they wrote it; a sidecar that it does not name any more ends ([`hold`]) |
//! | this process is killed | the sidecar gives the file back, drains, and ends within the drain's maximum; the application goes on ([`orphan`]) |
//! | both are killed | the next `holdover run` takes the file up again |
//!
//! Signals are passed on, except those that a terminal has already sent to the application too.
//! Ctrl-Z stops this process and the application, not the sidecar, which goes on serving; nobody
//! looks after it until `fg`. The exit code is the application's: 128 and the number for a signal,
//! 127 where the command was not found, 126 where it cannot be executed, as from a shell. Orphans
//! are collected, so this may be the first process of a container.

use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::SignalKind;

use crate::adapters::children::{self, Child, End, Line};
use crate::adapters::clock::SystemClock;
use crate::adapters::resolv_conf::takeover::Takeover;
use crate::cli::check::{Found, ask, reachable};
use crate::cli::resolvconf::{FallbackArgument, wish};
use crate::cli::serve::{ServeArguments, resolve_settings, start_log};
use crate::resolver::ports::Clock;
use crate::telemetry::console;
use crate::telemetry::takeover::{FileLeft, SidecarEnded, Why, Without};

mod hold;
mod orphan;
mod signals;
mod supervision;

use hold::Held;
use signals::Signals;
use supervision::{Own, Seen, Steps, Supervision};

/// Exit code where `--strict` keeps the application from running (`EX_UNAVAILABLE` of sysexits.h).
const EXIT_UNAVAILABLE: u8 = 69;
/// Exit code where the command cannot be executed, as from a shell.
const EXIT_NOT_EXECUTABLE: u8 = 126;
/// Exit code where the command is not found, as from a shell.
const EXIT_NOT_FOUND: u8 = 127;
/// How long the application waits for the sidecar at its start.
const READY_WITHIN: Duration = Duration::from_secs(2);
/// How often it is asked meanwhile.
const READY_EVERY: Duration = Duration::from_millis(10);
/// How long an answer of the sidecar may take.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);
/// How long the sidecar may take to end, when the application has; then it is killed.
const END_WITHIN: Duration = Duration::from_secs(5);

/// SIGKILL, which a sidecar that hangs does not survive.
const KILL: i32 = 9;
/// Arguments of `holdover run`.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// How the sidecar serves; `--resolv-conf` is the file that is taken over.
    #[command(flatten)]
    serve: ServeArguments,
    /// Address on which the application reaches holdover [default: the first listen address with
    /// port 53]
    #[arg(long, value_name = "ADDR")]
    nameserver: Option<IpAddr>,
    /// Whether an original name server stays as the second one: auto leaves it out for musl and
    /// systemd-resolved
    #[arg(long, value_enum, default_value = "auto")]
    fallback: FallbackArgument,
    /// Where the original resolv.conf is kept [default: beside it, else below /var/lib/holdover,
    /// else below /run/holdover]
    #[arg(long, value_name = "FILE")]
    keep: Option<PathBuf>,
    /// Do not run the command when holdover cannot serve or resolv.conf cannot be written
    #[arg(long)]
    strict: bool,
    /// Be the sidecar of this process
    #[arg(long, hide = true, value_name = "PID")]
    sidecar_of: Option<i32>,
    /// The application and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs the subcommand.
///
/// # Errors
/// No signals or no runtime to be had; everything else runs the application all the same.
pub fn run(arguments: RunArguments) -> anyhow::Result<ExitCode> {
    if arguments.sidecar_of.is_some() {
        return orphan::serve(arguments);
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot make a runtime")?;
    let strict = arguments.strict;
    runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let mut beside = match prepare(&arguments) {
            Ok(beside) => Some(beside),
            Err((reason, code)) if strict => {
                console::complain(&reason);
                return Ok(ExitCode::from(code));
            }
            // The log may not have begun.
            Err((reason, _)) => {
                console::complain(format_args!("{reason}; the application runs without holdover"));
                None
            }
        };
        if let Some(sidecar) = &mut beside {
            let ready = match sidecar.get_ready(&mut signals).await {
                Ok(ready) => ready,
                Err(ended) => {
                    sidecar.end().await;
                    return Ok(ended);
                }
            };
            if let Err(reason) = ready {
                if strict {
                    console::complain(format_args!("{reason}; with --strict the command is not run"));
                    sidecar.end().await;
                    return Ok(ExitCode::from(EXIT_UNAVAILABLE));
                }
                Without { reason: &reason }.emit();
            }
        }
        let code = live(&arguments.command, &mut signals, beside.as_mut()).await;
        if let Some(sidecar) = &mut beside {
            sidecar.end().await;
        }
        Ok(ExitCode::from(code))
    })
}

/// Settings, log and file; an error comes with an exit code.
fn prepare(arguments: &RunArguments) -> Result<Beside, (String, u8)> {
    let settings = resolve_settings(&arguments.serve, std::env::vars_os())
        .map_err(|error| (error.to_string(), error.exit_code()))?;
    start_log(&settings);
    let unavailable = |error: &dyn std::error::Error| (error.to_string(), EXIT_UNAVAILABLE);
    let wish = wish(arguments.nameserver, arguments.fallback, &settings).map_err(|error| unavailable(&error))?;
    let place =
        Takeover::new(arguments.serve.resolv_conf(), arguments.keep.as_deref()).map_err(|error| unavailable(&error))?;
    Ok(Beside {
        server: reachable(settings.listen.addresses.first().copied()),
        file: Held::new(place, wish),
        clock: SystemClock::new(),
        supervision: Supervision::default(),
        own: None,
        line: None,
        retired: false,
    })
}

/// What runs beside the application.
struct Beside {
    /// Where the sidecar answers.
    server: SocketAddr,
    /// The file that points there.
    file: Held,
    /// The time.
    clock: SystemClock,
    /// What to do about the sidecar.
    supervision: Supervision,
    /// Our own sidecar.
    own: Option<Child>,
    /// Tells it that this process is still there.
    line: Option<Line>,
    /// Whether we ended it for good.
    retired: bool,
}

impl Beside {
    /// Whom to look after; nobody where the file names others for good.
    fn looked_after(&self) -> Option<SocketAddr> {
        (!self.file.is_left()).then_some(self.server)
    }

    /// Starts the sidecar unless one answers, and points the file at it.
    ///
    /// # Errors
    /// The outer one: a signal ended the start, or the sidecar cannot come. The inner one: why the
    /// application runs without, for now.
    async fn get_ready(&mut self, signals: &mut Signals) -> Result<Result<(), String>, ExitCode> {
        let began = self.clock.now();
        if look(self.server).await == Seen::Silent {
            self.start();
        }
        let mut seen = look(self.server).await;
        while seen == Seen::Silent && self.own.is_some() && self.clock.now().since(began) < READY_WITHIN {
            tokio::select! {
                kind = signals.next() => match kind == SignalKind::child() {
                    true => {
                        self.collect();
                    }
                    // Nobody is there yet to pass it on to.
                    false if kind != SignalKind::window_change() => {
                        return Err(ExitCode::from(End::Signal(u8::try_from(kind.as_raw_value()).unwrap_or(0)).exit_code()));
                    }
                    false => {}
                },
                () = tokio::time::sleep(READY_EVERY) => {}
            }
            seen = look(self.server).await;
        }
        if seen == Seen::Silent {
            return Ok(Err(format!("holdover does not answer on {}", self.server)));
        }
        // Whoever answers now may be gone at the next look, and is still another or our own.
        let own = if self.own.is_some() { Own::Runs } else { Own::None };
        self.supervision.look(seen, own, self.clock.now());
        let pointed = self.file.point();
        if pointed.is_err() {
            self.retire();
        }
        Ok(pointed)
    }

    /// Starts our own sidecar.
    fn start(&mut self) {
        // Through /proc the binary is found even when its file was replaced meanwhile.
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("holdover")
            .arg("run")
            .arg(format!("--sidecar-of={}", std::process::id()))
            .args(std::env::args_os().skip(2));
        // The service manager waits for the application, not for the sidecar; a terminal's signals
        // are for the application.
        command.env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC").process_group(0).stdout(Stdio::null());
        self.supervision.started(self.clock.now());
        match children::start_on_line(&mut command) {
            Ok((child, line)) => (self.own, self.line) = (Some(child), Some(line)),
            Err(error) => self.ended(&error.to_string()),
        }
    }

    /// Our own has ended, or could not be started.
    fn ended(&mut self, how: &str) {
        let again_after = self.supervision.ended(self.clock.now());
        SidecarEnded { end: how, again_after }.emit();
    }

    /// Ends our own sidecar for good: the file cannot name it, and one that nobody asks would only
    /// take memory.
    fn retire(&mut self) {
        self.retired = true;
        if let Some(own) = self.own {
            // Whoever asks twice does not want to wait until nobody asks any more.
            children::signal(own, SignalKind::terminate().as_raw_value());
            children::signal(own, SignalKind::interrupt().as_raw_value());
        }
    }

    /// The application has to do without from now on.
    fn go_without(&mut self, reason: &str) {
        Without { reason }.emit();
        self.retire();
    }

    /// Takes in what was seen.
    fn attend(&mut self, seen: Seen) {
        let own = if self.own.is_some() { Own::Runs } else { Own::None };
        let Steps { point, give_back, kill, start } = self.supervision.look(seen, own, self.clock.now());
        if point && let Err(reason) = self.file.point() {
            return self.go_without(&reason);
        }
        if give_back && let Err(reason) = self.file.give_back(Why::Silent) {
            return self.go_without(&reason);
        }
        if kill && let Some(own) = self.own {
            children::signal(own, KILL);
        }
        if start {
            self.start();
        }
    }

    /// Collects children; the others than our own are given to the caller.
    fn collect(&mut self) -> Vec<(Child, End)> {
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

    /// Gives the file back, then ends the sidecar, which may save what it remembers first.
    async fn end(&mut self) {
        if let Err(reason) = self.file.give_back(Why::Ended) {
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
}

/// Asks whether a holdover answers.
async fn look(server: SocketAddr) -> Seen {
    let found = tokio::task::spawn_blocking(move || ask(server, ANSWER_WITHIN)).await;
    match found {
        Ok(Ok(Found::Ready | Found::NotReady)) => Seen::Answers,
        Ok(Ok(Found::Stranger) | Err(_)) | Err(_) => Seen::Silent,
    }
}

/// Waits, then looks; without a sidecar it waits for ever.
async fn look_after(server: Option<SocketAddr>, pause: Duration) -> Seen {
    let Some(server) = server else { return std::future::pending().await };
    tokio::time::sleep(pause).await;
    look(server).await
}

/// The application's life; its exit code.
async fn live(command: &[OsString], signals: &mut Signals, mut beside: Option<&mut Beside>) -> u8 {
    let Some((program, arguments)) = command.split_first() else { return EXIT_NOT_FOUND };
    let application = match children::start(Command::new(program).args(arguments)) {
        Ok(child) => child,
        Err(error) => {
            console::complain(format_args!("cannot run {}: {error}", program.display()));
            return if error.kind() == io::ErrorKind::NotFound { EXIT_NOT_FOUND } else { EXIT_NOT_EXECUTABLE };
        }
    };
    let mut looking = Box::pin(look_after(beside.as_ref().and_then(|beside| beside.looked_after()), Duration::ZERO));
    loop {
        tokio::select! {
            kind = signals.next() => {
                if kind != SignalKind::child() {
                    if !signals::has_reached_all(kind) {
                        children::signal(application, kind.as_raw_value());
                    }
                    continue;
                }
                let ran = beside.as_ref().is_some_and(|beside| beside.own.is_some());
                let ended = beside.as_mut().map_or_else(children::collect, |beside| beside.collect());
                if let Some((_, end)) = ended.iter().find(|(child, _)| *child == application) {
                    return end.exit_code();
                }
                if let Some(beside) = beside.as_ref().filter(|beside| ran && beside.own.is_none()) {
                    looking = Box::pin(look_after(beside.looked_after(), READY_EVERY));
                }
            }
            seen = &mut looking => {
                let (server, pause) = beside.as_mut().map_or((None, Duration::MAX), |beside| {
                    beside.attend(seen);
                    (beside.looked_after(), beside.supervision.pause())
                });
                looking = Box::pin(look_after(server, pause));
            }
        }
    }
}
