//! `holdover log-level`: shows or changes the level of the log of a running sidecar.
//!
//! The change lasts until the sidecar ends, which then starts again with the level that is
//! configured. Whoever may change the memory of the sidecar may change the level as well.

use std::process::ExitCode;

use clap::Args;

use super::admin::AdminArguments;
use crate::telemetry::console;

/// Arguments of `holdover log-level`.
#[derive(Debug, Args)]
pub struct LogLevelArguments {
    /// The new level: error, warn, info, debug or trace; without one, the present level is shown
    level: Option<String>,
    #[command(flatten)]
    admin: AdminArguments,
}

/// Runs the subcommand.
///
/// # Errors
/// No async runtime can be made, or standard output cannot be written.
pub fn run(arguments: LogLevelArguments) -> anyhow::Result<ExitCode> {
    let LogLevelArguments { level, admin } = arguments;
    admin.ask(
        async |client| client.log_level(level.as_deref()).await,
        |present| {
            console::say(&present)?;
            Ok(ExitCode::SUCCESS)
        },
    )
}
