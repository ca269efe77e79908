//! `holdover config`: checks a configuration, shows the effective one, or prints the default one.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::serve::ServeArguments;
use super::upstreams;
use crate::app::shared_cache;
use crate::config::{self, Flags, UnknownNames, effective, render};
use crate::telemetry::console;

/// How long each upstream may take to answer.
const ASK_WITHIN: Duration = Duration::from_secs(2);

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
        /// Succeed although there are keys or variables that this version does not know
        #[arg(long)]
        lenient: bool,
        /// Also ask each upstream once, which fails when one does not answer
        #[arg(long)]
        ask: bool,
        /// File from which the upstreams are read when none is configured, with --ask
        #[arg(long, value_name = "FILE", default_value = "/etc/resolv.conf")]
        resolv_conf: PathBuf,
    },
    /// Shows each value that counts and where it was written: a default, a line of the file, a
    /// variable or a flag. Takes the flags of `holdover serve`
    Show(Box<ShowArguments>),
    /// Prints a configuration file with all keys, their defaults, ranges and reasons
    Default,
}

/// Arguments of `holdover config show`.
#[derive(Debug, Args)]
struct ShowArguments {
    /// Print the values as JSON, for programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    serve: ServeArguments,
}

/// Runs the subcommand.
///
/// # Errors
/// Standard output cannot be written. A wrong configuration is no error here: it is written to
/// standard error and gives the exit code 78.
pub fn run(arguments: ConfigArguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        ConfigCommand::Default => console::say(&render::default_file())?,
        ConfigCommand::Show(arguments) => {
            match config::load_with_sources(arguments.serve.flags(), std::env::vars_os()) {
                Ok((settings, layer)) => {
                    let text = if arguments.json { effective::as_json(&layer) } else { effective::as_file(&layer) };
                    console::say(&text)?;
                    settings.unknown.iter().chain(&settings.remarks).for_each(console::complain);
                }
                Err(error) => {
                    console::complain(&error);
                    return Ok(ExitCode::from(error.exit_code()));
                }
            }
        }
        ConfigCommand::Check { config, lenient, ask, resolv_conf } => {
            let subject =
                config.as_ref().map_or_else(|| "the configuration".to_owned(), |path| path.display().to_string());
            let unknown = if lenient { UnknownNames::Allow } else { UnknownNames::Refuse };
            match config::load(Flags { config, unknown, ..Flags::default() }, std::env::vars_os()) {
                Ok(settings) => {
                    console::say(&format!("{subject} is valid\n"))?;
                    settings.unknown.iter().chain(&settings.remarks).for_each(console::complain);
                    // No failure: the check may run where the secrets are not, and holdover starts
                    // without them as well.
                    if let Some(complaint) = shared_cache::complaint(&settings) {
                        console::complain(format!("{complaint} Until then the shared cache is not used."));
                    }
                    if ask {
                        return upstreams::ask_all(settings, &resolv_conf, ASK_WITHIN);
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
