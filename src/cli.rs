//! The command line, which reads the arguments, runs one subcommand, and turns its result into the
//! exit code of the process.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | success |
//! | 1 | the command failed, or the answer of `holdover check` or of the drill is no |
//! | 64 | the arguments are wrong (`EX_USAGE` of sysexits.h) |
//! | 69 | no listen address can be had, or `holdover run --strict` ran nothing (`EX_UNAVAILABLE`) |
//! | 78 | the configuration is wrong (`EX_CONFIG`), and stays so until somebody changes it |
//!
//! `holdover run` ends with the exit code of its application. The texts of `--help` are the
//! docstrings of the arguments.

mod admin;
pub mod cache;
pub mod check;
pub mod config;
pub mod drill;
pub mod explain;
pub mod log_level;
mod other_signals;
pub mod resolvconf;
pub mod run;
pub mod serve;
pub mod status;
mod upstreams;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::error::EXIT_USAGE;
use crate::telemetry::{console, output};

/// A DNS cache that runs beside your application and answers from memory while the resolver behind
/// it fails.
#[derive(Debug, Parser)]
#[command(name = "holdover", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the sidecar: answers queries until a signal ends it
    Serve(serve::ServeArguments),
    /// Runs an application with a sidecar beside it and resolv.conf pointing at it, as the entry
    /// point of a container
    Run(run::RunArguments),
    /// Points resolv.conf at holdover, puts the original back, or shows the state of the file
    Resolvconf(resolvconf::ResolvconfArguments),
    /// Asks a sidecar whether it is ready, for health checks
    Check(check::CheckArguments),
    /// Shows the state of a running sidecar: outages, upstreams, cache
    Status(status::StatusArguments),
    /// Explains why a name gets the answer that it gets, and what it would get in an outage
    Explain(explain::ExplainArguments),
    /// Lists, exports, imports or flushes the answers that a running sidecar remembers
    Cache(cache::CacheArguments),
    /// Shows or changes the level of the log of a running sidecar
    LogLevel(log_level::LogLevelArguments),
    /// Rehearses an outage: an upstream that fails, clients with and without holdover, a verdict
    Drill(drill::DrillArguments),
    /// Checks a configuration, shows the effective one, or prints the default one
    Config(config::ConfigArguments),
}

/// Runs the process, and returns its exit code.
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
        Command::Explain(arguments) => explain::run(arguments),
        Command::Cache(arguments) => cache::run(arguments),
        Command::LogLevel(arguments) => log_level::run(arguments),
        Command::Drill(arguments) => drill::run(arguments),
        Command::Config(arguments) => config::run(arguments),
    };
    let code = finish(result);
    output::finish();
    code
}

/// The exit code of a result; an error is first written to standard error.
fn finish(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        console::complain(format_args!("{error:#}"));
        ExitCode::FAILURE
    })
}
