//! `holdover explain`: explains why a name gets the answer that it gets, and what it would get in
//! an outage.
//!
//! The running sidecar explains, and asks nobody for it. The text is the sidecar's, so that it is
//! about what that version does; `--json` prints the JSON of `/explain` unchanged.

use std::process::ExitCode;

use clap::Args;

use super::admin::AdminArguments;
use crate::adapters::admin::NameQuestion;
use crate::adapters::admin::client::Form;
use crate::app::name_request::{read_one, read_type};
use crate::config::error::EXIT_USAGE;
use crate::telemetry::console;

/// Arguments of `holdover explain`.
#[derive(Debug, Args)]
pub struct ExplainArguments {
    /// The name to explain
    name: String,
    /// The type to explain [default: A and AAAA]
    #[arg(value_name = "TYPE")]
    rtype: Option<String>,
    /// Print everything as JSON, for programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArguments,
}

/// Runs the subcommand.
///
/// # Errors
/// No async runtime can be made, or standard output cannot be written.
pub fn run(arguments: ExplainArguments) -> anyhow::Result<ExitCode> {
    let ExplainArguments { name, rtype, json, admin } = arguments;
    // Read here and not by clap, which would show control characters of a wrong name as they are.
    let read = read_one(&name).and_then(|_| rtype.as_deref().map_or(Ok(0), read_type));
    if let Err(reason) = read {
        console::complain(reason);
        return Ok(ExitCode::from(EXIT_USAGE));
    }
    let form = if json { Form::Json } else { Form::Text };
    admin.ask(
        async |client| client.explain(&NameQuestion { name, rtype }, form).await,
        |text| {
            console::say(&text)?;
            Ok(ExitCode::SUCCESS)
        },
    )
}
