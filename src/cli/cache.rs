//! `holdover cache`: takes what a running sidecar remembers out of it, into another, and lets it
//! forget.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};

use super::admin::AdminArguments;
use crate::adapters::admin::FlushScope;
use crate::adapters::admin::client::{Client, ClientError};
use crate::telemetry::console;

/// Bytes of a seed that is sent; what a sidecar takes depends on the size of its cache, and is
/// never more.
const SEED_MAX: u64 = 64 << 20;

/// Arguments of `holdover cache`.
#[derive(Debug, Args)]
pub struct CacheArguments {
    /// What to do.
    #[command(subcommand)]
    command: CacheCommand,
}

/// What can be done.
#[derive(Debug, Subcommand)]
enum CacheCommand {
    /// Writes all that a sidecar remembers as a seed: for --seed, or for another sidecar
    Export(ExportArguments),
    /// Gives a sidecar a seed to remember; what it knows newer is left as it is
    Import(ImportArguments),
    /// Lets a sidecar forget names, fresh and stale
    Flush(FlushArguments),
}

/// Arguments of `holdover cache export`.
#[derive(Debug, Args)]
struct ExportArguments {
    /// File to write, whole or not at all [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Whom to ask.
    #[command(flatten)]
    admin: AdminArguments,
}

/// Arguments of `holdover cache import`.
#[derive(Debug, Args)]
struct ImportArguments {
    /// The seed; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Whom to ask.
    #[command(flatten)]
    admin: AdminArguments,
}

/// Arguments of `holdover cache flush`.
#[derive(Debug, Args)]
struct FlushArguments {
    /// The name to forget
    #[arg(value_name = "NAME", required_unless_present = "below", conflicts_with = "below")]
    name: Option<String>,
    /// Forget this name and all below it; . is everything
    #[arg(long, value_name = "NAME")]
    below: Option<String>,
    /// Only answers of this type
    #[arg(long = "type", value_name = "TYPE")]
    rtype: Option<String>,
    /// Whom to ask.
    #[command(flatten)]
    admin: AdminArguments,
}

/// Runs the subcommand.
///
/// # Errors
/// A file that cannot be read or written.
pub fn run(arguments: CacheArguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        CacheCommand::Export(ExportArguments { output: None, admin }) => {
            let export = async |client: &Client| match client.export(io::stdout().lock()).await {
                Err(ClientError::Output(error)) if console::is_reader_gone(&error) => Ok(0),
                exported => exported,
            };
            admin.ask(export, |_| Ok(ExitCode::SUCCESS))
        }
        CacheCommand::Export(ExportArguments { output: Some(path), admin }) => {
            // A seed that ends in the middle must not stand where a whole one stood.
            let beside = beside(&path);
            let file = std::fs::File::create(&beside).with_context(|| format!("cannot write {}", beside.display()))?;
            let out = io::BufWriter::new(file);
            let done = admin.ask(
                async |client| client.export(out).await,
                |bytes| {
                    std::fs::rename(&beside, &path).with_context(|| format!("cannot write {}", path.display()))?;
                    console::remark(format_args!("{bytes} bytes written to {}", path.display()));
                    Ok(ExitCode::SUCCESS)
                },
            );
            let _ = std::fs::remove_file(&beside);
            done
        }
        CacheCommand::Import(ImportArguments { file, admin }) => {
            let text = read(&file)?;
            admin.ask(
                async |client| client.import(text).await,
                |came| {
                    let (taken, older, expired) = (came.taken, came.older, came.expired);
                    console::say(&format!(
                        "{taken} taken, {older} not newer than what is known, {expired} past their time\n"
                    ))?;
                    if came.refused == 0 {
                        return Ok(ExitCode::SUCCESS);
                    }
                    console::complain(format_args!("{} answers of {} are wrong:", came.refused, file.display()));
                    came.mistakes.iter().for_each(|mistake| console::remark(format_args!("  {mistake}")));
                    Ok(ExitCode::FAILURE)
                },
            )
        }
        CacheCommand::Flush(FlushArguments { name, below, rtype, admin }) => admin.ask(
            async |client| client.flush(&FlushScope { name, below, rtype }).await,
            |flushed| {
                console::say(&format!("{} forgotten\n", flushed.forgotten))?;
                let Some(reason) = flushed.may_return else { return Ok(ExitCode::SUCCESS) };
                console::complain(format_args!(
                    "not yet in the state file, {reason}; after a crash of the sidecar it may come back from there"
                ));
                Ok(ExitCode::FAILURE)
            },
        ),
    }
}

/// A name beside a file.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Reads a seed.
fn read(path: &Path) -> anyhow::Result<String> {
    let unreadable = || format!("cannot read {}", path.display());
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(std::fs::File::open(path).with_context(unreadable)?)
    };
    let mut text = String::new();
    let length = source.take(SEED_MAX + 1).read_to_string(&mut text).with_context(unreadable)?;
    anyhow::ensure!(
        u64::try_from(length)? <= SEED_MAX,
        "{}: larger than {} MiB, which no sidecar takes",
        path.display(),
        SEED_MAX >> 20
    );
    Ok(text)
}
