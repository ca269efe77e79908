//! `holdover run -- COMMAND`: runs an application with a sidecar beside it and `resolv.conf`
//! pointing at it. It is the entry point of a container where nothing else can start a sidecar or
//! set name servers, as on ECS with Fargate.
//!
//! There are three processes: this one, which waits and forwards signals; the sidecar, started from
//! the same binary; the application. The sidecar is a process and not a thread, so that nothing
//! that can happen to it (a crash, the kernel's OOM killer) takes the application along.
//!
//! | failure | consequence |
//! |---|---|
//! | the configuration is wrong, the port is taken, the file is not writable | the application runs without holdover |
//! | the sidecar crashes or hangs | it is started again ([`supervision`]) |
//! | another holdover answers at the address | the other holdover is used |
//! | another program writes `resolv.conf` meanwhile | the file stays as that program wrote it ([`hold`]) |
//! | this process is killed | the sidecar gives the file back and ends; the application goes on ([`orphan`]) |
//! | this process and the sidecar are killed | the next `holdover run` finds the kept original and uses it |
//!
//! A start without holdover is logged as a warning; with `--strict` the application does not run
//! then. While the sidecar is started again, the original name servers are back. Another holdover
//! may answer because containers of an ECS task share loopback, but not `resolv.conf`; if it is
//! gone for some time, a sidecar of our own takes its place. A sidecar that the file does not name
//! any more is ended. A sidecar whose parent was killed drains, and ends within the drain's
//! maximum.
//!
//! Signals are passed on, except those that a terminal has already sent to the application too:
//! what the kernel has sent while this process is in the foreground. What another process sends,
//! such as the runtime that stops the container, is passed on in any case. Ctrl-Z stops this
//! process and the application, but not the sidecar, which goes on answering; the sidecar is not
//! supervised until `fg`. The exit code is the application's: 128 and the number for a signal, 127
//! when the command was not found, 126 when it cannot be executed, as from a shell. Orphans are
//! collected, so this may be the first process of a container.

use std::ffi::OsString;
use std::io;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::SignalKind;

use crate::adapters::children;
use crate::config::error::EXIT_UNAVAILABLE;
use crate::telemetry::takeover::RunsWithoutHoldover;
use crate::telemetry::{console, output};

mod arguments;
mod hold;
mod orphan;
mod sidecar;
mod signals;
mod supervision;
mod user;

pub use arguments::RunArguments;
use sidecar::{READY_EVERY, SidecarProcess, supervise};
use signals::{Arrived, Signals};

/// Exit code when the command cannot be executed, as from a shell.
const EXIT_NOT_EXECUTABLE: u8 = 126;
/// Exit code when the command is not found, as from a shell.
const EXIT_NOT_FOUND: u8 = 127;

/// Runs the subcommand.
///
/// # Errors
/// Signals cannot be received, or no async runtime can be made. In all other cases the application
/// runs, unless `--strict` forbids it.
pub fn run(arguments: RunArguments) -> anyhow::Result<ExitCode> {
    if arguments.sidecar_of.is_some() {
        return orphan::serve(arguments);
    }
    output::start();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot make a runtime")?;
    let strict = arguments.strict;
    runtime.block_on(async {
        // Read the settings and find the file. What is wrong with them keeps the application from
        // running only with `--strict`.
        let mut signals = Signals::listen()?;
        let mut sidecar = match SidecarProcess::prepare(&arguments) {
            Ok(sidecar) => Some(sidecar),
            Err((reason, code)) if strict => {
                console::complain(&reason);
                return Ok(ExitCode::from(code));
            }
            // This goes to standard error and not to the log, which may not have been started.
            Err((reason, _)) => {
                console::complain(format_args!("{reason}; the application runs without holdover"));
                None
            }
        };

        // Start the sidecar and point the file at it.
        if let Some(sidecar) = &mut sidecar {
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
                RunsWithoutHoldover { reason: &reason }.emit();
            }
        }

        // Run the application, then put the file back and end the sidecar.
        let code = live(&arguments.command, &mut signals, sidecar.as_mut()).await;
        if let Some(sidecar) = &mut sidecar {
            sidecar.end().await;
        }
        Ok(ExitCode::from(code))
    })
}

/// Runs the application until it ends, supervises the sidecar meanwhile, and returns the
/// application's exit code.
async fn live(command: &[OsString], signals: &mut Signals, mut sidecar: Option<&mut SidecarProcess>) -> u8 {
    let Some((program, arguments)) = command.split_first() else { return EXIT_NOT_FOUND };
    let application = match children::start(Command::new(program).args(arguments)) {
        Ok(child) => child,
        Err(error) => {
            console::complain(format_args!("cannot run {}: {error}", program.display()));
            return if error.kind() == io::ErrorKind::NotFound { EXIT_NOT_FOUND } else { EXIT_NOT_EXECUTABLE };
        }
    };
    // From here on two things happen: signals arrive, and the sidecar is asked whether it answers.
    let mut looking = Box::pin(supervise(sidecar.as_ref().and_then(|sidecar| sidecar.supervised()), Duration::ZERO));
    loop {
        tokio::select! {
            Arrived { kind, has_reached_all } = signals.next() => {
                // All signals but SIGCHLD are for the application.
                if kind != SignalKind::child() {
                    if !has_reached_all {
                        children::signal(application, kind.as_raw_value());
                    }
                    continue;
                }
                // A child has ended. When that is the application, so does this process.
                let ran = sidecar.as_ref().is_some_and(|sidecar| sidecar.runs());
                let ended = sidecar.as_mut().map_or_else(children::collect, |sidecar| sidecar.collect());
                if let Some((_, end)) = ended.iter().find(|(child, _)| *child == application) {
                    return end.exit_code();
                }
                // The sidecar has just ended: ask soon, so that it is started again without delay.
                if let Some(sidecar) = sidecar.as_ref().filter(|sidecar| ran && !sidecar.runs()) {
                    looking = Box::pin(supervise(sidecar.supervised(), READY_EVERY));
                }
            }
            seen = &mut looking => {
                let (server, pause) = sidecar.as_mut().map_or((None, Duration::MAX), |sidecar| {
                    sidecar.attend(seen);
                    (sidecar.supervised(), sidecar.pause())
                });
                looking = Box::pin(supervise(server, pause));
            }
        }
    }
}
