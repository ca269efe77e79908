//! `holdover config`: checks a configuration, or prints the default one.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::app::shared_cache;
use crate::config::{self, Flags, render};
use crate::telemetry::console;

/// Arguments of `holdover config`.
#[derive(Debug, Args)]
pub struct ConfigArguments {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Checks whether configuration file and environment are valid
    Check {
        /// Configuration file
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Prints a configuration file with all keys, their defaults, ranges and reasons
    Default,
}

/// Runs the subcommand.
///
/// # Errors
/// Standard output cannot be written. A wrong configuration is no error here: it is written to
/// standard error and gives the exit code 78.
pub fn run(arguments: ConfigArguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        ConfigCommand::Default => console::say(&render::default_file())?,
        ConfigCommand::Check { config } => {
            let subject =
                config.as_ref().map_or_else(|| "the configuration".to_owned(), |path| path.display().to_string());
            match config::load(Flags { config, ..Flags::default() }, std::env::vars_os()) {
                Ok(settings) => {
                    console::say(&format!("{subject} is valid\n"))?;
                    // No failure: the check may run where the secrets are not, and holdover starts
                    // without them as well.
                    if let Some(complaint) = shared_cache::complaint(&settings) {
                        console::complain(format!("{complaint} Until then the shared cache is not used."));
                    }
                }
                Err(error) => {
                    console::complain(&error);
                    return Ok(ExitCode::from(error.exit_code()));
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
