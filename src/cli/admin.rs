//! Where the subcommands that ask a running sidecar find it, and what they say when it is not
//! there.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::check::timeout;
use crate::adapters::admin::client::{Client, ClientError};
use crate::config::settings::Admin;
use crate::config::{self, Flags, limits};
use crate::telemetry::console;

/// Arguments of every subcommand that asks a running sidecar.
#[derive(Debug, Args)]
pub(super) struct AdminArguments {
    /// Where holdover's admin interface is [default: that of environment and file]
    #[arg(long, value_name = "ADDR[:PORT]|PATH", value_parser = admin)]
    admin: Option<Admin>,
    /// How long to wait for an answer
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = timeout)]
    timeout: Duration,
    /// Configuration file, for its admin address
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Reads the address of an admin interface.
fn admin(text: &str) -> Result<Admin, String> {
    Admin::read(text).ok_or_else(|| {
        format!(
            "allowed: an absolute path, or an IP address with an optional port ({}), such as /run/holdover/admin.sock or 127.0.0.1:{0}",
            limits::ADMIN_PORT
        )
    })
}

/// What is said when nobody knows where the interface is.
const NOWHERE: &str = "no admin interface is configured, so there is nobody to ask. Start the sidecar with \
                       `holdover serve --admin /run/holdover/admin.sock` (or [admin] address, or HOLDOVER_ADMIN_ADDRESS), and name the same here \
                       with --admin, --config, or the variable.";

impl AdminArguments {
    /// Whom to ask; or the exit code, when that was already said.
    fn client(self) -> Result<Client, ExitCode> {
        let admin = match self.admin {
            Some(admin) => Some(admin),
            None => match config::load(Flags { config: self.config, ..Flags::default() }, std::env::vars_os()) {
                Ok(settings) => settings.admin.map(reachable),
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
        Ok(Client { admin, timeout: self.timeout })
    }

    /// Asks the sidecar, and shows what came of it; a failure is told in one line.
    ///
    /// # Errors
    /// A runtime that cannot be made.
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

/// An address as this host reaches it: over loopback where it stands for all addresses.
fn reachable(admin: Admin) -> Admin {
    match admin {
        Admin::Address(address) => Admin::Address(super::check::reachable(Some(address))),
        path @ Admin::Path(_) => path,
    }
}
