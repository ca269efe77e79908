//! `holdover resolvconf`: points `/etc/resolv.conf` at holdover, puts the original back, or shows
//! the state of the file.
//!
//! This file holds the flags and the output. `core::takeover` decides what is written, and
//! `adapters::resolv_conf` writes it. The keys of `show --json` are part of the interface.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::adapters::resolv_conf::takeover::{
    Applied, Force, Inspection, Replacement, Restored, Takeover, UpstreamSource, Wish,
};
use crate::adapters::resolv_conf::{places, readers};
use crate::cli::check::{CheckResult, ask, reachable};
use crate::config::limits::DNS_PORT;
use crate::config::settings::Settings;
use crate::config::{self, Flags, UnknownNames};
use crate::core::resolv_conf::{ResolvConf, ResolvConfWriter};
use crate::core::takeover::{Fallback, SecondNameserver};
use crate::core::upstream::Role;
use crate::telemetry::console;

/// How long `apply` waits for an answer of holdover.
const ASK: Duration = Duration::from_millis(500);

/// Arguments of `holdover resolvconf`.
#[derive(Debug, Args)]
pub struct ResolvconfArguments {
    #[command(subcommand)]
    command: ResolvconfCommand,
}

#[derive(Debug, Subcommand)]
enum ResolvconfCommand {
    /// Points the file at holdover and keeps the original
    Apply {
        #[command(flatten)]
        file: FileArguments,
        #[command(flatten)]
        wish: WishArguments,
    },
    /// Puts the original back, byte for byte
    Restore {
        #[command(flatten)]
        file: FileArguments,
        /// Put it back even if another program has written the file since
        #[arg(long)]
        force: bool,
    },
    /// Shows what the file is, what wrote it, what `apply` would write, and which upstreams
    /// holdover would use
    Show {
        #[command(flatten)]
        file: FileArguments,
        #[command(flatten)]
        wish: WishArguments,
        /// Print everything as JSON, for programs
        #[arg(long)]
        json: bool,
    },
}

/// Flags that name the file and its kept original.
#[derive(Debug, Args)]
struct FileArguments {
    /// The resolv.conf to read or write
    #[arg(long, value_name = "FILE", default_value = "/etc/resolv.conf")]
    file: PathBuf,
    /// Where the original is kept [default: FILE.before-holdover, else below /var/lib/holdover,
    /// else below /run/holdover]
    #[arg(long, value_name = "FILE")]
    keep: Option<PathBuf>,
}

/// Flags that decide what `apply` writes.
#[derive(Debug, Args)]
pub(super) struct WishArguments {
    /// Address at which holdover is reached [default: the first listen address with port 53 of
    /// environment and configuration file]
    #[arg(long, value_name = "ADDR")]
    nameserver: Option<IpAddr>,
    /// Whether one of the original name servers stays in resolv.conf as the second one: auto leaves
    /// it out for musl and systemd-resolved
    #[arg(long, value_enum, default_value = "auto")]
    fallback: FallbackArgument,
    /// Configuration file to take listen addresses and upstreams from
    #[arg(long = "config", value_name = "FILE", id = "wish_config")]
    config: Option<PathBuf>,
}

/// Whether one of the original name servers stays in the file as the second one.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum FallbackArgument {
    /// Keep one, unless that would do harm: with musl or systemd-resolved
    Auto,
    /// Always keep one
    Yes,
    /// Never keep one
    No,
}

impl From<FallbackArgument> for Fallback {
    fn from(argument: FallbackArgument) -> Self {
        match argument {
            FallbackArgument::Auto => Self::Auto,
            FallbackArgument::Yes => Self::Yes,
            FallbackArgument::No => Self::No,
        }
    }
}

/// Holdover listens only on ports that `resolv.conf` cannot name.
#[derive(Debug, thiserror::Error)]
#[error(
    "holdover listens on {0}, and resolv.conf can name no other port than 53: let holdover listen on port 53, or \
     give the address at which it is reached on port 53 with --nameserver"
)]
pub(super) struct NoSuchPort(SocketAddr);

