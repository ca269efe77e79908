//! `holdover serve`: runs the sidecar until a signal ends it.
//!
//! [`run`] puts the settings together, starts the log, lets [`app::start`] do the rest, and waits
//! for signals. SIGHUP has the host's `resolv.conf` read again. SIGTERM and SIGINT begin the drain,
//! in which queries are still answered, and a second signal ends the drain at once. A service
//! manager is notified when the sidecar is ready, alive, and about to end.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tracing::level_filters::LevelFilter;

use super::other_signals;
use crate::adapters::footprint;
use crate::adapters::notify::{Message, ServiceManager};
use crate::adapters::resolv_conf::{self, HostNameservers, ResolvConfError};
use crate::app::{self, StartError, host_upstreams};
use crate::config::environment;
use crate::config::error::{ConfigError, EXIT_CONFIG, EXIT_UNAVAILABLE};
use crate::config::keys;
use crate::config::layer::{GivenValue, Layer, Raw, ValueSource};
use crate::config::settings::{Level, Settings};
use crate::config::{self, Flags, UnknownNames};
use crate::core::upstream::{Role, UpstreamPolicy};
use crate::telemetry::{console, events, logging, output};

/// How long the end may take from the signal on, with the drain of 25 s that is the default: all
/// manifests give 30 s, after which the process is killed.
const END_WITHIN: Duration = Duration::from_secs(29);
/// How long waiting queries and the last write of the state file may take, whatever the drain took.
const STOP_MIN: Duration = Duration::from_secs(4);
/// How long they may take when there is time: a query waits for 5 s at most, and so does the write.
const STOP_MAX: Duration = Duration::from_secs(10);

/// Flags of `holdover serve`.
///
/// Each flag takes precedence over the environment variable and the configuration key of its name.
#[derive(Debug, Default, Args)]
pub struct ServeArguments {
    /// Address to answer queries on, over UDP and TCP; may be repeated or comma-separated [default:
    /// 127.0.0.1:53]
    #[arg(long, value_name = "ADDR[:PORT]", value_delimiter = ',')]
    listen: Vec<String>,
    /// Upstream resolver to forward queries to; may be repeated or comma-separated [default: those
    /// of --resolv-conf]
    #[arg(long, value_name = "ADDR[:PORT]", value_delimiter = ',')]
    upstream: Vec<String>,
    /// Configuration file (`holdover config default` prints one)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// File from which the upstreams are read when none is configured
    #[arg(long, value_name = "FILE", default_value = "/etc/resolv.conf")]
    resolv_conf: PathBuf,
    /// How long a client waits for a fresh answer before it gets a stale one: "adaptive" or 0s to
    /// 1800ms [default: adaptive]
    #[arg(long, value_name = "DURATION")]
    client_response_timer: Option<String>,
    /// How long after its TTL has ended an answer may be served stale while upstreams fail: 0s to
    /// 7d [default: 24h]
    #[arg(long, value_name = "DURATION")]
    maximum_stale: Option<String>,
    /// File of answers to remember at the start, as `holdover cache export` writes it; may be
    /// repeated or comma-separated
    #[arg(long, value_name = "FILE", value_delimiter = ',')]
    seed: Vec<String>,
    /// Admin interface for status, metrics, and export, import and flush of the cache: the path of
    /// a unix socket, or a loopback address [default: off]
    #[arg(long, value_name = "ADDR[:PORT]|PATH")]
    admin: Option<String>,
    /// Critical name: resolved at the start, refreshed before it expires, never evicted; may be
    /// repeated or comma-separated
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    critical: Vec<String>,
    /// Hosts file whose names are answered from it, such as /etc/hosts, or "off" [default: off]
    #[arg(long, value_name = "PATH")]
    hosts: Option<String>,
    /// State file, which keeps what is remembered across restarts, or "off" [default: in
    /// $STATE_DIRECTORY if that is set, else off]
    #[arg(long, value_name = "PATH")]
    state: Option<String>,
    /// Least severe messages to log: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Start although the configuration file has keys that this version does not know, as one for a
    /// newer version may; they are logged
    #[arg(long)]
    lenient: bool,
    /// Format of the log on standard error: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

/// Why no settings to run with could be made.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file, the environment or a flag says something that cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No upstream is configured, and `resolv.conf` names only holdover itself or is too large.
    #[error(transparent)]
    ResolvConf(#[from] ResolvConfError),
}

impl SettingsError {
    /// The exit code with which the process ends.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(error) => error.exit_code(),
            Self::ResolvConf(_) => EXIT_CONFIG,
        }
    }
}

