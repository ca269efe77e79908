//! The common part of the subcommands that ask a running sidecar: the flags that say where its
//! admin interface is, and the messages when the interface cannot be reached.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::check::timeout;
use crate::adapters::admin::client::{Client, ClientError};
use crate::config::settings::Admin;
use crate::config::{self, Flags, UnknownNames, limits};
use crate::telemetry::console;

/// Arguments of every subcommand that asks a running sidecar.
#[derive(Debug, Args)]
pub(super) struct AdminArguments {
    /// Admin interface of the sidecar [default: that of environment and configuration file]
    #[arg(long, value_name = "ADDR[:PORT]|PATH", value_parser = admin)]
    admin: Option<Admin>,
    /// File with the token of the sidecar's [admin] token_file, to change its cache over TCP
    /// [default: that of environment and configuration file]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// How long to wait for an answer
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = timeout)]
    timeout: Duration,
    /// Configuration file to take the address of the admin interface from
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Reads the address of an admin interface.
fn admin(text: &str) -> Result<Admin, String> {
    Admin::read(text).ok_or_else(|| {
        format!(
            "allowed: an absolute path, or an IP address with an optional port ({}), such as \
             /run/holdover/admin.sock or 127.0.0.1:{0}",
            limits::ADMIN_PORT
        )
    })
}

/// The message when neither flag, variable nor file says where the admin interface is.
const NOWHERE: &str = "no admin interface is configured, so the sidecar cannot be asked. Start it with \
                       `holdover serve --admin /run/holdover/admin.sock` (or [admin] address, or \
                       HOLDOVER_ADMIN_ADDRESS), and give the same address here with --admin, --config or the \
                       variable.";

impl AdminArguments {
    /// A client of the configured interface. The error is the exit code, after a message was
    /// written to standard error.
    fn client(self) -> Result<Client, ExitCode> {
        let (admin, token_file) = match self.admin {
            Some(admin) => (Some(admin), self.token_file),
            None => match config::load(
                Flags { config: self.config, unknown: UnknownNames::Allow, ..Flags::default() },
                std::env::vars_os(),
            ) {
                Ok(settings) => (settings.admin.map(reachable), self.token_file.or(settings.admin_token_file)),
                Err(error) => {
                    console::complain(&error);
                    return Err(ExitCode::from(error.exit_code()));
                }
            },
        };
        let Some(admin) = admin else {
            console::complain(NOWHERE);
            return Err(ExitCode::FAILURE);
        };
        Ok(Client { admin, token_file, timeout: self.timeout })
    }

    /// Asks the sidecar and shows its answer. When it cannot be asked, one line on standard error
    /// says why, and the exit code is 1.
    ///
    /// # Errors
    /// No async runtime can be made, or `show` fails.
    pub(super) fn ask<T>(
        self,
        ask: impl AsyncFnOnce(&Client) -> Result<T, ClientError>,
        show: impl FnOnce(T) -> anyhow::Result<ExitCode>,
    ) -> anyhow::Result<ExitCode> {
        let client = match self.client() {
            Ok(client) => client,
            Err(code) => return Ok(code),
        };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot make a runtime")?;
        match runtime.block_on(ask(&client)) {
            Ok(answer) => show(answer),
            Err(error) => {
                console::complain(&error);
                Ok(ExitCode::FAILURE)
            }
        }
    }
}

/// The address as a client on this host reaches it: loopback if it stands for all addresses.
fn reachable(admin: Admin) -> Admin {
    match admin {
        Admin::Address(address) => Admin::Address(super::check::reachable(Some(address))),
        path @ Admin::Path(_) => path,
    }
}
