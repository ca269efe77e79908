//! `holdover resolvconf`: takes `/etc/resolv.conf` over, gives it back, or says what is there.
//!
//! What is decided is decided in `core::takeover`, what is written in `adapters::resolv_conf`; here
//! are the words.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::adapters::resolv_conf::takeover::{Again, Applied, Force, Place, Plan, Restored, Sight, Upstreams, Wish};
use crate::adapters::resolv_conf::{places, readers};
use crate::cli::check::{Found, ask, reachable};
use crate::config::limits::DNS_PORT;
use crate::config::settings::Settings;
use crate::config::{self, Flags};
use crate::core::resolv_conf::{ResolvConf, ResolvConfWriter};
use crate::core::takeover::{Fallback, SecondNameserver};
use crate::core::upstream::Role;
use crate::telemetry::console;

/// How long it is waited for holdover to say that it is there.
const ASK: Duration = Duration::from_millis(500);

/// Arguments of `holdover resolvconf`.
#[derive(Debug, Args)]
pub struct ResolvconfArguments {
    /// What to do.
    #[command(subcommand)]
    command: ResolvconfCommand,
}

/// What can be done with a `resolv.conf`.
#[derive(Debug, Subcommand)]
enum ResolvconfCommand {
    /// Points the file at holdover, and keeps the original
    Apply {
        /// Which file.
        #[command(flatten)]
        file: FileArguments,
        /// What is written.
        #[command(flatten)]
        wish: WishArguments,
    },
    /// Puts the original back, byte for byte
    Restore {
        /// Which file.
        #[command(flatten)]
        file: FileArguments,
        /// Even if somebody else wrote the file since
        #[arg(long)]
        force: bool,
    },
    /// Says what the file is, who wrote it, what would be written, and whom holdover would forward
    /// to
    Show {
        /// Which file.
        #[command(flatten)]
        file: FileArguments,
        /// What would be written.
        #[command(flatten)]
        wish: WishArguments,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Which file.
#[derive(Debug, Args)]
struct FileArguments {
    /// The file
    #[arg(long, value_name = "FILE", default_value = "/etc/resolv.conf")]
    file: PathBuf,
    /// Where its original is kept [default: FILE.before-holdover, else below /var/lib/holdover,
    /// else below /run/holdover]
    #[arg(long, value_name = "FILE")]
    keep: Option<PathBuf>,
}

/// What is written.
#[derive(Debug, Args)]
pub(super) struct WishArguments {
    /// Address on which holdover answers [default: the first listen address with port 53 of flags,
    /// environment and file]
    #[arg(long, value_name = "ADDR")]
    nameserver: Option<IpAddr>,
    /// Whether an original name server stays as the second one: auto leaves it out for musl and
    /// systemd-resolved
    #[arg(long, value_enum, default_value = "auto")]
    fallback: FallbackArgument,
    /// Configuration file, for listen addresses and upstreams
    #[arg(long = "config", value_name = "FILE", id = "wish_config")]
    config: Option<PathBuf>,
}

/// Whether an original name server stays.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum FallbackArgument {
    /// Where it helps.
    Auto,
    /// In any case.
    Yes,
    /// In no case.
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

/// No listen address can stand in a `resolv.conf`.
#[derive(Debug, thiserror::Error)]
#[error(
    "holdover listens on {0}, and resolv.conf cannot name a port: let it listen on port 53, or name the address at which it is reached on port 53 \
     with --nameserver"
)]
pub(super) struct NoSuchPort(SocketAddr);

/// What is to be written, from flags and settings.
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
    let upstreams = if configured { Upstreams::Configured } else { Upstreams::File };
    Ok(Wish { own, fallback: fallback.into(), readers: readers(Path::new("/")), upstreams })
}

