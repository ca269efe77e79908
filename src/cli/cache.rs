//! `holdover cache`: lists what a running sidecar remembers, exports it as a seed, imports a seed
//! into a running sidecar, and flushes names.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};

use super::admin::AdminArguments;
use crate::adapters::admin::client::{Client, ClientError, Form};
use crate::adapters::admin::{FlushScope, ListScope};
use crate::telemetry::console;

/// Largest seed that is sent, in bytes. A sidecar accepts less, depending on the size of its cache.
const SEED_MAX: u64 = 64 << 20;

/// Arguments of `holdover cache`.
#[derive(Debug, Args)]
pub struct CacheArguments {
    #[command(subcommand)]
    command: CacheCommand,
}

#[derive(Debug, Subcommand)]
enum CacheCommand {
    /// Lists the names that a sidecar remembers, page by page
    List(ListArguments),
    /// Writes everything that a sidecar remembers as a seed, for --seed or for another sidecar
    Export(ExportArguments),
    /// Lets a sidecar remember the answers of a seed, except where it remembers newer ones
    Import(ImportArguments),
    /// Flushes names from the cache of a sidecar, so that they are resolved anew
    Flush(FlushArguments),
}

/// Arguments of `holdover cache list`. Conditions that are given hold together.
#[derive(Debug, Args)]
struct ListArguments {
    /// Only answers whose TTL has ended
    #[arg(long)]
    stale: bool,
    /// Only names whose last resolution failed
    #[arg(long)]
    failed: bool,
    /// Those with the most hits first, on one page; names without a hit are left out
    #[arg(long, conflicts_with = "after")]
    hot: bool,
    /// Only this name and all names below it
    #[arg(long, value_name = "NAME")]
    below: Option<String>,
    /// Only answers that came from there: upstream, state_file, seed, import or shared_cache
    #[arg(long)]
    origin: Option<String>,
    /// Names on a page, at most 1000 [default: 100]
    #[arg(long, value_name = "NUMBER")]
    limit: Option<usize>,
    /// Where the page begins, as the page before it says
    #[arg(long, value_name = "PLACE")]
    after: Option<String>,
    /// Print the page as JSON, for programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArguments,
}

/// Arguments of `holdover cache export`.
#[derive(Debug, Args)]
struct ExportArguments {
    /// File to write, whole or not at all [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    admin: AdminArguments,
}

/// Arguments of `holdover cache import`.
#[derive(Debug, Args)]
struct ImportArguments {
    /// The seed file; - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    admin: AdminArguments,
}

/// Arguments of `holdover cache flush`.
#[derive(Debug, Args)]
struct FlushArguments {
    /// Name to flush
    #[arg(value_name = "NAME", required_unless_present = "below", conflicts_with = "below")]
    name: Option<String>,
    /// Flush this name and all names below it; . flushes everything
    #[arg(long, value_name = "NAME")]
    below: Option<String>,
    /// Flush only answers of this type
    #[arg(long = "type", value_name = "TYPE")]
    rtype: Option<String>,
    #[command(flatten)]
    admin: AdminArguments,
}

/// Runs the subcommand.
///
/// # Errors
/// A file, or standard output, cannot be read or written.
pub fn run(arguments: CacheArguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        CacheCommand::List(ListArguments { stale, failed, hot, below, origin, limit, after, json, admin }) => {
            let scope = ListScope { stale, failed, hot, below, origin, limit, after };
            list(admin, &scope, if json { Form::Json } else { Form::Text })
        }
        CacheCommand::Export(ExportArguments { output: None, admin }) => {
            // Standard output may be a pipe whose reader wants only the first answers.
            let export = async |client: &Client| match client.export(io::stdout().lock()).await {
                Err(ClientError::Output(error)) if console::is_reader_gone(&error) => Ok(0),
                exported => exported,
            };
            admin.ask(export, |_| Ok(ExitCode::SUCCESS))
        }
        CacheCommand::Export(ExportArguments { output: Some(path), admin }) => {
            // The export is written beside the file and renamed at the end, since an export that
            // fails must not replace an earlier whole one.
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
            // The sidecar says what became of each answer; an import with invalid answers failed.
            let text = read(&file)?;
            admin.ask(
                async |client| client.import(text).await,
                |imported| {
                    let (learned, older, expired) = (imported.learned, imported.older, imported.expired);
                    console::say(&format!(
                        "{learned} learned, {older} not newer than what is remembered, {expired} past their maximum \
                         stale\n"
                    ))?;
                    if imported.invalid == 0 {
                        return Ok(ExitCode::SUCCESS);
                    }
                    console::complain(format_args!("{} answers of {} are invalid:", imported.invalid, file.display()));
                    imported.mistakes.iter().for_each(|mistake| console::remark(format_args!("  {mistake}")));
                    Ok(ExitCode::FAILURE)
                },
            )
        }
        CacheCommand::Flush(FlushArguments { name, below, rtype, admin }) => admin.ask(
            async |client| client.flush(&FlushScope { name, below, rtype }).await,
            |flushed| {
                // A flush is complete only when the state file cannot bring the answers back.
                console::say(&format!("{} flushed\n", flushed.flushed))?;
                let Some(reason) = flushed.may_return else { return Ok(ExitCode::SUCCESS) };
                console::complain(format_args!(
                    "the state file still has what was flushed, because it cannot be written ({reason}); if the \
                     sidecar crashes now, its next start remembers it again"
                ));
                Ok(ExitCode::FAILURE)
            },
        ),
    }
}

/// Prints one page of names.
///
/// # Errors
/// As for [`run`].
pub(super) fn list(admin: AdminArguments, scope: &ListScope, form: Form) -> anyhow::Result<ExitCode> {
    admin.ask(
        async |client| client.list(scope, form).await,
        |page| {
            console::say(&page)?;
            Ok(ExitCode::SUCCESS)
        },
    )
}

/// The path of the temporary file in the same folder, to which an export is written first.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Reads a seed from a file, or from standard input if the path is `-`.
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
        "{} is larger than {} MiB, which no sidecar accepts",
        path.display(),
        SEED_MAX >> 20
    );
    Ok(text)
}
