//! The command line: one subcommand, its exit code. 64 is wrong usage, 78 a wrong configuration
//! (sysexits.h), 1 anything else.

mod admin;
pub mod cache;
pub mod check;
pub mod config;
pub mod drill;
pub mod resolvconf;
pub mod run;
pub mod serve;
pub mod status;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::error::EXIT_USAGE;
use crate::telemetry::console;

/// A DNS cache beside your application: it serves what it remembers while the resolver behind it
/// fails.
#[derive(Debug, Parser)]
#[command(name = "holdover", version, arg_required_else_help = true)]
struct Arguments {
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

/// What holdover can do.
#[derive(Debug, Subcommand)]
enum Command {
    /// Answers queries: the sidecar itself.
    Serve(serve::ServeArguments),
    /// Runs a command with a sidecar beside it and resolv.conf pointing at it: the entry point of a
    /// container
    Run(run::RunArguments),
    /// Points resolv.conf at holdover, puts the original back, or says what is there
    Resolvconf(resolvconf::ResolvconfArguments),
    /// Says whether a sidecar is ready, for health checks
    Check(check::CheckArguments),
    /// Shows how a running sidecar is: outage, upstreams, memory
    Status(status::StatusArguments),
    /// Exports, imports or forgets what a running sidecar remembers
    Cache(cache::CacheArguments),
    /// Rehearses an outage: an upstream that fails, clients with and without holdover, a verdict.
    Drill(drill::DrillArguments),
    /// Checks a configuration, or prints the default one.
    Config(config::ConfigArguments),
}

/// Runs the process.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let text = error.render().to_string();
            if error.use_stderr() {
                console::remark(text.trim_end());
                return ExitCode::from(EXIT_USAGE);
            }
            return finish(console::say(&text).map(|()| ExitCode::SUCCESS).map_err(Into::into));
        }
    };
    let result = match arguments.command {
        Command::Serve(arguments) => serve::run(arguments),
        Command::Run(arguments) => run::run(arguments),
        Command::Resolvconf(arguments) => resolvconf::run(arguments),
        Command::Check(arguments) => check::run(arguments),
        Command::Status(arguments) => status::run(arguments),
        Command::Cache(arguments) => cache::run(arguments),
        Command::Drill(arguments) => drill::run(arguments),
        Command::Config(arguments) => config::run(arguments),
    };
    finish(result)
}

/// The exit code; an error is told first.
fn finish(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        console::complain(format_args!("{error:#}"));
        ExitCode::FAILURE
    })
}