impl ServeArguments {
    /// The file from which the upstreams are read when none is configured.
    pub(super) fn resolv_conf(&self) -> &Path {
        &self.resolv_conf
    }

    /// The flags as a layer of the configuration.
    pub(super) fn flags(&self) -> Flags {
        // Flags of which the last one counts.
        let mut layer = Layer::default();
        let singles = [
            ("--client-response-timer", "stale.client_response_timer", &self.client_response_timer),
            ("--maximum-stale", "stale.maximum", &self.maximum_stale),
            ("--admin", keys::ADMIN_ADDRESS, &self.admin),
            ("--hosts", keys::HOSTS_PATH, &self.hosts),
            ("--state", keys::STATE_PATH, &self.state),
            ("--log-level", keys::LOG_LEVEL, &self.log_level),
            ("--log-format", keys::LOG_FORMAT, &self.log_format),
        ];
        for (flag, key, value) in singles {
            if let Some(value) = value {
                layer.values.insert(key, GivenValue { raw: Raw::Word(value.clone()), source: ValueSource::Flag(flag) });
            }
        }

        // Flags that may be repeated, each of which is one list.
        if !self.listen.is_empty() {
            let raw = Raw::Word(self.listen.join(","));
            layer.values.insert(keys::LISTEN_ADDRESSES, GivenValue { raw, source: ValueSource::Flag("--listen") });
        }
        if !self.seed.is_empty() {
            let raw = Raw::Word(self.seed.join(","));
            layer.values.insert(keys::CACHE_SEED, GivenValue { raw, source: ValueSource::Flag("--seed") });
        }

        // Flags that stand for arrays of tables, with one table for each value.
        if !self.upstream.is_empty() {
            let tables = environment::upstreams(&self.upstream.join(","), &ValueSource::Flag("--upstream"));
            layer.tables.insert("upstream", tables);
        }
        if !self.critical.is_empty() {
            let source = ValueSource::Flag("--critical");
            let tables = environment::tables(keys::CRITICAL_NAME, &source, &self.critical.join(","));
            layer.tables.insert("critical", tables);
        }
        let unknown = if self.lenient { UnknownNames::Allow } else { UnknownNames::RefuseKeys };
        Flags { config: self.config.clone(), layer, unknown }
    }
}