/// Runs the subcommand.
///
/// # Errors
/// The file cannot be read, written, or should not be; the message says why and what to do.
pub fn run(arguments: ResolvconfArguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        ResolvconfCommand::Apply { file, wish } => {
            let wish = match from_configuration(wish)? {
                Ok(wish) => wish,
                Err(code) => return Ok(code),
            };
            let place = Place::new(&file.file, file.keep.as_deref())?;
            let applied = place.apply(&wish, Again::Refused)?;
            console::say(&format!("{}\n", told(place.file(), &wish, &applied)))?;
            if let Some(advice) = applied.writer.advice() {
                console::say(&format!("{advice}.\n"))?;
            }
            if !is_there(wish.own) {
                console::complain(format_args!(
                    "nothing answers on {} yet: until `holdover serve` runs there, {}",
                    wish.own,
                    match applied.second {
                        SecondNameserver::Written(_) => "names are resolved by the second name server",
                        SecondNameserver::LeftOut(_) => "no name is resolved",
                    }
                ));
            }
        }
        ResolvconfCommand::Restore { file, force } => {
            let place = Place::new(&file.file, file.keep.as_deref())?;
            match place.restore(if force { Force::Yes } else { Force::No })? {
                Restored::Written(_) => {
                    console::say(&format!("{} is as it was before holdover\n", place.file().display()))?
                }
                Restored::Already => console::say(&format!("{} was as before already\n", place.file().display()))?,
            }
        }
        ResolvconfCommand::Show { file, wish, json } => {
            let wish = match from_configuration(wish)? {
                Ok(wish) => wish,
                Err(code) => return Ok(code),
            };
            let place = Place::new(&file.file, file.keep.as_deref())?;
            let sight = place.look()?;
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

/// The wish of flags, environment and configuration file; a wrong configuration is told, and gives
/// the exit code.
fn from_configuration(arguments: WishArguments) -> anyhow::Result<Result<Wish, ExitCode>> {
    match config::load(Flags { config: arguments.config, ..Flags::default() }, std::env::vars_os()) {
        Ok(settings) => Ok(Ok(wish(arguments.nameserver, arguments.fallback, &settings)?)),
        Err(error) => {
            console::complain(&error);
            Ok(Err(ExitCode::from(error.exit_code())))
        }
    }
}

/// Whether holdover answers there.
fn is_there(own: IpAddr) -> bool {
    let found: io::Result<Found> = ask(SocketAddr::new(own, DNS_PORT), ASK);
    matches!(found, Ok(Found::Ready | Found::NotReady))
}

/// What was done, in one line.
pub(super) fn told(file: &Path, wish: &Wish, applied: &Applied) -> String {
    let second = match &applied.second {
        SecondNameserver::Written(nameserver) => format!(", and at {nameserver} for when holdover is gone"),
        SecondNameserver::LeftOut(why) => format!(" alone ({})", why.reason()),
    };
    let kept =
        applied.kept.as_ref().map_or_else(String::new, |kept| format!("; the original is kept in {}", kept.display()));
    format!("{} points at holdover on {}{second}{kept}", file.display(), wish.own)
}

/// What the file is, in a word.
fn kind(sight: &Sight) -> String {
    match (sight.link(), sight.is_mounted()) {
        (Some(target), _) => format!("a symbolic link to {target}"),
        (None, true) => "a file with a mount over it, which is written in place".to_owned(),
        (None, false) => "a file".to_owned(),
    }
}

/// For people.
fn as_text(sight: &Sight, plan: &Plan, wish: &Wish) -> String {
    let read = ResolvConf::read(&sight.text());
    let list = |words: Vec<String>| if words.is_empty() { "none".to_owned() } else { words.join(", ") };
    let names = |nameservers: &[crate::core::resolv_conf::Nameserver]| {
        list(nameservers.iter().map(ToString::to_string).collect())
    };
    let mut text = format!("{}\n", sight.file.display());
    let mut line = |label: &str, value: &str| {
        for (index, part) in value.lines().enumerate() {
            text.push_str(&format!("  {:<18}{part}\n", if index == 0 { label } else { "" }));
        }
    };
    line("is", &kind(sight));
    line(
        "written by",
        if sight.writer == ResolvConfWriter::Unknown { "nobody who says so" } else { sight.writer.name() },
    );
    line("name servers", &names(&read.nameservers));
    line("search", &list(read.search));
    line("options", &list(read.options));
    match (&sight.kept, &sight.kept_in) {
        (Some(_), Some(kept)) => {
            line("original", &format!("kept in {}, written by {}", kept.display(), plan.writer.name()))
        }
        (Some(_), None) => line(
            "original",
            &format!("only in the text itself, written by {}: the kept copy is gone", plan.writer.name()),
        ),
        (None, _) => line(
            "original",
            if sight.writer == ResolvConfWriter::Holdover { "lost: nothing is kept" } else { "not taken over" },
        ),
    }
    if sight.is_unchanged() == Some(false) {
        line("", "the file was changed since holdover wrote it");
    }
    line("would forward to", &names(&plan.upstreams));
    if plan.circle {
        line("", &format!("not to 127.0.0.11: Docker's resolver forwards to {}, which is holdover", wish.own));
    }
    if let SecondNameserver::LeftOut(why) = &plan.second {
        line("second server", &format!("left out: {}", why.reason()));
    }
    if let Some(advice) = plan.writer.advice() {
        line("to make it stay", &wrapped(advice));
    }
    line(if sight.writer == ResolvConfWriter::Holdover { "would be" } else { "would become" }, &plan.text);
    text
}

/// Lines of at most a hundred letters.
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

/// For machines.
fn as_json(sight: &Sight, plan: &Plan, wish: &Wish) -> Value {
    let read = ResolvConf::read(&sight.text());
    let names = |nameservers: &[crate::core::resolv_conf::Nameserver]| {
        nameservers.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    json!({
        "file": sight.file,
        "link": sight.link(),
        "mounted": sight.is_mounted(),
        "writer": sight.writer.name(),
        "taken_over": sight.writer == ResolvConfWriter::Holdover,
        "unchanged": sight.is_unchanged(),
        "kept": sight.kept_in,
        "original_writer": plan.writer.name(),
        "nameservers": names(&read.nameservers),
        "search": read.search,
        "options": read.options,
        "upstreams": names(&plan.upstreams),
        "circle": plan.circle,
        "nameserver": wish.own,
        "second": match &plan.second { SecondNameserver::Written(nameserver) => Some(nameserver.to_string()), SecondNameserver::LeftOut(_) => None },
        "second_left_out": match &plan.second { SecondNameserver::Written(_) => None, SecondNameserver::LeftOut(why) => Some(why.reason()) },
        "advice": plan.writer.advice(),
        "would_write": plan.text,
    })
}