/// The wish of the operator for the file, from flags and settings.
///
/// # Errors
/// [`NoSuchPort`] when no address is known at which holdover is reached on port 53.
pub(super) fn wish(
    nameserver: Option<IpAddr>,
    fallback: FallbackArgument,
    settings: &Settings,
) -> Result<Wish, NoSuchPort> {
    let listen = &settings.listen.addresses;
    let own = match (nameserver, listen.iter().find(|address| address.port() == DNS_PORT), listen.first()) {
        (Some(ip), _, _) => ip,
        (None, Some(address), _) => reachable(Some(*address)).ip(),
        (None, None, Some(other)) => return Err(NoSuchPort(*other)),
        (None, None, None) => Ipv4Addr::LOCALHOST.into(),
    };
    let primary =
        |upstream: &crate::core::upstream::UpstreamPolicy| upstream.zones.is_empty() && upstream.role == Role::Primary;
    let configured = settings.resolv_conf.is_none() && settings.upstreams.iter().any(primary);
    let upstreams = if configured { UpstreamSource::Configured } else { UpstreamSource::File };
    Ok(Wish { own, fallback: fallback.into(), readers: readers(Path::new("/")), upstreams })
}

/// Runs the subcommand.
///
/// # Errors
/// The file cannot be read or written, or should not be; the message says why and what to do.
pub fn run(arguments: ResolvconfArguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        ResolvconfCommand::Apply { file, wish } => {
            // Write the file.
            let wish = match from_configuration(wish)? {
                Ok(wish) => wish,
                Err(code) => return Ok(code),
            };
            let place = Takeover::new(&file.file, file.keep.as_deref())?;
            let applied = place.apply(&wish)?;
            console::say(&format!("{}\n", written_words(place.file(), &wish, &applied)))?;
            // Say what the operator should know now: who may overwrite the file, and that holdover
            // does not answer yet.
            if let Some(advice) = applied.writer.advice() {
                console::say(&format!("{advice}.\n"))?;
            }
            if !is_answering(wish.own) {
                console::complain(format_args!(
                    "holdover does not answer on {} yet: until `holdover serve` runs there, {}",
                    wish.own,
                    match applied.second {
                        SecondNameserver::Written(_) => "names are resolved by the second name server",
                        SecondNameserver::LeftOut(_) => "no name is resolved",
                    }
                ));
            }
        }
        ResolvconfCommand::Restore { file, force } => {
            let place = Takeover::new(&file.file, file.keep.as_deref())?;
            match place.restore(if force { Force::Yes } else { Force::No })? {
                Restored::Written(_) => console::say(&format!("{}: the original is back\n", place.file().display()))?,
                Restored::Already => {
                    console::say(&format!("{}: the original was back already\n", place.file().display()))?
                }
            }
        }
        ResolvconfCommand::Show { file, wish, json } => {
            let wish = match from_configuration(wish)? {
                Ok(wish) => wish,
                Err(code) => return Ok(code),
            };
            let place = Takeover::new(&file.file, file.keep.as_deref())?;
            let sight = place.inspect()?;
            // The plan names the file in which the original is kept now, or else would be kept.
            let keep = sight.kept_in.clone().or(file.keep);
            let keep = keep.unwrap_or_else(|| places(place.file()).into_iter().next().unwrap_or_default());
            let plan = sight.plan(&wish, &keep);
            if json {
                console::say(&format!("{:#}\n", as_json(&sight, &plan, &wish)))?;
            } else {
                console::say(&as_text(&sight, &plan, &wish))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The wish of the operator for the file, from flags, environment and configuration file. A wrong
/// configuration is reported on standard error, and gives an exit code.
fn from_configuration(arguments: WishArguments) -> anyhow::Result<Result<Wish, ExitCode>> {
    match config::load(
        Flags { config: arguments.config, unknown: UnknownNames::Allow, ..Flags::default() },
        std::env::vars_os(),
    ) {
        Ok(settings) => Ok(Ok(wish(arguments.nameserver, arguments.fallback, &settings)?)),
        Err(error) => {
            console::complain(&error);
            Ok(Err(ExitCode::from(error.exit_code())))
        }
    }
}

/// Whether a holdover answers at the address, ready or not.
fn is_answering(own: IpAddr) -> bool {
    let found: io::Result<CheckResult> = ask(SocketAddr::new(own, DNS_PORT), ASK);
    matches!(found, Ok(CheckResult::Ready | CheckResult::NotReady))
}

/// The new content of the file, in one line for people.
pub(super) fn written_words(file: &Path, wish: &Wish, applied: &Applied) -> String {
    let second = match &applied.second {
        SecondNameserver::Written(nameserver) => format!(", then at {nameserver} in case holdover does not answer"),
        SecondNameserver::LeftOut(why) => format!(" only ({})", why.reason()),
    };
    let kept =
        applied.kept.as_ref().map_or_else(String::new, |kept| format!("; the original is kept in {}", kept.display()));
    format!("{} points at holdover on {}{second}{kept}", file.display(), wish.own)
}

/// The kind of the file, in words: how it has to be written depends on it.
fn kind(sight: &Inspection) -> String {
    match (sight.link(), sight.is_mounted()) {
        (Some(target), _) => format!("a symbolic link to {target}"),
        (None, true) => "a file that is a mount point, so it is written in place".to_owned(),
        (None, false) => "a file".to_owned(),
    }
}

/// The output of `show` for people.
fn as_text(sight: &Inspection, plan: &Replacement, wish: &Wish) -> String {
    // Each line has a label and a value; further lines of a value stand below its first one.
    let read = ResolvConf::read(&sight.text());
    let list = |words: Vec<String>| if words.is_empty() { "none".to_owned() } else { words.join(", ") };
    let names = |nameservers: &[crate::core::resolv_conf::Nameserver]| {
        list(nameservers.iter().map(ToString::to_string).collect())
    };
    let mut text = format!("{}\n", sight.file.display());
    let mut line = |label: &str, value: &str| {
        for (index, part) in value.lines().enumerate() {
            text.push_str(&format!("  {:<20}{part}\n", if index == 0 { label } else { "" }));
        }
    };

    // The file as it is now.
    line("is", &kind(sight));
    line("written by", if sight.writer == ResolvConfWriter::Unknown { "unknown" } else { sight.writer.name() });
    line("name servers", &names(&read.nameservers));
    line("search", &list(read.search));
    line("options", &list(read.options));
    match (&sight.kept, &sight.kept_in) {
        (Some(_), Some(kept)) => {
            line("original", &format!("kept in {}, written by {}", kept.display(), plan.writer.name()))
        }
        (Some(_), None) => line(
            "original",
            &format!(
                "written by {}; its copy is gone, and only what the file itself repeats of it is left",
                plan.writer.name()
            ),
        ),
        (None, _) => line(
            "original",
            if sight.writer == ResolvConfWriter::Holdover {
                "lost: no copy is kept"
            } else {
                "this file (holdover has not written it)"
            },
        ),
    }
    if sight.is_unchanged() == Some(false) {
        line("", "another program has changed the file since holdover wrote it");
    }

    // The file as `apply` would write it, and the upstreams that holdover would use.
    line("upstreams", &names(&plan.upstreams));
    if plan.circle {
        line("", &format!("without 127.0.0.11: Docker's resolver forwards to {}, which is holdover", wish.own));
    }
    if let SecondNameserver::LeftOut(why) = &plan.second {
        line("second name server", &format!("left out: {}", why.reason()));
    }
    if let Some(advice) = plan.writer.advice() {
        line("to make it stay", &wrapped(advice));
    }
    line(if sight.writer == ResolvConfWriter::Holdover { "would be" } else { "would become" }, &plan.text);
    text
}

/// Breaks a text into lines of at most 100 characters.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        if let Some(last) = lines.last_mut()
            && last.len() + word.len() < 100
        {
            last.push_str(if last.is_empty() { "" } else { " " });
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.join("\n")
}

/// The output of `show --json`.
fn as_json(sight: &Inspection, plan: &Replacement, wish: &Wish) -> Value {
    let read = ResolvConf::read(&sight.text());
    let names = |nameservers: &[crate::core::resolv_conf::Nameserver]| {
        nameservers.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let (second, left_out) = match &plan.second {
        SecondNameserver::Written(nameserver) => (Some(nameserver.to_string()), None),
        SecondNameserver::LeftOut(why) => (None, Some(why.reason())),
    };
    json!({
        "file": sight.file,
        "symlink_to": sight.link(),
        "mount_point": sight.is_mounted(),
        "writer": sight.writer.name(),
        "taken_over": sight.writer == ResolvConfWriter::Holdover,
        "unchanged": sight.is_unchanged(),
        "original": sight.kept_in,
        "original_writer": plan.writer.name(),
        "nameservers": names(&read.nameservers),
        "search": read.search,
        "options": read.options,
        "upstreams": names(&plan.upstreams),
        "docker_loop": plan.circle,
        "nameserver": wish.own,
        "second_nameserver": second,
        "second_nameserver_left_out": left_out,
        "advice": plan.writer.advice(),
        "would_write": plan.text,
    })
}