/// The settings of flags, environment, configuration file and `resolv.conf` together.
///
/// # Errors
/// [`SettingsError`], whose message says what to change.
pub fn resolve_settings(
    arguments: &ServeArguments,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Settings, SettingsError> {
    with_host_upstreams(config::load(arguments.flags(), variables)?, &arguments.resolv_conf)
}

/// Adds the upstreams of the host to settings that have no primary upstream for all names.
///
/// # Errors
/// [`SettingsError::ResolvConf`].
pub(super) fn with_host_upstreams(mut settings: Settings, file: &Path) -> Result<Settings, SettingsError> {
    let covers_all = |upstream: &UpstreamPolicy| upstream.zones.is_empty() && upstream.role == Role::Primary;
    if !settings.upstreams.iter().any(covers_all) {
        let (path, own) = (file.to_owned(), settings.listen.addresses.clone());
        let found = match app::at_start(move || resolv_conf::read(&path, &own)) {
            Some(Ok(found)) => found,
            // Its file system does not answer.
            None => HostNameservers::NONE,
            // The file may be written soon, and remembered answers can be served until then. The
            // task that watches the file logs the problem.
            Some(Err(
                ResolvConfError::Unreadable { .. } | ResolvConfError::Empty(_) | ResolvConfError::NotUnderstood { .. },
            )) => HostNameservers::NONE,
            Some(Err(error @ (ResolvConfError::OnlyOurselves { .. } | ResolvConfError::TooLarge(_)))) => {
                return Err(error.into());
            }
        };
        settings.upstreams.push(host_upstreams::upstream(found));
        settings.resolv_conf = Some(file.to_owned());
    }
    Ok(settings)
}

/// Runs the sidecar until a signal ends it.
///
/// # Errors
/// Signals cannot be received, or no async runtime can be made. A wrong configuration is reported
/// on standard error, and gives an exit code.
pub fn run(arguments: ServeArguments) -> anyhow::Result<ExitCode> {
    run_until(arguments, std::future::pending())
}

/// Runs the sidecar until a signal ends it or the future `otherwise` is done; the output of
/// `otherwise` is then logged as the reason.
pub(super) fn run_until(
    arguments: ServeArguments,
    otherwise: impl Future<Output = &'static str>,
) -> anyhow::Result<ExitCode> {
    footprint::use_small_pages();
    output::start();
    let settings = match resolve_settings(&arguments, std::env::vars_os()) {
        Ok(settings) => settings,
        Err(error) => {
            console::complain(&error);
            return Ok(ExitCode::from(error.exit_code()));
        }
    };
    start_log(&settings);
    for problem in settings.unknown.iter().chain(&settings.remarks) {
        events::ConfigurationDoubtful { problem: &problem.to_string() }.emit();
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot make a runtime")?;
    let code = runtime.block_on(serve(&settings, otherwise));
    // Whatever still reads a file that hangs is left alone.
    runtime.shutdown_background();
    code
}

pub(super) fn start_log(settings: &Settings) {
    let level = match settings.log.level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    logging::start(level, settings.log.format);
}

async fn serve(settings: &Settings, otherwise: impl Future<Output = &'static str>) -> anyhow::Result<ExitCode> {
    // Listen for signals before the start, so that none is lost.
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    other_signals::disregard();
    let running = match app::start(settings) {
        Ok(running) => running,
        Err(error) => {
            console::complain(&error);
            // An address may come, or who has it may go; a configuration stays as it is.
            let code = match error {
                StartError::OwnAddress(_) => EXIT_CONFIG,
                StartError::Listen { .. } | StartError::Chance(_) | StartError::Thread(_) => EXIT_UNAVAILABLE,
            };
            return Ok(ExitCode::from(code));
        }
    };

    // Serve until a signal arrives.
    let manager = ServiceManager::from_environment();
    notify(manager.as_ref(), Message::Ready);
    let mut otherwise = std::pin::pin!(otherwise);
    let name = loop {
        tokio::select! {
            _ = terminate.recv() => break "SIGTERM",
            _ = interrupt.recv() => break "SIGINT",
            name = &mut otherwise => break name,
            _ = hangup.recv() => running.look_again(),
            () = keep_alive(manager.as_ref()) => {}
        }
    };

    // Drain, then stop.
    let asked = running.resolver().now();
    notify(manager.as_ref(), Message::Stopping);
    events::Draining { signal: name, idle: settings.drain.idle, at_most: settings.drain.at_most }.emit();
    tokio::select! {
        () = running.drain(&settings.drain) => {}
        () = keep_alive(manager.as_ref()) => {}
        // A second signal ends the drain at once.
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    let left = END_WITHIN.saturating_sub(running.resolver().now().since(asked));
    running.stop(left.clamp(STOP_MIN, STOP_MAX)).await;
    Ok(ExitCode::SUCCESS)
}

fn notify(manager: Option<&ServiceManager>, message: Message) {
    if let Some(manager) = manager {
        manager.send(message);
    }
}

/// Notifies the service manager again and again that the process is alive, for as long as the
/// future is polled.
async fn keep_alive(manager: Option<&ServiceManager>) {
    match manager {
        Some(manager) => manager.keep_alive().await,
        None => std::future::pending().await,
    }
}
